//! The rows of a query, as they come.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use futures::StreamExt as _;
use model::wire::Missing;

use super::lower::{Order, Outline, fields_of};
use super::scan::{Scanner, StopGuard};
use super::table::LogTable;
use super::types::{Types, look_up};
use super::{Budget, Engine, QueryFailure, Question, Shape};

/// Rows of a batch of whole records: sorting on disk holds a batch of each piece it merges.
const RECORD_BATCH_ROWS: usize = 1_024;
/// Rows of a batch of a table.
const TABLE_BATCH_ROWS: usize = 8_192;

/// The part of a query's memory that merging may take.
const MERGE_SHARE: usize = 4;

/// A running query. Dropping it stops the work.
pub struct Answer {
    shape: Shape,
    rows: SendableRecordBatchStream,
    left: Option<u64>,
    scanner: Scanner,
    budget: Budget,
    memory_bytes_max: usize,
    _stop: StopGuard,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Answer {
    /// What its rows are.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`QueryFailure`]; the rows so far were right, but are not all.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryFailure> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            let rows = match self.budget.within(self.rows.next()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(QueryFailure::of(error, self.memory_bytes_max)),
                Some(Ok(rows)) => rows,
            };
            let Some(left) = self.left else { return Ok(Some(rows)) };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(rows.num_rows());
            self.left = Some(left - count as u64);
            if count > 0 {
                return Ok(Some(rows.slice(0, count)));
            }
        }
    }

    /// What the answer lacks so far; all of it at the end.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.scanner.missing()
    }
}

impl Engine {
    /// Begins to answer. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn ask(&self, question: &Question) -> Result<Answer, QueryFailure> {
        self.ask_in(question, Order::Defined).await
    }

    pub(super) async fn ask_in(
        &self,
        question: &Question,
        order: Order,
    ) -> Result<Answer, QueryFailure> {
        let settings = &self.0.settings;
        let scanner = self.scanner();
        let stop = scanner.stop_guard();
        let mut budget = self.budget();
        let units = self.units(&question.range, question.indexes.as_deref()).await;
        let (units, types) = self.types(&scanner, units, question, &mut budget).await?;
        let outline = Outline::new(&question.query.pipes, types, question.limit, order);
        let (filter, range) = (question.query.filter.clone(), question.range);
        let lowered = outline.plan(|outline| LogTable {
            scanner: scanner.clone(),
            units,
            filter,
            range,
            newest: outline.newest,
            columns: outline.columns.clone(),
            partitions: settings.core_count,
        });
        let failed = |error| QueryFailure::of(error, settings.memory_bytes_max);
        let (plan, shape, left) = lowered.map_err(failed)?;
        let state = self.session(&shape).map_err(failed)?;
        let plan = budget.within(state.create_physical_plan(&plan)).await?.map_err(failed)?;
        // The plan itself is not kept: some of its parts stop only when it is gone.
        let rows = execute_stream(plan, state.task_ctx()).map_err(failed)?;
        let memory_bytes_max = settings.memory_bytes_max;
        Ok(Answer { shape, rows, left, scanner, budget, memory_bytes_max, _stop: stop })
    }

    /// The types of the fields that the pipes name, and the units that can be read.
    async fn types(
        &self,
        scanner: &Scanner,
        mut units: Vec<index::searcher::Unit>,
        question: &Question,
        budget: &mut Budget,
    ) -> Result<(Vec<index::searcher::Unit>, Types), QueryFailure> {
        let names = fields_of(&question.query.pipes);
        if names.is_empty() {
            return Ok((units, Types::new()));
        }
        let scanner = scanner.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let types = look_up(&scanner, &mut units, &names);
            (units, types)
        });
        budget.within(looked).await?.map_err(|_| QueryFailure::Broken)
    }

    /// A session with this query's own memory.
    fn session(&self, shape: &Shape) -> datafusion::common::Result<SessionState> {
        let settings = &self.0.settings;
        let folders = DiskManagerMode::Directories(vec![settings.spill.clone()]);
        let disk = DiskManagerBuilder::default()
            .with_mode(folders)
            .with_max_temp_directory_size(settings.spill_bytes_max);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_bytes_max)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let mut config = SessionConfig::new()
            .with_target_partitions(settings.core_count)
            .with_batch_size(match shape {
                Shape::Records => RECORD_BATCH_ROWS,
                Shape::Table(_) => TABLE_BATCH_ROWS,
            })
            .with_round_robin_repartition(false);
        // One sort of everything: what merges several would need memory that they hold.
        config.options_mut().optimizer.repartition_sorts = false;
        // What merging sorted pieces takes is set aside: their keys, about a tenth of the rows.
        config.options_mut().execution.sort_spill_reservation_bytes =
            settings.memory_bytes_max / MERGE_SHARE;
        Ok(SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).build())
    }
}
