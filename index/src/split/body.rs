//! Reading the body: Parquet over objects, every byte verified before it is used.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes, BytesMut};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::asked::Asked;

/// Bytes of a piece of the body that has a checksum of its own.
pub(super) const PIECE_BYTES: u64 = 64 << 10;

/// Pieces that the readers of one fetch share.
const SHARED_MAX: usize = 16;

/// A body whose pieces are checked as they are read.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) asked: Asked,
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) crcs: Arc<[u32]>,
    /// What the columns of one fetch share, where it is read for one.
    pub(super) shared: Option<Arc<Shared>>,
}

/// The last checked pieces of a fetch, by their numbers. The pages of several columns, and neighbours
/// of one column, lie in one piece: it is read and checked once.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<VecDeque<(u64, Bytes)>>);

impl Shared {
    fn find(&self, number: u64) -> Option<Bytes> {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.iter().find(|(known, _)| *known == number).map(|(_, piece)| piece.clone())
    }

    fn keep(&self, number: u64, piece: Bytes) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() >= SHARED_MAX {
            pieces.pop_front();
        }
        pieces.push_back((number, piece));
    }
}

impl Body {
    /// The same for the columns of one fetch, which share pieces.
    pub(super) fn sharing(&self) -> Self {
        Self { shared: Some(Arc::default()), ..self.clone() }
    }

    /// The bytes `from..to`.
    fn range(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let corrupt = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if to > self.bytes || from > to {
            return Err(corrupt(format!("bytes {from}..{to} of {} are outside", self.name)));
        }
        let (first, behind) = (from / PIECE_BYTES, to.div_ceil(PIECE_BYTES));
        let start = first * PIECE_BYTES;
        let cut = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        Ok(self.pieces(first, behind)?.slice(cut(from)..cut(to)))
    }

    /// The pieces `first..behind`: what others of this fetch have read is not read again.
    fn pieces(&self, first: u64, behind: u64) -> io::Result<Bytes> {
        let Some(shared) = self.shared.as_ref().filter(|_| first < behind) else {
            return self.read(first, behind);
        };
        let (head, last) = (shared.find(first), behind - 1);
        let tail = (last > first).then(|| shared.find(last)).flatten();
        let (from, to) = (first + u64::from(head.is_some()), behind - u64::from(tail.is_some()));
        let middle = self.read(from, to)?;
        let piece = |number: u64| {
            let at = (number - from).saturating_mul(PIECE_BYTES);
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(middle.len());
            let bytes = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
            middle.slice(at..at.saturating_add(bytes).min(middle.len()))
        };
        if from < to {
            shared.keep(from, piece(from));
        }
        if from + 1 < to {
            shared.keep(to - 1, piece(to - 1));
        }
        match (head, tail) {
            (None, None) => Ok(middle),
            (Some(only), None) if middle.is_empty() => Ok(only),
            (head, tail) => {
                let mut whole = BytesMut::new();
                let parts = head.iter().chain([&middle]).chain(&tail);
                parts.for_each(|part| whole.extend_from_slice(part));
                Ok(whole.freeze())
            }
        }
    }

    /// Reads and checks the pieces `first..behind`.
    fn read(&self, first: u64, behind: u64) -> io::Result<Bytes> {
        let (start, end) = (first * PIECE_BYTES, (behind * PIECE_BYTES).min(self.bytes));
        if start >= end {
            return Ok(Bytes::new());
        }
        let whole = self.asked.get_range(&self.name, start, end)?;
        let piece_bytes = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
        let crcs = self.crcs.iter().skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (at, (piece, crc)) in whole.chunks(piece_bytes).zip(crcs).enumerate() {
            if crc32c::crc32c(piece) != *crc {
                let at = start + at as u64 * PIECE_BYTES;
                let name = &self.name;
                let what = format!("{name} is damaged within {PIECE_BYTES} bytes from {at}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(whole)
    }
}

impl Length for Body {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Body {
    type T = BodyReader;

    fn get_read(&self, start: u64) -> Result<BodyReader> {
        Ok(BodyReader { body: self.clone(), at: start, buffer: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.range(start, start.saturating_add(length as u64))
            .map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a place, a piece at a time.
#[derive(Debug)]
pub(super) struct BodyReader {
    body: Body,
    at: u64,
    buffer: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            let end = ((self.at / PIECE_BYTES + 1) * PIECE_BYTES).min(self.body.bytes);
            self.buffer = self.body.range(self.at, end.max(self.at))?;
            self.at = end.max(self.at);
        }
        let count = out.len().min(self.buffer.len());
        if let Some(out) = out.get_mut(..count) {
            self.buffer.copy_to_slice(out);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use platform::objects::Objects;

    use super::*;

    #[test]
    fn a_fetch_reads_a_piece_once() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        let byte = |at: u64| u8::try_from(at % 251).unwrap();
        let given: Vec<u8> = (0..5 * PIECE_BYTES + 77).map(byte).collect();
        objects.put_new("body", &given).unwrap();
        let piece_bytes = usize::try_from(PIECE_BYTES).unwrap();
        let crcs = given.chunks(piece_bytes).map(crc32c::crc32c).collect();
        let (asked, bytes) = (Asked::new(&objects), given.len() as u64);
        let body = Body { asked, name: "body".into(), bytes, crcs, shared: None };
        let fetch = body.sharing();
        let read = objects.read_bytes();
        // What each asks for, and how many pieces are read for it: the last is shorter.
        for (from, to, pieces, rest) in [
            (10, 20, 1, 0),
            (15, 30, 0, 0),
            (PIECE_BYTES - 5, PIECE_BYTES + 5, 1, 0),
            (5, 3 * PIECE_BYTES + 9, 3, 0),
            (3 * PIECE_BYTES, 5 * PIECE_BYTES + 77, 1, 77),
            (5 * PIECE_BYTES + 1, 5 * PIECE_BYTES + 77, 0, 0),
            (0, 0, 0, 0),
            (bytes, bytes, 0, 0),
            (0, bytes, 4, 0),
        ] {
            let (at, end) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
            let before = read.get();
            assert_eq!(fetch.range(from, to).unwrap(), given[at..end], "{from}..{to}");
            assert_eq!(read.get() - before, pieces * PIECE_BYTES + rest, "{from}..{to}");
            assert_eq!(body.range(from, to).unwrap(), given[at..end], "{from}..{to}");
        }
        assert!(fetch.range(0, bytes + 1).is_err());
        for _ in 0..3 {
            for number in 0..6 {
                fetch.range(number * PIECE_BYTES, number * PIECE_BYTES + 1).unwrap();
            }
        }
        let kept = fetch.shared.unwrap();
        assert!(kept.0.lock().unwrap().len() <= SHARED_MAX);
    }
}
