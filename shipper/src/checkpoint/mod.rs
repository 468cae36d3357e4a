//! The acknowledged place of every file, on disk: `checkpoints.json`, the one before it, and a
//! journal of what became known since.
//!
//! The file is a head line (format, version, count, checksum of the rest, number of the first journal
//! behind it, when somebody shipped last) and one JSON object a file. It is replaced in one step, and
//! the last good one is kept as `checkpoints.previous.json`, with its journals. After a crash all of it
//! is older than the truth, never newer; what is then sent again is recognised by its sequence.

mod journal;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use model::time::Timestamp;
use platform::disk::{self, Lock, LockError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use self::journal::{Journal, Replayed};
use crate::identity::{FileId, Fingerprint, SENT_BYTES_MAX, print_before};

const FORMAT: &str = "sawlog-checkpoints";
/// The first one had no journals.
const VERSION: u32 = 2;
const CURRENT: &str = "checkpoints.json";
const PREVIOUS: &str = "checkpoints.previous.json";
const DAMAGED: &str = "checkpoints.damaged.json";
const MISSING: &str = "a journal of the checkpoints is missing: what it said is forgotten, and may be \
                       sent again";

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The file's generation: the producer of its batches.
    pub(crate) producer: u64,
    #[serde(flatten)]
    pub(crate) id: FileId,
    #[serde(flatten)]
    pub(crate) fingerprint: Fingerprint,
    /// Everything before it is acknowledged.
    pub(crate) offset: u64,
    /// The batch of it that was about to be sent last, when it ends behind that.
    #[serde(flatten)]
    pub(crate) sent: Option<Sent>,
    /// Its label `source`: where it was first seen; renaming does not change its stream.
    pub(crate) source: String,
    /// Where it was last seen.
    pub(crate) path: String,
    /// Where that path really led, when it was reached by a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) real: Option<String>,
    /// When it was last seen, nanoseconds since 1970.
    pub(crate) seen_ns: i64,
    /// Bytes it had then: what is lost with it when it is not found again.
    #[serde(default)]
    pub(crate) size: u64,
}

/// A batch that the queue may have: after a crash the file must still hold its last bytes, or it is
/// another content, of which the queue knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Where it ends.
    #[serde(rename = "sent_to")]
    pub(crate) to: u64,
    /// Hash of the [`SENT_BYTES_MAX`] bytes before that.
    #[serde(rename = "sent_print")]
    pub(crate) print: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    files: usize,
    xxh3: u64,
    #[serde(default)]
    journal: u64,
    /// The last thing that a process did.
    #[serde(default)]
    last: bool,
    /// That journal was there before this was written.
    #[serde(default)]
    begun: bool,
    /// When whoever shipped was last there for sure, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alive_ns: Option<i64>,
}

/// Why no checkpoints can be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else uses the state directory, or it cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk does not give them.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote them; starting over would send everything twice.
    #[error(
        "{} was written by a newer version (format {version}): upgrade this shipper, or give it \
         another state directory",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// The state directory, locked.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    journal: Journal,
    /// The first journal behind the last whole save: the next one keeps it as the previous.
    behind: AtomicU64,
    /// What the next whole save says of [`Recovered::alive_ns`].
    alive_ns: Mutex<Option<i64>>,
    _lock: Lock,
}

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Nobody shipped from this state directory before.
    pub(crate) first_run: bool,
    /// Whoever shipped from it could say its last words: of what was sent, it knows what was not
    /// acknowledged.
    pub(crate) orderly: bool,
    /// When it was last there for sure, though it followed no file then.
    pub(crate) alive_ns: Option<i64>,
    /// What was damaged, and what that means.
    pub(crate) complaint: Option<String>,
}

