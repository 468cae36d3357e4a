//! Where each producer's last batch ended: what makes a resend a no-op, also after a crash.

use std::cmp::Ordering;
use std::collections::HashMap;

use model::batch::Sequence;
use model::time::{SECOND, Timestamp};

/// Producers remembered by a partition. The longest silent ones are forgotten beyond that.
pub const PRODUCERS_MAX: usize = 200_000;
/// Silence after which a producer is forgotten, nanoseconds: 7 days.
pub const PRODUCER_SILENCE_MAX: i64 = 7 * 24 * 3600 * SECOND;

/// The same of what stands for the names of records, nanoseconds: an hour. Every batch of them is
/// another one.
const NAMES_SILENCE_MAX: i64 = 3600 * SECOND;

/// Bytes of a producer in a snapshot.
pub(super) const PRODUCER_BYTES: usize = 28;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: u32,
    next: u64,
    seen: Timestamp,
}

impl Producer {
    /// Whether it stands for the names of records: one batch, which is all that it ever sends.
    fn is_of_names(&self) -> bool {
        let of_names = Sequence::OF_KEY | Sequence::OF_NAMES;
        self.next & of_names == of_names
    }

    /// Whether it may still send something again.
    fn is_awaited(&self, now: Timestamp) -> bool {
        let max = match self.is_of_names() {
            true => NAMES_SILENCE_MAX,
            false => PRODUCER_SILENCE_MAX,
        };
        now.0.saturating_sub(self.seen.0) < max
    }
}

/// What a batch is, by its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it.
    New,
    /// It was taken before; the producer's next batch starts there.
    Repeat {
        /// Where the producer is.
        next: u64,
    },
    /// It does not start where the last one ended.
    Gap {
        /// Where it must start.
        next: u64,
    },
    /// A newer life of the producer has been seen; of a request's key, another body.
    Fenced {
        /// That life.
        current: u32,
    },
}

/// The producers of one partition.
#[derive(Debug)]
pub(crate) struct Producers {
    known: HashMap<u64, Producer>,
    /// How many are remembered. All replicas must remember as many.
    remembered_max: usize,
}

impl Default for Producers {
    fn default() -> Self {
        Self { known: HashMap::new(), remembered_max: PRODUCERS_MAX }
    }
}

impl Producers {
    /// None, of which so many are remembered.
    #[cfg(test)]
    pub(super) fn remembering(remembered_max: usize) -> Self {
        Self { remembered_max, ..Self::default() }
    }

    /// None, of which as many are remembered.
    #[cfg(test)]
    pub(super) fn emptied(&self) -> Self {
        Self::remembering(self.remembered_max)
    }

    /// Whether there are more than are remembered.
    pub(super) fn are_too_many(&self) -> bool {
        self.known.len() > self.remembered_max
    }

    /// Whether there are so many more that some are to be forgotten now.
    pub(super) fn are_far_too_many(&self) -> bool {
        self.known.len() > self.remembered_max + self.remembered_max / 8
    }

    /// What a batch of this sequence is. Changes nothing.
    pub(crate) fn judge(&self, sequence: Sequence) -> Verdict {
        self.judge_after(sequence, None)
    }

    /// What a batch is when the producer's batch before it is not taken down yet.
    pub(super) fn judge_after(&self, sequence: Sequence, before: Option<Sequence>) -> Verdict {
        let pending = before.map(|one| Producer {
            epoch: one.epoch,
            next: one.to,
            seen: Timestamp::default(),
        });
        let known = pending.or(self.known.get(&sequence.producer).copied());
        let Some(known) = known.filter(|_| sequence.producer != 0) else {
            return Verdict::New;
        };
        let next = known.next;
        let is_of_key = sequence.from & Sequence::OF_KEY != 0;
        match sequence.epoch.cmp(&known.epoch) {
            Ordering::Greater if !is_of_key => Verdict::New,
            Ordering::Less | Ordering::Greater => Verdict::Fenced { current: known.epoch },
            _ if sequence.to <= next && sequence.from < sequence.to => Verdict::Repeat { next },
            _ if sequence.from == next => Verdict::New,
            _ => Verdict::Gap { next },
        }
    }

