//! What the handles of a log share: the files, written under one lock, and the tail, read under
//! another.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use platform::disk::Disk;
use tokio::sync::watch;

use super::entry::{self, Anew};
use super::state::State;
use super::store::{Fold, LogSettings, SnapshotPoint};
use super::tail::{Piece, Sum, Tail};
use super::types::{Entry, LogId, StoredMembership, Vote, behind};
use crate::log::{Frame, Log, LogError, Segment};

#[derive(Debug)]
pub(super) struct Shared<F> {
    folder: PathBuf,
    settings: LogSettings,
    /// Taken first, and held while the disk works.
    writing: Mutex<Writing>,
    /// Taken last, and never while the disk works.
    tail: Mutex<Tail<F>>,
    /// Woken when the log began anew.
    pub(super) anew: watch::Sender<()>,
    /// Nobody waits for room on the disk any more.
    pub(super) given_up: AtomicBool,
}

#[derive(Debug)]
struct Writing {
    log: Log,
    state: State,
}

impl<F: Fold> Shared<F> {
    pub(super) fn open(
        folder: &Path,
        disk: Disk,
        settings: LogSettings,
        initial: F,
    ) -> Result<Self, LogError> {
        let state = begin(folder)?;
        let mut tail =
            Tail::new(Sum { fold: initial, last: None, membership: StoredMembership::default() });
        let first = entry::encode_point(&tail.sum.point(), Anew::No);
        let mut read = |segment: &Segment, at: u64, frame: Frame| tail.read(segment, at, &frame);
        let log = Log::open_whole(folder, disk, &first, entry::begins_anew, &mut read)?;
        let start = tail.pieces.front().and_then(|piece| piece.start);
        let (purged_next, first) = (behind(state.purged.as_ref()), behind(start.as_ref()));
        tail.purged = if purged_next > first { state.purged } else { start };
        // Whoever removes segments says so before, or the next segment says that it begins anew.
        let oldest_gone = first > purged_next && !tail.begins_anew;
        if purged_next > tail.next() || oldest_gone {
            return Err(LogError::Missing(folder.join("*.seg")));
        }
        if let (Some(last), Some(written)) = (tail.pieces.back_mut(), log.segments().next_back()) {
            last.segment.bytes = written.bytes;
        }
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            writing: Mutex::new(Writing { log, state }),
            tail: Mutex::new(tail),
            anew: watch::Sender::new(()),
            given_up: AtomicBool::new(false),
        })
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail<F>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it waits where the disk is full.
    pub(super) fn waits(&self) -> bool {
        self.settings.room_bytes_min.is_some() && !self.given_up.load(Ordering::Relaxed)
    }

    /// Whether it waits because the disk is full, or nearly so.
    pub(super) fn lacks_room(&self) -> bool {
        let wanted = self.settings.room_bytes_min.filter(|_| self.waits());
        let free = || platform::disk::space(&self.folder).map_or(u64::MAX, |(free, _)| free);
        wanted.is_some_and(|wanted| free() < wanted)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.writing().log.is_poisoned()
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.writing().state.vote
    }

    pub(super) fn save_vote(&self, vote: Vote) -> Result<(), LogError> {
        let mut writing = self.writing();
        let state = State { vote: Some(vote), ..writing.state };
        state.write(&self.folder)?;
        writing.state = state;
        Ok(())
    }

    /// Writes entries as one group; durable and readable when it returns.
    pub(super) fn append(&self, entries: &[Entry]) -> Result<(), LogError> {
        let mut writing = self.writing();
        self.check_order(entries)?;
        self.roll_if_full(&mut writing.log);
        let encoded: Vec<_> = entries.iter().map(entry::encode).collect();
        let mut at = writing.log.segment_bytes();
        let group = entries
            .iter()
            .zip(&encoded)
            .map(|(entry, (head, body))| (entry.log_id.leader_id.term, [&head[..], &body[..]]));
        writing.log.append_group(group)?;
        let sizes: Vec<usize> =
            encoded.iter().map(|(head, body)| head.len() + body.len()).collect();
        drop(encoded);
        let mut tail = self.tail();
        let tail = &mut *tail;
        if let Some(piece) = tail.pieces.back_mut() {
            for (entry, size) in entries.iter().zip(sizes) {
                piece.place(entry.log_id.index, at);
                at += Frame::bytes_of(size);
                tail.sum.apply(entry);
                tail.recent.push(entry.clone(), self.settings.recent_bytes_max);
            }
            piece.segment.bytes = writing.log.segment_bytes();
        }
        Ok(())
    }

    /// Entries must follow the last one and each other; the first of all may have any index.
    fn check_order(&self, entries: &[Entry]) -> Result<(), LogError> {
        let tail = self.tail();
        let (first, mut next) = (tail.first(), tail.next());
        if tail.sum.last.is_none() {
            next = entries.first().map_or(next, |entry| entry.log_id.index);
        }
        for entry in entries {
            if entry.log_id.index != next {
                return Err(LogError::Hole { first, next, got: entry.log_id.index });
            }
            next += 1;
        }
        Ok(())
    }

    fn roll_if_full(&self, log: &mut Log) {
        if log.segment_bytes() < self.settings.segment_bytes_max {
            return;
        }
        if let Err(error) = self.roll(log) {
            tracing::warn!(%error, "the segment grows on: another cannot be begun");
        }
    }

    fn roll(&self, log: &mut Log) -> Result<(), LogError> {
        let (point, last) = {
            let tail = self.tail();
            (tail.sum.point(), tail.sum.last)
        };
        log.roll(&entry::encode_point(&point, Anew::No))?;
        let segment = log.segments().next_back().cloned();
        let piece = segment.map(|segment| Piece::new(segment, last));
        self.tail().pieces.extend(piece);
        Ok(())
    }

    /// Begins another segment, unless there is no entry in the newest one.
    pub(super) fn seal(&self) -> Result<(), LogError> {
        let mut writing = self.writing();
        let is_empty = {
            let tail = self.tail();
            tail.pieces.back().is_none_or(|newest| newest.start == tail.sum.last)
        };
        if is_empty { Ok(()) } else { self.roll(&mut writing.log) }
    }

    /// Removes the entries from an index on; durable when it returns.
    pub(super) fn truncate(&self, since: u64) -> Result<(), LogError> {
        let mut writing = self.writing();
        let (position, piece) = {
            let tail = self.tail();
            let (first, next) = (tail.first(), tail.next());
            if since >= next {
                return Ok(());
            }
            let found = tail.piece_of(since).filter(|_| since >= first);
            let (position, piece) = found.ok_or(LogError::Hole { first, next, got: since })?;
            (position, piece.clone())
        };
        let (sum, at) = sum_before(&piece, since)?;
        writing.log.cut(piece.segment.first, at, piece.frame(since))?;
        let mut tail = self.tail();
        tail.pieces.truncate(position + 1);
        if let Some(last) = tail.pieces.back_mut() {
            last.forget(since);
            last.segment.bytes = at;
        }
        tail.recent.cut(since);
        tail.sum = sum;
        tail.generation += 1;
        Ok(())
    }

    /// Remembers that entries up to one do not count any more, and removes whole segments of
    /// them. `false` when the log ends before that entry.
    pub(super) fn purge(&self, upto: LogId) -> Result<bool, LogError> {
        let mut writing = self.writing();
        {
            let tail = self.tail();
            if behind(tail.purged.as_ref()) > upto.index {
                return Ok(true);
            }
            if tail.next() <= upto.index {
                return Ok(false);
            }
        }
        let state = State { purged: Some(upto), ..writing.state };
        state.write(&self.folder)?;
        writing.state = state;
        let mut tail = self.tail();
        tail.purged = Some(upto);
        tail.recent.purge(upto.index);
        let whole = |piece: &Piece| piece.start.is_some_and(|start| start.index <= upto.index);
        let keep = tail.pieces.iter().rposition(whole).unwrap_or(0);
        tail.pieces.drain(..keep);
        let first = tail.pieces.front().map_or(0, |piece| piece.segment.first);
        drop(tail);
        // Files that cannot be removed now are removed with the next purge.
        if let Err(error) = writing.log.trim_before(first) {
            tracing::warn!(%error, "cannot remove what was purged; it is tried again");
        }
        Ok(true)
    }

    pub(super) fn restart(&self, point: &SnapshotPoint) -> Result<(), LogError> {
        let mut writing = self.writing();
        let next = behind(point.log_id.as_ref());
        if self.tail().next() >= next {
            return Ok(());
        }
        let sum = Sum::at(point).ok_or_else(|| LogError::Damaged {
            file: self.folder.clone(),
            at: 0,
            what: "the snapshot that came cannot be read by this version",
        })?;
        writing.log.begin_anew(&entry::encode_point(point, Anew::Yes))?;
        let segment = writing.log.segments().next_back().cloned();
        let mut tail = self.tail();
        tail.sum = sum;
        tail.purged = point.log_id;
        tail.pieces =
            segment.map(|segment| Piece::new(segment, point.log_id)).into_iter().collect();
        tail.recent.clear();
        tail.generation += 1;
        drop(tail);
        self.anew.send_replace(());
        Ok(())
    }

    pub(super) fn base(&self) -> Result<SnapshotPoint, LogError> {
        loop {
            let (piece, next) = {
                let tail = self.tail();
                let piece = tail.pieces.front().cloned();
                (piece, behind(tail.purged.as_ref()))
            };
            let Some(piece) = piece else { return Err(LogError::Missing(self.folder.clone())) };
            match sum_before::<F>(&piece, next) {
                Ok((sum, _)) => return Ok(sum.point()),
                // Purged meanwhile: the next one is the oldest now.
                Err(_) if self.is_gone(&piece) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn trim(
        &self,
        applied: Option<LogId>,
        passes: impl Fn(&F) -> bool,
    ) -> Result<Option<SnapshotPoint>, LogError> {
        let (pieces, purged) = {
            let tail = self.tail();
            (tail.pieces.clone(), tail.purged)
        };
        let wanted = behind(purged.as_ref())..behind(applied.as_ref());
        for piece in pieces.iter().rev() {
            let Some(start) = piece.start.filter(|start| wanted.contains(&start.index)) else {
                continue;
            };
            match sum_before::<F>(piece, start.index + 1) {
                Ok((sum, _)) if passes(&sum.fold) => return Ok(Some(sum.point())),
                Ok(_) => {}
                Err(_) if self.is_gone(piece) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn is_gone(&self, piece: &Piece) -> bool {
        self.tail().pieces.iter().all(|known| known.segment.first != piece.segment.first)
    }
}

/// What the log up to an entry (without it) adds up to, from the segment that holds the entry;
/// and where the entry's frame begins.
fn sum_before<F: Fold>(piece: &Piece, index: u64) -> Result<(Sum<F>, u64), LogError> {
    let mut reader = piece.segment_reader()?;
    let point = reader.next(piece.segment.bytes)?;
    let point = point.and_then(|frame| entry::decode_point(&frame.payload));
    let sum = point.and_then(|point| Sum::at(&point));
    let mut sum = sum.ok_or_else(|| piece.damaged(0, "it begins with no snapshot"))?;
    while behind(sum.last.as_ref()).max(piece.first) < index {
        let at = reader.at();
        let frame = reader.next(piece.segment.bytes)?;
        let entry = frame.as_ref().and_then(entry::decode);
        sum.apply(&entry.ok_or_else(|| piece.damaged(at, "the frame is whole but no entry"))?);
    }
    Ok((sum, reader.at()))
}

/// Reads the state of the log, or makes it where there is nothing yet. A member that forgot its
/// vote could vote twice, and one that forgot its entries would be counted as if it had them.
fn begin(folder: &Path) -> Result<State, LogError> {
    let io = |source| LogError::Io { file: folder.to_owned(), source };
    platform::disk::create_dir_all(folder).map_err(io)?;
    let mut segments = 0;
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        segments += usize::from(path.extension().is_some_and(|extension| extension == "seg"));
    }
    match State::read(folder)? {
        None if segments > 0 => Err(LogError::Missing(folder.join("state"))),
        Some(state) if segments == 0 && state != State::default() => {
            Err(LogError::Missing(folder.join("*.seg")))
        }
        Some(state) => Ok(state),
        None => {
            let state = State::default();
            state.write(folder)?;
            Ok(state)
        }
    }
}
