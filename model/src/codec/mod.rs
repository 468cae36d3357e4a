//! A batch as bytes: a readable head and a zstd body. Drawn byte by byte in docs/queue.md.
//!
//! A node routes, deduplicates and stores a batch by its head alone; only an indexer opens the
//! body. Numbers are little endian; in the body, counts and deltas are LEB128 varints (signed
//! ones zigzag).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::batch::{Batch, FieldColumn, FieldValues, Sequence, Texts};
use crate::limits::{BATCH_BYTES_MAX, BATCH_FIELDS_MAX, BATCH_RECORDS_MAX, FIELD_NAME_BYTES_MAX};
use crate::record::FieldType;
use crate::stream::{IndexName, Labels, StreamId};

/// First bytes of every batch.
pub const MAGIC: [u8; 4] = *b"SWLB";
/// Version of the format below.
pub const VERSION: u8 = 1;
/// Bytes of the head before index name and labels.
pub const HEAD_BYTES_MIN: usize = 64;
/// zstd level of a body. Level 1 costs about 1.4 CPU seconds a gigabyte.
pub const ZSTD_LEVEL: i32 = 1;
/// Bytes of each buffer an [`Encoder`] keeps between batches.
const BUFFER_BYTES_KEPT: usize = 2 << 20;
/// Room a body may take beyond [`BATCH_BYTES_MAX`], which counts contents only.
const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX + (BATCH_BYTES_MAX >> 2);

/// Why bytes are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not ours, or cut, or damaged: nothing in it can be trusted.
    #[error("not a whole batch: {0}")]
    Damaged(&'static str),
    /// Written by a newer version: upgrade the reader first.
    #[error("batch format {0} is newer than the {VERSION} this version reads")]
    Newer(u8),
    /// Intact, but over a bound or against a rule: the producer must be mended.
    #[error("batch refused: {0}")]
    Refused(String),
}

/// What a batch says of itself without being opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Who sent it, and what part of its order it covers.
    pub sequence: Sequence,
    /// Its stream; always the hash of index and labels.
    pub stream: StreamId,
    /// How many records.
    pub record_count: u32,
    /// Bytes of the body before compression.
    pub body_raw_bytes: u32,
    /// Bytes of the body as it is.
    pub body_bytes: u32,
    /// Where the records go.
    pub index: IndexName,
    /// The labels of the stream.
    pub labels: Labels,
    /// Bytes of this head, its checksum included.
    pub head_bytes: usize,
}

/// Encoders and decompressors that wait for their next batch, of each at most. Their memory is a
/// megabyte and more: to take it anew for each batch costs as much as a tenth of compressing it.
const SPARE_MAX: usize = 4;

static ENCODERS: Mutex<Vec<Encoder>> = Mutex::new(Vec::new());
static DECOMPRESSORS: Mutex<Vec<zstd::bulk::Decompressor<'static>>> = Mutex::new(Vec::new());

/// Does something with one that is spare, or with a new one.
fn with_spare<T, R, E>(
    all: &Mutex<Vec<T>>,
    new: impl FnOnce() -> Result<T, E>,
    work: impl FnOnce(&mut T) -> R,
) -> Result<R, E> {
    let spare = || all.lock().unwrap_or_else(PoisonError::into_inner);
    let one = spare().pop();
    let mut one = one.map_or_else(new, Ok)?;
    let done = work(&mut one);
    let mut spare = spare();
    if spare.len() < SPARE_MAX {
        spare.push(one);
    }
    Ok(done)
}

/// Encodes a batch, compressed with [`ZSTD_LEVEL`].
///
/// # Errors
/// [`DecodeError::Refused`] when the batch is over a bound that a reader would refuse.
pub fn encode(batch: &Batch, sequence: Sequence) -> Result<Bytes, DecodeError> {
    let new = || Encoder::new(ZSTD_LEVEL);
    with_spare(&ENCODERS, new, |encoder| encoder.encode(batch, sequence))?
}

