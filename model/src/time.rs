//! Moments, periods and ranges of time: nanoseconds since 1970 UTC, their texts, and the epoch numbers people write.

use std::cmp::Ordering;
use std::fmt;

/// A moment: nanoseconds since 1970-01-01T00:00:00 UTC.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Timestamp(pub i64);

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Timestamp {
    /// The earliest moment that can be stored.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment that can be stored.
    pub const MAX: Self = Self(i64::MAX);

    /// Reads RFC 3339 (`T` or a space between date and time, any offset, up to nine fraction
    /// digits) or an epoch number in seconds, milliseconds, microseconds or nanoseconds
    /// (told apart by size). `None` when it is neither, or lies outside 1677–2262.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        quick(text.as_bytes()).or_else(|| Self::parse_any(text))
    }

    fn parse_any(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i64>() {
            return Self::from_epoch(number);
        }
        if let Ok(number) = text.parse::<f64>() {
            return Self::from_epoch_float(number);
        }
        let moment: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(moment.as_nanosecond()).ok().map(Self)
    }

    /// Reads a date, or a date and a time, that states no zone, as UTC. `None` when it is neither.
    #[must_use]
    pub fn parse_zoneless(text: &str) -> Option<Self> {
        let civil: jiff::civil::DateTime = text.trim().parse().ok()?;
        let moment = civil.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
        i64::try_from(moment.timestamp().as_nanosecond()).ok().map(Self)
    }

    /// An epoch number whose unit is told by its size: up to 11 digits seconds, 14 milliseconds,
    /// 17 microseconds, else nanoseconds. `None` when it does not fit.
    #[must_use]
    pub fn from_epoch(number: i64) -> Option<Self> {
        number.checked_mul(epoch_unit(number)).map(Self)
    }

    /// Like [`Self::from_epoch`] for a number with a fraction (`1700000000.25` is seconds),
    /// to the microsecond: a float holds no more of today's time.
    #[must_use]
    pub fn from_epoch_float(number: f64) -> Option<Self> {
        let micros = match number.abs() {
            n if n < 1e11 => number * 1e6,
            n if n < 1e14 => number * 1e3,
            n if n < 1e17 => number,
            _ => number * 1e-3,
        };
        // Inside 2^63 nanoseconds, so the conversion does not saturate; NaN is not inside.
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        (micros.abs() < 9.2e15).then(|| Self(micros.round() as i64 * 1_000))
    }
}

/// RFC 3339 as nearly all programs write it, such as `2026-11-23T15:24:00.123Z` and the same with an
/// offset of hours and minutes. What is written in any other way is `None`, and so is what is rare: the
/// 29th of February, leap seconds, years that cannot be stored.
fn quick(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let byte = |at: usize| head.get(at).copied().unwrap_or_default();
    let number = |at: usize| two(byte(at), byte(at + 1));
    let signs = [4, 7, 10, 13, 16].map(byte);
    if !matches!(signs, [b'-', b'-', b'T' | b' ', b':', b':']) {
        return None;
    }
    let (year, month, day) = (number(0)? * 100 + number(2)?, number(5)?, number(8)?);
    let (hour, minute, second) = (number(11)?, number(14)?, number(17)?);
    let days_max = match month {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_max).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let hours = days_since_1970(year, month, day) * 24 + hour;
    let seconds = (hours * 60 + minute - minutes_east(zone)?) * 60 + second;
    seconds.checked_mul(SECOND)?.checked_add(nanos).map(Timestamp)
}

/// `Z`, or an offset of hours and minutes.
fn minutes_east(zone: &[u8]) -> Option<i64> {
    let &[sign, h1, h2, b':', m1, m2] = zone else { return (zone == b"Z").then_some(0) };
    let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
    let east = hours * 60 + minutes;
    let usual = hours <= 14 && minutes <= 59;
    match sign {
        b'+' if usual => Some(east),
        // What is nothing west says that nobody knows.
        b'-' if usual && east > 0 => Some(-east),
        _ => None,
    }
}

/// The number that two digits are.
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Nanoseconds behind a point, none where there is no point; and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', text @ ..] = text else { return Some((0, text)) };
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count).filter(|_| (1..=9).contains(&count))?;
    let number = |number: i64, byte: &u8| number * 10 + i64::from(byte - b'0');
    let missing = u32::try_from(9 - count).ok()?;
    Some((digits.iter().fold(0, number) * 10_i64.pow(missing), rest))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
#[must_use]
pub fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Count from March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of so many days since 1970-01-01: undoes [`days_since_1970`].
#[must_use]
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Without the leap days before it every year has 365.
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
    // As above, years and months begin with March.
    let months = (5 * day_of_year + 2) / 153;
    let month = (months + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * months + 2) / 5 + 1)
}

