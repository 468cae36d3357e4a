//! A batch: records of one stream that travel and commit together, as columns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::json::{Flat, Value};
use crate::level::Level;
use crate::limits::{BATCH_BYTES_MAX, BATCH_FIELDS_MAX, BATCH_RECORDS_MAX};
use crate::record::{FieldType, FieldValue, Record};
use crate::stream::{IndexName, Labels, RESERVED, StreamId};
use crate::time::Timestamp;

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
    /// Dotted name; never one of [`RESERVED`], never the name of a label of the batch.
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
/// recognised whatever its cut.
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

#[derive(Debug, Default)]
struct TextsBuilder {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TextsBuilder {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a batch is bounded far below 4 GiB"));
    }

    fn finish(self) -> Texts {
        Texts { ends: self.ends, bytes: self.bytes.into() }
    }
}

#[derive(Debug)]
enum ValuesBuilder {
    Text(TextsBuilder),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
}

impl ValuesBuilder {
    fn kind(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Int(_) => FieldType::Int,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
        }
    }
}

#[derive(Debug)]
struct ColumnBuilder {
    rows: Vec<u32>,
    values: ValuesBuilder,
}

/// A field's value on its way into a column.
enum ValueRef<'a> {
    Text(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl ValueRef<'_> {
    fn kind(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Int(_) => FieldType::Int,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
        }
    }
}

fn hash(name: &str, kind: FieldType) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), kind as u64)
}

/// Takes hashes as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Gathers records of one stream into a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    index: IndexName,
    labels: Labels,
    timestamps: Vec<i64>,
    levels: Vec<u8>,
    messages: TextsBuilder,
    columns: Vec<(String, ColumnBuilder)>,
    /// By the hash of name and type; two of one hash are told apart by looking.
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    /// The column after the last one used: records mostly have the same fields in one order.
    guess: usize,
    bytes: usize,
}

impl BatchBuilder {
    /// An empty batch of one stream.
    #[must_use]
    pub fn new(index: IndexName, labels: Labels) -> Self {
        Self {
            index,
            labels,
            timestamps: Vec::new(),
            levels: Vec::new(),
            messages: TextsBuilder::default(),
            columns: Vec::new(),
            places: HashMap::default(),
            guess: 0,
            bytes: 0,
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.timestamps.len()
    }

    /// About how many bytes it will take before compression.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a record still fits under the bounds of a batch. An empty batch takes any record
    /// that keeps the bounds of a record.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        self.timestamps.is_empty()
            || (self.timestamps.len() < BATCH_RECORDS_MAX
                && self.bytes + weight(record) <= BATCH_BYTES_MAX
                && self.columns.len() + record.fields.len() <= BATCH_FIELDS_MAX)
    }

    /// Whether a record without fields, of so many bytes of text, still fits.
    #[must_use]
    pub fn fits_text(&self, message_bytes: usize) -> bool {
        self.timestamps.is_empty()
            || (self.timestamps.len() < BATCH_RECORDS_MAX
                && self.bytes + 16 + message_bytes <= BATCH_BYTES_MAX)
    }

    /// Adds a record without fields. What [`BatchBuilder::push`] does, without owning the text.
    pub fn push_text(&mut self, timestamp: Timestamp, level: Level, message: &str) {
        self.bytes += 16 + message.len();
        self.timestamps.push(timestamp.0);
        self.levels.push(level.number());
        self.messages.push(message);
    }

    /// Gives the large buffers of a batch that is no longer needed to this builder, which must
    /// be empty: a producer of many batches then allocates once.
    pub fn reuse(&mut self, batch: Batch) {
        (self.timestamps, self.levels) = (batch.timestamps, batch.levels);
        self.timestamps.clear();
        self.levels.clear();
        let Texts { mut ends, bytes } = batch.messages;
        let mut bytes = Vec::from(bytes);
        ends.clear();
        bytes.clear();
        self.messages = TextsBuilder { ends, bytes };
    }

    /// Adds a record; `arrival` is its time where it has none of its own. Fields named like
    /// something every record has, or like a label of the stream, are stored as `fields.NAME`.
    #[expect(clippy::needless_pass_by_value, reason = "who packs a record has done with it")]
    pub fn push(&mut self, record: Record, arrival: Timestamp) {
        self.bytes += weight(&record);
        let row = u32::try_from(self.timestamps.len()).expect("a batch has at most 65,536 records");
        self.timestamps.push(record.timestamp.unwrap_or(arrival).0);
        self.levels.push(record.level.number());
        self.messages.push(&record.message);
        self.guess = 0;
        for (name, value) in &record.fields {
            let value = match value {
                FieldValue::Text(text) => ValueRef::Text(text),
                FieldValue::Int(number) => ValueRef::Int(*number),
                FieldValue::Float(number) => ValueRef::Float(*number),
                FieldValue::Bool(truth) => ValueRef::Bool(*truth),
            };
            self.push_field(row, name, value);
        }
    }

