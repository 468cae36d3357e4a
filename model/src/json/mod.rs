//! JSON object → record: nested fields flat, time, message and level by the names people use.

mod desk;
mod members;
mod quick;

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use serde_json::Value as Json;

use crate::level::Level;
use crate::limits::{FIELD_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};
use crate::record::{FieldValue, KEPT_FIELD, POISON_FIELD, Record};
use crate::text::{cut, keep_text};
use crate::time::Timestamp;

pub use desk::{Desk, Quick};
pub use members::{Members, Place, moment, severity};
pub use quick::Stop;

/// Names of the time, in order of preference.
pub const TIME_NAMES: [&str; 6] = ["@timestamp", "timestamp", "time", "ts", "_time", "eventTime"];
/// Names of the message, in order of preference.
pub const MESSAGE_NAMES: [&str; 6] = ["message", "msg", "_msg", "log", "body", "event"];
/// Names of the level, in order of preference.
pub const LEVEL_NAMES: [&str; 5] = ["level", "severity", "lvl", "loglevel", "log.level"];

/// Why a line of JSON is no structured record. It is stored as text all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
    /// Too many fields, a name too long, or nested too deep.
    #[error("{0}")]
    Bound(String),
}

/// The value of a field, its text borrowed from the line where nothing in it is escaped.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// The same, its text borrowed from wherever it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl Value<'_> {
    /// The same value, its text borrowed from this one.
    #[must_use]
    pub fn plain(&self) -> Plain<'_> {
        match self {
            Self::Text(text) => Plain::Text(text),
            Self::Int(number) => Plain::Int(*number),
            Self::Float(number) => Plain::Float(*number),
            Self::Bool(truth) => Plain::Bool(*truth),
        }
    }

    /// The same value, its text borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Int(number) => Value::Int(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Bool(truth) => Value::Bool(*truth),
        }
    }

    /// The same value with a text of its own.
    #[must_use]
    pub fn into_owned(self) -> FieldValue {
        match self {
            Self::Text(text) => FieldValue::Text(text.into_owned()),
            Self::Int(number) => FieldValue::Int(number),
            Self::Float(number) => FieldValue::Float(number),
            Self::Bool(truth) => FieldValue::Bool(truth),
        }
    }
}

/// A record as a line of JSON states it, its texts borrowed from the line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flat<'a> {
    /// When it happened, if the line says so.
    pub timestamp: Option<Timestamp>,
    /// How bad it is.
    pub level: Level,
    /// The message.
    pub message: Cow<'a, str>,
    /// The fields, in the order of the line.
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl Flat<'_> {
    /// About how many bytes it takes in a batch, before compression.
    #[must_use]
    pub fn weight(&self) -> usize {
        let field = |(name, value): &(Cow<'_, str>, Value<'_>)| {
            8 + match value {
                // A name is written once a batch; in a batch of one it still must fit.
                Value::Text(text) => text.len() + name.len(),
                _ => 8 + name.len(),
            }
        };
        16 + self.message.len() + self.fields.iter().map(field).sum::<usize>()
    }

    /// The record, with texts of its own.
    #[must_use]
    pub fn into_record(self) -> Record {
        let own =
            |(name, value): (Cow<'_, str>, Value<'_>)| (name.into_owned(), value.into_owned());
        let mut record = Record {
            timestamp: self.timestamp,
            level: self.level,
            message: self.message.into_owned(),
            fields: self.fields.into_iter().map(own).collect(),
        };
        bound_message(&mut record);
        record
    }
}

/// Reads one JSON object. The message is the first of [`MESSAGE_NAMES`] that is text, else the
/// line itself; lists become one field per element under one name, null is nothing.
///
/// # Errors
/// Why the line is no structured record; the caller keeps it as text ([`poisoned`]).
pub fn record(line: &[u8]) -> Result<Record, JsonError> {
    flat(line).map(Flat::into_record)
}

/// As [`record`], borrowing from the line; a message over the bound is not cut.
///
/// # Errors
/// As [`record`].
pub fn flat(line: &[u8]) -> Result<Flat<'_>, JsonError> {
    let mut desk = Desk::default();
    desk.read(line).map_or_else(|_| flat_of_any(line), |quick| Ok(quick.into_flat()))
}

