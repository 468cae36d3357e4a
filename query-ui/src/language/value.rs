//! Values: words with stars, phrases, regular expressions, networks, literals and ranges.

use std::net::IpAddr;

use model::level::Level;
use model::quantity::{read_duration, read_size};
use model::query::{Bound, FieldTest, Literal, REGEX_BYTES_MAX, TextMatch};
use model::text::fold_text;
use regex::RegexBuilder;

use super::lex::{self, Cursor};
use super::time::read_moment;
use super::{QueryError, TokenKind};

/// A text to match that is next, unless it is a plain word: `=exact`, `"phrase"`, `/regex/`,
/// `cidr(…)`.
pub(super) fn special(cursor: &mut Cursor<'_>) -> Result<Option<TextMatch>, QueryError> {
    let start = cursor.at();
    match (cursor.peek(), cursor.peek_second()) {
        (Some('='), Some(next)) if !next.is_whitespace() && !"=|()".contains(next) => {
            cursor.eat("=");
            cursor.mark(start, TokenKind::Operator);
            let text = match cursor.peek() {
                Some('"') => phrase(cursor, Case::Exact)?,
                _ => word(cursor, Case::Exact, TokenKind::Word)?,
            };
            Ok(Some(TextMatch::Cased(Box::new(text))))
        }
        (Some('"'), _) => phrase(cursor, Case::Any).map(Some),
        (Some('/'), _) => regex(cursor).map(|source| source.map(TextMatch::Regex)),
        (Some('c'), _) if cursor.rest.starts_with("cidr(") => network(cursor).map(Some),
        _ => Ok(None),
    }
}

/// Whether letters are found in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Any,
    Exact,
}

impl Case {
    fn fold(self, text: &str) -> String {
        match self {
            Self::Any => fold_text(text).into_owned(),
            Self::Exact => text.to_owned(),
        }
    }
}

/// A regular expression, if one is next, as it is to be compiled.
pub(super) fn regex(cursor: &mut Cursor<'_>) -> Result<Option<String>, QueryError> {
    let start = cursor.at();
    let Some((source, ignores_case)) = cursor.take_as(TokenKind::Regex, lex::regex) else {
        return Ok(None);
    };
    let source = if ignores_case { format!("(?i){source}") } else { source };
    match RegexBuilder::new(&source).size_limit(REGEX_BYTES_MAX).build() {
        Ok(_) => Ok(Some(source)),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("this regular expression is wrong: {why}");
            let mut error = cursor.error_from(start, cursor.at(), message, &[]);
            error.hint = Some("a path is written in quotes: \"/tmp/\"".to_owned());
            Err(error)
        }
    }
}

/// `cidr(10.0.0.0/8)`; without a prefix one address.
fn network(cursor: &mut Cursor<'_>) -> Result<TextMatch, QueryError> {
    let start = cursor.at();
    cursor.eat("cidr");
    cursor.mark(start, TokenKind::Function);
    cursor.eat_as(TokenKind::Bracket, "(");
    cursor.skip_space();
    let from = cursor.at();
    let end = cursor.rest.find(|c: char| c.is_whitespace() || "()|".contains(c));
    let (text, rest) = cursor.rest.split_at(end.unwrap_or(cursor.rest.len()));
    cursor.rest = rest;
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let address = address.parse::<IpAddr>().ok();
    let bits = address.map_or(0, |address| if address.is_ipv4() { 32 } else { 128 });
    let prefix = if text.contains('/') { prefix.parse().ok() } else { Some(bits) };
    let (Some(address), Some(prefix)) = (address, prefix.filter(|prefix| *prefix <= bits)) else {
        let message = format!("{text:?} is no network of IP addresses");
        let expected = ["10.0.0.0/8", "192.168.1.1", "2001:db8::/32"];
        return Err(cursor.error_from(from, cursor.at(), message, &expected));
    };
    cursor.mark(from, TokenKind::Value);
    cursor.skip_space();
    if !cursor.eat_as(TokenKind::Bracket, ")") {
        let message = format!("expected ')', found {}", cursor.found());
        return Err(cursor.error(message, &[")"]));
    }
    Ok(TextMatch::Network { address, prefix })
}

/// A text in quotes.
pub(super) fn quoted(cursor: &mut Cursor<'_>, kind: TokenKind) -> Result<String, QueryError> {
    let start = cursor.at();
    let whole = cursor.at() + cursor.rest.len();
    cursor.take_as(kind, lex::quoted).ok_or_else(|| {
        let mut error = cursor.error_from(start, whole, "this quote is not closed", &["\""]);
        error.hint = Some("a quote inside a phrase is written \\\"".to_owned());
        error
    })
}

