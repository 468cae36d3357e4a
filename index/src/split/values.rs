//! How many rows have each value of a label or of a text field with few values: group-bys and facets
//! of everything read no row, others read dictionaries' keys.

use std::collections::{BTreeMap, HashMap};
use std::io;

use arrow::array::{Array as _, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;

use super::coding::{Reader, malformed, put, put_bytes};
use crate::columns::Values;
use crate::schema::FieldColumnId;

/// Distinct values of a column that are counted; of one with more nothing is kept.
const VALUES_MAX: usize = 1_024;
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

/// Counts values while rows are written.
#[derive(Debug, Default)]
pub(super) struct ValueCounter {
    /// By column; `None` of one with too many.
    columns: HashMap<String, Option<HashMap<String, u64>>>,
    fields: usize,
}

impl ValueCounter {
    /// Counts some rows.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let Some(id) = FieldColumnId::of(field) else { continue };
            let values = Values::of(column);
            if !matches!(values, Values::Label(..) | Values::Text(_)) {
                continue;
            }
            if !self.columns.contains_key(field.name()) {
                self.fields += usize::from(id.kind.is_some());
                let counted = id.kind.is_none() || self.fields <= FIELDS_MAX;
                self.columns.insert(field.name().clone(), counted.then(HashMap::new));
            }
            let Some(known) = self.columns.get_mut(field.name()) else { continue };
            let Some(counts) = known.as_mut().filter(|_| column.null_count() < rows.num_rows())
            else {
                continue;
            };
            match values {
                Values::Label(keys, texts) => add_keys(counts, keys, texts),
                Values::Text(texts) => add_texts(counts, texts),
                _ => {}
            }
            if counts.len() > VALUES_MAX {
                *known = None;
            }
        }
    }

    /// The counts by column, most rows first.
    pub(super) fn finish(self) -> ValueCounts {
        let sorted = |values: HashMap<String, u64>| {
            let mut values: Vec<(String, u64)> = values.into_iter().collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values
        };
        let known = self.columns.into_iter();
        ValueCounts(known.filter_map(|(column, values)| Some((column, sorted(values?)))).collect())
    }
}

fn add_keys(
    counts: &mut HashMap<String, u64>,
    keys: &DictionaryArray<Int32Type>,
    texts: &StringArray,
) {
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
fn add_texts(counts: &mut HashMap<String, u64>, texts: &StringArray) {
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

fn add(counts: &mut HashMap<String, u64>, text: Option<&str>, rows: u64) {
    let Some(text) = text.filter(|_| rows > 0) else { return };
    match counts.get_mut(text) {
        Some(count) => *count += rows,
        None => drop(counts.insert(text.to_owned(), rows)),
    }
}
