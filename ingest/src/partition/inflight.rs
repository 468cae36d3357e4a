//! Bytes of batches that wait to be written: bounded, and counted as long as they wait, whoever goes away
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AppendError;
use crate::metrics::IngestMetrics;

/// Bytes of batches that wait to be written; more is told to come later.
pub const INFLIGHT_BYTES_MAX: usize = 64 << 20;
/// Unit of the permits, bytes.
const PERMIT_BYTES: usize = 1 << 10;

/// What waits at one partition.
#[derive(Debug)]
pub(crate) struct Inflight {
    permits: Arc<Semaphore>,
    figure: Gauge<u64, AtomicU64>,
}

/// Bytes that wait until this is dropped. It travels with them.
#[derive(Debug)]
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
    figure: Gauge<u64, AtomicU64>,
    bytes: u64,
}

impl Inflight {
    /// Nothing waits yet.
    pub(crate) fn new(metrics: &IngestMetrics) -> Self {
        let permits = Arc::new(Semaphore::new(INFLIGHT_BYTES_MAX / PERMIT_BYTES));
        Self { permits, figure: metrics.inflight_bytes.clone() }
    }

    /// Lets so many bytes wait.
    ///
    /// # Errors
    /// [`AppendError::Overloaded`] when too many wait.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, AppendError> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let Ok(permit) = self.permits.clone().try_acquire_many_owned(permits) else {
            return Err(AppendError::Overloaded { what: "intake" });
        };
        let (figure, bytes) = (self.figure.clone(), bytes as u64);
        figure.inc_by(bytes);
        Ok(Held { _permit: permit, figure, bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.figure.dec_by(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use platform::telemetry::Metrics;

    use super::*;

    #[test]
    fn bytes_count_as_long_as_they_wait_and_no_longer() {
        let metrics = IngestMetrics::new(&Metrics::default());
        let (inflight, other) = (Inflight::new(&metrics), Inflight::new(&metrics));
        let (one, two) = (inflight.hold(700).unwrap(), other.hold(INFLIGHT_BYTES_MAX).unwrap());
        assert_eq!(metrics.inflight_bytes.get(), 700 + INFLIGHT_BYTES_MAX as u64);
        assert!(matches!(other.hold(1), Err(AppendError::Overloaded { what: "intake" })));
        drop(two);
        assert!(other.hold(1).is_ok());
        assert_eq!(metrics.inflight_bytes.get(), 700);
        drop(one);
        assert_eq!(metrics.inflight_bytes.get(), 0);
    }

    #[test]
    fn who_goes_away_while_it_waits_is_counted_no_more_when_its_bytes_are_not() {
        let metrics = IngestMetrics::new(&Metrics::default());
        let inflight = Inflight::new(&metrics);
        let (intake, waiting) = flume::bounded::<Held>(1);
        let mut client = Box::pin(async {
            let held = inflight.hold(900).unwrap();
            intake.send_async(held).await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!((&mut client).now_or_never().is_none());
        drop(client);
        // They wait all the same.
        assert_eq!(metrics.inflight_bytes.get(), 900);
        drop(waiting.recv());
        assert_eq!(metrics.inflight_bytes.get(), 0);
        // Nor one that goes before there was room in the channel.
        intake.send(inflight.hold(1).unwrap()).unwrap();
        let sent = intake.send_async(inflight.hold(900).unwrap()).now_or_never();
        assert!(sent.is_none());
        assert_eq!(metrics.inflight_bytes.get(), 1);
    }
}
