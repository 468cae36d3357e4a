//! The search: words, phrases, fields, and how they are joined.

use model::limits::QUERY_DEPTH_MAX;
use model::query::Filter;

use super::ast::{Pipe, Query, TimeWords};
use super::lex::{self, Cursor};
use super::scope::Scope;
use super::value::{self, Case};
use super::{QueryError, TokenKind, pipe, range, time};

/// What may begin a term, for messages.
pub(super) const TERM: [&str; 6] =
    ["a word", "\"a phrase\"", "field:value", "/a regex/", "last 2h", "("];
/// What may be a value, for messages.
const VALUE: [&str; 6] = ["a value", "\"a phrase\"", "*", ">= 1", "[1 TO 5]", "/a regex/"];

/// Reads a whole query.
pub(super) fn whole(cursor: &mut Cursor<'_>) -> Result<Query, QueryError> {
    let query = query(cursor, 0)?;
    let start = cursor.at();
    if cursor.eat(")") {
        return Err(cursor.error_from(
            start,
            start + 1,
            "this ')' closes nothing",
            &["|", "a word"],
        ));
    }
    if !cursor.is_at_end() {
        let message = format!("expected '|', found {}", cursor.found());
        return Err(cursor.error(message, &["|"]));
    }
    Ok(query)
}

/// Reads a query up to its end or the bracket that closes it.
pub(super) fn query(cursor: &mut Cursor<'_>, depth: usize) -> Result<Query, QueryError> {
    too_deep(cursor, depth)?;
    let mut times = Vec::new();
    cursor.skip_space();
    let filter = match cursor.peek() {
        None | Some('|' | ')') => Filter::All,
        Some('*') if is_alone(cursor) => {
            cursor.eat_as(TokenKind::Word, "*");
            Filter::All
        }
        Some(_) => {
            let mut context = Context { field: None, depth, times: Some(&mut times) };
            any(cursor, &mut context)?
        }
    };
    let mut pipes = Vec::new();
    let mut scope = Scope::default();
    cursor.skip_space();
    while cursor.eat_as(TokenKind::Bracket, "|") {
        pipes.extend(pipe::parse(cursor, &mut scope, depth)?);
        cursor.skip_space();
    }
    let time = times.pop();
    // A query in brackets has its own time; that of the outermost is the request's.
    for pipe in pipes.iter_mut().filter(|_| depth > 0) {
        if let Pipe::Context { around, .. } = pipe {
            around.time = time;
        }
    }
    Ok(Query { time, filter, pipes })
}

/// Whether the star that is next is the whole search.
fn is_alone(cursor: &Cursor<'_>) -> bool {
    let behind = cursor.rest.strip_prefix('*').unwrap_or_default().trim_start();
    behind.is_empty() || behind.starts_with(['|', ')'])
}

pub(super) fn too_deep(cursor: &Cursor<'_>, depth: usize) -> Result<(), QueryError> {
    match depth {
        0..=QUERY_DEPTH_MAX => Ok(()),
        _ => Err(cursor.error(format!("nested deeper than {QUERY_DEPTH_MAX}"), &[])),
    }
}

/// Where a term stands: inside `field:( … )` words are values of that field.
struct Context<'a> {
    field: Option<&'a str>,
    depth: usize,
    /// Where time words go; `None` where there can be none.
    times: Option<&'a mut Vec<TimeWords>>,
}

impl Context<'_> {
    fn inner(&self) -> Context<'_> {
        Context { field: self.field, depth: self.depth + 1, times: None }
    }
}

