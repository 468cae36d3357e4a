//! Ranges: of times whole units that are written, of levels what is as bad, of others by value.

use model::query::{Bound, FieldTest, Filter, Literal};
use model::time::Timestamp;
use serde_json::{Map, Value};

use super::clause::{one_field, only, text_or};
use super::dates::{Dates, Edge};
use super::dsl::exists;
use super::levels::{self, End};
use super::refusal::Refusal;
use super::taken::{Role, either};
use super::{names, values};

/// The filter of a `range` clause.
pub(super) fn range(body: &Value, now: Timestamp) -> Result<Filter, Refusal> {
    let (name, body) = one_field("range", body)?;
    let known = [
        "gte",
        "gt",
        "lte",
        "lt",
        "from",
        "to",
        "include_lower",
        "include_upper",
        "format",
        "time_zone",
        "relation",
    ];
    let body = only("range", body, &known)?;
    let (zone, format) = (text_or(body, "time_zone")?, text_or(body, "format")?);
    let dates = Dates::new(now, zone, format)
        .ok_or_else(|| Refusal::argument(format!("[range] time_zone [{zone}] is no time zone")))?;
    let (from, to) = ends(body);
    either(name, |name, role| between(name, role, (from, to), &dates))
}

fn ends(body: &Map<String, Value>) -> (End<'_>, End<'_>) {
    let truth = |name: &str| body.get(name).and_then(Value::as_bool).unwrap_or(true);
    let (mut from, mut to) = (None, None);
    for (key, value) in body.iter().filter(|(_, value)| !value.is_null()) {
        match key.as_str() {
            "gte" => from = Some((value, true)),
            "gt" => from = Some((value, false)),
            "from" => from = Some((value, truth("include_lower"))),
            "lte" => to = Some((value, true)),
            "lt" => to = Some((value, false)),
            "to" => to = Some((value, truth("include_upper"))),
            _ => {}
        }
    }
    (from, to)
}

/// What lies between two ends; without any, all that there is.
pub(super) fn between(
    name: &str,
    role: Role,
    (from, to): (End<'_>, End<'_>),
    dates: &Dates,
) -> Result<Filter, Refusal> {
    let field = names::field(name)?;
    if from.is_none() && to.is_none() {
        return exists(name);
    }
    if field == "level" {
        return levels::between(from, to);
    }
    let dates = match role {
        Role::Named => dates.clone(),
        Role::Taken => dates.of_taken(),
    };
    let bound = |end: End<'_>, side| match end {
        None => Ok(Bound::Open),
        Some((value, inside)) => bound(&field, value, &dates, side, inside),
    };
    let (from, to) = (bound(from, Side::From)?, bound(to, Side::To)?);
    Ok(values::test(&field, FieldTest::Between { from, to }))
}

/// Which end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// An end of a range.
fn bound(
    field: &str,
    value: &Value,
    dates: &Dates,
    side: Side,
    inclusive: bool,
) -> Result<Bound, Refusal> {
    // `lte` a day holds all of it, and so does not `lt`.
    let edge = match (side, inclusive) {
        (Side::From, true) | (Side::To, false) => Edge::First,
        (Side::From, false) | (Side::To, true) => Edge::Last,
    };
    let literal = match (field, value) {
        ("timestamp" | "ingest_time", value) => {
            let time = dates.read(value, edge).ok_or_else(|| {
                Refusal::parsing(format!("failed to parse date field [{value}] of [{field}]: write 2026-01-31T12:00:00Z, now-1h or epoch milliseconds"))
            })?;
            Literal::Text(time.to_string())
        }
        (_, Value::Number(number)) => Literal::of_number(values::number(number)),
        (_, Value::String(text)) => match values::number_in(text) {
            Some(number) => Literal::of_number(number),
            None => match text.starts_with("now") || text.contains("||") {
                true => {
                    let time = dates.read(value, edge).ok_or_else(|| {
                        Refusal::parsing(format!(
                            "failed to parse date field [{text}] of [{field}]"
                        ))
                    })?;
                    Literal::Text(super::dates::shown(time))
                }
                false => Literal::Text(text.clone()),
            },
        },
        (_, Value::Bool(truth)) => Literal::Text(truth.to_string()),
        (_, other) => {
            return Err(Refusal::parsing(format!(
                "[range] of [{field}] cannot compare with {other}"
            )));
        }
    };
    Ok(if inclusive { Bound::Inclusive(literal) } else { Bound::Exclusive(literal) })
}
