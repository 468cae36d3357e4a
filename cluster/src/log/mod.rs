//! The log: segment files of checksummed frames. The queue of a partition now, its Raft log later.
//!
//! A frame is durable when [`Log::sync`] has returned. Recovery ends at the last whole frame; what
//! follows was never acknowledged. A damaged frame that had been durable (a later frame says so)
//! is no torn tail: then nothing is cut, and opening fails with the place and the remedy.

mod frame;
mod reader;
mod whole;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use platform::disk::{self, Disk, DiskFile};

use frame::{FRAME_HEAD_BYTES, PAYLOAD_BYTES_MAX, SEGMENT_HEAD_BYTES};
pub use frame::{Frame, FrameKind};
pub use reader::SegmentReader;

/// Why the log could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes that had been durable have changed.
    #[error(
        "{} is damaged at byte {at}: {what}. Nothing was changed. Put back a copy of the file; or, \
         to go on without the records from there to its end, move it away and start again",
        .file.display()
    )]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Where, in bytes.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A segment between others is missing.
    #[error("{} is missing: put it back, or move the later segments away", .0.display())]
    Missing(PathBuf),
    /// The disk is full. Nothing of it was kept.
    #[error("the disk below {} is full", .0.display())]
    Full(PathBuf),
    /// A sync failed, and nothing is known of what is on the disk: only a restart, which reads it
    /// back, may write again.
    #[error("{} could not be synced: look at the disk, then start again", .file.display())]
    Poisoned {
        /// The segment file.
        file: PathBuf,
    },
    /// An entry or a snapshot is larger than a frame may be. Nothing of it was kept.
    #[error("{bytes} bytes do not fit into a frame of {PAYLOAD_BYTES_MAX}: write less at a time")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
    },
    /// An entry does not follow the one before it. Nothing was changed.
    #[error("entry {got} cannot be written or removed: the log has {first}..{next}")]
    Hole {
        /// The first entry that is there.
        first: u64,
        /// The entry that comes next.
        next: u64,
        /// What was asked for.
        got: u64,
    },
    /// As the system says.
    #[error("cannot use {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Index of its first frame, a snapshot.
    pub first: u64,
    /// The file.
    pub path: PathBuf,
    /// Its bytes as far as they are written.
    pub bytes: u64,
}

/// A log that is appended to by one writer.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    disk: Disk,
    segments: VecDeque<Segment>,
    file: DiskFile,
    written: u64,
    synced: u64,
    next: u64,
    poisoned: bool,
    /// Where it is noted how much is durable, when the log is opened whole.
    mark: Option<DiskFile>,
}

impl Log {
    /// Opens the log in a folder, or makes one whose first frame is the given snapshot. Only the
    /// last segment is read; `visit` gets its frames in order.
    ///
    /// # Errors
    /// [`LogError`]; nothing was changed.
    pub fn open(
        folder: &Path,
        disk: Disk,
        first_snapshot: &[u8],
        mut visit: impl FnMut(Frame),
    ) -> Result<Self, LogError> {
        disk::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
        let mut segments = reader::list(folder)?;
        while let Some(last) = segments.back_mut() {
            let file = disk.open(&last.path).map_err(|source| io_error(&last.path, source))?;
            let recovered = reader::recover(&last.path, last.first, &file)?;
            // A segment without a whole first frame was being made when the power failed;
            // nothing in it was acknowledged.
            if recovered.frames.is_empty() {
                let last = segments.pop_back().map(|segment| segment.path).unwrap_or_default();
                disk::remove_file(&last).map_err(|source| io_error(&last, source))?;
                continue;
            }
            last.bytes = recovered.bytes;
            cut_tail(last, &file)?;
            let next = last.first + recovered.frames.len() as u64;
            recovered.frames.into_iter().for_each(&mut visit);
            return Ok(Self::resumed(folder, disk, segments, file, next));
        }
        let (segment, file) = make_segment(folder, &disk, 0, first_snapshot)?;
        Ok(Self::resumed(folder, disk, VecDeque::from([segment]), file, 1))
    }

    /// A log that goes on in the file of its last segment; what is in it is durable.
    fn resumed(
        folder: &Path,
        disk: Disk,
        segments: VecDeque<Segment>,
        file: DiskFile,
        next: u64,
    ) -> Self {
        let folder = folder.to_owned();
        let written = segments.back().map_or(0, |last| last.bytes);
        let (synced, poisoned, mark) = (written, false, None);
        Self { folder, disk, segments, file, written, synced, next, poisoned, mark }
    }

