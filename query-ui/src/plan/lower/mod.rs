//! From a query to a DataFusion plan: pipe by pipe, each making a frame of the one before it.

mod references;
mod structure;
mod texts;
mod functions;
mod frame;
mod moments;
mod numbers;
mod expr;
mod call;
mod counted;
mod aggregate;
mod pipes;
mod context;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use index::scan::Column;
use index::searcher::Unit;
use model::record::FieldType;
use model::time::TimeRange;

pub(super) use aggregate::origin;
use frame::{Frame, Rows, ScanColumns};
pub(super) use functions::Function;
pub(crate) use references::asked;
pub(super) use references::{fields_of, parts, queries};

use super::newest::with_newest;
use super::scan::Scanner;
use super::settings::NEWEST_MAX;
use super::table::{LogTable, Source};
use super::types::Types;
use crate::language::{PATTERN, Pipe, Query};

/// What an answer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Whole records.
    Records(Extras),
    /// Rows with these columns.
    Table(Vec<OutputColumn>),
}

/// What pipes did to whole records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// Columns behind the record's own, which become fields of it; an object's members each.
    pub computed: Vec<OutputColumn>,
    /// Fields and labels that are not shown, nor are they of so many of the first objects.
    pub dropped: BTreeMap<String, usize>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name, as the asker wrote it.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Text.
    Text,
    /// Levels: ordered by severity, shown by name.
    Level,
    /// True or false.
    Bool,
    /// Moments.
    Time,
    /// Texts, several of them.
    List,
    /// A flat JSON object as text; never a column of a table.
    Object,
}

impl ColumnKind {
    /// The name used in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Text | Self::Level | Self::Object => "text",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::List => "list",
        }
    }

    /// The kind in which Arrow's type is shown.
    pub(super) fn of_type(kind: &DataType) -> Self {
        match kind {
            DataType::Boolean => Self::Bool,
            DataType::Timestamp(_, _) => Self::Time,
            DataType::List(_) => Self::List,
            kind if kind.is_integer() => Self::Int,
            kind if kind.is_numeric() => Self::Float,
            _ => Self::Text,
        }
    }

    fn of(kind: FieldType) -> Self {
        match kind {
            FieldType::Text => Self::Text,
            FieldType::Int => Self::Int,
            FieldType::Float => Self::Float,
            FieldType::Bool => Self::Bool,
        }
    }
}

/// The columns of a whole record, in the order in which answers expect them.
pub(crate) const RECORD: [Column; 9] = [
    Column::Timestamp,
    Column::IngestTime,
    Column::Partition,
    Column::Offset,
    Column::Index,
    Column::Level,
    Column::Message,
    Column::Labels,
    Column::Fields,
];

/// In which order rows come where the query does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Newest records first, groups by their keys.
    Defined,
    /// As they fall out.
    Any,
}

/// The names of what every record has.
pub(crate) fn fixed_names() -> [&'static str; 6] {
    ["timestamp", "level", "message", "id", "ingest_time", "index"]
}

/// What every record has, by the name it is asked for.
pub(super) fn fixed(name: &str) -> Option<(Source, ColumnKind)> {
    Some(match name {
        "timestamp" => (Source::Stored(Column::Timestamp), ColumnKind::Time),
        "ingest_time" => (Source::Stored(Column::IngestTime), ColumnKind::Time),
        "index" => (Source::Stored(Column::Index), ColumnKind::Text),
        "level" => (Source::Severity, ColumnKind::Level),
        "message" => (Source::Stored(Column::Message), ColumnKind::Text),
        "id" => (Source::Id, ColumnKind::Text),
        PATTERN => (Source::Stored(Column::Pattern), ColumnKind::Text),
        _ => return None,
    })
}

/// The order of records: newest first, and one order of those of one time.
fn newest_first(record: &[Expr]) -> Vec<SortExpr> {
    let order = columns(record, &[Column::Timestamp, Column::Partition, Column::Offset]);
    order.into_iter().map(|expr| expr.sort(false, false)).collect()
}

/// Some columns of a record.
fn columns(record: &[Expr], wanted: &[Column]) -> Vec<Expr> {
    let at = |wanted: &Column| {
        let place = RECORD.iter().position(|column| column == wanted)?;
        record.get(place).cloned()
    };
    wanted.iter().filter_map(at).collect()
}

/// What a query reads: its own, or that of a query inside of it.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) units: Vec<Unit>,
    pub(super) types: Types,
    pub(super) range: TimeRange,
}

