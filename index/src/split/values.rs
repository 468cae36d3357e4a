//! How many rows have each value of a label or of a text field with few values: group-bys and facets
//! of everything read no row, others read dictionaries' keys.

use std::collections::BTreeMap;
use std::io;

use arrow::array::{Array as _, ArrayRef, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int32Type, Schema};
use hashbrown::HashMap;
use model::record::FieldType;

use super::coding::{Reader, malformed, put, put_bytes};
use crate::columns::Values;
use crate::schema::FieldColumnId;

/// Distinct values of a column that are counted; of one with more nothing is kept.
const VALUES_MAX: usize = 1_024;
/// The same of their bytes.
const VALUES_BYTES_MAX: usize = 1 << 20;
/// Text fields of a split whose values are counted, the first ones of its columns.
const FIELDS_MAX: usize = 64;

/// The counts of the values of labels and text fields, by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ValueCounts(BTreeMap<String, Vec<(String, u64)>>);

impl ValueCounts {
    /// The values of a column with their rows; `None` when they are not known.
    pub(super) fn of(&self, column: &str) -> Option<&[(String, u64)]> {
        self.0.get(column).map(Vec::as_slice)
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        for (label, values) in &self.0 {
            put_bytes(&mut out, label.as_bytes());
            put(&mut out, values.len() as u64);
            for (value, rows) in values {
                put_bytes(&mut out, value.as_bytes());
                put(&mut out, *rows);
            }
        }
        out
    }

    /// Undoes [`ValueCounts::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
        let mut reader = Reader(bytes);
        let mut labels = BTreeMap::new();
        for _ in 0..reader.number()? {
            let label = text(reader.bytes()?)?;
            let mut values = Vec::new();
            for _ in 0..reader.number()? {
                values.push((text(reader.bytes()?)?, reader.number()?));
            }
            labels.insert(label, values);
        }
        Ok(Self(labels))
    }
}

/// Values of a column with their rows.
type Counts = HashMap<String, u64>;

/// Whether nothing is kept of them.
fn are_too_many(counts: &Counts) -> bool {
    let bytes = || counts.keys().map(String::len).sum::<usize>();
    counts.len() > VALUES_MAX || bytes() > VALUES_BYTES_MAX
}

/// What a column is whose values may be counted: a label or a text field.
fn counted(field: &Field) -> Option<FieldColumnId> {
    FieldColumnId::of(field).filter(|id| matches!(id.kind, None | Some(FieldType::Text)))
}

/// The counts of splits that become one, added up.
#[derive(Debug, Default)]
pub(super) struct ValueSums(HashMap<FieldColumnId, Option<Counts>>);

impl ValueSums {
    /// Adds those of a split with all its rows and these columns. Of a column of which it does not
    /// know them nothing is known any more.
    pub(super) fn add(&mut self, columns: &Schema, values: &ValueCounts) {
        for field in columns.fields() {
            let Some(id) = counted(field) else { continue };
            let known = self.0.entry(id).or_insert_with(|| Some(Counts::new()));
            match (known.as_mut(), values.of(field.name())) {
                (Some(sums), Some(values)) => {
                    values.iter().for_each(|(value, rows)| add(sums, Some(value), *rows));
                    if are_too_many(sums) {
                        *known = None;
                    }
                }
                _ => *known = None,
            }
        }
    }
}

/// Counts values while rows are written.
#[derive(Debug)]
pub(super) struct ValueCounter(Vec<Counting>);

/// A column whose values are counted.
#[derive(Debug)]
struct Counting {
    /// Its place among the columns of the rows.
    at: usize,
    name: String,
    /// `None` of one with too many.
    counts: Option<Counts>,
    /// Nothing is counted: all of it was known before.
    is_known: bool,
}

impl Counting {
    fn add(&mut self, array: &ArrayRef) {
        let counts = self.counts.as_mut().filter(|_| !self.is_known);
        let Some(counts) = counts.filter(|_| array.null_count() < array.len()) else { return };
        match Values::of(array) {
            Values::Label(keys, texts) => add_keys(counts, keys, texts),
            Values::Text(texts) => add_texts(counts, texts),
            _ => {}
        }
        if are_too_many(counts) {
            self.counts = None;
        }
    }
}

impl ValueCounter {
    /// Of rows with these columns; what is known of them is not counted again.
    pub(super) fn new(columns: &Schema, mut known: ValueSums) -> Self {
        let (mut counting, mut fields) = (Vec::new(), 0);
        for (at, field) in columns.fields().iter().enumerate() {
            let Some(id) = counted(field) else { continue };
            fields += usize::from(id.kind.is_some());
            if id.kind.is_some() && fields > FIELDS_MAX {
                continue;
            }
            let counts = known.0.remove(&id).flatten();
            let (name, is_known) = (field.name().clone(), counts.is_some());
            let counts = Some(counts.unwrap_or_default());
            counting.push(Counting { at, name, counts, is_known });
        }
        Self(counting)
    }

    /// Counts some rows.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        self.0.iter_mut().for_each(|column| column.add(rows.column(column.at)));
    }

    /// Counts the column at a place, which its rows came without.
    pub(super) fn add_column(&mut self, at: usize, values: &ArrayRef) {
        if let Some(column) = self.0.iter_mut().find(|column| column.at == at) {
            column.add(values);
        }
    }

    /// The counts by column, most rows first.
    pub(super) fn finish(self) -> ValueCounts {
        let sorted = |values: Counts| {
            let mut values: Vec<(String, u64)> = values.into_iter().collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values
        };
        let known = self.0.into_iter();
        let known = known.filter_map(|column| Some((column.name, sorted(column.counts?))));
        ValueCounts(known.collect())
    }
}

