//! Figures of queries.

use platform::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Figures of queries; clones share them.
#[derive(Debug, Clone)]
pub struct QueryMetrics {
    /// Queries begun.
    pub queries: Counter,
    /// Queries told to come later, against the bound `concurrency_max`.
    pub refusals: Counter,
    /// Queries that wait for a place, against sixteen for each.
    pub waiting: Gauge,
    /// Time that queries waited for a place, seconds.
    pub wait_seconds: Histogram,
    /// Bytes that queries hold for sorting and grouping, against the bound `memory_all_bytes_max`.
    pub memory_bytes: Gauge,
    /// Times that a query had to go on on disk, or was refused, against that bound.
    pub memory_refusals: Counter,
    /// Queries that failed.
    pub failures: Counter,
    /// Queries running now.
    pub running: Gauge,
    /// Time of a query, seconds.
    pub seconds: Histogram,
    /// Splits and fresh parts scanned.
    pub units: Counter,
    /// Rows that scans found.
    pub rows: Counter,
    /// Tables that ended at the bound `table_rows_max`.
    pub tables_cut: Counter,
    /// Parts of plans that other nodes were asked to run.
    pub fragments: Counter,
    /// Of those, how many were scanned from here instead.
    pub fragment_failures: Counter,
    /// Parts of other nodes' plans begun here.
    pub fragments_served: Counter,
    /// Of those, how many run, against the bound `fragments_max`.
    pub fragments_running: Gauge,
    /// And how many wait for a place.
    pub fragments_waiting: Gauge,
    /// Great plans that are made, against half of the queries' cores.
    pub plannings_running: Gauge,
    /// And how many wait for a place.
    pub plannings_waiting: Gauge,
    /// Tails open now, against the bound `tails_max`.
    pub tails: Gauge,
    /// Records a tail missed because its reader was slow.
    pub tail_lost: Counter,
}

impl QueryMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.register(name, help, Counter::default());
        let gauge = |name, help| metrics.register(name, help, Gauge::default());
        let buckets = exponential_buckets(0.001, 2.0, 16);
        Self {
            queries: counter("query_queries", "Queries begun"),
            refusals: counter("query_refusals", "Queries told to come later"),
            waiting: gauge("query_waiting", "Queries that wait for a place"),
            wait_seconds: metrics.register(
                "query_wait_seconds",
                "Time that a query waited for a place",
                Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            ),
            memory_bytes: gauge("query_memory_bytes", "Bytes that queries hold"),
            memory_refusals: counter(
                "query_memory_refusals",
                "Times that all queries together held too much for one more piece",
            ),
            failures: counter("query_failures", "Queries that failed"),
            running: gauge("query_running", "Queries running now"),
            seconds: metrics.register("query_seconds", "Time of a query", Histogram::new(buckets)),
            units: counter("query_units", "Splits and fresh parts scanned"),
            rows: counter("query_rows", "Rows that scans found"),
            tables_cut: counter("query_tables_cut", "Tables that ended at the bound of their rows"),
            fragments: counter("query_fragments", "Parts of plans that other nodes were asked for"),
            fragment_failures: counter(
                "query_fragment_failures",
                "Parts of plans that other nodes did not run and that were scanned from here",
            ),
            fragments_served: counter(
                "query_fragments_served",
                "Parts of other nodes' plans begun here",
            ),
            fragments_running: gauge(
                "query_fragments_running",
                "Parts of other nodes' plans that run here",
            ),
            fragments_waiting: gauge(
                "query_fragments_waiting",
                "Parts of other nodes' plans that wait for a place here",
            ),
            plannings_running: gauge("query_plannings_running", "Great plans that are made"),
            plannings_waiting: gauge(
                "query_plannings_waiting",
                "Great plans that wait for a place to be made",
            ),
            tails: gauge("query_tails", "Tails open now"),
            tail_lost: counter("query_tail_lost_records", "Records a slow tail missed"),
        }
    }
}
