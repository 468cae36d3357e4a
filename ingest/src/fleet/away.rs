//! A partition whose log is on other nodes, for an indexer that keeps no replica.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use cluster::peer::PeerServer;
use cluster::queue::{Queue, QueueError};
use futures::future::BoxFuture;
use model::batch::Sequence;
use model::partition::{Entry, Offset, PartitionId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Fleet;
use crate::replica::fold;

/// The call that waits for records behind an offset.
const AWAIT_CALL: &str = "await_committed";
/// The call for committed entries.
const READ_CALL: &str = "read_queue";
/// How long a node waits for records before it says that there are none.
const AWAIT_WAIT: Duration = Duration::from_secs(5);
/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// How long to wait before another node is asked.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of entries in one answer.
const READ_BYTES_MAX: usize = 16 << 20;

/// What is asked of a node that keeps a replica.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    partition: PartitionId,
    from: Offset,
    bytes_max: usize,
}

/// A partition of other nodes.
#[derive(Debug)]
struct Away {
    fleet: Fleet,
    partition: PartitionId,
    committed: watch::Sender<Offset>,
    runtime: tokio::runtime::Handle,
}

impl Fleet {
    /// The partition's log: the replica that lives here, or the way to those that live elsewhere.
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn queue(&self, partition: PartitionId) -> Arc<dyn Queue> {
        if let Some(replica) = self.replica(partition) {
            return Arc::new(replica);
        }
        let runtime = tokio::runtime::Handle::current();
        let (fleet, committed) = (self.clone(), watch::Sender::new(Offset(0)));
        let away = Arc::new(Away { fleet, partition, committed, runtime });
        tokio::spawn(listen(Arc::downgrade(&away)));
        away
    }

    /// Answers indexers that keep no replica.
    pub fn serve_reading(&self, server: &PeerServer) {
        let own = self.clone();
        server.on_call(AWAIT_CALL, move |body| {
            let fleet = own.clone();
            async move {
                let asked: Asked = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
                let replica = fleet.replica(asked.partition).ok_or("no replica of it is here")?;
                let mut committed = replica.committed();
                let clock = &fleet.0.parties.clock;
                let more = committed.wait_for(|committed| *committed > asked.from);
                drop(clock.timeout(AWAIT_WAIT, more).await);
                let committed = *replica.committed().borrow();
                Ok(Bytes::copy_from_slice(&committed.0.to_le_bytes()))
            }
        });
        let own = self.clone();
        server.on_call(READ_CALL, move |body| {
            let fleet = own.clone();
            async move {
                let asked: Asked = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
                let replica = fleet.replica(asked.partition).ok_or("no replica of it is here")?;
                let bytes = asked.bytes_max.min(READ_BYTES_MAX);
                let read = tokio::task::spawn_blocking(move || replica.read(asked.from, bytes));
                let read = read.await.map_err(|error| error.to_string())?;
                match read {
                    Ok(entries) => {
                        let entries: Vec<_> =
                            entries.into_iter().map(|entry| (entry, Sequence::NONE)).collect();
                        Ok(fold::command(0, &entries))
                    }
                    // A number alone: where the queue begins.
                    Err(QueueError::Trimmed { first, .. }) => {
                        Ok(Bytes::copy_from_slice(&first.0.to_le_bytes()))
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
        });
    }

    async fn ask_replica(
        &self,
        partition: PartitionId,
        call: &str,
        asked: &Asked,
    ) -> Result<Bytes, String> {
        let node = self.leader(partition).or_else(|| self.any(partition));
        let address = node.and_then(|node| self.0.metadata.address_of(node));
        let address = address.ok_or("no node that keeps it is known")?;
        let body = serde_json::to_vec(asked).map_err(|error| error.to_string())?;
        let peers = self.0.metadata.peers();
        let answer = peers.call(&address, call, body.into(), CALL_WAIT).await;
        answer.map_err(|error| {
            self.remember(partition, None);
            error.to_string()
        })
    }
}

/// Hears of new records as long as the partition is read.
async fn listen(away: Weak<Away>) {
    while let Some(here) = away.upgrade() {
        let from = *here.committed.borrow();
        let asked = Asked { partition: here.partition, from, bytes_max: 0 };
        let (fleet, partition) = (here.fleet.clone(), here.partition);
        drop(here);
        let answer = fleet.ask_replica(partition, AWAIT_CALL, &asked).await;
        let committed = answer.ok().and_then(|body| body.as_ref().try_into().ok());
        match (away.upgrade(), committed.map(u64::from_le_bytes)) {
            (Some(here), Some(committed)) => {
                here.committed.send_if_modified(|known| {
                    let more = known.0 < committed;
                    *known = (*known).max(Offset(committed));
                    more
                });
            }
            (Some(_), None) => fleet.0.parties.clock.sleep(PAUSE).await,
            (None, _) => return,
        }
    }
}

impl Queue for Away {
    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn committed(&self) -> watch::Receiver<Offset> {
        self.committed.subscribe()
    }

    fn settled(&self) -> BoxFuture<'static, Option<Offset>> {
        let (fleet, partition) = (self.fleet.clone(), self.partition);
        let committed = self.committed.clone();
        Box::pin(async move {
            let settled = fleet.settled(partition).await?;
            committed.send_if_modified(|known| {
                let more = *known < settled;
                *known = (*known).max(settled);
                more
            });
            Some(settled)
        })
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Entry>, QueueError> {
        if from >= *self.committed.borrow() {
            return Ok(Vec::new());
        }
        let partition = self.partition;
        let asked = Asked { partition, from, bytes_max };
        let answer = self.runtime.block_on(self.fleet.ask_replica(partition, READ_CALL, &asked));
        let answer = answer.map_err(|why| QueueError::Away { partition, why })?;
        if let Ok(first) = answer.as_ref().try_into().map(u64::from_le_bytes) {
            return Err(QueueError::Trimmed { partition, from, first: Offset(first) });
        }
        Ok(fold::batches_of(&answer).map(|(entry, _)| entry).collect())
    }

    fn trim(&self, _: Offset) {
        // Replicas cut their logs by what the catalog says.
    }

    fn stored_bytes(&self) -> u64 {
        0
    }
}
