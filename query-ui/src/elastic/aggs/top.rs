//! `top_metrics`: values of a bucket's first records in an order.

use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::key::literal;
use super::read::{only, text, whole};
use crate::elastic::refusal::Refusal;
use crate::elastic::search::{Params, Search};

/// Records of one bucket, as `index.top_metrics_max_size` is everywhere.
const SIZE_MAX: u64 = 10;
/// Values of one record.
const METRICS_MAX: usize = 64;
/// As Elasticsearch writes times that stand for themselves.
const TIMES: &str = "strict_date_optional_time";

/// Values of the first records.
#[derive(Debug)]
pub(super) struct TopMetrics {
    /// What finds the records.
    pub(super) search: Box<Search>,
    /// Names of fields, with what stands in where a record has none.
    metrics: Vec<(String, Value)>,
    size: u64,
}

impl TopMetrics {
    /// What the body of a `top_metrics` says.
    pub(super) fn read(body: &Map<String, Value>, now: Timestamp) -> Result<Self, Refusal> {
        let kind = "top_metrics";
        only(kind, body, &["metrics", "sort", "size"])?;
        let size = match whole(body, "size", 1)? {
            0 => return Err(Refusal::argument("[size] must be more than 0 but was [0]")),
            size @ 1..=SIZE_MAX => size,
            size => {
                let reason = format!(
                    "[top_metrics.size] must not be more than [{SIZE_MAX}] but was [{size}]"
                );
                return Err(Refusal::argument(reason));
            }
        };
        let metrics = match body.get("metrics") {
            Some(Value::Array(list)) => list.iter().map(metric).collect::<Result<Vec<_>, _>>()?,
            Some(one) => vec![metric(one)?],
            None => Vec::new(),
        };
        if !(1..=METRICS_MAX).contains(&metrics.len()) {
            let reason = format!("[top_metrics] wants 1 to {METRICS_MAX} [metrics]");
            return Err(Refusal::argument(reason));
        }
        let names: Vec<&str> = metrics.iter().map(|(name, _)| name.as_str()).collect();
        let search = json!({
            "size": size, "sort": sort(body.get("sort"))?, "_source": false, "fields": names,
        });
        let search = Box::new(Search::read(&search, &Params::new(), None, now)?);
        Ok(Self { search, metrics, size })
    }

    /// Whether it has a figure of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.size == 1 && self.metrics.iter().any(|(known, _)| known == name)
    }

    /// What is shown of hits, which are as those of `top_hits`.
    pub(super) fn shown(&self, hits: &Value) -> Value {
        let one = |hit: &Value| {
            let value = |(name, missing): &(String, Value)| {
                let found = hit.get("fields").and_then(|fields| fields.get(name)?.get(0));
                (name.clone(), found.unwrap_or(missing).clone())
            };
            let metrics: Map<String, Value> = self.metrics.iter().map(value).collect();
            // Without ranks all are as good.
            let place = hit.get("sort").cloned().unwrap_or_else(|| json!([1.0]));
            json!({ "sort": place, "metrics": metrics })
        };
        let hits = hits.pointer("/hits/hits").and_then(Value::as_array);
        json!({ "top": hits.into_iter().flatten().map(one).collect::<Vec<_>>() })
    }
}

fn metric(given: &Value) -> Result<(String, Value), Refusal> {
    let kind = "top_metrics] [metrics";
    let object = given.as_object();
    let object = object.ok_or_else(|| Refusal::parsing(format!("[{kind}] wants {{field: …}}")))?;
    only(kind, object, &["field", "missing"])?;
    let name = text(kind, object, "field")?;
    crate::elastic::names::field(name)?;
    let missing = object.get("missing").cloned().unwrap_or_default();
    if !missing.is_null() && literal(&missing).is_none() {
        return Err(Refusal::parsing(format!("[{kind}] [missing] wants a text or a number")));
    }
    Ok((name.to_owned(), missing))
}

/// The one order, in which times are told as they are read.
fn sort(given: Option<&Value>) -> Result<Value, Refusal> {
    let refused = || Refusal::argument("[sort] must contain exactly one sort");
    let one = match given.ok_or_else(refused)? {
        Value::Array(list) if list.len() == 1 => list.first().ok_or_else(refused)?,
        Value::Array(_) => return Err(refused()),
        one => one,
    };
    let (name, mut how) = match one {
        Value::String(name) => (name, Map::new()),
        Value::Object(object) if object.len() == 1 => {
            match object.iter().next().ok_or_else(refused)? {
                (name, Value::Object(how)) => (name, how.clone()),
                (name, order) => (name, Map::from_iter([("order".to_owned(), order.clone())])),
            }
        }
        _ => return Err(refused()),
    };
    if matches!(name.as_str(), "_doc" | "_shard_doc") {
        return Err(Refusal::argument(format!("[top_metrics] cannot [sort] by [{name}]")));
    }
    how.entry("format").or_insert_with(|| TIMES.into());
    Ok(json!([{ name: how }]))
}
