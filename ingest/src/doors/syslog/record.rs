//! Messages of syslog as records.

use std::net::IpAddr;

use model::json::{self, JsonError};
use model::level::Level;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX};
use model::record::{FieldValue, KEPT_FIELD, POISON_FIELD, Record};
use model::stream::{IndexName, Labels};
use model::syslog::{self, Message};
use model::text::{cut, keep_text};
use model::time::Timestamp;
use model::zone::Zone;
use platform::http::ApiError;

use super::frame::Frame;
use crate::doors::parcel::{Packed, Parcel, STREAMS_MAX, text};

/// Makes a parcel of messages.
pub(super) struct Reader<'a> {
    parcel: Parcel,
    zone: &'a mut Zone,
    arrival: Timestamp,
}

impl<'a> Reader<'a> {
    /// Messages without zone are of `zone`.
    pub(super) fn new(arrival: Timestamp, zone: &'a mut Zone) -> Self {
        Self { parcel: Parcel::new(arrival, None), zone, arrival }
    }

    pub(super) fn finish(self) -> Result<Packed, ApiError> {
        self.parcel.finish()
    }

    /// Adds a message that this sender sent.
    pub(super) fn push(&mut self, frame: &Frame, peer: IpAddr) -> Result<(), ApiError> {
        let (line, is_escaped) = keep_text(&frame.bytes);
        let sender = peer.to_string();
        let (mut record, host, app) = match syslog::read(&line) {
            Some(message) => {
                let record = self.record(&message, &line);
                (record, message.host.unwrap_or(&sender).to_owned(), message.app)
            }
            None => {
                let reason = "not syslog: it has neither a priority nor a head";
                (json::poisoned(line.as_bytes(), reason), sender.clone(), None)
            }
        };
        if is_escaped {
            record.fields.push(text(KEPT_FIELD, "escaped"));
        }
        if frame.is_cut {
            record.fields.push(text(KEPT_FIELD, "cut"));
        }
        record.fields.push(text("peer", sender));
        let mut labels = vec![("host".to_owned(), cut(&host, LABEL_BYTES_MAX).to_owned())];
        labels.extend(app.map(|app| ("service".to_owned(), cut(app, LABEL_BYTES_MAX).to_owned())));
        // Senders may invent names: beyond the bound they are fields.
        let labels = if self.parcel.stream_count() + 1 < STREAMS_MAX {
            labels
        } else {
            record.fields.extend(labels.into_iter().map(|(name, value)| text(name, value)));
            Vec::new()
        };
        let labels = Labels::new(labels).unwrap_or_default();
        let stream = self.parcel.stream(IndexName::default(), labels)?;
        self.parcel.push(stream, record, || frame.bytes.to_vec())
    }

    fn record(&mut self, message: &Message<'_>, line: &str) -> Record {
        let timestamp = message.moment(self.zone, self.arrival);
        // Programs that write JSON do so through syslog as well, some with its old cookie.
        let object = message.text.strip_prefix("@cee:").unwrap_or(message.text).trim_start();
        let whole = message.text.as_bytes();
        let mut record = match object.starts_with('{').then(|| json::record(object.as_bytes())) {
            Some(Ok(record)) => record,
            Some(Err(error @ JsonError::Bound(_))) => json::poisoned(whole, &error.to_string()),
            _ => json::plain(whole),
        };
        record.timestamp = record.timestamp.or(timestamp);
        if record.level == Level::Unknown || !message.text.contains('{') {
            record.level = message.level().unwrap_or(record.level);
        }
        let mut fault = message.fault;
        if message.time.is_some() && timestamp.is_none() {
            record.fields.extend(message.time.map(|time| text("time", time)));
            fault = fault.or(Some("its time cannot be read"));
        }
        record.fields.extend(message.facility().map(|facility| text("facility", facility)));
        if let Some(process) = message.process {
            let number = process.parse().map(FieldValue::Int);
            let value = number.unwrap_or_else(|_| FieldValue::Text(process.to_owned()));
            record.fields.push(("pid".to_owned(), value));
        }
        record.fields.extend(message.id.map(|id| text("msgid", id)));
        let structured = message.structured.iter();
        let structured = structured.filter(|(name, _)| name.len() <= FIELD_NAME_BYTES_MAX);
        record.fields.extend(structured.map(|(name, value)| text(name, value)));
        if let Some(fault) = fault {
            record.fields.push(text(POISON_FIELD, fault));
            line.clone_into(&mut record.message);
        }
        record
    }
}
