//! Producers that are too many: programs of two versions of the nodes' protocol forget alike, and names go
//! first as soon as every node reads what says so. Few are remembered here, so that it happens often.

use bytes::Bytes;
use cluster::catalog::{Catalog, CatalogError, Command, Joining, Refusal};
use model::batch::Sequence;
use model::node::{NodeId, Roles};
use model::partition::Entry;
use model::time::Timestamp;

use super::chance::Chance;
use super::check;
use super::group::{Group, LogEntry};
use crate::replica::fold::{self, NAMES_PROTOCOL};

const NODES: usize = 3;
/// Producers that a partition remembers.
const REMEMBERED_MAX: usize = 40;
/// Seeds that every run of the tests plays.
const SEEDS: u64 = 20;
/// Steps of one play before everything heals.
const STEPS: usize = 2_500;
/// Steps after which nodes are started with the newer program.
const UPGRADE_AT: usize = 1_500;
/// The one that stands for no names.
const SHIPPER: u64 = 1;

/// What happened in all plays.
#[derive(Debug, Default)]
struct Told {
    elections: u64,
    cuts: u64,
    /// How often producers were forgotten as the earlier version does it, and as the newer one does.
    alike: u64,
    names_first: u64,
    /// How often names pushed the shipper out.
    pushed_out: u64,
    /// How often it was too early to open the log.
    early: u64,
}

/// Who sends.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Shipper,
    Names,
}

struct Crowd {
    chance: Chance,
    group: Group,
    catalog: Catalog,
    /// The version of the nodes' protocol that each node speaks.
    protocols: [u32; NODES],
    /// The version that it takes to read the log, and what each node knows of that.
    log: u32,
    read: [u32; NODES],
    now: i64,
    /// Lives of the shipper.
    lives: u32,
    /// Producers that stood for names.
    names: u64,
    told: Told,
}

impl Crowd {
    fn new(chance: Chance) -> Self {
        let catalog = Catalog::in_memory().unwrap();
        let before = NAMES_PROTOCOL - 1;
        let mut crowd = Self {
            chance,
            group: Group::remembering(NODES, REMEMBERED_MAX),
            catalog,
            protocols: [before; NODES],
            log: before,
            read: [before; NODES],
            now: 0,
            lives: 0,
            names: 0,
            told: Told::default(),
        };
        (0..NODES).for_each(|node| crowd.start(node, before));
        crowd.catalog.execute(Command::Open { protocol: before }).unwrap();
        crowd
    }

    /// Starts a node with the program of a version.
    fn start(&mut self, node: usize, protocol: u32) {
        let joining = Joining {
            id: NodeId(node as u64 + 1),
            address: format!("n{node}"),
            http: String::new(),
            roles: Roles::default(),
            version: String::new(),
            protocol,
            at: self.now,
        };
        self.catalog.execute(Command::Register(joining)).unwrap();
        self.protocols[node] = protocol;
    }

    /// One thing happens.
    fn step(&mut self, number: usize) {
        match self.chance.below(100) {
            0..6 => self.elect(),
            6..46 => self.replicate(),
            46..94 => {
                let leaders: Vec<usize> = self.leaders();
                let at = self.chance.below(leaders.len());
                let sender = if self.chance.percent(2) { Sender::Shipper } else { Sender::Names };
                if let Some(leader) = leaders.get(at) {
                    self.send(*leader, sender);
                }
            }
            94..97 if number >= UPGRADE_AT => {
                let node = self.chance.below(NODES);
                self.start(node, NAMES_PROTOCOL);
            }
            _ => {
                let node = self.chance.below(NODES);
                self.read[node] = self.log;
            }
        }
    }

    fn leaders(&self) -> Vec<usize> {
        (0..NODES).filter(|node| self.group.members[*node].leads).collect()
    }

    fn elect(&mut self) {
        let node = self.chance.below(NODES);
        if self.group.members[node].leads {
            return;
        }
        let mut reaches = Vec::new();
        for other in 0..NODES {
            if self.chance.percent(80) {
                reaches.push(other);
            }
        }
        self.group.elect(node, &reaches);
    }

    fn replicate(&mut self) {
        for leader in self.leaders() {
            let mut reaches = Vec::new();
            for node in 0..NODES {
                if self.chance.percent(80) {
                    reaches.push((node, self.chance.below(6)));
                }
            }
            self.group.replicate(leader, &reaches);
        }
    }

    /// A leader takes a batch, and sees to the producers.
    fn send(&mut self, leader: usize, sender: Sender) {
        let member = &mut self.group.members[leader];
        // As the proposer: only on a log that is applied whole.
        if member.committed < member.log.len() {
            return;
        }
        self.now += 1;
        let sequence = match sender {
            Sender::Shipper => {
                self.lives += 1;
                Sequence { producer: SHIPPER, epoch: self.lives, from: 0, to: 1 }
            }
            Sender::Names => {
                self.names += 1;
                let from = Sequence::OF_KEY | Sequence::OF_NAMES;
                Sequence { producer: SHIPPER + self.names, epoch: 0, from, to: from + 1 }
            }
        };
        let (first, ingest_time) = (member.fold.0.next, Timestamp(self.now));
        let entry = Entry { first, record_count: 1, ingest_time, batch: Bytes::new() };
        let command = fold::command(0, &[(entry, sequence)]);
        member.append(LogEntry { term: member.term, command });
        assert!(member.fold.0.next > first, "it was passed over");
        self.open(leader);
        self.forget(leader);
    }

