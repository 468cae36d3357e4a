//! Carrying out a command within a transaction. What refuses a command is looked at before
//! anything is written, so that many commands share a transaction.

use model::deletion::Deletion;
use model::node::{Health, Lease, NodeId, NodeInfo, Placement};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::command::{Answer, Change, Command, Fence, Joining, Order, Publication, Refusal};
use super::written::{PROTOCOL_FIRST, too_early};
use super::{CatalogError, storage};
use crate::peer::REMOVED;

pub(super) const SPLITS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("splits");
pub(super) const PARTITIONS: TableDefinition<'_, u32, u64> = TableDefinition::new("partitions");
pub(super) const DELETIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deletions");
pub(crate) const DOCUMENTS: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("documents");
pub(super) const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
pub(super) const NODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("nodes");
pub(super) const PLACEMENTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("placements");
pub(super) const LEASES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("leases");
/// The fact that names the cluster.
pub(super) const CLUSTER: &str = "cluster";
/// The fact that counts the tokens of leases.
const TOKENS: &str = "tokens";
/// The fact that says before which moment objects of unknown splits are swept.
pub(super) const SWEPT: &str = "swept";
/// The fact that says how many partitions the queue is to have.
pub(crate) const WANTED: &str = "partitions";
/// The fact that says how many there were before each time when some were added, and how many then.
pub(super) const COUNTS: &str = "partition counts";
/// The fact that says which version of the nodes' protocol it takes to read the log; none is the
/// first.
pub(crate) const LOG_PROTOCOL: &str = "log protocol";
/// The version since which every node refuses, in the order of the log, who could not read it.
const PROTOCOL_REFUSES: u32 = 3;
/// How the fact begins that a node is to be left, with its id behind it. It says something as long
/// as that holds. (A node's health is told anew whenever it comes.)
pub(crate) const DRAINING: &str = "draining ";
/// How the fact begins that a node was removed, with its id behind it.
pub(super) const FORGOTTEN: &str = "forgotten ";

/// What came of a command.
pub(super) type Outcome = Result<(Answer, Option<Change>), Refusal>;

/// A transaction as commands see it.
pub(super) struct Tables<'a>(pub(super) &'a WriteTransaction);

