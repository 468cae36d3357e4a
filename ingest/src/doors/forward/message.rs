//! Messages of Fluentd's forward protocol as records: the four modes.

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use model::json;
use model::limits::{LABEL_BYTES_MAX, RECORD_DEPTH_MAX};
use model::record::Record;
use model::stream::{IndexName, Labels};
use model::text::{cut, keep_text};
use model::time::{SECOND, Timestamp};
use platform::http::ApiError;
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::extent;
use crate::doors::body;
use crate::doors::parcel::{Key, Packed, Parcel, Stream};

/// Nesting that is read: the reader counts a level twice. What a record may have is judged after.
const DEPTH_MAX: usize = 2 * RECORD_DEPTH_MAX + 8;

/// Why a message is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// It is something else.
    #[error("{0}")]
    Shape(&'static str),
    /// It is over a bound, or cannot be unpacked.
    #[error("{}", .0.detail.message)]
    Refused(ApiError),
}

impl From<ApiError> for MessageError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// What a message is.
const SHAPE: &str = "a message is [tag, time or entries, …]";

/// The parts of a message, as they stand in its bytes.
#[derive(Debug)]
pub(super) struct Message<'a> {
    tag: String,
    mode: Mode<'a>,
    /// What the sender wants to see again when the records are stored.
    pub(super) chunk: Option<String>,
}

