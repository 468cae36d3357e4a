//! Looking after the replicas that live here: opened and begun as the placements say, their groups
//! made so by who leads, their logs cut when splits have the records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cluster::catalog::{CatalogError, Command};
use cluster::log::LogError;
use cluster::meta::{GOES_TOO, SHORT_TOO};
use cluster::raft::{ChangeError, GroupId, Peer, is_half_done};
use model::node::{NodeId, Placement, Replica as Member, Topology};
use model::partition::PartitionId;
use openraft::ChangeMembers;
use platform::disk;

use super::Fleet;
use crate::replica::{Replica, ReplicaError, SETTLED_CALL, SETTLED_WAIT};

/// Entries that a replica may be behind to become a voter.
const VOTER_LAG_MAX: u64 = 16;
/// The call that asks a replica to lead.
const LEAD_CALL: &str = "lead";
/// How long it may take.
const LEAD_WAIT: Duration = Duration::from_secs(1);
/// How long others may take to lead before this node goes all the same.
const LEAVE_WAIT: Duration = Duration::from_secs(4);
/// How long to wait before they are asked again.
const LEAVE_PAUSE: Duration = Duration::from_millis(400);
/// Rounds between two tries to bring leadership where it belongs.
const SPREAD_ROUNDS: u64 = 8;

impl Fleet {
    /// Answers who asks a replica to lead.
    pub fn serve_leading(&self, server: &cluster::peer::PeerServer) {
        let fleet = self.clone();
        server.on_call(LEAD_CALL, move |body| {
            let fleet = fleet.clone();
            async move { fleet.stand(&body).await }
        });
    }

    async fn stand(&self, body: &[u8]) -> Result<Bytes, String> {
        if self.0.metadata.goes() {
            return Err(GOES_TOO.to_owned());
        }
        if self.0.metadata.is_short() {
            return Err(SHORT_TOO.to_owned());
        }
        let asked = self.named(body)?.group().raft().trigger().elect().await;
        asked.map(|()| Bytes::new()).map_err(|error| error.to_string())
    }

    /// The replica that works here; opened, or given up, as the placement says.
    pub(super) async fn replica_for(
        &self,
        partition: PartitionId,
        placement: &Placement,
    ) -> Result<Option<Replica>, TendError> {
        let me = self.0.metadata.me();
        let wanted = placement.replicas.iter().find(|replica| replica.node == me);
        let here = self.replica(partition);
        if let Some(replica) = &here
            && let Some(why) = replica.failure()
        {
            self.close(replica).await;
            self.let_rest(partition, &why);
            return Ok(None);
        }
        if here.is_some() {
            self.note_work(partition);
        }
        match (wanted, here) {
            (Some(wanted), Some(replica)) if replica.member() == wanted.id => Ok(Some(replica)),
            (Some(wanted), Some(other)) => {
                if !self.is_let_go(&other, placement).await {
                    // It has its log and its vote: the group counts on it, not on an empty one.
                    self.keep_as(partition, *wanted, other.member(), placement).await?;
                    return Ok(None);
                }
                self.give_up(&other).await?;
                self.open(partition, *wanted, placement).await
            }
            (Some(wanted), None) => {
                self.may_open(partition)?;
                self.open(partition, *wanted, placement).await
            }
            // It goes when the group has let it go, so that it may hand over what it has.
            (None, Some(replica)) => {
                if self.is_let_go(&replica, placement).await {
                    self.give_up(&replica).await?;
                    return Ok(None);
                }
                Ok(Some(replica))
            }
            (None, None) => Ok(None),
        }
    }

    pub(super) fn path(&self, partition: PartitionId, member: u64) -> PathBuf {
        self.0.folder.join(format!("{:04}-{member:016x}", partition.0))
    }

