//! Bringing a command to the leader, and waiting until it is carried out here too.

use std::time::Duration;

use bytes::Bytes;
use openraft::error::{ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::machine::outcome_of;
use crate::catalog::{Answer, CatalogError, Order, Proposer, Refusal};
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
        let body: Bytes = serde_json::to_vec(order)
            .map_err(|source| CatalogError::Damaged { key: "a command".to_owned(), source })?
            .into();
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

    /// Writes a command, if this node leads.
    pub(super) async fn write(&self, body: Bytes) -> Decided {
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
