//! Where a message of syslog ends on a connection: counted (RFC 6587, RFC 5425) or by a line's end,
//! decided anew for each.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr2;

/// Bytes of one message; of a longer one the beginning is kept, and marked.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Digits of a counted message's length.
const LENGTH_DIGITS_MAX: usize = 8;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Whether more of it came than is kept, or less than was announced.
    pub(super) is_cut: bool,
}

impl Frame {
    /// A message that came alone.
    pub(super) fn of(bytes: &Bytes, is_cut: bool) -> Self {
        Self { bytes: trimmed(bytes), is_cut }
    }
}

/// Cuts what a connection carries.
#[derive(Debug, Default)]
pub(super) struct Framer {
    skip: Skip,
    /// Bytes of the buffer that were looked through for the end of a line.
    searched: usize,
}

/// The rest of a message that is not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Skip {
    #[default]
    Nothing,
    Bytes(usize),
    Line,
}

/// How the next message is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Behind so many bytes stand so many.
    Counted {
        from: usize,
        bytes: usize,
    },
    Line,
    /// More must come to tell.
    Unsure,
}

impl Framer {
    /// Takes the next message out of the buffer; `None`: more must come.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.pass(buffer)?;
        match head(buffer) {
            Head::Counted { from, bytes } => {
                let kept = bytes.min(MESSAGE_BYTES_MAX);
                if buffer.len() < from + kept {
                    return None;
                }
                buffer.advance(from);
                let message = buffer.split_to(kept).freeze();
                self.skip = if kept < bytes { Skip::Bytes(bytes - kept) } else { Skip::Nothing };
                Some(Frame::of(&message, kept < bytes))
            }
            Head::Line => {
                let unseen = buffer.get(self.searched..).unwrap_or_default();
                let end = memchr2(b'\n', b'\0', unseen).map(|at| at + self.searched);
                self.searched = buffer.len();
                let is_cut = end.unwrap_or(buffer.len()) > MESSAGE_BYTES_MAX;
                if is_cut {
                    self.skip = Skip::Line;
                }
                let kept = if is_cut { MESSAGE_BYTES_MAX } else { end? };
                self.searched = 0;
                Some(Frame::of(&buffer.split_to(kept).freeze(), is_cut))
            }
            Head::Unsure => None,
        }
    }

    /// The message that the end of the connection ends.
    pub(super) fn last(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.pass(buffer)?;
        let (from, is_cut) = match head(buffer) {
            Head::Counted { from, .. } => (from, true),
            Head::Line | Head::Unsure => (0, false),
        };
        buffer.advance(from);
        let bytes = trimmed(&buffer.split().freeze());
        (!bytes.is_empty()).then_some(Frame { bytes, is_cut })
    }

    /// Drops what is not kept, and what stands between messages. `None`: nothing is left.
    fn pass(&mut self, buffer: &mut BytesMut) -> Option<()> {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(bytes) => {
                let here = bytes.min(buffer.len());
                buffer.advance(here);
                self.skip = if here < bytes { Skip::Bytes(bytes - here) } else { Skip::Nothing };
            }
            Skip::Line => match memchr2(b'\n', b'\0', buffer) {
                None => buffer.clear(),
                Some(end) => {
                    buffer.advance(end);
                    self.skip = Skip::Nothing;
                }
            },
        }
        let between = buffer.iter().take_while(|byte| b"\n\r\0".contains(byte)).count();
        buffer.advance(between);
        (!buffer.is_empty()).then_some(())
    }
}

/// `126 <11>1 …` is counted. Text that begins with a number is a line: a message begins with its
/// priority.
fn head(bytes: &[u8]) -> Head {
    let digits =
        bytes.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > LENGTH_DIGITS_MAX || bytes.first() == Some(&b'0') {
        return Head::Line;
    }
    let after = bytes.get(digits..).unwrap_or_default();
    match after {
        [] | [b' '] => Head::Unsure,
        [b' ', b'<', ..] => {
            let length = bytes.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
            match length.and_then(|length| length.parse().ok()) {
                Some(bytes) => Head::Counted { from: digits + 1, bytes },
                None => Head::Line,
            }
        }
        _ => Head::Line,
    }
}

fn trimmed(message: &Bytes) -> Bytes {
    let end = message.iter().rev().take_while(|byte| b"\n\r\0".contains(byte)).count();
    message.slice(..message.len() - end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        let mut found = Vec::new();
        let mut keep = |frame: Frame| {
            found.push((String::from_utf8_lossy(&frame.bytes).into_owned(), frame.is_cut));
        };
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(frame) = framer.next(&mut buffer) {
                keep(frame);
            }
        }
        framer.last(&mut buffer).into_iter().for_each(keep);
        found
    }

    #[track_caller]
    fn check(given: &[u8], expected: &[&str]) {
        let texts = |frames: Vec<(String, bool)>| {
            frames.into_iter().map(|(text, _)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(frames(&[given])), expected);
        let bytes: Vec<&[u8]> = given.chunks(1).collect();
        assert_eq!(texts(frames(&bytes)), expected, "byte by byte");
    }

    #[test]
    fn each_message_says_how_it_is_framed() {
        check(b"<1>a\n<1>b\r\n6 <1>c\nd<1>e\0<1>f", &["<1>a", "<1>b", "<1>c\nd", "<1>e", "<1>f"]);
        check(b"5 <1>a\n4 <1>b", &["<1>a", "<1>b"]);
        check(b"12 monkeys\n<1>a\n", &["12 monkeys", "<1>a"]);
        check(b"123456789 <1>a\n7\n", &["123456789 <1>a", "7"]);
        check(b"\n\r\n\0", &[]);
        // Announced, and then the connection broke.
        assert_eq!(frames(&[b"9 <1>abc"]), [("<1>abc".to_owned(), true)]);
    }

    #[test]
    fn of_a_long_message_the_beginning_is_kept() {
        let long = "x".repeat(3 * MESSAGE_BYTES_MAX);
        let counted = format!("{} <1>{long}4 <1>a", long.len() + 3);
        let lines = format!("<1>{long}\n<1>a\n");
        for given in [counted, lines] {
            let pieces: Vec<&[u8]> = given.as_bytes().chunks(10_000).collect();
            let found = frames(&pieces);
            assert_eq!((found.len(), found[0].0.len(), found[0].1), (2, MESSAGE_BYTES_MAX, true));
            assert_eq!(found[1], ("<1>a".to_owned(), false));
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_messages_are_the_same(
            parts in prop::collection::vec("([0-9]{1,9} )?(<1>)?[ -~\n\0]{0,9}", 0..20),
            piece in 1_usize..7,
        ) {
            let given = parts.concat().into_bytes();
            let pieces: Vec<&[u8]> = given.chunks(piece).collect();
            prop_assert_eq!(frames(&pieces), frames(&[&given]));
        }
    }
}