#[derive(Debug)]
enum Mode<'a> {
    /// Time and record.
    One(&'a [u8], &'a [u8]),
    /// So many entries, one behind the other.
    Entries(u64, &'a [u8]),
    /// Entries without a number, packed or not.
    Packed { bytes: &'a [u8], is_gzip: bool },
    /// An array of another shape: all of it.
    Odd(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Takes a whole value of MessagePack apart. An array of another shape than a message has is one
    /// that is kept as text: its sender would send it for ever.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let parts = parts(bytes).ok_or(MessageError::Shape(SHAPE))?;
        Ok(Self::known(&parts).unwrap_or_else(|| {
            let tag = parts.first().and_then(|tag| extent::content(tag)).unwrap_or_default();
            let chunk = parts.last().and_then(|options| option(options, "chunk"));
            Self { tag: keep_text(tag).0.into_owned(), mode: Mode::Odd(bytes), chunk }
        }))
    }

    /// A message of one of the four modes.
    fn known(parts: &[&'a [u8]]) -> Option<Self> {
        let [tag, second, rest @ ..] = parts else { return None };
        let (tag, second, third) = (extent::content(tag)?, *second, rest.first().copied());
        let (mode, options) = if let Some((count, head)) = extent::array(second) {
            (Mode::Entries(count, second.get(head..).unwrap_or_default()), third)
        } else if let Some(bytes) = extent::content(second) {
            let is_gzip =
                third.and_then(|all| option(all, "compressed")).as_deref() == Some("gzip");
            (Mode::Packed { bytes, is_gzip }, third)
        } else {
            (Mode::One(second, third?), rest.get(1).copied())
        };
        let chunk = options.and_then(|options| option(options, "chunk"));
        Some(Self { tag: keep_text(tag).0.into_owned(), mode, chunk })
    }

    /// Its records. An entry that is none is kept as text; a chunk of the same name and content
    /// is recognised when it comes again.
    pub(super) fn pack(&self, arrival: Timestamp) -> Result<Packed, MessageError> {
        let (plain, count): (Bytes, u64) = match self.mode {
            Mode::Odd(bytes) => return self.keep(bytes, SHAPE, arrival),
            Mode::Packed { bytes, is_gzip: true } => {
                match body::bounded(MultiGzDecoder::new(bytes)) {
                    Ok(plain) => (plain, u64::MAX),
                    Err(error) => return self.keep(bytes, &error.detail.message, arrival),
                }
            }
            Mode::Packed { bytes, .. } => (Bytes::copy_from_slice(bytes), u64::MAX),
            Mode::Entries(count, bytes) => (Bytes::copy_from_slice(bytes), count),
            Mode::One(time, record) => ([time, record].concat().into(), 1),
        };
        let mut parcel = Parcel::new(arrival, self.key(&plain));
        let stream = self.stream(&mut parcel)?;
        if let Mode::One(time, record) = self.mode {
            parcel.push(stream, entry_record(time, record), || record.to_vec())?;
        } else {
            entries(&mut parcel, stream, &plain, count)?;
        }
        Ok(parcel.finish()?)
    }

    /// A chunk of that name and content.
    fn key(&self, content: &[u8]) -> Option<Key> {
        let chunk = self.chunk.as_ref()?;
        let hash = xxh3_64(content).to_le_bytes();
        let name = [self.tag.as_bytes(), b"\0", chunk.as_bytes(), b"\0", &hash].concat();
        Some(Key::new(name, content))
    }

    fn stream(&self, parcel: &mut Parcel) -> Result<Stream, ApiError> {
        let tag = cut(&self.tag, LABEL_BYTES_MAX);
        let tag = (!tag.is_empty()).then(|| ("tag".to_owned(), tag.to_owned()));
        let labels = Labels::new(tag.into_iter().collect()).unwrap_or_default();
        parcel.stream(IndexName::default(), labels)
    }

    /// Keeps what cannot be taken apart as it came: its sender would send it for ever.
    fn keep(&self, bytes: &[u8], why: &str, arrival: Timestamp) -> Result<Packed, MessageError> {
        let mut parcel = Parcel::new(arrival, self.key(bytes));
        let stream = self.stream(&mut parcel)?;
        parcel.push(stream, json::poisoned(bytes, why), || bytes.to_vec())?;
        Ok(parcel.finish()?)
    }
}

/// The values of an array, the first four of one that holds more.
fn parts(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, head) = extent::array(bytes)?;
    let mut rest = bytes.get(head..)?;
    let mut parts = Vec::new();
    for _ in 0..count.min(4) {
        let (part, after) = rest.split_at_checked(extent::end(rest)?)?;
        parts.push(part);
        rest = after;
    }
    Some(parts)
}

fn option(options: &[u8], name: &str) -> Option<String> {
    let mut rest = options;
    let ValueRef::Map(pairs) = read_value_ref_with_max_depth(&mut rest, DEPTH_MAX).ok()? else {
        return None;
    };
    let (_, value) = pairs.into_iter().find(
        |(key, _)| matches!(key, ValueRef::String(text) if text.as_bytes() == name.as_bytes()),
    )?;
    match value {
        ValueRef::String(text) => Some(keep_text(text.as_bytes()).0.into_owned()),
        ValueRef::Binary(bytes) => Some(keep_text(bytes).0.into_owned()),
        _ => None,
    }
}

fn entries(
    parcel: &mut Parcel,
    stream: Stream,
    bytes: &[u8],
    count_max: u64,
) -> Result<(), ApiError> {
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() && count < count_max {
        let Some((one, after)) = extent::end(rest).and_then(|end| rest.split_at_checked(end))
        else {
            let record = json::poisoned(rest, "the rest of a chunk that is no entry");
            return parcel.push(stream, record, || rest.to_vec());
        };
        parcel.push(stream, entry(one), || one.to_vec())?;
        rest = after;
        count += 1;
    }
    Ok(())
}

/// `[time, record]`.
fn entry(bytes: &[u8]) -> Record {
    let parts = extent::array(bytes).filter(|(count, _)| *count >= 2).and_then(|(_, head)| {
        let rest = bytes.get(head..)?;
        let (time, rest) = rest.split_at_checked(extent::end(rest)?)?;
        Some((time, rest.get(..extent::end(rest)?)?))
    });
    match parts {
        Some((time, record)) => entry_record(time, record),
        None => json::poisoned(bytes, "not an entry of time and record"),
    }
}

fn entry_record(time: &[u8], record: &[u8]) -> Record {
    let (time, about) = match read(time) {
        // Fluent Bit: the time, and what it knows of the record beside it.
        Some(ValueRef::Array(parts)) => {
            let mut parts = parts.into_iter();
            let time = parts.next().and_then(|time| moment(&time));
            let about = match parts.next() {
                Some(ValueRef::Map(pairs)) => object(pairs),
                _ => Map::new(),
            };
            (time, about)
        }
        time => (time.and_then(|time| moment(&time)), Map::new()),
    };
    let object = match read(record) {
        Some(ValueRef::Map(pairs)) => {
            let mut object = object(pairs);
            for (name, value) in about {
                object.entry(name).or_insert(value);
            }
            object
        }
        Some(other) => {
            let text = other.to_string();
            let kept = json::poisoned(text.as_bytes(), "a record that is no map");
            return Record { timestamp: time, ..kept };
        }
        None => {
            let reason = format!("nested far deeper than {RECORD_DEPTH_MAX}");
            return Record { timestamp: time, ..json::poisoned(record, &reason) };
        }
    };
    let own = json::TIME_NAMES.iter().find_map(|name| Some((*name, object.get(*name)?.clone())));
    let object = Value::Object(object);
    let mut record = json::object(&object)
        .unwrap_or_else(|error| json::poisoned(object.to_string().as_bytes(), &error.to_string()));
    // The protocol has a place for the time; what the record says beside it is a field.
    if let Some(time) = time {
        if let Some((name, value)) = own.filter(|_| record.timestamp.is_some_and(|own| own != time))
        {
            record.fields.extend(json::fields(name, &value).unwrap_or_default());
        }
        record.timestamp = Some(time);
    }
    record
}

fn read(bytes: &[u8]) -> Option<ValueRef<'_>> {
    let mut rest = bytes;
    read_value_ref_with_max_depth(&mut rest, DEPTH_MAX).ok()
}

