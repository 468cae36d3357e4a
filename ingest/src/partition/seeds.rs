//! Where the partitions of a node of its own ended, for the cluster that it founds.

use std::collections::BTreeMap;

use cluster::queue::Queue as _;
use model::partition::{Offset, PartitionId};

use super::Partition;
use super::producers::Producers;
use super::write::State;

/// Where partitions ended, by number. What producers had sent is known to all of them, since a
/// stream may go to another one from now on.
#[derive(Debug, Default)]
pub struct Seeds {
    ends: BTreeMap<PartitionId, State>,
    producers: Vec<u8>,
}

impl Seeds {
    /// The ends of these partitions, as their logs have them.
    #[must_use]
    pub fn of(partitions: &[Partition]) -> Self {
        let mut seeds = Self::default();
        for partition in partitions {
            let Some(state) = State::read(&partition.end()) else { continue };
            state.producers.put(&mut seeds.producers);
            seeds.ends.insert(partition.partition(), state);
        }
        seeds
    }

    /// How many partitions there were.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Gives each partition its beginning; `None` when there was nothing.
    pub fn into_source(self) -> impl Fn(PartitionId) -> Option<Beginning> + Send + Sync + 'static {
        move |partition| {
            if self.ends.is_empty() {
                return None;
            }
            let end = self.ends.get(&partition);
            let next = end.map_or(Offset(0), |end| end.next);
            let last = end.map(|end| end.last).unwrap_or_default();
            let producers = Producers::read(&self.producers)?;
            Some(Beginning(State { next, last, producers }))
        }
    }
}

/// Where a partition begins.
#[derive(Debug)]
pub struct Beginning(pub(crate) State);
