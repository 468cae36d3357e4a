//! Lines → one encoded batch: as many as are there and fit, from the acknowledged place on.

mod width;
mod workbench;

use std::io;

use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::level::Level;
use model::limits::{BATCH_BYTES_TARGET, BATCH_RECORDS_MAX, MESSAGE_BYTES_MAX};
use model::record::{FieldValue, Record};
use model::stream::{IndexName, Labels};
use model::time::Timestamp;

use crate::feed::record::RECORD_BYTES_MAX;
use crate::frame::assemble::Assembler;
use crate::frame::container::Container;
use crate::frame::multiline::Multiline;
use crate::frame::{self, Delimiter, Lines};
use crate::parse::{Line, Parser, Seen};
use crate::source::Source;
pub(crate) use width::Width;
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

/// An encoded batch.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) bytes: Bytes,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) record_count: usize,
    pub(crate) damaged: Damaged,
}

/// What is not sent as it is: what was no record in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Damaged {
    pub(crate) gaps: u64,
    pub(crate) bytes: u64,
    /// And lines that were over the bound, of any file.
    pub(crate) cut: u64,
    /// And records that rules left out.
    pub(crate) filtered: u64,
}

/// How lines are put together before they are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framing {
    pub(crate) delimiter: Delimiter,
    pub(crate) container: Option<Container>,
    pub(crate) multiline: Option<Multiline>,
}

impl Framing {
    /// Whether the file is a spool of ours.
    fn is_spool(&self) -> bool {
        self.delimiter == Delimiter::Records
    }

    /// Whether a line may be a part of something.
    fn assembles(&self) -> bool {
        self.container.is_some() || self.multiline.is_some()
    }
}

/// What was found at a place.
#[derive(Debug)]
pub(crate) enum Found {
    /// Records.
    Batch(Packed),
    /// No whole record up to the end; `rest` bytes of one begun. With `joining` all its lines
    /// are whole, and only more of them may come.
    End { place: Place, rest: u64, joining: bool },
    /// No whole line yet, but more to read.
    More { place: Place },
}

