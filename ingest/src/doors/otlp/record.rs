//! OTLP's log records as ours.

use std::borrow::Cow;

use model::error::Kind;
use model::json::{self, Flat, MESSAGE_NAMES, Value};
use model::level::Level;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};
use model::record::{KEPT_FIELD, Record};
use model::stream::{IndexName, Labels};
use model::text::{cut, keep_text};
use model::time::Timestamp;
use platform::http::ApiError;
use prost::Message as _;

use super::REASON_BYTES_MAX;
use super::log::{Any, Log, Pair, pairs_to_json};
use super::message::{self, KeyValue, LogRecord, Request, Resource, Scope, hex, utf8};
use super::quick;
use crate::doors::parcel::{Packed, Parcel, Stream};

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
pub(super) fn pack(request: &Request, mut parcel: Parcel) -> Result<Packed, ApiError> {
    for logs in &request.resource_logs {
        let (labels, resource) = stream(logs.resource.as_ref())?;
        let stream = parcel.stream(IndexName::default(), labels)?;
        for scoped in &logs.scope_logs {
            let mut shared = Fields::default();
            resource.iter().for_each(|pair| shared.pair("resource", &Pair::from(*pair), 1));
            shared.scope(scoped.scope.as_ref());
            let (mut quick, mut fields) = (Log::default(), Fields::default());
            for log in &scoped.log_records {
                if quick::read(log, &mut quick).is_some() {
                    push(&mut parcel, stream, (&shared, &mut fields), &quick)?;
                    continue;
                }
                match LogRecord::decode(log.clone()) {
                    Ok(log) => {
                        let both = (&shared, &mut Fields::default());
                        push(&mut parcel, stream, both, &Log::from(&log))?;
                    }
                    Err(error) => {
                        let error = error.to_string();
                        let words = cut(&error, REASON_BYTES_MAX);
                        let words = format!("a record that cannot be read: {words}");
                        parcel.push(stream, unread(log, &words, &shared), || log.to_vec())?;
                    }
                }
            }
        }
    }
    parcel.finish()
}

fn stream(resource: Option<&Resource>) -> Result<(Labels, Vec<&KeyValue>), ApiError> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut rest = Vec::new();
    for pair in resource.iter().flat_map(|resource| &resource.attributes) {
        let named = |(name, _): &&(&str, &str)| name.as_bytes() == pair.key;
        let label = LABELS.iter().find(named).map(|(_, label)| *label);
        let value = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(message::Any::Text(text)) => utf8(text).into_owned(),
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

/// Adds a record with the fields that it shares with others; its own are gathered where those of the
/// one before were.
fn push<'a>(
    parcel: &mut Parcel,
    stream: Stream,
    (shared, fields): (&'a Fields<'_>, &mut Fields<'a>),
    log: &Log<'a>,
) -> Result<(), ApiError> {
    let raw = || log.to_json().to_string().into_bytes();
    let known =
        [log.time_unix_nano, log.observed_time_unix_nano].into_iter().find(|time| *time > 0);
    let timestamp = known.and_then(|time| i64::try_from(time).ok()).map(Timestamp);
    let stated = level(log);
    if shared.is_over || over(shared.all.len(), log) {
        let words = format!(
            "over {RECORD_FIELDS_MAX} fields, {FIELD_NAME_BYTES_MAX} bytes of a name or {RECORD_DEPTH_MAX} levels"
        );
        let record = unread(&raw(), &words, shared);
        let level = stated.unwrap_or(record.level);
        return parcel.push(stream, Record { timestamp, level, ..record }, raw);
    }
    fields.all.clear();
    fields.all.extend(shared.all.iter().map(borrowed));
    let message = log.body.as_ref().and_then(|body| text_of(body, fields));
    let message = message.unwrap_or_else(|| utf8(log.event_name));
    log.attributes.iter().for_each(|pair| fields.pair("", pair, 1));
    fields.named("trace_id", hex(log.trace_id).into());
    fields.named("span_id", hex(log.span_id).into());
    fields.named("event_name", utf8(log.event_name));
    fields.named("severity_text", utf8(log.severity_text));
    if log.severity_number > 0 {
        let number = Value::Int(log.severity_number.into());
        fields.all.push((Cow::Borrowed("severity_number"), number));
    }
    if log.flags > 0 {
        fields.all.push((Cow::Borrowed("trace_flags"), Value::Int(log.flags.into())));
    }
    let level = stated.unwrap_or_else(|| Level::detect(&message));
    let mut record = Flat { timestamp, level, message, fields: std::mem::take(&mut fields.all) };
    let pushed = parcel.push_flat(stream, &mut record, raw);
    fields.all = record.fields;
    pushed
}

/// A record kept as text with the reason, and with what it shares with its neighbours.
fn unread(raw: &[u8], reason: &str, shared: &Fields<'_>) -> Record {
    let mut record = json::poisoned(raw, reason);
    if !shared.is_over && shared.all.len() < RECORD_FIELDS_MAX {
        let own = |(name, value): &(Cow<'_, str>, Value<'_>)| {
            (name.clone().into_owned(), value.borrowed().into_owned())
        };
        record.fields.extend(shared.all.iter().map(own));
    }
    record
}

fn borrowed<'a>((name, value): &'a (Cow<'_, str>, Value<'_>)) -> (Cow<'a, str>, Value<'a>) {
    (Cow::Borrowed(name), value.borrowed())
}

