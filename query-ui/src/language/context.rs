//! The pipe `context`: the records around each one.

use model::query::Filter;

use super::QueryError;
use super::ast::{Pipe, Query};
use super::lex::Cursor;
use super::pipe::whole;
use super::scope::Scope;

/// Records on each side at most.
pub(crate) const AROUND_MAX: u64 = 1_000;
/// What may stand behind the pipe's name, for messages.
const SIDES: [&str; 3] = ["5", "before 5", "after 5"];

/// `context 5`, `context before 5`, `context after 5`, `context before 2 after 8`; `start` is where
/// the pipe's name begins.
pub(super) fn context(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    start: usize,
) -> Result<Pipe, QueryError> {
    if !scope.has_plain_records() {
        let message = "context wants records as they were searched";
        let mut error = cursor.error_from(start, cursor.at(), message, &[]);
        let hint = "it stands behind the search, or behind where, sort, limit, dedup and sample";
        error.hint = Some(hint.to_owned());
        return Err(error);
    }
    cursor.skip_space();
    let (before, after) = match cursor.peek() {
        Some(c) if c.is_ascii_digit() => {
            let both = side(cursor)?;
            (both, both)
        }
        _ => sides(cursor)?,
    };
    // What is around has the time of the query that it belongs to.
    let around = Query { time: None, filter: Filter::All, pipes: Vec::new() };
    Ok(Pipe::Context { before, after, around: Box::new(around) })
}

/// `before 2`, `after 8` or both, in either order.
fn sides(cursor: &mut Cursor<'_>) -> Result<(u64, u64), QueryError> {
    let (mut before, mut after) = (None, None);
    loop {
        cursor.skip_space();
        if before.is_none() && cursor.eat_word("before") {
            before = Some(side(cursor)?);
        } else if after.is_none() && cursor.eat_word("after") {
            after = Some(side(cursor)?);
        } else {
            break;
        }
    }
    if before.is_none() && after.is_none() {
        let message = format!("expected how many records, found {}", cursor.found());
        return Err(cursor.error(message, &SIDES));
    }
    Ok((before.unwrap_or(0), after.unwrap_or(0)))
}

/// How many records of one side.
fn side(cursor: &mut Cursor<'_>) -> Result<u64, QueryError> {
    cursor.skip_space();
    let start = cursor.at();
    let count = whole(cursor)?;
    if count > AROUND_MAX {
        let message = format!("at most {AROUND_MAX} records on each side");
        return Err(cursor.error_from(start, cursor.at(), message, &["5"]));
    }
    Ok(count)
}
