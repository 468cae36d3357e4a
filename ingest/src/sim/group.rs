//! A partition's group as a model: logs, terms, elections and commits by Raft's rules; the fold at
//! each log's tail is the real one, and is built again when a tail is cut, as the log store does.

use bytes::Bytes;
use cluster::raft::Fold as _;
use model::partition::Offset;

use crate::partition::write::State;
use crate::replica::course::Course;
use crate::replica::fold::PartitionFold;

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogEntry {
    pub(super) term: u64,
    pub(super) command: Bytes,
}

/// A member: what it has on disk.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) term: u64,
    pub(super) log: Vec<LogEntry>,
    pub(super) fold: PartitionFold,
    /// Entries that it knows to be committed.
    pub(super) committed: usize,
    pub(super) leads: bool,
    /// Tails that were cut.
    pub(super) cuts: u64,
}

impl Member {
    pub(super) fn append(&mut self, entry: LogEntry) {
        self.fold.apply(self.log.len() as u64, &entry.command);
        self.log.push(entry);
    }

    /// The records that are committed, in order, and the offset behind them: as a consumer reads
    /// them.
    pub(super) fn records(&self, from: Offset) -> (Vec<Bytes>, Offset) {
        let (mut course, mut records) = (Course::default(), Vec::new());
        for entry in &self.log[..self.committed] {
            let taken = course.follow(&entry.command).into_iter();
            records.extend(taken.filter(|entry| entry.first >= from).map(|entry| entry.batch));
        }
        (records, course.next)
    }

    fn is_behind(&self, other: &Self) -> bool {
        let last =
            |member: &Self| (member.log.last().map_or(0, |entry| entry.term), member.log.len());
        last(self) < last(other)
    }

    /// Makes the log as the leader's is, up to so many entries more than they share.
    fn follow(&mut self, leader: &[LogEntry], most: usize) -> usize {
        let shared = self.log.iter().zip(leader).take_while(|(own, other)| own == other).count();
        if shared < self.log.len() && shared < leader.len() {
            assert!(self.committed <= shared, "a committed entry would be cut");
            self.log.truncate(shared);
            self.cuts += 1;
            self.fold = PartitionFold(self.fold.0.emptied());
            let log = std::mem::take(&mut self.log);
            log.into_iter().for_each(|entry| self.append(entry));
        }
        for entry in leader.iter().skip(self.log.len()).take(most) {
            self.append(entry.clone());
        }
        self.log.len().min(leader.len())
    }
}

/// The members of one partition, by node.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    pub(super) elections: u64,
}

impl Group {
    pub(super) fn new(count: usize) -> Self {
        Self { members: (0..count).map(|_| Member::default()).collect(), elections: 0 }
    }

    /// One whose members remember so many producers.
    pub(super) fn remembering(count: usize, producers_max: usize) -> Self {
        let fold = || PartitionFold(State::remembering(producers_max));
        let member = |_| Member { fold: fold(), ..Member::default() };
        Self { members: (0..count).map(member).collect(), elections: 0 }
    }

    fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// A candidate asks those it reaches for their votes. Whether it leads.
    pub(super) fn elect(&mut self, candidate: usize, reaches: &[usize]) -> bool {
        let term = self.members[candidate].term + 1;
        self.members[candidate].term = term;
        self.members[candidate].leads = false;
        let votes = reaches.iter().filter(|node| **node != candidate).filter(|node| {
            let voter = &self.members[**node];
            voter.term < term && !self.members[candidate].is_behind(voter)
        });
        let votes: Vec<usize> = votes.copied().collect();
        for node in &votes {
            let voter = &mut self.members[*node];
            (voter.term, voter.leads) = (term, false);
        }
        let won = votes.len() + 1 >= self.majority();
        if won {
            self.elections += 1;
            let leader = &mut self.members[candidate];
            leader.leads = true;
            // What former leaders left is committed with the first entry of the new term.
            leader.append(LogEntry { term, command: Bytes::new() });
        }
        won
    }

    /// A leader brings some members up to its log, as far as they are reached, and commits what a
    /// majority has.
    pub(super) fn replicate(&mut self, leader: usize, reaches: &[(usize, usize)]) {
        let term = self.members[leader].term;
        let log = self.members[leader].log.clone();
        let known = self.members[leader].committed;
        let mut has = vec![log.len()];
        for (node, most) in reaches.iter().filter(|(node, _)| *node != leader) {
            let follower = &mut self.members[*node];
            if follower.term > term {
                self.members[leader].leads = false;
                return;
            }
            (follower.term, follower.leads) = (term, false);
            let matched = follower.follow(&log, *most);
            follower.committed = follower.committed.max(known.min(matched));
            has.push(matched);
        }
        has.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(on_majority) = has.get(self.majority() - 1).copied() {
            // Only entries of its own term are committed by counting (Raft, figure 8).
            if on_majority > 0 && log[on_majority - 1].term == term {
                let leader = &mut self.members[leader];
                leader.committed = leader.committed.max(on_majority);
            }
        }
    }
}
