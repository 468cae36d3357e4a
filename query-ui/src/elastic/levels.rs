//! Levels as clients write them: words and numbers, read as where records are taken in, and ranges.

use model::json;
use model::level::Level;
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use serde_json::Value;

use super::refusal::Refusal;
use super::values::{any, none, test, text_of};

/// A level in any spelling; `None` when it is none.
fn read(text: &str) -> Option<Level> {
    let text = text.trim();
    let word = || json::severity(&json::Value::Text(text.into()));
    match text.parse::<i64>() {
        Ok(number) => json::severity(&json::Value::Int(number)),
        Err(_) => word(),
    }
}

/// The records of a level in any spelling; of what is no level there are none.
pub(super) fn is(text: &str) -> Filter {
    read(text).map_or_else(none, of)
}

fn of(level: Level) -> Filter {
    test("level", FieldTest::Matches(TextMatch::Phrase(level.name().to_owned())))
}

/// An end of a range, and whether it is inside.
pub(super) type End<'a> = Option<(&'a Value, bool)>;

/// The numbers of syslog, where the least is the worst.
const SYSLOG: [i64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// The numbers of pino and bunyan.
const PINO: [i64; 6] = [10, 20, 30, 40, 50, 60];

/// The levels between two ends. Between numbers are the levels whose numbers are: of pino's where
/// these ends do not fit syslog's, from 8 on or up to 10 and more, else of syslog's. Between words, it
/// goes by severity.
pub(super) fn between(from: End<'_>, to: End<'_>) -> Result<Filter, Refusal> {
    let number = |end: End<'_>| end.and_then(|(value, _)| text_of(value)?.trim().parse().ok());
    let (least, most): (Option<f64>, Option<f64>) = (number(from), number(to));
    if least.is_some() == from.is_some() && most.is_some() == to.is_some() {
        let is_pino = least.is_some_and(|end| end >= 8.0) || most.is_some_and(|end| end >= 10.0);
        let scale: &[i64] = if is_pino { &PINO } else { &SYSLOG };
        let is_inside = |number: &i64| {
            let number = *number as f64;
            let is_above =
                |(_, inside)| least.is_none_or(|end| end < number || inside && end == number);
            let is_below =
                |(_, inside)| most.is_none_or(|end| number < end || inside && end == number);
            from.is_none_or(is_above) && to.is_none_or(is_below)
        };
        let mut levels: Vec<Level> = scale
            .iter()
            .copied()
            .filter(is_inside)
            .filter_map(|number| json::severity(&json::Value::Int(number)))
            .collect();
        levels.sort_unstable();
        levels.dedup();
        return Ok(any(levels.into_iter().map(of).collect()));
    }
    let bound = |end: End<'_>| -> Result<Bound, Refusal> {
        let Some((value, inside)) = end else { return Ok(Bound::Open) };
        let level = text_of(value).and_then(|text| read(&text));
        let level = level
            .ok_or_else(|| Refusal::argument(format!("[range] of [level]: {value} is no level")))?;
        let literal = Literal::Text(level.name().to_owned());
        Ok(if inside { Bound::Inclusive(literal) } else { Bound::Exclusive(literal) })
    };
    Ok(test("level", FieldTest::Between { from: bound(from)?, to: bound(to)? }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(from: End<'_>, to: End<'_>, expected: &[&str]) {
        let expected = any(expected.iter().map(|name| is(name)).collect());
        assert_eq!(between(from, to), Ok(expected), "{from:?} {to:?}");
    }

    #[test]
    fn numbers_between_are_those_of_one_scale() {
        check(Some((&json!(40), true)), None, &["warn", "error", "fatal"]);
        check(Some((&json!("30"), false)), Some((&json!(50), false)), &["warn"]);
        check(None, Some((&json!(3), true)), &["error", "fatal"]);
        check(Some((&json!(4), true)), Some((&json!(6), true)), &["info", "warn"]);
        check(Some((&json!(70), true)), None, &[]);
        // All of syslog's, which one writes so.
        let (all, eight) = (["debug", "info", "warn", "error", "fatal"], json!(8));
        check(None, Some((&eight, false)), &all);
        check(Some((&json!(0), true)), Some((&eight, true)), &all);
        check(Some((&json!(7), false)), None, &[]);
        check(Some((&eight, true)), Some((&json!(30), true)), &["trace", "debug", "info"]);
        check(None, Some((&json!(10), true)), &["trace"]);
    }

    #[test]
    fn levels_are_read_in_any_spelling() {
        for (text, name) in [("30", "info"), ("Warning", "warn"), ("3", "error"), ("crit", "fatal")]
        {
            assert_eq!(is(text), is(name), "{text}");
        }
        assert_eq!(is("99"), none());
        let soon = json!("soon");
        assert!(between(Some((&soon, true)), None).is_err());
    }
}
