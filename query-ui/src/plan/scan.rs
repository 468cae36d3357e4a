//! Reading the units of one query: taken one by one by the threads that scan them, newest first,
//! left out when nothing in them can be among the newest wanted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray as _, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, TimestampNanosecondType, UInt32Type, UInt64Type};
use index::scan::{Column, ScanRequest};
use index::searcher::{Searcher, Unit};
use model::error::chain;
use model::query::Filter;
use model::split::FieldStat;
use model::time::Timestamp;
use model::wire::Missing;

use super::cores::{Core, Cores};
use super::stop::{STOP, Stop};
use crate::metrics::QueryMetrics;

/// Units, latest first, of which it is asked how many of their records are known to pass.
const KNOWN_UNITS_MAX: usize = 256;

/// One query's way to splits and fresh records. Clones share what is missing and the stop.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    pub(super) searcher: Searcher,
    pub(super) cores: Cores,
    pub(super) metrics: Arc<QueryMetrics>,
    pub(super) progress: ProgressWatch,
    missing: Arc<Mutex<Vec<Missing>>>,
    stopped: Arc<AtomicBool>,
    /// The wish that the query ends: its task hears of that only where it waits.
    stop: Stop,
    /// Splits are read with what this node has of them: another node asks for them.
    is_here: bool,
}

/// How far a query is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Splits and fresh parts that may hold an answer.
    pub units: u64,
    /// Of those, how many were read or left out.
    pub units_done: u64,
    /// Records that passed the search.
    pub rows: u64,
}

/// Counts how far a query is. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct ProgressWatch(Arc<[AtomicU64; 3]>);

impl ProgressWatch {
    /// How far it is.
    #[must_use]
    pub fn now(&self) -> Progress {
        let [units, units_done, rows] =
            self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        Progress { units, units_done, rows }
    }

