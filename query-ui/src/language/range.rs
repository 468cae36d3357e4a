//! Comparisons and ranges: what a field is compared with, and how ends are written.

use model::level::Level;
use model::number::Number;
use model::partition::RecordId;
use model::query::{Bound, FieldTest, Literal};
use model::text::fold_text;
use model::time::Period;

use super::lex::{self, Cursor};
use super::order::{in_order, written};
use super::time::{looks_like_date, read_period};
use super::value::{Bare, bare, number, quantity, quoted};
use super::{QueryError, TokenKind};

/// Where a literal stands.
pub(super) type Place<'c, 'a> = (&'c Cursor<'a>, &'c Cursor<'a>);

/// What is compared with: of a day all of it, so that what is greater comes behind the day.
struct Limit {
    first: Literal,
    last: Literal,
}

/// Whether a bound's own value is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Inside,
    Outside,
}

impl Limit {
    fn lower(self, end: End) -> Bound {
        match end {
            End::Inside => Bound::Inclusive(self.first),
            End::Outside => Bound::Exclusive(self.last),
        }
    }

    fn upper(self, end: End) -> Bound {
        match end {
            End::Inside => Bound::Inclusive(self.last),
            End::Outside => Bound::Exclusive(self.first),
        }
    }
}

/// Whether the values of that name are moments.
pub(super) fn is_time(name: &str) -> bool {
    matches!(name, "timestamp" | "ingest_time")
}

/// Reads what stands behind one of `>= > <= <`.
pub(super) fn compared(
    cursor: &mut Cursor<'_>,
    name: &str,
    operator: &str,
) -> Result<FieldTest, QueryError> {
    let limit = literal(cursor, name)?;
    let end = if operator.ends_with('=') { End::Inside } else { End::Outside };
    Ok(match operator.starts_with('>') {
        true => FieldTest::Between { from: limit.lower(end), to: Bound::Open },
        false => FieldTest::Between { from: Bound::Open, to: limit.upper(end) },
    })
}

/// Everything inside of what a time names.
pub(super) fn within(
    name: &str,
    place: Place<'_, '_>,
    text: &str,
) -> Result<FieldTest, QueryError> {
    let Limit { first, last } = read(place, name, text, Written::Bare)?;
    Ok(FieldTest::Between { from: Bound::Inclusive(first), to: Bound::Inclusive(last) })
}

/// `a..b`, if the word is a range: both ends are inside, `*` is no bound. A word that has a slash,
/// that has something escaped or that has no end on one side is text, as paths and dots are.
pub(super) fn dotted(
    name: &str,
    place: Place<'_, '_>,
    word: &Bare,
) -> Result<Option<FieldTest>, QueryError> {
    let is_strict = is_time(name) || name == "level";
    let Some((from, to)) = ends(word, is_strict) else { return Ok(None) };
    let is_end = |end: &str| match end {
        "*" => true,
        "" => false,
        end if name == "id" => RecordId::parse(end).is_some(),
        end => is_strict || is_measured(end),
    };
    if !is_end(from) && !is_end(to) && (from.is_empty() || to.is_empty()) {
        return Ok(None);
    }
    if !is_end(from) || !is_end(to) {
        return Err(no_range(name, place, (from, to)));
    }
    let end = |text: &str| match text {
        "*" => Ok(None),
        text => read(place, name, text, Written::Bare).map(Some),
    };
    let turned = format!("{to}..{from}");
    let (mut from, mut to) = (end(from)?, end(to)?);
    if let (Some(from), Some(to)) = (&mut from, &mut to) {
        alike(from, to);
        alike(to, from);
        if !is_of_one_kind(&from.first, &to.first) {
            let message =
                "the ends of a range are of one kind: both numbers, spans, sizes or times";
            return Err(place.0.error_from(place.0.at(), place.1.at(), message, &["1s..5m"]));
        }
    }
    let from = from.map_or(Bound::Open, |from| from.lower(End::Inside));
    let to = to.map_or(Bound::Open, |to| to.upper(End::Inside));
    in_order(name, place, (from, to), &turned).map(Some)
}