fn phrase(cursor: &mut Cursor<'_>, case: Case) -> Result<TextMatch, QueryError> {
    let before = *cursor;
    let text = quoted(cursor, TokenKind::Phrase)?;
    phrase_of(&before, &text, case)
}

/// A phrase of a text that stood somewhere.
pub(super) fn phrase_of(
    before: &Cursor<'_>,
    text: &str,
    case: Case,
) -> Result<TextMatch, QueryError> {
    if text.is_empty() {
        return Err(before.error("an empty phrase finds nothing", &["\"a phrase\""]));
    }
    Ok(TextMatch::Phrase(case.fold(text)))
}

/// A word with its stars told from escaped ones.
pub(super) struct Bare {
    pub(super) raw: String,
    parts: Vec<String>,
}

/// A word: everything up to white space, a bracket, a pipe or a quote. `\` takes the next
/// character as it is.
pub(super) fn bare(cursor: &mut Cursor<'_>) -> Result<Bare, QueryError> {
    let mut bare = Bare { raw: String::new(), parts: vec![String::new()] };
    while let Some(c) = cursor.peek() {
        if let Some(name) = lex::name_of(c) {
            let mut error = cursor.error(format!("this is {name}"), &[]);
            error.hint =
                Some("replace it by the plain character, or put it into \"quotes\"".to_owned());
            return Err(error);
        }
        if c.is_whitespace() || "()|\"".contains(c) {
            break;
        }
        cursor.rest = cursor.rest.get(c.len_utf8()..).unwrap_or_default();
        let (c, star) = match (c, cursor.peek()) {
            ('\\', Some(next)) if !next.is_whitespace() && !next.is_alphanumeric() => {
                cursor.rest = cursor.rest.get(next.len_utf8()..).unwrap_or_default();
                (next, false)
            }
            (c, _) => (c, c == '*'),
        };
        bare.raw.push(c);
        match bare.parts.last_mut() {
            Some(part) if !star => part.push(c),
            _ => bare.parts.push(String::new()),
        }
    }
    Ok(bare)
}

/// A word, perhaps with stars.
pub(super) fn word(
    cursor: &mut Cursor<'_>,
    case: Case,
    kind: TokenKind,
) -> Result<TextMatch, QueryError> {
    let before = *cursor;
    let text = bare(cursor)?;
    cursor.mark(before.at(), kind);
    if text.raw.is_empty() {
        let message = format!("expected a word, found {}", before.found());
        return Err(before.error(message, &super::parse::TERM));
    }
    matching(&before, &text, case)
}

/// What a word matches.
pub(super) fn matching(
    before: &Cursor<'_>,
    text: &Bare,
    case: Case,
) -> Result<TextMatch, QueryError> {
    match text.parts.as_slice() {
        [only] => phrase_of(before, only, case),
        parts => Ok(TextMatch::Pattern {
            parts: parts.iter().filter(|p| !p.is_empty()).map(|p| case.fold(p)).collect(),
            open_start: parts.first().is_some_and(String::is_empty),
            open_end: parts.last().is_some_and(String::is_empty),
        }),
    }
}

/// `a..b`, if the word is that: both ends are inside.
pub(super) fn dotted(
    name: &str,
    place: (&Cursor<'_>, &Cursor<'_>),
    raw: &str,
) -> Option<FieldTest> {
    let (from, to) = raw.split_once("..")?;
    let end = |text: &str| {
        let measured = number(text).is_some() || quantity(text).is_some();
        let literal = as_literal(place.0, place.1, name, text, Written::Bare);
        literal.ok().filter(|_| measured).map(Bound::Inclusive)
    };
    Some(FieldTest::Between { from: end(from)?, to: end(to)? })
}