/// Nanoseconds of the unit in which an epoch number of that size counts.
fn epoch_unit(number: i64) -> i64 {
    match number.unsigned_abs() {
        0..100_000_000_000 => SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// RFC 3339 in UTC with nine fraction digits: `2026-11-23T15:24:00.123456789Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds (1677–2262) is inside jiff's range.
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(moment) => write!(f, "{moment:.9}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

/// All moments that a written time names: one, or those of the second, minute, hour, day, month or
/// year that it says and no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Period {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

impl Period {
    /// Reads a month (`2026-01`), a day, or a day with a time behind `T` or a space (`10`, `10:30`,
    /// `10:30:05`, `10:30:05.5`), in UTC unless it states a zone. `None` when it is none of these.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        const DATE: &[u8] = b"0000-00-00";
        let text = text.trim();
        // Most values of records are no dates, which is told at once.
        let fits = |(given, wanted): (&u8, &u8)| match wanted {
            b'0' => given.is_ascii_digit(),
            sign => given == sign,
        };
        if text.len() < 7 || !text.as_bytes().iter().zip(DATE).all(fits) {
            return None;
        }
        let Some((date, time)) = text.split_at_checked(DATE.len()) else {
            return if text.len() == 7 { Self::month(text) } else { None };
        };
        if time.is_empty() {
            return Some(Self::of(Timestamp::parse(&format!("{date}T00:00:00Z"))?, DAY));
        }
        let time = time.strip_prefix(['T', 't', ' '])?;
        let zone = time.find(|c: char| !c.is_ascii_digit() && !":.,".contains(c));
        let (clock, zone) = time.split_at_checked(zone.unwrap_or(time.len()))?;
        let (width, rest) = match clock.len() {
            2 => (HOUR, ":00:00"),
            5 => (MINUTE, ":00"),
            8 => (SECOND, ""),
            _ => (1, ""),
        };
        let zone = if zone.is_empty() { "Z" } else { zone };
        Some(Self::of(Timestamp::parse(&format!("{date}T{clock}{rest}{zone}"))?, width))
    }

    /// All of a year (`2026`) in UTC. `None` when it is no number of four digits.
    #[must_use]
    pub fn year(text: &str) -> Option<Self> {
        let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let year: u16 = text.parse().ok().filter(|_| digits)?;
        Some(Self::between(month_begin(year, 1)?, month_begin(year + 1, 1)?))
    }

    /// All of the second, millisecond, microsecond or nanosecond of an epoch number
    /// ([`Timestamp::from_epoch`]).
    #[must_use]
    pub fn from_epoch(number: i64) -> Option<Self> {
        Some(Self::of(Timestamp::from_epoch(number)?, epoch_unit(number)))
    }

    fn month(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let (year, month): (u16, u16) = (year.parse().ok()?, month.parse().ok()?);
        let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        Some(Self::between(month_begin(year, month)?, month_begin(next.0, next.1)?))
    }

    /// So many nanoseconds from a moment on.
    #[must_use]
    pub fn of(first: Timestamp, width: i64) -> Self {
        Self { first, last: Timestamp(first.0.saturating_add(width - 1)) }
    }

    fn between(first: Timestamp, end: Timestamp) -> Self {
        Self { first, last: Timestamp(end.0.saturating_sub(1)) }
    }

    /// Where it lies of a moment: before it, around it, behind it.
    #[must_use]
    pub fn order(&self, moment: Timestamp) -> Ordering {
        match moment {
            moment if self.last < moment => Ordering::Less,
            moment if moment < self.first => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }
}

fn month_begin(year: u16, month: u16) -> Option<Timestamp> {
    Timestamp::parse(&format!("{year:04}-{month:02}-01T00:00:00Z"))
}

/// A half-open range of time: `from <= t < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TimeRange {
    /// First moment inside.
    pub from: Timestamp,
    /// First moment after; [`Timestamp::MAX`] means no end at all (it is inside then).
    pub to: Timestamp,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::ALL
    }
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from: Timestamp::MIN, to: Timestamp::MAX };

    /// Whether the moment lies inside.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.from <= moment && (moment < self.to || self.to == Timestamp::MAX)
    }

    /// Whether any moment of the closed range `first..=last` lies inside.
    #[must_use]
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from <= last && (first < self.to || self.to == Timestamp::MAX)
    }

    /// Whether every moment of the closed range `first..=last` lies inside.
    #[must_use]
    pub fn covers(&self, first: Timestamp, last: Timestamp) -> bool {
        self.contains(first) && self.contains(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: Option<&str>) {
        assert_eq!(Timestamp::parse(given).map(|t| t.to_string()), expected.map(str::to_owned));
    }

    #[test]
    fn reads_what_people_write() {
        check("2026-11-23T15:24:00Z", Some("2026-11-23T15:24:00.000000000Z"));
        check("2026-11-23 15:24:00.5+02:00", Some("2026-11-23T13:24:00.500000000Z"));
        check("1700000000", Some("2023-11-14T22:13:20.000000000Z"));
        check("1700000000123", Some("2023-11-14T22:13:20.123000000Z"));
        check("1700000000123456", Some("2023-11-14T22:13:20.123456000Z"));
        check("1700000000123456789", Some("2023-11-14T22:13:20.123456789Z"));
        check("1700000000.25", Some("2023-11-14T22:13:20.250000000Z"));
        check("yesterday-ish", None);
        check("9999-01-01T00:00:00Z", None);
    }

    #[test]
    fn the_usual_form_is_read_quickly() {
        for text in [
            "2026-11-23T15:24:00Z",
            "2026-11-23 15:24:00.5Z",
            "2026-01-31T00:00:59.123456789-14:00",
            "2000-02-28T23:59:59.000+05:30",
            "1700-12-31T00:00:00Z",
        ] {
            let quick = quick(text.as_bytes());
            assert!(quick.is_some() && quick == Timestamp::parse_any(text), "{text} {quick:?}");
        }
        for text in ["", "2026-11-23T15:24:00", "2026-02-30T15:24:00Z", "1600-01-01T00:00:00Z"] {
            assert_eq!(quick(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_quickly_is_read_as_elsewhere(
            text in "(0[0-9]|1[6-9]|2[0-9])[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
        ) {
            if let Some(quick) = quick(text.as_bytes()) {
                proptest::prop_assert_eq!(Some(quick), Timestamp::parse_any(&text), "{}", text);
            }
        }
    }

    #[test]
    fn a_period_is_all_that_is_said() {
        let read = |text: &str| {
            Period::read(text).map(|period| format!("{} {}", period.first, period.last))
        };
        for (given, first, last) in [
            ("2026-02", "2026-02-01T00:00:00.000000000", "2026-02-28T23:59:59.999999999"),
            ("2025-12", "2025-12-01T00:00:00.000000000", "2025-12-31T23:59:59.999999999"),
            ("2026-01-31", "2026-01-31T00:00:00.000000000", "2026-01-31T23:59:59.999999999"),
            ("2026-01-31T10", "2026-01-31T10:00:00.000000000", "2026-01-31T10:59:59.999999999"),
            ("2026-01-31 10:30", "2026-01-31T10:30:00.000000000", "2026-01-31T10:30:59.999999999"),
            (
                "2026-01-31t10+02:00",
                "2026-01-31T08:00:00.000000000",
                "2026-01-31T08:59:59.999999999",
            ),
            (
                "2026-01-31 10:30:05z",
                "2026-01-31T10:30:05.000000000",
                "2026-01-31T10:30:05.999999999",
            ),
            (
                "2026-01-31T10:30:05.5-01:00",
                "2026-01-31T11:30:05.500000000",
                "2026-01-31T11:30:05.500000000",
            ),
        ] {
            assert_eq!(read(given), Some(format!("{first}Z {last}Z")), "{given}");
        }
        for text in [
            "2026",
            "2026-13",
            "2026-02-30",
            "2026-01-31x",
            "2026-01-31T",
            "2026-01-311",
            "1700000000",
            "é026-01",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let year = Period::year("2026").unwrap();
        assert_eq!(year.first.to_string(), "2026-01-01T00:00:00.000000000Z");
        assert_eq!(year.last.to_string(), "2026-12-31T23:59:59.999999999Z");
        let epoch = Period::from_epoch(1_700_000_000_123).unwrap();
        assert_eq!(epoch.last.0 - epoch.first.0, 999_999);
        assert_eq!(epoch.order(Timestamp(epoch.last.0 + 1)), Ordering::Less);
        assert_eq!(epoch.order(epoch.last), Ordering::Equal);
        assert_eq!(epoch.order(Timestamp(epoch.first.0 - 1)), Ordering::Greater);
    }

    #[test]
    fn a_range_without_end_holds_the_last_moment() {
        assert!(TimeRange::ALL.contains(Timestamp::MAX));
        assert!(!TimeRange { from: Timestamp(0), to: Timestamp(5) }.contains(Timestamp(5)));
    }
}
