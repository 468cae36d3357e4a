//! `stats count() by …` straight behind a search: the scan counts, and only groups are added up.

use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::Expr;
use index::scan::{COUNTED_COLUMNS_MAX, Column};

use super::frame::{Frame, Rows, ScanColumns, Value};
use super::{ColumnKind, Lowering, fixed, origin};
use crate::language::{Aggregate, Function, Group, Pipe, Query};
use crate::plan::table::Source;
use crate::plan::types::resolve;

impl Lowering<'_> {
    /// What the scan of a query has to give beside fields so that it can count: `None` when it
    /// has to give records.
    pub(super) fn counted(&self, query: &Query) -> Option<Vec<Source>> {
        let Some(Pipe::Stats { aggregates, by }) = query.pipes.first() else { return None };
        if by.is_empty() || by.len() > COUNTED_COLUMNS_MAX || !aggregates.iter().all(counts_rows) {
            return None;
        }
        let types = &self.reading(query).ok()?.types;
        let mut sources = vec![Source::Count];
        for group in by {
            match group {
                Group::Field(name) => {
                    let source = match fixed(name) {
                        Some((source, _)) => source,
                        None => {
                            let kind = resolve(types, name);
                            Source::Stored(Column::Field { name: name.clone(), kind })
                        }
                    };
                    match source {
                        Source::Severity => {}
                        Source::Stored(column) if column.is_counted() => {}
                        _ => return None,
                    }
                }
                Group::Bin { width } => sources.push(self.bin_source(*width)),
                Group::Step { .. } => return None,
            }
        }
        Some(sources)
    }

    fn bin_source(&self, width: Option<i64>) -> Source {
        let width = width.unwrap_or_else(|| self.round_width());
        Source::Stored(Column::Bin { width, origin: origin(width) })
    }

    /// The scan behind rows, when it counts.
    fn counting(&self, frame: &Frame) -> Option<&ScanColumns> {
        let Rows::Records { scan: Some(number), .. } = &frame.rows else { return None };
        self.scans.get(*number).filter(|scan| scan.sources.contains(&Source::Count))
    }

    /// The number of records, where the scan counts them.
    pub(super) fn counted_rows(&self, frame: &Frame) -> Option<Expr> {
        Some(sum(self.counting(frame)?.of(&Source::Count)?))
    }

    /// The bin of a record, where the scan counts by it.
    pub(super) fn counted_bin(&self, frame: &Frame, width: Option<i64>) -> Option<Value> {
        let bin = self.counting(frame)?.of(&self.bin_source(width))?;
        Some(Value::new(bin, ColumnKind::Time))
    }
}

/// Whether an aggregate asks nothing but how many rows there are.
fn counts_rows(aggregate: &Aggregate) -> bool {
    matches!(aggregate.function, Function::Count | Function::Rate)
        && aggregate.argument.is_none()
        && aggregate.condition.is_none()
}
