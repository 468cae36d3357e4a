//! Counting the rows of a question from what is stored of them, before its rows are asked: only the
//! minutes that it cuts are left for those.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use model::query::Filter;
use model::time::{TimeRange, Timestamp};

use super::parts::is_of_senders;
use crate::scan::{Column, ScanError, ScanRequest};
use crate::split::count::NOTHING;
use crate::split::open::Split;
use crate::split::search::only_count;
use crate::tally::Tally;

/// Ranges that are read of what a question cuts.
const CUTS_MAX: usize = 16;
/// Rows that are read for a question at most, as a part of those of its range: with more all are.
const CUT_SHARE: usize = 2;

impl Split {
    /// Counts what of the rows of a request is known without asking them; gives the ranges in which the
    /// others are. `None` where nothing is known. Where `emit` wants no more, nothing is left.
    pub(in crate::split) fn count_stored(
        &self,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<Option<Vec<TimeRange>>, ScanError> {
        let is_counting = request.counted || request.columns.is_empty();
        if !is_counting || request.newest.is_some() || !is_of_senders(&request.filter) {
            return Ok(None);
        }
        let mut tally = Tally::new(&request.columns, self.place());
        let span = (self.meta.time_first, self.meta.time_last);
        let is_whole = request.range.covers(Timestamp(span.0), Timestamp(span.1));
        if is_whole
            && request.filter == Filter::All
            && self.tally_known(&request.columns, &mut tally)?
        {
            return Ok(left(emit(tally.take()?), Vec::new()));
        }
        let (fields, senders) = (self.fields()?, self.senders()?);
        let Some(keys) = senders.keys(&request.columns, &fields, &self.meta.index) else {
            return Ok(None);
        };
        if !senders.know(&request.filter, &fields) {
            return Ok(None);
        }
        let parts = senders.parts(&request.range, span, &keys);
        if parts.whole.is_empty() || !self.is_worth(&parts.cut, &request.range)? {
            return Ok(None);
        }
        let groups = senders.groups(&request.filter, &keys, self.place())?;
        let mut sum = 0;
        let given = senders.add_up(&parts.whole, &groups, &mut |values, rows| {
            sum += rows;
            if request.counted {
                tally.add_known(values, rows, NOTHING);
            }
            Ok(match tally.is_full() {
                true => emit(tally.take()?),
                false => ControlFlow::Continue(()),
            })
        })?;
        if given.is_break() {
            return Ok(Some(Vec::new()));
        }
        let rows = match request.counted {
            true => tally.take()?,
            false => only_count(usize::try_from(sum).unwrap_or(usize::MAX))?,
        };
        Ok(left(emit(rows), parts.cut))
    }

    /// The same with what is in memory, where it tells of all rows.
    pub(in crate::split) fn stored_at_hand(
        &self,
        request: &ScanRequest,
    ) -> Result<Option<Vec<RecordBatch>>, ScanError> {
        if !self.fields.is_held() {
            return Ok(None);
        }
        let is_whole = self.is_inside(&request.range);
        if is_whole && request.filter == Filter::All {
            let is_by_value = matches!(&*request.columns, [Column::Field { .. }]);
            if is_by_value && !self.values.is_held() {
                return Ok(None);
            }
            let mut tally = Tally::new(&request.columns, self.place());
            if request.counted && self.tally_known(&request.columns, &mut tally)? {
                return Ok(Some(vec![tally.take()?]));
            }
        }
        // Of what a range or a bin cuts the blocks are asked how much it is.
        let is_cut =
            !is_whole || request.columns.iter().any(|one| matches!(one, Column::Bin { .. }));
        if !self.senders.is_held() || is_cut && !self.blocks.is_held() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        let left = self.count_stored(request, &mut |counted| {
            rows.push(counted);
            ControlFlow::Continue(())
        })?;
        Ok(left.is_some_and(|left| left.is_empty()).then_some(rows))
    }

    /// Whether reading these parts of a range is much less than reading all of it.
    fn is_worth(&self, cut: &[TimeRange], range: &TimeRange) -> Result<bool, ScanError> {
        if cut.is_empty() || cut.len() > CUTS_MAX {
            return Ok(cut.is_empty());
        }
        let blocks = self.blocks()?;
        let rows_in = |range: &TimeRange| blocks.rows_in(range, self.row_count).count();
        Ok(cut.iter().map(rows_in).sum::<usize>() * CUT_SHARE <= rows_in(range))
    }
}

/// What is left for who goes on.
fn left(flow: ControlFlow<()>, ranges: Vec<TimeRange>) -> Option<Vec<TimeRange>> {
    Some(if flow.is_break() { Vec::new() } else { ranges })
}
