//! The shipper's figures.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::fill::Fill;

/// What is counted. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) records: Counter,
    pub(crate) batches: Counter,
    pub(crate) bytes: Counter,
    pub(crate) requests: Counter,
    pub(crate) failures: Counter,
    pub(crate) poisoned: Counter,
    pub(crate) cut: Counter,
    pub(crate) filtered: Counter,
    pub(crate) lost_bytes: Counter,
    pub(crate) gaps: Counter,
    pub(crate) dropped: Counter,
    pub(crate) files: Gauge,
    pub(crate) zstd_level: Gauge,
    pub(crate) lag_bytes: Gauge,
    pub(crate) fill: Fill,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(with: &platform::telemetry::Metrics) -> Self {
        let counter = |name, help| with.register(name, help, Counter::default());
        let gauge = |name, help| with.register(name, help, Gauge::default());
        Self {
            records: counter("shipper_records", "Records acknowledged."),
            batches: counter("shipper_batches", "Batches acknowledged."),
            bytes: counter("shipper_bytes", "Bytes of files acknowledged."),
            requests: counter(
                "shipper_taken_requests",
                "Requests of all kinds that nodes took: batches, and reports of how we fare.",
            ),
            failures: counter("shipper_send_failures", "Requests that got no final answer."),
            poisoned: counter("shipper_poisoned_records", "Records refused and sent as text."),
            cut: counter(
                "shipper_cut_records",
                "Records of which not all is kept: lines over the bound, and what does not get through.",
            ),
            filtered: counter(
                "shipper_filtered_records",
                "Records that rules left out, each time they were read.",
            ),
            lost_bytes: counter(
                "shipper_lost_bytes",
                "Bytes seen in files that were truncated or gone before they were read.",
            ),
            gaps: counter(
                "shipper_gaps",
                "Gaps found: records say which file, from where to where.",
            ),
            dropped: counter(
                "shipper_dropped_records",
                "Datagrams that came while their spool, or the system's buffer, was full, and entries of the journal over every bound.",
            ),
            files: gauge("shipper_files", "Files followed."),
            zstd_level: gauge("shipper_zstd_level", "Level of zstd of the batch packed last."),
            lag_bytes: gauge("shipper_lag_bytes", "Bytes in files not acknowledged yet."),
            fill: Fill::new(with),
        }
    }
}
