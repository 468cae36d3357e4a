//! How full everything is that has a bound, beside the bound: what is waited for shows here first.

use model::limits::BATCH_BYTES_MAX;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// The source that is no file, by the name of its spool.
type Feed = Vec<(&'static str, String)>;

/// A gauge for each such source.
type OfFeeds = Family<Feed, Gauge>;

/// Gauges in pairs: so much there is, and so much there may be. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fill {
    pub(crate) open_files: Pair,
    pub(crate) ahead_files: Pair,
    pub(crate) turns: Pair,
    pub(crate) sending_batches: Pair,
    pub(crate) sending_bytes: Pair,
    pub(crate) waiting_gaps: Pair,
    pub(crate) absent_files: Pair,
    /// They have no bound but the files that there are.
    pub(crate) waiting_files: Gauge,
    pub(crate) polling: Gauge,
    spool_bytes: OfFeeds,
    spool_bytes_max: OfFeeds,
    connections: OfFeeds,
    connections_max: OfFeeds,
}

/// A fill and its bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pair {
    pub(crate) now: Gauge,
    max: Gauge,
}

impl Pair {
    fn new(with: &platform::telemetry::Metrics, name: &str, help: &str) -> Self {
        let max = format!("The bound of {name}.");
        Self {
            now: with.register(name, help, Gauge::default()),
            max: with.register(&format!("{name}_max"), &max, Gauge::default()),
        }
    }

    /// There may be so much.
    pub(crate) fn bounded(&self, max: usize) {
        self.max.set(count(max));
    }

    /// There is so much.
    pub(crate) fn set(&self, now: usize) {
        self.now.set(count(now));
    }
}

/// As gauges count.
fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Fill {
    /// Registers everything.
    pub(crate) fn new(with: &platform::telemetry::Metrics) -> Self {
        let pair = |name, help| Pair::new(with, name, help);
        let gauge = |name, help| with.register(name, help, Gauge::default());
        let feeds = |name, help| with.register(name, help, OfFeeds::default());
        Self {
            open_files: pair("shipper_open_files", "Files held open."),
            ahead_files: pair(
                "shipper_ahead_files",
                "Rotated files held open until they are read, beside those.",
            ),
            turns: pair("shipper_turns", "Files that are read and sent just now."),
            sending_batches: pair(
                "shipper_sending_batches",
                "Batches made and not answered yet: what is under way, and what waits for a node.",
            ),
            sending_bytes: pair("shipper_sending_bytes", "Their bytes, compressed."),
            waiting_gaps: pair("shipper_waiting_gaps", "Gaps that no node has been told of yet."),
            absent_files: pair(
                "shipper_absent_files",
                "Files that are not found, of which the place is remembered.",
            ),
            waiting_files: gauge("shipper_waiting_files", "Files that wait for a turn."),
            polling: gauge(
                "shipper_polling",
                "1 where files are looked at every second, because inotify does not tell of all.",
            ),
            spool_bytes: feeds("shipper_spool_bytes", "Bytes in the spool of a source."),
            spool_bytes_max: feeds("shipper_spool_bytes_max", "The bound of a spool."),
            connections: feeds("shipper_syslog_connections", "Connections of a listener."),
            connections_max: feeds(
                "shipper_syslog_connections_max",
                "The bound of a listener's connections.",
            ),
        }
    }

    /// The fill of a source's spool, which has that bound.
    pub(crate) fn spool(&self, name: &str, bytes_max: u64) -> OfFeed {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        OfFeed::new([&self.spool_bytes, &self.spool_bytes_max], name, bytes_max)
    }

    /// The connections of a listener, which has that bound.
    pub(crate) fn connections(&self, name: &str, count_max: usize) -> OfFeed {
        OfFeed::new([&self.connections, &self.connections_max], name, count_max)
    }

    /// A batch of so many bytes that is being sent, for as long as this is kept.
    pub(crate) fn sending(&self, bytes: usize) -> Sending {
        self.sending_batches.now.inc();
        self.sending_bytes.now.inc_by(count(bytes));
        Sending { fill: self.clone(), bytes }
    }

    /// So many batches may be sent at once.
    pub(crate) fn sending_bounded(&self, batches: usize) {
        self.sending_batches.bounded(batches);
        self.sending_bytes.bounded(batches.saturating_mul(BATCH_BYTES_MAX));
    }
}

/// The fill of one source, which is shown while this is kept.
#[derive(Debug)]
pub(crate) struct OfFeed {
    families: [OfFeeds; 2],
    feed: Feed,
    now: Gauge,
}

impl OfFeed {
    fn new(families: [&OfFeeds; 2], name: &str, max: usize) -> Self {
        let [now, bound] = families;
        let feed = vec![("feed", name.to_owned())];
        bound.get_or_create(&feed).set(count(max));
        let gauge = now.get_or_create_owned(&feed);
        Self { families: families.map(Clone::clone), feed, now: gauge }
    }

    /// There is so much.
    pub(crate) fn set(&self, now: u64) {
        self.now.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// One more, for as long as this is kept.
    pub(crate) fn one(&self) -> One {
        self.now.inc();
        One(self.now.clone())
    }
}

impl Drop for OfFeed {
    fn drop(&mut self) {
        for family in &self.families {
            family.remove(&self.feed);
        }
    }
}

/// One of those that are counted.
#[derive(Debug)]
pub(crate) struct One(Gauge);

impl Drop for One {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A batch that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    fill: Fill,
    bytes: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.fill.sending_batches.now.dec();
        self.fill.sending_bytes.now.dec_by(count(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metrics: &platform::telemetry::Metrics, lines: &[&str]) {
        let text = metrics.encode();
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn what_is_kept_is_counted_beside_its_bound_and_no_longer() {
        let metrics = platform::telemetry::Metrics::default();
        let fill = Fill::new(&metrics);
        fill.sending_bounded(10);
        let spool = fill.spool("journal", 1 << 30);
        spool.set(77);
        let connections = fill.connections("syslog-tcp", 5);
        let (one, sending) = (connections.one(), fill.sending(1_000));
        check(
            &metrics,
            &[
                "shipper_spool_bytes{feed=\"journal\"} 77",
                "shipper_spool_bytes_max{feed=\"journal\"} 1073741824",
                "shipper_syslog_connections{feed=\"syslog-tcp\"} 1",
                "shipper_syslog_connections_max{feed=\"syslog-tcp\"} 5",
                "shipper_sending_batches 1",
                "shipper_sending_batches_max 10",
                "shipper_sending_bytes 1000",
                "shipper_sending_bytes_max 167772160",
            ],
        );
        drop((one, sending, spool));
        check(
            &metrics,
            &[
                "shipper_syslog_connections{feed=\"syslog-tcp\"} 0",
                "shipper_sending_batches 0",
                "shipper_sending_bytes 0",
            ],
        );
        assert!(!metrics.encode().contains("journal"), "a source that is gone has no fill");
    }
}
