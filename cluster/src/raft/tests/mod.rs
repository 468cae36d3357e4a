//! The log against a model, faults and openraft's own suite; groups over a network in memory.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use platform::disk::Disk;

use super::store::{Fold, LogSettings, LogStore, SnapshotPoint};
use super::types::*;
use crate::log::LogError;

mod cluster;
mod crash;
mod earlier;
mod model;
mod suite;
mod wire;

/// A fold that any missing, repeated or changed command changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    count: u64,
    last: u64,
    sum: u32,
}

impl Fold for Tally {
    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = self.count.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.last.to_le_bytes());
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            count: u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?),
            last: u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
            sum: u32::from_le_bytes(bytes.get(16..)?.try_into().ok()?),
        })
    }

    fn apply(&mut self, index: u64, command: &Bytes) {
        (self.count, self.last) = (self.count + 1, index);
        self.sum = crc32c::crc32c_append(self.sum, command);
    }
}

const SMALL: LogSettings =
    LogSettings { segment_bytes_max: 600, recent_bytes_max: 300, room_bytes_min: None };

fn open(folder: &Path) -> Result<LogStore<Tally>, LogError> {
    LogStore::open(folder, Disk::default(), SMALL, Tally::default())
}

fn command(term: u64, index: u64, text: &str) -> Entry {
    let payload = EntryPayload::Normal(Command(Bytes::copy_from_slice(text.as_bytes())));
    Entry { log_id: log_id(term, 1, index), payload }
}

fn members(term: u64, index: u64, ids: &[u64]) -> Entry {
    let peer = |id: &u64| (*id, Peer { node: *id, address: format!("node{id}:9") });
    let nodes: BTreeMap<u64, Peer> = ids.iter().map(peer).collect();
    let payload = EntryPayload::Membership(Membership::from(nodes));
    Entry { log_id: log_id(term, 1, index), payload }
}

fn read_all(store: &LogStore<Tally>) -> Vec<Entry> {
    let first = store.0.tail().first();
    store.reader().read(first, u64::MAX, usize::MAX).unwrap()
}

/// Runs what waits for the disk.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A state machine that remembers what was applied, and snapshots as a partition does: the start
/// of a segment.
pub(super) struct Machine {
    log: LogStore<Tally>,
    applied: Option<LogId>,
    members: StoredMembership,
    heard: Arc<Mutex<Vec<(u64, Bytes)>>>,
}

impl Machine {
    pub(super) async fn new(log: LogStore<Tally>) -> Self {
        let base = log.base().await.unwrap();
        let heard = Arc::default();
        Self { log, applied: base.log_id, members: base.membership, heard }
    }
}

fn snapshot_of(point: SnapshotPoint) -> Snapshot {
    let meta = SnapshotMeta {
        snapshot_id: point.log_id.map(|id| id.to_string()).unwrap_or_default(),
        last_log_id: point.log_id,
        last_membership: point.membership,
    };
    Snapshot { meta, snapshot: Box::new(Cursor::new(point.fold.to_vec())) }
}

pub(super) struct Builder {
    log: LogStore<Tally>,
    applied: Option<LogId>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let failed = |error: LogError| -> StorageError {
            StorageIOError::read_snapshot(None, AnyError::new(&error)).into()
        };
        let point = match self.log.trim(self.applied, |_| true).await.map_err(failed)? {
            Some(point) => point,
            None => self.log.base().await.map_err(failed)?,
        };
        Ok(snapshot_of(point))
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

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
            let mut reply = Reply::default();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => {
                    reply.0 = command.0.clone();
                    self.heard.lock().unwrap().push((entry.log_id.index, command.0));
                }
                EntryPayload::Membership(members) => {
                    self.members = StoredMembership::new(Some(entry.log_id), members);
                }
            }
            replies.push(reply);
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { log: self.log.clone(), applied: self.applied }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let point = SnapshotPoint {
            log_id: meta.last_log_id,
            membership: meta.last_membership.clone(),
            fold: snapshot.into_inner().into(),
        };
        self.log.restart(point).await.map_err(|error| {
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error))
        })?;
        (self.applied, self.members) = (meta.last_log_id, meta.last_membership.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let base = self.log.base().await.map_err(|error| {
            StorageError::from(StorageIOError::read_snapshot(None, AnyError::new(&error)))
        })?;
        Ok(base.log_id.is_some().then(|| snapshot_of(base)))
    }
}
