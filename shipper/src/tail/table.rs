//! Which files are followed, found by their id, their path, and the stream they feed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::limits::BATCH_BYTES_TARGET;
use model::time::Timestamp;
use platform::shutdown::Shutdown;

use super::absent::Absent;
use super::copies::Truncated;
use super::step::Hand;
use crate::checkpoint::{Checkpoint, Sent};
use crate::identity::{FileId, HEAD_BYTES_MAX};
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
    /// Where the path really leads, when it is reached by a link.
    pub(super) real: Option<PathBuf>,
    /// Whether the path still names it.
    pub(super) present: bool,
    /// Since when it does not.
    pub(super) gone_at: Option<Duration>,
    /// Ends the turn that it has.
    pub(super) stop: Option<Shutdown>,
    /// None while a turn has it.
    pub(super) hand: Option<Hand>,
    pub(super) queued: bool,
    /// Something changed while a turn had it.
    pub(super) changed: bool,
    /// No text: left alone.
    pub(super) binary: bool,
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    /// Bytes it had when we last heard of it, whatever its turns found.
    pub(super) heard_size: u64,
    /// When it became smaller, if it has had no turn since then.
    pub(super) shrunk_at: Option<Timestamp>,
    /// Bytes it had before that, as long as it has the same generation.
    pub(super) shrunk_from: Option<u64>,
    /// It has no name any more, and was read to its end.
    pub(super) read_out: bool,
    /// What came and went in it since then, until copies of that are looked for.
    pub(super) missed: Option<Box<Truncated>>,
    /// The next file of the same stream, waiting until this one is read.
    pub(super) next: Option<Key>,
    /// Whether it waits for the one before.
    pub(super) waits: bool,
    /// It has more, and has no turn before that, as its rate says.
    pub(super) paused_until: Option<Duration>,
    /// Since when less than a batch waits for more.
    pub(super) gathers_since: Option<Duration>,
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

/// All followed files.
#[derive(Debug, Default)]
pub(super) struct Table {
    files: HashMap<Key, Tracked>,
    by_id: HashMap<FileId, Key>,
    by_path: HashMap<PathBuf, Key>,
    by_source: HashMap<String, Key>,
    /// Those that are known and not found now.
    pub(super) absent: Absent,
    last: u64,
    lag: u64,
}

impl Table {
    pub(super) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        Self { absent: Absent::new(checkpoints), ..Self::default() }
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

    /// Whether some file of that stream is known, found or not.
    pub(super) fn knows_stream(&self, source: &str) -> bool {
        let mut absent = self.absent.all();
        self.by_source.contains_key(source) || absent.any(|(_, known)| known.source == source)
    }

    /// The ids of all that are followed.
    pub(super) fn ids(&self) -> HashSet<FileId> {
        self.by_id.keys().copied().collect()
    }

    /// Inodes of everything known, found or not.
    pub(super) fn inodes(&self) -> HashSet<u64> {
        self.by_id
            .keys()
            .map(|id| id.inode)
            .chain(self.absent.all().map(|((inode, _), _)| inode))
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
        (file.present, file.gone_at, file.real) = (true, None, None);
        self.by_path.insert(path.to_owned(), key);
    }

    /// The file is not followed any more. Its checkpoint is kept for when it is found again,
    /// unless it is `forgotten`: then nothing can have it any more.
    pub(super) fn remove(&mut self, key: Key, forgotten: bool) -> Option<Tracked> {
        let mut file = self.files.remove(&key)?;
        self.lag -= file.lag;
        if self.by_id.get(&file.checkpoint.id) == Some(&key) {
            self.by_id.remove(&file.checkpoint.id);
        }
        self.by_path.retain(|_, other| *other != key);
        // Of files that wait for each other the next one waits for the one before from now on.
        let before = match file.waits {
            true => self.files.iter_mut().find(|(_, before)| before.next == Some(key)),
            false => None,
        };
        let before = before.map(|(before, tracked)| {
            tracked.next = file.next.take();
            *before
        });
        if self.by_source.get(&file.checkpoint.source) == Some(&key) {
            match before {
                Some(before) => self.by_source.insert(file.checkpoint.source.clone(), before),
                None => self.by_source.remove(&file.checkpoint.source),
            };
        }
        if !forgotten && file.generation.is_kept() {
            self.absent.put(file.placed());
        }
        Some(file)
    }

