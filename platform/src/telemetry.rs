//! Our own words and figures: tracing to standard error, metrics in Prometheus' text.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sends what the program says of itself to standard error; `SAWLOG_LOG` chooses how much
/// (`info` unless set, `debug`, `index=debug,warn` …).
pub fn init() {
    let asked = std::env::var("SAWLOG_LOG").unwrap_or_default();
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let words = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(true)
        // Words that nobody reads any more are no reason to fail: a complaint about it would panic.
        .log_internal_errors(false);
    if tracing_subscriber::registry().with(words).with(told(&asked)).try_init().is_err() {
        tracing::debug!("telemetry was started before");
    }
}

/// What is told as `SAWLOG_LOG` says. Unless it says so: what the consensus engine has to say we say
/// ourselves.
fn told(asked: &str) -> Targets {
    let usual =
        || Targets::new().with_default(LevelFilter::INFO).with_target("openraft", LevelFilter::OFF);
    asked.parse().ok().filter(|_| !asked.is_empty()).unwrap_or_else(usual)
}

/// The metrics of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Adds a metric and gives it back. `name` has its unit last, without `_total`.
    pub fn register<M>(&self, name: &str, help: &str, metric: M) -> M
    where
        M: EncodeMetric + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The registry ends the sentence.
        registry.register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }

    /// All metrics as Prometheus reads them.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// One more in a gauge until it is dropped: no longer either where what is counted breaks off, or where
/// nobody waits for it any more.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one.
    pub fn one(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tracing::Level;

    use super::*;

    #[test]
    fn as_much_is_told_as_was_asked_for() {
        let says = |asked: &str, who: &str, level| told(asked).would_enable(who, &level);
        // What cannot be read asks for nothing.
        for usual in ["", "a=b=c"] {
            assert!(says(usual, "shipper::tail", Level::INFO));
            assert!(!says(usual, "shipper::tail", Level::DEBUG));
            assert!(!says(usual, "openraft::raft", Level::ERROR));
        }
        let asked = "index=debug,warn";
        assert!(says(asked, "index::split", Level::DEBUG) && says(asked, "shipper", Level::WARN));
        assert!(!says(asked, "shipper", Level::INFO));
    }

    #[test]
    fn what_is_counted_is_so_until_it_ends_however_it_ends() {
        let gauge = Gauge::default();
        let one = Counted::one(&gauge);
        let mut waiting = Box::pin(async {
            let _two = Counted::one(&gauge);
            std::future::pending::<()>().await;
        });
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(gauge.get(), 2);
        drop(waiting);
        assert_eq!(gauge.get(), 1);
        drop(one);
        assert_eq!(gauge.get(), 0);
    }
}
