//! Records over time: how many of each level in each bucket.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use index::evaluate::levels_passing;
use index::scan::{Column, ScanRequest};
use index::searcher::Unit;
use model::level::Level;
use model::split::SplitMeta;
use model::time::{SECOND, TimeRange, Timestamp};
use model::wire::Missing;

use super::lower::origin;
use super::range::narrowed;
use super::scan::Scanner;
use super::{Engine, Fold, QueryFailure, Question};

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MILLI: i64 = SECOND / 1_000;
/// Widths of a bucket that people find round, nanoseconds.
const WIDTHS: [i64; 36] = [
    MILLI,
    2 * MILLI,
    5 * MILLI,
    10 * MILLI,
    20 * MILLI,
    50 * MILLI,
    100 * MILLI,
    200 * MILLI,
    500 * MILLI,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    180 * DAY,
    365 * DAY,
    3_650 * DAY,
    36_500 * DAY,
];

/// Counts of each level, by the level's number.
type LevelCounts = [u64; 7];

/// Records over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The range that is shown.
    pub range: TimeRange,
    /// Width of a bucket, nanoseconds.
    pub interval: i64,
    /// All buckets, in order, also empty ones.
    pub buckets: Vec<Bucket>,
    /// What the counts lack.
    pub missing: Vec<Missing>,
}

/// The records of one stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its first moment.
    pub start: Timestamp,
    /// How many of each level.
    pub counts: [u64; 7],
}

impl Bucket {
    /// All records in it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The round width with which a range needs no more than so many buckets.
pub(super) fn width_for(range: &TimeRange, buckets: u32) -> i64 {
    let most = i128::from(buckets.max(1));
    let fits = |width: &&i64| bucket_count(range, **width) <= most;
    WIDTHS.iter().find(fits).copied().unwrap_or(i64::MAX)
}

fn bucket_count(range: &TimeRange, width: i64) -> i128 {
    let last = range.to.0.saturating_sub(1).max(range.from.0);
    bucket_of(last, width) - bucket_of(range.from.0, width) + 1
}

/// The number of a moment's bucket, counted from the origin.
fn bucket_of(moment: i64, width: i64) -> i128 {
    (i128::from(moment) - i128::from(origin(width))).div_euclid(i128::from(width))
}

fn start_of(bucket: i128, width: i64) -> Timestamp {
    let start = bucket * i128::from(width) + i128::from(origin(width));
    let start = start.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Timestamp(i64::try_from(start).unwrap_or_default())
}

impl Engine {
    /// Counts records over time. `from` and `to` that are not given are where the stored records
    /// begin and end. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn histogram(
        &self,
        question: &Question,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        buckets: u32,
    ) -> Result<Histogram, QueryFailure> {
        let (scanner, mut budget) = (self.scanner(), self.budget());
        let _stop = scanner.stop_guard();
        let units = self.units(&scanner, &question.range, question.indexes.as_deref()).await;
        let now = self.clock().now();
        let stored_from = units.iter().map(|unit| Timestamp(unit.time_first())).min();
        let stored_to = units.iter().map(Unit::time_last).max();
        let stored_to = stored_to.map(|last| Timestamp(last.saturating_add(1)));
        let range = TimeRange {
            from: from.or(stored_from).unwrap_or_else(|| to.unwrap_or(now).min(now)),
            to: to.or(stored_to).unwrap_or(now),
        };
        let known = (from.is_some() && to.is_some()) || stored_from.is_some();
        if range.from >= range.to || !known {
            let (interval, buckets) = (MINUTE, Vec::new());
            return Ok(Histogram { range, interval, buckets, missing: Vec::new() });
        }
        let interval = width_for(&range, buckets);
        let asked = narrowed(range, &question.query.filter);
        let units: Vec<Unit> = units.into_iter().filter(|unit| unit.overlaps(&asked)).collect();
        let (mut counts, units) = match levels_passing(&question.query.filter) {
            Some(levels) => {
                let known = Known { scanner: scanner.clone(), range, width: interval, levels };
                let counted = tokio::task::spawn_blocking(move || known.count(units));
                budget.within(counted).await?.map_err(|_| QueryFailure::Broken)?
            }
            None => (Counts::default(), units),
        };
        let request = ScanRequest {
            filter: question.query.filter.clone(),
            range,
            columns: vec![Column::Bin { width: interval, origin: origin(interval) }, Column::Level],
            newest: None,
            counted: true,
        };
        let each = move |counts: &mut Counts, rows: &RecordBatch| {
            counts.add(rows, interval);
            ControlFlow::Continue(())
        };
        let fold = Fold { start: Box::new(Counts::default), each: Arc::new(each) };
        for part in self.fold(&scanner, units, request, &mut budget, fold).await? {
            counts.merge(part);
        }
        let first = bucket_of(range.from.0, interval);
        let last = first + bucket_count(&range, interval);
        let bucket = |bucket| Bucket {
            start: start_of(bucket, interval),
            counts: counts.0.get(&bucket).copied().unwrap_or_default(),
        };
        let buckets = (first..last).map(bucket).collect();
        Ok(Histogram { range, interval, buckets, missing: scanner.missing() })
    }
}