    /// The index that the next frame gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes of the segment that is written now.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.written
    }

    /// Writes entries as one group and makes them durable. Each entry is given in parts that are
    /// written one behind the other.
    ///
    /// # Errors
    /// [`LogError`]. After [`LogError::Full`] and [`LogError::Io`] the log is as it was before.
    pub fn append(&mut self, term: u64, entries: &[[&[u8]; 2]]) -> Result<(), LogError> {
        self.append_group(entries.iter().map(|entry| (term, *entry)))
    }

    /// As [`Log::append`], each entry with a term of its own.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(crate) fn append_group<'a>(
        &mut self,
        entries: impl Iterator<Item = (u64, [&'a [u8]; 2])> + Clone,
    ) -> Result<(), LogError> {
        let path = self.path();
        if self.poisoned {
            return Err(LogError::Poisoned { file: path });
        }
        let (mut size, mut count) = (0, 0);
        for (_, entry) in entries.clone() {
            let bytes: usize = entry.iter().map(|part| part.len()).sum();
            if bytes > PAYLOAD_BYTES_MAX {
                return Err(LogError::TooLarge { bytes });
            }
            size += FRAME_HEAD_BYTES + bytes;
            count += 1;
        }
        let mut group = Vec::with_capacity(size);
        let synced = u32::try_from(self.synced).unwrap_or(u32::MAX);
        for (index, (term, entry)) in (self.next..).zip(entries) {
            frame::put(&mut group, (index, term, FrameKind::Entry), synced, &entry);
        }
        if let Err(source) = self.file.write_at(&group, self.written) {
            self.take_back(&path)?;
            return Err(write_error(&self.folder, &path, source));
        }
        self.sync(&path)?;
        self.written += group.len() as u64;
        self.synced = self.written;
        self.next += count;
        self.note();
        if let Some(last) = self.segments.back_mut() {
            last.bytes = self.written;
        }
        Ok(())
    }

    /// Seals the segment and begins another one with a snapshot.
    ///
    /// # Errors
    /// [`LogError`]; the log goes on in the old segment.
    pub fn roll(&mut self, snapshot: &[u8]) -> Result<(), LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned { file: self.path() });
        }
        let (segment, file) = make_segment(&self.folder, &self.disk, self.next, snapshot)?;
        (self.file, self.written, self.synced) = (file, segment.bytes, segment.bytes);
        self.segments.push_back(segment);
        self.next += 1;
        Ok(())
    }

    /// Removes the segments before the given one. The last one always stays.
    ///
    /// # Errors
    /// [`LogError::Io`]; some may be gone.
    pub fn trim_before(&mut self, first: u64) -> Result<(), LogError> {
        while self.segments.get(1).is_some_and(|second| second.first <= first) {
            let Some(oldest) = self.segments.front() else { break };
            disk::remove_file(&oldest.path).map_err(|source| io_error(&oldest.path, source))?;
            tracing::debug!(file = %oldest.path.display(), "segment trimmed");
            self.segments.pop_front();
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.segments.back().map(|segment| segment.path.clone()).unwrap_or_default()
    }

    fn sync(&mut self, path: &Path) -> Result<(), LogError> {
        self.file.sync().map_err(|error| {
            tracing::error!(%error, file = %path.display(), "sync failed");
            self.poisoned = true;
            LogError::Poisoned { file: path.to_owned() }
        })
    }

    /// Takes back what a failed write may have left behind the last good frame.
    fn take_back(&mut self, path: &Path) -> Result<(), LogError> {
        if self.file.truncate(self.written).is_err() {
            self.poisoned = true;
            return Err(LogError::Poisoned { file: path.to_owned() });
        }
        Ok(())
    }
}

fn make_segment(
    folder: &Path,
    disk: &Disk,
    first: u64,
    snapshot: &[u8],
) -> Result<(Segment, DiskFile), LogError> {
    if snapshot.len() > PAYLOAD_BYTES_MAX {
        return Err(LogError::TooLarge { bytes: snapshot.len() });
    }
    let path = folder.join(format!("{first:020}.seg"));
    let mut bytes = frame::segment_head(first).to_vec();
    let synced = u32::try_from(SEGMENT_HEAD_BYTES).unwrap_or_default();
    frame::put(&mut bytes, (first, 0, FrameKind::Snapshot), synced, &[snapshot]);
    let made = disk.open(&path).and_then(|file| {
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk::sync_dir(folder)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok((Segment { first, path, bytes: bytes.len() as u64 }, file)),
        Err(source) => {
            disk::remove_file(&path).map_err(|source| io_error(&path, source))?;
            Err(write_error(folder, &path, source))
        }
    }
}

/// Cuts off what follows a segment's last whole frame: it was never acknowledged.
fn cut_tail(segment: &Segment, file: &DiskFile) -> Result<(), LogError> {
    let io = |source| io_error(&segment.path, source);
    let whole = segment.bytes;
    if file.len().map_err(io)? > whole {
        tracing::warn!(file = %segment.path.display(), at = whole, "cutting a torn tail");
        file.truncate(whole).and_then(|()| file.sync()).map_err(io)?;
    }
    Ok(())
}

fn write_error(folder: &Path, file: &Path, source: io::Error) -> LogError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            LogError::Full(folder.to_owned())
        }
        _ => io_error(file, source),
    }
}

fn io_error(file: &Path, source: io::Error) -> LogError {
    LogError::Io { file: file.to_owned(), source }
}

#[cfg(test)]
mod tests;
