//! Time words of a search (`last 2h`, `from … to …`) and times as people write them.

use model::time::{Period, Timestamp};

use super::ast::{Moment, TimeWords};
use super::lex::{self, Cursor, read_span};
use super::{QueryError, TokenKind};

/// Reads time words, if they are next. A word such as `last` without a time behind it is a word
/// to be found.
pub(super) fn words(cursor: &mut Cursor<'_>) -> Option<TimeWords> {
    let mut ahead = *cursor;
    let words = match ahead.take(lex::word)? {
        "last" => {
            ahead.skip_space();
            let nanos = ahead.take(lex::span).filter(|nanos| *nanos > 0)?;
            TimeWords { from: Some(Moment::Ago(nanos)), to: None }
        }
        "from" => {
            let from = Some(moment_behind(&mut ahead)?);
            let mut further = ahead;
            further.skip_space();
            let is_to = further.take(lex::word) == Some("to");
            let to = if is_to { moment_behind(&mut further) } else { None };
            if to.is_some() {
                ahead = further;
            }
            TimeWords { from, to }
        }
        "to" => TimeWords { from: None, to: Some(moment_behind(&mut ahead)?) },
        _ => return None,
    };
    ahead.mark(cursor.at(), TokenKind::Time);
    *cursor = ahead;
    Some(words)
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
