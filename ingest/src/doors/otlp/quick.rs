//! Records as nearly all senders write them, read without taking their bytes apart: each field that is known
//! here, once. Whatever else protobuf allows is left to the reader that knows all of it.

use super::log::{Any, Log, Pair};

/// Values inside of values; deeper ones are over a bound anyway.
const DEPTH_MAX: usize = 40;

/// Reads a record in the place of another one. `None` is no refusal: the general reader has to say what it is.
pub(super) fn read<'a>(bytes: &'a [u8], log: &mut Log<'a>) -> Option<()> {
    let mut attributes = std::mem::take(&mut log.attributes);
    attributes.clear();
    *log = Log { attributes, ..Log::default() };
    let mut has_body = false;
    let mut wire = Wire(bytes);
    while let Some(tag) = wire.tag()? {
        match tag {
            TIME => log.time_unix_nano = wire.fixed64()?,
            SEVERITY_NUMBER => log.severity_number = i32::try_from(wire.varint()?).ok()?,
            SEVERITY_TEXT => log.severity_text = wire.bytes()?,
            BODY if !has_body => (log.body, has_body) = (held(wire.bytes()?, 1)?, true),
            ATTRIBUTE => log.attributes.push(pair(wire.bytes()?, 1)?),
            FLAGS => log.flags = wire.fixed32()?,
            TRACE => log.trace_id = wire.bytes()?,
            SPAN => log.span_id = wire.bytes()?,
            OBSERVED => log.observed_time_unix_nano = wire.fixed64()?,
            EVENT => log.event_name = wire.bytes()?,
            _ => return None,
        }
    }
    Some(())
}

/// A field's number and how it is written.
const fn tag(number: u64, wire: u64) -> u64 {
    (number << 3) | wire
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

const TIME: u64 = tag(1, FIXED64);
const SEVERITY_NUMBER: u64 = tag(2, VARINT);
const SEVERITY_TEXT: u64 = tag(3, LENGTH);
const BODY: u64 = tag(5, LENGTH);
const ATTRIBUTE: u64 = tag(6, LENGTH);
const FLAGS: u64 = tag(8, FIXED32);
const TRACE: u64 = tag(9, LENGTH);
const SPAN: u64 = tag(10, LENGTH);
const OBSERVED: u64 = tag(11, FIXED64);
const EVENT: u64 = tag(12, LENGTH);

const KEY: u64 = tag(1, LENGTH);
const VALUE: u64 = tag(2, LENGTH);
/// The values of a list, and the pairs of a map.
const VALUES: u64 = tag(1, LENGTH);

const TEXT: u64 = tag(1, LENGTH);
const BOOL: u64 = tag(2, VARINT);
const INT: u64 = tag(3, VARINT);
const FLOAT: u64 = tag(4, FIXED64);
const ARRAY: u64 = tag(5, LENGTH);
const MAP: u64 = tag(6, LENGTH);
const BYTES: u64 = tag(7, LENGTH);

fn pair(bytes: &[u8], depth: usize) -> Option<Pair<'_>> {
    let (mut pair, mut has_value) = (Pair::default(), false);
    let mut wire = Wire(bytes);
    while let Some(tag) = wire.tag()? {
        match tag {
            KEY => pair.key = wire.bytes()?,
            VALUE if !has_value => (pair.value, has_value) = (held(wire.bytes()?, depth)?, true),
            _ => return None,
        }
    }
    Some(pair)
}

/// A value, which may be none.
fn held(bytes: &[u8], depth: usize) -> Option<Option<Any<'_>>> {
    let mut wire = Wire(bytes);
    let Some(tag) = wire.tag()? else { return Some(None) };
    let value = match tag {
        TEXT => Any::Text(wire.bytes()?),
        BOOL => Any::Bool(wire.varint()? != 0),
        INT => Any::Int(wire.varint()?.cast_signed()),
        FLOAT => Any::Float(f64::from_bits(wire.fixed64()?)),
        ARRAY if depth < DEPTH_MAX => {
            Any::Array(values(wire.bytes()?, |bytes| held(bytes, depth + 1))?)
        }
        MAP if depth < DEPTH_MAX => {
            Any::Map(values(wire.bytes()?, |bytes| pair(bytes, depth + 1))?)
        }
        BYTES => Any::Bytes(wire.bytes()?),
        _ => return None,
    };
    // It is one of these; of several, the last one would count.
    wire.0.is_empty().then_some(Some(value))
}

