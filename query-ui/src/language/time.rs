//! Time words of a search (`last 2h`, `from … to …`) and times as people write them.

use model::quantity::read_size;
use model::time::{Period, Timestamp};

use super::ast::{Moment, TimeWords};
use super::lex::{self, Cursor, read_span};
use super::order::written;
use super::{QueryError, TokenKind};

/// Words behind a number that say a unit of time.
const UNITS: [&str; 24] = [
    "ms", "s", "m", "h", "d", "w", "sec", "secs", "second", "seconds", "min", "mins", "minute",
    "minutes", "hr", "hrs", "hour", "hours", "day", "days", "week", "weeks", "month", "months",
];

/// Reads time words, if they are next. A word such as `last` without a time behind it is a word
/// to be found.
///
/// # Errors
/// What stands behind such a word looks like a time and is none, or nothing lies between both times.
pub(super) fn words(cursor: &mut Cursor<'_>) -> Result<Option<TimeWords>, QueryError> {
    let mut ahead = *cursor;
    let Some(word) = ahead.take(lex::word) else { return Ok(None) };
    let behind = ahead;
    let Some(words) = words_behind(word, &mut ahead) else {
        return mistyped(word, behind).map_or(Ok(None), Err);
    };
    ahead.mark(cursor.at(), TokenKind::Time);
    if is_empty(words) {
        let written = written(cursor, &ahead);
        let message = format!("nothing lies in {written:?}: the earlier time stands first");
        let expected = ["from 2026-01-31 to 2026-02-01", "from -2h to -1h"];
        let mut error = cursor.error_from(cursor.at(), ahead.at(), message, &expected);
        error.hint = Some("what is at the second time itself is not inside".to_owned());
        return Err(error);
    }
    *cursor = ahead;
    Ok(Some(words))
}

/// Whether nothing lies between two times, whenever that is asked.
fn is_empty(words: TimeWords) -> bool {
    match (words.from, words.to) {
        (Some(Moment::At(from)), Some(Moment::At(to))) => from >= to,
        (Some(Moment::Ago(from)), Some(Moment::Ago(to))) => from <= to,
        _ => false,
    }
}

/// What a time word and what stands behind it say.
fn words_behind(word: &str, ahead: &mut Cursor<'_>) -> Option<TimeWords> {
    Some(match word {
        "last" => {
            ahead.skip_space();
            let nanos = ahead.take(lex::span).filter(|nanos| *nanos > 0)?;
            TimeWords { from: Some(Moment::Ago(nanos)), to: None }
        }
        "from" => {
            let from = Some(moment_behind(ahead)?);
            let mut further = *ahead;
            further.skip_space();
            let is_to = further.take(lex::word) == Some("to");
            let to = if is_to { moment_behind(&mut further) } else { None };
            if to.is_some() {
                *ahead = further;
            }
            TimeWords { from, to }
        }
        "to" => TimeWords { from: None, to: Some(moment_behind(ahead)?) },
        _ => return None,
    })
}

/// The error for what looks like a time behind a time word and is none.
fn mistyped(word: &str, behind: Cursor<'_>) -> Option<QueryError> {
    let mut ahead = behind;
    ahead.skip_space();
    if !matches!(word, "last" | "from" | "to") || ahead.at() == behind.at() {
        return None;
    }
    let length = match word {
        "last" => mistyped_span(ahead.rest)?,
        _ => mistyped_moment(ahead.rest)?,
    };
    let written = ahead.rest.get(..length)?;
    let what = if word == "last" { "span of time" } else { "time" };
    let expected: &[&str] = match word {
        "last" => &["15m", "2h", "7d"],
        _ => &["2026-01-31", "\"2026-01-31 12:00\"", "-2h", "now"],
    };
    let message = format!("{written:?} is no {what}");
    let mut error = ahead.error_from(ahead.at(), ahead.at() + length, message, expected);
    error.hint = Some(format!("to find the word itself, write \"{word}\" in quotes"));
    Some(error)
}

/// Bytes up to the end of what looks like a span: `2x`, `2 hours`.
fn mistyped_span(rest: &str) -> Option<usize> {
    let text = first_word(rest);
    if looks_like_span(text) {
        return (!is_of_other_things(text)).then_some(text.len());
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let behind = rest.get(text.len()..).filter(|_| is_number)?;
    let next = behind.trim_start();
    let unit = next.split(|c: char| !c.is_alphabetic()).next()?;
    UNITS.contains(&unit).then_some(rest.len() - next.len() + unit.len())
}

/// Bytes up to the end of what looks like a moment: `2026-13-45`, `-2x`, `now-2x`.
fn mistyped_moment(rest: &str) -> Option<usize> {
    let text = first_word(rest);
    let ago = text.strip_prefix("now").unwrap_or(text).strip_prefix('-');
    let is_meant = looks_like_date(text.trim_matches('"')) || ago.is_some_and(looks_like_span);
    is_meant.then_some(text.len())
}

fn first_word(rest: &str) -> &str {
    let end = rest.find(|c: char| c.is_whitespace() || "()|".contains(c));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// Whether a text is a number with letters behind it, as spans of time are, and so again.
fn looks_like_span(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let behind = unit.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        if unit.len() == rest.len() || behind.len() == unit.len() {
            return false;
        }
        rest = behind;
    }
    !text.is_empty()
}

/// Whether a number with letters behind it is a size or an ordinal: `512MB`, `2nd`.
fn is_of_other_things(text: &str) -> bool {
    read_size(text).is_some() || ["st", "nd", "rd", "th"].iter().any(|end| text.ends_with(end))
}

/// Whether a text looks like a year, a month and a day, be it a date or not.
pub(super) fn looks_like_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let behind = day.get(digits(day)..).and_then(|rest| rest.chars().next());
    year.len() == 4
        && digits(year) == 4
        && (1..=2).contains(&month.len())
        && digits(month) == month.len()
        && (1..=3).contains(&digits(day))
        && behind.is_none_or(|c| c.is_alphanumeric() || c == ':' || c == ' ')
}

