//! Numbers as they are written and compared: whole ones exactly.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, cast, lit};
use model::number::{FLOAT_EXACT, Number};

use super::ColumnKind;
use super::expr::by;
use super::frame::Value;
use super::functions::Function;
use crate::language::Operator;

/// Digits of whole numbers that have more than 63 bits: all those of 64, which can be summed up.
pub(super) const DIGITS: u8 = 20;

/// Digits of whole numbers that are told apart where texts are put in order.
pub(super) const WHOLE_DIGITS: u8 = 38;

/// Whole numbers of texts; none where a text is another one, or has too many digits.
pub(super) fn wholes(texts: &StringArray, is_wanted: fn(i128) -> bool) -> Result<ArrayRef> {
    let bound = 10_u128.pow(u32::from(WHOLE_DIGITS));
    let whole = |text: Option<&str>| {
        let number: i128 = text?.trim().parse().ok()?;
        (number.unsigned_abs() < bound && is_wanted(number)).then_some(number)
    };
    let numbers: Decimal128Array = texts.iter().map(whole).collect();
    Ok(Arc::new(numbers.with_precision_and_scale(WHOLE_DIGITS, 0)?))
}

/// Whether a number has more than 63 bits, so that it is kept as a text.
pub(super) fn is_great(number: i128) -> bool {
    i64::try_from(number).is_err()
}

/// The least or the greatest of texts, by an aggregate: of whole numbers beyond 63 bits where there are some.
pub(super) fn end_of_texts(text: &Expr, end: impl Fn(Expr) -> Result<Expr>) -> Result<Expr> {
    let great = end(Function::Great.call(vec![text.clone()]))?;
    Ok(coalesce(vec![cast(great, DataType::Utf8), end(text.clone())?]))
}

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

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Decimal128Type;

    use super::*;

    #[test]
    fn whole_numbers_are_read_out_of_texts() {
        let given = ["5", " -7 ", "18446744073709551615", "9223372036854775807", "1.5", "x", ""];
        let texts = StringArray::from_iter_values(given);
        let read = |is_wanted: fn(i128) -> bool| {
            let numbers = wholes(&texts, is_wanted).unwrap();
            numbers.as_primitive::<Decimal128Type>().iter().collect::<Vec<Option<i128>>>()
        };
        let most = Some(i128::from(u64::MAX));
        let whole = [Some(5), Some(-7), most, Some(i128::from(i64::MAX)), None, None, None];
        assert_eq!(read(|_| true), whole);
        assert_eq!(read(is_great), [None, None, most, None, None, None, None]);
        let long = StringArray::from_iter_values(["9".repeat(38), "9".repeat(39), "9".repeat(60)]);
        assert_eq!(wholes(&long, is_great).unwrap().null_count(), 2);
    }
}
