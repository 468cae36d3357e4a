//! Both ways of matching agree with each other and with examples.

use model::text::{fold, is_ideograph, is_word};
use proptest::prelude::*;

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
    let matcher = Matcher::new(query);
    let shown = text.get(..text.len().min(80));
    assert_eq!(matcher.matches(text), expected, "{query:?} in {shown:?}");
    let slow = matcher.shape.matches(&fold_text(text), Needle::find_folded);
    assert_eq!(slow, expected, "the general way: {query:?} in {shown:?}");
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

#[test]
fn folding_moves_no_boundary_and_only_the_kelvin_sign_becomes_ascii() {
    for c in ('\0'..=char::MAX).filter(|c| fold(*c) != *c) {
        let folded = fold(c);
        assert_eq!(is_word(c), is_word(folded), "{c:?}");
        assert_eq!(is_ideograph(c), is_ideograph(folded), "{c:?}");
        assert!(!c.is_whitespace() && !folded.is_whitespace(), "{c:?}");
        assert!(c.is_ascii() || !folded.is_ascii() || c.to_string() == KELVIN, "{c:?}");
    }
}

#[test]
fn a_pattern_takes_time_in_proportion_to_the_text() {
    // Quadratic ways would take hours.
    let text = "ab".repeat(1 << 20);
    check(&pattern("*ab*x"), &text, false);
    check(&pattern("*a*b*b"), &format!("{text}_"), false);
    check(&pattern("*a*a*xa*"), &text, false);
}

proptest! {
    #[test]
    fn the_fast_way_is_the_slow_way(
        rows in prop::collection::vec(prop::option::weighted(0.9, "[aAbkK_ .*é\u{212a}错]{0,12}"), 0..20),
        parts in prop::collection::vec("[abk_ .]{1,3}", 1..4),
        (open_start, open_end, is_phrase) in any::<(bool, bool, bool)>(),
        (cut, mask) in any::<(u8, u32)>(),
    ) {
        let query = match is_phrase {
            true => TextMatch::Phrase(parts.concat()),
            false => TextMatch::Pattern { parts, open_start, open_end },
        };
        let matcher = Matcher::new(&query);
        let slow = |text: &str| matcher.shape.matches(&fold_text(text), Needle::find_folded);
        let texts = StringArray::from(rows.clone());
        // A slice, as filtered and sliced batches are.
        let cut = usize::from(cut) % (rows.len() + 1);
        let texts = texts.slice(cut, rows.len() - cut);
        let wanted = |row: usize| mask >> (row % 32) & 1 == 1;
        let candidates = BooleanBuffer::collect_bool(texts.len(), wanted);
        let found = matcher.rows(&texts, &candidates);
        for (row, text) in rows[cut..].iter().enumerate() {
            let expected = text.as_deref().is_some_and(slow);
            let text_fast = text.as_deref().is_some_and(|text| matcher.matches(text));
            prop_assert_eq!(text_fast, expected, "{:?} in {:?}", query, text);
            prop_assert_eq!(found.value(row), wanted(row) && expected, "{:?} row {}", query, row);
        }
    }

    #[test]
    fn only_types_that_may_match_match(number in any::<i64>(), float in any::<f64>(), text in "[-0-9a-z.]{1,3}") {
        for query in [TextMatch::Phrase(text.clone()), pattern(&format!("*{text}*"))] {
            let matcher = Matcher::new(&query);
            for (kind, value) in [
                (FieldType::Int, number.to_string()),
                (FieldType::Float, float.to_string()),
                (FieldType::Bool, (number < 0).to_string()),
            ] {
                prop_assert!(matcher.may_match(kind) || !matcher.matches(&value));
            }
        }
    }
}
