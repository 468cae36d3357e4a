//! Bins of time as calendars know them: months, weeks, days of a time zone, and spans of one.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, ToSpan as _, ZonedDateTime};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::language::read_span;

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// A year.
    Year,
    /// Three months.
    Quarter,
    /// A month.
    Month,
    /// A week, from Monday.
    Week,
    /// A day.
    Day,
    /// An hour.
    Hour,
    /// A minute.
    Minute,
    /// A second.
    Second,
}

impl Unit {
    const ALL: [(&'static str, &'static str, Self); 8] = [
        ("year", "1y", Self::Year),
        ("quarter", "1q", Self::Quarter),
        ("month", "1M", Self::Month),
        ("week", "1w", Self::Week),
        ("day", "1d", Self::Day),
        ("hour", "1h", Self::Hour),
        ("minute", "1m", Self::Minute),
        ("second", "1s", Self::Second),
    ];

    /// The unit of a name (`month`, `1M`).
    pub(crate) fn read(name: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(long, short, _)| *long == name || *short == name);
        known.map(|(_, _, unit)| *unit)
    }

    /// So many of it.
    pub(crate) fn span(self, count: i64) -> Option<Span> {
        let span = Span::new();
        match self {
            Self::Year => span.try_years(count),
            Self::Quarter => span.try_months(count.checked_mul(3)?),
            Self::Month => span.try_months(count),
            Self::Week => span.try_weeks(count),
            Self::Day => span.try_days(count),
            Self::Hour => span.try_hours(count),
            Self::Minute => span.try_minutes(count),
            Self::Second => span.try_seconds(count),
        }
        .ok()
    }

    /// The moment at which the unit begins that holds this one.
    pub(crate) fn floor(self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let zoned = zoned(moment, zone)?;
        let date = zoned.date();
        let of = |year: i16, month: i8| Date::new(year, month, 1).ok();
        let first = match self {
            Self::Year => of(date.year(), 1)?,
            Self::Quarter => of(date.year(), (date.month() - 1) / 3 * 3 + 1)?,
            Self::Month => of(date.year(), date.month())?,
            Self::Week => {
                let back = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(back.days()).ok()?
            }
            Self::Day => date,
            Self::Hour | Self::Minute | Self::Second => {
                let seconds = match self {
                    Self::Hour => i64::from(zoned.minute()) * 60 + i64::from(zoned.second()),
                    Self::Minute => i64::from(zoned.second()),
                    _ => 0,
                };
                let past = seconds * 1_000_000_000 + i64::from(zoned.subsec_nanosecond());
                return Some(Timestamp(moment.0.checked_sub(past)?));
            }
        };
        nanos(&first.to_zoned_datetime(zone.clone()).ok()?)
    }

    /// The moment so many units later, in a zone.
    pub(crate) fn later(self, moment: Timestamp, count: i64, zone: &TimeZone) -> Option<Timestamp> {
        nanos(&zoned(moment, zone)?.checked_add(self.span(count)?).ok()?)
    }
}

fn zoned(moment: Timestamp, zone: &TimeZone) -> Option<ZonedDateTime> {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(moment.0)).ok()?;
    Some(moment.to_zoned_datetime(zone.clone()))
}

/// The moment of a date and time in a zone.
pub(crate) fn nanos(zoned: &ZonedDateTime) -> Option<Timestamp> {
    i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp)
}

/// The zone of a name (`Europe/Berlin`) or an offset (`+01:00`).
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name == "Z" {
        return Some(TimeZone::UTC);
    }
    let Some(sign) = name.chars().next().filter(|sign| "+-".contains(*sign)) else {
        return TimeZone::get(name).ok();
    };
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.parse::<i32>().ok()?, 0),
        4 => (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?),
        _ => return None,
    };
    let seconds = (hours * 60 + minutes) * 60;
    let offset = Offset::from_seconds(if sign == '-' { -seconds } else { seconds }).ok()?;
    Some(TimeZone::fixed(offset))
}

/// How wide the bins are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Width {
    /// Units of the calendar.
    Calendar(Unit),
    /// So many nanoseconds.
    Fixed(i64),
}

/// Bins of time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Bins {
    /// How wide they are.
    pub(crate) width: Width,
    /// The zone in which they begin.
    pub(crate) zone: String,
    /// Nanoseconds by which they begin later.
    pub(crate) offset: i64,
}