fn values<'a, T>(bytes: &'a [u8], one: impl Fn(&'a [u8]) -> Option<T>) -> Option<Vec<T>> {
    let (mut found, mut wire) = (Vec::new(), Wire(bytes));
    while let Some(tag) = wire.tag()? {
        if tag != VALUES {
            return None;
        }
        found.push(one(wire.bytes()?)?);
    }
    Some(found)
}

/// What is left of a message.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// The next field; `Some(None)` at the end.
    fn tag(&mut self) -> Option<Option<u64>> {
        if self.0.is_empty() { Some(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                // Of the tenth only one bit has room.
                let fits = at < 9 || *byte < 2;
                self.0 = self.0.get(at + 1..).filter(|_| fits)?;
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn fixed64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn fixed32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::message::{self, AnyValue, Array, KeyValue, LogRecord, Map};
    use super::*;

    /// A record that is read behind another one, of which nothing is left.
    fn read(bytes: &[u8]) -> Option<Log<'_>> {
        let mut log = Log { event_name: b"before", flags: 7, ..Log::default() };
        log.attributes.push(Pair { key: b"before", value: None });
        super::read(bytes, &mut log).map(|()| log)
    }

    fn text(text: &str) -> Option<AnyValue> {
        Some(AnyValue { value: Some(message::Any::Text(text.to_owned().into())) })
    }

    fn value(value: message::Any) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn full() -> LogRecord {
        let pair = |key: &str, value| KeyValue { key: key.to_owned().into(), value };
        let list = [text("a"), value(message::Any::Int(7)), Some(AnyValue { value: None })];
        let list = Array { values: list.into_iter().flatten().collect() };
        let map =
            Map { values: vec![pair("x", value(message::Any::Bool(true))), pair("none", None)] };
        LogRecord {
            time_unix_nano: 1_700_000_000_000_000_007,
            severity_number: 13,
            severity_text: "WARN".into(),
            body: text("a message"),
            attributes: vec![
                pair("float", value(message::Any::Float(1.5))),
                pair("list", value(message::Any::Array(list))),
                pair("map", value(message::Any::Map(map))),
                pair("bytes", value(message::Any::Bytes(vec![0, 255].into()))),
                pair("", text("")),
            ],
            flags: 1,
            trace_id: vec![0xab; 16].into(),
            span_id: vec![1; 8].into(),
            observed_time_unix_nano: 5,
            event_name: "order".into(),
        }
    }

    #[test]
    fn what_is_usual_is_read_quickly() {
        for log in [full(), LogRecord::default()] {
            assert_eq!(read(&log.encode_to_vec()), Some(Log::from(&log)));
        }
    }

    #[test]
    fn what_is_not_is_left_to_the_general_reader() {
        let whole = LogRecord { body: text("a"), ..LogRecord::default() }.encode_to_vec();
        // A field that is not known, the body twice, a negative number, what breaks off.
        let negative = LogRecord { severity_number: -1, ..LogRecord::default() };
        let cut = whole.get(..whole.len() - 1).unwrap().to_vec();
        for bytes in [
            [whole.as_slice(), &[0x38, 1]].concat(),
            whole.repeat(2),
            negative.encode_to_vec(),
            cut,
        ] {
            assert_eq!(read(&bytes), None, "{bytes:?}");
        }
        let mut deep = AnyValue { value: Some(message::Any::Int(1)) };
        for _ in 0..DEPTH_MAX {
            deep = AnyValue { value: Some(message::Any::Array(Array { values: vec![deep] })) };
        }
        let deep = LogRecord { body: Some(deep), ..LogRecord::default() };
        assert_eq!(read(&deep.encode_to_vec()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is read quickly is what is read in general, whatever was done to a record.
        #[test]
        fn both_ways_agree(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4), cut in any::<usize>()) {
            let mut bytes = full().encode_to_vec();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut % 8);
            if let Some(log) = read(&bytes) {
                let general = LogRecord::decode(bytes.as_slice()).unwrap();
                // Written out, for a figure may be no number.
                prop_assert_eq!(format!("{log:?}"), format!("{:?}", Log::from(&general)));
            }
        }
    }
}
