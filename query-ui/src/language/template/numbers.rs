//! Functions of templates that compute numbers. What is no number counts as 0, and so does what is divided by it.

use model::quantity::{read_duration, read_size};

use super::layout;
use super::value::{Value, whole};

/// What a function computes; `None` where it is none of numbers.
pub(super) fn computed<'a>(function: &str, given: &[Value<'a>]) -> Option<Value<'a>> {
    let first = given.first()?;
    Some(match function {
        "int" => Value::Int(first.int()),
        "float64" => Value::Float(first.float()),
        "len" => Value::Int(i64::try_from(first.count()).unwrap_or(i64::MAX)),
        "add" => of_ints(given, i64::saturating_add),
        "sub" => of_ints(given, i64::saturating_sub),
        "mul" => of_ints(given, i64::saturating_mul),
        "div" => of_ints(given, |a, b| a.checked_div(b).unwrap_or(0)),
        "mod" => of_ints(given, |a, b| a.checked_rem(b).unwrap_or(0)),
        "max" => of_ints(given, i64::max),
        "min" => of_ints(given, i64::min),
        "addf" => of_floats(given, |a, b| a + b),
        "subf" => of_floats(given, |a, b| a - b),
        "mulf" => of_floats(given, |a, b| a * b),
        "divf" => of_floats(given, |a, b| if b == 0.0 { 0.0 } else { a / b }),
        "maxf" => of_floats(given, f64::max),
        "minf" => of_floats(given, f64::min),
        "ceil" => Value::Float(first.float().ceil()),
        "floor" => Value::Float(first.float().floor()),
        "round" => Value::Float(rounded(first.float(), given.get(1).map_or(0, Value::int))),
        "bytes" => Value::Float(read_size(&first.shown()).unwrap_or_else(|| first.float())),
        "duration" | "duration_seconds" => {
            Value::Float(read_duration(&first.shown()).unwrap_or_default() / 1e9)
        }
        "unixEpoch" => Value::text(layout::nanos(first).div_euclid(1_000_000_000).to_string()),
        "unixEpochMillis" => Value::text(layout::nanos(first).div_euclid(1_000_000).to_string()),
        "unixEpochNanos" => Value::text(layout::nanos(first).to_string()),
        "unixToTime" => Value::Time(layout::from_epoch(&first.shown())),
        _ => return None,
    })
}

fn of_ints<'a>(given: &[Value<'a>], join: impl Fn(i64, i64) -> i64) -> Value<'a> {
    Value::Int(given.iter().map(Value::int).reduce(join).unwrap_or(0))
}

fn of_floats<'a>(given: &[Value<'a>], join: impl Fn(f64, f64) -> f64) -> Value<'a> {
    Value::Float(given.iter().map(Value::float).reduce(join).unwrap_or(0.0))
}

/// With so many digits behind the point.
fn rounded(number: f64, digits: i64) -> f64 {
    let digits = i32::try_from(digits.clamp(-15, 15)).unwrap_or(0);
    let scale = 10_f64.powi(digits);
    let scaled = (number * scale).round() / scale;
    if scaled.is_finite() { scaled } else { whole(number) as f64 }
}
