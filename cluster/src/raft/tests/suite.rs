//! openraft's own suite for stores.

use std::io::Cursor;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{LogState, RaftLogReader};
use tempfile::TempDir;

use super::super::reader::LogReader;
use super::*;

/// The store, with a state machine at its side that brings the snapshot when what is purged is
/// beyond the log's end, as openraft's worker does.
struct Accompanied(LogStore<Tally>);

impl RaftLogReader<TypeConfig> for Accompanied {
    async fn try_get_log_entries<
        RB: std::ops::RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend,
    >(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.0.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.0.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for Accompanied {
    type LogReader = LogReader<Tally>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.0.save_vote(vote).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.0.read_vote().await
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
        // The suite writes an entry that its state machine's snapshot already holds.
        let first = behind(self.0.purged().as_ref());
        let entries: Vec<Entry> = entries.into_iter().collect();
        let new = entries.into_iter().filter(|entry| entry.log_id.index >= first);
        self.0.append(new.collect::<Vec<_>>(), callback).await
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.0.truncate(log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let worker = self.0.clone();
        let fold = Tally::default().snapshot().into();
        let point = SnapshotPoint { log_id: Some(log_id), fold, ..SnapshotPoint::default() };
        let (purged, restarted) = tokio::join!(self.0.purge(log_id), worker.restart(point));
        restarted.unwrap();
        purged
    }
}

/// A state machine whose snapshot is what was applied: the suite has no log below it.
#[derive(Default)]
struct Bare {
    applied: Option<LogId>,
    members: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

fn whole(meta: SnapshotMeta) -> Snapshot {
    Snapshot { meta, snapshot: Box::default() }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotMeta {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        Ok(whole(self.clone()))
    }
}

impl RaftStateMachine<TypeConfig> for Bare {
    type SnapshotBuilder = SnapshotMeta;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(members) = entry.payload {
                self.members = StoredMembership::new(Some(entry.log_id), members);
            }
            replies.push(Reply::default());
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotMeta {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.members.clone(),
            snapshot_id: "one".to_owned(),
        };
        self.snapshot = Some(meta.clone());
        meta
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        (self.applied, self.members) = (meta.last_log_id, meta.last_membership.clone());
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.snapshot.clone().map(whole))
    }
}

struct Build;

impl StoreBuilder<TypeConfig, Accompanied, Bare, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, Accompanied, Bare), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        Ok((folder, Accompanied(store), Bare::default()))
    }
}

#[test]
fn the_store_passes_the_suite_of_openraft() {
    Suite::test_all(Build).unwrap();
}
