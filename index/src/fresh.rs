//! Fresh records: accepted, not yet in a split, searchable from memory.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use model::partition::{Offset, PartitionId};
use model::split::FieldStat;

use crate::columns::times;
use crate::schema::{Adapter, FieldColumnId, united};
use crate::several::tally_fields;

/// Some fresh rows of one partition and index.
#[derive(Debug)]
pub struct FreshPart {
    /// Their partition.
    pub partition: PartitionId,
    /// Their index.
    pub index: Arc<str>,
    /// The rows, in order of arrival.
    pub rows: RecordBatch,
    /// Earliest timestamp.
    pub time_first: i64,
    /// Latest timestamp.
    pub time_last: i64,
    /// Bytes they take in memory, about.
    pub bytes: u64,
    /// Their fields, once somebody asked: rows never change.
    fields: OnceLock<Arc<Vec<FieldStat>>>,
}

impl FreshPart {
    /// A part of these rows.
    #[must_use]
    pub fn new(partition: PartitionId, index: Arc<str>, rows: RecordBatch) -> Self {
        let (mut time_first, mut time_last) = (i64::MAX, i64::MIN);
        for time in times(&rows, "timestamp").into_iter().flat_map(|times| times.values().iter()) {
            (time_first, time_last) = (time_first.min(*time), time_last.max(*time));
        }
        let bytes = rows.get_array_memory_size() as u64;
        let fields = OnceLock::new();
        Self { partition, index, rows, time_first, time_last, bytes, fields }
    }
}

impl FreshPart {
    /// Its fields with their types and counts, labels included: of each name, type and label one. They are
    /// counted once.
    #[must_use]
    pub(crate) fn fields(&self) -> Arc<Vec<FieldStat>> {
        let count = || {
            let mut tallies = HashMap::new();
            tally_fields(&self.rows, &mut tallies);
            Arc::new(tallies.into_iter().map(|(id, tally)| tally.stat(id)).collect())
        };
        self.fields.get_or_init(count).clone()
    }

    /// The same where they were counted before.
    pub(crate) fn fields_at_hand(&self) -> Option<Arc<Vec<FieldStat>>> {
        self.fields.get().cloned()
    }

    /// Its rows from an offset on; `None` when there are none.
    #[must_use]
    pub(crate) fn behind(self: &Arc<Self>, from: Offset) -> Option<Arc<Self>> {
        let column = self.rows.column_by_name("offset");
        let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let offsets = column.map(|offsets| offsets.values().as_ref()).unwrap_or_default();
        // They are in order of arrival.
        let at = offsets.partition_point(|offset| *offset < from.0);
        if at == 0 {
            return Some(self.clone());
        }
        let left = self.rows.num_rows().saturating_sub(at);
        let rows = (left > 0).then(|| self.rows.slice(at, left))?;
        Some(Arc::new(Self::new(self.partition, self.index.clone(), rows)))
    }

    /// The lowest and the highest offset.
    #[must_use]
    pub fn offsets(&self) -> (Offset, Offset) {
        let column = self.rows.column_by_name("offset");
        let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let offsets = column.map(|offsets| offsets.values().as_ref()).unwrap_or_default();
        // They are in order of arrival.
        let at = |offset: Option<&u64>| Offset(offset.copied().unwrap_or_default());
        (at(offsets.first()), at(offsets.last()))
    }
}

/// Parts of a partition, in order of arrival, joined as they grow in number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parts {
    parts: Vec<Arc<FreshPart>>,
    /// The offset at which they begin: no row is below it.
    pub(crate) start: Offset,
    /// The offset behind the last row (also of entries that held no row).
    pub(crate) end: Offset,
}

/// Parts of about one size that are joined into one, so that a scan meets few of them.
const JOIN: usize = 8;
/// Rows of a part that is not joined any more.
const JOINED_ROWS_MAX: usize = 1 << 16;
/// Bytes of such a part: Arrow's texts end at 2 GiB, and a scan holds a part's answer at once.
const JOINED_BYTES_MAX: u64 = 64 << 20;

impl Parts {
    /// No part, behind an offset.
    pub(crate) fn from(end: Offset) -> Self {
        Self { parts: Vec::new(), start: end, end }
    }

    pub(crate) fn push(&mut self, part: Arc<FreshPart>) -> Result<(), ArrowError> {
        let index = part.index.clone();
        self.parts.push(part);
        // Joins cascade, so a row is copied once per size: 8, 64, 512 … parts.
        while let Some(first) = self.tail_to_join(&index) {
            let tail = self.parts.get(first..).unwrap_or_default();
            let Some(one) = tail.first() else { break };
            let rows: Vec<&RecordBatch> = tail.iter().map(|part| &part.rows).collect();
            // What cannot be joined stays as it is.
            let joined = FreshPart::new(one.partition, index.clone(), join(&rows)?);
            self.parts.truncate(first);
            self.parts.push(Arc::new(joined));
        }
        Ok(())
    }

