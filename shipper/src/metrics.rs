//! The shipper's figures.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// What is counted. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) records: Counter,
    pub(crate) batches: Counter,
    pub(crate) bytes: Counter,
    pub(crate) failures: Counter,
    pub(crate) poisoned: Counter,
    pub(crate) lost_bytes: Counter,
    pub(crate) gaps: Counter,
    pub(crate) dropped: Counter,
    pub(crate) files: Gauge,
    pub(crate) open_files: Gauge,
    pub(crate) ahead_files: Gauge,
    pub(crate) zstd_level: Gauge,
    pub(crate) lag_bytes: Gauge,
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
            failures: counter("shipper_send_failures", "Requests that got no final answer."),
            poisoned: counter("shipper_poisoned_records", "Records refused and sent as text."),
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
                "Datagrams of syslog that came while their spool was full.",
            ),
            files: gauge("shipper_files", "Files followed."),
            open_files: gauge("shipper_open_files", "Files held open."),
            ahead_files: gauge(
                "shipper_ahead_files",
                "Rotated files held open until they are read, beside those.",
            ),
            zstd_level: gauge("shipper_zstd_level", "Level of zstd of the batch packed last."),
            lag_bytes: gauge("shipper_lag_bytes", "Bytes in files not acknowledged yet."),
        }
    }
}
