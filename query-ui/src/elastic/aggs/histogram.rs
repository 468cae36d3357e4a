//! `date_histogram` and `histogram`: JSON → buckets that stand in a row.

use model::query::Filter;
use model::time::Timestamp;
use serde_json::{Map, Value};

use super::bounds::Bounds;
use super::branch::within;
use super::key::{Part, interval, read_bins};
use super::read::{number, only, order, text, whole};
use super::{Dates, Kind, Steps};
use crate::elastic::dates::{Dates as Reading, Edge};
use crate::elastic::names;
use crate::elastic::refusal::Refusal;

/// A `date_histogram`.
pub(super) fn dates(body: &Map<String, Value>, now: Timestamp) -> Result<Kind, Refusal> {
    let kind = "date_histogram";
    let known = [
        "field",
        "fixed_interval",
        "calendar_interval",
        "interval",
        "time_zone",
        "offset",
        "min_doc_count",
        "extended_bounds",
        "hard_bounds",
        "format",
        "keyed",
        "order",
    ];
    only(kind, body, &known)?;
    let (bins, width) = read_bins(kind, body)?;
    let reading = Reading::new(now, &bins.zone, "")
        .ok_or_else(|| Refusal::argument(format!("[time_zone] {} is no time zone", bins.zone)))?;
    // A bound stands for the bucket that holds it.
    let bounds = |name: &str| -> Result<Bounds<Timestamp>, Refusal> {
        let given = Bounds::read(body, name, |end| reading.read(end, Edge::First))?;
        Ok(given.map(bins.finder()))
    };
    let (extended, hard) = (bounds("extended_bounds")?, bounds("hard_bounds")?);
    extended.inside(&hard)?;
    let field = text(kind, body, "field")?;
    Ok(Kind::Dates(Box::new(Dates {
        part: Part::bins(field, &bins, &width)?,
        within: reach(field, hard, &reading)?,
        bins,
        count_min: whole(body, "min_doc_count", 0)?,
        bounds: extended,
        hard,
        format: body.get("format").and_then(Value::as_str).unwrap_or_default().to_owned(),
        keyed: body.get("keyed") == Some(&Value::Bool(true)),
        order: order(body.get("order"))?,
    })))
}

/// The records that can be in a bucket within hard bounds, so that no others are counted. Only of the time
/// that each record has one of is it known beforehand.
fn reach(field: &str, hard: Bounds<Timestamp>, reading: &Reading) -> Result<Filter, Refusal> {
    if names::field(field)? != "timestamp" || hard.min.is_none() && hard.max.is_none() {
        return Ok(Filter::All);
    }
    let told = |time: Timestamp| Value::from(time.to_string());
    within(field, hard.min.map(told).as_ref(), hard.max.map(told).as_ref(), reading)
}

/// A `histogram`.
pub(super) fn steps(body: &Map<String, Value>) -> Result<Kind, Refusal> {
    let kind = "histogram";
    let known = [
        "field",
        "interval",
        "offset",
        "min_doc_count",
        "extended_bounds",
        "hard_bounds",
        "keyed",
        "order",
    ];
    only(kind, body, &known)?;
    let width = interval(kind, body)?;
    // As many widths further, steps begin at the same places.
    let offset = number(kind, body, "offset")?.rem_euclid(width);
    let end = |value: &Value| {
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        number.filter(|number: &f64| number.is_finite())
    };
    let bounds = Bounds::read(body, "extended_bounds", end)?;
    let hard = Bounds::read(body, "hard_bounds", end)?;
    bounds.inside(&hard)?;
    Ok(Kind::Steps(Steps {
        part: Part::steps(text(kind, body, "field")?, width, offset)?,
        width,
        offset,
        count_min: whole(body, "min_doc_count", 0)?,
        bounds,
        hard,
        keyed: body.get("keyed") == Some(&Value::Bool(true)),
        order: order(body.get("order"))?,
    }))
}
