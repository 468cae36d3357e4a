//! Whether a group has let a replica go. Who has gone is told nothing any more, so it asks the leader;
//! until it knows, the group may count on it.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use cluster::peer::PeerServer;
use model::node::Placement;
use model::partition::PartitionId;

use super::Fleet;
use crate::replica::Replica;

/// The call for the members of a partition's group.
const MEMBERS_CALL: &str = "members";
/// How long a leader may take to say them.
const MEMBERS_WAIT: Duration = Duration::from_millis(500);

impl Fleet {
    /// Answers replicas that ask whether they belong to their group.
    pub(super) fn serve_members(&self, server: &PeerServer) {
        let fleet = self.clone();
        server.on_call(MEMBERS_CALL, move |body| {
            let fleet = fleet.clone();
            async move { fleet.tell_members(&body).await }
        });
    }

    async fn tell_members(&self, body: &[u8]) -> Result<Bytes, String> {
        let members =
            self.named(body)?.members_now().await.ok_or("this replica does not lead it")?;
        let mut answer = BytesMut::with_capacity(members.len() * size_of::<u64>());
        members.into_iter().for_each(|member| answer.put_u64_le(member));
        Ok(answer.freeze())
    }

    /// Whether the group goes on without this replica.
    pub(super) async fn is_let_go(&self, replica: &Replica, placement: &Placement) -> bool {
        if replica.leads() {
            return false;
        }
        if replica.has_gone() {
            return true;
        }
        self.group_has(replica.id(), replica.member(), placement).await == Some(false)
    }

    /// Whether a member belongs to its group, as the leader says; `None` when nobody surely leads.
    pub(super) async fn group_has(
        &self,
        partition: PartitionId,
        member: u64,
        placement: &Placement,
    ) -> Option<bool> {
        let me = self.0.metadata.me();
        for other in placement.replicas.iter().filter(|other| other.node != me) {
            let Some(address) = self.0.metadata.address_of(other.node) else { continue };
            let body = Bytes::copy_from_slice(&partition.0.to_le_bytes());
            let asked = self.0.metadata.peers().call(&address, MEMBERS_CALL, body, MEMBERS_WAIT);
            if let Ok(members) = asked.await {
                return Some(holds(members, member));
            }
        }
        None
    }
}

fn holds(mut members: Bytes, member: u64) -> bool {
    std::iter::from_fn(|| members.try_get_u64_le().ok()).any(|other| other == member)
}
