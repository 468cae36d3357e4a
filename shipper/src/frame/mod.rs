//! Bytes → lines: newline ends a line, a carriage return before it is no part of it. Another
//! delimiter may be set, encodings with wide characters have their own newline, and a spool has
//! records of its own.

pub(crate) mod assemble;
pub(crate) mod container;
pub(crate) mod multiline;

use crate::feed::record::{self, Next, Note};

/// What ends a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Delimiter {
    /// `\n`, with or without `\r` before it.
    #[default]
    Newline,
    /// These bytes.
    Bytes(Vec<u8>),
    /// UTF-16's newline, low byte first.
    Utf16Le,
    /// UTF-16's newline, high byte first.
    Utf16Be,
    /// No delimiter: records of a spool.
    Records,
}

impl Delimiter {
    /// The first one: where it begins, and where it ends.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::Newline => memchr::memchr(b'\n', bytes).map(|at| (at, at + 1)),
            Self::Bytes(own) => memchr::memmem::find(bytes, own).map(|at| (at, at + own.len())),
            Self::Utf16Le => wide(bytes, [b'\n', 0]),
            Self::Utf16Be => wide(bytes, [0, b'\n']),
            Self::Records => match record::next(bytes) {
                Next::Whole(_, used) | Next::Damaged(used) => Some((used, used)),
                Next::Open => None,
            },
        }
    }

    /// A line without the carriage return at its end; of wide characters it is decoded first.
    pub(crate) fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Utf16Le | Self::Utf16Be | Self::Records => line,
            Self::Newline | Self::Bytes(_) => without_return(line),
        }
    }

    /// Bytes it takes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Newline => 1,
            Self::Bytes(own) => own.len(),
            Self::Utf16Le | Self::Utf16Be => 2,
            Self::Records => record::HEAD_BYTES,
        }
    }
}

/// A newline of two bytes at an even place: lines begin at even places.
fn wide(bytes: &[u8], newline: [u8; 2]) -> Option<(usize, usize)> {
    let at = bytes.as_chunks::<2>().0.iter().position(|unit| *unit == newline)?;
    Some((at * 2, at * 2 + 2))
}

/// The whole lines at the beginning of some bytes.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    delimiter: &'a Delimiter,
    used: usize,
    note: Note<'a>,
    damaged: usize,
}

/// Zero bytes at the beginning of a line from which on they are a hole, not text: what a writer
/// leaves that goes on at its old place after the file was truncated, or a file system after a
/// loss of power.
const HOLE_BYTES_MIN: usize = 64;

impl<'a> Lines<'a> {
    /// Begins at a line's beginning.
    pub(crate) fn new(bytes: &'a [u8], delimiter: &'a Delimiter) -> Self {
        Self { bytes, delimiter, used: 0, note: Note::default(), damaged: 0 }
    }

    /// The next whole line without its end; `None` when no further newline is there.
    pub(crate) fn next_line(&mut self) -> Option<&'a [u8]> {
        if *self.delimiter == Delimiter::Records {
            return self.next_record();
        }
        self.skip_hole();
        let rest = self.rest();
        let (end, next) = self.delimiter.find(rest)?;
        self.used += next;
        rest.get(..end).map(|line| self.delimiter.trim(line))
    }

    /// The next record's text; an empty one stands for bytes that are no record.
    fn next_record(&mut self) -> Option<&'a [u8]> {
        (self.note, self.damaged) = (Note::default(), 0);
        match record::next(self.rest()) {
            Next::Whole(spooled, used) => {
                self.used += used;
                self.note = spooled.note;
                Some(spooled.text)
            }
            Next::Damaged(used) => {
                self.used += used;
                self.damaged = used;
                Some(&[])
            }
            Next::Open => None,
        }
    }

    /// What is known of the last line beside its text.
    pub(crate) fn note(&self) -> Note<'a> {
        self.note
    }

    /// Bytes that were no record, in place of the last line.
    pub(crate) fn damaged(&self) -> usize {
        self.damaged
    }

    /// Bytes of the lines and holes passed so far.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// What follows the lines passed so far.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    fn skip_hole(&mut self) {
        let rest = self.rest();
        if rest.first() == Some(&0) && *self.delimiter == Delimiter::Newline {
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            if zeros >= HOLE_BYTES_MIN {
                self.used += zeros;
            }
        }
    }
}

/// A line without the carriage return at its end.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The longest beginning of at most `bytes_max` bytes that does not end inside a character.
pub(crate) fn cut(line: &[u8], bytes_max: usize) -> &[u8] {
    let Some(head) = line.get(..bytes_max) else { return line };
    // A character has at most four bytes; bytes that are no UTF-8 anyway may be cut anywhere.
    let continued = line.get(bytes_max).is_some_and(|byte| byte & 0xC0 == 0x80);
    let start = head.iter().rposition(|byte| byte & 0xC0 != 0x80).unwrap_or(bytes_max);
    if continued && bytes_max - start < 4 { head.get(..start).unwrap_or(head) } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&[u8]], rest: &[u8]) {
        check_with(&Delimiter::Newline, bytes, expected, rest);
    }

    #[track_caller]
    fn check_with(delimiter: &Delimiter, bytes: &[u8], expected: &[&[u8]], rest: &[u8]) {
        let mut lines = Lines::new(bytes, delimiter);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line() {
            found.push(line);
        }
        assert_eq!(found, expected);
        assert_eq!(lines.rest(), rest);
        assert_eq!(lines.used() + rest.len(), bytes.len());
    }

    #[test]
    fn newline_ends_a_line_and_the_rest_waits() {
        check(b"one\ntwo\r\n\nthr", &[b"one", b"two", b""], b"thr");
        check(b"", &[], b"");
        check(b"\r\r\n", &[b"\r"], b"");
    }

    #[test]
    fn a_delimiter_may_be_any_bytes() {
        check_with(&Delimiter::Bytes(b"--".to_vec()), b"a-b--c\nd--e", &[b"a-b", b"c\nd"], b"e");
        let le = b"\x0a\x0b\x0a\0b\0";
        check_with(&Delimiter::Utf16Le, le, &[b"\x0a\x0b"], b"b\0");
        check_with(&Delimiter::Utf16Be, b"\0a\0\x0a\0b", &[b"\0a"], b"\0b");
    }

    #[test]
    fn a_hole_is_passed_and_a_few_zero_bytes_are_text() {
        let hole = [&[0; 100][..], b"after\n"].concat();
        check(&hole, &[b"after"], b"");
        check(b"\0\0text\n", &[b"\0\0text"], b"");
    }

    #[test]
    fn a_cut_ends_at_a_character() {
        assert_eq!(cut("abü".as_bytes(), 3), b"ab");
        assert_eq!(cut("abü".as_bytes(), 4), "abü".as_bytes());
        assert_eq!(cut(b"abc", 2), b"ab");
        assert_eq!(cut(&[0x80; 8], 6), &[0x80; 6]);
    }
}