impl Bins {
    /// Bins of a unit (`month`) or a span (`90s`) in a zone.
    pub(crate) fn read(width: &str, zone_name: &str, offset: i64) -> Option<Self> {
        let width = match Unit::read(width) {
            Some(unit) => Width::Calendar(unit),
            None => Width::Fixed(read_span(width).filter(|nanos| *nanos > 0)?),
        };
        zone(zone_name)?;
        Some(Self { width, zone: zone_name.to_owned(), offset })
    }

    /// Finds bins, the zone looked up once.
    pub(crate) fn finder(&self) -> impl Fn(Timestamp) -> Option<Timestamp> + '_ {
        let zone = zone(&self.zone).unwrap_or(TimeZone::UTC);
        let is_utc = zone == TimeZone::UTC;
        move |moment| {
            let shifted = Timestamp(moment.0.checked_sub(self.offset)?);
            let start = match self.width {
                Width::Calendar(unit) => unit.floor(shifted, &zone)?,
                Width::Fixed(width) => {
                    let local = match is_utc {
                        true => 0,
                        false => {
                            let at = i128::from(shifted.0);
                            let at = jiff::Timestamp::from_nanosecond(at).ok()?;
                            i64::from(zone.to_offset(at).seconds()) * 1_000_000_000
                        }
                    };
                    let there = shifted.0.checked_add(local)?;
                    Timestamp(there.div_euclid(width).checked_mul(width)?.checked_sub(local)?)
                }
            };
            Some(Timestamp(start.0.checked_add(self.offset)?))
        }
    }

    /// The bin behind one that begins at this moment.
    pub(crate) fn next(&self, start: Timestamp) -> Option<Timestamp> {
        match self.width {
            Width::Fixed(width) if self.zone.is_empty() || self.zone == "UTC" => {
                start.0.checked_add(width).map(Timestamp)
            }
            Width::Fixed(width) => {
                // Where the zone's offset changes, bins are longer or shorter.
                let near = Timestamp(start.0.checked_add(width)?);
                let found = self.finder()(near)?;
                if found > start { Some(found) } else { Some(near) }
            }
            Width::Calendar(unit) => {
                let zone = zone(&self.zone)?;
                let bare = Timestamp(start.0.checked_sub(self.offset)?);
                let next = unit.later(bare, 1, &zone)?;
                Some(Timestamp(next.0.checked_add(self.offset)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(width: &str, zone: &str, offset: i64, given: &str, start: &str, next: &str) {
        let bins = Bins::read(width, zone, offset).unwrap();
        let found = bins.finder()(Timestamp::parse(given).unwrap()).unwrap();
        assert_eq!(found, Timestamp::parse(start).unwrap(), "{width} {zone} {given}: {found}");
        let after = bins.next(found).unwrap();
        assert_eq!(after, Timestamp::parse(next).unwrap(), "{width} {zone} {given}: {after}");
    }

    #[test]
    fn bins_begin_where_calendars_say() {
        let at = "2026-05-17T13:45:30.5Z";
        check("month", "", 0, at, "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z");
        check("quarter", "UTC", 0, at, "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z");
        check("year", "Europe/Berlin", 0, at, "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z");
        check("week", "", 0, at, "2026-05-11T00:00:00Z", "2026-05-18T00:00:00Z");
        check("day", "+05:30", 0, at, "2026-05-16T18:30:00Z", "2026-05-17T18:30:00Z");
        check("hour", "+05:30", 0, at, "2026-05-17T13:30:00Z", "2026-05-17T14:30:00Z");
        let six = 6 * 3_600_000_000_000;
        check(
            "day",
            "",
            six,
            "2026-05-17T05:00:00Z",
            "2026-05-16T06:00:00Z",
            "2026-05-17T06:00:00Z",
        );
        check("90s", "", 0, at, "2026-05-17T13:45:00Z", "2026-05-17T13:46:30Z");
        // Clocks go forward: a day of 23 hours.
        let spring = "2026-03-29T12:00:00Z";
        check("day", "Europe/Berlin", 0, spring, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        check("1d", "Europe/Berlin", 0, spring, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    }

    #[test]
    fn what_is_no_zone_or_width_is_none() {
        assert_eq!(Bins::read("fortnight", "", 0), None);
        assert_eq!(Bins::read("month", "Mars/Olympus", 0), None);
    }
}