/// [`flat`] of a line that [`Desk::read`] leaves.
///
/// # Errors
/// As [`record`].
pub fn flat_of_any(line: &[u8]) -> Result<Flat<'_>, JsonError> {
    assemble(gather(line)?, || match keep_text(line).0 {
        Cow::Borrowed(line) => Cow::Borrowed(line.trim()),
        Cow::Owned(line) => Cow::Owned(line.trim().to_owned()),
    })
}

/// The same for an object that was read from something else than JSON.
///
/// # Errors
/// Why it is no structured record.
pub fn object(value: &Json) -> Result<Record, JsonError> {
    let mut gathered = Gathered::default();
    let read = Object { gathered: &mut gathered, prefix: "", depth: 1 }.deserialize(value);
    if read.is_err() && gathered.bound.is_none() {
        return Err(JsonError::NotObject);
    }
    assemble(gathered, || Cow::Owned(value.to_string())).map(Flat::into_record)
}

/// The flat fields of one member of an object.
///
/// # Errors
/// It is over a bound.
pub fn fields(name: &str, value: &Json) -> Result<Vec<(String, FieldValue)>, JsonError> {
    let mut gathered = Gathered::default();
    let (name, place) = (Cow::Borrowed(name), Place::Below);
    let read = Member { gathered: &mut gathered, name, place, depth: 1 }.deserialize(value);
    match (gathered.bound, read) {
        (Some(bound), _) => Err(JsonError::Bound(bound)),
        (None, Err(error)) => Err(JsonError::Syntax(error.to_string())),
        (None, Ok(())) => {
            let own = gathered.members.into_fields().into_iter();
            Ok(own.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
        }
    }
}

/// `whole` gives the message where no member is one.
fn assemble<'a>(
    gathered: Gathered<'a>,
    whole: impl FnOnce() -> Cow<'a, str>,
) -> Result<Flat<'a>, JsonError> {
    if let Some(bound) = gathered.bound {
        return Err(JsonError::Bound(bound));
    }
    let flat = gathered.members.choose(whole);
    match flat.fields.len() > RECORD_FIELDS_MAX {
        true => Err(JsonError::Bound(format!("more than {RECORD_FIELDS_MAX} fields"))),
        false => Ok(flat),
    }
}

/// The record that keeps a line which could not be read, with the reason.
#[must_use]
pub fn poisoned(line: &[u8], reason: &str) -> Record {
    let mut record = plain(line);
    record.fields.push((POISON_FIELD.to_owned(), FieldValue::Text(reason.to_owned())));
    record
}

/// The record of a line of any kind: an object is taken apart, one that is over a bound is kept
/// as text with the reason, and what is no object is plain text.
#[must_use]
pub fn line(line: &[u8]) -> Record {
    if !line.trim_ascii_start().starts_with(b"{") {
        return plain(line);
    }
    match record(line) {
        Ok(record) => record,
        Err(JsonError::Syntax(_) | JsonError::NotObject) => plain(line),
        Err(error) => poisoned(line, &error.to_string()),
    }
}

/// The record of a line taken as plain text: level as stated, bytes that are no text escaped,
/// an over-long message cut and marked.
#[must_use]
pub fn plain(line: &[u8]) -> Record {
    let (text, escaped) = keep_text(line);
    let mut record =
        Record { level: Level::detect(&text), message: text.into_owned(), ..Record::default() };
    if escaped {
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("escaped".to_owned())));
    }
    bound_message(&mut record);
    record
}

fn bound_message(record: &mut Record) {
    let bytes = record.message.len();
    if bytes > MESSAGE_BYTES_MAX {
        record.message.truncate(cut(&record.message, MESSAGE_BYTES_MAX).len());
        record.fields.push((KEPT_FIELD.to_owned(), FieldValue::Text("cut".to_owned())));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        record.fields.push(("_bytes".to_owned(), FieldValue::Int(bytes)));
    }
}