/// Encodes many batches with the memory of one.
pub struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    level: i32,
    raw: Vec<u8>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("raw_bytes", &self.raw.capacity()).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Compresses with that level of zstd: [`ZSTD_LEVEL`] unless there is a reason.
    ///
    /// # Errors
    /// [`DecodeError::Refused`] when zstd knows no such level.
    pub fn new(level: i32) -> Result<Self, DecodeError> {
        let compressor = zstd::bulk::Compressor::new(level)
            .map_err(|error| DecodeError::Refused(error.to_string()))?;
        Ok(Self { compressor, level, raw: Vec::new(), body: Vec::new() })
    }

    /// Compresses with another level from now on.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn set_level(&mut self, level: i32) -> Result<(), DecodeError> {
        if self.level != level {
            let set = self.compressor.set_compression_level(level);
            set.map_err(|error| DecodeError::Refused(error.to_string()))?;
            self.level = level;
        }
        Ok(())
    }

    /// Encodes a batch.
    ///
    /// # Errors
    /// [`DecodeError::Refused`] when the batch is over a bound that a reader would refuse.
    pub fn encode(&mut self, batch: &Batch, sequence: Sequence) -> Result<Bytes, DecodeError> {
        if batch.record_count() > BATCH_RECORDS_MAX || batch.fields.len() > BATCH_FIELDS_MAX {
            return Err(DecodeError::Refused("too many records or fields".to_owned()));
        }
        let Self { compressor, raw, body, .. } = self;
        raw.clear();
        body.clear();
        encode_body(batch, raw);
        if raw.len() > BODY_BYTES_MAX {
            return Err(DecodeError::Refused(format!(
                "{} bytes are over {BODY_BYTES_MAX}",
                raw.len()
            )));
        }
        body.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        compressor
            .compress_to_buffer(raw.as_slice(), body)
            .map_err(|error| DecodeError::Refused(error.to_string()))?;
        let mut out = Vec::with_capacity(HEAD_BYTES_MIN + 256 + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&sequence.producer.to_le_bytes());
        out.extend_from_slice(&sequence.from.to_le_bytes());
        out.extend_from_slice(&sequence.to.to_le_bytes());
        out.extend_from_slice(&sequence.epoch.to_le_bytes());
        out.extend_from_slice(&small(batch.record_count()).to_le_bytes());
        out.extend_from_slice(&batch.stream().0.to_le_bytes());
        out.extend_from_slice(&small(raw.len()).to_le_bytes());
        out.extend_from_slice(&small(body.len()).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let head_bytes_at = out.len();
        out.extend_from_slice(&[0; 4]);
        put_text(&mut out, batch.index.as_str());
        put_varint(&mut out, batch.labels.count() as u64);
        for (name, value) in batch.labels.iter() {
            put_text(&mut out, name);
            put_text(&mut out, value);
        }
        let head_bytes = small(out.len() + 4).to_le_bytes();
        out.splice(head_bytes_at..head_bytes_at + 4, head_bytes);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.extend_from_slice(body);
        // A rare giant shall not be paid for ever after.
        raw.clear();
        raw.shrink_to(BUFFER_BYTES_KEPT);
        body.clear();
        body.shrink_to(BUFFER_BYTES_KEPT);
        Ok(out.into())
    }
}

/// Reads the head and checks both checksums, the bounds and the stream's hash, without opening
/// the body.
///
/// # Errors
/// [`DecodeError`]: never panics, whatever the bytes.
pub fn head(batch: &[u8]) -> Result<Head, DecodeError> {
    let mut reader = Reader { bytes: batch };
    if reader.take(4)? != MAGIC {
        return Err(DecodeError::Damaged("it does not begin like one"));
    }
    match reader.take(4)? {
        [VERSION, ..] => {}
        [version, ..] => return Err(DecodeError::Newer(*version)),
        [] => return Err(CUT),
    }
    let producer = reader.u64()?;
    let (from, to) = (reader.u64()?, reader.u64()?);
    let sequence = Sequence { producer, epoch: reader.u32()?, from, to };
    let record_count = reader.u32()?;
    let stream = StreamId(reader.u64()?);
    let (body_raw_bytes, body_bytes) = (reader.u32()?, reader.u32()?);
    let body_crc = reader.u32()?;
    let head_bytes = reader.u32()? as usize;
    let (checked, crc) = head_bytes
        .checked_sub(4)
        .and_then(|at| Some((batch.get(..at)?, batch.get(at..head_bytes)?)))
        .ok_or(CUT)?;
    if crc32c::crc32c(checked).to_le_bytes() != crc {
        return Err(DecodeError::Damaged("the head's checksum differs"));
    }
    let body = batch.get(head_bytes..).ok_or(CUT)?;
    if body.len() != body_bytes as usize {
        return Err(DecodeError::Damaged("the body's length differs"));
    }
    if crc32c::crc32c(body) != body_crc {
        return Err(DecodeError::Damaged("the body's checksum differs"));
    }
    if record_count as usize > BATCH_RECORDS_MAX || body_raw_bytes as usize > BODY_BYTES_MAX {
        return Err(DecodeError::Refused("too many records or bytes".to_owned()));
    }
    let (index, labels) = read_stream(&mut reader)?;
    if StreamId::of(&index, &labels) != stream || sequence.from > sequence.to {
        return Err(DecodeError::Refused("stream id or sequence is wrong".to_owned()));
    }
    Ok(Head {
        sequence,
        stream,
        record_count,
        body_raw_bytes,
        body_bytes,
        index,
        labels,
        head_bytes,
    })
}

