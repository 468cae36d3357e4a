//! What the leader of the metadata group does again and again: looks who is there, decides what
//! follows, and keeps the group's voters and log in order.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use model::node::{Health, NodeId, NodeInfo, Topology};
use openraft::{ChangeMembers, ServerState};
use platform::shutdown::Shutdown;

use super::ages::Ages;
use super::controller::{SESSION_NS, Sight, plan, voters};
use super::join::ELECT_CALL;
use super::{LOG_BYTES_MAX, Metadata};
use crate::catalog::{CatalogError, Order};
use crate::raft::{Peer, is_half_done};

/// The fact that says how many partitions the queue has.
pub(super) const PARTITIONS: &str = crate::catalog::WANTED;
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// How long who leads anew waits to hear of nodes: each says that it is there every 0.7 s, and finds out
/// in a second that the leader before does not answer.
const FRESH_WAIT: Duration = Duration::from_millis(2_500);
/// By how much longer than it looks away a node may be held up: one that was stopped for longer than
/// that has heard nobody meanwhile, and is not right to take that for their silence.
const HELD_UP_MAX: Duration = Duration::from_secs(1);
/// Entries that a member may be behind to become a voter.
const VOTER_LAG_MAX: u64 = 64;
/// How long a voter is asked to lead.
const ELECT_WAIT: Duration = Duration::from_secs(1);
/// How long a leader that goes waits for another one, and does not stand for election itself.
const STEP_BACK_WAIT: Duration = Duration::from_secs(3);

