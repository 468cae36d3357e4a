//! `stats`: aggregates and groups.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::expr_fn::{date_bin, floor};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::expr_fn::{
    approx_distinct, approx_percentile_cont, avg, count, count_distinct, first_value, max, min,
    stddev, sum,
};
use datafusion::functions_aggregate::percentile_cont::percentile_cont;
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, SortExpr, cast, lit};
use model::time::SECOND;

use super::frame::{Frame, Named, Rows, Texts, Value, column};
use super::numbers::{DIGITS, end_of_texts};
use super::{ColumnKind, Lowering};
use crate::language::{Aggregate, Function, Group};

impl Lowering<'_> {
    /// The rows' groups with their aggregates.
    pub(super) fn stats(
        &mut self,
        frame: Frame,
        aggregates: &[Aggregate],
        by: &[Group],
    ) -> Result<Frame> {
        let (mut columns, mut groups, mut computed) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |name: &str, value: Value, inner: String, to: &mut Vec<Expr>| {
            to.push(value.expr.alias(&inner));
            let value = Value { expr: column(&inner), field: None, ..value };
            columns.push(Named { name: name.to_owned(), value });
        };
        for group in by {
            let value = self.group(&frame, group)?;
            add(group.name(), value, self.name(), &mut groups);
        }
        let width = by.iter().find_map(|group| match group {
            Group::Bin { width } => Some(width.unwrap_or_else(|| self.round_width())),
            _ => None,
        });
        for aggregate in aggregates {
            let value = match self.measured(&frame, aggregate) {
                Some(measured) => measured,
                None => self.aggregate(&frame, aggregate, width)?,
            };
            add(&aggregate.name, value, self.name(), &mut computed);
        }
        let plan = frame.plan.aggregate(groups, computed)?;
        // Rows of equal rank come in the order of their groups.
        let order =
            columns.iter().take(by.len()).flat_map(|named| named.value.order_of_texts(false));
        let order: Vec<SortExpr> = order.collect();
        Ok(Frame { plan, rows: Rows::Table, order, is_sorted: by.is_empty(), columns })
    }

    fn group(&mut self, frame: &Frame, group: &Group) -> Result<Value> {
        Ok(match group {
            Group::Field(name) => self.named(frame, name)?,
            Group::Bin { width } => {
                if let Some(bin) = self.counted_bin(frame, *width) {
                    return Ok(bin);
                }
                let time = self.named(frame, "timestamp")?;
                if time.kind != ColumnKind::Time {
                    return plan_err!("the column timestamp has no times any more");
                }
                let width = width.unwrap_or_else(|| self.round_width());
                Value::new(bin(time.expr, width), ColumnKind::Time)
            }
            Group::Step { field, width } => {
                let number = self.named(frame, field)?.number();
                Value::new(floor(number / lit(*width)) * lit(*width), ColumnKind::Float)
            }
        })
    }

    fn aggregate(
        &mut self,
        frame: &Frame,
        aggregate: &Aggregate,
        width: Option<i64>,
    ) -> Result<Value> {
        let condition = match &aggregate.condition {
            Some(condition) => Some(self.truth(frame, condition)?),
            None => None,
        };
        let only = |expr: Expr| match &condition {
            Some(condition) => filtered(expr, condition.clone()),
            None => Ok(expr),
        };
        let Some(argument) = &aggregate.argument else {
            let counted = match self.counted_rows(frame) {
                Some(counted) => counted,
                None => only(count(lit(1_i64)))?,
            };
            return Ok(match aggregate.function {
                Function::Rate => {
                    let seconds = self.seconds(width);
                    let count = cast(counted, DataType::Float64);
                    Value::new(count / lit(seconds), ColumnKind::Float)
                }
                _ => Value::new(counted, ColumnKind::Int),
            });
        };
        let value = self.value(frame, argument)?;
        let number = || value.number();
        let int = |expr| Ok(Value::new(expr, ColumnKind::Int));
        let float = |expr| Ok(Value::new(expr, ColumnKind::Float));
        let same = |expr| Ok(Value { expr, field: None, ..value.clone() });
        match aggregate.function {
            Function::Count | Function::Rate => int(only(count(value.expr.clone()))?),
            Function::CountDistinct => int(only(count_distinct(value.expr.clone()))?),
            Function::CountDistinctEstimate => {
                int(cast(only(approx_distinct(value.expr.clone()))?, DataType::Int64))
            }
            // Sums of whole numbers are exact beyond 64 bits.
            Function::Sum if value.kind == ColumnKind::Int => {
                int(only(sum(cast(value.expr.clone(), DataType::Decimal128(DIGITS, 0))))?)
            }
            Function::Sum => float(only(sum(number()))?),
            Function::Avg => float(only(avg(number()))?),
            Function::Stddev => float(only(stddev(number()))?),
            Function::Min | Function::Max => end_of(aggregate.function, &value, condition),
            Function::Quantile(part) => {
                float(only(percentile_cont(number().sort(true, false), lit(part)))?)
            }
            Function::QuantileEstimate(part) => {
                float(only(approx_percentile_cont(number().sort(true, false), lit(part), None))?)
            }
            Function::First | Function::Last => {
                let order = self.in_time(frame, aggregate.function);
                same(first_present(&value, order, condition)?)
            }
            Function::Values => {
                let text = value.text();
                let present = text.clone().is_not_null();
                let wanted = both(condition, present);
                let order = vec![text.clone().sort(true, false)];
                let all = array_agg_udaf().call(vec![text]);
                let all = all.distinct().order_by(order).filter(wanted).build()?;
                Ok(Value::new(all, ColumnKind::List))
            }
        }
    }

    /// The order in which the row that is wanted comes first: by time for records, as they are
    /// for the rows of a table.
    fn in_time(&self, frame: &Frame, function: Function) -> Vec<SortExpr> {
        let order = match &frame.rows {
            // Newest first, so that the first is the last.
            Rows::Records { record, .. } => super::newest_first(record),
            Rows::Table => frame.order.iter().map(reversed).collect(),
        };
        match function {
            Function::Last => order,
            _ => order.iter().map(reversed).collect(),
        }
    }

    /// Seconds over which rows are counted: of a bin, or of the range.
    fn seconds(&self, width: Option<i64>) -> f64 {
        let nanos = width.unwrap_or_else(|| self.span.to.0.saturating_sub(self.span.from.0));
        nanos.max(1) as f64 / SECOND as f64
    }

    /// A round width of which the range has about sixty.
    pub(super) fn round_width(&self) -> i64 {
        crate::plan::histogram::width_for(&self.span, AUTO_BINS)
    }
}

