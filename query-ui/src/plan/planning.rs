//! Where plans are made: small ones where their query runs, great ones on a few threads of their own.
//!
//! A plan is made without waiting for anything, so nothing but itself ends it. A small one takes less than
//! a millisecond. A great one may take seconds: it is made where nobody else waits, and looks between its
//! steps whether anybody still waits for it. The deadline of its query holds meanwhile.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use model::time::TimeRange;
use platform::telemetry::Counted;
use tokio::runtime::Handle;

use super::distribute::distributed;
use super::lower::{Lowered, Lowering, Order, Reading, parts, queries};
use super::scan::Scanner;
use super::stop::{STOP, Stop, stoppable, unwanted};
use super::{Budget, Engine, QueryFailure, Question, Shape};
use crate::language::Query;

/// Pipes, columns and parts of expressions of a query up to which it is small.
const PARTS_SMALL: usize = 32;
/// Bytes of a statement up to which it is small.
const SQL_BYTES_SMALL: usize = 1_024;
/// Names that a small statement can use: each is a column of its table.
const NAMES_SMALL: usize = 256;
/// Great plans made at a time are this part of the queries' cores: the others go on with what is asked
/// meanwhile.
const CORES_SHARE: usize = 2;

tokio::task_local! {
    /// The wish that the plan made by this thread ends.
    static PLANNING: Stop;
}

/// How much there is to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Less than going to another thread is worth.
    Small,
    /// Perhaps very much.
    Great,
}

impl Size {
    pub(super) fn of(query: &Query) -> Self {
        Self::small_if(parts(query) <= PARTS_SMALL)
    }

    /// Of a statement over a table with so many columns.
    pub(super) fn of_sql(sql: &str, names: usize) -> Self {
        Self::small_if(sql.len() <= SQL_BYTES_SMALL && names <= NAMES_SMALL)
    }

    fn small_if(is_small: bool) -> Self {
        if is_small { Self::Small } else { Self::Great }
    }
}

/// How many great plans are made at a time.
pub(super) fn places(core_count: usize) -> usize {
    (core_count / CORES_SHARE).max(1)
}

/// Between the steps of a plan.
///
/// # Errors
/// Nobody waits for it any more.
pub(super) fn wanted() -> Result<()> {
    match PLANNING.try_with(Stop::is_asked) {
        Ok(true) => Err(unwanted()),
        _ => Ok(()),
    }
}

