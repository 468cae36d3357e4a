//! SQL over the records: each `logs` of a statement becomes a scan with the search of the
//! `matches('…')` beside it built in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue, TableReference, plan_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter as FilterNode, LogicalPlan, LogicalPlanBuilder, Operator, cast,
};
use index::searcher::Unit;
use model::query::Filter;
use model::time::{TimeRange, Timestamp};
use tokio::runtime::Handle;

use super::lower::{Lowering, Reading, asked, fixed_names};
use super::newest::with_newest;
use super::planning::{Size, wanted};
use super::range::narrowed;
use super::scan::Scanner;
use super::statement::{MATCHES, WrongSearch, first_part, planned, refused, uncast};
use super::warnings::Doubt;
use super::{Answer, ColumnKind, Engine, OutputColumn, QueryFailure, Question, Shape};
use crate::language::{Query, parse};

/// The table's name.
pub(super) const LOGS: &str = "logs";

impl Engine {
    /// Begins to answer a statement over the records of a question's time and indexes. Runs on
    /// the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn ask_sql(&self, sql: &str, question: &Question) -> Result<Answer, QueryFailure> {
        let scanner = self.scanner();
        let stop = scanner.stop_guard();
        let mut budget = self.budget();
        let view = self.view().await;
        scanner.lack(&view.missing);
        let units = self.searcher().units(&view, &question.range, question.indexes.as_deref());
        let (units, types) = self.all_types(&scanner, units, &mut budget).await?;
        let names: BTreeSet<String> =
            types.keys().cloned().chain(fixed_names().map(str::to_owned)).collect();
        let size = Size::of_sql(sql, names.len());
        let statement = Statement {
            sql: sql.to_owned(),
            scanner: scanner.clone(),
            partitions: self.0.settings.core_count,
            memory_bytes_max: self.0.settings.memory_bytes_max,
            names: names.clone(),
            all: Reading { units: units.clone(), types, range: question.range },
            now: self.clock().now(),
        };
        let planned = match size {
            Size::Small => budget.within(statement.plan()).await??,
            Size::Great => {
                let runtime = Handle::current();
                let made = move || runtime.block_on(statement.plan());
                self.planned(&mut budget, made).await?
            }
        };
        let Planned { plan, shape, searches } = planned;
        let searched = Query { filter: Filter::And(searches.clone()), ..everything() };
        let mut doubtful = asked(&searched);
        doubtful.retain(|name| !names.contains(name));
        let indexes = question.indexes.as_deref();
        let mut doubt = Doubt::of(&view, indexes, searches.iter(), doubtful);
        doubt.units = units;
        let rows = self.begin((plan, size), &shape, &mut budget).await?;
        Ok(Answer::of(self, shape, rows, (scanner, stop), (budget, doubt)))
    }
}

/// The search for all records.
fn everything() -> Query {
    Query { time: None, filter: Filter::All, pipes: Vec::new() }
}

/// A statement with all that its plan is made of.
struct Statement {
    sql: String,
    scanner: Scanner,
    /// Threads of a scan.
    partitions: usize,
    memory_bytes_max: usize,
    /// The names that it can use, before any record is read.
    names: BTreeSet<String>,
    all: Reading,
    now: Timestamp,
}

/// The plan of a statement, and what it searches for.
struct Planned {
    plan: LogicalPlan,
    shape: Shape,
    searches: Vec<Filter>,
}

impl Statement {
    async fn plan(&self) -> Result<Planned, QueryFailure> {
        let planned = self.over_records().await;
        planned.map_err(|error| refused(&self.sql, error, self.memory_bytes_max))
    }

    async fn over_records(&self) -> Result<Planned> {
        let everything = everything();
        let schema = self.table(&everything, self.all.clone())?.schema().inner().clone();
        let plan = planned(&self.sql, schema).await?;
        let searches = Mutex::new(Vec::new());
        let replace = |filter: Option<Query>| {
            wanted()?;
            let query = filter.unwrap_or_else(|| everything.clone());
            let search = query.filter.clone();
            searches.lock().unwrap_or_else(PoisonError::into_inner).push(search);
            let words = query.time.map_or(TimeRange::ALL, |time| time.resolve(self.now));
            let asked = self.all.range;
            let (from, to) = (words.from.max(asked.from), words.to.min(asked.to));
            let range = narrowed(TimeRange { from, to }, &query.filter);
            let reaches = |unit: &&Unit| unit.overlaps(&range);
            let units = self.all.units.iter().filter(reaches).cloned().collect();
            self.table(&query, Reading { units, types: self.all.types.clone(), range })
        };
        let plan = with_records(plan, &replace)?;
        let (plan, shape) = shaped(plan)?;
        let (plan, _) = with_newest(plan)?;
        let searches = searches.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Planned { plan, shape, searches })
    }

    /// The records of a search with all names as columns.
    fn table(&self, query: &Query, reading: Reading) -> Result<LogicalPlan> {
        let span = reading.span();
        let lowering = Lowering::new(&self.scanner, vec![(query, reading)], self.partitions, span);
        lowering.table(query, &self.names)
    }
}

