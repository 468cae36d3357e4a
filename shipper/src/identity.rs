//! Which file it is: device and inode, and hashes that tell when another content took the place.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::frame::{Delimiter, Lines};
use crate::source::read_at;

/// Bytes at a file's beginning that are its fingerprint once it is that long.
pub(crate) const HEAD_BYTES_MAX: usize = 1024;
/// So many of a file's first bytes are on disk before anything behind them is sent: after a crash
/// they tell whether the file that is found is the one of which the queue has more than we know.
pub(crate) const HEAD_BYTES_KEPT: usize = 256;
/// A new file is not looked at before it has a line, or so many bytes: what all of its lines begin
/// with tells nothing.
pub(crate) const HEAD_BYTES_MIN: usize = 64;
/// Bytes before the acknowledged place that must still be there.
pub(crate) const TAIL_BYTES_MAX: usize = 64;
/// Bytes before the end of what was sent that must be there after a crash.
pub(crate) const SENT_BYTES_MAX: usize = 4096;
/// Bytes at a new file's beginning that tell text from other things.
const LOOK_BYTES: usize = 4096;
/// Zero bytes at a file's beginning behind which it is looked for text: who goes on at the old place in
/// a file that was truncated leaves a hole there (`copytruncate` and a program that does not append).
const HOLE_BYTES_MAX: u64 = 256 << 20;

/// The file system's name for a file; used again after the file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    /// From what the system says of a file.
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What the content looked like: its first bytes, and those before a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// How many first bytes are hashed; grows with the file up to [`HEAD_BYTES_MAX`].
    pub(crate) head_bytes: usize,
    /// Their hash.
    pub(crate) head: u64,
    /// Hash of the bytes before the acknowledged place, [`TAIL_BYTES_MAX`] at most.
    pub(crate) tail: u64,
}

impl Fingerprint {
    /// Whether the file still has the content that was acknowledged up to `offset`; if so, the
    /// fingerprint with its head grown as far as the file allows.
    pub(crate) fn verify(&self, file: &File, offset: u64) -> io::Result<Option<Self>> {
        let mut buffer = [0; HEAD_BYTES_MAX];
        let read = read_at(file, 0, &mut buffer)?;
        let same_head = buffer.get(..read).and_then(|b| b.get(..self.head_bytes)).map(xxh3_64)
            == Some(self.head)
            || self.head_bytes == 0;
        if !same_head || (offset > 0 && tail(file, offset)? != Some(self.tail)) {
            return Ok(None);
        }
        let head = xxh3_64(buffer.get(..read).unwrap_or_default());
        Ok(Some(Self { head_bytes: read, head, tail: self.tail }))
    }
}

/// The hash of the [`TAIL_BYTES_MAX`] bytes before a place; `None` when the file ends before it.
pub(crate) fn tail(file: &File, offset: u64) -> io::Result<Option<u64>> {
    print_before(file, offset, TAIL_BYTES_MAX)
}

/// The hash of so many bytes before a place, fewer where the file begins.
pub(crate) fn print_before(file: &File, end: u64, bytes_max: usize) -> io::Result<Option<u64>> {
    let start = end.saturating_sub(bytes_max as u64);
    let length = usize::try_from(end - start).unwrap_or(bytes_max);
    let mut buffer = vec![0; length];
    let read = read_at(file, start, &mut buffer)?;
    Ok((read == length).then(|| xxh3_64(&buffer)))
}

/// Whether the file's first bytes are something other than lines of text (such as wtmp): zero
/// bytes among them, and three of ten no text. A hole before them tells nothing, unless all is one.
pub(crate) fn is_binary(file: &File) -> io::Result<bool> {
    let start = hole_bytes(file)?;
    let mut buffer = [0; LOOK_BYTES];
    let read = read_at(file, start, &mut buffer)?;
    let bytes = buffer.get(..read).unwrap_or_default();
    let is_hole = start > 0 && bytes.iter().all(|byte| *byte == 0);
    Ok(is_hole || looks_binary(bytes))
}

