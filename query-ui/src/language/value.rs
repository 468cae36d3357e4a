//! Values: words with stars, phrases, regular expressions, networks.

use std::net::IpAddr;

use model::number::Number;
use model::quantity::{read_duration, read_size};
use model::query::{FieldTest, Literal, REGEX_BYTES_MAX, TextMatch};
use model::text::fold_text;
use regex::RegexBuilder;

use super::lex::{self, Cursor};
use super::{QueryError, TokenKind, range};

/// What a value behind a colon asks of a field: a word, a phrase, a star, a range.
pub(super) fn tested(cursor: &mut Cursor<'_>, name: &str) -> Result<FieldTest, QueryError> {
    let before = *cursor;
    let found = match special(cursor)? {
        Some(text) => text,
        None => {
            let text = bare(cursor)?;
            cursor.mark(before.at(), TokenKind::Value);
            if text.raw == "*" && !text.is_literal {
                return Ok(FieldTest::Exists);
            }
            if let Some(range) = range::dotted(name, (&before, cursor), &text)? {
                return Ok(range);
            }
            matching(&before, &text, Case::Any)?
        }
    };
    if matches!(found, TextMatch::Phrase(_)) && cursor.rest.starts_with("..") {
        return Err(range::quoted_ends(name, cursor));
    }
    match found {
        // What every record has of times is asked by time; its text is nothing that people know.
        TextMatch::Phrase(text) if range::is_time(name) => {
            range::within(name, (&before, cursor), &text)
        }
        text => Ok(FieldTest::Matches(text)),
    }
}

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

/// Why quotes without anything in them are refused.
const EMPTY: &str = "an empty phrase finds nothing";

/// A text in quotes, noted as a token.
pub(super) fn quoted(cursor: &mut Cursor<'_>, kind: TokenKind) -> Result<String, QueryError> {
    let start = cursor.at();
    let text = unmarked(cursor)?;
    cursor.mark(start, kind);
    Ok(text)
}

/// A text in quotes, part of a longer token.
fn unmarked(cursor: &mut Cursor<'_>) -> Result<String, QueryError> {
    let start = cursor.at();
    let whole = cursor.at() + cursor.rest.len();
    cursor.take(lex::quoted).ok_or_else(|| {
        let mut error = cursor.error_from(start, whole, "this quote is not closed", &["\""]);
        error.hint = Some("a quote inside a phrase is written \\\"".to_owned());
        error
    })
}

/// A phrase, or one that a star touches and so goes on.
fn phrase(cursor: &mut Cursor<'_>, case: Case) -> Result<TextMatch, QueryError> {
    let before = *cursor;
    let mut ahead = *cursor;
    if ahead.take(lex::quoted).is_some() && ahead.peek() == Some('*') {
        return word(cursor, case, TokenKind::Phrase);
    }
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
        return Err(before.error(EMPTY, &["\"a phrase\""]));
    }
    Ok(TextMatch::Phrase(case.fold(text)))
}

/// A word with its stars told from escaped ones.
pub(super) struct Bare {
    pub(super) raw: String,
    /// Something in it was escaped or quoted: it is text, whatever it looks like.
    pub(super) is_literal: bool,
    /// What stands between the stars.
    pub(super) parts: Vec<String>,
}

impl Bare {
    /// Whether a quote that is next belongs to the word: it begins it, or a star stands before it.
    fn takes_quote(&self) -> bool {
        self.parts.last().is_some_and(String::is_empty)
    }

    fn push(&mut self, text: &str) {
        self.raw.push_str(text);
        if let Some(part) = self.parts.last_mut() {
            part.push_str(text);
        }
    }
}

/// A word: everything up to white space, a bracket, a pipe or a quote. `\` takes the next
/// character as it is. A text in quotes that a star touches is a part of it.
pub(super) fn bare(cursor: &mut Cursor<'_>) -> Result<Bare, QueryError> {
    let mut bare = Bare { raw: String::new(), is_literal: false, parts: vec![String::new()] };
    while let Some(c) = cursor.peek() {
        if c == '"' && bare.takes_quote() {
            let before = *cursor;
            let text = unmarked(cursor)?;
            if text.is_empty() {
                return Err(before.error(EMPTY, &["\"a phrase\""]));
            }
            bare.push(&text);
            bare.is_literal = true;
            match cursor.peek() {
                Some('*') => continue,
                _ => break,
            }
        }
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
                bare.is_literal = true;
                (next, false)
            }
            (c, _) => (c, c == '*'),
        };
        if star {
            bare.raw.push(c);
            bare.parts.push(String::new());
        } else {
            bare.push(c.encode_utf8(&mut [0; 4]));
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

pub(super) fn quantity(text: &str) -> Option<Literal> {
    let size = || read_size(text).map(Literal::Size);
    read_duration(text).map(Literal::Duration).or_else(size)
}

pub(super) fn number(text: &str) -> Option<Literal> {
    // White space at its ends makes it a text.
    Number::read(text).filter(|_| text.trim() == text).map(Literal::of_number)
}
