//! The types openraft is used with: opaque bytes in, opaque bytes out.

use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

openraft::declare_raft_types!(
    /// What a group of ours is made of.
    pub TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// A running Raft member.
pub type Raft = openraft::Raft<TypeConfig>;
/// Leader and place of an entry.
pub type LogId = openraft::LogId<u64>;
/// Who leads, or wants to.
pub type Vote = openraft::Vote<u64>;
/// Who belongs to a group.
pub type Membership = openraft::Membership<u64, Peer>;
/// The members and the entry that named them.
pub type StoredMembership = openraft::StoredMembership<u64, Peer>;
/// An entry of the log.
pub type Entry = openraft::Entry<TypeConfig>;
/// What an entry carries.
pub type EntryPayload = openraft::EntryPayload<TypeConfig>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
/// A snapshot with its bytes.
pub type Snapshot = openraft::Snapshot<TypeConfig>;
/// Why a store could not do what openraft asked.
pub type StorageError = openraft::StorageError<u64>;
/// Entries from the leader.
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
/// The answer to entries.
pub type AppendAnswer = openraft::raft::AppendEntriesResponse<u64>;
/// A request for a vote.
pub type VoteRequest = openraft::raft::VoteRequest<u64>;
/// The answer to a request for a vote.
pub type VoteAnswer = openraft::raft::VoteResponse<u64>;

/// What is proposed to a group; the group's state machine knows what it means.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Command(pub Bytes);

/// What the state machine answers to a command.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reply(pub Bytes);

/// Where a member lives. Members of several groups may live on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node's id.
    pub node: u64,
    /// Where the node answers other nodes.
    pub address: String,
}

/// A log id from its parts.
#[must_use]
pub fn log_id(term: u64, leader: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, leader), index)
}

/// The index behind a log id: that of the next entry.
#[must_use]
pub fn behind(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} bytes)", self.0.len())
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl<'de> de::Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
