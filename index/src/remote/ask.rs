//! Asking other nodes for their fresh records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use model::node::{Lease, NodeId, Topology};
use model::partition::PartitionId;
use model::split::{FieldStat, SplitMeta};
use model::wire::Missing;

use super::{
    FIELDS_CALL, FOLLOW_TICKET, Gathered, LET_GO_CALL, Lack, Lacks, PartRequest, Promised, Remote,
    RemotePart, RemoteView, SCAN_TICKET, SPLIT_FIELDS_CALL, SPLIT_TICKET, SplitRequest, VIEW_CALL,
    VIEW_WAIT, ViewAnswer, fresh_of,
};
use crate::fresh::FreshPart;
use crate::gather::{Round, newest};
use crate::keep::wanted;
use crate::resume::Resume;
use crate::scan::{ScanError, ScanRequest};

/// How long one batch of rows may take.
const ROWS_WAIT: Duration = Duration::from_secs(20);
/// How often who waits for rows looks whether they are still wanted.
const WANTED_LOOK: Duration = Duration::from_millis(200);
/// Nodes that are asked for a split: one, and one more when it breaks off.
const KEEPERS_TRIED: usize = 2;
/// How long letting go may take.
const LET_GO_WAIT: Duration = Duration::from_secs(2);
/// How long a node may hear nothing of its cluster until its answers say so.
const SILENCE_MAX: Duration = Duration::from_secs(3);

impl Drop for RemoteView {
    fn drop(&mut self) {
        let inner = &self.remote.0;
        let peers = inner.metadata.peers().clone();
        let (address, view) = (self.address.clone(), self.view);
        // A node that does not hear of it lets it go after a while.
        inner.runtime.spawn(async move {
            let body = Bytes::copy_from_slice(&view.to_le_bytes());
            drop(peers.call(&address, LET_GO_CALL, body, LET_GO_WAIT).await);
        });
    }
}

