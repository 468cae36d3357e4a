//! The truth, said again in the plainest way.

use std::net::IpAddr;

use model::text::{fold, is_boundary};

use super::*;

pub(super) fn passes(filter: &Filter, record: &Record, host: &str) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) => parts.iter().all(|part| passes(part, record, host)),
        Filter::Or(parts) => parts.iter().any(|part| passes(part, record, host)),
        Filter::Not(part) => !passes(part, record, host),
        Filter::Text(text) => {
            matches(text, &record.message)
                || record.fields.iter().any(|(_, value)| matches(text, &value.to_text()))
        }
        Filter::Field { name, test } => match name.as_str() {
            "level" => level(test, record.level),
            "message" if matches!(test, FieldTest::Exists | FieldTest::ExistsBelow) => {
                !record.message.is_empty()
            }
            "message" => value(test, &FieldValue::Text(record.message.clone())),
            "host" => value(test, &FieldValue::Text(host.to_owned())),
            name => record.fields.iter().any(|(n, v)| {
                let below = *test == FieldTest::ExistsBelow && n.starts_with(&format!("{name}."));
                (n == name || below) && value(test, v)
            }),
        },
    }
}

fn matches(text: &TextMatch, given: &str) -> bool {
    match text {
        TextMatch::Cased(inner) => matches_by(inner, given, |c| c),
        TextMatch::Regex(source) => {
            regex::Regex::new(source).is_ok_and(|regex| regex.is_match(given))
        }
        TextMatch::Network { address: IpAddr::V4(address), prefix } => given
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_')
            .filter_map(|run| run.trim_matches('.').parse::<std::net::Ipv4Addr>().ok())
            .any(|found| {
                let apart = u32::from(found) ^ u32::from(*address);
                apart.checked_shr(32 - u32::from(*prefix)).unwrap_or(0) == 0
            }),
        TextMatch::Network { address: IpAddr::V6(address), prefix } => {
            addresses_v6(given).into_iter().any(|found| {
                let apart = u128::from(found) ^ u128::from(*address);
                apart.checked_shr(128 - u32::from(*prefix)).unwrap_or(0) == 0
            })
        }
        folded => matches_by(folded, given, fold),
    }
}

/// The addresses that stand free, with at most a colon that is not theirs on either side.
fn addresses_v6(given: &str) -> Vec<std::net::Ipv6Addr> {
    let given: Vec<char> = given.chars().collect();
    let mut found = Vec::new();
    for start in 0..given.len() {
        for end in start + 2..=given.len().min(start + 45) {
            let text: String = given[start..end].iter().collect();
            let Ok(address) = text.parse() else { continue };
            if is_free(given[start], given[..start].iter().rev())
                && is_free(given[end - 1], given[end..].iter())
            {
                found.push(address);
            }
        }
    }
    found
}

/// Whether an end of an address is one: its own character there, and what is beside it, the nearest
/// first.
fn is_free<'a>(own: char, beside: impl Iterator<Item = &'a char>) -> bool {
    let is_part = |c: &char| c.is_ascii_hexdigit() || *c == ':';
    let mut beside = beside.skip_while(|c| **c == '.').peekable();
    if own != ':' && beside.next_if(|c| **c == ':').is_some() {
        return beside.next().is_none_or(|c| !is_part(c));
    }
    beside.next().is_none_or(|c| !is_part(c) && is_boundary(*c, '0'))
}

fn matches_by(text: &TextMatch, given: &str, fold: impl Fn(char) -> char) -> bool {
    let given: Vec<char> = given.chars().map(&fold).collect();
    let folded = |text: &str| text.chars().map(&fold).collect::<Vec<char>>();
    let (parts, open_start, open_end) = match text {
        TextMatch::Phrase(phrase) => (vec![folded(phrase)], false, false),
        TextMatch::Pattern { parts, open_start, open_end } => {
            (parts.iter().map(|part| folded(part)).collect(), *open_start, *open_end)
        }
        _ => return false,
    };
    if parts.is_empty() {
        return !given.is_empty();
    }
    let edge = |at: usize| at == 0 || at == given.len() || is_boundary(given[at - 1], given[at]);
    (0..=given.len()).any(|start| {
        (open_start || edge(start))
            && ends(&given, start, &parts).into_iter().any(|end| open_end || edge(end))
    })
}

fn ends(given: &[char], at: usize, parts: &[Vec<char>]) -> Vec<usize> {
    let Some((first, rest)) = parts.split_first() else { return vec![at] };
    if !given[at..].starts_with(first) {
        return Vec::new();
    }
    let end = at + first.len();
    if rest.is_empty() {
        return vec![end];
    }
    let run = given[end..].iter().position(|c| c.is_whitespace()).map_or(given.len(), |n| end + n);
    (end..=run).flat_map(|next| ends(given, next, rest)).collect()
}

/// What comparisons see: a float, and the whole number where it was written as one.
fn number(value: &FieldValue) -> Option<(f64, Option<i128>)> {
    match value {
        FieldValue::Int(number) => Some((*number as f64, Some(i128::from(*number)))),
        FieldValue::Float(number) => Some((*number, None)),
        FieldValue::Text(text) => {
            let float = model::number::read_number(text)?;
            Some((float, text.trim().parse().ok()))
        }
        FieldValue::Bool(_) => None,
    }
}

/// How a value compares with a number: floats do as floats, two whole ones as such.
fn order_of_numbers(value: &FieldValue, limit: (f64, Option<i128>)) -> Option<std::cmp::Ordering> {
    let (float, whole) = number(value)?;
    match (whole, limit.1) {
        (Some(whole), Some(limit)) => Some(whole.cmp(&limit)),
        _ => float.partial_cmp(&limit.0),
    }
}

