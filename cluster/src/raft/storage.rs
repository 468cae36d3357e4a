//! The log as openraft knows it.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError};
use platform::clock::Clock;

use super::reader::{LogReader, REPLICATION_BYTES_MAX, ReadError};
use super::store::{Fold, LogStore, blocking};
use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::log::LogError;

/// How long purging waits for the snapshot that replaces the log: openraft says "purge" while the
/// state machine still installs it.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(60);

impl<F: Fold> RaftLogReader<TypeConfig> for LogReader<F> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(until) => *until,
            Bound::Unbounded => u64::MAX,
        };
        let from = from.max(self.store().0.tail().first());
        self.fetch(from, until, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.fetch(start, end, REPLICATION_BYTES_MAX).await
    }
}

impl<F: Fold> LogReader<F> {
    async fn fetch(
        &mut self,
        from: u64,
        until: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let failed = |error: ReadError| -> StorageError {
            StorageIOError::read_logs(AnyError::new(&error)).into()
        };
        if let Some(entries) = self.read_memory(from, until, bytes_max).map_err(failed)? {
            return Ok(entries);
        }
        let store = self.store().clone();
        let mut reader = std::mem::replace(self, Self::new(store));
        let (reader, read) = blocking(move || {
            let read = reader.read(from, until, bytes_max);
            (reader, read)
        })
        .await;
        *self = reader;
        read.map_err(failed)
    }
}

impl<F: Fold> RaftLogReader<TypeConfig> for LogStore<F> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader().try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader().limited_get_log_entries(start, end).await
    }
}

impl<F: Fold> RaftLogStorage<TypeConfig> for LogStore<F> {
    type LogReader = LogReader<F>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let tail = self.0.tail();
        let last_log_id = tail.sum.last.max(tail.purged);
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.written(move |shared| shared.save_vote(vote)).await;
        saved.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.0.vote())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        // openraft 0.9 waits for the callback anyway, so there is nothing to gain from returning
        // before the entries are durable.
        let written = self.written(move |shared| shared.append(&entries)).await;
        callback.log_io_completed(written.map_err(|error| {
            tracing::error!(error = &error as &dyn Error, "entries could not be written");
            to_io(error)
        }));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let cut = self.written(move |shared| shared.truncate(log_id.index)).await;
        cut.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let failed = |error: LogError| -> StorageError {
            StorageIOError::write_logs(AnyError::new(&error)).into()
        };
        let mut anew = self.anew();
        loop {
            anew.mark_unchanged();
            if self.written(move |shared| shared.purge(log_id)).await.map_err(failed)? {
                return Ok(());
            }
            let woken = Clock::system().timeout(RESTART_WAIT_MAX, anew.changed()).await;
            if woken.is_none() {
                let what = "the log ends before what is purged, and no snapshot replaced it";
                return Err(StorageIOError::write_logs(AnyError::error(what)).into());
            }
        }
    }
}

/// The system's kind of error where there is one; the reason is kept.
fn to_io(error: LogError) -> io::Error {
    let kind = match &error {
        LogError::Full(_) => io::ErrorKind::StorageFull,
        LogError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