enum Loaded {
    Absent,
    Damaged(&'static str),
    Whole(Whole),
}

struct Whole {
    checkpoints: Vec<Checkpoint>,
    head: Head,
}

impl Store {
    /// Locks the state directory and reads the newest whole checkpoints, and the journals behind
    /// them.
    ///
    /// # Errors
    /// [`StoreError`]; damage is none.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Recovered), StoreError> {
        let lock = Lock::take_unwritten(folder)?;
        let unwritten = lock.unwritten().map(|why| {
            let folder = folder.display();
            format!("cannot write in {folder}: {why}; files known from before go on, new ones wait")
        });
        let (saved, behind, begun) = recover(folder)?;
        let Replayed { checkpoints, next, found, hole, damaged } =
            journal::replay(folder, behind, saved.checkpoints)?;
        let damage = format!(
            "{damaged} lines of the checkpoints' journal are damaged: what they said is forgotten, \
             and may be sent again"
        );
        let recovered = Recovered {
            checkpoints,
            first_run: saved.first_run && !found,
            orderly: saved.orderly && !found,
            alive_ns: saved.alive_ns,
            complaint: saved
                .complaint
                .or_else(|| (damaged > 0).then_some(damage))
                .or_else(|| (hole || begun && !found).then(|| MISSING.to_owned()))
                .or(unwritten),
        };
        let (journal, behind) = (Journal::new(folder, next), AtomicU64::new(behind));
        let alive_ns = Mutex::new(recovered.alive_ns);
        Ok((Self { folder: folder.to_owned(), journal, behind, alive_ns, _lock: lock }, recovered))
    }

    /// The state directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whoever ships is there now, and knows what there was before: the next whole save says so. Until
    /// then it repeats what the last one said.
    pub(crate) fn alive(&self, now: Timestamp) {
        *self.alive_ns.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.0);
    }

    /// Saves as a whole, as the last thing. Not while others append: see [`Store::turn_over`].
    ///
    /// # Errors
    /// As [`Store::replace`].
    pub(crate) fn save(&self, checkpoints: &[Checkpoint]) -> io::Result<()> {
        self.put(self.turn_over(), checkpoints, true)
    }

    /// What is appended from now on is newer than a whole save that is begun after this; its number.
    pub(crate) fn turn_over(&self) -> u64 {
        self.journal.turn_over()
    }

    /// Replaces the checkpoints; they survive a loss of power when this returns.
    ///
    /// # Errors
    /// As the system says; the old ones and all journals behind them are still there.
    pub(crate) fn replace(&self, journal: u64, checkpoints: &[Checkpoint]) -> io::Result<()> {
        self.put(journal, checkpoints, false)
    }

    fn put(&self, journal: u64, checkpoints: &[Checkpoint], last: bool) -> io::Result<()> {
        if !last {
            self.journal.begin()?;
        }
        let alive_ns = *self.alive_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = write(&self.folder, (journal, last, alive_ns), checkpoints)?;
        self.journal.saved(bytes);
        self.journal.remove_before(self.behind.swap(journal, Ordering::Relaxed));
        Ok(())
    }

    /// Appends what moved.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn append(&self, checkpoints: &[Checkpoint]) -> io::Result<()> {
        self.journal.append(checkpoints)
    }

    /// Appends what must be known before more is sent: it survives a loss of power.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn append_durably(&self, checkpoints: &[Checkpoint]) -> io::Result<()> {
        self.journal.append_durably(checkpoints)
    }

    /// Appends that a batch is about to be sent. It is sent also when that fails.
    pub(crate) fn note(&self, producer: u64, sent: Sent) {
        if let Err(error) = self.journal.note(producer, sent) {
            tracing::debug!(%error, "cannot note what is sent");
        }
    }

    /// Whether a whole save is better than to append more.
    pub(crate) fn wants_whole(&self) -> bool {
        self.journal.is_full()
    }
}

