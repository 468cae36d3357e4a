//! The leader's proposer: what waits is judged and numbered together, proposed as one entry, and
//! answered when the entry is committed. One entry is on its way at a time, so that what is judged
//! is judged on everything before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cluster::raft::types::{LogId, Vote};
use cluster::raft::{Command, Group};
use model::partition::{Offset, PartitionId};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{RaftMetrics, ServerState};
use tokio::sync::{Mutex, oneshot, watch};

use super::machine::{Applied, Store};
use super::members::leads_surely;
use super::{ReplicaParties, fold, machine};
use crate::partition::{APPEND_BYTES_MAX, AppendError, Appended, Checked, Held, Judging, admit};

/// Bytes that are proposed together.
const GROUP_BYTES_MAX: usize = 4 << 20;
// An entry must fit into a frame of the log (64 MiB) with the heads of its batches.
const _: () = assert!(GROUP_BYTES_MAX + APPEND_BYTES_MAX + (4 << 20) <= 64 << 20);
/// How often producers that are silent are forgotten, where there are not too many.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a leader may take to apply what it found in its log when it was elected.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long a majority may take to say that a leader still leads.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// How long an entry may wait for a majority. Then it is not known whether it will be taken.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(8);

/// Batches of one request, and who waits for their fate.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(super) batches: Vec<Checked>,
    pub(super) reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
    pub(super) held: Held,
    /// Over how many partitions batches are spread, if that is to be told first; 0 otherwise.
    pub(super) count: u32,
}

pub(super) struct Proposer {
    pub(super) partition: PartitionId,
    pub(super) folder: PathBuf,
    pub(super) group: Group,
    pub(super) store: Store,
    pub(super) applied: watch::Receiver<Applied>,
    pub(super) parties: ReplicaParties,
    /// Who holds it lets no entry be proposed.
    pub(super) turn: Arc<Mutex<()>>,
    /// When producers were last forgotten, by the clock's elapsed time.
    pub(super) forgot: Duration,
    /// The version of the nodes' protocol that every member reads, and will.
    pub(super) all_read: Arc<AtomicU32>,
}

type Answers = Vec<(
    oneshot::Sender<Result<Vec<Appended>, AppendError>>,
    Result<Vec<Appended>, AppendError>,
    Held,
)>;

/// What became of proposals that waited.
struct Judged {
    /// What is to be written, if anything is new, and the offsets at which it begins and ends.
    command: Option<(Bytes, (Offset, Offset))>,
    answers: Answers,
    /// Everything that it was judged on is committed.
    is_on_committed: bool,
}

