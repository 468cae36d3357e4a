//! Which queries may run: so many at a time, those that may read much only in part of the places,
//! so that they never keep the quick ones out; the others wait in line, so many and so long. Each
//! asker has a line of its own, and the first of each takes its turn: who asks a hundred things at
//! once waits for itself, not others for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use platform::clock::Clock;
use platform::telemetry::Counted;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::settings::QuerySettings;
use super::{QueryFailure, asker};
use crate::metrics::QueryMetrics;

/// Stored bytes that a query may read and still counts as quick.
pub(super) const QUICK_BYTES_MAX: u64 = 1 << 30;
/// Of so many places, one is for queries that may read more.
const PLACES_PER_LONG: usize = 4;
/// For each place so many may wait; more are told to come later at once.
const WAITING_PER_PLACE: usize = 16;

/// What a query is estimated to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    Quick,
    Long,
}

impl Cost {
    /// Of a query that may read so many stored bytes.
    pub(super) fn of(stored_bytes: u64) -> Self {
        if stored_bytes <= QUICK_BYTES_MAX { Self::Quick } else { Self::Long }
    }
}

/// The line of one asker.
#[derive(Debug)]
struct Line {
    /// Whose turn it is among them.
    turn: Arc<Semaphore>,
    waiting: usize,
}

/// The places.
#[derive(Debug)]
pub(super) struct Admission {
    lines: Mutex<HashMap<Arc<str>, Line>>,
    all: Arc<Semaphore>,
    long: Arc<Semaphore>,
    waiting: AtomicUsize,
    places: usize,
    wait_max: Duration,
    clock: Clock,
    metrics: QueryMetrics,
}

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _all: OwnedSemaphorePermit,
    _long: Option<OwnedSemaphorePermit>,
}

/// One that waits, in its asker's line.
struct Waiting<'a> {
    admission: &'a Admission,
    asker: Arc<str>,
    turn: Arc<Semaphore>,
    _counted: Counted,
}

impl<'a> Waiting<'a> {
    fn enter(admission: &'a Admission) -> Self {
        let asker = asker::who();
        let mut lines = admission.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Line { turn: Arc::new(Semaphore::new(1)), waiting: 0 };
        let line = lines.entry(asker.clone()).or_insert_with(new);
        line.waiting += 1;
        let turn = line.turn.clone();
        drop(lines);
        let counted = Counted::one(&admission.metrics.waiting);
        Self { admission, asker, turn, _counted: counted }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut lines = self.admission.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.asker) {
            line.waiting -= 1;
            if line.waiting == 0 {
                lines.remove(&self.asker);
            }
        }
        drop(lines);
        self.admission.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(super) fn new(settings: &QuerySettings, clock: Clock, metrics: QueryMetrics) -> Self {
        let places = settings.concurrency_max;
        Self {
            lines: Mutex::default(),
            all: Arc::new(Semaphore::new(places)),
            long: Arc::new(Semaphore::new((places / PLACES_PER_LONG).max(1))),
            waiting: AtomicUsize::new(0),
            places,
            wait_max: settings.wait_max,
            clock,
            metrics,
        }
    }

    /// Waits for a place.
    pub(super) async fn admit(&self, cost: Cost) -> Result<Admitted, QueryFailure> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting::enter(self);
        let begun = self.clock.elapsed();
        let placed = match before < self.places.saturating_mul(WAITING_PER_PLACE) {
            true => {
                let place = self.place(cost, &waiting.turn);
                self.clock.timeout(self.wait_max, place).await.flatten()
            }
            false => None,
        };
        drop(waiting);
        let waited = self.clock.elapsed().saturating_sub(begun);
        self.metrics.wait_seconds.observe(waited.as_secs_f64());
        placed.ok_or_else(|| {
            self.metrics.refusals.inc();
            QueryFailure::Overloaded(self.places)
        })
    }

    async fn place(&self, cost: Cost, turn: &Semaphore) -> Option<Admitted> {
        // Places are given in the order in which they were asked for: one asker waits once.
        let _turn = turn.acquire().await.ok()?;
        // First the rarer place: whoever waits for it must not hold one of the others meanwhile.
        let long = match cost {
            Cost::Quick => None,
            Cost::Long => Some(self.long.clone().acquire_owned().await.ok()?),
        };
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some(Admitted { _all: all, _long: long })
    }
}

#[cfg(test)]
mod tests {
    use platform::telemetry::Metrics;

    use super::*;
    use crate::plan::asker::Asker;

    fn admission(places: usize) -> Admission {
        let settings = QuerySettings {
            concurrency_max: places,
            wait_max: Duration::from_millis(20),
            ..QuerySettings::new("spill".into())
        };
        Admission::new(&settings, Clock::system(), QueryMetrics::new(&Metrics::default()))
    }

    #[tokio::test]
    async fn long_queries_leave_places_to_quick_ones() {
        let admission = admission(8);
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(admission.admit(Cost::Long).await.unwrap());
        }
        assert!(matches!(admission.admit(Cost::Long).await, Err(QueryFailure::Overloaded(8))));
        for _ in 0..6 {
            held.push(admission.admit(Cost::Quick).await.unwrap());
        }
        assert!(admission.admit(Cost::Quick).await.is_err());
        assert_eq!((admission.metrics.refusals.get(), admission.metrics.waiting.get()), (2, 0));
        held.remove(0);
        admission.admit(Cost::Long).await.unwrap();
    }

    #[tokio::test]
    async fn who_asks_much_waits_for_itself() {
        let settings = QuerySettings {
            concurrency_max: 1,
            wait_max: Duration::from_secs(60),
            ..QuerySettings::new("spill".into())
        };
        let metrics = QueryMetrics::new(&Metrics::default());
        let admission = Arc::new(Admission::new(&settings, Clock::system(), metrics));
        let held = admission.admit(Cost::Quick).await.unwrap();
        let (to, order) = flume::bounded(32);
        let mut tasks = tokio::task::JoinSet::new();
        let mut ask = |asker: &'static str, waiting: i64| {
            let (own, to) = (admission.clone(), to.clone());
            tasks.spawn(async move {
                let request = Asker::new(asker, None);
                let admitted = request.asks(own.admit(Cost::Quick)).await.unwrap();
                to.send_async(asker).await.unwrap();
                drop(admitted);
            });
            let admission = admission.clone();
            async move {
                while admission.metrics.waiting.get() < waiting {
                    tokio::task::yield_now().await;
                }
            }
        };
        for waiting in 1..=5 {
            ask("busy", waiting).await;
        }
        ask("calm", 6).await;
        drop(held);
        drop(to);
        while tasks.join_next().await.is_some() {}
        let order: Vec<&str> = order.try_iter().collect();
        let at = order.iter().position(|asker| *asker == "calm").unwrap();
        assert!(at <= 1, "{order:?}");
        assert!(admission.lines.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let admission = admission(1);
        let held = admission.admit(Cost::Quick).await.unwrap();
        let crowd = (0..WAITING_PER_PLACE + 3).map(|_| admission.admit(Cost::Quick));
        let answers = futures::future::join_all(crowd).await;
        assert!(answers.iter().all(Result::is_err));
        drop(held);
        assert!(admission.admit(Cost::Quick).await.is_ok());
        assert_eq!(Cost::of(QUICK_BYTES_MAX + 1), Cost::Long);
    }
}