impl Engine {
    /// Makes a great plan. What makes it is to ask [`wanted`] between its steps: it ends there when the time
    /// is over or this future is dropped, and keeps its place until then.
    ///
    /// # Errors
    /// What it says, or [`QueryFailure::Timeout`].
    pub(super) async fn planned<T: Send + 'static>(
        &self,
        budget: &mut Budget,
        work: impl FnOnce() -> Result<T, QueryFailure> + Send + 'static,
    ) -> Result<T, QueryFailure> {
        let inner = &self.0;
        let stop = Stop::default();
        let _stop = stop.when_dropped();
        let query = STOP.try_with(Stop::clone).unwrap_or_default();
        let waiting = Counted::one(&inner.metrics.plannings_waiting);
        let place = budget.within(Arc::clone(&inner.plannings).acquire_owned()).await?;
        let place = place.map_err(|_| QueryFailure::Broken)?;
        drop(waiting);
        let running = Counted::one(&inner.metrics.plannings_running);
        let span = tracing::Span::current();
        let made = tokio::task::spawn_blocking(move || {
            let _held = (place, running);
            span.in_scope(|| STOP.sync_scope(query, || PLANNING.sync_scope(stop, work)))
        });
        budget.within(made).await?.map_err(|_| QueryFailure::Broken)?
    }

    /// Begins to run a plan.
    pub(super) async fn begin(
        &self,
        plan: (LogicalPlan, Size),
        shape: &Shape,
        budget: &mut Budget,
    ) -> Result<SendableRecordBatchStream, QueryFailure> {
        let plan = self.runnable(plan, shape, budget).await?;
        let failed = |error| QueryFailure::of(error, self.0.settings.memory_bytes_max);
        // The plan itself is not kept: some of its parts stop only when it is gone.
        let task = self.0.sessions.task(shape).map_err(failed)?;
        execute_stream(stoppable(plan).map_err(failed)?, task).map_err(failed)
    }

    /// A plan that runs, its parts where their records are.
    pub(super) async fn runnable(
        &self,
        (plan, size): (LogicalPlan, Size),
        shape: &Shape,
        budget: &mut Budget,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryFailure> {
        if size == Size::Small {
            return budget.within(self.physical(plan, shape)).await?;
        }
        let (engine, shape, runtime) = (self.clone(), shape.clone(), Handle::current());
        let made = move || runtime.block_on(engine.physical(plan, &shape));
        self.planned(budget, made).await
    }

    async fn physical(
        &self,
        plan: LogicalPlan,
        shape: &Shape,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryFailure> {
        let failed = |error| QueryFailure::of(error, self.0.settings.memory_bytes_max);
        let planner = self.0.sessions.planner(shape, &plan).map_err(failed)?;
        let plan = planner.create_physical_plan(&plan).await.map_err(failed)?;
        distributed(plan).map_err(failed)
    }

    /// Lowers a question: where this runs, or elsewhere where it is great.
    pub(super) async fn lowered(
        &self,
        scanner: &Scanner,
        (question, size): (&Question, Size),
        readings: Vec<(&Query, Reading)>,
        order: (Order, TimeRange),
        budget: &mut Budget,
    ) -> Result<Lowered, QueryFailure> {
        if size == Size::Small {
            return self.lower(scanner, question, readings, order);
        }
        let readings: Vec<Reading> = readings.into_iter().map(|(_, reading)| reading).collect();
        let (engine, scanner, question) = (self.clone(), scanner.clone(), question.clone());
        let made = move || {
            // Readings are in the order of the queries.
            let readings = queries(&question.query).into_iter().zip(readings).collect();
            engine.lower(&scanner, &question, readings, order)
        };
        self.planned(budget, made).await
    }

    fn lower(
        &self,
        scanner: &Scanner,
        question: &Question,
        readings: Vec<(&Query, Reading)>,
        (order, span): (Order, TimeRange),
    ) -> Result<Lowered, QueryFailure> {
        let settings = &self.0.settings;
        let lowering = Lowering::new(scanner, readings, settings.core_count, span);
        let lowered = lowering.plan(&question.query, question.limit, order);
        lowered.map_err(|error| QueryFailure::of(error, settings.memory_bytes_max))
    }
}

/// Does something as if nobody waited for its plan any more.
#[cfg(test)]
pub(super) fn unwatched<T>(work: impl FnOnce() -> T) -> T {
    let stop = Stop::default();
    drop(stop.when_dropped());
    PLANNING.sync_scope(stop, work)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::AsArray as _;
    use arrow::datatypes::{Float64Type, Int64Type};
    use tokio::task::{JoinSet, yield_now};

    use super::*;
    use crate::fixture::{Fixture, Rest};
    use crate::language::parse;

    /// A plan that is made for ever, unless nobody wants it.
    fn endless() -> Result<(), QueryFailure> {
        while wanted().is_ok() {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// 1 + n, and n more in each of the columns behind it.
    fn evals(count: usize) -> String {
        let column = |n: usize| format!("c{n} = c{} + n", n - 1);
        let columns: Vec<String> = (1..count).map(column).collect();
        format!("x | eval c0 = 1 + n, {} | fields c{}", columns.join(", "), count - 1)
    }

    #[test]
    fn small_is_what_people_type() {
        #[track_caller]
        fn check(query: &str, expected: Size) {
            assert_eq!(Size::of(&parse(query).unwrap()), expected, "{query}");
        }
        check("error", Size::Small);
        check(
            "error | where took > 5 and status == 500 | stats count() as n by host, service \
             | sort n desc | limit 10",
            Size::Small,
        );
        check(&evals(4), Size::Small);
        check(&evals(64), Size::Great);
        check(&format!("x | where n in ({})", evals(40)), Size::Great);
        assert_eq!(Size::of_sql("SELECT count(*) FROM logs", 20), Size::Small);
        assert_eq!(Size::of_sql("SELECT count(*) FROM logs", 5_000), Size::Great);
        assert_eq!(Size::of_sql(&"x".repeat(5_000), 20), Size::Great);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_plan_that_takes_too_long_ends_with_the_time_of_its_query() {
        let fixture =
            Fixture::with(Rest::Fresh, |settings| settings.deadline = Duration::from_millis(20));
        let engine = &fixture.engine;
        let outcome = engine.planned(&mut engine.budget(), endless).await;
        assert!(matches!(outcome, Err(QueryFailure::Timeout(_))), "{outcome:?}");
        while engine.metrics().plannings_running.get() > 0 {
            yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_plan_ends_when_its_asker_goes_and_leaves_its_place_to_others() {
        let fixture = Fixture::with(Rest::Fresh, |settings| settings.core_count = 1);
        let (engine, metrics) = (&fixture.engine, fixture.engine.metrics());
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let engine = engine.clone();
            tasks.spawn(async move { engine.planned(&mut engine.budget(), endless).await });
        }
        while metrics.plannings_running.get() != 1 || metrics.plannings_waiting.get() != 1 {
            yield_now().await;
        }
        tasks.shutdown().await;
        assert_eq!(metrics.plannings_waiting.get(), 0);
        let made = engine.planned(&mut engine.budget(), || Ok(7)).await;
        assert_eq!(made.unwrap(), 7);
        // Its place is given back a moment after its answer.
        while metrics.plannings_running.get() > 0 {
            yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn great_queries_and_statements_have_the_answers_of_small_ones() {
        let fixture = Fixture::new(Rest::Fresh);
        fixture.append(0, &[("host", "a")], ["{\"msg\":\"x\",\"n\":2}"]).await;
        let question = |query: &str| {
            let query = parse(query).unwrap();
            Question { query, range: TimeRange::ALL, indexes: None, limit: 0 }
        };
        let great = question(&evals(64));
        let mut answer = fixture.engine.ask(&great).await.unwrap();
        let rows = answer.produced().await.unwrap().unwrap();
        assert_eq!(rows.column(0).as_primitive::<Float64Type>().values(), &[129.0]);
        assert!(!fixture.engine.explain(&great).await.unwrap().plan.is_empty());
        let columns: Vec<String> = (0..100).map(|at| format!("n + {at} AS c{at}")).collect();
        let sql = format!("SELECT {} FROM logs", columns.join(", "));
        assert_eq!(Size::of_sql(&sql, 10), Size::Great);
        let mut answer = fixture.engine.ask_sql(&sql, &question("")).await.unwrap();
        let rows = answer.produced().await.unwrap().unwrap();
        assert_eq!(rows.column(99).as_primitive::<Int64Type>().values(), &[101]);
        assert_eq!(fixture.engine.metrics().plannings_waiting.get(), 0);
    }
}
