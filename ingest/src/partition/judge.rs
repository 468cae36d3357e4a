//! Judging and numbering batches before they are written: pure, on top of what is written.

use std::collections::HashMap;
use std::path::Path;

use model::batch::Sequence;
use model::partition::{Entry, PartitionId, RecordId};
use model::time::Timestamp;

use super::producers::Verdict;
use super::write::State;
use super::{AppendError, Appended, Checked, PartitionSettings, not_before};

/// Batches that are judged on top of a state that does not change meanwhile.
pub(crate) struct Judging<'a> {
    partition: PartitionId,
    state: &'a State,
    now: Timestamp,
    /// Whether what is new may be written; a repeat is told that it is one all the same.
    room: Result<(), AppendError>,
    /// Bytes that one request may have, if anything of it is new.
    request_bytes_max: u64,
    /// The last batch of each producer among those that were numbered.
    pending: HashMap<u64, Sequence>,
    /// The numbered ones.
    pub(crate) entries: Vec<(Entry, Sequence)>,
    /// Their bytes.
    pub(crate) bytes: usize,
}

impl<'a> Judging<'a> {
    pub(crate) fn new(
        partition: PartitionId,
        state: &'a State,
        now: Timestamp,
        room: Result<(), AppendError>,
    ) -> Self {
        let (pending, entries) = Default::default();
        let now = not_before(state.last, now);
        let request_bytes_max = u64::MAX;
        Self { partition, state, now, room, request_bytes_max, pending, entries, bytes: 0 }
    }

    /// The same for a queue of so many bytes: what is larger than all of it never has room.
    pub(crate) fn within(self, queue_bytes_max: u64) -> Self {
        Self { request_bytes_max: queue_bytes_max, ..self }
    }

    /// Over how many partitions batches are spread, as far as is known where they are judged.
    pub(crate) fn count(&self) -> u32 {
        self.state.count
    }

    /// Judges the batches of one request: all are numbered or none is. What was not taken before
    /// and how many repeats there were.
    ///
    /// # Errors
    /// [`AppendError`].
    pub(crate) fn request(&mut self, batches: Vec<Checked>) -> Result<Vec<Appended>, AppendError> {
        let (count, pending, bytes) = (self.entries.len(), self.pending.clone(), self.bytes);
        let size = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
        let answers = batches.into_iter().map(|batch| self.number(batch, size)).collect();
        if let Err(error) = answers {
            self.entries.truncate(count);
            (self.pending, self.bytes) = (pending, bytes);
            return Err(error);
        }
        answers
    }

    /// Numbers a batch of a request of so many bytes.
    fn number(&mut self, batch: Checked, size: u64) -> Result<Appended, AppendError> {
        let sequence = batch.sequence;
        let before = self.pending.get(&sequence.producer).copied();
        match self.state.producers.judge_after(sequence, before) {
            Verdict::Gap { next } => return Err(AppendError::Sequence { next }),
            Verdict::Fenced { current } => return Err(AppendError::Fenced { current }),
            Verdict::Repeat { next } => {
                return Ok(Appended { record_count: 0, duplicate: true, next, first: None });
            }
            // The batch before it is not taken down yet, so it is here.
            Verdict::New if before.is_none() && self.state.is_elsewhere(self.partition, &batch) => {
                return Err(AppendError::Elsewhere { count: self.state.count });
            }
            Verdict::New => self.room.clone()?,
        }
        if size > self.request_bytes_max {
            return Err(AppendError::TooLarge { bytes: size, max: self.request_bytes_max });
        }
        let next = self.entries.last().map_or(self.state.next, |(entry, _)| entry.end());
        let record_count = batch.record_count;
        let entry = Entry { first: next, record_count, ingest_time: self.now, batch: batch.bytes };
        if sequence.producer != 0 {
            self.pending.insert(sequence.producer, sequence);
        }
        self.bytes += entry.batch.len();
        let first = Some(RecordId { partition: self.partition, offset: entry.first });
        self.entries.push((entry, sequence));
        Ok(Appended { record_count, duplicate: false, next: sequence.to, first })
    }
}

/// Whether more may be written below a folder, with a queue of so many bytes.
pub(crate) fn admit(
    queue_bytes: u64,
    folder: &Path,
    settings: &PartitionSettings,
) -> Result<(), AppendError> {
    if queue_bytes > settings.queue_bytes_max {
        return Err(AppendError::Overloaded { what: "queue" });
    }
    match platform::disk::space(folder) {
        Ok((free, _)) if free < settings.disk_free_bytes_min => Err(AppendError::DiskFull),
        _ => Ok(()),
    }
}
