//! A replica of a partition: a member of its Raft group, whose log is the queue. The leader judges
//! and numbers what waits together and proposes it as one entry; a record is acknowledged when a
//! majority has it on disk.

pub(crate) mod fold;
pub(crate) mod course;
mod machine;
mod propose;
mod cut;
mod hand_over;
mod members;
pub(crate) mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::log::LogError;
use cluster::peer::Peers;
use cluster::queue::{Queue, QueueError};
use cluster::raft::types::LogId;
use cluster::raft::{
    Group, GroupId, GroupSettings, LogReader, LogSettings, LogStore, ReadError, Transport,
};
use futures::future::BoxFuture;
use model::node::{NodeId, Replica as Member};
use model::partition::{Entry, Offset, PartitionId};
use openraft::{EntryPayload, ServerState};
use platform::clock::Clock;
use platform::disk::Disk;
use tokio::sync::{oneshot, watch};

use crate::metrics::IngestMetrics;
use crate::partition::write::State;
use crate::partition::{AppendError, Appended, Checked, Inflight, PartitionSettings, bytes_of};
use course::Course;
use cut::Uncut;
pub(crate) use fold::NAMES_PROTOCOL;
use fold::PartitionFold;
use machine::{Applied, PartitionMachine, Store};
pub(crate) use propose::Proposal;

/// The call for the offset behind what is acknowledged.
pub(crate) const SETTLED_CALL: &str = "settled";
/// How long a leader may take to say it.
pub(crate) const SETTLED_WAIT: Duration = Duration::from_millis(800);
/// How long ago a majority may have been asked, and answered, for a leader to be sure of itself: less
/// than a heartbeat and a quarter, for which a member refuses its vote to others at least.
const LEASE: Duration = Duration::from_millis(230);
/// How long a member of a new group may take to get its first leader.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// Why a replica does not work.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Its log cannot be opened.
    #[error("the log of partition {partition} cannot be opened")]
    Log {
        /// The partition.
        partition: PartitionId,
        /// The log's own words.
        #[source]
        source: LogError,
    },
    /// Its member of the group does not start.
    #[error("the replica of partition {partition} does not start: {why}")]
    Start {
        /// The partition.
        partition: PartitionId,
        /// Why.
        why: String,
    },
}

/// What a replica is made of.
#[derive(Clone)]
pub struct ReplicaParties {
    /// Where files are.
    pub disk: Disk,
    /// The time.
    pub clock: Clock,
    /// Bounds.
    pub settings: PartitionSettings,
    /// Figures.
    pub metrics: IngestMetrics,
    /// The way to other members.
    pub transport: Arc<dyn Transport>,
    /// The way to other nodes.
    pub peers: Peers,
}

impl std::fmt::Debug for ReplicaParties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaParties").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A replica; clones share it.
#[derive(Debug, Clone)]
pub struct Replica(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    partition: PartitionId,
    member: u64,
    group: Group,
    store: Store,
    folder: PathBuf,
    settings: PartitionSettings,
    applied: watch::Receiver<Applied>,
    committed: watch::Sender<Offset>,
    point: Arc<Mutex<Option<cluster::raft::SnapshotPoint>>>,
    intake: flume::Sender<Proposal>,
    /// Held while an entry is on its way, or while nothing may be proposed.
    turn: Arc<tokio::sync::Mutex<()>>,
    inflight: Inflight,
    metrics: IngestMetrics,
    peers: Peers,
    /// Everything below is in splits that are safe.
    trim_below: AtomicU64,
    uncut: Uncut,
    reader: Mutex<Option<Cold>>,
    /// The version of the nodes' protocol that every member reads, and will.
    all_read: Arc<AtomicU32>,
}

/// Where the consumer's last read stopped.
#[derive(Debug)]
struct Cold {
    reader: LogReader<PartitionFold>,
    /// The next entry of the log.
    index: u64,
    /// The offset at which it goes on.
    course: Course,
}

