//! What a split knows of its rows without its body: the times of blocks, the counts of minutes.

use std::collections::BTreeMap;
use std::io;

use model::level::Level;
use model::limits::BLOCK_ROWS;
use model::time::TimeRange;
use model::time::Timestamp;

use super::coding::{Reader, malformed, put, put_signed};
use super::rowset::RowSet;

/// A minute in nanoseconds.
pub(crate) const MINUTE: i64 = 60_000_000_000;

/// Earliest and latest timestamp of each block of [`BLOCK_ROWS`] rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlockTimes(Vec<(i64, i64)>);

impl BlockTimes {
    /// Adds the next rows, all of one block: the earliest and the latest of their times.
    pub(super) fn add(&mut self, row: u32, (first, last): (i64, i64)) {
        if (row as usize).is_multiple_of(BLOCK_ROWS) {
            self.0.push((first, last));
        } else if let Some(block) = self.0.last_mut() {
            *block = (block.0.min(first), block.1.max(last));
        }
    }

    /// The earliest and the latest time of all.
    pub(super) fn span(&self) -> (i64, i64) {
        let wider = |(first, last): (i64, i64), (a, b): &(i64, i64)| (first.min(*a), last.max(*b));
        self.0.iter().fold((i64::MAX, i64::MIN), wider)
    }

    /// How many blocks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The rows of blocks, given by ascending numbers.
    pub(super) fn rows_of(&self, blocks: impl IntoIterator<Item = u32>, row_count: u32) -> RowSet {
        let block_rows = u32::try_from(BLOCK_ROWS).unwrap_or(u32::MAX);
        let range = |block: u32| {
            let start = block.saturating_mul(block_rows);
            start..start.saturating_add(block_rows).min(row_count)
        };
        RowSet::from_sorted(blocks.into_iter().map(range))
    }

    /// The rows of blocks for whose first and last time the test holds.
    pub(super) fn rows_where(&self, row_count: u32, test: impl Fn(i64, i64) -> bool) -> RowSet {
        let passing = (0_u32..).zip(&self.0).filter(|(_, (first, last))| test(*first, *last));
        self.rows_of(passing.map(|(block, _)| block), row_count)
    }

    /// The rows that may be in a range.
    pub(super) fn rows_in(&self, range: &TimeRange, row_count: u32) -> RowSet {
        self.rows_where(row_count, |first, last| range.overlaps(Timestamp(first), Timestamp(last)))
    }

    /// A time such that at least so many of these rows are not before it.
    pub(super) fn newest_bound(&self, rows: &RowSet, count: usize) -> i64 {
        let block_rows = u32::try_from(BLOCK_ROWS).unwrap_or(u32::MAX);
        // Rows of each block, by the block's earliest time.
        let mut blocks: BTreeMap<u32, usize> = BTreeMap::new();
        for range in rows.ranges() {
            let mut start = range.start;
            while start < range.end {
                let block = start / block_rows;
                let end = range.end.min((block + 1).saturating_mul(block_rows));
                *blocks.entry(block).or_default() += (end - start) as usize;
                start = end;
            }
        }
        let first = |block: u32| self.0.get(block as usize).map_or(i64::MIN, |(first, _)| *first);
        let mut by_time: Vec<(i64, usize)> =
            blocks.into_iter().map(|(block, count)| (first(block), count)).collect();
        by_time.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0;
        for (time, rows) in by_time {
            sum += rows;
            if sum >= count {
                return time;
            }
        }
        i64::MIN
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        let mut before = 0_i64;
        for (first, last) in &self.0 {
            put_signed(&mut out, first.wrapping_sub(before));
            put(&mut out, last.abs_diff(*first));
            before = *first;
        }
        out
    }

    /// Undoes [`BlockTimes::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let (mut times, mut before) = (Vec::new(), 0_i64);
        for _ in 0..count {
            let first = before.wrapping_add(reader.signed()?);
            let last = first.checked_add_unsigned(reader.number()?).ok_or_else(malformed)?;
            times.push((first, last));
            before = first;
        }
        Ok(Self(times))
    }
}

/// Rows of each minute and level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Minutes(BTreeMap<i64, [u64; LEVELS]>);

const LEVELS: usize = Level::ALL.len();

