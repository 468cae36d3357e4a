//! The simulated world: nodes that fail, links that break, and one step after the other.

use std::collections::{BTreeMap, BTreeSet};

use cluster::catalog::{Answer, CatalogError};
use cluster::catalog::{Catalog, Command, Fence, Joining, Order, Publication, Refusal};
use cluster::meta::controller::{Sight, plan};
use model::batch::Sequence;
use model::node::{Health, NodeId, Placement, Roles, indexer_lease};
use model::partition::{Offset, PartitionId};
use model::time::Timestamp;

use super::chance::Chance;
use super::clients::{Client, Ways};
use super::group::{Group, LogEntry};
use crate::partition::{AppendError, Judging};
use crate::replica::fold;

pub(super) const NODES: usize = 3;
/// Partitions at first.
pub(super) const FEWER: u32 = 2;
/// Partitions when one was added.
pub(super) const MORE: u32 = 3;
const PARTITIONS: usize = MORE as usize;
const CLIENTS: usize = 6;
/// Virtual nanoseconds of one step.
const STEP_NS: i64 = 250_000_000;

/// A node.
#[derive(Debug, Default)]
struct Node {
    down: bool,
    /// It does nothing, and does not know it.
    paused: bool,
    /// Partitions that it believes to index, with the token and the publication it is about to
    /// make.
    seats: BTreeMap<usize, (u64, Option<Publication>)>,
}

/// Everything.
pub(super) struct World {
    pub(super) chance: Chance,
    now: i64,
    nodes: Vec<Node>,
    /// Over how many partitions batches are spread, as each node knows.
    pub(super) counts: Vec<Vec<u32>>,
    /// Pairs that do not hear each other: who says, who should hear.
    cut: BTreeSet<(usize, usize)>,
    pub(super) groups: Vec<Group>,
    pub(super) clients: Vec<Client>,
    pub(super) ways: Ways,
    pub(super) catalog: Catalog,
    /// What was published, in order: partition, from, to, records.
    pub(super) published: Vec<(usize, Offset, Offset, Vec<bytes::Bytes>)>,
    /// What leaders are to answer when it is committed.
    proposed: Vec<Proposed>,
    pub(super) trace: Vec<String>,
    pub(super) fenced: u64,
    pub(super) repeats: u64,
    pub(super) resent: u64,
    /// Batches of producers that stayed where they were known, though their streams had moved.
    pub(super) stayed: u64,
    /// Batches that a partition sent on to where they belong by now.
    pub(super) elsewhere: u64,
}

/// A batch that a leader proposed, and who waits for it.
#[derive(Debug)]
struct Proposed {
    client: usize,
    /// Which of its requests.
    request: Sequence,
    /// The node that asked for it.
    node: usize,
    partition: usize,
    leader: usize,
    term: u64,
    /// The length of the log with it.
    length: usize,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

impl World {
    pub(super) fn new(chance: Chance) -> Self {
        let catalog = Catalog::in_memory().unwrap();
        let mut world = Self {
            chance,
            now: 1_000_000_000_000,
            nodes: (0..NODES).map(|_| Node::default()).collect(),
            cut: BTreeSet::new(),
            groups: (0..PARTITIONS).map(|_| Group::new(NODES)).collect(),
            counts: vec![vec![FEWER]; NODES],
            clients: (0..CLIENTS).map(|n| Client::new(n, n % 2 == 0)).collect(),
            ways: Ways::default(),
            catalog,
            published: Vec::new(),
            proposed: Vec::new(),
            trace: Vec::new(),
            fenced: 0,
            repeats: 0,
            resent: 0,
            stayed: 0,
            elsewhere: 0,
        };
        let (name, fact) = ("partitions".to_owned(), FEWER.to_string());
        world.catalog.execute(Command::Remember { name, fact }).unwrap();
        (0..NODES).for_each(|node| world.register(node));
        world.decide();
        world
    }

    pub(super) fn say(&mut self, words: impl Into<String>) {
        self.trace.push(words.into());
    }

    fn register(&mut self, node: usize) {
        let joining = Joining {
            id: id(node),
            address: format!("n{node}"),
            http: String::new(),
            roles: Roles::default(),
            version: String::new(),
            protocol: 1,
            at: self.now,
        };
        self.catalog.execute(Command::Register(joining)).unwrap();
    }

    pub(super) fn works(&self, node: usize) -> bool {
        !self.nodes[node].down && !self.nodes[node].paused
    }

    pub(super) fn hears(&self, from: usize, to: usize) -> bool {
        self.works(from) && self.works(to) && !self.cut.contains(&(from, to))
    }

    /// Those with whom a node can speak both ways.
    fn reach(&self, node: usize) -> Vec<usize> {
        let both =
            |other: &usize| *other == node || self.hears(node, *other) && self.hears(*other, node);
        (0..NODES).filter(both).collect()
    }

    /// One thing happens.
    pub(super) fn step(&mut self) {
        self.now += STEP_NS;
        match self.chance.below(100) {
            0..4 => self.fail(),
            4..9 => self.recover(),
            9..14 => self.break_or_mend_link(),
            14..22 => self.elect(),
            22..50 => self.replicate(),
            50..74 => self.send(),
            74..80 => {
                self.decide();
                self.learn();
            }
            80..92 => self.index(),
            _ => self.answer(),
        }
    }

