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
        let owner = owner(stream, count)?;
        match self {
            Self::Solo(partitions) => {
                partitions.get(usize::try_from(owner.0).ok()?).cloned().map(Target::Solo)
            }
            Self::Fleet(fleet) => Some(Target::Fleet(fleet.clone(), owner)),
        }
    }
}

/// The partition of a stream among so many.
pub(crate) fn owner(stream: StreamId, count: u64) -> Option<PartitionId> {
    let owner = cluster::placement::owner(stream.0, 0..count)?;
    u32::try_from(owner).ok().map(PartitionId)
}

/// The partitions of a stream when there were so many, one count after the other: who sent under an
/// earlier count is known by an earlier one, whoever is new belongs to the last.
pub(crate) fn homes(stream: StreamId, counts: &[u32]) -> Vec<PartitionId> {
    let owners = counts.iter().filter_map(|count| owner(stream, u64::from(*count)));
    let mut homes: Vec<PartitionId> = owners.collect();
    // More partitions take streams of others; those that stay have one home.
    homes.dedup();
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_as_many_homes_as_it_was_moved() {
        let mut moved = 0;
        for stream in (0..1_000).map(StreamId) {
            let homes = homes(stream, &[2, 4, 4]);
            let now = owner(stream, 4).unwrap();
            assert_eq!((homes[0], homes.last()), (owner(stream, 2).unwrap(), Some(&now)));
            assert_eq!(homes.len(), 1 + usize::from(now.0 >= 2));
            moved += homes.len() - 1;
        }
        assert!((400..600).contains(&moved), "{moved}");
        assert!(homes(StreamId(7), &[]).is_empty());
    }
}