    /// The file is there, but its content is another one now: the old one's checkpoint is kept
    /// until it is clear whether that stands in a compressed file.
    pub(super) fn shelve(&mut self, key: Key) {
        if let Some(file) = self.files.get(&key) {
            self.absent.put(file.placed());
        }
    }

    /// The file has another content: of its stream everything that waits for it comes before that. Who
    /// is to begin now.
    pub(super) fn move_behind(&mut self, key: Key) -> Option<Key> {
        let file = self.files.get_mut(&key)?;
        let next = file.next.take()?;
        let last = self.by_source.insert(file.checkpoint.source.clone(), key).unwrap_or(next);
        let waited = std::mem::replace(&mut file.waits, true);
        let before = self.files.values_mut().find(|file| waited && file.next == Some(key));
        let begins = before.is_none();
        before.into_iter().for_each(|before| before.next = Some(next));
        if let Some(last) = self.files.get_mut(&last) {
            last.next = Some(key);
        }
        begins.then_some(next)
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

    /// What is to be saved: every established generation, those absent included; and those of
    /// which less was on disk before.
    pub(super) fn snapshot(&mut self, now: Timestamp) -> (Vec<Checkpoint>, Vec<Kept>) {
        let (mut checkpoints, mut fresh) = (Vec::new(), Vec::new());
        for (key, file) in &mut self.files {
            file.save(*key, now, &mut checkpoints, &mut fresh);
        }
        checkpoints.extend(self.absent.all().map(|(_, known)| known.clone()));
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
    pub(super) fn placed(&self) -> Checkpoint {
        let path = self.path.to_string_lossy().into_owned();
        let offset = self.checkpoint.offset;
        // From before a crash, until it is passed.
        let earlier = self.checkpoint.sent.filter(|sent| sent.to > offset);
        let sent = self.sent.behind(offset).max(earlier);
        let size = self.shrunk_from.unwrap_or(self.size).max(self.verified);
        // Whatever takes the place of one that is read, of this one nothing is missing.
        let size = if self.read_out && offset >= size { 0 } else { size };
        let real = self.real.as_ref().map(|real| real.to_string_lossy().into_owned());
        Checkpoint { path, real, sent, size, ..self.checkpoint.clone() }
    }

    /// Whether it must be looked at, whoever has turns: what it is known by is not on disk yet, or
    /// little is, and it waits.
    pub(super) fn wants_look(&self) -> bool {
        let head_bytes = self.checkpoint.fingerprint.head_bytes;
        let little = head_bytes < HEAD_BYTES_MAX && self.size > head_bytes as u64;
        match self.generation {
            Generation::Unseen { .. } => true,
            Generation::Saved => self.waits && little,
            _ => false,
        }
    }

    /// Where reading goes on, or begins.
    pub(super) fn start(&self) -> u64 {
        match self.generation {
            Generation::Unseen { start, .. } => start,
            _ => self.checkpoint.offset,
        }
    }

    /// The end of what was sent and not answered.
    pub(super) fn sent_to(&self) -> Option<u64> {
        self.sent.behind(self.checkpoint.offset).map(|sent| sent.to)
    }

    /// Whether bytes of it are not acknowledged.
    pub(super) fn lags(&self) -> bool {
        self.lag > 0
    }

    /// Whether more may come to what would be less than a batch: the file is where it was, and no
    /// other waits for it.
    pub(super) fn may_gather(&self) -> bool {
        let little = (1..BATCH_BYTES_TARGET as u64).contains(&self.lag);
        little && self.present && self.next.is_none()
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
            real: None,
            present: true,
            gone_at: None,
            stop: None,
            queued: false,
            changed: false,
            binary: false,
            size: 0,
            modified_ns: 0,
            heard_size: 0,
            shrunk_at: None,
            shrunk_from: None,
            read_out: false,
            missed: None,
            next: None,
            waits: false,
            paused_until: None,
            gathers_since: None,
            failures: 0,
            verified: 0,
            last_error: None,
            sent: Outbox::default(),
            lag: 0,
        }
    }
}
