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
/// First byte of a command that forgets producers that were silent too long at a time.
const FORGET: u8 = 3;
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
                self.0 = state;
            }
            return;
        }
        if let Some(now) = forget_of(command) {
            self.0.forget(now);
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

/// A command that forgets the producers that were silent too long at that time. It is a command, for
/// all replicas must know the same producers: who judges by others would pass over what others take.
pub(crate) fn forget(now: Timestamp) -> Bytes {
    let mut bytes = vec![FORGET];
    bytes.extend(now.0.to_le_bytes());
    bytes.into()
}

fn forget_of(command: &[u8]) -> Option<Timestamp> {
    let rest = command.strip_prefix(&[FORGET])?;
    rest.try_into().ok().map(|bytes| Timestamp(i64::from_le_bytes(bytes)))
}

/// A command from numbered batches.
pub(crate) fn command(entries: &[(Entry, Sequence)]) -> Bytes {
    let size = |(entry, _): &(Entry, Sequence)| LENGTH_BYTES + ENTRY_HEAD_BYTES + entry.batch.len();
    let mut bytes = BytesMut::with_capacity(1 + entries.iter().map(size).sum::<usize>());
    bytes.put_u8(BATCHES);
    for (entry, sequence) in entries {
        let length = ENTRY_HEAD_BYTES + entry.batch.len();
        bytes.put_u32_le(u32::try_from(length).expect("a batch is bounded below 64 MiB"));
        bytes.put_slice(&entry_head(entry, *sequence));
        bytes.put_slice(&entry.batch);
    }
    bytes.freeze()
}

/// The batches of a command, as the leader numbered them. Nothing is copied.
pub(crate) fn batches_of(command: &Bytes) -> impl Iterator<Item = (Entry, Sequence)> {
    let is_batches = command.first() == Some(&BATCHES);
    let mut rest = if is_batches { command.slice(1..) } else { Bytes::new() };
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
    use proptest::prelude::*;

    use super::*;
    use crate::partition::PRODUCER_SILENCE_MAX;

    fn entry(first: u64, record_count: u32, from: u64) -> (Entry, Sequence) {
        let batch = Bytes::from(vec![7; record_count as usize]);
        let ingest_time = Timestamp(5);
        let sequence = Sequence { producer: 1, epoch: 0, from, to: from + 1 };
        (Entry { first: Offset(first), record_count, ingest_time, batch }, sequence)
    }

    #[test]
    fn what_does_not_follow_is_passed_over_by_everybody() {
        let mut fold = PartitionFold::default();
        fold.apply(1, &command(&[entry(0, 3, 0), entry(3, 2, 1)]));
        assert_eq!(fold.0.next, Offset(5));
        // Numbered by a leader that did not know those.
        fold.apply(2, &command(&[entry(3, 2, 2)]));
        // Sent twice.
        fold.apply(3, &command(&[entry(5, 2, 1)]));
        assert_eq!(fold.0.next, Offset(5));
        fold.apply(4, &command(&[entry(5, 2, 2)]));
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
        let mut fold = PartitionFold::default();
        fold.apply(1, &command(&[entry(0, 3, 0)]));
        fold.apply(2, &forget(Timestamp(6)));
        assert_eq!(fold.0.producer_count(), 1);
        fold.apply(3, &forget(Timestamp(PRODUCER_SILENCE_MAX + 6)));
        assert_eq!((fold.0.producer_count(), fold.0.next), (0, Offset(3)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_command(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            let mut fold = PartitionFold::default();
            fold.apply(1, &bytes);
            for kind in [BATCHES, SEED, FORGET] {
                fold.apply(2, &Bytes::from([&[kind][..], &bytes].concat()));
            }
        }
    }
}