    /// Where the last [`JOIN`] parts begin, when they are of the index and of one size.
    fn tail_to_join(&self, index: &Arc<str>) -> Option<usize> {
        let first = self.parts.len().checked_sub(JOIN)?;
        let tail = self.parts.get(first..)?;
        let largest = tail.iter().map(|part| part.rows.num_rows()).max()?;
        let sum: usize = tail.iter().map(|part| part.rows.num_rows()).sum();
        let bytes: u64 = tail.iter().map(|part| part.bytes).sum();
        let fits = sum <= JOINED_ROWS_MAX && bytes <= JOINED_BYTES_MAX;
        let alike = tail.iter().all(|part| part.index == *index);
        (alike && fits && largest <= sum / 2).then_some(first)
    }

    /// Lets go what is below an offset: it is in splits.
    pub(crate) fn begin_at(&mut self, start: Offset) {
        self.start = self.start.max(start);
        self.end = self.end.max(start);
        let kept = self.parts.iter().filter_map(|part| part.behind(start));
        self.parts = kept.collect();
    }

    /// Puts other parts in the place of those for which there is one; what has no rows goes.
    pub(crate) fn replace(
        &mut self,
        mut other: impl FnMut(&Arc<FreshPart>) -> Option<Arc<FreshPart>>,
    ) {
        for part in &mut self.parts {
            if let Some(other) = other(part) {
                *part = other;
            }
        }
        self.parts.retain(|part| part.rows.num_rows() > 0);
    }

    /// Puts earlier parts before these.
    pub(crate) fn put_before(&mut self, earlier: &Self) {
        drop(self.parts.splice(..0, earlier.parts.iter().cloned()));
        self.start = earlier.start;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FreshPart>> {
        self.parts.iter()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    pub(crate) fn row_count(&self) -> u64 {
        self.parts.iter().map(|part| part.rows.num_rows() as u64).sum()
    }

    /// The parts of each index.
    pub(crate) fn by_index(&self) -> HashMap<Arc<str>, Vec<Arc<FreshPart>>> {
        let mut by_index: HashMap<Arc<str>, Vec<Arc<FreshPart>>> = HashMap::new();
        for part in &self.parts {
            by_index.entry(part.index.clone()).or_default().push(part.clone());
        }
        by_index
    }
}

/// The columns that sets of rows share.
pub(crate) fn shared_schema<'a>(rows: impl Iterator<Item = &'a RecordBatch>) -> SchemaRef {
    // Most have the same: their columns are looked at once.
    let mut counted: Vec<(&SchemaRef, Vec<u64>)> = Vec::new();
    for rows in rows {
        let present = rows.columns().iter().map(|column| column.len() - column.null_count());
        let known = counted.iter_mut().find(|(schema, _)| Arc::ptr_eq(schema, rows.schema_ref()));
        match known {
            Some((_, counts)) => {
                counts.iter_mut().zip(present).for_each(|(sum, count)| *sum += count as u64);
            }
            None => {
                counted.push((rows.schema_ref(), present.map(|count| count as u64).collect()));
            }
        }
    }
    let of_schema = |(schema, counts): &(&SchemaRef, Vec<u64>)| {
        let ids = schema.fields().iter().map(|field| FieldColumnId::of(field));
        let counted = ids.zip(counts).filter_map(|(id, count)| Some((id?, *count)));
        counted.collect::<Vec<_>>()
    };
    let counted: Vec<_> = counted.iter().flat_map(of_schema).collect();
    united(counted.iter().map(|(id, count)| (id, *count)))
}

/// Sets of rows with the columns that they share.
pub(crate) fn alike(rows: &[&RecordBatch]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let schema = shared_schema(rows.iter().copied());
    let mut adapters: Vec<Adapter> = Vec::new();
    let mut adapted = Vec::with_capacity(rows.len());
    for rows in rows {
        let known = adapters.iter().find(|adapter| adapter.takes(rows.schema_ref()));
        adapted.push(match known {
            _ if *rows.schema_ref() == schema => (*rows).clone(),
            Some(adapter) => adapter.adapt(rows)?,
            None => {
                let adapter = Adapter::new(rows.schema_ref(), &schema)?;
                let made = adapter.adapt(rows)?;
                adapters.push(adapter);
                made
            }
        });
    }
    Ok((schema, adapted))
}

/// Sets of rows as one.
pub(crate) fn join(rows: &[&RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let (schema, adapted) = alike(rows)?;
    concat_batches(&schema, &adapted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::schema;

    #[test]
    fn parts_are_joined_unless_that_is_too_large() {
        let part = |bytes| {
            let (partition, index) = (PartitionId(0), Arc::from("main"));
            let rows = RecordBatch::new_empty(schema(&[]));
            Arc::new(FreshPart { bytes, ..FreshPart::new(partition, index, rows) })
        };
        for (bytes, left) in [(1, 1), (JOINED_BYTES_MAX / 4, JOIN)] {
            let mut parts = Parts::default();
            for _ in 0..JOIN {
                parts.push(part(bytes)).unwrap();
            }
            assert_eq!(parts.iter().count(), left);
        }
    }

    #[test]
    fn fields_are_counted_once() {
        let rows = RecordBatch::new_empty(schema(&[]));
        let part = FreshPart::new(PartitionId(0), Arc::from("main"), rows);
        assert!(part.fields_at_hand().is_none());
        let counted = part.fields();
        assert!(part.fields_at_hand().is_some_and(|known| Arc::ptr_eq(&known, &counted)));
        assert!(Arc::ptr_eq(&part.fields(), &counted));
    }
}
