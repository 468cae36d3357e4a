//! A scan that may go on with another copy of the same split: what came already does not come again.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;

/// Bytes of groups that wait for the end of a scan; with more than these they are given out.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Who gets the rows of a scan, and what they got.
pub(crate) struct Resume<'a> {
    emit: &'a mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    /// Rows come in the same order from each copy. Groups come in any: they wait for the end.
    is_counted: bool,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Rows that this copy gave.
    at: usize,
    /// Rows that were given out.
    came: usize,
}

impl<'a> Resume<'a> {
    pub(crate) fn new(
        is_counted: bool,
        emit: &'a mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Self {
        Self { emit, is_counted, waiting: Vec::new(), waiting_bytes: 0, at: 0, came: 0 }
    }

    /// The next rows of a copy.
    pub(crate) fn take(&mut self, rows: RecordBatch) -> ControlFlow<()> {
        let (from, count) = (self.at, rows.num_rows());
        self.at += count;
        if self.is_counted && count > 0 {
            self.waiting_bytes += rows.get_array_memory_size();
            self.waiting.push(rows);
            return match self.waiting_bytes > WAITING_BYTES_MAX {
                true => self.give(),
                false => ControlFlow::Continue(()),
            };
        }
        // Also what has no rows is passed on: who gets it may not want more.
        let skip = if count == 0 { 0 } else { self.came.saturating_sub(from) };
        if count > 0 {
            self.came = self.came.max(self.at);
        }
        let given = match skip {
            0 => (self.emit)(rows),
            skip if skip >= count => ControlFlow::Continue(()),
            skip => (self.emit)(rows.slice(skip, count - skip)),
        };
        if given.is_break() {
            self.waiting.clear();
        }
        given
    }

    /// The scan begins anew, with another copy. `false` when it cannot: groups that were given out
    /// would be counted twice.
    pub(crate) fn begin_anew(&mut self) -> bool {
        if self.is_counted && self.came > 0 {
            return false;
        }
        self.waiting.clear();
        (self.waiting_bytes, self.at) = (0, 0);
        true
    }

    /// The scan came to its end: what waited is given out.
    pub(crate) fn finish(&mut self) {
        // There is nothing more; whether to go on does not matter.
        #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
        let _: ControlFlow<()> = self.give();
    }

    fn give(&mut self) -> ControlFlow<()> {
        self.waiting_bytes = 0;
        for rows in std::mem::take(&mut self.waiting) {
            self.came += rows.num_rows();
            (self.emit)(rows)?;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray as _, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(values: &[i64]) -> RecordBatch {
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("value", values)]).unwrap()
    }

    /// What comes of a copy that breaks off behind the first rows, and of another.
    fn resumed(is_counted: bool, first: &[&[i64]], second: &[&[i64]]) -> Vec<i64> {
        let mut came: Vec<i64> = Vec::new();
        let mut emit = |rows: RecordBatch| {
            came.extend(rows.column(0).as_primitive::<Int64Type>().values().iter());
            ControlFlow::Continue(())
        };
        let mut resume = Resume::new(is_counted, &mut emit);
        for copy in [first, second] {
            assert!(resume.begin_anew());
            assert!(copy.iter().all(|values| resume.take(rows(values)).is_continue()));
        }
        resume.finish();
        came
    }

    #[test]
    fn rows_that_came_are_passed_over() {
        let second: [&[i64]; 3] = [&[1], &[], &[2, 3, 4]];
        assert_eq!(resumed(false, &[&[1, 2], &[]], &second), [1, 2, 3, 4]);
    }

    #[test]
    fn groups_in_another_order_are_not_mixed() {
        let second: [&[i64]; 2] = [&[3, 1], &[2]];
        assert_eq!(resumed(true, &[&[1, 2], &[]], &second), [3, 1, 2]);
    }

    #[test]
    fn groups_that_were_given_out_are_not_counted_twice() {
        let mut emit = |_: RecordBatch| ControlFlow::Continue(());
        let mut resume = Resume::new(true, &mut emit);
        let many = rows(&vec![0; WAITING_BYTES_MAX / 8 + 1]);
        assert!(resume.take(many).is_continue());
        assert!(!resume.begin_anew());
    }

    #[test]
    fn what_nobody_wants_does_not_come() {
        let mut came = 0;
        let mut emit = |rows: RecordBatch| {
            came += rows.num_rows();
            ControlFlow::Break(())
        };
        let mut resume = Resume::new(true, &mut emit);
        assert!(resume.take(rows(&[1])).is_continue());
        assert!(resume.take(rows(&[])).is_break());
        resume.finish();
        assert_eq!(came, 0);
    }
}
