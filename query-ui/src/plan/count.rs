//! How many records a search finds: the scan counts them, and there is nothing to plan.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use index::scan::ScanRequest;
use model::query::Filter;
use tokio::task::JoinSet;

use super::lower::Reading;
use super::ready::Ready;
use super::scan::{Scanner, Work};
use super::stop::unwanted;
use super::{ColumnKind, Engine, OutputColumn};
use crate::language::{Aggregate, Function, Pipe, Query};

/// The columns of an answer that tells how many records a search finds and nothing else.
pub(super) fn counts_of(query: &Query) -> Option<Vec<OutputColumn>> {
    let [Pipe::Stats { aggregates, by }] = query.pipes.as_slice() else { return None };
    if !by.is_empty() || aggregates.is_empty() || !aggregates.iter().all(is_count) {
        return None;
    }
    let count = |one: &Aggregate| OutputColumn { name: one.name.clone(), kind: ColumnKind::Int };
    Some(aggregates.iter().map(count).collect())
}

/// Whether it is the number of records.
pub(super) fn is_count(aggregate: &Aggregate) -> bool {
    let Aggregate { function, argument, condition, .. } = aggregate;
    *function == Function::Count && argument.is_none() && condition.is_none()
}

/// Records that are still to be counted.
struct Counting {
    scanner: Scanner,
    ready: Ready,
    work: Arc<Work>,
    threads: usize,
}

impl Counting {
    async fn count(self) -> Result<i64> {
        self.scanner.take(&self.ready);
        let mut sum = self.ready.rows.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        let mut tasks = JoinSet::new();
        for _ in 0..self.threads {
            let (scanner, work) = (self.scanner.clone(), self.work.clone());
            tasks.spawn_blocking(move || {
                let mut count = 0;
                work.run(&scanner, &mut |rows, _| {
                    count += rows.num_rows() as u64;
                    ControlFlow::Continue(())
                });
                count
            });
        }
        while let Some(count) = tasks.join_next().await {
            sum += count.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
        }
        match self.scanner.is_stopped() {
            true => Err(unwanted()),
            false => Ok(i64::try_from(sum).unwrap_or(i64::MAX)),
        }
    }
}

impl Engine {
    /// One row that has the number of records that pass in each of its columns.
    pub(super) fn count(
        &self,
        scanner: &Scanner,
        (filter, reading): (&Filter, Reading),
        columns: usize,
    ) -> SendableRecordBatchStream {
        let Reading { mut units, range, .. } = reading;
        let (filter, columns_asked) = (filter.clone(), Vec::new());
        let request =
            ScanRequest { filter, range, columns: columns_asked, newest: None, counted: false };
        scanner.expect(units.len());
        let ready = scanner.at_hand(&mut units, &request);
        let threads = self.0.settings.core_count.min(units.len());
        let work = Arc::new(Work::new(units, request));
        let counting = Counting { scanner: scanner.clone(), ready, work, threads };
        let schema = schema(columns);
        let given = schema.clone();
        let row = async move {
            let count = counting.count().await?;
            let column: ArrayRef = Arc::new(Int64Array::from(vec![count]));
            Ok(RecordBatch::try_new(given, vec![column; columns])?)
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(row)))
    }
}

fn schema(columns: usize) -> SchemaRef {
    let field = |at| Field::new(format!("o{at}"), DataType::Int64, false);
    Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;

    #[track_caller]
    fn check(query: &str, expected: Option<&[&str]>) {
        let found = counts_of(&parse(query).unwrap());
        let found = found.map(|all| all.into_iter().map(|one| one.name).collect::<Vec<_>>());
        let expected = expected.map(|all| all.iter().map(|&one| one.to_owned()).collect());
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn only_plain_counts_need_no_plan() {
        check("error | stats count() as n", Some(&["n"]));
        check("| stats count() as n, count() as m", Some(&["n", "m"]));
        for other in [
            "error",
            "error | stats count() by service",
            "error | stats count(user) as n",
            "error | stats rate() as r",
            "error | stats count() as n, max(took) as t",
            "error | stats count() as n | eval m = n * 2",
            "error | limit 5 | stats count() as n",
        ] {
            check(other, None);
        }
    }
}
