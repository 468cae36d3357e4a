//! Which partition takes a stream: all its records go to one, so their order is kept.

use std::sync::Arc;

use cluster::queue::Queue as _;
use model::partition::PartitionId;
use model::stream::StreamId;

use crate::fleet::Fleet;
use crate::partition::{AppendError, Appended, Checked, Partition};

/// All partitions: of this node alone, or of its cluster. Clones share them.
#[derive(Debug, Clone)]
pub enum Partitions {
    /// All of them are here, without replicas.
    Solo(Arc<[Partition]>),
    /// Their leaders are anywhere.
    Fleet(Fleet),
}

/// A partition that takes batches.
#[derive(Debug, Clone)]
pub enum Target {
    /// It is here.
    Solo(Partition),
    /// Its leader takes them.
    Fleet(Fleet, PartitionId),
}

impl Target {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Solo(partition) => partition.partition(),
            Self::Fleet(_, partition) => *partition,
        }
    }

    /// Takes batches of one request, in order, all or none (but for those that are repeats), and
    /// returns when they are durable.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, batches: Vec<Checked>) -> Result<Vec<Appended>, AppendError> {
        match self {
            Self::Solo(partition) => partition.append(batches).await,
            Self::Fleet(fleet, partition) => fleet.append(*partition, batches).await,
        }
    }
}

impl Partitions {
    /// The partitions of a node of its own, by number.
    #[must_use]
    pub fn new(partitions: Vec<Partition>) -> Self {
        Self::Solo(partitions.into())
    }

    /// The stream's partition. `None` only when there is no partition at all.
    #[must_use]
    pub fn of(&self, stream: StreamId) -> Option<Target> {
        let count = match self {
            Self::Solo(partitions) => partitions.len() as u64,
            Self::Fleet(fleet) => fleet.partition_count(),
        };
        let owner = u32::try_from(cluster::placement::owner(stream.0, 0..count)?).ok()?;
        match self {
            Self::Solo(partitions) => {
                partitions.get(usize::try_from(owner).ok()?).cloned().map(Target::Solo)
            }
            Self::Fleet(fleet) => Some(Target::Fleet(fleet.clone(), PartitionId(owner))),
        }
    }
}
