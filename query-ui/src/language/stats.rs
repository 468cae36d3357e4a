//! Pipes that count: `stats`, `timechart`, `top`, `rare`, `patterns`.

use super::ast::{Aggregate, Expr, Function, Group, Pipe, SortKey};
use super::expr::Place;
use super::lex::{self, Cursor};
use super::pipe::{column, expect, known_column, list, whole};
use super::scope::{PATTERN, Scope, nearest};
use super::{QueryError, TokenKind, condition, expr};

/// Rows of `top` and `rare` where the query does not say.
const TOP: u64 = 10;
/// Names of quantiles that are functions of their own.
const QUANTILES: [(&str, f64); 6] =
    [("median", 0.5), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

pub(super) fn stats(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Pipe, QueryError> {
    let aggregates = list(cursor, |cursor| aggregate(cursor, place))?;
    cursor.skip_space();
    let by = if cursor.eat_word("by") {
        list(cursor, |cursor| group(cursor, place))?
    } else {
        Vec::new()
    };
    named_once(cursor, &aggregates, &by)?;
    Ok(Pipe::Stats { aggregates, by })
}

/// Aggregates by time: `timechart 5m count() by host`; without a width a round one is chosen.
pub(super) fn timechart(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let start = cursor.at();
    let width = cursor.take_as(TokenKind::Number, lex::span);
    if width.is_some_and(|width| width <= 0) {
        let message = "a bin of time is longer than nothing";
        return Err(cursor.error_from(start, cursor.at(), message, &["1m", "15m", "1h", "1d"]));
    }
    let aggregates = list(cursor, |cursor| aggregate(cursor, place))?;
    cursor.skip_space();
    let mut by = vec![Group::Bin { width }];
    if cursor.eat_word("by") {
        let names = list(cursor, |cursor| known_column(cursor, place.scope))?;
        by.extend(names.into_iter().map(Group::Field));
    }
    named_once(cursor, &aggregates, &by)?;
    Ok(Pipe::Stats { aggregates, by })
}

fn named_once(
    cursor: &Cursor<'_>,
    aggregates: &[Aggregate],
    by: &[Group],
) -> Result<(), QueryError> {
    let mut names: Vec<&str> = by.iter().map(Group::name).collect();
    names.extend(aggregates.iter().map(|aggregate| aggregate.name.as_str()));
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == name) {
            let mut error = cursor.error(format!("two columns are named {name:?}"), &[]);
            error.hint = Some("name one of them with `as`".to_owned());
            return Err(error);
        }
    }
    Ok(())
}

fn aggregate(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Aggregate, QueryError> {
    let names = Function::ALL.map(|(name, _)| name);
    let start = cursor.at();
    let word = cursor.take_as(TokenKind::Function, lex::word).unwrap_or_default();
    let quantile = QUANTILES.iter().find(|(name, _)| *name == word);
    let quantile = quantile.map(|(name, part)| (*name, Function::Quantile(*part)));
    let known = Function::ALL.iter().copied().find(|(name, _)| *name == word);
    let Some((name, mut function)) = known.or(quantile) else {
        let message = match word {
            "" => format!("expected an aggregate, found {}", cursor.found()),
            other => format!("there is no aggregate {other:?}"),
        };
        let mut error = cursor.error_from(start, cursor.at(), message, &names);
        error.hint = nearest(word, &names).map(|near| format!("did you mean {near}()?"));
        return Err(error);
    };
    expect(cursor, "(")?;
    if let (None, Function::Quantile(part) | Function::QuantileEstimate(part)) =
        (quantile, &mut function)
    {
        *part = fraction(cursor)?;
        expect(cursor, ",")?;
    }
    cursor.skip_space();
    let argument = match cursor.peek() {
        Some(')') => None,
        _ => Some(expr::parse(cursor, place.deeper())?),
    };
    match (function, &argument) {
        (Function::Count, _) | (Function::Rate, None) => {}
        (Function::Rate, Some(_)) => {
            return Err(cursor.error("rate() takes nothing: it counts rows in a second", &[")"]));
        }
        (_, None) => return Err(cursor.error(format!("{name}() wants a field"), &["a field"])),
        (_, Some(_)) => {}
    }
    expect(cursor, ")")?;
    cursor.skip_space();
    let condition = if cursor.eat_word("where") {
        Some(condition::parse(cursor, place.deeper())?)
    } else {
        None
    };
    cursor.skip_space();
    let alias = if cursor.eat_word("as") {
        cursor.skip_space();
        Some(column(cursor)?)
    } else {
        None
    };
    let name = alias.unwrap_or_else(|| match &argument {
        Some(Expr::Column(field)) => format!("{name}_{field}"),
        _ => name.to_owned(),
    });
    Ok(Aggregate { function, argument, condition, name })
}

/// The part of a quantile.
fn fraction(cursor: &mut Cursor<'_>) -> Result<f64, QueryError> {
    cursor.skip_space();
    let start = *cursor;
    let end = cursor.rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (text, rest) = cursor.rest.split_at(end.unwrap_or(cursor.rest.len()));
    cursor.rest = rest;
    cursor.mark(start.at(), TokenKind::Number);
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => {
            let message = format!("expected a part from 0 to 1, found {}", start.found());
            Err(start.error_from(start.at(), cursor.at(), message, &["0.5", "0.99"]))
        }
    }
}

