//! How long nodes have been as they are, by this node's own clock, which goes on evenly: what other
//! nodes say of the time may be wrong by hours. Every node counts, so that whoever leads knows it.

use std::collections::BTreeMap;
use std::time::Duration;

use model::node::{Health, NodeId, Topology};

/// When each node was first seen as it is, by the clock's elapsed time.
#[derive(Debug, Default)]
pub(super) struct Ages(BTreeMap<NodeId, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    epoch: u64,
    health: Health,
    at: Duration,
}

impl Ages {
    /// Looks at the nodes as they are now.
    pub(super) fn look(&mut self, topology: &Topology, elapsed: Duration) {
        self.0.retain(|node, _| topology.nodes.contains_key(node));
        for node in topology.nodes.values() {
            let (epoch, health) = (node.epoch, node.health);
            let differs = |seen: &Seen| seen.epoch != epoch || seen.health != health;
            if self.0.get(&node.id).is_none_or(differs) {
                self.0.insert(node.id, Seen { epoch, health, at: elapsed });
            }
        }
    }

    /// How long each node has been so, nanoseconds.
    pub(super) fn at(&self, elapsed: Duration) -> BTreeMap<NodeId, i64> {
        let age = |seen: &Seen| elapsed.saturating_sub(seen.at).as_nanos();
        let age = |seen: &Seen| i64::try_from(age(seen)).unwrap_or(i64::MAX);
        self.0.iter().map(|(node, seen)| (*node, age(seen))).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::node::NodeInfo;

    use super::*;

    #[test]
    fn a_node_is_as_old_as_it_was_seen_unchanged() {
        let mut info = NodeInfo::first(NodeId(1), Health::Up);
        let (mut ages, mut topology) = (Ages::default(), Topology::default());
        let mut age = |info: &NodeInfo, ms: u64| {
            let elapsed = Duration::from_millis(ms);
            topology.nodes.insert(info.id, info.clone());
            ages.look(&topology, elapsed);
            ages.at(elapsed)[&info.id] / 1_000_000
        };
        assert_eq!((age(&info, 500), age(&info, 900)), (0, 400));
        // Whatever is said of the time.
        info.since = i64::MAX;
        assert_eq!(age(&info, 1_000), 500);
        info.health = Health::Down;
        assert_eq!((age(&info, 1_100), age(&info, 1_300)), (0, 200));
        (info.epoch, info.health) = (2, Health::Up);
        assert_eq!(age(&info, 1_400), 0);
    }
}
