//! Expressions of the pipes: values computed from a row.

use model::quantity::{read_duration, read_size};

use super::ast::{Expr, Operator};
use super::lex::{self, Cursor};
use super::parse::{query, too_deep};
use super::scope::{OPERATORS_MAX, Scope};
use super::{QueryError, TokenKind, condition, nearest, pipe, range, value};

/// A function of expressions.
#[derive(Debug)]
pub(crate) struct FunctionInfo {
    /// The name by which it is written.
    pub(crate) name: &'static str,
    /// Arguments at least and at most.
    pub(crate) arguments: (usize, usize),
    /// What it gives, for editors.
    pub(crate) about: &'static str,
}

const fn function(
    name: &'static str,
    least: usize,
    most: usize,
    about: &'static str,
) -> FunctionInfo {
    FunctionInfo { name, arguments: (least, most), about }
}

/// Arguments that one function may have.
const ARGUMENTS_MAX: usize = 64;

/// Every function, by name.
pub(crate) const FUNCTIONS: [FunctionInfo; 28] = [
    function("abs", 1, 1, "the number without its sign"),
    function("bytes", 1, 1, "bytes of a text"),
    function("ceil", 1, 1, "the next whole number above"),
    function("coalesce", 1, ARGUMENTS_MAX, "the first value that is there"),
    function("concat", 1, ARGUMENTS_MAX, "texts one behind the other"),
    function("contains", 2, 2, "whether a text holds another, in any case"),
    function("ends_with", 2, 2, "whether a text ends so"),
    function("floor", 1, 1, "the next whole number below"),
    function("if", 2, 3, "if(condition, then, else)"),
    function("case", 2, ARGUMENTS_MAX, "case(condition, value, …, otherwise)"),
    function("in_cidr", 2, 2, "whether an IP address lies in a network"),
    function("length", 1, 1, "characters of a text"),
    function("ln", 1, 1, "the natural logarithm"),
    function("log10", 1, 1, "the decimal logarithm"),
    function("lower", 1, 1, "in small letters"),
    function("number", 1, 1, "the text as a number"),
    function("power", 2, 2, "the first to the power of the second"),
    function("replace", 3, 3, "replace(text, what, by)"),
    function("replace_regex", 3, 3, "replace_regex(text, /what/, by), by may have $1"),
    function("round", 1, 2, "round(number, digits)"),
    function("seconds", 1, 1, "a span (5ms, or the text of one) as seconds"),
    function("split_part", 3, 3, "split_part(text, separator, which from 1)"),
    function("sqrt", 1, 1, "the square root"),
    function("starts_with", 2, 2, "whether a text begins so"),
    function("substr", 2, 3, "substr(text, from 1, how many)"),
    function("text", 1, 1, "the value as text"),
    function(
        "time_bin",
        2,
        4,
        "time_bin(timestamp, \"month\", \"Europe/Berlin\", 6h): when its bin begins",
    ),
    function("upper", 1, 1, "in capitals"),
];

/// What an expression may begin with, for messages.
const OPERAND: [&str; 6] = ["a field", "a number", "\"a text\"", "a function", "not", "("];
/// How tight `not` binds: looser than comparisons, tighter than `and`.
const NOT: u8 = 3;
/// How tight a sign binds.
const SIGN: u8 = 7;

/// Where an expression stands: the columns it may name, and how deep it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) scope: &'a Scope,
    pub(super) depth: usize,
}

impl Place<'_> {
    pub(super) fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// Reads an expression.
