//! What became known since the checkpoints were last written as a whole: appended, one line each.
//!
//! `journal/N` begins with a line of format and version; every other line is a checksum and a JSON
//! object. A whole save names the first journal that is newer than it. A line that was not written
//! to its end, or was damaged, is passed over: what it said is then older than the truth, as after
//! any crash.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platform::disk::{self, Disk, DiskFile};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Checkpoint, Sent, StoreError};

const FOLDER: &str = "journal";
const FORMAT: &str = "sawlog-checkpoints-journal";
const VERSION: u32 = 1;
/// A journal of so many bytes is folded into a whole save, or one as large as that save.
const FOLD_BYTES_MIN: u64 = 1 << 20;
/// Digits of a line's checksum.
const SUM_DIGITS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    /// All that is known of a file.
    Known(Checkpoint),
    /// A batch is about to be sent.
    Sent {
        producer: u64,
        #[serde(flatten)]
        sent: Sent,
    },
}

/// The journals of a state directory, the last of which is appended to.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    disk: Disk,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: Option<Arc<DiskFile>>,
    bytes: u64,
    /// Bytes of the last whole save.
    saved_bytes: u64,
    /// Something could not be appended since then.
    failed: bool,
}

impl Journal {
    /// Begins with that number, once something is to be said.
    pub(super) fn new(state: &Path, number: u64) -> Self {
        let open = Open { number, file: None, bytes: 0, saved_bytes: 0, failed: false };
        let folder = state.join(FOLDER);
        Self { folder, disk: Disk::default(), open: Mutex::new(open) }
    }

    /// Appends checkpoints.
    ///
    /// # Errors
    /// As the system says; a whole save is wanted then.
    pub(super) fn append(&self, checkpoints: &[Checkpoint]) -> io::Result<()> {
        self.write(checkpoints).map(drop)
    }

    /// Appends checkpoints; they survive a loss of power when this returns.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub(super) fn append_durably(&self, checkpoints: &[Checkpoint]) -> io::Result<()> {
        // Not under the lock: those who send shall not wait for the disk.
        let synced = self.write(checkpoints)?.sync();
        if synced.is_err() {
            self.open().failed = true;
        }
        synced
    }

    fn write(&self, checkpoints: &[Checkpoint]) -> io::Result<Arc<DiskFile>> {
        let mut lines = Vec::new();
        for checkpoint in checkpoints {
            line(&mut lines, &Entry::Known(checkpoint.clone()))?;
        }
        self.open().append(&self.folder, &self.disk, &lines)
    }

    /// Appends that a batch is about to be sent: it is in the kernel's hands when this returns, and so
    /// survives our end, which is what it is for.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub(super) fn note(&self, producer: u64, sent: Sent) -> io::Result<()> {
        let mut bytes = Vec::new();
        line(&mut bytes, &Entry::Sent { producer, sent })?;
        self.open().append(&self.folder, &self.disk, &bytes).map(drop)
    }

    /// What is appended from now on goes into a journal of that number.
    pub(super) fn turn_over(&self) -> u64 {
        let mut open = self.open();
        if open.file.take().is_some() {
            open.number += 1;
        }
        open.bytes = 0;
        open.number
    }

    /// Makes sure that the journal that is appended to is there: whoever names it finds out when it
    /// is lost.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.open().file(&self.folder, &self.disk).map(drop)
    }

    /// Everything before was saved as a whole, in so many bytes.
    pub(super) fn saved(&self, bytes: u64) {
        let mut open = self.open();
        (open.saved_bytes, open.failed) = (bytes, false);
    }

    /// Whether a whole save is better than to append more.
    pub(super) fn is_full(&self) -> bool {
        let open = self.open();
        open.failed || open.bytes > open.saved_bytes.max(FOLD_BYTES_MIN)
    }

    /// Removes those of lower numbers.
    pub(super) fn remove_before(&self, number: u64) {
        for (_, path) in files(&self.folder).into_iter().filter(|(other, _)| *other < number) {
            if let Err(error) = disk::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "an old journal stays");
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn append(&mut self, folder: &Path, disk: &Disk, lines: &[u8]) -> io::Result<Arc<DiskFile>> {
        let written = self.file(folder, disk).and_then(|file| {
            // What a write that failed left here is written over by the next one.
            file.write_at(lines, self.bytes)?;
            Ok(file)
        });
        match &written {
            Ok(_) => self.bytes += lines.len() as u64,
            Err(_) => self.failed = true,
        }
        written
    }

    fn file(&mut self, folder: &Path, disk: &Disk) -> io::Result<Arc<DiskFile>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        if !folder.is_dir() {
            disk::create_dir_all(folder)?;
        }
        let file = Arc::new(disk.open(&folder.join(name(self.number)))?);
        file.truncate(0)?;
        disk::sync_dir(folder)?;
        let head = format!("{FORMAT} {VERSION}\n");
        file.write_at(head.as_bytes(), 0)?;
        self.bytes = head.len() as u64;
        self.file = Some(file.clone());
        Ok(file)
    }
}

