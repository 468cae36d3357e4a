//! Figures of the way in.

use std::sync::atomic::AtomicU64;

use model::partition::PartitionId;
use platform::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Labels of a refusal: why.
pub type Reason = Vec<(&'static str, &'static str)>;

/// Labels of a figure of Kafka: the source, perhaps the topic.
pub type Source = Vec<(&'static str, String)>;

/// Labels of a figure of one partition: its number.
type Place = [(&'static str, String); 1];

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
    /// Bytes of each partition's queue on this node's disk, against the bound `queue.bytes_max`.
    queue_bytes: Family<Place, Gauge<u64, AtomicU64>>,
    /// Producers that each partition remembers, against the bound `PRODUCERS_MAX`.
    producers: Family<Place, Gauge<u64, AtomicU64>>,
    /// Producers of which is kept where they go since partitions were added, against the bound
    /// `HOMES_MAX`.
    pub homes: Gauge<u64, AtomicU64>,
    /// Ids of documents remembered, against the bound `IDS_MAX` of the Elasticsearch door.
    pub ids: Gauge<u64, AtomicU64>,
    /// Small batches that take a place to be recognised in this hour, against the bound `PLACES_MAX` of
    /// the doors.
    pub names: Gauge<u64, AtomicU64>,
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
        let count = |name: &str, help: &str| metrics.register(name, help, Counter::default());
        let gauge = |name: &str, help: &str| {
            metrics.register(name, help, Gauge::<u64, AtomicU64>::default())
        };
        Self {
            records: count("ingest_records", "Records accepted"),
            bytes: count("ingest_bytes", "Bytes of accepted batches"),
            duplicates: count("ingest_duplicate_batches", "Batches recognised as repeats"),
            poisoned: count(
                "ingest_poisoned_records",
                "Lines kept as text because they could not be read",
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
                "Bytes of the queue on disk, by partition",
                Family::default(),
            ),
            producers: metrics.register(
                "ingest_producers",
                "Producers remembered for recognising repeats, by partition",
                Family::default(),
            ),
            homes: gauge(
                "ingest_producer_homes",
                "Producers whose partition is kept since partitions were added",
            ),
            ids: gauge(
                "ingest_remembered_ids",
                "Ids of documents remembered for recognising repeats",
            ),
            names: gauge(
                "ingest_named_batches",
                "Small batches that are recognised when they come again, of this hour",
            ),
            hec_channels: gauge(
                "ingest_hec_channels",
                "Channels of HEC whose acknowledgements are remembered",
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
            inflight_bytes: gauge("ingest_inflight_bytes", "Bytes waiting to be written"),
        }
    }

    /// Counts records that came through a door.
    pub fn came_through(&self, door: &'static str, records: u64) {
        self.doors.get_or_create(&vec![("door", door)]).inc_by(records);
    }

    /// Tells how much a partition's queue has here: bytes on disk, producers that it remembers.
    pub(crate) fn queue_is(&self, partition: PartitionId, bytes: u64, producers: usize) {
        let place = place(partition);
        self.queue_bytes.get_or_create(&place).set(bytes);
        self.producers.get_or_create(&place).set(producers as u64);
    }

    /// A partition's queue is not here any more.
    pub(crate) fn queue_went(&self, partition: PartitionId) {
        let place = place(partition);
        self.queue_bytes.remove(&place);
        self.producers.remove(&place);
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&vec![("reason", reason)]).inc();
    }
}

fn place(partition: PartitionId) -> Place {
    [("partition", partition.0.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_says_how_full_it_is_until_it_goes() {
        let metrics = Metrics::default();
        let figures = IngestMetrics::new(&metrics);
        figures.queue_is(PartitionId(0), 10, 1);
        figures.queue_is(PartitionId(7), 20, 2);
        let text = metrics.encode();
        for line in [
            "ingest_queue_bytes{partition=\"0\"} 10",
            "ingest_queue_bytes{partition=\"7\"} 20",
            "ingest_producers{partition=\"7\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{text}");
        }
        figures.queue_went(PartitionId(7));
        let text = metrics.encode();
        assert!(!text.contains("partition=\"7\"") && text.contains("partition=\"0\""), "{text}");
    }
}
