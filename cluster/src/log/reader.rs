//! Reading segments: which there are, recovering the last one, walking through a sealed one.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use platform::disk::{Disk, DiskFile};

use super::frame::{self, FRAME_HEAD_BYTES, FRAME_MAGIC, Frame, SEGMENT_HEAD_BYTES};
use super::{LogError, Segment, io_error};

/// The segments in a folder, oldest first. Their names are their first indexes.
pub(super) fn list(folder: &Path) -> Result<VecDeque<Segment>, LogError> {
    let mut segments = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|source| io_error(folder, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| io_error(folder, source))?;
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(first) = name.strip_suffix(".seg").and_then(|name| name.parse().ok()) {
            let bytes = entry.metadata().map_err(|source| io_error(&path, source))?.len();
            segments.push(Segment { first, path, bytes });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments.into())
}

pub(super) struct Recovered {
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: u64,
}

/// Reads the last segment up to its last whole frame.
pub(super) fn recover(path: &Path, first: u64, file: &DiskFile) -> Result<Recovered, LogError> {
    let io = |source| io_error(path, source);
    let length = usize::try_from(file.len().map_err(io)?).unwrap_or(usize::MAX);
    let whole = Bytes::from(file.read_at(length, 0).map_err(io)?);
    let mut frames = Vec::new();
    let mut at = SEGMENT_HEAD_BYTES;
    if frame::read_segment_head(&whole) == Some(first) {
        while let Some(frame) = frame::read(&whole.slice(at.min(whole.len())..)) {
            if frame.index != first + frames.len() as u64 {
                break;
            }
            at += usize::try_from(frame.bytes()).unwrap_or(usize::MAX);
            frames.push(frame);
        }
    } else {
        at = 0;
    }
    if let Some(witness) = synced_behind(&whole, at) {
        let what = "a later frame says that it had been written whole";
        if witness > at as u64 {
            return Err(LogError::Damaged { file: path.to_owned(), at: at as u64, what });
        }
    }
    Ok(Recovered { frames, bytes: at as u64 })
}

/// The most that any whole frame behind `from` says was durable when it was written.
fn synced_behind(whole: &Bytes, from: usize) -> Option<u64> {
    let mut most = None;
    let mut at = from;
    while let Some(found) = whole.get(at..).and_then(|rest| find(rest, &FRAME_MAGIC)) {
        at += found;
        match frame::read(&whole.slice(at..)) {
            Some(frame) => {
                most = most.max(Some(u64::from(frame.synced)));
                at += usize::try_from(frame.bytes()).unwrap_or(usize::MAX);
            }
            None => at += 1,
        }
    }
    most
}

fn find(bytes: &[u8], wanted: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|window| window == wanted)
}

/// Walks through the frames of a segment, from its beginning or from a place read before.
#[derive(Debug)]
pub struct SegmentReader {
    path: PathBuf,
    file: DiskFile,
    at: u64,
    index: u64,
    buffer: Bytes,
}

/// Bytes read from the disk at a time.
const READ_BYTES: usize = 1 << 20;

impl SegmentReader {
    /// Opens a segment at its first frame.
    ///
    /// # Errors
    /// [`LogError::Io`], or [`LogError::Damaged`] when the head is not what the name says.
    pub fn open(segment: &Segment) -> Result<Self, LogError> {
        let path = segment.path.clone();
        let io = |source| io_error(&segment.path, source);
        let file = Disk::default().open_existing(&path).map_err(io)?;
        let head = file.read_at(SEGMENT_HEAD_BYTES, 0).map_err(io)?;
        if frame::read_segment_head(&head) != Some(segment.first) {
            return Err(LogError::Damaged { file: path, at: 0, what: "its head is not its own" });
        }
        let at = SEGMENT_HEAD_BYTES as u64;
        Ok(Self { path, file, at, index: segment.first, buffer: Bytes::new() })
    }

    /// Opens a segment at a frame whose place and number are known.
    ///
    /// # Errors
    /// As [`SegmentReader::open`].
    pub(crate) fn open_at(segment: &Segment, at: u64, index: u64) -> Result<Self, LogError> {
        Ok(Self { at, index, ..Self::open(segment)? })
    }

    /// Where the next frame begins, bytes.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The number that the next frame has.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The next frame that ends at or before `end` (the segment's written bytes).
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the place: everything before `end` had been durable.
    pub fn next(&mut self, end: u64) -> Result<Option<Frame>, LogError> {
        if self.at >= end {
            return Ok(None);
        }
        self.fill(FRAME_HEAD_BYTES, end)?;
        let length = frame::payload_bytes(&self.buffer).ok_or_else(|| self.damaged())?;
        self.fill(FRAME_HEAD_BYTES + length, end)?;
        let frame = frame::read(&self.buffer)
            .filter(|frame| frame.index == self.index)
            .ok_or_else(|| self.damaged())?;
        self.at += frame.bytes();
        self.index += 1;
        self.buffer.advance(usize::try_from(frame.bytes()).unwrap_or(usize::MAX));
        Ok(Some(frame))
    }

    fn fill(&mut self, wanted: usize, end: u64) -> Result<(), LogError> {
        if self.buffer.len() >= wanted {
            return Ok(());
        }
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        if left < wanted {
            return Err(self.damaged());
        }
        let bytes = self.file.read_at(wanted.max(READ_BYTES).min(left), self.at);
        self.buffer = bytes.map_err(|source| io_error(&self.path, source))?.into();
        Ok(())
    }

    fn damaged(&self) -> LogError {
        let what = "the frame's checksum or number differs";
        LogError::Damaged { file: self.path.clone(), at: self.at, what }
    }
}
