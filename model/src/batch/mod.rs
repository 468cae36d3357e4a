//! A batch: records of one stream that travel and commit together, as columns.

mod builder;
mod known;

use bytes::Bytes;

use crate::level::Level;
use crate::record::{FieldType, FieldValue, Record};
use crate::stream::{IndexName, Labels, StreamId};
use crate::time::Timestamp;
use builder::TextsBuilder;
pub use builder::{BatchBuilder, weight};

/// Many texts in one buffer. `ends[i]` is where text `i` ends; all bytes are UTF-8 and every end
/// is a character boundary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    ends: Vec<u32>,
    bytes: Bytes,
}

impl Texts {
    /// Checks and takes the parts. `None` unless the ends ascend, the last one is the length of
    /// the bytes, and every text is UTF-8.
    #[must_use]
    pub fn new(ends: Vec<u32>, bytes: Bytes) -> Option<Self> {
        let text = std::str::from_utf8(&bytes).ok()?;
        let ascending = ends.is_sorted() && ends.last().map_or(0, |e| *e as usize) == text.len();
        let whole = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (ascending && whole).then_some(Self { ends, bytes })
    }

    /// How many texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Text number `at`.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(Some(0), |at| self.ends.get(at).copied())? as usize;
        std::str::from_utf8(self.bytes.get(start..end)?).ok()
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Where each text ends, in bytes.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// All texts, one behind the other. Shares the buffer.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut builder = TextsBuilder::default();
        texts.into_iter().for_each(|text| builder.push(text));
        builder.finish()
    }
}

/// The values of one field column.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValues {
    /// Texts.
    Text(Texts),
    /// Whole numbers.
    Int(Vec<i64>),
    /// Other numbers.
    Float(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl FieldValues {
    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their type.
    #[must_use]
    pub fn kind(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Int(_) => FieldType::Int,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
        }
    }

    /// Value number `at`.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<FieldValue> {
        match self {
            Self::Text(values) => values.get(at).map(|text| FieldValue::Text(text.to_owned())),
            Self::Int(values) => values.get(at).copied().map(FieldValue::Int),
            Self::Float(values) => values.get(at).copied().map(FieldValue::Float),
            Self::Bool(values) => values.get(at).copied().map(FieldValue::Bool),
        }
    }
}

/// One field in one type: the rows that have it (ascending; a row twice when the record has the
/// value twice) and a value for each.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldColumn {
    /// Dotted name; never one of [`RESERVED`](crate::stream::RESERVED), never the name of a label of the batch.
    pub name: String,
    /// Row numbers in the batch.
    pub rows: Vec<u32>,
    /// As many values as rows.
    pub values: FieldValues,
}

/// Who sent a batch, and which part of its own order the batch covers.
///
/// The queue keeps for every producer where its last batch ended. A batch is taken when it
/// starts there (or the producer is unknown, or its epoch is newer); it is a repeat when it ends
/// there or before; anything else is refused with the place to go on from. For a file, producer
/// is the file's generation and the sequence is the byte offset, so a resend after a crash is
/// recognised whatever its cut. With [`Sequence::OF_KEY`] the producer is the key of one request
/// and the epoch a fingerprint of its body: any other epoch is another body, and is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The producer, a random number that is never used again. Zero: none, never deduplicated.
    pub producer: u64,
    /// The producer's life; an older one is fenced.
    pub epoch: u32,
    /// Where the producer's last batch ended.
    pub from: u64,
    /// Where this one ends; the next batch's `from`.
    pub to: u64,
}

impl Sequence {
    /// A batch that is not deduplicated.
    pub const NONE: Self = Self { producer: 0, epoch: 0, from: 0, to: 0 };

    /// The bit of `from` and `to` by which batches of a request with a key are told from a
    /// producer's that goes on. Byte offsets and counters stay below it.
    pub const OF_KEY: u64 = 1 << 63;

    /// Bit of a position whose producer is the names of a batch's records, set beside
    /// [`Sequence::OF_KEY`]: whoever sends them again does it soon.
    pub const OF_NAMES: u64 = 1 << 62;
}

/// Records of one stream, by column. All columns have the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Where the records go.
    pub index: IndexName,
    /// The labels of their stream.
    pub labels: Labels,
    /// When each happened, nanoseconds UTC.
    pub timestamps: Vec<i64>,
    /// [`Level`] numbers.
    pub levels: Vec<u8>,
    /// The messages.
    pub messages: Texts,
    /// The fields.
    pub fields: Vec<FieldColumn>,
}

impl Batch {
    /// How many records.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.timestamps.len()
    }

    /// Their stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        StreamId::of(&self.index, &self.labels)
    }

    /// Record number `row` as a value, fields in column order. For tests, tails and tools:
    /// everything fast reads columns.
    #[must_use]
    pub fn record(&self, row: usize) -> Option<Record> {
        let mut record = Record {
            timestamp: Some(Timestamp(*self.timestamps.get(row)?)),
            level: Level::from_number(*self.levels.get(row)?),
            message: self.messages.get(row)?.to_owned(),
            fields: Vec::new(),
        };
        let row = u32::try_from(row).ok()?;
        for column in &self.fields {
            let start = column.rows.partition_point(|r| *r < row);
            let end = column.rows.partition_point(|r| *r <= row);
            let values = (start..end).filter_map(|at| column.values.get(at));
            record.fields.extend(values.map(|value| (column.name.clone(), value)));
        }
        Some(record)
    }
}
