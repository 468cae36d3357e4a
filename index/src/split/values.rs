//! How many rows have each value of a label: group-bys and facets of everything read no row.

use std::collections::{BTreeMap, HashMap};
use std::io;

use arrow::array::{Array as _, RecordBatch};

use super::coding::{Reader, malformed, put, put_bytes};
use crate::columns::Values;
use crate::schema::FieldColumnId;

/// Distinct values of a label that are counted; of one with more nothing is kept.
const VALUES_MAX: usize = 1_024;

/// The counts of labels' values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ValueCounts(BTreeMap<String, Vec<(String, u64)>>);

impl ValueCounts {
    /// The values of a label with their rows; `None` when they are not known.
    pub(super) fn of(&self, label: &str) -> Option<&[(String, u64)]> {
        self.0.get(label).map(Vec::as_slice)
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

/// Counts labels' values while rows are written.
#[derive(Debug, Default)]
pub(super) struct ValueCounter(HashMap<String, Option<HashMap<String, u64>>>);

impl ValueCounter {
    /// Counts some rows.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let label = FieldColumnId::of(field).filter(|id| id.kind.is_none());
            let (Some(label), Values::Label(keys, texts)) = (label, Values::of(column)) else {
                continue;
            };
            let mut of_key = vec![0_u64; texts.len()];
            for key in keys.keys().iter().flatten() {
                if let Some(count) = usize::try_from(key).ok().and_then(|key| of_key.get_mut(key)) {
                    *count += 1;
                }
            }
            let counts = self.0.entry(label.name).or_insert_with(|| Some(HashMap::new()));
            let Some(values) = counts else { continue };
            for (text, rows) in texts.iter().zip(of_key).filter(|(_, rows)| *rows > 0) {
                let Some(text) = text else { continue };
                match values.get_mut(text) {
                    Some(count) => *count += rows,
                    None => drop(values.insert(text.to_owned(), rows)),
                }
            }
            if values.len() > VALUES_MAX {
                *counts = None;
            }
        }
    }

    /// The counts, by label, most rows first.
    pub(super) fn finish(self) -> ValueCounts {
        let sorted = |values: HashMap<String, u64>| {
            let mut values: Vec<(String, u64)> = values.into_iter().collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values
        };
        let known = self.0.into_iter().filter_map(|(label, values)| Some((label, sorted(values?))));
        ValueCounts(known.collect())
    }
}
