//! Times as Elasticsearch's clients write them: ISO dates with parts left out, epochs, `now-1h/d`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use model::json;
use model::time::{SECOND, Timestamp};
use serde_json::Value;

use crate::language::calendar::{Unit, nanos, zone};

/// Which moment a time stands for that leaves parts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// The first.
    First,
    /// The last.
    Last,
}

/// Digits to which a number of a pattern is filled up at most, however often its letter stands there.
const DIGITS_MAX: usize = 32;

/// What numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Epoch {
    Millis,
    Seconds,
    /// Their size tells, as where records are taken in.
    BySize,
}

/// How times are read.
#[derive(Debug, Clone)]
pub(super) struct Dates {
    now: Timestamp,
    zone: TimeZone,
    epoch: Epoch,
    /// The clause says what numbers count.
    is_said: bool,
}

impl Dates {
    /// With the zone and the format of a clause; `None` when the zone is none.
    pub(super) fn new(now: Timestamp, zone_name: &str, format: &str) -> Option<Self> {
        let is_said = format.contains("epoch");
        let seconds = format.contains("epoch_second") && !format.contains("epoch_millis");
        let epoch = if seconds { Epoch::Seconds } else { Epoch::Millis };
        Some(Self { now, zone: zone(zone_name)?, epoch, is_said })
    }

    /// Of a time that was taken from a field of another name: numbers are read as they were there.
    pub(super) fn of_taken(&self) -> Self {
        let epoch = if self.is_said { self.epoch } else { Epoch::BySize };
        Self { epoch, ..self.clone() }
    }

    /// A time; `None` when it is none.
    pub(super) fn read(&self, value: &Value, edge: Edge) -> Option<Timestamp> {
        match value {
            Value::Number(number) => match number.as_i64() {
                Some(whole) => self.epoch(whole, edge),
                None => {
                    let scale = match self.epoch {
                        Epoch::BySize => {
                            return json::moment(&json::Value::Float(number.as_f64()?));
                        }
                        Epoch::Seconds => 1e9,
                        Epoch::Millis => 1e6,
                    };
                    let nanos = number.as_f64()? * scale;
                    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
                    (nanos.abs() < 9.2e18).then_some(Timestamp(nanos as i64))
                }
            },
            Value::String(text) => self.text(text.trim(), edge),
            _ => None,
        }
    }

    /// The first or the last moment of a second or millisecond; what is told by its size is a moment.
    fn epoch(&self, number: i64, edge: Edge) -> Option<Timestamp> {
        let scale = match self.epoch {
            Epoch::BySize => return json::moment(&json::Value::Int(number)),
            Epoch::Seconds => SECOND,
            Epoch::Millis => SECOND / 1_000,
        };
        let first = number.checked_mul(scale)?;
        match edge {
            Edge::First => Some(Timestamp(first)),
            Edge::Last => first.checked_add(scale - 1).map(Timestamp),
        }
    }

    fn text(&self, text: &str, edge: Edge) -> Option<Timestamp> {
        if let Some(math) = text.strip_prefix("now") {
            return self.math(self.now, math, edge);
        }
        match text.split_once("||") {
            Some((anchor, "")) => self.anchor(anchor, edge),
            Some((anchor, math)) => self.math(self.anchor(anchor, Edge::First)?, math, edge),
            None => self.anchor(text, edge),
        }
    }