    fn fail(&mut self) {
        let node = self.chance.below(NODES);
        if self.chance.percent(50) {
            self.nodes[node].paused = true;
            self.say(format!("pause {node}"));
        } else {
            self.nodes[node] = Node { down: true, ..Node::default() };
            // What is on disk stays; who led does not know it any more.
            self.groups.iter_mut().for_each(|group| group.members[node].leads = false);
            self.ways.forget(node);
            self.say(format!("kill {node}"));
        }
    }

    fn recover(&mut self) {
        let node = self.chance.below(NODES);
        if self.nodes[node].down {
            self.nodes[node] = Node::default();
            self.register(node);
            self.say(format!("start {node}"));
        } else if self.nodes[node].paused {
            self.nodes[node].paused = false;
            self.say(format!("resume {node}"));
        }
    }

    fn break_or_mend_link(&mut self) {
        let (from, to) = (self.chance.below(NODES), self.chance.below(NODES));
        if from != to {
            let one_way = (from, to);
            let cut = self.cut.insert(one_way) || !self.cut.remove(&one_way);
            self.say(format!("link {from}>{to} {}", if cut { "cut" } else { "mended" }));
        }
    }

    fn elect(&mut self) {
        let (partition, node) = (self.chance.below(PARTITIONS), self.chance.below(NODES));
        if !self.works(node) || self.groups[partition].members[node].leads {
            return;
        }
        let reaches = self.reach(node);
        let won = self.groups[partition].elect(node, &reaches);
        let term = self.groups[partition].members[node].term;
        self.say(format!("elect {partition} {node} term {term} won {won}"));
    }

    fn replicate(&mut self) {
        let partition = self.chance.below(PARTITIONS);
        for leader in 0..NODES {
            if !self.works(leader) || !self.groups[partition].members[leader].leads {
                continue;
            }
            let mut reaches = Vec::new();
            for node in self.reach(leader) {
                // Some messages are lost, some carry little.
                if self.chance.percent(80) {
                    reaches.push((node, self.chance.below(4)));
                }
            }
            self.groups[partition].replicate(leader, &reaches);
            let committed = self.groups[partition].members[leader].committed;
            self.say(format!("replicate {partition} {leader} {reaches:?} committed {committed}"));
        }
    }

    /// A client sends, or sends again, to some node that works.
    fn send(&mut self) {
        let (client, node) = (self.chance.below(CLIENTS), self.chance.below(NODES));
        if !self.works(node) {
            return;
        }
        // A request lives at the node that took it; its sequence travels with it.
        let counts = self.counts[node].clone();
        self.clients[client].begin(&mut self.ways, (node, &counts), &mut self.chance);
        let Some(partition) = self.target(client, node) else { return };
        let Some(request) = &mut self.clients[client].waiting else { return };
        let batch = request.batch.clone();
        request.tries += 1;
        self.resent += u64::from(request.tries > 1);
        let request = batch.sequence;
        let Some(leader) = self.leader_for(partition, node) else { return };
        let member = &self.groups[partition].members[leader];
        // As the proposer: only on a log that is applied whole.
        if member.committed < member.log.len() {
            return;
        }
        let number = PartitionId(u32::try_from(partition).unwrap());
        let room = match self.chance.percent(10) {
            true => Err(AppendError::Overloaded { what: "queue" }),
            false => Ok(()),
        };
        let mut judging = Judging::new(number, &member.fold.0, Timestamp(self.now), room);
        match judging.request(vec![batch]) {
            Ok(answers) if answers.iter().all(|answer| answer.duplicate) => {
                self.repeats += 1;
                self.say(format!("repeat {client} at {leader}"));
                self.hear(client, request, node, leader);
            }
            Ok(_) => {
                let command = fold::command(judging.count(), &judging.entries);
                if let Some(waiting) = &mut self.clients[client].waiting {
                    waiting.in_doubt = true;
                }
                let member = &mut self.groups[partition].members[leader];
                let term = member.term;
                member.append(LogEntry { term, command });
                let length = member.log.len();
                self.proposed.push(Proposed {
                    client,
                    request,
                    node,
                    partition,
                    leader,
                    term,
                    length,
                });
                self.say(format!("propose {client} {partition} at {leader} {length}"));
            }
            Err(AppendError::Sequence { next }) => self.say(format!("gap {client} {next}")),
            Err(AppendError::Overloaded { .. }) => {
                self.say(format!("refused {client}"));
                self.clients[client].give_up(&mut self.ways, node);
            }
            Err(AppendError::Elsewhere { count }) => self.go_on(client, node, count),
            Err(error) => panic!("{error}"),
        }
    }