    /// Opens a replica. One whose log is damaged, or gone though its group has begun, is set aside,
    /// and a new one takes its place: it must not vote as one that has what it acknowledged.
    async fn open(
        &self,
        partition: PartitionId,
        wanted: Member,
        placement: &Placement,
    ) -> Result<Option<Replica>, TendError> {
        if let Some(other) = self.other_log(partition, wanted.id)
            && placement.born
        {
            self.keep_as(partition, wanted, other, placement).await?;
            return Ok(None);
        }
        let folder = self.path(partition, wanted.id);
        let is_there = folder.join("state").exists();
        let is_founder = !placement.born || is_there || !self.was_here(partition, wanted.id)?;
        let slot = placement.replicas.iter().position(|replica| *replica == wanted).unwrap_or(0);
        let slot = u32::try_from(slot).unwrap_or_default();
        if is_founder {
            let opened =
                Replica::open(&folder, partition, wanted.id, slot, self.0.parties.clone()).await;
            match opened {
                Ok(replica) => {
                    self.note_here(partition, wanted.id)?;
                    self.0.members.insert(replica.group().clone());
                    self.keep(replica.clone());
                    return Ok(Some(replica));
                }
                Err(ReplicaError::Log { source, .. })
                    if matches!(source, LogError::Damaged { .. } | LogError::Missing(_)) =>
                {
                    if !self.others_lead(partition, placement).await {
                        return Err(TendError::NoOthers { partition, why: source.to_string() });
                    }
                    let what = damage_of(&source);
                    tracing::error!(what, %partition, "this replica is damaged: it is set aside and filled again from the others");
                    let aside = self.0.folder.join(format!(
                        "damaged-{:04}-{:016x}-{}",
                        partition.0,
                        wanted.id,
                        self.0.parties.clock.now().0
                    ));
                    disk::rename(&folder, &aside)?;
                }
                Err(error) => {
                    self.let_rest(partition, &words_of(&error));
                    return Err(error.into());
                }
            }
        } else {
            tracing::error!(%partition, "the log of this replica is gone: it is filled again from the others");
        }
        self.replace(partition, wanted, placement).await?;
        Ok(None)
    }

    /// Whether the group has a leader without this replica, so that it can be filled again.
    async fn others_lead(&self, partition: PartitionId, placement: &Placement) -> bool {
        let me = self.0.metadata.me();
        for replica in placement.replicas.iter().filter(|replica| replica.node != me) {
            let Some(address) = self.0.metadata.address_of(replica.node) else { continue };
            let body = Bytes::copy_from_slice(&partition.0.to_le_bytes());
            let peers = self.0.metadata.peers();
            if peers.call(&address, SETTLED_CALL, body, SETTLED_WAIT).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// A whole log of another replica of the partition that is on this disk.
    fn other_log(&self, partition: PartitionId, wanted: u64) -> Option<u64> {
        self.logs(partition).into_iter().find(|member| *member != wanted)
    }

    /// The replicas of the partition whose whole logs are on this disk.
    pub(super) fn logs(&self, partition: PartitionId) -> Vec<u64> {
        let prefix = format!("{:04}-", partition.0);
        let names = disk::names(&self.0.folder).unwrap_or_default();
        let members = names.iter().filter_map(|name| name.strip_prefix(&prefix));
        let members = members.filter_map(|member| u64::from_str_radix(member, 16).ok());
        members.filter(|member| self.path(partition, *member).join("state").exists()).collect()
    }

    /// Asks for the replica that this node has in the place of the one that is wanted of it.
    async fn keep_as(
        &self,
        partition: PartitionId,
        wanted: Member,
        member: u64,
        placement: &Placement,
    ) -> Result<(), TendError> {
        tracing::info!(%partition, "this node has a replica already; it stays");
        let mut changed = placement.clone();
        for replica in changed.replicas.iter_mut().filter(|replica| **replica == wanted) {
            replica.id = member;
        }
        let before = Some(placement.clone());
        let command = Command::Place { partition, before, placement: changed };
        self.0.metadata.decide(&command.into()).await?;
        Ok(())
    }

    /// Whether a replica's log was made here before.
    fn was_here(&self, partition: PartitionId, member: u64) -> Result<bool, CatalogError> {
        let key = format!("replica {:04} {member:016x}", partition.0);
        Ok(self.0.metadata.catalog().local(&key)?.is_some())
    }

    fn note_here(&self, partition: PartitionId, member: u64) -> Result<(), CatalogError> {
        if self.was_here(partition, member)? {
            return Ok(());
        }
        let key = format!("replica {:04} {member:016x}", partition.0);
        self.0.metadata.catalog().remember_local(&key, "made")
    }

    /// Asks for a new replica of this node in the place of one that lost its log. While no majority
    /// of the others is there, nothing is filled from nothing: the placement alone changes nothing.
    async fn replace(
        &self,
        partition: PartitionId,
        lost: Member,
        placement: &Placement,
    ) -> Result<(), TendError> {
        if placement.replicas.len() == 1 {
            return Err(TendError::OnlyCopy(partition));
        }
        let mut changed = placement.clone();
        for replica in changed.replicas.iter_mut().filter(|replica| **replica == lost) {
            replica.id = platform::random::u64();
        }
        let before = Some(placement.clone());
        let command = Command::Place { partition, before, placement: changed };
        self.0.metadata.decide(&command.into()).await?;
        Ok(())
    }

    /// Makes the group as the placement says, one step at a time: who comes learns first, who goes
    /// goes when the others have everything, and a leader goes last.
    pub(super) async fn arrange(
        &self,
        replica: &Replica,
        placement: &Placement,
        topology: &Topology,
        round: u64,
    ) -> Result<(), TendError> {
        let (group, clock) = (replica.group(), &self.0.parties.clock);
        let metrics = group.raft().metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let wanted = peers_of(placement, topology);
        let moved: BTreeMap<u64, Peer> = wanted
            .iter()
            .filter(|(id, peer)| membership.get_node(id).is_some_and(|known| known != *peer))
            .map(|(id, peer)| (*id, peer.clone()))
            .collect();
        if !moved.is_empty() {
            group.change(clock, ChangeMembers::SetNodes(moved), true).await?;
            return Ok(());
        }
        for (id, peer) in &wanted {
            if membership.get_node(id).is_none() {
                group.learn(clock, *id, peer.clone()).await?;
                return Ok(());
            }
        }
        let voting: BTreeSet<u64> = membership.voter_ids().collect();
        let ids: BTreeSet<u64> = wanted.keys().copied().collect();
        let last = metrics.last_log_index.unwrap_or(0);
        // Who has nothing yet may not even be open: a change that counts on its vote would wait for
        // it here, while it is not opened there because that node waits for one of ours.
        let is_close = |id: &u64| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(id).copied());
            let matched = matched.flatten().map(|id| id.index);
            *id == replica.member()
                || matched.is_some_and(|at| last.saturating_sub(at) <= VOTER_LAG_MAX)
        };
        let all_close = ids.difference(&voting).all(is_close);
        if (ids != voting || is_half_done(membership)) && all_close && !ids.is_empty() {
            if !ids.contains(&replica.member()) {
                return self.hand_over(replica, &ids, topology, placement).await;
            }
            group.change(clock, ids, false).await?;
            return Ok(());
        }
        let extra: BTreeSet<u64> =
            membership.nodes().map(|(id, _)| *id).filter(|id| !ids.contains(id)).collect();
        if ids == voting && !extra.is_empty() {
            let change = ChangeMembers::RemoveNodes(extra);
            group.change(clock, change, false).await?;
            return Ok(());
        }
        if ids == voting && round.is_multiple_of(SPREAD_ROUNDS) {
            self.spread(replica, placement, topology).await;
        }
        Ok(())
    }