impl Tables<'_> {
    /// Carries out a command under its lease.
    ///
    /// # Errors
    /// [`CatalogError`] when the file fails; then the transaction is not to be committed.
    pub(super) fn apply(&self, order: &Order) -> Result<Outcome, CatalogError> {
        if let Some(fence) = &order.fence
            && let Err(refusal) = self.check(fence)?
        {
            return Ok(Err(refusal));
        }
        match &order.command {
            Command::Publish(publication) => self.publish(publication),
            Command::Replace { remove, add } => self.replace(remove, add),
            Command::Copied { splits, node } => self.copies(splits, *node, &keep),
            Command::Dropped { splits, node, least } => self.dropped(splits, *node, *least),
            Command::SweepBefore(moment) => self.sweep_before(*moment),
            Command::BeginDeletion(deletion) => self.begin_deletion(deletion),
            Command::ProgressDeletion { number, deleted, done } => {
                self.progress(*number, |deletion| {
                    deletion.deleted += deleted;
                    deletion.done = deletion.done.or(*done);
                })
            }
            Command::PutDocument { kind, name, value } => {
                let mut table = self.0.open_table(DOCUMENTS).map_err(storage)?;
                table.insert((kind.as_str(), name.as_str()), value.as_bytes()).map_err(storage)?;
                Ok(Ok((Answer::Done, None)))
            }
            Command::RemoveDocument { kind, name } => {
                let mut table = self.0.open_table(DOCUMENTS).map_err(storage)?;
                let was = table.remove((kind.as_str(), name.as_str())).map_err(storage)?.is_some();
                Ok(Ok((Answer::Was(was), None)))
            }
            Command::Remember { name, fact } => {
                self.remember(name, fact)?;
                let of_nodes = name.starts_with(DRAINING);
                Ok(Ok((Answer::Done, of_nodes.then_some(Change::Topology))))
            }
            Command::Raise { partitions } => self.raise(*partitions),
            Command::Open { protocol } => self.open(*protocol),
            Command::Found { cluster } => self.found(cluster),
            Command::Adopt(estate) => self.adopt(estate),
            Command::Register(joining) => self.register(joining),
            Command::SetHealth { node, epoch, health, since } => {
                self.set_health(*node, *epoch, *health, *since)
            }
            Command::Forget(node) => self.forget(*node),
            Command::Place { partition, before, placement } => {
                self.place(partition.0, before.as_ref(), placement)
            }
            Command::Grant { lease, before, node } => self.grant(lease, *before, *node),
        }
    }

    fn check(&self, fence: &Fence) -> Result<Result<(), Refusal>, CatalogError> {
        let lease: Option<Lease> = self.get(LEASES, fence.lease.as_str())?;
        let current = lease.map_or(0, |lease| lease.token);
        if current == fence.token {
            return Ok(Ok(()));
        }
        Ok(Err(Refusal::Fenced { lease: fence.lease.clone(), current }))
    }

    fn publish(&self, publication: &Publication) -> Result<Outcome, CatalogError> {
        let mut partitions = self.0.open_table(PARTITIONS).map_err(storage)?;
        let partition = publication.partition;
        let current = partitions.get(partition.0).map_err(storage)?.map_or(0, |o| o.value());
        if current != publication.from.0 {
            let (current, expected) = (model::partition::Offset(current), publication.from);
            return Ok(Err(Refusal::Moved { partition, current, expected }));
        }
        if let Some(refusal) = self.swept(&publication.add)? {
            return Ok(Err(refusal));
        }
        partitions.insert(partition.0, publication.to.0).map_err(storage)?;
        self.insert(&publication.add)?;
        Ok(Ok((Answer::Done, Some(Change::Published(publication.clone())))))
    }

    fn replace(&self, remove: &[SplitId], add: &[SplitMeta]) -> Result<Outcome, CatalogError> {
        if let Some(refusal) = self.swept(add)? {
            return Ok(Err(refusal));
        }
        let add = self.as_kept(add)?;
        {
            let mut splits = self.0.open_table(SPLITS).map_err(storage)?;
            for id in remove {
                if splits.get(id.0.as_str()).map_err(storage)?.is_none() {
                    return Ok(Err(Refusal::Gone(id.clone())));
                }
            }
            for id in remove {
                splits.remove(id.0.as_str()).map_err(storage)?;
            }
        }
        self.insert(&add)?;
        let change = Change::Replaced { remove: remove.to_vec(), add };
        Ok(Ok((Answer::Done, Some(change))))
    }

    fn insert(&self, add: &[SplitMeta]) -> Result<(), CatalogError> {
        for meta in add {
            self.put(SPLITS, meta.id.0.as_str(), meta)?;
        }
        Ok(())
    }

    /// Splits that stay under their name stay with who keeps them by now.
    fn as_kept(&self, add: &[SplitMeta]) -> Result<Vec<SplitMeta>, CatalogError> {
        if self.fact(SWEPT)?.is_none() {
            // There may be nodes of the first version, which do not do so.
            return Ok(add.to_vec());
        }
        let kept = |meta: &SplitMeta| {
            let known: Option<SplitMeta> = self.get(SPLITS, meta.id.0.as_str())?;
            let copies = known.map_or_else(|| meta.copies.clone(), |known| known.copies);
            Ok(SplitMeta { copies, ..meta.clone() })
        };
        add.iter().map(kept).collect()
    }

    /// What refuses a split that is not known and was begun before what is swept.
    fn swept(&self, add: &[SplitMeta]) -> Result<Option<Refusal>, CatalogError> {
        let Some(before) = self.fact(SWEPT)?.as_deref().and_then(moment) else { return Ok(None) };
        for meta in add.iter().filter(|meta| meta.id.begun().is_some_and(|begun| begun < before)) {
            if self.get::<_, SplitMeta>(SPLITS, meta.id.0.as_str())?.is_none() {
                return Ok(Some(Refusal::Swept { split: meta.id.clone(), before }));
            }
        }
        Ok(None)
    }

    fn sweep_before(&self, before: Timestamp) -> Result<Outcome, CatalogError> {
        if self.fact(SWEPT)?.as_deref().and_then(moment).is_none_or(|known| known < before) {
            self.remember(SWEPT, &before.0.to_string())?;
        }
        Ok(Ok((Answer::Done, None)))
    }

    fn dropped(
        &self,
        splits: &[SplitId],
        node: NodeId,
        least: usize,
    ) -> Result<Outcome, CatalogError> {
        let nodes = self.nodes()?;
        let is_up = |id: &NodeId| nodes.iter().any(|info| info.id == *id && info.is_up());
        self.copies(splits, node, &|copies, node| {
            if copies.iter().filter(|id| **id != node && is_up(id)).count() >= least {
                drop_one(copies, node);
            }
        })
    }

    fn copies(
        &self,
        splits: &[SplitId],
        node: NodeId,
        change: &dyn Fn(&mut Vec<NodeId>, NodeId),
    ) -> Result<Outcome, CatalogError> {
        let mut changed = Vec::new();
        for id in splits {
            // One that was merged or expired meanwhile is nobody's business any more.
            let Some(mut meta) = self.get::<_, SplitMeta>(SPLITS, id.0.as_str())? else { continue };
            change(&mut meta.copies, node);
            self.put(SPLITS, id.0.as_str(), &meta)?;
            changed.push(meta);
        }
        Ok(Ok((Answer::Done, Some(Change::Copies(changed)))))
    }

    fn begin_deletion(&self, deletion: &Deletion) -> Result<Outcome, CatalogError> {
        let last = {
            let table = self.0.open_table(DELETIONS).map_err(storage)?;
            let last = table.last().map_err(storage)?;
            last.map_or(0, |(number, _)| number.value())
        };
        let deletion = Deletion { number: last + 1, ..deletion.clone() };
        self.put(DELETIONS, deletion.number, &deletion)?;
        Ok(Ok((Answer::Number(deletion.number), Some(Change::Deletion(Box::new(deletion))))))
    }

    fn progress(
        &self,
        number: u64,
        change: impl FnOnce(&mut Deletion),
    ) -> Result<Outcome, CatalogError> {
        let Some(mut deletion) = self.get::<_, Deletion>(DELETIONS, number)? else {
            return Ok(Err(changed(format!("deletion {number}"))));
        };
        change(&mut deletion);
        self.put(DELETIONS, number, &deletion)?;
        Ok(Ok((Answer::Done, Some(Change::Deletion(Box::new(deletion))))))
    }

    fn raise(&self, partitions: u32) -> Result<Outcome, CatalogError> {
        let known: u32 = self.fact(WANTED)?.and_then(|fact| fact.parse().ok()).unwrap_or(0);
        if partitions <= known {
            return Ok(Ok((Answer::Was(false), None)));
        }
        // Where none were wanted before nothing was spread.
        if known > 0 {
            let before = self.fact(COUNTS)?.unwrap_or_else(|| known.to_string());
            self.remember(COUNTS, &format!("{before} {partitions}"))?;
        }
        self.remember(WANTED, &partitions.to_string())?;
        Ok(Ok((Answer::Was(true), Some(Change::Topology))))
    }

    fn found(&self, cluster: &str) -> Result<Outcome, CatalogError> {
        if let Some(known) = self.fact(CLUSTER)? {
            return Ok(if known == cluster {
                Ok((Answer::Done, None))
            } else {
                Err(Refusal::Stranger { why: format!("this is cluster {known} already") })
            });
        }
        self.remember(CLUSTER, cluster)?;
        Ok(Ok((Answer::Done, Some(Change::Topology))))
    }

    /// Who was let in before it in the log counts, whatever its proposer knew.
    fn open(&self, needed: u32) -> Result<Outcome, CatalogError> {
        if let Some(node) = self.nodes()?.into_iter().find(|node| node.protocol < needed) {
            return Ok(Err(Refusal::Early { node: node.id, has: node.protocol, needed }));
        }
        let is_open = self.log_protocol()? >= needed;
        if !is_open {
            self.remember(LOG_PROTOCOL, &needed.to_string())?;
        }
        Ok(Ok((Answer::Was(!is_open), None)))
    }

    fn log_protocol(&self) -> Result<u32, CatalogError> {
        let log = self.fact(LOG_PROTOCOL)?.and_then(|fact| fact.parse().ok());
        Ok(log.unwrap_or(PROTOCOL_FIRST))
    }

    fn register(&self, joining: &Joining) -> Result<Outcome, CatalogError> {
        if self.fact(&forgotten(joining.id))?.is_some() {
            let why = format!("node {} {REMOVED}: start it with an empty --data-dir", joining.id);
            return Ok(Err(Refusal::Stranger { why }));
        }
        let log = self.log_protocol()?;
        // Nodes of earlier versions, which may be there before that, take everybody.
        if joining.protocol < log && log >= PROTOCOL_REFUSES {
            return Ok(Err(Refusal::Stranger { why: too_early(joining.protocol, log) }));
        }
        let known: Option<NodeInfo> = self.get(NODES, joining.id.0)?;
        let epoch = known.map_or(1, |known| known.epoch + 1);
        // Somebody else at this address lost its disk, or moved: it is not expected back there.
        for other in self.nodes()? {
            if other.id != joining.id
                && other.address == joining.address
                && other.health != Health::Gone
            {
                let gone = NodeInfo { health: Health::Gone, since: joining.at, ..other };
                self.put(NODES, gone.id.0, &gone)?;
            }
        }
        self.put(NODES, joining.id.0, &joining.clone().known(epoch))?;
        Ok(Ok((Answer::Number(epoch), Some(Change::Topology))))
    }

    fn set_health(
        &self,
        node: NodeId,
        epoch: u64,
        health: Health,
        since: i64,
    ) -> Result<Outcome, CatalogError> {
        let known: Option<NodeInfo> = self.get(NODES, node.0)?;
        let Some(known) = known.filter(|known| known.epoch == epoch) else {
            return Ok(Err(changed(format!("node {node}"))));
        };
        self.put(NODES, node.0, &NodeInfo { health, since, ..known })?;
        Ok(Ok((Answer::Done, Some(Change::Topology))))
    }

    fn forget(&self, node: NodeId) -> Result<Outcome, CatalogError> {
        let was =
            self.0.open_table(NODES).map_err(storage)?.remove(node.0).map_err(storage)?.is_some();
        if was {
            self.remember(&forgotten(node), "")?;
        }
        Ok(Ok((Answer::Was(was), Some(Change::Topology))))
    }

    fn place(
        &self,
        partition: u32,
        before: Option<&Placement>,
        placement: &Placement,
    ) -> Result<Outcome, CatalogError> {
        let known: Option<Placement> = self.get(PLACEMENTS, partition)?;
        if known.as_ref() != before {
            return Ok(Err(changed(format!("who keeps partition {partition}"))));
        }
        self.put(PLACEMENTS, partition, placement)?;
        Ok(Ok((Answer::Done, Some(Change::Topology))))
    }

    fn grant(&self, lease: &str, before: u64, node: NodeId) -> Result<Outcome, CatalogError> {
        let known: Option<Lease> = self.get(LEASES, lease)?;
        if known.map_or(0, |known| known.token) != before {
            return Ok(Err(changed(format!("the lease {lease}"))));
        }
        let last = self.fact(TOKENS)?.and_then(|fact| fact.parse::<u64>().ok()).unwrap_or(0);
        let token = last + 1;
        self.remember(TOKENS, &token.to_string())?;
        self.put(LEASES, lease, &Lease { node, token })?;
        Ok(Ok((Answer::Number(token), Some(Change::Topology))))
    }

    fn nodes(&self) -> Result<Vec<NodeInfo>, CatalogError> {
        let table = self.0.open_table(NODES).map_err(storage)?;
        let mut nodes = Vec::new();
        for entry in table.iter().map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            nodes.push(read(&format!("node {}", key.value()), value.value())?);
        }
        Ok(nodes)
    }

    fn fact(&self, name: &str) -> Result<Option<String>, CatalogError> {
        let table = self.0.open_table(META).map_err(storage)?;
        let fact = table.get(name).map_err(storage)?;
        Ok(fact.map(|fact| fact.value().to_owned()))
    }

    pub(super) fn remember(&self, name: &str, fact: &str) -> Result<(), CatalogError> {
        self.0.open_table(META).map_err(storage)?.insert(name, fact).map_err(storage)?;
        Ok(())
    }

    pub(super) fn get<'k, K: redb::Key + 'static, T: DeserializeOwned>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K::SelfType<'k>,
    ) -> Result<Option<T>, CatalogError>
    where
        K::SelfType<'k>: std::fmt::Debug + Clone,
    {
        let table = self.0.open_table(table).map_err(storage)?;
        let value = table.get(key.clone()).map_err(storage)?;
        value.map(|value| read(&format!("{key:?}"), value.value())).transpose()
    }

    pub(super) fn put<'k, K: redb::Key + 'static, T: Serialize>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K::SelfType<'k>,
        value: &T,
    ) -> Result<(), CatalogError>
    where
        K::SelfType<'k>: std::fmt::Debug + Clone,
    {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| CatalogError::Damaged { key: format!("{key:?}"), source })?;
        self.0
            .open_table(table)
            .map_err(storage)?
            .insert(key, bytes.as_slice())
            .map_err(storage)?;
        Ok(())
    }
}

fn keep(copies: &mut Vec<NodeId>, node: NodeId) {
    if !copies.contains(&node) {
        copies.push(node);
    }
}

fn drop_one(copies: &mut Vec<NodeId>, node: NodeId) {
    copies.retain(|copy| *copy != node);
}

/// Reads a moment that is a fact.
pub(super) fn moment(fact: &str) -> Option<Timestamp> {
    fact.parse().ok().map(Timestamp)
}

/// The fact that a node was removed.
fn forgotten(node: NodeId) -> String {
    format!("{FORGOTTEN}{node}")
}

fn changed(what: String) -> Refusal {
    Refusal::Changed { what }
}

/// Reads a stored value.
pub(super) fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, CatalogError> {
    serde_json::from_slice(bytes)
        .map_err(|source| CatalogError::Damaged { key: key.to_owned(), source })
}
