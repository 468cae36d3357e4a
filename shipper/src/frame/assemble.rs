//! Lines → whole texts: parts a container runtime cut are joined, then lines of one trace.
//!
//! Two streams may be mixed in one file, so what is whole may end after something begun earlier.
//! Texts are given out only up to a safe place: one before which nothing is open. A batch ends at
//! such a place, and whoever reads on from there puts the same texts together again.

use model::time::Timestamp;

use super::container::{Container, Piece};
use super::multiline::{GROUP_BYTES_MAX, GROUP_LINES_MAX, Multiline, Trace};

/// An open text whose stream says nothing for so many lines of others is whole.
const IDLE_LINES_MAX: usize = 200;

/// A text put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Whole {
    pub(crate) text: Vec<u8>,
    /// As in [`Piece`].
    pub(crate) stream: usize,
    pub(crate) time: Option<Timestamp>,
    /// Where its last line ends.
    pub(crate) end: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Parts of a line that goes on, and where the first of them begins.
    parts: Option<Whole>,
    line_start: u64,
    /// Lines of a text that may go on, where the first of them begins, and the last one ends.
    group: Option<Whole>,
    start: u64,
    end: u64,
    lines: usize,
    /// Empty lines since the last one: part of the text if it goes on behind them.
    empty: usize,
    trace: Trace,
    idle: usize,
}

/// Puts together the lines of one window.
#[derive(Debug)]
pub(crate) struct Assembler<'a> {
    container: Option<Container>,
    multiline: Option<&'a Multiline>,
    slots: [Slot; 3],
    ready: Vec<Whole>,
    /// Where the last line of the ready texts ends.
    ready_end: u64,
    /// Where the lines fed so far end.
    end: u64,
}

impl<'a> Assembler<'a> {
    /// Begins where nothing is open.
    pub(crate) fn new(container: Option<Container>, multiline: Option<&'a Multiline>) -> Self {
        let (slots, ready) = (Default::default(), Vec::new());
        Self { container, multiline, slots, ready, ready_end: 0, end: 0 }
    }

    /// Takes an empty line: inside a text it is part of it, elsewhere nothing.
    pub(crate) fn feed_empty(&mut self) {
        if let (None, [slot, ..]) = (self.container, &mut self.slots)
            && slot.group.is_some()
        {
            slot.empty += 1;
        }
    }

    /// Takes the line at `start..end` (its end included).
    pub(crate) fn feed(&mut self, line: &[u8], start: u64, end: u64) {
        let piece = match self.container {
            Some(container) => container.open(line),
            None => Piece::bare(line),
        };
        self.end = end;
        let Self { slots, ready, ready_end, .. } = self;
        for (stream, slot) in slots.iter_mut().enumerate() {
            slot.idle = if stream == piece.stream { 0 } else { slot.idle + 1 };
            if slot.idle > IDLE_LINES_MAX {
                slot.close(ready, ready_end);
            }
        }
        let Some(slot) = slots.get_mut(piece.stream) else { return };
        let Some(whole) = slot.join_parts(&piece, start, end) else { return };
        match self.multiline {
            None => {
                ready.push(whole);
                *ready_end = end;
            }
            Some(multiline) => slot.join_lines(whole, multiline, end, ready, ready_end),
        }
    }

    /// Nothing follows: what is open is whole.
    pub(crate) fn close(&mut self) {
        for slot in &mut self.slots {
            slot.close(&mut self.ready, &mut self.ready_end);
        }
    }

    /// The place before which nothing is open.
    pub(crate) fn safe(&self) -> u64 {
        self.slots.iter().filter_map(Slot::open_from).min().unwrap_or(self.end)
    }

    /// The ready texts, when nothing is open that began before they ended.
    pub(crate) fn take(&mut self) -> Option<Vec<Whole>> {
        let safe = self.ready_end <= self.safe();
        (safe && !self.ready.is_empty()).then(|| std::mem::take(&mut self.ready))
    }

    /// Whether some text is open.
    pub(crate) fn is_open(&self) -> bool {
        self.slots.iter().any(|slot| slot.open_from().is_some())
    }
}

impl Slot {
    fn open_from(&self) -> Option<u64> {
        match (&self.group, &self.parts) {
            (Some(_), _) => Some(self.start),
            (None, Some(_)) => Some(self.line_start),
            (None, None) => None,
        }
    }

