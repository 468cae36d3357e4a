//! What a partition's log adds up to, and the commands in it: batches that a leader judged and
//! numbered. Every replica judges them again in the same way, so all have the same records.

use bytes::{BufMut as _, Bytes, BytesMut};
use cluster::raft::Fold;
use model::batch::Sequence;
use model::partition::{Entry, Offset};
use model::time::Timestamp;

use crate::partition::write::{ENTRY_HEAD_BYTES, State, entry_head, read_entry};

/// First byte of a command with batches.
const BATCHES: u8 = 1;
/// First byte of a command that begins the partition where another log ended.
const SEED: u8 = 2;
/// First byte of a command that forgets producers that were silent too long at a time, as programs do it
/// before [`NAMES_PROTOCOL`]: of too many the most silent, whatever they stand for.
const FORGET: u8 = 3;
/// First byte of a command that says over how many partitions batches are spread from now on.
const SPREAD: u8 = 4;
/// First byte of a command with batches that were judged when that had been said: then come how many.
const BATCHES_AMONG: u8 = 5;
/// First byte of a command that forgets producers, of too many first those that stand for names.
const FORGET_NAMES: u8 = 6;
/// The version of the nodes' protocol that forgets producers.
const FORGET_PROTOCOL: u32 = 2;
/// The version that forgets first those that stand for names.
pub(crate) const NAMES_PROTOCOL: u32 = 4;
/// Bytes of how many partitions there are.
const COUNT_BYTES: usize = 4;
/// Bytes of a batch's length before it.
const LENGTH_BYTES: usize = 4;

/// The next offset and the producers, as of the log's last entry.
#[derive(Debug, Default)]
pub(crate) struct PartitionFold(pub(crate) State);

impl Fold for PartitionFold {
    fn snapshot(&self) -> Vec<u8> {
        self.0.snapshot()
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        State::read(bytes).map(Self)
    }

    fn apply(&mut self, _: u64, command: &Bytes) {
        if let Some(state) = seed_of(command) {
            // Only a partition without a record begins elsewhere.
            if self.0.next == Offset(0) {
                let count = self.0.count;
                self.0 = state;
                self.0.count = self.0.count.max(count);
            }
            return;
        }
        if let Some(count) = spread_of(command) {
            self.0.count = self.0.count.max(count);
            return;
        }
        match forget_of(command) {
            Some((FORGET, now)) => return self.0.forget_alike(now),
            Some((_, now)) => return self.0.forget(now),
            None => {}
        }
        if judged_among(command) != Some(self.0.count) {
            return;
        }
        for (entry, sequence) in batches_of(command) {
            if self.0.takes(&entry, sequence) {
                self.0.replay(&entry, sequence);
            }
        }
    }
}

/// A command that begins a partition with this state.
pub(crate) fn seed(state: &State) -> Bytes {
    let mut bytes = vec![SEED];
    bytes.extend(state.snapshot());
    bytes.into()
}

/// The state that a command begins a partition with.
pub(crate) fn seed_of(command: &[u8]) -> Option<State> {
    let rest = command.strip_prefix(&[SEED])?;
    State::read(rest)
}

/// A command that forgets the producers that were silent too long at that time, as all can carry it out that
/// read this version of the nodes' protocol. It is a command, for all replicas must know the same
/// producers: who judges by others would pass over what others take.
pub(crate) fn forget(read: u32, now: Timestamp) -> Option<Bytes> {
    let kind = match read {
        ..FORGET_PROTOCOL => return None,
        FORGET_PROTOCOL..NAMES_PROTOCOL => FORGET,
        NAMES_PROTOCOL.. => FORGET_NAMES,
    };
    let mut bytes = vec![kind];
    bytes.extend(now.0.to_le_bytes());
    Some(bytes.into())
}

/// Which of the two it is, and that time.
fn forget_of(command: &[u8]) -> Option<(u8, Timestamp)> {
    let (kind, rest) = command.split_first()?;
    let now = Timestamp(i64::from_le_bytes(rest.try_into().ok()?));
    matches!(*kind, FORGET | FORGET_NAMES).then_some((*kind, now))
}

/// A command that says over how many partitions batches are spread from now on. It never becomes less.
/// Being a command it has a place among the batches: every replica knows who had sent before it.
pub(crate) fn spread(count: u32) -> Bytes {
    let mut bytes = vec![SPREAD];
    bytes.extend(count.to_le_bytes());
    bytes.into()
}

pub(super) fn spread_of(command: &[u8]) -> Option<u32> {
    let rest = command.strip_prefix(&[SPREAD])?;
    rest.try_into().ok().map(u32::from_le_bytes)
}

/// Whether this program can carry a command out. Whoever passes over what others carry out has other
/// records.
pub(crate) fn is_known(command: &[u8]) -> bool {
    matches!(
        command.first(),
        Some(&(BATCHES | SEED | FORGET | SPREAD | BATCHES_AMONG | FORGET_NAMES))
    )
}

