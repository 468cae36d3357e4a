//! Bringing a command to the leader, and waiting until it is carried out here too.

use std::time::Duration;

use bytes::Bytes;
use model::node::Topology;
use openraft::error::{ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};

use super::Metadata;
use super::beat::LEASE;
use super::machine::outcome_of;
use crate::catalog::{
    Answer, CatalogError, Command, LOG_PROTOCOL, Order, PROTOCOL_FIRST, PROTOCOL_OPENS, Proposer,
    Refusal, read_order, too_early, write_order,
};
use crate::raft::Command as Entry;

/// The name of the call.
pub(super) const PROPOSE_CALL: &str = "propose";
/// How long a command is brought to leaders that change.
const DECIDE_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long one leader may take.
const LEADER_WAIT: Duration = Duration::from_secs(4);
/// How long to wait before a leader is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a majority may take to say that who leads still does.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);
/// What is said where nothing was written.
const NOBODY_SURELY_LEADS: &str =
    "nobody leads whom a majority of the voters hears. Nothing was changed";
/// What is said where it may be.
const MAY_BE_DONE: &str =
    "It may be done all the same when they are there again: look before you ask for it once more";
/// What is said while a leader does not know yet who is there.
const UNSETTLED: &str = "who leads has not carried out yet what was decided";
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
        let body = self.written(order)?;
        let clock = &self.0.clock;
        let until = clock.elapsed() + DECIDE_WAIT_MAX;
        let mut why = NOBODY_SURELY_LEADS.to_owned();
        while clock.elapsed() < until && !self.is_left_alone() {
            match self.ask_leader(body.clone()).await {
                Decided::At(index, outcome) => {
                    self.follow(index).await?;
                    return Ok(outcome?);
                }
                // A try before may have been written.
                Decided::NotLeader => {}
                Decided::Open(words) => why = format!("{words}. {MAY_BE_DONE}"),
            }
            clock.sleep(LOOK_AGAIN).await;
        }
        Err(CatalogError::Undecided { why })
    }

    /// [`Metadata::decide`] by this node, which leads: what follows from what it saw is not brought to
    /// another one that leads by now, and is not tried again.
    ///
    /// # Errors
    /// As [`Metadata::decide`].
    pub(super) async fn decide_leading(&self, order: &Order) -> Result<Answer, CatalogError> {
        let why = match self.write(self.written(order)?).await {
            Decided::At(index, outcome) => {
                self.follow(index).await?;
                return Ok(outcome?);
            }
            Decided::NotLeader => "another node leads by now".to_owned(),
            Decided::Open(why) => why,
        };
        Err(CatalogError::Undecided { why })
    }

    /// A command as it goes to whoever decides, if all nodes can read it.
    fn written(&self, order: &Order) -> Result<Bytes, CatalogError> {
        let body = write_order(order)
            .map_err(|source| CatalogError::Damaged { key: "a command".to_owned(), source })?;
        self.may_open(order.command.protocol())?;
        Ok(body.into())
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
        let Ok((order, needed)) = read_order(&body, self.0.peers.protocol()) else {
            return Decided::At(0, Err(Refusal::Unknown));
        };
        if let Command::Register(joining) = &order.command {
            return Box::pin(self.admit(joining.protocol, body)).await;
        }
        if !self.surely_leads(&order.command).await {
            return Decided::NotLeader;
        }
        if needed > self.log_protocol() {
            let opened = Box::pin(self.open(needed)).await;
            if !matches!(opened, Decided::At(_, Ok(_))) {
                return opened;
            }
        }
        self.put(body).await
    }

    /// Whether a majority hears this leader. What it wrote otherwise would be carried out when the others
    /// are there again, though whoever asked for it was told that it is not.
    async fn surely_leads(&self, command: &Command) -> bool {
        let group = &self.0.group;
        match command {
            // What an operator asks for is done once, and not taken back by anybody.
            Command::Forget(_) | Command::Remember { .. } => {
                let asked = group.raft().ensure_linearizable();
                matches!(self.0.clock.timeout(CONFIRM_WAIT, asked).await, Some(Ok(_)))
            }
            _ => group.is_heard_within(LEASE),
        }
    }

    /// Writes that a node comes, if it reads what stands in the log.
    async fn admit(&self, theirs: u32, body: Bytes) -> Decided {
        let Some(_alone) = self.alone().await else {
            return Decided::Open(UNSETTLED.to_owned());
        };
        if !self.has_carried_out_all().await {
            return Decided::Open(UNSETTLED.to_owned());
        }
        let log = self.log_protocol();
        if theirs < log {
            return Decided::At(0, Err(Refusal::Stranger { why: too_early(theirs, log) }));
        }
        self.put(body).await
    }

    /// Writes that it takes a later version to read the log from now on: whoever comes is asked for it
    /// before it reads that.
    async fn open(&self, needed: u32) -> Decided {
        let Some(_alone) = self.alone().await else {
            return Decided::Open(UNSETTLED.to_owned());
        };
        if !self.has_carried_out_all().await {
            return Decided::Open(UNSETTLED.to_owned());
        }
        if needed <= self.log_protocol() {
            // Somebody else opened it meanwhile, perhaps to more.
            return Decided::At(0, Ok(Answer::Done));
        }
        if let Err(refusal) = self.may_open(needed) {
            return Decided::At(0, Err(refusal));
        }
        match write_order(&opening(needed).into()) {
            Ok(opening) => self.put(opening.into()).await,
            Err(error) => Decided::Open(error.to_string()),
        }
    }

    /// The gate, unless others hold it for long.
    async fn alone(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.0.clock.timeout(LEADER_WAIT, self.0.gate.lock()).await
    }

    /// Whether all is carried out here that stands in the log, or was to be put there when nobody waited for
    /// it any more: a node may be on its way in, or a later version, that a leader before this one let in,
    /// or this one while it was held up. Its member takes what it is given in that order, so what is
    /// carried out behind all that tells; its figures may be of before.
    async fn has_carried_out_all(&self) -> bool {
        // It changes nothing.
        let command = Command::Copied { splits: Vec::new(), node: self.0.me };
        match write_order(&command.into()) {
            Ok(body) => matches!(self.put(body.into()).await, Decided::At(_, Ok(_))),
            Err(_) => false,
        }
    }

    /// Whether what takes a version may stand in the log: it does already, or all nodes read it.
    fn may_open(&self, needed: u32) -> Result<(), Refusal> {
        if needed <= self.log_protocol() {
            return Ok(());
        }
        all_read(&self.0.catalog.topology().borrow(), needed)
    }

    /// The version of the nodes' protocol that it takes to read the log.
    #[must_use]
    pub fn log_protocol(&self) -> u32 {
        let fact = self.0.catalog.fact(LOG_PROTOCOL).ok().flatten();
        fact.and_then(|fact| fact.parse().ok()).unwrap_or(PROTOCOL_FIRST)
    }

    async fn put(&self, body: Bytes) -> Decided {
        let written = self.0.group.raft().client_write(Entry(body));
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

/// The command that says that it takes a version to read the log from now on. Nodes of the versions before
/// [`PROTOCOL_OPENS`] must read those that open it for them.
fn opening(needed: u32) -> Command {
    if needed >= PROTOCOL_OPENS {
        return Command::Open { protocol: needed };
    }
    Command::Remember { name: LOG_PROTOCOL.to_owned(), fact: needed.to_string() }
}

/// Whether every node speaks a version, also those that are not expected back: such a node may be cut off
/// and at work, and has the log when it is heard again.
fn all_read(topology: &Topology, needed: u32) -> Result<(), Refusal> {
    match topology.nodes.values().find(|node| node.protocol < needed) {
        Some(node) => Err(Refusal::Early { node: node.id, has: node.protocol, needed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use model::node::{Health, NodeId, NodeInfo, Roles};

    use super::super::fixture::alone;
    use super::*;
    use crate::catalog::Joining;
    use crate::peer::PROTOCOL;

    fn register(id: u64, protocol: u32) -> Bytes {
        let joining = Joining {
            id: NodeId(id),
            address: format!("host{id}:1"),
            http: String::new(),
            roles: Roles::default(),
            version: String::new(),
            protocol,
            at: 0,
        };
        write_order(&Command::Register(joining).into()).unwrap().into()
    }

    // A disk takes longer than a step of the test: the member is as one that is held up.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_let_in_by_a_leader_that_is_held_up_is_there_before_the_log_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = alone(folder.path()).await;
        // Whoever asked for it waits no more, and it is not in the log yet.
        assert!(metadata.put(register(7, 2)).now_or_never().is_none());
        for needed in [3, PROTOCOL] {
            let Decided::At(_, Err(refused)) = Box::pin(metadata.open(needed)).await else {
                panic!("opened to {needed}, which node 7 does not read");
            };
            assert_eq!(refused, Refusal::Early { node: NodeId(7), has: 2, needed });
        }
        assert_eq!(metadata.log_protocol(), PROTOCOL_FIRST);
        // The other way round: whoever comes is asked for what the log was opened to.
        metadata.decide(&Command::Forget(NodeId(7)).into()).await.unwrap();
        let opening = write_order(&opening(PROTOCOL).into()).unwrap();
        assert!(metadata.put(opening.into()).now_or_never().is_none());
        let Decided::At(_, Err(refused)) = Box::pin(metadata.write(register(8, 2))).await else {
            panic!("let in, and cannot read the log");
        };
        assert!(matches!(refused, Refusal::Stranger { .. }), "{refused}");
        metadata.decide(&Command::Open { protocol: PROTOCOL }.into()).await.unwrap();
        assert_eq!(metadata.log_protocol(), PROTOCOL);
        metadata.stop().await;
    }

    fn node(id: u64, protocol: u32, health: Health) -> (NodeId, NodeInfo) {
        (NodeId(id), NodeInfo { protocol, ..NodeInfo::first(NodeId(id), health) })
    }

    #[test]
    fn nothing_is_decided_that_a_node_could_not_read_that_may_come_back() {
        let (now, next) = (PROTOCOL, PROTOCOL + 1);
        let mut topology = Topology::default();
        topology.nodes.extend([node(1, next, Health::Up), node(2, now, Health::Down)]);
        assert_eq!(all_read(&topology, now), Ok(()));
        let refused = Err(Refusal::Early { node: NodeId(2), has: now, needed: next });
        assert_eq!(all_read(&topology, next), refused);
        topology.nodes.extend([node(2, now, Health::Gone)]);
        let Err(refused) = all_read(&topology, next) else { panic!("it may come back") };
        let remedy = format!("sawlog cluster remove {}", NodeId(2));
        assert!(refused.to_string().contains(&remedy), "{refused}");
        topology.nodes.remove(&NodeId(2));
        assert_eq!(all_read(&topology, next), Ok(()));
    }
}
