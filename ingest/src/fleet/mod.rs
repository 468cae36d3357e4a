//! The partitions of a cluster as one of its nodes sees them: the replicas that live here, and the
//! way to the leaders that live elsewhere. Any node takes anything.

mod away;
mod birth;
mod figures;
mod homes;
pub(crate) mod lanes;
mod let_go;
mod left;
mod rests;
mod room;
mod rounds;
mod tend;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use cluster::meta::Metadata;
use cluster::peer::{Members, PeerServer};
use cluster::queue::Queue as _;
use model::node::{NodeId, NodeInfo, Topology};
use model::partition::{Offset, PartitionId};

use crate::partition::{AppendError, Appended, Checked};
use crate::replica::{Replica, ReplicaParties, SETTLED_CALL, SETTLED_WAIT, wire};
use homes::{Homes, is_unnamed};
use lanes::{Fate, Lanes};
use rests::Rests;

/// How long a batch looks for a leader that takes it.
const APPEND_WAIT_MAX: Duration = Duration::from_secs(25);
/// How long one node may take.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// How long one that leads no more may take for the answers that it owes.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(300);
/// How long a batch waits for another leader where the disk of the one that leads is full.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(3);
/// The first pause before another try; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// The partitions of a cluster. Clones share them.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metadata: Metadata,
    members: Members,
    parties: ReplicaParties,
    folder: PathBuf,
    replicas: RwLock<BTreeMap<PartitionId, Replica>>,
    /// What keeps replicas that should live here from being as they should.
    troubles: Mutex<BTreeMap<PartitionId, String>>,
    /// Replicas that failed, and until when they are left alone.
    rests: Mutex<Rests>,
    /// Who led last.
    leaders: Mutex<BTreeMap<PartitionId, NodeId>>,
    /// Held while it is asked for that all read what forgets names first.
    opening: Arc<tokio::sync::Mutex<()>>,
    lanes: Lanes,
    homes: Homes,
}

impl Fleet {
    /// No replica yet. Their logs are below `folder`.
    #[must_use]
    pub fn new(
        metadata: Metadata,
        members: Members,
        parties: ReplicaParties,
        folder: PathBuf,
        server: &PeerServer,
    ) -> Self {
        let fleet = Self(Arc::new(Inner {
            metadata,
            members,
            parties,
            folder,
            replicas: RwLock::default(),
            troubles: Mutex::default(),
            rests: Mutex::default(),
            leaders: Mutex::default(),
            opening: Arc::default(),
            lanes: Lanes::default(),
            homes: Homes::default(),
        }));
        let serving = fleet.clone();
        server.on_call(wire::APPEND_CALL, move |body| {
            let fleet = serving.clone();
            async move { fleet.take_over(body).await }
        });
        let serving = fleet.clone();
        server.on_call(SETTLED_CALL, move |body| {
            let fleet = serving.clone();
            async move {
                // A replica that does not lead asks who does.
                let settled = fleet.named(&body)?.settled().await.ok_or("nobody leads it now")?;
                Ok(Bytes::copy_from_slice(&settled.0.to_le_bytes()))
            }
        });
        fleet.serve_members(server);
        fleet.serve_homes(server);
        fleet
    }

    /// Over how many partitions batches are spread.
    #[must_use]
    pub fn partition_count(&self) -> u64 {
        self.0.metadata.catalog().topology().borrow().partition_count()
    }

    /// The replicas that live here.
    #[must_use]
    pub fn replicas(&self) -> Vec<Replica> {
        let replicas = self.0.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.values().cloned().collect()
    }

    /// The replica here of the partition that a call names.
    fn named(&self, body: &[u8]) -> Result<Replica, String> {
        let number = body.try_into().map(u32::from_le_bytes);
        let number = number.map_err(|_| "no partition is named".to_owned())?;
        self.replica(PartitionId(number)).ok_or_else(|| "no replica of it lives here".to_owned())
    }

