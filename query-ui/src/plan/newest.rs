//! The newest few records of a plan: where it sorts records by time, latest first, and keeps so many, the scan
//! gives these and leaves out the others, most of them unread. One place for pipes and for SQL.

use std::sync::Arc;

use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, TableScan};
use index::scan::Column;

use super::settings::NEWEST_MAX;
use super::table::{LogTable, Source};

/// What makes the order of records: of those of one time the last one comes first too. A scan for the
/// newest must know all of it.
pub(super) const ORDER: [Column; 3] = [Column::Timestamp, Column::Partition, Column::Offset];

/// The plan with its scans asked for no more than the newest that it keeps, and how many that are at most.
///
/// # Errors
/// What the engine says of a plan put together anew.
pub(super) fn with_newest(plan: LogicalPlan) -> Result<(LogicalPlan, Option<usize>)> {
    let mut newest = None;
    let plan = plan.transform_down_with_subqueries(|node| {
        let Some(most) = kept(&node) else { return Ok(Transformed::no(node)) };
        newest = newest.max(Some(most));
        let node = node.transform_down(|below| match below {
            LogicalPlan::TableScan(scan) => Ok(Transformed::yes(narrowed(scan, most)?)),
            below => Ok(Transformed::no(below)),
        })?;
        Ok(Transformed::new(node.data, true, TreeNodeRecursion::Jump))
    })?;
    Ok((plan.data, newest))
}

/// How many of the newest records of a scan a limit keeps, if it keeps those.
fn kept(node: &LogicalPlan) -> Option<usize> {
    let LogicalPlan::Limit(limit) = node else { return None };
    let most = rows_of(limit)?;
    let mut below = &*limit.input;
    // Columns that only the order asks for go behind it.
    while let LogicalPlan::Projection(projection) = below {
        below = &*projection.input;
    }
    let LogicalPlan::Sort(sort) = below else { return None };
    is_latest_first(sort).then_some(most)
}

/// How many rows a limit needs, with those that it passes over; `None` where a scan does not pick so many.
fn rows_of(limit: &Limit) -> Option<usize> {
    let Ok(FetchType::Literal(Some(fetch))) = limit.get_fetch_type() else { return None };
    let Ok(SkipType::Literal(skip)) = limit.get_skip_type() else { return None };
    fetch.checked_add(skip).filter(|most| (1..=NEWEST_MAX).contains(&(*most as u64)))
}

/// Whether records are sorted by [`ORDER`], or by the time alone. What stands behind all of it says nothing,
/// nor does a column that is asked for once more.
fn is_latest_first(sort: &Sort) -> bool {
    let mut next = 0;
    for key in &sort.expr {
        let source = source_of(&key.expr, &sort.input);
        let is_by = |column: &Column| source == Some(Source::Stored(column.clone()));
        match ORDER.get(next) {
            None => break,
            Some(column) if !key.asc && is_by(column) => next += 1,
            Some(_) if ORDER.iter().take(next).any(is_by) => {}
            Some(_) => return false,
        }
    }
    next > 0
}

/// Which column of the records an expression over a plan is, where it is one as it stands and every record
/// of the scan comes through.
fn source_of(expr: &Expr, plan: &LogicalPlan) -> Option<Source> {
    let column = match expr {
        Expr::Alias(alias) => return source_of(&alias.expr, plan),
        Expr::Column(column) => column,
        _ => return None,
    };
    let at = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::Projection(projection) => {
            source_of(projection.expr.get(at)?, &projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().columns().into_iter().nth(at)?;
            source_of(&Expr::Column(inner), &alias.input)
        }
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = provider.downcast_ref::<LogTable>()?;
            let at = scan.projection.as_ref().map_or(Some(at), |kept| kept.get(at).copied())?;
            table.columns.get(at).cloned()
        }
        _ => None,
    }
}

/// The scan of the newest so many.
fn narrowed(scan: TableScan, most: usize) -> Result<LogicalPlan> {
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<LogTable>() else {
        return Ok(LogicalPlan::TableScan(scan));
    };
    let table = LogTable { newest: Some(most), ..table.clone() };
    let source = provider_as_source(Arc::new(table));
    Ok(LogicalPlan::TableScan(TableScan { source, ..scan }))
}
