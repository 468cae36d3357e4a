//! Records → columns: a batch that is being filled.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::known::{Hashed, Known, hash};
use super::{Batch, FieldColumn, FieldValues, Texts};
use crate::json::{Flat, Plain, Quick};
use crate::level::Level;
use crate::limits::{BATCH_BYTES_MAX, BATCH_FIELDS_MAX, BATCH_RECORDS_MAX};
use crate::record::{FieldType, FieldValue, Record};
use crate::stream::{IndexName, Labels, RESERVED};
use crate::time::Timestamp;

/// Texts that are being gathered.
#[derive(Debug, Default)]
pub(super) struct TextsBuilder {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TextsBuilder {
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a batch is bounded far below 4 GiB"));
    }

    fn reuse(texts: Texts) -> Self {
        let (mut ends, mut bytes) = (texts.ends, Vec::from(texts.bytes));
        ends.clear();
        bytes.clear();
        Self { ends, bytes }
    }

    pub(super) fn finish(self) -> Texts {
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
    fn reuse(values: FieldValues) -> Self {
        match values {
            FieldValues::Text(texts) => Self::Text(TextsBuilder::reuse(texts)),
            FieldValues::Int(values) => Self::Int(emptied(values)),
            FieldValues::Float(values) => Self::Float(emptied(values)),
            FieldValues::Bool(values) => Self::Bool(emptied(values)),
        }
    }

    fn kind(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Int(_) => FieldType::Int,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
        }
    }
}

fn emptied<T>(mut values: Vec<T>) -> Vec<T> {
    values.clear();
    values
}

#[derive(Debug)]
struct ColumnBuilder {
    rows: Vec<u32>,
    values: ValuesBuilder,
}

/// The type of the column that a value goes into.
fn kind_of(value: Plain<'_>) -> FieldType {
    match value {
        Plain::Text(_) => FieldType::Text,
        Plain::Int(_) => FieldType::Int,
        Plain::Float(_) => FieldType::Float,
        Plain::Bool(_) => FieldType::Bool,
    }
}

/// Of a batch with more columns none is kept for the next one.
const COLUMNS_KEPT_MAX: usize = 256;

