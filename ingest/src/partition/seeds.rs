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

    /// Where a partition begins; `None` when there was nothing.
    pub(crate) fn beginning(&self, partition: PartitionId) -> Option<Beginning> {
        if self.ends.is_empty() {
            return None;
        }
        let end = self.ends.get(&partition);
        let next = end.map_or(Offset(0), |end| end.next);
        let last = end.map(|end| end.last).unwrap_or_default();
        let producers = Producers::read(&self.producers)?;
        Some(Beginning(State { next, last, producers, count: 0 }))
    }
}

/// Where a partition begins: by default at 0, with no producers.
#[derive(Debug, Default)]
pub(crate) struct Beginning(pub(crate) State);

impl Beginning {
    /// Not below an offset.
    pub(crate) fn behind(self, least: Offset) -> Self {
        let next = self.0.next.max(least);
        Self(State { next, ..self.0 })
    }

    /// As it travels.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.snapshot()
    }

    /// Reads what travelled.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        State::read(bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use model::batch::Sequence;
    use model::time::Timestamp;

    use super::*;
    use crate::partition::producers::Verdict;

    #[test]
    fn every_partition_begins_with_the_producers_of_all() {
        let mut seeds = Seeds::default();
        assert!(seeds.beginning(PartitionId(0)).is_none());
        let sequence = |producer: u64| Sequence { producer, epoch: 1, from: 0, to: 5 };
        for number in [0, 2] {
            let mut state = State { next: Offset(10 + u64::from(number)), ..State::default() };
            state.producers.take(sequence(u64::from(number) + 1), Timestamp(7));
            state.producers.put(&mut seeds.producers);
            seeds.ends.insert(PartitionId(number), state);
        }
        for (number, next) in [(0, 10), (1, 0), (2, 12)] {
            let beginning = seeds.beginning(PartitionId(number)).unwrap();
            let there = Beginning::read(&beginning.bytes()).unwrap().0;
            assert_eq!(there.next, Offset(next));
            for producer in [1, 3] {
                let verdict = there.producers.judge(sequence(producer));
                assert_eq!(verdict, Verdict::Repeat { next: 5 });
            }
        }
        // A place that was copied when partitions were added is no later for being read last.
        for (epoch, to) in [(1, 9), (1, 7), (0, 90)] {
            let mut state = State::default();
            state.producers.take(Sequence { producer: 3, epoch, from: 5, to }, Timestamp(8));
            state.producers.put(&mut seeds.producers);
        }
        let verdict = seeds.beginning(PartitionId(1)).unwrap().0.producers.judge(sequence(3));
        assert_eq!(verdict, Verdict::Repeat { next: 9 });
        assert!(Beginning::read(&[]).is_none());
        let beginning = || seeds.beginning(PartitionId(2)).unwrap();
        assert_eq!(beginning().behind(Offset(9)).0.next, Offset(12));
        assert_eq!(beginning().behind(Offset(20)).0.next, Offset(20));
        assert_eq!(Beginning::default().behind(Offset(9)).0.next, Offset(9));
    }
}