fn read_stream(reader: &mut Reader<'_>) -> Result<(IndexName, Labels), DecodeError> {
    let index = IndexName::new(reader.text()?).map_err(|e| DecodeError::Refused(e.to_string()))?;
    let count = reader.varint()?;
    let mut labels = Vec::new();
    for _ in 0..count {
        labels.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
    }
    let labels = Labels::new(labels).map_err(|error| DecodeError::Refused(error.to_string()))?;
    Ok((index, labels))
}

/// Opens a whole batch. Messages and text fields share one buffer.
///
/// # Errors
/// [`DecodeError`]: never panics, whatever the bytes.
pub fn decode(batch: &[u8]) -> Result<(Head, Batch), DecodeError> {
    let head = head(batch)?;
    let body = batch.get(head.head_bytes..).ok_or(CUT)?;
    let damaged = |_| DecodeError::Damaged("the body does not decompress to its stated length");
    let length = head.body_raw_bytes as usize;
    let opened = with_spare(&DECOMPRESSORS, zstd::bulk::Decompressor::new, |decompressor| {
        decompressor.decompress(body, length)
    });
    let raw = opened.and_then(|raw| raw).map_err(damaged)?;
    let raw = Bytes::from(raw);
    let mut reader = BodyReader { whole: &raw, reader: Reader { bytes: &raw } };
    let batch = reader.batch(&head)?;
    Ok((head, batch))
}

fn encode_body(batch: &Batch, out: &mut Vec<u8>) {
    out.reserve(batch.messages.bytes().len() + 32 * batch.record_count());
    let mut previous = 0_i64;
    for timestamp in &batch.timestamps {
        put_varint(out, zigzag(timestamp.wrapping_sub(previous)));
        previous = *timestamp;
    }
    out.extend_from_slice(&batch.levels);
    put_texts(out, &batch.messages);
    put_varint(out, batch.fields.len() as u64);
    for column in &batch.fields {
        put_column(out, column);
    }
}

fn put_column(out: &mut Vec<u8>, column: &FieldColumn) {
    put_text(out, &column.name);
    out.push(column.values.kind() as u8);
    put_varint(out, column.rows.len() as u64);
    put_steps(out, &column.rows);
    match &column.values {
        FieldValues::Text(values) => put_texts(out, values),
        FieldValues::Int(values) => values.iter().for_each(|value| put_varint(out, zigzag(*value))),
        FieldValues::Float(values) => {
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        FieldValues::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
    }
}

fn put_texts(out: &mut Vec<u8>, texts: &Texts) {
    put_steps(out, texts.ends());
    out.extend_from_slice(texts.bytes());
}

/// Ascending numbers, as varints of what each adds to the one before. As a rule all of those are a
/// byte, and then they are written without looking at one after the other.
fn put_steps(out: &mut Vec<u8>, values: &[u32]) {
    let Some((first, rest)) = values.split_first() else { return };
    let steps = || rest.iter().zip(values).map(|(value, before)| value - before);
    put_varint(out, u64::from(*first));
    match steps().fold(0, |most: u32, step| most.max(step)) {
        0..0x80 => out.extend(steps().map(|step| (step & 0x7f) as u8)),
        _ => steps().for_each(|step| put_varint(out, u64::from(step))),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A length that the bounds keep far below 4 GiB.
fn small(length: usize) -> u32 {
    u32::try_from(length).expect("lengths in a batch are bounded far below 4 GiB")
}

const CUT: DecodeError = DecodeError::Damaged("it is cut short");

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(CUT)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| CUT)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most are of one byte.
        if let Some((byte @ 0..0x80, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Damaged("a number has no end"))
    }

    /// A count of things that take at least one byte each, so it cannot exceed what is left.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        usize::try_from(count).ok().filter(|count| *count <= self.bytes.len()).ok_or(CUT)
    }

    /// Ascending numbers as [`put_steps`] writes them. Where all steps are a byte, they are not looked at
    /// one after the other.
    fn steps(&mut self, count: usize) -> Result<Vec<u32>, DecodeError> {
        if let Some((steps, rest)) = self.bytes.split_at_checked(count)
            && steps.is_ascii()
        {
            self.bytes = rest;
            let mut sum = 0_u32;
            let add = |step: &u8| {
                sum = sum.saturating_add(u32::from(*step));
                sum
            };
            return Ok(steps.iter().map(add).collect());
        }
        let (mut sums, mut sum) = (Vec::with_capacity(count.min(self.bytes.len())), 0_u32);
        for _ in 0..count {
            let step = u32::try_from(self.varint()?).ok();
            sum = step.and_then(|step| sum.checked_add(step)).ok_or(CUT)?;
            sums.push(sum);
        }
        Ok(sums)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Damaged("no UTF-8"))
    }
}

