//! Tests of one value as Elasticsearch means them: whole values, words, phrases, patterns.

use model::number::Number;
use model::query::{Bound, FieldTest, Filter, Literal, REGEX_BYTES_MAX, TextMatch};
use model::text::{fold_text, is_ideograph, tokens};
use regex::RegexBuilder;
use serde_json::Value;

use super::levels;
use super::names::WHOLE_MESSAGE;
use super::refusal::Refusal;

/// A test of a field by our name.
pub(super) fn test(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

/// Nothing passes.
pub(super) fn none() -> Filter {
    Filter::Not(Box::new(Filter::All))
}

/// All of them hold.
pub(super) fn all(mut parts: Vec<Filter>) -> Filter {
    parts.retain(|part| *part != Filter::All);
    match parts.len() {
        0 => Filter::All,
        1 => parts.swap_remove(0),
        _ => Filter::And(parts),
    }
}

/// One of them holds at least.
pub(super) fn any(mut parts: Vec<Filter>) -> Filter {
    match parts.len() {
        0 => none(),
        1 => parts.swap_remove(0),
        _ => Filter::Or(parts),
    }
}

/// Whether letters count as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    Any,
}

impl Case {
    fn flags(self) -> &'static str {
        match self {
            Self::Exact => "(?s)",
            Self::Any => "(?si)",
        }
    }
}

/// A scalar as text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A regular expression of a field's value, which must be one.
pub(super) fn regex(name: &str, source: String) -> Result<Filter, Refusal> {
    match RegexBuilder::new(&source).size_limit(REGEX_BYTES_MAX).build() {
        Ok(_) => Ok(test(name, FieldTest::Matches(TextMatch::Regex(source)))),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(Refusal::argument(format!("the pattern for [{name}] cannot be used: {why}")))
        }
    }
}

/// Whether a text reads as a finite number.
pub(super) fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(f64::is_finite)
}

/// A number in words to find: as one of the field's numbers, and free in its texts. Taken apart,
/// `74.5` would be two other numbers, and `-5` another one.
fn numeral(name: &str, text: &str) -> Option<Filter> {
    let is_named = !["*", "message"].contains(&name);
    let phrase = || TextMatch::Phrase(fold_text(text.trim()).into_owned());
    (is_named && is_number(text)).then(|| place(name, phrase()))
}

/// A text that reads as a number: the number, or its signs as they are written.
pub(super) fn phrase_or_number(name: &str, text: &str) -> Result<Filter, Refusal> {
    let number = whole(name, &Value::from(text.trim()), Case::Exact)?;
    Ok(any(vec![number, phrase(name, text, End::Word)?]))
}

/// A number of a request, with all its digits.
pub(super) fn number(given: &serde_json::Number) -> Number {
    Number::read(&given.to_string()).unwrap_or(Number::Float(0.0))
}

/// The number that a text is.
pub(super) fn number_in(text: &str) -> Option<Number> {
    Number::read(text).filter(|_| text.trim() == text)
}

fn equals(value: Number) -> FieldTest {
    let at = Bound::Inclusive(Literal::of_number(value));
    FieldTest::Between { from: at.clone(), to: at }
}

/// The value is this one as a whole (`term`).
pub(super) fn whole(name: &str, value: &Value, case: Case) -> Result<Filter, Refusal> {
    let text = text_of(value).ok_or_else(|| {
        Refusal::parsing(format!("[term] for field [{name}] wants a text, a number or a truth"))
    })?;
    match (name, value) {
        ("level", _) => return Ok(levels::is(&text)),
        ("id", _) => return id(&text),
        (_, Value::Number(given)) => return Ok(test(name, equals(number(given)))),
        _ => {}
    }
    if name == WHOLE_MESSAGE {
        let phrase = FieldTest::Matches(TextMatch::Phrase(fold_text(&text).into_owned()));
        let source = format!(r"{}\A{}\z", case.flags(), regex::escape(&text));
        let exactly = regex("message", source)?;
        let has_words = !text.trim().is_empty();
        return Ok(if has_words { all(vec![test("message", phrase), exactly]) } else { exactly });
    }
    if name == "message" {
        // A text that was taken apart: the term is one of its words.
        return Ok(words(name, &text, Join::All));
    }
    let source = format!(r"{}\A{}\z", case.flags(), regex::escape(&text));
    let exactly = regex(name, source)?;
    if text.trim().is_empty() {
        return Ok(exactly);
    }
    // The word index knows phrases; the expression decides.
    let phrase = FieldTest::Matches(TextMatch::Phrase(fold_text(&text).into_owned()));
    let exactly = all(vec![test(name, phrase), exactly]);
    Ok(match number_in(&text) {
        Some(number) => any(vec![exactly, test(name, equals(number))]),
        None => exactly,
    })
}

