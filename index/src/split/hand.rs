//! Counting the rows of a question by what is in memory alone: nothing is read, and nobody is waited for.

use arrow::array::RecordBatch;

use super::open::Split;
use super::search::only_count;
use crate::scan::{Column, ScanError, ScanRequest};
use crate::tally::Tally;

impl Split {
    /// How many of its rows pass, where it is known from a question before and all are in the range.
    pub(crate) fn known_count(&self, request: &ScanRequest) -> Option<usize> {
        let found = self.is_inside(&request.range).then(|| self.found(&request.filter));
        Some(found.flatten()?.count())
    }

    /// What [`Split::scan`] gives, where rows are counted and all that tells how many they are is in
    /// memory: counts of senders, or the rows that pass the filter, known from a question before.
    ///
    /// # Errors
    /// [`ScanError`]; a scan tells it too.
    pub(crate) fn at_hand(
        &self,
        request: &ScanRequest,
    ) -> Result<Option<Vec<RecordBatch>>, ScanError> {
        let is_counting = request.counted || request.columns.is_empty();
        if !is_counting
            || request.newest.is_some()
            || request.columns.iter().any(Column::is_measured)
        {
            return Ok(None);
        }
        if let Some(rows) = self.stored_at_hand(request)? {
            return Ok(Some(rows));
        }
        if !self.is_inside(&request.range) {
            return Ok(None);
        }
        let Some(found) = self.found(&request.filter) else { return Ok(None) };
        if !request.counted {
            return Ok(Some(vec![only_count(found.count())?]));
        }
        if !self.fields.is_held() || !self.spans.is_held() {
            return Ok(None);
        }
        let mut tally = Tally::new(&request.columns, self.place());
        let are_all = self.tally_found(&found.rows(), &request.columns, &mut tally)?;
        Ok(if are_all { Some(vec![tally.take()?]) } else { None })
    }
}