/// What stands before and behind the only `..` of a word, where that may be a range.
fn ends(word: &Bare, is_strict: bool) -> Option<(&str, &str)> {
    let (from, to) = word.raw.split_once("..").filter(|_| !word.is_literal)?;
    let open = [from, to].iter().filter(|end| **end == "*").count();
    let is_text = to.contains("..") || to.starts_with('.') || word.raw.contains(['/', '\\']);
    // Other stars make it a word with stars.
    let is_word = word.parts.len() != open + 1;
    (is_strict || !is_text && !is_word).then_some((from, to))
}

fn is_measured(text: &str) -> bool {
    number(text).is_some() || quantity(text).is_some() || Period::read(text).is_some()
}

fn no_range(name: &str, place: Place<'_, '_>, (from, to): (&str, &str)) -> QueryError {
    let message = format!(
        "\"{from}..{to}\" is no range: its ends are numbers, spans, sizes or times, or * for none"
    );
    let expected = ["500..599", "1s..5m", "2026-01-01..2026-01-31", "500..*"];
    let mut error = place.0.error_from(place.0.at(), place.1.at(), message, &expected);
    error.hint = Some(match from.is_empty() || to.is_empty() {
        true => format!("an open end is written {name}:500..* or {name}:*..599"),
        false => format!(
            "the text itself is written {name}:\"{from}..{to}\", what lies between texts {name}:[{from} TO {to}]"
        ),
    });
    error
}

/// Refuses `name > 5` behind its first word: the spaces would make three words of a comparison.
pub(super) fn no_comparison(before: &Cursor<'_>, behind: &Cursor<'_>) -> Result<(), QueryError> {
    let mut ahead = *before;
    let Some(name) = ahead.take(lex::name) else { return Ok(()) };
    if ahead.at() != behind.at() {
        return Ok(());
    }
    ahead.skip_space();
    let is_apart = ahead.at() > behind.at();
    let sign = ahead.take(lex::comparison).or_else(|| {
        let sign = ahead.take(lex::equality)?;
        // `=word` is a word in exactly this case.
        ahead.peek().is_some_and(char::is_whitespace).then_some(sign)
    });
    let Some(sign) = sign.filter(|_| is_apart) else { return Ok(()) };
    ahead.skip_space();
    let end = ahead.rest.find(|c: char| c.is_whitespace() || "()|\"".contains(c));
    let value = ahead.rest.get(..end.unwrap_or(ahead.rest.len())).unwrap_or_default();
    if !is_measured(value) && !looks_like_date(value) {
        return Ok(());
    }
    let sign = if sign.starts_with('=') { ":" } else { sign };
    let meant = format!("{name}{sign}{value}");
    let message = "a comparison has no space in front of its sign";
    let (start, end) = (before.at(), ahead.at() + value.len());
    let mut error = before.error_from(start, end, message, &[meant.as_str()]);
    error.hint = Some("words to be found are written in \"quotes\"".to_owned());
    Err(error)
}

/// The error for `..` behind a value in quotes.
pub(super) fn quoted_ends(name: &str, cursor: &Cursor<'_>) -> QueryError {
    let message = "a range whose ends are in quotes is written in brackets";
    let start = cursor.at();
    let mut error = cursor.error_from(start, start + 2, message, &["[… TO …]"]);
    error.hint = Some(format!("{name}:[\"2026-01-31 10:00\" TO *]"));
    error
}

