//! The journal's export format: entries of fields, ended by an empty line; what is no plain text
//! has its length before it.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;
use model::json;
use model::level::Level;
use model::limits::{FIELD_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_FIELDS_MAX};
use model::record::{FieldValue, KEPT_FIELD, Record};
use model::text::{cut, keep_text};
use model::time::Timestamp;

use crate::doors::parcel::text;

/// Bytes of a field that are kept; of longer ones the beginning is.
const FIELD_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Fields of the journal's own that are kept, and what they are called: as the shipper calls them.
const NAMES: [(&str, &str); 8] = [
    ("_SYSTEMD_UNIT", "unit"),
    ("_SYSTEMD_USER_UNIT", "user_unit"),
    ("SYSLOG_IDENTIFIER", "identifier"),
    ("_PID", "pid"),
    ("_UID", "uid"),
    ("_COMM", "command"),
    ("_TRANSPORT", "transport"),
    ("_BOOT_ID", "boot"),
];

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) host: Option<String>,
    pub(super) place: Option<Place>,
    pub(super) record: Record,
}

/// Where an entry is in its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Which run of numbers.
    pub(super) series: String,
    pub(super) number: u64,
}

/// Takes entries out of what comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    fields: Vec<(String, Bytes)>,
    /// Bytes of a field's content that are not kept, and then its end.
    skip: Option<u64>,
    /// Bytes of the buffer that were looked through for the end of a line.
    searched: usize,
    is_cut: bool,
}

