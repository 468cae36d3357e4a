//! The wish to stop, heard by everybody.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A wish to stop. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Stops at SIGTERM or SIGINT. Must be called inside the runtime.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let heard = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tracing::info!("stopping");
            heard.trigger();
        });
        Ok(shutdown)
    }

    /// Wishes to stop. Doing it twice is doing it once.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody wished to stop.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when somebody wishes to stop.
    pub async fn wait(&self) {
        let mut wish = self.0.subscribe();
        // The sender lives as long as self, so this ends only by the wish.
        drop(wish.wait_for(|stop| *stop).await);
    }
}
