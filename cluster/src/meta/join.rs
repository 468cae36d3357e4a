//! Coming into the cluster and saying that one is there.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use model::node::NodeId;
use model::time::Timestamp;
use openraft::ChangeMembers;
use platform::shutdown::Shutdown;
use serde::{Deserialize, Serialize};

use super::lead::PARTITIONS;
use super::propose::PROPOSE_CALL;
use super::{MetaError, Metadata, Start};
use crate::catalog::{Answer, CatalogError, Command, Joining, Order, Refusal};
use crate::peer::{PROTOCOL, PeerServer};
use crate::raft::Peer;

/// The name of the call by which a node comes in.
const JOIN_CALL: &str = "join";
/// The name of the call by which a node says that it is there.
const BEAT_CALL: &str = "beat";
/// The name of the call that asks a voter to lead.
pub(super) const ELECT_CALL: &str = "elect";
/// The name of the call that asks the leader what it heard.
const HEARD_CALL: &str = "heard";
/// How often a node says that it is there.
const BEAT_INTERVAL: Duration = Duration::from_millis(700);
/// How long one of these calls may take.
const CALL_WAIT: Duration = Duration::from_secs(3);
/// How long a node knocks before it gives up.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long it waits before it knocks again.
const JOIN_PAUSE: Duration = Duration::from_millis(300);
/// How long ago a majority may have answered for a leader to be sure of itself, milliseconds.
const LEASE_MS: u64 = 2_000;
/// How long a node may take to hear that it is in.
const FOLLOW_WAIT: Duration = Duration::from_secs(30);

/// What a node says of itself, again and again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives.
    pub epoch: u64,
    /// Its clock, nanoseconds UTC.
    pub now: i64,
}

/// What the leader heard of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Which node.
    pub node: NodeId,
    /// How long ago, milliseconds.
    pub heard_ms_ago: u64,
    /// By how much its clock is ahead of the leader's, milliseconds; what it took on the way is
    /// in it.
    pub clock_ahead_ms: i64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Welcome {
    /// Come in: the cluster, and this life.
    In { cluster: String, epoch: u64 },
    /// Not by this node.
    NotNow(String),
    /// Never.
    No(String),
}

