//! Line → record: JSON objects by their fields, all else as text with the time and level it states.

mod time;
mod zone;
#[cfg(test)]
mod tests;

use model::json::{self, JsonError, TIME_NAMES};
use model::level::Level;
use model::limits::MESSAGE_BYTES_MAX;
use model::record::{FieldValue, KEPT_FIELD, Record};
use model::time::Timestamp;

pub(crate) use zone::{Zone, ZoneError};

use crate::frame;

/// Reads lines. Keeps the last time it looked up, so one parser serves one run of lines.
#[derive(Debug)]
pub(crate) struct Parser {
    zone: Zone,
    now: Timestamp,
}

/// A line that is a record as it stands: no fields, nothing escaped or cut.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) level: Level,
    pub(crate) message: &'a str,
}

impl Parser {
    /// A plain line, without making a record of it. `None`: it takes [`Parser::record`].
    pub(crate) fn text<'a>(&mut self, line: &'a [u8]) -> Option<Text<'a>> {
        if line.first() == Some(&b'{') || line.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        let message = std::str::from_utf8(line).ok()?;
        Some(Text { timestamp: self.time(line), level: Level::detect(message), message })
    }

    /// Times without a zone are taken in `zone`, times without a year near to `now`.
    pub(crate) fn new(zone: Zone, now: Timestamp) -> Self {
        Self { zone, now }
    }

    /// The record of a line. Every line is one: what states no time has none, what is not read
    /// is kept as text.
    pub(crate) fn record(&mut self, line: &[u8]) -> Record {
        if line.first() == Some(&b'{') && line.trim_ascii_end().ends_with(b"}") {
            match json::record(line) {
                Ok(mut record) => {
                    self.time_of_fields(&mut record);
                    return record;
                }
                Err(error @ JsonError::Bound(_)) => {
                    return json::poisoned(line, &error.to_string());
                }
                // Looks like JSON and is none: text like any other.
                Err(JsonError::Syntax(_) | JsonError::NotObject) => {}
            }
        }
        let mut record = json::plain(line);
        record.timestamp = self.time(line);
        record
    }

    /// The record of a line that was refused as anything better, kept as text with the reason.
    pub(crate) fn poisoned(&mut self, line: &[u8], reason: &str) -> Record {
        let mut record = json::poisoned(line, reason);
        record.timestamp = self.time(line);
        record
    }

    /// The record of a line of `bytes` bytes, of which only the `head` is kept.
    pub(crate) fn over_long(&mut self, head: &[u8], bytes: u64) -> Record {
        let mut record = json::plain(frame::cut(head, MESSAGE_BYTES_MAX));
        record.timestamp = self.time(head);
        record.fields.retain(|(name, value)| {
            name != "_bytes" && *value != FieldValue::Text("cut".to_owned())
        });
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        record.fields.push(("_bytes".to_owned(), FieldValue::Int(bytes)));
        record
    }

    /// The time a line of text states.
    fn time(&mut self, line: &[u8]) -> Option<Timestamp> {
        let stated = time::find(line)?;
        self.zone.resolve(&stated, self.now)
    }

    /// A time that JSON gives in a form of its own, mostly without a zone.
    fn time_of_fields(&mut self, record: &mut Record) {
        if record.timestamp.is_some() {
            return;
        }
        for name in TIME_NAMES {
            let place = record.fields.iter().position(|(field, _)| field == name);
            let Some((place, (_, FieldValue::Text(text)))) =
                place.and_then(|at| Some((at, record.fields.get(at)?)))
            else {
                continue;
            };
            if let Some(moment) = self.time(text.as_bytes()) {
                record.timestamp = Some(moment);
                record.fields.remove(place);
                return;
            }
        }
    }
}
