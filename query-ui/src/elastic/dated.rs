//! Names of indexes that tell a date: `<logs-{now/d}>`, `<logs-{now-1M/M{yyyy.MM|+02:00}}>`.

use std::borrow::Cow;

use model::time::Timestamp;
use serde_json::Value;

use super::dates::{Dates, Edge, FORMAT_BYTES_MAX, in_format};
use super::refusal::Refusal;

/// How a date is written where nothing is said.
const FORMAT: &str = "uuuu.MM.dd";
/// Letters of formats that are known, beside what stands in quotes.
const LETTERS: &str = "yuMdHmsS";

/// An expression of names in which dates stand as what they come to.
pub(super) fn resolved(expression: &str, now: Timestamp) -> Result<Cow<'_, str>, Refusal> {
    if !expression.contains('<') {
        return Ok(expression.into());
    }
    let parts: Result<Vec<String>, Refusal> =
        expression.split(',').map(|part| name(part.trim(), now)).collect();
    Ok(parts?.join(",").into())
}

/// One name, or what is left out (`-<…>`).
fn name(part: &str, now: Timestamp) -> Result<String, Refusal> {
    let (sign, given) = part.strip_prefix('-').map_or(("", part), |given| ("-", given));
    let Some(inner) = given.strip_prefix('<').and_then(|given| given.strip_suffix('>')) else {
        return Ok(part.to_owned());
    };
    let wrong = |why: &str| {
        Refusal::argument(format!(
            "[{given}] is no name with a date: {why}, as in <logs-{{now/d}}>"
        ))
    };
    let (mut found, mut rest) = (sign.to_owned(), inner);
    while let Some(at) = rest.find(['{', '}', '\\']) {
        let (before, behind) = rest.split_at(at);
        found.push_str(before);
        let mut signs = behind.chars();
        match signs.next() {
            Some('\\') => {
                found.extend(signs.next());
                rest = signs.as_str();
            }
            Some('{') => {
                let (inside, after) =
                    closed(signs.as_str()).ok_or_else(|| wrong("a { is not closed"))?;
                found.push_str(&date(inside, now).map_err(|why| wrong(&why))?);
                rest = after;
            }
            _ => return Err(wrong("a } closes nothing")),
        }
    }
    found.push_str(rest);
    match found.len() > sign.len() {
        true => Ok(found),
        false => Err(wrong("nothing is named")),
    }
}

/// What stands before the bracket that closes, and what stands behind it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, sign) in text.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `now/d`, `now-1M/M{yyyy.MM}`, `now/d{yyyy.MM.dd|Europe/Berlin}`.
fn date(given: &str, now: Timestamp) -> Result<String, String> {
    let (math, written) = match given.split_once('{') {
        None => (given, ""),
        Some((math, written)) => {
            (math, written.strip_suffix('}').ok_or("nothing follows a format")?)
        }
    };
    let (format, zone) = written.split_once('|').unwrap_or((written, ""));
    let format = if format.is_empty() { FORMAT } else { format };
    if !is_format(format) || format.len() > FORMAT_BYTES_MAX {
        return Err(format!("the format {format} is not supported"));
    }
    let dates = Dates::new(now, zone, "").ok_or_else(|| format!("there is no zone {zone}"))?;
    let moment = dates.read(&Value::from(math), Edge::First);
    let moment = moment.ok_or_else(|| format!("{math} is no date"))?;
    Ok(in_format(moment, format, zone))
}

/// Whether a format is a pattern of dates whose every letter is known.
fn is_format(format: &str) -> bool {
    let mut outside = format.split('\'').step_by(2);
    let known = |c: char| !c.is_ascii_alphabetic() || LETTERS.contains(c);
    format.starts_with(['y', 'u', 'M', 'd', 'H'])
        && !format.contains('_')
        && outside.all(|part| part.chars().all(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-03-31T23:30:00Z").unwrap()
    }

    #[test]
    fn dates_stand_as_what_they_come_to() {
        for (expression, expected) in [
            ("logs-*,main", "logs-*,main"),
            ("<logs-{now/d}>", "logs-2026.03.31"),
            ("<logs-{now/M}>", "logs-2026.03.01"),
            ("<logs-{now-1d/d}-*>", "logs-2026.03.30-*"),
            ("<logs-{now/M{yyyy.MM}}>", "logs-2026.03"),
            ("<logs-{now-1M/M{yyyy.MM}}>", "logs-2026.02"),
            ("<logs-{now/d{yyyy.MM.dd|+01:00}}>", "logs-2026.04.01"),
            ("<{now/d{yyyy-MM-dd}}-{now{HH}}>", "2026-03-31-23"),
            (r"<a\{b\}-{now/d}>", "a{b}-2026.03.31"),
            ("<logs-{now/d}>, x ,-<logs-{now-1d/d}>", "logs-2026.03.31,x,-logs-2026.03.30"),
            ("<logs>", "logs"),
        ] {
            assert_eq!(resolved(expression, now()).as_deref(), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for expression in [
            "<logs-{now/d>",
            "<logs-now/d}>",
            "<logs-{soon}>",
            "<logs-{now/x}>",
            "<logs-{now/d{YYYY}}>",
            "<logs-{now/d{yyyy.ww}}>",
            "<logs-{now/d{yyyy|Nowhere}}>",
            "<logs-{now/d{yyyy}x}>",
            "<>",
        ] {
            assert!(resolved(expression, now()).is_err(), "{expression}");
        }
    }
}
