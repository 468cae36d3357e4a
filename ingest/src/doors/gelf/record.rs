//! Messages of GELF as records.

use model::json;
use model::level::Level;
use model::limits::{LABEL_BYTES_MAX, RECORD_FIELDS_MAX};
use model::record::{FieldValue, Record};
use model::stream::{IndexName, Labels};
use model::text::cut;
use model::time::Timestamp;
use platform::http::ApiError;
use serde_json::{Map, Value};

use crate::doors::parcel::{Packed, Parcel, STREAMS_MAX, text};

/// Makes a parcel of messages.
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

    /// Adds a message; one that is none is kept as text. `peer` is the host of those that name
    /// none.
    pub(super) fn push(&mut self, bytes: &[u8], peer: Option<&str>) -> Result<(), ApiError> {
        self.read(bytes, peer)?;
        Ok(())
    }

    /// The same, and whether it was one.
    pub(super) fn read(&mut self, bytes: &[u8], peer: Option<&str>) -> Result<bool, ApiError> {
        let record = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(message)) => {
                self.message(message, bytes, peer)?;
                return Ok(true);
            }
            Ok(_) => json::poisoned(bytes, "not a JSON object"),
            Err(error) => json::poisoned(bytes, &format!("not GELF: {error}")),
        };
        self.keep(None, peer, record, bytes)?;
        Ok(false)
    }

    /// Keeps what cannot be a message.
    pub(super) fn broken(
        &mut self,
        bytes: &[u8],
        peer: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        self.keep(None, Some(peer), json::poisoned(bytes, reason), bytes)
    }

    /// Adds what was read.
    pub(super) fn message(
        &mut self,
        message: Map<String, Value>,
        bytes: &[u8],
        peer: Option<&str>,
    ) -> Result<(), ApiError> {
        let host = message.get("host").and_then(Value::as_str).map(str::to_owned);
        let record =
            record(message).unwrap_or_else(|reason| json::poisoned(bytes, &reason.to_string()));
        self.keep(host, peer, record, bytes)
    }

    fn keep(
        &mut self,
        host: Option<String>,
        peer: Option<&str>,
        mut record: Record,
        bytes: &[u8],
    ) -> Result<(), ApiError> {
        record.fields.extend(peer.map(|peer| text("peer", peer)));
        let host = host.or_else(|| peer.map(str::to_owned)).filter(|host| !host.is_empty());
        let host = host.map(|host| ("host".to_owned(), cut(&host, LABEL_BYTES_MAX).to_owned()));
        let mut labels: Vec<_> = host.into_iter().collect();
        // Senders may invent names: beyond the bound they are fields.
        if self.parcel.stream_count() + 1 >= STREAMS_MAX {
            record.fields.extend(labels.drain(..).map(|(name, value)| text(name, value)));
        }
        let labels = Labels::new(labels).unwrap_or_default();
        let stream = self.parcel.stream(IndexName::default(), labels)?;
        self.parcel.push(stream, record, || bytes.to_vec())
    }
}

fn record(message: Map<String, Value>) -> Result<Record, json::JsonError> {
    let mut record = Record::default();
    let mut fields = Vec::new();
    let mut level = None;
    let mut short = None;
    for (name, value) in message {
        match (name.as_str(), &value) {
            ("version" | "host", Value::String(_)) => {}
            ("short_message", Value::String(said)) => short = Some(said.clone()),
            ("timestamp", Value::Number(_) | Value::String(_)) if moment(&value).is_some() => {
                record.timestamp = moment(&value);
            }
            ("level", Value::Number(number)) if (0..=7).contains(&number.as_i64().unwrap_or(8)) => {
                level = number.as_i64().and_then(Level::from_json_number);
            }
            // Additional fields are led by one underscore.
            _ => fields.extend(json::fields(name.strip_prefix('_').unwrap_or(&name), &value)?),
        }
    }
    if fields.len() > RECORD_FIELDS_MAX {
        return Err(json::JsonError::Bound(format!("more than {RECORD_FIELDS_MAX} fields")));
    }
    if short.is_none() {
        // Some senders have the full message alone.
        let full = fields.iter().position(|(name, value)| {
            name == "full_message" && matches!(value, FieldValue::Text(_))
        });
        short = full.map(|at| fields.remove(at).1.to_text());
    }
    let plain = json::plain(short.unwrap_or_default().as_bytes());
    record.level = level.unwrap_or(plain.level);
    record.message = plain.message;
    record.fields = plain.fields;
    record.fields.extend(fields);
    Ok(record)
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Timestamp::from_epoch(whole),
            (None, float) => Timestamp::from_epoch_float(float?),
        },
        _ => None,
    }
}
