//! `typed_keys`: names of aggregations with their types before them, as typed clients read them.

use serde_json::{Map, Value};

/// Puts the types before the names in an answer to these aggregations.
pub(in crate::elastic) fn typed(asked: &Value, answer: &mut Value) {
    let (Some(asked), Value::Object(members)) = (asked.as_object(), answer) else { return };
    let mut renamed = Map::new();
    for (name, mut value) in std::mem::take(members) {
        let Some(definition) = asked.get(&name).and_then(Value::as_object) else {
            renamed.insert(name, value);
            continue;
        };
        if let Some(inner) = definition.get("aggs").or_else(|| definition.get("aggregations")) {
            match value.get_mut("buckets") {
                Some(Value::Array(buckets)) => {
                    buckets.iter_mut().for_each(|bucket| typed(inner, bucket));
                }
                Some(Value::Object(buckets)) => {
                    buckets.values_mut().for_each(|bucket| typed(inner, bucket));
                }
                _ => typed(inner, &mut value),
            }
        }
        let is_kind = |kind: &&String| !matches!(kind.as_str(), "aggs" | "aggregations" | "meta");
        let kind = definition.keys().find(is_kind).map_or("", String::as_str);
        renamed.insert(format!("{}#{name}", type_of(kind, &value)), value);
    }
    *members = renamed;
}

fn type_of<'a>(kind: &'a str, value: &Value) -> &'a str {
    match kind {
        "percentiles" => "tdigest_percentiles",
        "cumulative_sum" | "moving_avg" | "moving_fn" | "serial_diff" | "bucket_script" => {
            "simple_value"
        }
        "terms" => match value.pointer("/buckets/0/key") {
            None => "umterms",
            Some(Value::Number(number)) if number.is_f64() => "dterms",
            Some(Value::Number(_)) => "lterms",
            Some(_) => "sterms",
        },
        kind => kind,
    }
}
