//! Distinct tokens and the units (blocks of rows, templates) that have them, gathered while rows go
//! by, given out in order.

use std::io;
use std::ops::Range;

use arrow::array::Array as _;
use hashbrown::HashTable;
use model::limits::TOKEN_BYTES_MAX;
use model::text::{cut, fold_text};
use xxhash_rust::xxh3::xxh3_64;

use super::lex::each_token;
use super::runs::{self, RunWriter};
use crate::columns::Values;

/// Bytes of tables at which what was gathered is put aside, sorted.
const TABLE_BYTES_MAX: usize = 24 << 20;
/// Bytes that a token takes in the tables beside its own and its units, about.
const TERM_BYTES: usize = 56;

/// Gathers tokens, folded and cut at [`TOKEN_BYTES_MAX`].
///
/// Memory: [`TABLE_BYTES_MAX`], and what was put aside: two or three bytes for each unit that has a
/// token.
#[derive(Default)]
pub(super) struct Gatherer {
    /// Numbers of terms by their hash.
    table: HashTable<u32>,
    terms: Vec<Gathered>,
    /// The terms' bytes.
    bytes: Vec<u8>,
    /// The terms of each unit, unit after unit.
    postings: Vec<u32>,
    /// Where each unit ends in `postings`.
    ends: Vec<usize>,
    /// Units whose terms were put aside.
    units_aside: u32,
    /// What was put aside.
    runs: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

/// A token that was met.
struct Gathered {
    hash: u64,
    /// Its place in `bytes`.
    start: usize,
    length: u8,
    /// The last unit that has it.
    unit: u32,
    unit_count: u32,
}

// A token's length fits its byte.
const _: () = assert!(TOKEN_BYTES_MAX <= 255);

impl Gatherer {
    /// Adds all tokens of a text to the unit that is being gathered.
    pub(super) fn add_text(&mut self, text: &str) {
        each_token(text, |start, end| self.add(text.get(start..end).unwrap_or_default()));
    }

    /// Adds one token.
    pub(super) fn add(&mut self, token: &str) {
        let token_bytes = token.as_bytes();
        if token.is_empty() {
            return;
        }
        if token.is_ascii() {
            if token_bytes.len() <= TOKEN_BYTES_MAX
                && !token_bytes.iter().any(u8::is_ascii_uppercase)
            {
                return self.add_folded(token_bytes);
            }
            let mut folded = std::mem::take(&mut self.scratch);
            folded.clear();
            folded.extend(token_bytes.iter().take(TOKEN_BYTES_MAX).map(u8::to_ascii_lowercase));
            self.add_folded(&folded);
            self.scratch = folded;
        } else {
            self.add_folded(cut(&fold_text(token), TOKEN_BYTES_MAX).as_bytes());
        }
    }

