//! The writer of a partition: judge, number, write and sync what waits together, then answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cluster::log::{Log, LogError};
use model::batch::Sequence;
use model::partition::{Entry, Offset, PartitionId};
use model::time::Timestamp;
use platform::clock::Clock;
use tokio::sync::{oneshot, watch};

use super::producers::{PRODUCER_BYTES, Producers, Verdict};
use super::{AppendError, Appended, Checked, Held, Judging, PartitionSettings, Shared};
use crate::metrics::IngestMetrics;
use crate::route::owner;

/// Bytes that are written as one group at most.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes in front of the batch in an entry's payload: first offset, ingest time, count, epoch,
/// producer, from, to.
pub(crate) const ENTRY_HEAD_BYTES: usize = 48;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Take batches and answer when they are durable.
    Append {
        batches: Vec<Checked>,
        reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
        held: Held,
    },
    /// Everything below is in splits.
    Trim(Offset),
    /// Tell what the log adds up to.
    End(flume::Sender<Vec<u8>>),
    /// End.
    Stop,
}

/// What the log's frames add up to.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) next: Offset,
    pub(super) last: Timestamp,
    pub(super) producers: Producers,
    /// Over how many partitions batches are spread, as was told when some had been added; 0 before. Of
    /// streams that go to others then only producers that were known are taken.
    pub(crate) count: u32,
}

/// Bytes of the count behind a snapshot's producers, where there is one.
const COUNT_BYTES: usize = 4;
// It is told apart by the length.
const _: () = assert!(COUNT_BYTES < PRODUCER_BYTES);

impl State {
    /// As the first frame of a segment.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.next.0.to_le_bytes());
        bytes.extend_from_slice(&self.last.0.to_le_bytes());
        self.producers.put(&mut bytes);
        if self.count > 0 {
            bytes.extend_from_slice(&self.count.to_le_bytes());
        }
        bytes
    }

    /// Reads a snapshot.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (next, rest) = bytes.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (rest, count) = match rest.split_last_chunk() {
            Some((rest, count)) if rest.len().is_multiple_of(PRODUCER_BYTES) => {
                (rest, u32::from_le_bytes(*count))
            }
            _ => (rest, 0),
        };
        Some(Self {
            count,
            next: Offset(u64::from_le_bytes(*next)),
            last: Timestamp(i64::from_le_bytes(*last)),
            producers: Producers::read(rest)?,
        })
    }

    /// Applies an entry that was written before.
    pub(crate) fn replay(&mut self, entry: &Entry, sequence: Sequence) {
        self.next = entry.end();
        self.last = entry.ingest_time;
        self.producers.take(sequence, entry.ingest_time);
    }

    /// Whether an entry goes on where this state ends, and was not taken before.
    pub(crate) fn takes(&self, entry: &Entry, sequence: Sequence) -> bool {
        entry.first == self.next && self.producers.judge(sequence) == Verdict::New
    }

    /// Whether a batch of a producer that is not known belongs to another partition by now.
    pub(crate) fn is_elsewhere(&self, here: PartitionId, batch: &Checked) -> bool {
        self.count > 0
            && !self.producers.knows(batch.sequence.producer)
            && owner(batch.stream, u64::from(self.count)) != Some(here)
    }

    /// Whether a producer has sent something here and is remembered.
    pub(crate) fn knows(&self, producer: u64) -> bool {
        self.producers.knows(producer)
    }

    /// Forgets the producers that were silent too long then.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.producers.forget(now);
    }

    /// The same as programs do it before the fourth version of the nodes' protocol.
    pub(crate) fn forget_alike(&mut self, now: Timestamp) {
        self.producers.forget_alike(now);
    }

    /// When the last entry came.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// Whether there are more producers than are remembered.
    pub(crate) fn is_crowded(&self) -> bool {
        self.producers.are_too_many()
    }

    /// Whether there are so many more that some are to be forgotten now.
    pub(crate) fn is_to_forget(&self) -> bool {
        self.producers.are_far_too_many()
    }

    /// One without records that remembers so many producers.
    #[cfg(test)]
    pub(crate) fn remembering(producers_max: usize) -> Self {
        Self { producers: Producers::remembering(producers_max), ..Self::default() }
    }

    /// One without records that remembers as many producers.
    #[cfg(test)]
    pub(crate) fn emptied(&self) -> Self {
        Self { producers: self.producers.emptied(), ..Self::default() }
    }

    /// Producers that are remembered.
    pub(crate) fn producer_count(&self) -> usize {
        self.producers.count()
    }
}