    /// Remembers a batch that is taken.
    pub(super) fn take(&mut self, sequence: Sequence, now: Timestamp) {
        if sequence.producer != 0 {
            let producer = Producer { epoch: sequence.epoch, next: sequence.to, seen: now };
            self.known.insert(sequence.producer, producer);
        }
    }

    /// Whether a producer has sent something here and is remembered.
    pub(super) fn knows(&self, producer: u64) -> bool {
        self.known.contains_key(&producer)
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Forgets who has been silent too long, and the most silent beyond the bound: of those that stand for
    /// names first, which would push out everybody else. Whoever knows the same forgets the same.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.known.retain(|_, producer| producer.is_awaited(now));
        self.forget_most_silent(Producer::is_of_names);
        self.forget_most_silent(|_| true);
    }

    /// Of a kind as many as there are too many in all.
    fn forget_most_silent(&mut self, is_of_kind: fn(&Producer) -> bool) {
        let excess = self.known.len().saturating_sub(self.remembered_max);
        if excess == 0 {
            return;
        }
        let all = self.known.iter().filter(|(_, producer)| is_of_kind(producer));
        let mut seen: Vec<(Timestamp, u64)> = all.map(|(id, one)| (one.seen, *id)).collect();
        let stays = match seen.len() > excess {
            true => Some(*seen.select_nth_unstable(excess).1),
            false => None,
        };
        self.known.retain(|id, producer| {
            !is_of_kind(producer) || stays.is_some_and(|first| (producer.seen, *id) >= first)
        });
    }

    /// As programs forget that speak a version of the nodes' protocol before the fourth: the most silent
    /// beyond the bound, whatever they stand for. It stands in logs of theirs.
    pub(super) fn forget_alike(&mut self, now: Timestamp) {
        self.known.retain(|_, producer| producer.is_awaited(now));
        if self.are_too_many() {
            let mut seen: Vec<Timestamp> =
                self.known.values().map(|producer| producer.seen).collect();
            let excess = seen.len() - self.remembered_max;
            let (_, oldest_kept, _) = seen.select_nth_unstable(excess);
            let oldest_kept = *oldest_kept;
            self.known.retain(|_, producer| producer.seen >= oldest_kept);
        }
    }

