//! The catalog as the state machine of the metadata group: what is decided is carried out in one
//! transaction with how far that is.

use std::io::Cursor;

use bytes::Bytes;
use openraft::storage::RaftStateMachine;
use openraft::{
    EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, StorageIOError,
};
use redb::Durability;
use serde::{Deserialize, Serialize};

use super::MetaError;
use crate::catalog::{Answer, Catalog, CatalogError, Refusal, read_order};
use crate::raft::types::{
    Entry, LogId, Reply, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::raft::{LogStore, SnapshotPoint};

/// What this node remembers of how far it is.
const APPLIED: &str = "applied";
/// Transactions between two that are synced. The log has what a loss of power takes; what is not
/// synced makes the file grow.
const SYNC_EVERY: u32 = 64;

/// How far the catalog is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Applied {
    log_id: Option<LogId>,
    membership: StoredMembership,
}

/// The catalog as a state machine.
#[derive(Debug, Clone)]
pub(super) struct MetaMachine {
    catalog: Catalog,
    /// The group's log, which begins anew behind a snapshot that is taken over.
    store: LogStore<()>,
    /// The version of the nodes' protocol whose commands are read.
    protocol: u32,
    applied: Applied,
    unsynced: u32,
}

impl MetaMachine {
    /// As far as the catalog is. A log that ends before that, because the node stopped between
    /// taking a snapshot over and beginning its log anew, begins anew now.
    pub(super) async fn new(
        catalog: Catalog,
        store: LogStore<()>,
        protocol: u32,
    ) -> Result<Self, MetaError> {
        let applied = match catalog.local(APPLIED)? {
            Some(text) => read(&text)?,
            None => Applied::default(),
        };
        // The log is cut where the catalog is durable: this is another one, and what is between is gone.
        if store.purged() > applied.log_id {
            return Err(MetaError::Behind);
        }
        if applied.log_id > store.tail(|(), last| last) {
            store.restart(point(&applied)).await?;
        }
        Ok(Self { catalog, store, protocol, applied, unsynced: 0 })
    }

    fn carry_out(&mut self, entries: Vec<Entry>) -> Result<Vec<Reply>, CatalogError> {
        let mut applied = self.applied.clone();
        let (mut orders, mut places) = (Vec::new(), Vec::with_capacity(entries.len()));
        for entry in entries {
            applied.log_id = Some(entry.log_id);
            places.push(match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(command) => {
                    // Whoever passed over what others carry out would have another catalog.
                    orders.push(read_order(&command.0, self.protocol)?.0);
                    Some(orders.len() - 1)
                }
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    None
                }
            });
        }
        self.unsynced += 1;
        let durability = if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            Durability::Immediate
        } else {
            Durability::None
        };
        let text = write(&applied)?;
        let outcomes = self.catalog.carry_out(&orders, &[(APPLIED, &text)], durability)?;
        self.applied = applied;
        let reply = |place: Option<usize>| {
            let outcome = place.and_then(|place| outcomes.get(place).cloned());
            let outcome = outcome.unwrap_or(Ok(Answer::Done));
            Ok(Reply(serde_json::to_vec(&outcome).map_err(damaged)?.into()))
        };
        places.into_iter().map(reply).collect()
    }

    fn dump(&self) -> Result<Snapshot, CatalogError> {
        // The log is cut where the snapshot is: it must not be lost any more.
        self.catalog.sync()?;
        let (bytes, applied) = self.catalog.dump(APPLIED)?;
        let applied = applied.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Snapshot { meta: meta(&applied), snapshot: Box::new(Cursor::new(bytes)) })
    }
}

fn point(applied: &Applied) -> SnapshotPoint {
    let (log_id, membership) = (applied.log_id, applied.membership.clone());
    SnapshotPoint { log_id, membership, fold: Bytes::new() }
}

fn meta(applied: &Applied) -> SnapshotMeta {
    let index = applied.log_id.map_or(0, |id| id.index);
    SnapshotMeta {
        last_log_id: applied.log_id,
        last_membership: applied.membership.clone(),
        snapshot_id: format!("catalog-{index}"),
    }
}

fn read(text: &str) -> Result<Applied, CatalogError> {
    serde_json::from_str(text).map_err(damaged)
}

fn write(applied: &Applied) -> Result<String, CatalogError> {
    serde_json::to_string(applied).map_err(damaged)
}

fn damaged(source: serde_json::Error) -> CatalogError {
    CatalogError::Damaged { key: APPLIED.to_owned(), source }
}

