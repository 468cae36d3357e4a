//! How the cluster is, as Elasticsearch says it: from the nodes and placements that this node knows.

use std::collections::BTreeSet;

use model::node::{Health, NodeId, Topology};
use model::time::{SECOND, Timestamp};
use serde_json::{Value, json};

/// The short names of the columns of `_cat/health`, in their order.
pub(super) const SHORT_NAMES: [&str; 14] =
    ["t", "ts", "cl", "st", "nt", "nd", "sh", "p", "r", "i", "u", "pt", "mtwt", "asp"];

/// The health of a cluster, or of a node of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outlook {
    /// `green`: every replica is there. `yellow`: some are not. `red`: of some partition so few are
    /// there that nothing can be written to it.
    pub(super) status: &'static str,
    /// Nodes that are there.
    pub(super) nodes: usize,
    /// Partitions that can be written to, and replicas that are there, or not.
    partitions: usize,
    replicas: usize,
    replicas_missing: usize,
}

impl Outlook {
    pub(super) fn of(topology: &Topology) -> Self {
        if topology.nodes.is_empty() {
            let (partitions, replicas) = (1, 1);
            return Self { status: "green", nodes: 1, partitions, replicas, replicas_missing: 0 };
        }
        let there = topology.nodes.values().filter(|node| node.answers());
        let there: BTreeSet<NodeId> = there.map(|node| node.id).collect();
        let mut outlook = Self {
            status: "green",
            nodes: there.len(),
            partitions: 0,
            replicas: 0,
            replicas_missing: 0,
        };
        let mut is_red = false;
        for placement in topology.partitions.values() {
            let wanted = placement.replicas.len();
            let placed = placement.replicas.iter().filter(|one| there.contains(&one.node)).count();
            outlook.replicas += placed;
            outlook.replicas_missing += wanted - placed;
            match 2 * placed > wanted {
                true => outlook.partitions += 1,
                false => is_red = true,
            }
        }
        let is_away = topology.nodes.values().any(|node| node.health == Health::Down);
        outlook.status = match is_red {
            true => "red",
            false if is_away || outlook.replicas_missing > 0 => "yellow",
            false => "green",
        };
        outlook
    }

    /// Replicas that are there, of all that should be.
    fn percent(&self) -> f64 {
        match self.replicas + self.replicas_missing {
            0 => 100.0,
            wanted => self.replicas as f64 * 100.0 / wanted as f64,
        }
    }

    /// The answer of `_cluster/health`.
    pub(super) fn shown(&self) -> Value {
        json!({
            "cluster_name": "sawlog",
            "status": self.status,
            "timed_out": false,
            "number_of_nodes": self.nodes,
            "number_of_data_nodes": self.nodes,
            "active_primary_shards": self.partitions,
            "active_shards": self.replicas,
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": self.replicas_missing,
            "delayed_unassigned_shards": 0,
            "number_of_pending_tasks": 0,
            "number_of_in_flight_fetch": 0,
            "task_max_waiting_in_queue_millis": 0,
            "active_shards_percent_as_number": self.percent(),
        })
    }

    /// The columns of `_cat/health`, and what stands in them at this time.
    pub(super) fn cells(&self, now: Timestamp) -> [(&'static str, String); 14] {
        let Self { status, nodes, partitions, replicas, replicas_missing } = self;
        let seconds = now.0.div_euclid(SECOND);
        let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
        [
            ("epoch", seconds.to_string()),
            ("timestamp", format!("{hour:02}:{minute:02}:{:02}", seconds % 60)),
            ("cluster", "sawlog".to_owned()),
            ("status", (*status).to_owned()),
            ("node.total", nodes.to_string()),
            ("node.data", nodes.to_string()),
            ("shards", replicas.to_string()),
            ("pri", partitions.to_string()),
            ("relo", "0".to_owned()),
            ("init", "0".to_owned()),
            ("unassign", replicas_missing.to_string()),
            ("pending_tasks", "0".to_owned()),
            ("max_task_wait_time", "-".to_owned()),
            ("active_shards_percent", format!("{:.1}%", self.percent())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::node::{NodeInfo, Placement, Replica};
    use model::partition::PartitionId;

    use super::*;

    /// A partition on three nodes of this health.
    fn three(health: [Health; 3]) -> Topology {
        let node = |(at, health): (usize, &Health)| {
            let id = NodeId(at as u64 + 1);
            (id, NodeInfo::first(id, *health))
        };
        let nodes: BTreeMap<NodeId, NodeInfo> = health.iter().enumerate().map(node).collect();
        let replica = |id: &NodeId| Replica { node: *id, id: id.0 };
        let placement = Placement { replicas: nodes.keys().map(replica).collect(), born: true };
        let partitions = [(PartitionId(0), placement)].into();
        Topology { cluster: "c".to_owned(), nodes, partitions, ..Topology::default() }
    }

    #[test]
    fn a_cluster_is_as_well_as_its_replicas() {
        use Health::{Down, Draining, Gone, Up};
        for (health, status, nodes) in [
            ([Up, Up, Up], "green", 3),
            ([Up, Draining, Up], "green", 3),
            ([Up, Up, Down], "yellow", 2),
            ([Up, Down, Gone], "red", 1),
        ] {
            let outlook = Outlook::of(&three(health));
            assert_eq!((outlook.status, outlook.nodes), (status, nodes), "{health:?}");
        }
        let alone = Outlook::of(&Topology::default());
        assert_eq!((alone.status, alone.nodes, alone.percent()), ("green", 1, 100.0));
        let cells = Outlook::of(&three([Up, Up, Down])).cells(Timestamp(3_661 * SECOND));
        let line = cells.map(|(_, cell)| cell).join(" ");
        assert_eq!(line, "3661 01:01:01 sawlog yellow 2 2 2 1 0 0 1 0 - 66.7%");
    }
}
