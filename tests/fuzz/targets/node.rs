//! A node's write side in this process, for targets that ask it.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cluster::catalog::Catalog;
use cluster::queue::Queue as _;
use ingest::doors::{Audience, Doors, IngestState, translated};
use ingest::metrics::IngestMetrics;
use ingest::partition::{Partition, PartitionSettings};
use ingest::route::Partitions;
use model::partition::{Offset, PartitionId};
use platform::clock::Clock;
use platform::disk::Disk;
use platform::telemetry::Metrics;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Inputs of one node; then its folder begins anew.
pub const INPUTS_MAX: u32 = 20_000;

/// One partition and the doors before it.
pub struct Node {
    _folder: tempfile::TempDir,
    pub runtime: Runtime,
    #[allow(dead_code, reason = "not every target listens")]
    pub doors: Doors,
    partition: Partition,
    router: Router,
    pub inputs: u32,
}

impl Node {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        // In memory, where a sync costs nothing.
        let memory = std::path::Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let metrics = IngestMetrics::new(&Metrics::default());
        let settings = PartitionSettings { disk_free_bytes_min: 0, ..PartitionSettings::default() };
        let inside = runtime.enter();
        let (clock, disk) = (Clock::system(), Disk::default());
        let partition = Partition::open(
            folder.path(),
            PartitionId(0),
            disk,
            clock.clone(),
            settings,
            metrics.clone(),
        )
        .expect("a partition");
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).expect("a catalog");
        let state = IngestState::new(Partitions::new(vec![partition.clone()]), clock, metrics);
        let doors = Doors::open(state, catalog, folder.path(), &Disk::default()).expect("doors");
        let router = translated(doors.router(), Audience::All);
        drop(inside);
        Self { _folder: folder, runtime, doors, partition, router, inputs: 0 }
    }

    /// Posts a body to the door of that address, type and packing.
    #[allow(dead_code, reason = "not every target asks over HTTP")]
    pub fn post(&self, door: (&str, &str, &str), body: Vec<u8>) -> StatusCode {
        let (path, kind, packing) = door;
        let mut request = Request::post(path).header("content-type", kind);
        if !matches!(packing, "" | "snappy") {
            request = request.header("content-encoding", packing);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let answer = self.runtime.block_on(self.router.clone().oneshot(request));
        answer.expect("an answer").status()
    }

    /// How many records are stored.
    pub fn committed(&self) -> Offset {
        *self.partition.committed().borrow()
    }

    /// Whether a record of that message is stored at this offset or behind it.
    #[allow(dead_code, reason = "not every target looks at the records")]
    pub fn has(&self, message: &str, from: Offset) -> bool {
        let entries = self.partition.read(from, usize::MAX).expect("the queue can be read");
        entries.iter().any(|entry| {
            let (_, batch) = model::codec::decode(&entry.batch).expect("a batch");
            let mut records = (0..batch.record_count()).filter_map(|row| batch.record(row));
            records.any(|record| record.message == message)
        })
    }

    /// Waits until more is stored than there was.
    #[allow(dead_code, reason = "not every target waits")]
    pub async fn more_than(&self, before: Offset) {
        let mut committed = self.partition.committed();
        committed.wait_for(|now| *now > before).await.expect("the partition is there");
    }
}