impl Remote {
    /// The cluster as this node knows it.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.0.metadata.catalog().topology().borrow().clone()
    }

    /// The fresh records of every partition that this node does not index under a lease of its
    /// own: `mine` are those that it does. What cannot be had is named.
    pub(crate) async fn gather(&self, mine: &BTreeMap<PartitionId, u64>) -> Gathered {
        let mut gathered = Gathered::default();
        let topology = self.topology();
        let others = topology.partitions.keys().copied();
        let mut left: BTreeSet<PartitionId> =
            others.filter(|id| !is_mine(&topology, mine, *id)).collect();
        let mut why: BTreeMap<PartitionId, String> = BTreeMap::new();
        self.ask(&topology, &mut left, &mut why, &mut gathered).await;
        for partition in left {
            gathered.lacks.insert(partition, Lack::Away);
            let unknown = || "no node indexes it now".to_owned();
            let why = why.remove(&partition).unwrap_or_else(unknown);
            gathered.missing.push(fresh_of(partition, why));
        }
        gathered
    }

    /// Says so when this node does not hear of its cluster: others may know more.
    pub(crate) fn silence(&self) -> Option<Missing> {
        let silent = self.0.metadata.silence();
        (silent > SILENCE_MAX).then(|| Missing {
            what: "the newest records".to_owned(),
            why: format!("this node has not heard of its cluster for {} ms", silent.as_millis()),
        })
    }

    /// The partitions whose records an answer lacks and that may be there soon, for they move.
    pub(crate) fn come_soon(&self, lacks: &Lacks) -> BTreeSet<PartitionId> {
        let (topology, now) = (self.topology(), self.0.metadata.clock().elapsed());
        let mut moves = self.0.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.note(&topology, lacks, now)
    }

    /// The next round in which nodes are asked for what moves, if it begins by then: `ask`, or what
    /// another question asks by then.
    pub(crate) fn next_round(
        &self,
        by: Duration,
        ask: impl Future<Output = Arc<Round>> + Send + 'static,
    ) -> Option<Promised<Arc<Round>>> {
        self.0.rounds.next(by, (self.0.metadata.clock(), &self.0.runtime), ask)
    }

    /// Asks the holders of the leases for what is left.
    async fn ask(
        &self,
        topology: &Topology,
        left: &mut BTreeSet<PartitionId>,
        why: &mut BTreeMap<PartitionId, String>,
        gathered: &mut Gathered,
    ) {
        let mut by_node: BTreeMap<NodeId, Vec<(PartitionId, Lease)>> = BTreeMap::new();
        for partition in left.iter() {
            if let Some(lease) = topology.indexer(*partition) {
                by_node.entry(lease.node).or_default().push((*partition, lease));
            }
        }
        let me = self.0.metadata.me();
        let asked = by_node.into_iter().filter(|(node, _)| *node != me).map(|(node, leases)| {
            let address = topology.nodes.get(&node).map(|node| node.address.clone());
            async move {
                let Some(address) = address else {
                    return (leases, Err("its node is not known".to_owned()));
                };
                (leases, self.view_of(node, address).await)
            }
        });
        for (leases, answer) in futures::future::join_all(asked).await {
            let (view, answer) = match answer {
                Ok(answer) => answer,
                Err(words) => {
                    why.extend(leases.iter().map(|(partition, _)| (*partition, words.clone())));
                    continue;
                }
            };
            for (partition, lease) in leases {
                let known = answer
                    .partitions
                    .iter()
                    .find(|one| one.partition == partition && one.token >= lease.token);
                let Some(known) = known else {
                    let words = format!("node {} does not index it yet", view.node);
                    why.insert(partition, words);
                    continue;
                };
                left.remove(&partition);
                gathered.published.push((partition, known.published));
                gathered.ends.push((partition, known.end));
                if known.behind > 0 {
                    gathered.lacks.insert(partition, Lack::of(known.behind));
                    let what = newest(known.behind, partition);
                    let why = "they are being read from the queue".to_owned();
                    gathered.missing.push(Missing { what, why });
                }
                let parts = answer.parts.iter().enumerate();
                let own = parts.filter(|(_, part)| part.partition == partition);
                gathered.parts.extend(own.map(|(part, answer)| RemotePart {
                    view: view.clone(),
                    part,
                    from: known.published,
                    answer: answer.clone(),
                }));
            }
        }
    }

    async fn view_of(
        &self,
        node: NodeId,
        address: String,
    ) -> Result<(Arc<RemoteView>, ViewAnswer), String> {
        let peers = self.0.metadata.peers();
        let answer = peers.call(&address, VIEW_CALL, Bytes::new(), VIEW_WAIT).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let answer: ViewAnswer =
            serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let view = RemoteView { remote: self.clone(), node, address, view: answer.view };
        Ok((Arc::new(view), answer))
    }

    /// Scans a part there; `emit` gets the rows and may end it. Blocks.
    pub(crate) fn scan(
        &self,
        part: &RemotePart,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let away = |why: String| ScanError::Away { what: part.name(), why };
        let asked = PartRequest { view: part.view.view, part: part.part, from: part.from, request };
        self.rows(&part.view.address, SCAN_TICKET, &asked, emit).map_err(away)
    }

    /// Scans a split where it is kept; when that breaks off, once more on another copy. `resume` gets
    /// the rows, each once. Blocks.
    pub(crate) fn scan_split(
        &self,
        meta: &SplitMeta,
        request: &ScanRequest,
        resume: &mut Resume<'_>,
    ) -> Result<(), ScanError> {
        let asked = SplitRequest { split: meta, request };
        let mut why = "no node that keeps it is there".to_owned();
        for address in self.keepers(meta).into_iter().take(KEEPERS_TRIED) {
            if !resume.begin_anew() {
                break;
            }
            let mut take = |rows| resume.take(rows);
            let scanned = self.rows(&address, SPLIT_TICKET, &asked, &mut take);
            match scanned {
                Ok(()) => {
                    resume.finish();
                    return Ok(());
                }
                Err(words) => {
                    tracing::warn!(why = words, split = %meta.id, "a node that keeps the split does not give it");
                    why = words;
                }
            }
        }
        Err(ScanError::Away { what: format!("split {}", meta.id), why })
    }

    /// Where a split is kept, who answers first.
    pub(super) fn keepers(&self, meta: &SplitMeta) -> Vec<String> {
        let topology = self.topology();
        let nodes = match meta.copies.is_empty() {
            // In a store that all share: who has it in its cache.
            true => wanted(&meta.id, &topology),
            false => meta.copies.clone(),
        };
        let me = self.0.metadata.me();
        let nodes = nodes.iter().filter(|node| **node != me);
        let mut nodes: Vec<_> = nodes.filter_map(|node| topology.nodes.get(node)).collect();
        nodes.sort_by_key(|node| !node.answers());
        nodes.into_iter().map(|node| node.address.clone()).collect()
    }

    /// Whether this node is the one that should scan a split of a shared store.
    pub(crate) fn is_owner(&self, meta: &SplitMeta) -> bool {
        let topology = self.topology();
        let answers = |node: &NodeId| topology.nodes.get(node).is_some_and(|one| one.answers());
        let owner = wanted(&meta.id, &topology).into_iter().find(answers);
        owner.is_none_or(|owner| owner == self.0.metadata.me())
    }

    /// The rows of a ticket; `emit` gets them and may end it. Blocks.
    fn rows(
        &self,
        address: &str,
        kind: u8,
        asked: &impl serde::Serialize,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut ticket = vec![kind];
        serde_json::to_writer(&mut ticket, asked).map_err(|error| error.to_string())?;
        let (runtime, clock) = (&self.0.runtime, self.0.metadata.clock());
        let stream = self.0.metadata.peers().stream(address, ticket.into(), ROWS_WAIT);
        let mut stream = std::pin::pin!(stream);
        // It may wait for its place there.
        let stream = loop {
            match runtime.block_on(clock.timeout(WANTED_LOOK, stream.as_mut())) {
                Some(stream) => break stream.map_err(|error| error.to_string())?,
                None if emit(nothing()).is_break() => return Ok(()),
                None => {}
            }
        };
        let mut rows = batches(stream);
        let mut heard = clock.elapsed();
        loop {
            let batch = match runtime.block_on(clock.timeout(WANTED_LOOK, rows.next())) {
                Some(Some(batch)) => batch.map_err(|error| error.to_string())?,
                Some(None) => return Ok(()),
                None if clock.elapsed().saturating_sub(heard) >= ROWS_WAIT => {
                    return Err(format!("node {address} is silent"));
                }
                None => nothing(),
            };
            if batch.num_columns() > 0 || batch.num_rows() > 0 {
                heard = clock.elapsed();
            }
            if emit(batch).is_break() {
                return Ok(());
            }
        }
    }

    /// The fields of a part. Blocks.
    pub(crate) fn fields(&self, part: &RemotePart) -> Result<Vec<FieldStat>, ScanError> {
        let away = |why: String| ScanError::Away { what: part.name(), why };
        let asked =
            PartRequest { view: part.view.view, part: part.part, from: part.from, request: () };
        let body = serde_json::to_vec(&asked).map_err(|error| away(error.to_string()))?;
        let peers = self.0.metadata.peers();
        let call = peers.call(&part.view.address, FIELDS_CALL, body.into(), ROWS_WAIT);
        let answer = self.0.runtime.block_on(call).map_err(|error| away(error.to_string()))?;
        serde_json::from_slice(&answer).map_err(|error| away(error.to_string()))
    }

    /// The fields of a split from another node that keeps it; `None` when nobody tells. Blocks.
    pub(crate) fn split_fields(&self, meta: &SplitMeta) -> Option<Vec<FieldStat>> {
        let body = serde_json::to_vec(&SplitRequest { split: meta, request: () }).ok()?;
        let (body, peers) = (Bytes::from(body), self.0.metadata.peers());
        self.keepers(meta).into_iter().take(KEEPERS_TRIED).find_map(|address| {
            let call = peers.call(&address, SPLIT_FIELDS_CALL, body.clone(), ROWS_WAIT);
            let answer = self.0.runtime.block_on(call).ok()?;
            serde_json::from_slice(&answer).ok()
        })
    }

    /// Parts of another node as they become searchable there, with their partition and index.
    ///
    /// # Errors
    /// Why the node does not tell.
    pub async fn follow(
        &self,
        node: NodeId,
    ) -> Result<impl futures::Stream<Item = Result<Arc<FreshPart>, String>> + use<>, String> {
        let address = self.0.metadata.address_of(node).ok_or("its address is not known")?;
        let ticket = Bytes::from_static(&[FOLLOW_TICKET]);
        let stream = self.0.metadata.peers().stream(&address, ticket, VIEW_WAIT).await;
        let stream = stream.map_err(|error| error.to_string())?;
        Ok(super::serve::unpacked(stream))
    }
}

/// No rows: who gets it may not want more.
fn nothing() -> RecordBatch {
    RecordBatch::new_empty(Schema::empty().into())
}

/// The rows of a stream.
fn batches(stream: cluster::peer::FlightStream) -> FlightRecordBatchStream {
    let data = stream.map_err(|status| FlightError::Tonic(Box::new(status)));
    FlightRecordBatchStream::new_from_flight_data(data)
}

/// Whether this node indexes a partition under the lease that the cluster knows.
fn is_mine(topology: &Topology, mine: &BTreeMap<PartitionId, u64>, partition: PartitionId) -> bool {
    let lease = topology.indexer(partition);
    lease.is_some_and(|lease| mine.get(&partition) == Some(&lease.token))
}
