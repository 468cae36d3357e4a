//! The truth about which splits exist, how far each partition is published, who keeps what and who
//! may do what. One redb file; every change is a command, carried out in one transaction: at once
//! on a node of its own, through the metadata group in a cluster.

mod command;
mod written;
mod apply;
mod dump;
mod estate;
mod file;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::deletion::Deletion;
use model::node::{Lease, NodeId, NodeInfo, Placement, Topology};
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use apply::{
    CLUSTER, COUNTS, DELETIONS, FORGOTTEN, LEASES, META, NODES, PARTITIONS, PLACEMENTS, SPLITS,
    SWEPT, Tables, moment, read,
};
pub(crate) use apply::{DOCUMENTS, DRAINING, LOG_PROTOCOL, WANTED};
pub(crate) use command::PROTOCOL_OPENS;
pub use command::{
    Answer, Change, Command, Fence, Joining, Order, PROTOCOL_TYPES, Publication, Refusal,
};
pub use estate::Estate;
pub use written::UnreadError;
pub(crate) use written::{PROTOCOL_FIRST, read as read_order, too_early, write as write_order};

/// What is this node's alone: its id, how far it has carried out what the group decided.
const LOCAL: TableDefinition<'_, &str, &str> = TableDefinition::new("local");

/// The catalog. Clones share it.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) database: Arc<Database>,
    seat: Arc<Seat>,
}

/// Who is told what changed.
type Listener = Box<dyn Fn(&Change) + Send + Sync>;

struct Seat {
    /// One change at a time, so that they are told in the order in which they happened.
    alone: Mutex<()>,
    listeners: Mutex<Vec<Listener>>,
    /// Who decides, in a cluster.
    proposer: OnceLock<Arc<dyn Proposer>>,
    topology: watch::Sender<Arc<Topology>>,
    changed: watch::Sender<u64>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("shared", &self.proposer.get().is_some())
            .finish_non_exhaustive()
    }
}

/// Brings commands to who decides, in a cluster.
pub trait Proposer: Send + Sync {
    /// Returns when the command is decided and carried out on this node too. Blocks.
    ///
    /// # Errors
    /// [`CatalogError`]; after [`CatalogError::Undecided`] it may still be carried out.
    fn propose(&self, order: Order) -> Result<Answer, CatalogError>;
}

/// Why the catalog did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The command was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody decides now. It may have been carried out all the same: look before trying again.
    #[error("the cluster decides nothing now: {why}")]
    Undecided {
        /// What is wrong.
        why: String,
    },
    /// What is written there cannot be read.
    #[error(
        "the catalog's entry {key:?} is damaged: in a cluster move --data-dir away and join with an empty one, else put back a copy of the whole data directory"
    )]
    Damaged {
        /// Which entry.
        key: String,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// The file is not what was written.
    #[error(
        "the catalog {file} is damaged: {why}. A node of a cluster: move its --data-dir away and join with an empty one, the other nodes have everything. A node of its own: put back a copy of the whole data directory; without one `sawlog split dump` reads the splits below its objects folder"
    )]
    Broken {
        /// Which file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// It was decided, and this program cannot carry it out: the node stops.
    #[error(transparent)]
    Unread(#[from] UnreadError),
    /// The file cannot be opened, read or written.
    #[error(
        "the catalog failed: if its disk is full make room; if it is damaged, the next start says what to do"
    )]
    Storage(#[source] Box<redb::Error>),
}

pub(crate) fn storage(error: impl Into<redb::Error>) -> CatalogError {
    CatalogError::Storage(Box::new(error.into()))
}