    fn anchor(&self, text: &str, edge: Edge) -> Option<Timestamp> {
        let is_digits = !text.is_empty()
            && text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
        if is_digits && text.len() != 4 {
            return self.epoch(text.parse().ok()?, edge);
        }
        let (date, rest) = match text.find(['T', ' ', 't']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?),
            None => (text, ""),
        };
        let (year, month, day) = calendar(date)?;
        let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (clock, zone_name) = rest.split_at(zone_at);
        let there = match zone_name {
            "" => self.zone.clone(),
            "Z" | "z" => TimeZone::UTC,
            name => zone(name)?,
        };
        let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
        let parts: Vec<&str> = clock.split(':').filter(|part| !part.is_empty()).collect();
        let part = |at: usize| parts.get(at).map_or(Some(0), |part| part.parse::<i8>().ok());
        let subsecond = match fraction {
            "" => 0,
            digits if digits.len() <= 9 => format!("{digits:0<9}").parse::<i32>().ok()?,
            _ => return None,
        };
        let small = |number: Option<i16>| i8::try_from(number.unwrap_or(1)).ok();
        let (hour, minute, second) = (part(0)?, part(1)?, part(2)?);
        let civil =
            DateTime::new(year, small(month)?, small(day)?, hour, minute, second, subsecond)
                .ok()?;
        let first = nanos(&civil.to_zoned_datetime(there.clone()).ok()?)?;
        let unit = match (month, day, parts.len()) {
            (None, _, _) => Unit::Year,
            (_, None, _) => Unit::Month,
            (_, _, 0) => Unit::Day,
            (_, _, 1) => Unit::Hour,
            (_, _, 2) => Unit::Minute,
            // Down to the last digit that was written.
            _ => {
                let digits = u32::try_from(fraction.len()).ok()?;
                // A time of whole milliseconds stands for all of that millisecond.
                let width = if digits <= 3 { SECOND / 10_i64.pow(digits) } else { 1 };
                return match edge {
                    Edge::First => Some(first),
                    Edge::Last => first.0.checked_add(width - 1).map(Timestamp),
                };
            }
        };
        self.edge(first, unit, edge, &there)
    }

    /// The first or the last moment of the unit that begins here.
    fn edge(&self, first: Timestamp, unit: Unit, edge: Edge, zone: &TimeZone) -> Option<Timestamp> {
        match edge {
            Edge::First => Some(first),
            Edge::Last => Some(Timestamp(unit.later(first, 1, zone)?.0.checked_sub(1)?)),
        }
    }

    /// `+1d-2h/d` behind an anchor.
    fn math(&self, mut moment: Timestamp, mut math: &str, edge: Edge) -> Option<Timestamp> {
        while let Some(sign) = math.chars().next() {
            math = math.get(sign.len_utf8()..)?;
            let digits = math.find(|c: char| !c.is_ascii_digit())?;
            let (number, rest) = math.split_at(digits);
            let letter = rest.chars().next()?;
            math = rest.get(letter.len_utf8()..)?;
            let unit = match letter {
                'y' => Unit::Year,
                'M' => Unit::Month,
                'w' => Unit::Week,
                'd' => Unit::Day,
                'h' | 'H' => Unit::Hour,
                'm' => Unit::Minute,
                's' => Unit::Second,
                _ => return None,
            };
            let count = if number.is_empty() { 1 } else { number.parse::<i64>().ok()? };
            moment = match sign {
                '+' => unit.later(moment, count, &self.zone)?,
                '-' => unit.later(moment, -count, &self.zone)?,
                '/' if number.is_empty() => {
                    let first = unit.floor(moment, &self.zone)?;
                    self.edge(first, unit, edge, &self.zone)?
                }
                _ => return None,
            };
        }
        Some(moment)
    }
}

/// A time as answers show it: no more digits than it has, in threes.
pub(super) fn shown(time: Timestamp) -> String {
    let text = time.to_string();
    let mut end = text.len() - 1;
    while text.get(end - 3..end) == Some("000") && text.as_bytes().get(end - 4) != Some(&b'.') {
        end -= 3;
    }
    format!("{}Z", text.get(..end).unwrap_or(&text))
}

/// Bytes of a format of dates: it is written out for every bucket and hit.
pub(super) const FORMAT_BYTES_MAX: usize = 1_024;

/// Refuses a part of a request in which some format is too long.
///
/// # Errors
/// The reason, for whoever asked.
pub(super) fn short_formats(part: &Value) -> Result<(), String> {
    match part {
        Value::Array(parts) => parts.iter().try_for_each(short_formats),
        Value::Object(members) => members.iter().try_for_each(|(name, part)| match part {
            Value::String(format) if name == "format" && format.len() > FORMAT_BYTES_MAX => {
                Err(format!(
                    "[format] has {} bytes, at most {FORMAT_BYTES_MAX} are taken",
                    format.len()
                ))
            }
            part => short_formats(part),
        }),
        _ => Ok(()),
    }
}

/// A time in a format of dates: an epoch, a pattern such as `yyyy-MM-dd`, or as times are shown.
pub(super) fn in_format(time: Timestamp, format: &str, zone_name: &str) -> String {
    let there = zone(zone_name).unwrap_or(TimeZone::UTC);
    match format {
        "epoch_millis" => return millis(time).to_string(),
        "epoch_second" => return time.0.div_euclid(SECOND).to_string(),
        ""
        | "strict_date_optional_time"
        | "date_optional_time"
        | "strict_date_time"
        | "date_time"
        | "strict_date_optional_time_nanos"
            if there == TimeZone::UTC =>
        {
            return shown(time);
        }
        _ => {}
    }
    let Ok(moment) = jiff::Timestamp::from_nanosecond(i128::from(time.0)) else {
        return shown(time);
    };
    let zoned = moment.to_zoned_datetime(there);
    let is_pattern = format.starts_with(['y', 'u', 'M', 'd', 'H', 'E']) && !format.contains('_');
    let pattern = if is_pattern { format } else { "yyyy-MM-dd'T'HH:mm:ss.SSSXXX" };
    let (mut text, mut rest, mut quoted) = (String::new(), pattern, false);
    while let Some(letter) = rest.chars().next() {
        let run = rest.find(|c| c != letter).unwrap_or(rest.len());
        let (_, behind) = rest.split_at(run);
        let width = run.min(DIGITS_MAX);
        let number = |value: i64| format!("{value:0width$}");
        match letter {
            '\'' => {
                quoted = !quoted;
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            _ if quoted => text.extend(std::iter::repeat_n(letter, run)),
            'y' | 'u' if run == 2 => text.push_str(&format!("{:02}", zoned.year() % 100)),
            'y' | 'u' => text.push_str(&number(zoned.year().into())),
            'M' => text.push_str(&number(zoned.month().into())),
            'd' => text.push_str(&number(zoned.day().into())),
            'H' => text.push_str(&number(zoned.hour().into())),
            'm' => text.push_str(&number(zoned.minute().into())),
            's' => text.push_str(&number(zoned.second().into())),
            'S' => {
                let digits = format!("{:09}", zoned.subsec_nanosecond());
                text.push_str(digits.get(..run.min(9)).unwrap_or_default());
            }
            'X' | 'Z' => match zoned.offset().seconds() {
                0 => text.push('Z'),
                seconds => {
                    let sign = if seconds < 0 { '-' } else { '+' };
                    let minutes = seconds.abs() / 60;
                    text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
                }
            },
            other => text.extend(std::iter::repeat_n(other, run)),
        }
        rest = behind;
    }
    text
}

/// Milliseconds of a moment, rounded down.
pub(super) fn millis(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000)
}

