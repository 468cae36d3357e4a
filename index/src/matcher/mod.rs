//! Matching a text: phrases that stand free and patterns with stars, case folded. Exact. ASCII
//! needles are looked for in the text as it is, others in the folded text; both ways agree.

mod network;

use arrow::array::{Array as _, BooleanBufferBuilder, StringArray};
use arrow::buffer::BooleanBuffer;
use memchr::memmem::{self, Finder};
use model::query::{REGEX_BYTES_MAX, TextMatch};
use model::record::FieldType;
use model::text::{fold_text, is_boundary, stands_free};
use regex::{Regex, RegexBuilder};

use self::network::Network;

/// The one character beyond ASCII that folds into it, to `k`.
const KELVIN: &str = "\u{212a}";
/// One row of so many must be a candidate, or texts are searched one by one.
const SPARSE: usize = 4;

/// A [`TextMatch`], ready to be asked many times.
#[derive(Debug)]
pub struct Matcher {
    shape: Shape,
    /// Letters are to be in exactly this case.
    is_cased: bool,
    /// All needles are ASCII.
    is_ascii: bool,
    /// A needle has a `k`.
    has_k: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a query has a few of them")]
enum Shape {
    Phrase(Needle),
    Pattern {
        parts: Vec<Needle>,
        open_start: bool,
        open_end: bool,
    },
    Regex(Regex),
    Network(Network),
    /// What cannot be matched matches nothing.
    Nothing,
}

impl Matcher {
    /// Prepares a match.
    #[must_use]
    pub fn new(text: &TextMatch) -> Self {
        let (text, is_cased) = match text {
            TextMatch::Cased(inner) => (&**inner, true),
            other => (other, false),
        };
        let needle = |text: &str| match is_cased {
            true => Needle::cased(text),
            false => Needle::new(text),
        };
        let shape = match text {
            TextMatch::Phrase(phrase) => Shape::Phrase(needle(phrase)),
            TextMatch::Pattern { parts, open_start, open_end } => Shape::Pattern {
                parts: parts.iter().map(|part| needle(part)).collect(),
                open_start: *open_start,
                open_end: *open_end,
            },
            TextMatch::Regex(source) => {
                let compiled = RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).build();
                compiled.map_or(Shape::Nothing, Shape::Regex)
            }
            TextMatch::Network { address, prefix } => {
                Network::new(*address, *prefix).map_or(Shape::Nothing, Shape::Network)
            }
            // Nothing is folded in it; there is no second case to keep.
            TextMatch::Cased(_) => Shape::Nothing,
        };
        let is_ascii = shape.needles().iter().all(|needle| needle.text.is_ascii());
        let has_k = shape.needles().iter().any(|needle| needle.text.contains('k'));
        Self { shape, is_cased, is_ascii, has_k }
    }

    /// Whether the text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if self.is_cased {
            return self.shape.matches(text, Needle::find_folded);
        }
        match &self.shape {
            Shape::Regex(regex) => return regex.is_match(text),
            Shape::Network(network) => return network.is_in(text),
            Shape::Nothing => return false,
            Shape::Phrase(_) | Shape::Pattern { .. } => {}
        }
        if self.is_plain(text.as_bytes()) {
            self.shape.matches(text, Needle::find_ascii)
        } else {
            self.shape.matches(&fold_text(text), Needle::find_folded)
        }
    }

    /// Of the candidate rows, those whose text matches.
    pub(crate) fn rows(&self, texts: &StringArray, candidates: &BooleanBuffer) -> BooleanBuffer {
        let mut found = BooleanBufferBuilder::new(candidates.len());
        found.append_n(candidates.len(), false);
        let mut ask = |row: usize| {
            if candidates.value(row) && texts.is_valid(row) && self.matches(texts.value(row)) {
                found.set_bit(row, true);
            }
        };
        let whole = whole(texts);
        let dense = candidates.count_set_bits() * SPARSE >= candidates.len();
        let longest = self.shape.needles().iter().max_by_key(|needle| needle.text.len());
        match longest.filter(|_| dense && (self.is_cased || self.is_plain(whole))) {
            Some(needle) if self.is_cased => {
                hits(texts, whole, needle, Needle::find_folded, ask);
            }
            Some(needle) => hits(texts, whole, needle, Needle::find_ascii, ask),
            None => candidates.set_indices().for_each(&mut ask),
        }
        found.finish()
    }

    /// Whether the text of a value of that type may match at all.
    pub(crate) fn may_match(&self, kind: FieldType) -> bool {
        match &self.shape {
            Shape::Nothing => return false,
            // A number is no address.
            Shape::Network(_) => return kind == FieldType::Text,
            _ => {}
        }
        // All that texts of these types are made of, folded.
        let bytes: &[u8] = match kind {
            FieldType::Text => return true,
            FieldType::Int => b"-0123456789",
            FieldType::Float => b"-.0123456789infaN",
            FieldType::Bool => b"truefals",
        };
        let made_of = |needle: &Needle| needle.text.bytes().all(|byte| bytes.contains(&byte));
        self.shape.needles().iter().all(made_of)
    }

    /// Whether the needles can be looked for in the text as it is.
    fn is_plain(&self, text: &[u8]) -> bool {
        let has_kelvin = || !text.is_ascii() && memmem::find(text, KELVIN.as_bytes()).is_some();
        self.is_ascii && !(self.has_k && has_kelvin())
    }
}

