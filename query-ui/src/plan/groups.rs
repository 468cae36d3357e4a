//! How many records there are of each group: where all counts are in memory they are few rows, which are
//! added up and put in order here. To plan that would take longer than to do it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use index::scan::{COUNTED_COLUMNS_MAX, Column, ScanRequest};

use super::count::is_count;
use super::lower::{Reading, fixed, origin};
use super::scan::Scanner;
use super::table::{Source, arranged, stored};
use super::types::{Types, resolve};
use super::{ColumnKind, Engine, OutputColumn};
use crate::language::{Group, Pipe, Query};

/// What records are counted by.
#[derive(Debug, Clone)]
struct Groups {
    /// The columns of the answer: what makes a group, then counts.
    columns: Vec<OutputColumn>,
    /// What makes a group, then the count.
    sources: Vec<Source>,
}

/// What a query counts by that counts records and does nothing else.
fn groups_of(query: &Query, types: &Types) -> Option<Groups> {
    let [Pipe::Stats { aggregates, by }] = query.pipes.as_slice() else { return None };
    let is_plain = !aggregates.is_empty() && aggregates.iter().all(is_count);
    if !is_plain || by.is_empty() || by.len() > COUNTED_COLUMNS_MAX {
        return None;
    }
    let (mut columns, mut sources) = (Vec::new(), Vec::new());
    for group in by {
        let (source, kind) = match group {
            Group::Field(name) => fixed(name).unwrap_or_else(|| {
                let column = Column::Field { name: name.clone(), kind: resolve(types, name) };
                (Source::Stored(column), ColumnKind::Text)
            }),
            Group::Bin { width } => {
                let width = (*width)?;
                let bin = Column::Bin { width, origin: origin(width) };
                (Source::Stored(bin), ColumnKind::Time)
            }
            Group::Step { .. } => return None,
        };
        match &source {
            Source::Severity => {}
            Source::Stored(column) if column.is_counted() => {}
            _ => return None,
        }
        columns.push(OutputColumn { name: group.name().to_owned(), kind });
        sources.push(source);
    }
    let count = |name: &String| OutputColumn { name: name.clone(), kind: ColumnKind::Int };
    columns.extend(aggregates.iter().map(|aggregate| count(&aggregate.name)));
    sources.push(Source::Count);
    Some(Groups { columns, sources })
}

impl Engine {
    /// The groups of a query's records in their order, and the columns of the answer; `None` where
    /// that takes a plan.
    pub(super) fn groups(
        &self,
        scanner: &Scanner,
        query: &Query,
        reading: &Reading,
    ) -> Option<(SendableRecordBatchStream, Vec<OutputColumn>)> {
        let groups = groups_of(query, &reading.types)?;
        let request = ScanRequest {
            filter: query.filter.clone(),
            range: reading.range,
            columns: stored(&groups.sources),
            newest: None,
            counted: true,
        };
        let ready = scanner.all_at_hand(&reading.units, &request)?;
        scanner.expect(ready.units);
        let (scanner, columns, schema) = (scanner.clone(), groups.columns.clone(), groups.schema());
        let rows = async move {
            scanner.take(&ready);
            groups.added(&ready.rows)
        };
        Some((Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(rows))), columns))
    }
}

impl Groups {
    fn schema(&self) -> SchemaRef {
        let types = self.sources.iter().map(Source::data_type);
        let types = types.chain(std::iter::repeat(DataType::Int64)).take(self.columns.len());
        let field = |(at, kind)| Field::new(format!("o{at}"), kind, true);
        Arc::new(Schema::new(types.enumerate().map(field).collect::<Vec<_>>()))
    }

