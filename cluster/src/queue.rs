//! The seam between queue and index: what a partition serves to who consumes it.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::partition::{Entry, Offset, PartitionId};
use tokio::sync::watch;

/// Why committed entries could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// They were trimmed: everything below `first` is in splits.
    #[error("offset {from} of partition {partition} is trimmed; the queue begins at {first}")]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        from: Offset,
        /// What there is.
        first: Offset,
    },
    /// Damaged or out of reach; an operator must look.
    #[error("the queue of partition {partition} cannot be read")]
    Storage {
        /// The partition.
        partition: PartitionId,
        /// The log's own words.
        #[source]
        source: Arc<crate::log::LogError>,
    },
    /// It lies at another node, which does not say it just now.
    #[error("the queue of partition {partition} at another node cannot be read: {why}")]
    Away {
        /// The partition.
        partition: PartitionId,
        /// Why not.
        why: String,
    },
}

/// A partition as its consumer sees it: totally ordered committed entries, until they are trimmed.
pub trait Queue: Send + Sync {
    /// Which partition.
    fn partition(&self) -> PartitionId;

    /// The offset behind the last committed record; changes wake the receiver.
    fn committed(&self) -> watch::Receiver<Offset>;

    /// An offset behind every record that was acknowledged before the call, wherever that was.
    /// `None` when nobody can say.
    fn settled(&self) -> BoxFuture<'static, Option<Offset>> {
        let committed = *self.committed().borrow();
        Box::pin(std::future::ready(Some(committed)))
    }

    /// Committed entries from the one that holds `from`, in order, until about so many bytes
    /// (one entry at least, if there is one). Blocks on the disk when they left the memory.
    ///
    /// # Errors
    /// [`QueueError`].
    fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Entry>, QueueError>;

    /// Everything below is in published splits: segments that hold nothing else may go, and the
    /// backlog shrinks.
    fn trim(&self, below: Offset);

    /// Bytes of the queue on disk.
    fn stored_bytes(&self) -> u64;
}