/// Not the export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the journal's export format: {0}")]
pub(super) struct ExportError(&'static str);

impl Reader {
    /// The next entry; `None`: more must come.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Entry>, ExportError> {
        loop {
            if let Some(skip) = self.skip {
                let here = usize::try_from(skip).unwrap_or(usize::MAX).min(buffer.len());
                buffer.advance(here);
                let left = skip - here as u64;
                self.skip = (left > 0).then_some(left);
                if left > 0 {
                    return Ok(None);
                }
            }
            let unseen = buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr(b'\n', unseen).map(|at| at + self.searched) else {
                self.searched = buffer.len();
                // A line has no length before it: one without end is no field.
                let is_over = buffer.len() > 2 * FIELD_BYTES_MAX;
                return if is_over { Err(ExportError("a line without end")) } else { Ok(None) };
            };
            let line = buffer.get(..end).unwrap_or_default();
            match memchr(b'=', line) {
                _ if line.is_empty() => {
                    self.consume(buffer, 1);
                    if let Some(entry) = self.finish() {
                        return Ok(Some(entry));
                    }
                }
                Some(equals) => {
                    let name = keep_text(line.get(..equals).unwrap_or_default()).0.into_owned();
                    let value = Bytes::copy_from_slice(line.get(equals + 1..).unwrap_or_default());
                    self.keep(name, value);
                    self.consume(buffer, end + 1);
                }
                None => {
                    if !self.sized(buffer, end)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The entry that the end of the body ends.
    pub(super) fn last(&mut self, buffer: &BytesMut) -> Result<Option<Entry>, ExportError> {
        let is_whole = buffer.is_empty() && self.skip.is_none();
        if is_whole { Ok(self.finish()) } else { Err(ExportError("it ends inside an entry")) }
    }

    /// A field whose length stands before it: false when more must come.
    fn sized(&mut self, buffer: &mut BytesMut, end: usize) -> Result<bool, ExportError> {
        let Some(length) = buffer.get(end + 1..).and_then(|rest| rest.first_chunk::<8>()) else {
            return Ok(false);
        };
        let length = u64::from_le_bytes(*length);
        let kept = usize::try_from(length).unwrap_or(usize::MAX).min(FIELD_BYTES_MAX);
        let start = end + 9;
        if buffer.len() < start + kept + usize::from(kept as u64 == length) {
            return Ok(false);
        }
        let name = keep_text(buffer.get(..end).unwrap_or_default()).0.into_owned();
        let value = Bytes::copy_from_slice(buffer.get(start..start + kept).unwrap_or_default());
        if kept as u64 == length {
            if buffer.get(start + kept) != Some(&b'\n') {
                return Err(ExportError("a field that does not end where its length says"));
            }
            self.consume(buffer, start + kept + 1);
        } else {
            self.is_cut = true;
            self.consume(buffer, start + kept);
            self.skip = Some((length - kept as u64).saturating_add(1));
        }
        self.keep(name, value);
        Ok(true)
    }

    fn consume(&mut self, buffer: &mut BytesMut, bytes: usize) {
        buffer.advance(bytes);
        self.searched = 0;
    }

    fn keep(&mut self, name: String, value: Bytes) {
        // An entry of the journal has at most a thousand of them.
        if self.fields.len() < RECORD_FIELDS_MAX {
            self.fields.push((name, value));
        } else {
            self.is_cut = true;
        }
    }

    fn finish(&mut self) -> Option<Entry> {
        let fields = std::mem::take(&mut self.fields);
        let is_cut = std::mem::take(&mut self.is_cut);
        (!fields.is_empty()).then(|| entry(&fields, is_cut))
    }
}

fn entry(fields: &[(String, Bytes)], is_cut: bool) -> Entry {
    let find =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let number = |name: &str| std::str::from_utf8(find(name)?).ok()?.parse::<i64>().ok();
    let mut record = json::plain(find("MESSAGE").map_or(&[][..], |message| message));
    let micros = number("__REALTIME_TIMESTAMP").and_then(|micros| micros.checked_mul(1_000));
    record.timestamp = micros.map(Timestamp);
    let severity = number("PRIORITY").filter(|severity| (0..=7).contains(severity));
    record.level = severity.and_then(Level::from_json_number).unwrap_or(record.level);
    for (name, value) in fields.iter().filter(|(name, _)| name != "MESSAGE" && name != "PRIORITY") {
        let known = NAMES.iter().find(|(theirs, _)| theirs == name).map(|(_, ours)| *ours);
        let ours = match known {
            Some(ours) => ours.to_owned(),
            // The journal's own bookkeeping.
            None if name.starts_with('_') => continue,
            None => cut(name, FIELD_NAME_BYTES_MAX).to_ascii_lowercase(),
        };
        let value = keep_text(value).0;
        let whole = value.parse().ok().filter(|_| matches!(name.as_str(), "_PID" | "_UID"));
        let value = whole.map_or_else(|| FieldValue::Text(value.into_owned()), FieldValue::Int);
        record.fields.push((ours, value));
    }
    if is_cut {
        record.fields.push(text(KEPT_FIELD, "cut"));
    }
    let said = |name| find(name).map(|value| keep_text(value).0.into_owned());
    if let Some(cursor) = said("__CURSOR") {
        record.fields.push(text("journal_cursor", cursor));
    }
    let place = said("__CURSOR").and_then(|cursor| place(&cursor));
    Entry { host: said("_HOSTNAME"), place, record }
}

/// `s=SERIES;i=NUMBER;…`, the number in hexadecimal.
fn place(cursor: &str) -> Option<Place> {
    let part = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name));
    let number = u64::from_str_radix(part("i=")?, 16).ok().filter(|number| *number < u64::MAX)?;
    Some(Place { series: part("s=")?.to_owned(), number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(body: &[u8], piece: usize) -> Result<Vec<Entry>, ExportError> {
        let (mut reader, mut buffer, mut found) = (Reader::default(), BytesMut::new(), Vec::new());
        for piece in body.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(entry) = reader.next(&mut buffer)? {
                found.push(entry);
            }
        }
        found.extend(reader.last(&buffer)?);
        Ok(found)
    }

    fn sized(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn entries_are_read_however_they_come() {
        let body = [
            b"__CURSOR=s=abc;i=1f;b=1\n__REALTIME_TIMESTAMP=1700000000000001\nPRIORITY=3\n"
                .to_vec(),
            b"_HOSTNAME=web1\n_PID=7\n_SYSTEMD_UNIT=a.service\n_MACHINE_ID=x\nCODE_LINE=9\n"
                .to_vec(),
            sized("MESSAGE", b"two\nlines = here"),
            b"\n\nMESSAGE=second".to_vec(),
            b"\n".to_vec(),
        ]
        .concat();
        for piece in [1, 3, 1_000] {
            let found = entries(&body, piece).unwrap();
            assert_eq!(found.len(), 2);
            let first = &found[0];
            assert_eq!(first.host.as_deref(), Some("web1"));
            assert_eq!(first.place, Some(Place { series: "abc".to_owned(), number: 31 }));
            assert_eq!(first.record.message, "two\nlines = here");
            assert_eq!(first.record.level, Level::Error);
            assert_eq!(first.record.timestamp, Some(Timestamp(1_700_000_000_000_001_000)));
            let names: Vec<&str> = first.record.fields.iter().map(|(name, _)| &**name).collect();
            assert_eq!(names, ["pid", "unit", "code_line", "journal_cursor"]);
            assert_eq!(found[1].record.message, "second");
        }
    }

    #[test]
    fn of_a_long_field_the_beginning_is_kept() {
        let long = vec![b'x'; FIELD_BYTES_MAX + 5_000];
        let body = [sized("MESSAGE", &long), b"A=b\n\nMESSAGE=next\n\n".to_vec()].concat();
        let found = entries(&body, 100_000).unwrap();
        assert_eq!((found.len(), found[0].record.message.len()), (2, FIELD_BYTES_MAX));
        let cut = (KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned()));
        assert!(found[0].record.fields.contains(&cut));
        assert_eq!(found[1].record.message, "next");
    }

    #[test]
    fn what_breaks_off_is_no_entry() {
        assert!(entries(b"MESSAGE=x", 4).is_err());
        assert!(entries(&sized("MESSAGE", b"abc")[..12], 4).is_err());
        let mut wrong = sized("MESSAGE", b"abc");
        wrong.push(b'\n');
        wrong[8] = 2;
        assert!(entries(&wrong, 4).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>, lines in "([A-Z_]{1,3}(=[a-z]{0,3})?\n{1,2}){0,9}", piece in 1_usize..9) {
            for body in [body, lines.into_bytes()] {
                prop_assert_eq!(entries(&body, piece), entries(&body, 1_000));
            }
        }
    }
}
