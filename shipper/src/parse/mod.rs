//! Text → record: JSON objects by their fields, other formats by theirs, all else as it stands,
//! with the time and level it states.

mod format;
mod time;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use encoding_rs::Encoding;
use model::json::{self, Desk, Flat, JsonError, Quick, Stop, TIME_NAMES};
use model::level::Level;
use model::limits::MESSAGE_BYTES_MAX;
use model::record::{FieldValue, KEPT_FIELD, Record};
use model::text::keep_text;
use model::time::Timestamp;

pub(crate) use format::PatternError;
pub(crate) use format::{Format, Pattern, regex};
pub(crate) use model::zone::{Zone, ZoneError};

use crate::feed::record::Note;
use crate::frame;
use crate::frame::container::STREAMS;
use crate::recipe::Recipe;

/// The field that keeps a line of which the message is only a part.
const RAW_FIELD: &str = "_raw";

/// Reads lines. Keeps the last times it looked up, so one parser serves one run of lines.
#[derive(Debug)]
pub(crate) struct Parser {
    recipe: Arc<Recipe>,
    zone: Zone,
    now: Timestamp,
    encoding: Option<&'static Encoding>,
    desk: Desk,
}

/// A line that is a record as it stands: no fields, nothing escaped or cut.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) level: Level,
    pub(crate) message: &'a str,
}

/// What a line is at first sight.
#[derive(Debug)]
pub(crate) enum Seen<'p, 'a> {
    /// Plain text.
    Text(Text<'a>),
    /// An object of JSON, its texts with the parser or in the line.
    Quick(Quick<'p, 'a>),
    /// An object of JSON of any other kind.
    Flat(Flat<'a>),
}

/// A line or several, and what was said around them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    /// The time its wrapping states; it is exact, so it goes before the text's own.
    pub(crate) time: Option<Timestamp>,
    /// As in [`STREAMS`].
    pub(crate) stream: usize,
    /// Where it ends in its file: sampling chooses by it.
    pub(crate) place: u64,
    /// What a spool knows of it.
    pub(crate) note: Note<'a>,
}

impl<'a> Line<'a> {
    /// A line that nothing was said around.
    pub(crate) fn bare(text: &'a [u8], place: u64) -> Self {
        Self { text, time: None, stream: 0, place, note: Note::default() }
    }
}

impl Parser {
    /// Times without a year are taken near to `now`, text in that encoding.
    pub(crate) fn new(
        recipe: Arc<Recipe>,
        now: Timestamp,
        encoding: Option<&'static Encoding>,
    ) -> Self {
        Self { zone: recipe.zone.clone(), recipe, now, encoding, desk: Desk::default() }
    }

    /// What a line is, without making a record of it. `None`: it takes [`Parser::record`].
    pub(crate) fn seen<'a>(&mut self, line: &'a [u8]) -> Option<Seen<'_, 'a>> {
        if self.encoding.is_some() || line.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        let Self { recipe, zone, now, desk, .. } = self;
        let mut text = || {
            let message = std::str::from_utf8(line).ok().filter(|_| recipe.is_plain())?;
            let timestamp = time::find(line).and_then(|stated| zone.resolve(&stated, *now));
            Some(Seen::Text(Text { timestamp, level: Level::detect(message), message }))
        };
        if !begins_object(line) || matches!(recipe.format, Format::Text) {
            return text();
        }
        if !recipe.is_plain_json() {
            return None;
        }
        if !line.trim_ascii_end().ends_with(b"}") {
            return text();
        }
        // A time in a form of its own is still among the fields.
        let is_time = |name: &str| TIME_NAMES.contains(&name);
        match desk.read(line) {
            Ok(quick) => {
                let timed =
                    quick.timestamp.is_some() || !quick.fields().any(|(name, _)| is_time(name));
                timed.then_some(Seen::Quick(quick))
            }
            // Looks like JSON and is none: text like any other.
            Err(Stop::Broken) => text(),
            Err(Stop::Unusual) => {
                let flat = json::flat_of_any(line).ok()?;
                let timed =
                    flat.timestamp.is_some() || !flat.fields.iter().any(|(name, _)| is_time(name));
                timed.then_some(Seen::Flat(flat))
            }
        }
    }