impl Catalog {
    /// A catalog that is gone when it is dropped: for simulations, which wait for no disk.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn in_memory() -> Result<Self, CatalogError> {
        let memory = redb::backends::InMemoryBackend::new();
        Self::of(Database::builder().create_with_backend(memory).map_err(storage)?)
    }

    fn of(database: Database) -> Result<Self, CatalogError> {
        let write = database.begin_write().map_err(storage)?;
        write.open_table(SPLITS).map_err(storage)?;
        write.open_table(PARTITIONS).map_err(storage)?;
        write.open_table(DELETIONS).map_err(storage)?;
        write.open_table(DOCUMENTS).map_err(storage)?;
        write.open_table(META).map_err(storage)?;
        write.open_table(NODES).map_err(storage)?;
        write.open_table(PLACEMENTS).map_err(storage)?;
        write.open_table(LEASES).map_err(storage)?;
        write.open_table(LOCAL).map_err(storage)?;
        write.commit().map_err(storage)?;
        let seat = Seat {
            alone: Mutex::default(),
            listeners: Mutex::default(),
            proposer: OnceLock::new(),
            topology: watch::Sender::new(Arc::default()),
            changed: watch::Sender::new(0),
        };
        let catalog = Self { database: Arc::new(database), seat: Arc::new(seat) };
        catalog.look_at_topology()?;
        Ok(catalog)
    }

    /// From now on others decide: what is executed here goes to them. Once only.
    pub fn share(&self, proposer: Arc<dyn Proposer>) {
        if self.seat.proposer.set(proposer).is_err() {
            tracing::error!("the catalog is shared already");
        }
    }

    /// Whether others decide.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.seat.proposer.get().is_some()
    }

    /// Tells of every change from now on, in order, after it is visible. What is called must be
    /// quick and must not change the catalog.
    pub fn subscribe(&self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        let mut listeners = self.seat.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Box::new(listener));
    }

    /// Who is there and keeps what, and every change of it.
    #[must_use]
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.seat.topology.subscribe()
    }

    /// Counts changes; each wakes the receiver.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.seat.changed.subscribe()
    }

    /// Carries out a command: returns when it is durable (in a cluster: on a majority) and visible
    /// here. Blocks.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn execute(&self, order: impl Into<Order>) -> Result<Answer, CatalogError> {
        let order = order.into();
        if let Some(proposer) = self.seat.proposer.get() {
            return proposer.propose(order);
        }
        let outcomes = self.carry_out(&[order], &[], Durability::Immediate)?;
        let outcome = outcomes.into_iter().next().unwrap_or(Err(Refusal::Unknown));
        Ok(outcome?)
    }

    /// Carries out what was decided, with what is to be remembered of it, in one transaction.
    pub(crate) fn carry_out(
        &self,
        orders: &[Order],
        local: &[(&str, &str)],
        durability: Durability,
    ) -> Result<Vec<Result<Answer, Refusal>>, CatalogError> {
        let _alone = self.seat.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let write = self.write(durability)?;
        let (mut answers, mut changes) = (Vec::with_capacity(orders.len()), Vec::new());
        for order in orders {
            let outcome = Tables(&write).apply(order)?;
            answers.push(outcome.map(|(answer, change)| {
                changes.extend(change);
                answer
            }));
        }
        remember_local(&write, local)?;
        write.commit().map_err(storage)?;
        self.tell(&changes)?;
        Ok(answers)
    }

    fn write(&self, durability: Durability) -> Result<WriteTransaction, CatalogError> {
        let mut write = self.database.begin_write().map_err(storage)?;
        write.set_durability(durability).map_err(storage)?;
        Ok(write)
    }

    /// Makes durable what was carried out without.
    pub(crate) fn sync(&self) -> Result<(), CatalogError> {
        self.write(Durability::Immediate)?.commit().map_err(storage)
    }

    fn tell(&self, changes: &[Change]) -> Result<(), CatalogError> {
        if changes.iter().any(|change| matches!(change, Change::Topology | Change::All)) {
            self.look_at_topology()?;
        }
        let listeners = self.seat.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            listeners.iter().for_each(|listener| listener(change));
        }
        drop(listeners);
        self.seat.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    fn look_at_topology(&self) -> Result<(), CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let nodes: Vec<(NodeId, NodeInfo)> = entries(&read, NODES, NodeId)?;
        let partitions: Vec<(PartitionId, Placement)> = entries(&read, PLACEMENTS, PartitionId)?;
        let leases: Vec<(String, Lease)> = entries(&read, LEASES, str::to_owned)?;
        let of_nodes = |kind| facts_of_nodes(&read, kind);
        let draining = of_nodes(DRAINING)?.into_iter().filter(|(_, fact)| !fact.is_empty());
        let partitions: BTreeMap<_, _> = partitions.into_iter().collect();
        let topology = Topology {
            counts: counts_in_force(self.fact(COUNTS)?.as_deref(), &partitions),
            cluster: self.fact(CLUSTER)?.unwrap_or_default(),
            nodes: nodes.into_iter().collect(),
            partitions,
            leases: leases.into_iter().collect(),
            draining: draining.map(|(node, _)| node).collect(),
            forgotten: of_nodes(FORGOTTEN)?.into_keys().collect(),
        };
        self.seat.topology.send_replace(Arc::new(topology));
        Ok(())
    }

    /// All published splits, by id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn splits(&self) -> Result<Vec<Arc<SplitMeta>>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let all: Vec<((), SplitMeta)> = entries(&read, SPLITS, |_| ())?;
        Ok(all.into_iter().map(|((), meta)| Arc::new(meta)).collect())
    }

    /// The split of that id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn split(&self, id: &SplitId) -> Result<Option<SplitMeta>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(SPLITS).map_err(storage)?;
        let value = table.get(id.0.as_str()).map_err(storage)?;
        value.map(|value| self::read(&id.0, value.value())).transpose()
    }

    /// The moment before which splits were begun that will never be known when they are not by now.
    /// To be asked before the splits are.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn swept_before(&self) -> Result<Timestamp, CatalogError> {
        Ok(self.fact(SWEPT)?.as_deref().and_then(moment).unwrap_or(Timestamp::MIN))
    }

    /// The offset below which a partition's records are in splits.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn indexed_offset(&self, partition: PartitionId) -> Result<Offset, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(PARTITIONS).map_err(storage)?;
        let offset = table.get(partition.0).map_err(storage)?;
        Ok(Offset(offset.map_or(0, |offset| offset.value())))
    }

    /// The offsets below which records are in splits, by partition.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn indexed_offsets(&self) -> Result<BTreeMap<PartitionId, Offset>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(PARTITIONS).map_err(storage)?;
        let mut offsets = BTreeMap::new();
        for entry in table.iter().map_err(storage)? {
            let (partition, offset) = entry.map_err(storage)?;
            offsets.insert(PartitionId(partition.value()), Offset(offset.value()));
        }
        Ok(offsets)
    }

    /// All deletions that were asked, by number.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn deletions(&self) -> Result<Vec<Deletion>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let all: Vec<((), Deletion)> = entries(&read, DELETIONS, |_| ())?;
        Ok(all.into_iter().map(|((), deletion)| deletion).collect())
    }

    /// A remembered fact.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn fact(&self, name: &str) -> Result<Option<String>, CatalogError> {
        self.text(META, name)
    }

    /// What only this node remembers.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn local(&self, name: &str) -> Result<Option<String>, CatalogError> {
        self.text(LOCAL, name)
    }

    /// Remembers something for this node alone. Durable when it returns.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn remember_local(&self, name: &str, fact: &str) -> Result<(), CatalogError> {
        let write = self.write(Durability::Immediate)?;
        remember_local(&write, &[(name, fact)])?;
        write.commit().map_err(storage)
    }

    fn text(
        &self,
        table: TableDefinition<'_, &'static str, &'static str>,
        name: &str,
    ) -> Result<Option<String>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(table).map_err(storage)?;
        let fact = table.get(name).map_err(storage)?;
        Ok(fact.map(|fact| fact.value().to_owned()))
    }

    /// This node's id: drawn once, with its data directory.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn node_id(&self) -> Result<NodeId, CatalogError> {
        // Before there were clusters it stood among the facts.
        let own = self.local("node")?;
        if let Some(id) = own.as_deref().and_then(NodeId::parse) {
            return Ok(id);
        }
        let before = self.fact("node")?.as_deref().and_then(NodeId::parse);
        let id = before.unwrap_or_else(|| NodeId(platform::random::u64()));
        self.remember_local("node", &id.to_string())?;
        Ok(id)
    }
}

