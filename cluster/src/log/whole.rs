//! A log that is read whole when it is opened, whose end can be cut off, and that can begin anew:
//! what consensus asks of it.
//!
//! Beside the segments it keeps `mark`: how much of which segment is durable, written behind each
//! sync and not synced itself. It survives the end of the process, and the loss of power by a few
//! seconds, and tells damage in the very last group from a torn tail.

use std::collections::VecDeque;
use std::path::Path;

use platform::disk::{self, Disk, DiskFile};

use super::frame::{Frame, FrameKind, SEGMENT_HEAD_BYTES};
use super::reader::{self, Recovered, SegmentReader};
use super::{Log, LogError, Segment, cut_tail, io_error, make_segment};

/// Name of the file with the mark.
const MARK_FILE: &str = "mark";
/// Bytes of the mark: first index of the segment, its durable bytes, checksum of both.
const MARK_BYTES: usize = 20;

/// What reading every frame is told, in order: segment, place in bytes, frame.
pub(crate) type Visit<'a> = dyn FnMut(&Segment, u64, Frame) -> Result<(), LogError> + 'a;

impl Log {
    /// Opens the log in a folder and reads all of it, or makes one whose first frame is the given
    /// snapshot. A segment whose snapshot `begins_anew` voids all that are older: they are removed.
    ///
    /// # Errors
    /// [`LogError`]; nothing was changed but what follows from a crash.
    pub(crate) fn open_whole(
        folder: &Path,
        disk: Disk,
        first_snapshot: &[u8],
        begins_anew: fn(&[u8]) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<Self, LogError> {
        disk::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
        let path = folder.join(MARK_FILE);
        let mark = disk.open(&path).map_err(|source| io_error(&path, source))?;
        let noted = read_mark(&mark);
        let mut segments = reader::list(folder)?;
        let Some((recovered, file)) = recover_last(&disk, noted, &mut segments)? else {
            let (segment, file) = make_segment(folder, &disk, 0, first_snapshot)?;
            let at = SEGMENT_HEAD_BYTES as u64;
            if let Some(frame) = SegmentReader::open(&segment)?.next(segment.bytes)? {
                visit(&segment, at, frame)?;
            }
            let log = Self::resumed(folder, disk, VecDeque::from([segment]), file, 1);
            return Ok(Self { mark: Some(mark), ..log });
        };
        let Some(mut last) = segments.pop_back() else { return Err(LogError::Missing(path)) };
        if recovered.frames.first().is_some_and(|frame| begins_anew(&frame.payload)) {
            remove(&mut segments)?;
        }
        void_older(&mut segments, begins_anew)?;
        walk_sealed(folder, &segments, last.first, visit)?;
        last.bytes = recovered.bytes;
        let next = last.first + recovered.frames.len() as u64;
        let mut at = SEGMENT_HEAD_BYTES as u64;
        for frame in recovered.frames {
            let bytes = frame.bytes();
            visit(&last, at, frame)?;
            at += bytes;
        }
        cut_tail(&last, &file)?;
        segments.push_back(last);
        let log = Self::resumed(folder, disk, segments, file, next);
        Ok(Self { mark: Some(mark), ..log })
    }

    /// Removes everything from a place on: later segments, and what follows the place in its own.
    /// Durable when it returns; a crash leaves the log with a part of what was to be removed.
    ///
    /// # Errors
    /// [`LogError`]; after any the log takes nothing until it was opened again.
    pub(crate) fn cut(&mut self, first: u64, at: u64, next: u64) -> Result<(), LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned { file: self.path() });
        }
        self.poisoned = true;
        if let Some(mark) = &self.mark {
            let noted = mark.write_at(&mark_bytes(first, at), 0).and_then(|()| mark.sync());
            noted.map_err(|source| io_error(&self.folder.join(MARK_FILE), source))?;
        }
        while let Some(last) = self.segments.back().filter(|last| last.first > first) {
            disk::remove_file(&last.path)
                .and_then(|()| disk::sync_dir(&self.folder))
                .map_err(|source| io_error(&last.path, source))?;
            self.segments.pop_back();
        }
        let Some(last) = self.segments.back_mut() else {
            return Err(LogError::Missing(self.folder.clone()));
        };
        let io = |source| io_error(&last.path, source);
        self.file = self.disk.open(&last.path).map_err(io)?;
        self.file.truncate(at).and_then(|()| self.file.sync()).map_err(io)?;
        last.bytes = at;
        (self.written, self.synced, self.next) = (at, at, next);
        self.poisoned = false;
        Ok(())
    }

    /// Begins anew with a snapshot that says so: one new segment, and no older ones. A crash
    /// leaves the old log or the new one, since a whole first frame voids what is older.
    ///
    /// # Errors
    /// [`LogError`]; the log is as it was before.
    pub(crate) fn begin_anew(&mut self, snapshot: &[u8]) -> Result<(), LogError> {
        self.roll(snapshot)?;
        let last = self.segments.split_off(self.segments.len().saturating_sub(1));
        let mut void = std::mem::replace(&mut self.segments, last);
        // What cannot be removed now is removed when the log is opened again.
        if let Err(error) = remove(&mut void) {
            tracing::warn!(%error, "an old segment stays until the next start");
        }
        Ok(())
    }

    /// Whether nothing can be written until the log was opened again.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Notes how much is durable. A note that is behind is only less watchful.
    pub(super) fn note(&self) {
        let (Some(mark), Some(last)) = (&self.mark, self.segments.back()) else { return };
        if let Err(error) = mark.write_at(&mark_bytes(last.first, self.synced), 0) {
            tracing::debug!(%error, "the mark of what is durable could not be written");
        }
    }
}

