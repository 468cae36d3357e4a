//! The writer of a partition: judge, number, write and sync what waits together, then answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster::log::{Log, LogError};
use model::batch::Sequence;
use model::partition::{Entry, Offset, PartitionId, RecordId};
use model::time::Timestamp;
use platform::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::producers::{Producers, Undo, Verdict};
use super::{AppendError, Appended, Checked, PartitionSettings, Shared, not_before};
use crate::metrics::IngestMetrics;

/// Bytes that are written as one group at most.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes in front of the batch in an entry's payload: first offset, ingest time, count, epoch,
/// producer, from, to.
const ENTRY_HEAD_BYTES: usize = 48;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Take batches and answer when they are durable.
    Append {
        batches: Vec<Checked>,
        reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
        permit: OwnedSemaphorePermit,
    },
    /// Everything below is in splits.
    Trim(Offset),
    /// End.
    Stop,
}

/// What the log's frames add up to.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) next: Offset,
    last: Timestamp,
    producers: Producers,
}

impl State {
    /// As the first frame of a segment.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.next.0.to_le_bytes());
        bytes.extend_from_slice(&self.last.0.to_le_bytes());
        self.producers.put(&mut bytes);
        bytes
    }

    /// Reads a snapshot.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (next, rest) = bytes.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        Some(Self {
            next: Offset(u64::from_le_bytes(*next)),
            last: Timestamp(i64::from_le_bytes(*last)),
            producers: Producers::read(rest)?,
        })
    }

    /// Applies an entry that was written before.
    pub(super) fn replay(&mut self, entry: &Entry, sequence: Sequence) {
        self.next = entry.end();
        self.last = entry.ingest_time;
        self.producers.take(sequence, entry.ingest_time);
    }
}

/// The head of an entry's payload.
fn entry_head(entry: &Entry, sequence: Sequence) -> [u8; ENTRY_HEAD_BYTES] {
    let mut head = [0; ENTRY_HEAD_BYTES];
    let parts: [&[u8]; 7] = [
        &entry.first.0.to_le_bytes(),
        &entry.ingest_time.0.to_le_bytes(),
        &entry.record_count.to_le_bytes(),
        &sequence.epoch.to_le_bytes(),
        &sequence.producer.to_le_bytes(),
        &sequence.from.to_le_bytes(),
        &sequence.to.to_le_bytes(),
    ];
    let bytes = parts.into_iter().flatten();
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    head
}

/// Reads an entry's payload.
pub(super) fn read_entry(payload: &Bytes) -> Option<(Entry, Sequence)> {
    let word = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u32::from_le_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let entry = Entry {
        first: Offset(word(0)?),
        ingest_time: Timestamp(word(8)?.cast_signed()),
        record_count: half(16)?,
        batch: payload.slice(ENTRY_HEAD_BYTES.min(payload.len())..),
    };
    let sequence =
        Sequence { epoch: half(20)?, producer: word(24)?, from: word(32)?, to: word(40)? };
    Some((entry, sequence))
}

type Reply = oneshot::Sender<Result<Vec<Appended>, AppendError>>;

/// Requests that are written together.
#[derive(Default)]
struct Group {
    entries: Vec<(Entry, [u8; ENTRY_HEAD_BYTES])>,
    replies: Vec<(Reply, Result<Vec<Appended>, AppendError>, OwnedSemaphorePermit)>,
    undo: Vec<Undo>,
    bytes: usize,
}

pub(super) struct Writer {
    pub(super) id: PartitionId,
    pub(super) folder: PathBuf,
    pub(super) log: Log,
    pub(super) state: State,
    pub(super) clock: Clock,
    pub(super) settings: PartitionSettings,
    pub(super) metrics: IngestMetrics,
    pub(super) committed: watch::Sender<Offset>,
    pub(super) shared: Arc<Mutex<Shared>>,
}

