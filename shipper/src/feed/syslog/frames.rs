//! Bytes of a connection → messages. Each message is told anew how it is framed: by a count before
//! it (RFC 6587, `83 <34>1 …`), or by a newline or zero byte behind it.

use model::limits::MESSAGE_BYTES_MAX;

/// Digits of a count: more is no count.
const DIGITS_MAX: usize = 9;

/// A message, and whether there was more of it.
pub(super) struct Message<'a> {
    pub(super) text: &'a [u8],
    pub(super) cut: bool,
}

/// What came and is not given out yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    open: Vec<u8>,
    /// What is left of a message that was cut.
    rest: Rest,
}

#[derive(Debug, Default, PartialEq)]
enum Rest {
    #[default]
    None,
    /// So many bytes.
    Counted(usize),
    /// Everything to the next newline.
    Line,
}

impl Rest {
    /// Bytes of it among those that came.
    fn pass(&mut self, left: &[u8]) -> usize {
        match *self {
            Self::None => 0,
            Self::Counted(count) => {
                let passed = count.min(left.len());
                *self = if passed < count { Self::Counted(count - passed) } else { Self::None };
                passed
            }
            Self::Line => match line_end(left) {
                Some(end) => {
                    *self = Self::None;
                    end + 1
                }
                None => left.len(),
            },
        }
    }
}

enum Frame {
    /// The text is at this place; behind it so many bytes are passed.
    Whole { start: usize, end: usize, next: usize },
    /// Only the beginning of the text is kept; the rest is passed as it comes.
    Cut { start: usize, end: usize, rest: Rest },
    /// More must come.
    Open,
}

impl Frames {
    /// Takes what came, and gives every message that is whole.
    pub(super) fn take(&mut self, bytes: &[u8], give: &mut impl FnMut(Message<'_>)) {
        self.open.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let left = self.open.get(used..).unwrap_or_default();
            if self.rest != Rest::None {
                used += self.rest.pass(left);
                if self.rest != Rest::None {
                    break;
                }
                continue;
            }
            used += left.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
            let left = self.open.get(used..).unwrap_or_default();
            match first(left) {
                Frame::Open => break,
                Frame::Whole { start, end, next } => {
                    give(Message { text: trimmed(left.get(start..end)), cut: false });
                    used += next;
                }
                Frame::Cut { start, end, rest } => {
                    give(Message { text: trimmed(left.get(start..end)), cut: true });
                    used += end;
                    self.rest = rest;
                }
            }
        }
        self.open.drain(..used);
    }

    /// Nothing more comes: what is left is a message, or the beginning of one.
    pub(super) fn end(&mut self, give: &mut impl FnMut(Message<'_>)) {
        let (start, cut) = match count(&self.open) {
            Count::Is { start, .. } => (start, true),
            Count::None | Count::Open => (0, false),
        };
        let text = trimmed(self.open.get(start..));
        if !text.is_empty() {
            give(Message { text, cut });
        }
        self.open.clear();
    }
}

fn first(left: &[u8]) -> Frame {
    match count(left) {
        Count::Open => Frame::Open,
        Count::Is { length, start } if length > MESSAGE_BYTES_MAX => {
            let end = start + MESSAGE_BYTES_MAX;
            let rest = Rest::Counted(length - MESSAGE_BYTES_MAX);
            if left.len() >= end { Frame::Cut { start, end, rest } } else { Frame::Open }
        }
        Count::Is { length, start } => match left.len() >= start + length {
            true => Frame::Whole { start, end: start + length, next: start + length },
            false => Frame::Open,
        },
        Count::None => match line_end(left) {
            Some(end) if end <= MESSAGE_BYTES_MAX => Frame::Whole { start: 0, end, next: end + 1 },
            None if left.len() <= MESSAGE_BYTES_MAX => Frame::Open,
            _ => Frame::Cut { start: 0, end: MESSAGE_BYTES_MAX, rest: Rest::Line },
        },
    }
}

enum Count {
    None,
    Is { length: usize, start: usize },
    Open,
}

/// The count at the beginning, and where its message begins.
fn count(left: &[u8]) -> Count {
    if !matches!(left.first(), Some(b'1'..=b'9')) {
        return if left.is_empty() { Count::Open } else { Count::None };
    }
    let digits = left.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
    match (digits <= DIGITS_MAX, left.get(digits)) {
        (true, None) => Count::Open,
        (true, Some(b' ')) => {
            let text = left.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
            match text.and_then(|text| text.parse().ok()) {
                Some(length) => Count::Is { length, start: digits + 1 },
                None => Count::None,
            }
        }
        _ => Count::None,
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', 0, bytes)
}

fn trimmed(text: Option<&[u8]>) -> &[u8] {
    let mut text = text.unwrap_or_default();
    while let [rest @ .., b'\n' | b'\r' | 0] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let mut give = |message: Message<'_>| {
            let mark = if message.cut { "…" } else { "" };
            found.push(format!("{}{mark}", String::from_utf8_lossy(message.text)));
        };
        for piece in pieces {
            frames.take(piece, &mut give);
        }
        frames.end(&mut give);
        found
    }

    #[test]
    fn each_message_says_how_it_is_framed() {
        let mixed = b"8 <1>a\nb c<2>line\r\n3 <3>\n<4>zero\0\n\n2024 is no count\n5 <5>";
        let found = read(&[mixed]);
        assert_eq!(found[..4], ["<1>a\nb c", "<2>line", "<3>", "<4>zero"]);
        // `2024 ` is a count all the same: nothing tells it from one.
        assert_eq!(found[4], "is no count\n5 <5>…");
        let torn: Vec<&[u8]> = mixed.chunks(1).collect();
        assert_eq!(read(&torn), found);
        assert_eq!(read(&[b"9 <5>", b"cut"]), ["<5>cut…"]);
        assert_eq!(read(&[b"12345678901 x\n<1>y"]), ["12345678901 x", "<1>y"]);
    }

    #[test]
    fn a_message_over_the_bound_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX + 10];
        let counted = [format!("{} ", long.len()).as_bytes(), &long, b"3 <1>"].concat();
        let line = [&long[..], b"\n<1>\n"].concat();
        for bytes in [counted, line] {
            let pieces: Vec<&[u8]> = bytes.chunks(100_000).collect();
            let found = read(&pieces);
            assert_eq!(found.len(), 2);
            assert!(found[0].len() >= MESSAGE_BYTES_MAX && found[0].ends_with('…'));
            assert_eq!(found[1], "<1>");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_without_panic_however_they_come(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            size in 1..20_usize,
        ) {
            let torn: Vec<&[u8]> = bytes.chunks(size).collect();
            proptest::prop_assert_eq!(read(&torn), read(&[&bytes]));
        }
    }
}
