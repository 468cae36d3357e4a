//! Where objects of JSON are read one after the other: what one takes, the next one takes again.

use std::borrow::Cow;
use std::ops::Range;

use super::members::{Chosen, FIELDS_USUAL, Found, Place};
use super::quick::{self, Stop};
use super::{Flat, Plain, Value};
use crate::level::Level;
use crate::record::FieldType;
use crate::time::Timestamp;

/// Bytes of texts of its own that are kept for the next object; a giant shall not be paid for ever after.
const OWN_BYTES_KEPT: usize = 64 << 10;
/// The same for its fields.
const FIELDS_KEPT: usize = 1_024;

/// The memory for reading objects.
#[derive(Debug)]
pub struct Desk {
    fields: Vec<Field>,
    /// Names that were put together, and texts in which something was escaped.
    own: String,
}

/// Bytes of a line that is read here, and of the texts of a desk's own.
pub(super) const PLACE_MAX: usize = (1 << 31) - 1;
/// The bit of a text of the desk's own.
const OWN: u64 = 1 << 63;

/// A text of a line, or one of the desk's own: where it begins and ends. One word, for what is put together
/// of smaller ones in memory takes long to be read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(u64);

impl Span {
    /// A part of the line; no place is over [`PLACE_MAX`].
    pub(super) fn of_line(start: usize, end: usize) -> Self {
        Self(start as u64 | (end as u64) << 32)
    }

    fn is_own(self) -> bool {
        self.0 & OWN != 0
    }

    fn place(self) -> Range<usize> {
        let [start, end] = [self.0, (self.0 & !OWN) >> 32].map(|place| place & 0xffff_ffff);
        let place = |place: u64| usize::try_from(place).unwrap_or_default();
        place(start)..place(end)
    }

    /// How many bytes it has.
    pub(super) fn len(self) -> usize {
        self.place().len()
    }

    fn of<'a>(self, line: &'a str, own: &'a str) -> &'a str {
        let text = if self.is_own() { own } else { line };
        text.get(self.place()).unwrap_or_default()
    }

    /// The text, borrowed from the line where it is there.
    fn lasting<'l>(self, line: &'l str, own: &str) -> Cow<'l, str> {
        match self.is_own() {
            true => Cow::Owned(self.of("", own).to_owned()),
            false => Cow::Borrowed(self.of(line, "")),
        }
    }
}

/// A value as it is held: its type, and a word that is a [`Span`] or what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    kind: FieldType,
    word: u64,
}

impl Held {
    pub(super) fn text(text: Span) -> Self {
        Self { kind: FieldType::Text, word: text.0 }
    }

    pub(super) fn int(number: i64) -> Self {
        Self { kind: FieldType::Int, word: number.cast_unsigned() }
    }

    pub(super) fn float(number: f64) -> Self {
        Self { kind: FieldType::Float, word: number.to_bits() }
    }

    pub(super) fn bool(truth: bool) -> Self {
        Self { kind: FieldType::Bool, word: truth.into() }
    }
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: Span,
    word: u64,
    kind: FieldType,
    /// It is the time, the level or the message.
    is_taken: bool,
}

impl Field {
    /// The place of its value, if that is text.
    fn text(&self) -> Option<Span> {
        (self.kind == FieldType::Text).then_some(Span(self.word))
    }

    fn plain<'a>(&self, line: &'a str, own: &'a str) -> Plain<'a> {
        match self.kind {
            FieldType::Text => Plain::Text(Span(self.word).of(line, own)),
            FieldType::Int => Plain::Int(self.word.cast_signed()),
            FieldType::Float => Plain::Float(f64::from_bits(self.word)),
            FieldType::Bool => Plain::Bool(self.word != 0),
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self { fields: Vec::with_capacity(FIELDS_USUAL), own: String::new() }
    }
}

impl Desk {
    /// Reads an object as most programs write it.
    ///
    /// # Errors
    /// It is another one, or none: [`Stop`].
    pub fn read<'d, 'l>(&'d mut self, line: &'l [u8]) -> Result<Quick<'d, 'l>, Stop> {
        self.fields.clear();
        self.fields.shrink_to(FIELDS_KEPT);
        self.own.clear();
        self.own.shrink_to(OWN_BYTES_KEPT);
        let line = std::str::from_utf8(line).map_err(|_| Stop::Unusual)?;
        let mut found = Found::default();
        quick::read(line, self, &mut found)?;
        let chosen =
            found.choose(|at| self.fields.get(at).map(|field| field.plain(line, &self.own)));
        for at in chosen.taken().into_iter().flatten() {
            if let Some(field) = self.fields.get_mut(at) {
                field.is_taken = true;
            }
        }
        Ok(Quick::new(line, self, &chosen))
    }

