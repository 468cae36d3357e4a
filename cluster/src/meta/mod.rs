//! The metadata group as a node sees it: who belongs to the cluster, what is decided by whom. Every
//! node is a member; one, three or five of them vote.

mod beat;
mod clocks;
mod ages;
pub mod controller;
mod machine;
mod founding;
mod going;
mod join;
mod drain;
mod lead;
mod propose;
mod reach;
mod room;
mod words;
#[cfg(test)]
mod earlier;
#[cfg(test)]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use model::node::{NodeId, Roles};
use platform::clock::Clock;
use platform::disk::Disk;
use platform::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::catalog::{Catalog, CatalogError};
use crate::log::LogError;
use crate::peer::{Members, PROTOCOL_NAMES, PeerServer, Peers};
use crate::raft::{Group, GroupId, GroupSettings, LogSettings, LogStore};
pub use beat::{Beat, NodeReport};
pub use founding::Founder;
use going::Goers;
use machine::MetaMachine;
pub use room::SHORT_TOO;

/// How often a leader of the metadata group says that it lives.
const HEARTBEAT: Duration = Duration::from_millis(400);
/// What a node says that is asked to take over and is about to stop itself.
pub const GOES_TOO: &str = "this node is about to stop itself";
/// Bytes of the group's log at which the catalog is taken for a snapshot and the log is cut.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Bytes that must be free on the disk for the catalog to be written.
const ROOM_BYTES_MIN: u64 = 1 << 20;
/// Bytes of a segment of the group's log.
const SEGMENT_BYTES: u64 = 4 << 20;

/// How a node comes into its cluster when it has none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It is the first one.
    Bootstrap,
    /// It asks one of these, `host:port`.
    Join(Vec<String>),
}

/// Asks a store whose it says that it is: empty when nobody's, `None` when it does not answer.
#[derive(Clone)]
pub struct AskOwner(Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>);

impl AskOwner {
    /// Asks so.
    #[must_use]
    pub fn new(
        ask: impl Fn() -> BoxFuture<'static, Option<String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for AskOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskOwner").finish_non_exhaustive()
    }
}

/// What a node is in its cluster.
#[derive(Debug, Clone)]
pub struct MetaSettings {
    /// Where its log is kept.
    pub folder: PathBuf,
    /// Where other nodes reach it.
    pub address: String,
    /// Where clients reach it.
    pub http: String,
    /// What it does.
    pub roles: Roles,
    /// Version of its program.
    pub version: String,
    /// How it comes into the cluster.
    pub start: Start,
    /// How many partitions the queue has; more than it has now is made so.
    pub partition_count: u32,
    /// After how long a node that is down is not expected back.
    pub gone_after: Duration,
    /// Whether its splits are in a store that all nodes share: for all of them, or for none.
    pub store: bool,
    /// Whose that store said it is when it was asked before this node came in; empty when nobody's.
    pub store_owner: Option<String>,
    /// Asks it again: it may have become somebody's while this node waited.
    pub ask_owner: AskOwner,
    /// Whether it had partitions of its own: where these ended, those of a cluster that it founds
    /// begin.
    pub had_partitions: bool,
}

/// Why a node is not in its cluster.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The group's log cannot be opened.
    #[error(
        "the log of the metadata cannot be opened; if this node's disk lost it, move --data-dir away and join with an empty one: the other nodes have everything"
    )]
    Log(#[from] LogError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog lacks what is cut away from the log.
    #[error(
        "the catalog is older than the log of the metadata, as one that was put back from a copy: move --data-dir away and join with an empty one, the other nodes have everything"
    )]
    Behind,
    /// The member does not start.
    #[error("the metadata group does not start: {0}")]
    Group(String),
    /// It is of one cluster and is to found another.
    #[error(
        "this node belongs to cluster {0} already: leave --bootstrap out, or start with an empty --data-dir"
    )]
    Founded(String),
    /// Its data directory was copied, and the original is at work.
    #[error(
        "node {node} runs already, heard at {address}: this data directory is a copy of its own. Stop that one first; or start with an empty --data-dir, as another node"
    )]
    Twice {
        /// Which node.
        node: NodeId,
        /// Where it is heard.
        address: String,
    },
    /// Nobody lets it in.
    #[error("no node of the cluster lets us in: {0}")]
    Alone(String),
}

/// The node's place in the metadata group. Clones share it.
#[derive(Debug, Clone)]
pub struct Metadata(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: NodeId,
    settings: MetaSettings,
    catalog: Catalog,
    peers: Peers,
    group: Group,
    store: LogStore<()>,
    clock: Clock,
    runtime: Handle,
    /// This life of the node.
    epoch: AtomicU64,
    /// Whether this node goes: it does not say any more that it is there.
    leaving: AtomicBool,
    /// Why this node is out of its cluster, if it is.
    out: watch::Sender<Option<String>>,
    /// Who has said that it is about to stop.
    going: watch::Sender<Goers>,
    /// Held by who lets a node in, or opens the log to what is new: one after the other, so that
    /// nobody comes who could not read it.
    gate: tokio::sync::Mutex<()>,
    /// When this node last heard of the leader, nanoseconds of the clock's elapsed time.
    heard_leader_ns: AtomicU64,
    /// Whether this node's clock says what most say.
    clock_agrees: AtomicBool,
    /// Whether it says something else. Neither before it was compared.
    clock_differs: AtomicBool,
    /// Whether this node's disk is short of room.
    is_short: AtomicBool,
    /// The nodes that it does not reach though they are there.
    unreached: Mutex<BTreeSet<NodeId>>,
    /// When the leader heard of each node, by the clock's elapsed time, and what it said.
    heard: Mutex<BTreeMap<NodeId, (Duration, Beat)>>,
}

