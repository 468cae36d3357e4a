//! Which files are followed, found by their id, their path, and the stream they feed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::time::Timestamp;

use super::gap::Gap;
use super::step::Hand;
use crate::checkpoint::{Checkpoint, Sent};
use crate::identity::FileId;
use crate::recipe::Recipe;
use crate::status::{FileState, FileStatus};

/// Followed files, numbered as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// How far a file's generation is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Nothing was read yet. Reading begins at the line before `start`; with `look`, only when
    /// it is text.
    Unseen { start: u64, look: bool },
    /// Known by its fingerprint; to be saved before anything is sent.
    Seen,
    /// On disk: a restart will go on with it.
    Saved,
    /// On disk, but with fewer of its first bytes than it takes to tell it from another: to be
    /// saved again before more is sent.
    Outgrown,
}

impl Generation {
    /// Whether a restart knows of it.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Saved | Self::Outgrown)
    }

    /// Whether it must be saved before its file has another turn.
    pub(super) fn awaits_save(self) -> bool {
        matches!(self, Self::Seen | Self::Outgrown)
    }
}

/// What of a generation a save puts on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) key: Key,
    producer: u64,
    head_bytes: usize,
}

/// What a turn sends, seen from outside of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Option<Sent>>>);

impl Outbox {
    /// A batch is about to be sent.
    pub(super) fn put(&self, sent: Sent) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    }

    /// The batch that was sent last, if it ends behind that place.
    fn behind(&self, offset: u64) -> Option<Sent> {
        let sent = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.filter(|sent| sent.to > offset)
    }
}

/// A followed file.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) checkpoint: Checkpoint,
    pub(super) generation: Generation,
    /// How many of its first bytes a restart knows it by.
    pub(super) head_kept: usize,
    pub(super) path: PathBuf,
    /// What is done to its lines.
    pub(super) recipe: Arc<Recipe>,
    /// Whether the path still names it.
    pub(super) present: bool,
    /// None while a turn has it.
    pub(super) hand: Option<Hand>,
    pub(super) queued: bool,
    /// Something changed while a turn had it.
    pub(super) changed: bool,
    /// No text: left alone.
    pub(super) binary: bool,
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    /// The next file of the same stream, waiting until this one is read.
    pub(super) next: Option<Key>,
    /// Whether it waits for the one before.
    pub(super) waits: bool,
    /// Consecutive failures.
    pub(super) failures: u32,
    /// Bytes the file had when its content was last found to be this generation's.
    pub(super) verified: u64,
    /// What went wrong, while it does.
    pub(super) last_error: Option<String>,
    /// The batch that was sent last, whether it is acknowledged or not.
    pub(super) sent: Outbox,
    lag: u64,
}

/// Checkpoints of files that are not found now are kept that long.
const ABSENT_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// And so many of them, the newest ones.
const ABSENT_MAX: usize = 20_000;

/// The inode of a file that is not found, and its generation: inodes are used again.
pub(super) type AbsentKey = (u64, u64);

pub(super) fn absent_key(checkpoint: &Checkpoint) -> AbsentKey {
    (checkpoint.id.inode, checkpoint.producer)
}

/// All followed files.
#[derive(Debug, Default)]
pub(super) struct Table {
    files: HashMap<Key, Tracked>,
    by_id: HashMap<FileId, Key>,
    by_path: HashMap<PathBuf, Key>,
    by_source: HashMap<String, Key>,
    absent: BTreeMap<AbsentKey, Checkpoint>,
    last: u64,
    lag: u64,
}

