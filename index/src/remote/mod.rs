//! Fresh records that other nodes index: seen through views that those nodes hold, scanned there.

mod ask;
mod fragment;
mod moving;
mod relay;
mod rounds;
mod serve;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cluster::meta::Metadata;
use model::node::{NodeId, Topology};
use model::partition::{Offset, PartitionId};
use model::wire::Missing;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::gather::Round;
use crate::searcher::Searcher;
pub use fragment::{HeldUnit, Piece, Pieces, Reached};
use moving::Moves;
pub(crate) use moving::{Lack, Lacks, MOVE_WAIT};
pub(crate) use rounds::Promised;
use rounds::Rounds;
pub use serve::Host;

/// The call for a view.
const VIEW_CALL: &str = "view";
/// The call that lets a view go.
const LET_GO_CALL: &str = "let_go";
/// The call for the fields of a part.
const FIELDS_CALL: &str = "fields";
/// The call for the fields of a split.
const SPLIT_FIELDS_CALL: &str = "split_fields";
/// First byte of a ticket for the rows of a part.
const SCAN_TICKET: u8 = b'F';
/// First byte of a ticket for the rows of a split.
const SPLIT_TICKET: u8 = b'S';
/// First byte of a ticket for parts as they become searchable.
const FOLLOW_TICKET: u8 = b'T';
/// How long a node holds a view for another that does not let it go: longer than any query runs.
pub(crate) const VIEW_HELD_MAX: Duration = Duration::from_secs(300);
/// Views that a node holds for others.
const VIEWS_MAX: usize = 4_096;
/// How long a node may take to answer what asks for little.
const LITTLE_WAIT: Duration = Duration::from_millis(800);
/// How long a node may take to give a view.
const VIEW_WAIT: Duration = Duration::from_millis(1_500);

/// The way to the fresh records of other nodes. Clones share it.
#[derive(Debug, Clone)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metadata: Metadata,
    runtime: tokio::runtime::Handle,
    moves: Mutex<Moves>,
    rounds: Rounds<Arc<Round>>,
}

/// Notes when leases move, also while nobody asks, as long as this node asks others at all.
async fn watch_moves(remote: Weak<Inner>, mut topology: watch::Receiver<Arc<Topology>>) {
    loop {
        let now = topology.borrow_and_update().clone();
        let Some(inner) = remote.upgrade() else { return };
        let elapsed = inner.metadata.clock().elapsed();
        inner.moves.lock().unwrap_or_else(PoisonError::into_inner).meet(&now, elapsed);
        drop(inner);
        if topology.changed().await.is_err() {
            return;
        }
    }
}

impl Remote {
    /// Over this node's place in the cluster. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(metadata: Metadata) -> Self {
        let topology = metadata.catalog().topology();
        let (runtime, moves, rounds) =
            (tokio::runtime::Handle::current(), Mutex::default(), Rounds::default());
        let inner = Arc::new(Inner { metadata, runtime, moves, rounds });
        inner.runtime.spawn(watch_moves(Arc::downgrade(&inner), topology));
        Self(inner)
    }

    /// Whether this node's clock says about what those of most nodes say.
    pub(crate) fn clock_agrees(&self) -> bool {
        self.0.metadata.clock_agrees()
    }

    /// What the other nodes answer to a call that asks for little; those that do not answer are left
    /// out.
    async fn everywhere(&self, call: &str, body: Bytes) -> Vec<Bytes> {
        let (topology, me) = (self.topology(), self.0.metadata.me());
        let others = topology.nodes.values().filter(|node| node.id != me && node.answers());
        let asked = others.map(|node| {
            self.0.metadata.peers().call(&node.address, call, body.clone(), LITTLE_WAIT)
        });
        let answers = futures::future::join_all(asked).await;
        answers.into_iter().filter_map(Result::ok).collect()
    }
}

impl Searcher {
    /// What the other nodes of the cluster answer to a call that asks for little.
    pub async fn ask_others(&self, call: &str, body: Bytes) -> Vec<Bytes> {
        match self.remote() {
            Some(remote) => remote.everywhere(call, body).await,
            None => Vec::new(),
        }
    }
}

/// What a node has of the partitions that it indexes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ViewAnswer {
    /// By which it is held.
    view: u64,
    partitions: Vec<PartitionAnswer>,
    parts: Vec<PartAnswer>,
}

/// How far a node is with a partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartitionAnswer {
    partition: PartitionId,
    /// The token of the lease under which it is indexed there.
    token: u64,
    /// The offset below which records are in splits.
    published: Offset,
    /// Records that were acknowledged and are not searchable there yet.
    behind: u64,
    /// The offset below which records are searchable there.
    end: Offset,
}

/// Which rows of which split, as the asker's catalog has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SplitRequest<S, R> {
    split: S,
    request: R,
}

/// Some fresh rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartAnswer {
    partition: PartitionId,
    index: String,
    time_first: i64,
    time_last: i64,
    row_count: u64,
    bytes: u64,
    first: Offset,
    last: Offset,
}

/// Which part's rows are asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartRequest<R> {
    view: u64,
    part: usize,
    /// Rows below this are in splits that the asker reads.
    from: Offset,
    request: R,
}

/// Fresh rows that another node holds for a query.
#[derive(Debug)]
pub struct RemotePart {
    view: Arc<RemoteView>,
    /// Which one of the view.
    part: usize,
    /// Rows below this are in splits that are read here.
    from: Offset,
    answer: PartAnswer,
}

impl RemotePart {
    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.answer.partition
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &str {
        &self.answer.index
    }

    /// Earliest and latest timestamp.
    #[must_use]
    pub fn span(&self) -> (i64, i64) {
        (self.answer.time_first, self.answer.time_last)
    }

    /// Rows in it, or more when some of them are in splits by now.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.answer.row_count
    }

    /// Bytes that they take there, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.answer.bytes
    }

    /// The lowest and the highest offset.
    #[must_use]
    pub fn offsets(&self) -> (Offset, Offset) {
        (self.answer.first.max(self.from), self.answer.last)
    }

    /// Whether all its rows are fresh for us.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.answer.first >= self.from
    }

    /// The part without what is in splits by now; `None` when that is all of it.
    pub(crate) fn behind(mut self, published: Offset) -> Option<Self> {
        self.from = self.from.max(published);
        (self.answer.last >= self.from).then_some(self)
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("fresh records of partition {} on node {}", self.answer.partition, self.view.node)
    }
}

/// A view that another node holds for us, until it is dropped.
#[derive(Debug)]
struct RemoteView {
    remote: Remote,
    node: NodeId,
    address: String,
    view: u64,
}

/// That a partition's fresh records are not in an answer.
pub(crate) fn fresh_of(partition: PartitionId, why: String) -> Missing {
    Missing { what: format!("fresh records of partition {partition}"), why }
}

/// What was gathered from other nodes.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Their parts, with the offsets that they have published.
    pub(crate) parts: Vec<RemotePart>,
    pub(crate) published: Vec<(PartitionId, Offset)>,
    /// The offsets below which their records are searchable.
    pub(crate) ends: Vec<(PartitionId, Offset)>,
    pub(crate) missing: Vec<Missing>,
    /// The partitions that are among it.
    pub(crate) lacks: Lacks,
}
