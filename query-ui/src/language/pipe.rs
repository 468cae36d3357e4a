//! The pipes behind a search: which one comes, and the small ones.

use super::ast::{Pipe, SortKey};
use super::expr::Place;
use super::lex::{self, Cursor};
use super::scope::{Scope, nearest};
use super::{QueryError, TokenKind, condition, context, reshape, stats};

/// A pipe and what it does, for editors.
#[derive(Debug)]
pub(crate) struct PipeInfo {
    /// The word by which it is written.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
}

const fn pipe(name: &'static str, about: &'static str) -> PipeInfo {
    PipeInfo { name, about }
}

/// Every pipe, by name.
pub(crate) const PIPES: [PipeInfo; 22] = [
    pipe("context", "the records around each one"),
    pipe("dedup", "the first row of each value"),
    pipe("drop", "all columns but these"),
    pipe("eval", "computed columns"),
    pipe("expand", "a row for each value of a field"),
    pipe("extract", "columns out of a text"),
    pipe("fields", "only these columns"),
    pipe("head", "the first so many rows"),
    pipe("join", "columns of another query"),
    pipe("limit", "the first so many rows"),
    pipe("parse", "all columns of JSON or logfmt in a text"),
    pipe("patterns", "what messages have in common"),
    pipe("rare", "the least frequent values"),
    pipe("rename", "other names for columns"),
    pipe("sample", "one record of so many"),
    pipe("sort", "another order"),
    pipe("stats", "counts and other aggregates, in groups"),
    pipe("timechart", "aggregates over time"),
    pipe("top", "the most frequent values"),
    pipe("union", "the rows of another query as well"),
    pipe("uniq", "the first row of each value"),
    pipe("where", "only rows for which it holds"),
];

/// Columns that one pipe may name.
const COLUMNS_MAX: usize = 256;
/// Pipes that one query may have, counting what short forms stand for.
const PIPES_MAX: usize = 64;

/// Reads one pipe, behind its `|`; what it stands for may be several.
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    scope: &mut Scope,
    depth: usize,
) -> Result<Vec<Pipe>, QueryError> {
    cursor.skip_space();
    let start = cursor.at();
    let names = PIPES.each_ref().map(|known| known.name);
    let Some(word) = cursor.take_as(TokenKind::Pipe, lex::word) else {
        let message = format!("expected a pipe, found {}", cursor.found());
        return Err(cursor.error(message, &names));
    };
    scope.count += 1;
    if scope.count > PIPES_MAX {
        let message = format!("a query has at most {PIPES_MAX} pipes");
        return Err(cursor.error_from(start, cursor.at(), message, &[]));
    }
    let place = Place { scope, depth };
    let pipes = match word {
        "where" => vec![Pipe::Where(condition::parse(cursor, place)?)],
        "stats" => vec![stats::stats(cursor, place)?],
        "timechart" => vec![stats::timechart(cursor, place)?],
        "patterns" => stats::patterns().to_vec(),
        "top" => stats::top(cursor, scope, stats::Rank::Most)?,
        "rare" => stats::top(cursor, scope, stats::Rank::Least)?,
        "sort" => vec![Pipe::Sort(list(cursor, |cursor| sort_key(cursor, scope))?)],
        "limit" | "head" => vec![Pipe::Limit(whole(cursor)?)],
        "fields" => {
            cursor.skip_space();
            if cursor.eat_as(TokenKind::Operator, "-") {
                vec![Pipe::Drop(names_of(cursor, scope, Names::Dropped)?)]
            } else {
                vec![Pipe::Fields(names_of(cursor, scope, Names::Kept)?)]
            }
        }
        "drop" => vec![Pipe::Drop(names_of(cursor, scope, Names::Dropped)?)],
        "rename" => vec![reshape::rename(cursor, scope)?],
        "eval" => vec![reshape::eval(cursor, place)?],
        "dedup" | "uniq" => vec![reshape::dedup(cursor, scope)?],
        "expand" => vec![reshape::expand(cursor, scope)?],
        "extract" => vec![reshape::extract(cursor, scope)?],
        "parse" => vec![reshape::parse(cursor, scope, start)?],
        "join" => vec![reshape::join(cursor, scope, depth)?],
        "union" => vec![reshape::union(cursor, scope, depth)?],
        "sample" => vec![reshape::sample(cursor, scope, start)?],
        "context" => vec![context::context(cursor, scope, start)?],
        other => {
            let message = format!("there is no pipe {other:?}");
            let mut error = cursor.error_from(start, cursor.at(), message, &names);
            error.hint = nearest(other, &names).map(|near| format!("did you mean {near}?"));
            return Err(error);
        }
    };
    for pipe in &pipes {
        scope.enter(pipe);
    }
    Ok(pipes)
}