/// What is asked of the counts that splits keep of themselves.
struct Known {
    scanner: Scanner,
    range: TimeRange,
    width: i64,
    levels: [bool; 7],
}

impl Known {
    /// Counts the splits whose own counts answer; gives the others, whose rows must be read. Blocks.
    fn count(&self, units: Vec<Unit>) -> (Counts, Vec<Unit>) {
        let _core = self.scanner.cores.take();
        let mut counts = Counts::default();
        let wanted = units.into_iter().take_while(|_| !self.scanner.is_stopped());
        let read = wanted.filter(|unit| !self.is_counted(unit, &mut counts)).collect();
        (counts, read)
    }

    /// Whether a split was counted by what it keeps of itself.
    fn is_counted(&self, unit: &Unit, counts: &mut Counts) -> bool {
        let (searcher, width) = (&self.scanner.searcher, self.width);
        let Unit::Split(split) = unit else { return false };
        if !searcher.is_whole(unit) {
            return false;
        }
        if !self.range.covers(Timestamp(split.time_first), Timestamp(split.time_last)) {
            return false;
        }
        if counts.add_known(split, width, &self.levels) {
            return true;
        }
        let by_minute = width % MINUTE == 0 && origin(width) % MINUTE == 0;
        // What cannot be read is met again, and noted, by the scan.
        let known = by_minute.then(|| searcher.minutes(split));
        let Some(Ok(minutes)) = known else { return false };
        for (minute, known) in minutes {
            counts.add_levels(bucket_of(minute, width), &passing(known, &self.levels));
        }
        true
    }
}

/// Of counts by level, those of the levels that pass.
fn passing(counts: LevelCounts, levels: &[bool; 7]) -> LevelCounts {
    let mut at = levels.iter();
    counts.map(|count| if at.next() == Some(&true) { count } else { 0 })
}

#[derive(Debug, Default)]
struct Counts(BTreeMap<i128, LevelCounts>);

impl Counts {
    fn add(&mut self, rows: &RecordBatch, width: i64) {
        let [bins, levels, counts] = rows.columns() else { return };
        let bins = bins.as_primitive_opt::<TimestampNanosecondType>();
        let counts = counts.as_primitive_opt::<Int64Type>();
        let (Some(bins), Some(counts)) = (bins, counts) else { return };
        let Some(levels) = levels.as_string_opt::<i32>() else { return };
        for ((bin, level), count) in bins.values().iter().zip(levels).zip(counts.values()) {
            let level = level.and_then(Level::from_word).unwrap_or_default();
            self.count(bucket_of(*bin, width), level.number(), count.unsigned_abs());
        }
    }

    fn count(&mut self, bucket: i128, level: u8, more: u64) {
        let counts = self.0.entry(bucket).or_default();
        if let Some(count) = counts.get_mut(usize::from(level)) {
            *count += more;
        }
    }

    /// Counts a split that lies in one bucket by what the catalog knows of it.
    fn add_known(&mut self, split: &SplitMeta, width: i64, levels: &[bool; 7]) -> bool {
        let bucket = bucket_of(split.time_first, width);
        let known = bucket == bucket_of(split.time_last, width);
        if known {
            self.add_levels(bucket, &passing(split.level_counts, levels));
        }
        known
    }

    fn add_levels(&mut self, bucket: i128, levels: &[u64]) {
        for (level, count) in (0_u8..).zip(levels) {
            self.count(bucket, level, *count);
        }
    }

    fn merge(&mut self, other: Self) {
        for (bucket, counts) in other.0 {
            self.add_levels(bucket, &counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, buckets: u32, expected: i64) {
        let moment = |text| Timestamp::parse(text).unwrap();
        let range = TimeRange { from: moment(from), to: moment(to) };
        assert_eq!(width_for(&range, buckets), expected, "{from} {to}");
    }

    #[test]
    fn widths_are_round_and_just_wide_enough() {
        check("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", 60, MINUTE);
        check("2026-01-01T00:00:30Z", "2026-01-01T01:00:30Z", 60, 2 * MINUTE);
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", 60, MILLI);
        check("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", 31, DAY);
        let all = width_for(&TimeRange::ALL, 60);
        assert!(bucket_count(&TimeRange::ALL, all) <= 60);
        assert!(bucket_count(&TimeRange::ALL, width_for(&TimeRange::ALL, 1)) <= 3);
    }

    #[test]
    fn weeks_begin_on_monday() {
        let monday = Timestamp::parse("2026-11-23T00:00:00Z").unwrap();
        let week = 7 * DAY;
        assert_eq!(start_of(bucket_of(monday.0 + 3 * DAY, week), week), monday);
        assert_eq!(start_of(bucket_of(-1, MINUTE), MINUTE), Timestamp(-MINUTE));
    }
}
