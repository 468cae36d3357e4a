//! Which partitions this node indexes: those whose lease the cluster gave to it, as long as it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::Fence;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use index::indexer::{Indexer, StartError};
use ingest::replica::Replica;
use model::node::{Topology, indexer_lease};
use model::partition::PartitionId;
use platform::shutdown::Shutdown;

use crate::clustered::Clustered;

/// How often is looked when nothing changes: a replica may have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a partition is left that could not be taken; twice as long each time.
const REST_MIN: Duration = Duration::from_millis(500);
/// How long it is left at most.
const REST_MAX: Duration = Duration::from_secs(30);

/// Takes and releases partitions until the shutdown.
pub(crate) async fn hold(clustered: Clustered, indexer: Arc<Indexer>, shutdown: Shutdown) {
    let mut topology = clustered.metadata.catalog().topology();
    let clock = clustered.metadata.clock().clone();
    let mut reset = indexer.reset();
    let mut seats = Seats::new(clustered, indexer);
    loop {
        let now = topology.borrow_and_update().clone();
        if reset.has_changed().unwrap_or(false) {
            seats.anew.extend(now.partitions.keys());
        }
        reset.mark_unchanged();
        seats.look(&now);
        tokio::select! {
            Some((partition, why)) = seats.moves.ended() => seats.note(partition, why),
            _ = topology.changed() => {}
            _ = reset.changed() => reset.mark_changed(),
            () = clock.sleep(LOOK_INTERVAL) => {}
            () = shutdown.wait() => return,
        }
    }
}

struct Seats {
    clustered: Clustered,
    indexer: Arc<Indexer>,
    /// What partitions were last taken from: the replica here, or those of other nodes.
    read: BTreeMap<PartitionId, Option<Replica>>,
    /// Under which tokens it was said that partitions are indexed.
    told: BTreeMap<PartitionId, u64>,
    /// Those that are to be taken anew, also where nothing else says so.
    anew: BTreeSet<PartitionId>,
    moves: Moves,
    rests: Rests,
}

impl Seats {
    fn new(clustered: Clustered, indexer: Arc<Indexer>) -> Self {
        let (read, told, anew, moves, rests) = Default::default();
        Self { clustered, indexer, read, told, anew, moves, rests }
    }

    /// Begins to take and to release what the leases say. What moves already is looked at when that
    /// has ended.
    fn look(&mut self, topology: &Topology) {
        let me = self.clustered.metadata.me();
        let seats = self.indexer.seats();
        for partition in topology.partitions.keys().copied() {
            if self.moves.has(partition) {
                continue;
            }
            let lease = topology.indexer(partition).filter(|lease| lease.node == me);
            let fence =
                lease.map(|lease| Fence { lease: indexer_lease(partition), token: lease.token });
            let held = seats.get(&partition).cloned().flatten();
            let source = self.clustered.fleet.replica(partition);
            // A replica that was opened anew is read anew; one that came is read instead of others.
            let known = self.read.get(&partition);
            let reads = known.is_some_and(|known| is_same(known.as_ref(), source.as_ref()));
            let anew = self.anew.contains(&partition);
            if held == fence && !anew && (reads || held.is_none()) {
                continue;
            }
            let now = self.clustered.metadata.clock().elapsed();
            if anew || !self.rests.is_resting(partition, now) {
                self.anew.remove(&partition);
                self.read.insert(partition, source);
                self.begin(partition, fence);
            }
        }
    }

    /// Begins to take a partition under that lease, or to release it.
    fn begin(&mut self, partition: PartitionId, fence: Option<Fence>) {
        match &fence {
            Some(Fence { token, .. }) => {
                if self.told.insert(partition, *token) != Some(*token) {
                    tracing::info!(%partition, token, "indexing a partition");
                }
            }
            None => {
                self.told.remove(&partition);
            }
        }
        let taken = fence.map(|fence| (self.clustered.fleet.queue(partition), fence));
        let indexer = self.indexer.clone();
        self.moves.begin(partition, move || {
            indexer.release(partition);
            taken.map_or(Ok(()), |(log, fence)| indexer.take(log, Some(fence)))
        });
    }

    /// Notes why a partition could not be taken, if it could not.
    fn note(&mut self, partition: PartitionId, why: Option<String>) {
        let Some(why) = why else { return self.rests.done(partition) };
        let now = self.clustered.metadata.clock().elapsed();
        if self.rests.failed(partition, &why, now) {
            tracing::error!(why, %partition, "a partition cannot be indexed yet; trying on");
        }
    }
}

