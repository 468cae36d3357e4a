//! Conditions of a plan as a filter of its scan, as far as one can say them: `where`, and SQL's WHERE.
//!
//! What a condition becomes lets pass at least what the condition does, and indexes and statistics
//! leave out the rest unread; the plan keeps the condition and says exactly. A column holds the first
//! value of a field, a filter is content with any of them.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use index::scan::Column;
use model::level::Level;
use model::number::Number;
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use model::record::FieldType;
use model::text::fold_text;
use model::time::Timestamp;

use super::lower::Function;
use super::table::Source;

/// Values of a list that is worth looking up.
const LIST_MAX: usize = 256;

/// What lets pass all that the condition does; `None` where nothing can be said. `source` tells what
/// the scan's column of a name is.
pub(super) fn implied<'a>(
    condition: &Expr,
    source: &dyn Fn(&str) -> Option<&'a Source>,
) -> Option<Filter> {
    match condition {
        Expr::Alias(alias) => implied(&alias.expr, source),
        Expr::IsTrue(inner) => implied(inner, source),
        // So `where` says that what has no value does not hold.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right })
            if matches!(&**right, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) =>
        {
            implied(left, source)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let parts = [implied(left, source), implied(right, source)];
            let mut parts: Vec<Filter> = parts.into_iter().flatten().collect();
            if parts.len() > 1 { Some(Filter::And(parts)) } else { parts.pop() }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(Filter::Or(vec![implied(left, source)?, implied(right, source)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            compared(left, *op, right, source).or_else(|| compared(right, op.swap()?, left, source))
        }
        Expr::InList(list) if !list.negated && list.list.len() <= LIST_MAX => {
            let one = |value: &Expr| compared(&list.expr, Operator::Eq, value, source);
            list.list.iter().map(one).collect::<Option<Vec<_>>>().map(Filter::Or)
        }
        Expr::ScalarFunction(call) => {
            let text = match Function::of(&call.func)? {
                Function::Matches(pattern) => TextMatch::Regex(pattern.clone()),
                Function::InNetwork(address, prefix) => {
                    TextMatch::Network { address: *address, prefix: *prefix }
                }
                _ => return None,
            };
            let (name, kind) = text_of(column(call.args.first()?, source)?)?;
            (kind == FieldType::Text).then(|| field(name, FieldTest::Matches(text)))
        }
        _ => None,
    }
}

/// What a comparison of a column with a literal implies.
fn compared<'a>(
    value: &Expr,
    operator: Operator,
    literal: &Expr,
    source: &dyn Fn(&str) -> Option<&'a Source>,
) -> Option<Filter> {
    let Expr::Literal(literal, _) = literal else { return None };
    if let Expr::ScalarFunction(call) = value {
        let severity = Function::of(&call.func) == Some(&Function::LevelName)
            && column(call.args.first()?, source) == Some(&Source::Severity);
        let level = Level::from_word(text(literal)?)?;
        return levels(|one| one == level).filter(|_| severity && operator == Operator::Eq);
    }
    match column(value, source)? {
        Source::Stored(Column::Timestamp) => moment(operator, literal),
        Source::Severity => {
            let number = literal.cast_to(&DataType::Float64).ok()?;
            let ScalarValue::Float64(Some(number)) = number else { return None };
            let is_exact = literal.data_type().is_integer();
            let operator = if is_exact { operator } else { loose(operator)? };
            levels(|one| holds(f64::from(one.number()), operator, number))
                .filter(|_| number.is_finite())
        }
        column => {
            let (name, kind) = text_of(column)?;
            match kind {
                FieldType::Text => same_text(name, operator, text(literal)?),
                FieldType::Int | FieldType::Float => number(name, operator, literal),
                FieldType::Bool => None,
            }
        }
    }
}

/// What a column is, under casts that leave its values what they are.
fn column<'a>(value: &Expr, source: &dyn Fn(&str) -> Option<&'a Source>) -> Option<&'a Source> {
    match value {
        Expr::Column(column) => source(&column.name),
        Expr::Cast(cast) => {
            let inner = column(&cast.expr, source)?;
            keeps_values(inner, cast.field.data_type()).then_some(inner)
        }
        _ => None,
    }
}

