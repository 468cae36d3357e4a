//! Comparisons with times: of moments, and of texts that read as one.

use datafusion::common::{Result, plan_err};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, lit};
use model::time::{Period, Timestamp};

use super::ColumnKind;
use super::expr::by;
use super::frame::{Value, nanos};
use super::functions::Function;
use crate::language::{Expr as Given, Operator, read_period};

/// A comparison of times, if it is one. What was written names all of a day, or of what else it says.
pub(super) fn compared(
    operator: Operator,
    a: &Value,
    (b, right): (&Value, &Given),
) -> Result<Option<Expr>> {
    let period = match (a.kind, right) {
        (ColumnKind::Time, Given::Text(text)) => match read_period(text) {
            Some(period) => Some(period),
            None => {
                return plan_err!("{text:?} is no time: write 2026-01-31 or 2026-01-31T23:59:59Z");
            }
        },
        (ColumnKind::Time, Given::Int(number)) => {
            let never = Period::of(Timestamp::MAX, 1);
            Some(Period::from_epoch(*number).unwrap_or(never))
        }
        (ColumnKind::Text, Given::Text(text)) => Period::read(text),
        _ => None,
    };
    Ok(match (period, a.kind, b.kind) {
        (Some(period), ColumnKind::Time, _) => {
            Some(beside(operator, &nanos(a.expr.clone()), period))
        }
        (Some(period), _, _) => {
            let texts = by(operator, a.text(), b.text());
            Some(coalesce(vec![beside(operator, &read(a), period), texts]))
        }
        (None, ColumnKind::Time, ColumnKind::Text) => {
            Some(by(operator, nanos(a.expr.clone()), read(b)))
        }
        (None, ColumnKind::Text, ColumnKind::Time) => {
            Some(by(operator, read(a), nanos(b.expr.clone())))
        }
        _ => None,
    })
}

/// The moment of a text; none where it is no time.
fn read(text: &Value) -> Expr {
    Function::Moment.call(vec![text.expr.clone()])
}

/// Whether a moment lies so beside all moments of a period.
fn beside(operator: Operator, moment: &Expr, period: Period) -> Expr {
    let moment = moment.clone();
    let (first, last) = (lit(period.first.0), lit(period.last.0));
    match operator {
        Operator::Less => moment.lt(first),
        Operator::LessEqual => moment.lt_eq(last),
        Operator::Greater => moment.gt(last),
        Operator::GreaterEqual => moment.gt_eq(first),
        _ => moment.clone().gt_eq(first).and(moment.lt_eq(last)),
    }
}
