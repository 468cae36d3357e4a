//! What is known of the log without reading it: its segments, what its entries add up to, and the
//! newest of them.

use std::collections::VecDeque;

use super::entry;
use super::store::{Fold, SegmentInfo, SnapshotPoint};
use super::types::{Entry, EntryPayload, LogId, StoredMembership, behind};
use crate::log::{Frame, FrameKind, LogError, Segment, SegmentReader};

/// Bytes of a segment between two entries whose places are kept.
const PLACE_BYTES: u64 = 64 << 10;

/// What the entries up to one of them add up to.
#[derive(Debug)]
pub(super) struct Sum<F> {
    pub(super) fold: F,
    pub(super) last: Option<LogId>,
    pub(super) membership: StoredMembership,
}

impl<F: Fold> Sum<F> {
    pub(super) fn at(point: &SnapshotPoint) -> Option<Self> {
        let fold = F::restore(&point.fold)?;
        Some(Self { fold, last: point.log_id, membership: point.membership.clone() })
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(command) => self.fold.apply(entry.log_id.index, &command.0),
            EntryPayload::Membership(members) => {
                self.membership = StoredMembership::new(Some(entry.log_id), members.clone());
            }
        }
        self.last = Some(entry.log_id);
    }

    pub(super) fn point(&self) -> SnapshotPoint {
        SnapshotPoint {
            log_id: self.last,
            membership: self.membership.clone(),
            fold: self.fold.snapshot().into(),
        }
    }
}

/// A segment and where its entries are.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) segment: Segment,
    /// The entry before its first one.
    pub(super) start: Option<LogId>,
    /// Index of its first entry.
    pub(super) first: u64,
    /// Indexes of some entries, and where their frames begin.
    places: Vec<(u64, u64)>,
}

impl Piece {
    pub(super) fn new(segment: Segment, start: Option<LogId>) -> Self {
        Self { segment, start, first: behind(start.as_ref()), places: Vec::new() }
    }

    /// Keeps the place of an entry, if it is far from the one before.
    pub(super) fn place(&mut self, index: u64, at: u64) {
        match self.places.last() {
            Some((_, last)) if at < last + PLACE_BYTES => {}
            last => {
                // Only the first entry of an empty log may have any index.
                if last.is_none() {
                    self.first = index;
                }
                self.places.push((index, at));
            }
        }
    }

    /// Forgets the places from an index on.
    pub(super) fn forget(&mut self, from: u64) {
        self.places.retain(|(index, _)| *index < from);
    }

    /// A reader at the first frame.
    pub(super) fn segment_reader(&self) -> Result<SegmentReader, LogError> {
        SegmentReader::open(&self.segment)
    }

    /// A reader that stands at or before an entry.
    pub(super) fn reader(&self, index: u64) -> Result<SegmentReader, LogError> {
        let before = self.places.partition_point(|(known, _)| *known <= index).checked_sub(1);
        match before.and_then(|place| self.places.get(place)) {
            Some((known, at)) => SegmentReader::open_at(&self.segment, *at, self.frame(*known)),
            None => SegmentReader::open(&self.segment),
        }
    }

    /// The number of an entry's frame.
    pub(super) fn frame(&self, index: u64) -> u64 {
        self.segment.first + 1 + index.saturating_sub(self.first)
    }

    pub(super) fn damaged(&self, at: u64, what: &'static str) -> LogError {
        LogError::Damaged { file: self.segment.path.clone(), at, what }
    }
}

/// All that is kept in memory.
#[derive(Debug)]
pub(super) struct Tail<F> {
    pub(super) sum: Sum<F>,
    /// The last entry that does not count any more.
    pub(super) purged: Option<LogId>,
    /// Whether the oldest segment that was read voids what is older.
    pub(super) begins_anew: bool,
    pub(super) pieces: VecDeque<Piece>,
    pub(super) recent: Recent,
    /// Changes when entries that were there are not, or are others.
    pub(super) generation: u64,
}

