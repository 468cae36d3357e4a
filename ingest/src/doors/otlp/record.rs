//! OTLP's log records as ours.

use model::error::Kind;
use model::json::{self, MESSAGE_NAMES};
use model::level::Level;
use model::limits::{
    BATCH_BYTES_MAX, FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_DEPTH_MAX,
    RECORD_FIELDS_MAX,
};
use model::record::{FieldValue, KEPT_FIELD, Record};
use model::stream::{IndexName, Labels};
use model::text::keep_text;
use model::time::Timestamp;
use platform::http::ApiError;
use prost::Message as _;

use super::message::{
    Any, AnyValue, KeyValue, LogRecord, Request, Resource, Scope, hex, pairs_to_json,
};
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

/// Bytes of a record that may fit no batch, with what it shares with others.
const LARGE_BYTES: usize = BATCH_BYTES_MAX / 4;

/// All records of a request.
pub(super) fn pack(request: Request, mut parcel: Parcel) -> Result<Packed, ApiError> {
    for logs in request.resource_logs {
        let (labels, resource) = stream(logs.resource.unwrap_or_default())?;
        let stream = parcel.stream(IndexName::default(), labels)?;
        for scoped in logs.scope_logs {
            let mut shared = Fields::default();
            shared.pairs("resource", resource.clone(), 1);
            shared.scope(scoped.scope.unwrap_or_default());
            for log in scoped.log_records {
                push(&mut parcel, stream, &shared, log)?;
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
    log: LogRecord,
) -> Result<(), ApiError> {
    // Seldom so large that it may fit no batch: then it is kept as it came, beside.
    let whole = (log.encoded_len() > LARGE_BYTES).then(|| log.to_json());
    let raw = || whole.map(|whole| whole.to_string().into_bytes()).unwrap_or_default();
    let known =
        [log.time_unix_nano, log.observed_time_unix_nano].into_iter().find(|time| *time > 0);
    let timestamp = known.and_then(|time| i64::try_from(time).ok()).map(Timestamp);
    let stated = level(&log);
    if shared.is_over || over(shared.all.len(), &log) {
        let words = format!(
            "over {RECORD_FIELDS_MAX} fields, {FIELD_NAME_BYTES_MAX} bytes of a name or {RECORD_DEPTH_MAX} levels"
        );
        let record = json::poisoned(log.to_json().to_string().as_bytes(), &words);
        let level = stated.unwrap_or(record.level);
        return parcel.push(stream, Record { timestamp, level, ..record }, raw);
    }
    let LogRecord { body, attributes, .. } = log;
    let mut fields = Fields::default();
    fields.all.reserve(shared.all.len() + attributes.len() + 5);
    fields.all.extend_from_slice(&shared.all);
    let message = message(body, &mut fields).unwrap_or_else(|| log.event_name.clone());
    attributes.into_iter().for_each(|pair| fields.pair("", pair, 1));
    fields.named("trace_id", hex(&log.trace_id));
    fields.named("span_id", hex(&log.span_id));
    fields.named("event_name", log.event_name);
    fields.named("severity_text", log.severity_text);
    if log.severity_number > 0 {
        let number = FieldValue::Int(log.severity_number.into());
        fields.all.push(("severity_number".to_owned(), number));
    }
    let level = stated.unwrap_or_else(|| Level::detect(&message));
    let mut fields = fields.all;
    let message = if message.len() > MESSAGE_BYTES_MAX {
        // Cut and marked like any message.
        let plain = json::plain(message.as_bytes());
        fields.extend(plain.fields);
        plain.message
    } else {
        message
    };
    parcel.push(stream, Record { timestamp, level, message, fields }, raw)
}

/// The text of a body; of one that is a map the member that is a message, the others are fields.
fn message(body: Option<AnyValue>, fields: &mut Fields) -> Option<String> {
    match body?.value? {
        Any::Text(text) => Some(kept(text, fields)),
        Any::Map(body) => {
            let is_text = |pair: &KeyValue| {
                matches!(pair.value, Some(AnyValue { value: Some(Any::Text(_)) }))
            };
            let said = MESSAGE_NAMES
                .iter()
                .find_map(|name| body.values.iter().position(|pair| pair.key == *name))
                .filter(|at| body.values.get(*at).is_some_and(is_text));
            let whole = said.is_none().then(|| pairs_to_json(&body.values).to_string());
            let mut text = None;
            for (at, pair) in body.values.into_iter().enumerate() {
                match pair.value {
                    Some(AnyValue { value: Some(Any::Text(message)) }) if Some(at) == said => {
                        text = Some(kept(message, fields));
                    }
                    value => fields.pair("", KeyValue { value, ..pair }, 1),
                }
            }
            text.or(whole)
        }
        other => Some(AnyValue { value: Some(other) }.to_json().to_string()),
    }
}

/// A message's text; that bytes of it were escaped is a field.
fn kept(text: Vec<u8>, fields: &mut Fields) -> String {
    String::from_utf8(text).unwrap_or_else(|error| {
        fields.named(KEPT_FIELD, "escaped".to_owned());
        keep_text(error.as_bytes()).0.into_owned()
    })
}

/// Whether a record has too many fields, with `shared` of them, names too long or levels too many.
fn over(shared: usize, log: &LogRecord) -> bool {
    let mut count = shared + 5;
    let body = match log.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Any::Map(body)) => body.values.as_slice(),
        _ => &[],
    };
    let pairs = body.iter().chain(&log.attributes);
    let sound = pairs.into_iter().all(|pair| sound(0, pair, 1, &mut count));
    !sound || count > RECORD_FIELDS_MAX
}

fn sound(prefix: usize, pair: &KeyValue, depth: usize, count: &mut usize) -> bool {
    // Behind a prefix stands a dot.
    let name = prefix + usize::from(prefix > 0) + pair.key.len();
    pair.value.as_ref().is_none_or(|value| sound_value(name, value, depth, count))
}

fn sound_value(name: usize, value: &AnyValue, depth: usize, count: &mut usize) -> bool {
    if name > FIELD_NAME_BYTES_MAX || depth > RECORD_DEPTH_MAX {
        return false;
    }
    match &value.value {
        None => true,
        Some(Any::Array(array)) => {
            array.values.iter().all(|value| sound_value(name, value, depth + 1, count))
        }
        Some(Any::Map(map)) => map.values.iter().all(|pair| sound(name, pair, depth + 1, count)),
        Some(_) => {
            *count += 1;
            *count <= RECORD_FIELDS_MAX
        }
    }
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

/// Fields as they are gathered.
#[derive(Debug, Clone, Default)]
struct Fields {
    all: Vec<(String, FieldValue)>,
    /// What all records of a resource share is over a bound.
    is_over: bool,
}

impl Fields {
    fn named(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.all.push(text(name, value));
        }
    }

    fn scope(&mut self, scope: Scope) {
        self.named("scope.name", scope.name);
        self.named("scope.version", scope.version);
        self.pairs("scope", scope.attributes, 1);
    }

    fn pairs(&mut self, prefix: &str, pairs: Vec<KeyValue>, depth: usize) {
        for pair in pairs {
            self.pair(prefix, pair, depth);
        }
    }

    fn pair(&mut self, prefix: &str, pair: KeyValue, depth: usize) {
        let name = if prefix.is_empty() { pair.key } else { [prefix, ".", &pair.key].concat() };
        if let Some(value) = pair.value {
            self.value(name, value, depth);
        }
    }

    fn value(&mut self, name: String, value: AnyValue, depth: usize) {
        let is_over = name.len() > FIELD_NAME_BYTES_MAX
            || depth > RECORD_DEPTH_MAX
            || self.all.len() > RECORD_FIELDS_MAX;
        if is_over {
            self.is_over = true;
            return;
        }
        let value = match value.value {
            None => return,
            Some(Any::Text(text)) => FieldValue::Text(utf8(text)),
            Some(Any::Bytes(bytes)) => FieldValue::Text(hex(&bytes)),
            Some(Any::Bool(truth)) => FieldValue::Bool(truth),
            Some(Any::Int(number)) => FieldValue::Int(number),
            Some(Any::Float(number)) if number.is_finite() => FieldValue::Float(number),
            Some(Any::Float(number)) => FieldValue::Text(number.to_string()),
            Some(Any::Array(array)) => {
                for value in array.values {
                    self.value(name.clone(), value, depth + 1);
                }
                return;
            }
            Some(Any::Map(map)) => return self.pairs(&name, map.values, depth + 1),
        };
        self.all.push((name, value));
    }
}

/// Text as it is; of bytes that are none what they show as.
fn utf8(text: Vec<u8>) -> String {
    String::from_utf8(text).unwrap_or_else(|error| keep_text(error.as_bytes()).0.into_owned())
}