impl Minutes {
    /// Counts rows by their times and levels. Neighbours often share both.
    pub(super) fn add(&mut self, times: &[i64], levels: &[Level]) {
        let level = |row: usize| levels.get(row).copied().unwrap_or_default();
        let rows = times.iter().enumerate();
        let keys = rows.map(|(row, time)| (time.div_euclid(MINUTE), level(row)));
        let mut last: Option<((i64, Level), u64)> = None;
        for key in keys {
            last = match last {
                Some((same, rows)) if same == key => Some((same, rows + 1)),
                other => {
                    self.add_rows(other);
                    Some((key, 1))
                }
            };
        }
        self.add_rows(last);
    }

    /// Counts rows of one minute and level.
    fn add_rows(&mut self, rows: Option<((i64, Level), u64)>) {
        let Some(((minute, level), rows)) = rows else { return };
        let counts = self.0.entry(minute).or_default();
        if let Some(count) = counts.get_mut(usize::from(level.number())) {
            *count += rows;
        }
    }

    /// The rows of several splits together.
    pub(super) fn joined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sums: BTreeMap<i64, [u64; LEVELS]> = BTreeMap::new();
        for (minute, counts) in all.into_iter().flat_map(|one| &one.0) {
            let own = sums.entry(*minute).or_default();
            own.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Self(sums)
    }

    /// Each minute's beginning (nanoseconds) with its rows by level, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &[u64; LEVELS])> {
        self.0.iter().map(|(minute, counts)| (minute.saturating_mul(MINUTE), counts))
    }

    /// Rows by level.
    pub(super) fn level_counts(&self) -> [u64; LEVELS] {
        let mut sums = [0; LEVELS];
        for counts in self.0.values() {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        let mut before = 0;
        for (minute, counts) in &self.0 {
            put_signed(&mut out, minute - before);
            counts.iter().for_each(|count| put(&mut out, *count));
            before = *minute;
        }
        out
    }

    /// Undoes [`Minutes::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let (mut minutes, mut before) = (BTreeMap::new(), 0_i64);
        for _ in 0..count {
            let minute = before.wrapping_add(reader.signed()?);
            let mut counts = [0; LEVELS];
            for count in &mut counts {
                *count = reader.number()?;
            }
            minutes.insert(minute, counts);
            before = minute;
        }
        Ok(Self(minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_blocks_come_back_and_bound_the_newest() {
        let mut blocks = BlockTimes::default();
        let rows = u32::try_from(3 * BLOCK_ROWS).unwrap() - 1;
        for row in 0..rows {
            blocks.add(row, (i64::from(row), i64::from(row)));
        }
        assert_eq!((blocks.len(), blocks.span()), (3, (0, i64::from(rows) - 1)));
        assert_eq!(BlockTimes::decode(&blocks.encode()).unwrap(), blocks);
        let block = i64::try_from(BLOCK_ROWS).unwrap();
        let all = RowSet::all(rows);
        assert_eq!(blocks.newest_bound(&all, 10), 2 * block);
        assert_eq!(blocks.newest_bound(&all, BLOCK_ROWS), block);
        assert_eq!(blocks.newest_bound(&all, 4 * BLOCK_ROWS), i64::MIN);
        let in_first = TimeRange { from: Timestamp(0), to: Timestamp(5) };
        assert_eq!(blocks.rows_in(&in_first, rows).count(), BLOCK_ROWS);
    }

    #[test]
    fn minutes_are_counted_by_level() {
        let mut minutes = Minutes::default();
        minutes.add(&[-1, MINUTE, 2 * MINUTE - 1], &[Level::Error, Level::Info, Level::Info]);
        let read = Minutes::decode(&minutes.encode()).unwrap();
        assert_eq!(read, minutes);
        let firsts: Vec<i64> = read.iter().map(|(minute, _)| minute).collect();
        assert_eq!(firsts, [-MINUTE, MINUTE]);
        assert_eq!(read.level_counts()[usize::from(Level::Info.number())], 2);
        // One by one, in parts, and without levels.
        let mut parts = [Minutes::default(), Minutes::default()];
        parts[0].add(&[-1], &[Level::Error]);
        parts[1].add(&[2 * MINUTE - 1], &[Level::Info]);
        parts[1].add(&[MINUTE], &[Level::Info]);
        assert_eq!(Minutes::joined(&parts), minutes);
        let mut unknown = Minutes::default();
        unknown.add(&[0, 5, MINUTE], &[]);
        assert_eq!(unknown.level_counts()[usize::from(Level::Unknown.number())], 3);
    }
}