/// All texts of a column, one behind the other.
fn whole(texts: &StringArray) -> &[u8] {
    let offsets = texts.value_offsets();
    let (first, last) = offsets.first().zip(offsets.last()).unwrap_or((&0, &0));
    let range = first.unsigned_abs() as usize..last.unsigned_abs() as usize;
    texts.value_data().get(range).unwrap_or_default()
}

/// The rows in which the needle occurs, ascending, each once.
fn hits(
    texts: &StringArray,
    whole: &[u8],
    needle: &Needle,
    find: Find,
    mut hit: impl FnMut(usize),
) {
    let mut ends = texts.value_offsets().iter();
    let Some(first) = ends.next() else { return };
    let mut ends = ends.map(|end| end.abs_diff(*first) as usize).enumerate().peekable();
    let mut from = 0;
    while let Some(start) = find(needle, whole, from) {
        while ends.next_if(|(_, end)| *end <= start).is_some() {}
        let Some((row, end)) = ends.peek() else { return };
        if start + needle.text.len() <= *end {
            hit(*row);
            from = *end;
        } else {
            // It reached over the end of a row.
            from = start + 1;
        }
    }
}

impl Shape {
    fn needles(&self) -> &[Needle] {
        match self {
            Self::Phrase(needle) => std::slice::from_ref(needle),
            Self::Pattern { parts, .. } => parts,
            Self::Regex(_) | Self::Network(_) | Self::Nothing => &[],
        }
    }

    fn matches(&self, text: &str, find: Find) -> bool {
        match self {
            Self::Phrase(needle) => {
                let mut from = 0;
                while let Some(start) = find(needle, text.as_bytes(), from) {
                    if stands_free(text, start, start + needle.text.len()) {
                        return true;
                    }
                    from = start + 1;
                }
                false
            }
            Self::Pattern { parts, open_start, open_end } => {
                pattern(parts, *open_start, *open_end, text, find)
            }
            Self::Regex(_) | Self::Network(_) | Self::Nothing => false,
        }
    }
}

/// Where a part of a pattern was last found. The places asked for only grow, so each part walks
/// over the text once, however often the first part occurs.
#[derive(Clone, Copy, Default)]
struct Walk {
    /// The first occurrence at or behind the last place asked for.
    found: Option<usize>,
    /// The first white space at or behind the last place asked for.
    run_end: Option<usize>,
}

impl Walk {
    /// The first occurrence at `from` or behind it.
    fn next(&mut self, part: &Needle, text: &str, from: usize, find: Find) -> Option<usize> {
        if self.found.is_none_or(|found| found < from) {
            self.found = Some(find(part, text.as_bytes(), from)?);
        }
        self.found
    }

    /// Where the run without white space ends in which `at` is.
    fn run_end(&mut self, text: &str, at: usize) -> usize {
        if self.run_end.is_none_or(|end| end < at) {
            let rest = text.get(at..).unwrap_or_default();
            self.run_end = Some(rest.find(char::is_whitespace).map_or(text.len(), |n| at + n));
        }
        self.run_end.unwrap_or(text.len())
    }
}

