//! What a word is: boundaries, case folding and tokens. One definition for index, scan and oracle.
//!
//! - A **word character** is a letter or digit of any script, or `_`.
//! - There is a **boundary** between two characters unless both are word characters of a script
//!   that separates its words. Between ideographs (Han, kana, Hangul, Thai, …) there always is
//!   one, so any substring of such text can be searched.
//! - A **token** is a longest run of word characters without a boundary inside.
//! - **Folding** maps a character to its lower case when that is one character.

use std::borrow::Cow;

/// Whether the character can be part of a word.
#[must_use]
pub fn is_word(c: char) -> bool {
    c == '_' || if c.is_ascii() { c.is_ascii_alphanumeric() } else { c.is_alphanumeric() }
}

/// Whether the character belongs to a script written without spaces between words.
#[must_use]
pub fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF       // Thai, Lao
        | 0x1000..=0x109F     // Myanmar
        | 0x1100..=0x11FF     // Hangul Jamo
        | 0x1780..=0x17FF     // Khmer
        | 0x3040..=0x31FF     // kana, Bopomofo, Hangul compatibility
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF // Han
        | 0xA960..=0xA97F | 0xAC00..=0xD7FF // Hangul
        | 0xFF66..=0xFF9F     // half-width kana
        | 0x20000..=0x3FFFF) // Han extensions
}

/// Whether a word may end between these two neighbours.
#[must_use]
pub fn is_boundary(left: char, right: char) -> bool {
    !is_word(left) || !is_word(right) || is_ideograph(left) || is_ideograph(right)
}

/// The character with its case folded away.
#[must_use]
pub fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// The text with every character folded; borrowed when it is folded already.
#[must_use]
pub fn fold_text(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(fold).collect())
}

/// The tokens of a text, in order, as they stand (not folded).
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(is_word)?;
        rest = rest.get(start..)?;
        let mut previous = None;
        let end = rest
            .char_indices()
            .find(|&(_, c)| previous.replace(c).map_or(!is_word(c), |p| is_boundary(p, c)))
            .map_or(rest.len(), |(at, _)| at);
        let (token, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(token)
    })
}

/// Whether `found = start..end` in `text` stands free: no word goes on across either end.
/// An end of the match that is not a word character is free wherever it stands.
#[must_use]
pub fn stands_free(text: &str, start: usize, end: usize) -> bool {
    let Some(inside) = text.get(start..end) else { return false };
    let left = text.get(..start).and_then(|s| s.chars().next_back());
    let right = text.get(end..).and_then(|s| s.chars().next());
    let free = |a: Option<char>, b: Option<char>| match (a, b) {
        (Some(a), Some(b)) => is_boundary(a, b),
        _ => true,
    };
    free(left, inside.chars().next()) && free(inside.chars().next_back(), right)
}

/// Makes outside bytes a text that loses nothing: valid UTF-8 as it is; every byte that is not
/// part of valid UTF-8 as `\xNN`. The flag tells whether anything had to be escaped.
#[must_use]
pub fn keep_text(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    use std::fmt::Write as _;
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Cow::Borrowed(text), false);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a String takes every write");
        }
    }
    (Cow::Owned(text), true)
}

/// The longest prefix of at most `bytes_max` bytes that ends at a character.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tokens_are_runs_of_word_characters() {
        check("GET /a/b-c?x_y=10.0.0.1", &["GET", "a", "b", "c", "x_y", "10", "0", "0", "1"]);
        check("Überfüllung naïve", &["Überfüllung", "naïve"]);
        check("", &[]);
        check(" ,;", &[]);
    }

    #[test]
    fn ideographs_stand_alone() {
        check("错误abc日志", &["错", "误", "abc", "日", "志"]);
    }

    #[test]
    fn a_match_stands_free_between_boundaries() {
        assert!(stands_free("an err 7", 3, 6));
        assert!(!stands_free("terror", 1, 4));
        assert!(stands_free("x=10.0.0.1;", 2, 10));
        assert!(!stands_free("110.0.0.1", 1, 9));
        assert!(stands_free("a/b", 1, 2));
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(keep_text(b"a\xff\0b"), (Cow::Owned("a\\xff\0b".to_owned()), true));
    }
}
