//! A record of the spool as bytes: a head with its own checksum, so that its length can be
//! trusted, and a payload with another. What is damaged is passed up to the next whole head.
//!
//! ```text
//! 0  magic  a7 53          8  arrival, nanoseconds since 1970 (i64)
//! 2  kind   1, 2 or 3     16  CRC-32C of the payload (u32)
//! 3  flags  1: cut        20  CRC-32C of the bytes before (u32)
//! 4  payload bytes (u32)  24  payload
//! ```
//! Numbers are little endian.

use model::limits::MESSAGE_BYTES_MAX;
use model::time::Timestamp;

/// First bytes of every record: no text begins so.
const MAGIC: [u8; 2] = [0xA7, 0x53];
/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 24;
/// Bytes of a peer's name.
const PEER_BYTES_MAX: usize = 255;
/// Bytes of the longest record.
pub(crate) const RECORD_BYTES_MAX: usize = HEAD_BYTES + 1 + PEER_BYTES_MAX + MESSAGE_BYTES_MAX;

/// A line as it is.
const LINE: u8 = 1;
/// A line behind the name of who sent it, which begins with its length.
const SENT: u8 = 2;
/// Our own words: JSON, whatever the format of the others is.
const OWN: u8 = 3;
/// The line was longer.
const CUT: u8 = 1;

/// What was put into the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spooled<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) note: Note<'a>,
}

/// What is known of a spooled line beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Note<'a> {
    /// When it came.
    pub(crate) arrival: Option<Timestamp>,
    /// Who sent it.
    pub(crate) peer: Option<&'a str>,
    /// It was longer.
    pub(crate) cut: bool,
    /// It is our own JSON.
    pub(crate) own: bool,
}

impl Note<'_> {
    /// It is a record by itself: no lines are joined with it.
    pub(crate) fn is_whole(&self) -> bool {
        self.own || self.peer.is_some()
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A whole record of so many bytes.
    Whole(Spooled<'a>, usize),
    /// So many bytes are no record.
    Damaged(usize),
    /// A record may go on behind the bytes, or there are none.
    Open,
}

/// Appends a record; of a text over the bound the beginning.
pub(crate) fn put(out: &mut Vec<u8>, text: &[u8], note: Note<'_>) {
    let kept = crate::frame::cut(text, MESSAGE_BYTES_MAX);
    let cut = note.cut || kept.len() < text.len();
    let peer = note.peer.map(|peer| model::text::cut(peer, PEER_BYTES_MAX));
    let kind = match (note.own, peer) {
        (true, _) => OWN,
        (false, Some(_)) => SENT,
        (false, None) => LINE,
    };
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    if kind == SENT
        && let Some(peer) = peer
    {
        out.push(u8::try_from(peer.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(peer.as_bytes());
    }
    out.extend_from_slice(kept);
    let payload = out.get(start + HEAD_BYTES..).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&[kind, u8::from(cut) * CUT]);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&note.arrival.unwrap_or_default().0.to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    if let Some(place) = out.get_mut(start..start + HEAD_BYTES) {
        place.copy_from_slice(&head);
    }
}

/// What stands first.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    match whole(bytes) {
        Ok(Some((spooled, used))) => Next::Whole(spooled, used),
        Ok(None) => Next::Open,
        Err(passed) => Next::Damaged(passed),
    }
}

/// `Err`: so many bytes are to be passed.
fn whole(bytes: &[u8]) -> Result<Option<(Spooled<'_>, usize)>, usize> {
    if bytes.len() < HEAD_BYTES {
        return Ok(None);
    }
    let Some(head) = Head::read(bytes) else { return Err(to_next_head(bytes)) };
    let used = HEAD_BYTES + head.length;
    let Some(payload) = bytes.get(HEAD_BYTES..used) else { return Ok(None) };
    if crc32c::crc32c(payload) != head.crc {
        return Err(used);
    }
    let mut note = Note { arrival: Some(head.arrival), cut: head.cut, ..Note::default() };
    let text = match head.kind {
        SENT => {
            let (length, rest) = payload.split_first().ok_or(used)?;
            let (peer, text) = rest.split_at_checked(usize::from(*length)).ok_or(used)?;
            note.peer = std::str::from_utf8(peer).ok();
            text
        }
        kind => {
            note.own = kind == OWN;
            payload
        }
    };
    Ok(Some((Spooled { text, note }, used)))
}

