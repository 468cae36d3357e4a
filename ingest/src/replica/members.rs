//! Who belongs to the group of a replica, and who leads it: as it knows itself, and for sure.

use bytes::Bytes;
use cluster::raft::{Group, Peer};
use model::node::NodeId;
use model::partition::Offset;
use openraft::{RaftMetrics, StoredMembership};

use super::{LEASE, Replica, SETTLED_CALL, SETTLED_WAIT};

type Metrics = RaftMetrics<u64, Peer>;

impl Replica {
    /// Whether its own log says that the group goes on without it. What it does not say may be
    /// true all the same: members that have gone are sent nothing.
    pub(crate) fn has_gone(&self) -> bool {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        decided(&metrics).is_some_and(|known| known.membership().get_node(&self.0.member).is_none())
    }

    /// The members of the group, those that learn with them, when this one leads it for sure and
    /// no change of them is on its way.
    pub(crate) async fn members_now(&self) -> Option<Vec<u64>> {
        let metrics = || self.0.group.raft().metrics().borrow().clone();
        let before = metrics();
        if before.current_leader != Some(self.0.member) || !self.leads_surely().await {
            return None;
        }
        let metrics = metrics();
        let known = decided(&metrics)?.membership();
        // Who leaves is a voter until the second entry of the change.
        let is_whole = known.get_joint_config().len() == 1;
        is_whole.then(|| known.nodes().map(|(member, _)| *member).collect())
    }

    /// An offset behind everything that was acknowledged before: the leader's, when it is sure
    /// that it leads.
    pub(super) async fn settled_now(&self) -> Option<Offset> {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        let leader = metrics.current_leader?;
        if leader == self.0.member {
            // Nobody can say where what was acknowledged ends before all of the log is read.
            let knows = self.leads_surely().await && self.0.group.has_applied_opened();
            return knows.then(|| self.0.applied.borrow().committed);
        }
        let peer = metrics.membership_config.membership().get_node(&leader)?.clone();
        let body = Bytes::copy_from_slice(&self.0.partition.0.to_le_bytes());
        let asked = self.0.peers.call(&peer.address, SETTLED_CALL, body, SETTLED_WAIT).await;
        asked.ok()?.as_ref().try_into().ok().map(|bytes| Offset(u64::from_le_bytes(bytes)))
    }

    /// Returns when another node has come to lead than the one that was asked for something.
    pub(crate) async fn follows_another(&self, asked: NodeId) {
        let before = self.leader();
        let mut server = self.0.group.raft().server_metrics();
        let replaced = server.wait_for(|server| {
            let membership = server.membership_config.membership();
            let peer = server.current_leader.and_then(|leader| membership.get_node(&leader));
            is_another(asked, before, peer.map(|peer| NodeId(peer.node)))
        });
        if replaced.await.is_err() {
            // It has ended and hears of nobody any more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether nobody else leads, where this one does as far as it knows.
    async fn leads_surely(&self) -> bool {
        leads_surely(&self.0.group).await
    }
}

/// Whether nobody else leads than this member of a group, where it does as far as it knows.
pub(super) async fn leads_surely(group: &Group) -> bool {
    // Nobody else can have been elected within the shortest election timeout.
    group.has_applied_own() && group.is_heard_within(LEASE)
        || group.raft().ensure_linearizable().await.is_ok()
}

/// The members that were decided; a change that is not committed may be taken back.
fn decided(metrics: &Metrics) -> Option<&StoredMembership<u64, Peer>> {
    let known = &*metrics.membership_config;
    (known.log_id().is_some() && *known.log_id() <= metrics.last_applied).then_some(known)
}

/// Whether another node than the one that was asked has come to lead. The leader of before may have
/// been replaced by the one that was asked, which is not known here yet.
fn is_another(asked: NodeId, before: Option<NodeId>, now: Option<NodeId>) -> bool {
    now.is_some() && now != Some(asked) && now != before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_until_another_node_leads() {
        let (asked, old, new) = (Some(NodeId(1)), Some(NodeId(2)), Some(NodeId(3)));
        let waits = [(asked, asked), (asked, None), (None, asked), (old, old), (old, asked)];
        for (before, now) in waits {
            assert!(!is_another(NodeId(1), before, now), "{before:?} {now:?}");
        }
        for (before, now) in [(asked, new), (None, new), (old, new)] {
            assert!(is_another(NodeId(1), before, now), "{before:?} {now:?}");
        }
    }
}
