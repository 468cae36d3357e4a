//! Events of the collector as records.

use std::collections::HashMap;

use model::json;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, RECORD_FIELDS_MAX};
use model::record::{FieldValue, POISON_FIELD, Record};
use model::stream::{IndexName, IndexNameError, Labels};
use model::text::cut;
use model::time::{SECOND, Timestamp};
use platform::http::ApiError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Error, Refusal};
use crate::doors::names::LARGE;
use crate::doors::ndjson;
use crate::doors::parcel::{Packed, Parcel, text};

/// What is said around an event; in the address, for all of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Meta {
    index: Option<String>,
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
}

impl Meta {
    pub(super) fn of(parameters: &HashMap<String, String>) -> Self {
        let one = |name: &str| parameters.get(name).cloned();
        Self {
            index: one("index"),
            host: one("host"),
            source: one("source"),
            sourcetype: one("sourcetype"),
        }
    }

    /// The index that is named, or the default.
    pub(super) fn index(&self) -> Result<IndexName, IndexNameError> {
        match self.index.as_deref().filter(|index| !index.is_empty()) {
            None => Ok(IndexName::default()),
            Some(name) => IndexName::new(name),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Event {
    event: Option<Value>,
    time: Option<Value>,
    index: Option<Value>,
    host: Option<Value>,
    source: Option<Value>,
    sourcetype: Option<Value>,
    fields: Option<Value>,
}

/// What stands around an event and is not what its name says.
type Odd = Vec<(&'static str, Value)>;

impl Event {
    /// Where it belongs: what it says itself, else what all of its request is given.
    fn meta(&mut self, given: &Meta, odd: &mut Odd) -> Meta {
        let mut one = |name, said: Option<Value>, given: Option<&str>| {
            let said = said.and_then(|said| name_of(name, said, odd));
            said.or_else(|| given.map(str::to_owned))
        };
        Meta {
            index: one("index", self.index.take(), given.index.as_deref()),
            host: one("host", self.host.take(), given.host.as_deref()),
            source: one("source", self.source.take(), given.source.as_deref()),
            sourcetype: one("sourcetype", self.sourcetype.take(), given.sourcetype.as_deref()),
        }
    }

    fn fields(&mut self, odd: &mut Odd) -> Map<String, Value> {
        match self.fields.take() {
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                odd.push(("fields", other));
                Map::new()
            }
            None => Map::new(),
        }
    }
}

/// A name around an event: a number or a truth is one as it is written.
fn name_of(name: &'static str, said: Value, odd: &mut Odd) -> Option<String> {
    match said {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(said.to_string()),
        other => {
            odd.push((name, other));
            None
        }
    }
}

/// Reads the events of one request.
pub(super) struct Reader {
    parcel: Parcel,
    /// Whether the parcel's key is what the request holds.
    is_by_content: bool,
    /// Events so far, and what stands in their place.
    number: usize,
    /// How many of them state their time, and whether one does it finer than in seconds.
    timed: usize,
    is_fine: bool,
    /// Whether one of them was an event.
    has_event: bool,
    /// What the table says of the first that was none.
    refusal: Option<Refusal>,
}

impl Reader {
    pub(super) fn new(parcel: Parcel) -> Self {
        let (number, timed) = (0, 0);
        let (is_by_content, is_fine, has_event) = (false, false, false);
        Self { parcel, is_by_content, number, timed, is_fine, has_event, refusal: None }
    }

    /// The same where the parcel's key is what the request holds.
    pub(super) fn by_content(parcel: Parcel) -> Self {
        Self { is_by_content: true, ..Self::new(parcel) }
    }

    /// What was read. Where nothing was an event it was no request. Events that state no time, and few of
    /// whole seconds, are equal without being repeats, so such a request is not known by what it holds.
    pub(super) fn finish(mut self) -> Result<Packed, Error> {
        let is_itself = self.timed == self.number && (self.is_fine || self.number >= LARGE);
        if self.is_by_content && !is_itself {
            self.parcel.without_key();
        }
        match self.refusal.filter(|_| !self.has_event) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(self.parcel.finish()?),
        }
    }

    /// JSON objects, one behind the other, with or without anything between. What is no event is
    /// kept as text: senders drop what is refused, and its neighbours with it.
    pub(super) fn events(&mut self, body: &[u8], meta: &Meta) -> Result<(), Error> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
        let mut start = 0;
        while let Some(Ok(_)) = values.next() {
            let end = values.byte_offset();
            self.value(body.get(start..end).unwrap_or_default().trim_ascii(), meta)?;
            start = end;
        }
        // Where the JSON breaks nobody knows where that event ends: from there on each line stands
        // for itself.
        for line in ndjson::lines(body.get(start..).unwrap_or_default()) {
            match serde_json::from_slice::<IgnoredAny>(line) {
                Ok(_) => self.value(line, meta)?,
                Err(_) => self.no_event(Refusal::INVALID, line, meta)?,
            }
        }
        Ok(())
    }

    /// Lines of text.
    pub(super) fn raw(&mut self, body: &[u8], meta: &Meta) -> Result<(), Error> {
        for line in ndjson::lines(body) {
            self.push(meta, json::line(line), line)?;
        }
        Ok(())
    }

    /// A whole value of JSON.
    fn value(&mut self, raw: &[u8], meta: &Meta) -> Result<(), ApiError> {
        if !raw.starts_with(b"{") {
            return self.no_event(Refusal::INVALID, raw, meta);
        }
        let mut event: Event = match serde_json::from_slice(raw) {
            Ok(event) => event,
            Err(error) => {
                self.count_event();
                let record = json::poisoned(raw, &format!("no event of HEC: {error}"));
                return self.push(meta, record, raw);
            }
        };
        let mut record = match event.event.take() {
            None | Some(Value::Null) => return self.no_event(Refusal::NO_EVENT, raw, meta),
            Some(Value::String(line)) if line.trim().is_empty() => {
                return self.no_event(Refusal::BLANK_EVENT, raw, meta);
            }
            Some(said) => said_by(said),
        };
        self.count_event();
        if let Some(time) = event.time.as_ref().and_then(moment) {
            self.timed += 1;
            self.is_fine |= time.0 % SECOND != 0;
        }
        let mut odd = Odd::new();
        let meta = event.meta(meta, &mut odd);
        let fields = event.fields(&mut odd);
        let surrounded = surround(&mut record, event.time.take(), fields);
        if let Err(reason) = surrounded.and_then(|()| put_aside(&mut record, &odd)) {
            record = kept(&record, raw, &reason);
        }
        self.push(&meta, record, raw)
    }

    fn count_event(&mut self) {
        self.number += 1;
        self.has_event = true;
    }

    /// Keeps what is no event with the words that the table has for it.
    fn no_event(&mut self, refusal: Refusal, raw: &[u8], meta: &Meta) -> Result<(), ApiError> {
        let record = json::poisoned(raw, refusal.text);
        let number = self.number;
        self.refusal.get_or_insert(refusal.at(number));
        self.number += 1;
        self.push(meta, record, raw)
    }

    /// Adds a record. One whose index cannot be is kept with the reason, in the index of all that
    /// name none.
    fn push(&mut self, meta: &Meta, record: Record, raw: &[u8]) -> Result<(), ApiError> {
        let (index, record) = match meta.index() {
            Ok(index) => (index, record),
            Err(error) => (IndexName::default(), kept(&record, raw, &error.to_string())),
        };
        let pairs =
            [("host", &meta.host), ("source", &meta.source), ("sourcetype", &meta.sourcetype)];
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = cut(value.as_deref()?, LABEL_BYTES_MAX);
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        });
        // Three names that differ, values within the bound: they can always be labels.
        let labels = Labels::new(pairs.collect()).unwrap_or_default();
        let stream = self.parcel.stream(index, labels)?;
        self.parcel.push(stream, record, || raw.to_vec())
    }
}

