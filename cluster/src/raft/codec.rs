//! What members say to each other, as bytes: a head, then the commands as they are.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version 1 |
//! | 1 | kind of message |
//! | 2 | zero |
//! | 8 | member it is for, or from |
//! | 4 | bytes of the head |
//! | … | the head, JSON |
//! | … | raw: commands one behind the other, or a piece of a snapshot |

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{
    AppendAnswer, AppendRequest, Command, Entry, EntryPayload, LogId, Membership, SnapshotMeta,
    Vote, VoteAnswer, VoteRequest,
};

/// The version that this program writes.
const VERSION: u8 = 1;
/// Bytes before a head.
const FIXED_BYTES: usize = 16;
/// Bytes of a snapshot that travel in one message.
pub const SNAPSHOT_PIECE_BYTES: usize = 8 << 20;
/// Bytes of a whole snapshot; more is not taken.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The other node is of another version.
    #[error("a message of version {0}, this node speaks {VERSION}: update the older node")]
    Version(u8),
    /// The bytes are not what a node sends.
    #[error("the message is damaged: {0}")]
    Malformed(&'static str),
}

/// Kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Append = 1,
    AppendAnswer = 2,
    Vote = 3,
    VoteAnswer = 4,
    Snapshot = 5,
    SnapshotAnswer = 6,
}

/// A piece of a snapshot on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// The leader's vote.
    pub vote: Vote,
    /// What it is a snapshot of.
    pub meta: SnapshotMeta,
    /// Bytes of the whole.
    pub total: u64,
    /// Where this piece begins.
    pub offset: u64,
    /// The piece.
    pub bytes: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct AppendHead {
    vote: Vote,
    prev: Option<LogId>,
    commit: Option<LogId>,
    entries: Vec<EntryHead>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EntryHead {
    id: LogId,
    payload: PayloadHead,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PayloadHead {
    Blank {},
    /// Bytes of the command.
    Normal(u32),
    Members(Membership),
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotHead {
    vote: Vote,
    meta: SnapshotMeta,
    total: u64,
    offset: u64,
}

/// Entries for a member.
#[must_use]
pub fn encode_append(member: u64, request: &AppendRequest) -> Bytes {
    let payload = |entry: &Entry| match &entry.payload {
        EntryPayload::Blank => PayloadHead::Blank {},
        EntryPayload::Normal(command) => PayloadHead::Normal(
            u32::try_from(command.0.len()).expect("a command fits into a frame of the log"),
        ),
        EntryPayload::Membership(members) => PayloadHead::Members(members.clone()),
    };
    let head = AppendHead {
        vote: request.vote,
        prev: request.prev_log_id,
        commit: request.leader_commit,
        entries: (request.entries.iter())
            .map(|entry| EntryHead { id: entry.log_id, payload: payload(entry) })
            .collect(),
    };
    let commands = request.entries.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Normal(command) => Some(&command.0),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    });
    encode(Kind::Append, member, &head, commands)
}

/// Entries from the leader, and the member they are for.
///
/// # Errors
/// [`CodecError`].
pub fn decode_append(bytes: &Bytes) -> Result<(u64, AppendRequest), CodecError> {
    let (member, head, mut raw): (_, AppendHead, _) = decode(Kind::Append, bytes)?;
    let mut entries = Vec::with_capacity(head.entries.len());
    for entry in head.entries {
        let payload = match entry.payload {
            PayloadHead::Blank {} => EntryPayload::Blank,
            PayloadHead::Members(members) => EntryPayload::Membership(members),
            PayloadHead::Normal(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > raw.len() {
                    return Err(CodecError::Malformed("a command is cut short"));
                }
                EntryPayload::Normal(Command(raw.split_to(length)))
            }
        };
        entries.push(Entry { log_id: entry.id, payload });
    }
    if !raw.is_empty() {
        return Err(CodecError::Malformed("there is more behind the last command"));
    }
    let (prev_log_id, leader_commit) = (head.prev, head.commit);
    Ok((member, AppendRequest { vote: head.vote, prev_log_id, entries, leader_commit }))
}

/// The answer to entries.
#[must_use]
pub fn encode_append_answer(member: u64, answer: &AppendAnswer) -> Bytes {
    encode(Kind::AppendAnswer, member, answer, [])
}

/// The answer to entries, and the member it is from.
///
/// # Errors
/// [`CodecError`].
pub fn decode_append_answer(bytes: &Bytes) -> Result<(u64, AppendAnswer), CodecError> {
    decode_bare(Kind::AppendAnswer, bytes)
}

/// A request for a member's vote.
#[must_use]
pub fn encode_vote(member: u64, request: &VoteRequest) -> Bytes {
    encode(Kind::Vote, member, request, [])
}

/// A request for a vote, and the member it is for.
///
/// # Errors
/// [`CodecError`].
pub fn decode_vote(bytes: &Bytes) -> Result<(u64, VoteRequest), CodecError> {
    decode_bare(Kind::Vote, bytes)
}

/// The answer to a request for a vote.
#[must_use]
pub fn encode_vote_answer(member: u64, answer: &VoteAnswer) -> Bytes {
    encode(Kind::VoteAnswer, member, answer, [])
}

/// The answer to a request for a vote, and the member it is from.
///
/// # Errors
/// [`CodecError`].
pub fn decode_vote_answer(bytes: &Bytes) -> Result<(u64, VoteAnswer), CodecError> {
    decode_bare(Kind::VoteAnswer, bytes)
}

/// A piece of a snapshot for a member.
#[must_use]
pub fn encode_snapshot(member: u64, piece: &SnapshotPiece) -> Bytes {
    let SnapshotPiece { vote, meta, total, offset, bytes } = piece;
    let head = SnapshotHead { vote: *vote, meta: meta.clone(), total: *total, offset: *offset };
    encode(Kind::Snapshot, member, &head, [bytes])
}

/// A piece of a snapshot, and the member it is for.
///
/// # Errors
/// [`CodecError`].
pub fn decode_snapshot(bytes: &Bytes) -> Result<(u64, SnapshotPiece), CodecError> {
    let (member, head, bytes): (_, SnapshotHead, _) = decode(Kind::Snapshot, bytes)?;
    let end = head.offset.checked_add(bytes.len() as u64);
    if head.total > SNAPSHOT_BYTES_MAX || end.is_none_or(|end| end > head.total) {
        return Err(CodecError::Malformed("a piece is beyond the snapshot's end"));
    }
    let SnapshotHead { vote, meta, total, offset } = head;
    Ok((member, SnapshotPiece { vote, meta, total, offset, bytes }))
}

/// The answer to a piece of a snapshot: the vote of who answers.
#[must_use]
pub fn encode_snapshot_answer(member: u64, vote: &Vote) -> Bytes {
    encode(Kind::SnapshotAnswer, member, vote, [])
}

/// The answer to a piece of a snapshot, and the member it is from.
///
/// # Errors
/// [`CodecError`].
pub fn decode_snapshot_answer(bytes: &Bytes) -> Result<(u64, Vote), CodecError> {
    decode_bare(Kind::SnapshotAnswer, bytes)
}

fn encode<'a>(
    kind: Kind,
    member: u64,
    head: &impl Serialize,
    raw: impl IntoIterator<Item = &'a Bytes, IntoIter: Clone>,
) -> Bytes {
    let raw = raw.into_iter();
    let head = serde_json::to_vec(head).expect("its keys are numbers and texts");
    let size: usize = raw.clone().map(Bytes::len).sum();
    let mut out = BytesMut::with_capacity(FIXED_BYTES + head.len() + size);
    out.put_slice(&[VERSION, kind as u8, 0, 0]);
    out.put_u64_le(member);
    out.put_u32_le(u32::try_from(head.len()).expect("a head names few entries and members"));
    out.put_slice(&head);
    raw.for_each(|part| out.put_slice(part));
    out.freeze()
}

