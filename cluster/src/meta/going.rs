//! Nodes that are about to stop, and say so to each other: nothing is given to them any more, and who
//! stops as well does not wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use model::node::{Health, NodeId, NodeInfo, Topology};
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::join::text;
use crate::catalog::{Command, Order};
use crate::peer::PeerServer;

/// The name of the call by which a node says that it is about to stop.
const GOING_CALL: &str = "going";
/// How long others may take to hear it.
const GOING_WAIT: Duration = Duration::from_millis(300);
/// How long it is believed: a node that stops is gone by then.
const GOING_MAX: Duration = Duration::from_secs(30);
/// How long the leases of a node that goes may take to be given to others.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// A node that is about to stop, and in which of its lives.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Going {
    node: NodeId,
    epoch: u64,
}

/// Who is about to stop, as far as this node was told, and when it was, by the clock's elapsed time.
#[derive(Debug, Clone, Default)]
pub(super) struct Goers(BTreeMap<NodeId, (u64, Duration)>);

impl Goers {
    fn note(&mut self, going: Going, now: Duration) {
        self.0.retain(|_, (_, at)| now.saturating_sub(*at) < GOING_MAX);
        self.0.insert(going.node, (going.epoch, now));
    }

    /// Whether a node is about to stop. One that was started again has another life.
    fn has(&self, node: &NodeInfo, now: Duration) -> bool {
        let known = self.0.get(&node.id);
        known.is_some_and(|(epoch, at)| *epoch == node.epoch && now.saturating_sub(*at) < GOING_MAX)
    }

    /// Whether nobody who answers stays but perhaps this node.
    fn are_all_others(&self, topology: &Topology, me: NodeId, now: Duration) -> bool {
        let mut others = topology.nodes.values().filter(|node| node.id != me && node.answers());
        others.all(|node| self.has(node, now))
    }

    /// Whether those of the voters that answer and stay are no majority, as far as is known. A node is
    /// there to itself, also when it was told of it that it goes.
    fn leave_few(&self, voters: &[NodeId], me: NodeId, topology: &Topology, now: Duration) -> bool {
        let stays = |node: &NodeInfo| node.answers() && !self.has(node, now);
        let is_there =
            |node: &&NodeId| **node == me || topology.nodes.get(*node).is_some_and(stays);
        2 * voters.iter().filter(is_there).count() <= voters.len()
    }
}

impl Metadata {
    /// Hears who is about to stop.
    pub(super) fn answer_going(&self, server: &PeerServer) {
        let metadata = self.clone();
        server.on_call(GOING_CALL, move |body| {
            let metadata = metadata.clone();
            async move {
                let going = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                metadata.note_going(going);
                Ok(Bytes::new())
            }
        });
    }

    fn note_going(&self, going: Going) {
        let now = self.0.clock.elapsed();
        self.0.going.send_modify(|goers| goers.note(going, now));
    }

    /// Says to the other nodes that this one is about to stop. Those that do not hear it, or do not
    /// know what is said, find out when it has.
    pub async fn say_going(&self) {
        let going = Going { node: self.0.me, epoch: self.epoch() };
        self.note_going(going);
        let Ok(body) = text(&going) else { return };
        let topology = self.0.catalog.topology().borrow().clone();
        let others = topology.nodes.values().filter(|node| node.id != self.0.me && node.answers());
        let told = others
            .map(|node| self.0.peers.call(&node.address, GOING_CALL, body.clone(), GOING_WAIT));
        drop(futures::future::join_all(told).await);
    }

    /// Whether a node has said that it is about to stop: work is not given to it.
    #[must_use]
    pub fn is_going(&self, node: &NodeInfo) -> bool {
        self.0.going.borrow().has(node, self.0.clock.elapsed())
    }

    /// Whether this node itself is about to stop: it takes no work, and what does not succeed any more
    /// is no news.
    #[must_use]
    pub fn goes(&self) -> bool {
        self.0.going.borrow().0.contains_key(&self.0.me)
    }

    /// Returns when all other nodes that answer are about to stop.
    pub async fn all_others_go(&self) {
        let me = self.0.me;
        self.until(|goers, topology, now| goers.are_all_others(topology, me, now)).await;
    }

    /// Whether this node is about to stop and nothing is decided any more: nobody waits for it.
    pub(super) fn is_left_alone(&self) -> bool {
        let (topology, now) = (self.0.catalog.topology().borrow().clone(), self.0.clock.elapsed());
        let goers = self.0.going.borrow();
        goers.0.contains_key(&self.0.me)
            && goers.leave_few(&self.voters(), self.0.me, &topology, now)
    }

    /// Returns when so many of those that vote are known to be away, or about to stop, that nothing is
    /// decided.
    async fn left_alone(&self) {
        self.until(|goers, topology, now| {
            goers.leave_few(&self.voters(), self.0.me, topology, now)
        })
        .await;
    }

