//! When the replicas that live here are looked after: all of them again and again, each by itself, so
//! that one whose group does not answer holds up no other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::Command;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use model::node::Topology;
use model::partition::PartitionId;
use platform::shutdown::Shutdown;

use super::Fleet;
use super::tend::TendError;
use crate::partition::Seeds;
use crate::replica::{NAMES_PROTOCOL, Replica};

/// How often replicas are looked after when nothing changes.
const TEND_INTERVAL: Duration = Duration::from_millis(500);

impl Fleet {
    /// Until the shutdown. With the seeds partitions begin, if this node founded the cluster.
    pub async fn tend(self, seeds: Arc<Seeds>, shutdown: Shutdown) {
        let mut topology = self.0.metadata.catalog().topology();
        let (mut work, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        let mut round = 0_u64;
        'rounds: loop {
            self.look_at_room();
            let now = topology.borrow_and_update().clone();
            for partition in now.partitions.keys() {
                if busy.insert(*partition) {
                    work.push(self.look_after(*partition, now.clone(), &seeds, round));
                }
            }
            round += 1;
            let mut pause = Box::pin(self.0.parties.clock.sleep(TEND_INTERVAL));
            loop {
                tokio::select! {
                    Some((partition, seen)) = work.next() => {
                        busy.remove(&partition);
                        if !Arc::ptr_eq(&seen, &now) {
                            // What changed meanwhile waits for nothing.
                            break;
                        }
                    }
                    _ = topology.changed() => break,
                    () = &mut pause => break,
                    () = shutdown.wait() => break 'rounds,
                }
            }
        }
        for replica in self.replicas() {
            replica.stop().await;
        }
    }

    /// Looks after one partition, as of that topology.
    async fn look_after(
        &self,
        partition: PartitionId,
        topology: Arc<Topology>,
        seeds: &Seeds,
        round: u64,
    ) -> (PartitionId, Arc<Topology>) {
        let tended = self.tend_one(partition, &topology, seeds, round).await;
        let trouble = tended.err().map(|error| error.to_string());
        self.note_trouble(partition, trouble);
        (partition, topology)
    }

    async fn tend_one(
        &self,
        partition: PartitionId,
        topology: &Topology,
        seeds: &Seeds,
        round: u64,
    ) -> Result<(), TendError> {
        let Some(placement) = topology.partitions.get(&partition) else { return Ok(()) };
        let Some(replica) = self.replica_for(partition, placement).await? else {
            return self.look_for_left(partition, placement, round).await;
        };
        if !placement.born {
            self.begin(partition, placement, topology, &replica, seeds).await?;
        }
        if placement.born {
            // Before what writes to the disk, which may be full.
            self.stand_back(&replica, topology, round).await;
        }
        // A group that cannot be arranged, for a node is away, is cut all the same.
        let published = self.0.metadata.catalog().indexed_offset(partition)?;
        replica.cut(published).await?;
        if replica.leads() && placement.born {
            self.say_what_all_read(&replica);
            self.arrange(&replica, placement, topology, round).await?;
        }
        Ok(())
    }

    /// Tells a leader what it may write: nobody comes in any more who would not read it. Where names crowd
    /// out other producers it is decided that all read what forgets names first, if they do. Nothing waits
    /// for that, which lasts while who decides does not answer; one partition at a time asks for it.
    fn say_what_all_read(&self, replica: &Replica) {
        let log = self.0.metadata.log_protocol();
        replica.all_read(log);
        if log >= NAMES_PROTOCOL || !replica.is_crowded() {
            return;
        }
        let Ok(turn) = self.0.opening.clone().try_lock_owned() else { return };
        let metadata = self.0.metadata.clone();
        tokio::spawn(async move {
            let open = Command::Open { protocol: NAMES_PROTOCOL };
            if let Err(error) = metadata.decide(&open.into()).await {
                tracing::debug!(%error, "the most silent producers are forgotten, names or not");
            }
            drop(turn);
        });
    }
}
