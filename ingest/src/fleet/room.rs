//! A node whose disk is short of room takes nothing: it lets others lead what they can lead, until it has room
//! again.

use std::time::Duration;

use model::node::{NodeId, Topology};

use super::Fleet;
use crate::replica::Replica;

/// A disk has room again when such a part more is free than must stay free.
const SPARE_PART: u64 = 32;
/// How long nobody may lead a partition before a node that is short of room stands too: others that are
/// there are elected long before.
const STAND_BACK_MAX: Duration = Duration::from_secs(2);
/// Rounds between two tries of a node that is short, and that found nobody who leads in its place.
const SHORT_ROUNDS: u64 = 2;
/// The same of a node that is being left: its partitions go on meanwhile.
const LEFT_ROUNDS: u64 = 8;

impl Fleet {
    /// Looks whether the disk takes more, and tells it.
    pub(super) fn look_at_room(&self) {
        let free_min = self.0.parties.settings.disk_free_bytes_min;
        let Ok((free, _)) = platform::disk::space(&self.0.folder) else { return };
        let metadata = &self.0.metadata;
        let is_short = is_short(free, free_min, metadata.is_short());
        if !metadata.note_room(is_short) {
            return;
        }
        if is_short {
            tracing::error!(
                free,
                free_min,
                "this node's disk is short of room: it takes no records, and others lead and index what they can; make room"
            );
        } else {
            tracing::info!(free, "this node's disk has room again: it takes its share");
        }
    }

    /// Lets others lead a partition where this node is short of room, or is being left, and leaves it to
    /// them to stand for that.
    pub(super) async fn stand_back(&self, replica: &Replica, topology: &Topology, round: u64) {
        let metadata = &self.0.metadata;
        if metadata.goes() {
            // That is seen to by who gives all away.
            return;
        }
        let is_short = metadata.is_short();
        if !replica.leads() {
            let group = replica.group();
            group.may_stand(!is_short || group.silence() >= STAND_BACK_MAX);
            return;
        }
        let me = topology.nodes.get(&metadata.me());
        let is_left = me.is_some_and(|me| topology.is_left(me));
        let is_due = is_short && round.is_multiple_of(SHORT_ROUNDS)
            || is_left && round.is_multiple_of(LEFT_ROUNDS);
        if is_due && self.give_lead(replica, topology).await {
            tracing::info!(partition = %replica.id(), is_short, "another node leads it in this one's place");
        }
    }

    /// Lets some other node lead a partition, one that indexes it if there is one. Whether another one
    /// leads then.
    pub(super) async fn give_lead(&self, replica: &Replica, topology: &Topology) -> bool {
        for other in self.next_leaders(replica, topology) {
            if self.step_back(replica, other, topology).await {
                return true;
            }
        }
        false
    }

    /// The members that vote, on other nodes that are up and stay; who indexes the partition is the first.
    pub(super) fn next_leaders(
        &self,
        replica: &Replica,
        topology: &Topology,
    ) -> Vec<(u64, NodeId)> {
        let metrics = replica.group().raft().metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let others = membership.voter_ids().filter(|id| *id != replica.member());
        let others = others.filter_map(|id| Some((id, NodeId(membership.get_node(&id)?.node))));
        let mut others: Vec<(u64, NodeId)> =
            others.filter(|(_, node)| self.stays(*node, topology)).collect();
        let indexer = topology.indexer(replica.id()).map(|lease| lease.node);
        others.sort_by_key(|(_, node)| Some(*node) != indexer);
        others
    }
}

/// Whether a disk is short of which so many bytes are free, and so many must stay free.
fn is_short(free: u64, free_min: u64, was_short: bool) -> bool {
    let spare = if was_short { free_min / SPARE_PART } else { 0 };
    free < free_min.saturating_add(spare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_short_when_nothing_is_taken_and_until_there_is_some_more() {
        let found = [(320, false), (319, false), (320, true), (329, true), (330, true)];
        let found = found.map(|(free, was_short)| is_short(free, 320, was_short));
        assert_eq!(found, [false, true, true, true, false]);
        // Who wants nothing to stay free is never short.
        assert!(!is_short(0, 0, false) && !is_short(0, 0, true));
    }
}
