//! A member of a Raft group: openraft with our settings, our log and our wire.

use std::fmt;
use std::future::Future;
use std::io::Cursor;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{Fatal, RaftError};
use openraft::storage::{RaftLogStorage as _, RaftStateMachine};
use openraft::{Config, ConfigError, RaftMetrics, ServerState, SnapshotPolicy};
use platform::clock::Clock;

use super::acks::Acks;
use super::codec::{self, CodecError, SnapshotPiece};
use super::network::Network;
use super::stand::Stand;
use super::store::{Fold, LogStore};
use super::types::{AppendAnswer, LogId, Peer, Raft, Snapshot, SnapshotMeta, TypeConfig, Vote};

/// Windows in which members stand for election. Who was cut off lacks entries and has a high term, which
/// it tells to everybody who stands, and who stands then starts again behind it. Since it is refused
/// for what it lacks, it waits for two of its longest waits more than others before it stands again:
/// who can win must wait for less than that, or never wins. (Of eight windows the last were too far off.)
const SLOTS: u32 = 3;

/// How often a leader says that it lives: an idle node does little else (docs/performance.md). A
/// member whose leader is silent for two and a half of these, and as much more as its slot says, asks
/// for votes; another refuses its vote for half as long.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// Entries sent at a time: they are large, and bounded in bytes as well.
const ENTRIES_MAX: u64 = 16;
/// How long a leader that steps back waits until the next one has all entries.
const EVERYTHING_WAIT_MAX: Duration = Duration::from_millis(500);
/// How long one piece of a snapshot may take, and installing the whole with the last.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(30);

/// A future that a transport returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Which group a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupId {
    /// The group that keeps the metadata.
    Metadata,
    /// The group of a partition.
    Partition(u32),
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::Partition(partition) => write!(f, "partition {partition}"),
        }
    }
}

/// What a call asks of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Append entries.
    Append,
    /// Append no entries: the leader says that it lives, and what is committed. It may wait a few
    /// milliseconds to travel with others.
    Beat,
    /// Vote.
    Vote,
    /// Take a piece of a snapshot.
    Snapshot,
}

/// Why a call got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Nobody is there now: it is tried again after a while.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// The call broke off: it is tried again at once.
    #[error("the call broke off: {0}")]
    Broken(String),
    /// The member is there and does not answer such a call ([`CallError`] in its words).
    #[error("the member refuses: {0}")]
    Refused(String),
}

/// Carries calls to other nodes. What takes longer than its caller waits is dropped.
pub trait Transport: Send + Sync + 'static {
    /// Calls the group's member on a node, which gives the body to [`Group::handle`], and returns
    /// its answer.
    fn call(
        &self,
        to: &Peer,
        group: GroupId,
        kind: CallKind,
        body: Bytes,
    ) -> BoxFuture<Result<Bytes, TransportError>>;
}

/// Who a member is.
#[derive(Debug, Clone, Copy)]
pub struct GroupSettings {
    /// Its group.
    pub group: GroupId,
    /// Its id in the group: never used again, even by the same node after it lost its log.
    pub member: u64,
    /// Its place among the members, from 0: who asks for votes first when the leader is silent. Of
    /// places further behind [`SLOTS`] begins anew.
    pub slot: u32,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
}

impl GroupSettings {
    /// With the usual heartbeat.
    #[must_use]
    pub fn new(group: GroupId, member: u64, slot: u32) -> Self {
        Self { group, member, slot, heartbeat: HEARTBEAT }
    }

