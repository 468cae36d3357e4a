//! A partition: a totally ordered durable log of batches with one writer.
//!
//! Batches that wait together are written and synced together (group commit); nobody is
//! answered before. Each segment begins with a snapshot of the producer table, so trimming loses
//! no memory of what was taken.

mod inflight;
mod judge;
pub(crate) mod producers;
mod seeds;
pub(crate) mod write;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cluster::log::{FrameKind, Log, LogError, Segment, SegmentReader};
use cluster::queue::{Queue, QueueError};
use model::batch::Sequence;
use model::codec::Head;
use model::error::Kind;
use model::limits::SEGMENT_BYTES_MAX;
use model::node::NodeId;
use model::partition::{Entry, Offset, PartitionId, RecordId};
use model::stream::StreamId;
use model::time::Timestamp;
use platform::clock::Clock;
use platform::disk::Disk;
use tokio::sync::{oneshot, watch};

use crate::metrics::IngestMetrics;
pub use inflight::INFLIGHT_BYTES_MAX;
pub(crate) use inflight::{Held, Inflight};
pub(crate) use judge::{Judging, admit};
pub use producers::{PRODUCER_SILENCE_MAX, PRODUCERS_MAX};
pub(crate) use seeds::Beginning;
pub use seeds::Seeds;
use write::{Command, Writer};

/// Bytes of batches that one request may bring to a partition: they wait together, and are one entry of a
/// cluster's log, with what waits beside them.
pub const APPEND_BYTES_MAX: usize = 56 << 20;

/// Bounds of a partition.
#[derive(Debug, Clone)]
pub struct PartitionSettings {
    /// Bytes at which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Bytes of the queue on disk (what is not yet in splits, and at most one segment more);
    /// beyond it producers are told to come later.
    pub queue_bytes_max: u64,
    /// Bytes of recent entries kept in memory for the consumer, of those that are not in splits.
    pub recent_bytes_max: usize,
    /// Bytes that stay free on the disk; below it nothing is taken.
    pub disk_free_bytes_min: u64,
}

impl Default for PartitionSettings {
    fn default() -> Self {
        Self {
            segment_bytes_max: SEGMENT_BYTES_MAX as u64,
            queue_bytes_max: 4 << 30,
            recent_bytes_max: 32 << 20,
            disk_free_bytes_min: 128 << 20,
        }
    }
}

/// A batch that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Records taken now; 0 for a repeat.
    pub record_count: u32,
    /// Whether it had been taken before.
    pub duplicate: bool,
    /// Where the producer's next batch must start.
    pub next: u64,
    /// Where the first of the records taken now is.
    pub first: Option<RecordId>,
}

/// Why a batch was not taken. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Cut it again from `next`.
    #[error("the producer's next batch must start at {next}")]
    Sequence {
        /// Where the producer's last batch ended.
        next: u64,
    },
    /// Stop: another process sends as this producer.
    #[error("a newer life of this producer (epoch {current}) has been seen")]
    Fenced {
        /// The newer life.
        current: u32,
    },
    /// Come later: the bound is reached.
    #[error("the {what} is full")]
    Overloaded {
        /// Which bound.
        what: &'static str,
    },
    /// Send less at a time: it never has room.
    #[error("a request of {bytes} bytes is over the {max} that may come at a time")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// How many there may be.
        max: u64,
    },
    /// Come later: the disk is full.
    #[error("the disk is full: make room, or lower the retention")]
    DiskFull,
    /// Come later: the disk of the node that leads is full, and no other one leads in its place.
    #[error("the disk of node {node} ({address}) is full: make room there, or lower the retention")]
    DiskFullAt {
        /// Which node.
        node: NodeId,
        /// Where other nodes reach it.
        address: String,
    },
    /// The log cannot be written.
    #[error("the queue cannot be written")]
    Storage(#[source] Arc<LogError>),
    /// Ask the leader: nothing was taken here.
    #[error("another node leads partition {partition}")]
    NotLeader {
        /// The partition.
        partition: PartitionId,
        /// Who leads, as far as is known.
        leader: Option<NodeId>,
    },
    /// Send it again with the same sequence: whether it was taken is not known.
    #[error("the leader went away before it could say whether the batch was taken")]
    Unsure,
    /// No majority of the partition's replicas is there.
    #[error(
        "no majority of the replicas of partition {0} is there: it is taken when they are back"
    )]
    NoMajority(PartitionId),
    /// Send it to its new partition: there are more by now, and its producer is not known here.
    #[error("the stream goes to another partition now that there are {count}: send it again")]
    Elsewhere {
        /// How many partitions there are.
        count: u32,
    },
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