    pub(super) fn add(&self, progress: Progress) {
        let Progress { units, units_done, rows } = progress;
        for (count, more) in self.0.iter().zip([units, units_done, rows]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Some of what was added did not count.
    pub(super) fn take_back(&self, progress: Progress) {
        let Progress { units, units_done, rows } = progress;
        for (count, less) in self.0.iter().zip([units, units_done, rows]) {
            count.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

/// Stops the scans of a query when it is dropped.
#[derive(Debug)]
pub(super) struct StopGuard(Arc<AtomicBool>);

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Scanner {
    pub(super) fn new(searcher: Searcher, cores: Cores, metrics: Arc<QueryMetrics>) -> Self {
        let (progress, missing, stopped) = Default::default();
        let stop = STOP.try_with(Stop::clone).unwrap_or_default();
        Self { searcher, cores, metrics, progress, missing, stopped, stop, is_here: false }
    }

    /// One for what other nodes ask of this one.
    pub(super) fn here(self) -> Self {
        Self { is_here: true, ..self }
    }

    pub(super) fn stop_guard(&self) -> StopGuard {
        StopGuard(self.stopped.clone())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_asked() || self.stopped.load(Ordering::Relaxed)
    }

    /// So many units more may hold an answer.
    pub(super) fn expect(&self, units: usize) {
        self.progress.add(Progress { units: units as u64, ..Progress::default() });
    }

    /// What is to be read. Where only the newest are wanted, units that are known to have them are
    /// read first, and others only where those turn out not to do.
    pub(super) fn work(&self, units: Vec<Unit>, request: ScanRequest) -> Work {
        if request.newest.is_none() || request.filter == Filter::All {
            return Work::new(units, request);
        }
        let (asked, mut looked) = (request.clone(), 0);
        let known = |unit: &Unit| {
            looked += 1;
            let is_asked = looked <= KNOWN_UNITS_MAX;
            let count = is_asked.then(|| self.searcher.known_count(unit, &asked));
            count.flatten().unwrap_or(0)
        };
        Work::with_known(units, request, known)
    }

    /// What could not be read so far.
    pub(super) fn missing(&self) -> Vec<Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answer lacks this, whatever is read.
    pub(super) fn lack(&self, missing: &[Missing]) {
        let mut all = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        for one in missing {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
    }

    /// Scans a unit; what cannot be read is noted as missing, the rest of the answer stands.
    pub(super) fn scan(
        &self,
        unit: &Unit,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) {
        self.metrics.units.inc();
        let scanned = match unit {
            Unit::Split(meta) if self.is_here => self.searcher.scan_here(meta, request, emit),
            unit => self.searcher.scan(unit, request, emit),
        };
        if let Err(error) = scanned {
            self.note(unit, &error);
        }
    }

    /// The fields of a unit; `None` when it cannot be read.
    pub(super) fn fields(&self, unit: &Unit) -> Option<Arc<Vec<FieldStat>>> {
        match self.searcher.fields(unit) {
            Ok(stats) => Some(stats),
            Err(error) => {
                self.note(unit, &error);
                None
            }
        }
    }

    fn note(&self, unit: &Unit, error: &dyn std::error::Error) {
        let what = match unit {
            Unit::Split(split) => format!("split {}: {} records", split.id, split.row_count),
            Unit::Fresh(part) => format!("fresh records of partition {}", part.partition),
            Unit::Remote(part) => part.name(),
        };
        let why = chain(error);
        tracing::error!(what, why, "an answer is incomplete");
        let missing = Missing { what, why };
        let mut all = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&missing) {
            all.push(missing);
        }
    }
}

/// The units that are still to be read for one query.
#[derive(Debug)]
pub(super) struct Work {
    units: Vec<Unit>,
    next: AtomicUsize,
    request: ScanRequest,
    best: Option<Mutex<Best>>,
    /// So many units have the newest records that are wanted, unless one of them cannot be read or waits
    /// for a deletion: one thread alone looks whether the others are needed.
    likely: usize,
    threads: AtomicUsize,
}

impl Work {
    /// `units` newest first. A request for the newest wants timestamp, partition and offset among
    /// its columns.
    pub(super) fn new(units: Vec<Unit>, request: ScanRequest) -> Self {
        let is_all = request.filter == Filter::All;
        let range = request.range;
        let rows = |unit: &Unit| match is_all && unit.is_inside(&range) {
            true => unit.row_count(),
            false => 0,
        };
        Self::with_known(units, request, rows)
    }

    /// The same where it is known that so many records of a unit pass at least.
    fn with_known(
        units: Vec<Unit>,
        request: ScanRequest,
        mut known: impl FnMut(&Unit) -> u64,
    ) -> Self {
        let best = request.newest.map(|most| Mutex::new(Best::new(most, &request.columns)));
        let likely = match request.newest {
            Some(most) => {
                let span = |unit: &Unit| (unit.time_first(), unit.time_last(), known(unit));
                reach(&units.iter().map(span).collect::<Vec<_>>(), most as u64)
            }
            None => units.len(),
        };
        let (next, threads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { units, next, request, best, likely, threads }
    }

    pub(super) fn units(&self) -> &[Unit] {
        &self.units
    }

    pub(super) fn request(&self) -> &ScanRequest {
        &self.request
    }

    /// Scans units until there is none left, `emit` breaks, or the query stops. Several threads
    /// do this at the same time. `emit` may give the core back while it waits.
    pub(super) fn run(
        &self,
        scanner: &Scanner,
        emit: &mut dyn FnMut(RecordBatch, &mut Option<Core>) -> ControlFlow<()>,
    ) {
        let mut core = Some(scanner.cores.take());
        let progress = &scanner.progress;
        self.threads.fetch_add(1, Ordering::Relaxed);
        while !self.is_left_to_others()
            && let Some(unit) = self.units.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let mut request = self.request.clone();
            if let Some(bound) = self.bound() {
                if unit.time_last() < bound.0 {
                    return;
                }
                request.range.from = request.range.from.max(bound);
            }
            let mut broken = false;
            if let Some(rows) = counted(&scanner.searcher, unit, &request) {
                progress.add(Progress { rows: rows.num_rows() as u64, ..Progress::default() });
                broken = emit(rows, &mut core).is_break();
            } else {
                scanner.scan(unit, &request, &mut |rows| {
                    if rows.num_rows() == 0 {
                        broken = scanner.is_stopped();
                        return if broken {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        };
                    }
                    let count = request.records(&rows);
                    scanner.metrics.rows.inc_by(count);
                    progress.add(Progress { rows: count, ..Progress::default() });
                    if let Some(best) = &self.best {
                        best.lock().unwrap_or_else(PoisonError::into_inner).offer(&rows);
                    }
                    broken = scanner.is_stopped() || emit(rows, &mut core).is_break();
                    if broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
            progress.add(Progress { units_done: 1, ..Progress::default() });
            if broken || scanner.is_stopped() {
                return;
            }
        }
    }

    /// Whether a thread ends before all units were looked at, since another one goes on. The last one
    /// that is at work never does.
    fn is_left_to_others(&self) -> bool {
        let others = |threads: usize| (threads > 1).then(|| threads - 1);
        self.next.load(Ordering::Relaxed) >= self.likely
            && self.threads.try_update(Ordering::Relaxed, Ordering::Relaxed, others).is_ok()
    }

    /// The time below which no record is among the newest any more.
    fn bound(&self) -> Option<Timestamp> {
        self.best.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).bound()
    }
}

/// How many units, latest first, have the newest so many records among them, whatever the others have.
/// Of each its first and its last time, and how many records it surely has.
fn reach(spans: &[(i64, i64, u64)], most: u64) -> usize {
    let has_enough_behind = |time: i64| {
        let newer = spans.iter().filter(|(first, ..)| *first > time);
        newer.map(|(_, _, rows)| rows).sum::<u64>() >= most
    };
    spans.partition_point(|(_, last, _)| !has_enough_behind(*last))
}

/// Rows without columns, where nothing but their number is asked and the catalog knows it.
pub(super) fn counted(
    searcher: &Searcher,
    unit: &Unit,
    request: &ScanRequest,
) -> Option<RecordBatch> {
    let inside = unit.is_inside(&request.range);
    if !inside
        || !searcher.is_whole(unit)
        || !request.columns.is_empty()
        || request.filter != Filter::All
    {
        return None;
    }
    let count = usize::try_from(unit.row_count()).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options).ok()
}

/// The places of the newest rows seen so far.
#[derive(Debug)]
struct Best {
    most: usize,
    columns: Option<[usize; 3]>,
    heap: BinaryHeap<Reverse<(i64, u32, u64)>>,
}

impl Best {
    fn new(most: usize, columns: &[Column]) -> Self {
        let at = |wanted: &Column| columns.iter().position(|column| column == wanted);
        let columns = match (at(&Column::Timestamp), at(&Column::Partition), at(&Column::Offset)) {
            (Some(time), Some(partition), Some(offset)) => Some([time, partition, offset]),
            _ => None,
        };
        Self { most, columns, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, rows: &RecordBatch) {
        let Some([time, partition, offset]) = self.columns else { return };
        let times = rows.column(time).as_primitive_opt::<TimestampNanosecondType>();
        let partitions = rows.column(partition).as_primitive_opt::<UInt32Type>();
        let offsets = rows.column(offset).as_primitive_opt::<UInt64Type>();
        let (Some(times), Some(partitions), Some(offsets)) = (times, partitions, offsets) else {
            return;
        };
        for row in 0..rows.num_rows() {
            self.heap.push(Reverse((times.value(row), partitions.value(row), offsets.value(row))));
            if self.heap.len() > self.most {
                self.heap.pop();
            }
        }
    }

    fn bound(&self) -> Option<Timestamp> {
        let full = self.heap.len() >= self.most;
        self.heap.peek().filter(|_| full).map(|Reverse((time, _, _))| Timestamp(*time))
    }
}

#[cfg(test)]
mod tests {
    use model::time::TimeRange;

    use super::*;
    use crate::fixture::{Fixture, Rest};

    #[test]
    fn what_surely_has_the_newest_ends_where_enough_is_newer() {
        let spans = [(90, 100, 50), (80, 95, 50), (60, 79, 50), (0, 59, 10)];
        for (most, expected) in [(1, 2), (100, 2), (101, 3), (150, 3), (151, 4), (1_000, 4)] {
            assert_eq!(reach(&spans, most), expected, "{most}");
        }
        assert_eq!(reach(&[], 1), 0);
        // Of those that overlap nothing is known.
        assert_eq!(reach(&[(0, 9, 5), (0, 8, 5), (0, 7, 5)], 1), 3);
    }

    fn request(filter: Filter) -> ScanRequest {
        let (range, columns) = (TimeRange::ALL, Vec::new());
        ScanRequest { filter, range, columns, newest: Some(1), counted: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_known_to_pass_is_read_before_others() {
        let fixture = Fixture::new(Rest::Fresh);
        fixture
            .append(0, &[("host", "a")], ["{\"ts\":\"2026-01-01T00:00:01Z\",\"msg\":\"x\"}"])
            .await;
        fixture
            .append(1, &[("host", "b")], ["{\"ts\":\"2026-01-01T00:00:02Z\",\"msg\":\"x\"}"])
            .await;
        let searcher = fixture.engine.searcher();
        let units = || searcher.units(&searcher.view(), &TimeRange::ALL, None);
        let nothing = Filter::Or(Vec::new());
        assert_eq!(Work::new(units(), request(Filter::All)).likely, 1);
        assert_eq!(Work::new(units(), request(nothing.clone())).likely, 2);
        assert_eq!(Work::with_known(units(), request(nothing), |_| 1).likely, 1);
    }

    #[test]
    fn of_threads_one_goes_on() {
        let work = Work::new(Vec::new(), request(Filter::All));
        work.threads.store(3, Ordering::Relaxed);
        let left = [(); 3].map(|()| work.is_left_to_others());
        assert_eq!(left, [true, true, false]);
    }
}