fn moment_behind(cursor: &mut Cursor<'_>) -> Option<Moment> {
    let mut ahead = *cursor;
    ahead.skip_space();
    let text = match ahead.take(lex::quoted) {
        Some(text) => text,
        None => {
            let end = ahead.rest.find(|c: char| c.is_whitespace() || "()|".contains(c));
            let (text, rest) = ahead.rest.split_at_checked(end.unwrap_or(ahead.rest.len()))?;
            ahead.rest = rest;
            text.to_owned()
        }
    };
    let moment = moment(&text)?;
    *cursor = ahead;
    Some(moment)
}

/// `now`, so long ago (`-2h`, `now-2h`), or a date; a plain number is none here.
fn moment(text: &str) -> Option<Moment> {
    if text == "now" {
        return Some(Moment::Ago(0));
    }
    let ago = text.strip_prefix("now").unwrap_or(text).strip_prefix('-').and_then(read_span);
    let is_date = text.contains(['-', 'T', ':']);
    ago.map(Moment::Ago).or_else(|| read_moment(text).filter(|_| is_date).map(Moment::At))
}

/// A time as people write it: the first moment that it names; without zone it is UTC.
fn read_moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoneless = || Timestamp::parse(&format!("{text}Z"));
    let period = || Period::read(text).map(|period| period.first);
    Timestamp::parse(text).or_else(period).or_else(zoneless)
}

/// All moments that a time in a condition names: what is not said of it is open, so that a day is
/// all of the day.
pub(crate) fn read_period(text: &str) -> Option<Period> {
    let text = text.trim();
    let named = Period::year(text).or_else(|| Period::read(text));
    let epoch = || text.parse().ok().and_then(Period::from_epoch);
    let moment = || read_moment(text).map(|moment| Period { first: moment, last: moment });
    named.or_else(epoch).or_else(moment)
}

/// The error for time words where they would not say when the whole search is.
pub(super) fn misplaced(cursor: &Cursor<'_>, start: usize) -> QueryError {
    let message = "time words narrow the whole search, not a part of it";
    let mut error = cursor.error_from(start, cursor.at(), message, &[]);
    error.hint =
        Some("write them once, outside of brackets, OR and NOT; or in \"quotes\" as text".into());
    error
}

#[cfg(test)]
mod tests {
    use crate::language::parse;
    use crate::language::tests::{check, wrong};

    #[test]
    fn times_between_which_nothing_lies_are_refused() {
        wrong("x from 2026-02-01 to 2026-01-31 y", (2, 31), "nothing lies in");
        wrong("from 2026-01-31 to 2026-01-31", (0, 29), "nothing lies in");
        wrong("a | union (from -1h to -2h b)", (11, 26), "nothing lies in");
        wrong("from now to now-1h", (0, 18), "nothing lies in");
        for whole in ["from 2026-01-31 to 2026-02", "from -2h to now", "from 2026-01-31 to -1h"] {
            assert!(parse(whole).is_ok(), "{whole}");
        }
    }

    #[test]
    fn what_looks_like_a_time_and_is_none_is_no_word() {
        wrong("error last 2x", (11, 13), "no span of time");
        wrong("last 1h30x", (5, 10), "no span of time");
        wrong("last 0h", (5, 7), "no span of time");
        wrong("last 2 hours error", (5, 12), "no span of time");
        wrong("from 2026-13-45 to now", (5, 15), "is no time");
        wrong("from 2026-01-31 to 2026-2-3", (19, 27), "is no time");
        wrong("to \"2026-02-30 10:00\"", (3, 14), "is no time");
        wrong("from now-2x", (5, 11), "is no time");
        wrong("from -2x", (5, 8), "is no time");
        wrong("timestamp:2026-13-45", (10, 20), "is no time");
        wrong("timestamp>=2026-1-1x", (11, 20), "is no time");
        wrong("expires>2026-13-45", (8, 18), "looks like a time");
        wrong("expires:[2026-01-31 TO 2026-02-30]", (23, 33), "looks like a time");
        wrong("| where timestamp > \"2026-13-45\"", (20, 32), "is no time");
        wrong("| where took > 1 and ingest_time <= \"2026-1-1x\"", (36, 47), "is no time");
        // What is no date by its looks is text, and so is what is quoted.
        check("last 2", "('last' & '2')");
        check("last 2 attempts", "('last' & '2' & 'attempts')");
        check("last 512MB", "('last' & '512mb')");
        check("last 2nd attempt", "('last' & '2nd' & 'attempt')");
        check("last 4da6 last x2", "('last' & '4da6' & 'last' & 'x2')");
        check("\"last\" 2x", "('last' & '2x')");
        check("from 10.0.0.1 to 10.0.0.2", "('from' & '10.0.0.1' & 'to' & '10.0.0.2')");
        check("from 2026-01-31-backup", "('from' & '2026-01-31-backup')");
        check("2026-13-45 note:2026-13-45", "('2026-13-45' & note~'2026-13-45')");
        check("version>=2026.1-2 x>2026-1", "(version['2026.1-2'..) & x('2026-1'..))");
        check(r#"expires>"2026-13-45""#, "expires('2026-13-45'..)");
        assert!(parse("| stats count() as timestamp | where timestamp > \"noon\"").is_ok());
    }
}