/// A command from batches that were judged and numbered when they were spread over so many partitions, as
/// far as the partition had been told; 0 before.
pub(crate) fn command(count: u32, entries: &[(Entry, Sequence)]) -> Bytes {
    let size = |(entry, _): &(Entry, Sequence)| LENGTH_BYTES + ENTRY_HEAD_BYTES + entry.batch.len();
    let bytes = 1 + COUNT_BYTES + entries.iter().map(size).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(bytes);
    // Programs of earlier versions read what stands before that was told.
    if count == 0 {
        bytes.put_u8(BATCHES);
    } else {
        bytes.put_u8(BATCHES_AMONG);
        bytes.put_u32_le(count);
    }
    for (entry, sequence) in entries {
        let length = ENTRY_HEAD_BYTES + entry.batch.len();
        bytes.put_u32_le(u32::try_from(length).expect("a batch is bounded below 64 MiB"));
        bytes.put_slice(&entry_head(entry, *sequence));
        bytes.put_slice(&entry.batch);
    }
    bytes.freeze()
}

/// Over how many partitions the batches of a command were spread when they were judged; `None` when it has
/// none. If there are more where it stands, nobody takes any of it: it would be of producers of which was
/// said meanwhile that they are not known.
pub(super) fn judged_among(command: &[u8]) -> Option<u32> {
    match command.split_first()? {
        (&BATCHES, _) => Some(0),
        (&BATCHES_AMONG, rest) => rest.first_chunk().copied().map(u32::from_le_bytes),
        _ => None,
    }
}

/// The batches of a command, as the leader numbered them. Nothing is copied.
pub(crate) fn batches_of(command: &Bytes) -> impl Iterator<Item = (Entry, Sequence)> {
    let mut rest = match command.first() {
        Some(&BATCHES) => command.slice(1..),
        Some(&BATCHES_AMONG) => command.slice((1 + COUNT_BYTES).min(command.len())..),
        _ => Bytes::new(),
    };
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(rest.get(..LENGTH_BYTES)?.try_into().ok()?) as usize;
        let _length = rest.split_to(LENGTH_BYTES);
        if rest.len() < length {
            return None;
        }
        read_entry(&rest.split_to(length))
    })
}

#[cfg(test)]
mod tests {
    use model::partition::PartitionId;
    use model::stream::StreamId;
    use proptest::prelude::*;

    use super::*;
    use crate::partition::{AppendError, Checked, Judging, PRODUCER_SILENCE_MAX, PRODUCERS_MAX};
    use crate::route::{homes, owner};

    fn entry(first: u64, record_count: u32, from: u64) -> (Entry, Sequence) {
        let batch = Bytes::from(vec![7; record_count as usize]);
        let ingest_time = Timestamp(5);
        let sequence = Sequence { producer: 1, epoch: 0, from, to: from + 1 };
        (Entry { first: Offset(first), record_count, ingest_time, batch }, sequence)
    }

    #[test]
    fn what_does_not_follow_is_passed_over_by_everybody() {
        let mut fold = PartitionFold::default();
        fold.apply(1, &command(0, &[entry(0, 3, 0), entry(3, 2, 1)]));
        assert_eq!(fold.0.next, Offset(5));
        // Numbered by a leader that did not know those.
        fold.apply(2, &command(0, &[entry(3, 2, 2)]));
        // Sent twice.
        fold.apply(3, &command(0, &[entry(5, 2, 1)]));
        assert_eq!(fold.0.next, Offset(5));
        fold.apply(4, &command(0, &[entry(5, 2, 2)]));
        assert_eq!(fold.0.next, Offset(7));
        let back = PartitionFold::restore(&fold.snapshot()).unwrap();
        assert_eq!(back.0.next, Offset(7));
        let mut late = PartitionFold::default();
        late.apply(1, &seed(&fold.0));
        assert_eq!(late.snapshot(), fold.snapshot());
        late.apply(2, &seed(&State::default()));
        assert_eq!(late.0.next, Offset(7));
    }

    #[test]
    fn who_is_silent_is_forgotten_by_everybody() {
        assert_eq!(forget(1, Timestamp(6)), None);
        for version in FORGET_PROTOCOL..=NAMES_PROTOCOL {
            let forget = |at: i64| forget(version, Timestamp(at)).unwrap();
            let mut fold = PartitionFold::default();
            fold.apply(1, &command(0, &[entry(0, 3, 0)]));
            fold.apply(2, &forget(6));
            assert_eq!(fold.0.producer_count(), 1);
            fold.apply(3, &forget(PRODUCER_SILENCE_MAX + 6));
            assert_eq!((fold.0.producer_count(), fold.0.next), (0, Offset(3)));
        }
    }

    /// A producer for each batch, one record in each; the first is no name, the rest are.
    fn named(count: u64) -> Bytes {
        let entry = |number: u64| {
            let of_names = Sequence::OF_KEY | Sequence::OF_NAMES;
            let from = if number == 0 { 0 } else { of_names };
            let sequence = Sequence { producer: number + 1, epoch: 0, from, to: from + 1 };
            let (ingest_time, batch) = (Timestamp(i64::try_from(number).unwrap()), Bytes::new());
            (Entry { first: Offset(number), record_count: 1, ingest_time, batch }, sequence)
        };
        command(0, &(0..count).map(entry).collect::<Vec<_>>())
    }

