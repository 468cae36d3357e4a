//! A query's way through DataFusion: admitted, planned over the units that may hold an answer,
//! run on threads of its own, ended by its deadline or by its asker's going.

mod settings;
mod asker;
mod admission;
mod memory;
mod session;
mod failure;
mod cores;
mod running;
mod stop;
mod planning;
mod steps;
mod scan;
mod ready;
mod table;
mod pushdown;
mod newest;
mod distribute;
mod types;
mod range;
mod slices;
mod lower;
mod answer;
mod count;
mod groups;
mod room;
mod warnings;
mod statement;
mod sql;
mod histogram;
mod fields;
pub mod json;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::execution::TaskContext;
use index::scan::ScanRequest;
use index::searcher::{Searcher, Unit, View};
use model::time::TimeRange;
use platform::clock::Clock;
use platform::disk;
use platform::telemetry::Counted;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::language::Query;
use crate::metrics::QueryMetrics;
use admission::{Admission, Admitted, Cost};
pub use answer::{Answer, Explanation};
pub(crate) use asker::Asker;
use cores::Cores;
pub use failure::{Misread, NoCondition, QueryFailure};
pub use fields::{FieldCount, FieldValues, Fields, Held};
pub use histogram::{Bucket, Histogram};
pub use lower::{ColumnKind, Extras, OutputColumn, Shape};
pub(crate) use lower::{RECORD, asked};
use memory::Memory;
pub use range::Cursor;
use range::narrowed;
pub use running::QueryId;
use running::{Place, Running};
pub use scan::{Progress, ProgressWatch};
use scan::{Scanner, Work};
use session::Sessions;
pub use settings::{BUCKETS_MAX, QuerySettings, VALUES_MAX};
use stop::{STOP, Stop};
pub use warnings::Warning;
pub(crate) use warnings::unknown_levels;

/// The call that ends a query at the node where it runs.
const CANCEL_CALL: &str = "cancel";
/// Its answer where it ran.
const CANCELLED: &[u8] = b"1";

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The query.
    pub query: Query,
    /// When.
    pub range: TimeRange,
    /// In these indexes only.
    pub indexes: Option<Vec<String>>,
    /// Records at most, where no pipe sorts or limits; 0 is all.
    pub limit: u64,
}

/// Answers queries. Clones share it.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    searcher: Searcher,
    clock: Clock,
    settings: QuerySettings,
    metrics: Arc<QueryMetrics>,
    cores: Cores,
    admission: Admission,
    memory: Memory,
    /// What plans queries and runs them.
    sessions: Sessions,
    /// What plans of other nodes may name.
    known: OnceLock<Arc<TaskContext>>,
    running: Running,
    /// Places for parts of other nodes' plans. Queries have places of their own: those wait for other
    /// nodes, which must not wait for them.
    fragments: Semaphore,
    /// Places for great plans that are made.
    plannings: Arc<Semaphore>,
    /// Queries compute here, so that they never keep others from being answered.
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One query's place among those that run, until dropped.
#[derive(Debug)]
pub struct Ticket {
    _running: Counted,
    _admitted: Admitted,
    place: Place,
    engine: Engine,
    begun: Duration,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.engine.0.metrics.seconds.observe(self.elapsed().as_secs_f64());
    }
}

impl Ticket {
    /// Time since the query was admitted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.engine.0.clock.elapsed().saturating_sub(self.begun)
    }

    /// The name by which the query can be ended.
    #[must_use]
    pub fn id(&self) -> QueryId {
        self.place.id()
    }

    /// Does something unless the query is ended by its name.
    ///
    /// # Errors
    /// What it says, or [`QueryFailure::Cancelled`].
    pub async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, QueryFailure>>,
    ) -> Result<T, QueryFailure> {
        tokio::select! {
            outcome = work => outcome,
            () = self.place.cancelled() => Err(QueryFailure::Cancelled),
        }
    }
}

