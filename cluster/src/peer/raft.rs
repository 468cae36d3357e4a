//! Raft's calls between nodes: each names its group, and goes to the member that lives here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{PeerError, PeerServer, Peers};
use crate::raft::group::BoxFuture;
use crate::raft::{CallKind, Group, GroupId, Peer, Transport, TransportError};

/// The name of the call.
const RAFT_CALL: &str = "raft";
/// Bytes in front of a call's body: kind of call, kind of group, partition.
const HEAD_BYTES: usize = 6;
/// How long a call may take at most; openraft gives up earlier where it should.
const CALL_WAIT_MAX: Duration = Duration::from_secs(30);

/// The members that live on this node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Members(Arc<RwLock<HashMap<GroupId, Group>>>);

impl Members {
    /// Answers calls for these members.
    pub fn serve(&self, server: &PeerServer) {
        let members = self.clone();
        server.on_call(RAFT_CALL, move |body| {
            let members = members.clone();
            async move { members.answer(body).await }
        });
    }

    /// A member lives here from now on.
    pub fn insert(&self, group: Group) {
        let id = group.settings().group;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, group);
    }

    /// No member of the group lives here any more.
    pub fn remove(&self, id: GroupId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn answer(&self, mut body: Bytes) -> Result<Bytes, String> {
        let head = read_head(&body).ok_or("a call of Raft that cannot be read")?;
        let (kind, id) = head;
        let rest = body.split_off(HEAD_BYTES);
        let group = {
            let members = self.0.read().unwrap_or_else(PoisonError::into_inner);
            members.get(&id).cloned()
        };
        let group = group.ok_or_else(|| format!("no member of {id} lives here"))?;
        group.handle(kind, rest).await.map_err(|error| error.to_string())
    }
}

fn head(kind: CallKind, group: GroupId) -> [u8; HEAD_BYTES] {
    let kind = match kind {
        CallKind::Append => 0,
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

/// Carries Raft's calls to other nodes.
#[derive(Debug, Clone)]
pub struct PeerTransport(Peers);

impl PeerTransport {
    /// Over these connections.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        Self(peers)
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
        let (peers, address) = (self.0.clone(), to.address.clone());
        let mut call = BytesMut::with_capacity(HEAD_BYTES + body.len());
        call.put_slice(&head(kind, group));
        call.put_slice(&body);
        Box::pin(async move {
            let answer = peers.call(&address, RAFT_CALL, call.freeze(), CALL_WAIT_MAX).await;
            answer.map_err(|error| match error {
                PeerError::Unreachable { why, .. } => TransportError::Unreachable(why),
                late @ PeerError::Late { .. } => TransportError::Broken(late.to_string()),
                PeerError::Refused { why, .. } | PeerError::Failed { why, .. } => {
                    TransportError::Refused(why)
                }
            })
        })
    }
}