/// Whether numbers of a column are the same in another type, as far as a filter tells them apart: 5.7
/// becomes 5 as a whole number, and in few bits or digits others become one.
fn keeps_values(column: &Source, to: &DataType) -> bool {
    match column {
        Source::Stored(Column::Field { kind: FieldType::Int, .. }) | Source::Severity => {
            to.is_integer() || *to == DataType::Float64
        }
        Source::Stored(Column::Field { kind: FieldType::Float, .. }) => *to == DataType::Float64,
        _ => false,
    }
}

/// How a number compares with a bound that may have been rounded: the bound itself may be inside.
fn loose(operator: Operator) -> Option<Operator> {
    Some(match operator {
        Operator::Lt => Operator::LtEq,
        Operator::Gt => Operator::GtEq,
        Operator::NotEq => return None,
        other => other,
    })
}

/// The name under which a filter finds the values of a column, and their type.
fn text_of(column: &Source) -> Option<(&str, FieldType)> {
    match column {
        Source::Stored(Column::Field { name, kind }) => Some((name, *kind)),
        Source::Stored(Column::Message) => Some(("message", FieldType::Text)),
        Source::Stored(Column::Index) => Some(("index", FieldType::Text)),
        _ => None,
    }
}

fn field(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

fn text(literal: &ScalarValue) -> Option<&str> {
    literal.try_as_str().flatten()
}

/// A text that is the same has the same words.
fn same_text(name: &str, operator: Operator, text: &str) -> Option<Filter> {
    let phrase = fold_text(text).into_owned();
    let test = FieldTest::Matches(TextMatch::Phrase(phrase));
    (operator == Operator::Eq && !text.trim().is_empty()).then(|| field(name, test))
}

fn number(name: &str, operator: Operator, literal: &ScalarValue) -> Option<Filter> {
    if literal.data_type().is_integer() {
        // Its digits.
        let whole = Number::read(&literal.to_string())?;
        return between(name, operator, Literal::of_number(whole));
    }
    let ScalarValue::Float64(Some(number)) = literal.cast_to(&DataType::Float64).ok()? else {
        return None;
    };
    between(name, operator, Literal::Number(number)).filter(|_| number.is_finite())
}

fn moment(operator: Operator, literal: &ScalarValue) -> Option<Filter> {
    let ScalarValue::TimestampNanosecond(Some(nanos), _) = literal else { return None };
    between("timestamp", operator, Literal::Text(Timestamp(*nanos).to_string()))
}

/// The bound itself may be inside: the plan says exactly.
fn between(name: &str, operator: Operator, literal: Literal) -> Option<Filter> {
    let at = Bound::Inclusive(literal);
    let (from, to) = match operator {
        Operator::Eq => (at.clone(), at),
        Operator::Gt | Operator::GtEq => (at, Bound::Open),
        Operator::Lt | Operator::LtEq => (Bound::Open, at),
        _ => return None,
    };
    Some(field(name, FieldTest::Between { from, to }))
}

/// The levels of which something holds; records without one are not found by it.
fn levels(is_meant: impl Fn(Level) -> bool) -> Option<Filter> {
    if is_meant(Level::Unknown) {
        return None;
    }
    let level = |level: Level| {
        let at = Bound::Inclusive(Literal::Text(level.name().to_owned()));
        field("level", FieldTest::Between { from: at.clone(), to: at })
    };
    Some(Filter::Or(Level::ALL.into_iter().filter(|one| is_meant(*one)).map(level).collect()))
}

fn holds(number: f64, operator: Operator, other: f64) -> bool {
    match operator {
        Operator::Eq => number == other,
        Operator::NotEq => number != other,
        Operator::Gt => number > other,
        Operator::GtEq => number >= other,
        Operator::Lt => number < other,
        Operator::LtEq => number <= other,
        // Not a comparison that is known here: everything may pass.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    /// Whether a condition on `took` (a float), `n` (a whole number) or `severity` is looked up.
    #[track_caller]
    fn check(condition: &Expr, expected: bool) {
        let field =
            |name: &str, kind| Source::Stored(Column::Field { name: name.to_owned(), kind });
        let (took, n) = (field("took", FieldType::Float), field("n", FieldType::Int));
        let severity = Source::Severity;
        let source = |name: &str| match name {
            "took" => Some(&took),
            "n" => Some(&n),
            "severity" => Some(&severity),
            _ => None,
        };
        assert_eq!(implied(condition, &source).is_some(), expected, "{condition}");
    }

    #[test]
    fn only_casts_that_change_no_value_are_looked_through() {
        let took = |to| cast(col("took"), to);
        check(&col("took").eq(lit(5.5)), true);
        check(&took(DataType::Float64).eq(lit(5.5)), true);
        check(&took(DataType::Int64).eq(lit(5_i64)), false);
        check(&took(DataType::Int64).lt_eq(lit(5_i64)), false);
        check(&took(DataType::Float32).eq(lit(5.5_f32)), false);
        check(&took(DataType::Decimal128(10, 0)).gt_eq(lit(-5_i64)), false);
        let n = |to| cast(col("n"), to);
        check(&n(DataType::Int32).eq(lit(5_i32)), true);
        check(&n(DataType::Float64).lt(lit(5.5)), true);
        check(&n(DataType::Float32).eq(lit(5.5_f32)), false);
        check(&n(DataType::Decimal128(10, -2)).eq(lit(100_i64)), false);
        check(&cast(took(DataType::Int64), DataType::Float64).eq(lit(5.0)), false);
    }

    #[test]
    fn great_whole_numbers_are_looked_up_exactly() {
        let column = Source::Stored(Column::Field { name: "n".to_owned(), kind: FieldType::Int });
        let source = |_: &str| Some(&column);
        let odd = (1_i64 << 53) + 1;
        let at = Bound::Inclusive(Literal::Whole(odd.into()));
        let test = FieldTest::Between { from: at.clone(), to: at };
        let expected = Some(field("n", test));
        assert_eq!(implied(&col("n").eq(lit(odd)), &source), expected);
        assert!(implied(&col("n").in_list(vec![lit(odd)], false), &source).is_some());
        let at = Bound::Inclusive(Literal::Whole(u64::MAX.into()));
        let test = FieldTest::Between { from: at, to: Bound::Open };
        let expected = Some(field("n", test));
        assert_eq!(implied(&col("n").gt(lit(u64::MAX)), &source), expected);
        // As floats both of them are, and so the filter compares.
        let at = Bound::Inclusive(Literal::Number(odd as f64));
        let test = FieldTest::Between { from: Bound::Open, to: at };
        let expected = Some(field("n", test));
        let float = cast(col("n"), DataType::Float64);
        assert_eq!(implied(&float.lt(lit(odd as f64)), &source), expected);
    }

    #[test]
    fn severities_are_compared_with_what_is_no_whole_number() {
        let severity = || cast(col("severity"), DataType::Float64);
        // The level of what has none, 0, is among them.
        check(&severity().gt(lit(-0.5)), false);
        check(&severity().not_eq(lit(0.5)), false);
        check(&severity().lt(lit(3.5)), false);
        check(&severity().gt(lit(2.5)), true);
        check(&col("severity").gt(lit(2_i64)), true);
        let column = Source::Severity;
        let source = |_: &str| Some(&column);
        let above = implied(&severity().gt(lit(4.5)), &source);
        assert_eq!(above, implied(&col("severity").gt_eq(lit(5_i64)), &source));
    }
}
