//! How openraft reaches the other members: over a transport of ours.
//!
//! openraft gives entries one heartbeat to arrive and be synced, and then sends them again. A
//! large group of entries on a slow line would never get through. So a call with entries goes on
//! when openraft stops waiting, and the next attempt waits for it, with heartbeats beside it that
//! keep the member from calling an election.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout,
    Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::SnapshotResponse;
use openraft::{OptionalSend, RPCTypes, RaftNetwork, RaftNetworkFactory};
use platform::clock::Clock;
use tokio::task::JoinHandle;

use super::acks::Acks;
use super::codec::{self, CodecError, SNAPSHOT_PIECE_BYTES, SnapshotPiece};
use super::group::{CallKind, GroupId, Transport, TransportError};
use super::stand::Stand;
use super::types::{
    AppendAnswer, AppendRequest, LogId, Peer, Snapshot, TypeConfig, Vote, VoteAnswer, VoteRequest,
};

/// How long entries may be on their way, however often openraft asks for them.
const FLIGHT_WAIT_MAX: Duration = Duration::from_secs(30);

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// Why a call brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum CallFailed {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("member {0} answered instead")]
    Stranger(u64),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the call was given up")]
    GivenUp,
}

/// Makes connections for one group.
pub(super) struct Network {
    transport: Arc<dyn Transport>,
    group: GroupId,
    stand: Stand,
    acks: Acks,
}

impl Network {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        group: GroupId,
        stand: Stand,
        acks: Acks,
    ) -> Self {
        Self { transport, group, stand, acks }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Connection {
        let line = Line {
            transport: self.transport.clone(),
            group: self.group,
            target,
            peer: node.clone(),
            acks: self.acks.clone(),
        };
        Connection { line, stand: self.stand.clone(), flight: None }
    }
}

/// The way to one member.
pub(super) struct Connection {
    line: Line,
    stand: Stand,
    flight: Option<Flight>,
}

#[derive(Clone)]
struct Line {
    transport: Arc<dyn Transport>,
    group: GroupId,
    target: u64,
    peer: Peer,
    acks: Acks,
}

/// Entries on their way.
struct Flight {
    vote: Vote,
    prev: Option<LogId>,
    last: Option<LogId>,
    call: JoinHandle<Result<AppendAnswer, CallFailed>>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.call.abort();
    }
}

impl Line {
    async fn call<T>(
        &self,
        kind: CallKind,
        body: Bytes,
        wait: Duration,
        decode: fn(&Bytes) -> Result<(u64, T), CodecError>,
    ) -> Result<T, CallFailed> {
        let call = self.transport.call(&self.peer, self.group, kind, body);
        let answer = Clock::system().timeout(wait, call).await.ok_or(CallFailed::Late(wait))??;
        match decode(&answer)? {
            (member, answer) if member == self.target => Ok(answer),
            (stranger, _) => Err(CallFailed::Stranger(stranger)),
        }
    }

    async fn append(
        &self,
        request: &AppendRequest,
        wait: Duration,
    ) -> Result<AppendAnswer, CallFailed> {
        let kind = if request.entries.is_empty() { CallKind::Beat } else { CallKind::Append };
        let body = codec::encode_append(self.target, request);
        let sent = Clock::system().elapsed();
        let answer = self.call(kind, body, wait, codec::decode_append_answer).await?;
        if !matches!(answer, AppendAnswer::HigherVote(_)) {
            self.acks.note(request.vote, self.target, sent);
        }
        Ok(answer)
    }

    fn failed(&self, error: CallFailed) -> RpcError {
        match error {
            CallFailed::Late(timeout) => RPCError::Timeout(self.late(timeout)),
            CallFailed::Transport(TransportError::Broken(_)) | CallFailed::GivenUp => {
                RPCError::Network(NetworkError::new(&error))
            }
            // Also who refuses: at once it would refuse again.
            error => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }

    fn late(&self, timeout: Duration) -> Timeout<u64> {
        let target = self.target;
        Timeout { action: RPCTypes::AppendEntries, id: target, target, timeout }
    }
}

impl Connection {
    /// Sends entries, in a call of their own that outlives this one.
    fn take_off(&self, request: AppendRequest) -> Flight {
        let (vote, prev) = (request.vote, request.prev_log_id);
        let last = request.entries.last().map(|entry| entry.log_id);
        let line = self.line.clone();
        let call = async move { line.append(&request, FLIGHT_WAIT_MAX).await };
        Flight { vote, prev, last, call: tokio::spawn(call) }
    }

