//! The `_rest` column: values that have no column of their own, as one JSON object a row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray, StringBuilder};
use model::record::FieldValue;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::schema::{FieldColumnId, REST, value_at};

/// Adds a value under a name; a second one makes a list.
pub(crate) fn add(object: &mut Map<String, Value>, name: &str, value: FieldValue) {
    let value = to_json(value);
    match object.get_mut(name) {
        None => {
            object.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(other) => *other = Value::Array(vec![other.take(), value]),
    }
}

/// A value as JSON; numbers that JSON cannot hold as text.
pub(crate) fn to_json(value: FieldValue) -> Value {
    match value {
        FieldValue::Text(text) => Value::String(text),
        FieldValue::Int(number) => number.into(),
        FieldValue::Float(number) => match serde_json::Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => Value::String(number.to_string()),
        },
        FieldValue::Bool(truth) => truth.into(),
    }
}

/// The values of a `_rest` object, one by one.
pub(crate) fn values(text: &str) -> Vec<(String, FieldValue)> {
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let mut values = Vec::new();
    for (name, raw) in object {
        if raw.get().starts_with('[') {
            let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            let list = list.into_iter().filter_map(|raw| from_json(raw.get()));
            values.extend(list.map(|value| (name.clone(), value)));
        } else {
            values.extend(from_json(raw.get()).map(|value| (name, value)));
        }
    }
    values
}

/// A value from its JSON. Numbers are read by Rust, which gives back exactly what was written.
fn from_json(raw: &str) -> Option<FieldValue> {
    Some(match raw.bytes().next()? {
        b'"' => FieldValue::Text(serde_json::from_str(raw).ok()?),
        b't' | b'f' => FieldValue::Bool(raw.parse().ok()?),
        _ => match raw.parse() {
            Ok(number) => FieldValue::Int(number),
            Err(_) => FieldValue::Float(raw.parse().ok()?),
        },
    })
}

/// The column for rows of which some have an object.
pub(crate) fn array(count: usize, mut objects: HashMap<u32, Map<String, Value>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for row in 0..count {
        let object = u32::try_from(row).ok().and_then(|row| objects.remove(&row));
        builder.append_option(object.map(|object| Value::Object(object).to_string()));
    }
    Arc::new(builder.finish())
}

/// The rows' `_rest` with the values of some of their columns added.
pub(crate) fn with(rows: &RecordBatch, columns: &[usize]) -> ArrayRef {
    let rest = rows.column_by_name(REST);
    let present = |at: &&usize| rows.column(**at).null_count() < rows.num_rows();
    let columns: Vec<usize> = columns.iter().filter(present).copied().collect();
    if let (true, Some(rest)) = (columns.is_empty(), rest) {
        return rest.clone();
    }
    let schema = rows.schema();
    let names: Vec<String> = columns
        .iter()
        .map(|at| FieldColumnId::of(schema.field(*at)).map(|id| id.name).unwrap_or_default())
        .collect();
    let old = rest.and_then(|rest| rest.as_any().downcast_ref::<StringArray>());
    let mut builder = StringBuilder::new();
    for row in 0..rows.num_rows() {
        let text = old.filter(|old| old.is_valid(row)).map(|old| old.value(row));
        let mut object = Map::new();
        // What has a column comes before what has none: it is the first of several values.
        for (at, name) in columns.iter().zip(&names) {
            if let Some(value) = value_at(rows, *at, row) {
                add(&mut object, name, value);
            }
        }
        for (name, value) in text.map(values).unwrap_or_default() {
            add(&mut object, &name, value);
        }
        builder.append_option((!object.is_empty()).then(|| Value::Object(object).to_string()));
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_keeps_every_type_and_the_order() {
        let given = [
            FieldValue::Text("[1".to_owned()),
            FieldValue::Int(i64::MIN),
            FieldValue::Float(2.0),
            FieldValue::Bool(true),
        ];
        let mut object = Map::new();
        given.iter().for_each(|value| add(&mut object, "a", value.clone()));
        let read = values(&Value::Object(object).to_string());
        assert_eq!(read.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), given);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(text in any::<String>(), int in any::<i64>(), float in any::<f64>()) {
            let mut given = vec![FieldValue::Text(text.clone()), FieldValue::Int(int)];
            given.extend(float.is_finite().then_some(FieldValue::Float(float)));
            for value in given {
                let mut object = Map::new();
                add(&mut object, &text, value.clone());
                prop_assert_eq!(values(&Value::Object(object).to_string()), [(text.clone(), value)]);
            }
        }
    }
}
