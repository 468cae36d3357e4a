//! The records as DataFusion sees them: a table whose scan has the search built in.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, AsArray as _, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array,
    new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::{
    RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::StreamExt as _;
use index::scan::{Column, ScanRequest, output_schema};
use index::searcher::Unit;
use model::level::Level;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::Filter;
use model::time::TimeRange;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;

use super::newest::ORDER;
use super::pushdown::implied;
use super::range::narrowed;
use super::ready::Ready;
use super::scan::{Scanner, Work};
use super::stop::unwanted;

/// Batches that a scanning thread may be ahead of its reader.
const AHEAD: usize = 2;
/// Bytes of rows that go on together: sorting must hold some of them within its bound.
const PIECE_BYTES: usize = 512 << 10;

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Source {
    /// As the scan gives it.
    Stored(Column),
    /// The record's id, made of partition and offset.
    Id,
    /// The level's number, by which levels are ordered.
    Severity,
    /// How many records a row stands for, where records are counted by the other columns.
    Count,
}

impl Source {
    /// Whether it tells something of groups of records: the other columns are what makes a group.
    fn is_of_groups(&self) -> bool {
        match self {
            Self::Count => true,
            Self::Stored(column) => column.is_measured(),
            Self::Id | Self::Severity => false,
        }
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Stored(column) => {
                let schema = output_schema(std::slice::from_ref(column));
                schema.fields().first().map_or(DataType::Utf8, |field| field.data_type().clone())
            }
            Self::Id => DataType::Utf8,
            Self::Severity | Self::Count => DataType::Int64,
        }
    }
}

/// The records of one query. Its columns are named by their places (`t0c0`, `t0c1` …), so that no
/// field's name can be mistaken for another.
#[derive(Debug, Clone)]
pub(super) struct LogTable {
    pub(super) scanner: Scanner,
    pub(super) units: Vec<Unit>,
    pub(super) filter: Filter,
    pub(super) range: TimeRange,
    /// Only so many of the newest are wanted.
    pub(super) newest: Option<usize>,
    /// Which of the plan's tables it is.
    pub(super) number: usize,
    pub(super) columns: Vec<Source>,
    pub(super) partitions: usize,
}

impl LogTable {
    /// The name of a column by its place.
    pub(super) fn column_name(table: usize, at: usize) -> String {
        format!("t{table}c{at}")
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        let field = |(at, column): (usize, &Source)| {
            Field::new(Self::column_name(self.number, at), column.data_type(), true)
        };
        Arc::new(Schema::new(self.columns.iter().enumerate().map(field).collect::<Vec<_>>()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema().project(wanted)?);
        let columns: Vec<Source> =
            wanted.iter().filter_map(|at| self.columns.get(*at).cloned()).collect();
        let implied: Vec<Filter> = filters.iter().filter_map(|one| self.implied(one)).collect();
        let filter = match implied.is_empty() {
            true => self.filter.clone(),
            false => Filter::And([vec![self.filter.clone()], implied].concat()),
        };
        let range = narrowed(self.range, &filter);
        let reaches = |unit: &&Unit| unit.overlaps(&range);
        let mut units: Vec<Unit> = self.units.iter().filter(reaches).cloned().collect();
        let mut needed = stored(&columns);
        if self.newest.is_some() {
            // Which are the newest is known by these; what is not asked for goes no further.
            needed.extend(ORDER.into_iter().filter(|column| !stored(&columns).contains(column)));
        }
        let request = ScanRequest {
            filter,
            range,
            columns: needed,
            newest: self.newest,
            counted: columns.iter().any(Source::is_of_groups),
        };
        self.scanner.expect(units.len());
        let ready = self.scanner.at_hand(&mut units, &request);
        let work = Arc::new(self.scanner.work(units, request));
        let scanner = self.scanner.clone();
        let scan = LogScanExec::new(scanner, work, columns, schema, self.partitions);
        Ok(Arc::new(LogScanExec { ready: Arc::new(ready), ..scan }))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.implied(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }
}

impl LogTable {
    /// What a condition on its rows implies of records. Of the newest few it implies nothing: those
    /// were chosen before.
    fn implied(&self, condition: &Expr) -> Option<Filter> {
        if self.newest.is_some() {
            return None;
        }
        let source = |name: &str| {
            let place =
                (0..self.columns.len()).find(|at| Self::column_name(self.number, *at) == name);
            self.columns.get(place?)
        };
        implied(condition, &source)
    }
}

/// What the scan must give for these columns.
pub(super) fn stored(columns: &[Source]) -> Vec<Column> {
    let mut stored = Vec::new();
    for column in columns {
        let needs: &[Column] = match column {
            Source::Stored(column) => std::slice::from_ref(column),
            Source::Id => &[Column::Partition, Column::Offset],
            Source::Severity => &[Column::Level],
            Source::Count => &[],
        };
        for need in needs {
            if !stored.contains(need) {
                stored.push(need.clone());
            }
        }
    }
    stored
}

/// A scan without its units, as other nodes are told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ScanForm {
    request: ScanRequest,
    /// Names and columns.
    columns: Vec<(String, Source)>,
}

/// The leaf of every plan: its partitions share the units, each scanned by one thread.
#[derive(Clone)]
pub(super) struct LogScanExec {
    scanner: Scanner,
    work: Arc<Work>,
    /// What is known of other units; nothing in a cluster.
    ready: Arc<Ready>,
    columns: Vec<Source>,
    schema: SchemaRef,
    /// Threads at most.
    partitions: usize,
    properties: Arc<PlanProperties>,
    /// Streams that were begun: the rows come once.
    begun: Arc<AtomicUsize>,
}

impl LogScanExec {
    fn new(
        scanner: Scanner,
        work: Arc<Work>,
        columns: Vec<Source>,
        schema: SchemaRef,
        partitions: usize,
    ) -> Self {
        let streams = partitions.min(work.units().len()).max(1);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(streams),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let (ready, begun) = Default::default();
        Self { scanner, work, ready, columns, schema, partitions, properties, begun }
    }

