//! Consensus: a Raft group on openraft whose log is the segment files. One group keeps the
//! metadata, one more each partition of the queue.

pub mod types;
pub mod codec;
pub mod store;
pub mod group;
mod members;
mod entry;
mod state;
mod tail;
mod shared;
mod reader;
mod storage;
mod network;
mod acks;
mod stand;

pub use group::{CallError, CallKind, Group, GroupId, GroupSettings, Transport, TransportError};
pub use members::{CHANGE_WAIT_MAX, ChangeError, is_half_done};
pub use reader::{LogReader, REPLICATION_BYTES_MAX, ReadError};
pub use store::{Fold, LogSettings, LogStore, SegmentInfo, SnapshotPoint};
pub use types::{Command, Peer, Raft, Reply, TypeConfig};

#[cfg(test)]
mod tests;
