//! A log record that borrows from the bytes in which it came, and how it shows as JSON.

use serde_json::{Value, json};

use super::message::{self, AnyValue, KeyValue, LogRecord, hex, utf8};

/// A record.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Log<'a> {
    pub(super) time_unix_nano: u64,
    pub(super) observed_time_unix_nano: u64,
    pub(super) severity_number: i32,
    pub(super) severity_text: &'a [u8],
    pub(super) body: Option<Any<'a>>,
    pub(super) attributes: Vec<Pair<'a>>,
    pub(super) flags: u32,
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) event_name: &'a [u8],
}

/// A name and its value, if it has one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pair<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<Any<'a>>,
}

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Any<'a> {
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Float(f64),
    Array(Vec<Option<Any<'a>>>),
    Map(Vec<Pair<'a>>),
    Bytes(&'a [u8]),
}

impl<'a> From<&'a LogRecord> for Log<'a> {
    fn from(log: &'a LogRecord) -> Self {
        Self {
            time_unix_nano: log.time_unix_nano,
            observed_time_unix_nano: log.observed_time_unix_nano,
            severity_number: log.severity_number,
            severity_text: &log.severity_text,
            body: log.body.as_ref().and_then(any),
            attributes: log.attributes.iter().map(Pair::from).collect(),
            flags: log.flags,
            trace_id: &log.trace_id,
            span_id: &log.span_id,
            event_name: &log.event_name,
        }
    }
}

impl<'a> From<&'a KeyValue> for Pair<'a> {
    fn from(pair: &'a KeyValue) -> Self {
        Self { key: &pair.key, value: pair.value.as_ref().and_then(any) }
    }
}

fn any(value: &AnyValue) -> Option<Any<'_>> {
    Some(match value.value.as_ref()? {
        message::Any::Text(text) => Any::Text(text),
        message::Any::Bool(truth) => Any::Bool(*truth),
        message::Any::Int(number) => Any::Int(*number),
        message::Any::Float(number) => Any::Float(*number),
        message::Any::Array(array) => Any::Array(array.values.iter().map(any).collect()),
        message::Any::Map(map) => Any::Map(map.values.iter().map(Pair::from).collect()),
        message::Any::Bytes(bytes) => Any::Bytes(bytes),
    })
}

impl Any<'_> {
    /// As JSON, for showing and for keeping what fits no fields.
    pub(super) fn to_json(&self) -> Value {
        let shown = |value: &Option<Any<'_>>| value.as_ref().map_or(Value::Null, Any::to_json);
        match self {
            Self::Text(text) => utf8(text).into_owned().into(),
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) if number.is_finite() => (*number).into(),
            Self::Float(number) => number.to_string().into(),
            Self::Array(values) => values.iter().map(shown).collect(),
            Self::Map(pairs) => pairs_to_json(pairs),
            Self::Bytes(bytes) => hex(bytes).into(),
        }
    }
}

/// Attributes as a JSON object.
pub(super) fn pairs_to_json(pairs: &[Pair<'_>]) -> Value {
    let value = |pair: &Pair<'_>| pair.value.as_ref().map_or(Value::Null, Any::to_json);
    let pairs = pairs.iter().map(|pair| (utf8(pair.key).into_owned(), value(pair)));
    Value::Object(pairs.collect())
}

impl Log<'_> {
    /// All of it, for a record that cannot be taken apart.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "body": self.body.as_ref().map(Any::to_json),
            "attributes": pairs_to_json(&self.attributes),
            "severity_number": self.severity_number,
            "severity_text": utf8(self.severity_text),
            "trace_flags": self.flags,
            "trace_id": hex(self.trace_id),
            "span_id": hex(self.span_id),
            "event_name": utf8(self.event_name),
        })
    }
}
