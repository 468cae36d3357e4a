//! The state of a cluster: `GET /api/v1/cluster`.

use serde::{Deserialize, Serialize};

/// A cluster as one of its nodes sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its id.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// Who leads the metadata group; nobody when it is empty.
    pub leader: String,
    /// How long the answering node has heard nothing of who decides, milliseconds.
    pub silent_ms: u64,
    /// Its nodes.
    pub nodes: Vec<ClusterNode>,
    /// Its partitions.
    pub partitions: Vec<ClusterPartition>,
    /// Splits of all indexes.
    pub splits: u64,
    /// Copies of splits that should be there, where no store is shared.
    pub copies_wanted: u64,
    /// Copies that are missing of those.
    pub copies_missing: u64,
    /// The URL of the store that all nodes share, where there is one.
    #[serde(default)]
    pub store: Option<String>,
    /// For how many seconds that has not answered the node that answers, where it does not.
    #[serde(default)]
    pub store_silent_s: Option<u64>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Its id.
    pub id: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where clients reach it.
    pub http: String,
    /// What it does.
    pub roles: String,
    /// `up`, `down`, `draining` or `gone`.
    pub health: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Which of its lives.
    pub epoch: u64,
    /// Version of its program.
    pub version: String,
    /// Version of the nodes' protocol that it speaks; earlier programs do not say it.
    #[serde(default)]
    pub protocol: u32,
    /// Whether it votes in the metadata group.
    pub votes: bool,
    /// Replicas of partitions that it keeps: those it should, and those that wait until their group
    /// has let them go.
    pub replicas: u64,
    /// Partitions that it indexes.
    pub indexing: u64,
    /// Splits that it keeps copies of.
    pub splits: u64,
    /// How long ago the leader heard of it, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms_ago: Option<u64>,
    /// By how much its clock is ahead of the leader's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// Whether its disk is short of room: it takes no records, and others lead and index what they can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short_of_room: bool,
    /// The nodes that it does not reach directly though they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
}

/// A partition of a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClusterPartition {
    /// Which one.
    pub partition: u32,
    /// The node that leads it; nobody when it is empty.
    pub leader: String,
    /// The node that indexes it; nobody when it is empty.
    pub indexer: String,
    /// The token of the indexer's lease.
    pub token: u64,
    /// The offset behind the last committed record, as far as is known here.
    pub committed: u64,
    /// The offset below which records are in splits.
    pub published: u64,
    /// Who keeps it.
    pub replicas: Vec<ClusterReplica>,
}

/// A replica of a partition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClusterReplica {
    /// Its node.
    pub node: String,
    /// Entries that it is behind its leader; unknown when its node does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
