//! Nodes come, go, drain and stay silent: what the leader decides, until it settles.

use std::collections::{BTreeMap, BTreeSet};

use model::node::{Lease, Roles};

use super::*;
use crate::catalog::Command;

const NOW: i64 = 1_000_000_000_000;

fn node(id: u64, health: Health) -> NodeInfo {
    NodeInfo {
        address: format!("host{id}:7411"),
        http: format!("host{id}:7410"),
        ..NodeInfo::first(NodeId(id), health)
    }
}

fn topology(nodes: impl IntoIterator<Item = u64>) -> Topology {
    let nodes = nodes.into_iter().map(|id| (NodeId(id), node(id, Health::Up))).collect();
    Topology { nodes, ..Topology::default() }
}

fn sight(topology: &Topology, partition_count: u32) -> Sight {
    Sight {
        now: NOW,
        ages: BTreeMap::new(),
        heard: topology.nodes.keys().copied().collect(),
        short: BTreeSet::new(),
        partition_count,
        gone_after: 600_000_000_000,
        seed: 7,
    }
}

/// How long nodes have been as they are, where all clocks are right.
fn ages(topology: &Topology, now: i64) -> BTreeMap<NodeId, i64> {
    topology.nodes.values().map(|node| (node.id, now - node.since)).collect()
}

/// Carries out what is planned until nothing is; groups begin and change at once.
fn settle(topology: &mut Topology, sight: &Sight) -> usize {
    let mut count = 0;
    for step in 0.. {
        let ages = ages(topology, sight.now);
        let commands = plan(topology, &Sight { seed: step, ages, ..sight.clone() });
        if commands.is_empty() {
            return count;
        }
        assert!(step < 1_000, "it never settles: {commands:?}");
        for command in commands {
            count += 1;
            match command {
                Command::SetHealth { node, health, since, .. } => {
                    let known = topology.nodes.get_mut(&node).unwrap();
                    (known.health, known.since) = (health, since);
                }
                Command::Place { partition, before, placement } => {
                    assert_eq!(topology.partitions.get(&partition), before.as_ref());
                    let of_two = placement.replicas.len() == 2 && topology.nodes.len() > 2;
                    assert!(!of_two, "one more that goes stops it: {placement:?}");
                    let born = Placement { born: true, ..placement };
                    topology.partitions.insert(partition, born);
                }
                Command::Grant { lease, before, node } => {
                    let known = topology.leases.get(&lease).map_or(0, |known| known.token);
                    assert_eq!(known, before);
                    topology.leases.insert(lease, Lease { node, token: before + 1 });
                }
                other => panic!("{other:?}"),
            }
        }
    }
    count
}

fn check_whole(topology: &Topology, partitions: u32) {
    let members = topology.nodes.values().filter(|node| node.is_member()).count();
    for number in 0..partitions {
        let partition = PartitionId(number);
        let placement = &topology.partitions[&partition];
        let nodes: BTreeSet<NodeId> = placement.replicas.iter().map(|one| one.node).collect();
        assert_eq!(nodes.len(), placement.replicas.len(), "two replicas on one node");
        assert_eq!(nodes.len(), replica_count(members));
        let holder = topology.indexer(partition).unwrap().node;
        assert!(nodes.contains(&holder) && topology.nodes[&holder].is_up());
    }
}

fn indexers(topology: &Topology) -> BTreeMap<PartitionId, NodeId> {
    let all = topology.partitions.keys();
    all.filter_map(|id| Some((*id, topology.indexer(*id)?.node))).collect()
}

#[test]
fn partitions_spread_over_nodes_and_stay_where_they_are() {
    for nodes in 1..7 {
        let mut topology = topology(1..=nodes);
        let sight = sight(&topology, 32);
        settle(&mut topology, &sight);
        check_whole(&topology, 32);
        let mut load: BTreeMap<NodeId, usize> = BTreeMap::new();
        indexers(&topology).values().for_each(|node| *load.entry(*node).or_default() += 1);
        let most = load_max(32, usize::try_from(nodes).unwrap());
        assert!(load.values().all(|count| *count <= most), "{load:?}");
        assert_eq!(settle(&mut topology, &sight), 0);
    }
}

