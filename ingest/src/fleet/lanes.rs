//! Sequences for batches that came without one: each request that is on its way has a lane, a
//! producer of its own, so that sending it again is no second record.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::batch::Sequence;
use model::partition::PartitionId;

use crate::partition::Checked;

/// Lanes that are kept for a partition when nothing is on its way.
const IDLE_LANES_MAX: usize = 256;

/// The lanes of a node.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeMap<PartitionId, Vec<Lane>>>);

/// A producer that has at most one request on its way.
#[derive(Debug)]
pub(crate) struct Lane {
    producer: u64,
    next: u64,
    /// Where it is when the request on its way was taken.
    after: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was taken, now or at a try before.
    Taken,
    /// It was surely not taken.
    Refused,
    /// It may have been taken.
    InDoubt,
}

impl Lanes {
    /// Gives the batches without a sequence one. `None` when there are none.
    pub(super) fn take(&self, partition: PartitionId, batches: &mut [Checked]) -> Option<Lane> {
        self.take_as(partition, batches, platform::random::u64)
    }

    /// The same, with names for new producers.
    pub(crate) fn take_as(
        &self,
        partition: PartitionId,
        batches: &mut [Checked],
        draw: impl FnOnce() -> u64,
    ) -> Option<Lane> {
        if batches.iter().all(|batch| batch.sequence.producer != 0) {
            return None;
        }
        let idle = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.entry(partition).or_default().pop()
        };
        let new = || Lane { producer: draw(), next: 0, after: 0 };
        let mut lane = idle.unwrap_or_else(new);
        lane.after = lane.next;
        for batch in batches.iter_mut().filter(|batch| batch.sequence.producer == 0) {
            let (producer, from) = (lane.producer, lane.after);
            lane.after += 1;
            batch.sequence = Sequence { producer, epoch: 0, from, to: lane.after };
        }
        Some(lane)
    }

    /// Its request came to an end.
    pub(crate) fn give_back(&self, partition: PartitionId, mut lane: Lane, fate: Fate) {
        match fate {
            Fate::Taken => lane.next = lane.after,
            Fate::Refused => {}
            // Its next request would be taken for the one in doubt.
            Fate::InDoubt => return,
        }
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = lanes.entry(partition).or_default();
        if idle.len() < IDLE_LANES_MAX {
            idle.push(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::stream::StreamId;

    use super::*;

    fn batches(producers: &[u64]) -> Vec<Checked> {
        let batch = |producer: &u64| Checked {
            sequence: Sequence {
                producer: *producer,
                epoch: 0,
                from: 0,
                to: u64::from(*producer != 0),
            },
            stream: StreamId(1),
            record_count: 1,
            bytes: Bytes::new(),
        };
        producers.iter().map(batch).collect()
    }

    #[test]
    fn a_lane_counts_what_was_taken_and_has_one_request() {
        let (lanes, partition) = (Lanes::default(), PartitionId(0));
        assert!(lanes.take(partition, &mut batches(&[7])).is_none());
        let mut first = batches(&[0, 7, 0]);
        let lane = lanes.take(partition, &mut first).unwrap();
        let ends: Vec<u64> = first.iter().map(|batch| batch.sequence.to).collect();
        assert_eq!((ends, first[1].sequence.producer), (vec![1, 1, 2], 7));
        let mut second = batches(&[0]);
        let other = lanes.take(partition, &mut second).unwrap();
        assert_ne!(first[0].sequence.producer, second[0].sequence.producer);
        lanes.give_back(partition, other, Fate::Refused);
        lanes.give_back(partition, lane, Fate::Taken);
        let mut third = batches(&[0]);
        lanes.take(partition, &mut third).unwrap();
        assert_eq!(
            (third[0].sequence.producer, third[0].sequence.from),
            (first[0].sequence.producer, 2)
        );
        let lane = lanes.take(partition, &mut batches(&[0])).unwrap();
        let in_doubt = lane.producer;
        lanes.give_back(partition, lane, Fate::InDoubt);
        assert_ne!(lanes.take(partition, &mut batches(&[0])).unwrap().producer, in_doubt);
    }
}