impl AppendError {
    /// What the producer should do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sequence { .. } | Self::NotLeader { .. } => Kind::Moved,
            Self::Fenced { .. } | Self::TooLarge { .. } => Kind::Invalid,
            Self::Overloaded { .. } => Kind::Overloaded,
            Self::DiskFull
            | Self::DiskFullAt { .. }
            | Self::Storage(_)
            | Self::Unsure
            | Self::NoMajority(_)
            | Self::Elsewhere { .. }
            | Self::Stopping => Kind::Unavailable,
        }
    }
}

/// A partition; clones share it.
#[derive(Debug, Clone)]
pub struct Partition(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: PartitionId,
    intake: flume::Sender<Command>,
    inflight: Inflight,
    committed: watch::Sender<Offset>,
    shared: Arc<Mutex<Shared>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What reader and writer share.
#[derive(Debug, Default)]
struct Shared {
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// The segments, with the offset at which each begins.
    segments: Vec<(Segment, Offset)>,
    /// Where the last read from disk stopped.
    cold: Option<Cold>,
}

#[derive(Debug)]
struct Cold {
    next: Offset,
    segment: u64,
    reader: SegmentReader,
}

/// A batch with its head already read and checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its stream.
    pub stream: StreamId,
    /// How many records it holds.
    pub record_count: u32,
    /// The batch as it came.
    pub bytes: Bytes,
}

impl Checked {
    /// From a batch and its head.
    #[must_use]
    pub fn new(head: &Head, bytes: Bytes) -> Self {
        let Head { sequence, stream, record_count, .. } = *head;
        Self { sequence, stream, record_count, bytes }
    }
}

impl Partition {
    /// Opens the partition in a folder, or makes it, beginning with nothing.
    ///
    /// # Errors
    /// As [`Partition::open_behind`].
    pub fn open(
        folder: &Path,
        id: PartitionId,
        disk: Disk,
        clock: Clock,
        settings: PartitionSettings,
        metrics: IngestMetrics,
    ) -> Result<Self, LogError> {
        let opened = Seeds::default();
        Self::open_behind(&opened, (folder, id), disk, clock, settings, metrics)
    }

    /// Opens the partition in a folder, or makes it, beginning with the producers of others that were
    /// there before: their streams may be its own from now on. Its writer thread runs until the last
    /// clone is dropped or [`Partition::stop`].
    ///
    /// # Errors
    /// The log's own words when it is damaged or cannot be read.
    pub fn open_behind(
        others: &Seeds,
        (folder, id): (&Path, PartitionId),
        disk: Disk,
        clock: Clock,
        settings: PartitionSettings,
        metrics: IngestMetrics,
    ) -> Result<Self, LogError> {
        let mut state = others.beginning(id).map(|begin| begin.0).unwrap_or_default();
        let mut shared = Shared::default();
        let mut damaged = false;
        let log = Log::open(folder, disk, &state.snapshot(), |frame| match frame.kind {
            FrameKind::Snapshot => match write::State::read(&frame.payload) {
                Some(read) => state = read,
                None => damaged = true,
            },
            FrameKind::Entry => match write::read_entry(&frame.payload) {
                Some((entry, sequence)) => {
                    state.replay(&entry, sequence);
                    shared.push(entry, settings.recent_bytes_max);
                }
                None => damaged = true,
            },
        })?;
        if damaged {
            let what = "a frame is whole but holds no batch";
            return Err(LogError::Damaged { file: folder.to_owned(), at: 0, what });
        }
        for segment in log.segments() {
            let first = SegmentReader::open(segment)?.next(segment.bytes)?;
            let state = first.and_then(|frame| write::State::read(&frame.payload));
            shared.segments.push((segment.clone(), state.map_or(Offset(0), |state| state.next)));
        }
        let committed = watch::Sender::new(state.next);
        let (intake, requests) = flume::bounded(1024);
        let shared = Arc::new(Mutex::new(shared));
        let inflight = Inflight::new(&metrics);
        let writer = Writer {
            id,
            folder: folder.to_owned(),
            log,
            state,
            clock,
            settings,
            metrics,
            committed: committed.clone(),
            below: Offset::default(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("partition-{id}"))
            .spawn(move || writer.run(&requests))
            .map_err(|source| LogError::Io { file: folder.to_owned(), source })?;
        Ok(Self(Arc::new(Inner {
            id,
            intake,
            inflight,
            committed,
            shared,
            writer: Mutex::new(Some(thread)),
        })))
    }

    /// Takes batches of one request, in order, all or none (but for those that are repeats), and
    /// returns when they are durable.
    ///
    /// # Errors
    /// [`AppendError`]: nothing was taken.
    pub async fn append(&self, batches: Vec<Checked>) -> Result<Vec<Appended>, AppendError> {
        let bytes = bytes_of(&batches)?;
        let held = self.0.inflight.hold(bytes)?;
        let (reply, answer) = oneshot::channel();
        match self.0.intake.send_async(Command::Append { batches, reply, held }).await {
            Ok(()) => answer.await.unwrap_or(Err(AppendError::Stopping)),
            Err(_) => Err(AppendError::Stopping),
        }
    }

    /// What its log adds up to, as a segment's first frame has it: of the last group.
    pub(crate) fn end(&self) -> Vec<u8> {
        let (reply, answer) = flume::bounded(1);
        let asked = self.0.intake.send(Command::End(reply)).is_ok();
        if asked { answer.recv().unwrap_or_default() } else { Vec::new() }
    }

    /// Writes what was taken and ends the writer thread. Later appends are refused.
    pub fn stop(&self) {
        if self.0.intake.send(Command::Stop).is_ok() {
            let thread = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!(partition = %self.0.id, "the writer thread ended badly");
            }
        }
    }
}