/// A query on its way to a plan.
pub(super) struct Lowering<'a> {
    pub(super) scanner: &'a Scanner,
    /// What each query reads, in the order of [`queries`].
    pub(super) readings: Vec<(&'a Query, Reading)>,
    /// Threads of a scan.
    pub(super) partitions: usize,
    /// The range that is asked, without open ends.
    pub(super) span: TimeRange,
    scans: Vec<ScanColumns>,
    /// The names that may be asked of the records of other queries.
    asked: BTreeSet<String>,
    names: usize,
}

/// A plan and what comes out of it.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) plan: LogicalPlan,
    pub(super) shape: Shape,
    /// The answer ends after so many rows.
    pub(super) take: Option<u64>,
    /// The records come newest first and as many as were asked for: there may be a next page.
    pub(super) pages: bool,
    /// Only so many of the newest records were asked of the scan.
    pub(super) newest: Option<usize>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        scanner: &'a Scanner,
        readings: Vec<(&'a Query, Reading)>,
        partitions: usize,
        span: TimeRange,
    ) -> Self {
        let asked = readings.iter().flat_map(|(query, _)| references::asked_behind_others(query));
        let asked = asked.collect();
        Self { scanner, readings, partitions, span, scans: Vec::new(), asked, names: 0 }
    }

    /// The plan of a query. `limit` holds for records that no pipe sorts or limits; 0 is none.
    pub(super) fn plan(mut self, query: &Query, limit: u64, order: Order) -> Result<Lowered> {
        let bounds = Bounds::new(&query.pipes, limit);
        let counted = self.counted(query);
        let mut frame = self.scan(query, counted)?;
        if order == Order::Any {
            frame.order = Vec::new();
        }
        for pipe in wanted(&query.pipes) {
            match pipe {
                // A great limit at the end is a cut of the answer, not a bound of the sorting:
                // DataFusion keeps the rows of a bounded sort in memory, but sorts without bound
                // on disk.
                Pipe::Limit(_) if bounds.take.is_some() => {}
                pipe => frame = self.pipe(frame, pipe)?,
            }
        }
        if order == Order::Any {
            frame.is_sorted = true;
        }
        let mut frame = frame.sorted()?;
        if let Some(limit) = bounds.limit.filter(|_| bounds.take.is_none()) {
            frame.plan = frame.plan.limit(0, Some(rows_at_most(limit)))?;
        }
        let (exprs, shape) = shaped(&frame);
        let (plan, newest) = with_newest(frame.plan.project(exprs)?.build()?)?;
        let Bounds { take, pages, .. } = bounds;
        Ok(Lowered { plan, shape, take, pages, newest })
    }

    /// A query's records as a table with these columns, by their own names.
    pub(super) fn table(
        mut self,
        query: &'a Query,
        names: &BTreeSet<String>,
    ) -> Result<LogicalPlan> {
        self.asked.clone_from(names);
        let frame = self.scan(query, None)?;
        let mut exprs = Vec::new();
        for name in names {
            let value = self.named(&frame, name)?;
            let expr = match value.kind {
                ColumnKind::Level => value.text(),
                _ => value.expr,
            };
            exprs.push(expr.alias(name));
        }
        frame.plan.project(exprs)?.build()
    }

    /// A query inside of another one.
    fn query(&mut self, query: &Query) -> Result<Frame> {
        let counted = self.counted(query);
        let mut frame = self.scan(query, counted)?;
        for pipe in wanted(&query.pipes) {
            frame = self.pipe(frame, pipe)?;
        }
        Ok(frame)
    }

    /// A query's records, or how many there are with the same values in some columns.
    fn scan(&mut self, query: &Query, counted: Option<Vec<Source>>) -> Result<Frame> {
        let reading = self.reading(query)?;
        let number = self.scans.len();
        let mut scan = ScanColumns::new(number, query, &self.asked, reading.types.clone());
        scan.sources.extend(counted.into_iter().flatten());
        let table = LogTable {
            scanner: self.scanner.clone(),
            units: reading.units.clone(),
            filter: query.filter.clone(),
            range: reading.range,
            newest: None,
            number,
            columns: scan.sources.clone(),
            partitions: self.partitions,
        };
        let source = provider_as_source(Arc::new(table));
        let plan = LogicalPlanBuilder::scan(format!("records{number}"), source, None)?;
        let record = scan.record();
        let order = newest_first(&record);
        self.scans.push(scan);
        let rows = Rows::Records {
            scan: Some(number),
            record,
            hidden: Vec::new(),
            parsed: Vec::new(),
            dropped: BTreeMap::new(),
        };
        Ok(Frame { plan, rows, columns: Vec::new(), order, is_sorted: false })
    }

    fn reading(&self, query: &Query) -> Result<&Reading> {
        let known = self.readings.iter().find(|(known, _)| std::ptr::eq(*known, query));
        let (_, reading) = known.ok_or_else(|| plan_datafusion_err!("a query without records"))?;
        Ok(reading)
    }

    /// A name that no other column of the plan has.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("x{}", self.names)
    }
}