    /// How many fields were read.
    pub(super) fn count(&self) -> usize {
        self.fields.len()
    }

    /// One more field of a line.
    pub(super) fn push(
        &mut self,
        line: &str,
        found: &mut Found,
        name: Span,
        value: Held,
        place: Place,
    ) {
        found.note(name.of(line, &self.own), place, self.fields.len());
        let Held { kind, word } = value;
        self.fields.push(Field { name, word, kind, is_taken: false });
    }

    /// The name of a member below another one.
    pub(super) fn join(&mut self, line: &str, prefix: Span, name: Span) -> Option<Span> {
        let start = self.own.len();
        for span in [prefix, name] {
            if self.own.len() > start {
                self.own.push('.');
            }
            match span.is_own() {
                true => self.own.extend_from_within(span.place()),
                false => self.own.push_str(span.of(line, "")),
            }
        }
        self.own_since(start)
    }

    /// A text of the desk's own that is being written: where it begins.
    pub(super) fn begin(&self) -> usize {
        self.own.len()
    }

    /// More of it.
    pub(super) fn add(&mut self, run: &str) {
        self.own.push_str(run);
    }

    /// All that was written since it began.
    pub(super) fn own_since(&self, start: usize) -> Option<Span> {
        let end = self.own.len();
        (end <= PLACE_MAX).then(|| Span(Span::of_line(start, end).0 | OWN))
    }
}

/// A record as an object states it, its texts borrowed from the line and the desk.
#[derive(Debug, Clone, Copy)]
pub struct Quick<'d, 'l> {
    /// When it happened, if the line says so.
    pub timestamp: Option<Timestamp>,
    /// How bad it is.
    pub level: Level,
    line: &'l str,
    desk: &'d Desk,
    message: Span,
    /// A field beside those of the line.
    more: Option<(&'d str, &'d str)>,
}

impl<'d, 'l> Quick<'d, 'l> {
    fn new(line: &'l str, desk: &'d Desk, chosen: &Chosen) -> Self {
        let said = chosen.message.and_then(|at| desk.fields.get(at));
        let message = said.and_then(Field::text).unwrap_or_else(|| trimmed(line));
        let detect = || Level::detect(message.of(line, &desk.own));
        let level = chosen.level.map_or_else(detect, |(_, level)| level);
        let timestamp = chosen.time.map(|(_, moment)| moment);
        Self { timestamp, level, line, desk, message, more: None }
    }

    /// The same with one more field of text.
    #[must_use]
    pub fn with(self, name: &'d str, text: &'d str) -> Self {
        Self { more: Some((name, text)), ..self }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.of(self.line, &self.desk.own)
    }

    /// The fields, in the order of the line.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Plain<'_>)> {
        let (line, own) = (self.line, self.desk.own.as_str());
        let fields = self.desk.fields.iter().filter(|field| !field.is_taken);
        let fields = fields.map(move |field| (field.name.of(line, own), field.plain(line, own)));
        fields.chain(self.more.map(|(name, text)| (name, Plain::Text(text))))
    }

    /// How many fields there are, and about how many bytes all takes in a batch, before compression.
    #[must_use]
    pub fn weight(&self) -> (usize, usize) {
        let more = self.more.map_or(0, |(name, text)| 8 + name.len() + text.len());
        let (mut count, mut bytes) = (usize::from(more > 0), 16 + self.message.len() + more);
        for field in self.desk.fields.iter().filter(|field| !field.is_taken) {
            count += 1;
            // A name is written once a batch; in a batch of one it still must fit.
            bytes += 8 + field.name.len();
            bytes += field.text().map_or(8, Span::len);
        }
        (count, bytes)
    }

    /// The same, its texts borrowed from the line alone.
    #[must_use]
    pub fn into_flat(self) -> Flat<'l> {
        let own = self.desk.own.as_str();
        let value = |field: &Field| match field.plain("", "") {
            Plain::Text(_) => Value::Text(Span(field.word).lasting(self.line, own)),
            Plain::Int(number) => Value::Int(number),
            Plain::Float(number) => Value::Float(number),
            Plain::Bool(truth) => Value::Bool(truth),
        };
        let fields = self.desk.fields.iter().filter(|field| !field.is_taken);
        let fields = fields.map(|field| (field.name.lasting(self.line, own), value(field)));
        let more = |(name, text): (&str, &str)| {
            (Cow::Owned(name.to_owned()), Value::Text(Cow::Owned(text.to_owned())))
        };
        Flat {
            timestamp: self.timestamp,
            level: self.level,
            message: self.message.lasting(self.line, own),
            fields: fields.chain(self.more.map(more)).collect(),
        }
    }
}

/// All of a line but the spaces around it.
fn trimmed(line: &str) -> Span {
    let start = line.len() - line.trim_start().len();
    Span::of_line(start, start + line.trim().len())
}