/// Everything needed to make batches of one file.
pub(crate) struct Packer<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) workbench: &'a mut Workbench,
    pub(crate) parser: Parser,
    pub(crate) now: Timestamp,
    pub(crate) framing: &'a Framing,
    pub(crate) last_line: LastLine,
    /// The same for a record of several lines, when its last line has an end.
    pub(crate) last_record: LastLine,
    pub(crate) width: Width,
    /// So far; begins with none.
    pub(crate) damaged: Damaged,
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
            let mut taken = self.take(window, place.empty_to, ended);
            let mut length = window.len() as u64;
            if self.framing.is_spool() && taken.used == 0 && !ended {
                // A record longer than the window: this one holds the longest.
                let window = source.window(place.empty_to, RECORD_BYTES_MAX)?;
                length = window.len() as u64;
                taken = self.take(window, place.empty_to, window.len() < RECORD_BYTES_MAX);
            }
            if taken.builder.record_count() > 0 {
                return self.finish(taken.builder, place, taken.used);
            }
            let rest = length - taken.used;
            place.empty_to += taken.used;
            place.scanned_to = place.empty_to;
            if ended {
                return Ok(Found::End { place, rest, joining: taken.joining });
            }
            if taken.used == 0 && !self.framing.is_spool() {
                return self.long(source, place);
            }
            budget = budget.saturating_sub(taken.used);
            if budget == 0 {
                return Ok(Found::More { place });
            }
        }
    }

    fn take(&mut self, window: &[u8], at: u64, ended: bool) -> Taken {
        if self.framing.assembles() {
            return self.assemble(window, at, ended);
        }
        let mut builder = self.builder();
        let mark = mark_bytes(window, at);
        let framing = self.framing;
        let mut lines = Lines::new(window.get(mark..).unwrap_or_default(), &framing.delimiter);
        let mut used = 0;
        let place = |used: u64| at + used;
        while builder.record_count() < self.width.records_max
            && let Some(line) = lines.next_line()
        {
            let after = (mark + lines.used()) as u64;
            if lines.damaged() > 0 {
                self.tell_damage(&mut builder, place(used), place(after));
            }
            let line = Line { note: lines.note(), ..Line::bare(line, place(after)) };
            if !line.text.is_empty() && !self.put(&mut builder, line) {
                return Taken { builder, used, joining: false };
            }
            used = after;
        }
        // Empty lines and holes at the end belong to no record; they pass all the same.
        let room = builder.record_count() < self.width.records_max;
        if room {
            used = (mark + lines.used()) as u64;
        }
        let rest = framing.delimiter.trim(lines.rest());
        let end = window.len() as u64;
        if room
            && ended
            && self.last_line == LastLine::Counts
            && !rest.is_empty()
            && !framing.is_spool()
            && self.put(&mut builder, Line::bare(rest, place(end)))
        {
            used = end;
        }
        Taken { builder, used, joining: false }
    }

    /// As [`Packer::take`], where a record may be several lines, or parts of lines.
    fn assemble(&mut self, window: &[u8], at: u64, ended: bool) -> Taken {
        let mut builder = self.builder();
        let mark = mark_bytes(window, at);
        let framing = self.framing;
        let mut lines = Lines::new(window.get(mark..).unwrap_or_default(), &framing.delimiter);
        let mut assembler = Assembler::new(framing.container, framing.multiline.as_ref());
        let (mut used, mut start) = (0, at + mark as u64);
        while builder.record_count() < self.width.records_max
            && let Some(line) = lines.next_line()
        {
            let end = at + (mark + lines.used()) as u64;
            let alone = lines.damaged() > 0 || lines.note().is_whole();
            if alone {
                assembler.close();
            } else if line.is_empty() {
                assembler.feed_empty();
            } else {
                assembler.feed(line, start, end);
            }
            let line = Line { note: lines.note(), ..Line::bare(line, end) };
            let put = self.put_ready(&mut builder, &mut assembler)
                && (!alone || line.text.is_empty() || self.put(&mut builder, line));
            if !put {
                return Taken { builder, used, joining: false };
            }
            if lines.damaged() > 0 {
                self.tell_damage(&mut builder, start, end);
            }
            start = end;
            used = if assembler.is_open() { assembler.safe().min(end) } else { end } - at;
        }
        if builder.record_count() >= self.width.records_max {
            return Taken { builder, used, joining: false };
        }
        let rest = framing.delimiter.trim(lines.rest());
        let last = ended && self.last_line == LastLine::Counts && !framing.is_spool();
        if last && !rest.is_empty() {
            assembler.feed(rest, start, at + window.len() as u64);
        }
        // A window without a safe place in it would never be passed.
        let full = !ended && used == 0 && assembler.is_open();
        let whole = ended && rest.is_empty() && self.last_record == LastLine::Counts;
        if last || full || whole {
            assembler.close();
            let before = used;
            // Where nothing was fed there is no safe place; empty lines are passed all the same.
            used = used.max(assembler.safe().saturating_sub(at));
            if !self.put_ready(&mut builder, &mut assembler) {
                used = before;
            }
        }
        Taken { builder, used, joining: assembler.is_open() && rest.is_empty() }
    }

    /// Adds what is ready, if there is room for all of it.
    fn put_ready(&mut self, builder: &mut BatchBuilder, assembler: &mut Assembler<'_>) -> bool {
        let texts = assembler.take().unwrap_or_default();
        let bytes: usize = texts.iter().map(|text| text.text.len()).sum();
        // Fields take room as well; a batch this full is sent first.
        let records = builder.record_count() + texts.len();
        let full = builder.bytes() + bytes > BATCH_BYTES_TARGET || records > BATCH_RECORDS_MAX;
        if full && builder.record_count() > 0 {
            return false;
        }
        for text in texts {
            let (time, stream) = (text.time, text.stream);
            let line = Line { time, stream, ..Line::bare(&text.text, text.end) };
            if let Some(record) = self.record(line) {
                builder.push(record, self.now);
            }
        }
        true
    }

    /// Adds a line's record, if there is room for it.
    fn put(&mut self, builder: &mut BatchBuilder, line: Line<'_>) -> bool {
        let (text, note) = (line.text, line.note);
        let noted = note.peer.is_some() || note.cut || note.own;
        let arrival = note.arrival.unwrap_or(self.now);
        if self.width.poison.is_none() && !noted {
            match self.parser.seen(text) {
                Some(Seen::Text(text)) => {
                    let fits = builder.fits_text(text.message.len());
                    if fits {
                        let timestamp = text.timestamp.unwrap_or(arrival);
                        builder.push_text(timestamp, text.level, text.message);
                    }
                    return fits;
                }
                Some(Seen::Quick(quick)) => return builder.take_quick(&quick, arrival),
                Some(Seen::Flat(flat)) => return builder.take_flat(&flat, arrival),
                None => {}
            }
        }
        let Some(record) = self.record(line) else { return true };
        builder.take(&record, arrival)
    }

    /// Says which bytes of a spool are no records any more.
    fn tell_damage(&mut self, builder: &mut BatchBuilder, from: u64, to: u64) {
        let number = |number: u64| FieldValue::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let record = Record {
            timestamp: None,
            level: Level::Error,
            message: format!("gap: bytes {from} to {to} of the spool are damaged"),
            fields: vec![("gap_from".to_owned(), number(from)), ("gap_to".to_owned(), number(to))],
        };
        builder.push(record, self.now);
        self.damaged.gaps += 1;
        self.damaged.bytes += to - from;
    }

    /// A line longer than a batch wants to be: wholly in a larger window, or longer still.
    fn long(&mut self, source: &mut dyn Source, place: Place) -> io::Result<Found> {
        let window = source.window(place.empty_to, LINE_WINDOW)?;
        let ended = window.len() < LINE_WINDOW;
        let end = self.framing.delimiter.find(window);
        let line = match end {
            Some((end, _)) => window.get(..end),
            None if ended && self.last_line == LastLine::Counts => Some(window),
            None if ended => {
                let rest = window.len() as u64;
                return Ok(Found::End { place, rest, joining: false });
            }
            None => None,
        };
        let Some(line) = line
            .map(|line| self.framing.delimiter.trim(line))
            .filter(|l| l.len() <= MESSAGE_BYTES_MAX)
        else {
            return self.over_long(source, place);
        };
        let used = end.map_or(window.len(), |(_, next)| next) as u64;
        let opened = self.framing.container.map(|container| container.open(line));
        let line = match &opened {
            Some(piece) => {
                let (text, place) = (&*piece.text, place.empty_to + used);
                Line { time: piece.time, stream: piece.stream, ..Line::bare(text, place) }
            }
            None => Line::bare(line, place.empty_to + used),
        };
        let record = self.record(line);
        self.finish_one(record, place, used)
    }

    /// A line over the bound: its beginning is kept, its end looked for without keeping it.
    fn over_long(&mut self, source: &mut dyn Source, place: Place) -> io::Result<Found> {
        let head = source.window(place.empty_to, MESSAGE_BYTES_MAX + 4)?.to_vec();
        let delimiter = &self.framing.delimiter;
        // Where a delimiter may have begun, at an even distance: some have two bytes.
        let back = (delimiter.len() as u64 - 1).next_multiple_of(2) + 4;
        let seen = place.scanned_to.max(place.empty_to + head.len() as u64) - place.empty_to;
        let mut at = place.empty_to + (seen.saturating_sub(back) & !1);
        let stop = at + SCAN_BYTES_MAX;
        let end = loop {
            let window = source.window(at, BATCH_BYTES_TARGET)?;
            if let Some((_, next)) = delimiter.find(window) {
                break at + next as u64;
            }
            let ended = window.len() < BATCH_BYTES_TARGET;
            let length = window.len() as u64;
            let place = Place { scanned_to: at + length, ..place };
            match (ended, self.last_line) {
                (true, LastLine::Counts) => break at + length,
                (true, LastLine::Waits) => {
                    let rest = at + length - place.empty_to;
                    return Ok(Found::End { place, rest, joining: false });
                }
                (false, _) if at >= stop => return Ok(Found::More { place }),
                (false, _) => at += length - back,
            }
        };
        let used = end - place.empty_to;
        let line = Line::bare(&head, end);
        let record = match &self.width.poison {
            Some(poison) => {
                let text = frame::cut(&head, MESSAGE_BYTES_MAX);
                poison.record(&mut self.parser, Line { text, ..line }, used.saturating_sub(1))
            }
            None => {
                self.damaged.cut += 1;
                self.parser.over_long(line, used.saturating_sub(1))
            }
        };
        self.finish_one(record, place, used)
    }

    /// A batch of one record, or the place behind it when it is not to be sent.
    fn finish_one(&mut self, record: Option<Record>, place: Place, used: u64) -> io::Result<Found> {
        let Some(record) = record else {
            let after = place.empty_to + used;
            return Ok(Found::More {
                place: Place { empty_to: after, scanned_to: after, ..place },
            });
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

    fn record(&mut self, line: Line<'_>) -> Option<Record> {
        let record = match &self.width.poison {
            Some(poison) => poison.record(&mut self.parser, line, line.text.len() as u64),
            None => self.parser.record(line),
        };
        self.damaged.filtered += u64::from(record.is_none());
        record
    }

    fn finish(&mut self, builder: BatchBuilder, place: Place, used: u64) -> io::Result<Found> {
        let (from, to) = (place.acknowledged, place.empty_to + used);
        let batch = builder.finish();
        let sequence = Sequence { producer: self.origin.producer, epoch: 0, from, to };
        let record_count = batch.record_count();
        let bytes = self.workbench.encode(batch, sequence)?;
        Ok(Found::Batch(Packed { bytes, from, to, record_count, damaged: self.damaged }))
    }
}

struct Taken {
    builder: BatchBuilder,
    used: u64,
    /// A record is open that more lines may join; all so far are whole.
    joining: bool,
}

/// Bytes of the mark at a file's beginning.
fn mark_bytes(window: &[u8], at: u64) -> usize {
    if at == 0 && window.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

#[cfg(test)]
mod tests;
