//! The state machine of a partition: what is committed is shown to its reader. Everything else is
//! kept by the log's fold already.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cluster::log::LogError;
use cluster::raft::types::{Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership};
use cluster::raft::{LogStore, Reply, SnapshotPoint, TypeConfig};
use model::partition::Offset;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder,
    StorageIOError,
};
use tokio::sync::watch;

use super::course::Course;
use super::fold::{PartitionFold, is_known};
use crate::metrics::IngestMetrics;

/// What a partition's members share.
pub(super) type Store = LogStore<PartitionFold>;

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Applied {
    /// The last entry that is applied.
    pub(super) log_id: Option<LogId>,
    /// The offset behind the last committed record.
    pub(super) committed: Offset,
}

/// The state machine of a partition. Clones share the snapshot point.
#[derive(Debug, Clone)]
pub(super) struct PartitionMachine {
    pub(super) store: Store,
    pub(super) applied: watch::Sender<Applied>,
    pub(super) membership: StoredMembership,
    /// As of the last entry that is applied.
    course: Course,
    /// Where the log may be cut.
    pub(super) point: Arc<Mutex<Option<SnapshotPoint>>>,
    pub(super) metrics: IngestMetrics,
}

impl PartitionMachine {
    /// As of the oldest point from which the log is there; what follows is applied when it is known
    /// to be committed.
    pub(super) async fn new(
        store: Store,
        applied: watch::Sender<Applied>,
        metrics: IngestMetrics,
    ) -> Result<Self, LogError> {
        let base = store.base().await?;
        let course = Course::of(&base.fold);
        applied.send_replace(Applied { log_id: base.log_id, committed: course.next });
        let (point, membership) = (Arc::default(), base.membership);
        Ok(Self { store, applied, membership, course, point, metrics })
    }

    fn apply_one(&mut self, entry: Entry) {
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(command) => {
                // One that does not follow was taken by nobody.
                for entry in self.course.follow(&command.0) {
                    self.metrics.records.inc_by(u64::from(entry.record_count));
                    self.metrics.bytes.inc_by(entry.batch.len() as u64);
                }
            }
        }
        let committed = self.course.next;
        self.applied.send_replace(Applied { log_id: Some(entry.log_id), committed });
    }

    fn point(&self) -> Option<SnapshotPoint> {
        self.point.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is said when a command was applied: the offsets behind the last committed record before it
/// and after it.
fn reply(before: Offset, after: Offset) -> Reply {
    Reply(Bytes::from([before.0.to_le_bytes(), after.0.to_le_bytes()].concat()))
}

/// The offsets that a reply says.
pub(super) fn taken(reply: &Reply) -> Option<(Offset, Offset)> {
    let (before, after) = reply.0.as_ref().split_first_chunk()?;
    let after = u64::from_le_bytes(after.try_into().ok()?);
    Some((Offset(u64::from_le_bytes(*before)), Offset(after)))
}

fn snapshot_of(point: SnapshotPoint) -> Snapshot {
    let index = point.log_id.map_or(0, |id| id.index);
    let meta = SnapshotMeta {
        last_log_id: point.log_id,
        last_membership: point.membership,
        snapshot_id: format!("segment-{index}"),
    };
    Snapshot { meta, snapshot: Box::new(Cursor::new(point.fold.to_vec())) }
}

fn failed(verb: ErrorVerb, error: &LogError) -> StorageError {
    StorageIOError::new(ErrorSubject::Snapshot(None), verb, error).into()
}

/// A replica stops before what it cannot read.
fn unread() -> StorageError {
    let words = "what a later version wrote cannot be read: start this node with the program that the other nodes have";
    let error = AnyError::error(words);
    StorageIOError::new(ErrorSubject::StateMachine, ErrorVerb::Read, error).into()
}

impl RaftStateMachine<TypeConfig> for PartitionMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied.borrow().log_id, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        for entry in entries {
            if let EntryPayload::Normal(command) = &entry.payload
                && !is_known(&command.0)
            {
                return Err(unread());
            }
            let before = self.applied.borrow().committed;
            self.apply_one(entry);
            replies.push(reply(before, self.applied.borrow().committed));
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let point = SnapshotPoint {
            log_id: meta.last_log_id,
            membership: meta.last_membership.clone(),
            fold: Bytes::from(snapshot.into_inner()),
        };
        let course = Course::of(&point.fold);
        self.store
            .restart(point.clone())
            .await
            .map_err(|error| failed(ErrorVerb::Write, &error))?;
        self.membership = point.membership;
        self.course = course;
        self.applied.send_replace(Applied { log_id: point.log_id, committed: course.next });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let base = self.store.base().await.map_err(|error| failed(ErrorVerb::Read, &error))?;
        Ok(base.log_id.is_some().then(|| snapshot_of(base)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for PartitionMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        if let Some(point) = self.point() {
            return Ok(snapshot_of(point));
        }
        let base = self.store.base().await.map_err(|error| failed(ErrorVerb::Read, &error))?;
        Ok(snapshot_of(base))
    }
}