impl Proposer {
    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self, proposals: flume::Receiver<Proposal>) {
        while let Ok(first) = proposals.recv_async().await {
            let started = self.parties.clock.elapsed();
            let mut waiting = vec![first];
            let mut bytes = bytes_of(&waiting);
            while bytes < GROUP_BYTES_MAX {
                let Ok(next) = proposals.try_recv() else { break };
                bytes += next.batches.iter().map(|batch| batch.bytes.len()).sum::<usize>();
                waiting.push(next);
            }
            let turn = self.turn.clone();
            let _turn = turn.lock().await;
            self.commit(waiting).await;
            self.forget().await;
            let seconds = (self.parties.clock.elapsed() - started).as_secs_f64();
            self.parties.metrics.commit_seconds.observe(seconds);
        }
    }

    async fn commit(&mut self, waiting: Vec<Proposal>) {
        let wanted = waiting.iter().map(|proposal| proposal.count).max().unwrap_or(0);
        if let Err(error) = self.ready_for(wanted).await {
            for proposal in waiting {
                drop(proposal.reply.send(Err(error.clone())));
            }
            return;
        }
        let vote = self.group.raft().metrics().borrow().vote;
        let Judged { command, answers, is_on_committed } = self.judge(waiting);
        let is_written = command.is_some();
        let outcome = match command {
            Some((command, span)) => self.write(command, span).await,
            // What a repeat repeats must be committed itself.
            None if is_on_committed => Ok(()),
            None => Err(AppendError::NoMajority(self.partition)),
        };
        let is_asked = wanted > 0 || answers.iter().any(|(_, answer, _)| is_of_producers(answer));
        let is_sure = match is_asked && !(is_written && outcome.is_ok()) {
            true => is_on_committed && self.still_leads(vote).await,
            false => true,
        };
        for (reply, answer, held) in answers {
            let answer = match &outcome {
                _ if !is_sure && (wanted > 0 || is_of_producers(&answer)) => {
                    Err(AppendError::NoMajority(self.partition))
                }
                Err(error) if answer.is_ok() => Err(error.clone()),
                _ => answer,
            };
            // A client that went away does not hear that it was taken; its resend will.
            drop(reply.send(answer));
            drop(held);
        }
    }

    /// Whether this replica leads on, by the vote by which it led before, and nobody else can have taken
    /// anything meanwhile. A leader that was stopped for a while takes itself for one until it hears of the
    /// next.
    async fn still_leads(&self, vote: Vote) -> bool {
        let leads = self.parties.clock.timeout(CONFIRM_MAX, leads_surely(&self.group)).await;
        leads == Some(true) && self.group.raft().metrics().borrow().vote == vote
    }

    /// Lets every replica forget the producers that are silent too long, and the most silent of too
    /// many, now and then.
    async fn forget(&mut self) {
        let (count, is_full, last) = self
            .store
            .tail(|fold, _| (fold.0.producer_count(), fold.0.is_to_forget(), fold.0.last()));
        let now = self.parties.clock.elapsed();
        let is_time = now.saturating_sub(self.forgot) >= FORGET_INTERVAL;
        if count == 0 || !is_time && !is_full {
            return;
        }
        let Some(forget) = fold::forget(self.all_read.load(Ordering::Relaxed), last) else {
            return;
        };
        let written = self.group.raft().client_write(Command(forget));
        // Who leads no more leaves it to who does.
        if let Some(Ok(_)) = self.parties.clock.timeout(COMMIT_WAIT_MAX, written).await {
            self.forgot = now;
        }
    }

    /// Whether this replica may propose, to a group that was told of so many partitions.
    async fn ready_for(&mut self, count: u32) -> Result<(), AppendError> {
        self.ready().await?;
        if count <= self.store.tail(|fold, _| fold.0.count) {
            return Ok(());
        }
        let written = self.group.raft().client_write(Command(fold::spread(count)));
        match self.parties.clock.timeout(COMMIT_WAIT_MAX, written).await {
            Some(Ok(_)) => self.ready().await,
            _ => Err(AppendError::NoMajority(self.partition)),
        }
    }

    /// Whether this replica leads and has applied everything in its log: what a former leader left
    /// there may be a repeat of what is sent now.
    async fn ready(&mut self) -> Result<(), AppendError> {
        let metrics = self.group.raft().metrics().borrow().clone();
        if metrics.state != ServerState::Leader {
            return Err(self.not_leader(&metrics));
        }
        let last = self.store.tail(|_, last| last);
        let caught_up = self.applied.wait_for(|applied| applied.log_id >= last);
        let clock = self.parties.clock.clone();
        match clock.timeout(CATCH_UP_MAX, caught_up).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(AppendError::Stopping),
            None => Err(AppendError::NoMajority(self.partition)),
        }
    }

    fn not_leader(&self, metrics: &RaftMetrics<u64, cluster::raft::Peer>) -> AppendError {
        let peer = metrics
            .current_leader
            .and_then(|leader| metrics.membership_config.membership().get_node(&leader));
        let leader = peer.map(|peer| model::node::NodeId(peer.node));
        AppendError::NotLeader { partition: self.partition, leader }
    }

    fn judge(&self, waiting: Vec<Proposal>) -> Judged {
        let now = self.parties.clock.now();
        let room = admit(self.store.bytes(), &self.folder, &self.parties.settings);
        self.store.tail(|fold, last| {
            let is_on_committed = self.applied.borrow().log_id >= last;
            let bytes_max = self.parties.settings.queue_bytes_max;
            let mut judging = Judging::new(self.partition, &fold.0, now, room).within(bytes_max);
            let mut answers = Vec::with_capacity(waiting.len());
            for Proposal { batches, reply, held, .. } in waiting {
                answers.push((reply, judging.request(batches), held));
            }
            let repeats = answers.iter().filter_map(|(_, answer, _)| answer.as_ref().ok());
            let repeats = repeats.flatten().filter(|appended| appended.duplicate).count();
            self.parties.metrics.duplicates.inc_by(repeats as u64);
            let ends = judging.entries.first().zip(judging.entries.last());
            let span = ends.map(|((first, _), (last, _))| (first.first, last.end()));
            let command = span.map(|span| (fold::command(judging.count(), &judging.entries), span));
            Judged { command, answers, is_on_committed }
        })
    }

    /// Writes a command with batches that begin and end at those offsets.
    async fn write(&self, command: Bytes, span: (Offset, Offset)) -> Result<(), AppendError> {
        let before: Option<LogId> = self.applied.borrow().log_id;
        let written = self.group.raft().client_write(Command(command));
        match self.parties.clock.timeout(COMMIT_WAIT_MAX, written).await {
            Some(Ok(written)) if machine::taken(&written.data) == Some(span) => Ok(()),
            // Another leader's entries came between: what does not follow was passed over by everybody.
            Some(Ok(_)) => Err(AppendError::NotLeader { partition: self.partition, leader: None }),
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                // Refused at once it is in no log; after it was appended it may be committed yet.
                let appended = self.store.tail(|_, last| last) > before;
                if appended {
                    return Err(AppendError::Unsure);
                }
                let leader = forward.leader_node.map(|peer| model::node::NodeId(peer.node));
                Err(AppendError::NotLeader { partition: self.partition, leader })
            }
            Some(Err(error)) => {
                tracing::error!(%error, partition = %self.partition, "nothing could be taken");
                Err(AppendError::Unsure)
            }
            None => Err(AppendError::Unsure),
        }
    }
}

/// Whether an answer says what is known of a producer, or that it is not known: a producer cuts its batches
/// anew by that, or sends them elsewhere, so only who surely leads may say it.
fn is_of_producers(answer: &Result<Vec<Appended>, AppendError>) -> bool {
    use AppendError::{Elsewhere, Fenced, Sequence};
    matches!(answer, Err(Sequence { .. } | Fenced { .. } | Elsewhere { .. }))
}

fn bytes_of(waiting: &[Proposal]) -> usize {
    waiting.iter().flat_map(|one| &one.batches).map(|batch| batch.bytes.len()).sum()
}