impl<F: Fold> Tail<F> {
    pub(super) fn new(sum: Sum<F>) -> Self {
        let recent = Recent::default();
        Self {
            sum,
            purged: None,
            begins_anew: false,
            pieces: VecDeque::new(),
            recent,
            generation: 0,
        }
    }

    /// The index that the next entry gets.
    pub(super) fn next(&self) -> u64 {
        behind(self.sum.last.as_ref())
    }

    /// The first index that can be read.
    pub(super) fn first(&self) -> u64 {
        let oldest = self.pieces.front().map_or(0, |piece| piece.first);
        behind(self.purged.as_ref()).max(oldest)
    }

    /// The segment that holds an entry, and its position.
    pub(super) fn piece_of(&self, index: u64) -> Option<(usize, &Piece)> {
        let at = self.pieces.iter().rposition(|piece| piece.first <= index)?;
        Some((at, self.pieces.get(at)?))
    }

    /// Takes a frame that is read when the log is opened.
    pub(super) fn read(
        &mut self,
        segment: &Segment,
        at: u64,
        frame: &Frame,
    ) -> Result<(), LogError> {
        let known = self.pieces.back().is_some_and(|last| last.segment.first == segment.first);
        if !known {
            return self.read_first(segment, at, frame);
        }
        let next = self.next();
        let Some(piece) = self.pieces.back_mut() else { return Ok(()) };
        let entry = entry::decode(frame).filter(|_| frame.kind == FrameKind::Entry);
        let entry = entry.ok_or_else(|| piece.damaged(at, "the frame is whole but no entry"))?;
        let index = entry.log_id.index;
        if index != next && self.sum.last.is_some() {
            return Err(piece.damaged(at, "the entry does not follow the one before it"));
        }
        piece.place(index, at);
        self.sum.apply(&entry);
        Ok(())
    }

    fn read_first(&mut self, segment: &Segment, at: u64, frame: &Frame) -> Result<(), LogError> {
        let mut piece = Piece::new(segment.clone(), self.sum.last);
        let point = entry::decode_point(&frame.payload);
        let point = point.filter(|_| frame.kind == FrameKind::Snapshot);
        let what = "the first frame is whole but no snapshot of a group's log";
        let point = point.ok_or_else(|| piece.damaged(at, what))?;
        if self.pieces.is_empty() {
            let what = "the snapshot cannot be read by this version";
            self.sum = Sum::at(&point).ok_or_else(|| piece.damaged(at, what))?;
            piece = Piece::new(segment.clone(), point.log_id);
            self.begins_anew = entry::begins_anew(&frame.payload);
        } else if (point.log_id, &point.membership) != (self.sum.last, &self.sum.membership) {
            return Err(piece.damaged(at, "the snapshot is not of the entries before it"));
        }
        self.pieces.push_back(piece);
        Ok(())
    }

    /// The segments as far as they are written.
    pub(super) fn infos(&self) -> Vec<SegmentInfo> {
        let info = |piece: &Piece| SegmentInfo {
            path: piece.segment.path.clone(),
            bytes: piece.segment.bytes,
            start: piece.start,
        };
        self.pieces.iter().map(info).collect()
    }
}

/// The newest entries, up to so many bytes.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, entry: Entry, bytes_max: usize) {
        self.bytes += entry::bytes(&entry);
        self.entries.push_back(entry);
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= entry::bytes(&oldest);
        }
    }

    /// Forgets the entries from an index on.
    pub(super) fn cut(&mut self, from: u64) {
        while let Some(last) = self.entries.pop_back_if(|last| last.log_id.index >= from) {
            self.bytes -= entry::bytes(&last);
        }
    }

    /// Forgets the entries up to an index.
    pub(super) fn purge(&mut self, upto: u64) {
        while let Some(first) = self.entries.pop_front_if(|first| first.log_id.index <= upto) {
            self.bytes -= entry::bytes(&first);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Index of the oldest.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// The entries from an index on, which must not be older than the oldest.
    pub(super) fn from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let skip = self.first().map_or(0, |first| index.saturating_sub(first));
        self.entries.range(usize::try_from(skip).unwrap_or(usize::MAX).min(self.entries.len())..)
    }
}