/// The least or the greatest value. A text that may be a number is compared as one.
fn end_of(function: Function, value: &Value, condition: Option<Expr>) -> Result<Value> {
    let end = if function == Function::Min { min } else { max };
    let only = |expr: Expr| match &condition {
        Some(condition) => filtered(end(expr), condition.clone()),
        None => Ok(end(expr)),
    };
    let expr = match value.texts {
        Texts::Loose => return Ok(Value::new(only(value.number())?, ColumnKind::Float)),
        Texts::Plain => only(value.expr.clone())?,
        Texts::Great => end_of_texts(&value.expr, only)?,
        Texts::Mixed => {
            let order = value.order(function == Function::Max);
            first_present(value, order, condition)?
        }
    };
    Ok(Value { expr, field: None, ..value.clone() })
}

/// The first value in an order, of the rows for which a condition holds.
fn first_present(value: &Value, order: Vec<SortExpr>, condition: Option<Expr>) -> Result<Expr> {
    let wanted = both(condition, value.expr.clone().is_not_null());
    filtered(first_value(value.expr.clone(), order), wanted)
}

fn both(condition: Option<Expr>, other: Expr) -> Expr {
    match condition {
        Some(condition) => condition.and(other),
        None => other,
    }
}

/// An aggregate of the rows for which a condition holds. DataFusion's own way to say so forgets the
/// order that the aggregate had.
fn filtered(aggregate: Expr, condition: Expr) -> Result<Expr> {
    match aggregate {
        Expr::AggregateFunction(mut called) => {
            called.params.filter = Some(Box::new(condition));
            Ok(Expr::AggregateFunction(called))
        }
        other => plan_err!("{other} is no aggregate"),
    }
}

/// Bins of a chart whose width the query leaves open.
const AUTO_BINS: u32 = 60;

fn reversed(order: &SortExpr) -> SortExpr {
    SortExpr { asc: !order.asc, ..order.clone() }
}

/// Nanoseconds of a week.
const WEEK: i64 = 604_800_000_000_000;
/// The first Monday: weeks begin there.
const MONDAY: i64 = 345_600_000_000_000;

/// The moment from which bins of a width are counted.
pub(crate) fn origin(width: i64) -> i64 {
    if width % WEEK == 0 { MONDAY } else { 0 }
}

fn bin(time: Expr, width: i64) -> Expr {
    let width_literal = ScalarValue::new_interval_mdn(0, 0, width);
    let origin = ScalarValue::TimestampNanosecond(Some(origin(width)), Some("UTC".into()));
    date_bin(lit(width_literal), time, lit(origin))
}
