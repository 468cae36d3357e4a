//! Which columns of fields have values at all, by service: rows are ordered by service, and one logs
//! few of the fields that a split has. A few whole rows are read without the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::Field;

use super::coding::{Reader, malformed, put, put_bytes};
use super::rowset::RowSet;
use crate::schema::{FieldColumnId, REST};

/// The columns of fields that have values, by the rows of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Present {
    columns: Vec<String>,
    /// The row behind those of each service, ascending, with the numbers of the columns.
    services: Vec<(u32, Vec<u32>)>,
}

/// Whether a column is a field's: of others every split has values.
pub(super) fn is_own(field: &Field) -> bool {
    field.name() == REST || FieldColumnId::of(field).is_some_and(|id| id.kind.is_some())
}

impl Present {
    /// The columns of fields of which some of these rows may have values; `None` where that is not
    /// known.
    pub(super) fn columns_of(&self, rows: &RowSet) -> Option<BTreeSet<&str>> {
        self.services.last()?;
        let (mut names, mut start) = (BTreeSet::new(), 0);
        let mut ranges = rows.ranges().iter().peekable();
        for (end, columns) in &self.services {
            while ranges.next_if(|range| range.end <= start).is_some() {}
            start = *end;
            if ranges.peek().is_some_and(|range| range.start < *end) {
                let name = |number: &u32| self.columns.get(*number as usize).map(String::as_str);
                names.extend(columns.iter().filter_map(name));
            }
        }
        Some(names)
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.columns.len() as u64);
        self.columns.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
        put(&mut out, self.services.len() as u64);
        let mut start = 0;
        for (end, columns) in &self.services {
            put(&mut out, u64::from(end - start));
            start = *end;
            put(&mut out, columns.len() as u64);
            let mut before = 0;
            for number in columns {
                put(&mut out, u64::from(number - before));
                before = *number;
            }
        }
        out
    }

    /// Undoes [`Present::encode`]; the services have so many rows.
    pub(super) fn decode(bytes: &[u8], row_count: u32) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let mut columns = Vec::new();
        for _ in 0..reader.number()? {
            let name = String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| malformed())?;
            columns.push(name);
        }
        let (mut services, mut end) = (Vec::new(), 0_u32);
        for _ in 0..reader.number()? {
            end = end.checked_add(reader.small()?).ok_or_else(malformed)?;
            let (mut numbers, mut number) = (Vec::new(), 0_u32);
            for _ in 0..reader.number()? {
                number = number.checked_add(reader.small()?).ok_or_else(malformed)?;
                if columns.len() <= number as usize {
                    return Err(malformed());
                }
                numbers.push(number);
            }
            services.push((end, numbers));
        }
        let is_whole = end == row_count && reader.is_empty();
        if is_whole { Ok(Self { columns, services }) } else { Err(malformed()) }
    }
}

/// Finds the columns while rows are written.
#[derive(Debug, Default)]
pub(super) struct PresentFinder {
    services: Vec<Service>,
    rows: u32,
}

#[derive(Debug)]
struct Service {
    name: String,
    end: u32,
    columns: BTreeSet<String>,
}

impl PresentFinder {
    /// Looks at the next rows: so many of a service, and so on.
    pub(super) fn add<'a>(
        &mut self,
        rows: &RecordBatch,
        runs: impl IntoIterator<Item = (usize, &'a str)>,
    ) {
        let (mut from, mut runs) = (0, runs.into_iter().peekable());
        while let Some((mut run, name)) = runs.next() {
            while let Some((more, _)) = runs.next_if(|(_, next)| *next == name) {
                run += more;
            }
            let run = run.min(rows.num_rows() - from);
            self.rows = self.rows.saturating_add(u32::try_from(run).unwrap_or(u32::MAX));
            if self.services.last().is_none_or(|last| last.name != name) {
                let name = name.to_owned();
                self.services.push(Service { name, end: 0, columns: BTreeSet::new() });
            }
            if let Some(last) = self.services.last_mut() {
                last.end = self.rows;
                last.add(rows, from, run);
            }
            from += run;
        }
    }

    /// Looks at a column of all rows, which came without it.
    pub(super) fn add_column(&mut self, name: &str, column: &ArrayRef) {
        let mut from = 0;
        for service in &mut self.services {
            let count = service.end as usize - from;
            if has_values(column, from, count) {
                service.columns.insert(name.to_owned());
            }
            from = service.end as usize;
        }
    }

