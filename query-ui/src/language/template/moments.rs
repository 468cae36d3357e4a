//! Reads times that are written as Go's layouts say.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::layout::{DAYS, MONTHS, NANOS, fraction_of, part_of};

/// Go's first moment, the year 1: what a text means that is no time in its layout.
const FIRST: i128 = -62_135_596_800 * NANOS;

/// The nanoseconds of a text in a layout, in a zone where it says none; a zone that is none is UTC.
pub(super) fn read(layout: &str, zone: &str, text: &str) -> i128 {
    let moment = Parts::read(layout, text).and_then(|parts| {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        parts.moment(&zone)
    });
    moment.unwrap_or(FIRST)
}

/// What a text said of a time.
#[derive(Debug, Clone, Copy, Default)]
struct Parts<'a> {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    /// The second half of the day.
    is_late: Option<bool>,
    /// Seconds.
    offset: Option<i32>,
    zone: Option<&'a str>,
}

/// So many digits at least, and at most.
fn digits(text: &str, least: usize, most: usize) -> Option<(i16, &str)> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(end)?;
    (end >= least).then_some((digits.parse().ok()?, rest))
}

/// The same of a number that is a small one.
fn small(text: &str, least: usize, (first, last): (i16, i16)) -> Option<(i8, &str)> {
    let (number, rest) = digits(text, least, 2)?;
    (first..=last).contains(&number).then_some((i8::try_from(number).ok()?, rest))
}

/// Keeps what was read; gives what is behind it.
fn put<'a, T>(place: &mut T, (value, rest): (T, &'a str)) -> &'a str {
    *place = value;
    rest
}

fn some<T>((value, rest): (T, &str)) -> (Option<T>, &str) {
    (Some(value), rest)
}

/// Which of some names a text begins with, all of it or its first three letters.
fn named<'a>(text: &'a str, names: &[&str], is_short: bool) -> Option<(i8, &'a str)> {
    names.iter().zip(1_i8..).find_map(|(name, number)| {
        let name = if is_short { name.get(..3)? } else { *name };
        let (begin, rest) = text.split_at_checked(name.len())?;
        begin.eq_ignore_ascii_case(name).then_some((number, rest))
    })
}

/// What stands in a layout for itself; one space is as good as many.
fn literal(sign: char, text: &str) -> Option<&str> {
    match sign {
        ' ' if text.is_empty() || text.starts_with(' ') => Some(text.trim_start_matches(' ')),
        sign => text.strip_prefix(sign),
    }
}

