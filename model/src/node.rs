//! A node of the cluster: its name for others, what it does, and the replicas it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::partition::PartitionId;

/// A node, drawn by chance when its data directory is made. A wiped disk is a new node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

/// As everywhere else, so that a node is found by its name in what is said of commands too.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a node does. All of it unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Keeps replicas of the queue.
    pub ingest: bool,
    /// Builds, keeps and merges splits.
    pub index: bool,
    /// Answers questions (every node forwards them).
    pub query: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self { ingest: true, index: true, query: true }
    }
}

impl Roles {
    /// Reads a list such as `ingest,index`.
    ///
    /// # Errors
    /// The word that is no role.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Self { ingest: false, index: false, query: false };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "ingest" => roles.ingest = true,
                "index" => roles.index = true,
                "query" => roles.query = true,
                "all" => roles = Self::default(),
                other => return Err(format!("{other:?} is no role: ingest, index, query or all")),
            }
        }
        match roles {
            Self { ingest: false, index: false, query: false } => {
                Err("no role is named: ingest, index, query or all".to_owned())
            }
            roles => Ok(roles),
        }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.ingest, "ingest"), (self.index, "index"), (self.query, "query")];
        let names: Vec<&str> = all.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answers.
    Up,
    /// It has been silent for longer than a session lasts; what it keeps is expected back.
    Down,
    /// It is leaving: what it keeps moves to others, and new work goes elsewhere.
    Draining,
    /// It is not expected back: what it kept is kept by others now. It may return as it is.
    Gone,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

/// What the cluster knows of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Which node.
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// What it does.
    pub roles: Roles,
    /// Version of its program.
    pub version: String,
    /// Version of what nodes say to each other.
    pub protocol: u32,
    /// Which of its lives: one more each time it comes (back).
    pub epoch: u64,
    /// Whether it takes part.
    pub health: Health,
    /// Since when, nanoseconds UTC.
    pub since: i64,
}

impl NodeInfo {
    /// A node in its first life that has all roles and speaks the first protocol; where it is reached is
    /// not known.
    #[must_use]
    pub fn first(id: NodeId, health: Health) -> Self {
        Self {
            id,
            address: String::new(),
            http: String::new(),
            roles: Roles::default(),
            version: String::new(),
            protocol: 1,
            epoch: 1,
            health,
            since: 0,
        }
    }

    /// Whether new work may go to it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Whether what it keeps counts as kept.
    #[must_use]
    pub fn is_member(&self) -> bool {
        matches!(self.health, Health::Up | Health::Down)
    }

    /// Whether it answers as far as is known.
    #[must_use]
    pub fn answers(&self) -> bool {
        matches!(self.health, Health::Up | Health::Draining)
    }
}

/// A replica of a partition's log. Its number is drawn when its files are made and never used for
/// others, so that a replica that lost its files cannot be taken for one that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replica {
    /// The replica: its name in the partition's Raft group.
    pub id: u64,
    /// The node that keeps it.
    pub node: NodeId,
}

/// Who keeps a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The replicas that are wanted; the partition's leader makes the group so.
    pub replicas: Vec<Replica>,
    /// Whether the group has begun: only before that may replicas begin it.
    pub born: bool,
}

/// A dated right to do a job that is done once in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who has it.
    pub node: NodeId,
    /// Fencing token: grows with every grant. What comes with an older one is refused.
    pub token: u64,
}

/// The name of the lease of a partition's indexer.
#[must_use]
pub fn indexer_lease(partition: PartitionId) -> String {
    format!("indexer/{:04}", partition.0)
}

/// The name of the lease of retention by age and of sweeping a shared store.
pub const RETENTION_LEASE: &str = "retention";

/// The shape of a cluster as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The cluster's id; empty on a node of its own.
    pub cluster: String,
    /// All nodes ever known and not removed.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Who keeps which partition.
    pub partitions: BTreeMap<PartitionId, Placement>,
    /// Over how many partitions batches were spread, one count after the other, the one in force last.
    /// Empty where no partitions were ever added: over all there are.
    pub counts: Vec<u32>,
    /// Who has which lease.
    pub leases: BTreeMap<String, Lease>,
    /// Nodes that are to be left, also while they are down or have just come back.
    pub draining: BTreeSet<NodeId>,
    /// Nodes that were removed: what they say is not heard any more.
    pub forgotten: BTreeSet<NodeId>,
}

impl Topology {
    /// Over how many partitions batches are spread.
    #[must_use]
    pub fn partition_count(&self) -> u64 {
        self.counts.last().map_or(self.partitions.len() as u64, |count| u64::from(*count))
    }

    /// Who indexes a partition.
    #[must_use]
    pub fn indexer(&self, partition: PartitionId) -> Option<Lease> {
        self.leases.get(&indexer_lease(partition)).copied()
    }

    /// Whether what a node keeps counts as kept, and is to stay there.
    #[must_use]
    pub fn stays(&self, node: &NodeInfo) -> bool {
        node.is_member() && !self.draining.contains(&node.id)
    }

    /// Whether a node is being left: it keeps what it has until others have it.
    #[must_use]
    pub fn is_left(&self, node: &NodeInfo) -> bool {
        node.health == Health::Draining || node.is_member() && !self.stays(node)
    }

    /// The nodes that may keep splits.
    pub fn keepers(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(move |node| self.stays(node) && node.roles.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_ids_read_back() {
        assert_eq!(Roles::parse("ingest, query").unwrap().to_string(), "ingest,query");
        assert_eq!(Roles::parse("all"), Ok(Roles::default()));
        assert!(Roles::parse("ingset").unwrap_err().contains("ingset"));
        assert_eq!(NodeId::parse(&NodeId(77).to_string()), Some(NodeId(77)));
        assert_eq!(NodeId::parse("77"), None);
        assert_eq!(format!("{:?}", Some(NodeId(77))), "Some(000000000000004d)");
    }
}
