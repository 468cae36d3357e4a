//! The log of a Raft group in segment files: what openraft appends, cuts, purges and reads, and
//! what its entries add up to.
//!
//! Every segment begins with a snapshot point, so a leader sends the start of a segment to a
//! member that needs what is gone. Writing takes the lock of the log, then, when the disk is done,
//! for a moment the lock of the tail; readers take only the second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use platform::clock::Clock;
use platform::disk::Disk;
use tokio::sync::watch;

use super::reader::LogReader;
use super::shared::Shared;
use super::types::{LogId, StoredMembership};
use crate::log::LogError;

/// How often a full disk is looked at.
const ROOM_LOOK: Duration = Duration::from_millis(250);

/// What the entries of a log add up to, kept at the log's tail: with those that are not committed
/// yet, which may be taken back.
pub trait Fold: Send + 'static {
    /// All of it, as bytes that a later version still reads.
    fn snapshot(&self) -> Vec<u8>;

    /// From the bytes of a snapshot; `None` when they are none.
    fn restore(bytes: &[u8]) -> Option<Self>
    where
        Self: Sized;

    /// A command was appended under this Raft index.
    fn apply(&mut self, index: u64, command: &Bytes);
}

/// Nothing is kept.
impl Fold for () {
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }

    fn apply(&mut self, _: u64, _: &Bytes) {}
}

/// Bounds of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// Bytes at which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Bytes of the newest entries that are kept in memory.
    pub recent_bytes_max: usize,
    /// Bytes that [`LogStore::room`] wants free on the disk. With it the log waits where the disk
    /// is full, without it a full disk ends the member.
    pub room_bytes_min: Option<u64>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            segment_bytes_max: model::limits::SEGMENT_BYTES_MAX as u64,
            recent_bytes_max: 32 << 20,
            room_bytes_min: None,
        }
    }
}

/// What the log up to an entry amounts to: enough to go on from there without it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The last entry that is in it.
    pub log_id: Option<LogId>,
    /// The members after that entry.
    pub membership: StoredMembership,
    /// The fold's snapshot after that entry.
    pub fold: Bytes,
}

/// A segment of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The entry before its first one.
    pub start: Option<LogId>,
}

/// The log of a group; clones share it.
#[derive(Debug)]
pub struct LogStore<F>(pub(super) Arc<Shared<F>>);

impl<F> Clone for LogStore<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: Fold> LogStore<F> {
    /// Opens the log in a folder, or makes it, beginning with the given fold. All of it is read.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError`]. After [`LogError::Damaged`] and [`LogError::Missing`] nothing was changed: this
    /// member must not answer as one that has what it acknowledged. Set the folder aside and join
    /// the group as a new member.
    pub fn open(
        folder: &Path,
        disk: Disk,
        settings: LogSettings,
        initial: F,
    ) -> Result<Self, LogError> {
        Shared::open(folder, disk, settings, initial).map(|shared| Self(Arc::new(shared)))
    }

    /// Looks at the fold at the tail and the last entry's id. The closure must be quick: the log
    /// waits for it.
    pub fn tail<T>(&self, look: impl FnOnce(&F, Option<LogId>) -> T) -> T {
        let tail = self.0.tail();
        look(&tail.sum.fold, tail.sum.last)
    }

    /// The oldest snapshot point from which all later entries are there. Purging moves it.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be read.
    pub async fn base(&self) -> Result<SnapshotPoint, LogError> {
        let shared = self.0.clone();
        blocking(move || shared.base()).await
    }

    /// [`LogStore::base`], on a thread that may block.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be read.
    pub fn base_now(&self) -> Result<SnapshotPoint, LogError> {
        self.0.base()
    }

    /// The entry before the newest segment's first one: no snapshot point that trimming may find is behind
    /// it. `None` while there is one segment, from the log's beginning on.
    #[must_use]
    pub fn newest_start(&self) -> Option<LogId> {
        self.0.tail().pieces.back().and_then(|piece| piece.start)
    }

    /// Begins another segment, if there is an entry in the newest one: so that all before it may be cut.
    ///
    /// # Errors
    /// [`LogError`]: the log goes on in the old segment.
    pub async fn seal(&self) -> Result<(), LogError> {
        let shared = self.0.clone();
        blocking(move || shared.seal()).await
    }

    /// Of the starts of segments up to the entry `applied`, the newest whose fold passes. `None`
    /// when it is not newer than [`LogStore::base`]. Nothing is removed: purging up to the point
    /// does that, after openraft has taken it for its snapshot.
    ///
    /// # Errors
    /// [`LogError`] when a segment cannot be read.
    pub async fn trim(
        &self,
        applied: Option<LogId>,
        passes: impl Fn(&F) -> bool + Send + 'static,
    ) -> Result<Option<SnapshotPoint>, LogError> {
        let shared = self.0.clone();
        blocking(move || shared.trim(applied, passes)).await
    }

    /// Begins anew from a snapshot of the leader: what is there is dropped, crash-safely. When
    /// the log already has the point's entry, nothing is done; purging up to it follows.
    ///
    /// # Errors
    /// [`LogError`]: the log is as it was; [`LogError::Damaged`] when the point's fold is none.
    pub async fn restart(&self, point: SnapshotPoint) -> Result<(), LogError> {
        let shared = self.0.clone();
        blocking(move || shared.restart(&point)).await
    }

    /// Reads entries one behind the other; each reader keeps its own place.
    #[must_use]
    pub fn reader(&self) -> LogReader<F> {
        LogReader::new(self.clone())
    }

    /// Bytes of the log on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.tail().pieces.iter().map(|piece| piece.segment.bytes).sum()
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.0.tail().infos()
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.0.tail().purged
    }

    /// Whether a sync failed: nothing is written until the log was opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.0.is_poisoned()
    }

    /// Waits until the disk has the room that the settings ask for.
    pub async fn room(&self) {
        let mut told = false;
        while self.0.lacks_room() {
            self.wait_for_room(&mut told).await;
        }
    }

    /// Nobody waits for room any more: the member ends.
    pub fn give_up_waiting(&self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }

    /// Runs what writes, again and again while the disk is full and the settings say so.
    pub(super) async fn written<T: Send + 'static>(
        &self,
        work: impl Fn(&Shared<F>) -> Result<T, LogError> + Send + Sync + 'static,
    ) -> Result<T, LogError> {
        let (work, mut told) = (Arc::new(work), false);
        loop {
            let (shared, work) = (self.0.clone(), work.clone());
            match blocking(move || work(&shared)).await {
                Err(LogError::Full(_)) if self.0.waits() => self.wait_for_room(&mut told).await,
                done => return done,
            }
        }
    }

    async fn wait_for_room(&self, told: &mut bool) {
        if !std::mem::replace(told, true) {
            let folder = self.0.folder().display();
            tracing::error!(%folder, "the disk is full: what is decided waits here; make room");
        }
        Clock::system().sleep(ROOM_LOOK).await;
    }

    /// Woken whenever the log began anew.
    pub(super) fn anew(&self) -> watch::Receiver<()> {
        self.0.anew.subscribe()
    }
}

/// Runs what waits for the disk where waiting harms nobody. It ends even if nobody waits for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
