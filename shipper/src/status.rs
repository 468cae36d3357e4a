//! What a running shipper says of itself, and the handle by which it is waited for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::wire::ShipperStatus;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::tail::{Compiled, Wish};

/// How one file fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Where it is.
    pub path: String,
    /// The label `source` of its records: where it was first seen.
    pub source: String,
    /// What is done with it.
    pub state: FileState,
    /// Bytes it has.
    pub size: u64,
    /// Up to there it was read.
    pub read: u64,
    /// Up to there it was sent.
    pub sent: u64,
    /// Up to there it is stored.
    pub acknowledged: u64,
    /// Bytes that are not stored yet.
    pub lag_bytes: u64,
    /// What went wrong, while it does.
    pub last_error: Option<String>,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Read as it grows.
    Followed,
    /// Read when the file before it, of the same stream, is.
    Waiting,
    /// Its name is gone; it is read to its end.
    Gone,
    /// No text: left alone.
    Binary,
    /// Tried again after a pause.
    Failing,
}

/// How far a file is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
}

/// Everything a running shipper says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In sum.
    #[serde(flatten)]
    pub sum: ShipperStatus,
    /// Every file.
    pub followed: Vec<FileStatus>,
}

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
    feed_error: Option<String>,
    /// By their names, feeds that wait, and for what.
    feeds_waiting: BTreeMap<String, String>,
    listener_error: Option<String>,
    settings_error: Option<String>,
}

impl Board {
    pub(crate) fn new(patterns: Vec<String>) -> Self {
        let board = Self::default();
        board.change(|state| state.patterns = patterns);
        board
    }

    pub(crate) fn patterns(&self, patterns: Vec<String>) {
        self.change(|state| state.patterns = patterns);
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

    pub(crate) fn feed(&self, error: Option<String>) {
        self.change(|state| state.feed_error = error);
    }

    /// Why a feed waits, while it does: that others are well says nothing of it. Whether that is news.
    pub(crate) fn feed_waits(&self, name: &str, why: Option<&str>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.feeds_waiting.remove(name);
        if let Some(why) = why {
            state.feeds_waiting.insert(name.to_owned(), why.to_owned());
        }
        before.as_deref() != why
    }

    fn listener(&self, error: Option<String>) {
        self.change(|state| state.listener_error = error);
    }

    fn settings(&self, error: Option<String>) {
        self.change(|state| state.settings_error = error);
    }

    pub(crate) fn status(&self) -> ShipperStatus {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { target_error, checkpoint_error, file_error, feed_error, .. } = &*state;
        let State { listener_error, settings_error, .. } = &*state;
        let waiting = state.feeds_waiting.values();
        let first = [target_error, checkpoint_error, feed_error].into_iter().flatten();
        let last = [file_error, settings_error, listener_error].into_iter().flatten();
        ShipperStatus {
            files: state.files,
            lag_bytes: state.lag_bytes,
            patterns: state.patterns.clone(),
            last_error: first.chain(waiting).chain(last).next().cloned(),
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
    pub(crate) wishes: mpsc::Sender<Wish>,
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

    /// Who may change its settings and ask for every file, also after [`Handle::join`] began.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { board: self.board.clone(), wishes: self.wishes.clone() }
    }

    /// Returns when it has stopped: after a wish to stop, or when everything is sent (once).
    ///
    /// # Errors
    /// [`ShipperError`].
    pub async fn join(self) -> Result<(), ShipperError> {
        self.task.await.map_err(ShipperError::Died)?
    }
}

/// Reaches a running shipper. Clones reach the same.
#[derive(Debug, Clone)]
pub struct Control {
    board: Board,
    wishes: mpsc::Sender<Wish>,
}

impl Control {
    /// Goes on with other settings, every file from its place. The state directory stays.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting cannot be, and the old ones hold.
    pub async fn reload(&self, config: Config) -> Result<(), ConfigError> {
        let compiled = Compiled::of(config)?;
        if self.wishes.send(Wish::Reload(Box::new(compiled))).await.is_err() {
            tracing::debug!("no settings are needed any more: the shipper has stopped");
        }
        Ok(())
    }

    /// What keeps new settings from being taken, while it does.
    pub fn settings_refused(&self, error: Option<String>) {
        self.board.settings(error);
    }

    /// What keeps its figures from being served, if anything does.
    pub(crate) fn listener(&self, error: Option<String>) {
        self.board.listener(error);
    }

    /// How far everything is. `None` once it has stopped.
    pub async fn report(&self) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Look(answer)).await.ok()?;
        let followed = answered.await.ok()?;
        Some(Report { sum: self.board.status(), followed })
    }
}