/// Bytes of stack of a thread that computes: questions that are joined 256 deep are planned one within the
/// other. What is not used takes no memory.
const STACK_BYTES: usize = 8 << 20;

impl Engine {
    /// Makes the threads and the folder for sorting.
    ///
    /// # Errors
    /// The system refuses one of them.
    pub fn new(
        searcher: Searcher,
        clock: Clock,
        settings: QuerySettings,
        metrics: QueryMetrics,
    ) -> std::io::Result<Self> {
        disk::remove_dir_all(&settings.spill)?;
        disk::create_dir_all(&settings.spill)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.core_count)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        let memory = Memory::new(settings.memory_all_bytes_max, metrics.clone());
        Ok(Self(Arc::new(Inner {
            searcher,
            cores: Cores::new(settings.core_count),
            admission: Admission::new(&settings, clock.clone(), metrics.clone()),
            clock,
            sessions: Sessions::new(&settings, memory.clone()),
            known: OnceLock::new(),
            memory,
            running: Running::default(),
            fragments: Semaphore::new(settings.fragments_max),
            plannings: Arc::new(Semaphore::new(planning::places(settings.core_count))),
            settings,
            metrics: Arc::new(metrics),
            runtime: Some(runtime),
        })))
    }

    /// The bounds.
    #[must_use]
    pub fn settings(&self) -> &QuerySettings {
        &self.0.settings
    }

    /// The figures.
    #[must_use]
    pub fn metrics(&self) -> &QueryMetrics {
        &self.0.metrics
    }

    /// What is searched.
    #[must_use]
    pub fn searcher(&self) -> &Searcher {
        &self.0.searcher
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What there is now, with everything that was acknowledged before the call. Half of the time is left
    /// to answer from it.
    pub(crate) async fn view(&self) -> Arc<View> {
        self.0.searcher.gather_within(self.0.settings.deadline / 2).await
    }

    /// Ends a query that runs at this node, or at another one of the cluster; false when none of that
    /// name does.
    pub async fn cancel(&self, id: QueryId) -> bool {
        if self.0.running.cancel(id) {
            return true;
        }
        let body = Bytes::copy_from_slice(&id.0.to_le_bytes());
        let answers = self.0.searcher.ask_others(CANCEL_CALL, body).await;
        answers.iter().any(|answer| answer.as_ref() == CANCELLED)
    }

    /// Ends a query for another node; whether it ran here.
    fn cancel_here(&self, body: &[u8]) -> Bytes {
        let id = body.try_into().map(u64::from_le_bytes).map(QueryId);
        let was = id.is_ok_and(|id| self.0.running.cancel(id));
        Bytes::from_static(if was { CANCELLED } else { b"" })
    }

    /// Waits for a place among the queries that run, for this question, or for something quick. It has
    /// its name meanwhile, and may be ended.
    ///
    /// # Errors
    /// [`QueryFailure::Overloaded`] when there is none for too long, or too many wait;
    /// [`QueryFailure::Cancelled`].
    pub async fn admit(&self, question: Option<&Question>) -> Result<Ticket, QueryFailure> {
        let inner = &self.0;
        let cost = question.map_or(Cost::Quick, |question| self.cost(question));
        let place = inner.running.enter(asker::name());
        let admitted = tokio::select! {
            admitted = inner.admission.admit(cost) => admitted?,
            () = place.cancelled() => return Err(QueryFailure::Cancelled),
        };
        inner.metrics.queries.inc();
        let running = Counted::one(&inner.metrics.running);
        let (engine, begun) = (self.clone(), inner.clock.elapsed());
        Ok(Ticket { _running: running, _admitted: admitted, place, engine, begun })
    }

    /// By what it may read.
    fn cost(&self, question: &Question) -> Cost {
        let searcher = &self.0.searcher;
        let range = narrowed(question.range, &question.query.filter);
        let units = searcher.units(&searcher.view(), &range, question.indexes.as_deref());
        Cost::of(units.iter().map(Unit::bytes).sum())
    }

    /// Runs something on the queries' threads; it ends when this future is dropped.
    ///
    /// # Errors
    /// What it says, or [`QueryFailure::Broken`] when it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryFailure>> + Send + 'static,
    ) -> Result<T, QueryFailure> {
        let mut tasks = JoinSet::new();
        let stop = Stop::default();
        let _stop = stop.when_dropped();
        if let Some(runtime) = &self.0.runtime {
            tasks.spawn_on(STOP.scope(stop, work.in_current_span()), runtime.handle());
        }
        let outcome = match tasks.join_next().await {
            Some(Ok(outcome)) => outcome,
            _ => Err(QueryFailure::Broken),
        };
        if outcome.is_err() {
            self.0.metrics.failures.inc();
        }
        outcome
    }

    fn budget(&self) -> Budget {
        Budget {
            clock: self.0.clock.clone(),
            begun: self.0.clock.elapsed(),
            left: self.0.settings.deadline,
            whole: self.0.settings.deadline,
        }
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(self.0.searcher.clone(), self.0.cores.clone(), self.0.metrics.clone())
    }

    /// The units that may hold an answer, newest first, with everything that was acknowledged
    /// before the question. They are held while the answer is made.
    async fn units(
        &self,
        scanner: &Scanner,
        range: &TimeRange,
        indexes: Option<&[String]>,
    ) -> Vec<Unit> {
        let view = self.view().await;
        scanner.lack(&view.missing);
        self.0.searcher.units(&view, range, indexes)
    }

    /// Scans all units and folds their rows into one value per thread. The caller holds the
    /// scanner's stop guard, so that the threads end with it.
    async fn fold<T: Send + 'static>(
        &self,
        scanner: &Scanner,
        units: Vec<Unit>,
        request: ScanRequest,
        budget: &mut Budget,
        fold: Fold<T>,
    ) -> Result<Vec<T>, QueryFailure> {
        let threads = self.0.settings.core_count.min(units.len()).max(1);
        let work = Arc::new(Work::new(units, request));
        let mut tasks = JoinSet::new();
        for _ in 0..threads {
            let (scanner, work) = (scanner.clone(), work.clone());
            let (mut folded, each) = ((fold.start)(), fold.each.clone());
            tasks.spawn_blocking(move || {
                work.run(&scanner, &mut |rows, _| each(&mut folded, &rows));
                folded
            });
        }
        let mut all = Vec::with_capacity(threads);
        while let Some(folded) = budget.within(tasks.join_next()).await? {
            all.push(folded.map_err(|_| QueryFailure::Broken)?);
        }
        Ok(all)
    }
}

/// How rows become one value.
struct Fold<T> {
    start: Box<dyn Fn() -> T + Send + Sync>,
    /// Breaks where nothing comes of more rows.
    each: Each<T>,
}

type Each<T> = Arc<dyn Fn(&mut T, &RecordBatch) -> ControlFlow<()> + Send + Sync>;

/// The time that a query may still work.
#[derive(Debug)]
struct Budget {
    clock: Clock,
    begun: Duration,
    left: Duration,
    whole: Duration,
}

impl Budget {
    /// Time since the question was asked.
    fn age(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.begun)
    }

    /// The whole time once more: for the next part of an answer that is given out in parts.
    fn anew(&self) -> Self {
        Self { clock: self.clock.clone(), begun: self.begun, left: self.whole, whole: self.whole }
    }

    /// Waits for something as long as there is time.
    async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, QueryFailure> {
        if self.left.is_zero() {
            return Err(QueryFailure::Timeout(self.whole.as_secs()));
        }
        let begun = self.clock.elapsed();
        let outcome = self.clock.timeout(self.left, work).await;
        self.left = self.left.saturating_sub(self.clock.elapsed().saturating_sub(begun));
        outcome.ok_or(QueryFailure::Timeout(self.whole.as_secs()))
    }
}