impl Replica {
    /// Opens the replica's log in a folder, or makes it, and joins the group.
    ///
    /// # Errors
    /// [`ReplicaError`]. A damaged log is left as it is: this replica must not go on as itself.
    pub async fn open(
        folder: &Path,
        partition: PartitionId,
        member: u64,
        slot: u32,
        parties: ReplicaParties,
    ) -> Result<Self, ReplicaError> {
        let log = |source| ReplicaError::Log { partition, source };
        let start = |why: String| ReplicaError::Start { partition, why };
        let settings = LogSettings {
            segment_bytes_max: parties.settings.segment_bytes_max,
            recent_bytes_max: parties.settings.recent_bytes_max,
            // A replica ends, so that others are not held up by who waits, and is opened again.
            room_bytes_min: None,
        };
        let (path, disk) = (folder.to_owned(), parties.disk.clone());
        let open = move || LogStore::open(&path, disk, settings, PartitionFold::default());
        let store = tokio::task::spawn_blocking(open).await;
        let store = store.map_err(|error| start(error.to_string()))?.map_err(log)?;
        let (applied, seen) = watch::channel(Applied::default());
        let machine = PartitionMachine::new(store.clone(), applied, parties.metrics.clone()).await;
        let machine = machine.map_err(log)?;
        let point = machine.point.clone();
        let group = GroupId::Partition(partition.0);
        let settings = GroupSettings::new(group, member, slot);
        let group = Group::start(settings, store.clone(), machine, parties.transport.clone()).await;
        let group = group.map_err(|error| start(error.to_string()))?;
        let (intake, proposals) = flume::bounded(1024);
        let committed = watch::Sender::new(seen.borrow().committed);
        let turn: Arc<tokio::sync::Mutex<()>> = Arc::default();
        let replica = Self(Arc::new(Inner {
            partition,
            member,
            group: group.clone(),
            store: store.clone(),
            folder: folder.to_owned(),
            settings: parties.settings.clone(),
            applied: seen.clone(),
            committed,
            point,
            intake,
            turn: turn.clone(),
            inflight: Inflight::new(&parties.metrics),
            metrics: parties.metrics.clone(),
            peers: parties.peers.clone(),
            trim_below: AtomicU64::new(0),
            uncut: Uncut::default(),
            reader: Mutex::default(),
            all_read: Arc::default(),
        }));
        let folder = folder.to_owned();
        let (forgot, all_read) = (parties.clock.elapsed(), replica.0.all_read.clone());
        let proposer = propose::Proposer {
            partition,
            folder,
            group,
            store,
            applied: seen,
            parties,
            turn,
            forgot,
            all_read,
        };
        tokio::spawn(proposer.run(proposals));
        tokio::spawn(show(Arc::downgrade(&replica.0)));
        Ok(replica)
    }

    /// Begins the group with these members, where it has not begun. All of them do it with the
    /// same members.
    ///
    /// # Errors
    /// [`ReplicaError::Start`].
    pub async fn begin(
        &self,
        members: impl IntoIterator<Item = (u64, cluster::raft::Peer)>,
    ) -> Result<(), ReplicaError> {
        use openraft::error::{InitializeError, RaftError};
        if self.0.group.raft().metrics().borrow().last_log_index.is_some() {
            return Ok(());
        }
        let members: std::collections::BTreeMap<_, _> = members.into_iter().collect();
        match self.0.group.raft().initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Waits until this replica leads or knows who does.
    ///
    /// # Errors
    /// [`ReplicaError::Start`] when there is no leader for long.
    pub async fn has_leader(&self) -> Result<(), ReplicaError> {
        let known = self.0.group.raft().wait(Some(BEGIN_WAIT));
        let known = known.metrics(|metrics| metrics.current_leader.is_some(), "a leader").await;
        known.map(drop).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: impl std::fmt::Display) -> ReplicaError {
        ReplicaError::Start { partition: self.0.partition, why: error.to_string() }
    }

    /// The partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.0.partition
    }

    /// Its member of the group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.0.group
    }

    /// Its number in the group.
    #[must_use]
    pub fn member(&self) -> u64 {
        self.0.member
    }

    /// Whether it leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.0.group.raft().metrics().borrow().state == ServerState::Leader
    }

    /// The node on which the leader lives, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        let leader = metrics.current_leader?;
        let peer = metrics.membership_config.membership().get_node(&leader)?;
        Some(NodeId(peer.node))
    }

    /// Takes batches if this replica leads: all or none (but for those that are repeats). Returns
    /// when they are durable on a majority.
    ///
    /// # Errors
    /// [`AppendError`]; after [`AppendError::Unsure`] they may be taken all the same.
    pub async fn append(&self, batches: Vec<Checked>) -> Result<Vec<Appended>, AppendError> {
        self.propose(batches, 0).await
    }

    /// Which of these producers are known here, once the group was told that batches are spread over so
    /// many partitions: from then on it takes no others whose streams go elsewhere, so that what this
    /// says holds.
    ///
    /// # Errors
    /// As [`Replica::append`].
    pub(crate) async fn knows(
        &self,
        count: u32,
        producers: &[u64],
    ) -> Result<Vec<bool>, AppendError> {
        self.propose(Vec::new(), count).await?;
        Ok(self.0.store.tail(|fold, _| producers.iter().map(|one| fold.0.knows(*one)).collect()))
    }

    async fn propose(
        &self,
        batches: Vec<Checked>,
        count: u32,
    ) -> Result<Vec<Appended>, AppendError> {
        let bytes = bytes_of(&batches)?;
        let held = self.0.inflight.hold(bytes)?;
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal { batches, reply, held, count };
        match self.0.intake.send_async(proposal).await {
            Ok(()) => answer.await.unwrap_or(Err(AppendError::Unsure)),
            Err(_) => Err(AppendError::Stopping),
        }
    }

    /// Begins the partition where another log ended. Only a leader without records does it.
    ///
    /// # Errors
    /// [`ReplicaError::Start`].
    pub(crate) async fn seed(&self, state: &State) -> Result<(), ReplicaError> {
        let command = cluster::raft::Command(fold::seed(state));
        let written = self.0.group.raft().client_write(command).await;
        written.map(drop).map_err(|error| self.failed(error))
    }

    /// The offset behind the last record in the log, committed or not, and how many producers it
    /// knows.
    #[must_use]
    pub fn tail(&self) -> (Offset, usize) {
        self.0.store.tail(|fold, _| (fold.0.next, fold.0.producer_count()))
    }

    /// Tells how full its queue is.
    fn show_fill(&self) {
        let (bytes, producers) = (self.0.store.bytes(), self.tail().1);
        self.0.metrics.queue_is(self.0.partition, bytes, producers);
    }

    /// How far this replica is behind the leader, in entries, as it knows.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        let applied = metrics.last_applied.map_or(0, |id: LogId| id.index);
        metrics.last_log_index.unwrap_or(0).saturating_sub(applied)
    }

    /// Whether its log takes nothing until the node was started again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.0.store.is_poisoned()
    }

    /// Whether it is the same replica, opened once.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Why its member of the group does not work any more, if it does not: its disk is full or
    /// failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        metrics.running_state.err().map(|error| error.to_string())
    }

    /// Ends its member of the group.
    pub async fn stop(&self) {
        self.0.group.stop().await;
    }

    /// What the leader may write: what every node reads that is there, and that will come.
    pub(crate) fn all_read(&self, version: u32) {
        self.0.all_read.store(version, Ordering::Relaxed);
    }

    /// Whether it knows more producers than are to be remembered.
    pub(crate) fn is_crowded(&self) -> bool {
        self.0.store.tail(|fold, _| fold.0.is_crowded())
    }

    /// The replica as placements name it.
    #[must_use]
    pub fn as_member(&self, node: NodeId) -> Member {
        Member { id: self.0.member, node }
    }
}

