//! What the leader of the metadata group decides when nodes come and go: pure, from what the
//! cluster knows to the next commands.

use std::collections::{BTreeMap, BTreeSet};

use model::node::{
    Health, Lease, NodeId, NodeInfo, Placement, RETENTION_LEASE, Replica, Topology, indexer_lease,
};
use model::partition::PartitionId;

use crate::catalog::Command;
use crate::peer::PROTOCOL_NAMES;
use crate::placement::{load_max, ranked};

/// Replicas of a partition from three nodes on.
pub const REPLICAS: usize = 3;
/// How long a node may be silent before it counts as down, nanoseconds.
pub const SESSION_NS: i64 = 3_000_000_000;
/// How long a node that came may warm up before leases move to it, nanoseconds.
const SETTLE_NS: i64 = 5_000_000_000;

/// What the leader knows beyond the topology.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Now, nanoseconds UTC: with this a change is stamped. It may be wrong.
    pub now: i64,
    /// How long nodes have been as they are, nanoseconds, by a clock that goes on evenly.
    pub ages: BTreeMap<NodeId, i64>,
    /// Nodes heard of within a session.
    pub heard: BTreeSet<NodeId>,
    /// Nodes whose disks are short of room.
    pub short: BTreeSet<NodeId>,
    /// How many partitions are wanted.
    pub partition_count: u32,
    /// After how long a node that is down is not expected back, nanoseconds.
    pub gone_after: i64,
    /// Numbers for new replicas.
    pub seed: u64,
}

impl Sight {
    fn age(&self, node: NodeId) -> i64 {
        self.ages.get(&node).copied().unwrap_or(0)
    }
}

/// The next commands. Empty when all is as it should be.
#[must_use]
pub fn plan(topology: &Topology, sight: &Sight) -> Vec<Command> {
    let mut commands = health(topology, sight);
    // One thing after the other: places and leases are decided when it is clear who is there.
    if commands.is_empty() {
        commands.extend(places(topology, sight));
    }
    if commands.is_empty() {
        commands.extend(leases(topology, sight));
    }
    commands
}

fn health(topology: &Topology, sight: &Sight) -> Vec<Command> {
    // Nodes of the first version drain others without marking them.
    let all_mark = topology.nodes.values().all(|node| node.protocol >= PROTOCOL_NAMES);
    let change = |node: &NodeInfo| {
        let heard = sight.heard.contains(&node.id);
        let age = sight.age(node.id);
        let is_left = topology.draining.contains(&node.id);
        match node.health {
            // One that has just come was heard when it came.
            Health::Up if !heard && age > SESSION_NS => Some(Health::Down),
            // It came back, and is left all the same.
            Health::Up if is_left => Some(Health::Draining),
            Health::Draining if !heard && (is_left || all_mark) && age > SESSION_NS => {
                Some(Health::Down)
            }
            // That was taken back while this was decided.
            Health::Draining if heard && !is_left && all_mark => Some(Health::Up),
            Health::Down if age > sight.gone_after => Some(Health::Gone),
            _ => None,
        }
    };
    let command = |node: &NodeInfo| {
        let health = change(node)?;
        Some(Command::SetHealth { node: node.id, epoch: node.epoch, health, since: sight.now })
    };
    topology.nodes.values().filter_map(command).collect()
}

/// How many replicas a partition has with so many nodes: two would need both to be there.
#[must_use]
pub fn replica_count(nodes: usize) -> usize {
    if nodes < REPLICAS { 1 } else { REPLICAS }
}

/// The nodes that may keep replicas, and how many keep them with those that drain: who drains keeps
/// what it has while there are too few others to keep it in its place.
#[must_use]
pub fn keepers(topology: &Topology) -> (Vec<&NodeInfo>, usize) {
    let all = || topology.nodes.values().filter(|node| node.roles.ingest);
    let members: Vec<&NodeInfo> = all().filter(|node| topology.stays(node)).collect();
    let staying = members.len() + all().filter(|node| topology.is_left(node)).count();
    (members, staying)
}

fn places(topology: &Topology, sight: &Sight) -> Vec<Command> {
    let (members, staying) = keepers(topology);
    let count = replica_count(staying);
    let mut commands = Vec::new();
    for number in 0..sight.partition_count {
        let partition = PartitionId(number);
        let known = topology.partitions.get(&partition);
        let wanted = wanted_nodes(number, &members, count);
        let placement = match known {
            None => {
                // Only nodes that are there can begin.
                let up: Vec<&NodeInfo> = members.iter().copied().filter(|n| n.is_up()).collect();
                let nodes = wanted_nodes(number, &up, replica_count(up.len()));
                let replicas = nodes.iter().map(|node| new_replica(*node, number, sight));
                let replicas: Vec<Replica> = replicas.collect();
                (!replicas.is_empty()).then_some(Placement { replicas, born: false })
            }
            // Until the group has begun its members stay as they were decided.
            Some(known) if !known.born => None,
            Some(known) => {
                let step = Step { known, wanted: &wanted, count, topology, number };
                next_placement(&step, sight)
            }
        };
        if let Some(placement) = placement {
            commands.push(Command::Place { partition, before: known.cloned(), placement });
        }
    }
    commands
}

