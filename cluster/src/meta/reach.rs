//! Who is heard where, and which nodes this one does not reach. What it asks of such a node goes through
//! another one that reaches it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use model::node::{Health, NodeId, NodeInfo, Topology};
use platform::shutdown::Shutdown;

use super::join::{Welcome, text};
use super::{MetaError, Metadata};
use crate::catalog::{Catalog, Joining};
use crate::peer::{Detour, PeerServer, Peers};

/// The name of the call that asks who is there.
const WHO_CALL: &str = "who";
/// How long who is asked may take to say it.
const WHO_WAIT: Duration = Duration::from_secs(1);
/// How often a node looks which others it reaches.
const LOOK_INTERVAL: Duration = Duration::from_millis(700);
/// The same while one of them did not answer.
const MISSED_INTERVAL: Duration = Duration::from_millis(200);
/// How long a node may take to be reached: another way must be there before it is missed by its cluster.
const REACH_WAIT: Duration = Duration::from_millis(400);
/// After how many looks in vain another way is looked for.
const MISSED_MAX: u32 = 2;
/// After how many a node counts as not reached where there is no other way: one that died counts as down
/// before.
const SLOW_MAX: u32 = 30;
/// Nodes that are tried one after the other as ways to another one.
const WAYS_TRIED: usize = 3;

/// How often in vain each node was looked for, since it was reached last.
#[derive(Debug, Default)]
struct Misses(BTreeMap<NodeId, u32>);

impl Misses {
    /// Who was reached and who was not; others are not looked for any more.
    fn note(&mut self, found: &[(NodeId, bool)]) {
        let before = std::mem::take(&mut self.0);
        let missed = found.iter().filter(|(_, is_reached)| !is_reached);
        let count = |node: &NodeId| before.get(node).copied().unwrap_or(0).saturating_add(1);
        self.0 = missed.map(|(node, _)| (*node, count(node))).collect();
    }

    /// Those that were missed so often.
    fn at_least(&self, count: u32) -> BTreeSet<NodeId> {
        let missed = self.0.iter().filter(|(_, missed)| **missed >= count);
        missed.map(|(node, _)| *node).collect()
    }

    fn pause(&self) -> Duration {
        if self.0.is_empty() { LOOK_INTERVAL } else { MISSED_INTERVAL }
    }
}

impl Metadata {
    /// Says who is here, and hands on what others do not reach.
    pub(super) fn answer_who(&self, server: &PeerServer) {
        let me = self.0.me;
        server.on_knock(WHO_CALL, move |_| async move { text(&me) });
        let topology = self.0.catalog.topology();
        server.hand_on(move |node| {
            topology.borrow().nodes.get(&node).map(|node| node.address.clone())
        });
    }

