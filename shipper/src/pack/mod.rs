//! Lines → one encoded batch: as many as are there and fit, from the acknowledged place on.

mod workbench;

use std::io;

use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::limits::{BATCH_BYTES_TARGET, BATCH_RECORDS_MAX, MESSAGE_BYTES_MAX};
use model::record::Record;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;

use crate::frame::{self, Lines};
use crate::parse::Parser;
use crate::source::Source;
pub(crate) use workbench::{Workbench, Workbenches};

/// Bytes read to find the end of a line longer than a window before others get their turn.
const SCAN_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a window that holds the longest line kept whole, and its end.
const LINE_WINDOW: usize = MESSAGE_BYTES_MAX + 2;
/// What a text file may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whose lines they are.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) index: IndexName,
    pub(crate) labels: Labels,
    /// The file's generation.
    pub(crate) producer: u64,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Where the last batch ended; the next one begins here.
    pub(crate) acknowledged: u64,
    /// Up to here there are only empty lines; never below `acknowledged`.
    pub(crate) empty_to: u64,
    /// Up to here the line at `empty_to` has no end.
    pub(crate) scanned_to: u64,
}

impl Place {
    /// Everything before `offset` is acknowledged.
    pub(crate) fn at(offset: u64) -> Self {
        Self { acknowledged: offset, empty_to: offset, scanned_to: offset }
    }
}

/// What to do with a last line that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastLine {
    /// More of it may come.
    Waits,
    /// It is whole: nobody writes any more.
    Counts,
}

/// How much goes into a batch, and in which form: narrowed after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Width {
    pub(crate) records_max: usize,
    /// Take one record as plain text, for this reason.
    pub(crate) poison: Option<String>,
}

impl Default for Width {
    fn default() -> Self {
        Self { records_max: BATCH_RECORDS_MAX, poison: None }
    }
}

impl Width {
    /// The next narrower width after a batch of so many records was refused. `None`: there is
    /// none, the one record was refused as plain text.
    pub(crate) fn narrower(&self, record_count: usize, reason: &str) -> Option<Self> {
        match (record_count, &self.poison) {
            (2.., _) => Some(Self { records_max: record_count / 2, poison: None }),
            (_, None) => Some(Self { records_max: 1, poison: Some(reason.to_owned()) }),
            (_, Some(_)) => None,
        }
    }
}

/// An encoded batch.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) bytes: Bytes,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) record_count: usize,
}

/// What was found at a place.
#[derive(Debug)]
pub(crate) enum Found {
    /// Records.
    Batch(Packed),
    /// No whole line up to the end; `rest` bytes of one begun.
    End { place: Place, rest: u64 },
    /// No whole line yet, but more to read.
    More { place: Place },
}

/// Everything needed to make batches of one file.
pub(crate) struct Packer<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) workbench: &'a mut Workbench,
    pub(crate) parser: Parser,
    pub(crate) now: Timestamp,
    pub(crate) last_line: LastLine,
    pub(crate) width: Width,
}