/// The field that keeps an `_id` which the sender gave.
pub(super) const GIVEN_ID: &str = "_id";

/// The record of an id: its own, or the one that its sender gave.
pub(super) fn id(text: &str) -> Result<Filter, Refusal> {
    let given = whole(GIVEN_ID, &Value::from(text), Case::Exact)?;
    Ok(match model::partition::RecordId::parse(text) {
        Some(id) => {
            let own = test("id", FieldTest::Matches(TextMatch::Phrase(id.to_string())));
            any(vec![own, given])
        }
        None => given,
    })
}

/// How many of the words must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    All,
    Any,
    AtLeast(usize),
}

/// Combinations that "at least so many of" may come to.
const COMBINATIONS_MAX: usize = 256;

/// At least so many of the parts hold.
pub(super) fn at_least(parts: Vec<Filter>, count: usize) -> Result<Filter, Refusal> {
    match count {
        0 => return Ok(Filter::All),
        1 => return Ok(any(parts)),
        count if count == parts.len() => return Ok(all(parts)),
        count if count > parts.len() => return Ok(none()),
        _ => {}
    }
    let mut chosen: Vec<Vec<Filter>> = vec![Vec::new()];
    for (at, part) in parts.iter().enumerate() {
        let left = parts.len() - at;
        let mut next = Vec::new();
        for set in chosen {
            if set.len() < count {
                let mut with = set.clone();
                with.push(part.clone());
                next.push(with);
            }
            if set.len() + left > count {
                next.push(set);
            }
        }
        if next.len() > COMBINATIONS_MAX {
            let reason = "[minimum_should_match] has too many combinations here: use [bool] with \
                          fewer [should] clauses";
            return Err(Refusal::argument(reason));
        }
        chosen = next;
    }
    Ok(any(chosen.into_iter().filter(|set| set.len() == count).map(Filter::And).collect()))
}

/// Where a text is looked for.
fn place(name: &str, text: TextMatch) -> Filter {
    match name {
        "*" => Filter::Text(text),
        name => test(name, FieldTest::Matches(text)),
    }
}

/// The words of a text, each somewhere in the value (`match`). `*` is every field's.
pub(super) fn words(name: &str, text: &str, join: Join) -> Filter {
    if name == "level" {
        return levels::is(text);
    }
    if name == "id" {
        return id(text.trim()).unwrap_or_else(|_| none());
    }
    if let Some(number) = numeral(name, text) {
        return number;
    }
    let one = |word: &str| place(name, TextMatch::Phrase(fold_text(word).into_owned()));
    let words: Vec<Filter> = tokens(text).map(one).collect();
    match (words.is_empty(), join) {
        // Nothing but signs: there is no word to find.
        (true, _) => none(),
        (_, Join::All) => all(words),
        (_, Join::Any) => any(words),
        (_, Join::AtLeast(count)) => at_least(words, count).unwrap_or_else(|_| none()),
    }
}

/// Whether the last word may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Word,
    Prefix,
}