/// Tells the consumer of what is committed.
async fn show(replica: std::sync::Weak<Inner>) {
    let Some(mut applied) = replica.upgrade().map(|inner| inner.applied.clone()) else { return };
    loop {
        let committed = applied.borrow_and_update().committed;
        match replica.upgrade() {
            Some(inner) => {
                inner.committed.send_replace(committed);
                Replica(inner).show_fill();
            }
            None => return,
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

impl Queue for Replica {
    fn partition(&self) -> PartitionId {
        self.0.partition
    }

    fn committed(&self) -> watch::Receiver<Offset> {
        self.0.committed.subscribe()
    }

    fn settled(&self) -> BoxFuture<'static, Option<Offset>> {
        let replica = self.clone();
        Box::pin(async move { replica.settled_now().await })
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Entry>, QueueError> {
        let applied = *self.0.applied.borrow();
        if from >= applied.committed {
            return Ok(Vec::new());
        }
        let until = applied.log_id.map_or(0, |id| id.index + 1);
        let mut held = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cold = match held.take().filter(|cold| cold.course.next == from) {
            Some(cold) => cold,
            None => self.cold_at(from)?,
        };
        let entries = self.read_on(&mut cold, from, until, bytes_max)?;
        *held = Some(cold);
        Ok(entries)
    }

    fn trim(&self, below: Offset) {
        // The node cuts every replica when it looks after them.
        self.0.trim_below.fetch_max(below.0, Ordering::Relaxed);
    }

    fn stored_bytes(&self) -> u64 {
        self.0.store.bytes()
    }
}

impl Replica {
    /// At the oldest entry that is there.
    fn cold_at(&self, from: Offset) -> Result<Cold, QueueError> {
        let partition = self.0.partition;
        let storage = |source| QueueError::Storage { partition, source: Arc::new(source) };
        let base = self.0.store.base_now().map_err(storage)?;
        let course = Course::of(&base.fold);
        if course.next > from {
            return Err(QueueError::Trimmed { partition, from, first: course.next });
        }
        let index = cluster::raft::types::behind(base.log_id.as_ref());
        Ok(Cold { reader: self.0.store.reader(), index, course })
    }

    fn read_on(
        &self,
        cold: &mut Cold,
        from: Offset,
        until: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let partition = self.0.partition;
        let mut found = Vec::new();
        while found.is_empty() && cold.index < until {
            let read = cold.reader.read(cold.index, until, bytes_max);
            let entries = read.map_err(|error| match error {
                ReadError::Purged { .. } => {
                    QueueError::Trimmed { partition, from, first: cold.course.next }
                }
                ReadError::Log(source) => {
                    QueueError::Storage { partition, source: Arc::new(source) }
                }
            })?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                cold.index = entry.log_id.index + 1;
                let EntryPayload::Normal(command) = entry.payload else { continue };
                let taken = cold.course.follow(&command.0).into_iter();
                found.extend(taken.filter(|entry| entry.end() > from));
            }
        }
        Ok(found)
    }
}
