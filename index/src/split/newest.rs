//! The newest rows of a split: a list of them is kept in their order, others are found by the times
//! of blocks. First which rows, by as little as tells; then the answer's columns of those few.

use std::cmp::Reverse;
use std::io;
use std::ops::ControlFlow;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Schema;
use model::query::Filter;
use model::time::{TimeRange, Timestamp};

use super::coding::{Reader, malformed, put, put_signed};
use super::offsets::OffsetReader;
use super::open::Split;
use super::rowset::RowSet;
use super::search::{Needs, Question, give_last};
use super::stored::moments;
use crate::columns::times;
use crate::scan::{Column, ScanError, render};

/// Rows that are listed of a split, and one of so many of a small one.
const LISTED_MAX: usize = 8_192;
const LISTED_SHARE: u32 = 64;

/// The newest rows of a split, by (timestamp, offset) descending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NewestRows(Vec<u32>);

impl NewestRows {
    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        let mut before = 0_u32;
        for row in &self.0 {
            put_signed(&mut out, i64::from(*row) - i64::from(before));
            before = *row;
        }
        out
    }

    /// Undoes [`NewestRows::encode`].
    pub(super) fn decode(bytes: &[u8], row_count: u32) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let (mut rows, mut row) = (Vec::new(), 0_i64);
        for _ in 0..reader.number()? {
            row = row.checked_add(reader.signed()?).ok_or_else(malformed)?;
            let number = u32::try_from(row).ok().filter(|row| *row < row_count);
            rows.push(number.ok_or_else(malformed)?);
        }
        Ok(Self(rows))
    }

    /// The newest of the rows that pass, newest first; `None` when the list is too short to know.
    fn of(&self, passing: &RowSet, newest: usize) -> Option<Vec<u32>> {
        let ranges = passing.ranges();
        let passes = |row: &&u32| {
            let behind = ranges.partition_point(|range| range.end <= **row);
            ranges.get(behind).is_some_and(|range| range.start <= **row)
        };
        let found: Vec<u32> = self.0.iter().filter(passes).take(newest).copied().collect();
        (found.len() == newest || found.len() == passing.count()).then_some(found)
    }
}

/// Finds the newest rows while rows are written: of twice as many as are listed the older half is
/// thrown away, again and again.
pub(super) struct NewestFinder {
    most: usize,
    rows: Vec<NewRow>,
    /// None of the newest is older.
    bound: Option<NewRow>,
}

/// Timestamp, offset, row.
type NewRow = (i64, u64, u32);

impl Default for NewestFinder {
    fn default() -> Self {
        Self { most: LISTED_MAX, rows: Vec::new(), bound: None }
    }
}

impl NewestFinder {
    pub(super) fn add(&mut self, row: u32, time: i64, offset: u64) {
        let row = (time, offset, row);
        if self.bound.is_some_and(|bound| row < bound) {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= self.most * 2 {
            let at = self.most.saturating_sub(1);
            let (_, last, _) = self.rows.select_nth_unstable_by_key(at, |row| Reverse(*row));
            self.bound = Some(*last);
            self.rows.truncate(self.most);
        }
    }

    pub(super) fn finish(mut self, row_count: u32) -> NewestRows {
        let most = (row_count / LISTED_SHARE).max(16) as usize;
        self.rows.sort_unstable_by_key(|row| Reverse(*row));
        let newest = self.rows.into_iter().take(most.min(self.most));
        NewestRows(newest.map(|(_, _, row)| row).collect())
    }
}

/// Rows that may be among the newest, by time alone: ties are all kept.
struct Candidates {
    most: usize,
    rows: Vec<(i64, u32)>,
    /// Rows at which those that are too old are thrown away.
    full: usize,
}

impl Candidates {
    fn new(most: usize) -> Self {
        let full = most.saturating_mul(2).max(4_096);
        Self { most, rows: Vec::new(), full }
    }

