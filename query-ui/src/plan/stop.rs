//! Ending a query amid a long step: scans and joins look whether anybody still waits for their rows.
//!
//! A task of tokio ends only where it waits. What computes more slowly than its rows are read finds the
//! next ones there each time, so a scan gives no more of them once its query is to end. A join of many
//! equal keys whose filter lets nothing pass compares for minutes, so its filter carries that wish.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};

/// Whether a query is to end. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

tokio::task_local! {
    /// The wish that the query of this task ends.
    pub(super) static STOP: Stop;
}

impl Stop {
    /// Asks for the end when dropped.
    pub(super) fn when_dropped(&self) -> StopGuard {
        StopGuard(self.clone())
    }

    /// Whether it is to end.
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Asks a query to end when dropped; of one that ended nobody hears it.
#[derive(Debug)]
pub(super) struct StopGuard(Stop);

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A plan whose joins make way for others, and end when this task's query is to end.
///
/// # Errors
/// What the engine says of a join made anew.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let stop = STOP.try_with(Stop::clone).unwrap_or_default();
    let watched = |filter: &JoinFilter| {
        let inner = filter.expression().clone();
        let watched = Arc::new(Watched { inner, stop: stop.clone() });
        JoinFilter::new(watched, filter.column_indices().to_vec(), filter.schema().clone())
    };
    let plan = plan.transform_up(|plan| {
        let join: Arc<dyn ExecutionPlan> = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            match join.filter() {
                Some(filter) => join.builder().with_filter(Some(watched(filter))).build_exec()?,
                None => plan,
            }
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            match join.filter() {
                Some(filter) => {
                    let builder = NestedLoopJoinExecBuilder::from(join);
                    Arc::new(builder.with_filter(Some(watched(filter))).build()?)
                }
                None => plan,
            }
        } else if plan.is::<CrossJoinExec>() {
            plan
        } else {
            return Ok(Transformed::no(plan));
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as _))
    })?;
    Ok(plan.data)
}

/// What a part of a plan says that has nobody to work for.
pub(super) fn unwanted() -> DataFusionError {
    DataFusionError::Execution("nobody waits for the answer".to_owned())
}

/// A filter that fails once its query is to end.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Watched {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        if self.stop.is_asked() {
            return Err(unwanted());
        }
        self.inner.evaluate(rows)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Self { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use model::time::TimeRange;

    use super::*;
    use crate::fixture::{Fixture, Rest};
    use crate::language::parse;
    use crate::plan::Question;

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_that_are_read_already_go_no_further_once_their_query_is_to_end() {
        let fixture = Fixture::new(Rest::Fresh);
        fixture.append(0, &[("host", "a")], ["{\"msg\":\"x\"}"]).await;
        let question =
            Question { query: parse("x").unwrap(), range: TimeRange::ALL, indexes: None, limit: 0 };
        let asked = async |stop: &Stop| {
            let answer = STOP.scope(stop.clone(), fixture.engine.ask(&question)).await;
            let answer = answer.unwrap();
            while answer.progress().rows == 0 {
                tokio::task::yield_now().await;
            }
            answer
        };
        let stop = Stop::default();
        let mut answer = asked(&stop).await;
        drop(stop.when_dropped());
        assert!(!matches!(answer.produced().await, Ok(Some(_))));
        let mut answer = asked(&Stop::default()).await;
        assert!(matches!(answer.produced().await, Ok(Some(rows)) if rows.num_rows() == 1));
    }
}
