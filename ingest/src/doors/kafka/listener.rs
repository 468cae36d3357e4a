//! What the library tells: partitions given and taken, errors, figures.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use platform::clock::Clock;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::run::Name;
use crate::metrics::IngestMetrics;

/// Between two warnings of one source: brokers that are away are tried again and again.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// Hears what the library tells about one source.
pub(super) struct Listener {
    source: String,
    clock: Clock,
    metrics: IngestMetrics,
    /// Partitions that were given or taken and whose state must be forgotten.
    changed: Mutex<Vec<Name>>,
    warned: Mutex<Option<Duration>>,
}

impl Listener {
    pub(super) fn new(source: String, clock: Clock, metrics: IngestMetrics) -> Self {
        Self { source, clock, metrics, changed: Mutex::default(), warned: Mutex::default() }
    }

    /// Partitions that were given or taken since the last call. They are told while a message is
    /// waited for, so what is known here is older than the message that comes next.
    pub(super) fn changed(&self) -> Vec<Name> {
        std::mem::take(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts an error, and says it now and then.
    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.metrics.kafka_errors.get_or_create(&vec![("source", self.source.clone())]).inc();
        let now = self.clock.elapsed();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now.saturating_sub(last) >= WARNING_PAUSE) {
            *warned = Some(now);
            tracing::warn!(source = self.source, %error, "kafka cannot be read, will go on trying");
        }
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(source = self.source, ?level, facility, message, "librdkafka says");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failed(&format_args!("{error}: {reason}"));
    }

    fn stats(&self, statistics: Statistics) {
        for topic in statistics.topics.into_values() {
            let lags =
                topic.partitions.values().map(|partition| match partition.consumer_lag_stored {
                    -1 => partition.consumer_lag,
                    lag => lag,
                });
            let known: Vec<i64> = lags.filter(|lag| *lag >= 0).collect();
            let labels = vec![("source", self.source.clone()), ("topic", topic.topic)];
            self.metrics.kafka_lag.get_or_create(&labels).set(known.iter().sum());
        }
    }
}

impl ConsumerContext for Listener {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (Rebalance::Assign(list) | Rebalance::Revoke(list)) = rebalance else {
            self.failed(&"the group could not agree on who reads what");
            return;
        };
        let partitions: Vec<Name> =
            list.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
        let is_given = matches!(rebalance, Rebalance::Assign(_));
        tracing::info!(source = self.source, is_given, ?partitions, "partitions changed hands");
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(partitions);
    }
}