fn decode<H: DeserializeOwned>(kind: Kind, bytes: &Bytes) -> Result<(u64, H, Bytes), CodecError> {
    let short = CodecError::Malformed("it is cut short");
    let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>().ok_or(short.clone())?;
    match fixed {
        [VERSION, is, 0, 0, ..] if *is == kind as u8 => {}
        [VERSION, ..] => return Err(CodecError::Malformed("it is of another kind")),
        [version, ..] => return Err(CodecError::Version(*version)),
    }
    let numbers = fixed.get(4..12).and_then(|eight| eight.try_into().ok());
    let member = u64::from_le_bytes(numbers.ok_or(short.clone())?);
    let length = fixed.get(12..).and_then(|four| four.try_into().ok());
    let length = u32::from_le_bytes(length.ok_or(short.clone())?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (head, raw) = rest.split_at_checked(length).ok_or(short)?;
    let head = serde_json::from_slice(head)
        .map_err(|_| CodecError::Malformed("its head cannot be read"))?;
    Ok((member, head, bytes.slice_ref(raw)))
}

fn decode_bare<H: DeserializeOwned>(kind: Kind, bytes: &Bytes) -> Result<(u64, H), CodecError> {
    let (member, head, raw) = decode(kind, bytes)?;
    if raw.is_empty() { Ok((member, head)) } else { Err(CodecError::Malformed("it is too long")) }
}
