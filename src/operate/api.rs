//! `GET /api/v1/cluster` and what changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use cluster::catalog::{CatalogError, Command};
use cluster::meta::controller::{REPLICAS, keepers};
use cluster::meta::{Metadata, NodeReport};
use cluster::queue::Queue as _;
use index::keep;
use model::error::Kind;
use model::node::{Health, NodeId, NodeInfo, Replica, Topology};
use model::partition::PartitionId;
use model::time::Timestamp;
use model::wire::{ClusterNode, ClusterPartition, ClusterReplica, ClusterStatus};
use platform::http::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clustered::Clustered;
use crate::readiness::Readiness;

/// The call for the replicas that live on a node.
pub(crate) const REPLICAS_CALL: &str = "replicas";
/// How long a node may take to tell.
const REPLICAS_WAIT: Duration = Duration::from_millis(800);

/// A node that has heard nothing of its cluster for so long does not know who is up.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What is said of a replica whose node takes no records.
const SHORT: &str = "its disk is short of room: make room there";

/// A replica as its node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReplicaState {
    partition: PartitionId,
    leads: bool,
    committed: u64,
    lag: u64,
    poisoned: bool,
    #[serde(default)]
    trouble: Option<String>,
    /// The replicas that vote, as this one knows.
    #[serde(default)]
    voters: Vec<u64>,
}

/// The replicas that live here.
pub(crate) fn replicas_here(clustered: &Clustered) -> Vec<ReplicaState> {
    let short = clustered.metadata.is_short().then(|| SHORT.to_owned());
    let state = |replica: ingest::replica::Replica| ReplicaState {
        partition: replica.id(),
        // One that was cut off, or whose others are gone, takes itself for a leader for long.
        leads: replica.leads() && replica.group().is_heard_within(SILENCE_MAX),
        committed: replica.committed().borrow().0,
        lag: replica.lag(),
        poisoned: replica.is_poisoned(),
        trouble: short.clone(),
        voters: voters_of(&replica),
    };
    let mut all: Vec<ReplicaState> = clustered.fleet.replicas().into_iter().map(state).collect();
    for (partition, trouble) in clustered.fleet.troubles() {
        match all.iter_mut().find(|state| state.partition == partition) {
            // One that works says so itself when it is behind.
            Some(_) => {}
            None => all.push(ReplicaState {
                partition,
                leads: false,
                committed: 0,
                lag: 0,
                poisoned: false,
                trouble: Some(trouble),
                voters: Vec::new(),
            }),
        }
    }
    all
}

/// The replicas that vote in a partition's group.
fn voters_of(replica: &ingest::replica::Replica) -> Vec<u64> {
    let metrics = replica.group().raft().metrics().borrow().clone();
    metrics.membership_config.membership().voter_ids().collect()
}

/// The store that all nodes share, if there is one, as this one sees it.
#[derive(Clone)]
pub(crate) struct StoreSeen {
    url: Option<String>,
    readiness: Readiness,
}

impl StoreSeen {
    pub(crate) fn new(url: Option<String>, readiness: &Readiness) -> Self {
        Self { url, readiness: readiness.clone() }
    }
}

/// The routes, which need a [`StoreSeen`].
pub(crate) fn router(clustered: Clustered) -> Router {
    Router::new()
        .route("/api/v1/cluster", get(status))
        .route("/api/v1/cluster/drain", post(drain))
        .route("/api/v1/cluster/undrain", post(undrain))
        .route("/api/v1/cluster/remove", post(remove))
        .with_state(clustered)
}

/// The routes of a node of its own.
pub(crate) fn router_alone() -> Router {
    let alone = || async {
        let words = "this node is on its own: it belongs to no cluster";
        ApiError::new(Kind::Invalid, words)
            .code("not_found")
            .hint("start it with --bootstrap to found one, others with --join")
    };
    Router::new()
        .route("/api/v1/cluster", get(alone))
        .route("/api/v1/cluster/drain", post(alone))
        .route("/api/v1/cluster/undrain", post(alone))
        .route("/api/v1/cluster/remove", post(alone))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    node: String,
}

