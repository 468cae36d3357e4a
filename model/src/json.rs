//! JSON object → record: nested fields flat, time, message and level by the names people use.

use serde_json::{Map, Value};

use crate::level::Level;
use crate::limits::{FIELD_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};
use crate::record::{FieldValue, KEPT_FIELD, POISON_FIELD, Record};
use crate::text::{cut, keep_text};
use crate::time::Timestamp;

/// Names of the time, in order of preference.
pub const TIME_NAMES: [&str; 6] = ["timestamp", "@timestamp", "time", "ts", "_time", "eventTime"];
/// Names of the message, in order of preference.
pub const MESSAGE_NAMES: [&str; 6] = ["message", "msg", "_msg", "log", "body", "event"];
/// Names of the level, in order of preference.
pub const LEVEL_NAMES: [&str; 5] = ["level", "severity", "lvl", "loglevel", "log.level"];

/// Why a line of JSON is no structured record. It is stored as text all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
    /// Too many fields, a name too long, or nested too deep.
    #[error("{0}")]
    Bound(String),
}

/// Reads one JSON object. The message is the first of [`MESSAGE_NAMES`] that is text, else the
/// line itself; lists become one field per element under one name, null is nothing.
///
/// # Errors
/// Why the line is no structured record; the caller keeps it as text ([`poisoned`]).
pub fn record(line: &[u8]) -> Result<Record, JsonError> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| JsonError::Syntax(error.to_string()))?;
    let Value::Object(mut object) = value else { return Err(JsonError::NotObject) };
    let mut record = Record { timestamp: take_time(&mut object), ..Record::default() };
    let level = take_level(&mut object);
    match take_message(&mut object) {
        Some(message) => record.message = message,
        None => keep_text(line).0.trim().clone_into(&mut record.message),
    }
    record.level = level.unwrap_or_else(|| Level::detect(&record.message));
    flatten(&mut record.fields, "", object, 1)?;
    bound_message(&mut record);
    Ok(record)
}

/// The record that keeps a line which could not be read, with the reason.
#[must_use]
pub fn poisoned(line: &[u8], reason: &str) -> Record {
    let mut record = plain(line);
    record.fields.push((POISON_FIELD.to_owned(), FieldValue::Text(reason.to_owned())));
    record
}

/// The record of a line taken as plain text: level as stated, bytes that are no text escaped,
/// an over-long message cut and marked.
#[must_use]
pub fn plain(line: &[u8]) -> Record {
    let (text, escaped) = keep_text(line);
    let mut record =
        Record { level: Level::detect(&text), message: text.into_owned(), ..Record::default() };
    if escaped {
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("escaped".to_owned())));
    }
    bound_message(&mut record);
    record
}

fn bound_message(record: &mut Record) {
    let bytes = record.message.len();
    if bytes > MESSAGE_BYTES_MAX {
        record.message.truncate(cut(&record.message, MESSAGE_BYTES_MAX).len());
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        record.fields.push(("_bytes".to_owned(), FieldValue::Int(bytes)));
    }
}

fn take_time(object: &mut Map<String, Value>) -> Option<Timestamp> {
    let (name, moment) = TIME_NAMES.iter().find_map(|name| {
        let moment = match object.get(*name)? {
            Value::String(text) => Timestamp::parse(text),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Timestamp::from_epoch(number),
                None => number.as_f64().and_then(Timestamp::from_epoch_float),
            },
            _ => None,
        };
        moment.map(|moment| (*name, moment))
    })?;
    object.shift_remove(name);
    Some(moment)
}

fn take_level(object: &mut Map<String, Value>) -> Option<Level> {
    let (name, level) = LEVEL_NAMES.iter().find_map(|name| {
        let level = match object.get(*name)? {
            Value::String(text) => Level::from_word(text),
            Value::Number(number) => number.as_i64().and_then(Level::from_json_number),
            _ => None,
        };
        level.map(|level| (*name, level))
    })?;
    object.shift_remove(name);
    Some(level)
}

fn take_message(object: &mut Map<String, Value>) -> Option<String> {
    let name =
        MESSAGE_NAMES.iter().find(|name| object.get(**name).is_some_and(Value::is_string))?;
    match object.shift_remove(*name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn flatten(
    fields: &mut Vec<(String, FieldValue)>,
    prefix: &str,
    object: Map<String, Value>,
    depth: usize,
) -> Result<(), JsonError> {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        push(fields, name, value, depth)?;
    }
    Ok(())
}

fn push(
    fields: &mut Vec<(String, FieldValue)>,
    name: String,
    value: Value,
    depth: usize,
) -> Result<(), JsonError> {
    if depth > RECORD_DEPTH_MAX {
        return Err(JsonError::Bound(format!("nested deeper than {RECORD_DEPTH_MAX}")));
    }
    if name.len() > FIELD_NAME_BYTES_MAX {
        return Err(JsonError::Bound(format!("a field name is over {FIELD_NAME_BYTES_MAX} bytes")));
    }
    let value = match value {
        Value::Null => return Ok(()),
        Value::Object(object) => return flatten(fields, &name, object, depth + 1),
        Value::Array(values) => {
            return values
                .into_iter()
                .try_for_each(|value| push(fields, name.clone(), value, depth + 1));
        }
        Value::Bool(truth) => FieldValue::Bool(truth),
        Value::String(text) => FieldValue::Text(text),
        Value::Number(number) => match number.as_i64() {
            Some(number) => FieldValue::Int(number),
            None => FieldValue::Float(number.as_f64().unwrap_or_default()),
        },
    };
    if fields.len() >= RECORD_FIELDS_MAX {
        return Err(JsonError::Bound(format!("more than {RECORD_FIELDS_MAX} fields")));
    }
    fields.push((name, value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_time_message_and_level_are_known() {
        let line =
            br#"{"ts":1700000000,"lvl":"WARN","msg":"hi","a":{"b":1,"c":[true,"x"]},"d":null}"#;
        let record = record(line).unwrap();
        assert_eq!(record.timestamp, Some(Timestamp(1_700_000_000_000_000_000)));
        assert_eq!(record.level, Level::Warn);
        assert_eq!(record.message, "hi");
        assert_eq!(
            record.fields,
            [
                ("a.b".to_owned(), FieldValue::Int(1)),
                ("a.c".to_owned(), FieldValue::Bool(true)),
                ("a.c".to_owned(), FieldValue::Text("x".to_owned())),
            ]
        );
    }

    #[test]
    fn without_a_message_the_line_is_the_message() {
        let record = record(br#"{"status":500}"#).unwrap();
        assert_eq!(record.message, r#"{"status":500}"#);
        assert_eq!(record.fields, [("status".to_owned(), FieldValue::Int(500))]);
    }

    #[test]
    fn what_is_no_record_says_why() {
        assert!(matches!(record(b"{broken"), Err(JsonError::Syntax(_))));
        assert_eq!(record(b"[1]"), Err(JsonError::NotObject));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        assert!(matches!(record(deep.as_bytes()), Err(JsonError::Bound(_))));
        let kept = poisoned(b"{broken \xff", "why");
        assert_eq!(kept.message, "{broken \\xff");
    }
}
