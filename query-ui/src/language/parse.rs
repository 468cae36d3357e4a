//! The search: words, phrases, fields, and how they are joined.

use model::level::Level;
use model::limits::{QUERY_BYTES_MAX, QUERY_DEPTH_MAX};
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use model::text::fold_text;
use model::time::Timestamp;

use super::lex::{self, Cursor};
use super::{Query, QueryError, pipe};

/// What may begin a term, for messages.
const TERM: [&str; 4] = ["a word", "\"a phrase\"", "field:value", "("];
/// What may be a value, for messages.
const VALUE: [&str; 5] = ["a value", "\"a phrase\"", "*", ">= 1", "[1 TO 5]"];

/// Reads a query.
///
/// # Errors
/// Where it is wrong, what was found and what could stand there.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let mut cursor = Cursor::new(text);
    if text.len() > QUERY_BYTES_MAX {
        return Err(cursor.error(format!("a query has at most {QUERY_BYTES_MAX} bytes"), &[]));
    }
    cursor.skip_space();
    let filter = match cursor.peek() {
        None | Some('|') => Filter::All,
        Some('*')
            if cursor.rest.trim_start_matches('*').trim_start().starts_with('|')
                || cursor.rest.trim() == "*" =>
        {
            cursor.eat("*");
            cursor.skip_space();
            Filter::All
        }
        Some(_) => any(&mut cursor, &Context { field: None, depth: 0 })?,
    };
    let mut pipes = Vec::new();
    let mut scope = pipe::Scope::default();
    cursor.skip_space();
    while cursor.eat("|") {
        pipes.extend(pipe::parse(&mut cursor, &mut scope)?);
        cursor.skip_space();
    }
    if cursor.eat(")") {
        let at = cursor.at();
        return Err(cursor.error_from(at - 1, at, "this ')' closes nothing", &["|", "a word"]));
    }
    if !cursor.is_at_end() {
        let message = format!("expected '|', found {}", cursor.found());
        return Err(cursor.error(message, &["|"]));
    }
    Ok(Query { filter, pipes })
}

/// Where a term stands: inside `field:( … )` words are values of that field.
struct Context<'a> {
    field: Option<&'a str>,
    depth: usize,
}

