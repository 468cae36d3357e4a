//! Buckets of one level, how they compare, and what stands where there are none.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::{Aggregation, GAPS_MAX, Kind, Shape, show};
use crate::elastic::refusal::{Refusal, set};

/// A bucket: the keys of all levels down to it, its records, its figures and inner aggregations.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) keys: Vec<Value>,
    pub(super) count: u64,
    pub(super) values: Map<String, Value>,
}

impl Bucket {
    /// As it is shown: what stands before its count, the count, and what is in it.
    pub(super) fn shown(self, before: Map<String, Value>) -> Value {
        let mut shown = before;
        shown.insert("doc_count".to_owned(), self.count.into());
        shown.extend(self.values);
        Value::Object(shown)
    }

    /// The value by which an order's path goes.
    fn at(&self, path: &str) -> Value {
        match path {
            "_count" => self.count.into(),
            "_key" => Value::Null,
            path => value_at(&self.values, path).unwrap_or_default(),
        }
    }
}

/// How many buckets may still be added where there are no records, for all the buckets around together.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    /// Of which nothing is taken yet.
    pub(super) fn whole() -> Self {
        Self(GAPS_MAX)
    }

    fn take(&mut self, count: usize) -> Result<(), Refusal> {
        self.0 = self.0.checked_sub(count).ok_or_else(|| Refusal::buckets(GAPS_MAX))?;
        Ok(())
    }
}

/// Buckets without records: all have the same in them, which may be buckets again.
#[derive(Debug)]
pub(super) struct Empty {
    values: Map<String, Value>,
    /// How many buckets without records are in each.
    held: usize,
}

impl Empty {
    /// Of these aggregations.
    pub(super) fn of(inner: &[Aggregation]) -> Result<Self, Refusal> {
        let values = nothing(inner)?;
        let held = held(inner, &values);
        Ok(Self { values, held })
    }

    /// One that stands in a gap, which takes a place as well.
    pub(super) fn in_gap(&self, key: Value, room: &mut Room) -> Result<Bucket, Refusal> {
        room.take(1)?;
        Ok(Bucket { keys: vec![key], ..self.bucket(room)? })
    }

    /// One that is there anyway.
    pub(super) fn bucket(&self, room: &mut Room) -> Result<Bucket, Refusal> {
        room.take(self.held)?;
        Ok(Bucket { keys: Vec::new(), count: 0, values: self.values.clone() })
    }
}

/// How many buckets of histograms there are among such values.
fn held(inner: &[Aggregation], values: &Map<String, Value>) -> usize {
    let one = |aggregation: &Aggregation| {
        let Some(Value::Object(value)) = values.get(&aggregation.name) else { return 0 };
        let of = |bucket: &Value| {
            bucket.as_object().map_or(0, |values| held(&aggregation.inner, values))
        };
        let each = match &aggregation.kind {
            Kind::Dates(_) | Kind::Steps(_) => 1,
            Kind::Branches(branches) if branches.shape == Shape::One => {
                return held(&aggregation.inner, value);
            }
            _ => 0,
        };
        match value.get("buckets") {
            Some(Value::Array(list)) => list.iter().map(|bucket| each + of(bucket)).sum(),
            Some(Value::Object(named)) => named.values().map(|bucket| each + of(bucket)).sum(),
            _ => 0_usize,
        }
    };
    inner.iter().map(one).sum()
}

/// A value of the first record of a `top_metrics`.
fn first<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.pointer("/top/0/metrics")?.get(name)
}

/// The value at a path of one name among figures: `name`, `name.part`, `name[part]`; `None` where none
/// has the name.
pub(super) fn value_at(values: &Map<String, Value>, path: &str) -> Option<Value> {
    let (name, rest) = match values.get_key_value(path) {
        Some(_) => (path, ""),
        None => match path.find(['.', '[']) {
            Some(at) => (path.get(..at).unwrap_or(path), path.get(at + 1..).unwrap_or_default()),
            None => (path, ""),
        },
    };
    let value = values.get(name)?;
    let rest = rest.trim_end_matches(']');
    let percent = || {
        let percent = rest.parse::<f64>().ok()?;
        match value.get("values")? {
            Value::Array(list) => {
                let is_it = |one: &&Value| one.get("key").and_then(Value::as_f64) == Some(percent);
                list.iter().find(is_it)?.get("value")
            }
            named => named.get(format!("{percent:?}")),
        }
    };
    let found = match rest {
        "" => value.get("value").or_else(|| value.get("doc_count")),
        "std_upper" => value.pointer("/std_deviation_bounds/upper"),
        "std_lower" => value.pointer("/std_deviation_bounds/lower"),
        rest => value.get(rest).or_else(percent).or_else(|| first(value, rest)),
    };
    Some(found.cloned().unwrap_or_default())
}

/// What aggregations are where there are no records.
pub(super) fn nothing(aggregations: &[Aggregation]) -> Result<Map<String, Value>, Refusal> {
    // What is made of figures of a row of buckets is added to that.
    let is_own = |aggregation: &&Aggregation| !matches!(aggregation.kind, Kind::Pipeline(_));
    let one = |aggregation: &Aggregation| {
        let value = match &aggregation.kind {
            Kind::Metric(metric) => metric.shown(&[], &[]),
            Kind::TopMetrics(top) => top.shown(&Value::Null),
            Kind::TopHits(_) => {
                let total = json!({ "value": 0, "relation": "eq" });
                json!({ "hits": { "total": total, "max_score": null, "hits": [] } })
            }
            Kind::Branches(branches) => {
                let (empty, mut room) = (Empty::of(&aggregation.inner)?, Room::whole());
                let empty = |_: &super::Branch| empty.bucket(&mut room);
                let buckets: Result<Vec<_>, _> = branches.list.iter().map(empty).collect();
                show::branches(branches, buckets?, &aggregation.inner)
            }
            _ => show::keyed(aggregation, Vec::new(), &mut Room::whole())?,
        };
        Ok((aggregation.name.clone(), with_meta(aggregation, value)))
    };
    aggregations.iter().filter(is_own).map(one).collect()
}

/// With what the request said about it.
pub(super) fn with_meta(aggregation: &Aggregation, mut value: Value) -> Value {
    if let Some(meta) = &aggregation.meta {
        set(&mut value, "meta", meta.clone());
    }
    value
}

/// Numbers by size, texts by code point, what is missing last.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

/// Puts buckets in an order; equal ones come by their keys.
pub(super) fn sort(buckets: &mut [Bucket], order: &[(String, bool)]) {
    let by_keys = |a: &Bucket, b: &Bucket| {
        let pairs = a.keys.iter().zip(&b.keys);
        pairs.map(|(a, b)| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    buckets.sort_by(|a, b| {
        for (path, descending) in order {
            let (left, right) = (a.at(path), b.at(path));
            let found = match path.as_str() {
                "_key" => by_keys(a, b),
                _ => compare(&left, &right),
            };
            let has_both = path == "_key" || !(left.is_null() || right.is_null());
            let found = if *descending && has_both { found.reverse() } else { found };
            if found.is_ne() {
                return found;
            }
        }
        by_keys(a, b)
    });
}
