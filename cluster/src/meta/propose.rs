//! Bringing a command to the leader, and waiting until it is carried out here too.

use std::time::Duration;

use bytes::Bytes;
use model::node::{Health, Topology};
use openraft::error::{ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::machine::outcome_of;
use crate::catalog::{
    self, Answer, CatalogError, Order, PROTOCOL_FIRST, Proposer, Refusal, read_order, write_order,
};
use crate::peer::PROTOCOL;
use crate::raft::Command;

/// The name of the call.
pub(super) const PROPOSE_CALL: &str = "propose";
/// How long a command is brought to leaders that change.
const DECIDE_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long one leader may take.
const LEADER_WAIT: Duration = Duration::from_secs(4);
/// How long to wait before a leader is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long this node may take to carry out what was decided.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);
/// The fact that says which version of the nodes' protocol it takes to read the log; none is the
/// first.
const LOG_PROTOCOL: &str = "log protocol";

/// What a leader says of a proposal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Decided {
    /// It is decided, at this index of the log.
    At(u64, Result<Answer, Refusal>),
    /// Ask somebody else.
    NotLeader,
    /// It may be decided yet.
    Open(String),
}

impl Proposer for Metadata {
    fn propose(&self, order: Order) -> Result<Answer, CatalogError> {
        self.0.runtime.block_on(self.decide(&order))
    }
}

impl Metadata {
    /// Has a command decided and returns when it is carried out on this node.
    ///
    /// # Errors
    /// [`CatalogError`]; after [`CatalogError::Undecided`] it may be carried out all the same.
    pub async fn decide(&self, order: &Order) -> Result<Answer, CatalogError> {
        let body: Bytes = write_order(order)
            .map_err(|source| CatalogError::Damaged { key: "a command".to_owned(), source })?
            .into();
        all_read(&self.0.catalog.topology().borrow(), order.command.protocol())?;
        let clock = &self.0.clock;
        let until = clock.elapsed() + DECIDE_WAIT_MAX;
        let mut why = "there is no leader".to_owned();
        while clock.elapsed() < until {
            match self.ask_leader(body.clone()).await {
                Decided::At(index, outcome) => {
                    self.follow(index).await?;
                    return Ok(outcome?);
                }
                Decided::NotLeader => {}
                Decided::Open(words) => why = words,
            }
            clock.sleep(LOOK_AGAIN).await;
        }
        Err(CatalogError::Undecided { why })
    }

    async fn ask_leader(&self, body: Bytes) -> Decided {
        let metrics = self.0.group.raft().metrics().borrow().clone();
        let Some(leader) = metrics.current_leader else { return Decided::NotLeader };
        if leader == self.0.me.0 {
            return self.write(body).await;
        }
        let peer = metrics.membership_config.membership().get_node(&leader).cloned();
        let Some(peer) = peer else { return Decided::NotLeader };
        match self.0.peers.call(&peer.address, PROPOSE_CALL, body, LEADER_WAIT).await {
            Ok(answer) => serde_json::from_slice(&answer)
                .unwrap_or_else(|error| Decided::Open(error.to_string())),
            Err(error) => Decided::Open(error.to_string()),
        }
    }

    /// Writes a command, if this node leads and all nodes can read it.
    pub(super) async fn write(&self, body: Bytes) -> Decided {
        if self.leader() != Some(self.0.me) {
            return Decided::NotLeader;
        }
        // A node stops where it cannot read a command: none may stand in the log.
        let Ok((_, needed)) = read_order(&body, PROTOCOL) else {
            return Decided::At(0, Err(Refusal::Unknown));
        };
        if let Err(refusal) = all_read(&self.0.catalog.topology().borrow(), needed) {
            return Decided::At(0, Err(refusal));
        }
        if needed > PROTOCOL_FIRST && needed > self.log_protocol() {
            // Whoever comes later is asked for it before it reads the log.
            let (name, fact) = (LOG_PROTOCOL.to_owned(), needed.to_string());
            let raise = write_order(&catalog::Command::Remember { name, fact }.into());
            let raised = match raise {
                Ok(raise) => self.put(raise.into()).await,
                Err(error) => Decided::Open(error.to_string()),
            };
            if !matches!(raised, Decided::At(_, Ok(_))) {
                return raised;
            }
        }
        self.put(body).await
    }

    /// The version of the nodes' protocol that it takes to read the log.
    #[must_use]
    pub fn log_protocol(&self) -> u32 {
        let fact = self.0.catalog.fact(LOG_PROTOCOL).ok().flatten();
        fact.and_then(|fact| fact.parse().ok()).unwrap_or(PROTOCOL_FIRST)
    }

    async fn put(&self, body: Bytes) -> Decided {
        let written = self.0.group.raft().client_write(Command(body));
        match self.0.clock.timeout(LEADER_WAIT, written).await {
            Some(Ok(written)) => Decided::At(written.log_id.index, outcome_of(&written.data)),
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Decided::NotLeader
            }
            Some(Err(error)) => Decided::Open(error.to_string()),
            None => Decided::Open("no majority of the voters is there".to_owned()),
        }
    }

    /// Waits until this node has carried out what is decided up to an index.
    async fn follow(&self, index: u64) -> Result<(), CatalogError> {
        let wait = self.0.group.raft().wait(Some(FOLLOW_WAIT));
        let followed = wait.applied_index_at_least(Some(index), "what was decided").await;
        followed.map(drop).map_err(|error| CatalogError::Undecided { why: error.to_string() })
    }
}

/// Whether every node that is expected to be there speaks a version.
fn all_read(topology: &Topology, needed: u32) -> Result<(), Refusal> {
    let is_early = |protocol: u32, health: Health| protocol < needed && health != Health::Gone;
    let early = topology.nodes.values().find(|node| is_early(node.protocol, node.health));
    match early {
        Some(node) => Err(Refusal::Early { node: node.id, has: node.protocol, needed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::node::{NodeId, NodeInfo, Roles};

    use super::*;

    fn node(id: u64, protocol: u32, health: Health) -> (NodeId, NodeInfo) {
        let info = NodeInfo {
            id: NodeId(id),
            address: String::new(),
            http: String::new(),
            roles: Roles::default(),
            version: String::new(),
            protocol,
            epoch: 1,
            health,
            since: 0,
        };
        (info.id, info)
    }

    #[test]
    fn nothing_is_decided_that_an_expected_node_could_not_read() {
        let (now, next) = (PROTOCOL, PROTOCOL + 1);
        let mut topology = Topology::default();
        topology.nodes.extend([node(1, next, Health::Up), node(2, now, Health::Down)]);
        assert_eq!(all_read(&topology, now), Ok(()));
        let refused = Err(Refusal::Early { node: NodeId(2), has: now, needed: next });
        assert_eq!(all_read(&topology, next), refused);
        topology.nodes.extend([node(2, now, Health::Gone)]);
        assert_eq!(all_read(&topology, next), Ok(()));
    }
}
