//! What the node says of its own state.

use std::path::PathBuf;
use std::time::Duration;

use cluster::queue::Queue;
use index::retain::IndexDocuments;
use index::searcher::Searcher;
use model::wire::{DiskStatus, PartitionStatus, ShipperStatus, Status};
use platform::clock::Clock;
use platform::disk;
use query_ui::api::{StatusSource, index_status};

use crate::node::Parts;
use crate::readiness::Readiness;

pub(crate) type Reader = Box<dyn Fn() -> ShipperStatus + Send + Sync>;

/// Who knows the state of the whole node.
pub(crate) struct NodeStatus {
    pub(crate) node: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) searcher: Searcher,
    pub(crate) parts: Parts,
    pub(crate) readiness: Readiness,
    pub(crate) shipper: Option<Reader>,
}

impl StatusSource for NodeStatus {
    fn status(&self) -> Status {
        let (free_bytes, total_bytes) = disk::space(&self.data_dir).unwrap_or_default();
        let used_bytes = disk::folder_bytes(&self.data_dir);
        let figures = self.searcher.partitions();
        // Called from a thread that may block; other nodes are asked, and what moves is not waited for.
        let gathered = self.searcher.gather_within(Duration::ZERO);
        let view = tokio::runtime::Handle::current().block_on(gathered);
        let own = self.searcher.index_settings().unwrap_or_else(|error| {
            tracing::error!(%error, "the settings of the indexes cannot be told");
            IndexDocuments::new()
        });
        let partition = |partition: &dyn Queue| {
            let id = partition.partition();
            let figures = figures.get(&id).copied().unwrap_or_default();
            PartitionStatus {
                partition: id.0,
                committed: partition.committed().borrow().0,
                published: figures.published,
                fresh_records: figures.fresh_rows,
                queue_bytes: partition.stored_bytes(),
                oldest_unpublished_s: figures.fresh_age_s,
            }
        };
        let lack = self.readiness.lack();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            uptime_s: self.clock.elapsed().as_secs(),
            ready: lack.is_none(),
            lack: lack.map(str::to_owned),
            behind: self.readiness.is_behind(),
            store_silent_s: self.readiness.store_silence().map(|silence| silence.as_secs()),
            data_dir: self.data_dir.display().to_string(),
            disk: DiskStatus { used_bytes, free_bytes, total_bytes },
            partitions: self.parts.queues().iter().map(|queue| partition(queue.as_ref())).collect(),
            indexes: index_status(&view, &own, self.searcher.retention_days()),
            shippers: self.shipper.iter().map(|read| read()).collect(),
        }
    }
}