#[test]
fn one_more_of_n_nodes_moves_about_one_nth_of_the_work() {
    let partitions = 256;
    for nodes in 3..7_u64 {
        let mut topology = topology(1..=nodes);
        let before_sight = sight(&topology, partitions);
        settle(&mut topology, &before_sight);
        let before = indexers(&topology);
        let new = NodeId(nodes + 1);
        topology.nodes.insert(new, node(new.0, Health::Up));
        let after_sight = sight(&topology, partitions);
        settle(&mut topology, &after_sight);
        check_whole(&topology, partitions);
        let after = indexers(&topology);
        let moved = after.iter().filter(|(id, node)| before[*id] != **node).count();
        let share = partitions as usize / usize::try_from(nodes + 1).unwrap();
        assert!(moved >= share / 2 && moved <= share * 2, "{nodes}: {moved} of {share}");
    }
}

#[test]
fn a_node_short_of_room_indexes_nothing_while_others_can_and_gets_it_back() {
    let mut topology = topology(1..=4);
    // They have been there for long.
    let all = Sight { now: NOW + 3_600_000_000_000, ..sight(&topology, 16) };
    settle(&mut topology, &all);
    let (before, placed) = (indexers(&topology), topology.partitions.clone());
    let short =
        |nodes: &[u64]| Sight { short: nodes.iter().copied().map(NodeId).collect(), ..all.clone() };
    settle(&mut topology, &short(&[2]));
    assert!(indexers(&topology).values().all(|node| *node != NodeId(2)));
    // It keeps what it has.
    assert_eq!(topology.partitions, placed);
    // Where no keeper of a partition has room one of them does it all the same.
    settle(&mut topology, &short(&[1, 2, 3, 4]));
    check_whole(&topology, 16);
    settle(&mut topology, &all);
    assert_eq!(indexers(&topology), before);
}

#[test]
fn a_silent_node_loses_its_leases_and_keeps_its_replicas_until_it_is_gone() {
    let mut topology = topology(1..=4);
    let all = sight(&topology, 16);
    settle(&mut topology, &all);
    let before = topology.partitions.clone();
    let mut silent = all.clone();
    silent.heard.remove(&NodeId(2));
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(2)].health, Health::Down);
    assert!(indexers(&topology).values().all(|node| *node != NodeId(2)));
    assert_eq!(topology.partitions, before);
    silent.now += silent.gone_after + 1;
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(2)].health, Health::Gone);
    check_whole(&topology, 16);
    let kept = topology.partitions.values().flat_map(|placement| &placement.replicas);
    assert!(kept.clone().all(|replica| replica.node != NodeId(2)));
}

#[test]
fn one_node_does_what_is_done_once_for_all_and_another_when_it_is_down() {
    let mut topology = topology(1..=4);
    let all = sight(&topology, 8);
    settle(&mut topology, &all);
    let jobs = |topology: &Topology| topology.leases.get(RETENTION_LEASE).copied().unwrap();
    let first = jobs(&topology);
    let mut silent = all.clone();
    silent.heard.remove(&first.node);
    settle(&mut topology, &silent);
    let second = jobs(&topology);
    // What the first one decides from now on is refused: its token is the old one.
    assert!(second.node != first.node && second.token > first.token, "{first:?} {second:?}");
    assert!(topology.nodes[&second.node].is_up());
}

#[test]
fn a_node_that_drains_is_left_by_everything() {
    let mut topology = topology(1..=4);
    let all = sight(&topology, 16);
    settle(&mut topology, &all);
    topology.nodes.get_mut(&NodeId(3)).unwrap().health = Health::Draining;
    settle(&mut topology, &all);
    check_whole(&topology, 16);
    let kept = topology.partitions.values().flat_map(|placement| &placement.replicas);
    assert!(kept.clone().all(|replica| replica.node != NodeId(3)));
    assert!(indexers(&topology).values().all(|node| *node != NodeId(3)));
}