impl Writer {
    /// Works until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, requests: &flume::Receiver<Command>) {
        while let Ok(first) = requests.recv() {
            self.roll_if_full();
            let started = self.clock.elapsed();
            let mut group = Group::default();
            let mut stop = false;
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Append { batches, reply, permit } => {
                        let answer = self.judge(&mut group, batches);
                        group.replies.push((reply, answer, permit));
                    }
                    Command::Trim(below) => self.trim(below),
                    Command::Stop => stop = true,
                }
                if group.bytes < GROUP_BYTES_MAX && !stop {
                    next = requests.try_recv().ok();
                }
            }
            self.commit(group, started);
            if stop {
                return;
            }
        }
    }

    /// Judges and numbers the batches of one request. All are taken or none is.
    fn judge(
        &mut self,
        group: &mut Group,
        batches: Vec<Checked>,
    ) -> Result<Vec<Appended>, AppendError> {
        self.admit()?;
        let (entries, undo) = (group.entries.len(), group.undo.len());
        let before = (self.state.next, self.state.last);
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            match self.number(group, batch) {
                Ok(appended) => answers.push(appended),
                Err(error) => {
                    group.entries.truncate(entries);
                    for undo in group.undo.drain(undo..).rev() {
                        self.state.producers.undo(undo);
                    }
                    (self.state.next, self.state.last) = before;
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    fn number(&mut self, group: &mut Group, batch: Checked) -> Result<Appended, AppendError> {
        let sequence = batch.sequence;
        match self.state.producers.judge(sequence) {
            Verdict::Gap { next } => return Err(AppendError::Sequence { next }),
            Verdict::Fenced { current } => return Err(AppendError::Fenced { current }),
            Verdict::Repeat { next } => {
                self.metrics.duplicates.inc();
                return Ok(Appended { record_count: 0, duplicate: true, next, first: None });
            }
            Verdict::New => {}
        }
        let now = not_before(self.state.last, self.clock.now());
        let entry = Entry {
            first: self.state.next,
            record_count: batch.record_count,
            ingest_time: now,
            batch: batch.bytes,
        };
        group.undo.push(self.state.producers.take(sequence, now));
        (self.state.next, self.state.last) = (entry.end(), now);
        group.bytes += entry.batch.len();
        let head = entry_head(&entry, sequence);
        let first = Some(RecordId { partition: self.id, offset: entry.first });
        group.entries.push((entry, head));
        let record_count = batch.record_count;
        Ok(Appended { record_count, duplicate: false, next: sequence.to, first })
    }

    fn admit(&self) -> Result<(), AppendError> {
        if self.log.bytes() > self.settings.queue_bytes_max {
            return Err(AppendError::Overloaded { what: "queue" });
        }
        match platform::disk::space(&self.folder) {
            Ok((free, _)) if free < self.settings.disk_free_bytes_min => Err(AppendError::DiskFull),
            _ => Ok(()),
        }
    }

    /// Writes and syncs the group, lets readers see it, then answers.
    fn commit(&mut self, group: Group, started: Duration) {
        let outcome = self.write(&group);
        if let Err(error) = &outcome {
            tracing::error!(%error, folder = %self.folder.display(), "nothing could be taken");
            for undo in group.undo.into_iter().rev() {
                self.state.producers.undo(undo);
            }
            if let Some((first, _)) = group.entries.first() {
                self.state.next = first.first;
            }
        } else {
            self.show(group.entries);
        }
        for (reply, answer, permit) in group.replies {
            let answer = match (&outcome, answer) {
                (Err(error), Ok(_)) => Err(error.clone()),
                (_, answer) => answer,
            };
            // A client that went away does not hear that it was taken; its resend will.
            drop(reply.send(answer));
            drop(permit);
        }
        self.metrics.commit_seconds.observe((self.clock.elapsed() - started).as_secs_f64());
    }

    fn write(&mut self, group: &Group) -> Result<(), AppendError> {
        if group.entries.is_empty() {
            return Ok(());
        }
        let refuse = |error| match error {
            LogError::Full(_) => AppendError::DiskFull,
            error => AppendError::Storage(Arc::new(error)),
        };
        let parts: Vec<[&[u8]; 2]> =
            group.entries.iter().map(|(entry, head)| [&head[..], &entry.batch]).collect();
        self.log.append(0, &parts).map_err(refuse)
    }

    /// Seals a full segment. Between groups, so that the snapshot knows exactly what is durable:
    /// a batch it remembered without having would be taken for a repeat when it is sent again.
    fn roll_if_full(&mut self) {
        if self.log.segment_bytes() < self.settings.segment_bytes_max {
            return;
        }
        self.state.producers.forget(self.state.last);
        if let Err(error) = self.log.roll(&self.state.snapshot()) {
            tracing::warn!(%error, "the segment grows on: another cannot be begun");
        }
    }

    fn show(&mut self, entries: Vec<(Entry, [u8; ENTRY_HEAD_BYTES])>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, _) in entries {
            self.metrics.records.inc_by(u64::from(entry.record_count));
            self.metrics.bytes.inc_by(entry.batch.len() as u64);
            let segments = &mut shared.segments;
            if let Some(last) = self.log.segments().next_back() {
                match segments.last_mut() {
                    Some((known, _)) if known.first == last.first => known.bytes = last.bytes,
                    _ => segments.push((last.clone(), entry.first)),
                }
            }
            shared.push(entry, self.settings.recent_bytes_max);
        }
        drop(shared);
        self.committed.send_replace(self.state.next);
        self.metrics.queue_bytes.set(i64::try_from(self.log.bytes()).unwrap_or(i64::MAX));
        let producers = i64::try_from(self.state.producers.count()).unwrap_or(i64::MAX);
        self.metrics.producers.set(producers);
    }

    fn trim(&mut self, below: Offset) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = shared.segments.iter().rposition(|(_, first)| *first <= below).unwrap_or(0);
        let Some(first) = shared.segments.get(keep).map(|(segment, _)| segment.first) else {
            return;
        };
        if let Err(error) = self.log.trim_before(first) {
            tracing::warn!(%error, "cannot trim the queue; it is tried again");
        }
        let oldest = self.log.segments().next().map_or(first, |segment| segment.first);
        shared.segments.retain(|(segment, _)| segment.first >= oldest);
        self.metrics.queue_bytes.set(i64::try_from(self.log.bytes()).unwrap_or(i64::MAX));
    }
}