/// The newest whole checkpoints, the number of the first journal behind them, and whether that one
/// must be there.
fn recover(folder: &Path) -> Result<(Recovered, u64, bool), StoreError> {
    let current = load(&folder.join(CURRENT))?;
    if let Loaded::Whole(Whole { checkpoints, head }) = current {
        let Head { journal, last: orderly, begun, alive_ns, .. } = head;
        let recovered = Recovered { checkpoints, orderly, alive_ns, ..Recovered::default() };
        return Ok((recovered, journal, begun));
    }
    let previous = load(&folder.join(PREVIOUS))?;
    let why = match &current {
        Loaded::Damaged(why) => {
            // Out of the way of the next save, which would make it the previous good one.
            let kept = disk::rename(&folder.join(CURRENT), &folder.join(DAMAGED));
            if let Err(error) = kept {
                tracing::warn!(%error, "cannot put the damaged checkpoints aside");
            }
            Some(*why)
        }
        _ => None,
    };
    Ok(match (previous, why) {
        (Loaded::Whole(Whole { checkpoints, head }), why) => {
            let complaint = why.map(|why| {
                format!(
                    "{CURRENT} is damaged ({why}) and kept as {DAMAGED}; going on from {PREVIOUS} \
                     and the journal: what is missing there may be sent again"
                )
            });
            let Head { journal, begun, alive_ns, .. } = head;
            (Recovered { checkpoints, complaint, alive_ns, ..Recovered::default() }, journal, begun)
        }
        (Loaded::Absent, None) => (Recovered { first_run: true, ..Recovered::default() }, 0, false),
        (_, why) => {
            let complaint = format!(
                "{CURRENT} is damaged ({}) and there is no whole {PREVIOUS}: every file that no \
                 journal knows is sent from its beginning; the damaged one is kept as {DAMAGED}",
                why.unwrap_or("the previous one too")
            );
            (Recovered { complaint: Some(complaint), ..Recovered::default() }, 0, false)
        }
    })
}

fn load(path: &Path) -> Result<Loaded, StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Ok(Loaded::Damaged("it is a folder"));
        }
        Err(source) => return Err(StoreError::Read { path: path.to_owned(), source }),
    };
    let end = memchr::memchr(b'\n', &bytes).unwrap_or(0);
    let (head, body) = bytes.split_at(end);
    let Ok(head) = serde_json::from_slice::<Head>(head) else {
        return Ok(Loaded::Damaged("it has no head"));
    };
    if head.format != FORMAT {
        return Ok(Loaded::Damaged("it has another head"));
    }
    if head.version > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), version: head.version });
    }
    if xxh3_64(body) != head.xxh3 {
        return Ok(Loaded::Damaged("its checksum differs"));
    }
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let checkpoints: Result<Vec<_>, _> = lines.map(serde_json::from_slice).collect();
    Ok(match checkpoints {
        Ok(checkpoints) if checkpoints.len() == head.files => {
            Loaded::Whole(Whole { checkpoints, head })
        }
        _ => Loaded::Damaged("its content is not as its head says"),
    })
}

/// Writes them as a whole; how many bytes that are.
fn write(
    folder: &Path,
    (journal, last, alive_ns): (u64, bool, Option<i64>),
    checkpoints: &[Checkpoint],
) -> io::Result<u64> {
    let mut body = vec![b'\n'];
    for checkpoint in checkpoints {
        serde_json::to_writer(&mut body, checkpoint)?;
        body.push(b'\n');
    }
    let head = Head {
        format: FORMAT.to_owned(),
        version: VERSION,
        files: checkpoints.len(),
        xxh3: xxh3_64(&body),
        journal,
        last,
        begun: !last,
        alive_ns,
    };
    let mut bytes = serde_json::to_vec(&head)?;
    bytes.append(&mut body);
    let current = folder.join(CURRENT);
    // The new one is whole on the disk before the old one moves: between the two renames the
    // previous one is good.
    let next = folder.join("checkpoints.next.json");
    disk::write_atomically(&next, &bytes)?;
    if current.exists() {
        disk::rename(&current, &folder.join(PREVIOUS))?;
    }
    disk::rename(&next, &current)?;
    Ok(bytes.len() as u64)
}

impl Checkpoint {
    /// Whether the file still has the content that was acknowledged and sent; if so, the
    /// fingerprint with its head grown as far as the file allows.
    pub(crate) fn verify(&self, file: &File) -> io::Result<Option<Fingerprint>> {
        if let Some(sent) = self.sent.filter(|sent| sent.to > self.offset)
            && print_before(file, sent.to, SENT_BYTES_MAX)? != Some(sent.print)
        {
            return Ok(None);
        }
        self.fingerprint.verify(file, self.offset)
    }

    /// Whether it was seen within a time.
    pub(crate) fn seen_within(&self, time: std::time::Duration, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(self.seen_ns);
        u64::try_from(age).is_ok_and(|age| u128::from(age) <= time.as_nanos()) || age < 0
    }
}

#[cfg(test)]
mod tests;