    /// All of them as bytes, behind what is in `out`.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for (id, producer) in &self.known {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&producer.epoch.to_le_bytes());
            out.extend_from_slice(&producer.next.to_le_bytes());
            out.extend_from_slice(&producer.seen.0.to_le_bytes());
        }
    }

    /// Reads what [`Producers::put`] wrote. Of several places of one producer, as they may be known in several
    /// partitions, the last counts: the others are what was known when partitions were added.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut producers: HashMap<u64, Producer> = HashMap::new();
        for bytes in bytes.chunks(PRODUCER_BYTES) {
            let number =
                |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
            let epoch = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
            let seen = Timestamp(number(20)?.cast_signed());
            let producer = Producer { epoch, next: number(12)?, seen };
            let known = producers.entry(number(0)?).or_insert(producer);
            if (known.epoch, known.next) < (epoch, producer.next) {
                *known = producer;
            }
        }
        Some(Self { known: producers, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(epoch: u32, from: u64, to: u64) -> Sequence {
        Sequence { producer: 9, epoch, from, to }
    }

    #[test]
    fn a_batch_is_taken_once_and_in_order() {
        let mut producers = Producers::default();
        assert_eq!(producers.judge(sequence(1, 50, 80)), Verdict::New);
        producers.take(sequence(1, 50, 80), Timestamp(0));
        assert_eq!(producers.judge(sequence(1, 50, 80)), Verdict::Repeat { next: 80 });
        assert_eq!(producers.judge(sequence(1, 50, 70)), Verdict::Repeat { next: 80 });
        assert_eq!(producers.judge(sequence(1, 50, 90)), Verdict::Gap { next: 80 });
        assert_eq!(producers.judge(sequence(1, 90, 95)), Verdict::Gap { next: 80 });
        assert_eq!(producers.judge(sequence(1, 80, 95)), Verdict::New);
        assert_eq!(producers.judge(sequence(0, 80, 95)), Verdict::Fenced { current: 1 });
        assert_eq!(producers.judge(sequence(2, 0, 5)), Verdict::New);
    }

    #[test]
    fn a_key_names_one_body() {
        let batch = |epoch: u32, nth: u64| {
            sequence(epoch, Sequence::OF_KEY | nth, Sequence::OF_KEY | (nth + 1))
        };
        let mut producers = Producers::default();
        producers.take(batch(7, 0), Timestamp(0));
        assert_eq!(producers.judge(batch(7, 1)), Verdict::New);
        producers.take(batch(7, 1), Timestamp(0));
        let next = Sequence::OF_KEY | 2;
        assert_eq!(producers.judge(batch(7, 0)), Verdict::Repeat { next });
        for other in [0, 6, 8] {
            assert_eq!(producers.judge(batch(other, 0)), Verdict::Fenced { current: 7 });
        }
    }

    #[test]
    fn a_batch_behind_one_that_is_not_taken_down_yet_is_judged_by_it() {
        let mut producers = Producers::default();
        producers.take(sequence(1, 0, 10), Timestamp(0));
        let before = Some(sequence(1, 10, 20));
        assert_eq!(producers.judge_after(sequence(1, 20, 30), before), Verdict::New);
        assert_eq!(
            producers.judge_after(sequence(1, 10, 20), before),
            Verdict::Repeat { next: 20 }
        );
        assert_eq!(producers.judge(sequence(1, 20, 30)), Verdict::Gap { next: 10 });
    }

    #[test]
    fn a_snapshot_reads_back_and_the_silent_are_forgotten() {
        let mut producers = Producers::default();
        producers.take(sequence(1, 0, 10), Timestamp(5));
        let mut bytes = Vec::new();
        producers.put(&mut bytes);
        let mut back = Producers::read(&bytes).unwrap();
        assert_eq!(back.known, producers.known);
        assert!(Producers::read(&bytes[1..]).is_none());
        let from = Sequence::OF_KEY | Sequence::OF_NAMES;
        let names = Sequence { producer: 10, epoch: 3, from, to: from + 1 };
        back.take(names, Timestamp(5));
        back.forget(Timestamp(NAMES_SILENCE_MAX));
        assert_eq!((back.judge(names), back.count()), (Verdict::Repeat { next: from + 1 }, 2));
        back.forget(Timestamp(NAMES_SILENCE_MAX + 6));
        assert_eq!((back.judge(names), back.count()), (Verdict::New, 1));
        back.forget(Timestamp(PRODUCER_SILENCE_MAX + 6));
        assert_eq!(back.count(), 0);
    }

    /// So many that stand for names, and before them as many others.
    fn crowd(others: u64, of_names: u64) -> Producers {
        let mut producers = Producers::default();
        for id in 1..=others {
            let seen = Timestamp(i64::try_from(id).unwrap());
            producers.take(Sequence { producer: id, epoch: 0, from: 0, to: 9 }, seen);
        }
        let from = Sequence::OF_KEY | Sequence::OF_NAMES;
        for id in others + 1..=others + of_names {
            // Many come at one moment.
            let seen = Timestamp(i64::try_from(others + id / 1_000).unwrap());
            producers.take(Sequence { producer: id, epoch: 0, from, to: from + 1 }, seen);
        }
        producers
    }

    #[test]
    fn names_push_nobody_out_but_the_oldest_names() {
        let max = PRODUCERS_MAX as u64;
        let (others, excess) = (1_000, 2_500);
        let now = Timestamp(i64::try_from(2 * max).unwrap());
        let mut producers = crowd(others, max - others + excess);
        producers.forget(now);
        assert_eq!(producers.count(), PRODUCERS_MAX);
        assert!((1..=others).all(|id| producers.knows(id)));
        assert!((others + 1..=others + excess).all(|id| !producers.knows(id)));
        assert!((others + excess + 1..=max + excess).all(|id| producers.knows(id)));
        // As it was before: whoever is silent longest.
        let mut alike = crowd(others, max - others + excess);
        alike.forget_alike(now);
        assert!((1..=others).all(|id| !alike.knows(id)));
        // Where there are too many others, no name is left, and the most silent go.
        let mut producers = crowd(max + 10, 20);
        producers.forget(now);
        assert_eq!(producers.count(), PRODUCERS_MAX);
        assert!(!producers.knows(10) && producers.knows(11) && !producers.knows(max + 11));
    }
}