    /// Whether a record read from JSON still fits, as [`BatchBuilder::fits`].
    #[must_use]
    pub fn fits_flat(&self, record: &Flat<'_>) -> bool {
        self.timestamps.is_empty()
            || (self.timestamps.len() < BATCH_RECORDS_MAX
                && self.bytes + weight_flat(record) <= BATCH_BYTES_MAX
                && self.columns.len() + record.fields.len() <= BATCH_FIELDS_MAX)
    }

    /// What [`BatchBuilder::push`] does, without owning the texts.
    pub fn push_flat(&mut self, record: &Flat<'_>, arrival: Timestamp) {
        self.bytes += weight_flat(record);
        let row = u32::try_from(self.timestamps.len()).expect("a batch has at most 65,536 records");
        self.timestamps.push(record.timestamp.unwrap_or(arrival).0);
        self.levels.push(record.level.number());
        self.messages.push(&record.message);
        self.guess = 0;
        for (name, value) in &record.fields {
            let value = match value {
                Value::Text(text) => ValueRef::Text(text),
                Value::Int(number) => ValueRef::Int(*number),
                Value::Float(number) => ValueRef::Float(*number),
                Value::Bool(truth) => ValueRef::Bool(*truth),
            };
            self.push_field(row, name, value);
        }
    }

    fn push_field(&mut self, row: u32, name: &str, value: ValueRef<'_>) {
        let place = self.place(name, value.kind());
        self.guess = place + 1;
        let Some((_, column)) = self.columns.get_mut(place) else { return };
        column.rows.push(row);
        match (&mut column.values, value) {
            (ValuesBuilder::Text(values), ValueRef::Text(value)) => values.push(value),
            (ValuesBuilder::Int(values), ValueRef::Int(value)) => values.push(value),
            (ValuesBuilder::Float(values), ValueRef::Float(value)) => values.push(value),
            (ValuesBuilder::Bool(values), ValueRef::Bool(value)) => values.push(value),
            _ => unreachable!("a column is found by its type"),
        }
    }

    /// The column of a field of that name and type, made when it is not there.
    fn place(&mut self, name: &str, kind: FieldType) -> usize {
        if let Some(place) = self.find(name, kind) {
            return place;
        }
        let taken = RESERVED.contains(&name) || self.labels.get(name).is_some();
        let name = if taken { format!("fields.{name}") } else { name.to_owned() };
        if taken && let Some(place) = self.find(&name, kind) {
            return place;
        }
        let values = match kind {
            FieldType::Text => ValuesBuilder::Text(TextsBuilder::default()),
            FieldType::Int => ValuesBuilder::Int(Vec::new()),
            FieldType::Float => ValuesBuilder::Float(Vec::new()),
            FieldType::Bool => ValuesBuilder::Bool(Vec::new()),
        };
        let place = self.columns.len();
        self.places.entry(hash(&name, kind)).or_insert(place);
        self.columns.push((name, ColumnBuilder { rows: Vec::new(), values }));
        place
    }

    /// A column by its own name. No column is named like something that is taken.
    fn find(&self, name: &str, kind: FieldType) -> Option<usize> {
        let is_it = |at: &usize| {
            let column = self.columns.get(*at);
            column.is_some_and(|(own, column)| own == name && column.values.kind() == kind)
        };
        if is_it(&self.guess) {
            return Some(self.guess);
        }
        let place = *self.places.get(&hash(name, kind))?;
        // Where two have one hash, the later one is looked for.
        if is_it(&place) { Some(place) } else { (0..self.columns.len()).find(is_it) }
    }

    /// The batch.
    #[must_use]
    pub fn finish(self) -> Batch {
        let column = |(name, column): (String, ColumnBuilder)| FieldColumn {
            name,
            rows: column.rows,
            values: match column.values {
                ValuesBuilder::Text(values) => FieldValues::Text(values.finish()),
                ValuesBuilder::Int(values) => FieldValues::Int(values),
                ValuesBuilder::Float(values) => FieldValues::Float(values),
                ValuesBuilder::Bool(values) => FieldValues::Bool(values),
            },
        };
        Batch {
            index: self.index,
            labels: self.labels,
            timestamps: self.timestamps,
            levels: self.levels,
            messages: self.messages.finish(),
            fields: self.columns.into_iter().map(column).collect(),
        }
    }
}

/// About how many bytes a record takes in a batch, before compression.
#[must_use]
pub fn weight(record: &Record) -> usize {
    let field = |(name, value): &(String, FieldValue)| {
        8 + match value {
            // A name is written once a batch; in a batch of one it still must fit.
            FieldValue::Text(text) => text.len() + name.len(),
            _ => 8 + name.len(),
        }
    };
    16 + record.message.len() + record.fields.iter().map(field).sum::<usize>()
}

fn weight_flat(record: &Flat<'_>) -> usize {
    let field = |(name, value): &(Cow<'_, str>, Value<'_>)| {
        8 + match value {
            Value::Text(text) => text.len() + name.len(),
            _ => 8 + name.len(),
        }
    };
    16 + record.message.len() + record.fields.iter().map(field).sum::<usize>()
}
