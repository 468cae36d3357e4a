//! A partition is added: nodes learn of it one after the other, and producers stay where they are known.

use cluster::catalog::Command;

use super::group::LogEntry;
use super::world::{MORE, NODES, World};
use crate::replica::fold;

impl World {
    /// Somebody wants one more partition.
    pub(super) fn raise(&mut self) {
        self.catalog.execute(Command::Raise { partitions: MORE }).unwrap();
        self.say("raise");
    }

    /// How many partitions are wanted.
    pub(super) fn wanted(&self) -> u32 {
        self.catalog.fact("partitions").unwrap().unwrap().parse().unwrap()
    }

    /// A node hears of what was decided, if it works.
    pub(super) fn learn(&mut self) {
        let node = self.chance.below(NODES);
        if self.works(node) {
            self.learn_at(node);
        }
    }

    fn learn_at(&mut self, node: usize) {
        let counts = self.catalog.topology().borrow().counts.clone();
        // None were told before any were added.
        if !counts.is_empty() && counts != self.counts[node] {
            self.say(format!("learn {node} {counts:?}"));
            self.counts[node] = counts;
        }
    }

    /// Whom a node takes for the leader of a partition: several may believe to lead.
    pub(super) fn leader_for(&mut self, partition: usize, node: usize) -> Option<usize> {
        let leads = |leader: &usize| {
            self.groups[partition].members[*leader].leads
                && (*leader == node || self.hears(node, *leader))
        };
        let leaders: Vec<usize> = (0..NODES).filter(leads).collect();
        let at = self.chance.below(leaders.len());
        leaders.get(at).copied()
    }

    /// Where a node sends the request of a client: to the first of its homes that knows the producer, or
    /// else to the last. None while a home does not say it.
    pub(super) fn target(&mut self, client: usize, node: usize) -> Option<usize> {
        let request = self.clients[client].waiting.as_ref()?;
        if request.partition.is_some() {
            return request.partition;
        }
        let producer = request.batch.sequence.producer;
        let counts = self.counts[node].clone();
        let homes = self.clients[client].homes(&counts);
        let (last, earlier) = homes.split_last()?;
        for home in earlier {
            if self.knows(*home, node, producer, *counts.last()?)? {
                self.stayed += 1;
                return Some(*home);
            }
        }
        Some(*last)
    }

    /// What a partition says of a producer, once it was told of so many partitions.
    fn knows(&mut self, home: usize, node: usize, producer: u64, count: u32) -> Option<bool> {
        let leader = self.leader_for(home, node)?;
        let member = &mut self.groups[home].members[leader];
        if member.committed < member.log.len() {
            return None;
        }
        if member.fold.0.count < count {
            let (term, command) = (member.term, fold::spread(count));
            member.append(LogEntry { term, command });
            self.say(format!("spread {home} at {leader} over {count}"));
            return None;
        }
        let known = member.fold.0.knows(producer);
        // The answer may be lost as any other.
        let arrives = leader == node || self.hears(leader, node);
        (arrives && self.chance.percent(90)).then_some(known)
    }

    /// A partition sends a request on: surely nothing of it was taken.
    pub(super) fn go_on(&mut self, client: usize, node: usize, count: u32) {
        self.elsewhere += 1;
        self.say(format!("elsewhere {client} of {count}"));
        self.learn_at(node);
        let counts = self.counts[node].clone();
        self.clients[client].begin_again(&mut self.ways, (node, &counts), &mut self.chance);
    }
}
