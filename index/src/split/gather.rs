//! Distinct tokens and the units (blocks of rows, templates) that have them, gathered while rows go
//! by, given out in order.

use hashbrown::HashTable;
use model::limits::TOKEN_BYTES_MAX;
use model::text::{cut, fold_text};
use xxhash_rust::xxh3::xxh3_64;

use super::lex::each_token;

/// Gathers tokens, folded and cut at [`TOKEN_BYTES_MAX`].
///
/// Memory: each distinct token once, and four bytes for each unit that has it.
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

    fn add_folded(&mut self, token: &[u8]) {
        let hash = xxh3_64(token);
        let (terms, bytes) = (&mut self.terms, &mut self.bytes);
        let is_it = |number: &u32| {
            let term = terms.get(*number as usize);
            term.is_some_and(|term| term.hash == hash && bytes_of(bytes, term) == token)
        };
        let unit = u32::try_from(self.ends.len()).expect("a split has far fewer than 2^32 units");
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
    }

    /// How many units were ended.
    pub(super) fn unit_count(&self) -> usize {
        self.ends.len()
    }

    /// Every token in the order of its bytes, with its units in order.
    ///
    /// # Errors
    /// Those of `each`.
    pub(super) fn give<E>(
        self,
        mut each: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { terms, bytes, postings, ends, .. } = self;
        let mut at = 0;
        // Where each term's units are to stand.
        let mut places: Vec<usize> = Vec::with_capacity(terms.len());
        for term in &terms {
            places.push(at);
            at += term.unit_count as usize;
        }
        let mut units = vec![0_u32; at];
        let mut from = 0;
        for (unit, end) in (0_u32..).zip(&ends) {
            for number in postings.get(from..*end).unwrap_or_default() {
                let Some(place) = places.get_mut(*number as usize) else { continue };
                if let Some(slot) = units.get_mut(*place) {
                    *slot = unit;
                }
                *place += 1;
            }
            from = *end;
        }
        drop(postings);
        let mut order: Vec<(&[u8], u32, usize)> = terms
            .iter()
            .zip(places)
            .map(|(term, end)| (bytes_of(&bytes, term), term.unit_count, end))
            .collect();
        order.sort_unstable_by_key(|(bytes, _, _)| *bytes);
        for (bytes, count, end) in order {
            each(bytes, units.get(end - count as usize..end).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn bytes_of<'a>(bytes: &'a [u8], term: &Gathered) -> &'a [u8] {
    bytes.get(term.start..term.start + usize::from(term.length)).unwrap_or_default()
}
