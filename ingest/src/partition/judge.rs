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
        Self { partition, state, now, room, pending, entries, bytes: 0 }
    }

    /// Judges the batches of one request: all are numbered or none is. What was not taken before
    /// and how many repeats there were.
    ///
    /// # Errors
    /// [`AppendError`].
    pub(crate) fn request(&mut self, batches: Vec<Checked>) -> Result<Vec<Appended>, AppendError> {
        let (count, pending, bytes) = (self.entries.len(), self.pending.clone(), self.bytes);
        let answers = batches.into_iter().map(|batch| self.number(batch)).collect();
        if let Err(error) = answers {
            self.entries.truncate(count);
            (self.pending, self.bytes) = (pending, bytes);
            return Err(error);
        }
        answers
    }

    fn number(&mut self, batch: Checked) -> Result<Appended, AppendError> {
        let sequence = batch.sequence;
        let before = self.pending.get(&sequence.producer).copied();
        match self.state.producers.judge_after(sequence, before) {
            Verdict::Gap { next } => return Err(AppendError::Sequence { next }),
            Verdict::Fenced { current } => return Err(AppendError::Fenced { current }),
            Verdict::Repeat { next } => {
                return Ok(Appended { record_count: 0, duplicate: true, next, first: None });
            }
            Verdict::New => self.room.clone()?,
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