fn remember_local(write: &WriteTransaction, facts: &[(&str, &str)]) -> Result<(), CatalogError> {
    let mut table = write.open_table(LOCAL).map_err(storage)?;
    for (name, fact) in facts {
        table.insert(*name, *fact).map_err(storage)?;
    }
    Ok(())
}

/// Over how many partitions batches were spread, one count after the other, as far as all partitions
/// of a count have begun. None where no partitions were ever added.
fn counts_in_force(fact: Option<&str>, partitions: &BTreeMap<PartitionId, Placement>) -> Vec<u32> {
    let counts = fact.unwrap_or_default().split(' ').filter_map(|count| count.parse().ok());
    let has_begun = |number| partitions.get(&PartitionId(number)).is_some_and(|one| one.born);
    let in_force = |(nth, count): &(usize, u32)| *nth == 0 || (0..*count).all(has_begun);
    counts.enumerate().take_while(in_force).map(|(_, count)| count).collect()
}

/// The facts that begin so and name a node, by node.
fn facts_of_nodes(
    read: &ReadTransaction,
    kind: &str,
) -> Result<BTreeMap<NodeId, String>, CatalogError> {
    let table = read.open_table(META).map_err(storage)?;
    let mut facts = BTreeMap::new();
    for entry in table.iter().map_err(storage)? {
        let (name, fact) = entry.map_err(storage)?;
        let node = name.value().strip_prefix(kind).and_then(NodeId::parse);
        facts.extend(node.map(|node| (node, fact.value().to_owned())));
    }
    Ok(facts)
}

/// All entries of a table, by key.
fn entries<K: redb::Key + 'static, O, T: DeserializeOwned>(
    read: &ReadTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
    own: impl for<'k> Fn(K::SelfType<'k>) -> O,
) -> Result<Vec<(O, T)>, CatalogError>
where
    for<'k> K::SelfType<'k>: std::fmt::Debug,
{
    let table = read.open_table(table).map_err(storage)?;
    let mut all = Vec::new();
    for entry in table.iter().map_err(storage)? {
        let (key, value) = entry.map_err(storage)?;
        let value = self::read(&format!("{:?}", key.value()), value.value())?;
        all.push((own(key.value()), value));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
