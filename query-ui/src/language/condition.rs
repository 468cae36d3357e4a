//! Conditions of pipes: what can be one, and where something stands that cannot.

use std::net::IpAddr;

use super::ast::{Expr, Operator, Pipe, Query};
use super::expr::{self, Place};
use super::lex::Cursor;
use super::order::written;
use super::scope::{RECORD_NAMES, Scope};
use super::{QueryError, Token, TokenKind, range, read};
use crate::language::calendar::Bins;

/// What could stand behind a value, for messages.
pub(crate) const TESTS: [&str; 6] =
    ["== 5", "!= \"a\"", "> 5", "=~ /regex/", "is not null", "in ("];
/// Functions that say yes or no, or what their arguments are.
const TRUTHS: [&str; 7] =
    ["case", "coalesce", "contains", "ends_with", "if", "in_cidr", "starts_with"];

/// Advice for who wrote a value in the place of a condition.
pub(crate) fn advice(found: &str) -> String {
    format!(
        "compare it with something, as in {found} > 5, or ask whether it is there: exists({found})"
    )
}

/// Reads an expression that says yes or no.
pub(super) fn parse(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Expr, QueryError> {
    let before = *cursor;
    let found = expr::parse(cursor, place)?;
    check(&found, (&before, cursor), place.scope)?;
    Ok(found)
}

/// Refuses what says neither yes nor no. What a field is shows when records are read.
pub(super) fn check(
    found: &Expr,
    place: range::Place<'_, '_>,
    scope: &Scope,
) -> Result<(), QueryError> {
    if may_hold(found, scope) {
        return Ok(());
    }
    let (start, text) = standing(place);
    let message = format!("{text} is no condition");
    let mut error = place.0.error_from(start, start + text.len(), message, &TESTS);
    error.hint = Some(advice(text));
    Err(error)
}

/// The same of both sides of `and` and `or`.
pub(super) fn check_sides(
    operator: Operator,
    (left, left_place): (&Expr, range::Place<'_, '_>),
    (right, right_place): (&Expr, range::Place<'_, '_>),
    scope: &Scope,
) -> Result<(), QueryError> {
    if !matches!(operator, Operator::And | Operator::Or) {
        return Ok(());
    }
    check(left, left_place, scope)?;
    check(right, right_place, scope)
}

/// The same of the conditions of `if` and `case`; and refuses what is no network for `in_cidr`, and no bin
/// for `time_bin`.
pub(super) fn check_arguments(
    name: &str,
    arguments: &[Expr],
    places: &[(Cursor<'_>, Cursor<'_>)],
    scope: &Scope,
) -> Result<(), QueryError> {
    match name {
        "if" | "case" => {
            let conditions = arguments.iter().zip(places).step_by(2).take(arguments.len() / 2);
            for (argument, (before, behind)) in conditions {
                check(argument, (before, behind), scope)?;
            }
            Ok(())
        }
        "in_cidr" if !arguments.get(1).is_some_and(is_network) => {
            let expected = ["\"10.0.0.0/8\"", "\"192.168.1.1\"", "\"2001:db8::/32\""];
            Err(unfit(places.get(1), "is no network of IP addresses", &expected))
        }
        "time_bin" => check_bins(arguments, places),
        _ => Ok(()),
    }
}

/// Refuses an argument for what it is not.
fn unfit(place: Option<&(Cursor<'_>, Cursor<'_>)>, is: &str, expected: &[&str]) -> QueryError {
    let Some((before, behind)) = place else {
        let (message, start, end) = (format!("an argument {is}"), 0, 1);
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        return QueryError { message, start, end, expected, hint: None };
    };
    let (start, text) = standing((before, behind));
    before.error_from(start, start + text.len(), format!("{text} {is}"), expected)
}

/// `time_bin(moment, width, zone, offset)`.
fn check_bins(arguments: &[Expr], places: &[(Cursor<'_>, Cursor<'_>)]) -> Result<(), QueryError> {
    let width = match arguments.get(1) {
        Some(Expr::Text(name)) => name.clone(),
        Some(Expr::Duration(nanos)) => format!("{}ms", nanos / 1e6),
        _ => String::new(),
    };
    if Bins::read(&width, "", 0).is_none() {
        let expected = ["\"hour\"", "\"day\"", "\"week\"", "\"month\"", "15m"];
        return Err(unfit(places.get(1), "is no width of a bin", &expected));
    }
    let zone = match arguments.get(2) {
        None => Some(""),
        Some(Expr::Text(zone)) => Some(zone.as_str()),
        Some(_) => None,
    };
    if zone.and_then(|zone| Bins::read(&width, zone, 0)).is_none() {
        let expected = ["\"UTC\"", "\"Europe/Berlin\""];
        return Err(unfit(places.get(2), "is no time zone", &expected));
    }
    match arguments.get(3) {
        None | Some(Expr::Duration(_)) => Ok(()),
        Some(_) => Err(unfit(places.get(3), "is no span", &["6h", "30m"])),
    }
}

/// Refuses a query behind `in` that gives more than one column, or records.
pub(super) fn check_column(query: &Query, place: range::Place<'_, '_>) -> Result<(), QueryError> {
    let behind = Scope::behind(&query.pipes);
    let found = match behind.columns() {
        Some([_]) => return Ok(()),
        Some(columns) => format!("{} columns", columns.len()),
        // One that is computed may be meant.
        None if query.pipes.iter().any(makes_columns) => return Ok(()),
        None => "records".to_owned(),
    };
    let (start, text) = standing(place);
    let message = format!("the query behind `in` gives one column, this one gives {found}");
    let mut error = place.0.error_from(start, start + text.len(), message, &["| fields name"]);
    error.hint = Some("end it with `| fields name`, or with `stats` of one column".to_owned());
    Err(error)
}

fn makes_columns(pipe: &Pipe) -> bool {
    matches!(
        pipe,
        Pipe::Eval(_)
            | Pipe::Rename(_)
            | Pipe::Extract { .. }
            | Pipe::Expand { .. }
            | Pipe::Parse { .. }
            | Pipe::Join { .. }
            | Pipe::Union(_)
    )
}

fn may_hold(found: &Expr, scope: &Scope) -> bool {
    match found {
        Expr::Column(name) => !scope.has_plain_records() || !RECORD_NAMES.contains(&name.as_str()),
        Expr::Binary(operator, _, _) => !matches!(
            operator,
            Operator::Add
                | Operator::Subtract
                | Operator::Multiply
                | Operator::Divide
                | Operator::Remainder
        ),
        Expr::Call(name, _) => TRUTHS.contains(name),
        Expr::Bool(_)
        | Expr::Not(_)
        | Expr::Exists(_)
        | Expr::Like(_, _)
        | Expr::In(_, _)
        | Expr::InQuery(_, _) => true,
        _ => false,
    }
}

fn is_network(given: &Expr) -> bool {
    let Expr::Text(text) = given else { return false };
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let bits = if address.is_ipv4() { 32_u8 } else { 128 };
    prefix.is_empty() || prefix.parse().is_ok_and(|prefix: u8| prefix <= bits)
}

/// Where something begins that was read, and its text, without white space around.
fn standing<'a>(place: range::Place<'_, 'a>) -> (usize, &'a str) {
    let text = written(place.0, place.1);
    let text = if text.trim().is_empty() { text } else { text.trim_end() };
    let inner = text.trim_start();
    (place.0.at() + text.len() - inner.len(), inner)
}

