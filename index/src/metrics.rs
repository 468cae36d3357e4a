//! Figures of the index.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::split::SplitMeta;
use platform::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Figures of the index; clones share them.
#[derive(Debug, Clone, Default)]
pub struct IndexMetrics {
    /// Records made searchable.
    pub records: Counter,
    /// Batches that could not be opened; kept aside, with a record that says so.
    pub poisoned: Counter,
    /// Bytes of fresh rows, against the bound `fresh_bytes_max` (twice).
    pub fresh_bytes: Gauge,
    /// Splits published.
    pub splits_built: Counter,
    /// Splits that were merged away.
    pub splits_merged: Counter,
    /// Splits written from fresh rows.
    pub builds: WriteMetrics,
    /// Splits written from others: merged, or without what was deleted.
    pub merges: WriteMetrics,
    /// Splits written anew for size: cold compaction.
    pub cold: WriteMetrics,
    /// Bytes that the splits in the place of which they came had.
    pub cold_replaced_bytes: Counter,
    /// Splits in the place of which they came.
    pub splits_cooled: Counter,
    /// Splits that are to be written anew for size.
    pub cold_waiting: Gauge,
    /// Groups of splits that are being written anew: a merge or a deletion at most, and beside it a
    /// cold compaction at most.
    pub rewrites_running: Gauge,
    /// Splits expired by age or by disk share.
    pub splits_expired: Counter,
    /// Rows deleted from splits.
    pub rows_deleted: Counter,
    /// Deletions that go on.
    pub deletions: Gauge,
    /// Builds or merges that failed and are tried again.
    pub failures: Counter,
    /// Questions answered before all that was committed had become searchable.
    pub behind: Counter,
    /// Questions that waited for a partition that moved to another node, 5 s at most.
    pub move_waits: Counter,
    /// Those of them that were answered without it.
    pub move_waits_over: Counter,
    /// Opened splits found in memory.
    pub cache_hits: Counter,
    /// Splits that had to be opened.
    pub cache_misses: Counter,
    /// Opened splits that do not know their rows by sender: they have too many, or are old.
    pub splits_senderless: Counter,
    /// Bytes of opened splits, against the bound `cache_bytes_max`.
    pub cache_bytes: Gauge,
    /// Pages of splits found unpacked in memory.
    pub page_hits: Counter,
    /// Pages that had to be read and unpacked.
    pub page_misses: Counter,
    /// Filters of which it was known which rows of a split pass.
    pub found_hits: Counter,
    /// Filters of which that had to be found out.
    pub found_misses: Counter,
    /// Bytes of pages, and of rows known to pass filters, kept in memory, against the bound
    /// `page_bytes_max`.
    pub page_bytes: Gauge,
    /// Scans for other nodes that work, against their places.
    pub scans_running: Gauge,
    /// Scans for other nodes that wait for one.
    pub scans_waiting: Gauge,
    /// Views that are held for other nodes, against the bound `VIEWS_MAX`.
    pub views_held: Gauge,
}