/// What is done with the columns that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Kept,
    Dropped,
}

/// The columns to keep or drop, each once.
fn names_of(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    names_are: Names,
) -> Result<Vec<String>, QueryError> {
    let mut names: Vec<String> = Vec::new();
    list(cursor, |cursor| {
        let start = cursor.at();
        let name = known_column(cursor, scope)?;
        if names_are == Names::Dropped {
            let advice = ("another field", "choose the columns that stay with `fields` instead");
            scope.check_free(&name, cursor, (start, cursor.at()), advice)?;
        }
        if !names.contains(&name) {
            names.push(name);
        }
        Ok(())
    })?;
    Ok(names)
}

fn sort_key(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<SortKey, QueryError> {
    let sign = cursor.peek() == Some('-') && cursor.eat_as(TokenKind::Operator, "-");
    let name = known_column(cursor, scope)?;
    cursor.skip_space();
    let descending = cursor.eat_word("desc");
    if !descending {
        cursor.eat_word("asc");
    }
    Ok(SortKey { name, descending: descending || sign, numbers: true })
}

/// A whole number.
pub(super) fn whole(cursor: &mut Cursor<'_>) -> Result<u64, QueryError> {
    cursor.skip_space();
    cursor.take_as(TokenKind::Number, lex::whole).ok_or_else(|| {
        let message = format!("expected a whole number, found {}", cursor.found());
        cursor.error(message, &["100"])
    })
}

/// A column's name, bare or quoted.
pub(super) fn column(cursor: &mut Cursor<'_>) -> Result<String, QueryError> {
    if let Some(name) = cursor.take_as(TokenKind::Column, lex::quoted) {
        return Ok(name);
    }
    if let Some(name) = cursor.take_as(TokenKind::Column, lex::backticked) {
        return Ok(name);
    }
    let name = cursor.take_as(TokenKind::Column, lex::name).map(str::to_owned);
    name.ok_or_else(|| {
        let mut error =
            cursor.error(format!("expected a field, found {}", cursor.found()), &["a field"]);
        error.hint = Some("an unusual name is written in `backticks` or \"quotes\"".to_owned());
        error
    })
}

/// The name of a column that is there.
pub(super) fn known_column(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<String, QueryError> {
    let start = cursor.at();
    let name = column(cursor)?;
    scope.check(&name, cursor, (start, cursor.at()))?;
    Ok(name)
}

/// A bracket or comma that must be next.
pub(super) fn expect(cursor: &mut Cursor<'_>, text: &'static str) -> Result<(), QueryError> {
    cursor.skip_space();
    if cursor.eat_as(TokenKind::Bracket, text) {
        return Ok(());
    }
    Err(cursor.error(format!("expected {text:?}, found {}", cursor.found()), &[text]))
}

/// Things separated by commas, at least one.
pub(super) fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    mut one: impl FnMut(&mut Cursor<'a>) -> Result<T, QueryError>,
) -> Result<Vec<T>, QueryError> {
    let mut all = Vec::new();
    loop {
        cursor.skip_space();
        all.push(one(cursor)?);
        if all.len() > COLUMNS_MAX {
            return Err(cursor.error(format!("more than {COLUMNS_MAX} columns"), &[]));
        }
        cursor.skip_space();
        if !cursor.eat_as(TokenKind::Bracket, ",") {
            return Ok(all);
        }
    }
}