/// Where a column or a function stands in a query in the place of a condition, in characters.
pub(crate) fn place_of(query: &str, name: &str) -> Option<(usize, usize)> {
    let (_, tokens) = read(query);
    let characters: Vec<char> = query.chars().collect();
    let texts: Vec<String> = tokens
        .iter()
        .map(|token| characters.get(token.start..token.end).unwrap_or_default().iter().collect())
        .collect();
    let all: Vec<(&Token, &str)> = tokens.iter().zip(texts.iter().map(String::as_str)).collect();
    let places = all.iter().enumerate().filter(|(_, (token, text))| {
        matches!(token.kind, TokenKind::Column | TokenKind::Function)
            && text.trim_matches(['`', '"']) == name
    });
    let places: Vec<(usize, (usize, usize))> =
        places.map(|(at, (token, _))| (at, (token.start, token.end))).collect();
    match places.as_slice() {
        [(_, place)] => Some(*place),
        several => {
            let alone = |(at, _): &&(usize, (usize, usize))| stands_alone(&all, *at);
            several.iter().find(alone).map(|(_, place)| *place)
        }
    }
}

/// Whether the token at a place is a condition by itself.
fn stands_alone(all: &[(&Token, &str)], at: usize) -> bool {
    begins_condition(all.get(..at).unwrap_or_default()) && ends_condition(all.get(at + 1).copied())
}

