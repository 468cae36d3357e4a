//! What a line's words about time mean as a moment: the zone and year they leave out.

use crate::time::{SECOND, Timestamp, days_since_1970};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A time as a line states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// An epoch number: nothing is left open.
    Moment(Timestamp),
    /// Date and time of day.
    Civil {
        /// The year, if it is stated.
        year: Option<i16>,
        /// 1 to 12.
        month: i8,
        /// 1 to 31.
        day: i8,
        /// 0 to 23.
        hour: i8,
        /// 0 to 59.
        minute: i8,
        /// 0 to 59; a leap second is taken as the one before.
        second: i8,
        /// Nanoseconds of the second.
        nanos: i32,
        /// Seconds east of UTC, if a zone is stated.
        offset_s: Option<i32>,
    },
}

/// The zone of times that state none.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    /// The last quarters of an hour looked up, and the seconds since 1970 of their beginnings.
    /// No zone changes its offset at another moment than the beginning of one. Several of them: a
    /// time without a year is looked up in next year first, and lines are not all in order.
    last: [Option<(Quarter, i64)>; QUARTERS_KEPT],
    /// Which of them is replaced next.
    oldest: usize,
    /// Which of them was found last: most lines are of the same quarter as the one before.
    found: usize,
    /// The last moment whose year was asked for.
    year: Option<(Timestamp, i16)>,
}

/// Quarters of an hour that are kept.
const QUARTERS_KEPT: usize = 8;

/// A quarter of an hour as it is stated: year, month, day, hour, quarter, seconds east of UTC.
type Quarter = (i16, i8, i8, i8, i8, Option<i32>);

/// Why a zone cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("time zone {name:?} is not known here: give a name such as Europe/Berlin, or UTC")]
pub struct ZoneError {
    name: String,
    #[source]
    source: jiff::Error,
}

/// How far after now a time without a year may lie before it is taken to be last year's.
const FUTURE_MAX: i64 = 24 * 3600 * SECOND;
/// Further than that from UTC is no zone.
const OFFSET_MAX: i64 = 26 * 3600 * SECOND;
/// Years to go back for a 29 February.
const YEARS_BACK_MAX: i16 = 9;

impl Default for Zone {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, last: [None; QUARTERS_KEPT], oldest: 0, found: 0, year: None }
    }
}

impl Zone {
    /// The zone of that name; without one the machine's (`TZ`, `/etc/localtime`, else UTC).
    ///
    /// # Errors
    /// The name is not in the machine's zone files.
    pub fn of(name: Option<&str>) -> Result<Self, ZoneError> {
        let zone = match name {
            Some(name) => {
                TimeZone::get(name).map_err(|source| ZoneError { name: name.to_owned(), source })?
            }
            None => TimeZone::system(),
        };
        Ok(Self { zone, ..Self::default() })
    }

    /// The moment a stated time means, read at `now`. `None` when there is no such day, or it
    /// lies outside what can be stored.
    pub fn resolve(&mut self, stated: &Stated, now: Timestamp) -> Option<Timestamp> {
        let Stated::Civil { year, month, day, hour, minute, second, nanos, offset_s } = *stated
        else {
            let Stated::Moment(moment) = *stated else { return None };
            return Some(moment);
        };
        let at = |zone: &mut Self, year: i16| {
            let quarter = zone.quarter((year, month, day, hour, minute / 15, offset_s))?;
            let seconds = quarter + i64::from(minute % 15) * 60 + i64::from(second);
            seconds.checked_mul(SECOND)?.checked_add(i64::from(nanos)).map(Timestamp)
        };
        if let Some(year) = year {
            return at(self, year);
        }
        // Without a year: the latest one that does not put it more than a day after now.
        let limit = now.0.saturating_add(FUTURE_MAX);
        // Any later year would.
        let latest = self.year_of(Timestamp(limit.saturating_add(OFFSET_MAX)))?;
        (latest - YEARS_BACK_MAX..=latest)
            .rev()
            .find_map(|year| at(self, year).filter(|moment| moment.0 <= limit))
    }

    /// Seconds since 1970 at the beginning of a quarter of an hour. `None` when there is none.
    fn quarter(&mut self, stated: Quarter) -> Option<i64> {
        let known = |last: &Option<(Quarter, i64)>| last.filter(|last| last.0 == stated);
        if let Some((_, seconds)) = self.last.get(self.found).and_then(known) {
            return Some(seconds);
        }
        if let Some(found) = self.last.iter().position(|last| known(last).is_some()) {
            self.found = found;
            return self.last.get(found).and_then(known).map(|(_, seconds)| seconds);
        }
        let (year, month, day, hour, quarter, offset_s) = stated;
        let civil = DateTime::new(year, month, day, hour, quarter * 15, 0, 0).ok()?;
        let seconds = match offset_s {
            Some(offset) => utc_seconds(civil) - i64::from(offset),
            None => self.zone.to_timestamp(civil).ok()?.as_second(),
        };
        if let Some(place) = self.last.get_mut(self.oldest) {
            *place = Some((stated, seconds));
            self.found = self.oldest;
        }
        self.oldest = (self.oldest + 1) % QUARTERS_KEPT;
        Some(seconds)
    }

    fn year_of(&mut self, now: Timestamp) -> Option<i16> {
        if let Some((_, year)) = self.year.filter(|known| known.0 == now) {
            return Some(year);
        }
        let moment = jiff::Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
        let year = TimeZone::UTC.to_datetime(moment).year();
        self.year = Some((now, year));
        Some(year)
    }
}

/// Seconds since 1970 if the time were UTC.
fn utc_seconds(civil: DateTime) -> i64 {
    let (year, month, day) = (civil.year(), civil.month(), civil.day());
    let days = days_since_1970(i64::from(year), i64::from(month), i64::from(day));
    ((days * 24 + i64::from(civil.hour())) * 60 + i64::from(civil.minute())) * 60
        + i64::from(civil.second())
}