#[test]
fn a_node_that_drains_stays_until_somebody_can_take_its_place() {
    let mut topology = topology(1..=3);
    let mut all = sight(&topology, 16);
    settle(&mut topology, &all);
    let before = topology.partitions.clone();
    topology.nodes.get_mut(&NodeId(3)).unwrap().health = Health::Draining;
    settle(&mut topology, &all);
    assert_eq!(topology.partitions, before);
    let voting: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
    assert_eq!(voters(&topology, &voting), voting);
    assert!(indexers(&topology).values().all(|node| *node != NodeId(3)));
    // Somebody comes, and it may go; or it is removed all the same.
    let mut removed = topology.clone();
    topology.nodes.insert(NodeId(4), node(4, Health::Up));
    all.heard.insert(NodeId(4));
    settle(&mut topology, &all);
    check_whole(&topology, 16);
    let mut kept = topology.partitions.values().flat_map(|placement| &placement.replicas);
    assert!(kept.all(|replica| replica.node != NodeId(3)));
    assert_eq!(voters(&topology, &voting), [1, 2, 4].map(NodeId).into());
    removed.nodes.remove(&NodeId(3));
    settle(&mut removed, &all);
    check_whole(&removed, 16);
}

#[test]
fn of_two_nodes_one_may_drain() {
    let mut topology = topology(1..=2);
    let all = sight(&topology, 16);
    settle(&mut topology, &all);
    topology.nodes.get_mut(&NodeId(2)).unwrap().health = Health::Draining;
    settle(&mut topology, &all);
    check_whole(&topology, 16);
    assert_eq!(voters(&topology, &[NodeId(2)].into()), [NodeId(1)].into());
}

#[test]
fn one_three_or_five_vote_and_who_votes_goes_on() {
    let check = |topology: &Topology, voting: &[u64], expected: &[u64]| {
        let set = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
        assert_eq!(voters(topology, &set(voting)), set(expected));
    };
    check(&topology(1..=2), &[2], &[2]);
    check(&topology(1..=3), &[2], &[1, 2, 3]);
    check(&topology(1..=4), &[2, 3, 4], &[2, 3, 4]);
    check(&topology(1..=9), &[3, 5, 9], &[1, 2, 3, 5, 9]);
    let mut one_down = topology(1..=4);
    one_down.nodes.get_mut(&NodeId(3)).unwrap().health = Health::Down;
    check(&one_down, &[2, 3, 4], &[1, 2, 4]);
    let mut three = topology(1..=3);
    three.nodes.get_mut(&NodeId(3)).unwrap().health = Health::Down;
    check(&three, &[1, 2, 3], &[1, 2, 3]);
    // Who decides alone and is restarted decides on, as is.
    let mut two = topology(1..=2);
    two.nodes.get_mut(&NodeId(1)).unwrap().health = Health::Down;
    check(&two, &[1], &[1]);
}

#[test]
fn who_keeps_no_replica_indexes_when_nobody_else_may() {
    let mut topology = topology(1..=5);
    for (number, node) in (1..).zip(topology.nodes.values_mut()) {
        node.roles = Roles { ingest: number <= 3, index: number > 3, query: true };
    }
    let sight = sight(&topology, 8);
    settle(&mut topology, &sight);
    let kept = topology.partitions.values().flat_map(|placement| &placement.replicas);
    assert!(kept.clone().all(|replica| replica.node.0 <= 3));
    let indexers = indexers(&topology);
    assert_eq!(indexers.len(), 8);
    assert!(indexers.values().all(|node| node.0 > 3), "{indexers:?}");
}

#[test]
fn with_one_of_three_gone_the_others_go_on_as_two_of_three() {
    let mut topology = topology(1..=3);
    let all = sight(&topology, 6);
    settle(&mut topology, &all);
    let before = topology.partitions.clone();
    let mut silent = all;
    silent.heard.remove(&NodeId(2));
    settle(&mut topology, &silent);
    silent.now += silent.gone_after + 1;
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(2)].health, Health::Gone);
    assert_eq!(topology.partitions, before);
    let voting: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
    assert_eq!(voters(&topology, &voting), voting);
    // Somebody comes in its place.
    topology.nodes.insert(NodeId(4), node(4, Health::Up));
    silent.heard.insert(NodeId(4));
    settle(&mut topology, &silent);
    check_whole(&topology, 6);
    assert_eq!(voters(&topology, &voting), [1, 3, 4].map(NodeId).into());
}

