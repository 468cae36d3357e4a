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
                let (mut last, mut lately) = (None, Lately::default());
                for text in rows.filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)) {
                    if last.is_some_and(|last| is_same(last, text)) {
                        continue;
                    }
                    last = Some(text);
                    if lately.is_new(text, || xxh3_64(text.as_bytes()), |one| is_same(one, text)) {
                        self.add_text(text);
                    }
                }
            }
            Values::Int(numbers) => {
                let (values, mut lately) = (numbers.values(), Lately::default());
                let valid = rows.filter(|row| numbers.is_valid(*row));
                for number in valid.filter_map(|row| values.get(row).copied()) {
                    if lately.is_new(number, || spread(number), |one| *one == number) {
                        // The digits of a number are one token.
                        let digits = number.unsigned_abs();
                        self.add_folded(itoa::Buffer::new().format(digits).as_bytes());
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
        let (mut text, mut lately) = (String::new(), Lately::default());
        for number in numbers {
            let bits = number.to_bits();
            if !lately.is_new(bits, || spread(bits.cast_signed()), |one| *one == bits) {
                continue;
            }
            if let Some(scaled) = in_millionths(number) {
                self.add_millionths(scaled);
                continue;
            }
            text.clear();
            // It cannot fail.
            if write!(text, "{number}").is_ok() {
                self.add_text(&text);
            }
        }
    }

    /// Adds the tokens of so many millionths: the digits before the point, and those behind it.
    fn add_millionths(&mut self, scaled: u64) {
        self.add_folded(itoa::Buffer::new().format(scaled / MILLION).as_bytes());
        let mut part = scaled % MILLION;
        if part == 0 {
            return;
        }
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit += (part % 10).to_le_bytes()[0];
            part /= 10;
        }
        let behind = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        self.add_folded(digits.get(..behind).unwrap_or_default());
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

const MILLION: u64 = 1_000_000;

/// A fraction with six places or fewer as that many millionths, without its sign; `None` of others. Its
/// digits, fifteen at most, are those of its text: no other so short text reads as the same number.
fn in_millionths(number: f64) -> Option<u64> {
    let scaled = (number.abs() * 1e6).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of fifteen digits"
    )]
    (scaled < 1e15 && scaled / 1e6 == number.abs()).then_some(scaled as u64)
}

/// Values that were met lately, where a part of their hash puts them. Many fields have few values, and
/// the tokens of one need not be looked up again within a unit.
struct Lately<T> {
    values: [Option<T>; LATELY],
    met: u32,
    missed: u32,
}

/// How many there are: so few that nothing else has to leave the processor's memory.
const LATELY: usize = 128;
/// Values that were not among them before it is given up, unless one of so many was.
const MISSED: u32 = 64;
const MISSED_PER_MET: u32 = 8;

impl<T: Copy> Default for Lately<T> {
    fn default() -> Self {
        Self { values: [None; LATELY], met: 0, missed: 0 }
    }
}

impl<T> Lately<T> {
    /// Whether a value of such a hash was not met lately, as far as is known; it is from now on.
    fn is_new(
        &mut self,
        value: T,
        hash: impl FnOnce() -> u64,
        is_it: impl FnOnce(&T) -> bool,
    ) -> bool {
        if self.missed >= MISSED && self.missed > self.met * MISSED_PER_MET {
            return true;
        }
        let place = usize::try_from(hash()).unwrap_or(usize::MAX) & (LATELY - 1);
        let Some(known) = self.values.get_mut(place) else { return true };
        if known.as_ref().is_some_and(is_it) {
            self.met += 1;
            return false;
        }
        *known = Some(value);
        self.missed += 1;
        true
    }
}

/// A hash of a number.
fn spread(number: i64) -> u64 {
    number.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
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
    fn fractions_have_the_tokens_of_their_texts() {
        let mut numbers = vec![0.0, -0.0, 1.0, -7.25, 0.1, 1e-7, 12.345_678, 12.345_678_9, 1e300];
        numbers.extend([f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 999_999_999.000_001, 1e15]);
        numbers.extend((0..2_000).map(|n| f64::from(n * 7_919) / 1_000.0));
        numbers.extend((1..2_000).map(|n| f64::from(n) / 3.0));
        let column: arrow::array::ArrayRef =
            std::sync::Arc::new(arrow::array::Float64Array::from(numbers.clone()));
        for (at, number) in numbers.iter().enumerate() {
            let (mut of_value, mut of_text) = (Gatherer::default(), Gatherer::default());
            of_value.add_values(&Values::of(&column), at..at + 1);
            of_text.add_text(&number.to_string());
            of_value.end_unit();
            of_text.end_unit();
            assert_eq!(given(of_value), given(of_text), "{number}");
        }
    }

    #[test]
    fn values_that_come_again_are_in_each_unit() {
        let values = (0..5_000_u32).map(|n| n * n % 97);
        let texts: arrow::array::StringArray =
            values.clone().map(|n| Some(format!("word{n} other"))).collect();
        let numbers: arrow::array::Int64Array = values.clone().map(i64::from).collect();
        let fractions: arrow::array::Float64Array =
            values.map(|n| f64::from(n) / 8.0).map(Some).collect();
        let columns: [arrow::array::ArrayRef; 3] = [
            std::sync::Arc::new(texts),
            std::sync::Arc::new(numbers),
            std::sync::Arc::new(fractions),
        ];
        for column in &columns {
            let (mut of_values, mut of_texts) = (Gatherer::default(), Gatherer::default());
            for from in (0..column.len()).step_by(1_000) {
                of_values.add_values(&Values::of(column), from..from + 1_000);
                of_values.end_unit();
                for row in from..from + 1_000 {
                    of_texts.add_text(&Values::of(column).text(row).unwrap());
                }
                of_texts.end_unit();
            }
            assert_eq!(given(of_values), given(of_texts));
        }
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
