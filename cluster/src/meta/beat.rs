//! Saying that one is there, and hearing who is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use model::node::NodeId;
use model::time::Timestamp;
use platform::shutdown::Shutdown;
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::join::{CALL_WAIT, text};
use crate::peer::{PeerError, PeerServer, REMOVED};

/// The name of the call by which a node says that it is there.
const BEAT_CALL: &str = "beat";
/// The name of the call that asks the leader what it heard.
const HEARD_CALL: &str = "heard";
/// How often a node says that it is there.
const BEAT_INTERVAL: Duration = Duration::from_millis(700);
/// How long a node waits for the leader to hear that it is there.
const BEAT_WAIT: Duration = Duration::from_secs(1);
/// How long ago a majority may have answered for a leader to be sure of itself.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// What a node says of itself, again and again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives.
    pub epoch: u64,
    /// Its clock, nanoseconds UTC.
    pub now: i64,
    /// Whether its disk is short of room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short_of_room: bool,
    /// The nodes that it does not reach though they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<NodeId>,
}

/// What the leader heard of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Which node.
    pub node: NodeId,
    /// How long ago, milliseconds.
    pub heard_ms_ago: u64,
    /// By how much its clock is ahead of the leader's, milliseconds; what it took on the way is
    /// in it.
    pub clock_ahead_ms: i64,
    /// Whether its disk is short of room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short_of_room: bool,
    /// The nodes that it does not reach though they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<NodeId>,
}

impl Metadata {
    /// Answers what nodes say of themselves, and who asks for it.
    pub(super) fn answer_beats(&self, server: &PeerServer) {
        let metadata = self.clone();
        server.on_call(BEAT_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.hear(&body)) }
        });
        let metadata = self.clone();
        server.on_call(HEARD_CALL, move |_| {
            let metadata = metadata.clone();
            async move { text(&metadata.heard_here()) }
        });
    }

    pub(super) fn note(&self, beat: Beat) {
        let now = self.0.clock.elapsed();
        let mut heard = self.0.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard.insert(beat.node, (now, beat));
    }

    /// Whether the node that says that it is there lives on; otherwise it is to come in again.
    fn hear(&self, body: &[u8]) -> bool {
        let Ok(beat) = serde_json::from_slice::<Beat>(body) else { return false };
        let topology = self.0.catalog.topology();
        let lives = topology
            .borrow()
            .nodes
            .get(&beat.node)
            .is_some_and(|node| node.epoch == beat.epoch && node.answers());
        self.note(beat);
        lives
    }

    fn heard_here(&self) -> Vec<NodeReport> {
        let (elapsed, now) = (self.0.clock.elapsed(), self.0.clock.now().0);
        let heard = self.0.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let report = |(node, (at, beat)): (&NodeId, &(Duration, Beat))| {
            let ago = elapsed.saturating_sub(*at);
            let ago_ns = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
            NodeReport {
                node: *node,
                heard_ms_ago: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
                clock_ahead_ms: (beat.now + ago_ns - now) / 1_000_000,
                short_of_room: beat.short_of_room,
                unreached: beat.unreached.clone(),
            }
        };
        heard.iter().map(report).collect()
    }

    /// What the leader heard of the nodes.
    pub async fn heard(&self) -> Vec<NodeReport> {
        let Some(leader) = self.leader() else { return Vec::new() };
        if leader == self.0.me {
            return self.heard_here();
        }
        let Some(address) = self.address_of(leader) else { return Vec::new() };
        let answer = self.0.peers.call(&address, HEARD_CALL, Bytes::new(), CALL_WAIT).await;
        answer.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
    }

    /// Says again and again that this node is there; comes in again when it was given up.
    pub(super) async fn beat(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.0.clock.sleep(BEAT_INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            if self.0.leaving.load(Ordering::Relaxed) {
                return;
            }
            if self.say_alive().await {
                continue;
            }
            // It is taken for down because it said meanwhile that it goes.
            if self.0.leaving.load(Ordering::Relaxed) {
                return;
            }
            tracing::warn!(node = %self.0.me, "the cluster had given this node up; coming in again");
            tokio::select! {
                outcome = self.knock(true) => if let Err(error) = outcome {
                    tracing::error!(%error, "this node is not of its cluster any more: it stops");
                    self.0.out.send_replace(Some(error.to_string()));
                    shutdown.trigger();
                    return;
                },
                () = shutdown.wait() => return,
            }
        }
    }

    /// Returns when this node is out of its cluster for good: why.
    pub async fn out(&self) -> String {
        let mut out = self.0.out.subscribe();
        // The sender lives as long as we do.
        let why = out.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_default()
    }

    /// Why this node is out of its cluster for good, if it is.
    #[must_use]
    pub fn why_out(&self) -> Option<String> {
        self.0.out.borrow().clone()
    }

    /// Tells who leads that this node is there. Whether it lives on for the cluster.
    async fn say_alive(&self) -> bool {
        let now: Timestamp = self.0.clock.now();
        let beat = Beat {
            node: self.0.me,
            epoch: self.epoch(),
            now: now.0,
            short_of_room: self.is_short(),
            unreached: self.unreached().into_iter().collect(),
        };
        match self.leader() {
            None => true,
            Some(leader) if leader == self.0.me => {
                // Who leads hears of itself as long as a majority hears of it.
                if self.0.group.is_heard_within(LEASE) {
                    self.heard_leader();
                }
                text(&beat).is_ok_and(|body| self.hear(&body))
            }
            Some(leader) => self.tell(leader, &beat).await,
        }
    }

    async fn tell(&self, leader: NodeId, beat: &Beat) -> bool {
        let (Some(address), Ok(body)) = (self.address_of(leader), text(beat)) else { return true };
        let mut told = self.0.peers.call(&address, BEAT_CALL, body.clone(), BEAT_WAIT).await;
        if told.is_err() && self.0.peers.detour(&address).is_some() {
            // There is another way since: a sign of life that is a little late is none.
            told = self.0.peers.call(&address, BEAT_CALL, body, BEAT_WAIT).await;
        }
        match told {
            Ok(answer) => {
                self.heard_leader();
                serde_json::from_slice(&answer).unwrap_or(true)
            }
            // It is told for good where it comes in.
            Err(PeerError::Refused { why, .. }) => !why.contains(REMOVED),
            Err(_) => true,
        }
    }

    pub(super) fn heard_leader(&self) {
        let now = u64::try_from(self.0.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.heard_leader_ns.store(now, Ordering::Relaxed);
    }
}