    /// The answer of a leader is heard by the client, unless it is lost, or of a request that was
    /// answered before.
    fn hear(&mut self, client: usize, request: Sequence, node: usize, leader: usize) {
        let arrives = leader == node || self.hears(leader, node);
        let waits = self.clients[client].waiting.as_ref();
        let waits = waits.is_some_and(|waiting| waiting.batch.sequence == request);
        if waits && arrives && self.works(node) && self.chance.percent(75) {
            self.say(format!("acknowledged {client}"));
            self.clients[client].acknowledge(&mut self.ways, node);
        }
    }

    /// Leaders answer what is committed; what they cannot know any more is never answered.
    fn answer(&mut self) {
        let waiting = std::mem::take(&mut self.proposed);
        for one in waiting {
            let member = &self.groups[one.partition].members[one.leader];
            let is_same = member.leads && member.term == one.term && self.works(one.leader);
            if !is_same {
                continue;
            }
            if member.committed >= one.length {
                self.hear(one.client, one.request, one.node, one.leader);
            } else {
                self.proposed.push(one);
            }
        }
    }

    /// The metadata's leader looks who is there and decides.
    fn decide(&mut self) {
        let topology = self.catalog.topology().borrow().clone();
        let heard = (0..NODES).filter(|node| self.works(*node)).map(id).collect();
        let ages = topology.nodes.values().map(|node| (node.id, self.now - node.since)).collect();
        let sight = Sight {
            now: self.now,
            ages,
            heard,
            short: BTreeSet::new(),
            partition_count: self.wanted(),
            gone_after: i64::MAX,
            seed: self.chance.number(),
        };
        for command in plan(&topology, &sight) {
            self.say(format!("decide {command:?}"));
            self.catalog.execute(command.clone()).unwrap();
            if let Command::Place { partition, placement, .. } = command
                && !placement.born
            {
                let born = Placement { born: true, ..placement.clone() };
                let before = Some(placement);
                self.catalog
                    .execute(Command::Place { partition, before, placement: born })
                    .unwrap();
            }
        }
        // Who was given up comes in again when it works.
        for node in 0..NODES {
            let known = self.catalog.topology().borrow().nodes[&id(node)].health;
            if self.works(node) && known == Health::Down {
                self.register(node);
            }
        }
    }

    /// A node takes what the cluster gave to it, prepares a publication, or publishes what it
    /// prepared, however long ago that was.
    fn index(&mut self) {
        let (node, partition) = (self.chance.below(NODES), self.chance.below(PARTITIONS));
        if !self.works(node) {
            return;
        }
        let number = PartitionId(u32::try_from(partition).unwrap());
        let prepared = self.nodes[node]
            .seats
            .get_mut(&partition)
            .and_then(|seat| seat.1.take().map(|publication| (seat.0, publication)));
        if let Some((token, publication)) = prepared {
            self.publish(node, partition, token, publication);
            return;
        }
        let lease = self.catalog.topology().borrow().indexer(number);
        let Some(lease) = lease.filter(|lease| lease.node == id(node)) else {
            self.nodes[node].seats.remove(&partition);
            return;
        };
        let from = self.catalog.indexed_offset(number).unwrap();
        let (_, to) = self.groups[partition].members[node].records(from);
        if to > from {
            let publication = Publication { partition: number, from, to, add: Vec::new() };
            self.nodes[node].seats.insert(partition, (lease.token, Some(publication)));
            self.say(format!("prepare {node} {partition} {from}..{to}"));
        }
    }

    fn publish(&mut self, node: usize, partition: usize, token: u64, publication: Publication) {
        let (from, to) = (publication.from, publication.to);
        let lease = indexer_lease(publication.partition);
        let fence = Some(Fence { lease, token });
        let outcome = self.catalog.execute(Order { command: Command::Publish(publication), fence });
        match outcome {
            Ok(Answer::Done) => {
                let (records, _) = self.groups[partition].members[node].records(from);
                let count = usize::try_from(to.0 - from.0).unwrap();
                self.published.push((partition, from, to, records[..count].to_vec()));
                self.say(format!("publish {node} {partition} {from}..{to}"));
            }
            Err(CatalogError::Refused(Refusal::Fenced { .. } | Refusal::Moved { .. })) => {
                self.fenced += 1;
                self.nodes[node].seats.remove(&partition);
                self.say(format!("refused {node} {partition} {from}..{to}"));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything works again, and goes on until nothing waits.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.counts.fill(self.catalog.topology().borrow().counts.clone());
        for node in 0..NODES {
            if !self.works(node) {
                self.nodes[node] = Node::default();
                self.register(node);
            }
        }
        for _ in 0..4_000 {
            self.now += STEP_NS;
            match self.chance.below(5) {
                0 => self.elect_if_nobody_leads(),
                1 => self.replicate(),
                2 => self.send(),
                3 => self.answer(),
                _ => {
                    self.decide();
                    self.index();
                }
            }
        }
    }

    fn elect_if_nobody_leads(&mut self) {
        for partition in 0..PARTITIONS {
            let most = self.groups[partition].members.iter().map(|member| member.term).max();
            let leads = self.groups[partition]
                .members
                .iter()
                .any(|member| member.leads && Some(member.term) == most);
            if !leads {
                let node = self.chance.below(NODES);
                let reaches = self.reach(node);
                self.groups[partition].elect(node, &reaches);
            }
        }
    }
}
