//! Message → record: a JSON object as a line of JSON would be, else text; key, place and headers
//! as fields.

use std::borrow::Cow;

use model::batch::weight;
use model::json;
use model::limits::{BATCH_BYTES_MAX, FIELD_NAME_BYTES_MAX};
use model::record::{FieldValue, POISON_FIELD, Record};
use model::text::{cut, keep_text};
use model::time::Timestamp;

/// Headers of a message that are kept.
const HEADERS_MAX: usize = 64;
/// Bytes of a key or of a header's value that are kept.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Bytes that are left for the offset in a record that fits a batch just so.
const OFFSET_BYTES: usize = 64;
/// Bytes that a message takes in memory beside its texts.
const OVERHEAD_BYTES: usize = 128;

/// A message, taken off the library's hands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) offset: u64,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) key: Option<Vec<u8>>,
    /// None: a tombstone.
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let texts = [&self.key, &self.value].into_iter().flatten().map(Vec::len);
        OVERHEAD_BYTES + texts.sum::<usize>() + headers.sum::<usize>()
    }

    /// The record, and whether it is kept as text with a reason.
    pub(super) fn record(&self) -> (Record, bool) {
        let mut record = match self.value.as_deref() {
            None => json::poisoned(b"", "a tombstone: the message has no value"),
            Some(value) => json::line(value),
        };
        let read = record.fields.len();
        if let Some(key) = &self.key {
            record.fields.push(text("kafka.key", key));
        }
        for (name, value) in self.headers.iter().take(HEADERS_MAX) {
            let name = format!("kafka.headers.{name}");
            record.fields.push(text(cut(&name, FIELD_NAME_BYTES_MAX), value));
        }
        if weight(&record) + OFFSET_BYTES > BATCH_BYTES_MAX {
            let reason = format!("a record is over {BATCH_BYTES_MAX} bytes");
            let kept = json::poisoned(self.value.as_deref().unwrap_or_default(), &reason);
            let fields = record.fields.split_off(read);
            record = Record { timestamp: record.timestamp, level: record.level, ..kept };
            record.fields.extend(fields);
        }
        let offset = FieldValue::Int(i64::try_from(self.offset).unwrap_or(i64::MAX));
        record.fields.push(("kafka.offset".to_owned(), offset));
        record.timestamp = record.timestamp.or(self.timestamp);
        let poisoned = record.fields.iter().any(|(name, _)| name == POISON_FIELD);
        (record, poisoned)
    }
}

fn text(name: &str, bytes: &[u8]) -> (String, FieldValue) {
    let kept: Cow<'_, str> = keep_text(bytes).0;
    (name.to_owned(), FieldValue::Text(cut(&kept, TEXT_BYTES_MAX).to_owned()))
}