/// Seconds, or seconds with nanoseconds.
fn moment(time: &ValueRef<'_>) -> Option<Timestamp> {
    match time {
        ValueRef::Integer(seconds) => seconds.as_i64()?.checked_mul(SECOND).map(Timestamp),
        ValueRef::F32(seconds) => Timestamp::from_epoch_float(f64::from(*seconds)),
        ValueRef::F64(seconds) => Timestamp::from_epoch_float(*seconds),
        ValueRef::Ext(0, [s1, s2, s3, s4, n1, n2, n3, n4]) => {
            let seconds = i64::from(u32::from_be_bytes([*s1, *s2, *s3, *s4]));
            let nanoseconds = i64::from(u32::from_be_bytes([*n1, *n2, *n3, *n4]));
            Some(Timestamp(seconds * SECOND + nanoseconds))
        }
        _ => None,
    }
}

fn object(pairs: Vec<(ValueRef<'_>, ValueRef<'_>)>) -> Map<String, Value> {
    let name = |key: ValueRef<'_>| match key {
        ValueRef::String(text) => keep_text(text.as_bytes()).0.into_owned(),
        ValueRef::Binary(bytes) => keep_text(bytes).0.into_owned(),
        other => other.to_string(),
    };
    pairs.into_iter().map(|(key, value)| (name(key), json_of(value))).collect()
}

fn json_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Nil => Value::Null,
        ValueRef::Boolean(truth) => truth.into(),
        ValueRef::Integer(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => Value::Null,
        },
        ValueRef::F32(number) => float(f64::from(number)),
        ValueRef::F64(number) => float(number),
        // Text of any encoding comes as either.
        ValueRef::String(text) => keep_text(text.as_bytes()).0.into_owned().into(),
        ValueRef::Binary(bytes) => keep_text(bytes).0.into_owned().into(),
        ValueRef::Array(values) => values.into_iter().map(json_of).collect(),
        ValueRef::Map(pairs) => Value::Object(object(pairs)),
        ext @ ValueRef::Ext(..) => match moment(&ext) {
            Some(moment) => moment.to_string().into(),
            None => ext.to_string().into(),
        },
    }
}

/// A float that is no number is kept as its name.
fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}
