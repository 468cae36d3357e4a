//! What nodes say to each other: calls and streams over Arrow Flight (gRPC, HTTP/2), with mutual
//! TLS where there are certificates. A call is a Flight action with bytes for a body; a stream is
//! a ticket's flight. Every request says which cluster it belongs to, and which node speaks;
//! strangers are refused, and nodes that were removed.
//!
//! Neighbours of one version apart: what is unknown in a body is passed over, a call that is unknown is
//! answered with words by which the caller knows that nothing was done ([`PeerError::NotDone`]).

mod beats;
mod client;
mod detour;
mod serve;
mod raft;
mod tls;

use std::time::Duration;

pub use client::{FlightStream, Peers};
pub use detour::Detour;
pub use raft::{Members, PeerTransport};
pub(crate) use serve::REMOVED;
pub use serve::{PeerServer, PeerServerError, Served};
pub use tls::{CertificateError, Certificates, PeerTls, has_certificate, issue};

/// Version of what nodes say to each other. Neighbours of one version apart work together; what is
/// new among the commands of the catalog waits until every node speaks it.
pub const PROTOCOL: u32 = 5;
/// The version since which a node says who it is with every request, and since which nodes that are to
/// be left are marked so.
pub(crate) const PROTOCOL_NAMES: u32 = 2;
/// Bytes of one message at most: a batch of entries, a catalog as a snapshot.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Bytes on their way on one connection before somebody has read them.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Bytes on their way of one call.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// How often a silent connection is asked whether the other side lives.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take to answer that.
const ALIVE_WAIT: Duration = Duration::from_secs(4);
/// How long connecting may take.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Header with the cluster's id.
const CLUSTER_HEADER: &str = "sawlog-cluster";
/// Header with the id of the node that speaks; programs before [`PROTOCOL_NAMES`] did not say it.
const NODE_HEADER: &str = "sawlog-node";
/// Header with the version of what is said.
const PROTOCOL_HEADER: &str = "sawlog-protocol";
/// What a node says that knows no cluster yet: it may only ask to join.
const NO_CLUSTER: &str = "none";

/// Why another node was not reached, or did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// It does not answer. What was asked may have been done.
    #[error("node {address} does not answer: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection says.
        why: String,
    },
    /// It took longer than that. What was asked may have been done.
    #[error("node {address} did not answer within {ms} ms")]
    Late {
        /// Where.
        address: String,
        /// The deadline, milliseconds.
        ms: u64,
    },
    /// It does no such thing, or not yet: it is starting, or of the version before. Nothing was done.
    #[error("node {address} cannot do it now: {why}")]
    NotDone {
        /// Where.
        address: String,
        /// Its words.
        why: String,
    },
    /// It is of another cluster, or of a version too far away; or we were removed.
    #[error("node {address} refuses us: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its words.
        why: String,
    },
    /// It tried, and failed.
    #[error("node {address} failed: {why}")]
    Failed {
        /// Where.
        address: String,
        /// Its words.
        why: String,
    },
}

impl PeerError {
    /// Whether what was asked may have been done all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Late { .. })
    }
}

#[cfg(test)]
mod tests;