/// `[a TO b]` with both ends inside, `{a TO b}` with both outside, mixed as well; `*` is open.
pub(super) fn range(cursor: &mut Cursor<'_>, name: &str) -> Result<FieldTest, QueryError> {
    let start = cursor.at();
    let inclusive = cursor.eat("[");
    if !inclusive {
        cursor.eat("{");
    }
    cursor.mark(start, TokenKind::Bracket);
    cursor.skip_space();
    let from = range_end(cursor, name)?;
    cursor.skip_space();
    if cursor.take_as(TokenKind::Keyword, lex::keyword("TO")).is_none() {
        return Err(cursor.error(format!("expected TO, found {}", cursor.found()), &["TO"]));
    }
    cursor.skip_space();
    let to = range_end(cursor, name)?;
    cursor.skip_space();
    let bound = |literal: Option<Literal>, inclusive| match literal {
        None => Bound::Open,
        Some(literal) if inclusive => Bound::Inclusive(literal),
        Some(literal) => Bound::Exclusive(literal),
    };
    let from = bound(from, inclusive);
    let to = match cursor.peek() {
        Some(']') => bound(to, true),
        Some('}') => bound(to, false),
        _ => {
            let message = format!("expected ']' or '}}', found {}", cursor.found());
            return Err(cursor.error(message, &["]", "}"]));
        }
    };
    let end = cursor.at();
    cursor.rest = cursor.rest.get(1..).unwrap_or_default();
    cursor.mark(end, TokenKind::Bracket);
    Ok(FieldTest::Between { from, to })
}

fn range_end(cursor: &mut Cursor<'_>, name: &str) -> Result<Option<Literal>, QueryError> {
    if cursor.peek() == Some('"') {
        return literal(cursor, name).map(Some);
    }
    let end = cursor.rest.find(|c: char| c.is_whitespace() || "]}|()".contains(c));
    let (text, rest) = cursor.rest.split_at(end.unwrap_or(cursor.rest.len()));
    if text.is_empty() {
        let message = format!("expected a value, found {}", cursor.found());
        return Err(cursor.error(message, &["a value", "*"]));
    }
    let before = *cursor;
    cursor.rest = rest;
    cursor.mark(before.at(), TokenKind::Value);
    if text == "*" {
        return Ok(None);
    }
    as_literal(&before, cursor, name, text, Written::Bare).map(Some)
}

/// What is compared with.
pub(super) fn literal(cursor: &mut Cursor<'_>, name: &str) -> Result<Literal, QueryError> {
    let before = *cursor;
    if cursor.peek() == Some('"') {
        let text = quoted(cursor, TokenKind::Value)?;
        return as_literal(&before, cursor, name, &text, Written::Quoted);
    }
    if cursor.peek().is_none_or(|c| c.is_whitespace() || "|()".contains(c)) {
        let message = format!("expected a value to compare with, found {}", cursor.found());
        return Err(cursor.error(message, &["a number", "5ms", "10KB", "a time", "\"a text\""]));
    }
    let text = bare(cursor)?;
    cursor.mark(before.at(), TokenKind::Value);
    as_literal(&before, cursor, name, &text.raw, Written::Bare)
}

/// How a literal was written. In quotes a span or a size is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Bare,
    Quoted,
}

/// A literal as the field wants it: a time, a level, a number, a span, a size, or a text.
fn as_literal(
    before: &Cursor<'_>,
    after: &Cursor<'_>,
    name: &str,
    text: &str,
    written: Written,
) -> Result<Literal, QueryError> {
    let place = (before.at(), after.at());
    match name {
        "timestamp" | "ingest_time" => match read_moment(text) {
            Some(time) => Ok(Literal::Text(time.to_string())),
            None => {
                let message = format!("{text:?} is no time");
                let expected = ["2026-01-31", "\"2026-01-31 23:59:59Z\"", "1767225600"];
                Err(before.error_from(place.0, place.1, message, &expected))
            }
        },
        "level" if Level::from_word(text).is_none() => {
            let names = Level::ALL.map(Level::name);
            let message = format!("{text:?} is no level");
            let mut error = before.error_from(place.0, place.1, message, &names);
            error.hint = super::nearest(text, &names).map(|near| format!("did you mean {near}?"));
            Err(error)
        }
        "level" => Ok(Literal::Text(fold_text(text).into_owned())),
        _ => {
            let measured = if written == Written::Bare { quantity(text) } else { None };
            let plain = || Literal::Text(fold_text(text).into_owned());
            Ok(number(text).or(measured).unwrap_or_else(plain))
        }
    }
}

fn quantity(text: &str) -> Option<Literal> {
    let size = || read_size(text).map(Literal::Size);
    read_duration(text).map(Literal::Duration).or_else(size)
}

fn number(text: &str) -> Option<Literal> {
    let digit = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let number: f64 = text.parse().ok().filter(|_| digit)?;
    number.is_finite().then_some(Literal::Number(number))
}
