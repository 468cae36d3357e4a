//! OTLP's messages as far as they are kept here: protobuf by derive, JSON by hand, for its
//! spelling differs (ids in hex, big numbers as text). Texts stay where they came in: bytes, for
//! what is no text shall not cost its neighbours.

use std::borrow::Cow;

use bytes::Bytes;
use model::text::keep_text;
use serde_json::{Value, json};

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) version: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(super) severity_number: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) severity_text: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub(super) flags: u32,
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) span_id: Bytes,
    #[prost(fixed64, tag = "11")]
    pub(super) observed_time_unix_nano: u64,
    #[prost(bytes = "bytes", tag = "12")]
    pub(super) event_name: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Any {
    #[prost(bytes = "bytes", tag = "1")]
    Text(Bytes),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    Array(Array),
    #[prost(message, tag = "6")]
    Map(Map),
    #[prost(bytes = "bytes", tag = "7")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Array {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Map {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

/// `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_log_records: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// Text as it is; of bytes that are none what they show as.
pub(super) fn utf8(text: &[u8]) -> Cow<'_, str> {
    keep_text(text).0
}

impl AnyValue {
    fn to_json(&self) -> Value {
        self.value.as_ref().map_or(Value::Null, Any::to_json)
    }
}

impl Any {
    /// As JSON, for showing and for keeping what fits no fields.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => utf8(text).into_owned().into(),
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Array(array) => array.values.iter().map(AnyValue::to_json).collect(),
            Self::Map(map) => pairs_to_json(&map.values),
            Self::Bytes(bytes) => hex(bytes).into(),
        }
    }
}

/// Attributes as a JSON object.
pub(super) fn pairs_to_json(pairs: &[KeyValue]) -> Value {
    let value = |pair: &KeyValue| pair.value.as_ref().map_or(Value::Null, AnyValue::to_json);
    let pairs = pairs.iter().map(|pair| (utf8(&pair.key).into_owned(), value(pair)));
    Value::Object(pairs.collect())
}

/// Lower-case hexadecimal digits.
pub(in crate::doors) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

fn unhex(value: &Value, name: &str) -> Bytes {
    let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map_while(digit).collect()
}

impl Request {
    /// Reads the JSON form. What is missing or of another type counts as not given; unknown
    /// names are passed over, as the standard wants.
    pub(super) fn from_json(value: &Value) -> Self {
        Self { resource_logs: list(value, "resourceLogs", ResourceLogs::from_json) }
    }
}

impl ResourceLogs {
    fn from_json(value: &Value) -> Self {
        let resource = value.get("resource");
        let resource = resource.map(|value| Resource { attributes: pairs(value, "attributes") });
        Self { resource, scope_logs: list(value, "scopeLogs", ScopeLogs::from_json) }
    }
}

impl ScopeLogs {
    fn from_json(value: &Value) -> Self {
        let scope = value.get("scope").map(|scope| Scope {
            name: text(scope, "name"),
            version: text(scope, "version"),
            attributes: pairs(scope, "attributes"),
        });
        Self { scope, log_records: list(value, "logRecords", LogRecord::from_json) }
    }
}

impl LogRecord {
    fn from_json(value: &Value) -> Self {
        let small = |name| i32::try_from(number(value, name)).unwrap_or_default();
        let moment = |name| u64::try_from(number(value, name)).unwrap_or_default();
        Self {
            time_unix_nano: moment("timeUnixNano"),
            severity_number: small("severityNumber"),
            severity_text: text(value, "severityText"),
            body: value.get("body").map(AnyValue::from_json),
            attributes: pairs(value, "attributes"),
            flags: u32::try_from(number(value, "flags")).unwrap_or_default(),
            trace_id: unhex(value, "traceId"),
            span_id: unhex(value, "spanId"),
            observed_time_unix_nano: moment("observedTimeUnixNano"),
            event_name: text(value, "eventName"),
        }
    }

    /// All of it, for a record that cannot be taken apart.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "body": self.body.as_ref().map(AnyValue::to_json),
            "attributes": pairs_to_json(&self.attributes),
            "severity_text": utf8(&self.severity_text),
            "trace_id": hex(&self.trace_id),
            "span_id": hex(&self.span_id),
            "event_name": utf8(&self.event_name),
        })
    }
}

impl AnyValue {
    fn from_json(value: &Value) -> Self {
        let member = |name: &str| value.get(name).filter(|value| !value.is_null());
        let any = if let Some(text) = member("stringValue").and_then(Value::as_str) {
            Some(Any::Text(Bytes::copy_from_slice(text.as_bytes())))
        } else if let Some(truth) = member("boolValue").and_then(Value::as_bool) {
            Some(Any::Bool(truth))
        } else if member("intValue").is_some() {
            Some(Any::Int(number(value, "intValue")))
        } else if let Some(float) = member("doubleValue") {
            let read = float.as_f64().or_else(|| float.as_str()?.parse().ok());
            read.map(Any::Float)
        } else if let Some(array) = member("arrayValue") {
            Some(Any::Array(Array { values: list(array, "values", Self::from_json) }))
        } else if let Some(map) = member("kvlistValue") {
            Some(Any::Map(Map { values: pairs(map, "values") }))
        } else {
            // Base64 is text as well; it is kept as it came.
            let bytes = member("bytesValue").and_then(Value::as_str);
            bytes.map(|text| Any::Text(Bytes::copy_from_slice(text.as_bytes())))
        };
        Self { value: any }
    }
}

fn list<T>(value: &Value, name: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |all| all.iter().map(read).collect())
}

fn pairs(value: &Value, name: &str) -> Vec<KeyValue> {
    list(value, name, |pair| KeyValue {
        key: text(pair, "key"),
        value: pair.get("value").map(AnyValue::from_json),
    })
}

fn text(value: &Value, name: &str) -> Bytes {
    let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
    Bytes::copy_from_slice(text.as_bytes())
}

/// A number, also as text.
fn number(value: &Value, name: &str) -> i64 {
    let value = value.get(name);
    let read = value.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    read.unwrap_or_default()
}