impl Metadata {
    /// Answers other nodes.
    pub(super) fn answer(&self, server: &PeerServer) {
        let metadata = self.clone();
        server.on_call(PROPOSE_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.write(body).await) }
        });
        let metadata = self.clone();
        server.on_knock(JOIN_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.welcome(body).await) }
        });
        let metadata = self.clone();
        server.on_call(BEAT_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.hear(&body)) }
        });
        let metadata = self.clone();
        server.on_call(HEARD_CALL, move |_| {
            let metadata = metadata.clone();
            async move { text(&metadata.heard_here()) }
        });
        let metadata = self.clone();
        server.on_call(ELECT_CALL, move |_| {
            let metadata = metadata.clone();
            async move {
                let asked = metadata.0.group.raft().trigger().elect().await;
                asked.map(|()| Bytes::new()).map_err(|error| error.to_string())
            }
        });
    }

    fn joining(&self) -> Joining {
        let settings = &self.0.settings;
        Joining {
            id: self.0.me,
            address: settings.address.clone(),
            http: settings.http.clone(),
            roles: settings.roles,
            version: settings.version.clone(),
            protocol: PROTOCOL,
            at: self.0.clock.now().0,
        }
    }

    /// Founds the cluster, joins it, or comes back to it.
    pub(super) async fn come_in(&self, known: Option<String>) -> Result<(), MetaError> {
        if let Some(cluster) = &known {
            self.0.peers.belong_to(cluster);
        }
        match (&known, &self.0.settings.start) {
            (None, Start::Bootstrap) => self.found().await,
            _ => self.knock(known.is_some()).await,
        }
    }

    async fn found(&self) -> Result<(), MetaError> {
        let me = self.0.me;
        let peer = Peer { node: me.0, address: self.0.settings.address.clone() };
        let begun = self.0.group.raft().initialize(BTreeMap::from([(me.0, peer)]));
        // A first try may have broken off behind this.
        if let Err(error) = begun.await {
            tracing::debug!(%error, "the metadata group has begun before");
        }
        let cluster = format!("{:016x}", platform::random::u64());
        let found = Order::from(Command::Found { cluster: cluster.clone() });
        let cluster = match self.decide(&found).await {
            Ok(_) => cluster,
            Err(error) => match self.0.catalog.fact("cluster")? {
                Some(cluster) => cluster,
                None => return Err(error.into()),
            },
        };
        self.0.peers.belong_to(&cluster);
        // Whoever comes finds in the log what this node had on its own.
        for estate in self.0.catalog.estate(me)? {
            self.decide(&Command::Adopt(estate).into()).await?;
        }
        let count = self.0.settings.partition_count.to_string();
        let fact = Command::Remember { name: PARTITIONS.to_owned(), fact: count };
        self.decide(&fact.into()).await?;
        let epoch = self.decide(&Command::Register(self.joining()).into()).await?;
        self.0.epoch.store(epoch.number(), Ordering::Relaxed);
        self.heard_leader();
        self.0.catalog.remember_local("cluster", &cluster)?;
        tracing::info!(cluster, node = %me, "a cluster begins");
        Ok(())
    }

    /// How many partitions the cluster wants.
    pub(super) fn partition_count(&self) -> u32 {
        let stored = self.0.catalog.fact(PARTITIONS).ok().flatten();
        stored.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// A node whose settings name more partitions than there are has more made.
    async fn raise_partitions(&self) {
        let count = self.0.settings.partition_count;
        if count <= self.partition_count() {
            return;
        }
        let (name, fact) = (PARTITIONS.to_owned(), count.to_string());
        match self.decide(&Command::Remember { name, fact }.into()).await {
            Ok(_) => tracing::info!(count, "the queue gets more partitions"),
            Err(error) => tracing::warn!(%error, "the queue keeps its partitions"),
        }
    }

    /// Asks to come in, again and again.
    async fn knock(&self, is_known: bool) -> Result<(), MetaError> {
        let clock = &self.0.clock;
        let until = clock.elapsed() + JOIN_WAIT_MAX;
        let mut why = "give --join HOST:7411 of a node that is there, or --bootstrap".to_owned();
        // A node that knows its cluster waits for it as long as it takes.
        while is_known || clock.elapsed() < until {
            for address in self.doors() {
                match self.knock_at(&address).await {
                    Welcome::In { cluster, epoch } => {
                        self.0.peers.belong_to(&cluster);
                        self.0.epoch.store(epoch, Ordering::Relaxed);
                        self.0.catalog.remember_local("cluster", &cluster)?;
                        self.is_in().await?;
                        self.heard_leader();
                        self.raise_partitions().await;
                        tracing::info!(cluster, node = %self.0.me, epoch, "this node is in its cluster");
                        return Ok(());
                    }
                    Welcome::NotNow(words) => why = words,
                    Welcome::No(words) => return Err(MetaError::Alone(words)),
                }
            }
            clock.sleep(JOIN_PAUSE).await;
        }
        Err(MetaError::Alone(why))
    }

    /// Where to knock: at this node itself too, when it leads already.
    fn doors(&self) -> Vec<String> {
        let mut doors = vec![self.0.settings.address.clone()];
        if let Start::Join(addresses) = &self.0.settings.start {
            doors.extend(addresses.iter().cloned());
        }
        let topology = self.0.catalog.topology();
        doors.extend(topology.borrow().nodes.values().map(|node| node.address.clone()));
        doors.dedup();
        doors
    }

    async fn knock_at(&self, address: &str) -> Welcome {
        let Ok(body) = text(&self.joining()) else { return Welcome::No("no words".to_owned()) };
        match self.0.peers.call(address, JOIN_CALL, body, CALL_WAIT).await {
            Ok(answer) => serde_json::from_slice(&answer)
                .unwrap_or_else(|error| Welcome::NotNow(error.to_string())),
            Err(error @ crate::peer::PeerError::Refused { .. }) => Welcome::No(error.to_string()),
            Err(error) => Welcome::NotNow(error.to_string()),
        }
    }

    /// Waits until this node's own catalog has its registration.
    async fn is_in(&self) -> Result<(), MetaError> {
        let me = self.0.me;
        let mut topology = self.0.catalog.topology();
        let seen = topology.wait_for(|topology| topology.nodes.contains_key(&me));
        match self.0.clock.timeout(FOLLOW_WAIT, seen).await {
            Some(Ok(_)) => Ok(()),
            _ => Err(MetaError::Alone("the cluster's metadata did not come".to_owned())),
        }
    }

    /// Lets a node in, if this one leads, or asks who does.
    async fn welcome(&self, body: Bytes) -> Welcome {
        let Ok(joining) = serde_json::from_slice::<Joining>(&body) else {
            return Welcome::No("a request to join that cannot be read".to_owned());
        };
        if joining.protocol.abs_diff(PROTOCOL) > 1 {
            return Welcome::No(format!(
                "version {} of the nodes' protocol is too far from {PROTOCOL}",
                joining.protocol
            ));
        }
        let metrics = self.0.group.raft().metrics().borrow().clone();
        match metrics.current_leader {
            None => Welcome::NotNow("the cluster has no leader now".to_owned()),
            Some(leader) if leader == self.0.me.0 => self.let_in(joining).await,
            Some(leader) => {
                let peer = metrics.membership_config.membership().get_node(&leader).cloned();
                let Some(peer) = peer else {
                    return Welcome::NotNow("the leader is not known".to_owned());
                };
                if peer.address == joining.address {
                    return Welcome::NotNow("the leader is not known".to_owned());
                }
                match self.0.peers.call(&peer.address, JOIN_CALL, body, CALL_WAIT).await {
                    Ok(answer) => serde_json::from_slice(&answer)
                        .unwrap_or_else(|error| Welcome::NotNow(error.to_string())),
                    Err(error) => Welcome::NotNow(error.to_string()),
                }
            }
        }
    }

    async fn let_in(&self, joining: Joining) -> Welcome {
        let Some(cluster) = self.0.catalog.fact("cluster").ok().flatten() else {
            return Welcome::NotNow("the cluster is being founded".to_owned());
        };
        let (id, at) = (joining.id, joining.at);
        let peer = Peer { node: id.0, address: joining.address.clone() };
        // Who was removed, or is of another cluster, is told so before it becomes a member.
        let epoch = match self.decide(&Command::Register(joining).into()).await {
            Ok(Answer::Number(epoch)) => epoch,
            Ok(_) => return Welcome::NotNow("it has no life".to_owned()),
            Err(CatalogError::Refused(refusal @ Refusal::Stranger { .. })) => {
                return Welcome::No(refusal.to_string());
            }
            Err(error) => return Welcome::NotNow(error.to_string()),
        };
        self.note(Beat { node: id, epoch, now: at });
        let (group, clock) = (&self.0.group, &self.0.clock);
        let membership = group.raft().metrics().borrow().membership_config.membership().clone();
        let known = membership.get_node(&id.0).cloned();
        let changed = if known.is_none() {
            group.learn(clock, id.0, peer).await
        } else if known.as_ref() != Some(&peer) {
            let nodes = [(id.0, peer)].into();
            group.change(clock, ChangeMembers::SetNodes(nodes), true).await
        } else {
            Ok(())
        };
        if let Err(error) = changed {
            return Welcome::NotNow(error.to_string());
        }
        Welcome::In { cluster, epoch }
    }

    fn note(&self, beat: Beat) {
        let now = self.0.clock.elapsed();
        let mut heard = self.0.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard.insert(beat.node, (now, beat));
    }

    /// Whether the node that says that it is there lives on; otherwise it is to come in again.
    fn hear(&self, body: &[u8]) -> bool {
        let Ok(beat) = serde_json::from_slice::<Beat>(body) else { return false };
        let topology = self.0.catalog.topology();
        let lives = topology
            .borrow()
            .nodes
            .get(&beat.node)
            .is_some_and(|node| node.epoch == beat.epoch && node.answers());
        self.note(beat);
        lives
    }

    fn heard_here(&self) -> Vec<NodeReport> {
        let (elapsed, now) = (self.0.clock.elapsed(), self.0.clock.now().0);
        let heard = self.0.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let report = |(node, (at, beat)): (&NodeId, &(Duration, Beat))| {
            let ago = elapsed.saturating_sub(*at);
            let ago_ns = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
            NodeReport {
                node: *node,
                heard_ms_ago: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
                clock_ahead_ms: (beat.now + ago_ns - now) / 1_000_000,
            }
        };
        heard.iter().map(report).collect()
    }

    /// What the leader heard of the nodes.
    pub async fn heard(&self) -> Vec<NodeReport> {
        let Some(leader) = self.leader() else { return Vec::new() };
        if leader == self.0.me {
            return self.heard_here();
        }
        let Some(address) = self.address_of(leader) else { return Vec::new() };
        let answer = self.0.peers.call(&address, HEARD_CALL, Bytes::new(), CALL_WAIT).await;
        answer.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
    }

    /// Says again and again that this node is there; comes in again when it was given up.
    pub(super) async fn beat(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.0.clock.sleep(BEAT_INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            if self.0.leaving.load(Ordering::Relaxed) {
                return;
            }
            if !self.say_alive().await {
                tracing::warn!(node = %self.0.me, "the cluster had given this node up; coming in again");
                tokio::select! {
                    outcome = self.knock(true) => if let Err(error) = outcome {
                        tracing::error!(%error, "this node is not in its cluster");
                    },
                    () = shutdown.wait() => return,
                }
            }
        }
    }

    /// Tells who leads that this node is there. Whether it lives on for the cluster.
    async fn say_alive(&self) -> bool {
        let now: Timestamp = self.0.clock.now();
        let beat = Beat { node: self.0.me, epoch: self.epoch(), now: now.0 };
        match self.leader() {
            None => true,
            Some(leader) if leader == self.0.me => {
                // Who leads hears of itself as long as a majority hears of it.
                let metrics = self.0.group.raft().metrics().borrow().clone();
                if metrics.millis_since_quorum_ack.is_some_and(|ms| ms < LEASE_MS) {
                    self.heard_leader();
                }
                text(&beat).is_ok_and(|body| self.hear(&body))
            }
            Some(leader) => self.tell(leader, &beat).await,
        }
    }

    async fn tell(&self, leader: NodeId, beat: &Beat) -> bool {
        let (Some(address), Ok(body)) = (self.address_of(leader), text(beat)) else { return true };
        match self.0.peers.call(&address, BEAT_CALL, body, CALL_WAIT).await {
            Ok(answer) => {
                self.heard_leader();
                serde_json::from_slice(&answer).unwrap_or(true)
            }
            Err(_) => true,
        }
    }

    fn heard_leader(&self) {
        let now = u64::try_from(self.0.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.heard_leader_ns.store(now, Ordering::Relaxed);
    }
}

fn text(value: &impl Serialize) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}
