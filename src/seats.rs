//! Which partitions this node indexes: those whose lease the cluster gave to it, as long as it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::Fence;
use index::indexer::Indexer;
use ingest::replica::Replica;
use model::node::indexer_lease;
use model::partition::PartitionId;
use platform::shutdown::Shutdown;

use crate::clustered::Clustered;

/// How often is looked when nothing changes: a replica may have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Takes and releases partitions until the shutdown.
pub(crate) async fn hold(clustered: Clustered, indexer: Arc<Indexer>, shutdown: Shutdown) {
    let mut topology = clustered.metadata.catalog().topology();
    let mut reset = indexer.reset();
    let mut read: BTreeMap<PartitionId, Replica> = BTreeMap::new();
    loop {
        let now = topology.borrow_and_update().clone();
        let anew = reset.has_changed().unwrap_or(false);
        reset.mark_unchanged();
        for partition in now.partitions.keys() {
            let lease = now.indexer(*partition);
            let lease = lease.filter(|lease| lease.node == clustered.metadata.me());
            let fence =
                lease.map(|lease| Fence { lease: indexer_lease(*partition), token: lease.token });
            let seats = indexer.seats();
            let held = seats.get(partition).cloned().flatten();
            let queue = clustered.fleet.replica(*partition);
            // A replica that was opened anew is read anew.
            let reads =
                read.get(partition).is_some_and(|one| queue.as_ref().is_some_and(|q| q.is(one)));
            if held == fence && !anew && (reads || held.is_none()) {
                continue;
            }
            let (indexer, partition) = (indexer.clone(), *partition);
            match &queue {
                Some(queue) => read.insert(partition, queue.clone()),
                None => read.remove(&partition),
            };
            let log = clustered.fleet.queue(partition);
            // Threads are waited for.
            let moved = tokio::task::spawn_blocking(move || {
                indexer.release(partition);
                match fence {
                    Some(fence) => {
                        tracing::info!(%partition, token = fence.token, "indexing a partition");
                        indexer.take(log, Some(fence))
                    }
                    None => Ok(()),
                }
            });
            if let Ok(Err(error)) = moved.await {
                tracing::error!(%error, %partition, "a partition cannot be indexed yet");
            }
        }
        tokio::select! {
            _ = topology.changed() => {}
            _ = reset.changed() => reset.mark_changed(),
            () = clustered.metadata.clock().sleep(LOOK_INTERVAL) => {}
            () = shutdown.wait() => return,
        }
    }
}
