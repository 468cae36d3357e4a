//! Messages of GELF that came in several datagrams, put together within bounds.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

/// What a chunk begins with.
const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Bytes before a chunk's content: magic, id, number, count.
const HEAD_BYTES: usize = 12;
/// Chunks of a message, by the standard.
const CHUNKS_MAX: u8 = 128;
/// Messages that wait for chunks; of more the oldest is given up.
const MESSAGES_MAX: usize = 1_024;
/// Bytes that wait for chunks; of more the oldest message is given up.
const BYTES_MAX: usize = 16 << 20;
/// How long a message waits for its chunks, by the standard.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Chunks that wait for others.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    messages: HashMap<Key, Message>,
    order: VecDeque<Key>,
    bytes: usize,
}

/// Sender and id.
type Key = (IpAddr, [u8; 8]);

#[derive(Debug)]
struct Message {
    parts: Vec<Option<Bytes>>,
    missing: usize,
    since: Duration,
}

/// What a datagram brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A whole message.
    Whole(Bytes),
    /// A part of one that is not whole yet.
    Part,
    /// What cannot be a part.
    Broken(&'static str),
}

impl Chunks {
    /// Takes a datagram. Gives up what has waited too long, and says how many messages that were.
    pub(super) fn take(&mut self, peer: IpAddr, bytes: Bytes, now: Duration) -> (Arrived, u64) {
        let lost = self.forget(now);
        if !bytes.starts_with(&MAGIC) {
            return (Arrived::Whole(bytes), lost);
        }
        let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return (Arrived::Broken("a chunk of GELF without its head"), lost);
        };
        let [_, _, id @ .., number, count] = *head;
        if count == 0 || count > CHUNKS_MAX || number >= count {
            return (Arrived::Broken("a chunk of GELF with a number that cannot be"), lost);
        }
        (self.add((peer, id), number, count, bytes.slice(HEAD_BYTES..), now), lost)
    }

    fn add(&mut self, key: Key, number: u8, count: u8, part: Bytes, now: Duration) -> Arrived {
        let message = self.messages.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            let count = usize::from(count);
            Message { parts: vec![None; count], missing: count, since: now }
        });
        let Some(place) = message.parts.get_mut(usize::from(number)) else {
            return Arrived::Broken("a chunk of GELF with another count than its neighbours");
        };
        if place.is_some() {
            return Arrived::Part;
        }
        self.bytes += part.len();
        *place = Some(part);
        message.missing -= 1;
        if message.missing > 0 {
            return Arrived::Part;
        }
        self.order.retain(|waiting| *waiting != key);
        match self.remove(&key) {
            Some(message) => Arrived::Whole(
                message.parts.into_iter().flatten().collect::<Vec<_>>().concat().into(),
            ),
            None => Arrived::Part,
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Message> {
        let message = self.messages.remove(key)?;
        self.bytes -= message.parts.iter().flatten().map(Bytes::len).sum::<usize>();
        Some(message)
    }

    /// How many messages are not whole yet.
    pub(super) fn waiting(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Gives up what has waited too long or is over a bound, and says how many messages that were.
    pub(super) fn forget(&mut self, now: Duration) -> u64 {
        let mut lost = 0;
        while let Some(key) = self.order.front().copied() {
            let is_old = self
                .messages
                .get(&key)
                .is_none_or(|message| now.saturating_sub(message.since) > WAIT_MAX);
            if !is_old && self.order.len() <= MESSAGES_MAX && self.bytes <= BYTES_MAX {
                break;
            }
            self.order.pop_front();
            lost += u64::from(self.remove(&key).is_some());
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn chunk(id: u8, number: u8, count: u8, part: &[u8]) -> Bytes {
        [&MAGIC[..], &[id; 8], &[number, count], part].concat().into()
    }

    #[test]
    fn parts_in_any_order_are_one_message() {
        let mut chunks = Chunks::default();
        let now = Duration::from_secs(1);
        let mut take = |bytes| chunks.take(PEER, bytes, now).0;
        assert_eq!(take(chunk(1, 2, 3, b"c")), Arrived::Part);
        assert_eq!(take(chunk(2, 0, 2, b"x")), Arrived::Part);
        assert_eq!(take(chunk(1, 0, 3, b"a")), Arrived::Part);
        assert_eq!(take(chunk(1, 0, 3, b"again")), Arrived::Part);
        assert_eq!(take(chunk(1, 1, 3, b"b")), Arrived::Whole("abc".into()));
        assert_eq!(take("{}".into()), Arrived::Whole("{}".into()));
        assert!(matches!(take(chunk(1, 3, 3, b"")), Arrived::Broken(_)));
        assert!(matches!(take(chunk(2, 1, 9, b"")), Arrived::Part | Arrived::Whole(_)));
        assert!(matches!(take(Bytes::from_static(&MAGIC)), Arrived::Broken(_)));
    }

    #[test]
    fn what_never_becomes_whole_is_given_up() {
        let mut chunks = Chunks::default();
        let start = Duration::from_secs(1);
        chunks.take(PEER, chunk(1, 0, 2, b"a"), start);
        let late = start + WAIT_MAX + Duration::from_millis(1);
        assert_eq!(chunks.take(PEER, chunk(1, 1, 2, b"b"), late), (Arrived::Part, 1));
        let many = (0..2 * MESSAGES_MAX as u64).map(|number| {
            let id = number.to_le_bytes();
            Bytes::from([&MAGIC[..], &id, &[0, 2], &[7; 100]].concat())
        });
        let lost: u64 = many.map(|bytes| chunks.take(PEER, bytes, late).1).sum();
        assert!(lost >= MESSAGES_MAX as u64 - 1, "{lost}");
        assert!(chunks.messages.len() <= MESSAGES_MAX + 1);
        assert_eq!(chunks.messages.len(), chunks.order.len());
        // Nothing has to come for that.
        let later = late + WAIT_MAX + Duration::from_millis(1);
        assert_eq!(chunks.waiting(), chunks.forget(later));
        assert_eq!((chunks.waiting(), chunks.bytes, chunks.forget(later)), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn any_datagrams_are_counted_right(all in prop::collection::vec((0..3_u8, 0..4_u8, 0..4_u8, 0..9_usize), 0..60)) {
            let mut chunks = Chunks::default();
            for (id, number, count, length) in all {
                chunks.take(PEER, chunk(id, number, count, &vec![0; length]), Duration::ZERO);
            }
            let bytes = chunks.messages.values().flat_map(|m| m.parts.iter().flatten());
            prop_assert_eq!(chunks.bytes, bytes.map(Bytes::len).sum::<usize>());
        }
    }
}
