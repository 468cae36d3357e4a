//! From a query to a DataFusion plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::common::{Column as PlanColumn, Result, ScalarValue};
use datafusion::functions::expr_fn::date_bin;
use datafusion::functions_aggregate::count::count_all;
use datafusion::functions_aggregate::expr_fn::{avg, count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, cast, lit};
use index::scan::Column;
use model::record::FieldType;

use super::settings::NEWEST_MAX;
use super::table::{LogTable, Source};
use super::types::{Types, resolve};
use crate::language::{Aggregate, Function, Group, PATTERN, Pipe, SortKey};

/// What an answer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Whole records.
    Records,
    /// Rows with these columns.
    Table(Vec<OutputColumn>),
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
}

impl ColumnKind {
    /// The name used in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Text | Self::Level => "text",
            Self::Bool => "bool",
            Self::Time => "time",
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

/// A plan for a query, before it is given its table.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    pipes: &'a [Pipe],
    types: Types,
    /// The columns that the table must have.
    pub(super) columns: Vec<Source>,
    /// Only so many of the newest records are needed.
    pub(super) newest: Option<usize>,
    /// The answer ends after so many rows.
    pub(super) take: Option<u64>,
    limit: Option<u64>,
    order: Order,
}

/// The fields whose types must be known.
pub(super) fn fields_of(pipes: &[Pipe]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pipe in pipes {
        match pipe {
            Pipe::Stats { aggregates, by } => {
                names.extend(aggregates.iter().filter_map(|aggregate| aggregate.field.clone()));
                names.extend(by.iter().filter_map(|group| match group {
                    Group::Field(name) => Some(name.clone()),
                    Group::Bin { .. } => None,
                }));
            }
            Pipe::Sort(keys) => names.extend(keys.iter().map(|key| key.name.clone())),
            Pipe::Fields(columns) => names.extend(columns.iter().cloned()),
            Pipe::Limit(_) => {}
        }
    }
    names.retain(|name| fixed(name).is_none());
    names
}