fn add_keys(counts: &mut Counts, keys: &DictionaryArray<Int32Type>, texts: &StringArray) {
    let mut of_key = vec![0_u64; texts.len()];
    for key in keys.keys().iter().flatten() {
        if let Some(count) = usize::try_from(key).ok().and_then(|key| of_key.get_mut(key)) {
            *count += 1;
        }
    }
    for (text, rows) in texts.iter().zip(of_key).filter(|(_, rows)| *rows > 0) {
        add(counts, text, rows);
    }
}

/// Values often repeat from row to row.
fn add_texts(counts: &mut Counts, texts: &StringArray) {
    let (mut last, mut rows) = (None, 0);
    for text in texts {
        if text != last {
            add(counts, last, rows);
            if counts.len() > VALUES_MAX {
                return;
            }
            (last, rows) = (text, 0);
        }
        rows += 1;
    }
    add(counts, last, rows);
}

fn add(counts: &mut Counts, text: Option<&str>, rows: u64) {
    let Some(text) = text.filter(|_| rows > 0) else { return };
    match counts.get_mut(text) {
        Some(count) => *count += rows,
        None => drop(counts.insert(text.to_owned(), rows)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, new_null_array};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::schema;

    /// Rows with a label and a text field.
    fn rows(values: &[(Option<u16>, Option<u16>)], names: [&str; 2]) -> RecordBatch {
        let id = |at: usize, kind| FieldColumnId { name: names[at].to_owned(), kind };
        let whole = schema(&[id(0, None), id(1, Some(FieldType::Text))]);
        let own = whole.fields().iter().filter(|field| FieldColumnId::of(field).is_some());
        let text = |value: Option<u16>| value.map(|value| format!("v{value}"));
        let labels: Vec<Option<String>> = values.iter().map(|value| text(value.0)).collect();
        let labels: DictionaryArray<Int32Type> = labels.iter().map(Option::as_deref).collect();
        let texts: StringArray = values.iter().map(|value| text(value.1)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(labels), Arc::new(texts)];
        RecordBatch::try_new(Arc::new(Schema::new(own.cloned().collect::<Vec<_>>())), columns)
            .unwrap()
    }

    fn counts(parts: &[RecordBatch], known: ValueSums) -> ValueCounts {
        let mut counter = ValueCounter::new(parts[0].schema_ref(), known);
        parts.iter().for_each(|part| counter.add(part));
        counter.finish()
    }

    fn sums(parts: &[RecordBatch]) -> ValueSums {
        let mut sums = ValueSums::default();
        for part in parts {
            let own = counts(std::slice::from_ref(part), ValueSums::default());
            let own = ValueCounts::decode(&own.encode()).unwrap();
            sums.add(part.schema_ref(), &own);
        }
        sums
    }

    proptest! {
        #[test]
        fn sums_are_what_the_rows_give(
            parts in prop::collection::vec(
                prop::collection::vec(prop::option::of(0_u16..5), 2..40), 1..5),
        ) {
            let pairs = |part: &Vec<Option<u16>>| {
                let pairs: Vec<_> = part.windows(2).map(|pair| (pair[0], pair[1])).collect();
                rows(&pairs, ["host", "path"])
            };
            let parts: Vec<RecordBatch> = parts.iter().map(pairs).collect();
            let counted = counts(&parts, ValueSums::default());
            let sums = sums(&parts);
            // Nothing is counted again.
            let none: Vec<ArrayRef> =
                parts[0].columns().iter().map(|one| new_null_array(one.data_type(), 1)).collect();
            let none = RecordBatch::try_new(parts[0].schema(), none).unwrap();
            prop_assert_eq!(&counts(&[none], sums), &counted);
            prop_assert!(counted.of("host").is_some() && counted.of("path").is_some());
        }
    }

    #[test]
    fn what_one_split_does_not_know_is_counted() {
        let many: Vec<_> =
            (0..=u16::try_from(VALUES_MAX).unwrap()).map(|n| (Some(7), Some(n))).collect();
        let few = [(Some(7), Some(1)), (None, Some(1))];
        let parts = [rows(&few, ["host", "path"]), rows(&many, ["host", "path"])];
        let known = sums(&parts);
        let found = counts(&parts[..1], known);
        assert_eq!(found.of("path"), Some(&[("v1".to_owned(), 2)][..]));
        let all = u64::try_from(VALUES_MAX).unwrap() + 2;
        assert_eq!(found.of("host"), Some(&[("v7".to_owned(), all)][..]));
        // One that a split has no column of is known from the others.
        let parts = [rows(&few, ["host", "path"]), rows(&few, ["host", "name"])];
        let found = counts(&parts[..1], sums(&parts));
        assert_eq!(found.of("path"), Some(&[("v1".to_owned(), 2)][..]));
        assert_eq!(found.of("host"), Some(&[("v7".to_owned(), 2)][..]));
    }
    #[test]
    fn long_values_are_not_counted() {
        let counts = |count: usize| -> Counts {
            let long = |n: usize| (format!("{n}{}", "x".repeat(VALUES_BYTES_MAX / 4)), 1);
            (0..count).map(long).collect()
        };
        assert!(!are_too_many(&counts(3)));
        assert!(are_too_many(&counts(4)));
    }
}