    /// A scan of these units, as another node told of it.
    pub(super) fn of_form(
        form: ScanForm,
        scanner: Scanner,
        units: Vec<Unit>,
        partitions: usize,
    ) -> Self {
        let field = |(name, column): &(String, Source)| Field::new(name, column.data_type(), true);
        let schema = Arc::new(Schema::new(form.columns.iter().map(field).collect::<Vec<_>>()));
        let columns = form.columns.into_iter().map(|(_, column)| column).collect();
        scanner.expect(units.len());
        let work = Arc::new(Work::new(units, form.request));
        Self::new(scanner, work, columns, schema, partitions)
    }

    /// What another node is told of it.
    pub(super) fn form(&self) -> ScanForm {
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        ScanForm {
            request: self.work.request().clone(),
            columns: names.zip(self.columns.iter().cloned()).collect(),
        }
    }

    /// The same of other units.
    pub(super) fn with(&self, units: Vec<Unit>) -> Self {
        let work = Arc::new(Work::new(units, self.work.request().clone()));
        Self::new(
            self.scanner.clone(),
            work,
            self.columns.clone(),
            self.schema.clone(),
            self.partitions,
        )
    }

    /// Whether all records that pass are wanted, not the newest of them.
    pub(super) fn is_whole(&self) -> bool {
        self.work.request().newest.is_none()
    }

    /// What it reads.
    pub(super) fn units(&self) -> &[Unit] {
        self.work.units()
    }

    /// What is known before anything is read, in pieces; all of it is the first partition's.
    fn known(&self, partition: usize) -> Vec<Result<RecordBatch>> {
        if partition > 0 || self.ready.units == 0 {
            return Vec::new();
        }
        self.scanner.take(&self.ready);
        let pieces = self.ready.rows.iter().cloned().flat_map(pieces);
        pieces.map(|rows| arranged(&rows?, &self.columns, &self.schema)).collect()
    }

    /// How it reads.
    pub(super) fn scanner(&self) -> &Scanner {
        &self.scanner
    }
}

impl fmt::Debug for LogScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogScanExec").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl DisplayAs for LogScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.work.units().len() + self.ready.units;
        write!(f, "LogScanExec: units={units}, columns={:?}", self.columns)
    }
}

