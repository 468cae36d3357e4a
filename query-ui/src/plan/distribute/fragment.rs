//! A part of a plan that another node runs.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use index::remote::{HeldUnit, Piece, Reached};

use crate::plan::scan::{Progress, Scanner};

/// What is left of some units of another node. All of it comes before any of it goes on, so that
/// nothing is taken twice when that node fails amid it.
pub(super) struct FragmentExec {
    asked: Arc<Asked>,
    /// The same, scanned from here.
    instead: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

/// Who is asked for what.
struct Asked {
    address: String,
    units: Vec<HeldUnit>,
    plan: Bytes,
    scanner: Scanner,
    schema: SchemaRef,
}

/// Why nothing came of it.
enum Failure {
    /// There is no memory for it: scanning from here would not fit either.
    Here(DataFusionError),
    /// The other node did not do it.
    There(String),
}

impl FragmentExec {
    pub(super) fn new(
        instead: Arc<dyn ExecutionPlan>,
        address: String,
        units: Vec<HeldUnit>,
        plan: Bytes,
        scanner: Scanner,
    ) -> Self {
        let schema = instead.schema();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        let asked = Arc::new(Asked { address, units, plan, scanner, schema });
        Self { asked, instead, properties }
    }
}

impl fmt::Debug for FragmentExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentExec").field("address", &self.asked.address).finish_non_exhaustive()
    }
}

impl DisplayAs for FragmentExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { address, units, .. } = &*self.asked;
        write!(f, "FragmentExec: {} at {address}, units={}", self.instead.name(), units.len())
    }
}

impl ExecutionPlan for FragmentExec {
    fn name(&self) -> &'static str {
        "FragmentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (asked, instead) = (self.asked.clone(), self.instead.clone());
        let schema = asked.schema.clone();
        let rows = async move {
            let memory = MemoryConsumer::new("fragment").register(context.memory_pool());
            match asked.rows(&memory).await {
                Ok(rows) => {
                    // What is held is given back when the last of it has gone on.
                    let rows = futures::stream::iter(rows).map(move |rows| {
                        let _held = &memory;
                        Ok(rows)
                    });
                    Ok(rows.boxed())
                }
                Err(Failure::Here(error)) => Err(error),
                Err(Failure::There(why)) => {
                    memory.free();
                    asked.scanner.metrics.fragment_failures.inc();
                    tracing::warn!(why, node = asked.address, "scanning its units from here");
                    Ok(CoalescePartitionsExec::new(instead).execute(0, context)?.boxed())
                }
            }
        };
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

impl Asked {
    /// All rows, in the form that the plan expects.
    async fn rows(&self, memory: &MemoryReservation) -> Result<Vec<RecordBatch>, Failure> {
        self.scanner.metrics.fragments.inc();
        let mut told = Told { scanner: &self.scanner, told: Progress::default(), is_whole: false };
        let searcher = &self.scanner.searcher;
        let pieces = searcher.fragment(&self.address, &self.units, &self.plan).await;
        let mut pieces = pieces.map_err(Failure::There)?;
        let mut rows = Vec::new();
        while let Some(piece) = pieces.next().await {
            match piece.map_err(Failure::There)? {
                Piece::Rows(batch) => {
                    let columns = batch.columns().to_vec();
                    let batch = RecordBatch::try_new(self.schema.clone(), columns)
                        .map_err(|error| Failure::There(format!("other columns: {error}")))?;
                    memory.try_grow(batch.get_array_memory_size()).map_err(Failure::Here)?;
                    rows.push(batch);
                }
                Piece::Reached(reached) => {
                    told.tell(reached);
                    if reached.is_end {
                        told.is_whole = true;
                        return Ok(rows);
                    }
                }
            }
        }
        Err(Failure::There("it broke off".to_owned()))
    }
}

/// What was told of the progress elsewhere; taken back when nothing comes of it.
struct Told<'a> {
    scanner: &'a Scanner,
    told: Progress,
    is_whole: bool,
}

impl Told<'_> {
    fn tell(&mut self, reached: Reached) {
        let more = Progress {
            units: 0,
            units_done: reached.units_done.saturating_sub(self.told.units_done),
            rows: reached.rows.saturating_sub(self.told.rows),
        };
        self.told.units_done += more.units_done;
        self.told.rows += more.rows;
        self.scanner.progress.add(more);
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.scanner.progress.take_back(self.told);
        }
    }
}
