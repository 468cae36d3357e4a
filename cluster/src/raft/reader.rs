//! Reading entries one behind the other: the newest from memory, older ones from the segments.

use super::entry;
use super::store::{Fold, LogStore};
use super::tail::Tail;
use super::types::Entry;
use crate::log::{LogError, SegmentReader};

/// Bytes of entries that are sent to another member at a time (one entry at least).
pub const REPLICATION_BYTES_MAX: usize = 8 << 20;

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They were purged: go on from a snapshot.
    #[error("entry {from} is gone; the log begins at {first}")]
    Purged {
        /// What was asked for.
        from: u64,
        /// What there is.
        first: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A reader with a place of its own: going on where it stopped opens no file again.
#[derive(Debug)]
pub struct LogReader<F> {
    store: LogStore<F>,
    cold: Option<Cold>,
}

/// Where the last read from disk stopped.
#[derive(Debug)]
struct Cold {
    /// Index of the entry that comes next.
    next: u64,
    /// First frame of the segment.
    segment: u64,
    generation: u64,
    reader: SegmentReader,
    /// Read, but did not fit any more.
    held: Option<Entry>,
}

/// What was read so far.
struct Taken {
    entries: Vec<Entry>,
    bytes: usize,
    bytes_max: usize,
    next: u64,
    until: u64,
}

impl Taken {
    fn is_full(&self) -> bool {
        self.next >= self.until || self.bytes >= self.bytes_max
    }

    /// Takes an entry, if it is the first or still fits.
    fn take(&mut self, entry: Entry) -> Result<(), Entry> {
        let bytes = entry::bytes(&entry);
        if !self.entries.is_empty() && self.bytes + bytes > self.bytes_max {
            self.bytes = self.bytes_max;
            return Err(entry);
        }
        self.bytes += bytes;
        self.next += 1;
        self.entries.push(entry);
        Ok(())
    }
}

impl<F: Fold> LogReader<F> {
    pub(super) fn new(store: LogStore<F>) -> Self {
        Self { store, cold: None }
    }

    /// The log that is read.
    #[must_use]
    pub fn store(&self) -> &LogStore<F> {
        &self.store
    }

    /// Entries from an index on and before `until`, as far as they are there, until so many bytes
    /// (one entry at least, if there is one). Blocks on the disk when they left the memory.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(
        &mut self,
        from: u64,
        until: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut taken = Taken { entries: Vec::new(), bytes: 0, bytes_max, next: from, until };
        while !taken.is_full() {
            if self.read_recent(&mut taken)? {
                break;
            }
            let before = taken.next;
            let generation = self.store.0.tail().generation;
            let read = self.read_cold(&mut taken);
            // Cut or purged while it was read: what was taken was there before.
            let changed = self.has_changed(before, generation);
            match read {
                Err(error) if !changed => return Err(error.into()),
                Ok(()) if taken.next == before && !changed => break,
                _ => {}
            }
        }
        Ok(taken.entries)
    }

    /// Entries whose reading needs no disk; `None` when it would.
    pub(super) fn read_memory(
        &self,
        from: u64,
        until: u64,
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>, ReadError> {
        let mut taken = Taken { entries: Vec::new(), bytes: 0, bytes_max, next: from, until };
        Ok(self.read_recent(&mut taken)?.then_some(taken.entries))
    }

    /// Takes what is in memory; whether that was all there is to take.
    fn read_recent(&self, taken: &mut Taken) -> Result<bool, ReadError> {
        let tail = self.store.0.tail();
        check_first(&tail, taken)?;
        taken.until = taken.until.min(tail.next());
        if taken.next >= taken.until {
            return Ok(true);
        }
        if tail.recent.first().is_none_or(|first| first > taken.next) {
            return Ok(false);
        }
        for entry in tail.recent.from(taken.next) {
            if taken.is_full() || taken.take(entry.clone()).is_err() {
                break;
            }
        }
        Ok(true)
    }

    /// Takes what one segment holds, or less.
    fn read_cold(&mut self, taken: &mut Taken) -> Result<(), LogError> {
        let (piece, generation) = {
            let tail = self.store.0.tail();
            let Some((_, piece)) = tail.piece_of(taken.next) else { return Ok(()) };
            (piece.clone(), tail.generation)
        };
        let same = |cold: &Cold| {
            (cold.next, cold.segment, cold.generation)
                == (taken.next, piece.segment.first, generation)
        };
        let mut cold = match self.cold.take().filter(same) {
            Some(cold) => cold,
            None => Cold {
                next: taken.next,
                segment: piece.segment.first,
                generation,
                reader: piece.reader(taken.next)?,
                held: None,
            },
        };
        while !taken.is_full() {
            let entry = match cold.held.take() {
                Some(entry) => entry,
                None => {
                    let at = cold.reader.at();
                    let Some(frame) = cold.reader.next(piece.segment.bytes)? else { break };
                    if frame.index < piece.frame(taken.next) {
                        continue;
                    }
                    let entry = entry::decode(&frame);
                    let entry = entry.filter(|entry| entry.log_id.index == taken.next);
                    entry.ok_or_else(|| piece.damaged(at, "the frame is whole but no entry"))?
                }
            };
            cold.held = taken.take(entry).err();
        }
        cold.next = taken.next;
        self.cold = Some(cold);
        Ok(())
    }

    /// Whether entries were cut off since a generation, or this one purged.
    fn has_changed(&self, next: u64, generation: u64) -> bool {
        let tail = self.store.0.tail();
        next < tail.first() || generation != tail.generation
    }
}

fn check_first<F: Fold>(tail: &Tail<F>, taken: &Taken) -> Result<(), ReadError> {
    let first = tail.first();
    if taken.next < first && taken.next < taken.until {
        return Err(ReadError::Purged { from: taken.next, first });
    }
    Ok(())
}
