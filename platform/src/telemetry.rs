//! Our own words and figures: tracing to standard error, metrics in Prometheus' text.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

/// What is told unless `SAWLOG_LOG` says otherwise: what the consensus engine has to say we say ourselves.
const USUAL: &str = "info,openraft=off";

/// Sends what the program says of itself to standard error; `SAWLOG_LOG` chooses how much
/// (`info` unless set, `debug`, `index=debug,warn` …).
pub fn init() {
    let filter = EnvFilter::try_from_env("SAWLOG_LOG").unwrap_or_else(|_| EnvFilter::new(USUAL));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(true)
        // Words that nobody reads any more are no reason to fail: a complaint about it would panic.
        .log_internal_errors(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("telemetry was started before");
    }
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