    fn offer(&mut self, time: i64, row: u32) {
        self.rows.push((time, row));
        if self.rows.len() >= self.full {
            self.shrink();
            // Many of one time: not to be looked through again and again.
            self.full = self.full.max(self.rows.len().saturating_mul(2));
        }
    }

    fn shrink(&mut self) {
        let Some(last) = self.most.checked_sub(1) else { return self.rows.clear() };
        if last < self.rows.len() {
            let (_, (bound, _), _) =
                self.rows.select_nth_unstable_by_key(last, |(time, _)| Reverse(*time));
            let bound = *bound;
            self.rows.retain(|(time, _)| *time >= bound);
        }
    }

    /// By row.
    fn finish(mut self) -> Vec<(i64, u32)> {
        self.shrink();
        self.rows.sort_unstable_by_key(|(_, row)| *row);
        self.rows
    }
}

impl Split {
    /// The newest rows that pass.
    pub(super) fn scan_newest(
        &self,
        question: &Question<'_>,
        newest: usize,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let request = question.request;
        let order = match self.listed(question, newest)? {
            Some(order) => Some(order),
            None => self.newest_rows(question, newest, emit)?,
        };
        if let Some(order) = order.filter(|order| !order.is_empty()) {
            give_last(emit, self.fetch(&order, &request.columns, &request.range)?);
        }
        Ok(())
    }

    /// The rows, newest first, if the list knows them. Some may be before the range.
    fn listed(
        &self,
        question: &Question<'_>,
        newest: usize,
    ) -> Result<Option<Vec<u32>>, ScanError> {
        let Some(passing) = question.passing.as_ref().filter(|_| question.open.is_empty()) else {
            return Ok(None);
        };
        // Of a range that ends within the split it is not known where in the list it begins.
        let reaches_end = question.request.range.to.0 > self.meta.time_last;
        Ok(if reaches_end { self.newest()?.of(passing, newest) } else { None })
    }