    /// Counts of groups that may come several times, each group once.
    fn added(&self, counted: &[RecordBatch]) -> Result<RecordBatch> {
        let fields = self.schema();
        let keys: Vec<usize> = (0..self.sources.len()).collect();
        let schema = Arc::new(fields.project(&keys)?);
        let rows = counted.iter().map(|rows| arranged(rows, &self.sources, &schema));
        let rows = concat_batches(&schema, &rows.collect::<Result<Vec<RecordBatch>>>()?)?;
        let Some((counts, keys)) = rows.columns().split_last() else { return Ok(rows) };
        let options = SortOptions { descending: false, nulls_first: false };
        let order = |key: &ArrayRef| SortField::new_with_options(key.data_type().clone(), options);
        let compared =
            RowConverter::new(keys.iter().map(order).collect())?.convert_columns(keys)?;
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        order.sort_unstable_by(|one, other| compared.row(*one).cmp(&compared.row(*other)));
        let counts = counts.as_primitive::<Int64Type>().values();
        let count = |row: &usize| counts.get(*row).copied().unwrap_or(0);
        let groups = order.chunk_by(|one, other| compared.row(*one) == compared.row(*other));
        let (mut firsts, mut sums) = (Vec::new(), Vec::new());
        for group in groups {
            firsts.extend(group.first().and_then(|row| u32::try_from(*row).ok()));
            sums.push(group.iter().map(count).sum::<i64>());
        }
        let firsts = UInt32Array::from(firsts);
        let keys = keys.iter().map(|key| take(key, &firsts, None));
        let mut columns = keys.collect::<Result<Vec<ArrayRef>, _>>()?;
        columns.resize(self.columns.len(), Arc::new(Int64Array::from(sums)));
        Ok(RecordBatch::try_new(fields, columns)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::StringArray;
    use index::scan::output_schema;
    use model::record::FieldType;

    use super::*;
    use crate::language::parse;

    fn groups(query: &str) -> Option<Groups> {
        let kinds = BTreeSet::from([FieldType::Int]);
        groups_of(&parse(query).unwrap(), &Types::from([("took".to_owned(), kinds)]))
    }

    #[test]
    fn only_plain_counts_of_groups_need_no_plan() {
        let names = |query: &str| {
            let columns = groups(query)?.columns;
            Some(columns.into_iter().map(|one| one.name).collect::<Vec<_>>().join(" "))
        };
        for (query, expected) in [
            ("x | stats count() as n by service", Some("service n")),
            ("| stats count() as n, count() as m by level, host", Some("level host n m")),
            ("| stats count() as n by bin(timestamp, 5m)", Some("timestamp n")),
            ("| stats count() as n", None),
            ("| stats count() as n by took", None),
            ("| stats count() as n by message", None),
            ("| stats count() as n by bin(timestamp, auto)", None),
            ("| stats count() as n, max(took) as t by service", None),
            ("| stats count() as n by service | where n > 5", None),
            ("| where service == \"a\" | stats count() as n by service", None),
        ] {
            assert_eq!(names(query).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn groups_are_added_up_in_their_order() {
        let groups = groups("| stats count() as n, count() as m by level, host").unwrap();
        let counted = |rows: &[(&str, Option<&str>, i64)]| {
            let columns = stored(&groups.sources);
            let mut fields = output_schema(&columns).fields().to_vec();
            fields.push(Arc::new(Field::new("count", DataType::Int64, false)));
            let levels: StringArray = rows.iter().map(|row| Some(row.0)).collect();
            let hosts: StringArray = rows.iter().map(|row| row.1).collect();
            let counts: Int64Array = rows.iter().map(|row| row.2).collect();
            let columns: Vec<ArrayRef> = vec![Arc::new(levels), Arc::new(hosts), Arc::new(counts)];
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        };
        let first = counted(&[("error", Some("b"), 1), ("info", None, 2), ("info", Some("b"), 3)]);
        let other = counted(&[("info", Some("a"), 4), ("error", Some("b"), 5), ("info", None, 6)]);
        let rows = groups.added(&[first, other]).unwrap();
        let hosts: Vec<Option<&str>> = rows.column(1).as_string::<i32>().iter().collect();
        assert_eq!(hosts, [Some("a"), Some("b"), None, Some("b")]);
        for counts in [2, 3] {
            let counts = rows.column(counts).as_primitive::<Int64Type>();
            assert_eq!(counts.values(), &[4, 3, 8, 6]);
        }
        assert_eq!(groups.added(&[]).unwrap().num_rows(), 0);
    }
}