    /// Has the log opened where there are too many, now and then.
    fn open(&mut self, leader: usize) {
        let is_crowded = self.group.members[leader].fold.0.is_crowded();
        if !is_crowded || self.log >= NAMES_PROTOCOL || !self.chance.percent(30) {
            return;
        }
        match self.catalog.execute(Command::Open { protocol: NAMES_PROTOCOL }) {
            Ok(_) => self.log = NAMES_PROTOCOL,
            Err(CatalogError::Refused(Refusal::Early { .. })) => self.told.early += 1,
            Err(error) => panic!("{error}"),
        }
    }

    /// Has producers forgotten where there are far too many, as all read it that this leader knows of.
    fn forget(&mut self, leader: usize) {
        let member = &mut self.group.members[leader];
        if !member.fold.0.is_to_forget() {
            return;
        }
        let (knew, last) = (member.fold.0.knows(SHIPPER), member.fold.0.last());
        let forgets = |version: u32| fold::forget(version, last).unwrap();
        let command = forgets(self.read[leader]);
        let is_names_first = command == forgets(NAMES_PROTOCOL);
        member.append(LogEntry { term: member.term, command });
        assert_eq!(member.fold.0.producer_count(), REMEMBERED_MAX);
        let is_pushed_out = knew && !member.fold.0.knows(SHIPPER);
        if is_names_first {
            let all_read = self.protocols.iter().all(|protocol| *protocol >= NAMES_PROTOCOL);
            assert!(all_read, "{:?} read what they do not know", self.protocols);
            assert!(!is_pushed_out, "names pushed out who stands for none");
            self.told.names_first += 1;
        } else {
            self.told.alike += 1;
            self.told.pushed_out += u64::from(is_pushed_out);
        }
    }

    /// One that has everything leads all.
    fn lead(&mut self) -> usize {
        let has = |node: &usize| {
            let log = &self.group.members[*node].log;
            (log.last().map_or(0, |entry| entry.term), log.len())
        };
        let most = (0..NODES).max_by_key(has).unwrap();
        loop {
            let leads = self.group.elect(most, &[0, 1, 2]);
            let term = self.group.members[most].term;
            if leads && self.group.members.iter().all(|member| member.term == term) {
                return most;
            }
        }
    }

    fn send_and_replicate(&mut self, leader: usize, sender: Sender) {
        self.send(leader, sender);
        self.read[leader] = self.log;
        // What is committed is told with the next entries.
        for _ in 0..2 {
            self.group.replicate(leader, &[0, 1, 2].map(|node| (node, usize::MAX)));
        }
    }

    /// Every node is started with the newer program, and reaches the others.
    fn heal(&mut self) {
        (0..NODES).for_each(|node| self.start(node, NAMES_PROTOCOL));
        let leader = self.lead();
        self.group.replicate(leader, &[0, 1, 2].map(|node| (node, usize::MAX)));
        for _ in 0..1_000 {
            if self.log == NAMES_PROTOCOL {
                break;
            }
            self.send_and_replicate(leader, Sender::Names);
        }
        assert_eq!(self.log, NAMES_PROTOCOL);
        self.read[leader] = self.log;
        self.send_and_replicate(leader, Sender::Shipper);
        for _ in 0..3 * REMEMBERED_MAX {
            self.send_and_replicate(leader, Sender::Names);
        }
        for member in &self.group.members {
            assert_eq!(member.committed, self.group.members[leader].log.len());
            assert!(member.fold.0.knows(SHIPPER));
            assert!(!member.fold.0.is_to_forget(), "{}", member.fold.0.producer_count());
        }
    }

    fn check(&self, seed: u64) {
        if let Err(wrong) = check::same_logs(0, &self.group) {
            panic!("seed {seed}: {wrong}");
        }
    }
}

#[test]
fn names_that_crowd_a_partition_are_forgotten_first_once_all_nodes_read_it() {
    let mut told = Told::default();
    for seed in 1..=SEEDS {
        let mut crowd = Crowd::new(Chance::new(seed));
        for number in 0..STEPS {
            crowd.step(number);
            if number.is_multiple_of(50) {
                crowd.check(seed);
            }
        }
        crowd.heal();
        crowd.check(seed);
        told.elections += crowd.group.elections;
        told.cuts += crowd.group.members.iter().map(|member| member.cuts).sum::<u64>();
        told.alike += crowd.told.alike;
        told.names_first += crowd.told.names_first;
        told.pushed_out += crowd.told.pushed_out;
        told.early += crowd.told.early;
    }
    println!("{told:?}");
    // A play in which nothing happens proves nothing.
    assert!(told.elections > 0 && told.cuts > 0 && told.early > 0, "{told:?}");
    assert!(told.alike > 0 && told.names_first > 0 && told.pushed_out > 0, "{told:?}");
}