struct Head {
    kind: u8,
    cut: bool,
    length: usize,
    arrival: Timestamp,
    crc: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (checked, crc) = head.split_last_chunk::<4>()?;
        if !checked.starts_with(&MAGIC) || crc32c::crc32c(checked).to_le_bytes() != *crc {
            return None;
        }
        let &[_, _, kind, flags, ref rest @ ..] = checked else { return None };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (arrival, rest) = rest.split_first_chunk::<8>()?;
        let (crc, _) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let sound = (LINE..=OWN).contains(&kind) && HEAD_BYTES + length <= RECORD_BYTES_MAX;
        sound.then(|| Self {
            kind,
            cut: flags & CUT != 0,
            length,
            arrival: Timestamp(i64::from_le_bytes(*arrival)),
            crc: u32::from_le_bytes(*crc),
        })
    }
}

/// Bytes before the next sound head; a head may begin in the last few bytes.
fn to_next_head(bytes: &[u8]) -> usize {
    let sound = |at: &usize| bytes.get(*at..).is_some_and(|rest| Head::read(rest).is_some());
    let begins = memchr::memmem::find_iter(bytes, &MAGIC).filter(|at| *at > 0);
    begins
        .filter(sound)
        .map(|at| at.min(bytes.len()))
        .next()
        .unwrap_or(bytes.len() - HEAD_BYTES + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: Note<'static> =
        Note { arrival: Some(Timestamp(5)), peer: None, cut: false, own: false };

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, b"one", NOTE);
        put(&mut bytes, b"two\n\xff", Note { peer: Some("10.0.0.1"), cut: true, ..NOTE });
        put(&mut bytes, b"{}", Note { own: true, ..NOTE });
        bytes
    }

    fn texts(mut bytes: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let used = match next(bytes) {
                Next::Whole(spooled, used) => {
                    texts.push(String::from_utf8_lossy(spooled.text).into_owned());
                    used
                }
                Next::Damaged(used) => {
                    texts.push("damage".to_owned());
                    used
                }
                Next::Open => return texts,
            };
            bytes = &bytes[used..];
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let bytes = three();
        assert_eq!(texts(&bytes), ["one", "two\n\u{fffd}", "{}"]);
        let Next::Whole(first, used) = next(&bytes) else { panic!("no record") };
        assert_eq!((first.note, used), (NOTE, HEAD_BYTES + 3));
        let Next::Whole(second, _) = next(&bytes[used..]) else { panic!("no record") };
        assert_eq!(second.note, Note { peer: Some("10.0.0.1"), cut: true, ..NOTE });
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in() {
        let bytes = three();
        let first = HEAD_BYTES + 3;
        let second = HEAD_BYTES + 9 + 5;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let mut expected = ["one", "two\n\u{fffd}", "{}"];
                let hit = usize::from(at >= first) + usize::from(at >= first + second);
                // Behind a head that is no head and no other one nothing can be told yet.
                expected[hit] = "damage";
                let found = texts(&flipped);
                assert_eq!(found[..hit], expected[..hit], "bit {bit} of byte {at}");
                assert!(found[hit..].iter().all(|text| text != expected_at(hit)));
                assert_eq!(found.get(hit + 1..).unwrap_or_default(), &expected[hit + 1..]);
            }
        }
    }

    fn expected_at(hit: usize) -> &'static str {
        ["one", "two\n\u{fffd}", "{}"][hit]
    }

    #[test]
    fn a_cut_end_waits_for_more() {
        let bytes = three();
        for end in 0..bytes.len() {
            let found = texts(&bytes[..end]);
            assert!(!found.contains(&"damage".to_owned()) && found.len() < 3, "cut at {end}");
        }
    }

    #[test]
    fn a_text_over_the_bound_is_cut_and_says_so() {
        let mut bytes = Vec::new();
        put(&mut bytes, &vec![b'x'; MESSAGE_BYTES_MAX + 10], NOTE);
        let Next::Whole(spooled, used) = next(&bytes) else { panic!("no record") };
        assert_eq!((spooled.text.len(), spooled.note.cut), (MESSAGE_BYTES_MAX, true));
        assert_eq!(used, bytes.len());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_passed_without_panic(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            records in 0..3_usize,
        ) {
            for _ in 0..records {
                put(&mut bytes, b"kept", NOTE);
            }
            let kept = texts(&bytes).iter().filter(|text| *text == "kept").count();
            proptest::prop_assert_eq!(kept, records);
        }
    }
}
