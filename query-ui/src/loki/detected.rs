//! `detected_fields`: which fields lines have, and about how many values each.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use model::query::Filter;
use model::record::FieldType;
use model::time::TimeRange;
use serde_json::{Map, Value, json};

use super::catalog::{question, selection};
use super::lines::{label_name, label_value};
use super::routes::{Answered, LINES_MAX, Params, run};
use crate::language::Pipe;
use crate::plan::json::Records;
use crate::plan::{Engine, Extras, FieldCount, QueryFailure, Shape};

/// Fields of an answer, where the request does not say, and at most.
const FIELDS: u64 = 1_000;
const FIELDS_MAX: u64 = 5_000;
/// The newest lines of which the values are counted (`line_limit`), where the request does not say.
const SAMPLE: u64 = 1_000;
/// Different values that are counted, of all fields together: 5,000 lines may have millions.
const VALUES_MAX: usize = 1 << 20;

/// Different values by the names of their fields.
#[derive(Debug)]
struct Values {
    by_name: BTreeMap<String, HashSet<u64>>,
    /// How many more are counted.
    left: usize,
}

impl Values {
    fn up_to(most: usize) -> Self {
        Self { by_name: BTreeMap::new(), left: most }
    }

    /// Adds the fields of a record, which are JSON.
    fn add(&mut self, fields: &str) {
        let fields = serde_json::from_str::<Map<String, Value>>(fields).unwrap_or_default();
        for (name, value) in fields {
            if self.left == 0 {
                return;
            }
            let of_field = self.by_name.entry(name).or_default();
            let mut add = |value: &Value| {
                let mut hasher = DefaultHasher::new();
                label_value(value).hash(&mut hasher);
                let is_new = of_field.insert(hasher.finish());
                self.left = self.left.saturating_sub(usize::from(is_new));
            };
            match &value {
                Value::Array(values) => values.iter().for_each(add),
                value => add(value),
            }
        }
    }

    /// How many values a field has: of one that only older lines have it is not known.
    fn count(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(1, |values| values.len().max(1))
    }
}

/// The values of the newest lines. Runs on the queries' threads.
async fn sampled(
    engine: &Engine,
    filter: Filter,
    range: TimeRange,
    lines: u64,
) -> Result<Values, QueryFailure> {
    let mut values = Values::up_to(VALUES_MAX);
    if lines == 0 {
        return Ok(values);
    }
    let mut answer = engine.ask(&question(filter, vec![Pipe::Limit(lines)], range)).await?;
    let (has_records, plain) = (matches!(answer.shape(), Shape::Records(_)), Extras::default());
    while let Some(rows) = answer.next().await? {
        let Some(records) = Records::of(&rows, &plain).filter(|_| has_records) else { continue };
        for row in 0..rows.num_rows() {
            let [.., fields] = records.texts(row);
            values.add(&fields);
        }
    }
    Ok(values)
}

fn kind(field: &FieldCount) -> &'static str {
    match field.types.as_slice() {
        [FieldType::Int] => "int",
        [FieldType::Float] | [FieldType::Int, FieldType::Float] => "float",
        [FieldType::Bool] => "boolean",
        _ => "string",
    }
}

pub(super) async fn fields(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let limit = params.limit(FIELDS, FIELDS_MAX)?;
    let lines = params.count("line_limit", SAMPLE, LINES_MAX)?;
    let filter = selection(&params)?.filter();
    let (found, values) = run(&engine, |engine| async move {
        let found = engine.fields(&question(filter.clone(), Vec::new(), range)).await?;
        Ok((found, sampled(&engine, filter, range, lines).await?))
    })
    .await?;
    let field = |field: FieldCount| {
        json!({
            "label": label_name(&field.name),
            "type": kind(&field),
            "cardinality": values.count(&field.name),
            "parsers": null,
        })
    };
    let fields = found.fields.into_iter().filter(|field| !field.label);
    let fields: Vec<Value> =
        fields.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(field).collect();
    Ok(Json(json!({ "fields": fields, "limit": limit })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_once() {
        let mut values = Values::up_to(6);
        for fields in [r#"{"a":1,"l":["x","y"]}"#, r#"{"a":"1","l":"y"}"#, r#"{"a":2}"#, "no"] {
            values.add(fields);
        }
        assert_eq!(["a", "l", "older"].map(|name| values.count(name)), [2, 2, 1]);
        // Two more, and then no more.
        for fields in [r#"{"a":3}"#, r#"{"a":4}"#, r#"{"a":5,"b":6}"#] {
            values.add(fields);
        }
        assert_eq!((values.count("a"), values.by_name.len()), (4, 2));
    }
}