    /// Adds all tokens of some rows' values. Values often repeat from row to row.
    pub(super) fn add_values(&mut self, values: &Values<'_>, rows: Range<usize>) {
        match values {
            Values::Text(texts) => {
                let mut last = None;
                for text in rows.filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)) {
                    if last != Some(text) {
                        self.add_text(text);
                        last = Some(text);
                    }
                }
            }
            Values::Int(numbers) => {
                let mut last = None;
                for number in
                    rows.filter(|row| numbers.is_valid(*row)).map(|row| numbers.value(row))
                {
                    if last != Some(number) {
                        self.add_text(itoa::Buffer::new().format(number));
                        last = Some(number);
                    }
                }
            }
            Values::Bool(truths) => {
                for (truth, text) in [(false, "false"), (true, "true")] {
                    if rows.clone().any(|row| truths.is_valid(row) && truths.value(row) == truth) {
                        self.add(text);
                    }
                }
            }
            _ => {
                rows.filter_map(|row| values.text(row)).for_each(|text| self.add_text(&text));
            }
        }
    }

    fn add_folded(&mut self, token: &[u8]) {
        let (hash, unit) = (xxh3_64(token), self.unit_count());
        let (terms, bytes) = (&mut self.terms, &mut self.bytes);
        let is_it = |number: &u32| {
            let term = terms.get(*number as usize);
            term.is_some_and(|term| term.hash == hash && bytes_of(bytes, term) == token)
        };
        if let Some(number) = self.table.find(hash, is_it).copied() {
            if let Some(term) = terms.get_mut(number as usize).filter(|term| term.unit != unit) {
                term.unit = unit;
                term.unit_count += 1;
                self.postings.push(number);
            }
            return;
        }
        let number = u32::try_from(terms.len()).expect("a split has far fewer than 2^32 tokens");
        let start = bytes.len();
        let length = u8::try_from(token.len()).expect("tokens are cut");
        bytes.extend_from_slice(token);
        terms.push(Gathered { hash, start, length, unit, unit_count: 1 });
        let hash_of = |number: &u32| terms.get(*number as usize).map_or(0, |term| term.hash);
        self.table.insert_unique(hash, number, hash_of);
        self.postings.push(number);
    }

    /// Ends the unit.
    pub(super) fn end_unit(&mut self) {
        self.ends.push(self.postings.len());
        let term_bytes = self.terms.len() * TERM_BYTES + self.bytes.len();
        if term_bytes + self.postings.len() * size_of::<u32>() * 2 > TABLE_BYTES_MAX {
            self.put_aside();
        }
    }

    /// How many units were ended.
    pub(super) fn unit_count(&self) -> u32 {
        let units = u32::try_from(self.ends.len()).expect("a split has far fewer than 2^32 units");
        self.units_aside + units
    }

    /// Sorts what is in the tables into a run, and empties them.
    fn put_aside(&mut self) {
        let Self { terms, bytes, postings, ends, .. } = self;
        let mut at = 0;
        // Where each term's units are to stand.
        let mut places: Vec<usize> = Vec::with_capacity(terms.len());
        for term in terms.iter() {
            places.push(at);
            at += term.unit_count as usize;
        }
        let mut units = vec![0_u32; at];
        let mut from = 0;
        for (unit, end) in (self.units_aside..).zip(ends.iter()) {
            for number in postings.get(from..*end).unwrap_or_default() {
                let Some(place) = places.get_mut(*number as usize) else { continue };
                if let Some(slot) = units.get_mut(*place) {
                    *slot = unit;
                }
                *place += 1;
            }
            from = *end;
        }
        let mut order: Vec<(&[u8], u32, usize)> = terms
            .iter()
            .zip(places)
            .map(|(term, end)| (bytes_of(bytes, term), term.unit_count, end))
            .collect();
        order.sort_unstable_by_key(|(bytes, _, _)| *bytes);
        let mut run = RunWriter::default();
        for (bytes, count, end) in order {
            run.add(bytes, units.get(end - count as usize..end).unwrap_or_default());
        }
        self.runs.push(run.finish());
        self.units_aside += u32::try_from(ends.len()).unwrap_or(u32::MAX);
        self.table.clear();
        terms.clear();
        bytes.clear();
        postings.clear();
        ends.clear();
    }

    /// Every token in the order of its bytes, with its units in order.
    ///
    /// # Errors
    /// Those of `each`.
    pub(super) fn give<E: From<io::Error>>(
        mut self,
        each: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.put_aside();
        let runs = std::mem::take(&mut self.runs);
        drop(self);
        runs::join(&runs, each)
    }
}

fn bytes_of<'a>(bytes: &'a [u8], term: &Gathered) -> &'a [u8] {
    bytes.get(term.start..term.start + usize::from(term.length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_was_put_aside_comes_back_in_order() {
        let mut gatherer = Gatherer::default();
        let mut expected: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for unit in 0..40_u32 {
            for token in [format!("t{}", unit % 7), format!("only{unit}"), "all".to_owned()] {
                gatherer.add(&token);
                gatherer.add(&token);
                expected.entry(token).or_default().push(unit);
            }
            gatherer.end_unit();
            if unit % 11 == 3 {
                gatherer.put_aside();
            }
        }
        assert_eq!(gatherer.unit_count(), 40);
        let mut given = BTreeMap::new();
        gatherer
            .give(|token, units| {
                given.insert(String::from_utf8(token.to_vec()).unwrap(), units.to_vec());
                Ok::<_, io::Error>(())
            })
            .unwrap();
        assert_eq!(given, expected);
    }
}