impl Queue for Partition {
    fn partition(&self) -> PartitionId {
        self.0.id
    }

    fn committed(&self) -> watch::Receiver<Offset> {
        self.0.committed.subscribe()
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Entry>, QueueError> {
        let committed = *self.0.committed.borrow();
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if from >= committed {
            return Ok(Vec::new());
        }
        if shared.recent.front().is_some_and(|oldest| oldest.first <= from) {
            return Ok(shared.read_recent(from, bytes_max));
        }
        shared.read_cold(self.0.id, from, committed, bytes_max)
    }

    fn trim(&self, below: Offset) {
        // A full intake is no reason to wait: the next trim says the same and more.
        drop(self.0.intake.try_send(Command::Trim(below)));
    }

    fn stored_bytes(&self) -> u64 {
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.segments.iter().map(|(segment, _)| segment.bytes).sum()
    }
}

impl Shared {
    fn push(&mut self, entry: Entry, bytes_max: usize) {
        self.recent_bytes += entry.batch.len();
        self.recent.push_back(entry);
        while self.recent_bytes > bytes_max && self.recent.len() > 1 {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.batch.len();
        }
    }

    /// Lets go of the entries that are in splits: their consumer asks for them no more.
    fn forget(&mut self, below: Offset) {
        while let Some(oldest) = self.recent.pop_front_if(|oldest| oldest.end() <= below) {
            self.recent_bytes -= oldest.batch.len();
        }
    }

    fn read_recent(&self, from: Offset, bytes_max: usize) -> Vec<Entry> {
        let start = self.recent.partition_point(|entry| entry.end() <= from);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.recent.range(start..) {
            if bytes >= bytes_max {
                break;
            }
            bytes += entry.batch.len();
            entries.push(entry.clone());
        }
        entries
    }

    fn read_cold(
        &mut self,
        partition: PartitionId,
        from: Offset,
        committed: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let storage = |source| QueueError::Storage { partition, source: Arc::new(source) };
        let mut cold = match self.cold.take().filter(|cold| cold.next == from) {
            Some(cold) => cold,
            None => {
                let (segment, _) = self
                    .segments
                    .iter()
                    .rev()
                    .find(|(_, first)| *first <= from)
                    .ok_or_else(|| self.trimmed(partition, from))?;
                let reader = SegmentReader::open(segment).map_err(storage)?;
                Cold { next: from, segment: segment.first, reader }
            }
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max && cold.next < committed {
            let at = self.segments.iter().position(|(segment, _)| segment.first == cold.segment);
            let Some((segment, _)) = at.and_then(|at| self.segments.get(at)) else {
                return Err(self.trimmed(partition, from));
            };
            match cold.reader.next(segment.bytes).map_err(storage)? {
                Some(frame) if frame.kind == FrameKind::Entry => {
                    let entry = write::read_entry(&frame.payload).map(|(entry, _)| entry);
                    let Some(entry) = entry.filter(|entry| entry.end() > from) else { continue };
                    bytes += entry.batch.len();
                    cold.next = entry.end();
                    entries.push(entry);
                }
                Some(_) => {}
                None => {
                    let Some((next, _)) = at.and_then(|at| self.segments.get(at + 1)) else {
                        break;
                    };
                    cold.reader = SegmentReader::open(next).map_err(storage)?;
                    cold.segment = next.first;
                }
            }
        }
        self.cold = Some(cold);
        Ok(entries)
    }

    fn trimmed(&self, partition: PartitionId, from: Offset) -> QueueError {
        let first = self.segments.first().map_or(Offset(0), |(_, first)| *first);
        QueueError::Trimmed { partition, from, first }
    }
}

/// Bytes of the batches of a request.
///
/// # Errors
/// [`AppendError::TooLarge`].
pub(crate) fn bytes_of(batches: &[Checked]) -> Result<usize, AppendError> {
    let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    match bytes > APPEND_BYTES_MAX {
        true => Err(AppendError::TooLarge { bytes: bytes as u64, max: APPEND_BYTES_MAX as u64 }),
        false => Ok(bytes),
    }
}

/// The moment a batch is taken never goes back within a partition.
fn not_before(last: Timestamp, now: Timestamp) -> Timestamp {
    now.max(last)
}

#[cfg(test)]
mod tests;