    /// The columns found.
    pub(super) fn finish(self) -> Present {
        let all: BTreeSet<&String> = self.services.iter().flat_map(|one| &one.columns).collect();
        let numbers: BTreeMap<&String, u32> = all.into_iter().zip(0_u32..).collect();
        let services = self.services.iter().map(|one| {
            let columns = one.columns.iter().filter_map(|name| numbers.get(name).copied());
            (one.end, columns.collect::<Vec<u32>>())
        });
        let services = services.collect::<Vec<_>>();
        Present { columns: numbers.into_keys().cloned().collect(), services }
    }
}

impl Service {
    fn add(&mut self, rows: &RecordBatch, from: usize, count: usize) {
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let empty = column.null_count() == column.len();
            if empty || self.columns.contains(field.name()) || !is_own(field) {
                continue;
            }
            if has_values(column, from, count) {
                self.columns.insert(field.name().clone());
            }
        }
    }
}

/// Whether some of these rows have a value.
fn has_values(column: &ArrayRef, from: usize, count: usize) -> bool {
    column.nulls().map_or(0, |nulls| nulls.slice(from, count).null_count()) < count
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::new_null_array;
    use model::record::FieldType;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::schema;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn batch(rows: &[[bool; 3]]) -> RecordBatch {
        let id = |name: &str| FieldColumnId { name: name.to_owned(), kind: Some(FieldType::Int) };
        let schema = schema(&NAMES.map(id));
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match NAMES.iter().position(|name| name == field.name()) {
                Some(at) => {
                    let values = rows.iter().map(|row| row[at].then_some(7_i64));
                    Arc::new(values.collect::<arrow::array::Int64Array>())
                }
                None => new_null_array(field.data_type(), rows.len()),
            }
        });
        let fields: Vec<Field> =
            schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = arrow::datatypes::Schema::new(fields);
        RecordBatch::try_new(Arc::new(schema), columns.collect()).unwrap()
    }

    proptest! {
        #[test]
        fn columns_are_those_that_rows_have(
            services in prop::collection::vec(prop::collection::vec(any::<[bool; 3]>(), 1..5), 1..5),
            cut in 1_usize..6,
            asked in prop::collection::btree_set(0_u32..20, 0..4),
        ) {
            let rows: Vec<(usize, [bool; 3])> = services
                .iter()
                .enumerate()
                .flat_map(|(at, rows)| rows.iter().map(move |row| (at, *row)))
                .collect();
            let names: Vec<String> = (0..services.len()).map(|at| format!("s{at}")).collect();
            let mut finder = PresentFinder::default();
            for piece in rows.chunks(cut) {
                let values: Vec<[bool; 3]> = piece.iter().map(|(_, row)| *row).collect();
                let runs = piece.iter().map(|(service, _)| (1, names[*service].as_str()));
                finder.add(&batch(&values), runs);
            }
            let present = finder.finish();
            let mut late = PresentFinder::default();
            let values: Vec<[bool; 3]> = rows.iter().map(|(_, row)| *row).collect();
            let runs = rows.iter().map(|(service, _)| (1, names[*service].as_str()));
            late.add(&batch(&vec![[false; 3]; rows.len()]), runs);
            let whole = batch(&values);
            for name in NAMES {
                late.add_column(name, whole.column_by_name(name).unwrap());
            }
            prop_assert_eq!(&late.finish(), &present);
            let count = u32::try_from(rows.len()).unwrap();
            prop_assert_eq!(&Present::decode(&present.encode(), count).unwrap(), &present);
            prop_assert!(Present::decode(&present.encode(), count + 1).is_err());
            let asked: Vec<u32> = asked.into_iter().filter(|row| *row < count).collect();
            let set = RowSet::from_sorted(asked.iter().map(|row| *row..*row + 1));
            let known = present.columns_of(&set).unwrap();
            let of: BTreeSet<usize> = asked.iter().map(|row| rows[*row as usize].0).collect();
            for (at, name) in NAMES.iter().enumerate() {
                let is_there = rows.iter().any(|(service, row)| of.contains(service) && row[at]);
                prop_assert_eq!(known.contains(name), is_there, "{}", name);
            }
            prop_assert!(Present::default().columns_of(&set).is_none());
        }
    }
}