/// A limit as DataFusion knows it, which counts with a sign.
fn rows_at_most(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(isize::MAX.unsigned_abs())
}

/// The columns of an answer.
fn shaped(frame: &Frame) -> (Vec<Expr>, Shape) {
    let mut output = frame.output();
    let own = frame.columns.iter().map(|named| named.value.expr.clone());
    match &frame.rows {
        Rows::Table => {
            let exprs = own.enumerate().map(|(at, expr)| expr.alias(format!("o{at}")));
            (exprs.collect(), Shape::Table(output))
        }
        Rows::Records { record, parsed, dropped, .. } => {
            let object = OutputColumn { name: String::new(), kind: ColumnKind::Object };
            let exprs = record.iter().cloned().chain(parsed.iter().cloned()).chain(own);
            let exprs = exprs.enumerate().map(|(at, expr)| expr.alias(format!("o{at}")));
            output.splice(0..0, std::iter::repeat_n(object, parsed.len()));
            let extras = Extras { computed: output, dropped: dropped.clone() };
            (exprs.collect(), Shape::Records(extras))
        }
    }
}

/// The pipes without a first one that sorts records as they are sorted anyway.
fn wanted(pipes: &[Pipe]) -> &[Pipe] {
    match pipes {
        [Pipe::Sort(keys), rest @ ..] if matches!(&**keys, [key] if key.descending && key.name == "timestamp") => {
            rest
        }
        pipes => pipes,
    }
}

/// Whether a query gives its records one by one, newest first and so many that they are sorted: each
/// part of its range by itself, then, makes the same.
pub(super) fn is_sliced(query: &Query, limit: u64) -> bool {
    let bounds = Bounds::new(&query.pipes, limit);
    bounds.newest.is_none() && bounds.gives_records
}

/// How many rows a query needs.
#[derive(Debug, Default)]
struct Bounds {
    /// Only so many of the newest records are needed.
    newest: Option<usize>,
    /// The request's limit, where it holds.
    limit: Option<u64>,
    /// The answer ends after so many rows.
    take: Option<u64>,
    /// Whether there may be a next page.
    pages: bool,
    /// No pipe but a limit at the end keeps records from going out one by one.
    gives_records: bool,
}

impl Bounds {
    fn new(pipes: &[Pipe], limit: u64) -> Self {
        let keeps_rows = |pipe: &Pipe| {
            matches!(
                pipe,
                Pipe::Fields(_)
                    | Pipe::Drop(_)
                    | Pipe::Rename(_)
                    | Pipe::Eval(_)
                    | Pipe::Extract { .. }
                    | Pipe::Parse { .. }
            )
        };
        let orders =
            |pipe: &Pipe| matches!(pipe, Pipe::Stats { .. } | Pipe::Sort(_) | Pipe::Limit(_));
        let limit = (limit > 0 && !pipes.iter().any(orders)).then_some(limit);
        let pipes = wanted(pipes);
        let first = pipes.iter().position(|pipe| !keeps_rows(pipe));
        let (wanted, is_last) = match first.and_then(|at| Some((at, pipes.get(at)?))) {
            None => (limit, true),
            Some((at, Pipe::Limit(most))) => {
                let behind = pipes.get(at + 1..).unwrap_or_default();
                (Some(*most), behind.iter().all(keeps_rows))
            }
            Some(_) => (None, false),
        };
        let small = wanted.filter(|most| *most <= NEWEST_MAX);
        let take = wanted.filter(|_| small.is_none() && is_last);
        Self {
            newest: small.and_then(|most| usize::try_from(most).ok()),
            take,
            gives_records: first.is_none() || take.is_some(),
            pages: first.is_none()
                && limit.is_some()
                && !pipes.iter().any(|pipe| matches!(pipe, Pipe::Fields(_))),
            limit,
        }
    }
}