/// `+01:00`, `+0100` or `+01` as seconds.
fn offset<'a>(text: &'a str, part: &str) -> Option<(i32, &'a str)> {
    if part.starts_with('Z')
        && let Some(rest) = text.strip_prefix('Z')
    {
        return Some((0, rest));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = small(text.strip_prefix(['+', '-'])?, 2, (0, 24))?;
    let (minutes, rest) = match part {
        "Z07" | "-07" => (0, rest),
        "Z0700" | "-0700" => small(rest, 2, (0, 59))?,
        _ => small(rest.strip_prefix(':')?, 2, (0, 59))?,
    };
    Some((sign * (i32::from(hours) * 60 + i32::from(minutes)) * 60, rest))
}

/// A fraction of a second as nanoseconds: exactly so many digits, or any number of them or none.
fn fraction(text: &str, exactly: Option<usize>) -> Option<(i32, &str)> {
    let inside = text.strip_prefix(['.', ',']).unwrap_or_default();
    let end = inside.bytes().take_while(u8::is_ascii_digit).count();
    let count = match exactly {
        Some(count) if count <= end => count,
        Some(_) => return None,
        None if end == 0 => return Some((0, text)),
        None => end,
    };
    let (digits, rest) = inside.split_at_checked(count)?;
    let digits = digits.get(..count.min(9))?;
    Some((format!("{digits:0<9}").parse().ok()?, rest))
}

impl<'a> Parts<'a> {
    fn read(layout: &str, text: &'a str) -> Option<Self> {
        let (mut parts, mut layout, mut text) = (Self::default(), layout, text);
        while let Some(sign) = layout.chars().next() {
            if let Some((digit, count, behind)) = fraction_of(layout) {
                (parts.nanos, text) = fraction(text, (digit == '0').then_some(count))?;
                layout = behind;
                continue;
            }
            let part = part_of(layout);
            if part.is_empty() {
                text = literal(sign, text)?;
                layout = layout.get(sign.len_utf8()..)?;
                continue;
            }
            layout = layout.get(part.len()..)?;
            text = parts.date(part, text).or_else(|| parts.time(part, text))?;
            // Seconds may have a fraction which the layout does not tell.
            if matches!(part, "05" | "5") && fraction_of(layout).is_none() {
                (parts.nanos, text) = fraction(text, None)?;
            }
        }
        text.is_empty().then_some(parts)
    }

    /// Reads a part of a date; gives what is behind it.
    fn date(&mut self, part: &str, text: &'a str) -> Option<&'a str> {
        Some(match part {
            "2006" => put(&mut self.year, digits(text, 4, 4)?),
            "06" => {
                let (year, rest) = digits(text, 2, 2)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
                rest
            }
            "January" | "Jan" => put(&mut self.month, some(named(text, &MONTHS, part == "Jan")?)),
            "01" | "1" => put(&mut self.month, some(small(text, part.len(), (1, 12))?)),
            "Monday" | "Mon" => named(text, &DAYS, part == "Mon")?.1,
            "02" | "2" => put(&mut self.day, some(small(text, part.len(), (1, 31))?)),
            "_2" => {
                let text = text.strip_prefix(' ').unwrap_or(text);
                put(&mut self.day, some(small(text, 1, (1, 31))?))
            }
            "002" => put(&mut self.day_of_year, some(digits(text, 3, 3)?)),
            _ => return None,
        })
    }

    /// The same of a part of a time.
    fn time(&mut self, part: &str, text: &'a str) -> Option<&'a str> {
        Some(match part {
            "15" => put(&mut self.hour, small(text, 1, (0, 23))?),
            "03" | "3" => put(&mut self.hour, small(text, part.len(), (0, 12))?),
            "04" | "4" => put(&mut self.minute, small(text, part.len(), (0, 59))?),
            "05" | "5" => put(&mut self.second, small(text, part.len(), (0, 59))?),
            "PM" | "pm" => {
                let (half, rest) = text.split_at_checked(2)?;
                let halves = if part == "PM" { ["AM", "PM"] } else { ["am", "pm"] };
                let place = halves.iter().position(|known| *known == half)?;
                self.is_late = Some(place == 1);
                rest
            }
            "MST" => {
                let end = text.bytes().take_while(u8::is_ascii_uppercase).count();
                let name = text.split_at_checked(end).filter(|_| (3..=5).contains(&end))?;
                put(&mut self.zone, some(name))
            }
            part if part.starts_with(['Z', '-']) => {
                put(&mut self.offset, some(offset(text, part)?))
            }
            _ => return None,
        })
    }

    /// The nanoseconds, in a zone where the text says none.
    fn moment(self, zone: &TimeZone) -> Option<i128> {
        let hour = match self.is_late {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let date = match self.day_of_year {
            Some(day) if self.month.is_none() => {
                let days = jiff::Span::new().try_days(i64::from(day) - 1).ok()?;
                let date = Date::new(self.year, 1, 1).ok()?.checked_add(days).ok()?;
                (date.year() == self.year).then_some(date)?
            }
            _ => Date::new(self.year, month, day).ok()?,
        };
        let time = jiff::civil::Time::new(hour, self.minute, self.second, self.nanos).ok()?;
        let civil = DateTime::from_parts(date, time);
        let fixed = |seconds: i32| Some(TimeZone::fixed(Offset::from_seconds(seconds).ok()?));
        let moment = match (self.offset, self.zone) {
            (Some(seconds), _) => fixed(seconds)?.to_timestamp(civil).ok()?,
            (None, Some("UTC")) => TimeZone::UTC.to_timestamp(civil).ok()?,
            (None, Some(name)) => {
                // A zone's own names are known; of others only that there are such.
                let own = zone.to_timestamp(civil).ok()?;
                match zone.to_offset_info(own).abbreviation() == name {
                    true => own,
                    false => TimeZone::UTC.to_timestamp(civil).ok()?,
                }
            }
            (None, None) => zone.to_timestamp(civil).ok()?,
        };
        Some(moment.as_nanosecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_layouts_say() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_nanosecond();
        for (layout, zone, text, expected) in [
            ("2006-01-02", "UTC", "2021-11-02", "2021-11-02T00:00:00Z"),
            (
                "2006-01-02T15:04:05Z07:00",
                "UTC",
                "2026-01-05T07:08:09+01:30",
                "2026-01-05T05:38:09Z",
            ),
            (
                "2006-01-02T15:04:05Z07:00",
                "UTC",
                "2026-01-05T07:08:09.25Z",
                "2026-01-05T07:08:09.25Z",
            ),
            (
                "02/Jan/2006:15:04:05 -0700",
                "",
                "05/jan/2026:07:08:09 -0200",
                "2026-01-05T09:08:09Z",
            ),
            (
                "Mon Jan _2 15:04:05.000 2006",
                "UTC",
                "Mon Jan  5 07:08:09.012 2026",
                "2026-01-05T07:08:09.012Z",
            ),
            (
                "Monday, 2-January-06 3:04PM",
                "UTC",
                "Monday, 5-January-69 12:08AM",
                "1969-01-05T00:08:00Z",
            ),
            ("2006 002 15", "UTC", "2024 366 5", "2024-12-31T05:00:00Z"),
            ("2006-01-02 15:04:05", "Europe/Berlin", "2026-07-05 07:08:09", "2026-07-05T05:08:09Z"),
            ("2006-01-02 15:04:05", "Nowhere/None", "2026-07-05 07:08:09", "2026-07-05T07:08:09Z"),
            (
                "2006-01-02 15:04 MST",
                "Europe/Berlin",
                "2026-07-05 07:08 CEST",
                "2026-07-05T05:08:00Z",
            ),
            (
                "2006-01-02 15:04 MST",
                "Europe/Berlin",
                "2026-07-05 07:08 UTC",
                "2026-07-05T07:08:00Z",
            ),
            ("2006-01-02 15:04:05.999999999", "UTC", "2026-07-05 07:08:09", "2026-07-05T07:08:09Z"),
        ] {
            assert_eq!(read(layout, zone, text), at(expected), "{layout} {text}");
        }
        for (layout, text) in [
            ("2006-01-02", "2021-13-02"),
            ("2006-01-02", "2021-02-30"),
            ("2006-01-02", "2021-11-02 "),
            ("2006-01-02", "21-11-02"),
            ("2006-01-02", "+01:00-11-02"),
            ("15:04:05.000", "07:08:09.01"),
            ("15:04", "ü"),
            ("2006 002", "2025 366"),
        ] {
            assert_eq!(read(layout, "UTC", text), at("0001-01-01T00:00:00Z"), "{layout} {text}");
        }
    }
}
