//! Numbers as they are written and compared: whole ones exactly.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use model::number::{FLOAT_EXACT, Number};

use super::ColumnKind;
use super::expr::by;
use super::frame::Value;
use super::functions::Function;
use crate::language::Operator;

/// Digits of whole numbers that have more than 63 bits: all those of 64, which can be summed up.
pub(super) const DIGITS: u8 = 20;

/// Whether its values are numbers.
pub(super) fn is_number(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Int | ColumnKind::Float)
}

/// Two values as they can be compared: numbers as numbers, all else as text.
pub(super) fn alike(a: &Value, b: &Value) -> (Expr, Expr) {
    match (a.kind, b.kind) {
        (left, right) if left == right => (a.expr.clone(), b.expr.clone()),
        (left, right) if is_number(left) || is_number(right) => (a.number(), b.number()),
        _ => (a.text(), b.text()),
    }
}

/// A whole number that is no `Int64`: one of so many digits, or else a float.
pub(super) fn great(number: i128) -> Value {
    match number.unsigned_abs() < 10_u128.pow(u32::from(DIGITS)) {
        true => {
            let digits = ScalarValue::Decimal128(Some(number), DIGITS, 0);
            Value::new(lit(digits), ColumnKind::Int)
        }
        false => Value::new(lit(number as f64), ColumnKind::Float),
    }
}

/// The comparison of a text with a whole number, unless floats are exact: one of them was written and
/// is not great.
pub(super) fn exactly(operator: Operator, a: &Value, b: &Value) -> Option<Expr> {
    use ColumnKind::{Int, Text};
    let is_small = |value: &Value| {
        let written = match &value.expr {
            Expr::Literal(ScalarValue::Int64(Some(number)), _) => Some(i128::from(*number)),
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => match Number::read(text) {
                Some(Number::Whole(number)) => Some(number),
                // As floats they are compared, or not at all.
                _ => Some(0),
            },
            Expr::Literal(literal, _) if literal.is_null() => Some(0),
            _ => None,
        };
        written.is_some_and(|number| number.unsigned_abs() < FLOAT_EXACT.unsigned_abs())
    };
    let are_both = matches!((a.kind, b.kind), (Text, Int) | (Int, Text));
    (are_both && !is_small(a) && !is_small(b)).then(|| {
        let order = Function::Order.call(vec![a.expr.clone(), b.expr.clone()]);
        by(operator, order, lit(0_i64))
    })
}
