//! Which partition takes a stream: all its records go to one, so their order is kept.

use std::sync::Arc;

use model::stream::StreamId;

use crate::partition::Partition;

/// The partitions of this node.
#[derive(Debug, Clone)]
pub struct Partitions(Arc<[Partition]>);

impl Partitions {
    /// All partitions, by number.
    #[must_use]
    pub fn new(partitions: Vec<Partition>) -> Self {
        Self(partitions.into())
    }

    /// The stream's partition. `None` only when there is no partition at all.
    #[must_use]
    pub fn of(&self, stream: StreamId) -> Option<&Partition> {
        let count = self.0.len() as u64;
        let owner = cluster::placement::owner(stream.0, 0..count)?;
        self.0.get(usize::try_from(owner).ok()?)
    }

    /// Every partition.
    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.0.iter()
    }
}
