//! Pipes that make other columns or rows: `rename`, `eval`, `dedup`, `expand`, `extract`, `parse`,
//! `join`, `union`, `sample`.

use super::ast::{Extraction, Format, Pipe, Query};
use super::expr::Place;
use super::lex::Cursor;
use super::parse::query;
use super::pipe::{column, expect, known_column, list, whole};
use super::scope::{COMPUTED_MAX, Scope, pieces};
use super::{QueryError, TokenKind, expr, value};

/// The column that is taken apart where the query does not say.
const MESSAGE: &str = "message";

/// `rename old as new, …`
pub(super) fn rename(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Pipe, QueryError> {
    let pairs = list(cursor, |cursor| {
        let start = cursor.at();
        let old = known_column(cursor, scope)?;
        if scope.has_plain_records() {
            let advice = ("another field", "`eval new = old` makes a column of the same value");
            scope.check_free(&old, cursor, (start, cursor.at()), advice)?;
        }
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
        let start = cursor.at();
        let name = column(cursor)?;
        let advice = ("another name", "give the result another name");
        place.scope.check_free(&name, cursor, (start, cursor.at()), advice)?;
        if !place.scope.count_computed() {
            let message = format!("a query computes at most {COMPUTED_MAX} columns");
            return Err(cursor.error_from(start, cursor.at(), message, &[]));
        }
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
    let mut start = cursor.at();
    let from = known_column(cursor, scope)?;
    let mut end = cursor.at();
    cursor.skip_space();
    let into = if cursor.eat_word("as") {
        cursor.skip_space();
        start = cursor.at();
        let into = column(cursor)?;
        end = cursor.at();
        into
    } else {
        from.clone()
    };
    let advice = ("as another name", "write `as` and another name for the single values");
    scope.check_free(&into, cursor, (start, end), advice)?;
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
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    start: usize,
) -> Result<Pipe, QueryError> {
    scope.check_records(cursor, start, "parse")?;
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
    for name in columns.iter().filter(|name| !on.contains(name)) {
        let hint = format!("name it otherwise at the query's end: | rename {name} as other");
        scope.check_free(
            name,
            cursor,
            (start, cursor.at()),
            ("| rename old as new", hint.as_str()),
        )?;
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
pub(super) fn sample(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    named: usize,
) -> Result<Pipe, QueryError> {
    scope.check_records(cursor, named, "sample")?;
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

#[cfg(test)]
mod tests {
    use crate::language::parse;
    use crate::language::tests::wrong;

    #[test]
    fn what_every_record_has_stays_and_is_shown_where_it_was_to_go() {
        for (given, place) in [
            ("| eval timestamp = 1", (7, 16)),
            ("| eval a = 1, `level` = 2", (14, 21)),
            ("| parse json | eval message = lower(message)", (20, 27)),
            ("| rename a as b, message as m", (17, 24)),
            ("| drop a, index", (10, 15)),
            ("| fields - id", (11, 13)),
            ("| expand message", (9, 16)),
            ("| expand tags as level", (17, 22)),
            ("| union (a | eval index = 1)", (18, 23)),
            ("| join host (| stats count() as level by host)", (12, 46)),
        ] {
            wrong(given, place, "every record has");
            let error = parse(given).unwrap_err();
            assert!(error.hint.is_some() && !error.expected.is_empty(), "{given}");
        }
        for whole in [
            "| fields message | eval timestamp = 1 | rename message as m",
            "| stats max(timestamp) as timestamp by level | drop level",
            "| rename a as message | rename message as b",
            "| eval m = message | expand tags as tag",
            "| join level (| stats count() as n by level)",
        ] {
            parse(whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
        }
    }

    #[test]
    fn what_is_computed_is_bounded() {
        let pipe = format!("| eval {}a = 1 ", "a = 1, ".repeat(127));
        parse(&pipe.repeat(2)).unwrap();
        let error = parse(&pipe.repeat(3)).unwrap_err();
        assert!(error.message.contains("at most 256 columns"), "{error:?}");
    }

    #[test]
    fn what_wants_records_is_shown_where_there_are_none() {
        wrong("| stats count() as message | parse json", (29, 34), "wants records");
        wrong("| fields message | sample 10", (19, 25), "wants records");
        parse("| parse json | sample 10 | fields message").unwrap();
    }
}