    /// The whole line, unless more parts follow.
    fn join_parts(&mut self, piece: &Piece<'_>, start: u64, end: u64) -> Option<Whole> {
        let line = match self.parts.take() {
            Some(mut line) => {
                line.text.extend_from_slice(&piece.text);
                line.end = end;
                line
            }
            None => {
                self.line_start = start;
                let Piece { text, stream, time, .. } = piece;
                Whole { text: text.to_vec(), stream: *stream, time: *time, end }
            }
        };
        if piece.partial && line.text.len() < GROUP_BYTES_MAX {
            if self.group.is_none() {
                self.end = end;
            }
            self.parts = Some(line);
            return None;
        }
        Some(line)
    }

    fn join_lines(
        &mut self,
        line: Whole,
        by: &Multiline,
        end: u64,
        ready: &mut Vec<Whole>,
        ready_end: &mut u64,
    ) {
        let (joins, trace) = by.rule.joins(self.trace, &line.text);
        self.trace = trace;
        if let Some(group) = &mut self.group {
            let between = 1 + std::mem::take(&mut self.empty);
            let fits = self.lines < GROUP_LINES_MAX
                && group.text.len() + between + line.text.len() < GROUP_BYTES_MAX;
            if joins && fits {
                group.text.resize(group.text.len() + between, b'\n');
                group.text.extend_from_slice(&line.text);
                group.end = end;
                self.lines += 1;
                self.end = end;
                return;
            }
            ready.extend(self.group.take());
            *ready_end = (*ready_end).max(self.end);
        }
        (self.start, self.end) = (self.line_start, end);
        (self.group, self.lines) = (Some(line), 1);
    }

    fn close(&mut self, ready: &mut Vec<Whole>, ready_end: &mut u64) {
        if self.open_from().is_some() {
            *ready_end = (*ready_end).max(self.end);
        }
        ready.extend(self.group.take());
        ready.extend(self.parts.take());
        (self.lines, self.empty, self.trace, self.idle) = (0, 0, Trace::None, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::multiline::Rule;
    use super::*;

    /// Feeds lines; after each, what was given out and the safe place in lines.
    #[track_caller]
    fn check(
        container: Option<Container>,
        joins: Option<&Multiline>,
        lines: &[&str],
        expected: &[&str],
    ) {
        let mut assembler = Assembler::new(container, joins);
        let (mut given, mut place) = (Vec::new(), 0);
        for line in lines {
            match line.as_bytes() {
                b"" => assembler.feed_empty(),
                line => assembler.feed(line, place, place + 10),
            }
            place += 10;
            for whole in assembler.take().into_iter().flatten() {
                given.push(String::from_utf8(whole.text).unwrap());
            }
            assert!(assembler.safe() <= place);
        }
        assembler.close();
        assert_eq!(assembler.safe(), place);
        for whole in assembler.take().into_iter().flatten() {
            given.push(String::from_utf8(whole.text).unwrap());
        }
        assert_eq!(given, expected);
    }

    #[test]
    fn lines_and_parts_are_joined() {
        let traces = || Some(Multiline { rule: Rule::Traces, timeout: Duration::ZERO });
        check(None, traces().as_ref(), &["a", " b", "c"], &["a\n b", "c"]);
        check(None, traces().as_ref(), &["", "a", "", "", " b", "", "c"], &["a\n\n\n b", "c"]);
        let t = "2026-11-23T00:00:00Z";
        let cri = |text: &str| format!("{t} {text}");
        let mixed = ["stdout P a", "stderr F x", "stdout F b", "stdout F c"].map(cri);
        let mixed: Vec<&str> = mixed.iter().map(String::as_str).collect();
        check(Some(Container::Cri), None, &mixed, &["x", "ab", "c"]);
        let traced = ["stdout F a", "stderr F E", "stderr F  at", "stdout F b"].map(cri);
        let traced: Vec<&str> = traced.iter().map(String::as_str).collect();
        check(Some(Container::Cri), traces().as_ref(), &traced, &["a", "b", "E\n at"]);
    }

    #[test]
    fn nothing_is_given_out_behind_something_open() {
        let mut assembler = Assembler::new(Some(Container::Cri), None);
        assembler.feed(b"2026-11-23T00:00:00Z stdout P a", 0, 10);
        assembler.feed(b"2026-11-23T00:00:00Z stderr F x", 10, 20);
        assert_eq!((assembler.take(), assembler.safe()), (None, 0));
        assembler.feed(b"2026-11-23T00:00:00Z stdout F b", 20, 30);
        assert_eq!(assembler.take().map(|texts| texts.len()), Some(2));
        assert_eq!(assembler.safe(), 30);
    }
}