    /// The record of a line. Every line is one, unless a rule says that it is not sent: what
    /// states no time has none, what is not read is kept as text.
    pub(crate) fn record(&mut self, line: Line<'_>) -> Option<Record> {
        let text = self.decode(line.text);
        let own = line.note.own.then(|| json::record(line.text).ok()).flatten();
        if let Some(record) = own {
            return Some(record);
        }
        let mut record = match self.json(&text) {
            Some(record) => record,
            None => self.plain(&text),
        };
        record.timestamp = line.time.or(record.timestamp).or(line.note.arrival);
        if let Some(peer) = line.note.peer {
            record.fields.push(("peer".to_owned(), FieldValue::Text(peer.to_owned())));
        }
        if line.note.cut {
            record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        }
        if let Some(name) = STREAMS.get(line.stream).filter(|name| !name.is_empty()) {
            record.fields.push(("stream".to_owned(), FieldValue::Text((*name).to_owned())));
        }
        self.recipe.rules.apply(record, line.place)
    }

    /// The record of a line that was refused as anything better, kept as text with the reason.
    pub(crate) fn poisoned(&mut self, line: Line<'_>, reason: &str) -> Option<Record> {
        let text = self.decode(line.text);
        let mut record = json::poisoned(&text, reason);
        record.timestamp = line.time.or_else(|| self.time(&text));
        if line.note.cut {
            record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        }
        self.recipe.rules.apply(record, line.place)
    }

    /// The record of a line of `bytes` bytes, of which only the beginning is kept.
    pub(crate) fn over_long(&mut self, head: Line<'_>, bytes: u64) -> Option<Record> {
        let text = self.decode(head.text);
        let mut record = json::plain(frame::cut(&text, MESSAGE_BYTES_MAX));
        record.timestamp = self.time(&text);
        record.fields.retain(|(name, value)| {
            name != "_bytes" && *value != FieldValue::Text("cut".to_owned())
        });
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        record.fields.push(("_bytes".to_owned(), FieldValue::Int(bytes)));
        self.recipe.rules.apply(record, head.place)
    }

    /// The line as UTF-8, as far as its encoding is known.
    fn decode<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(encoding) = self.encoding else { return Cow::Borrowed(line) };
        let (text, _) = encoding.decode_with_bom_removal(line);
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\r').as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.trim_end_matches('\r').as_bytes().to_vec()),
        }
    }

    fn json(&mut self, line: &[u8]) -> Option<Record> {
        let read = matches!(self.recipe.format, Format::Auto | Format::Detect);
        if !read || !begins_object(line) || !line.trim_ascii_end().ends_with(b"}") {
            return None;
        }
        let mut record = match json::record(line) {
            Ok(record) => record,
            Err(error @ JsonError::Bound(_)) => {
                return Some(json::poisoned(line, &error.to_string()));
            }
            // Looks like JSON and is none: text like any other.
            Err(JsonError::Syntax(_) | JsonError::NotObject) => return None,
        };
        self.time_of_fields(&mut record);
        if self.recipe.keeps_raw {
            keep_raw(&mut record, line);
        }
        Some(record)
    }

    fn plain(&mut self, line: &[u8]) -> Record {
        let mut record = json::plain(line);
        let Some(said) = self.recipe.format.read(&record.message) else {
            record.timestamp = self.time(line);
            if self.recipe.marks_unparsed() {
                let mark = FieldValue::Text("unparsed".to_owned());
                record.fields.push((KEPT_FIELD.to_owned(), mark));
            }
            return record;
        };
        let stated = said.time.as_deref().and_then(|time| self.time(time.as_bytes()));
        record.timestamp = stated.or_else(|| self.time(line));
        record.level = said.level.unwrap_or(record.level);
        record.fields.extend(said.fields);
        if let Some(message) = said.message {
            record.message = message;
            keep_raw(&mut record, line);
        }
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

/// Whether an object of JSON may begin there: spaces and tabs before it change nothing.
fn begins_object(line: &[u8]) -> bool {
    line.trim_ascii_start().first() == Some(&b'{')
}

fn keep_raw(record: &mut Record, line: &[u8]) {
    let text = keep_text(line).0.into_owned();
    record.fields.push((RAW_FIELD.to_owned(), FieldValue::Text(text)));
}