    /// openraft 0.9 draws its election timeout once per life, so that two members may collide for
    /// ever; each slot has a window of its own instead.
    fn config(&self) -> Result<Config, Box<ConfigError>> {
        let heartbeat = u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX).max(8);
        let slots = u64::from(self.slot % SLOTS);
        // Who follows stands `min + max` after it last heard of the leader, and votes for nobody for `max`.
        let min = heartbeat.saturating_add(heartbeat / 4).saturating_add(slots * (heartbeat / 2));
        Config {
            cluster_name: self.group.to_string(),
            // openraft looks at its timers one and a half times as rarely as it says that it lives, and
            // waits so long for an answer.
            heartbeat_interval: heartbeat / 2,
            election_timeout_min: min,
            election_timeout_max: min.saturating_add(heartbeat / 8),
            install_snapshot_timeout: u64::try_from(SNAPSHOT_WAIT_MAX.as_millis())
                .unwrap_or(u64::MAX),
            max_payload_entries: ENTRIES_MAX,
            // Who has all but these may be waited for when it becomes a voter.
            replication_lag_threshold: 4 * ENTRIES_MAX,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            ..Config::default()
        }
        .validate()
        .map_err(Box::new)
    }
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The heartbeat or the slot is no use.
    #[error(transparent)]
    Settings(#[from] Box<ConfigError>),
    /// The log or the state machine failed.
    #[error(transparent)]
    Raft(#[from] Box<Fatal<u64>>),
}

/// Why a call is not answered. The caller's transport says [`TransportError::Refused`].
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The body is no message of ours.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is for a member that lived here before, or will.
    #[error("member {wanted} is not here, member {here} is")]
    WrongMember {
        /// Who was called.
        wanted: u64,
        /// Who is here.
        here: u64,
    },
    /// A piece of a snapshot is missing before this one.
    #[error("a piece of the snapshot is missing: send it from its beginning")]
    Gap,
    /// The member does not work any more.
    #[error("the member stopped")]
    Stopped(#[source] Box<Fatal<u64>>),
}

/// A member of a group. Clones share it.
#[derive(Clone)]
pub struct Group {
    raft: Arc<Raft>,
    settings: GroupSettings,
    stand: Stand,
    acks: Acks,
    /// The last entry of the log when it was opened.
    opened: Option<LogId>,
    incoming: Arc<Mutex<Option<Incoming>>>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A snapshot of which pieces came.
#[derive(Debug)]
struct Incoming {
    vote: Vote,
    meta: SnapshotMeta,
    total: u64,
    bytes: Vec<u8>,
}

impl Group {
    /// Starts a member on its log and its state machine.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start<F: Fold, M: RaftStateMachine<TypeConfig>>(
        settings: GroupSettings,
        log: LogStore<F>,
        machine: M,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(settings.config()?);
        let (stand, acks) = (Stand::new(2 * settings.heartbeat), Acks::default());
        let network = Network::new(transport, settings.group, stand.clone(), acks.clone());
        let opened = log.clone().get_log_state().await;
        let opened = opened.map_err(|error| Box::new(Fatal::StorageError(error)))?.last_log_id;
        let raft = Raft::new(settings.member, config, network, log, machine).await;
        let raft = Arc::new(raft.map_err(Box::new)?);
        stand.begin(&raft);
        Ok(Self { raft, settings, stand, acks, opened, incoming: Arc::default() })
    }

    /// The member itself: to write, to read its metrics, to change its group.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Who it is.
    #[must_use]
    pub fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Whether it leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.raft.server_metrics().borrow().state == ServerState::Leader
    }

    /// Whether all is applied that its log had when it was opened, or something of a later leader. A leader that
    /// is started again leads on in the same term: before that it does not know all that it has acknowledged
    /// itself, and openraft 0.9 takes its first entry for enough.
    #[must_use]
    pub fn has_applied_opened(&self) -> bool {
        self.raft.metrics().borrow().last_applied >= self.opened
    }

    /// Whether something of its own leadership is applied: before that it may not know what a leader
    /// before it has acknowledged.
    #[must_use]
    pub fn has_applied_own(&self) -> bool {
        let metrics = self.raft.metrics().borrow().clone();
        let applied = metrics.last_applied.map(|id| id.leader_id);
        applied.is_some_and(|leader| metrics.vote.leader_id == leader)
    }

    /// Whether a majority took something of this leader that was sent within that time: nobody else
    /// leads then, if no member votes for another one as soon.
    #[must_use]
    pub fn is_heard_within(&self, time: Duration) -> bool {
        let now = Clock::system().elapsed();
        let metrics = self.raft.metrics().borrow().clone();
        self.acks.are_within(time, self.settings.member, &metrics, now)
    }

    /// Whether a leader may go on saying that it lives: it is heard within that time, or leads for no
    /// longer than that, so that nobody can have heard it yet.
    #[must_use]
    pub fn may_go_on(&self, time: Duration) -> bool {
        let (now, metrics) = (Clock::system().elapsed(), self.raft.metrics());
        let metrics = metrics.borrow();
        // Who does not know yet that it leads has just begun to.
        metrics.state != ServerState::Leader
            || self.acks.has_just_begun(time, metrics.vote, now)
            || self.acks.are_within(time, self.settings.member, &metrics, now)
    }

    /// How long it has taken nothing of a leader, where it does not lead itself.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.stand.silence()
    }

    /// Whether it may stand for election. It votes all the same.
    pub fn may_stand(&self, may: bool) {
        self.stand.may(may);
    }

    /// Lets another member lead: `ask` asks one to stand for election, and says whether it was
    /// reached. Whether somebody else leads then.
    ///
    /// Members refuse their vote as long as they heard of their leader a moment ago, so whoever is
    /// asked fails at first and only ends this one's leadership. Meanwhile this one does not stand
    /// itself: as a rule it would be the first and lead again, and whoever wants it to go would ask
    /// for ever, while nobody leads most of the time. Who lacks an entry cannot be elected and would
    /// only end this leadership, so nobody is asked before `to` has everything.
    pub async fn step_back(
        &self,
        to: u64,
        ask: impl Future<Output = bool>,
        patience: Duration,
    ) -> bool {
        let me = self.settings.member;
        let has_all = |metrics: &RaftMetrics<u64, Peer>| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&to).copied());
            matched.flatten().map(|id| id.index) == metrics.last_log_index
        };
        let wait = self.raft.wait(Some(EVERYTHING_WAIT_MAX));
        if Box::pin(wait.metrics(has_all, "the next leader to have everything")).await.is_err() {
            return false;
        }
        self.stand.may(false);
        let followed = ask.await && {
            let wait = self.raft.wait(Some(patience));
            let is_other = |leader: Option<u64>| leader.is_some_and(|leader| leader != me);
            Box::pin(wait.metrics(|metrics| is_other(metrics.current_leader), "another leader"))
                .await
                .is_ok()
        };
        self.stand.may(true);
        followed
    }

    /// Answers a call of another member.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn handle(&self, kind: CallKind, body: Bytes) -> Result<Bytes, CallError> {
        let me = self.settings.member;
        match kind {
            CallKind::Append | CallKind::Beat => {
                let (wanted, request) = codec::decode_append(&body)?;
                self.check(wanted)?;
                // It may take a while to write, and whoever sent it leads all the same.
                if request.vote.is_committed() && request.vote >= self.raft.metrics().borrow().vote
                {
                    self.stand.heard();
                }
                let answer = self.raft.append_entries(request).await.map_err(stopped)?;
                if !matches!(answer, AppendAnswer::HigherVote(_)) {
                    self.stand.heard();
                }
                Ok(codec::encode_append_answer(me, &answer))
            }
            CallKind::Vote => {
                let (wanted, request) = codec::decode_vote(&body)?;
                self.check(wanted)?;
                let theirs = request.last_log_id;
                let answer = self.raft.vote(request).await.map_err(stopped)?;
                self.stand.answered(theirs, &answer).await;
                Ok(codec::encode_vote_answer(me, &answer))
            }
            CallKind::Snapshot => {
                let (wanted, piece) = codec::decode_snapshot(&body)?;
                self.check(wanted)?;
                let vote = self.take(piece).await?;
                Ok(codec::encode_snapshot_answer(me, &vote))
            }
        }
    }

    /// Ends the member. Its log may be opened again when this returns and every clone of the log's
    /// handle is gone.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, group = %self.settings.group, "the member ended badly");
        }
    }

    fn check(&self, wanted: u64) -> Result<(), CallError> {
        let here = self.settings.member;
        if wanted == here { Ok(()) } else { Err(CallError::WrongMember { wanted, here }) }
    }

    /// Takes a piece of a snapshot, and installs the whole with the last one.
    async fn take(&self, piece: SnapshotPiece) -> Result<Vote, CallError> {
        let mine = self.raft.metrics().borrow().vote;
        if mine > piece.vote {
            return Ok(mine);
        }
        let vote = piece.vote;
        let whole = self.collect(piece)?;
        let Some(Incoming { vote, meta, bytes, .. }) = whole else { return Ok(vote) };
        let snapshot = Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        Ok(installed.map_err(|error| CallError::Stopped(Box::new(error)))?.vote)
    }

    fn collect(&self, piece: SnapshotPiece) -> Result<Option<Incoming>, CallError> {
        let SnapshotPiece { vote, meta, total, offset, bytes } = piece;
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if offset == 0 {
            *incoming = Some(Incoming { vote, meta, total, bytes: Vec::new() });
        } else {
            let same = |known: &Incoming| {
                known.vote == vote
                    && known.meta == meta
                    && known.total == total
                    && known.bytes.len() as u64 == offset
            };
            if !incoming.as_ref().is_some_and(same) {
                return Err(CallError::Gap);
            }
        }
        if let Some(known) = incoming.as_mut() {
            known.bytes.extend_from_slice(&bytes);
        }
        Ok(incoming.take_if(|known| known.bytes.len() as u64 == known.total))
    }
}

fn stopped(error: RaftError<u64>) -> CallError {
    match error {
        RaftError::Fatal(fatal) => CallError::Stopped(Box::new(fatal)),
        RaftError::APIError(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_entries_stands_less_often_than_who_can_win() {
        let waits = |slot| {
            let config = GroupSettings::new(GroupId::Metadata, 1, slot).config().unwrap();
            (config.election_timeout_min, config.election_timeout_max)
        };
        for (one, other) in (0..64).flat_map(|one| (0..64).map(move |other| (one, other))) {
            let (least, most) = waits(one);
            assert!(waits(other).1 < least + 2 * most, "{one} keeps {other} from winning");
        }
    }
}