    /// Waits for the entries on their way. Dropping this leaves them there.
    async fn land(&mut self) -> Option<(Landed, Result<AppendAnswer, CallFailed>)> {
        let flight = self.flight.as_mut()?;
        let answer = (&mut flight.call).await.unwrap_or(Err(CallFailed::GivenUp));
        let landed = Landed { vote: flight.vote, prev: flight.prev, last: flight.last };
        self.flight = None;
        Some((landed, answer))
    }
}

/// Entries that arrived, or will not.
struct Landed {
    vote: Vote,
    prev: Option<LogId>,
    last: Option<LogId>,
}

impl Landed {
    /// What an answer to these entries says about a later request.
    fn answer(&self, answer: &AppendAnswer, request: &AppendRequest) -> Option<AppendAnswer> {
        let last = request.entries.last().map_or(request.prev_log_id, |entry| Some(entry.log_id));
        match answer {
            AppendAnswer::HigherVote(vote) => Some(AppendAnswer::HigherVote(*vote)),
            _ if self.vote != request.vote => None,
            AppendAnswer::Success if self.last == last => Some(AppendAnswer::Success),
            AppendAnswer::Success if self.last >= request.prev_log_id && self.last < last => {
                Some(AppendAnswer::PartialSuccess(self.last))
            }
            AppendAnswer::Conflict if self.prev == request.prev_log_id => {
                Some(AppendAnswer::Conflict)
            }
            _ => None,
        }
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendAnswer, RpcError> {
        let ttl = option.hard_ttl();
        if self.flight.is_some() {
            let beat = AppendRequest {
                vote: rpc.vote,
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            let line = self.line.clone();
            let heart = async move {
                match line.append(&beat, ttl).await {
                    Ok(AppendAnswer::HigherVote(vote)) => vote,
                    _ => std::future::pending().await,
                }
            };
            let landed = tokio::select! {
                landed = self.land() => landed,
                vote = heart => return Ok(AppendAnswer::HigherVote(vote)),
            };
            if let Some((landed, answer)) = landed {
                let answer = answer.map_err(|error| self.line.failed(error))?;
                if let Some(answer) = landed.answer(&answer, &rpc) {
                    return Ok(answer);
                }
            }
        }
        if rpc.entries.is_empty() {
            let answer = self.line.append(&rpc, ttl).await;
            return answer.map_err(|error| self.line.failed(error));
        }
        self.flight = Some(self.take_off(rpc));
        match self.land().await {
            Some((_, answer)) => answer.map_err(|error| self.line.failed(error)),
            None => Err(self.line.failed(CallFailed::GivenUp)),
        }
    }

    async fn install_snapshot(
        &mut self,
        _: openraft::raft::InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<
        openraft::raft::InstallSnapshotResponse<u64>,
        RPCError<u64, Peer, RaftError<u64, openraft::error::InstallSnapshotError>>,
    > {
        // Only openraft's own way to send a whole snapshot asks for this; ours is below.
        Err(RPCError::Unreachable(Unreachable::new(&CallFailed::GivenUp)))
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteAnswer, RpcError> {
        let body = codec::encode_vote(self.line.target, &rpc);
        let call =
            self.line.call(CallKind::Vote, body, option.hard_ttl(), codec::decode_vote_answer);
        let answer = call.await.map_err(|error| self.line.failed(error))?;
        self.stand.asked(rpc.vote, rpc.last_log_id, &answer);
        Ok(answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let line = &self.line;
        let send = async move {
            let whole = Bytes::from(snapshot.snapshot.into_inner());
            let total = whole.len() as u64;
            let mut left = whole;
            loop {
                let bytes = left.split_to(left.len().min(SNAPSHOT_PIECE_BYTES));
                let offset = total - (left.len() + bytes.len()) as u64;
                let meta = snapshot.meta.clone();
                let piece = SnapshotPiece { vote, meta, total, offset, bytes };
                let body = codec::encode_snapshot(line.target, &piece);
                let call = line.call(
                    CallKind::Snapshot,
                    body,
                    option.hard_ttl(),
                    codec::decode_snapshot_answer,
                );
                let theirs = call.await?;
                if left.is_empty() || theirs > vote {
                    return Ok::<_, CallFailed>(SnapshotResponse::new(theirs));
                }
            }
        };
        let sent = tokio::select! {
            sent = send => sent,
            closed = cancel => return Err(closed.into()),
        };
        sent.map_err(|error| match error {
            CallFailed::Late(timeout) => StreamingError::Timeout(Timeout {
                action: RPCTypes::InstallSnapshot,
                ..line.late(timeout)
            }),
            CallFailed::Transport(TransportError::Unreachable(_)) => {
                StreamingError::Unreachable(Unreachable::new(&error))
            }
            error => StreamingError::Network(NetworkError::new(&error)),
        })
    }
}