    #[test]
    fn of_too_many_producers_each_version_forgets_those_that_it_did() {
        let forgotten = |version: u32| {
            let mut fold = PartitionFold::default();
            fold.apply(1, &named(PRODUCERS_MAX as u64 + 1));
            let now = fold.0.last();
            fold.apply(2, &forget(version, now).unwrap());
            assert_eq!(fold.0.producer_count(), PRODUCERS_MAX);
            (1..=3).filter(|producer| !fold.0.knows(*producer)).collect::<Vec<u64>>()
        };
        // Replicas of neighbouring versions carry out the same until none of the earlier is there.
        assert_eq!((forgotten(2), forgotten(3)), (vec![1], vec![1]));
        assert_eq!((forgotten(NAMES_PROTOCOL), forgotten(5)), (vec![2], vec![2]));
    }

    #[test]
    fn who_was_known_before_partitions_were_added_stays_and_who_is_new_goes() {
        let mut fold = PartitionFold::default();
        fold.apply(1, &command(0, &[entry(0, 3, 0)]));
        let plain = fold.snapshot();
        // A stream that goes from the first of two partitions to another of four, and one that stays.
        let is_of = |stream: &StreamId, two: u32, four: u32| {
            homes(*stream, &[2, 4]).first() == Some(&PartitionId(two))
                && owner(*stream, 4) == Some(PartitionId(four))
        };
        let find = |four: u32| (0..).map(StreamId).find(|one| is_of(one, 0, four)).unwrap();
        let [moved, stays] = [find(3), find(0)];
        fold.apply(2, &spread(4));
        fold.apply(3, &spread(2));
        let back = PartitionFold::restore(&fold.snapshot()).unwrap();
        assert_eq!((back.0.count, back.0.producer_count(), back.0.next), (4, 1, Offset(3)));
        assert!(PartitionFold::restore(&plain).is_some_and(|plain| plain.0.count == 0));
        let check = |producer: u64, from: u64, stream: StreamId, expected: Option<bool>| {
            let sequence = Sequence { producer, epoch: 0, from, to: from + 1 };
            let batch = Checked { sequence, stream, record_count: 1, bytes: Bytes::new() };
            let mut judging = Judging::new(PartitionId(0), &back.0, Timestamp(9), Ok(()));
            let judged = judging.request(vec![batch]);
            match (judged, expected) {
                (Ok(taken), Some(duplicate)) => assert_eq!(taken[0].duplicate, duplicate),
                (Err(AppendError::Elsewhere { count: 4 }), None) => {}
                (judged, _) => panic!("{producer} {from}: {judged:?}"),
            }
        };
        check(1, 0, moved, Some(true));
        check(1, 1, moved, Some(false));
        check(2, 0, moved, None);
        check(2, 0, stays, Some(false));
        // A request whose first batch is taken may go on.
        let two = [0, 1].map(|from| Checked {
            sequence: Sequence { producer: 1, epoch: 0, from: from + 1, to: from + 2 },
            stream: moved,
            record_count: 1,
            bytes: Bytes::new(),
        });
        let mut judging = Judging::new(PartitionId(0), &back.0, Timestamp(9), Ok(()));
        assert_eq!(judging.request(two.to_vec()).unwrap().len(), 2);
    }

    #[test]
    fn what_was_judged_before_partitions_were_added_is_taken_by_nobody_behind_that() {
        let of_three = |count: u32, from: u64| command(count, &[entry(3, 2, from)]);
        let mut fold = PartitionFold::default();
        let log = [command(0, &[entry(0, 3, 0)]), spread(4), of_three(0, 1), of_three(2, 1)];
        log.iter().for_each(|command| fold.apply(1, command));
        assert_eq!((fold.0.next, fold.0.count), (Offset(3), 4));
        fold.apply(2, &of_three(4, 1));
        assert_eq!(fold.0.next, Offset(5));
        // Nor before it: it was judged on a log that is not this one.
        let mut fold = PartitionFold::default();
        fold.apply(1, &command(4, &[entry(0, 3, 0)]));
        assert_eq!(fold.0.next, Offset(0));
    }

    #[test]
    fn what_a_later_version_wrote_is_known_for_that() {
        for known in
            [command(0, &[entry(0, 1, 0)]), command(4, &[]), seed(&State::default()), spread(3)]
        {
            assert!(is_known(&known));
        }
        assert!([2, 4].iter().all(|read| is_known(&forget(*read, Timestamp(1)).unwrap())));
        // What earlier programs know is what it takes their version to read.
        assert_eq!(forget(3, Timestamp(1)).unwrap()[0], FORGET);
        assert!(!is_known(&[9, 1]) && !is_known(&[]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_command(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            let mut fold = PartitionFold::default();
            fold.apply(1, &bytes);
            for kind in [BATCHES, SEED, FORGET, SPREAD, BATCHES_AMONG, FORGET_NAMES] {
                fold.apply(2, &Bytes::from([&[kind][..], &bytes].concat()));
            }
        }
    }
}
