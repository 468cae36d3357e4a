//! Moments and ranges of time: nanoseconds since 1970 UTC, their texts, and the epoch numbers people write.

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
        let scale = match number.unsigned_abs() {
            0..100_000_000_000 => SECOND,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        number.checked_mul(scale).map(Self)
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
    fn a_range_without_end_holds_the_last_moment() {
        assert!(TimeRange::ALL.contains(Timestamp::MAX));
        assert!(!TimeRange { from: Timestamp(0), to: Timestamp(5) }.contains(Timestamp(5)));
    }
}