    /// Another member leads before this one goes.
    async fn hand_over(
        &self,
        replica: &Replica,
        ids: &BTreeSet<u64>,
        topology: &Topology,
        placement: &Placement,
    ) -> Result<(), TendError> {
        let metrics = replica.group().raft().metrics().borrow().clone();
        let voting: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        // Only a voter can lead: first those who stay become voters beside us.
        let stay: Vec<&Member> = placement
            .replicas
            .iter()
            .filter(|one| ids.contains(&one.id) && voting.contains(&one.id))
            .collect();
        if stay.is_empty() {
            let mut both = ids.clone();
            both.insert(replica.member());
            replica.group().change(&self.0.parties.clock, both, false).await?;
            return Ok(());
        }
        for member in stay {
            if self.step_back(replica, (member.id, member.node), topology).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Leadership goes where the partition is indexed: its records need no second way there.
    async fn spread(&self, replica: &Replica, placement: &Placement, topology: &Topology) {
        let partition = replica.id();
        let Some(lease) = topology.indexer(partition) else { return };
        let Some(member) = placement.replicas.iter().find(|one| one.node == lease.node) else {
            return;
        };
        if self.stays(lease.node, topology) && lease.node != self.0.metadata.me() {
            self.step_back(replica, (member.id, member.node), topology).await;
        }
    }

    /// Lets the replica of another node lead. Whether somebody else leads then.
    pub(super) async fn step_back(
        &self,
        replica: &Replica,
        (member, node): (u64, NodeId),
        topology: &Topology,
    ) -> bool {
        let Some(info) = topology.nodes.get(&node) else { return false };
        let body = Bytes::copy_from_slice(&replica.id().0.to_le_bytes());
        let asked = self.0.metadata.peers().call(&info.address, LEAD_CALL, body, LEAD_WAIT);
        let asked = async { asked.await.is_ok() };
        replica.hand_over(&self.0.parties.clock, member, asked).await
    }

    /// Asks others to lead what this node leads, and waits for a while until they do: who sends
    /// here meanwhile is forwarded.
    pub async fn hand_over_all(&self) {
        let clock = self.0.parties.clock.clone();
        let until = clock.elapsed() + LEAVE_WAIT;
        while clock.elapsed() < until {
            let topology = self.0.metadata.catalog().topology().borrow().clone();
            let (mut leaving, mut are_growing) = (Vec::new(), false);
            for replica in self.replicas().into_iter().filter(Replica::leads) {
                if self.next_leaders(&replica, &topology).is_empty() {
                    are_growing |= self.is_growing(replica.id(), &topology);
                } else {
                    leaving.push(replica);
                }
            }
            if leaving.is_empty() && !are_growing {
                return;
            }
            let leave = leaving.iter().map(|replica| self.give_lead(replica, &topology));
            futures::future::join_all(leave).await;
            clock.sleep(LEAVE_PAUSE).await;
        }
    }

    /// Whether a node is up and has not said that it is about to stop.
    pub(super) fn stays(&self, node: NodeId, topology: &Topology) -> bool {
        let known = topology.nodes.get(&node);
        known.is_some_and(|node| node.is_up() && !self.0.metadata.is_going(node))
    }

    /// Whether replicas of a partition at other nodes that are up are wanted: where none of them votes yet,
    /// they are being filled.
    fn is_growing(&self, partition: PartitionId, topology: &Topology) -> bool {
        let (me, placement) = (self.0.metadata.me(), topology.partitions.get(&partition));
        let mut nodes = placement.iter().flat_map(|it| &it.replicas).map(|replica| replica.node);
        nodes.any(|node| node != me && self.stays(node, topology))
    }

    async fn close(&self, replica: &Replica) {
        self.0.members.remove(GroupId::Partition(replica.id().0));
        self.forget(replica.id());
        replica.stop().await;
        self.0.parties.metrics.queue_went(replica.id());
    }

    /// Ends a replica that its group has let go, with its log.
    async fn give_up(&self, replica: &Replica) -> std::io::Result<()> {
        let partition = replica.id();
        tracing::info!(%partition, "this replica lives elsewhere now; its log goes");
        self.close(replica).await;
        disk::remove_dir_all(&self.path(partition, replica.member()))
    }
}

/// The members that a placement wants, with where they live.
pub(super) fn peers_of(placement: &Placement, topology: &Topology) -> BTreeMap<u64, Peer> {
    let peer = |replica: &Member| {
        let node = topology.nodes.get(&replica.node)?;
        Some((replica.id, Peer { node: node.id.0, address: node.address.clone() }))
    };
    placement.replicas.iter().filter_map(peer).collect()
}

/// What is damaged, without what would have to be done where nobody else had it.
fn damage_of(source: &LogError) -> String {
    match source {
        LogError::Damaged { file, at, what } => {
            format!("{} is damaged at byte {at}: {what}", file.display())
        }
        LogError::Missing(file) => format!("{} is missing", file.display()),
        other => other.to_string(),
    }
}

/// What an error says, with what it comes from.
pub(super) fn words_of(error: &ReplicaError) -> String {
    match error {
        ReplicaError::Log { source, .. } => format!("{error}: {source}"),
        ReplicaError::Start { .. } => error.to_string(),
    }
}

/// Why a replica is not as it should be. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum TendError {
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(
        "this replica is damaged, and no majority is there without it: put back a copy of the file, or start the other nodes. {why}"
    )]
    NoOthers { partition: PartitionId, why: String },
    #[error(
        "partition {partition} begins where node {node} ended, which does not say it: start that node, or remove it. {why}"
    )]
    NoSeed { partition: PartitionId, node: NodeId, why: String },
    #[error("the group does not change: {0}")]
    Raft(#[from] ChangeError),
    #[error("its disk is full: this replica stopped, and starts again when there is room")]
    NoRoom,
    #[error("this replica stopped, and starts again after a while: {0}")]
    Rests(String),
    #[error("a file cannot be moved or removed")]
    Io(#[from] std::io::Error),
    #[error(
        "the only replica of partition {0} is damaged or gone: put a copy of its folder back; no other node has its records"
    )]
    OnlyCopy(PartitionId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mended_here_is_said_without_what_to_do() {
        let (file, what) = (PathBuf::from("0001.seg"), "a frame's checksum");
        let said = damage_of(&LogError::Damaged { file: file.clone(), at: 40, what });
        assert_eq!(said, "0001.seg is damaged at byte 40: a frame's checksum");
        assert_eq!(damage_of(&LogError::Missing(file)), "0001.seg is missing");
    }
}