/// Reads the last segment that has a whole first frame. Those behind it were being made when the
/// power failed: nothing in them was acknowledged, and they are removed.
fn recover_last(
    disk: &Disk,
    noted: Option<(u64, u64)>,
    segments: &mut VecDeque<Segment>,
) -> Result<Option<(Recovered, DiskFile)>, LogError> {
    while let Some(last) = segments.back() {
        let file = disk.open(&last.path).map_err(|source| io_error(&last.path, source))?;
        let recovered = reader::recover(&last.path, last.first, &file)?;
        check_mark(noted, last, recovered.bytes)?;
        if !recovered.frames.is_empty() {
            return Ok(Some((recovered, file)));
        }
        disk::remove_file(&last.path).map_err(|source| io_error(&last.path, source))?;
        segments.pop_back();
    }
    Ok(None)
}

/// Keeps the newest segment that begins anew and those behind it.
fn void_older(
    segments: &mut VecDeque<Segment>,
    begins_anew: fn(&[u8]) -> bool,
) -> Result<(), LogError> {
    for at in (0..segments.len()).rev() {
        let Some(segment) = segments.get(at) else { break };
        let first = SegmentReader::open(segment)?.next(segment.bytes)?;
        if first.is_some_and(|frame| begins_anew(&frame.payload)) {
            let keep = segments.split_off(at);
            return remove(&mut std::mem::replace(segments, keep));
        }
    }
    Ok(())
}

fn remove(segments: &mut VecDeque<Segment>) -> Result<(), LogError> {
    while let Some(segment) = segments.front() {
        disk::remove_file(&segment.path).map_err(|source| io_error(&segment.path, source))?;
        segments.pop_front();
    }
    Ok(())
}

/// Reads all segments but the last, which must follow one another without a gap up to `end`.
fn walk_sealed(
    folder: &Path,
    segments: &VecDeque<Segment>,
    end: u64,
    visit: &mut Visit<'_>,
) -> Result<(), LogError> {
    let missing = |first: u64| LogError::Missing(folder.join(format!("{first:020}.seg")));
    let mut next = segments.front().map_or(end, |segment| segment.first);
    for segment in segments {
        if segment.first != next {
            return Err(missing(next));
        }
        let mut reader = SegmentReader::open(segment)?;
        loop {
            let at = reader.at();
            let Some(frame) = reader.next(segment.bytes)? else { break };
            if (frame.kind == FrameKind::Snapshot) != (frame.index == segment.first) {
                let what = "a snapshot is not the first frame, or the first frame is none";
                return Err(LogError::Damaged { file: segment.path.clone(), at, what });
            }
            visit(segment, at, frame)?;
        }
        next = reader.index();
    }
    if next == end { Ok(()) } else { Err(missing(next)) }
}

fn mark_bytes(first: u64, durable: u64) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    let (segment, rest) = bytes.split_at_mut(8);
    segment.copy_from_slice(&first.to_le_bytes());
    let (length, crc) = rest.split_at_mut(8);
    length.copy_from_slice(&durable.to_le_bytes());
    crc.copy_from_slice(&crc32c::crc32c_append(crc32c::crc32c(segment), length).to_le_bytes());
    bytes
}

/// The segment and its durable bytes; `None` when the mark is absent or torn.
fn read_mark(mark: &DiskFile) -> Option<(u64, u64)> {
    let bytes = mark.read_at(MARK_BYTES, 0).ok()?;
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (first, durable) = (number(0)?, number(8)?);
    (bytes == mark_bytes(first, durable)).then_some((first, durable))
}

/// What was noted as durable must be there.
fn check_mark(noted: Option<(u64, u64)>, last: &Segment, whole: u64) -> Result<(), LogError> {
    match noted {
        Some((first, durable)) if first == last.first && durable > whole => {
            let what = "it is noted that more had been written whole";
            Err(LogError::Damaged { file: last.path.clone(), at: whole, what })
        }
        Some((first, _)) if first > last.first => {
            Err(LogError::Missing(last.path.with_file_name(format!("{first:020}.seg"))))
        }
        _ => Ok(()),
    }
}