/// The plan with scans of records in the place of the empty table.
fn with_records(
    plan: LogicalPlan,
    replace: &dyn Fn(Option<Query>) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let plan = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Filter(FilterNode { predicate, input, .. }) = &node else {
            return Ok(Transformed::no(node));
        };
        let (searches, others): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(predicate.clone()).into_iter().partition(is_search);
        if searches.is_empty() {
            return Ok(Transformed::no(node));
        }
        let query = joined(&searches)?;
        let Some(input) = scanned(input, Some(query), replace)? else {
            return plan_err!(
                "matches() wants one table: put it in the WHERE of a subquery of that table"
            );
        };
        let builder = LogicalPlanBuilder::from(input);
        let builder = match conjunction(others) {
            Some(rest) => builder.filter(rest)?,
            None => builder,
        };
        Ok(Transformed::yes(builder.build()?))
    })?;
    let plan =
        plan.data.transform_down_with_subqueries(|node| match scanned(&node, None, replace)? {
            Some(scan) if matches!(node, LogicalPlan::TableScan(_)) => {
                Ok(Transformed::new(scan, true, TreeNodeRecursion::Jump))
            }
            _ => Ok(Transformed::no(node)),
        })?;
    let plan = plan.data;
    if first_part(&plan, &|expr| is_matches(expr).then_some(()))?.is_some() {
        return plan_err!(
            "matches() stands in WHERE, joined to the rest by AND; matches() may be joined with \
             matches() by OR and NOT"
        );
    }
    Ok(plan)
}

/// The records where a plan is nothing but the empty table, perhaps under another name.
fn scanned(
    plan: &LogicalPlan,
    query: Option<Query>,
    replace: &dyn Fn(Option<Query>) -> Result<LogicalPlan>,
) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.table_name.table() == LOGS => {
            let records = LogicalPlanBuilder::from(replace(query)?);
            Ok(Some(records.alias(scan.table_name.clone())?.build()?))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(inner) = scanned(&alias.input, query, replace)? else { return Ok(None) };
            let name: TableReference = alias.alias.clone();
            Ok(Some(LogicalPlanBuilder::from(inner).alias(name)?.build()?))
        }
        _ => Ok(None),
    }
}

fn is_matches(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == MATCHES)
}

/// Whether an expression is made of searches alone.
fn is_search(expr: &Expr) -> bool {
    match expr {
        Expr::Not(inner) => is_search(inner),
        Expr::BinaryExpr(both) if matches!(both.op, Operator::And | Operator::Or) => {
            is_search(&both.left) && is_search(&both.right)
        }
        other => is_matches(other),
    }
}

/// One search that says what several say.
fn joined(searches: &[Expr]) -> Result<Query> {
    let mut time = None;
    let mut parts = Vec::new();
    for search in searches {
        let alone = is_matches(search);
        parts.push(filter(search, &mut |found| {
            if !alone || time.is_some() {
                return plan_err!("time words stand in one matches(), which is not in OR or NOT");
            }
            time = Some(found);
            Ok(())
        })?);
    }
    Ok(Query { time, filter: Filter::And(parts), pipes: Vec::new() })
}

fn filter(
    expr: &Expr,
    times: &mut dyn FnMut(crate::language::TimeWords) -> Result<()>,
) -> Result<Filter> {
    match expr {
        Expr::Not(inner) => Ok(Filter::Not(Box::new(filter(inner, times)?))),
        Expr::BinaryExpr(both) => {
            let parts = vec![filter(&both.left, times)?, filter(&both.right, times)?];
            Ok(if both.op == Operator::And { Filter::And(parts) } else { Filter::Or(parts) })
        }
        Expr::ScalarFunction(call) => {
            let text = match call.args.first().map(uncast) {
                Some(Expr::Literal(
                    ScalarValue::Utf8(Some(text))
                    | ScalarValue::LargeUtf8(Some(text))
                    | ScalarValue::Utf8View(Some(text)),
                    _,
                )) => text,
                _ => {
                    return plan_err!("matches() wants a search in quotes: matches('level:error')");
                }
            };
            let query = parse(text).map_err(|wrong| {
                let text = text.clone();
                DataFusionError::External(Box::new(WrongSearch { text, wrong }))
            })?;
            if !query.pipes.is_empty() {
                return plan_err!("matches() takes a search without pipes: '{text}'");
            }
            query.time.map_or(Ok(()), times)?;
            Ok(query.filter)
        }
        _ => plan_err!("matches() is joined with matches() only"),
    }
}

/// The plan with its columns in the types that answers know.
fn shaped(plan: LogicalPlan) -> Result<(LogicalPlan, Shape)> {
    let columns = plan.schema().columns();
    let mut output = Vec::new();
    let mut exprs = Vec::new();
    for (at, (column, (_, field))) in columns.into_iter().zip(plan.schema().iter()).enumerate() {
        let to = shown_as(field.data_type());
        let kind = ColumnKind::of_type(&to);
        output.push(OutputColumn { name: column.name.clone(), kind });
        exprs.push(cast(Expr::Column(column), to).alias(format!("o{at}")));
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    Ok((plan, Shape::Table(output)))
}

fn shown_as(kind: &DataType) -> DataType {
    match kind {
        DataType::Boolean => DataType::Boolean,
        DataType::UInt64 => DataType::UInt64,
        DataType::Decimal128(precision, 0) => DataType::Decimal128(*precision, 0),
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        DataType::List(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        kind if kind.is_integer() => DataType::Int64,
        kind if kind.is_numeric() => DataType::Float64,
        _ => DataType::Utf8,
    }
}
