//! Raft's calls between nodes: each names its group, and goes to the member that lives here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use platform::clock::Clock;

use super::beats::{self, BEATS_CALL, Outbox};
use super::{PeerError, PeerServer, Peers};
use crate::raft::group::{BoxFuture, HEARTBEAT};
use crate::raft::{CallKind, Group, GroupId, Peer, Transport, TransportError};

/// The name of the call.
pub(super) const RAFT_CALL: &str = "raft";
/// Bytes in front of a call's body: kind of call, kind of group, partition.
const HEAD_BYTES: usize = 6;
/// How long a call may take at most; openraft gives up earlier where it should.
const CALL_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a leader goes on saying that it lives when no majority answers it.
const UNHEARD_MAX: Duration = Duration::from_secs(2);

/// The members that live on this node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Members(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    groups: RwLock<HashMap<GroupId, Group>>,
    outbox: Outbox,
    is_beating: AtomicBool,
}

impl Members {
    /// Answers calls for these members.
    pub fn serve(&self, server: &PeerServer) {
        let members = self.clone();
        server.on_call(RAFT_CALL, move |body| {
            let members = members.clone();
            async move { members.answer(body).await }
        });
        let members = self.clone();
        server.on_call(BEATS_CALL, move |body| {
            let members = members.clone();
            beats::answer(body, move |call| {
                let members = members.clone();
                async move { members.answer(call).await }
            })
        });
    }

    /// How these members reach those of other nodes.
    #[must_use]
    pub fn transport(&self, peers: Peers) -> PeerTransport {
        PeerTransport { peers, members: Arc::downgrade(&self.0), outbox: self.0.outbox.clone() }
    }

    /// A member lives here from now on: while it leads, it beats together with the others.
    pub fn insert(&self, group: Group) {
        let id = group.settings().group;
        group.raft().runtime_config().heartbeat(false);
        self.0.groups.write().unwrap_or_else(PoisonError::into_inner).insert(id, group);
        if !self.0.is_beating.swap(true, Ordering::Relaxed) {
            tokio::spawn(beat(Arc::downgrade(&self.0)));
        }
    }

    /// No member of the group lives here any more.
    pub fn remove(&self, id: GroupId) {
        self.0.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn answer(&self, mut body: Bytes) -> Result<Bytes, String> {
        let head = read_head(&body).ok_or("a call of Raft that cannot be read")?;
        let (kind, id) = head;
        let rest = body.split_off(HEAD_BYTES);
        let group = {
            let groups = self.0.groups.read().unwrap_or_else(PoisonError::into_inner);
            groups.get(&id).cloned()
        };
        let group = group.ok_or_else(|| format!("no member of {id} lives here"))?;
        group.handle(kind, rest).await.map_err(|error| error.to_string())
    }
}

fn head(kind: CallKind, group: GroupId) -> [u8; HEAD_BYTES] {
    let kind = match kind {
        CallKind::Append | CallKind::Beat => 0,
        CallKind::Vote => 1,
        CallKind::Snapshot => 2,
    };
    let (what, number) = match group {
        GroupId::Metadata => (0, 0),
        GroupId::Partition(number) => (1, number),
    };
    let [a, b, c, d] = number.to_le_bytes();
    [kind, what, a, b, c, d]
}

fn read_head(body: &[u8]) -> Option<(CallKind, GroupId)> {
    let [kind, what, a, b, c, d] = *body.first_chunk()?;
    let kind = match kind {
        0 => CallKind::Append,
        1 => CallKind::Vote,
        2 => CallKind::Snapshot,
        _ => return None,
    };
    let group = match what {
        0 => GroupId::Metadata,
        1 => GroupId::Partition(u32::from_le_bytes([a, b, c, d])),
        _ => return None,
    };
    Some((kind, group))
}

/// Every member that leads says so, all at the same moments, until the node ends.
async fn beat(members: Weak<Inner>) {
    for round in 0_u64.. {
        Clock::system().sleep(HEARTBEAT).await;
        let Some(members) = members.upgrade() else { return };
        let leading = {
            let groups = members.groups.read().unwrap_or_else(PoisonError::into_inner);
            let is_due = |group: &&Group| is_due(group.settings().heartbeat, round);
            let due = groups.values().filter(is_due).filter(|group| group.leads());
            due.cloned().collect::<Vec<_>>()
        };
        drop(members);
        for group in leading {
            if let Err(error) = group.raft().trigger().heartbeat().await {
                tracing::debug!(%error, group = %group.settings().group, "a member that stopped");
            }
        }
    }
}

/// Whether a group that beats so often does it in a round: not all do in each.
fn is_due(heartbeat: Duration, round: u64) -> bool {
    let rounds = heartbeat.as_millis() / HEARTBEAT.as_millis();
    u128::from(round).is_multiple_of(rounds.max(1))
}

/// Carries Raft's calls to other nodes.
#[derive(Debug, Clone)]
pub struct PeerTransport {
    peers: Peers,
    members: Weak<Inner>,
    outbox: Outbox,
}

impl PeerTransport {
    /// Whether a leader may say that it lives: one to whom no majority answers is silent, so that
    /// members that hear it, and that it does not hear, choose another one.
    fn may_beat(&self, group: GroupId) -> bool {
        let Some(members) = self.members.upgrade() else { return true };
        let groups = members.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(&group).is_none_or(|group| group.may_go_on(UNHEARD_MAX))
    }
}

impl Transport for PeerTransport {
    fn call(
        &self,
        to: &Peer,
        group: GroupId,
        kind: CallKind,
        body: Bytes,
    ) -> BoxFuture<Result<Bytes, TransportError>> {
        let (this, address) = (self.clone(), to.address.clone());
        let mut call = BytesMut::with_capacity(HEAD_BYTES + body.len());
        call.put_slice(&head(kind, group));
        call.put_slice(&body);
        let call = call.freeze();
        Box::pin(async move {
            if kind == CallKind::Beat {
                if !this.may_beat(group) {
                    let why = "no majority answers this leader".to_owned();
                    return Err(TransportError::Unreachable(why));
                }
                return this.outbox.send(&this.peers, &address, call).await;
            }
            let answer = this.peers.call(&address, RAFT_CALL, call, CALL_WAIT_MAX).await;
            answer.map_err(transport_error)
        })
    }
}

/// What it means to Raft.
pub(super) fn transport_error(error: PeerError) -> TransportError {
    match error {
        PeerError::Unreachable { why, .. } | PeerError::NotDone { why, .. } => {
            TransportError::Unreachable(why)
        }
        late @ PeerError::Late { .. } => TransportError::Broken(late.to_string()),
        PeerError::Refused { why, .. } | PeerError::Failed { why, .. } => {
            TransportError::Refused(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_beats_half_as_often_beats_in_every_other_round() {
        let rounds =
            |heartbeat| (0..6).filter(|round| is_due(heartbeat, *round)).collect::<Vec<_>>();
        assert_eq!(rounds(HEARTBEAT), [0, 1, 2, 3, 4, 5]);
        assert_eq!(rounds(2 * HEARTBEAT), [0, 2, 4]);
        // More often than all together is as often as they.
        assert_eq!(rounds(HEARTBEAT / 2), [0, 1, 2, 3, 4, 5]);
    }
}