/// The record of what an event says.
fn said_by(event: Value) -> Record {
    match event {
        Value::String(line) => json::line(line.as_bytes()),
        value @ Value::Object(_) => {
            let line = value.to_string();
            json::record(line.as_bytes())
                .unwrap_or_else(|error| json::poisoned(line.as_bytes(), &error.to_string()))
        }
        value => json::plain(value.to_string().as_bytes()),
    }
}

/// Adds what stands around an event.
fn surround(
    record: &mut Record,
    time: Option<Value>,
    fields: Map<String, Value>,
) -> Result<(), String> {
    if let Some(time) = time {
        match moment(&time) {
            Some(moment) => record.timestamp = Some(moment),
            // What it says is kept for those who know it.
            None => field(record, "time", time)?,
        }
    }
    for (name, value) in fields {
        field(record, &name, value)?;
    }
    Ok(())
}

/// Keeps what is not what its name says as fields, as it is written, with the reason; the event itself
/// can be read.
fn put_aside(record: &mut Record, odd: &[(&'static str, Value)]) -> Result<(), String> {
    let Some((first, _)) = odd.first() else { return Ok(()) };
    let reason = format!("{first} of the event cannot be this");
    for (name, value) in odd {
        field(record, name, Value::String(value.to_string()))?;
    }
    if record.fields.iter().all(|(name, _)| name != POISON_FIELD) {
        field(record, POISON_FIELD, Value::String(reason))?;
    }
    Ok(())
}

/// The event as it came, with the reason; its time and level are known.
fn kept(record: &Record, raw: &[u8], reason: &str) -> Record {
    let poisoned = json::poisoned(raw, reason);
    Record { timestamp: record.timestamp, level: record.level, ..poisoned }
}

/// Seconds with a fraction, as number or text; milliseconds and finer are told by their size.
fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => Timestamp::parse(&number.to_string()),
        _ => None,
    }
}

fn field(record: &mut Record, name: &str, value: Value) -> Result<(), String> {
    if record.fields.len() >= RECORD_FIELDS_MAX {
        return Err(format!("more than {RECORD_FIELDS_MAX} fields"));
    }
    if name.len() > FIELD_NAME_BYTES_MAX {
        return Err(format!("a field name is over {FIELD_NAME_BYTES_MAX} bytes"));
    }
    let value = match value {
        Value::Null => return Ok(()),
        Value::Bool(truth) => FieldValue::Bool(truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => FieldValue::Int(whole),
            (None, Some(float)) => FieldValue::Float(float),
            (None, None) => FieldValue::Text(number.to_string()),
        },
        Value::String(text) => FieldValue::Text(text),
        Value::Array(values) => {
            for value in values {
                field(record, name, value)?;
            }
            return Ok(());
        }
        // Flat by the protocol; what is not is kept as it is written.
        nested @ Value::Object(_) => {
            record.fields.push(text(name, nested.to_string()));
            return Ok(());
        }
    };
    record.fields.push((name.to_owned(), value));
    Ok(())
}