    /// The rows, newest first, found by their times; `None` when nobody wants them any more.
    fn newest_rows(
        &self,
        question: &Question<'_>,
        newest: usize,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u32>>, ScanError> {
        let request = question.request;
        let mut decided = question.decided.clone();
        if let Some(passing) = &question.passing {
            // Rows of blocks that end before the last wanted one begins cannot be among them; of a
            // range's last block it is not known how many are inside.
            decided = passing.clone();
            if request.range.to.0 > self.meta.time_last {
                let blocks = self.blocks()?;
                let bound = blocks.newest_bound(passing, newest);
                let late = blocks.rows_where(self.row_count, |_, last| last >= bound);
                decided = decided.and(&late);
            }
        }
        let (mut candidates, mut finder) = (Candidates::new(newest), self.finder(question));
        if let Some(passing) = &question.passing {
            finder.add_rows(passing);
        }
        for (rows, evaluator, filter, are_known) in [
            (&decided, &question.known, &question.unknown, question.passing.is_some()),
            (&question.open, question.evaluator, &request.filter, false),
        ] {
            let needs =
                Needs { filter, columns: &[], with_times: true, by_keys: true, in_order: true };
            let mut offer = |rows: RecordBatch, numbers: &[u32]| {
                let passing = evaluator.numbered_rows(&rows, self.place(), numbers);
                if !are_known {
                    finder.add(numbers, &passing);
                }
                let moments = moments(&rows);
                for row in passing.set_indices() {
                    if let Some((time, number)) = moments.get(row).zip(numbers.get(row)) {
                        candidates.offer(*time, *number);
                    }
                }
                Ok(emit(RecordBatch::new_empty(request.schema())))
            };
            if self.read(rows, &needs, &mut offer)?.is_break() {
                return Ok(None);
            }
        }
        self.keep_found(question, finder);
        self.in_order(&candidates.finish(), newest).map(Some)
    }

    /// Rows with their times, newest first: equal times by their offsets.
    fn in_order(&self, rows: &[(i64, u32)], newest: usize) -> Result<Vec<u32>, ScanError> {
        let times: Vec<i64> = rows.iter().map(|(time, _)| *time).collect();
        let mut reader = OffsetReader::new(self.offsets()?);
        let offsets = reader.read(rows.iter().map(|(_, row)| *row), &times);
        let offsets =
            offsets.map_err(|error| self.wrong(format!("its section offsets: {error}")))?;
        let keyed = rows.iter().zip(offsets.values());
        let mut order: Vec<((i64, u64), u32)> =
            keyed.map(|((time, row), offset)| ((*time, *offset), *row)).collect();
        order.sort_unstable_by_key(|(key, _)| Reverse(*key));
        order.truncate(newest);
        Ok(order.into_iter().map(|(_, row)| row).collect())
    }

    /// Some columns of a few rows, in the order given, of those within the range.
    fn fetch(
        &self,
        order: &[u32],
        columns: &[Column],
        range: &TimeRange,
    ) -> Result<RecordBatch, ScanError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let rows = RowSet::from_sorted(sorted.iter().map(|row| *row..*row + 1));
        let filter = &Filter::All;
        let needs = Needs { filter, columns, with_times: true, by_keys: false, in_order: true };
        let mut parts = Vec::new();
        self.read_all(&rows, &needs, &mut |rows, _| {
            parts.push(rows);
            Ok(())
        })?;
        let Some(first) = parts.first() else {
            return Ok(RecordBatch::new_empty(Schema::empty().into()));
        };
        let rows = concat_batches(&first.schema(), &parts)?;
        let times = times(&rows, "timestamp");
        let inside = |place: &u32| {
            let time = times.map(|times| Timestamp(times.value(*place as usize)));
            time.is_none_or(|time| range.contains(time))
        };
        let place_of =
            |row: &u32| sorted.binary_search(row).ok().and_then(|at| u32::try_from(at).ok());
        let order: Vec<u32> = order.iter().filter_map(place_of).filter(inside).collect();
        let rows = take_record_batch(&rows, &UInt32Array::from(order))?;
        render(&rows, self.place(), columns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn listed_and_found_are_the_newest(
            rows in prop::collection::vec((0_i64..40, any::<bool>()), 1..300),
            newest in 0_usize..30,
        ) {
            let count = u32::try_from(rows.len()).unwrap();
            let numbered = || (0_u32..).zip(&rows);
            let mut finder = NewestFinder { most: 23, ..NewestFinder::default() };
            numbered().for_each(|(row, (time, _))| finder.add(row, *time, u64::from(row)));
            let listed = finder.finish(count);
            prop_assert_eq!(&NewestRows::decode(&listed.encode(), count).unwrap(), &listed);
            let passing: Vec<u32> =
                numbered().filter(|(_, (_, passes))| *passes).map(|(row, _)| row).collect();
            let mut order: Vec<(i64, u32)> =
                passing.iter().map(|row| (rows[*row as usize].0, *row)).collect();
            let mut candidates = Candidates { full: 7, ..Candidates::new(newest) };
            order.iter().for_each(|(time, row)| candidates.offer(*time, *row));
            order.sort_unstable();
            order.reverse();
            order.truncate(newest);
            // Candidates hold the newest, and nothing older than the last of them.
            let found = candidates.finish();
            prop_assert!(order.iter().all(|row| found.contains(row)));
            let last = order.last().map_or(i64::MAX, |(time, _)| *time);
            prop_assert!(found.iter().all(|(time, _)| *time >= last));
            let set = RowSet::from_sorted(passing.iter().map(|row| *row..*row + 1));
            if let Some(known) = listed.of(&set, newest) {
                let rows: Vec<u32> = order.iter().map(|(_, row)| *row).collect();
                prop_assert_eq!(known, rows);
            } else {
                prop_assert!(newest > 0 && count > 16);
            }
        }
    }
}
