//! Distinct tokens and the units (blocks of rows, templates) that have them, gathered while rows go
//! by, given out in order.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;

use arrow::array::Array as _;
use hashbrown::HashTable;
use model::limits::TOKEN_BYTES_MAX;
use model::text::{cut, fold_text};
use xxhash_rust::xxh3::xxh3_64;

use super::coding::is_same;
use super::lex::each_token;
use super::runs::{self, HEAD_BYTES, RunWriter, ascend, head_of, in_bytes, in_order};
use crate::columns::Values;

/// Bytes of tables at which what was gathered is put aside, sorted: so few that a processor has most of
/// them at hand. Most tokens are met once, and to reach far for each takes longer than to join runs.
const TABLE_BYTES_MAX: usize = 2 << 20;
/// Bytes that a token takes in the tables beside its own and its units, about.
const TERM_BYTES: usize = 56;

/// Gathers tokens, folded and cut at [`TOKEN_BYTES_MAX`].
///
/// Memory: [`TABLE_BYTES_MAX`], and what was put aside: two or three bytes for each unit that has a
/// token.
#[derive(Default)]
pub(super) struct Gatherer {
    /// The tokens that were met, where their hash puts them: most lookups touch nothing else.
    table: HashTable<Gathered>,
    /// The bytes of their tokens.
    bytes: Vec<u8>,
    /// The terms of each unit, unit after unit.
    postings: Vec<u32>,
    /// The units that were gathered, and where each one ends in `postings`.
    ends: Vec<(u32, usize)>,
    /// The unit that is being gathered.
    unit: u32,
    /// How many units there are.
    units: u32,
    /// What was put aside.
    runs: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

/// A token that was met.
struct Gathered {
    /// Its first bytes: those of a short token are all it has.
    head: [u8; HEAD_BYTES],
    hash: u64,
    /// Its place in `bytes`.
    start: u32,
    /// How many were met before it.
    number: u32,
    /// The last unit that has it.
    unit: u32,
    length: u8,
}

// A token's length fits its byte, and so many bytes are numbered by 32 bits.
const _: () = assert!(TOKEN_BYTES_MAX <= 255 && TABLE_BYTES_MAX < u32::MAX as usize / 2);

impl Gathered {
    /// Whether it is that token. `bytes` are those of all tokens.
    fn is(&self, token: &[u8], head: &[u8; HEAD_BYTES], bytes: &[u8]) -> bool {
        usize::from(self.length) == token.len()
            && self.head == *head
            && (token.len() <= HEAD_BYTES || self.of(bytes) == token)
    }