/// Reads the object once, straight into flat fields.
fn gather(line: &[u8]) -> Result<Gathered<'_>, JsonError> {
    let mut gathered = Gathered::default();
    let object = Object { gathered: &mut gathered, prefix: "", depth: 1 };
    // Looked at once in whole, each text in it need not be.
    let read = match std::str::from_utf8(line) {
        Ok(text) => {
            let mut reader = serde_json::Deserializer::from_str(text);
            object.deserialize(&mut reader).and_then(|()| reader.end())
        }
        Err(_) => {
            let mut reader = serde_json::Deserializer::from_slice(line);
            object.deserialize(&mut reader).and_then(|()| reader.end())
        }
    };
    let Err(error) = read else { return Ok(gathered) };
    // Reading ends at a bound, and at what is no object; whether it is JSON at all comes first.
    match serde_json::from_slice::<IgnoredAny>(line) {
        Err(error) => Err(JsonError::Syntax(error.to_string())),
        Ok(_) if gathered.bound.is_some() => Ok(gathered),
        Ok(_) if line.trim_ascii_start().first() == Some(&b'{') => {
            Err(JsonError::Syntax(error.to_string()))
        }
        Ok(_) => Err(JsonError::NotObject),
    }
}

/// The fields read so far.
#[derive(Default)]
struct Gathered<'de> {
    members: Members<'de>,
    /// The bound that was met.
    bound: Option<String>,
}

impl<'de> Gathered<'de> {
    fn push(&mut self, name: Cow<'de, str>, value: Value<'de>, place: Place) -> bool {
        // Time, level and message are taken out again.
        if self.members.count() >= RECORD_FIELDS_MAX + 3 {
            self.bound = Some(format!("more than {RECORD_FIELDS_MAX} fields"));
            return false;
        }
        self.members.push(name, value, place);
        true
    }

    fn check(&mut self, name: &str, depth: usize) -> bool {
        if depth > RECORD_DEPTH_MAX {
            self.bound = Some(format!("nested deeper than {RECORD_DEPTH_MAX}"));
        } else if name.len() > FIELD_NAME_BYTES_MAX {
            self.bound = Some(format!("a field name is over {FIELD_NAME_BYTES_MAX} bytes"));
        }
        self.bound.is_none()
    }
}

/// Reads an object's members under a prefix.
struct Object<'a, 'de> {
    gathered: &'a mut Gathered<'de>,
    prefix: &'a str,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let place = if self.depth == 1 { Place::Top } else { Place::Below };
        while let Some(Key(key)) = members.next_key()? {
            let name = match self.prefix {
                "" => key,
                prefix => Cow::Owned([prefix, ".", key.as_ref()].concat()),
            };
            let gathered = &mut *self.gathered;
            members.next_value_seed(Member { gathered, name, place, depth: self.depth })?;
        }
        Ok(())
    }
}

/// A member's name, borrowed from the line where nothing in it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        reader.deserialize_str(KeyVisitor)
    }
}

/// Reads one value under a name.
struct Member<'a, 'de> {
    gathered: &'a mut Gathered<'de>,
    name: Cow<'de, str>,
    place: Place,
    depth: usize,
}

impl<'de> Member<'_, 'de> {
    fn push<E: de::Error>(self, value: Value<'de>) -> Result<(), E> {
        if self.gathered.push(self.name, value, self.place) { Ok(()) } else { Err(stopped()) }
    }
}

/// The reason is in [`Gathered::bound`].
fn stopped<E: de::Error>() -> E {
    E::custom("over a bound")
}

impl<'de> DeserializeSeed<'de> for Member<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if !self.gathered.check(&self.name, self.depth) {
            return Err(stopped());
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<(), E> {
        self.push(Value::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.push(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        // Over 63 bits it is text: a float would lose digits, and texts are compared as numbers too.
        let text = |_| Value::Text(Cow::Owned(number.to_string()));
        self.push(i64::try_from(number).map_or_else(text, Value::Int))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.push(Value::Float(number))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        self.push(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.push(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        loop {
            let element = Member {
                gathered: &mut *self.gathered,
                name: self.name.clone(),
                place: Place::Below,
                depth: self.depth + 1,
            };
            if values.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        let Self { gathered, name, depth, .. } = self;
        Object { gathered, prefix: &name, depth: depth + 1 }.visit_map(members)
    }
}

#[cfg(test)]
mod tests;