impl Metadata {
    /// Until the shutdown.
    pub(super) async fn lead(self, shutdown: Shutdown) {
        let (mut leading_since, mut ages) = (None, Ages::default());
        let mut told = None;
        loop {
            let before = self.0.clock.elapsed();
            tokio::select! {
                () = self.0.clock.sleep(LOOK_INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            if was_held_up(self.0.clock.elapsed().saturating_sub(before)) {
                leading_since = None;
            }
            self.cut_log().await;
            ages.look(&self.0.catalog.topology().borrow(), self.0.clock.elapsed());
            let state = self.0.group.raft().metrics().borrow().state;
            if state != ServerState::Leader {
                leading_since = None;
                continue;
            }
            let since = *leading_since.get_or_insert_with(|| self.0.clock.elapsed());
            let open = self.look(since, &ages).await.err().map(|error| error.to_string());
            // Said once as long as it is the same.
            if let Some(error) = open.as_ref().filter(|_| open != told && !self.goes()) {
                tracing::warn!(error, "not decided; looking again");
            }
            told = open;
        }
    }

    /// The catalog is the log's snapshot: the log is cut when it is long.
    async fn cut_log(&self) {
        if self.0.store.bytes() > LOG_BYTES_MAX
            && let Err(error) = self.0.group.raft().trigger().snapshot().await
        {
            tracing::warn!(%error, "the metadata's log cannot be cut");
        }
    }

    /// Decides what follows from what it sees. Another one that leads by now has seen more: it is not
    /// asked to decide the same.
    async fn look(&self, leading_since: Duration, ages: &Ages) -> Result<(), CatalogError> {
        let topology = self.0.catalog.topology().borrow().clone();
        let sight = self.sight(&topology, leading_since, ages);
        for command in plan(&topology, &sight) {
            let order = Order::from(command);
            self.decide_leading(&order).await?;
            tracing::info!(command = ?order.command, "decided");
        }
        self.keep_members(&topology).await;
        Ok(())
    }

    fn sight(&self, topology: &Topology, leading_since: Duration, ages: &Ages) -> Sight {
        let elapsed = self.0.clock.elapsed();
        let session = Duration::from_nanos(SESSION_NS.unsigned_abs());
        // Who leads anew has heard of nobody yet.
        let fresh = elapsed.saturating_sub(leading_since) < FRESH_WAIT;
        let short = self.short_within(session);
        let heard = self.0.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let has_said = |node: &NodeId| {
            heard.get(node).is_some_and(|(at, _)| elapsed.saturating_sub(*at) < session)
        };
        let is_heard = |node: &NodeId| *node == self.0.me || fresh || has_said(node);
        let is_up = |node: &NodeId| topology.nodes.get(node).is_some_and(NodeInfo::is_up);
        let mut ages = ages.at(elapsed);
        // Nor does it know who has room: work moves to nobody who has not said so yet.
        ages.retain(|node, _| !fresh || !is_up(node) || has_said(node));
        Sight {
            now: self.0.clock.now().0,
            ages,
            heard: topology.nodes.keys().copied().filter(is_heard).collect(),
            short,
            partition_count: self.partition_count(),
            gone_after: i64::try_from(self.0.settings.gone_after.as_nanos()).unwrap_or(i64::MAX),
            seed: platform::random::u64(),
        }
    }

    /// Makes learners of nodes that came, voters of those that should vote, and lets go who was
    /// forgotten.
    async fn keep_members(&self, topology: &Topology) {
        let (group, clock) = (&self.0.group, &self.0.clock);
        let metrics = group.raft().metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        for node in topology.nodes.values().filter(|node| membership.get_node(&node.id.0).is_none())
        {
            let peer = Peer { node: node.id.0, address: node.address.clone() };
            if let Err(error) = group.learn(clock, node.id.0, peer).await {
                tracing::warn!(%error, node = %node.id, "not a member yet");
            }
        }
        let voting: BTreeSet<NodeId> = membership.voter_ids().map(NodeId).collect();
        let mut wanted = voters(topology, &voting);
        let last = metrics.last_log_index.unwrap_or(0);
        let behind = |node: &NodeId| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&node.0).copied());
            let matched = matched.flatten().map_or(0, |id| id.index);
            *node != self.0.me && last.saturating_sub(matched) > VOTER_LAG_MAX
        };
        // Who is too far behind does not vote yet; who votes already goes on.
        wanted.retain(|node| voting.contains(node) || !behind(node));
        if !wanted.contains(&self.0.me) {
            self.make_way(topology, &wanted, &voting).await;
            return;
        }
        // Never fewer by one step than a majority of both needs.
        if (wanted != voting || is_half_done(membership)) && wanted.len() % 2 == 1 {
            tracing::info!(?wanted, "changing who votes");
            let ids: BTreeSet<u64> = wanted.iter().map(|node| node.0).collect();
            if let Err(error) = group.change(clock, ids, true).await {
                tracing::warn!(%error, "the voters stay");
            }
            return;
        }
        self.let_go(topology).await;
    }

    /// Lets others decide. A leader does not take itself out: somebody else leads first, who votes
    /// for that.
    async fn make_way(
        &self,
        topology: &Topology,
        wanted: &BTreeSet<NodeId>,
        voting: &BTreeSet<NodeId>,
    ) {
        if !wanted.is_disjoint(voting) {
            self.hand_over(topology, wanted).await;
        } else if !wanted.is_empty() {
            let both: BTreeSet<u64> =
                wanted.iter().chain([&self.0.me]).map(|node| node.0).collect();
            if let Err(error) = self.0.group.change(&self.0.clock, both, true).await {
                tracing::warn!(%error, "nobody who stays votes yet");
            }
        }
    }

    /// Who was removed from the cluster is no member of the group any more.
    async fn let_go(&self, topology: &Topology) {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let is_known = |id: &u64| topology.nodes.contains_key(&NodeId(*id)) || *id == self.0.me.0;
        let members = membership.nodes().map(|(id, _)| *id);
        let forgotten: BTreeSet<u64> = members.filter(|id| !is_known(id)).collect();
        let votes = |id: &u64| membership.voter_ids().any(|voter| voter == *id);
        if forgotten.is_empty() || forgotten.iter().any(votes) {
            return;
        }
        let change = ChangeMembers::RemoveNodes(forgotten);
        if let Err(error) = self.0.group.change(&self.0.clock, change, false).await {
            tracing::warn!(%error, "who was forgotten stays a member");
        }
    }

    /// Asks another voter to lead.
    pub(super) async fn hand_over(&self, topology: &Topology, wanted: &BTreeSet<NodeId>) {
        for node in wanted {
            let is_other = |one: &&NodeInfo| {
                one.health == Health::Up && one.id != self.0.me && !self.is_going(one)
            };
            let Some(info) = topology.nodes.get(node).filter(is_other) else {
                continue;
            };
            let asked = self.0.peers.call(&info.address, ELECT_CALL, Bytes::new(), ELECT_WAIT);
            let asked = async { asked.await.is_ok() };
            if self.0.group.step_back(node.0, asked, STEP_BACK_WAIT).await {
                return;
            }
        }
    }
}

/// Whether a node that meant to look away for a moment was stopped for longer.
fn was_held_up(away: Duration) -> bool {
    away > LOOK_INTERVAL + HELD_UP_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_stopped_for_seconds_knows_that_it_heard_nobody() {
        let held_up = [300, 900, 1_400, 6_000].map(|ms| was_held_up(Duration::from_millis(ms)));
        assert_eq!(held_up, [false, false, true, true]);
    }
}