#[test]
fn who_drains_is_left_also_when_it_dies_or_comes_back() {
    let mut topology = topology(1..=4);
    let all = sight(&topology, 16);
    settle(&mut topology, &all);
    // It is said while the node is down: it is left all the same, and nothing waits for it.
    topology.draining.insert(NodeId(3));
    let mut silent = all.clone();
    silent.heard.remove(&NodeId(3));
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(3)].health, Health::Down);
    let keeps = |topology: &Topology| {
        let mut kept = topology.partitions.values().flat_map(|placement| &placement.replicas);
        kept.any(|replica| replica.node == NodeId(3))
    };
    assert!(!keeps(&topology));
    assert!(topology.keepers().all(|node| node.id != NodeId(3)));
    // It comes back, as up: it drains.
    topology.nodes.insert(NodeId(3), node(3, Health::Up));
    let first = plan(&topology, &Sight { ages: ages(&topology, NOW), ..all.clone() });
    let draining = Health::Draining;
    let expected = Command::SetHealth { node: NodeId(3), epoch: 1, health: draining, since: NOW };
    assert_eq!(first, [expected]);
    settle(&mut topology, &all);
    assert_eq!(topology.nodes[&NodeId(3)].health, Health::Draining);
    // It dies: it is down, then gone.
    let mut silent = all.clone();
    silent.heard.remove(&NodeId(3));
    silent.now += SESSION_NS + 1;
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(3)].health, Health::Down);
    silent.now += silent.gone_after + 1;
    settle(&mut topology, &silent);
    assert_eq!(topology.nodes[&NodeId(3)].health, Health::Gone);
    assert!(!keeps(&topology));
    // It shall stay after all.
    topology.draining.clear();
    topology.nodes.insert(NodeId(3), node(3, Health::Up));
    settle(&mut topology, &all);
    check_whole(&topology, 16);
    assert!(keeps(&topology));
}

#[test]
fn what_a_clock_says_keeps_no_dead_node_alive() {
    let mut topology = topology(1..=3);
    let all = sight(&topology, 4);
    settle(&mut topology, &all);
    // It came by a clock that is an hour ahead; the next leader's is an hour behind.
    let known = topology.nodes.get_mut(&NodeId(2)).unwrap();
    known.since = NOW + 3_600_000_000_000;
    let mut sight = Sight { now: NOW - 3_600_000_000_000, ..all };
    sight.heard.remove(&NodeId(2));
    let at = |age: i64| Sight { ages: [(NodeId(2), age)].into(), ..sight.clone() };
    assert!(plan(&topology, &at(SESSION_NS)).is_empty());
    let health = |health, since| Command::SetHealth { node: NodeId(2), epoch: 1, health, since };
    assert_eq!(plan(&topology, &at(SESSION_NS + 1)), [health(Health::Down, sight.now)]);
    topology.nodes.get_mut(&NodeId(2)).unwrap().health = Health::Down;
    let leap = Sight { now: i64::MAX, ..at(0) };
    assert!(plan(&topology, &leap).iter().all(|one| !matches!(one, Command::SetHealth { .. })));
    assert_eq!(plan(&topology, &at(sight.gone_after + 1)), [health(Health::Gone, sight.now)]);
}

#[test]
fn who_is_not_to_be_left_any_more_takes_work_whatever_was_decided_in_between() {
    let mut topology = topology(1..=3);
    let sight = sight(&topology, 6);
    settle(&mut topology, &sight);
    topology.draining.insert(NodeId(2));
    // It is looked, the drain is taken back, and only then is carried out what follows of the look.
    let looked = plan(&topology, &sight);
    let [Command::SetHealth { node: NodeId(2), health: Health::Draining, .. }] = &looked[..] else {
        panic!("{looked:?}")
    };
    topology.draining.clear();
    topology.nodes.get_mut(&NodeId(2)).unwrap().health = Health::Draining;
    // A node of the first version may have asked for it, which marks nothing.
    settle(&mut topology, &sight);
    assert_eq!(topology.nodes[&NodeId(2)].health, Health::Draining);
    topology.nodes.values_mut().for_each(|node| node.protocol = PROTOCOL_NAMES);
    let mut silent = topology.clone();
    settle(&mut topology, &sight);
    assert_eq!(topology.nodes[&NodeId(2)].health, Health::Up);
    check_whole(&topology, 6);
    // One that is silent meanwhile is down, and comes back as any other.
    silent.nodes.get_mut(&NodeId(2)).unwrap().since = NOW - SESSION_NS - 1;
    let mut unheard = sight;
    unheard.heard.remove(&NodeId(2));
    settle(&mut silent, &unheard);
    assert_eq!(silent.nodes[&NodeId(2)].health, Health::Down);
}