fn group(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Group, QueryError> {
    let start = *cursor;
    if cursor.take(lex::word) != Some("bin") || !cursor.rest.starts_with('(') {
        *cursor = start;
        return known_column(cursor, place.scope).map(Group::Field);
    }
    cursor.mark(start.at(), TokenKind::Function);
    expect(cursor, "(")?;
    cursor.skip_space();
    let named = cursor.at();
    let source = column(cursor)?;
    let is_time = matches!(source.as_str(), "timestamp" | "time");
    let wanted = if is_time { "timestamp" } else { &source };
    place.scope.check(wanted, cursor, (named, cursor.at()))?;
    expect(cursor, ",")?;
    cursor.skip_space();
    let group = if is_time && cursor.eat_word("auto") {
        Group::Bin { width: None }
    } else if is_time {
        let before = *cursor;
        let width = cursor.take_as(TokenKind::Number, lex::span).filter(|width| *width > 0);
        let message = || format!("expected a span, found {}", before.found());
        let expected = ["1m", "15m", "1h", "1d", "auto"];
        Group::Bin { width: Some(width.ok_or_else(|| before.error(message(), &expected))?) }
    } else {
        let before = *cursor;
        match expr::parse(cursor, place.deeper()) {
            Ok(Expr::Int(width @ 1..)) => {
                #[expect(clippy::cast_precision_loss, reason = "steps are small")]
                let width = width as f64;
                Group::Step { field: source, width }
            }
            Ok(Expr::Whole(width @ 1..)) => Group::Step { field: source, width: width as f64 },
            Ok(Expr::Float(width)) if width > 0.0 => Group::Step { field: source, width },
            _ => return Err(before.error("expected the width of a step", &["10", "0.5"])),
        }
    };
    expect(cursor, ")")?;
    Ok(group)
}

/// Which end of the ranking is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Most,
    Least,
}

/// `top 10 host, status`: values with their counts; rows without one of the fields do not count.
pub(super) fn top(
    cursor: &mut Cursor<'_>,
    scope: &Scope,
    rank: Rank,
) -> Result<Vec<Pipe>, QueryError> {
    cursor.skip_space();
    let most = match cursor.peek() {
        Some(c) if c.is_ascii_digit() => whole(cursor)?,
        _ => TOP,
    };
    cursor.skip_space();
    cursor.eat_word("by");
    let names = list(cursor, |cursor| known_column(cursor, scope))?;
    let by: Vec<Group> = names.iter().cloned().map(Group::Field).collect();
    let aggregates = vec![Aggregate {
        function: Function::Count,
        argument: None,
        condition: None,
        name: "count".to_owned(),
    }];
    named_once(cursor, &aggregates, &by)?;
    let exists = |name: String| Pipe::Where(Expr::Exists(Box::new(Expr::Column(name))));
    let mut pipes: Vec<Pipe> = names.into_iter().map(exists).collect();
    let key = SortKey { name: "count".to_owned(), descending: rank == Rank::Most, numbers: true };
    pipes.extend([Pipe::Stats { aggregates, by }, Pipe::Sort(vec![key]), Pipe::Limit(most)]);
    Ok(pipes)
}

/// What messages have in common, the most frequent first.
pub(super) fn patterns() -> [Pipe; 2] {
    let aggregate = |function, field: Option<&str>, name: &str| Aggregate {
        function,
        argument: field.map(|field| Expr::Column(field.to_owned())),
        condition: None,
        name: name.to_owned(),
    };
    let aggregates = vec![
        aggregate(Function::Count, None, "count"),
        aggregate(Function::Min, Some("timestamp"), "first_seen"),
        aggregate(Function::Max, Some("timestamp"), "last_seen"),
        aggregate(Function::Min, Some("message"), "example"),
    ];
    let by = vec![Group::Field(PATTERN.to_owned())];
    let most = SortKey { name: "count".to_owned(), descending: true, numbers: true };
    [Pipe::Stats { aggregates, by }, Pipe::Sort(vec![most])]
}

#[cfg(test)]
mod tests {
    use crate::language::tests::wrong;

    #[test]
    fn a_bin_without_a_length_is_shown_where_it_stands() {
        wrong("| stats count() by bin(timestamp, 0s)", (34, 36), "found '0'");
        wrong("| stats count() by bin(timestamp, 5x)", (34, 36), "found '5'");
    }
}