pub(super) fn parse(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Expr, QueryError> {
    binding(cursor, 0, place)
}

/// An expression of operators that bind tighter than `least`.
fn binding(cursor: &mut Cursor<'_>, least: u8, place: Place<'_>) -> Result<Expr, QueryError> {
    too_deep(cursor, place.depth)?;
    let first = *cursor;
    let mut left = operand(cursor, place)?;
    let mut compared = false;
    loop {
        cursor.skip_space();
        let start = *cursor;
        if let Some(test) = tested(cursor, least, &left, place)? {
            left = test;
            compared = true;
            continue;
        }
        let Some((operator, strength)) = operator(cursor).filter(|(_, s)| *s > least) else {
            *cursor = start;
            no_single(cursor)?;
            return Ok(left);
        };
        if strength == 4 && std::mem::replace(&mut compared, true) {
            let mut error = start.error("comparisons do not follow each other", &["and", "or"]);
            error.hint = Some("a < b and b < c".to_owned());
            return Err(error);
        }
        cursor.mark(start.at(), TokenKind::Operator);
        if !place.scope.count_operator() {
            let message = format!("a query has at most {OPERATORS_MAX} operators");
            return Err(start.error(message, &[]));
        }
        cursor.skip_space();
        let behind = *cursor;
        let right = binding(cursor, strength, place.deeper())?;
        let sides = ((&left, (&first, &start)), (&right, (&behind, &*cursor)));
        condition::check_sides(operator, sides.0, sides.1, place.scope)?;
        if strength == 4 && place.scope.has_plain_records() {
            no_time(&left, &right, (&behind, &*cursor))?;
        }
        left = Expr::Binary(operator, Box::new(left), Box::new(right));
    }
}

/// Refuses the single sign with which others compare.
fn no_single(cursor: &Cursor<'_>) -> Result<(), QueryError> {
    let mut ahead = *cursor;
    if ahead.eat("=") && !ahead.rest.starts_with(['=', '~']) {
        return Err(cursor.error("values are compared with ==", &["=="]));
    }
    Ok(())
}

/// Refuses a text that is no time beside what every record has of times, and one that is no level beside
/// the level.
fn no_time(left: &Expr, right: &Expr, place: range::Place<'_, '_>) -> Result<(), QueryError> {
    match (left, right) {
        (Expr::Column(name), Expr::Text(text)) if range::is_time(name) || name == "level" => {
            range::within(name, place, text).map(drop)
        }
        _ => Ok(()),
    }
}

fn operator(cursor: &mut Cursor<'_>) -> Option<(Operator, u8)> {
    let mut ahead = *cursor;
    if let Some(word) = ahead.take(lex::word) {
        let known = Operator::ALL.iter().find(|(name, _, _)| name.eq_ignore_ascii_case(word))?;
        *cursor = ahead;
        return Some((known.1, known.2));
    }
    let known = Operator::ALL.iter().find(|(name, _, _)| ahead.eat(name))?;
    *cursor = ahead;
    Some((known.1, known.2))
}

/// `is null`, `in (…)`, `=~ /…/` and their negations behind a value.
fn tested(
    cursor: &mut Cursor<'_>,
    least: u8,
    left: &Expr,
    place: Place<'_>,
) -> Result<Option<Expr>, QueryError> {
    if least >= 4 {
        return Ok(None);
    }
    let given = || Box::new(left.clone());
    let not = |test: Expr, negated| if negated { Expr::Not(Box::new(test)) } else { test };
    let mut ahead = *cursor;
    let start = cursor.at();
    if ahead.eat("=~") || ahead.eat("!~") {
        let negated = cursor.peek() == Some('!');
        ahead.mark(start, TokenKind::Operator);
        *cursor = ahead;
        return Ok(Some(not(Expr::Like(given(), regex(cursor)?), negated)));
    }
    if ahead.eat_word("is") {
        ahead.skip_space();
        let negated = ahead.eat_word("not");
        ahead.skip_space();
        if !ahead.eat_word("null") {
            return Err(ahead.error(format!("expected null, found {}", ahead.found()), &["null"]));
        }
        *cursor = ahead;
        return Ok(Some(not(Expr::Exists(given()), !negated)));
    }
    let negated = ahead.eat_word("not");
    ahead.skip_space();
    if !ahead.eat_word("in") {
        return Ok(None);
    }
    *cursor = ahead;
    pipe::expect(cursor, "(")?;
    cursor.skip_space();
    let inner = *cursor;
    let test = match subquery(cursor, place)? {
        Some(query) => {
            condition::check_column(&query, (&inner, &*cursor))?;
            Expr::InQuery(given(), Box::new(query))
        }
        None => Expr::In(given(), pipe::list(cursor, |cursor| one_of(cursor, left, place))?),
    };
    pipe::expect(cursor, ")")?;
    Ok(Some(not(test, negated)))
}

/// A value with which another one is compared.
fn one_of(cursor: &mut Cursor<'_>, left: &Expr, place: Place<'_>) -> Result<Expr, QueryError> {
    let before = *cursor;
    let value = parse(cursor, place.deeper())?;
    if place.scope.has_plain_records() {
        no_time(left, &value, (&before, &*cursor))?;
    }
    Ok(value)
}

/// A query, when what stands between these brackets has a `|` and so cannot be a list.
fn subquery(
    cursor: &mut Cursor<'_>,
    place: Place<'_>,
) -> Result<Option<super::ast::Query>, QueryError> {
    let mut open = 0_usize;
    let mut is_query = false;
    let mut ahead = *cursor;
    while let Some(c) = ahead.peek() {
        if c == '"' && ahead.take(lex::quoted).is_some() {
            continue;
        }
        match c {
            '(' => open += 1,
            ')' if open == 0 => break,
            ')' => open -= 1,
            '|' if open == 0 => is_query = true,
            _ => {}
        }
        ahead.rest = ahead.rest.get(c.len_utf8()..).unwrap_or_default();
    }
    if is_query { query(cursor, place.depth + 1).map(Some) } else { Ok(None) }
}

fn regex(cursor: &mut Cursor<'_>) -> Result<String, QueryError> {
    cursor.skip_space();
    let found = value::regex(cursor)?;
    found.ok_or_else(|| {
        let message = format!("expected a regular expression, found {}", cursor.found());
        cursor.error(message, &["/[0-9]+/", "/timeout/i"])
    })
}

fn operand(cursor: &mut Cursor<'_>, place: Place<'_>) -> Result<Expr, QueryError> {
    too_deep(cursor, place.depth)?;
    cursor.skip_space();
    let start = cursor.at();
    match cursor.peek() {
        Some('(') => {
            cursor.eat_as(TokenKind::Bracket, "(");
            let inner = parse(cursor, place.deeper())?;
            pipe::expect(cursor, ")")?;
            return Ok(inner);
        }
        Some('-') => {
            cursor.eat_as(TokenKind::Operator, "-");
            return Ok(match binding(cursor, SIGN, place.deeper())? {
                Expr::Int(number) => whole(-i128::from(number)),
                Expr::Whole(number) => whole(-number),
                Expr::Float(number) => Expr::Float(-number),
                Expr::Duration(nanos) => Expr::Duration(-nanos),
                other => Expr::Negative(Box::new(other)),
            });
        }
        Some('"') => return value::quoted(cursor, TokenKind::Phrase).map(Expr::Text),
        Some(c) if c.is_ascii_digit() || c == '.' => return number(cursor),
        Some('`') => return pipe::known_column(cursor, place.scope).map(Expr::Column),
        _ => {}
    }
    let mut ahead = *cursor;
    match ahead.take(lex::word).map(str::to_ascii_lowercase).as_deref() {
        Some("not") => {
            ahead.mark(start, TokenKind::Operator);
            *cursor = ahead;
            let inner = binding(cursor, NOT, place.deeper())?;
            condition::check(&inner, (&ahead, &*cursor), place.scope)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        Some(word @ ("true" | "false" | "null")) if !ahead.rest.starts_with(['.', '-']) => {
            ahead.mark(start, TokenKind::Keyword);
            *cursor = ahead;
            return Ok(match word {
                "null" => Expr::Null,
                truth => Expr::Bool(truth == "true"),
            });
        }
        _ => {}
    }
    let mut ahead = *cursor;
    if let Some(name) = ahead.take(lex::word).filter(|_| ahead.rest.starts_with('(')) {
        ahead.mark(start, TokenKind::Function);
        *cursor = ahead;
        return call(cursor, name, start, place);
    }
    match cursor.take_as(TokenKind::Column, lex::name) {
        Some(name) => {
            place.scope.check(name, cursor, (start, cursor.at()))?;
            Ok(Expr::Column(name.to_owned()))
        }
        None => {
            let message = format!("expected a value, found {}", cursor.found());
            Err(cursor.error(message, &OPERAND))
        }
    }
}

fn call(
    cursor: &mut Cursor<'_>,
    name: &str,
    start: usize,
    place: Place<'_>,
) -> Result<Expr, QueryError> {
    let names = FUNCTIONS.each_ref().map(|known| known.name);
    let end = cursor.at();
    if name == "exists" {
        pipe::expect(cursor, "(")?;
        let inner = parse(cursor, place.deeper())?;
        pipe::expect(cursor, ")")?;
        return Ok(Expr::Exists(Box::new(inner)));
    }
    let Some(known) = FUNCTIONS.iter().find(|known| known.name == name) else {
        let message = format!("there is no function {name:?}");
        let mut error = cursor.error_from(start, end, message, &names);
        error.hint = nearest(name, &names).map(|near| format!("did you mean {near}()?"));
        return Err(error);
    };
    pipe::expect(cursor, "(")?;
    let (mut arguments, mut places) = (Vec::new(), Vec::new());
    pipe::list(cursor, |cursor| {
        cursor.skip_space();
        let before = *cursor;
        // The pattern of a replacement is written as one.
        let regex = match (known.name, arguments.len()) {
            ("replace_regex", 1) => Some(Expr::Text(regex(cursor)?)),
            _ => None,
        };
        arguments.push(regex.map_or_else(|| parse(cursor, place.deeper()), Ok)?);
        places.push((before, *cursor));
        Ok(())
    })?;
    pipe::expect(cursor, ")")?;
    let (least, most) = known.arguments;
    if arguments.len() < least || arguments.len() > most {
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message = format!("{name}() wants {wanted} arguments, {} are given", arguments.len());
        let mut error = cursor.error_from(start, cursor.at(), message, &[]);
        error.hint = Some(known.about.to_owned());
        return Err(error);
    }
    condition::check_arguments(known.name, &arguments, &places, place.scope)?;
    Ok(Expr::Call(known.name, arguments))
}

fn whole(number: i128) -> Expr {
    i64::try_from(number).map_or(Expr::Whole(number), Expr::Int)
}

/// A number, a span or a size.
fn number(cursor: &mut Cursor<'_>) -> Result<Expr, QueryError> {
    let start = *cursor;
    let part = |c: char| !c.is_alphanumeric() && c != '.';
    let mut end = cursor.rest.find(part).unwrap_or(cursor.rest.len());
    // The sign of an exponent.
    let head = cursor.rest.get(..end).unwrap_or_default();
    let signed = cursor.rest.get(end..).is_some_and(|rest| rest.starts_with(['-', '+']));
    let mantissa = head.strip_suffix(['e', 'E']);
    if signed && mantissa.is_some_and(|digits| digits.parse::<f64>().is_ok()) {
        let digits = cursor.rest.get(end + 1..).unwrap_or_default();
        end += 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    }
    let (text, rest) = cursor.rest.split_at_checked(end).unwrap_or((cursor.rest, ""));
    let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Expr::Float);
    let duration = || read_duration(text).map(Expr::Duration);
    let size = || read_size(text).map(Expr::Size);
    let read = text.parse().ok().map(whole).or_else(float).or_else(duration).or_else(size);
    cursor.rest = rest;
    cursor.mark(start.at(), TokenKind::Number);
    read.ok_or_else(|| {
        let message = format!("{text:?} is no number");
        start.error_from(start.at(), cursor.at(), message, &["100", "0.5", "5ms", "10KB"])
    })
}

#[cfg(test)]
mod tests {
    use crate::language::parse;
    use crate::language::tests::wrong;

    #[test]
    fn great_whole_numbers_keep_their_digits() {
        let printed = |text: &str| parse(&format!("| where a == {text}")).unwrap().to_string();
        for text in [
            "9007199254740993",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "--9223372036854775808",
        ] {
            let digits = text.trim_start_matches("--");
            assert!(printed(text).contains(&format!("== {digits})")), "{}", printed(text));
        }
    }

    #[test]
    fn a_single_sign_of_equality_is_answered_with_the_double_one() {
        wrong("| where status = 5", (15, 16), "with ==");
        wrong("| where a > 1 and status=5", (24, 25), "with ==");
        wrong("| stats count() where status=5 as n", (28, 29), "with ==");
        parse("| where a == 5 and b =~ /x/ | eval c = 1, d = c == 2").unwrap();
    }
}
