//! What time it is, and waiting: real, or moved by hand in a test.
#![expect(clippy::disallowed_methods, reason = "this file is the door to time")]

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::time::Timestamp;

/// A source of time. Clones share it.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

/// The moment this process first asked; monotonic times count from it.
static START: OnceLock<Instant> = OnceLock::new();

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        START.get_or_init(Instant::now);
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// Moves a manual clock; a system clock goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Now, by the calendar. May step when the machine's clock is set.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
            Source::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
        }
    }

    /// Time since the process started; never steps back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System => START.get_or_init(Instant::now).elapsed(),
            Source::Manual(now) => Duration::from_nanos(now.load(Ordering::SeqCst).unsigned_abs()),
        }
    }

    /// Waits, in real time on either clock.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The future's output, or `None` when it takes longer than that.
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(time, future).await.ok()
    }
}
