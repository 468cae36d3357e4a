//! What a request asks: its query, its times, its bounds.

use std::fmt;

use model::error::Kind;
use model::time::{TimeRange, Timestamp};
use model::wire::{Position, QueryRequest};
use platform::http::ApiError;
use serde_json::Value;

use super::body::invalid_value;
use super::output::Times;
use crate::language::{Query, QueryError, parse, read_span};
use crate::plan::{Cursor, Question};

/// Records of an answer where the request does not say.
const LIMIT: u64 = 100;

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) question: Question,
    /// As given; the question's range is open where these are missing.
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) request: QueryRequest,
}

impl Ask {
    /// Understands a request whose body was read.
    pub(super) fn of(request: QueryRequest, now: Timestamp) -> Result<Self, ApiError> {
        let query = understood(&request.query)?;
        let moment = |name: &str, value: &Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read_moment(value, now).map(Some).ok_or_else(|| {
                let message = format!("{name:?} is no time: {value}");
                invalid_value(message)
                    .hint("write -15m, now, 2026-01-31T12:00:00Z, or an epoch number")
            }),
        };
        let (mut from, mut to) = (moment("from", &request.from)?, moment("to", &request.to)?);
        if let Some(time) = query.time {
            // What the query says itself takes the place of what stands beside it.
            from = time.from.map(|from| from.resolve(now));
            to = time.to.map(|to| to.resolve(now));
        }
        let page = match request.cursor.as_deref() {
            None => None,
            Some(text) => Some(Page::parse(text).ok_or_else(|| {
                invalid_value("\"cursor\" is none that this API gave")
                    .hint("send back what the end of the page before had as its cursor")
            })?),
        };
        if let Some(Page { times: Some(times), .. }) = page {
            // Of `-1h` the first page made a moment; all pages have the same.
            (from, to) = times;
        }
        let range =
            TimeRange { from: from.unwrap_or(Timestamp::MIN), to: to.unwrap_or(Timestamp::MAX) };
        if range.from > range.to {
            return Err(invalid_value("\"from\" is later than \"to\""));
        }
        let question = Question {
            query,
            range,
            indexes: request.indexes.clone(),
            limit: request.limit.unwrap_or(LIMIT),
        };
        let question = match page {
            None => question,
            Some(page) => question.behind(&page.place),
        };
        Ok(Self { question, from, to, request })
    }
}

/// Where a page begins, and of which range it is one; opaque to who sends it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) place: Cursor,
    /// Both ends of the range, open where there is none; of a cursor of an earlier version not known.
    pub(super) times: Option<Times>,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        let Some((from, to)) = self.times else { return Ok(()) };
        for end in [from, to] {
            f.write_str("~")?;
            if let Some(end) = end {
                write!(f, "{:x}", end.0.cast_unsigned())?;
            }
        }
        Ok(())
    }
}

impl Page {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('~');
        let place = Cursor::parse(parts.next()?)?;
        let mut end = || {
            let text = parts.next()?;
            match text.is_empty() {
                true => Some(None),
                false => {
                    let end = u64::from_str_radix(text, 16).ok()?;
                    Some(Some(Timestamp(end.cast_signed())))
                }
            }
        };
        let times = match text.contains('~') {
            true => Some((end()?, end()?)),
            false => None,
        };
        parts.next().is_none().then_some(Self { place, times })
    }
}

/// A query, or the API's words about what is wrong with it.
pub(super) fn understood(text: &str) -> Result<Query, ApiError> {
    parse(text).map_err(|error| {
        let QueryError { message, start, end, expected, hint } = error;
        let mut refusal = ApiError::new(Kind::Invalid, message).code("invalid_query");
        refusal.detail.hint = hint;
        refusal.detail.position = Some(Position { start, end, expected });
        refusal
    })
}

/// A time of a request: RFC 3339, a day, an epoch number, `now`, or so long ago (`-15m`).
fn read_moment(value: &Value, now: Timestamp) -> Option<Timestamp> {
    let text = match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => return Timestamp::from_epoch(number),
            None => return Timestamp::from_epoch_float(number.as_f64()?),
        },
        Value::String(text) => text.trim(),
        _ => return None,
    };
    if text.eq_ignore_ascii_case("now") {
        return Some(now);
    }
    if let Some(ago) = text.strip_prefix('-').and_then(read_span) {
        return Some(Timestamp(now.0.saturating_sub(ago)));
    }
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(given: &Value, expected: Option<&str>) {
        let now = Timestamp::parse("2026-11-23T15:00:00Z").unwrap();
        let expected = expected.map(|text| Timestamp::parse(text).unwrap());
        assert_eq!(read_moment(given, now), expected, "{given}");
    }

    #[test]
    fn a_page_reads_what_it_shows() {
        let id = model::partition::RecordId::parse("a-1f").unwrap();
        let place = Cursor { time: Timestamp(-1), id };
        let moment = Some(Timestamp(7));
        for times in [None, Some((None, None)), Some((moment, None)), Some((None, moment))] {
            let page = Page { place, times };
            assert_eq!(Page::parse(&page.to_string()), Some(page));
        }
        for text in ["", "1.2.3~", "1.2.3~1", "1.2.3~~~", "1.2.3~x~"] {
            assert_eq!(Page::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_and_programs_write_them() {
        check(&json!("now"), Some("2026-11-23T15:00:00Z"));
        check(&json!("-15m"), Some("2026-11-23T14:45:00Z"));
        check(&json!("-1h30m"), Some("2026-11-23T13:30:00Z"));
        check(&json!("-1w"), Some("2026-11-16T15:00:00Z"));
        check(&json!("2026-01-31"), Some("2026-01-31T00:00:00Z"));
        check(&json!("2026-01-31T10:00:00.5+02:00"), Some("2026-01-31T08:00:00.5Z"));
        check(&json!(1_700_000_000), Some("2023-11-14T22:13:20Z"));
        check(&json!("1700000000123"), Some("2023-11-14T22:13:20.123Z"));
        check(&json!(1_700_000_000.5), Some("2023-11-14T22:13:20.5Z"));
        check(&json!(1_700_000_000_123.5), Some("2023-11-14T22:13:20.1235Z"));
        check(&json!(1_700_000_000_123_456.5), Some("2023-11-14T22:13:20.123457Z"));
        check(&json!(9.2e15), None);
        check(&json!("-15 minutes"), None);
        check(&json!("soon"), None);
        check(&json!(true), None);
    }
}
