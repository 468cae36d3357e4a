//! Buckets that are conditions: `filters`, `range`, `date_range`.

use model::query::Filter;
use model::time::Timestamp;
use serde_json::{Map, Value};

use super::read::{only, text};
use super::{Branch, Branches, Kind, Shape, boolean};
use crate::elastic::dates::{Dates as Reading, Edge, in_format, millis};
use crate::elastic::dsl::Reader;
use crate::elastic::range::between;
use crate::elastic::refusal::Refusal;
use crate::elastic::taken::either;
use crate::elastic::values;

/// One bucket of the records that pass a filter.
pub(super) fn one_branch(filter: Filter) -> Result<Kind, Refusal> {
    let branch = Branch { key: String::new(), filter, about: Map::new() };
    Ok(Kind::Branches(Branches { list: vec![branch], shape: Shape::One }))
}

/// The buckets of `filters`.
pub(super) fn filters(body: &Map<String, Value>, now: Timestamp) -> Result<Kind, Refusal> {
    only("filters", body, &["filters", "other_bucket", "other_bucket_key", "keyed"])?;
    let mut reader = Reader::new(now);
    let mut branch = |key: &str, query: &Value| -> Result<Branch, Refusal> {
        Ok(Branch { key: key.to_owned(), filter: reader.query(query)?, about: Map::new() })
    };
    let (mut list, mut shape) = match body.get("filters") {
        Some(Value::Object(named)) => {
            let list: Result<Vec<_>, _> =
                named.iter().map(|(key, query)| branch(key, query)).collect();
            (list?, Shape::Keyed)
        }
        Some(Value::Array(list)) => {
            let list: Result<Vec<_>, _> = list.iter().map(|query| branch("", query)).collect();
            (list?, Shape::Anonymous)
        }
        _ => return Err(Refusal::parsing("[filters] wants [filters]")),
    };
    let other = body.get("other_bucket_key").and_then(Value::as_str);
    if other.is_some() || body.get("other_bucket") == Some(&Value::Bool(true)) {
        let any = values::any(list.iter().map(|branch| branch.filter.clone()).collect());
        let key = other.unwrap_or("_other_").to_owned();
        list.push(Branch { key, filter: Filter::Not(Box::new(any)), about: Map::new() });
    }
    if shape == Shape::Keyed && body.get("keyed") == Some(&Value::Bool(false)) {
        shape = Shape::List;
    }
    Ok(Kind::Branches(Branches { list, shape }))
}

/// The buckets of `range`.
pub(super) fn ranges(body: &Map<String, Value>) -> Result<Kind, Refusal> {
    only("range", body, &["field", "ranges", "keyed"])?;
    let field = text("range", body, "field")?;
    let reading = reading(Timestamp::default(), "")?;
    let refused = || Refusal::parsing("[range] wants [ranges], a list of {from, to, key}");
    let mut list = Vec::new();
    for range in body.get("ranges").and_then(Value::as_array).ok_or_else(refused)? {
        let range = range.as_object().ok_or_else(refused)?;
        only("range", range, &["from", "to", "key"])?;
        let mut about = Map::new();
        let mut end = |name: &str| -> Result<Option<Value>, Refusal> {
            let Some(value) = range.get(name).filter(|end| !end.is_null()) else { return Ok(None) };
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let number = Value::from(number.ok_or_else(refused)?);
            about.insert(name.to_owned(), number.clone());
            Ok(Some(number))
        };
        let (from, to) = (end("from")?, end("to")?);
        let shown = |end: &Option<Value>| match end.as_ref().and_then(Value::as_f64) {
            Some(end) => format!("{end:?}"),
            None => "*".to_owned(),
        };
        let key = range.get("key").and_then(Value::as_str);
        let key = key.map_or_else(|| format!("{}-{}", shown(&from), shown(&to)), str::to_owned);
        let filter = within(field, from.as_ref(), to.as_ref(), &reading)?;
        list.push(Branch { key, filter, about });
    }
    Ok(Kind::Branches(Branches { list, shape: list_shape(body)? }))
}

fn reading(now: Timestamp, zone: &str) -> Result<Reading, Refusal> {
    Reading::new(now, zone, "")
        .ok_or_else(|| Refusal::argument(format!("[time_zone] {zone} is no time zone")))
}

/// From one end, which is inside, to another, which is not.
pub(super) fn within(
    field: &str,
    from: Option<&Value>,
    to: Option<&Value>,
    reading: &Reading,
) -> Result<Filter, Refusal> {
    let ends = (from.map(|from| (from, true)), to.map(|to| (to, false)));
    either(field, |name, role| between(name, role, ends, reading))
}

/// The buckets of `date_range`.
pub(super) fn date_ranges(body: &Map<String, Value>, now: Timestamp) -> Result<Kind, Refusal> {
    let kind = "date_range";
    only(kind, body, &["field", "ranges", "keyed", "format", "time_zone"])?;
    let field = text(kind, body, "field")?;
    let said = |name: &str| match body.get(name).filter(|value| !value.is_null()) {
        None => Ok(""),
        Some(_) => text(kind, body, name),
    };
    let (zone, format) = (said("time_zone")?, said("format")?);
    let reading = reading(now, zone)?;
    let refused =
        || Refusal::parsing("[date_range] wants [ranges], a list of {from, to, key}: times");
    let mut list = Vec::new();
    for range in body.get("ranges").and_then(Value::as_array).ok_or_else(refused)? {
        let range = range.as_object().ok_or_else(refused)?;
        only(kind, range, &["from", "to", "key"])?;
        let mut about = Map::new();
        let mut end = |name: &str| -> Result<Option<(Value, String)>, Refusal> {
            let Some(value) = range.get(name).filter(|end| !end.is_null()) else { return Ok(None) };
            let time = reading.read(value, Edge::First).ok_or_else(refused)?;
            let shown = in_format(time, format, zone);
            about.insert(name.to_owned(), (millis(time) as f64).into());
            about.insert(format!("{name}_as_string"), shown.clone().into());
            Ok(Some((time.to_string().into(), shown)))
        };
        let (from, to) = (end("from")?, end("to")?);
        let shown = |end: &Option<(Value, String)>| match end {
            Some((_, shown)) => shown.clone(),
            None => "*".to_owned(),
        };
        let key = range.get("key").and_then(Value::as_str);
        let key = key.map_or_else(|| format!("{}-{}", shown(&from), shown(&to)), str::to_owned);
        let (from, to) = (from.as_ref().map(|(time, _)| time), to.as_ref().map(|(time, _)| time));
        let filter = within(field, from, to, &reading)?;
        list.push(Branch { key, filter, about });
    }
    Ok(Kind::Branches(Branches { list, shape: list_shape(body)? }))
}

fn list_shape(body: &Map<String, Value>) -> Result<Shape, Refusal> {
    Ok(if boolean("range", body, "keyed")? { Shape::Keyed } else { Shape::List })
}