impl IndexMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.register(name, help, Counter::default());
        let seconds = |name, help| metrics.register(name, help, Seconds::default());
        let gauge = |name, help| metrics.register(name, help, Gauge::default());
        Self {
            records: counter("index_records", "Records made searchable"),
            poisoned: counter("index_poisoned_batches", "Batches that could not be opened"),
            fresh_bytes: gauge("index_fresh_bytes", "Bytes of fresh rows"),
            splits_built: counter("index_splits_built", "Splits published"),
            splits_merged: counter("index_splits_merged", "Splits that were merged away"),
            builds: WriteMetrics {
                rows: counter("index_build_rows", "Rows of splits written from fresh rows"),
                bytes: counter("index_build_bytes", "Bytes of splits written from fresh rows"),
                seconds: seconds("index_build_seconds", "Time spent writing them"),
            },
            merges: WriteMetrics {
                rows: counter("index_merge_rows", "Rows of splits written from other splits"),
                bytes: counter("index_merge_bytes", "Bytes of splits written from other splits"),
                seconds: seconds("index_merge_seconds", "Time spent writing them"),
            },
            cold: WriteMetrics {
                rows: counter("index_cold_rows", "Rows of splits written anew for size"),
                bytes: counter("index_cold_bytes", "Bytes of splits written anew for size"),
                seconds: seconds("index_cold_seconds", "Time spent writing them"),
            },
            cold_replaced_bytes: counter(
                "index_cold_replaced_bytes",
                "Bytes of the splits that were written anew for size",
            ),
            splits_cooled: counter("index_splits_cooled", "Splits that were written anew for size"),
            cold_waiting: gauge("index_cold_waiting", "Splits to be written anew for size"),
            rewrites_running: gauge(
                "index_rewrites_running",
                "Merges, deletions and compactions of splits that work",
            ),
            splits_expired: counter("index_splits_expired", "Splits expired by age or disk share"),
            rows_deleted: counter("index_rows_deleted", "Rows deleted from splits"),
            deletions: gauge("index_deletions", "Deletions that go on"),
            failures: counter("index_failures", "Builds or merges that failed"),
            behind: counter("index_behind", "Questions answered from less than was committed"),
            move_waits: counter(
                "index_move_waits",
                "Questions that waited for a partition that moved to another node",
            ),
            move_waits_over: counter(
                "index_move_waits_over",
                "Questions that waited for one in vain",
            ),
            cache_hits: counter("index_cache_hits", "Opened splits found in memory"),
            cache_misses: counter("index_cache_misses", "Splits that had to be opened"),
            splits_senderless: counter(
                "index_splits_senderless",
                "Splits read that do not count their rows by sender and minute",
            ),
            cache_bytes: gauge("index_cache_bytes", "Bytes of opened splits"),
            page_hits: counter("index_page_hits", "Pages of splits found unpacked in memory"),
            page_misses: counter("index_page_misses", "Pages that had to be read and unpacked"),
            found_hits: counter("index_found_hits", "Filters whose rows in a split were known"),
            found_misses: counter("index_found_misses", "Filters whose rows had to be found"),
            page_bytes: gauge("index_page_bytes", "Bytes of pages of splits kept in memory"),
            scans_running: gauge("index_scans_running", "Scans for other nodes that work"),
            scans_waiting: gauge(
                "index_scans_waiting",
                "Scans for other nodes that wait for a place",
            ),
            views_held: gauge("index_views_held", "Views that are held for other nodes"),
        }
    }
}

/// Counts seconds, with their fractions.
type Seconds = Counter<f64, AtomicU64>;

/// What is written of splits. All that is written beside what builds write is the amplification of
/// writing.
#[derive(Debug, Clone, Default)]
pub struct WriteMetrics {
    /// Their rows.
    pub rows: Counter,
    /// Their bytes, with all their indexes.
    pub bytes: Counter,
    /// The time that it took.
    pub seconds: Seconds,
}

impl WriteMetrics {
    /// Counts a split that was written, or the time after which nothing was left to write.
    pub(crate) fn add(&self, split: Option<&SplitMeta>, took: Duration) {
        self.seconds.inc_by(took.as_secs_f64());
        if let Some(split) = split {
            self.rows.inc_by(split.row_count);
            self.bytes.inc_by(split.stored_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::merge::merge_one;

    #[test]
    fn what_is_written_is_counted() {
        let registry = Metrics::default();
        let (metrics, fixture) = (IndexMetrics::new(&registry), Fixture::new());
        for message in ["a 1", "a 2", "a 3"] {
            let split = fixture.publish(&[message]);
            metrics.builds.add(Some(&*split), Duration::from_millis(500));
        }
        metrics.builds.add(None, Duration::from_millis(250));
        assert!(merge_one(&fixture.core).unwrap());
        let merged = fixture.searcher.view().splits[0].clone();
        let merges = &fixture.core.parties.metrics.merges;
        assert_eq!((merges.rows.get(), merges.bytes.get()), (3, merged.stored_bytes));
        let text = registry.encode();
        for line in [
            "index_build_rows_total 3",
            "index_build_seconds_total 1.75",
            "index_merge_rows_total 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_kept_in_memory_is_counted() {
        let fixture = Fixture::new();
        let split = fixture.publish(&["a 1", "a 2"]);
        let metrics = fixture.core.parties.metrics.clone();
        let hits = || (metrics.cache_hits.get(), metrics.page_hits.get());
        let misses = || (metrics.cache_misses.get(), metrics.page_misses.get());
        assert_eq!(fixture.stored(), ["a 1", "a 2"]);
        let (found, read) = (hits(), misses());
        assert!(read.0 == 1 && read.1 > 0, "{read:?}");
        assert!(metrics.cache_bytes.get() > 0);
        assert_eq!(fixture.stored(), ["a 1", "a 2"]);
        assert_eq!(misses(), read, "all of it is in memory");
        assert!(hits().0 > found.0 && hits().1 > found.1);
        fixture.core.close(std::slice::from_ref(&split.id));
        assert_eq!(metrics.cache_bytes.get(), 0);
    }
}