/// The words of a text one behind the other, whatever signs stand between (`match_phrase`).
pub(super) fn phrase(name: &str, text: &str, end: End) -> Result<Filter, Refusal> {
    if name == "level" && end == End::Word {
        return Ok(levels::is(text));
    }
    if name == "id" {
        return match end {
            End::Word => id(text.trim()),
            End::Prefix => Err(no_patterns()),
        };
    }
    if let Some(number) = numeral(name, text).filter(|_| end == End::Word) {
        return Ok(number);
    }
    let found: Vec<&str> = tokens(text).collect();
    let Some((last, before)) = found.split_last() else { return Ok(none()) };
    let whole = |word: &str| place(name, TextMatch::Phrase(fold_text(word).into_owned()));
    let last_part = match end {
        End::Word => whole(last),
        End::Prefix => place(name, starting(last)),
    };
    if before.is_empty() {
        return Ok(last_part);
    }
    let mut source = String::from("(?i)");
    let borders = |c: Option<char>| if c.is_some_and(is_ideograph) { "" } else { r"\b" };
    source.push_str(borders(found.first().and_then(|word| word.chars().next())));
    let mut previous: Option<&str> = None;
    for word in &found {
        if let Some(previous) = previous {
            let loose = previous.chars().next_back().is_some_and(is_ideograph)
                || word.chars().next().is_some_and(is_ideograph);
            source.push_str(if loose { r"\W*" } else { r"\W+" });
        }
        source.push_str(&regex::escape(word));
        previous = Some(word);
    }
    if end == End::Word {
        source.push_str(borders(last.chars().next_back()));
    }
    let mut parts: Vec<Filter> = before.iter().map(|word| whole(word)).collect();
    parts.push(last_part);
    if let Err(error) = RegexBuilder::new(&source).size_limit(REGEX_BYTES_MAX).build() {
        return Err(Refusal::argument(format!("the phrase is too long: {error}")));
    }
    parts.push(place(name, TextMatch::Regex(source)));
    Ok(all(parts))
}

fn starting(word: &str) -> TextMatch {
    let parts = vec![fold_text(word).into_owned()];
    TextMatch::Pattern { parts, open_start: false, open_end: true }
}

/// Ids are asked for whole.
fn no_patterns() -> Refusal {
    Refusal::argument("Can only use whole values on [_id]: patterns and prefixes are not supported")
}

/// The whole value looks so: a regular expression without its ends.
pub(super) fn shaped(name: &str, source: &str, case: Case) -> Result<Filter, Refusal> {
    match name {
        "id" => Err(no_patterns()),
        WHOLE_MESSAGE => regex("message", format!(r"{}\A(?:{source})\z", case.flags())),
        // A text that was taken apart: one of its words does.
        "message" => regex(name, format!(r"(?i)\b(?:{source})\b")),
        "*" => {
            let source = format!(r"{}\b(?:{source})\b", Case::Any.flags());
            let Filter::Field { test: FieldTest::Matches(text), .. } = regex("*", source)? else {
                return Ok(none());
            };
            Ok(Filter::Text(text))
        }
        name => regex(name, format!(r"{}\A(?:{source})\z", case.flags())),
    }
}

/// A pattern with `*` and `?` as a regular expression; `\` takes what follows as it is.
pub(super) fn wildcard(pattern: &str, within_words: bool) -> String {
    let (many, one) = if within_words { (r"\S*", r"\S") } else { (".*", ".") };
    let mut source = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => source.push_str(many),
            '?' => source.push_str(one),
            '\\' => source.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            c => source.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn great_whole_numbers_keep_their_digits() {
        for (given, digits) in [
            (json!(9_007_199_254_740_993_i64), 9_007_199_254_740_993),
            (json!(u64::MAX), i128::from(u64::MAX)),
        ] {
            let at = Bound::Inclusive(Literal::Whole(digits));
            let expected = test("n", FieldTest::Between { from: at.clone(), to: at });
            assert_eq!(whole("n", &given, Case::Exact).unwrap(), expected);
            let text = whole("n", &Value::from(given.to_string()), Case::Exact).unwrap();
            let Filter::Or(parts) = text else { panic!("{text:?}") };
            assert!(parts.contains(&expected), "{parts:?}");
        }
        let at = Bound::Inclusive(Literal::Number(5.0));
        let expected = test("n", FieldTest::Between { from: at.clone(), to: at });
        assert_eq!(whole("n", &json!(5), Case::Exact).unwrap(), expected);
    }
}
