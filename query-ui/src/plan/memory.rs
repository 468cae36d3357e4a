//! Memory of queries: each has a bound of its own, and all together one more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::metrics::QueryMetrics;

/// How what holds one side of a join without equal keys is named. Where that finds no room, the engine would
/// begin with its rows once more, of which some are gone by then: it ends instead.
const JOIN_SIDE: &str = "NestedLoopJoinLoad[";

/// There is no memory for it, and nothing else to be tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoRoom(String);

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
        let grown = match self.all.take(additional) {
            true => self
                .own
                .try_grow(reservation, additional)
                .inspect_err(|_| self.all.give_back(additional)),
            false => Err(resources_datafusion_err!(
                "all queries together hold {} bytes of {}",
                self.all.held.load(Ordering::Relaxed),
                self.all.bytes_max
            )),
        };
        grown.map_err(|error| match reservation.consumer().name().starts_with(JOIN_SIDE) {
            true => DataFusionError::External(Box::new(NoRoom(error.to_string()))),
            false => error,
        })
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

    #[test]
    fn a_join_that_finds_no_room_does_not_begin_again() {
        let memory = Memory::new(100, QueryMetrics::new(&Metrics::default()));
        let pool = memory.share(80);
        for (name, is_last) in [("NestedLoopJoinLoad[0]", true), ("GroupedHashAggregate", false)] {
            let holder = MemoryConsumer::new(name).register(&pool);
            // More than the query has, and more than all have.
            for bytes in [90, 110] {
                let error = holder.try_grow(bytes).unwrap_err();
                let told = matches!(&error, DataFusionError::External(why) if why.is::<NoRoom>());
                assert_eq!(told, is_last, "{error}");
            }
        }
        assert_eq!(pool.reserved(), 0);
    }
}
