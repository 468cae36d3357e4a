//! OTLP's JSON form, whose spelling differs from protobuf's (ids in hex, big numbers as text, names
//! of enums), read into the same messages. What has another type than it should is kept as it is
//! written; a record that is none costs its neighbours nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::record::POISON_FIELD;
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::message::{self, Any, AnyValue, Array, KeyValue, LogRecord};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, alias = "resource_logs")]
    resource_logs: Option<Vec<ResourceLogs<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Option<Resource>,
    // The older name is that of version 0.18 and before.
    #[serde(borrow, alias = "scope_logs", alias = "instrumentationLibraryLogs")]
    scope_logs: Option<Vec<ScopeLogs<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default)]
    attributes: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(alias = "instrumentationLibrary")]
    scope: Option<Scope>,
    #[serde(borrow, alias = "log_records", alias = "logs")]
    log_records: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Scope {
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    attributes: Value,
}

/// Reads a request.
///
/// # Errors
/// It is no JSON, or what holds the records is of another type than it should be.
pub(super) fn read(body: &[u8]) -> Result<message::Request, String> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("it is no JSON object".to_owned());
    }
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let all = request.resource_logs.unwrap_or_default().into_iter();
    Ok(message::Request { resource_logs: all.map(resource_logs).collect() })
}

fn resource_logs(logs: ResourceLogs<'_>) -> message::ResourceLogs {
    let resource =
        logs.resource.map(|resource| message::Resource { attributes: pairs(&resource.attributes) });
    let scope_logs = logs.scope_logs.unwrap_or_default().into_iter().map(scope_logs).collect();
    message::ResourceLogs { resource, scope_logs }
}

fn scope_logs(logs: ScopeLogs<'_>) -> message::ScopeLogs {
    let scope = logs.scope.map(|scope| message::Scope {
        name: scope.name.unwrap_or_default().into(),
        version: scope.version.unwrap_or_default().into(),
        attributes: pairs(&scope.attributes),
    });
    let records = logs.log_records.unwrap_or_default().into_iter();
    let record = |raw: &RawValue| Bytes::from(record_of(raw.get()).encode_to_vec());
    message::ScopeLogs { scope, log_records: records.map(record).collect() }
}

fn record_of(raw: &str) -> LogRecord {
    let why = match serde_json::from_str::<Value>(raw) {
        Ok(Value::Object(members)) => return record(&members),
        Ok(_) => "a record that is no object".to_owned(),
        Err(error) => format!("a record that cannot be read: {error}"),
    };
    let body = Some(AnyValue { value: Some(text(raw)) });
    let attributes = vec![pair(POISON_FIELD, Some(text(&why)))];
    LogRecord { body, attributes, ..LogRecord::default() }
}

fn record(members: &Map<String, Value>) -> LogRecord {
    let member = |name: &str, snake: &str| {
        let found = members.get(name).or_else(|| members.get(snake));
        found.filter(|value| !value.is_null())
    };
    let mut attributes = member("attributes", "attributes").map_or_else(Vec::new, pairs);
    // What cannot be read as what it should be is a field.
    let mut unread = |name: &str, value: &Value| attributes.push(pair(name, plain(value)));
    let mut moment = |name: &str, snake: &str| {
        let value = member(name, snake);
        let read = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        if let (Some(value), None) = (value, read) {
            unread(snake, value);
        }
        read.unwrap_or_default()
    };
    let time_unix_nano = moment("timeUnixNano", "time_unix_nano");
    let observed_time_unix_nano = moment("observedTimeUnixNano", "observed_time_unix_nano");
    let stated = member("severityNumber", "severity_number");
    let severity_number = stated.and_then(severity);
    if let (Some(value), None) = (stated, severity_number) {
        unread("severity_number", value);
    }
    let mut id = |name: &str, snake: &str| {
        let value = member(name, snake);
        let read = value.and_then(Value::as_str).and_then(unhex);
        if let (Some(value), None) = (value, &read) {
            unread(snake, value);
        }
        read.unwrap_or_default()
    };
    let (trace_id, span_id) = (id("traceId", "trace_id"), id("spanId", "span_id"));
    let mut word = |name: &str, snake: &str| match member(name, snake) {
        None => Bytes::new(),
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(other) => {
            unread(snake, other);
            Bytes::new()
        }
    };
    let severity_text = word("severityText", "severity_text");
    let event_name = word("eventName", "event_name");
    let stated = member("flags", "flags");
    let flags = stated.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    let flags = flags.and_then(|flags| u32::try_from(flags).ok());
    if let (Some(value), None) = (stated, flags) {
        unread("trace_flags", value);
    }
    LogRecord {
        time_unix_nano,
        severity_number: severity_number.unwrap_or_default(),
        severity_text,
        body: member("body", "body").map(any),
        attributes,
        flags: flags.unwrap_or_default(),
        trace_id,
        span_id,
        observed_time_unix_nano,
        event_name,
    }
}