    /// Its own bytes of those of all tokens.
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        bytes.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

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
                    if last.is_none_or(|last| !is_same(last, text)) {
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
                        // The digits of a number are one token.
                        let digits = number.unsigned_abs();
                        self.add_folded(itoa::Buffer::new().format(digits).as_bytes());
                        last = Some(number);
                    }
                }
            }
            Values::Float(numbers) => {
                let valid = rows.filter(|row| numbers.is_valid(*row));
                self.add_floats(valid.map(|row| numbers.value(row)));
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

    fn add_floats(&mut self, numbers: impl Iterator<Item = f64>) {
        let mut text = String::new();
        for number in numbers {
            text.clear();
            // It cannot fail.
            if write!(text, "{number}").is_ok() {
                self.add_text(&text);
            }
        }
    }

    fn add_folded(&mut self, token: &[u8]) {
        let (hash, head, unit) = (xxh3_64(token), head_of(token), self.unit);
        let bytes = &mut self.bytes;
        let is_it = |met: &Gathered| met.hash == hash && met.is(token, &head, bytes);
        if let Some(met) = self.table.find_mut(hash, is_it) {
            if met.unit != unit {
                met.unit = unit;
                self.postings.push(met.number);
            }
            return;
        }
        let numbered = "tables are put aside long before they have 2^32 tokens or bytes";
        let number = u32::try_from(self.table.len()).expect(numbered);
        let start = u32::try_from(bytes.len()).expect(numbered);
        let length = u8::try_from(token.len()).expect("tokens are cut");
        bytes.extend_from_slice(token);
        let met = Gathered { head, hash, start, number, unit, length };
        self.table.insert_unique(hash, met, |met| met.hash);
        self.postings.push(number);
    }

    /// Goes to a unit, also back to one that has ended: more is gathered of it.
    pub(super) fn go_to(&mut self, unit: u32) {
        self.unit = unit;
    }

    /// Ends the unit. The next one is the one behind it.
    pub(super) fn end_unit(&mut self) {
        if self.ends.last().map_or(0, |(_, end)| *end) < self.postings.len() {
            self.ends.push((self.unit, self.postings.len()));
        }
        self.unit += 1;
        self.units = self.units.max(self.unit);
        let term_bytes = self.table.len() * TERM_BYTES + self.bytes.len();
        if term_bytes + self.postings.len() * size_of::<u32>() * 2 > TABLE_BYTES_MAX {
            self.put_aside();
        }
    }

    /// How many units were ended.
    pub(super) fn unit_count(&self) -> u32 {
        self.units
    }

    /// Sorts what is in the tables into a run, and empties them.
    fn put_aside(&mut self) {
        let Self { table, bytes, postings, ends, .. } = self;
        // Where each token's units are to stand: first how many they are, then where they begin.
        let mut places = vec![0_usize; table.len()];
        for number in &*postings {
            if let Some(count) = places.get_mut(*number as usize) {
                *count += 1;
            }
        }
        let mut at = 0;
        for place in &mut places {
            (at, *place) = (at + *place, at);
        }
        let mut units = vec![0_u32; at];
        let mut from = 0;
        for (unit, end) in ends.iter() {
            for number in postings.get(from..*end).unwrap_or_default() {
                let Some(place) = places.get_mut(*number as usize) else { continue };
                if let Some(slot) = units.get_mut(*place) {
                    *slot = *unit;
                }
                *place += 1;
            }
            from = *end;
        }
        // By now each place is the next one's beginning.
        let span = |number: u32| {
            let before = number.checked_sub(1).and_then(|before| places.get(before as usize));
            before.copied().unwrap_or(0)..places.get(number as usize).copied().unwrap_or(0)
        };
        let place = |met: &Gathered| {
            let key = u128::from_be_bytes(met.head);
            ((key, met.of(bytes)), met.number)
        };
        let mut order: Vec<((u128, &[u8]), u32)> = table.iter().map(place).collect();
        order.sort_unstable_by(|(one, _), (other, _)| in_bytes(*one, *other));
        let (mut run, mut sorted) = (RunWriter::default(), Vec::new());
        for ((_, bytes), number) in order {
            let units = units.get(span(number)).unwrap_or_default();
            // Of units to which it was gone back some may be met again.
            if ascend(units) {
                run.add(bytes, units);
            } else {
                sorted.clear();
                sorted.extend_from_slice(units);
                in_order(&mut sorted);
                run.add(bytes, &sorted);
            }
        }
        self.runs.push(run.finish());
        table.clear();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn given(gatherer: Gatherer) -> BTreeMap<String, Vec<u32>> {
        let mut given = BTreeMap::new();
        gatherer
            .give(|token, units| {
                given.insert(String::from_utf8(token.to_vec()).unwrap(), units.to_vec());
                Ok::<_, io::Error>(())
            })
            .unwrap();
        given
    }

    #[test]
    fn units_to_which_it_is_gone_back_have_more() {
        for aside in [false, true] {
            let mut gatherer = Gatherer::default();
            for tokens in [&["a", "b"][..], &["b"], &["c"]] {
                tokens.iter().for_each(|token| gatherer.add(token));
                gatherer.end_unit();
            }
            if aside {
                gatherer.put_aside();
            }
            for (unit, token) in [(0, "a"), (0, "c"), (2, "b"), (0, "b"), (1, "c"), (1, "d")] {
                gatherer.go_to(unit);
                gatherer.add(token);
                gatherer.end_unit();
            }
            assert_eq!(gatherer.unit_count(), 3);
            let of = |token: &str, units: &[u32]| (token.to_owned(), units.to_vec());
            let expected = [of("a", &[0]), of("b", &[0, 1, 2]), of("c", &[0, 1, 2]), of("d", &[1])];
            assert_eq!(given(gatherer), BTreeMap::from(expected), "{aside}");
        }
    }

    #[test]
    fn numbers_have_the_tokens_of_their_texts() {
        let numbers = [Some(7), None, Some(-42), Some(0), Some(i64::MIN), Some(i64::MAX)];
        let column: arrow::array::ArrayRef =
            std::sync::Arc::new(numbers.into_iter().collect::<arrow::array::Int64Array>());
        let (mut of_values, mut of_texts) = (Gatherer::default(), Gatherer::default());
        of_values.add_values(&Values::of(&column), 0..column.len());
        numbers.into_iter().flatten().for_each(|number| of_texts.add_text(&number.to_string()));
        of_values.end_unit();
        of_texts.end_unit();
        assert_eq!(given(of_values), given(of_texts));
    }

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
        assert_eq!(given(gatherer), expected);
    }
}
