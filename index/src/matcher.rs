//! Matching a text: phrases that stand free and patterns with stars, case folded. Exact; the
//! ASCII way is the fast twin of the general one.

use std::borrow::Cow;

use memchr::memmem::Finder;
use model::query::TextMatch;
use model::text::{fold_text, stands_free};

/// A [`TextMatch`], ready to be asked many times.
#[derive(Debug)]
pub(crate) enum Matcher {
    Phrase(Needle),
    Pattern { parts: Vec<Needle>, open_start: bool, open_end: bool },
}

/// A folded text to look for.
#[derive(Debug)]
pub(crate) struct Needle {
    text: String,
    finder: Finder<'static>,
    /// The rarest byte and its place, when the needle is ASCII.
    rare: Option<(usize, u8)>,
}

impl Matcher {
    pub(crate) fn new(text: &TextMatch) -> Self {
        match text {
            TextMatch::Phrase(phrase) => Self::Phrase(Needle::new(phrase)),
            TextMatch::Pattern { parts, open_start, open_end } => Self::Pattern {
                parts: parts.iter().map(|part| Needle::new(part)).collect(),
                open_start: *open_start,
                open_end: *open_end,
            },
        }
    }

    /// Whether the text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Phrase(needle) => {
                if text.len() < needle.text.len() && text.is_ascii() {
                    return false;
                }
                let text = Folded::of(text);
                let mut from = 0;
                while let Some((start, end)) = needle.find(&text, from) {
                    if stands_free(text.text(), start, end) {
                        return true;
                    }
                    from = next_char(text.text(), start);
                }
                false
            }
            Self::Pattern { parts, open_start, open_end } => {
                pattern(parts, *open_start, *open_end, &Folded::of(text))
            }
        }
    }
}

/// The place behind the character at `at`.
fn next_char(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

fn pattern(parts: &[Needle], open_start: bool, open_end: bool, text: &Folded<'_>) -> bool {
    let whole = text.text();
    let Some((first, rest)) = parts.split_first() else { return !whole.is_empty() };
    let free_left = |start| open_start || stands_free_left(whole, start);
    let free_right = |end| open_end || stands_free_right(whole, end);
    let mut from = 0;
    while let Some((start, end)) = first.find(text, from) {
        from = next_char(whole, start);
        if !free_left(start) {
            continue;
        }
        let Some((last, middle)) = rest.split_last() else {
            if free_right(end) {
                return true;
            }
            continue;
        };
        // The earliest place of each middle part leaves most room for the next; a star does not
        // reach over white space.
        let middle = middle.iter().try_fold(end, |at, part| {
            part.find(text, at).filter(|(start, _)| same_run(whole, at, *start)).map(|(_, end)| end)
        });
        let Some(reached) = middle else { continue };
        let mut at = reached;
        while let Some((start, end)) =
            last.find(text, at).filter(|(start, _)| same_run(whole, reached, *start))
        {
            if free_right(end) {
                return true;
            }
            at = next_char(whole, start);
        }
    }
    false
}

fn same_run(text: &str, from: usize, to: usize) -> bool {
    text.get(from..to).is_some_and(|between| !between.contains(char::is_whitespace))
}

fn stands_free_left(text: &str, start: usize) -> bool {
    let left = text.get(..start).and_then(|text| text.chars().next_back());
    let right = text.get(start..).and_then(|text| text.chars().next());
    left.zip(right).is_none_or(|(left, right)| model::text::is_boundary(left, right))
}

fn stands_free_right(text: &str, end: usize) -> bool {
    stands_free_left(text, end)
}

impl Needle {
    fn new(text: &str) -> Self {
        let text = fold_text(text).into_owned();
        let rare = text.is_ascii().then(|| {
            let rarest = text.bytes().enumerate().min_by_key(|(_, byte)| commonness(*byte));
            rarest.unwrap_or_default()
        });
        Self { finder: Finder::new(text.as_bytes()).into_owned(), text, rare }
    }

    /// The first occurrence that begins at `from` or later.
    fn find(&self, text: &Folded<'_>, from: usize) -> Option<(usize, usize)> {
        let start = match text {
            Folded::Ascii(text) => self.find_ascii(text.as_bytes(), from)?,
            Folded::Text(text) => from + self.finder.find(text.as_bytes().get(from..)?)?,
        };
        Some((start, start + self.text.len()))
    }

    /// Looks for the rarest byte in both cases, then compares around it.
    fn find_ascii(&self, text: &[u8], from: usize) -> Option<usize> {
        let (place, byte) = self.rare?;
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

/// A text in which case does not count: ASCII as it is (compared without case), other text folded.
enum Folded<'a> {
    Ascii(&'a str),
    Text(Cow<'a, str>),
}

impl<'a> Folded<'a> {
    fn of(text: &'a str) -> Self {
        if text.is_ascii() { Self::Ascii(text) } else { Self::Text(fold_text(text)) }
    }

    fn text(&self) -> &str {
        match self {
            Self::Ascii(text) => text,
            Self::Text(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TextMatch {
        TextMatch::Pattern {
            parts: text.split('*').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            open_start: text.starts_with('*'),
            open_end: text.ends_with('*'),
        }
    }

    #[track_caller]
    fn check(query: &TextMatch, text: &str, expected: bool) {
        assert_eq!(Matcher::new(query).matches(text), expected, "{query:?} in {text:?}");
        // The general way must agree: a character that is not ASCII, far off, forces it.
        let general = format!("{text} §");
        assert_eq!(Matcher::new(query).matches(&general), expected, "{query:?} in {general:?}");
    }

    #[test]
    fn a_phrase_stands_free_in_any_case() {
        let phrase = |text: &str| TextMatch::Phrase(text.to_owned());
        check(&phrase("err"), "terror err 7", true);
        check(&phrase("err"), "terror", false);
        check(&phrase("ERR"), "Err", true);
        check(&phrase("10.0.0.1"), "110.0.0.1 10.0.0.11", false);
        check(&phrase("10.0.0.1"), "from 10.0.0.1:80", true);
        check(&phrase("aa"), "aaa aa", true);
        check(&phrase("/var"), "x/var/log", true);
        check(&phrase("错误"), "发生错误了", true);
        check(&phrase("straße"), "STRAßE", true);
        check(&phrase("k"), "\u{212a}", true);
    }

    #[test]
    fn a_star_reaches_over_anything_but_white_space() {
        check(&pattern("conn*"), "connection refused", true);
        check(&pattern("conn*"), "reconnect", false);
        check(&pattern("*conn*"), "reconnect", true);
        check(&pattern("*tion"), "connections connection", true);
        check(&pattern("*tion"), "connections", false);
        check(&pattern("a*b*c"), "a1b2c", true);
        check(&pattern("a*b*c"), "a1b 2c", false);
        check(&pattern("a*c"), "abcd abc", true);
        check(&pattern("a*c"), "abcd", false);
        check(&pattern("/api/*/users"), "GET /api/v1/users 200", true);
        check(&pattern("*"), "x", true);
    }
}