/// A number, also as text, or the name of one: `SEVERITY_NUMBER_WARN2`.
fn severity(value: &Value) -> Option<i32> {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    if let Some(number) = value.as_i64() {
        return i32::try_from(number).ok();
    }
    let text = value.as_str()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.strip_prefix("SEVERITY_NUMBER_")?;
    if name == "UNSPECIFIED" {
        return Some(0);
    }
    (1..).step_by(4).zip(NAMES).find_map(|(first, word)| match name.strip_prefix(word)? {
        "" => Some(first),
        "2" => Some(first + 1),
        "3" => Some(first + 2),
        "4" => Some(first + 3),
        _ => None,
    })
}

fn unhex(text: &str) -> Option<Bytes> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn text(text: &str) -> Any {
    Any::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn pair(name: &str, value: Option<Any>) -> KeyValue {
    KeyValue { key: Bytes::copy_from_slice(name.as_bytes()), value: Some(AnyValue { value }) }
}

/// Attributes: pairs of key and value; a plain object is taken for them too.
fn pairs(value: &Value) -> Vec<KeyValue> {
    let one = |value: &Value| match value.get("key").and_then(Value::as_str) {
        Some(key) => {
            let value = value.get("value").map(any);
            KeyValue { key: Bytes::copy_from_slice(key.as_bytes()), value }
        }
        None => pair("attributes", Some(text(&value.to_string()))),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().map(one).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| pair(name, plain(value))).collect()
        }
        other => vec![pair("attributes", plain(other))],
    }
}

/// A value in its wrapping, `{"stringValue":"…"}`; without one it is taken as it is.
fn any(value: &Value) -> AnyValue {
    let wrapped = value.as_object().map(|members| {
        let known = |(name, value): (&String, &Value)| wrapped(name, value);
        members.iter().find_map(known).or_else(|| plain(value).filter(|_| !members.is_empty()))
    });
    AnyValue { value: wrapped.unwrap_or_else(|| plain(value)) }
}

/// The value of a wrapping of that name; none when it is not known, or null.
fn wrapped(name: &str, value: &Value) -> Option<Any> {
    let name = match name {
        "string_value" => "stringValue",
        "bool_value" => "boolValue",
        "int_value" => "intValue",
        "double_value" => "doubleValue",
        "array_value" => "arrayValue",
        "kvlist_value" => "kvlistValue",
        "bytes_value" => "bytesValue",
        name => name,
    };
    let as_text = value.as_str();
    let values = || value.get("values").unwrap_or(&Value::Null);
    let read = match name {
        "stringValue" => as_text.map(text),
        "boolValue" => value.as_bool().map(Any::Bool),
        "intValue" => value.as_i64().or_else(|| as_text?.parse().ok()).map(Any::Int),
        "doubleValue" => value.as_f64().or_else(|| as_text?.parse().ok()).map(Any::Float),
        "arrayValue" => values()
            .as_array()
            .map(|list| Any::Array(Array { values: list.iter().map(any).collect() })),
        "kvlistValue" => {
            values().is_array().then(|| Any::Map(message::Map { values: pairs(values()) }))
        }
        "bytesValue" => as_text
            .and_then(|text| STANDARD.decode(text).ok())
            .map(|bytes| Any::Bytes(bytes.into())),
        _ => return None,
    };
    let is_empty = value.as_object().is_some_and(Map::is_empty);
    let empty = match name {
        "arrayValue" => Any::Array(Array::default()),
        _ => Any::Map(message::Map::default()),
    };
    // Of another type than its name says: as it is written.
    read.or_else(|| if is_empty { Some(empty) } else { plain(value) })
}

/// JSON as it is.
fn plain(value: &Value) -> Option<Any> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => Any::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::Int(whole),
            (None, Some(float)) if number.is_f64() => Any::Float(float),
            _ => text(&number.to_string()),
        },
        Value::String(string) => text(string),
        Value::Array(list) => {
            let value = |value: &Value| AnyValue { value: plain(value) };
            Any::Array(Array { values: list.iter().map(value).collect() })
        }
        Value::Object(members) => Any::Map(message::Map {
            values: members.iter().map(|(name, value)| pair(name, plain(value))).collect(),
        }),
    })
}