    /// Returns when it is so, of who is about to stop and who is there.
    async fn until(&self, is_so: impl Fn(&Goers, &Topology, Duration) -> bool) {
        let (mut going, mut topology) = (self.0.going.subscribe(), self.0.catalog.topology());
        loop {
            let (goers, nodes) =
                (going.borrow_and_update().clone(), topology.borrow_and_update().clone());
            if is_so(&goers, &nodes, self.0.clock.elapsed()) {
                return;
            }
            tokio::select! { _ = going.changed() => {}, _ = topology.changed() => {} }
        }
    }

    /// Says that this node goes: what it does is given to others before it is missed.
    pub async fn leave(&self) {
        self.0.leaving.store(true, Ordering::Relaxed);
        tokio::select! {
            () = self.give_away() => {}
            () = self.left_alone() => {
                tracing::info!("most of those that vote have gone, or go too; nobody is told that this node goes");
            }
        }
    }

    async fn give_away(&self) {
        let (node, epoch) = (self.0.me, self.epoch());
        let (health, since) = (Health::Down, self.0.clock.now().0);
        let order = Order::from(Command::SetHealth { node, epoch, health, since });
        if let Err(error) = self.decide(&order).await {
            if !self.is_left_alone() {
                tracing::warn!(%error, "nobody was told that this node goes");
            }
            return;
        }
        let mut topology = self.0.catalog.topology();
        let moved =
            topology.wait_for(|topology| topology.leases.values().all(|lease| lease.node != node));
        let moved = self.0.clock.timeout(LEAVE_WAIT, moved).await.is_some();
        tracing::info!(moved, "this node's work is given to others");
        if self.leader() == Some(node) {
            let topology = self.0.catalog.topology().borrow().clone();
            let voters: BTreeSet<NodeId> = self.voters().into_iter().collect();
            self.hand_over(&topology, &voters).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::alone;
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    /// Three nodes in their first lives, of which some are down.
    fn three(away: &[u64]) -> Topology {
        let node = |id: u64| {
            let health = if away.contains(&id) { Health::Down } else { Health::Up };
            (NodeId(id), NodeInfo::first(NodeId(id), health))
        };
        let mut topology = Topology::default();
        topology.nodes.extend((1..=3).map(node));
        topology
    }

    fn goers(going: &[u64]) -> Goers {
        let mut goers = Goers::default();
        going.iter().for_each(|id| goers.note(Going { node: NodeId(*id), epoch: 1 }, NOW));
        goers
    }

    #[test]
    fn the_last_of_those_that_vote_waits_for_nobody_when_it_goes() {
        let check = |me: u64, voters: &[u64], (away, going): (&[u64], &[u64]), expected: bool| {
            let voters: Vec<NodeId> = voters.iter().copied().map(NodeId).collect();
            let found = goers(going).leave_few(&voters, NodeId(me), &three(away), NOW);
            assert_eq!(found, expected, "{me} of {voters:?} without {away:?}, {going:?}");
        };
        check(3, &[1, 2, 3], (&[], &[]), false);
        check(3, &[1, 2, 3], (&[1], &[]), false);
        check(3, &[1, 2, 3], (&[1, 2], &[]), true);
        // That it goes itself is decided, and there is still who decides.
        check(3, &[1, 2, 3], (&[1, 3], &[3]), false);
        // Those that are still there and go too decide nothing that lasts.
        check(3, &[1, 2, 3], (&[], &[2, 3]), false);
        check(3, &[1, 2, 3], (&[1], &[2, 3]), true);
        check(3, &[1, 2, 3], (&[], &[1, 2, 3]), true);
        // One of two votes: the other one has nobody to tell when that is away.
        check(1, &[1], (&[2], &[]), false);
        check(2, &[1], (&[1], &[]), true);
        check(2, &[1], (&[], &[1]), true);
    }

    #[test]
    fn who_was_started_again_is_not_about_to_stop() {
        let (goers, mut topology) = (goers(&[1, 2]), three(&[]));
        let are_all = |topology: &Topology, me: u64, now: Duration| {
            goers.are_all_others(topology, NodeId(me), now)
        };
        assert!(are_all(&topology, 3, NOW) && !are_all(&topology, 1, NOW));
        // Nor is who said so long ago.
        assert!(!are_all(&topology, 3, NOW + GOING_MAX));
        topology
            .nodes
            .insert(NodeId(2), NodeInfo { epoch: 2, ..topology.nodes[&NodeId(2)].clone() });
        assert!(!are_all(&topology, 3, NOW));
        // Of those that are away nobody waits for anything.
        assert!(are_all(&three(&[2]), 3, NOW));
        assert!(Goers::default().are_all_others(&three(&[1, 2]), NodeId(3), NOW));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_nobody_to_give_its_work_to_goes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = alone(folder.path()).await;
        assert!(!metadata.goes());
        metadata.say_going().await;
        assert!(metadata.goes());
        metadata.all_others_go().await;
        assert!(!metadata.is_left_alone(), "it decides by itself");
        metadata.stop().await;
    }
}