/// What a reply says.
pub(super) fn outcome_of(reply: &Reply) -> Result<Answer, Refusal> {
    serde_json::from_slice(&reply.0).unwrap_or(Err(Refusal::Unknown))
}

fn failed(verb: ErrorVerb, error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::new(ErrorSubject::StateMachine, verb, error).into()
}

impl RaftStateMachine<TypeConfig> for MetaMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        // A catalog that could not be written must be opened anew.
        self.store.room().await;
        tokio::task::block_in_place(|| self.carry_out(entries)).map_err(|error| {
            if matches!(error, CatalogError::Unread(_)) {
                tracing::error!(%error, "this node cannot go on");
            }
            failed(ErrorVerb::Write, &error)
        })
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
        let applied =
            Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        let text = write(&applied).map_err(|error| failed(ErrorVerb::Write, &error))?;
        self.store.room().await;
        tokio::task::block_in_place(|| {
            self.catalog.restore(snapshot.get_ref(), &[(APPLIED, &text)])
        })
        .map_err(|error| failed(ErrorVerb::Write, &error))?;
        // The catalog has it first: without it a log that begins behind it would be of no use.
        let anew = self.store.restart(point(&applied)).await;
        anew.map_err(|error| failed(ErrorVerb::Write, &error))?;
        self.applied = applied;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        if self.applied.log_id.is_none() {
            return Ok(None);
        }
        let dumped = tokio::task::block_in_place(|| self.dump());
        dumped.map(Some).map_err(|error| failed(ErrorVerb::Read, &error))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for MetaMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        tokio::task::block_in_place(|| self.dump()).map_err(|error| failed(ErrorVerb::Read, &error))
    }
}

#[cfg(test)]
mod tests {
    use platform::disk::Disk;

    use super::*;
    use crate::peer::PROTOCOL;
    use crate::raft::types::log_id;
    use crate::raft::{Command, LogSettings};

    fn entry(index: u64, text: &str) -> Entry {
        let command = Command(Bytes::copy_from_slice(text.as_bytes()));
        Entry { log_id: log_id(1, 1, index), payload: EntryPayload::Normal(command) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_catalog_from_before_the_log_begins_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("meta");
        let store = LogStore::open(&log, Disk::default(), LogSettings::default(), ()).unwrap();
        let (copied, catalog) = (Catalog::in_memory().unwrap(), Catalog::in_memory().unwrap());
        let begin = |catalog| MetaMachine::new(catalog, store.clone(), PROTOCOL);
        let mut machine = begin(catalog.clone()).await.unwrap();
        let known = r#"{"command":{"Remember":{"name":"a","fact":"1"}},"fence":null}"#;
        machine.apply([entry(1, known)]).await.unwrap();
        // As behind a snapshot.
        store.restart(point(&machine.applied)).await.unwrap();
        begin(catalog).await.unwrap();
        let refused = begin(copied).await.unwrap_err();
        assert!(matches!(refused, MetaError::Behind), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_cannot_read_what_was_decided_stops_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let log = folder.path().join("meta");
        let store = LogStore::open(&log, Disk::default(), LogSettings::default(), ()).unwrap();
        let mut machine = MetaMachine::new(catalog.clone(), store, PROTOCOL).await.unwrap();
        let known = r#"{"command":{"Remember":{"name":"a","fact":"1"}},"fence":null}"#;
        machine.apply([entry(1, known)]).await.unwrap();
        let later = known.replacen('{', &format!("{{\"protocol\":{},", PROTOCOL + 1), 1);
        let later = later.replace("\"1\"", "\"2\"");
        for text in [later.as_str(), r#"{"command":{"Dance":{}},"fence":null}"#] {
            let failed = machine.apply([entry(2, known), entry(3, text)]).await.unwrap_err();
            let words = failed.to_string();
            assert!(words.contains("the program that the other nodes have"), "{words}");
            assert_eq!(catalog.fact("a").unwrap().as_deref(), Some("1"));
            let (applied, _) = machine.applied_state().await.unwrap();
            assert_eq!(applied, Some(log_id(1, 1, 1)));
        }
        // With a program that reads it the node goes on where it stopped.
        let read = later.replacen(&format!("\"protocol\":{}", PROTOCOL + 1), "\"protocol\":1", 1);
        machine.apply([entry(2, known), entry(3, &read)]).await.unwrap();
        assert_eq!(catalog.fact("a").unwrap().as_deref(), Some("2"));
    }
}