struct BodyReader<'a> {
    whole: &'a Bytes,
    reader: Reader<'a>,
}

impl BodyReader<'_> {
    fn batch(&mut self, head: &Head) -> Result<Batch, DecodeError> {
        let count = head.record_count as usize;
        let mut timestamps = Vec::with_capacity(count);
        let mut previous = 0_i64;
        for _ in 0..count {
            previous = previous.wrapping_add(unzigzag(self.reader.varint()?));
            timestamps.push(previous);
        }
        let levels = self.reader.take(count)?.to_vec();
        let messages = self.texts(count)?;
        let columns = self.reader.count()?;
        if columns > BATCH_FIELDS_MAX {
            return Err(DecodeError::Refused(format!("{columns} fields")));
        }
        let mut fields = Vec::with_capacity(columns);
        for _ in 0..columns {
            fields.push(self.column(head.record_count)?);
        }
        if !self.reader.bytes.is_empty() {
            return Err(DecodeError::Damaged("bytes are left over"));
        }
        let (index, labels) = (head.index.clone(), head.labels.clone());
        Ok(Batch { index, labels, timestamps, levels, messages, fields })
    }

    fn column(&mut self, record_count: u32) -> Result<FieldColumn, DecodeError> {
        let name = self.reader.text()?.to_owned();
        if name.len() > FIELD_NAME_BYTES_MAX + "fields.".len() {
            return Err(DecodeError::Refused("a field name is too long".to_owned()));
        }
        let [kind] = self.reader.array()?;
        let kind = FieldType::from_number(kind).ok_or(DecodeError::Damaged("no such type"))?;
        let count = self.reader.count()?;
        let rows = self.reader.steps(count)?;
        // They ascend.
        if rows.last().is_some_and(|row| *row >= record_count) {
            return Err(DecodeError::Damaged("a row is outside"));
        }
        let values = self.values(kind, count)?;
        Ok(FieldColumn { name, rows, values })
    }

    fn values(&mut self, kind: FieldType, count: usize) -> Result<FieldValues, DecodeError> {
        Ok(match kind {
            FieldType::Text => FieldValues::Text(self.texts(count)?),
            FieldType::Int => {
                let value = |_| Ok(unzigzag(self.reader.varint()?));
                FieldValues::Int((0..count).map(value).collect::<Result<_, DecodeError>>()?)
            }
            FieldType::Float => {
                let value = |_| Ok(f64::from_le_bytes(self.reader.array()?));
                FieldValues::Float((0..count).map(value).collect::<Result<_, DecodeError>>()?)
            }
            FieldType::Bool => {
                FieldValues::Bool(self.reader.take(count)?.iter().map(|b| *b != 0).collect())
            }
        })
    }

    fn texts(&mut self, count: usize) -> Result<Texts, DecodeError> {
        let ends = self.reader.steps(count)?;
        let end = ends.last().copied().unwrap_or(0);
        let taken = self.reader.take(end as usize)?;
        Texts::new(ends, self.whole.slice_ref(taken)).ok_or(DecodeError::Damaged("no UTF-8"))
    }
}

#[cfg(test)]
mod tests;
