//! Figures of the way in.

use std::sync::atomic::AtomicU64;

use platform::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Labels of a refusal: why.
pub type Reason = Vec<(&'static str, &'static str)>;

/// Labels of a figure of Kafka: the source, perhaps the topic.
pub type Source = Vec<(&'static str, String)>;

/// Figures of the way in; clones share them.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// Records accepted.
    pub records: Counter,
    /// Bytes of accepted batches as they came.
    pub bytes: Counter,
    /// Batches recognised as repeats.
    pub duplicates: Counter,
    /// Lines kept as text because they could not be read.
    pub poisoned: Counter,
    /// Records accepted, by the door they came through.
    pub doors: Family<Reason, Counter>,
    /// Requests refused, by reason.
    pub refusals: Family<Reason, Counter>,
    /// From taking a batch to its being durable, seconds.
    pub commit_seconds: Histogram,
    /// Bytes of the queue on disk, against the bound `QUEUE_BYTES_MAX`.
    pub queue_bytes: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Producers remembered, against the bound `PRODUCERS_MAX`.
    pub producers: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Ids of documents remembered, against the bound `IDS_MAX` of the Elasticsearch door.
    pub ids: Gauge<u64, AtomicU64>,
    /// Channels of HEC remembered, against the bound `CHANNELS_MAX` of its door.
    pub hec_channels: Gauge<u64, AtomicU64>,
    /// Messages of Kafka's topics that are not stored yet.
    pub kafka_lag: Family<Source, Gauge<i64, std::sync::atomic::AtomicI64>>,
    /// Errors while reading from Kafka.
    pub kafka_errors: Family<Source, Counter>,
    /// Bytes waiting to be written, against the bound `INFLIGHT_BYTES_MAX`.
    pub inflight_bytes: Gauge<u64, AtomicU64>,
}

impl IngestMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let buckets = exponential_buckets(0.000_5, 2.0, 14);
        Self {
            records: metrics.register("ingest_records", "Records accepted", Counter::default()),
            bytes: metrics.register(
                "ingest_bytes",
                "Bytes of accepted batches",
                Counter::default(),
            ),
            duplicates: metrics.register(
                "ingest_duplicate_batches",
                "Batches recognised as repeats",
                Counter::default(),
            ),
            poisoned: metrics.register(
                "ingest_poisoned_records",
                "Lines kept as text because they could not be read",
                Counter::default(),
            ),
            doors: metrics.register(
                "ingest_door_records",
                "Records accepted, by the door they came through",
                Family::default(),
            ),
            refusals: metrics.register(
                "ingest_refusals",
                "Requests refused, by reason",
                Family::default(),
            ),
            commit_seconds: metrics.register(
                "ingest_commit_seconds",
                "From taking a batch to its being durable",
                Histogram::new(buckets),
            ),
            queue_bytes: metrics.register(
                "ingest_queue_bytes",
                "Bytes of the queue on disk",
                Gauge::default(),
            ),
            producers: metrics.register(
                "ingest_producers",
                "Producers remembered for recognising repeats",
                Gauge::default(),
            ),
            ids: metrics.register(
                "ingest_remembered_ids",
                "Ids of documents remembered for recognising repeats",
                Gauge::default(),
            ),
            hec_channels: metrics.register(
                "ingest_hec_channels",
                "Channels of HEC whose acknowledgements are remembered",
                Gauge::default(),
            ),
            kafka_lag: metrics.register(
                "ingest_kafka_lag_messages",
                "Messages of Kafka's topics that are not stored yet",
                Family::default(),
            ),
            kafka_errors: metrics.register(
                "ingest_kafka_errors",
                "Errors while reading from Kafka",
                Family::default(),
            ),
            inflight_bytes: metrics.register(
                "ingest_inflight_bytes",
                "Bytes waiting to be written",
                Gauge::default(),
            ),
        }
    }

    /// Counts records that came through a door.
    pub fn came_through(&self, door: &'static str, records: u64) {
        self.doors.get_or_create(&vec![("door", door)]).inc_by(records);
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&vec![("reason", reason)]).inc();
    }
}
