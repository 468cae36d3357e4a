//! Where a value of MessagePack ends, found without making it: the bytes may still be coming.

/// Looks for the end of one value; goes on where it stopped when more bytes have come.
#[derive(Debug)]
pub(super) struct Extent {
    /// Bytes passed.
    at: usize,
    /// Values still to pass.
    needed: u64,
    bytes_max: usize,
}

/// Why there is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExtentError {
    /// Send less at once.
    #[error("a message is over {0} bytes")]
    TooLarge(usize),
    /// It is something else.
    #[error("not MessagePack")]
    NotMessagePack,
}

/// A value's head: its own bytes, those of its content, and the values inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: usize,
    content: usize,
    values: u64,
}

impl Extent {
    /// Of a value of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { at: 0, needed: 1, bytes_max }
    }

    /// Goes on over all the bytes that have come; they begin where they began before. Gives the
    /// end, or `None` when more must come.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ExtentError> {
        while self.needed > 0 {
            let Some(head) = bytes.get(self.at..).map_or(Ok(None), head)? else { break };
            self.at += head.bytes + head.content;
            self.needed = self.needed - 1 + head.values;
            let least = self.at as u64 + self.needed;
            if least > self.bytes_max as u64 {
                return Err(ExtentError::TooLarge(self.bytes_max));
            }
        }
        Ok((self.needed == 0 && self.at <= bytes.len()).then_some(self.at))
    }
}

/// The end of a value that has come whole.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    Extent::new(bytes.len()).advance(bytes).ok().flatten()
}

/// How many values the array holds that begins here, and the bytes of its head.
pub(super) fn array(bytes: &[u8]) -> Option<(u64, usize)> {
    let is_array = matches!(bytes.first()?, 0x90..=0x9f | 0xdc | 0xdd);
    let head = head(bytes).ok().flatten().filter(|_| is_array)?;
    Some((head.values, head.bytes))
}

/// The content of the text or the bytes that begin here.
pub(super) fn content(bytes: &[u8]) -> Option<&[u8]> {
    let is_flat = matches!(bytes.first()?, 0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb);
    let head = head(bytes).ok().flatten().filter(|_| is_flat)?;
    bytes.get(head.bytes..head.bytes + head.content)
}

/// `None`: more must come.
fn head(bytes: &[u8]) -> Result<Option<Head>, ExtentError> {
    let Some(marker) = bytes.first().copied() else { return Ok(None) };
    // The number of this many bytes behind the marker.
    let number = |width: usize| {
        let digits = bytes.get(1..=width)?;
        Some(digits.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
    };
    let content = |width: usize, extra: usize| {
        let content = usize::try_from(number(width)?).ok()?;
        Some(Head { bytes: 1 + width + extra, content, values: 0 })
    };
    let fixed = |content: usize| Some(Head { bytes: 1, content, values: 0 });
    let holder = |width: usize, each: u64| {
        Some(Head { bytes: 1 + width, content: 0, values: number(width)? * each })
    };
    Ok(match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => fixed(0),
        0x80..=0x8f => Some(Head { bytes: 1, content: 0, values: u64::from(marker & 0x0f) * 2 }),
        0x90..=0x9f => Some(Head { bytes: 1, content: 0, values: u64::from(marker & 0x0f) }),
        0xa0..=0xbf => fixed(usize::from(marker & 0x1f)),
        0xc1 => return Err(ExtentError::NotMessagePack),
        0xc4 | 0xd9 => content(1, 0),
        0xc5 | 0xda => content(2, 0),
        0xc6 | 0xdb => content(4, 0),
        // An extension has a byte for its type.
        0xc7 => content(1, 1),
        0xc8 => content(2, 1),
        0xc9 => content(4, 1),
        0xcc | 0xd0 => fixed(1),
        0xcd | 0xd1 => fixed(2),
        0xca | 0xce | 0xd2 => fixed(4),
        0xcb | 0xcf | 0xd3 => fixed(8),
        0xd4..=0xd8 => fixed(1 + (1 << (marker - 0xd4))),
        0xdc => holder(2, 1),
        0xdd => holder(4, 1),
        0xde => holder(2, 2),
        0xdf => holder(4, 2),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::F32),
            any::<f64>().prop_map(Value::F64),
            ".{0,300}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(kind, data)| Value::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_end_is_where_the_value_ends(value in value(), piece in 1_usize..50) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            let length = bytes.len();
            bytes.extend_from_slice(b"\x01\x02");
            prop_assert_eq!(end(&bytes), Some(length));
            let mut extent = Extent::new(length);
            let mut come = 0;
            while come < length {
                let found = extent.advance(&bytes[..come]).unwrap();
                prop_assert_eq!(found, None);
                come += piece;
            }
            prop_assert_eq!(extent.advance(&bytes).unwrap(), Some(length));
            if length > 1 {
                prop_assert!(Extent::new(length - 1).advance(&bytes).is_err());
            }
        }

        #[test]
        fn any_bytes_have_an_end_or_none(bytes: Vec<u8>) {
            if let Some(end) = end(&bytes) {
                prop_assert!(end <= bytes.len());
                prop_assert!(rmpv::decode::read_value(&mut &bytes[..end]).is_ok());
            }
            content(&bytes);
            array(&bytes);
        }
    }

    #[test]
    fn a_great_number_takes_no_memory() {
        let bytes = [0xdd, 0xff, 0xff, 0xff, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Extent::new(1 << 20).advance(&bytes), Err(ExtentError::TooLarge(1 << 20)));
        assert_eq!(Extent::new(9).advance(&[0xc1]), Err(ExtentError::NotMessagePack));
    }
}
