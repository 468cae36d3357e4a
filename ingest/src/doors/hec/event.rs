//! Events of the collector as records.

use std::collections::HashMap;

use model::json;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, RECORD_FIELDS_MAX};
use model::record::{FieldValue, Record};
use model::stream::{IndexName, Labels};
use model::text::cut;
use model::time::Timestamp;
use platform::http::ApiError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Error, Refusal};
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
}

#[derive(Debug, Deserialize)]
struct Event {
    event: Option<Value>,
    time: Option<Value>,
    index: Option<String>,
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    fields: Option<Map<String, Value>>,
}

/// Reads the events of one request.
pub(super) struct Reader {
    parcel: Parcel,
}

impl Reader {
    pub(super) fn new(parcel: Parcel) -> Self {
        Self { parcel }
    }

    pub(super) fn finish(self) -> Result<Packed, ApiError> {
        self.parcel.finish()
    }

    /// JSON objects, one behind the other, with or without anything between.
    pub(super) fn events(&mut self, body: &[u8], meta: &Meta) -> Result<(), Error> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
        let (mut start, mut number) = (0, 0);
        while let Some(value) = values.next() {
            let invalid = || Refusal::INVALID.at(number);
            value.map_err(|_| invalid())?;
            let end = values.byte_offset();
            let raw = body.get(start..end).unwrap_or_default();
            start = end;
            let event: Event = match serde_json::from_slice(raw) {
                Ok(event) => event,
                // Where it ends is known: its neighbours are not refused with it.
                Err(error) if raw.trim_ascii_start().starts_with(b"{") => {
                    let raw = raw.trim_ascii();
                    let record = json::poisoned(raw, &format!("no event of HEC: {error}"));
                    self.push(meta, record, raw)?;
                    number += 1;
                    continue;
                }
                Err(_) => return Err(invalid().into()),
            };
            self.event(event, raw, meta).map_err(|error| match error {
                Error::Table(refusal) => Error::Table(refusal.at(number)),
                shared @ Error::Shared(_) => shared,
            })?;
            number += 1;
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

    fn event(&mut self, event: Event, raw: &[u8], meta: &Meta) -> Result<(), Error> {
        let mut record = match event.event {
            None | Some(Value::Null) => return Err(Refusal::NO_EVENT.into()),
            Some(Value::String(line)) if line.trim().is_empty() => {
                return Err(Refusal::BLANK_EVENT.into());
            }
            Some(Value::String(line)) => json::line(line.as_bytes()),
            Some(value @ Value::Object(_)) => {
                let line = value.to_string();
                json::record(line.as_bytes())
                    .unwrap_or_else(|error| json::poisoned(line.as_bytes(), &error.to_string()))
            }
            Some(value) => json::plain(value.to_string().as_bytes()),
        };
        if let Some(time) = event.time {
            match moment(&time) {
                Some(moment) => record.timestamp = Some(moment),
                // What it says is kept for those who know it.
                None => field(&mut record, "time", time)?,
            }
        }
        for (name, value) in event.fields.unwrap_or_default() {
            field(&mut record, &name, value)?;
        }
        let meta = Meta {
            index: event.index.or_else(|| meta.index.clone()),
            host: event.host.or_else(|| meta.host.clone()),
            source: event.source.or_else(|| meta.source.clone()),
            sourcetype: event.sourcetype.or_else(|| meta.sourcetype.clone()),
        };
        self.push(&meta, record, raw)
    }

    fn push(&mut self, meta: &Meta, record: Record, raw: &[u8]) -> Result<(), Error> {
        let index = match meta.index.as_deref().filter(|index| !index.is_empty()) {
            None => IndexName::default(),
            Some(name) => IndexName::new(name).map_err(|_| Refusal::INDEX)?,
        };
        let pairs =
            [("host", &meta.host), ("source", &meta.source), ("sourcetype", &meta.sourcetype)];
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = cut(value.as_deref()?, LABEL_BYTES_MAX);
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        });
        let labels = Labels::new(pairs.collect()).map_err(|_| Refusal::INVALID)?;
        let stream = self.parcel.stream(index, labels)?;
        Ok(self.parcel.push(stream, record, || raw.to_vec())?)
    }
}

/// Seconds with a fraction, as number or text; milliseconds and finer are told by their size.
fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => Timestamp::parse(&number.to_string()),
        _ => None,
    }
}

fn field(record: &mut Record, name: &str, value: Value) -> Result<(), Refusal> {
    if record.fields.len() >= RECORD_FIELDS_MAX || name.len() > FIELD_NAME_BYTES_MAX {
        return Err(Refusal::FIELDS);
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
