//! What is known of units before any of them is scanned: counts that are in memory, and those of a few
//! fresh records.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use index::scan::ScanRequest;
use index::searcher::Unit;

use super::scan::{Progress, Scanner, counted};

/// Units of a query that are looked at; of more, others are scanned.
const UNITS_MAX: usize = 256;
/// Rows of counts that are held of them: units behind these are scanned, piece by piece. The last one may
/// bring more.
const ROWS_MAX: usize = 16_384;
/// Fresh records of a unit that are counted at once.
const FRESH_MAX: u64 = 1_024;
/// Bytes of fresh records that are looked through so: units behind these are scanned by threads.
const FRESH_BYTES_MAX: u64 = 16 << 20;

/// What is known of units before any of them is scanned.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready {
    /// What scans of them would give.
    pub(super) rows: Vec<RecordBatch>,
    /// How many they are.
    pub(super) units: usize,
    /// How many records pass in them.
    records: u64,
    /// Rows that are held: not those without columns, of which there is the number alone.
    held: usize,
    /// Bytes of fresh records that were looked through.
    fresh_bytes: u64,
}

impl Ready {
    /// Adds what is known of one more unit. Whether anything is.
    fn add(&mut self, scanner: &Scanner, unit: &Unit, request: &ScanRequest) -> bool {
        let Some(all) = self.of_unit(scanner, unit, request) else { return false };
        self.units += 1;
        for rows in all.into_iter().filter(|rows| rows.num_rows() > 0) {
            self.records += request.records(&rows);
            if rows.num_columns() > 0 {
                self.held += rows.num_rows();
            }
            self.rows.push(rows);
        }
        true
    }

    fn of_unit(
        &mut self,
        scanner: &Scanner,
        unit: &Unit,
        request: &ScanRequest,
    ) -> Option<Vec<RecordBatch>> {
        if let Some(rows) = counted(&scanner.searcher, unit, request) {
            return Some(vec![rows]);
        }
        let is_counting = request.counted || request.columns.is_empty();
        if !is_counting || !is_few(unit) {
            return scanner.searcher.at_hand(unit, request);
        }
        self.fresh_bytes = self.fresh_bytes.saturating_add(unit.bytes());
        if self.fresh_bytes > FRESH_BYTES_MAX {
            return None;
        }
        let mut rows = Vec::new();
        let mut take = |counted: RecordBatch| {
            rows.push(counted);
            ControlFlow::Continue(())
        };
        scanner.searcher.scan(unit, request, &mut take).ok()?;
        Some(rows)
    }

    /// Whether no more is to be held.
    fn is_full(&self) -> bool {
        self.held > ROWS_MAX
    }
}

/// Whether a unit's records are in memory and few.
fn is_few(unit: &Unit) -> bool {
    matches!(unit, Unit::Fresh(_)) && unit.row_count() <= FRESH_MAX
}

impl Scanner {
    /// Counts those units whose counts are told by what is in memory, and takes them out: nobody is
    /// waited for. In a cluster holders count theirs.
    pub(super) fn at_hand(&self, units: &mut Vec<Unit>, request: &ScanRequest) -> Ready {
        if request.newest.is_some() || self.searcher.is_clustered() {
            return Ready::default();
        }
        self.looked_at(units, request, Ready::default())
    }

    /// The same, behind what is known already.
    fn looked_at(&self, units: &mut Vec<Unit>, request: &ScanRequest, mut ready: Ready) -> Ready {
        let mut looked = 0;
        units.retain(|unit| {
            looked += 1;
            looked > UNITS_MAX || ready.is_full() || !ready.add(self, unit, request)
        });
        ready
    }

    /// The same where it is so of all of them, and not too much.
    pub(super) fn all_at_hand(&self, units: &[Unit], request: &ScanRequest) -> Option<Ready> {
        if self.searcher.is_clustered() || units.len() > UNITS_MAX {
            return None;
        }
        // Fresh records are looked through: last, since of a split it is known at once.
        let (few, others): (Vec<&Unit>, Vec<&Unit>) = units.iter().partition(|unit| is_few(unit));
        let mut ready = Ready::default();
        for unit in others.into_iter().chain(few) {
            if !ready.add(self, unit, request) || ready.is_full() {
                return None;
            }
        }
        Some(ready)
    }

    /// Notes that the counts of such units are given out.
    pub(super) fn take(&self, ready: &Ready) {
        self.metrics.rows.inc_by(ready.records);
        let (units_done, rows) = (ready.units as u64, ready.records);
        self.progress.add(Progress { units_done, rows, ..Progress::default() });
    }
}

#[cfg(test)]
mod tests {
    use index::scan::Column;
    use model::query::Filter;
    use model::time::TimeRange;

    use super::*;
    use crate::fixture::{Fixture, Rest};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_much_is_left_to_scans() {
        let fixture = Fixture::new(Rest::Fresh);
        for (partition, host) in [(0, "a"), (1, "b")] {
            let line = "{\"ts\":\"2026-01-01T00:00:01Z\",\"msg\":\"x\"}";
            fixture.append(partition, &[("host", host)], [line]).await;
        }
        let (searcher, scanner) = (fixture.engine.searcher(), fixture.engine.scanner());
        let request = ScanRequest {
            filter: Filter::All,
            range: TimeRange::ALL,
            columns: vec![Column::Level],
            newest: None,
            counted: true,
        };
        let looked = |begun: Ready| {
            let mut units = searcher.units(&searcher.view(), &TimeRange::ALL, None);
            let ready = scanner.looked_at(&mut units, &request, begun);
            (ready.units, units.len())
        };
        assert_eq!(looked(Ready::default()), (2, 0));
        assert_eq!(looked(Ready { held: ROWS_MAX, ..Ready::default() }), (1, 1));
        assert_eq!(looked(Ready { fresh_bytes: FRESH_BYTES_MAX, ..Ready::default() }), (0, 2));
    }
}
