//! The rows of a split that pass a filter, kept from one question to the next: a split never changes, so
//! they stay those. What a question reads to find out which of the rows pass tells it for all questions
//! behind it, within the bound of the pages that are kept.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use model::query::Filter;
use model::time::{TimeRange, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::coding::{Reader, put};
use super::open::Split;
use super::rowset::RowSet;
use super::search::Question;

/// Ranges of rows that are kept for a filter: of more it is found out anew.
const RANGES_MAX: usize = 32_768;
/// Bytes of a filter whose rows are kept, as it is written.
const FILTER_BYTES_MAX: usize = 4_096;

/// The rows that pass a filter, whatever their time.
#[derive(Debug)]
pub(super) struct Found {
    filter: Filter,
    filter_bytes: usize,
    count: usize,
    /// Of each range of rows how many are left out before it, and how many it has.
    ranges: Box<[u8]>,
}

impl Found {
    pub(super) fn new(filter: Filter, filter_bytes: usize, rows: &RowSet) -> Self {
        let (mut ranges, mut end) = (Vec::new(), 0);
        for range in rows.ranges() {
            put(&mut ranges, u64::from(range.start - end));
            put(&mut ranges, u64::from(range.end - range.start));
            end = range.end;
        }
        Self { filter, filter_bytes, count: rows.count(), ranges: ranges.into() }
    }

    /// How many rows they are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The rows.
    pub(super) fn rows(&self) -> RowSet {
        let (mut ranges, mut end) = (Reader(&self.ranges), 0);
        RowSet::from_sorted(std::iter::from_fn(|| {
            let start = end + ranges.small().ok()?;
            end = start + ranges.small().ok()?;
            Some(start..end)
        }))
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.len() + 2 * self.filter_bytes
    }
}

/// By what a filter is looked up, and its length; `None` for one that is not kept. Filters that differ
/// may have the same: they are compared themselves.
pub(super) fn hash_of(filter: &Filter) -> Option<(u64, usize)> {
    if *filter == Filter::All {
        return None;
    }
    let mut written = Short(Vec::new());
    serde_json::to_writer(&mut written, filter).ok()?;
    Some((xxh3_64(&written.0), written.0.len()))
}

/// A filter as it is written: one that is too long is not written to its end, for each split again.
struct Short(Vec<u8>);

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > FILTER_BYTES_MAX - self.0.len() {
            return Err(io::Error::other("a long filter"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gathers the rows that pass a filter while they are looked at.
#[derive(Debug)]
pub(super) struct Finder {
    /// `None` where they are too many, or not all are looked at.
    ranges: Option<Vec<Range<u32>>>,
}

impl Finder {
    /// Of rows with these numbers, which ascend, those that pass.
    pub(super) fn add(&mut self, numbers: &[u32], passing: &BooleanBuffer) {
        if self.ranges.is_some() {
            let rows = passing.set_indices().filter_map(|at| numbers.get(at));
            self.put(rows.map(|row| *row..row.saturating_add(1)));
        }
    }

    /// More rows that pass.
    pub(super) fn add_rows(&mut self, rows: &RowSet) {
        self.put(rows.ranges().iter().cloned());
    }

    fn put(&mut self, more: impl Iterator<Item = Range<u32>>) {
        let Some(ranges) = &mut self.ranges else { return };
        for range in more {
            if let Some(last) = ranges.last_mut()
                && last.end == range.start
            {
                last.end = range.end;
            } else if ranges.len() < RANGES_MAX {
                ranges.push(range);
            } else {
                self.ranges = None;
                return;
            }
        }
    }

    fn finish(self) -> Option<RowSet> {
        let mut ranges = self.ranges?;
        ranges.sort_unstable_by_key(|range| range.start);
        Some(RowSet::from_sorted(ranges))
    }
}

impl Split {
    /// Whether all of its records are in a range.
    pub(super) fn is_inside(&self, range: &TimeRange) -> bool {
        range.covers(Timestamp(self.meta.time_first), Timestamp(self.meta.time_last))
    }

    /// The rows that pass a filter, if they are known.
    pub(super) fn found(&self, filter: &Filter) -> Option<Arc<Found>> {
        let (hash, _) = hash_of(filter)?;
        self.pages.found(hash).filter(|found| found.filter == *filter)
    }

    /// What gathers the rows that pass the filter of a question, where all that may are looked at.
    pub(super) fn finder(&self, question: &Question<'_>) -> Finder {
        let is_asked = !question.is_found && self.is_inside(&question.request.range);
        Finder { ranges: is_asked.then(Vec::new) }
    }

    /// Keeps what was gathered of a question to its end.
    pub(super) fn keep_found(&self, question: &Question<'_>, finder: Finder) {
        let filter = &question.request.filter;
        if let Some(rows) = finder.finish()
            && let Some((hash, filter_bytes)) = hash_of(filter)
        {
            let found = Found::new(filter.clone(), filter_bytes, &rows);
            self.pages.keep_found(hash, Arc::new(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::query::TextMatch;

    use super::*;

    fn finder() -> Finder {
        Finder { ranges: Some(Vec::new()) }
    }

    #[test]
    fn what_passes_is_gathered_in_any_order() {
        let mut found = finder();
        found.add(&[7, 8, 9, 12], &BooleanBuffer::from(vec![true, true, false, true]));
        found.add_rows(&RowSet::from_sorted([1..4, 13..15]));
        found.add(&[9], &BooleanBuffer::from(vec![true]));
        assert_eq!(found.finish().unwrap().ranges(), [1..4, 7..10, 12..15]);
        assert_eq!(finder().finish(), Some(RowSet::default()));
    }

    #[test]
    fn rows_come_back() {
        let ranges = [vec![], vec![0..1, 2..3], vec![3..5, 6..7, 1_000_000..2_000_000]];
        for rows in ranges.map(RowSet::from_sorted) {
            let found = Found::new(Filter::All, 0, &rows);
            assert_eq!((found.rows(), found.count()), (rows.clone(), rows.count()));
        }
    }

    #[test]
    fn of_too_many_nothing_is_kept() {
        let ranges = |count: u32| RowSet::from_sorted((0..count).map(|n| n * 2..n * 2 + 1));
        let most = u32::try_from(RANGES_MAX).unwrap();
        let mut found = finder();
        found.add_rows(&ranges(most));
        assert_eq!(finder().finish().unwrap().count(), 0);
        found.add_rows(&RowSet::from_sorted(std::iter::once(most * 2..most * 2 + 1)));
        assert!(found.finish().is_none());
    }

    #[test]
    fn long_filters_and_none_have_no_place() {
        let word = |text: String| Filter::Text(TextMatch::Phrase(text));
        assert!(hash_of(&Filter::All).is_none());
        assert!(hash_of(&word("x".repeat(FILTER_BYTES_MAX))).is_none());
        let [one, other] = ["a", "b"].map(|text| hash_of(&word(text.to_owned())).unwrap());
        assert_ne!(one.0, other.0);
    }
}
