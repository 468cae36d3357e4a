//! Sorted runs of tokens with the units that have them: what a gatherer puts aside when its tables
//! are full, and joins in the end.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;

use super::coding::{Reader, malformed, put, put_bytes, shared};

/// A run while it is written: tokens in order, each with its units, front-coded.
#[derive(Default)]
pub(super) struct RunWriter {
    out: Vec<u8>,
    last: Vec<u8>,
}

impl RunWriter {
    /// Adds the next token; its units ascend.
    pub(super) fn add(&mut self, token: &[u8], units: &[u32]) {
        let shared = shared(&self.last, token);
        let own = token.get(shared..).unwrap_or_default();
        put(&mut self.out, shared as u64);
        put_bytes(&mut self.out, own);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        put(&mut self.out, units.len() as u64);
        let mut before = 0;
        for unit in units {
            put(&mut self.out, u64::from(unit - before));
            before = *unit;
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// The next token of a run.
struct Head<'a> {
    rest: Reader<'a>,
    token: Vec<u8>,
    /// Its first bytes, which mostly tell which token is first.
    key: u128,
}

impl Head<'_> {
    /// Goes to the next token, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let shared = usize::try_from(self.rest.number()?).map_err(|_| malformed())?;
        self.token.truncate(shared);
        self.token.extend_from_slice(self.rest.bytes()?);
        self.key = u128::from_be_bytes(head_of(&self.token));
        Ok(true)
    }

    fn units(&mut self, units: &mut Vec<u32>) -> io::Result<()> {
        let mut unit = 0_u32;
        for _ in 0..self.rest.number()? {
            unit = unit.checked_add(self.rest.small()?).ok_or_else(malformed)?;
            units.push(unit);
        }
        Ok(())
    }
}

/// Bytes at the beginning of a token that are compared at once.
pub(super) const HEAD_BYTES: usize = 16;

/// The first bytes of a token, filled up with zeros.
pub(super) fn head_of(token: &[u8]) -> [u8; HEAD_BYTES] {
    token.first_chunk().copied().unwrap_or_else(|| {
        let mut head = [0; HEAD_BYTES];
        head.iter_mut().zip(token).for_each(|(to, byte)| *to = *byte);
        head
    })
}

/// The order of two tokens of which the first bytes are known as numbers.
pub(super) fn in_bytes((key, one): (u128, &[u8]), (other_key, other): (u128, &[u8])) -> Ordering {
    key.cmp(&other_key).then_with(|| match one.len().max(other.len()) <= HEAD_BYTES {
        // One is the other with zeros behind it, if any.
        true => one.len().cmp(&other.len()),
        false => one.cmp(other),
    })
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        in_bytes((self.key, &self.token), (other.key, &other.token))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

/// Whether units are in order, each once.
pub(super) fn ascend(units: &[u32]) -> bool {
    units.is_sorted_by(|one, next| one < next)
}

/// Puts units in order, each once.
pub(super) fn in_order(units: &mut Vec<u32>) {
    units.sort_unstable();
    units.dedup();
}

/// Calls `each` with every token of the runs in order, with its units in order.
pub(super) fn join<E: From<io::Error>>(
    runs: &[Vec<u8>],
    mut each: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for run in runs {
        let mut head = Head { rest: Reader(run), token: Vec::new(), key: 0 };
        if head.advance()? {
            heads.push(Reverse(head));
        }
    }
    let (mut token, mut units) = (Vec::new(), Vec::new());
    while let Some(Reverse(least)) = heads.peek() {
        let key = least.key;
        token.clear();
        token.extend_from_slice(&least.token);
        units.clear();
        while let Some(mut head) = heads.peek_mut() {
            if in_bytes((head.0.key, &head.0.token), (key, &token)).is_ne() {
                break;
            }
            head.0.units(&mut units)?;
            if !head.0.advance()? {
                PeekMut::pop(head);
            }
        }
        if !ascend(&units) {
            in_order(&mut units);
        }
        each(&token, &units)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Tokens = BTreeMap<Vec<u8>, BTreeSet<u32>>;

    proptest! {
        #[test]
        fn runs_are_joined_in_order(
            runs in prop::collection::vec(
                prop::collection::btree_map(
                    prop::collection::vec(0_u8..2, 0..20),
                    prop::collection::btree_set(0_u32..9, 1..4),
                    0..9,
                ),
                0..6,
            ),
        ) {
            let (mut expected, mut written): (Tokens, _) = (Tokens::new(), Vec::new());
            for run in &runs {
                let mut writer = RunWriter::default();
                for (token, units) in run {
                    writer.add(token, &units.iter().copied().collect::<Vec<_>>());
                    expected.entry(token.clone()).or_default().extend(units);
                }
                written.push(writer.finish());
            }
            let mut found = Vec::new();
            join(&written, |token, units| {
                found.push((token.to_vec(), units.to_vec()));
                Ok::<_, io::Error>(())
            })
            .unwrap();
            let expected: Vec<(Vec<u8>, Vec<u32>)> = expected
                .into_iter()
                .map(|(token, units)| (token, units.into_iter().collect()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