/// Gathers records of one stream into a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    index: IndexName,
    labels: Labels,
    timestamps: Vec<i64>,
    levels: Vec<u8>,
    messages: TextsBuilder,
    columns: Vec<(String, ColumnBuilder)>,
    /// Of each column.
    known: Vec<Known>,
    /// By the hash of name and type; two of one hash are told apart by looking.
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    /// The columns with which records begin, as [`Known::next`].
    first: [usize; 2],
    /// The column used last in the record that is added.
    last: Option<usize>,
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
            known: Vec::new(),
            places: HashMap::default(),
            first: [0; 2],
            last: None,
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
        self.has_room(record.fields.len(), weight(record))
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
    /// be empty: a producer of many batches then allocates once. Columns that are not used are
    /// not part of what is built.
    pub fn reuse(&mut self, batch: Batch) {
        (self.timestamps, self.levels) = (batch.timestamps, batch.levels);
        self.timestamps.clear();
        self.levels.clear();
        self.messages = TextsBuilder::reuse(batch.messages);
        if batch.fields.len() > COLUMNS_KEPT_MAX {
            return;
        }
        for FieldColumn { name, mut rows, values } in batch.fields {
            // It may be of another stream, in which the name means something else.
            if RESERVED.contains(&name.as_str()) || self.labels.get(&name).is_some() {
                continue;
            }
            rows.clear();
            let values = ValuesBuilder::reuse(values);
            self.know(&name, values.kind());
            self.columns.push((name, ColumnBuilder { rows, values }));
        }
    }

    /// Adds a record; `arrival` is its time where it has none of its own. Fields named like
    /// something every record has, or like a label of the stream, are stored as `fields.NAME`.
    #[expect(clippy::needless_pass_by_value, reason = "who packs a record has done with it")]
    pub fn push(&mut self, record: Record, arrival: Timestamp) {
        self.add_record(&record, weight(&record), arrival);
    }

    /// The same if the record still fits. Whether it did.
    pub fn take(&mut self, record: &Record, arrival: Timestamp) -> bool {
        let weight = weight(record);
        let fits = self.has_room(record.fields.len(), weight);
        if fits {
            self.add_record(record, weight, arrival);
        }
        fits
    }

    fn add_record(&mut self, record: &Record, weight: usize, arrival: Timestamp) {
        let fields = record.fields.iter().map(|(name, value)| {
            let value = match value {
                FieldValue::Text(text) => Plain::Text(text),
                FieldValue::Int(number) => Plain::Int(*number),
                FieldValue::Float(number) => Plain::Float(*number),
                FieldValue::Bool(truth) => Plain::Bool(*truth),
            };
            (name.as_str(), value)
        });
        let timestamp = record.timestamp.unwrap_or(arrival);
        self.add(weight, (timestamp, record.level, &record.message), fields);
    }

    fn has_room(&self, field_count: usize, weight: usize) -> bool {
        self.timestamps.is_empty()
            || (self.timestamps.len() < BATCH_RECORDS_MAX
                && self.bytes + weight <= BATCH_BYTES_MAX
                && self.columns.len() + field_count <= BATCH_FIELDS_MAX)
    }

    /// What [`BatchBuilder::take`] does, without owning the texts.
    pub fn take_flat(&mut self, record: &Flat<'_>, arrival: Timestamp) -> bool {
        let weight = record.weight();
        let fits = self.has_room(record.fields.len(), weight);
        if fits {
            let fields = record.fields.iter().map(|(name, value)| (name.as_ref(), value.plain()));
            let timestamp = record.timestamp.unwrap_or(arrival);
            self.add(weight, (timestamp, record.level, &record.message), fields);
        }
        fits
    }

    /// The same of a record that was read quickly.
    pub fn take_quick(&mut self, record: &Quick<'_, '_>, arrival: Timestamp) -> bool {
        let (field_count, weight) = record.weight();
        let fits = self.has_room(field_count, weight);
        if fits {
            let timestamp = record.timestamp.unwrap_or(arrival);
            self.add(weight, (timestamp, record.level, record.message()), record.fields());
        }
        fits
    }

    fn add<'v>(
        &mut self,
        weight: usize,
        (timestamp, level, message): (Timestamp, Level, &str),
        fields: impl Iterator<Item = (&'v str, Plain<'v>)>,
    ) {
        self.bytes += weight;
        let row = u32::try_from(self.timestamps.len()).expect("a batch has at most 65,536 records");
        self.timestamps.push(timestamp.0);
        self.levels.push(level.number());
        self.messages.push(message);
        self.last = None;
        fields.for_each(|(name, value)| self.push_field(row, name, value));
    }

    fn push_field(&mut self, row: u32, name: &str, value: Plain<'_>) {
        let place = self.place(name, kind_of(value));
        let Some((_, column)) = self.columns.get_mut(place) else { return };
        column.rows.push(row);
        match (&mut column.values, value) {
            (ValuesBuilder::Text(values), Plain::Text(value)) => values.push(value),
            (ValuesBuilder::Int(values), Plain::Int(value)) => values.push(value),
            (ValuesBuilder::Float(values), Plain::Float(value)) => values.push(value),
            (ValuesBuilder::Bool(values), Plain::Bool(value)) => values.push(value),
            _ => unreachable!("a column is found by its type"),
        }
    }

    /// The column of a field of that name and type that comes after the last one, made when it is not there.
    fn place(&mut self, name: &str, kind: FieldType) -> usize {
        let next = match self.last {
            Some(last) => self.known.get(last).map_or([0; 2], |known| known.next),
            None => self.first,
        };
        let [latest, other] = next;
        if self.is(latest, name, kind) {
            self.last = Some(latest);
            return latest;
        }
        let place = match self.is(other, name, kind) {
            true => other,
            false => self.find(name, kind).unwrap_or_else(|| self.open(name, kind)),
        };
        let known =
            self.last.and_then(|last| self.known.get_mut(last)).map(|known| &mut known.next);
        *known.unwrap_or(&mut self.first) = [place, latest];
        self.last = Some(place);
        place
    }

    /// A new column for a name that has none, unless it has one under the name it is given.
    fn open(&mut self, name: &str, kind: FieldType) -> usize {
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
        self.know(&name, kind);
        self.columns.push((name, ColumnBuilder { rows: Vec::new(), values }));
        place
    }

    /// Notes the column that comes next.
    fn know(&mut self, name: &str, kind: FieldType) {
        self.places.entry(hash(name, kind)).or_insert(self.columns.len());
        self.known.push(Known::new(name, kind, self.columns.len() + 1));
    }

    /// Whether a column is the one of that name and type.
    fn is(&self, place: usize, name: &str, kind: FieldType) -> bool {
        let own = || self.columns.get(place).is_some_and(|(own, _)| own == name);
        self.known.get(place).is_some_and(|known| known.is(name, kind, own))
    }

    /// A column by its own name. No column is named like something that is taken.
    fn find(&self, name: &str, kind: FieldType) -> Option<usize> {
        let place = *self.places.get(&hash(name, kind))?;
        // Where two have one hash, the later one is looked for.
        let is_it = |at: &usize| self.is(*at, name, kind);
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
            fields: self
                .columns
                .into_iter()
                .filter(|(_, it)| !it.rows.is_empty())
                .map(column)
                .collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str, fields: &[(&str, FieldValue)]) -> Record {
        let own = |(name, value): &(&str, FieldValue)| ((*name).to_owned(), value.clone());
        let fields = fields.iter().map(own).collect();
        Record { message: message.to_owned(), fields, ..Record::default() }
    }

    fn builder(label: &str) -> BatchBuilder {
        let labels = Labels::new(vec![(label.to_owned(), "x".to_owned())]).unwrap();
        BatchBuilder::new(IndexName::default(), labels)
    }

    fn built(mut builder: BatchBuilder, records: &[Record]) -> Batch {
        records.iter().for_each(|record| builder.push(record.clone(), Timestamp(7)));
        builder.finish()
    }

    /// Every record as it is read back, and the names of columns.
    fn facts(batch: &Batch) -> (Vec<Record>, Vec<&str>) {
        let mut names: Vec<&str> = batch.fields.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        let sorted = |mut record: Record| {
            record.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            record
        };
        let records = (0..batch.record_count()).filter_map(|row| batch.record(row));
        (records.map(sorted).collect(), names)
    }

    #[test]
    fn long_names_that_begin_alike_have_columns_of_their_own() {
        let long = |end: &str| format!("{}{end}", "n".repeat(super::super::known::HEAD_BYTES));
        let names = [long(""), long("a"), long("b"), long("aa"), "n".to_owned()];
        let fields: Vec<(&str, FieldValue)> =
            names.iter().map(|name| (name.as_str(), FieldValue::Int(1))).collect();
        let batch = built(builder("host"), &[record("m", &fields), record("m", &fields)]);
        assert_eq!(facts(&batch).1.len(), names.len());
        assert!(batch.fields.iter().all(|column| column.rows == [0, 1]));
    }

    #[test]
    fn the_buffers_of_another_batch_leave_nothing_of_it() {
        let (text, int) = (FieldValue::Text("t".to_owned()), FieldValue::Int(1));
        let lots = [
            vec![record("one", &[("a", text.clone()), ("b", int.clone()), ("gone", int.clone())])],
            vec![record("two", &[("b", text.clone()), ("c", int.clone()), ("a", text.clone())])],
            vec![record("bare", &[])],
            vec![
                record("three", &[("a", int.clone()), ("c", int)]),
                record("four", &[("b", text)]),
            ],
        ];
        let mut spare = None;
        // A label of one is a field of another.
        for (label, records) in ["host", "a", "b", "c"].into_iter().zip(lots) {
            let mut reusing = builder(label);
            if let Some(batch) = spare.take() {
                reusing.reuse(batch);
            }
            let reused = built(reusing, &records);
            assert_eq!(facts(&reused), facts(&built(builder(label), &records)));
            spare = Some(reused);
        }
    }
}