fn value(test: &FieldTest, value: &FieldValue) -> bool {
    match test {
        FieldTest::Exists | FieldTest::ExistsBelow => true,
        FieldTest::Matches(text) => match (number_in(text), value) {
            (Some(number), FieldValue::Int(_) | FieldValue::Float(_)) => equals(number, value),
            _ => matches(text, &value.to_text()),
        },
        FieldTest::Between { from, to } => {
            side(from, value, |o| o.is_gt()) && side(to, value, |o| o.is_lt())
        }
    }
}

/// The number that is asked for, as it is written, where that is one.
fn number_in(text: &TextMatch) -> Option<&str> {
    match text {
        TextMatch::Phrase(phrase) => {
            phrase.parse::<f64>().is_ok_and(f64::is_finite).then_some(phrase.as_str())
        }
        TextMatch::Cased(inner) => number_in(inner),
        _ => None,
    }
}

/// Whether the literal is a number that equals the value exactly.
fn equals(literal: &str, value: &FieldValue) -> bool {
    let (whole, float) = (literal.parse::<i128>(), literal.parse::<f64>());
    match (value, whole, float) {
        (FieldValue::Int(value), Ok(whole), _) => i128::from(*value) == whole,
        (FieldValue::Int(value), Err(_), Ok(float)) => {
            float.fract() == 0.0 && i128::from(*value) == float as i128
        }
        (FieldValue::Float(value), Ok(whole), _) => {
            let is_equal = value.fract() == 0.0 && *value as i128 == whole;
            // Great floats are shown by the fewest digits, and zeros.
            is_equal || value.to_string() == whole.to_string()
        }
        (FieldValue::Float(value), Err(_), Ok(float)) => *value == float,
        _ => false,
    }
}

fn side(bound: &Bound, value: &FieldValue, strict: impl Fn(std::cmp::Ordering) -> bool) -> bool {
    let (literal, inclusive) = match bound {
        Bound::Open => return true,
        Bound::Inclusive(literal) => (literal, true),
        Bound::Exclusive(literal) => (literal, false),
    };
    let order = match (literal, value) {
        (Literal::Number(limit), value) => {
            let whole = (limit.fract() == 0.0 && limit.abs() < 2_f64.powi(53)).then_some(*limit);
            order_of_numbers(value, (*limit, whole.map(|whole| whole as i128)))
        }
        (Literal::Whole(limit), value) => order_of_numbers(value, (*limit as f64, Some(*limit))),
        // None of the names here says a unit of time; plain numbers are bytes.
        (Literal::Duration(_), _) => None,
        (Literal::Size(limit), value) => number(value).and_then(|n| n.0.partial_cmp(limit)),
        (Literal::Text(_) | Literal::Time { .. }, FieldValue::Int(_) | FieldValue::Float(_)) => {
            None
        }
        (Literal::Time { period, text }, value) => Some(match time(&value.to_text()) {
            Some(moment) if moment < period.first => std::cmp::Ordering::Less,
            Some(moment) if moment > period.last => std::cmp::Ordering::Greater,
            Some(_) => std::cmp::Ordering::Equal,
            None => order_of_texts(value, text),
        }),
        (Literal::Text(limit), value) => Some(order_of_texts(value, limit)),
    };
    order.is_some_and(|order| strict(order) || (inclusive && order.is_eq()))
}

fn order_of_texts(value: &FieldValue, limit: &str) -> std::cmp::Ordering {
    let text: String = value.to_text().chars().map(fold).collect();
    text.as_str().cmp(limit)
}

/// Texts that are times, with the first and the last moment that they name. No other text of the
/// random records is one.
pub(super) const TIMES: [(&str, i64, i64); 8] = [
    ("2026-01", 1_767_225_600_000_000_000, 1_769_903_999_999_999_999),
    ("2026-01-31", 1_769_817_600_000_000_000, 1_769_903_999_999_999_999),
    ("2026-01-31 10:30", 1_769_855_400_000_000_000, 1_769_855_459_999_999_999),
    ("2026-01-31T00:00:00+02:00", 1_769_810_400_000_000_000, 1_769_810_400_999_999_999),
    ("2026-01-30T22:00:00.5Z", 1_769_810_400_500_000_000, 1_769_810_400_500_000_000),
    ("2026-01-30T22:00:00Z", 1_769_810_400_000_000_000, 1_769_810_400_999_999_999),
    ("2026-01-30T22:00:01Z", 1_769_810_401_000_000_000, 1_769_810_401_999_999_999),
    ("2026-01-31T10:30:00Z", 1_769_855_400_000_000_000, 1_769_855_400_999_999_999),
];

fn time(text: &str) -> Option<Timestamp> {
    let known = TIMES.iter().find(|(known, ..)| *known == text);
    known.map(|(_, first, _)| Timestamp(*first))
}

fn level(test: &FieldTest, given: Level) -> bool {
    match test {
        FieldTest::Exists | FieldTest::ExistsBelow => given != Level::Unknown,
        FieldTest::Matches(TextMatch::Phrase(phrase)) if Level::from_word(phrase).is_some() => {
            Level::from_word(phrase) == Some(given)
        }
        FieldTest::Matches(text) => matches(text, given.name()),
        FieldTest::Between { from, to } => {
            [(from, true), (to, false)].iter().all(|(bound, lower)| {
                let (literal, inclusive) = match bound {
                    Bound::Open => return true,
                    Bound::Inclusive(literal) => (literal, true),
                    Bound::Exclusive(literal) => (literal, false),
                };
                let Literal::Text(text) = literal else { return false };
                let Some(limit) = Level::from_word(text) else { return false };
                (if *lower { limit < given } else { limit > given })
                    || (inclusive && limit == given)
            })
        }
    }
}
