//! The acknowledged place of every file, on disk: `checkpoints.json`, and the one before it.
//!
//! The file is a head line (format, version, count, checksum of the rest) and one JSON object a
//! file. It is replaced in one step, and the last good one is kept as
//! `checkpoints.previous.json`. After a crash it is older than the truth, never newer; what is
//! then sent again is recognised by its sequence.

use std::io;
use std::path::{Path, PathBuf};

use model::time::Timestamp;
use platform::disk::{self, Lock, LockError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::identity::{FileId, Fingerprint};

const FORMAT: &str = "sawlog-checkpoints";
const VERSION: u32 = 1;
const CURRENT: &str = "checkpoints.json";
const PREVIOUS: &str = "checkpoints.previous.json";
const DAMAGED: &str = "checkpoints.damaged.json";

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
    /// Its label `source`: where it was first seen; renaming does not change its stream.
    pub(crate) source: String,
    /// Where it was last seen.
    pub(crate) path: String,
    /// When it was last seen, nanoseconds since 1970.
    pub(crate) seen_ns: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    files: usize,
    xxh3: u64,
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
    _lock: Lock,
}

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Nobody shipped from this state directory before.
    pub(crate) first_run: bool,
    /// What was damaged, and what that means.
    pub(crate) complaint: Option<String>,
}

enum Loaded {
    Absent,
    Damaged(&'static str),
    Whole(Vec<Checkpoint>),
}

impl Store {
    /// Locks the state directory and reads the newest whole checkpoints.
    ///
    /// # Errors
    /// [`StoreError`]; damage is none.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Recovered), StoreError> {
        let lock = Lock::take(folder)?;
        let recovered = recover(folder)?;
        Ok((Self { folder: folder.to_owned(), _lock: lock }, recovered))
    }

    /// Where a save goes to; saving may then happen on another thread.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn recover(folder: &Path) -> Result<Recovered, StoreError> {
    let current = load(&folder.join(CURRENT))?;
    if let Loaded::Whole(checkpoints) = current {
        return Ok(Recovered { checkpoints, ..Recovered::default() });
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
        (Loaded::Whole(checkpoints), why) => Recovered {
            checkpoints,
            first_run: false,
            complaint: why.map(|why| {
                format!(
                    "{CURRENT} is damaged ({why}) and kept as {DAMAGED}; going on from {PREVIOUS}: \
                     files found since it was written may be sent again"
                )
            }),
        },
        (Loaded::Absent, None) => Recovered { first_run: true, ..Recovered::default() },
        (_, why) => Recovered {
            complaint: Some(format!(
                "{CURRENT} is damaged ({}) and there is no whole {PREVIOUS}: every file is sent \
                 from its beginning; the damaged one is kept as {DAMAGED}",
                why.unwrap_or("the previous one too")
            )),
            ..Recovered::default()
        },
    })
}

fn load(path: &Path) -> Result<Loaded, StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
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
        Ok(checkpoints) if checkpoints.len() == head.files => Loaded::Whole(checkpoints),
        _ => Loaded::Damaged("its content is not as its head says"),
    })
}

/// Replaces the checkpoints; they survive a loss of power when this returns.
///
/// # Errors
/// As the system says; the old ones are still there.
pub(crate) fn save(folder: &Path, checkpoints: &[Checkpoint]) -> io::Result<()> {
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
    disk::rename(&next, &current)
}

impl Checkpoint {
    /// Whether it was seen within a time.
    pub(crate) fn seen_within(&self, time: std::time::Duration, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(self.seen_ns);
        u64::try_from(age).is_ok_and(|age| u128::from(age) <= time.as_nanos()) || age < 0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "damage is done on purpose here")]

    use super::*;

    fn checkpoint(producer: u64, offset: u64) -> Checkpoint {
        Checkpoint {
            producer,
            id: FileId { device: 1, inode: 2 },
            fingerprint: Fingerprint { head_bytes: 3, head: u64::MAX, tail: 5 },
            offset,
            source: "/a\n\"b\"".to_owned(),
            path: "/a.1".to_owned(),
            seen_ns: 7,
        }
    }

    fn open(folder: &Path) -> Recovered {
        Store::open(folder).unwrap().1
    }

    #[test]
    fn what_is_saved_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path()).first_run);
        let saved = vec![checkpoint(u64::MAX, 10), checkpoint(2, 20)];
        save(folder.path(), &saved).unwrap();
        let found = open(folder.path());
        assert_eq!(found.checkpoints, saved);
        assert!(!found.first_run && found.complaint.is_none());
    }

    #[test]
    fn damage_falls_back_to_the_previous_and_says_so() {
        for at in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            save(folder.path(), &[checkpoint(1, 10)]).unwrap();
            save(folder.path(), &[checkpoint(1, 20)]).unwrap();
            let path = folder.path().join(CURRENT);
            let mut bytes = std::fs::read(&path).unwrap();
            match at {
                0 => bytes.clear(),
                1 => bytes.fill(0),
                2 => bytes.truncate(bytes.len() / 2),
                3 => bytes[150] ^= 1,
                _ => bytes[5] ^= 1,
            }
            std::fs::write(&path, bytes).unwrap();
            let found = open(folder.path());
            assert_eq!(found.checkpoints, [checkpoint(1, 10)], "{at}");
            assert!(found.complaint.unwrap().contains("damaged"));
            assert!(!found.first_run);
            // The next save keeps the good one as the previous, not the damaged one.
            save(folder.path(), &[checkpoint(1, 30)]).unwrap();
            assert_eq!(open(folder.path()).checkpoints, [checkpoint(1, 30)]);
        }
    }

    #[test]
    fn a_crash_between_the_two_renames_leaves_the_previous() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &[checkpoint(1, 10)]).unwrap();
        disk::rename(&folder.path().join(CURRENT), &folder.path().join(PREVIOUS)).unwrap();
        let found = open(folder.path());
        assert_eq!(found.checkpoints, [checkpoint(1, 10)]);
        assert!(found.complaint.is_none());
    }

    #[test]
    fn both_damaged_starts_over_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CURRENT), b"x").unwrap();
        std::fs::write(folder.path().join(PREVIOUS), b"").unwrap();
        let found = open(folder.path());
        assert!(found.checkpoints.is_empty() && !found.first_run);
        assert!(found.complaint.unwrap().contains("from its beginning"));
    }

    /// As the first version wrote it: later ones go on from it.
    #[test]
    fn what_the_first_version_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"producer":7,"device":1,"inode":2,"head_bytes":3,"head":4,"tail":5,"offset":10,"source":"/a","path":"/a.1","seen_ns":7}"#;
        let body = format!("\n{line}\n");
        let head = format!(
            r#"{{"format":"{FORMAT}","version":1,"files":1,"xxh3":{}}}"#,
            xxh3_64(body.as_bytes())
        );
        std::fs::write(folder.path().join(CURRENT), head + &body).unwrap();
        let found = open(folder.path());
        assert!(found.complaint.is_none());
        let fingerprint = Fingerprint { head_bytes: 3, head: 4, tail: 5 };
        let expected = Checkpoint { fingerprint, source: "/a".to_owned(), ..checkpoint(7, 10) };
        assert_eq!(found.checkpoints, [expected]);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let head = format!(r#"{{"format":"{FORMAT}","version":9,"files":0,"xxh3":0}}"#);
        std::fs::write(folder.path().join(CURRENT), head + "\n").unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer { version: 9, .. })));
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let held = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Lock(_))));
        drop(held);
    }
}
