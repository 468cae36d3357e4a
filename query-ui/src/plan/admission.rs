//! Which queries may run: so many at a time, those that may read much only in part of the places,
//! so that they never keep the quick ones out; the others wait in line, so many and so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use platform::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::QueryFailure;
use super::settings::QuerySettings;
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

/// The places.
#[derive(Debug)]
pub(super) struct Admission {
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

/// One that waits.
struct Waiting<'a>(&'a Admission);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.waiting.dec();
    }
}

impl Admission {
    pub(super) fn new(settings: &QuerySettings, clock: Clock, metrics: QueryMetrics) -> Self {
        let places = settings.concurrency_max;
        Self {
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
        self.metrics.waiting.inc();
        let waiting = Waiting(self);
        let begun = self.clock.elapsed();
        let placed = match before < self.places.saturating_mul(WAITING_PER_PLACE) {
            true => self.clock.timeout(self.wait_max, self.place(cost)).await.flatten(),
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

    async fn place(&self, cost: Cost) -> Option<Admitted> {
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