    /// The nodes that this one does not reach though they are there, whether by another way or not.
    #[must_use]
    pub fn unreached(&self) -> BTreeSet<NodeId> {
        self.0.unreached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks which nodes are reached, until the shutdown.
    pub(super) async fn look_for_ways(self, shutdown: Shutdown) {
        let mut misses = Misses::default();
        loop {
            tokio::select! {
                () = self.0.clock.sleep(misses.pause()) => {}
                () = shutdown.wait() => return,
            }
            let topology = self.0.catalog.topology().borrow().clone();
            let is_other =
                |node: &&NodeInfo| node.id != self.0.me && node.answers() && !self.is_going(node);
            let others: Vec<NodeInfo> = topology.nodes.values().filter(is_other).cloned().collect();
            let looks = others.iter().map(|node| self.reaches(node));
            misses.note(&join_all(looks).await);
            let missed = misses.at_least(MISSED_MAX);
            let is_missed = |node: &&NodeInfo| missed.contains(&node.id);
            let ways =
                others.iter().filter(is_missed).map(|node| self.way_to(node, &others, &misses));
            let ways: HashMap<String, Detour> =
                join_all(ways).await.into_iter().flatten().collect();
            let mut unreached = misses.at_least(SLOW_MAX);
            unreached.extend(ways.values().map(|way| way.node));
            self.note_unreached(&unreached);
            self.0.peers.go_through(ways);
        }
    }

    async fn reaches(&self, node: &NodeInfo) -> (NodeId, bool) {
        let (peers, address) = (&self.0.peers, &node.address);
        let said = peers.knock(address, WHO_CALL, Bytes::new(), REACH_WAIT).await;
        // One that refuses is reached; why it does so is not asked here.
        (node.id, said.map_or_else(|error| !error.is_ambiguous(), |_| true))
    }

    /// A way to a node through another one that is reached; the one that it went last is tried first.
    async fn way_to(
        &self,
        node: &NodeInfo,
        others: &[NodeInfo],
        misses: &Misses,
    ) -> Option<(String, Detour)> {
        let known = self.0.peers.detour(&node.address);
        let is_known =
            |other: &&NodeInfo| known.as_ref().is_some_and(|known| known.through == other.address);
        let mut ways: Vec<&NodeInfo> =
            others.iter().filter(|other| !misses.0.contains_key(&other.id)).collect();
        ways.sort_by_key(|other| !is_known(other));
        for other in ways.into_iter().take(WAYS_TRIED) {
            let detour = Detour { node: node.id, through: other.address.clone() };
            let asked = (node.address.as_str(), WHO_CALL);
            let said = self.0.peers.call_through(&detour, asked, Bytes::new(), REACH_WAIT).await;
            if said.is_ok_and(|who| is_who(&who, node.id)) {
                return Some((node.address.clone(), detour));
            }
        }
        // It may have been slow once: the way stays as long as there is anybody on it.
        let is_there = |known: &Detour| {
            let mut on_it = others.iter().filter(|other| other.address == known.through);
            on_it.any(|other| !misses.0.contains_key(&other.id))
        };
        known.filter(is_there).map(|known| (node.address.clone(), known))
    }

    fn note_unreached(&self, unreached: &BTreeSet<NodeId>) {
        let mut known = self.0.unreached.lock().unwrap_or_else(PoisonError::into_inner);
        for node in unreached.difference(&known) {
            tracing::warn!(%node, "this node does not reach another one that is there: what is asked of it goes through a third one, if that reaches both");
        }
        for node in known.difference(unreached) {
            tracing::info!(%node, "this node reaches the other one again, or it is not there");
        }
        known.clone_from(unreached);
    }

    /// Refuses to be the second process of this node: of a data directory that was copied, both
    /// would vote and acknowledge as one.
    pub(super) async fn is_only_one(
        catalog: &Catalog,
        peers: &Peers,
        me: NodeId,
        address: &str,
    ) -> Result<(), MetaError> {
        let known = catalog.topology().borrow().nodes.get(&me).map(|node| node.address.clone());
        let Some(before) = known.filter(|before| before != address) else { return Ok(()) };
        let asked = peers.call(&before, WHO_CALL, Bytes::new(), WHO_WAIT).await;
        match asked.ok().and_then(|body| serde_json::from_slice::<NodeId>(&body).ok()) {
            Some(other) if other == me => Err(MetaError::Twice { node: me, address: before }),
            _ => Ok(()),
        }
    }

    /// Why a node does not come in whose address may be another's: whoever registers there takes the
    /// place of who was there before.
    pub(super) async fn doubt(&self, joining: &Joining, topology: &Topology) -> Option<Welcome> {
        let (id, address) = (joining.id, &joining.address);
        let asked = self.0.peers.knock(address, WHO_CALL, Bytes::new(), WHO_WAIT).await;
        let heard = asked.ok().and_then(|body| serde_json::from_slice::<NodeId>(&body).ok());
        match heard {
            Some(heard) if heard == id => None,
            Some(heard) if topology.forgotten.contains(&heard) => Some(Welcome::NotNow(format!(
                "node {heard}, which was removed, is still heard at {address}: it is stopping, or is to be stopped"
            ))),
            Some(heard) => {
                let words = format!(
                    "node {heard} is heard at {address}, and not node {id}: give the address of this node with --advertise"
                );
                // One of ours that moves may be reached there a little later.
                let is_ours = topology.nodes.contains_key(&id);
                Some(if is_ours { Welcome::NotNow(words) } else { Welcome::No(words) })
            }
            None => {
                let mut others = topology.nodes.values().filter(|node| node.id != id);
                let before =
                    others.find(|node| node.address == *address && node.health != Health::Gone)?;
                Some(Welcome::NotNow(format!(
                    "nobody is heard at {address}, where node {} was",
                    before.id
                )))
            }
        }
    }
}

/// Whether that node says who it is.
fn is_who(said: &[u8], node: NodeId) -> bool {
    serde_json::from_slice::<NodeId>(said).is_ok_and(|said| said == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_way_is_looked_for_when_a_node_did_not_answer_twice_in_a_row() {
        let (mut misses, [one, other]) = (Misses::default(), [1, 2].map(NodeId));
        assert_eq!(misses.pause(), LOOK_INTERVAL);
        misses.note(&[(one, false), (other, true)]);
        assert!(misses.at_least(MISSED_MAX).is_empty());
        assert_eq!(misses.pause(), MISSED_INTERVAL);
        misses.note(&[(one, true), (other, false)]);
        assert!(misses.at_least(MISSED_MAX).is_empty());
        misses.note(&[(one, false), (other, false)]);
        assert_eq!(misses.at_least(MISSED_MAX), [other].into());
        misses.note(&[(one, false), (other, false)]);
        assert_eq!(misses.at_least(MISSED_MAX), [one, other].into());
        // One that is down is not looked for.
        misses.note(&[(one, false)]);
        assert_eq!(misses.at_least(MISSED_MAX), [one].into());
        misses.note(&[(one, true)]);
        assert!(misses.at_least(1).is_empty() && misses.pause() == LOOK_INTERVAL);
    }
}