fn is_join(text: &str) -> bool {
    ["and", "or"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a condition may begin behind these tokens.
fn begins_condition(before: &[(&Token, &str)]) -> bool {
    let Some(((token, text), before)) = before.split_last() else { return false };
    match token.kind {
        TokenKind::Pipe | TokenKind::Keyword => text.eq_ignore_ascii_case("where"),
        TokenKind::Operator => is_join(text) || text.eq_ignore_ascii_case("not"),
        TokenKind::Bracket if *text == "(" => match before.last() {
            Some((token, text)) if token.kind == TokenKind::Function => {
                matches!(*text, "if" | "case")
            }
            Some((token, text)) => {
                token.kind != TokenKind::Keyword || !text.eq_ignore_ascii_case("in")
            }
            None => true,
        },
        _ => false,
    }
}

/// Whether a condition may end before this token.
fn ends_condition(next: Option<(&Token, &str)>) -> bool {
    let Some((token, text)) = next else { return true };
    match token.kind {
        TokenKind::Bracket => matches!(text, "|" | ")" | ","),
        TokenKind::Operator => is_join(text),
        TokenKind::Keyword => ["as", "by"].iter().any(|word| text.eq_ignore_ascii_case(word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::tests::wrong;

    #[test]
    fn what_says_neither_yes_nor_no_is_shown_where_it_stands() {
        for (given, place) in [
            ("| where 5", (8, 9)),
            ("| where  \"a text\"  | limit 1", (9, 17)),
            ("| where length(message) | limit 1", (8, 23)),
            ("| where a > 1 and b + 1", (18, 23)),
            ("| where 10KB or a", (8, 12)),
            ("| where not message", (12, 19)),
            ("| where (a > 1 or level)", (18, 23)),
            ("| where timestamp", (8, 17)),
            ("| stats count() where -1 as n", (22, 24)),
            ("| eval x = if(id, 1, 2)", (14, 16)),
            ("| eval x = case(a, 1, null, 2)", (22, 26)),
            ("| where not é and upper(é)", (18, 26)),
        ] {
            wrong(given, place, "is no condition");
            let error = crate::language::parse(given).unwrap_err();
            assert!(error.hint.is_some() && error.expected == TESTS, "{given}");
        }
        for whole in [
            "| where ok",
            "| where ok and not (a or b)",
            "| where true or exists(message)",
            "| where contains(message, \"a\") and in_cidr(ip, \"10.0.0.0/8\")",
            "| where if(ok, true, false)",
            "| where level in (\"info\") and message =~ /x/",
            "| rename ok as message | where message",
            "| eval x = case(a, 1, b, 2, 3), y = if(ok, message)",
        ] {
            crate::language::parse(whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
        }
    }

    #[test]
    fn what_is_no_network_no_bin_or_no_level_is_shown_where_it_stands() {
        wrong("| where in_cidr(ip, \"10.0.0.0/33\")", (20, 33), "no network");
        wrong("| where in_cidr(ip, other)", (20, 25), "no network");
        wrong("| eval x = time_bin(timestamp, \"monthh\")", (31, 39), "no width of a bin");
        wrong("| eval x = time_bin(timestamp, host)", (31, 35), "no width of a bin");
        wrong("| eval x = time_bin(timestamp, 1h, \"Nowhere\")", (35, 44), "no time zone");
        wrong("| eval x = time_bin(timestamp, 1h, \"UTC\", 6)", (42, 43), "no span");
        crate::language::parse("| eval x = time_bin(t, \"day\", \"Europe/Berlin\", -6h)").unwrap();
        wrong("| where level == \"errror\"", (17, 25), "is no level");
        wrong("| where level in (\"info\", \"errror\")", (26, 34), "is no level");
        wrong("| where timestamp in (\"noon\")", (22, 28), "is no time");
    }

    #[test]
    fn a_query_behind_in_gives_one_column() {
        let two = "this one gives 2 columns";
        wrong("| where host in (a | fields host, user)", (17, 38), two);
        wrong("| where host not in (| stats count() by host) and x", (21, 44), two);
        wrong("| where host in (a | sort host)", (17, 30), "this one gives records");
        crate::language::parse("| where host in (a | top 5 host | fields host)").unwrap();
        crate::language::parse("| where host in (a | stats count())").unwrap();
    }

    #[test]
    fn a_condition_is_found_among_others_of_its_name() {
        for (query, place) in [
            ("| where status", Some((8, 14))),
            ("| where status > 5 and (status)", Some((24, 30))),
            (
                "| stats sum(status) by status | where sum_status > 1 and not `status` | sort status",
                Some((61, 69)),
            ),
            ("| eval x = status, y = if(status, 1, 2)", Some((26, 32))),
            ("| where status in (status) | sort status", None),
            ("| where other", None),
        ] {
            assert_eq!(place_of(query, "status"), place, "{query}");
        }
    }
}
