//! Reading the body: Parquet over objects, every byte verified before it is used.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use platform::objects::Objects;

/// Bytes of a piece of the body that has a checksum of its own.
pub(super) const PIECE_BYTES: u64 = 64 << 10;

/// A body whose pieces are checked as they are read.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) objects: Objects,
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) crcs: Arc<[u32]>,
}

impl Body {
    /// The bytes `from..to`.
    fn range(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let corrupt = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if to > self.bytes || from > to {
            return Err(corrupt(format!("bytes {from}..{to} of {} are outside", self.name)));
        }
        let first = from / PIECE_BYTES;
        let start = first * PIECE_BYTES;
        let end = (to.div_ceil(PIECE_BYTES) * PIECE_BYTES).min(self.bytes);
        let whole = self.objects.get_range(&self.name, start, end)?;
        let piece_bytes = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
        let crcs = self.crcs.iter().skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (at, (piece, crc)) in whole.chunks(piece_bytes).zip(crcs).enumerate() {
            if crc32c::crc32c(piece) != *crc {
                let at = start + at as u64 * PIECE_BYTES;
                return Err(corrupt(format!(
                    "{} is damaged within {PIECE_BYTES} bytes from {at}",
                    self.name
                )));
            }
        }
        let cut = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        Ok(whole.slice(cut(from)..cut(to)))
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