/// What every record has, by the name it is asked for.
fn fixed(name: &str) -> Option<(Source, ColumnKind)> {
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

fn field(name: &str, kind: FieldType) -> Source {
    Source::Stored(Column::Field { name: name.to_owned(), kind })
}

impl<'a> Outline<'a> {
    /// `limit` holds for records that no pipe sorts or limits; 0 is none.
    pub(super) fn new(pipes: &'a [Pipe], types: Types, limit: u64, order: Order) -> Self {
        let limits = |pipe: &&Pipe| !matches!(pipe, Pipe::Fields(_));
        let first = pipes.iter().find(limits);
        let limit = (first.is_none() && limit > 0).then_some(limit);
        let newest = match first {
            None => limit,
            Some(Pipe::Limit(most)) => Some(*most),
            Some(_) => None,
        };
        let small = newest.filter(|most| *most <= NEWEST_MAX);
        let mut outline =
            Self { pipes, types, columns: Vec::new(), newest: None, take: None, limit, order };
        outline.newest = small.and_then(|most| usize::try_from(most).ok());
        // A great limit at the end is a cut of the answer, not a bound of the sorting: DataFusion
        // keeps the rows of a bounded sort in memory, but sorts without bound on disk.
        if newest.is_some() && small.is_none() && pipes.iter().filter(limits).count() <= 1 {
            outline.take = newest;
        }
        let is_stats = matches!(first, Some(Pipe::Stats { .. }));
        if !is_stats {
            outline.columns = RECORD.map(Source::Stored).to_vec();
        }
        outline
    }

    /// The plan over a table; the columns of the table are known afterwards only, so the table is
    /// made by `table`.
    pub(super) fn plan(
        mut self,
        table: impl FnOnce(&Self) -> LogTable,
    ) -> Result<(LogicalPlan, Shape, Option<u64>)> {
        let steps = self.steps();
        let source = provider_as_source(Arc::new(table(&self)));
        let mut state =
            State { plan: LogicalPlanBuilder::scan("records", source, None)?, columns: None };
        let take = self.take;
        for step in steps {
            state = step.apply(state)?;
        }
        let shape = match &state.columns {
            None => Shape::Records,
            Some(columns) => {
                Shape::Table(columns.iter().map(|named| named.output.clone()).collect())
            }
        };
        let exprs = match state.columns {
            None => (0..RECORD.len()).map(|at| column(&LogTable::column_name(at))).collect(),
            Some(columns) => columns.iter().map(|named| column(&named.inner)).collect::<Vec<_>>(),
        };
        Ok((state.plan.project(exprs)?.build()?, shape, take))
    }

    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut pipes = self.pipes.iter().peekable();
        let mut table: Option<Vec<Named>> = None;
        let mut keys: Vec<SortExpr> = Vec::new();
        if let Some(Pipe::Stats { aggregates, by }) = self.pipes.first() {
            pipes.next();
            let (step, columns) = self.stats(aggregates, by);
            // Rows of equal rank come in the order of their groups.
            let groups = columns.iter().take(by.len());
            keys = groups.map(Named::ascending).collect();
            table = Some(columns);
            steps.push(step);
        } else {
            let newest = [Column::Timestamp, Column::Partition, Column::Offset];
            keys.extend(newest.map(|wanted| {
                let inner = self.inner(&Source::Stored(wanted));
                column(&inner).sort(false, false)
            }));
        }
        let sorts = |pipe: &&Pipe| matches!(pipe, Pipe::Sort(_));
        let limits = |pipe: &&Pipe| matches!(pipe, Pipe::Limit(_));
        let first_is_sort = self.pipes.iter().find(|pipe| sorts(pipe) || limits(pipe));
        let sorted = first_is_sort.is_some_and(|pipe| sorts(&pipe)) || self.order == Order::Any;
        if !sorted && !keys.is_empty() {
            steps.push(Step::Sort(keys.clone()));
        }
        for pipe in pipes {
            match pipe {
                Pipe::Sort(wanted) => {
                    let mut order: Vec<SortExpr> =
                        wanted.iter().map(|key| self.sort_key(key, table.as_deref())).collect();
                    order.extend(keys.iter().cloned());
                    steps.push(Step::Sort(order));
                }
                Pipe::Limit(most) if self.take.is_none() => steps.push(Step::Limit(*most)),
                Pipe::Fields(names) => {
                    let kept: Vec<Named> =
                        names.iter().map(|name| self.named(name, table.as_deref())).collect();
                    steps.push(Step::Keep(kept.clone()));
                    table = Some(kept);
                }
                Pipe::Limit(_) | Pipe::Stats { .. } => {}
            }
        }
        if let Some(limit) = self.limit.filter(|_| self.take.is_none()) {
            steps.push(Step::Limit(limit));
        }
        steps
    }

    /// A column of the table, by its name there; added when it is new.
    fn inner(&mut self, source: &Source) -> String {
        let known = self.columns.iter().position(|column| column == source);
        let at = known.unwrap_or_else(|| {
            self.columns.push(source.clone());
            self.columns.len() - 1
        });
        LogTable::column_name(at)
    }

    /// What a name means: a column of the table behind the last pipe, or something of a record.
    fn named(&mut self, name: &str, table: Option<&[Named]>) -> Named {
        if let Some(named) = table.and_then(|table| table.iter().find(|n| n.output.name == name)) {
            return named.clone();
        }
        let (source, kind) = fixed(name).unwrap_or_else(|| {
            let kind = resolve(&self.types, name);
            (field(name, kind), ColumnKind::of(kind))
        });
        let output = OutputColumn { name: name.to_owned(), kind };
        Named { inner: self.inner(&source), output }
    }

    fn sort_key(&mut self, key: &SortKey, table: Option<&[Named]>) -> SortExpr {
        let named = self.named(&key.name, table);
        if key.descending { named.descending() } else { named.ascending() }
    }

    fn stats(&mut self, aggregates: &[Aggregate], by: &[Group]) -> (Step, Vec<Named>) {
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        for (at, group) in by.iter().enumerate() {
            let inner = format!("g{at}");
            let (expr, named) = match group {
                Group::Field(name) => {
                    let named = self.named(name, None);
                    (column(&named.inner), named)
                }
                Group::Bin { width } => {
                    let named = self.named("timestamp", None);
                    (bin(column(&named.inner), *width), named)
                }
            };
            groups.push(expr.alias(&inner));
            columns.push(Named { inner, ..named });
        }
        let mut computed = Vec::new();
        for (at, aggregate) in aggregates.iter().enumerate() {
            let inner = format!("a{at}");
            let (expr, kind) = self.aggregate(aggregate);
            computed.push(expr.alias(&inner));
            let output = OutputColumn { name: aggregate.name.clone(), kind };
            columns.push(Named { inner, output });
        }
        (Step::Aggregate { groups, computed, columns: columns.clone() }, columns)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> (Expr, ColumnKind) {
        let Some(name) = aggregate.field.as_deref() else {
            return (count_all(), ColumnKind::Int);
        };
        let named = match aggregate.function {
            // Of a field that is not all whole numbers, what reads as a number counts.
            Function::Sum | Function::Avg if !self.is_int(name) => {
                let output = OutputColumn { name: name.to_owned(), kind: ColumnKind::Float };
                let inner = self.inner(&field(name, FieldType::Float));
                Named { inner, output }
            }
            _ => self.named(name, None),
        };
        let value = column(&named.inner);
        let kind = named.output.kind;
        match aggregate.function {
            Function::Count => (count(value), ColumnKind::Int),
            Function::CountDistinct => (count_distinct(value), ColumnKind::Int),
            // Sums of whole numbers are exact beyond 64 bits.
            Function::Sum if kind == ColumnKind::Int => {
                (sum(cast(value, DataType::Decimal128(20, 0))), kind)
            }
            Function::Sum => (sum(value), kind),
            Function::Avg => (avg(cast(value, DataType::Float64)), ColumnKind::Float),
            Function::Min => (min(value), kind),
            Function::Max => (max(value), kind),
        }
    }

    fn is_int(&self, name: &str) -> bool {
        fixed(name).is_none() && resolve(&self.types, name) == FieldType::Int
    }
}

/// A column as the asker knows it, and as the plan does.
#[derive(Debug, Clone)]
struct Named {
    inner: String,
    output: OutputColumn,
}

impl Named {
    /// Least first, what is missing last.
    fn ascending(&self) -> SortExpr {
        column(&self.inner).sort(true, false)
    }

    /// Greatest first, what is missing last.
    fn descending(&self) -> SortExpr {
        column(&self.inner).sort(false, false)
    }
}

/// A plan as far as it is built.
struct State {
    plan: LogicalPlanBuilder,
    /// The columns of a table; `None` while there are records.
    columns: Option<Vec<Named>>,
}

/// One operation of a plan.
#[derive(Debug)]
enum Step {
    Aggregate { groups: Vec<Expr>, computed: Vec<Expr>, columns: Vec<Named> },
    Sort(Vec<SortExpr>),
    Limit(u64),
    Keep(Vec<Named>),
}

impl Step {
    fn apply(self, state: State) -> Result<State> {
        let State { plan, columns } = state;
        Ok(match self {
            Self::Aggregate { groups, computed, columns } => {
                State { plan: plan.aggregate(groups, computed)?, columns: Some(columns) }
            }
            Self::Sort(order) => State { plan: plan.sort(order)?, columns },
            Self::Limit(most) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                State { plan: plan.limit(0, Some(most))?, columns }
            }
            // The projection comes at the end; what was dropped cannot be named any more.
            Self::Keep(kept) => State { plan, columns: Some(kept) },
        })
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(PlanColumn::new_unqualified(name))
}

/// Nanoseconds of a week.
const WEEK: i64 = 604_800_000_000_000;
/// The first Monday: weeks begin there.
const MONDAY: i64 = 345_600_000_000_000;

/// The moment from which bins of a width are counted.
pub(super) fn origin(width: i64) -> i64 {
    if width % WEEK == 0 { MONDAY } else { 0 }
}

fn bin(time: Expr, width: i64) -> Expr {
    let width_literal = ScalarValue::new_interval_mdn(0, 0, width);
    let origin = ScalarValue::TimestampNanosecond(Some(origin(width)), Some("UTC".into()));
    date_bin(lit(width_literal), time, lit(origin))
}
