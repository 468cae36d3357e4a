//! The `_rest` column: values that have no column of their own, as one JSON object a row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::DataType;
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

/// The values of a `_rest` object, one by one, by their names.
pub(crate) fn values(text: &str) -> Vec<(String, FieldValue)> {
    if let Some(values) = plain_values(text) {
        return values;
    }
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

/// The same of an object as [`array()`] writes most: no list, nothing escaped, no name twice.
fn plain_values(text: &str) -> Option<Vec<(String, FieldValue)>> {
    let (mut values, mut rest) = (Vec::new(), text.strip_prefix('{')?);
    loop {
        let (name, after) = plain_text(rest)?;
        let after = after.strip_prefix(':')?;
        let (value, after) = match plain_text(after) {
            Some((text, after)) => (FieldValue::Text(text.to_owned()), after),
            None => {
                let (raw, _) = after.split_once([',', '}'])?;
                (from_json(raw)?, after.get(raw.len()..)?)
            }
        };
        values.push((name.to_owned(), value));
        if after == "}" {
            break;
        }
        rest = after.strip_prefix(',')?;
    }
    values.sort_by(|(name, _), (other, _)| name.cmp(other));
    values.is_sorted_by(|(name, _), (next, _)| name < next).then_some(values)
}

/// The text in quotes that something begins with, if nothing of it is escaped, and what follows.
fn plain_text(raw: &str) -> Option<(&str, &str)> {
    let inside = raw.strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', inside.as_bytes())?;
    let (text, rest) = inside.split_at_checked(end)?;
    Some((text, rest.strip_prefix('"')?))
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

/// Values that have no column of their own, each with its row and its name.
pub(crate) type Left<'a> = Vec<(u32, &'a str, FieldValue)>;

/// Values of a row up to which it is looked whether their names differ.
const FEW: usize = 8;

/// The column for so many rows of which some have values left.
pub(crate) fn array(count: usize, mut left: Left<'_>) -> ArrayRef {
    if left.is_empty() {
        return new_null_array(&DataType::Utf8, count);
    }
    // Of a row they stay in their order.
    left.sort_by_key(|(row, _, _)| *row);
    let (mut builder, mut text) = (StringBuilder::new(), String::new());
    let mut behind = 0;
    for values in left.chunk_by(|(row, _, _), (next, _, _)| row == next) {
        let row = values.first().map_or(0, |(row, _, _)| *row as usize);
        if row >= count {
            break;
        }
        builder.append_nulls(row - behind);
        text.clear();
        write_object(&mut text, values);
        builder.append_value(&text);
        behind = row + 1;
    }
    builder.append_nulls(count - behind);
    Arc::new(builder.finish())
}

/// Writes the object of a row's values. Most have one or two.
fn write_object(out: &mut String, values: &[(u32, &str, FieldValue)]) {
    let mut others = values;
    let mut differ = values.len() <= FEW;
    while let Some(((_, name, _), rest)) = others.split_first() {
        differ = differ && rest.iter().all(|(_, other, _)| other != name);
        others = rest;
    }
    if differ {
        for (at, (_, name, value)) in values.iter().enumerate() {
            out.push(if at == 0 { '{' } else { ',' });
            write_text(out, name);
            out.push(':');
            write_value(out, value);
        }
        out.push('}');
        return;
    }
    let mut object = Map::new();
    values.iter().for_each(|(_, name, value)| add(&mut object, name, value.clone()));
    out.push_str(&Value::Object(object).to_string());
}

fn write_value(out: &mut String, value: &FieldValue) {
    match value {
        FieldValue::Text(text) => write_text(out, text),
        FieldValue::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
        FieldValue::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        FieldValue::Float(_) => out.push_str(&to_json(value.clone()).to_string()),
    }
}

/// Writes a text in quotes.
fn write_text(out: &mut String, text: &str) {
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    if text.as_bytes().iter().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
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

    fn value() -> impl Strategy<Value = FieldValue> {
        prop_oneof![
            any::<String>().prop_map(FieldValue::Text),
            any::<i64>().prop_map(FieldValue::Int),
            any::<f64>().prop_map(FieldValue::Float),
            any::<bool>().prop_map(FieldValue::Bool),
        ]
    }

    proptest! {
        #[test]
        fn objects_are_those_that_serde_writes(
            given in prop::collection::vec((0_u32..4, "[ab\"\\\\é\t\u{7f}]{0,2}", value()), 0..20),
        ) {
            let left = given.iter().map(|(row, name, value)| (*row, name.as_str(), value.clone()));
            let column = array(5, left.collect());
            for row in 0..5_u32 {
                let mut object = Map::new();
                let own = given.iter().filter(|(of, _, _)| *of == row);
                own.for_each(|(_, name, value)| add(&mut object, name, value.clone()));
                let expected = (!object.is_empty()).then(|| Value::Object(object).to_string());
                let text = crate::columns::Values::of(&column).text(row as usize);
                prop_assert_eq!(text.as_deref(), expected.as_deref());
            }
        }

        #[test]
        fn what_is_plain_is_read_as_serde_reads_it(
            given in prop::collection::vec(("[ab]{1,2}", value()), 1..5),
        ) {
            let left = given.iter().map(|(name, value)| (0, name.as_str(), value.clone()));
            let column = array(1, left.collect());
            let text = crate::columns::Values::of(&column).text(0).unwrap();
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(&text).unwrap();
            let is_list = |raw: &&RawValue| raw.get().starts_with('[');
            if let Some(values) = plain_values(&text) {
                prop_assert!(!object.values().any(is_list));
                let of = |(name, raw): (String, &RawValue)| (name, from_json(raw.get()).unwrap());
                prop_assert_eq!(values, object.into_iter().map(of).collect::<Vec<_>>());
            } else {
                prop_assert!(text.contains('\\') || object.values().any(is_list));
            }
        }

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
