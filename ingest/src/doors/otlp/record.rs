//! OTLP's log records as ours.

use model::error::Kind;
use model::json::{self, MESSAGE_NAMES};
use model::level::Level;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};
use model::record::FieldValue;
use model::stream::{IndexName, Labels};
use model::text::keep_text;
use model::time::Timestamp;
use platform::http::ApiError;

use super::message::{Any, AnyValue, KeyValue, LogRecord, Request, Resource, Scope, hex};
use crate::doors::parcel::{Packed, Parcel, Stream, text};

/// Attributes of a resource that name a stream, and the labels they become: few values each.
/// All others are fields.
const LABELS: [(&str, &str); 9] = [
    ("service.name", "service"),
    ("service.namespace", "service.namespace"),
    ("host.name", "host"),
    ("deployment.environment.name", "environment"),
    ("deployment.environment", "environment"),
    ("k8s.cluster.name", "k8s.cluster.name"),
    ("k8s.namespace.name", "k8s.namespace.name"),
    ("k8s.pod.name", "k8s.pod.name"),
    ("k8s.container.name", "k8s.container.name"),
];

/// All records of a request.
pub(super) fn pack(request: Request, mut parcel: Parcel) -> Result<Packed, ApiError> {
    for logs in request.resource_logs {
        let (labels, resource) = stream(logs.resource.unwrap_or_default())?;
        let stream = parcel.stream(IndexName::default(), labels)?;
        for scoped in logs.scope_logs {
            let mut shared = Fields::default();
            shared.pairs("resource", &resource, 1);
            shared.scope(&scoped.scope.unwrap_or_default());
            for log in scoped.log_records {
                push(&mut parcel, stream, &shared, &log)?;
            }
        }
    }
    parcel.finish()
}

fn stream(resource: Resource) -> Result<(Labels, Vec<KeyValue>), ApiError> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut rest = Vec::new();
    for pair in resource.attributes {
        let label = LABELS.iter().find(|(name, _)| *name == pair.key).map(|(_, label)| *label);
        let value = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::Text(text)) => keep_text(text).0.into_owned(),
            _ => String::new(),
        };
        let fits = !value.is_empty() && value.len() <= LABEL_BYTES_MAX;
        match label {
            Some(label) if fits && !labels.iter().any(|(known, _)| known == label) => {
                labels.push((label.to_owned(), value));
            }
            _ => rest.push(pair),
        }
    }
    let labels =
        Labels::new(labels).map_err(|error| ApiError::new(Kind::Bug, error.to_string()))?;
    Ok((labels, rest))
}

fn push(
    parcel: &mut Parcel,
    stream: Stream,
    shared: &Fields,
    log: &LogRecord,
) -> Result<(), ApiError> {
    let mut fields = shared.clone();
    let mut message = None;
    match log.body.as_ref().and_then(|body| body.value.as_ref()) {
        None => {}
        Some(Any::Text(body)) => message = Some(keep_text(body).0.into_owned()),
        Some(Any::Map(body)) => {
            let said = MESSAGE_NAMES
                .iter()
                .find_map(|name| body.values.iter().find(|pair| pair.key == *name));
            let said = said.and_then(|pair| match &pair.value.as_ref()?.value {
                Some(Any::Text(text)) => Some((pair.key.as_str(), keep_text(text).0.into_owned())),
                _ => None,
            });
            let taken = said.as_ref().map(|(name, _)| *name);
            for pair in body.values.iter().filter(|pair| Some(pair.key.as_str()) != taken) {
                fields.pair("", pair, 1);
            }
            message = said.map(|(_, text)| text);
        }
        Some(_) => {}
    }
    let message = message
        .or_else(|| log.body.as_ref().map(|body| body.to_json().to_string()))
        .unwrap_or_else(|| log.event_name.clone());
    fields.pairs("", &log.attributes, 1);
    fields.named("trace_id", &hex(&log.trace_id));
    fields.named("span_id", &hex(&log.span_id));
    fields.named("event_name", &log.event_name);
    fields.named("severity_text", &log.severity_text);
    if log.severity_number > 0 {
        let number = FieldValue::Int(log.severity_number.into());
        fields.all.push(("severity_number".to_owned(), number));
    }
    let nanoseconds = [log.time_unix_nano, log.observed_time_unix_nano];
    let known = nanoseconds.into_iter().find(|time| *time > 0);
    let timestamp = known.and_then(|time| i64::try_from(time).ok()).map(Timestamp);
    let level = level(log).unwrap_or_else(|| Level::detect(&message));
    let is_over = fields.is_over || fields.all.len() > RECORD_FIELDS_MAX;
    let mut record = if is_over {
        let words = format!(
            "over {RECORD_FIELDS_MAX} fields, {FIELD_NAME_BYTES_MAX} bytes of a name or {RECORD_DEPTH_MAX} levels"
        );
        json::poisoned(log.to_json().to_string().as_bytes(), &words)
    } else {
        // Cut and marked like any message.
        let mut record = json::plain(message.as_bytes());
        record.fields.extend(fields.all);
        record
    };
    record.level = level;
    record.timestamp = timestamp;
    parcel.push(stream, record, || log.to_json().to_string().into_bytes())
}

fn level(log: &LogRecord) -> Option<Level> {
    Some(match log.severity_number {
        1..=4 => Level::Trace,
        5..=8 => Level::Debug,
        9..=12 => Level::Info,
        13..=16 => Level::Warn,
        17..=20 => Level::Error,
        21..=24 => Level::Fatal,
        _ => return Level::from_word(&log.severity_text),
    })
}

/// Fields as they are gathered; over a bound they are none.
#[derive(Debug, Clone, Default)]
struct Fields {
    all: Vec<(String, FieldValue)>,
    is_over: bool,
}

impl Fields {
    fn named(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.all.push(text(name, value));
        }
    }

    fn scope(&mut self, scope: &Scope) {
        self.named("scope.name", &scope.name);
        self.named("scope.version", &scope.version);
        self.pairs("scope", &scope.attributes, 1);
    }

    fn pairs(&mut self, prefix: &str, pairs: &[KeyValue], depth: usize) {
        for pair in pairs {
            self.pair(prefix, pair, depth);
        }
    }

    fn pair(&mut self, prefix: &str, pair: &KeyValue, depth: usize) {
        let name =
            if prefix.is_empty() { pair.key.clone() } else { format!("{prefix}.{}", pair.key) };
        if let Some(value) = &pair.value {
            self.value(name, value, depth);
        }
    }

    fn value(&mut self, name: String, value: &AnyValue, depth: usize) {
        let is_over = name.len() > FIELD_NAME_BYTES_MAX
            || depth > RECORD_DEPTH_MAX
            || self.all.len() > RECORD_FIELDS_MAX;
        if is_over {
            self.is_over = true;
            return;
        }
        let value = match &value.value {
            None => return,
            Some(Any::Text(text)) => FieldValue::Text(keep_text(text).0.into_owned()),
            Some(Any::Bytes(bytes)) => FieldValue::Text(hex(bytes)),
            Some(Any::Bool(truth)) => FieldValue::Bool(*truth),
            Some(Any::Int(number)) => FieldValue::Int(*number),
            Some(Any::Float(number)) if number.is_finite() => FieldValue::Float(*number),
            Some(Any::Float(number)) => FieldValue::Text(number.to_string()),
            Some(Any::Array(array)) => {
                for value in &array.values {
                    self.value(name.clone(), value, depth + 1);
                }
                return;
            }
            Some(Any::Map(map)) => return self.pairs(&name, &map.values, depth + 1),
        };
        self.all.push((name, value));
    }
}