/// The nodes that should keep a partition: the first in its rank.
fn wanted_nodes(number: u32, nodes: &[&NodeInfo], count: usize) -> Vec<NodeId> {
    let ranks = ranked(partition_key(number), nodes.iter().map(|node| node.id.0));
    ranks.into_iter().take(count).map(NodeId).collect()
}

/// The key by which nodes are ranked for a partition.
fn partition_key(number: u32) -> u64 {
    crate::placement::key_of(&format!("partition {number}"))
}

/// A replica whose number was never used.
fn new_replica(node: NodeId, number: u32, sight: &Sight) -> Replica {
    let drawn = format!("{} {number} {}", sight.seed, node);
    Replica { id: crate::placement::key_of(&drawn).max(1), node }
}

/// From which placement to which nodes.
struct Step<'a> {
    known: &'a Placement,
    wanted: &'a [NodeId],
    /// How many replicas there should be.
    count: usize,
    topology: &'a Topology,
    number: u32,
}

/// One step from a placement to the wanted one: replicas more, or, when all wanted ones are
/// there, less. Who is gone makes room only for who comes: with one of three gone the other
/// two go on as two of three. Two, which need both to be there, are no step on the way; they are
/// left only where a node is removed while another one drains.
fn next_placement(step: &Step<'_>, sight: &Sight) -> Option<Placement> {
    let Step { known, wanted, count, topology, number } = *step;
    let mut replicas = known.replicas.clone();
    let is_missing = |node: &&NodeId| !replicas.iter().any(|one| one.node == **node);
    let all_missing: Vec<NodeId> = wanted.iter().filter(is_missing).copied().collect();
    let missing = all_missing.first();
    let is_lost = |replica: &Replica| {
        topology.nodes.get(&replica.node).is_none_or(|node| node.health == Health::Gone)
    };
    let is_removed = |replica: &Replica| !topology.nodes.contains_key(&replica.node);
    if let Some(removed) = replicas.iter().position(is_removed)
        && missing.is_none()
    {
        replicas.remove(removed);
        if count < REPLICAS {
            few(&mut replicas, step);
        }
    } else if let (Some(lost), Some(node)) = (replicas.iter().position(is_lost), missing) {
        // Who is not expected back makes room for who comes, in one step.
        replicas.remove(lost);
        replicas.push(new_replica(*node, number, sight));
    } else if missing.is_some() {
        // A node that is down cannot be filled; who is there stays until it can.
        let up = |node: &NodeId| topology.nodes.get(node).is_some_and(NodeInfo::is_up);
        let coming: Vec<NodeId> = all_missing.iter().copied().filter(up).collect();
        let too_few = count == REPLICAS && replicas.len() + coming.len() < REPLICAS;
        let coming = coming.into_iter().filter(|_| !too_few);
        replicas.extend(coming.map(|node| new_replica(node, number, sight)));
    } else {
        let gone = replicas.iter().filter(|replica| is_lost(replica)).count();
        if gone > 0 && replicas.len() <= REPLICAS || replicas.len() <= count {
            return None;
        }
        let extra = replicas.iter().position(|replica| !wanted.contains(&replica.node))?;
        replicas.remove(extra);
        few(&mut replicas, step);
    }
    (!replicas.is_empty() && replicas != known.replicas)
        .then_some(Placement { replicas, born: true })
}

/// Of two replicas one is left: a wanted one, if it is there.
fn few(replicas: &mut Vec<Replica>, step: &Step<'_>) {
    if replicas.len() >= REPLICAS {
        return;
    }
    let is_up = |one: &Replica| step.topology.nodes.get(&one.node).is_some_and(NodeInfo::is_up);
    let is_wanted = |one: &Replica| step.wanted.contains(&one.node);
    let left = replicas.iter().copied().min_by_key(|one| (!is_up(one), !is_wanted(one)));
    *replicas = left.into_iter().collect();
}