fn line(into: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    let json = serde_json::to_vec(entry)?;
    into.extend(format!("{:0SUM_DIGITS$x} ", xxh3_64(&json)).into_bytes());
    into.extend(json);
    into.push(b'\n');
    Ok(())
}

fn name(number: u64) -> String {
    format!("{number:010}")
}

/// Oldest first.
fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let names = disk::names(folder).unwrap_or_default();
    let numbered = |name: String| Some((name.parse().ok()?, folder.join(name)));
    let mut files: Vec<(u64, PathBuf)> = names.into_iter().filter_map(numbered).collect();
    files.sort();
    files
}

/// What journals say, upon what was saved as a whole before them.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) checkpoints: Vec<Checkpoint>,
    /// The number of the next journal.
    pub(super) next: u64,
    /// Whether there was any.
    pub(super) found: bool,
    /// Whether one that was before the last of them is not there.
    pub(super) hole: bool,
    /// Lines that could not be read, other than at an end.
    pub(super) damaged: usize,
}

/// Reads the journals from that number on.
///
/// # Errors
/// [`StoreError`]; damage is none.
pub(super) fn replay(
    state: &Path,
    from: u64,
    saved: Vec<Checkpoint>,
) -> Result<Replayed, StoreError> {
    let mut known: HashMap<u64, Checkpoint> =
        saved.into_iter().map(|checkpoint| (checkpoint.producer, checkpoint)).collect();
    let (mut next, mut found, mut damaged) = (from, false, 0);
    let mut hole = false;
    for (number, path) in files(&state.join(FOLDER)) {
        if number < from {
            next = next.max(number + 1);
            continue;
        }
        hole |= number != next.max(from);
        next = number + 1;
        found = true;
        let bytes = match disk::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        damaged += replay_one(&path, &bytes, &mut known)?;
    }
    Ok(Replayed { checkpoints: known.into_values().collect(), next, found, hole, damaged })
}

fn replay_one(
    path: &Path,
    bytes: &[u8],
    known: &mut HashMap<u64, Checkpoint>,
) -> Result<usize, StoreError> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let version = head
        .strip_prefix(FORMAT.as_bytes())
        .and_then(|version| std::str::from_utf8(version).ok()?.trim().parse::<u32>().ok());
    if let Some(version) = version.filter(|version| *version > VERSION) {
        return Err(StoreError::Newer { path: path.to_owned(), version });
    }
    let (mut damaged, mut torn) = (0, 0);
    for line in lines {
        match entry(line) {
            Some(entry) => {
                damaged += std::mem::take(&mut torn);
                learn(entry, known);
            }
            None => torn += usize::from(!line.is_empty()),
        }
    }
    // What is torn at the end is what a crash leaves.
    Ok(damaged)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let (sum, json) = line.split_at_checked(SUM_DIGITS)?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    let json = json.strip_prefix(b" ")?;
    (xxh3_64(json) == sum).then(|| serde_json::from_slice(json).ok())?
}

fn learn(entry: Entry, known: &mut HashMap<u64, Checkpoint>) {
    match entry {
        Entry::Known(mut new) => {
            let before = known.get(&new.producer).and_then(|old| old.sent);
            // It was written while the checkpoint was on its way.
            new.sent = new.sent.max(before.filter(|sent| sent.to > new.offset));
            known.insert(new.producer, new);
        }
        Entry::Sent { producer, sent } => {
            if let Some(checkpoint) = known.get_mut(&producer) {
                checkpoint.sent = checkpoint.sent.max(Some(sent));
            }
        }
    }
}

#[cfg(test)]
mod tests;