    /// The replica of a partition that lives here.
    #[must_use]
    pub fn replica(&self, partition: PartitionId) -> Option<Replica> {
        self.0.replicas.read().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    /// Takes batches for a partition, wherever its leader is: all or none (but for those that are
    /// repeats, and those that go to another one, which knows their producers from when there were
    /// fewer: these are recognised when all are sent again). Returns when they are durable on a majority
    /// of the replicas. What has no sequence gets one, so that it may be sent to another leader when an
    /// answer is lost.
    ///
    /// # Errors
    /// [`AppendError`]; after [`AppendError::Unsure`] they may be taken all the same.
    pub async fn append(
        &self,
        partition: PartitionId,
        batches: Vec<Checked>,
    ) -> Result<Vec<Appended>, AppendError> {
        let mut answers: Vec<Option<Appended>> = vec![None; batches.len()];
        let outcome = self.append_home(partition, &batches, &mut answers).await;
        let mut all = batches.iter().zip(&answers);
        let is_in_part = all.any(|(batch, answer)| is_unnamed(batch) && answer.is_some());
        match outcome {
            // It would be stored twice if the same were sent again.
            Err(_) if is_in_part => Err(AppendError::Unsure),
            Err(error) => Err(error),
            Ok(()) => answers.into_iter().collect::<Option<_>>().ok_or(AppendError::Unsure),
        }
    }

    /// Takes batches where they belong, until each has an answer.
    async fn append_home(
        &self,
        partition: PartitionId,
        batches: &[Checked],
        answers: &mut [Option<Appended>],
    ) -> Result<(), AppendError> {
        let clock = &self.0.parties.clock;
        let until = clock.elapsed() + APPEND_WAIT_MAX;
        loop {
            let homes = self.homes_of(partition, batches, until).await?;
            match self.bring_home(batches, &homes, answers, until).await? {
                None => return Ok(()),
                Some(count) if clock.elapsed() >= until => {
                    return Err(AppendError::Elsewhere { count });
                }
                Some(count) => self.look_again(count).await,
            }
        }
    }

    /// Takes batches at a partition, all or none.
    async fn append_at(
        &self,
        partition: PartitionId,
        mut batches: Vec<Checked>,
        until: Duration,
    ) -> Result<Vec<Appended>, AppendError> {
        let lane = self.0.lanes.take(partition, &mut batches);
        let (outcome, in_doubt) = self.bring(partition, &batches, until).await;
        let Some(lane) = lane else { return outcome };
        let fate = match &outcome {
            Ok(_) => Fate::Taken,
            // One of it is not known there, so no try before was taken, and none will be.
            Err(AppendError::Elsewhere { .. }) => Fate::Refused,
            Err(AppendError::Sequence { .. }) => Fate::InDoubt,
            Err(_) if in_doubt => Fate::InDoubt,
            Err(_) => Fate::Refused,
        };
        self.0.lanes.give_back(partition, lane, fate);
        match outcome {
            elsewhere @ Err(AppendError::Elsewhere { .. }) => elsewhere,
            // Nobody can send it again under the same sequence.
            Err(_) if in_doubt => Err(AppendError::Unsure),
            outcome => outcome,
        }
    }

    /// What became of batches, and whether a try before may have taken them all the same.
    async fn bring(
        &self,
        partition: PartitionId,
        batches: &[Checked],
        until: Duration,
    ) -> (Result<Vec<Appended>, AppendError>, bool) {
        let clock = &self.0.parties.clock;
        let (mut pause, mut in_doubt) = (PAUSE_MIN, false);
        let mut last = AppendError::NoMajority(partition);
        let (mut hint, mut room_by) = (None, None);
        while clock.elapsed() < until {
            let node =
                hint.take().or_else(|| self.leader(partition)).or_else(|| self.any(partition));
            let outcome = match node {
                Some(node) => self.try_at(node, partition, batches).await,
                None => Err(AppendError::NotLeader { partition, leader: None }),
            };
            match outcome {
                Ok(appended) => {
                    self.remember(partition, node);
                    return (Ok(appended), in_doubt);
                }
                Err(AppendError::NotLeader { leader, .. }) => {
                    self.remember(partition, None);
                    hint = leader.filter(|leader| Some(*leader) != node);
                    // Who knows better is asked at once.
                    if hint.is_some() && pause == PAUSE_MIN {
                        pause *= 2;
                        continue;
                    }
                }
                Err(
                    error @ (AppendError::Unsure
                    | AppendError::Stopping
                    | AppendError::NoMajority(_)),
                ) => {
                    in_doubt |= matches!(error, AppendError::Unsure);
                    self.remember(partition, None);
                    last = error;
                }
                // There may be room for the answer that they were taken before.
                Err(error @ AppendError::Overloaded { .. }) if in_doubt => last = error,
                Err(AppendError::DiskFull) => {
                    last = self.full_at(node);
                    let by = || clock.elapsed() + self.room_wait(partition);
                    if !in_doubt && clock.elapsed() >= *room_by.get_or_insert_with(by) {
                        return (Err(last), in_doubt);
                    }
                }
                Err(error) => return (Err(error), in_doubt),
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        (Err(if in_doubt { AppendError::Unsure } else { last }), in_doubt)
    }

    /// How long another node may take to lead in the place of one whose disk is full.
    fn room_wait(&self, partition: PartitionId) -> Duration {
        let topology = self.0.metadata.catalog().topology();
        let placed = topology.borrow().partitions.get(&partition).map(|one| one.replicas.len());
        if placed > Some(1) { ROOM_WAIT_MAX } else { Duration::ZERO }
    }

    /// The disk of a node is full: by its name, so that it is known where to make room.
    fn full_at(&self, node: Option<NodeId>) -> AppendError {
        let known = node.and_then(|node| Some((node, self.0.metadata.address_of(node)?)));
        match known {
            Some((node, address)) => AppendError::DiskFullAt { node, address },
            None => AppendError::DiskFull,
        }
    }

    async fn try_at(
        &self,
        node: NodeId,
        partition: PartitionId,
        batches: &[Checked],
    ) -> Result<Vec<Appended>, AppendError> {
        if node == self.0.metadata.me() {
            let not_here = AppendError::NotLeader { partition, leader: None };
            return self.begun(partition).ok_or(not_here)?.append(batches.to_vec()).await;
        }
        let unknown = AppendError::NotLeader { partition, leader: None };
        let address = self.0.metadata.address_of(node).ok_or(unknown)?;
        let request = wire::encode_request(partition, batches);
        let call = self.0.metadata.peers().call(&address, wire::APPEND_CALL, request, CALL_WAIT);
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            // A machine that lost its power, or hangs, answers nobody, and no connection says so for
            // seconds: others have another leader long before.
            () = self.is_past(node, partition) => return Err(AppendError::Unsure),
        };
        match answer {
            Ok(answer) => wire::decode_answer(partition, &answer),
            Err(error) if error.is_ambiguous() => Err(AppendError::Unsure),
            Err(_) => Err(AppendError::NotLeader { partition, leader: None }),
        }
    }

    /// Returns when a node that was asked leads a partition no more, as far as is known here (the
    /// replica here follows another one by now, or the node was given up), and has not said so.
    async fn is_past(&self, node: NodeId, partition: PartitionId) {
        let mut topology = self.0.metadata.catalog().topology();
        let answers =
            |topology: &Topology| topology.nodes.get(&node).is_some_and(NodeInfo::answers);
        let given_up = async {
            let answered = answers(&topology.borrow_and_update());
            // One that was given up before may lead all the same.
            if !answered || topology.wait_for(|topology| !answers(topology)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let replaced = async {
            match self.replica(partition) {
                Some(replica) => replica.follows_another(node).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = given_up => {}
            () = replaced => {}
        }
        self.0.parties.clock.sleep(LAST_WORDS_WAIT).await;
    }

    /// Answers another node: what this one's replica says, if it leads.
    async fn take_over(&self, body: Bytes) -> Result<Bytes, String> {
        let (partition, batches) =
            wire::decode_request(body).ok_or("a request to append that cannot be read")?;
        let answer = match self.begun(partition) {
            Some(replica) => replica.append(batches).await,
            None => Err(AppendError::NotLeader { partition, leader: None }),
        };
        Ok(wire::encode_answer(&answer))
    }

    /// An offset behind everything of a partition that was acknowledged before: as its leader says.
    pub(crate) async fn settled(&self, partition: PartitionId) -> Option<Offset> {
        let node = self.leader(partition).or_else(|| self.any(partition))?;
        let address = self.0.metadata.address_of(node)?;
        let body = Bytes::copy_from_slice(&partition.0.to_le_bytes());
        let asked = self.0.metadata.peers().call(&address, SETTLED_CALL, body, SETTLED_WAIT).await;
        let settled = asked.ok().and_then(|body| body.as_ref().try_into().ok());
        if settled.is_none() {
            // Whoever is asked the next time may know more.
            self.remember(partition, None);
        }
        settled.map(|bytes| Offset(u64::from_le_bytes(bytes)))
    }

    /// Who leads a partition, as this node's replica knows it, or as it was.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        let known = self.replica(partition).and_then(|replica| replica.leader());
        known.or_else(|| {
            let leaders = self.0.leaders.lock().unwrap_or_else(PoisonError::into_inner);
            leaders.get(&partition).copied()
        })
    }

    /// What keeps replicas that should live here from being as they should, by partition.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<PartitionId, String> {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_trouble(&self, partition: PartitionId, trouble: Option<String>) {
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = troubles.get(&partition);
        let is_news = !self.0.metadata.goes();
        if let Some(error) = trouble.as_ref().filter(|trouble| is_news && known != Some(trouble)) {
            tracing::warn!(error, %partition, "a replica is not as it should be yet");
        }
        match trouble {
            Some(trouble) => troubles.insert(partition, trouble),
            None => troubles.remove(&partition),
        };
    }

    fn keep(&self, replica: Replica) {
        let mut replicas = self.0.replicas.write().unwrap_or_else(PoisonError::into_inner);
        replicas.insert(replica.id(), replica);
    }

    fn forget(&self, partition: PartitionId) {
        self.0.replicas.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    fn remember(&self, partition: PartitionId, leader: Option<NodeId>) {
        let mut leaders = self.0.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        match leader {
            Some(leader) => leaders.insert(partition, leader),
            None => leaders.remove(&partition),
        };
    }

    /// Some node that keeps the partition: it knows who leads.
    fn any(&self, partition: PartitionId) -> Option<NodeId> {
        let topology = self.0.metadata.catalog().topology().borrow().clone();
        let replicas = &topology.partitions.get(&partition)?.replicas;
        let answering = replicas.iter().map(|replica| replica.node);
        let answering =
            answering.filter(|node| topology.nodes.get(node).is_some_and(|node| node.answers()));
        let nodes: Vec<NodeId> = answering.collect();
        let at = usize::try_from(platform::random::u64() % (nodes.len().max(1) as u64));
        nodes.get(at.unwrap_or_default()).copied()
    }
}