fn leases(topology: &Topology, sight: &Sight) -> Vec<Command> {
    let mut commands = Vec::new();
    let may_index = |node: NodeId| {
        topology.nodes.get(&node).is_some_and(|node| node.is_up() && node.roles.index)
    };
    // Where the disk is short no split can be built; others do it as long as there are any.
    let has_room = |node: &u64| !sight.short.contains(&NodeId(*node));
    let indexers = roomy(topology.nodes.keys().map(|node| node.0), may_index, has_room);
    let most = load_max(topology.partitions.len(), indexers.len());
    let mut load: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (partition, placement) in topology.partitions.iter().filter(|(_, one)| one.born) {
        let kept = placement.replicas.iter().map(|replica| replica.node.0);
        let mut candidates = roomy(kept, may_index, has_room);
        if candidates.is_empty() {
            // Who keeps the queue does not index: others read it there.
            candidates.clone_from(&indexers);
        }
        let ranks = ranked(partition_key(partition.0), candidates.iter().copied());
        let fits = |node: &u64| load.get(&NodeId(*node)).copied().unwrap_or(0) < most;
        let chosen = ranks.iter().copied().find(fits).or(ranks.first().copied());
        let Some(chosen) = chosen.map(NodeId) else { continue };
        let lease = indexer_lease(*partition);
        let holder = keep_or_move(topology, sight, &lease, chosen, may_index, |node| {
            candidates.contains(&node.0)
        });
        *load.entry(holder.node).or_default() += 1;
        commands.extend(holder.command);
    }
    let up = topology.nodes.values().filter(|node| node.is_up()).map(|node| node.id.0);
    if let Some(first) = ranked(crate::placement::key_of(RETENTION_LEASE), up).first() {
        let is_up = |node| topology.nodes.get(&node).is_some_and(NodeInfo::is_up);
        let lease = RETENTION_LEASE;
        let holder = keep_or_move(topology, sight, lease, NodeId(*first), is_up, |_| true);
        commands.extend(holder.command);
    }
    commands
}

/// Those of the nodes that may do something and have room; where none has, all that may.
fn roomy(
    nodes: impl Iterator<Item = u64>,
    may: impl Fn(NodeId) -> bool,
    has_room: impl Fn(&u64) -> bool,
) -> Vec<u64> {
    let all: Vec<u64> = nodes.filter(|node| may(NodeId(*node))).collect();
    let with_room: Vec<u64> = all.iter().copied().filter(has_room).collect();
    if with_room.is_empty() { all } else { with_room }
}

/// Who has a lease from now on.
struct Holder {
    node: NodeId,
    command: Option<Command>,
}

/// A lease stays where it is while its holder can do it and the better one has not settled.
fn keep_or_move(
    topology: &Topology,
    sight: &Sight,
    lease: &str,
    chosen: NodeId,
    can: impl Fn(NodeId) -> bool,
    has_data: impl Fn(NodeId) -> bool,
) -> Holder {
    let known: Option<Lease> = topology.leases.get(lease).copied();
    let settled = topology.nodes.contains_key(&chosen) && sight.age(chosen) > SETTLE_NS;
    if let Some(known) = known
        && (known.node == chosen || !settled)
        && can(known.node)
        && has_data(known.node)
    {
        return Holder { node: known.node, command: None };
    }
    let before = known.map_or(0, |known| known.token);
    let command = Command::Grant { lease: lease.to_owned(), before, node: chosen };
    Holder { node: chosen, command: Some(command) }
}

/// Who should vote in the metadata group: 1, 3 or 5, of those that are there; who votes already
/// goes on voting.
#[must_use]
pub fn voters(topology: &Topology, voting: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    // A voter that is gone votes on until somebody takes its place: one of two is no majority of
    // three.
    let counts = |node: &&NodeInfo| {
        topology.stays(node) || node.health == Health::Gone && voting.contains(&node.id)
    };
    let mut members: Vec<&NodeInfo> = topology.nodes.values().filter(counts).collect();
    if members.len() < REPLICAS {
        // So does one that drains.
        let drains = |node: &&NodeInfo| topology.is_left(node) && voting.contains(&node.id);
        members.extend(topology.nodes.values().filter(drains));
    }
    let count = match members.len() {
        0..3 => 1,
        3..5 => 3,
        _ => 5,
    };
    let mut order: Vec<&NodeInfo> = members;
    let votes = |node: &NodeInfo| voting.contains(&node.id);
    if count == 1 {
        // Who votes alone is up whenever this is asked: down means that it is being restarted, and
        // it decides again when it is back. It gives its vote up where it is left for good.
        order.sort_by_key(|node| (topology.is_left(node), !votes(node), !node.is_up(), node.id));
    } else {
        // Who is down gives its vote up when there is somebody who is up in its place.
        order.sort_by_key(|node| (!node.is_up(), !votes(node), node.id));
    }
    order.into_iter().take(count).map(|node| node.id).collect()
}

#[cfg(test)]
mod tests;
