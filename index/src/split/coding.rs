//! Numbers and bytes as the sections of a bundle hold them: varints (LEB128), zigzag, zstd.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// Bytes of a section before compression that a reader takes.
const SECTION_BYTES_MAX: usize = 1 << 30;

/// Writes an unsigned number.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Writes a signed number.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Writes bytes behind their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Whether two texts are the same, word by word: neighbours of one length mostly differ in the first
/// one, before what compares any two texts is even called.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let (words, rest) = one.as_bytes().as_chunks::<8>();
    let (others, other_rest) = other.as_bytes().as_chunks::<8>();
    one.len() == other.len()
        && words.iter().zip(others).all(|(a, b)| u64::from_le_bytes(*a) == u64::from_le_bytes(*b))
        && rest.iter().zip(other_rest).all(|(a, b)| a == b)
}

/// How many bytes two texts begin with alike.
pub(super) fn shared(left: &[u8], right: &[u8]) -> usize {
    let (words, others) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
    let mut at = 0;
    for (word, other) in words.iter().zip(others) {
        let differing = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differing != 0 {
            return at + (differing.trailing_zeros() / u8::BITS) as usize;
        }
        at += 8;
    }
    let rest = left.iter().zip(right).skip(at);
    at + rest.take_while(|(left, right)| left == right).count()
}

/// Reads what was written, front to back. Every read fails where the bytes end.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// What a reader says of bytes that are not what they should be.
pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not hold what it should")
}

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn number(&mut self) -> io::Result<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (byte, rest) = self.0.split_first().ok_or_else(malformed)?;
            self.0 = rest;
            if shift > 63 {
                return Err(malformed());
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    pub(super) fn small(&mut self) -> io::Result<u32> {
        u32::try_from(self.number()?).map_err(|_| malformed())
    }

    /// Passes over so many numbers.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<()> {
        // The last byte of each number is one without its highest bit: eight bytes at a time.
        while let Some((eight, rest)) = self.0.split_first_chunk::<8>() {
            let ends = u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080;
            let ended = u64::from(8 - ends.count_ones());
            if ended >= count {
                break;
            }
            count -= ended;
            self.0 = rest;
        }
        while count > 0 {
            let (byte, rest) = self.0.split_first().ok_or_else(malformed)?;
            self.0 = rest;
            count -= u64::from(byte & 0x80 == 0);
        }
        Ok(())
    }

    pub(super) fn signed(&mut self) -> io::Result<i64> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| malformed())?;
        self.take(length)
    }
}

/// The level of zstd of which a thread keeps a compressor: others take a lot of memory, and are seldom.
const KEPT_LEVEL: i32 = 1;

/// Compresses a section, or a part of one, at such a level of zstd.
pub(super) fn pack(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    if level != KEPT_LEVEL {
        return zstd::bulk::compress(bytes, level);
    }
    PACKER.with_borrow_mut(|packer| match packer {
        Some(packer) => packer.compress(bytes),
        none => none.insert(Compressor::new(level)?).compress(bytes),
    })
}

thread_local! {
    /// What a thread packs with at [`KEPT_LEVEL`]: zstd asks the processor what it can do whenever one is
    /// made, which takes a virtual machine as long as packing some kilobytes.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    /// What a thread unpacks with: to make it anew takes longer than most sections.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Undoes [`pack`]; the length before is known.
pub(super) fn unpack(bytes: &[u8], length: usize) -> io::Result<Vec<u8>> {
    if length > SECTION_BYTES_MAX {
        return Err(malformed());
    }
    let unpacked = UNPACKER.with_borrow_mut(|unpacker| match unpacker {
        Some(unpacker) => unpacker.decompress(bytes, length),
        none => none.insert(Decompressor::new()?).decompress(bytes, length),
    })?;
    if unpacked.len() == length { Ok(unpacked) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_the_same_or_not(one in "[ab]{0,20}", other in "[ab]{0,20}", end in "[ab]?") {
            prop_assert_eq!(is_same(&one, &other), one == other);
            let longer = format!("{one}{end}");
            prop_assert_eq!(is_same(&one, &longer), one == longer);
            prop_assert!(is_same(&one, &one.clone()));
        }

        #[test]
        fn texts_begin_alike_or_not(one in "[ab]{0,20}", other in "[ab]{0,20}") {
            let [left, right] = [one.as_bytes(), other.as_bytes()];
            let expected = left.iter().zip(right).take_while(|(left, right)| left == right).count();
            prop_assert_eq!(shared(left, right), expected);
            prop_assert_eq!(shared(left, &[left, right].concat()), left.len());
        }

        #[test]
        fn what_is_put_is_read(number: u64, signed: i64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, number);
            put_signed(&mut out, signed);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number().unwrap(), number);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.bytes().unwrap(), &bytes);
            prop_assert!(reader.is_empty());
            for level in [1, 17] {
                let packed = pack(&bytes, level).unwrap();
                prop_assert_eq!(&unpack(&packed, bytes.len()).unwrap(), &bytes);
            }
        }

        #[test]
        fn numbers_are_passed_over(
            numbers in prop::collection::vec(prop_oneof![0..200_u64, any::<u64>()], 0..60),
            skipped in 0..70_u64,
        ) {
            let mut out = Vec::new();
            numbers.iter().for_each(|number| put(&mut out, *number));
            let mut reader = Reader(&out);
            let left = numbers.iter().skip(usize::try_from(skipped).unwrap());
            prop_assert_eq!(reader.skip(skipped).is_ok(), skipped <= numbers.len() as u64);
            for number in left {
                prop_assert_eq!(reader.number().unwrap(), *number);
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.bytes().is_ok() && !reader.is_empty() {}
            drop(unpack(&bytes, 100));
        }
    }
}