fn is_of_one_kind(one: &Literal, other: &Literal) -> bool {
    let are_numbers = one.as_number().is_some() && other.as_number().is_some();
    are_numbers || std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// A number beside a size is bytes, and nothing is nothing in every unit.
fn alike(limit: &mut Limit, other: &Limit) {
    let Some(number) = limit.first.as_number().map(Number::to_float) else { return };
    let literal = match other.first {
        Literal::Size(_) => Literal::Size(number),
        Literal::Duration(_) if number == 0.0 => Literal::Duration(0.0),
        _ => return,
    };
    *limit = Limit { first: literal.clone(), last: literal };
}

/// `[a TO b]` with both ends inside, `{a TO b}` with both outside, mixed as well; `*` is open.
pub(super) fn bracketed(cursor: &mut Cursor<'_>, name: &str) -> Result<FieldTest, QueryError> {
    let before = *cursor;
    let lower = if cursor.eat("[") {
        End::Inside
    } else {
        cursor.eat("{");
        End::Outside
    };
    cursor.mark(before.at(), TokenKind::Bracket);
    cursor.skip_space();
    let first = *cursor;
    let from = bracketed_end(cursor, name)?;
    let first = written(&first, cursor);
    cursor.skip_space();
    if cursor.take_as(TokenKind::Keyword, lex::keyword("TO")).is_none() {
        return Err(cursor.error(format!("expected TO, found {}", cursor.found()), &["TO"]));
    }
    cursor.skip_space();
    let last = *cursor;
    let to = bracketed_end(cursor, name)?;
    let last = written(&last, cursor);
    cursor.skip_space();
    let upper = match cursor.peek() {
        Some(']') => End::Inside,
        Some('}') => End::Outside,
        _ => {
            let message = format!("expected ']' or '}}', found {}", cursor.found());
            return Err(cursor.error(message, &["]", "}"]));
        }
    };
    let end = cursor.at();
    cursor.rest = cursor.rest.get(1..).unwrap_or_default();
    cursor.mark(end, TokenKind::Bracket);
    let from = from.map_or(Bound::Open, |from| from.lower(lower));
    let to = to.map_or(Bound::Open, |to| to.upper(upper));
    in_order(name, (&before, cursor), (from, to), &format!("[{last} TO {first}]"))
}

fn bracketed_end(cursor: &mut Cursor<'_>, name: &str) -> Result<Option<Limit>, QueryError> {
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
    cursor.mark(before.at(), TokenKind::Value);
    if text == "*" {
        return Ok(None);
    }
    read((&before, cursor), name, text, Written::Bare).map(Some)
}

fn literal(cursor: &mut Cursor<'_>, name: &str) -> Result<Limit, QueryError> {
    let before = *cursor;
    if cursor.peek() == Some('"') {
        let text = quoted(cursor, TokenKind::Value)?;
        return read((&before, cursor), name, &text, Written::Quoted);
    }
    if cursor.peek().is_none_or(|c| c.is_whitespace() || "|()".contains(c)) {
        let message = format!("expected a value to compare with, found {}", cursor.found());
        return Err(cursor.error(message, &["a number", "5ms", "10KB", "a time", "\"a text\""]));
    }
    let text = bare(cursor)?;
    cursor.mark(before.at(), TokenKind::Value);
    read((&before, cursor), name, &text.raw, Written::Bare)
}

/// How a literal was written. In quotes a span or a size is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Bare,
    Quoted,
}

/// A literal as the field wants it: a time, a level, a number, a span, a size, or a text.
fn read(
    place: Place<'_, '_>,
    name: &str,
    text: &str,
    written: Written,
) -> Result<Limit, QueryError> {
    let (before, at) = (place.0, (place.0.at(), place.1.at()));
    let literal = match name {
        "timestamp" | "ingest_time" => {
            let Some(Period { first, last }) = read_period(text) else {
                let message = format!("{text:?} is no time");
                let expected = ["2026-01-31", "\"2026-01-31 23:59:59Z\"", "1767225600"];
                return Err(before.error_from(at.0, at.1, message, &expected));
            };
            let [first, last] = [first, last].map(|moment| Literal::Text(moment.to_string()));
            return Ok(Limit { first, last });
        }
        "level" if Level::from_word(text).is_none() => {
            let names = Level::ALL.map(Level::name);
            let message = format!("{text:?} is no level");
            let mut error = before.error_from(at.0, at.1, message, &names);
            error.hint = super::nearest(text, &names).map(|near| format!("did you mean {near}?"));
            return Err(error);
        }
        "level" | "id" => Literal::Text(fold_text(text).into_owned()),
        _ => {
            let measured = if written == Written::Bare { quantity(text) } else { None };
            let literal = number(text).or(measured).unwrap_or_else(|| plain(text));
            let is_text = matches!(literal, Literal::Text(_)) && written == Written::Bare;
            if is_text && looks_like_date(text) {
                let message = format!("{text:?} looks like a time and is none");
                let mut error = before.error_from(at.0, at.1, message, &["2026-01-31"]);
                error.hint = Some(format!("a text is written in quotes: \"{text}\""));
                return Err(error);
            }
            if is_text && looks_measured(text) {
                return Err(no_measure(place, text));
            }
            literal
        }
    };
    Ok(Limit { first: literal.clone(), last: literal })
}