/// The text of a body; of one that is a map the member that is a message, the others are fields.
fn text_of<'a>(body: &Any<'a>, fields: &mut Fields<'a>) -> Option<Cow<'a, str>> {
    match body {
        Any::Text(text) => Some(kept(text, fields)),
        Any::Map(pairs) => {
            let is_text = |pair: &Pair<'_>| matches!(pair.value, Some(Any::Text(_)));
            let named = |name: &&str| pairs.iter().position(|pair| pair.key == name.as_bytes());
            let said = MESSAGE_NAMES.iter().find_map(named);
            let said = said.filter(|at| pairs.get(*at).is_some_and(is_text));
            let mut text = None;
            for (at, pair) in pairs.iter().enumerate() {
                match &pair.value {
                    Some(Any::Text(message)) if Some(at) == said => {
                        text = Some(kept(message, fields));
                    }
                    _ => fields.pair("", pair, 1),
                }
            }
            text.or_else(|| Some(pairs_to_json(pairs).to_string().into()))
        }
        Any::Bytes(bytes) => Some(hex(bytes).into()),
        Any::Float(number) if !number.is_finite() => Some(number.to_string().into()),
        other => Some(other.to_json().to_string().into()),
    }
}

/// A message's text; that bytes of it were escaped is a field.
fn kept<'a>(text: &'a [u8], fields: &mut Fields<'a>) -> Cow<'a, str> {
    let (text, is_escaped) = keep_text(text);
    if is_escaped {
        fields.named(KEPT_FIELD, Cow::Borrowed("escaped"));
    }
    text
}

/// Whether a record has too many fields, with `shared` of them, names too long or levels too many.
fn over(shared: usize, log: &Log<'_>) -> bool {
    let mut count = shared + 6;
    let body = match &log.body {
        Some(Any::Map(body)) => body.as_slice(),
        _ => &[],
    };
    let pairs = body.iter().chain(&log.attributes);
    let sound = pairs.into_iter().all(|pair| sound(0, pair, 1, &mut count));
    !sound || count > RECORD_FIELDS_MAX
}

fn sound(prefix: usize, pair: &Pair<'_>, depth: usize, count: &mut usize) -> bool {
    // Behind a prefix stands a dot.
    let name = prefix + usize::from(prefix > 0) + pair.key.len();
    pair.value.as_ref().is_none_or(|value| sound_value(name, value, depth, count))
}

fn sound_value(name: usize, value: &Any<'_>, depth: usize, count: &mut usize) -> bool {
    if name > FIELD_NAME_BYTES_MAX || depth > RECORD_DEPTH_MAX {
        return false;
    }
    match value {
        Any::Array(values) => {
            values.iter().flatten().all(|value| sound_value(name, value, depth + 1, count))
        }
        Any::Map(pairs) => pairs.iter().all(|pair| sound(name, pair, depth + 1, count)),
        _ => {
            *count += 1;
            *count <= RECORD_FIELDS_MAX
        }
    }
}

fn level(log: &Log<'_>) -> Option<Level> {
    Some(match log.severity_number {
        1..=4 => Level::Trace,
        5..=8 => Level::Debug,
        9..=12 => Level::Info,
        13..=16 => Level::Warn,
        17..=20 => Level::Error,
        21..=24 => Level::Fatal,
        _ => return Level::from_word(&utf8(log.severity_text)),
    })
}

/// Fields as they are gathered.
#[derive(Debug, Default)]
struct Fields<'a> {
    all: Vec<(Cow<'a, str>, Value<'a>)>,
    /// What all records of a resource share is over a bound.
    is_over: bool,
}

impl<'a> Fields<'a> {
    fn named(&mut self, name: &'static str, value: Cow<'a, str>) {
        if !value.is_empty() {
            self.all.push((Cow::Borrowed(name), Value::Text(value)));
        }
    }

    fn scope(&mut self, scope: Option<&'a Scope>) {
        let Some(scope) = scope else { return };
        self.named("scope.name", utf8(&scope.name));
        self.named("scope.version", utf8(&scope.version));
        scope.attributes.iter().for_each(|pair| self.pair("scope", &Pair::from(pair), 1));
    }

    fn pair(&mut self, prefix: &str, pair: &Pair<'a>, depth: usize) {
        let key = utf8(pair.key);
        let name = if prefix.is_empty() { key } else { [prefix, ".", &key].concat().into() };
        if let Some(value) = &pair.value {
            self.value(name, value, depth);
        }
    }

    fn value(&mut self, name: Cow<'a, str>, value: &Any<'a>, depth: usize) {
        let is_over = name.len() > FIELD_NAME_BYTES_MAX
            || depth > RECORD_DEPTH_MAX
            || self.all.len() > RECORD_FIELDS_MAX;
        if is_over {
            self.is_over = true;
            return;
        }
        let value = match value {
            Any::Text(text) => Value::Text(utf8(text)),
            Any::Bytes(bytes) => Value::Text(hex(bytes).into()),
            Any::Bool(truth) => Value::Bool(*truth),
            Any::Int(number) => Value::Int(*number),
            Any::Float(number) if number.is_finite() => Value::Float(*number),
            Any::Float(number) => Value::Text(number.to_string().into()),
            Any::Array(values) => {
                for value in values.iter().flatten() {
                    self.value(name.clone(), value, depth + 1);
                }
                return;
            }
            Any::Map(pairs) => {
                return pairs.iter().for_each(|pair| self.pair(&name, pair, depth + 1));
            }
        };
        self.all.push((name, value));
    }
}
