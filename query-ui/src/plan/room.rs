//! How many rows a table may have: an answer ends there, and says what it lacks.

use arrow::array::RecordBatch;
use model::wire::Missing;

use super::{Answer, QueryFailure, Shape};

/// The rows that an answer may still give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    rows_max: u64,
    left: u64,
    /// There were more rows than it has room for.
    is_over: bool,
}

impl Room {
    fn new(rows_max: u64) -> Self {
        Self { rows_max, left: rows_max, is_over: false }
    }

    /// How many of some rows there is room for.
    fn take(&mut self, rows: usize) -> usize {
        let fit = usize::try_from(self.left).unwrap_or(usize::MAX).min(rows);
        self.left -= fit as u64;
        self.is_over = fit < rows;
        fit
    }

    /// What an answer lacks that ends here.
    fn lacks(&self) -> Missing {
        Missing {
            what: format!("rows beyond the first {}", self.rows_max),
            why: "a table has so many at most (query.table_rows_max): group by fields with fewer \
                  values, or export it"
                .to_owned(),
        }
    }
}

impl Answer {
    /// The same with so many rows at most, if it is a table; records have a limit of their own.
    #[must_use]
    pub fn at_most(mut self, rows_max: u64) -> Self {
        self.room = matches!(self.shape(), Shape::Table(_)).then(|| Room::new(rows_max));
        self
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`QueryFailure`]; the rows so far were right, but are not all.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryFailure> {
        if self.room.is_some_and(|room| room.is_over) {
            return Ok(None);
        }
        let Some(rows) = self.produced().await? else { return Ok(None) };
        let Some(room) = &mut self.room else { return Ok(Some(rows)) };
        let fit = room.take(rows.num_rows());
        if room.is_over {
            self.scanner.lack(&[room.lacks()]);
            self.scanner.metrics.tables_cut.inc();
        }
        Ok((fit > 0 || !room.is_over).then(|| rows.slice(0, fit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_just_fit_are_not_over() {
        let mut room = Room::new(5);
        let taken = [3, 2, 0].map(|rows| (room.take(rows), room.is_over));
        assert_eq!(taken, [(3, false), (2, false), (0, false)]);
        assert_eq!((room.take(1), room.is_over), (0, true));
        let mut room = Room::new(2);
        assert_eq!((room.take(3), room.is_over), (2, true));
    }
}
