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
use model::time::TimeRange;

use super::lower::{Lowering, Reading, asked, fixed_names};
use super::newest::with_newest;
use super::range::narrowed;
use super::statement::{MATCHES, WrongSearch, first_part, planned, refused, uncast};
use super::warnings::{Doubt, unknown_names};
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
        let failed = |error| refused(sql, error, self.0.settings.memory_bytes_max);
        let scanner = self.scanner();
        let stop = scanner.stop_guard();
        let mut budget = self.budget();
        let view = self.view().await;
        scanner.lack(&view.missing);
        let units = self.searcher().units(&view, &question.range, question.indexes.as_deref());
        let (units, types) = self.all_types(&scanner, units, &mut budget).await?;
        let names: BTreeSet<String> =
            types.keys().cloned().chain(fixed_names().map(str::to_owned)).collect();
        let all = Reading { units, types, range: question.range };
        // The names that a statement can use, before any record is read.
        let everything = Query { time: None, filter: Filter::All, pipes: Vec::new() };
        let lower = |query: &Query, reading: Reading| {
            let span = reading.span();
            let readings = vec![(query, reading)];
            let lowering = Lowering::new(&scanner, readings, self.0.settings.core_count, span);
            lowering.table(query, &names)
        };
        let schema = lower(&everything, all.clone()).map_err(failed)?.schema().inner().clone();
        let plan = budget.within(planned(sql, schema)).await?.map_err(failed)?;
        let now = self.clock().now();
        let searches = Mutex::new(Vec::new());
        let replace = |filter: Option<Query>| {
            let query = filter.unwrap_or_else(|| everything.clone());
            let search = query.filter.clone();
            searches.lock().unwrap_or_else(PoisonError::into_inner).push(search);
            let words = query.time.map_or(TimeRange::ALL, |time| time.resolve(now));
            let (from, to) = (words.from.max(question.range.from), words.to.min(question.range.to));
            let range = narrowed(TimeRange { from, to }, &query.filter);
            let reaches = |unit: &&Unit| unit.overlaps(&range);
            let units = all.units.iter().filter(reaches).cloned().collect();
            lower(&query, Reading { units, types: all.types.clone(), range })
        };
        let plan = with_records(plan, &replace).map_err(failed)?;
        let (plan, shape) = shaped(plan).map_err(failed)?;
        let (plan, _) = with_newest(plan).map_err(failed)?;
        let searches = searches.into_inner().unwrap_or_else(PoisonError::into_inner);
        let known = unknown_names(&view, question.indexes.as_deref(), searches.iter());
        let searched = Query { filter: Filter::And(searches), ..everything };
        let mut doubtful = asked(&searched);
        doubtful.retain(|name| !names.contains(name));
        let doubt = Doubt { known, names: doubtful, units: all.units };
        let rows = self.begin(plan, &shape, &mut budget).await?;
        Ok(Answer::table(self, shape, rows, (scanner, stop), (budget, doubt)))
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