/// The head of an entry's payload.
pub(crate) fn entry_head(entry: &Entry, sequence: Sequence) -> [u8; ENTRY_HEAD_BYTES] {
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
pub(crate) fn read_entry(payload: &Bytes) -> Option<(Entry, Sequence)> {
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
/// Who waits, and what it is told when all is durable.
type Answer = (Reply, Result<Vec<Appended>, AppendError>, Held);

pub(super) struct Writer {
    pub(super) id: PartitionId,
    pub(super) folder: PathBuf,
    pub(super) log: Log,
    pub(super) state: State,
    pub(super) clock: Clock,
    pub(super) settings: PartitionSettings,
    pub(super) metrics: IngestMetrics,
    pub(super) committed: watch::Sender<Offset>,
    /// Everything below is in splits.
    pub(super) below: Offset,
    pub(super) shared: Arc<Mutex<Shared>>,
}

impl Writer {
    /// Works until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, requests: &flume::Receiver<Command>) {
        while let Ok(first) = requests.recv() {
            self.roll_if_full();
            let started = self.clock.elapsed();
            let (mut waiting, mut bytes, mut stop) = (Vec::new(), 0, false);
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Append { batches, reply, held } => {
                        bytes += batches.iter().map(|batch| batch.bytes.len()).sum::<usize>();
                        waiting.push((batches, reply, held));
                    }
                    Command::Trim(below) => {
                        self.below = self.below.max(below);
                        self.trim();
                    }
                    // Who asks went away: nobody is told.
                    Command::End(reply) => drop(reply.send(self.state.snapshot())),
                    Command::Stop => stop = true,
                }
                if bytes < GROUP_BYTES_MAX && !stop {
                    next = requests.try_recv().ok();
                }
            }
            self.commit(waiting);
            let seconds = (self.clock.elapsed() - started).as_secs_f64();
            self.metrics.commit_seconds.observe(seconds);
            if stop {
                return;
            }
        }
    }

    /// Judges, writes and syncs what waits, lets readers see it, then answers.
    fn commit(&mut self, waiting: Vec<(Vec<Checked>, Reply, Held)>) {
        let room = self.room();
        let judging = Judging::new(self.id, &self.state, self.clock.now(), room);
        let mut judging = judging.within(self.settings.queue_bytes_max);
        let judged = |(batches, reply, held)| (reply, judging.request(batches), held);
        let answers: Vec<Answer> = waiting.into_iter().map(judged).collect();
        let entries = std::mem::take(&mut judging.entries);
        let outcome = self.write(&entries);
        if let Err(error) = &outcome {
            tracing::error!(%error, folder = %self.folder.display(), "nothing could be taken");
        } else {
            for (entry, sequence) in &entries {
                self.state.replay(entry, *sequence);
            }
            self.show(entries);
        }
        for (reply, answer, held) in answers {
            let answer = match (&outcome, answer) {
                (Err(error), Ok(_)) => Err(error.clone()),
                (_, answer) => answer,
            };
            let repeats = answer.iter().flatten().filter(|appended| appended.duplicate).count();
            self.metrics.duplicates.inc_by(repeats as u64);
            // A client that went away does not hear that it was taken; its resend will.
            drop(reply.send(answer));
            drop(held);
        }
    }

    fn write(&mut self, entries: &[(Entry, Sequence)]) -> Result<(), AppendError> {
        if entries.is_empty() {
            return Ok(());
        }
        let refuse = |error| match error {
            LogError::Full(_) => AppendError::DiskFull,
            error => AppendError::Storage(Arc::new(error)),
        };
        let heads: Vec<_> =
            entries.iter().map(|(entry, sequence)| entry_head(entry, *sequence)).collect();
        let parts: Vec<[&[u8]; 2]> =
            heads.iter().zip(entries).map(|(head, (entry, _))| [&head[..], &entry.batch]).collect();
        self.log.append(0, &parts).map_err(refuse)
    }

    /// Seals a full segment. Between groups, so that the snapshot knows exactly what is durable:
    /// a batch it remembered without having would be taken for a repeat when it is sent again.
    fn roll_if_full(&mut self) {
        if self.log.segment_bytes() < self.settings.segment_bytes_max {
            return;
        }
        self.roll();
    }

    fn roll(&mut self) {
        self.state.producers.forget(self.state.last);
        if let Err(error) = self.log.roll(&self.state.snapshot()) {
            tracing::warn!(%error, "the segment grows on: another cannot be begun");
            return;
        }
        if let Some(segment) = self.log.segments().next_back() {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.segments.push((segment.clone(), self.state.next));
        }
    }

    /// Whether more may be written. Where all that there is is in splits, no part of it is in the way: also
    /// the segment that is written to is sealed then, and goes.
    fn room(&mut self) -> Result<(), AppendError> {
        let found = super::admit(self.log.bytes(), &self.folder, &self.settings);
        let newest = self.log.segments().next_back().map_or(0, |segment| segment.first);
        let is_empty = self.log.next() <= newest + 1;
        if found.is_ok() || is_empty || self.state.next > self.below {
            return found;
        }
        self.roll();
        self.trim();
        super::admit(self.log.bytes(), &self.folder, &self.settings)
    }

    fn show(&mut self, entries: Vec<(Entry, Sequence)>) {
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
        self.show_fill();
    }

    fn show_fill(&self) {
        self.metrics.queue_is(self.id, self.log.bytes(), self.state.producers.count());
    }

    /// Removes the segments of which all is in splits, and lets go of such entries in memory; the last
    /// segment stays.
    fn trim(&mut self) {
        let below = self.below;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.forget(below);
        let keep = shared.segments.iter().rposition(|(_, first)| *first <= below).unwrap_or(0);
        let Some(first) = shared.segments.get(keep).map(|(segment, _)| segment.first) else {
            return;
        };
        if let Err(error) = self.log.trim_before(first) {
            tracing::warn!(%error, "cannot trim the queue; it is tried again");
        }
        let oldest = self.log.segments().next().map_or(first, |segment| segment.first);
        shared.segments.retain(|(segment, _)| segment.first >= oldest);
        drop(shared);
        self.show_fill();
    }
}