impl Packer<'_> {
    /// Makes a batch of what is found at the place.
    ///
    /// # Errors
    /// Reading fails.
    pub(crate) fn pack(&mut self, source: &mut dyn Source, place: Place) -> io::Result<Found> {
        let mut place = place;
        if place.scanned_to > place.empty_to {
            return self.over_long(source, place);
        }
        let mut budget = SCAN_BYTES_MAX;
        loop {
            let window = source.window(place.empty_to, BATCH_BYTES_TARGET)?;
            let ended = window.len() < BATCH_BYTES_TARGET;
            let taken = self.take(window, place.empty_to, ended);
            if taken.builder.record_count() > 0 {
                return self.finish(taken.builder, place, taken.used);
            }
            let rest = window.len() as u64 - taken.used;
            place.empty_to += taken.used;
            place.scanned_to = place.empty_to;
            if ended {
                return Ok(Found::End { place, rest });
            }
            if taken.used == 0 {
                return self.long(source, place);
            }
            budget = budget.saturating_sub(taken.used);
            if budget == 0 {
                return Ok(Found::More { place });
            }
        }
    }

    fn take(&mut self, window: &[u8], at: u64, ended: bool) -> Taken {
        let mut builder = self.builder();
        let mark =
            if at == 0 && window.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut lines = Lines::new(window.get(mark..).unwrap_or_default());
        let mut used = 0;
        while builder.record_count() < self.width.records_max
            && let Some(line) = lines.next_line()
        {
            if !line.is_empty() && !self.put(&mut builder, line) {
                return Taken { builder, used };
            }
            used = (mark + lines.used()) as u64;
        }
        // Empty lines and holes at the end belong to no record; they pass all the same.
        let room = builder.record_count() < self.width.records_max;
        if room {
            used = (mark + lines.used()) as u64;
        }
        let rest = frame::without_return(lines.rest());
        if room
            && ended
            && self.last_line == LastLine::Counts
            && !rest.is_empty()
            && self.put(&mut builder, rest)
        {
            used = window.len() as u64;
        }
        Taken { builder, used }
    }

    /// Adds a line's record, if there is room for it.
    fn put(&mut self, builder: &mut BatchBuilder, line: &[u8]) -> bool {
        if self.width.poison.is_none()
            && let Some(text) = self.parser.text(line)
        {
            let fits = builder.fits_text(text.message.len());
            if fits {
                builder.push_text(text.timestamp.unwrap_or(self.now), text.level, text.message);
            }
            return fits;
        }
        let record = self.record(line);
        let fits = builder.fits(&record);
        if fits {
            builder.push(record, self.now);
        }
        fits
    }

    /// A line longer than a batch wants to be: wholly in a larger window, or longer still.
    fn long(&mut self, source: &mut dyn Source, place: Place) -> io::Result<Found> {
        let window = source.window(place.empty_to, LINE_WINDOW)?;
        let ended = window.len() < LINE_WINDOW;
        let end = memchr::memchr(b'\n', window);
        let line = match end {
            Some(end) => window.get(..end),
            None if ended && self.last_line == LastLine::Counts => Some(window),
            None if ended => {
                let rest = window.len() as u64;
                return Ok(Found::End { place, rest });
            }
            None => None,
        };
        let Some(line) = line.map(frame::without_return).filter(|l| l.len() <= MESSAGE_BYTES_MAX)
        else {
            return self.over_long(source, place);
        };
        let used = end.map_or(window.len(), |end| end + 1) as u64;
        let record = self.record(line);
        let mut builder = self.builder();
        builder.push(record, self.now);
        self.finish(builder, place, used)
    }

    /// A line over the bound: its beginning is kept, its end looked for without keeping it.
    fn over_long(&mut self, source: &mut dyn Source, place: Place) -> io::Result<Found> {
        let head = source.window(place.empty_to, MESSAGE_BYTES_MAX + 4)?.to_vec();
        let mut at = place.scanned_to.max(place.empty_to + (head.len() as u64).saturating_sub(4));
        let stop = at + SCAN_BYTES_MAX;
        let end = loop {
            let window = source.window(at, BATCH_BYTES_TARGET)?;
            if let Some(found) = memchr::memchr(b'\n', window) {
                break at + found as u64 + 1;
            }
            let ended = window.len() < BATCH_BYTES_TARGET;
            at += window.len() as u64;
            let place = Place { scanned_to: at, ..place };
            match (ended, self.last_line) {
                (true, LastLine::Counts) => break at,
                (true, LastLine::Waits) => {
                    return Ok(Found::End { place, rest: at - place.empty_to });
                }
                (false, _) if at >= stop => return Ok(Found::More { place }),
                (false, _) => {}
            }
        };
        let used = end - place.empty_to;
        let record = match &self.width.poison {
            Some(reason) => self.parser.poisoned(frame::cut(&head, MESSAGE_BYTES_MAX), reason),
            None => self.parser.over_long(&head, used.saturating_sub(1)),
        };
        let mut builder = self.builder();
        builder.push(record, self.now);
        self.finish(builder, place, used)
    }

    fn builder(&mut self) -> BatchBuilder {
        let mut builder = BatchBuilder::new(self.origin.index.clone(), self.origin.labels.clone());
        self.workbench.furnish(&mut builder);
        builder
    }

    fn record(&mut self, line: &[u8]) -> Record {
        match &self.width.poison {
            Some(reason) => self.parser.poisoned(line, reason),
            None => self.parser.record(line),
        }
    }

    fn finish(&mut self, builder: BatchBuilder, place: Place, used: u64) -> io::Result<Found> {
        let (from, to) = (place.acknowledged, place.empty_to + used);
        let batch = builder.finish();
        let sequence = Sequence { producer: self.origin.producer, epoch: 0, from, to };
        let record_count = batch.record_count();
        let bytes = self.workbench.encode(batch, sequence)?;
        Ok(Found::Batch(Packed { bytes, from, to, record_count }))
    }
}

struct Taken {
    builder: BatchBuilder,
    used: u64,
}

#[cfg(test)]
mod tests;
