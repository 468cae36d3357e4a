//! Buckets of one level, how they compare, and what stands where there are none.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::{Aggregation, Kind, show};
use crate::elastic::refusal::{Refusal, set};

/// A bucket: the keys of all levels down to it, its records, its figures and inner aggregations.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) keys: Vec<Value>,
    pub(super) count: u64,
    pub(super) values: Map<String, Value>,
}

impl Bucket {
    /// A bucket without records.
    pub(super) fn empty(keys: Vec<Value>, inner: &[Aggregation]) -> Result<Self, Refusal> {
        Ok(Self { keys, count: 0, values: nothing(inner)? })
    }

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
            "_count" => return self.count.into(),
            "_key" => return Value::Null,
            _ => {}
        }
        let (name, rest) = match self.values.get_key_value(path) {
            Some(_) => (path, ""),
            None => match path.find(['.', '[']) {
                Some(at) => {
                    (path.get(..at).unwrap_or(path), path.get(at + 1..).unwrap_or_default())
                }
                None => (path, ""),
            },
        };
        let Some(value) = self.values.get(name) else { return Value::Null };
        let rest = rest.trim_end_matches(']');
        let percent = || value.get("values")?.get(format!("{:?}", rest.parse::<f64>().ok()?));
        let found = match rest {
            "" => value.get("value").or_else(|| value.get("doc_count")),
            rest => value.get(rest).or_else(percent),
        };
        found.cloned().unwrap_or_default()
    }
}

/// What aggregations are where there are no records.
pub(super) fn nothing(aggregations: &[Aggregation]) -> Result<Map<String, Value>, Refusal> {
    let one = |aggregation: &Aggregation| {
        let value = match &aggregation.kind {
            Kind::Metric(metric) => metric.shown(&[]),
            Kind::TopHits(_) => {
                let total = json!({ "value": 0, "relation": "eq" });
                json!({ "hits": { "total": total, "max_score": null, "hits": [] } })
            }
            Kind::Branches(branches) => {
                let empty = |_: &super::Branch| Bucket::empty(Vec::new(), &aggregation.inner);
                let buckets: Result<Vec<_>, _> = branches.list.iter().map(empty).collect();
                show::branches(branches, buckets?)
            }
            _ => show::keyed(aggregation, Vec::new())?,
        };
        Ok((aggregation.name.clone(), with_meta(aggregation, value)))
    };
    aggregations.iter().map(one).collect()
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