async fn status(
    State(clustered): State<Clustered>,
    Extension(store): Extension<StoreSeen>,
) -> Result<Json<ClusterStatus>, ApiError> {
    let metadata = &clustered.metadata;
    let topology = metadata.catalog().topology().borrow().clone();
    let catalog = metadata.catalog().clone();
    let read = tokio::task::spawn_blocking(move || {
        Ok::<_, CatalogError>((catalog.splits()?, catalog.indexed_offsets()?))
    });
    let read = read.await.map_err(|_| ApiError::new(Kind::Bug, "the catalog was not asked"))?;
    let (splits, published) =
        read.map_err(|error| ApiError::new(Kind::Unavailable, error.to_string()))?;
    let (heard, replicas) =
        tokio::join!(metadata.heard(), replicas_everywhere(&clustered, &topology));
    let heard: BTreeMap<NodeId, _> = heard.into_iter().map(|one| (one.node, one)).collect();
    let voters = metadata.voters();
    let (copies_missing, copies_wanted) = keep::missing(&splits, &topology);
    let node = |info: &NodeInfo| {
        let leases = topology.partitions.keys().filter_map(|id| topology.indexer(*id));
        ClusterNode {
            id: info.id.to_string(),
            address: info.address.clone(),
            http: info.http.clone(),
            roles: info.roles.to_string(),
            health: info.health.to_string(),
            since: Timestamp(info.since).to_string(),
            epoch: info.epoch,
            version: info.version.clone(),
            protocol: info.protocol,
            votes: voters.contains(&info.id),
            replicas: kept_by(info.id, &topology, &replicas),
            indexing: leases.filter(|lease| lease.node == info.id).count() as u64,
            splits: splits.iter().filter(|split| split.copies.contains(&info.id)).count() as u64,
            heard_ms_ago: heard.get(&info.id).map(|one| one.heard_ms_ago),
            clock_ahead_ms: heard.get(&info.id).map(|one| one.clock_ahead_ms),
            short_of_room: heard.get(&info.id).is_some_and(|one| one.short_of_room),
            unreached: unreached_by(info.id, heard.get(&info.id), metadata),
        }
    };
    let partitions = topology.partitions.keys().map(|partition| {
        let published = published.get(partition).map_or(0, |offset| offset.0);
        partition_of(*partition, published, &topology, &replicas)
    });
    Ok(Json(ClusterStatus {
        cluster: topology.cluster.clone(),
        node: metadata.me().to_string(),
        leader: leader_of(metadata).map(|leader| leader.to_string()).unwrap_or_default(),
        silent_ms: u64::try_from(metadata.silence().as_millis()).unwrap_or(u64::MAX),
        nodes: topology.nodes.values().map(node).collect(),
        partitions: partitions.collect(),
        splits: splits.len() as u64,
        copies_wanted,
        copies_missing,
        store: store.url.clone(),
        store_silent_s: store.readiness.store_silence().map(|silence| silence.as_secs()),
    }))
}

/// Who leads the metadata: not this node, when it hears no majority.
fn leader_of(metadata: &Metadata) -> Option<NodeId> {
    let is_heard = metadata.silence() <= SILENCE_MAX;
    metadata.leader().filter(|leader| *leader != metadata.me() || is_heard)
}

/// The nodes that a node does not reach: as the leader heard, or as this node knows of itself.
fn unreached_by(node: NodeId, heard: Option<&NodeReport>, metadata: &Metadata) -> Vec<String> {
    let unreached: Vec<NodeId> = match node == metadata.me() {
        true => metadata.unreached().into_iter().collect(),
        false => heard.map(|heard| heard.unreached.clone()).unwrap_or_default(),
    };
    unreached.iter().map(ToString::to_string).collect()
}

/// The partitions of which a node keeps a replica: it should, or it still does. Until a group has
/// let its member go it counts on it, wherever the replica should be by now.
fn kept_by(
    node: NodeId,
    topology: &Topology,
    replicas: &BTreeMap<NodeId, Vec<ReplicaState>>,
) -> u64 {
    let placed = topology
        .partitions
        .iter()
        .filter(|(_, placement)| placement.replicas.iter().any(|replica| replica.node == node));
    let there = replicas.get(&node).into_iter().flatten().map(|state| state.partition);
    let kept: BTreeSet<PartitionId> =
        placed.map(|(partition, _)| *partition).chain(there).collect();
    kept.len() as u64
}

