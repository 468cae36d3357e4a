//! Memory of queries: each has a bound of its own, and all together one more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::metrics::QueryMetrics;

/// What all queries hold together. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
    metrics: QueryMetrics,
}

impl Memory {
    pub(super) fn new(bytes_max: usize, metrics: QueryMetrics) -> Self {
        Self { held: Arc::default(), bytes_max, metrics }
    }

    /// The memory of one more query.
    pub(super) fn share(&self, bytes_max: usize) -> Arc<dyn MemoryPool> {
        Arc::new(Share { own: FairSpillPool::new(bytes_max), all: self.clone() })
    }

    /// Takes some, if there is that much.
    fn take(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        let taken = self.held.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.told(bytes, taken);
        taken
    }

    fn told(&self, bytes: usize, taken: bool) {
        if taken {
            self.metrics.memory_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        } else {
            self.metrics.memory_refusals.inc();
        }
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.memory_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// One query's memory.
#[derive(Debug)]
struct Share {
    own: FairSpillPool,
    all: Memory,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.own, f)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        // This one cannot be refused; it still counts.
        self.all.held.fetch_add(additional, Ordering::Relaxed);
        self.all.told(additional, true);
        self.own.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.give_back(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.all.take(additional) {
            return Err(resources_datafusion_err!(
                "all queries together hold {} bytes of {}",
                self.all.held.load(Ordering::Relaxed),
                self.all.bytes_max
            ));
        }
        self.own.try_grow(reservation, additional).inspect_err(|_| self.all.give_back(additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use platform::telemetry::Metrics;

    use super::*;

    #[test]
    fn queries_share_what_there_is_and_give_it_back() {
        let metrics = QueryMetrics::new(&Metrics::default());
        let memory = Memory::new(100, metrics.clone());
        let (one, other) = (memory.share(80), memory.share(80));
        let first = MemoryConsumer::new("first").register(&one);
        let second = MemoryConsumer::new("second").register(&other);
        assert!(first.try_grow(81).is_err());
        first.try_grow(70).unwrap();
        assert!(second.try_grow(31).is_err());
        second.try_grow(30).unwrap();
        assert_eq!((metrics.memory_bytes.get(), metrics.memory_refusals.get()), (100, 1));
        drop(first);
        second.try_grow(40).unwrap();
        drop(second);
        assert_eq!(metrics.memory_bytes.get(), 0);
    }
}