/// Whether a partition is read from where it was.
fn is_same(known: Option<&Replica>, now: Option<&Replica>) -> bool {
    match (known, now) {
        (Some(known), Some(now)) => known.is(now),
        (None, None) => true,
        _ => false,
    }
}

/// Partitions that are being taken or released: each once at a time, and none waits for another one,
/// whose threads may end slowly.
#[derive(Default)]
struct Moves {
    partitions: BTreeSet<PartitionId>,
    ends: FuturesUnordered<BoxFuture<'static, (PartitionId, Option<String>)>>,
}

impl Moves {
    fn has(&self, partition: PartitionId) -> bool {
        self.partitions.contains(&partition)
    }

    /// Begins to move a partition, on a thread that may block.
    fn begin(
        &mut self,
        partition: PartitionId,
        work: impl FnOnce() -> Result<(), StartError> + Send + 'static,
    ) {
        self.partitions.insert(partition);
        let moving = tokio::task::spawn_blocking(work);
        self.ends.push(Box::pin(async move {
            let why = match moving.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            (partition, why)
        }));
    }

    /// The next one whose move has ended, and why it failed if it did. `None` when none moves.
    async fn ended(&mut self) -> Option<(PartitionId, Option<String>)> {
        let (partition, why) = self.ends.next().await?;
        self.partitions.remove(&partition);
        Some((partition, why))
    }
}

/// Partitions that could not be taken, and until when they are left.
#[derive(Debug, Default)]
struct Rests(BTreeMap<PartitionId, Rest>);

#[derive(Debug)]
struct Rest {
    why: String,
    pause: Duration,
    until: Duration,
}

impl Rests {
    fn is_resting(&self, partition: PartitionId, now: Duration) -> bool {
        self.0.get(&partition).is_some_and(|rest| now < rest.until)
    }

    /// It could not be taken. Whether that was not known yet.
    fn failed(&mut self, partition: PartitionId, why: &str, now: Duration) -> bool {
        let known = self.0.get(&partition);
        let pause = known.map_or(REST_MIN, |rest| (rest.pause * 2).min(REST_MAX));
        let is_new = known.is_none_or(|rest| rest.why != why);
        let (why, until) = (why.to_owned(), now + pause);
        self.0.insert(partition, Rest { why, pause, until });
        is_new
    }

    fn done(&mut self, partition: PartitionId) {
        self.0.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_partition_that_is_slow_to_leave_holds_no_other_one_up() {
        let (mut moves, [slow, quick]) = (Moves::default(), [1, 2].map(PartitionId));
        let (finish, wait) = std::sync::mpsc::sync_channel::<()>(1);
        moves.begin(slow, move || {
            wait.recv().ok();
            Ok(())
        });
        moves.begin(quick, || Ok(()));
        assert!(moves.has(slow) && moves.has(quick));
        assert_eq!(moves.ended().await, Some((quick, None)));
        // Again, while the other one goes on.
        assert!(moves.has(slow) && !moves.has(quick));
        moves.begin(quick, || Err(std::io::Error::other("no room").into()));
        let (ended, why) = moves.ended().await.unwrap();
        assert!(ended == quick && why.is_some(), "{why:?}");
        finish.send(()).unwrap();
        assert_eq!(moves.ended().await, Some((slow, None)));
        assert_eq!(moves.ended().await, None);
        assert!(!moves.has(slow));
    }

    #[test]
    fn what_cannot_be_taken_is_tried_ever_more_rarely_and_said_once() {
        let (mut rests, partition) = (Rests::default(), PartitionId(3));
        let at = Duration::from_millis;
        assert!(!rests.is_resting(partition, at(0)));
        assert!(rests.failed(partition, "no disk", at(1_000)));
        assert!(rests.is_resting(partition, at(1_499)) && !rests.is_resting(partition, at(1_500)));
        assert!(!rests.failed(partition, "no disk", at(1_500)));
        assert!(rests.is_resting(partition, at(2_499)) && !rests.is_resting(partition, at(2_500)));
        assert!(rests.failed(partition, "no room", at(2_500)));
        for _ in 0..20 {
            rests.failed(partition, "no room", at(0));
        }
        assert!(
            rests.is_resting(partition, at(29_999)) && !rests.is_resting(partition, at(30_000))
        );
        assert!(!rests.is_resting(PartitionId(4), at(0)));
        rests.done(partition);
        assert!(!rests.is_resting(partition, at(0)));
        assert!(rests.failed(partition, "no room", at(0)));
    }
}