/// What is shown of one partition; `published` is the offset below which all is in splits.
fn partition_of(
    partition: PartitionId,
    published: u64,
    topology: &Topology,
    replicas: &BTreeMap<NodeId, Vec<ReplicaState>>,
) -> ClusterPartition {
    let of = |node: &NodeId| replicas.get(node)?.iter().find(|state| state.partition == partition);
    let placed =
        topology.partitions.get(&partition).map_or(&[][..], |placement| &placement.replicas);
    // One that is to go may lead a little longer: it is no longer among those that are placed.
    let leader = replicas.keys().find(|node| of(node).is_some_and(|state| state.leads));
    // Only who votes makes what is acknowledged durable; a node's new replica is not its old one.
    let voters = leader.and_then(of).map(|state| &state.voters);
    let lease = topology.indexer(partition);
    let committed = placed.iter().filter_map(|one| Some(of(&one.node)?.committed)).max();
    let replica = |one: &Replica| {
        let votes = voters.is_none_or(|voters| voters.contains(&one.id));
        replica_of(one.node, of(&one.node), votes)
    };
    ClusterPartition {
        partition: partition.0,
        leader: leader.map(ToString::to_string).unwrap_or_default(),
        indexer: lease.map(|lease| lease.node.to_string()).unwrap_or_default(),
        token: lease.map_or(0, |lease| lease.token),
        // What is in splits was committed, also when nobody answers.
        committed: committed.unwrap_or(0).max(published),
        published,
        replicas: placed.iter().map(replica).collect(),
    }
}

fn replica_of(node: NodeId, state: Option<&ReplicaState>, votes: bool) -> ClusterReplica {
    let trouble = match state {
        None => Some("no answer".to_owned()),
        Some(state) if state.poisoned => Some("its disk failed: start the node again".to_owned()),
        Some(state) if !votes && state.trouble.is_none() => {
            Some("being filled: it does not vote yet".to_owned())
        }
        Some(state) => state.trouble.clone(),
    };
    ClusterReplica { node: node.to_string(), lag: state.map(|state| state.lag), trouble }
}