/// Year, and month and day where they are named.
fn calendar(date: &str) -> Option<(i16, Option<i16>, Option<i16>)> {
    let mut numbers = date.split(['-', '/', '.']).map(|part| part.parse::<i16>().ok());
    let year = numbers.next()??;
    let month = numbers.next().map_or(Some(None), |month| month.map(Some))?;
    let day = numbers.next().map_or(Some(None), |day| day.map(Some))?;
    numbers.next().is_none().then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(given: &Value, edge: Edge, expected: &str) {
        let now = Timestamp::parse("2026-11-24T10:20:30.5Z").unwrap();
        let dates = Dates::new(now, "", "").unwrap();
        let expected = Timestamp::parse(expected);
        assert_eq!(dates.read(given, edge), expected, "{given} {edge:?}");
    }

    #[test]
    fn times_are_read_as_clients_write_them() {
        use Edge::{First, Last};
        check(&json!("2026-01-31"), First, "2026-01-31T00:00:00Z");
        check(&json!("2026-01-31"), Last, "2026-01-31T23:59:59.999999999Z");
        check(&json!("2026-01"), Last, "2026-01-31T23:59:59.999999999Z");
        check(&json!("2026"), First, "2026-01-01T00:00:00Z");
        check(&json!("2026-01-31T10:00:00+02:00"), First, "2026-01-31T08:00:00Z");
        check(&json!("2026-01-31 10:00"), Last, "2026-01-31T10:00:59.999999999Z");
        check(&json!(1_700_000_000_123_i64), First, "2023-11-14T22:13:20.123Z");
        check(&json!("1700000000123"), First, "2023-11-14T22:13:20.123Z");
        check(&json!("now"), First, "2026-11-24T10:20:30.5Z");
        check(&json!("now-1h"), First, "2026-11-24T09:20:30.5Z");
        check(&json!("now-1d/d"), First, "2026-11-23T00:00:00Z");
        check(&json!("now/d"), Last, "2026-11-24T23:59:59.999999999Z");
        check(&json!("2026-01-31||+1M"), First, "2026-02-28T00:00:00Z");
        for wrong in [json!("soon"), json!("now-"), json!("now-1x"), json!("2026-13-01"), json!([])]
        {
            check(&wrong, First, "none");
        }
    }

    #[test]
    fn times_are_shown_with_the_digits_they_have() {
        let show = |text: &str| shown(Timestamp::parse(text).unwrap());
        assert_eq!(show("2026-01-01T00:00:01Z"), "2026-01-01T00:00:01.000Z");
        assert_eq!(show("2026-01-01T00:00:01.5Z"), "2026-01-01T00:00:01.500Z");
        assert_eq!(show("2026-01-01T00:00:01.123456Z"), "2026-01-01T00:00:01.123456Z");
        assert_eq!(show("2026-01-01T00:00:01.000000001Z"), "2026-01-01T00:00:01.000000001Z");
        let time = Timestamp::parse("2026-01-31T23:30:00Z").unwrap();
        assert_eq!(in_format(time, "yyyy-MM-dd", "+01:00"), "2026-02-01");
        assert_eq!(in_format(time, "", "+01:00"), "2026-02-01T00:30:00.000+01:00");
        assert_eq!(in_format(time, "epoch_second", ""), "1769902200");
        // Wider than numbers can be filled up.
        assert_eq!(in_format(time, &"d".repeat(100_000), ""), format!("{:032}", 31));
        let long = serde_json::json!({"a": [{"date_histogram": {"format": "d".repeat(1_025)}}]});
        assert!(short_formats(&long).unwrap_err().contains("1025 bytes"));
        let short = serde_json::json!({"a": [{"date_histogram": {"format": "d".repeat(1_024)}}]});
        assert_eq!(short_formats(&short), Ok(()));
    }
}