/// Terms joined by OR.
fn any(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Filter, QueryError> {
    too_deep(cursor, context.depth)?;
    let start = *cursor;
    let mut parts = vec![all(cursor, context)?];
    loop {
        cursor.skip_space();
        if cursor.take_as(TokenKind::Keyword, lex::keyword("OR")).is_none() {
            break;
        }
        if context.times.as_ref().is_some_and(|times| !times.is_empty()) {
            return Err(time::misplaced(cursor, start.at()));
        }
        let mut part = Context { times: None, ..*context };
        parts.push(all(cursor, &mut part)?);
    }
    Ok(joined(parts, Filter::Or))
}

/// Terms joined by AND, written or not.
fn all(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Filter, QueryError> {
    let mut parts = Vec::new();
    loop {
        cursor.skip_space();
        let before = *cursor;
        let said = cursor.take_as(TokenKind::Keyword, lex::keyword("AND")).is_some();
        cursor.skip_space();
        let is_first = parts.is_empty() && context.times.as_ref().is_none_or(|t| t.is_empty());
        let mut ahead = *cursor;
        let ends = ahead.is_at_end() || ahead.eat("|") || ahead.eat(")");
        if !said && !is_first && (ends || ahead.take(lex::keyword("OR")).is_some()) {
            break;
        }
        if said && is_first {
            return Err(between(&before, "AND"));
        }
        if let Some(words) = times(cursor, context)? {
            if let Some(times) = &mut context.times {
                times.push(words);
            }
            continue;
        }
        parts.push(negated(cursor, context)?);
    }
    Ok(joined(parts, Filter::And))
}

/// Time words, once, where they can be.
fn times(cursor: &mut Cursor<'_>, context: &Context<'_>) -> Result<Option<TimeWords>, QueryError> {
    if context.field.is_some() {
        return Ok(None);
    }
    let start = cursor.at();
    let Some(words) = time::words(cursor)? else { return Ok(None) };
    match &context.times {
        Some(times) if times.is_empty() => Ok(Some(words)),
        Some(_) => {
            let message = "a search has time words once";
            Err(cursor.error_from(start, cursor.at(), message, &["from … to …"]))
        }
        None => Err(time::misplaced(cursor, start)),
    }
}

fn joined(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        0 => Filter::All,
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}

fn negated(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Filter, QueryError> {
    let mut nots = 0;
    loop {
        let start = cursor.at();
        let sign = matches!(cursor.peek(), Some('-' | '!')) && {
            // A sign right before a term; alone, or before white space, it is text.
            let next = cursor.peek_second();
            next.is_some_and(|next| !next.is_whitespace() && !"|)-!=".contains(next))
        };
        if sign {
            cursor.rest = cursor.rest.get(1..).unwrap_or_default();
            cursor.mark(start, TokenKind::Operator);
        } else if cursor.take_as(TokenKind::Keyword, lex::keyword("NOT")).is_none() {
            break;
        }
        nots += 1;
        cursor.skip_space();
    }
    if nots > 0 {
        times(cursor, &Context { times: None, ..*context })?;
    }
    let term = term(cursor, context)?;
    Ok(if nots % 2 == 1 { Filter::Not(Box::new(term)) } else { term })
}

/// The error for a joining word that joins nothing.
fn between(cursor: &Cursor<'_>, word: &str) -> QueryError {
    let start = cursor.at();
    let message = format!("{word} stands between two terms");
    let mut error = cursor.error_from(start, start + word.len(), message, &TERM);
    error.hint = Some(format!("to search the word itself, write \"{word}\""));
    error
}

fn term(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Filter, QueryError> {
    if cursor.peek() == Some('(') {
        return group(cursor, &mut context.inner());
    }
    for word in ["AND", "OR"] {
        if cursor.clone().take(lex::keyword(word)).is_some() {
            return Err(between(cursor, word));
        }
    }
    if let Some(field) = context.field {
        return value(cursor, field, context);
    }
    let before = *cursor;
    if cursor.peek() == Some('"') {
        // A name in quotes is a field's when an operator follows.
        let mut ahead = *cursor;
        let name = ahead.take(lex::quoted);
        if let Some(name) = name.filter(|_| operator(&mut ahead.clone()).is_some()) {
            ahead.mark(before.at(), TokenKind::Field);
            *cursor = ahead;
            return field(cursor, &name, context);
        }
    }
    if let Some(name) = cursor.take_as(TokenKind::Field, lex::backticked) {
        if operator(&mut cursor.clone()).is_none() {
            let message = format!("expected ':' behind the name, found {}", cursor.found());
            return Err(cursor.error(message, &[":", ">=", "<"]));
        }
        return field(cursor, &name, context);
    }
    if let Some(text) = value::special(cursor)? {
        return Ok(Filter::Text(text));
    }
    let mut ahead = *cursor;
    if let Some(name) = ahead.take(lex::name)
        && operator(&mut ahead.clone()).is_some()
    {
        ahead.mark(before.at(), TokenKind::Field);
        *cursor = ahead;
        return field(cursor, name, context);
    }
    let word = value::word(cursor, Case::Any, TokenKind::Word)?;
    range::no_comparison(&before, cursor)?;
    Ok(Filter::Text(word))
}

fn group(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Filter, QueryError> {
    let start = cursor.at();
    cursor.eat_as(TokenKind::Bracket, "(");
    let inner = any(cursor, context)?;
    cursor.skip_space();
    if !cursor.eat_as(TokenKind::Bracket, ")") {
        let message = format!("expected ')', found {}", cursor.found());
        let mut error = cursor.error(message, &[")", "AND", "OR"]);
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

/// The operator and the value behind a field's name.
fn field(
    cursor: &mut Cursor<'_>,
    name: &str,
    context: &mut Context<'_>,
) -> Result<Filter, QueryError> {
    let start = cursor.at();
    let operator = operator(cursor).unwrap_or(":");
    cursor.mark(start, TokenKind::Operator);
    let test = |test| Filter::Field { name: name.to_owned(), test };
    if operator != ":" {
        cursor.skip_space();
    }
    Ok(match operator {
        ":" if cursor.peek() == Some('(') => {
            let mut inner = Context { field: Some(name), ..context.inner() };
            group(cursor, &mut inner)?
        }
        ":" => value(cursor, name, context)?,
        "!=" => Filter::Not(Box::new(value(cursor, name, context)?)),
        operator => test(range::compared(cursor, name, operator)?),
    })
}

/// A value behind a colon: a word, a phrase, a star, a comparison, a range.
fn value(
    cursor: &mut Cursor<'_>,
    name: &str,
    context: &mut Context<'_>,
) -> Result<Filter, QueryError> {
    let test = |test| Filter::Field { name: name.to_owned(), test };
    if context.field.is_some() && cursor.clone().take(lex::comparison).is_some() {
        return field(cursor, name, context);
    }
    match cursor.peek() {
        Some('[' | '{') => return range::bracketed(cursor, name).map(test),
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
    value::tested(cursor, name).map(test)
}

#[cfg(test)]
mod tests {
    use crate::language::tests::wrong;

    #[test]
    fn a_joining_word_that_joins_nothing_is_shown_itself() {
        wrong("AND b", (0, 3), "AND stands between");
        wrong("a (AND b)", (3, 6), "AND stands between");
        wrong("a OR AND b", (5, 8), "AND stands between");
        wrong("a AND OR b", (6, 8), "OR stands between");
    }
}