impl Metadata {
    /// Comes into the cluster: founds it, joins it, or comes back. Returns when this node is
    /// registered.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn start(
        settings: MetaSettings,
        catalog: Catalog,
        (peers, server, members): (Peers, &PeerServer, &Members),
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, MetaError> {
        let me = catalog.node_id()?;
        peers.speak_as(me);
        let topology = catalog.topology();
        server.turn_away(move |node| topology.borrow().forgotten.contains(&node));
        let topology = catalog.topology();
        server.expect_names(move || {
            let topology = topology.borrow();
            let mut nodes = topology.nodes.values();
            !topology.nodes.is_empty() && nodes.all(|node| node.protocol >= PROTOCOL_NAMES)
        });
        let known = catalog.local("cluster")?;
        if let (Some(cluster), Start::Bootstrap) = (&known, &settings.start)
            && !catalog.topology().borrow().nodes.is_empty()
        {
            tracing::info!(cluster, "this node founded its cluster before; going on");
        }
        Self::is_only_one(&catalog, &peers, me, &settings.address).await?;
        let log = LogSettings {
            segment_bytes_max: SEGMENT_BYTES,
            room_bytes_min: Some(ROOM_BYTES_MIN),
            ..LogSettings::default()
        };
        let folder = settings.folder.clone();
        let open = move || LogStore::open(&folder, Disk::default(), log, ());
        let store = tokio::task::spawn_blocking(open).await;
        let store = store.map_err(|error| MetaError::Group(error.to_string()))??;
        let slot = u32::try_from(me.0 % 8).unwrap_or_default();
        let group = GroupSettings::new(GroupId::Metadata, me.0, slot);
        let group = GroupSettings { heartbeat: HEARTBEAT, ..group };
        let machine = MetaMachine::new(catalog.clone(), store.clone(), peers.protocol()).await?;
        let transport = Arc::new(members.transport(peers.clone()));
        let group = Group::start(group, store.clone(), machine, transport).await;
        let group = group.map_err(|error| MetaError::Group(error.to_string()))?;
        members.insert(group.clone());
        let metadata = Self(Arc::new(Inner {
            me,
            settings,
            catalog: catalog.clone(),
            peers,
            group,
            store,
            clock,
            runtime: Handle::current(),
            epoch: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            out: watch::Sender::new(None),
            going: watch::Sender::new(Goers::default()),
            gate: tokio::sync::Mutex::default(),
            heard_leader_ns: AtomicU64::new(0),
            clock_agrees: AtomicBool::new(false),
            clock_differs: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            unreached: Mutex::default(),
            heard: Mutex::default(),
        }));
        metadata.answer(server);
        metadata.come_in(known).await?;
        catalog.share(Arc::new(metadata.clone()));
        tokio::spawn(metadata.clone().beat(shutdown.clone()));
        tokio::spawn(metadata.clone().compare_clocks(shutdown.clone()));
        tokio::spawn(metadata.clone().look_for_ways(shutdown.clone()));
        tokio::spawn(metadata.clone().lead(shutdown.clone()));
        tokio::spawn(metadata.clone().watch(shutdown));
        Ok(metadata)
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.0.me
    }

    /// Which of its lives this is: one more each time the cluster had given it up.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Relaxed)
    }

    /// Where other nodes reach it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.settings.address
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How long this node has heard nothing of who decides.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_nanos(self.0.heard_leader_ns.load(Ordering::Relaxed));
        self.0.clock.elapsed().saturating_sub(heard)
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The connections to other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// Where a node is reached, when it is known.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        let topology = self.0.catalog.topology();
        topology.borrow().nodes.get(&node).map(|node| node.address.clone())
    }

    /// Who leads the metadata group, as far as is known.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.0.group.raft().metrics().borrow().current_leader.map(NodeId)
    }

    /// Who votes in the metadata group, as far as is known.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        metrics.membership_config.membership().voter_ids().map(NodeId).collect()
    }

    /// Why the member decides nothing any more, if it does not.
    fn failure(&self) -> Option<String> {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        metrics.running_state.err().map(|why| why.to_string())
    }

    /// A member whose disk failed, or that cannot read what was decided, decides nothing any more,
    /// and cannot say so by itself: the node stops, so that whoever looks after it mends that and
    /// starts it again.
    async fn watch(self, shutdown: Shutdown) {
        let mut metrics = self.0.group.raft().metrics();
        let failed = metrics.wait_for(|metrics| metrics.running_state.is_err());
        tokio::select! {
            failed = failed => {
                let why = failed.ok().and_then(|metrics| metrics.running_state.clone().err());
                if let Some(why) = why.filter(|_| !shutdown.is_triggered()) {
                    tracing::error!(%why, "the metadata's member failed: mend that (of a full disk: make room), then start the node again");
                    shutdown.trigger();
                }
            }
            () = shutdown.wait() => {}
        }
    }

    /// Leaves the group's member in order.
    pub async fn stop(&self) {
        self.0.store.give_up_waiting();
        self.0.group.stop().await;
        let catalog = self.0.catalog.clone();
        let synced = tokio::task::spawn_blocking(move || catalog.sync()).await;
        if !matches!(synced, Ok(Ok(()))) {
            tracing::warn!("the catalog could not be synced; the log has what it lacks");
        }
    }
}
