//! What a running shipper says of itself, and the handle by which it is waited for.

use std::sync::{Arc, Mutex, PoisonError};

use model::wire::ShipperStatus;
use tokio::task::JoinHandle;

/// What everybody inside writes down for those outside. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: u64,
    lag_bytes: u64,
    patterns: Vec<String>,
    target_error: Option<String>,
    checkpoint_error: Option<String>,
    file_error: Option<String>,
}

impl Board {
    pub(crate) fn new(patterns: &[String]) -> Self {
        let board = Self::default();
        board.change(|state| state.patterns = patterns.to_vec());
        board
    }

    pub(crate) fn files(&self, files: u64, lag_bytes: u64) {
        self.change(|state| (state.files, state.lag_bytes) = (files, lag_bytes));
    }

    pub(crate) fn target_failed(&self, message: &str) {
        self.change(|state| state.target_error = Some(message.to_owned()));
    }

    pub(crate) fn target_well(&self) {
        self.change(|state| state.target_error = None);
    }

    pub(crate) fn checkpoint(&self, error: Option<String>) {
        self.change(|state| state.checkpoint_error = error);
    }

    pub(crate) fn file(&self, error: Option<String>) {
        self.change(|state| state.file_error = error);
    }

    pub(crate) fn status(&self) -> ShipperStatus {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = [&state.target_error, &state.checkpoint_error, &state.file_error];
        ShipperStatus {
            files: state.files,
            lag_bytes: state.lag_bytes,
            patterns: state.patterns.clone(),
            last_error: errors.into_iter().flatten().next().cloned(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Why a shipper stopped before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ShipperError {
    /// The state could not be written at the end; a restart resends what it does not know of.
    #[error("cannot save the checkpoints in {folder}")]
    Checkpoints {
        /// The state directory.
        folder: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Some files could not be read to their end (only with `--once`).
    #[error("{0}")]
    Unread(String),
    /// The task died: a bug.
    #[error("the shipper stopped unexpectedly")]
    Died(#[from] tokio::task::JoinError),
}

/// A running shipper.
#[derive(Debug)]
pub struct Handle {
    pub(crate) board: Board,
    pub(crate) task: JoinHandle<Result<(), ShipperError>>,
}

impl Handle {
    /// What it reads, how far it is behind, and what is wrong just now.
    #[must_use]
    pub fn status(&self) -> ShipperStatus {
        self.board.status()
    }

    /// A reader of the status that outlives [`Handle::join`].
    pub fn status_reader(&self) -> impl Fn() -> ShipperStatus + Clone + Send + Sync + 'static {
        let board = self.board.clone();
        move || board.status()
    }

    /// Returns when it has stopped: after a wish to stop, or when everything is sent (once).
    ///
    /// # Errors
    /// [`ShipperError`].
    pub async fn join(self) -> Result<(), ShipperError> {
        self.task.await.map_err(ShipperError::Died)?
    }
}
