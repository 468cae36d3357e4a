//! Pipes that make other columns or rows: `rename`, `eval`, `dedup`, `expand`, `extract`, `parse`,
//! `join`, `union`, `sample`.

use super::ast::{Extraction, Format, Pipe, Query};
use super::expr::Place;
use super::lex::Cursor;
use super::parse::query;
use super::pipe::{column, expect, known_column, list, whole};
use super::scope::{Scope, pieces};
use super::{QueryError, TokenKind, expr, value};

/// The column that is taken apart where the query does not say.
const MESSAGE: &str = "message";

/// `rename old as new, …`
pub(super) fn rename(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    let pairs = list(cursor, |cursor| {
        let old = known_column(cursor, scope)?;
        cursor.skip_space();
        if !cursor.eat_word("as") {
            return Err(cursor.error(format!("expected as, found {}", cursor.found()), &["as"]));
        }
        cursor.skip_space();
        Ok((old, column(cursor)?))
    })?;
    Ok(Pipe::Rename(pairs))
}

/// `eval name = expression, …`
pub(super) fn eval(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Pipe, QueryError> {
    let computed = list(cursor, |cursor| {
        let name = column(cursor)?;
        cursor.skip_space();
        if cursor.rest.starts_with("==") || !cursor.eat_as(TokenKind::Operator, "=") {
            return Err(cursor.error(format!("expected '=', found {}", cursor.found()), &["="]));
        }
        Ok((name, expr::parse(cursor, place)?))
    })?;
    Ok(Pipe::Eval(computed))
}

/// `dedup [2] host, user`: the first rows of each combination.
pub(super) fn dedup(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let keep = match cursor.peek() {
        Some(c) if c.is_ascii_digit() => whole(cursor)?,
        _ => 1,
    };
    cursor.skip_space();
    cursor.eat_word("by");
    let by = list(cursor, |cursor| known_column(cursor, scope))?;
    Ok(Pipe::Dedup { keep, by })
}

/// `expand [distinct] tags [as tag]`: a row for each value.
pub(super) fn expand(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    // A field may be called so as well.
    let distinct = cursor.rest.strip_prefix("distinct").is_some_and(|rest| {
        let next = rest.trim_start();
        next.len() < rest.len()
            && !next.is_empty()
            && !next.starts_with(['|', ')'])
            && !next.starts_with("as ")
    }) && cursor.eat_word("distinct");
    cursor.skip_space();
    let from = known_column(cursor, scope)?;
    cursor.skip_space();
    let into = if cursor.eat_word("as") {
        cursor.skip_space();
        column(cursor)?
    } else {
        from.clone()
    };
    Ok(Pipe::Expand { from, into, distinct })
}

/// `extract "<ip> - <user>" [from field]` or `extract /(?<ip>…)/ [from field]`.
pub(super) fn extract(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let start = *cursor;
    let pattern = match cursor.peek() {
        Some('"') => Extraction::Pattern(value::quoted(cursor, TokenKind::Phrase)?),
        _ => match value::regex(cursor)? {
            Some(source) => Extraction::Regex(source),
            None => {
                let message = format!("expected a pattern, found {}", cursor.found());
                let expected = ["\"user=<user> took <ms>ms\"", "/(?<code>[0-9]+)/"];
                return Err(cursor.error(message, &expected));
            }
        },
    };
    let wrong = |message: String, hint: &str| {
        let mut error = start.error_from(start.at(), cursor.at(), message, &[]);
        error.hint = Some(hint.to_owned());
        Err(error)
    };
    let names = pattern.names();
    if let Some(twice) =
        names.iter().enumerate().find(|(at, n)| names.iter().take(*at).any(|o| o == *n))
    {
        return wrong(format!("two pieces are named {:?}", twice.1), "name each piece otherwise");
    }
    if names.iter().any(String::is_empty) {
        return wrong("a piece has no name".to_owned(), "write <_> for what is passed over");
    }
    match &pattern {
        _ if names.is_empty() => {
            return wrong("nothing in the pattern has a name".to_owned(), "<name> or (?<name>…)");
        }
        Extraction::Pattern(text) if touches(text) => {
            let hint = "something must stand between <a> and <b>";
            return wrong("two pieces stand beside each other".to_owned(), hint);
        }
        _ => {}
    }
    let from = source(cursor, scope)?;
    Ok(Pipe::Extract { from, pattern })
}

/// Whether no text tells two pieces of a pattern apart.
fn touches(pattern: &str) -> bool {
    let texts: Vec<&str> = pieces(pattern).map(|(text, _)| text).collect();
    let inner = texts.len().saturating_sub(1);
    texts.iter().take(inner).skip(1).any(|text| text.is_empty())
}

/// `from field`, or the message.
fn source(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<String, QueryError> {
    cursor.skip_space();
    if cursor.eat_word("from") {
        cursor.skip_space();
        return known_column(cursor, scope);
    }
    scope.check(MESSAGE, cursor, (cursor.at(), cursor.at() + 1))?;
    Ok(MESSAGE.to_owned())
}

/// `parse json [from field]`, `parse logfmt [from field]`.
pub(super) fn parse(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let format = if cursor.eat_word("json") {
        Format::Json
    } else if cursor.eat_word("logfmt") {
        Format::Logfmt
    } else {
        let message = format!("expected a format, found {}", cursor.found());
        return Err(cursor.error(message, &["json", "logfmt"]));
    };
    let from = source(cursor, scope)?;
    Ok(Pipe::Parse { format, from })
}

/// `join [inner] a, b (query)`: without `inner` every row is kept.
pub(super) fn join(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    depth: usize,
) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let inner = cursor.eat_word("inner");
    if !inner {
        cursor.eat_word("left");
    }
    cursor.skip_space();
    cursor.eat_word("on");
    let on = list(cursor, |cursor| known_column(cursor, scope))?;
    let start = cursor.at();
    let query = bracketed(cursor, depth)?;
    let behind = Scope::behind(&query.pipes);
    let Some(columns) = behind.columns() else {
        let message = "the query of a join must end in a table";
        let mut error = cursor.error_from(start, cursor.at(), message, &["stats", "fields"]);
        error.hint = Some("end it with stats or fields, so that its columns are known".to_owned());
        return Err(error);
    };
    if let Some(missing) = on.iter().find(|name| !columns.contains(name)) {
        let known: Vec<&str> = columns.iter().map(String::as_str).collect();
        let message = format!("the query of the join has no column {missing:?}");
        return Err(cursor.error_from(start, cursor.at(), message, &known));
    }
    Ok(Pipe::Join { keep_all: !inner, on, query: Box::new(query) })
}

/// `union (query)`: both have records, or both have tables.
pub(super) fn union(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    depth: usize,
) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let start = cursor.at();
    let query = bracketed(cursor, depth)?;
    if scope.columns().is_some() != Scope::behind(&query.pipes).columns().is_some() {
        let message = "records and a table cannot be joined into one list";
        let mut error = cursor.error_from(start, cursor.at(), message, &[]);
        error.hint = Some("make a table of both, with `fields` or `stats`".to_owned());
        return Err(error);
    }
    Ok(Pipe::Union(Box::new(query)))
}

fn bracketed(cursor: &mut Cursor<'_>, depth: usize) -> Result<Query, QueryError> {
    expect(cursor, "(")?;
    let query = query(cursor, depth + 1)?;
    expect(cursor, ")")?;
    Ok(query)
}

/// `sample 100` (one of a hundred) or `sample 1%`.
pub(super) fn sample(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let start = *cursor;
    let end = cursor.rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (text, rest) = cursor.rest.split_at(end.unwrap_or(cursor.rest.len()));
    cursor.rest = rest;
    let percent = cursor.eat("%");
    cursor.mark(start.at(), TokenKind::Number);
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0);
    let share = number.map(|number| if percent { number / 100.0 } else { 1.0 / number });
    match share.filter(|share| *share <= 1.0) {
        Some(share) => Ok(Pipe::Sample(share)),
        None => {
            let message = format!("expected one of how many, found {}", start.found());
            Err(start.error_from(start.at(), cursor.at(), message, &["100", "1%", "0.1%"]))
        }
    }
}