/// The zero bytes that a file begins with, [`HOLE_BYTES_MAX`] or little more at most.
fn hole_bytes(file: &File) -> io::Result<u64> {
    let mut buffer = [0; LOOK_BYTES];
    let mut start = 0;
    while start < HOLE_BYTES_MAX {
        let read = read_at(file, start, &mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        match bytes.iter().position(|byte| *byte != 0) {
            Some(at) => return Ok(start + at as u64),
            None if read == 0 => break,
            None => start += read as u64,
        }
    }
    Ok(start)
}

/// The same of first bytes that were read; of zeros alone nobody can tell.
pub(crate) fn looks_binary(bytes: &[u8]) -> bool {
    let text_at = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(text_at..).unwrap_or_default();
    if !bytes.contains(&0) {
        return false;
    }
    let invalid: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    let control =
        bytes.iter().filter(|byte| **byte < 0x20 && !b"\t\n\r\x1b".contains(byte)).count();
    (invalid + control) * 10 >= bytes.len() * 3
}

/// The first place at or before `size` where a line begins, looking back one megabyte at most.
pub(crate) fn line_start_before(file: &File, size: u64, delimiter: &Delimiter) -> io::Result<u64> {
    const BACK_BYTES_MAX: u64 = 1 << 20;
    // At an even place: lines of wide characters begin at one.
    let start = size.saturating_sub(BACK_BYTES_MAX) & !1;
    let mut buffer = vec![0; usize::try_from(size - start).unwrap_or_default()];
    let read = read_at(file, start, &mut buffer)?;
    let bytes = buffer.get(..read).unwrap_or_default();
    let mut lines = Lines::new(bytes, delimiter);
    while lines.next_line().is_some() {}
    Ok(match Some(lines.used()).filter(|used| *used > 0) {
        Some(used) => start + used as u64,
        None if start == 0 => 0,
        None => size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        use std::io::Write as _;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn print(content: &[u8], offset: u64) -> Fingerprint {
        let file = file(content);
        let tail = tail(&file, offset).unwrap().unwrap();
        Fingerprint { tail, ..Fingerprint::default().verify(&file, 0).unwrap().unwrap() }
    }

    #[track_caller]
    fn check(before: &[u8], offset: u64, after: &[u8], same: bool) {
        let found = print(before, offset).verify(&file(after), offset).unwrap();
        assert_eq!(found.is_some(), same);
    }

    #[test]
    fn growing_is_the_same_file_and_rewriting_is_not() {
        check(b"one\n", 4, b"one\ntwo\n", true);
        check(b"one\ntwo\n", 8, b"one\n", false); // truncated
        check(b"one\ntwo\n", 8, b"uno\ndos\n", false); // made anew, same size
        let long = b"0123456789abcde\n".repeat(200);
        let mut regrown = long.clone();
        regrown[2000] = b'X';
        check(&long, 2010, &regrown, false); // same beginning, other tail
        check(&long, 1900, &regrown, true); // differs only beyond the acknowledged place
    }

    #[test]
    fn login_records_are_no_text_and_odd_text_is() {
        assert!(is_binary(&file(&[[7, 0, 0, 0].as_slice(), b"root", &[0; 40]].concat())).unwrap());
        assert!(!is_binary(&file(b"a line with a \0 byte\nand another\n")).unwrap());
        assert!(!is_binary(&file(b"\xff\xfe\xfd latin text \xe4\xf6\xfc\n")).unwrap());
        assert!(!is_binary(&file(b"")).unwrap());
    }

    #[test]
    fn a_hole_before_text_does_not_make_it_binary() {
        let behind = |hole: usize, rest: &[u8]| {
            is_binary(&file(&[vec![0; hole].as_slice(), rest].concat())).unwrap()
        };
        for hole in [1, 292, 4096, 10_000] {
            assert!(!behind(hole, b"a line\nand another\n"), "{hole}");
            // As lastlog is, of those who never came.
            assert!(behind(hole, &[[7, 0, 1, 0].as_slice(), b"pts/0", &[0; 300]].concat()));
            assert!(behind(hole, b""));
        }
        assert!(!looks_binary(&[0; 1024]));
    }

    #[test]
    fn a_start_at_the_end_begins_with_a_whole_line() {
        assert_eq!(line_start_before(&file(b"one\ntwo\n"), 8, &Delimiter::Newline).unwrap(), 8);
        assert_eq!(line_start_before(&file(b"one\ntw"), 6, &Delimiter::Newline).unwrap(), 4);
        assert_eq!(line_start_before(&file(b"on"), 2, &Delimiter::Newline).unwrap(), 0);
    }
}