impl ExecutionPlan for LogScanExec {
    fn name(&self) -> &'static str {
        "LogScanExec"
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let streams = self.properties.output_partitioning().partition_count();
        if self.begun.fetch_add(1, Ordering::Relaxed) >= streams {
            // What read on here would find some of the rows gone.
            return Err(DataFusionError::Internal("a scan was begun twice".to_owned()));
        }
        let known = futures::stream::iter(self.known(partition));
        if self.work.units().is_empty() {
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), known)));
        }
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), AHEAD);
        let to = stream.tx();
        let (scanner, work) = (self.scanner.clone(), self.work.clone());
        let (columns, schema) = (self.columns.clone(), self.schema.clone());
        stream.spawn_blocking(move || {
            work.run(&scanner, &mut |rows, core| {
                for piece in pieces(rows) {
                    let piece = piece.and_then(|rows| arranged(&rows, &columns, &schema));
                    let sent = match to.try_send(piece) {
                        Ok(()) => Ok(()),
                        Err(TrySendError::Full(piece)) => {
                            // The reader is slow: somebody else may have the core meanwhile.
                            drop(core.take());
                            let sent = to.blocking_send(piece);
                            *core = Some(scanner.cores.take());
                            sent.map_err(drop)
                        }
                        Err(TrySendError::Closed(_)) => Err(()),
                    };
                    if sent.is_err() {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
            Ok(())
        });
        let scanner = self.scanner.clone();
        let wanted = known.chain(stream.build()).map(move |rows| match scanner.is_stopped() {
            true => Err(unwanted()),
            false => rows,
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), wanted)))
    }
}

/// Rows in pieces of bounded size, each with memory of its own: what is counted is what is held.
fn pieces(rows: RecordBatch) -> impl Iterator<Item = Result<RecordBatch>> {
    let (bytes, count) = (rows.get_array_memory_size(), rows.num_rows());
    let piece = match bytes <= PIECE_BYTES {
        true => count,
        false => (PIECE_BYTES / bytes.div_ceil(count.max(1))).max(1),
    };
    (0..count).step_by(piece.max(1)).map(move |from| {
        if piece >= count || rows.num_columns() == 0 {
            return Ok(rows.clone());
        }
        let places = from..(from + piece).min(count);
        let places: UInt32Array = places.filter_map(|place| u32::try_from(place).ok()).collect();
        Ok(take_record_batch(&rows, &places)?)
    })
}

/// The table's columns out of what the scan gave.
pub(super) fn arranged(
    rows: &RecordBatch,
    columns: &[Source],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let stored = stored(columns);
    let at = |wanted: &Column| {
        let place = stored.iter().position(|column| column == wanted)?;
        rows.columns().get(place).cloned()
    };
    let arrays = columns.iter().map(|column| match column {
        Source::Stored(column) => at(column),
        Source::Id => ids(&at(&Column::Partition)?, &at(&Column::Offset)?),
        Source::Severity => severities(&at(&Column::Level)?),
        Source::Count => rows.columns().last().cloned(),
    });
    let arrays: Vec<ArrayRef> = arrays
        .zip(schema.fields())
        .map(|(array, field)| {
            array.unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}

fn ids(partitions: &ArrayRef, offsets: &ArrayRef) -> Option<ArrayRef> {
    let partitions = partitions.as_primitive_opt::<UInt32Type>()?;
    let offsets = offsets.as_primitive_opt::<UInt64Type>()?;
    let id = |(partition, offset): (&u32, &u64)| {
        let id = RecordId { partition: PartitionId(*partition), offset: Offset(*offset) };
        Some(id.to_string())
    };
    let ids: StringArray = partitions.values().iter().zip(offsets.values()).map(id).collect();
    Some(Arc::new(ids))
}

fn severities(levels: &ArrayRef) -> Option<ArrayRef> {
    let levels = levels.as_string_opt::<i32>()?;
    let number = |name: Option<&str>| {
        let level = name.and_then(Level::from_word).unwrap_or_default();
        Some(i64::from(level.number()))
    };
    Some(Arc::new(levels.iter().map(number).collect::<Int64Array>()))
}