fn pattern(parts: &[Needle], open_start: bool, open_end: bool, text: &str, find: Find) -> bool {
    let Some((first, rest)) = parts.split_first() else { return !text.is_empty() };
    let free_left = |start| open_start || is_edge(text, start);
    let free_right = |end| open_end || is_edge(text, end);
    let mut walks = vec![Walk::default(); rest.len()];
    // The end of the last run that was found to have no last part which stands free.
    let mut barren = None;
    let mut from = 0;
    'first: while let Some(start) = find(first, text.as_bytes(), from) {
        from = start + 1;
        if !free_left(start) {
            continue;
        }
        let mut reached = start + first.text.len();
        let Some((last, middle)) = rest.split_last() else {
            if free_right(reached) {
                return true;
            }
            continue;
        };
        // The earliest place of each middle part leaves most room for the next; a star does not
        // reach over white space.
        for (part, walk) in middle.iter().zip(&mut walks) {
            let Some(start) = walk.next(part, text, reached, find) else { return false };
            if start > walk.run_end(text, reached) {
                continue 'first;
            }
            reached = start + part.text.len();
        }
        let Some(walk) = walks.last_mut() else { return false };
        let run_end = walk.run_end(text, reached);
        if barren == Some(run_end) {
            continue;
        }
        let Some(mut start) = walk.next(last, text, reached, find) else { return false };
        while start <= run_end {
            if free_right(start + last.text.len()) {
                return true;
            }
            let Some(next) = find(last, text.as_bytes(), start + 1) else { break };
            start = next;
        }
        barren = Some(run_end);
    }
    false
}

/// Whether a word may begin or end at this place.
fn is_edge(text: &str, at: usize) -> bool {
    let left = text.get(..at).and_then(|text| text.chars().next_back());
    let right = text.get(at..).and_then(|text| text.chars().next());
    left.zip(right).is_none_or(|(left, right)| is_boundary(left, right))
}

/// A folded text to look for, and a fast way to find it.
#[derive(Debug)]
struct Needle {
    text: String,
    finder: Finder<'static>,
    /// The rarest byte and its place.
    rare: (usize, u8),
}

/// How a needle is found: the first place at or behind the given one.
type Find = fn(&Needle, &[u8], usize) -> Option<usize>;

impl Needle {
    fn new(text: &str) -> Self {
        Self::cased(&fold_text(text))
    }

    /// The text as it is.
    fn cased(text: &str) -> Self {
        let text = text.to_owned();
        let rare = text.bytes().enumerate().min_by_key(|(_, byte)| commonness(*byte));
        let finder = Finder::new(text.as_bytes()).into_owned();
        Self { finder, text, rare: rare.unwrap_or_default() }
    }

    /// In folded text.
    fn find_folded(&self, text: &[u8], from: usize) -> Option<usize> {
        Some(from + self.finder.find(text.get(from..)?)?)
    }

    /// In any text, without ASCII case: the rarest byte in both cases first, then around it.
    fn find_ascii(&self, text: &[u8], from: usize) -> Option<usize> {
        let (place, byte) = self.rare;
        let needle = self.text.as_bytes();
        let mut at = from + place;
        loop {
            let rest = text.get(at..)?;
            let found = match byte.to_ascii_uppercase() {
                upper if upper == byte => memchr::memchr(byte, rest)?,
                upper => memchr::memchr2(byte, upper, rest)?,
            };
            let start = at + found - place;
            let candidate = text.get(start..start + needle.len())?;
            if candidate.eq_ignore_ascii_case(needle) {
                return Some(start);
            }
            at += found + 1;
        }
    }
}

/// How common a folded byte is in logs: the lower the better to look for.
fn commonness(byte: u8) -> u8 {
    match byte {
        b' ' => 9,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 8,
        b'0'..=b'2' | b'.' | b':' | b'-' | b'/' | b'=' => 7,
        b'd' | b'l' | b'c' | b'u' | b'm' | b'p' | b'f' => 6,
        b'3'..=b'9' => 5,
        b'g' | b'h' | b'b' | b'w' | b'v' | b'y' | b'_' => 4,
        b'k' | b'x' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
