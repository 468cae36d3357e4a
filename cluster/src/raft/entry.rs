//! What a Raft entry and a snapshot point look like in a frame. Drawn in docs/queue.md.

use std::borrow::Cow;

use bytes::Bytes;

use super::store::SnapshotPoint;
use super::types::{Command, Entry, EntryPayload, LogId, StoredMembership, log_id};
use crate::log::Frame;

/// Bytes in front of an entry's command: index, leader, kind and three zero bytes.
pub(super) const ENTRY_HEAD_BYTES: usize = 20;
/// Bytes in front of a snapshot's membership: version, what there is, two zero bytes, term,
/// leader, index, length of the membership.
const POINT_HEAD_BYTES: usize = 32;
/// Version of a snapshot's head.
const POINT_VERSION: u8 = 1;
/// In a snapshot's second byte: there is an entry before it.
const HAS_ENTRY: u8 = 1;
/// In a snapshot's second byte: what is older is void.
const BEGINS_ANEW: u8 = 2;

/// An entry's head and what follows it.
pub(super) fn encode(entry: &Entry) -> ([u8; ENTRY_HEAD_BYTES], Cow<'_, [u8]>) {
    let (kind, body) = match &entry.payload {
        EntryPayload::Blank => (0, Cow::Borrowed(&[][..])),
        EntryPayload::Normal(command) => (1, Cow::Borrowed(&command.0[..])),
        EntryPayload::Membership(members) => {
            (2, Cow::Owned(serde_json::to_vec(members).expect("its keys are numbers")))
        }
    };
    let parts = [&entry.log_id.index.to_le_bytes()[..], &leader(&entry.log_id).to_le_bytes()];
    let bytes = parts.into_iter().flatten().copied().chain([kind, 0, 0, 0]);
    let mut head = [0; ENTRY_HEAD_BYTES];
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    (head, body)
}

/// Reads an entry out of its frame, without copying.
pub(super) fn decode(frame: &Frame) -> Option<Entry> {
    let index = number(&frame.payload, 0)?;
    let id = log_id(frame.term, number(&frame.payload, 8)?, index);
    let body = || frame.payload.slice(ENTRY_HEAD_BYTES..);
    let payload = match frame.payload.get(16..ENTRY_HEAD_BYTES)? {
        [0, 0, 0, 0] => EntryPayload::Blank,
        [1, 0, 0, 0] => EntryPayload::Normal(Command(body())),
        [2, 0, 0, 0] => EntryPayload::Membership(serde_json::from_slice(&body()).ok()?),
        _ => return None,
    };
    Some(Entry { log_id: id, payload })
}

/// Bytes of an entry's payload in memory and on disk, roughly.
pub(super) fn bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => ENTRY_HEAD_BYTES + command.0.len(),
        // Names of members: small, and rare.
        EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_HEAD_BYTES,
    }
}

/// A snapshot's payload.
pub(super) fn encode_point(point: &SnapshotPoint, anew: Anew) -> Vec<u8> {
    let members = serde_json::to_vec(&point.membership).expect("its keys are numbers");
    let has = if point.log_id.is_some() { HAS_ENTRY } else { 0 };
    let anew = if anew == Anew::Yes { BEGINS_ANEW } else { 0 };
    let id = point.log_id.unwrap_or_default();
    let mut bytes = Vec::with_capacity(POINT_HEAD_BYTES + members.len() + point.fold.len());
    bytes.extend_from_slice(&[POINT_VERSION, has | anew, 0, 0]);
    bytes.extend_from_slice(&id.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&leader(&id).to_le_bytes());
    bytes.extend_from_slice(&id.index.to_le_bytes());
    let length = u32::try_from(members.len()).expect("a group has few members");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&members);
    bytes.extend_from_slice(&point.fold);
    bytes
}

/// Whether a snapshot voids what is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anew {
    Yes,
    No,
}

/// Whether a frame's payload is a snapshot that voids what is older.
pub(super) fn begins_anew(payload: &[u8]) -> bool {
    payload.first() == Some(&POINT_VERSION)
        && payload.get(1).is_some_and(|has| has & BEGINS_ANEW != 0)
}

/// Reads a snapshot's payload.
pub(super) fn decode_point(payload: &Bytes) -> Option<SnapshotPoint> {
    let &[POINT_VERSION, has, 0, 0] = payload.get(..4)? else { return None };
    if has & !(HAS_ENTRY | BEGINS_ANEW) != 0 {
        return None;
    }
    let id = log_id(number(payload, 4)?, number(payload, 12)?, number(payload, 20)?);
    let length = u32::from_le_bytes(payload.get(28..POINT_HEAD_BYTES)?.try_into().ok()?);
    let end = POINT_HEAD_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let membership: StoredMembership =
        serde_json::from_slice(payload.get(POINT_HEAD_BYTES..end)?).ok()?;
    let fold = payload.slice(end..);
    Some(SnapshotPoint { log_id: (has & HAS_ENTRY != 0).then_some(id), membership, fold })
}

/// Who led when an entry was made.
pub(super) fn leader(id: &LogId) -> u64 {
    id.leader_id.node_id
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
