//! What a column of a batch that is being filled is known by.

use std::hash::Hasher;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::record::FieldType;

/// By what a column is looked for.
pub(super) fn hash(name: &str, kind: FieldType) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), kind as u64)
}

/// Bytes of a column's name that stand beside its hash.
pub(super) const HEAD_BYTES: usize = 32;

/// Whether two short texts of one length are the same, in words that may overlap: to call what compares
/// any two takes longer than that.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<'a, const N: usize>(one: &'a [u8], other: &'a [u8]) -> Option<[[&'a [u8; N]; 2]; 2]> {
        let (first, last) = (one.first_chunk(), one.last_chunk());
        Some([[first?, other.first_chunk()?], [last?, other.last_chunk()?]])
    }
    if let Some(ends) = ends::<8>(one, other) {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let inner = 8..one.len().saturating_sub(8);
        ends.iter().all(|[one, other]| word(one) == word(other))
            && (inner.is_empty() || one.get(inner.clone()) == other.get(inner))
    } else if let Some(ends) = ends::<4>(one, other) {
        let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        ends.iter().all(|[one, other]| word(one) == word(other))
    } else {
        one.iter().zip(other).all(|(a, b)| a == b)
    }
}

/// What a column is known by: where records have very many fields, names elsewhere in memory are slow to
/// reach.
#[derive(Debug)]
pub(super) struct Known {
    kind: FieldType,
    length: usize,
    head: [u8; HEAD_BYTES],
    /// The columns that came after it in a record, the latest one first: records of one program have the
    /// same fields in one order, but for some that only some have, or that are now of one type, now of another.
    pub(super) next: [usize; 2],
}

impl Known {
    pub(super) fn new(name: &str, kind: FieldType, next: usize) -> Self {
        let mut head = [0; HEAD_BYTES];
        head.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        Self { kind, length: name.len(), head, next: [next; 2] }
    }

    /// Whether it is the column of that name and type; `own` looks at all of its name.
    pub(super) fn is(&self, name: &str, kind: FieldType, own: impl FnOnce() -> bool) -> bool {
        self.kind == kind
            && self.length == name.len()
            && self.head.get(..name.len()).map_or_else(own, |head| is_same(head, name.as_bytes()))
    }
}

/// Takes hashes as they are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_the_same_where_each_byte_is() {
        for length in 0..=HEAD_BYTES {
            let text: Vec<u8> = (b'a'..).take(length).collect();
            assert!(is_same(&text, &text.clone()), "{length}");
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(!is_same(&text, &other), "{at} of {length}");
            }
        }
    }
}