/// Whether a text is a number with a unit, be it one that there is or not: `5min`.
fn looks_measured(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_unit = !unit.is_empty() && unit.chars().all(char::is_alphabetic);
    is_unit && text.starts_with(|c: char| c.is_ascii_digit())
}

fn no_measure(place: Place<'_, '_>, text: &str) -> QueryError {
    let message = format!("{text:?} is no number, no span and no size");
    let expected = ["5", "5ms", "1h30m", "10KB"];
    let mut error = place.0.error_from(place.0.at(), place.1.at(), message, &expected);
    error.hint = Some(format!(
        "units are ns us ms s m h d w, KB MB GB TB, KiB MiB GiB TiB; a text is written in quotes: \"{text}\""
    ));
    error
}

/// A time, or any other text.
fn plain(text: &str) -> Literal {
    let folded = fold_text(text).into_owned();
    match Period::read(text) {
        Some(period) => Literal::Time { period, text: folded },
        None => Literal::Text(folded),
    }
}

#[cfg(test)]
mod tests {
    use crate::language::parse;
    use crate::language::tests::{check, wrong};

    #[test]
    fn a_comparison_with_spaces_is_no_three_words() {
        for (given, place, meant) in [
            ("status > 500", (0, 12), "status>500"),
            ("x status >500", (2, 13), "status>500"),
            ("a.b  <=  5ms y", (0, 12), "a.b<=5ms"),
            ("status = 500", (0, 12), "status:500"),
            ("status == 500", (0, 13), "status:500"),
            ("(status != 500)", (1, 14), "status!=500"),
            ("@timestamp > 2026-1-1x", (0, 22), "@timestamp>2026-1-1x"),
        ] {
            wrong(given, place, "no space");
            assert_eq!(parse(given).unwrap_err().expected, [meant], "{given}");
        }
        check("a > b", "('a' & '>' & 'b')");
        check("a = b == c", "('a' & '=' & 'b' & '==' & 'c')");
        check("\"status\" > 500", "('status' & '>' & '500')");
        check("a =5 b", "('a' & ='5' & 'b')");
        check("status> 500", "status(500..)");
    }

    #[test]
    fn great_whole_numbers_keep_their_digits() {
        check("n>9007199254740993", "n(9007199254740993!..)");
        check("n<=-9223372036854775808", "n(..]-9223372036854775808!");
        check("n:5..18446744073709551615", "n[5..]18446744073709551615!");
        check("n:[9007199254740991 TO 9007199254740992}", "n[9007199254740991..)9007199254740992!");
        check("n>=9007199254740992.0", "n[9007199254740992..)");
        check("n:9007199254740993..10PB", "n[9007199254740992B..]10000000000000000B");
        wrong("n:9007199254740993..2s", (2, 22), "of one kind");
        for given in ["n>1e18", "n>1000000000000000000", "n<-9007199254740992.0", "n>=5e-1"] {
            let read = parse(given).unwrap();
            assert_eq!(parse(&read.to_string()).as_ref(), Ok(&read), "{given}: {read}");
        }
    }

    #[test]
    fn a_number_with_a_unit_that_there_is_not_is_no_text() {
        wrong("took>5min", (5, 9), "no span");
        wrong("size>=10k", (6, 9), "no size");
        wrong("took<1.5sec x", (5, 11), "no span");
        wrong("took:[1s TO 5min]", (12, 16), "no span");
        wrong("took:>5µ", (6, 8), "no span");
        check("took>\"5min\"", "took('5min'..)");
        check("commit>=5ab3", "commit['5ab3'..)");
        check("version<1.2.3", "version(..)'1.2.3'");
        check("user>m5", "user('m5'..)");
        check("took:5min", "took~'5min'");
    }
}