/// What every node says of its replicas; those that do not answer are left out.
async fn replicas_everywhere(
    clustered: &Clustered,
    topology: &Topology,
) -> BTreeMap<NodeId, Vec<ReplicaState>> {
    let me = clustered.metadata.me();
    let there = topology.nodes.values().filter(|node| !is_replaced(node, topology));
    let asked = there.map(|node| async move {
        if node.id == me {
            return Some((me, replicas_here(clustered)));
        }
        let peers = clustered.metadata.peers();
        let answer = peers.call(&node.address, REPLICAS_CALL, Bytes::new(), REPLICAS_WAIT).await;
        Some((node.id, serde_json::from_slice(&answer.ok()?).ok()?))
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Whether a node is not expected back and another one is heard where it was.
fn is_replaced(node: &NodeInfo, topology: &Topology) -> bool {
    let mut others = topology.nodes.values().filter(|other| other.id != node.id);
    node.health == Health::Gone && others.any(|other| other.address == node.address)
}

/// The nodes as this one knows them.
fn topology_of(clustered: &Clustered) -> Arc<Topology> {
    clustered.metadata.catalog().topology().borrow().clone()
}

async fn drain(
    State(clustered): State<Clustered>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, ApiError> {
    let node = find(&topology_of(&clustered), &named.node)?;
    decided(clustered.metadata.drain(&node).await)?;
    let topology = topology_of(&clustered);
    let (others, staying) = keepers(&topology);
    let message = match staying >= REPLICAS && others.len() < REPLICAS {
        true => format!(
            "node {} is being drained as far as can be: its replicas stay until {REPLICAS} others can keep them. Add a node; or remove this one, and records have one replica from then on",
            node.id
        ),
        false => format!(
            "node {} is being drained: watch `sawlog cluster status` until it keeps no replicas and no splits, then remove it",
            node.id
        ),
    };
    Ok(Json(json!({ "message": message })))
}

async fn undrain(
    State(clustered): State<Clustered>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, ApiError> {
    let topology = topology_of(&clustered);
    let node = find(&topology, &named.node)?;
    if !topology.draining.contains(&node.id) && node.health != Health::Draining {
        return Err(refused(format!("node {} is not being drained", node.id)));
    }
    decided(clustered.metadata.undrain(&node).await)?;
    Ok(Json(json!({ "message": format!("node {} takes work again", node.id) })))
}

async fn remove(
    State(clustered): State<Clustered>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, ApiError> {
    let node = find(&topology_of(&clustered), &named.node)?;
    let silence = clustered.metadata.silence();
    if node.health == Health::Up && node.id != clustered.metadata.me() && silence > SILENCE_MAX {
        let words = format!(
            "this node has heard nothing of its cluster for {} s, and does not know whether node {} is up",
            silence.as_secs(),
            node.id
        );
        return Err(ApiError::new(Kind::Unavailable, words).hint(
            "ask another node; where none hears the others, start those that are away: a majority of the voters must be there",
        ));
    }
    if node.health == Health::Up {
        return Err(refused(format!("node {} is up", node.id))
            .hint("drain it first, so that what it keeps is kept by others; or stop it"));
    }
    if clustered.metadata.voters() == [node.id] {
        return Err(refused(format!("node {} decides alone for the cluster by now", node.id))
            .hint("another node votes in its place in a few seconds: try again, or see `sawlog cluster status`"));
    }
    decided(clustered.metadata.decide(&Command::Forget(node.id).into()).await)?;
    let message = format!("node {} is out; others make the copies that it had", node.id);
    Ok(Json(json!({ "message": message })))
}

/// What came of what was asked, in words.
fn decided<T>(outcome: Result<T, CatalogError>) -> Result<T, ApiError> {
    outcome.map_err(|error| match error {
        CatalogError::Refused(refusal) => refused(refusal.to_string()),
        error => ApiError::new(Kind::Unavailable, error.to_string())
            .hint("a majority of the voters must be there: see `sawlog cluster status`"),
    })
}

fn refused(words: String) -> ApiError {
    ApiError::new(Kind::Invalid, words).code("invalid_value")
}

/// The node that is meant: by its id, the beginning of it, or the address where it is heard.
fn find(topology: &Topology, named: &str) -> Result<NodeInfo, ApiError> {
    let is_meant = |node: &&NodeInfo| {
        (node.address == named || node.http == named) && !is_replaced(node, topology)
            || !named.is_empty() && node.id.to_string().starts_with(named)
    };
    let mut found = topology.nodes.values().filter(is_meant);
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node.clone()),
        (None, _) => Err(refused(format!("no node is {named:?}"))
            .code("not_found")
            .hint("`sawlog cluster status` shows ids and addresses")),
        (Some(_), Some(_)) => {
            Err(refused(format!("several nodes are {named:?}")).hint("write more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, health: Health) -> (NodeId, NodeInfo) {
        let info = NodeInfo {
            address: "a:7411".to_owned(),
            http: "a:7410".to_owned(),
            ..NodeInfo::first(NodeId(id), health)
        };
        (info.id, info)
    }

    #[test]
    fn an_address_is_that_of_the_node_that_took_another_ones_place() {
        let mut topology = Topology::default();
        topology.nodes.extend([node(1, Health::Gone), node(2, Health::Up)]);
        let found = |named: &str| find(&topology, named).ok().map(|node| node.id.0);
        assert_eq!((found("a:7411"), found("a:7410")), (Some(2), Some(2)));
        assert_eq!(found(&NodeId(1).to_string()), Some(1), "who was there has its id left");
        assert_eq!((found(""), found("b:7411")), (None, None));
        let replaced = |id: u64| is_replaced(&topology.nodes[&NodeId(id)], &topology);
        assert!(replaced(1) && !replaced(2));
        topology.nodes.remove(&NodeId(2));
        assert_eq!(find(&topology, "a:7411").ok().map(|node| node.id.0), Some(1));
    }

    #[test]
    fn what_is_in_splits_was_committed_though_nobody_answers() {
        let shown = partition_of(PartitionId(0), 7, &Topology::default(), &BTreeMap::new());
        assert_eq!((shown.committed, shown.published), (7, 7));
    }
}