impl Table {
    pub(super) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        let absent = checkpoints.into_iter().map(|c| (absent_key(&c), c)).collect();
        Self { absent, ..Self::default() }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Tracked> {
        self.files.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Tracked> {
        self.files.get_mut(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.files.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Files that are read, not left alone as binary.
    pub(super) fn text_count(&self) -> u64 {
        self.files.values().filter(|file| !file.binary).count() as u64
    }

    /// What is wrong with some file just now.
    pub(super) fn error(&self) -> Option<String> {
        self.files.values().find_map(|file| file.last_error.clone())
    }

    pub(super) fn lag_bytes(&self) -> u64 {
        self.lag
    }

    pub(super) fn by_id(&self, id: FileId) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn by_path(&self, path: &Path) -> Option<Key> {
        self.by_path.get(path).copied()
    }

    /// The checkpoints of files with this inode that were not found until now. More than one when
    /// the inode was given to another file.
    pub(super) fn absent_at(&self, inode: u64) -> impl Iterator<Item = (AbsentKey, &Checkpoint)> {
        self.absent.range((inode, 0)..=(inode, u64::MAX)).map(|(key, known)| (*key, known))
    }

    /// It is found.
    pub(super) fn take_absent(&mut self, key: AbsentKey) -> Option<Checkpoint> {
        self.absent.remove(&key)
    }

    pub(super) fn absent(&self, key: AbsentKey) -> Option<&Checkpoint> {
        self.absent.get(&key)
    }

    pub(super) fn absent_keys(&self) -> impl Iterator<Item = AbsentKey> {
        self.absent.keys().copied()
    }

    /// All of it is stored, and it never grows again.
    pub(super) fn forget_absent(&mut self, key: AbsentKey) {
        self.absent.remove(&key);
    }

    pub(super) fn is_absent(&self, inode: u64) -> bool {
        self.absent_at(inode).next().is_some()
    }

    /// Inodes of everything known, found or not.
    pub(super) fn inodes(&self) -> HashSet<u64> {
        self.by_id
            .keys()
            .map(|id| id.inode)
            .chain(self.absent.keys().map(|(inode, _)| *inode))
            .collect()
    }

    /// Follows a file. When another file of the same stream is followed already, the new one
    /// waits for it; that one's key is given back: it must get a turn.
    pub(super) fn add(&mut self, file: Tracked) -> (Key, Option<Key>) {
        self.last += 1;
        let key = Key(self.last);
        self.by_id.insert(file.checkpoint.id, key);
        self.by_path.insert(file.path.clone(), key);
        let before = self.by_source.insert(file.checkpoint.source.clone(), key);
        self.files.insert(key, file);
        let before = before.filter(|before| match self.files.get_mut(before) {
            Some(before) if !before.binary => {
                before.next = Some(key);
                true
            }
            _ => false,
        });
        if before.is_some()
            && let Some(file) = self.files.get_mut(&key)
        {
            file.waits = true;
        }
        (key, before)
    }

    /// Another path that names the file.
    pub(super) fn add_path(&mut self, path: PathBuf, key: Key) {
        self.by_path.insert(path, key);
    }

    /// The path names no followed file any more.
    pub(super) fn drop_path(&mut self, path: &Path) -> Option<Key> {
        self.by_path.remove(path)
    }

    /// The file is found under this path from now on.
    pub(super) fn rename(&mut self, key: Key, path: &Path) {
        let Some(file) = self.files.get_mut(&key) else { return };
        if self.by_path.get(&file.path) == Some(&key) {
            self.by_path.remove(&file.path);
        }
        path.clone_into(&mut file.path);
        file.present = true;
        self.by_path.insert(path.to_owned(), key);
    }

    /// The file is not followed any more. Its checkpoint is kept for when it is found again,
    /// unless it is `forgotten`: then nothing can have it any more.
    pub(super) fn remove(&mut self, key: Key, forgotten: bool) -> Option<Tracked> {
        let file = self.files.remove(&key)?;
        self.lag -= file.lag;
        if self.by_id.get(&file.checkpoint.id) == Some(&key) {
            self.by_id.remove(&file.checkpoint.id);
        }
        self.by_path.retain(|_, other| *other != key);
        if self.by_source.get(&file.checkpoint.source) == Some(&key) {
            self.by_source.remove(&file.checkpoint.source);
        }
        if !forgotten && file.generation.is_kept() {
            self.absent.insert(absent_key(&file.checkpoint), file.placed());
        }
        Some(file)
    }

    /// The file is there, but its content is another one now: the old one's checkpoint is kept
    /// until it is clear whether that stands in a compressed file.
    pub(super) fn shelve(&mut self, key: Key) {
        if let Some(file) = self.files.get(&key) {
            self.absent.insert(absent_key(&file.checkpoint), file.placed());
        }
    }

    /// Notes how large a file is, and so how far we are behind.
    pub(super) fn measure(&mut self, key: Key, size: u64, modified_ns: i64) {
        let Some(file) = self.files.get_mut(&key) else { return };
        (file.size, file.modified_ns) = (size, modified_ns);
        let lag = if file.binary { 0 } else { size.saturating_sub(file.start()) };
        self.lag = self.lag - file.lag + lag;
        file.lag = lag;
    }

    /// How far every file is, in the order of their paths.
    pub(super) fn status(&self) -> Vec<FileStatus> {
        self.status_of(|_| true)
    }

    /// How those files fare, by path.
    pub(super) fn status_of(&self, whose: impl Fn(&Tracked) -> bool) -> Vec<FileStatus> {
        let files = self.files.values().filter(|file| whose(file));
        let mut all: Vec<FileStatus> = files.map(Tracked::status).collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }

    /// Checkpoints of files that were not found for long, or too many of them, are let go.
    pub(super) fn forget_long_absent(&mut self, now: Timestamp) {
        self.absent.retain(|_, checkpoint| checkpoint.seen_within(ABSENT_TIME_MAX, now));
        if self.absent.len() > ABSENT_MAX {
            let mut ages: Vec<i64> = self.absent.values().map(|c| c.seen_ns).collect();
            ages.sort_unstable();
            let oldest = ages.get(ages.len() - ABSENT_MAX).copied().unwrap_or(i64::MIN);
            self.absent.retain(|_, checkpoint| checkpoint.seen_ns >= oldest);
        }
    }

    /// What is to be saved: every established generation, those absent included; and those of
    /// which less was on disk before.
    pub(super) fn snapshot(&mut self, now: Timestamp) -> (Vec<Checkpoint>, Vec<Kept>) {
        let (mut checkpoints, mut fresh) = (Vec::new(), Vec::new());
        for (key, file) in &mut self.files {
            file.save(*key, now, &mut checkpoints, &mut fresh);
        }
        checkpoints.extend(self.absent.values().cloned());
        (checkpoints, fresh)
    }

    /// The same of some files.
    pub(super) fn snapshot_of(
        &mut self,
        keys: impl IntoIterator<Item = Key>,
        now: Timestamp,
    ) -> (Vec<Checkpoint>, Vec<Kept>) {
        let (mut checkpoints, mut fresh) = (Vec::new(), Vec::new());
        for key in keys {
            if let Some(file) = self.files.get_mut(&key) {
                file.save(key, now, &mut checkpoints, &mut fresh);
            }
        }
        (checkpoints, fresh)
    }
}

impl Tracked {
    fn save(&mut self, key: Key, now: Timestamp, to: &mut Vec<Checkpoint>, fresh: &mut Vec<Kept>) {
        if matches!(self.generation, Generation::Unseen { .. }) {
            return;
        }
        let head_bytes = self.checkpoint.fingerprint.head_bytes;
        if self.generation.awaits_save() || head_bytes > self.head_kept {
            fresh.push(Kept { key, producer: self.checkpoint.producer, head_bytes });
        }
        self.checkpoint.seen_ns = now.0;
        to.push(self.placed());
    }

    /// It is on disk, if it is still the generation that was saved. Whether it waited for that.
    pub(super) fn kept(&mut self, kept: Kept) -> bool {
        let waited = self.generation.awaits_save();
        if self.checkpoint.producer != kept.producer {
            return false;
        }
        self.head_kept = kept.head_bytes;
        if waited {
            self.generation = Generation::Saved;
        }
        waited
    }

    /// Its checkpoint, with where it was last seen, and what of it is under way.
    fn placed(&self) -> Checkpoint {
        let path = self.path.to_string_lossy().into_owned();
        let offset = self.checkpoint.offset;
        // From before a crash, until it is passed.
        let earlier = self.checkpoint.sent.filter(|sent| sent.to > offset);
        let sent = self.sent.behind(offset).max(earlier);
        Checkpoint { path, sent, ..self.checkpoint.clone() }
    }

    /// Where reading goes on, or begins.
    fn start(&self) -> u64 {
        match self.generation {
            Generation::Unseen { start, .. } => start,
            _ => self.checkpoint.offset,
        }
    }

    /// What is not acknowledged of so many bytes, once they are gone. None when all is.
    pub(super) fn gap(&self, to: u64, now: Timestamp) -> Option<Gap> {
        let from = self.start();
        (to > from).then(|| Gap {
            producer: self.checkpoint.producer,
            source: self.checkpoint.source.clone(),
            path: self.path.clone(),
            from,
            to,
            noticed_ns: now.0,
        })
    }

    /// Whether bytes of it are not acknowledged.
    pub(super) fn lags(&self) -> bool {
        self.lag > 0
    }

    fn status(&self) -> FileStatus {
        let acknowledged = self.checkpoint.offset;
        let sent = self.sent.behind(acknowledged).map_or(acknowledged, |sent| sent.to);
        let read = self.hand.as_ref().map_or(0, |hand| hand.place.scanned_to);
        FileStatus {
            path: self.path.display().to_string(),
            source: self.checkpoint.source.clone(),
            state: match self {
                Self { binary: true, .. } => FileState::Binary,
                Self { last_error: Some(_), .. } => FileState::Failing,
                Self { waits: true, .. } => FileState::Waiting,
                Self { present: false, .. } => FileState::Gone,
                _ => FileState::Followed,
            },
            size: self.size,
            read: read.max(sent),
            sent,
            acknowledged,
            lag_bytes: self.lag,
            last_error: self.last_error.clone(),
        }
    }

    /// A file that was just found.
    pub(super) fn new(
        checkpoint: Checkpoint,
        generation: Generation,
        path: &Path,
        recipe: Arc<Recipe>,
    ) -> Self {
        Self {
            hand: Some(Hand::at(checkpoint.offset)),
            head_kept: match generation.is_kept() {
                true => checkpoint.fingerprint.head_bytes,
                false => 0,
            },
            checkpoint,
            generation,
            path: path.to_owned(),
            recipe,
            present: true,
            queued: false,
            changed: false,
            binary: false,
            size: 0,
            modified_ns: 0,
            next: None,
            waits: false,
            failures: 0,
            verified: 0,
            last_error: None,
            sent: Outbox::default(),
            lag: 0,
        }
    }
}