/// Terms joined by OR.
fn any(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Filter, QueryError> {
    if context.depth > QUERY_DEPTH_MAX {
        return Err(cursor.error(format!("nested deeper than {QUERY_DEPTH_MAX}"), &[]));
    }
    let mut parts = vec![all(cursor, context)?];
    loop {
        cursor.skip_space();
        if cursor.take(lex::keyword("OR")).is_none() {
            break;
        }
        parts.push(all(cursor, context)?);
    }
    Ok(one_or(parts, Filter::Or))
}

/// Terms joined by AND, written or not.
fn all(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Filter, QueryError> {
    let mut parts = vec![negated(cursor, context)?];
    loop {
        cursor.skip_space();
        if cursor.take(lex::keyword("AND")).is_none() {
            let mut ahead = *cursor;
            let ends = ahead.is_at_end() || ahead.eat("|") || ahead.eat(")");
            if ends || ahead.take(lex::keyword("OR")).is_some() {
                break;
            }
        }
        parts.push(negated(cursor, context)?);
    }
    Ok(one_or(parts, Filter::And))
}

fn one_or(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}

fn negated(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Filter, QueryError> {
    cursor.skip_space();
    let mut nots = 0;
    loop {
        let sign = matches!(cursor.peek(), Some('-' | '!')) && {
            // A sign right before a term; alone, or before white space, it is text.
            let next = cursor.rest.chars().nth(1);
            next.is_some_and(|next| !next.is_whitespace() && !"|)-!=".contains(next))
        };
        if sign {
            let length = 1;
            cursor.rest = cursor.rest.get(length..).unwrap_or_default();
        } else if cursor.take(lex::keyword("NOT")).is_none() {
            break;
        }
        nots += 1;
        cursor.skip_space();
    }
    let term = term(cursor, context)?;
    Ok(if nots % 2 == 1 { Filter::Not(Box::new(term)) } else { term })
}

fn term(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Filter, QueryError> {
    if cursor.peek() == Some('(') {
        return group(cursor, context);
    }
    for word in ["AND", "OR"] {
        if let (start, Some(_)) = (cursor.at(), cursor.take(lex::keyword(word))) {
            let message = format!("{word} stands between two terms");
            let mut error = cursor.error_from(start, start + word.len(), message, &TERM);
            error.hint = Some(format!("to search the word itself, write \"{word}\""));
            return Err(error);
        }
    }
    if let Some(field) = context.field {
        return value(cursor, field, context);
    }
    if cursor.peek() == Some('"') {
        let before = *cursor;
        let text = quoted(cursor)?;
        if let Some(operator) = operator(cursor) {
            return field(cursor, &text, operator, context);
        }
        return phrase(&before, &text).map(Filter::Text);
    }
    let mut ahead = *cursor;
    if let Some(name) = ahead.take(lex::name)
        && let Some(operator) = operator(&mut ahead)
    {
        *cursor = ahead;
        return field(cursor, name, operator, context);
    }
    bare(cursor).map(Filter::Text)
}

fn group(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Filter, QueryError> {
    let start = cursor.at();
    cursor.eat("(");
    let inner = any(cursor, &Context { field: context.field, depth: context.depth + 1 })?;
    cursor.skip_space();
    if !cursor.eat(")") {
        let mut error =
            cursor.error(format!("expected ')', found {}", cursor.found()), &[")", "AND", "OR"]);
        error.hint = Some(format!("the '(' at column {} is still open", start + 1));
        return Err(error);
    }
    Ok(inner)
}

/// What joins a field and its value.
fn operator<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    if cursor.take(lex::colon).is_some() {
        return Some(cursor.take(lex::comparison).unwrap_or(":"));
    }
    cursor.take(lex::comparison)
}

fn field(
    cursor: &mut Cursor<'_>,
    name: &str,
    operator: &str,
    context: &Context<'_>,
) -> Result<Filter, QueryError> {
    let test = |test| Filter::Field { name: name.to_owned(), test };
    cursor.skip_space_if(operator != ":");
    let between = |from, to| test(FieldTest::Between { from, to });
    Ok(match operator {
        ":" if cursor.peek() == Some('(') => {
            group(cursor, &Context { field: Some(name), depth: context.depth })?
        }
        ":" => value(cursor, name, context)?,
        "!=" => Filter::Not(Box::new(value(cursor, name, context)?)),
        ">=" => between(Bound::Inclusive(literal(cursor, name)?), Bound::Open),
        ">" => between(Bound::Exclusive(literal(cursor, name)?), Bound::Open),
        "<=" => between(Bound::Open, Bound::Inclusive(literal(cursor, name)?)),
        _ => between(Bound::Open, Bound::Exclusive(literal(cursor, name)?)),
    })
}

impl Cursor<'_> {
    fn skip_space_if(&mut self, skip: bool) {
        if skip {
            self.skip_space();
        }
    }
}

/// A value behind a colon: a word, a phrase, a star, a comparison, a range.
fn value(cursor: &mut Cursor<'_>, name: &str, context: &Context<'_>) -> Result<Filter, QueryError> {
    let test = |test| Filter::Field { name: name.to_owned(), test };
    if let (true, Some(operator)) = (context.field.is_some(), cursor.take(lex::comparison)) {
        return field(cursor, name, operator, context);
    }
    match cursor.peek() {
        Some('"') => {
            let before = *cursor;
            let text = quoted(cursor)?;
            // An empty text is what is not there, or empty: nothing matches it as a phrase.
            return phrase(&before, &text).map(|text| test(FieldTest::Matches(text)));
        }
        Some('[' | '{') => return range(cursor, name).map(test),
        Some(c) if !c.is_whitespace() && !"|)".contains(c) => {}
        _ => {
            let mut error =
                cursor.error(format!("expected a value, found {}", cursor.found()), &VALUE);
            error.hint = Some(format!(
                "{name}:* finds every record that has the field, \"{name}:\" the text itself"
            ));
            return Err(error);
        }
    }
    let before = *cursor;
    let text = bare_text(cursor)?;
    if text.raw == "*" {
        return Ok(test(FieldTest::Exists));
    }
    if let Some((from, to)) = text.raw.split_once("..")
        && number(from).is_some()
        && number(to).is_some()
    {
        let end = |text| as_literal(&before, cursor, name, text).map(Bound::Inclusive);
        let (from, to) = (end(from)?, end(to)?);
        return Ok(test(FieldTest::Between { from, to }));
    }
    matching(&before, &text).map(|text| test(FieldTest::Matches(text)))
}

/// `[a TO b]` with both ends inside, `{a TO b}` with both outside, mixed as well; `*` is open.
fn range(cursor: &mut Cursor<'_>, name: &str) -> Result<FieldTest, QueryError> {
    let inclusive = cursor.eat("[");
    if !inclusive {
        cursor.eat("{");
    }
    cursor.skip_space();
    let from = range_end(cursor, name)?;
    cursor.skip_space();
    if cursor.take(lex::keyword("TO")).is_none() {
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
            return Err(cursor
                .error(format!("expected ']' or '}}', found {}", cursor.found()), &["]", "}"]));
        }
    };
    cursor.rest = cursor.rest.get(1..).unwrap_or_default();
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
    if text == "*" {
        return Ok(None);
    }
    as_literal(&before, cursor, name, text).map(Some)
}

/// What is compared with.
fn literal(cursor: &mut Cursor<'_>, name: &str) -> Result<Literal, QueryError> {
    let before = *cursor;
    if cursor.peek() == Some('"') {
        let text = quoted(cursor)?;
        return as_literal(&before, cursor, name, &text);
    }
    if cursor.peek().is_none_or(|c| c.is_whitespace() || "|()".contains(c)) {
        let message = format!("expected a value to compare with, found {}", cursor.found());
        return Err(cursor.error(message, &["a number", "a time", "\"a text\""]));
    }
    let text = bare_text(cursor)?;
    as_literal(&before, cursor, name, &text.raw)
}

/// A literal as the field wants it: a time, a level, a number, or a text.
fn as_literal(
    before: &Cursor<'_>,
    after: &Cursor<'_>,
    name: &str,
    text: &str,
) -> Result<Literal, QueryError> {
    let place = (before.at(), after.at());
    match name {
        "timestamp" | "ingest_time" => match moment(text) {
            Some(time) => Ok(Literal::Text(time.to_string())),
            None => {
                let message = format!("{text:?} is no time");
                let expected = ["2026-01-31", "\"2026-01-31 23:59:59Z\"", "1767225600"];
                Err(before.error_from(place.0, place.1, message, &expected))
            }
        },
        "level" if Level::from_word(text).is_none() => {
            let names = Level::ALL.map(Level::name);
            Err(before.error_from(place.0, place.1, format!("{text:?} is no level"), &names))
        }
        "level" => Ok(Literal::Text(fold_text(text).into_owned())),
        _ => Ok(number(text).unwrap_or_else(|| Literal::Text(fold_text(text).into_owned()))),
    }
}

/// A time as people write it; a day alone is its first moment, a time without zone is UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let day = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    Timestamp::parse(text).or_else(day).or_else(|| Timestamp::parse(&format!("{text}Z")))
}

fn number(text: &str) -> Option<Literal> {
    let digit = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let number: f64 = text.parse().ok().filter(|_| digit)?;
    number.is_finite().then_some(Literal::Number(number))
}

fn quoted(cursor: &mut Cursor<'_>) -> Result<String, QueryError> {
    let start = cursor.at();
    cursor.take(lex::quoted).ok_or_else(|| {
        let end = start + cursor.rest.chars().count();
        let mut error = cursor.error_from(start, end, "this quote is not closed", &["\""]);
        error.hint = Some("a quote inside a phrase is written \\\"".to_owned());
        error
    })
}

fn phrase(before: &Cursor<'_>, text: &str) -> Result<TextMatch, QueryError> {
    if text.is_empty() {
        return Err(before.error("an empty phrase finds nothing", &["\"a phrase\""]));
    }
    Ok(TextMatch::Phrase(fold_text(text).into_owned()))
}

/// A word with its stars told from escaped ones.
struct Bare {
    raw: String,
    parts: Vec<String>,
}

/// A word: everything up to white space, a bracket, a pipe or a quote. `\` takes the next
/// character as it is.
fn bare_text(cursor: &mut Cursor<'_>) -> Result<Bare, QueryError> {
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

fn bare(cursor: &mut Cursor<'_>) -> Result<TextMatch, QueryError> {
    let before = *cursor;
    let text = bare_text(cursor)?;
    if text.raw.is_empty() {
        return Err(before.error(format!("expected a word, found {}", before.found()), &TERM));
    }
    matching(&before, &text)
}

fn matching(before: &Cursor<'_>, text: &Bare) -> Result<TextMatch, QueryError> {
    match text.parts.as_slice() {
        [only] => phrase(before, only),
        parts => Ok(TextMatch::Pattern {
            parts: parts
                .iter()
                .filter(|p| !p.is_empty())
                .map(|p| fold_text(p).into_owned())
                .collect(),
            open_start: parts.first().is_some_and(String::is_empty),
            open_end: parts.last().is_some_and(String::is_empty),
        }),
    }
}
