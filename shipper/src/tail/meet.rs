//! News of files, heard or walked by → which are followed: new ones, renamed ones, gone ones.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::between::Between;
use super::family::{self, Family};
use super::table::{Generation, Key, Tracked};
use super::truncated::new_generation;
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::config::StartAt;
use crate::discover::{Seen, compressed};
use crate::identity::{FileId, Fingerprint};
use crate::recipe::Recipe;
use crate::watch::Change;

/// All folders are walked that often even when changes are heard of, less often where that takes
/// long.
pub(super) const WALK_PERIOD: Duration = Duration::from_secs(30);
/// But at least that often.
const WALK_PERIOD_MAX: Duration = Duration::from_secs(600);
/// A walk may take so little of the time between two of them.
const WALK_SHARE: u32 = 300;
/// And that often when they are not.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Renamings remembered between two walks.
const RENAMED_MAX: usize = 10_000;

/// A file is no longer where it was seen.
struct Elsewhere;

/// Whether the file at another path is not the followed one: that had gone and left its inode.
/// What we hold open has not gone.
fn inode_used_again(file: &Tracked, seen: &Seen) -> bool {
    let known = !matches!(file.generation, Generation::Unseen { .. });
    let closed = file.hand.as_ref().is_some_and(|hand| hand.file.is_none());
    let differs = |there| file.checkpoint.verify(&there).is_ok_and(|it| it.is_none());
    known && closed && File::open(&seen.path).is_ok_and(differs)
}

impl Shipper {
    pub(super) fn hear(&mut self, changes: Vec<Change>) {
        let now = self.context.clock.elapsed();
        for change in changes {
            match change {
                Change::Written(path) => match self.table.by_path(&path) {
                    Some(key) => self.written(key, &path),
                    None => self.appeared(&path),
                },
                Change::Appeared(path) => self.appeared(&path),
                Change::Gone(path) => {
                    self.path_is_gone(&path);
                }
                Change::Renamed { from, to } => self.followed_to(&from, &to),
                Change::Unknown => self.schedule.walk_at(now + WALK_DELAY),
            }
        }
    }

    /// A file that waits for its turn for long is behind by what is written meanwhile.
    fn written(&mut self, key: Key, path: &Path) {
        let id = self.table.get(key).map(|file| file.checkpoint.id);
        if let Some(seen) = Seen::at(path, true).filter(|seen| Some(seen.id) == id) {
            self.heard_of(key, seen.size);
            self.table.measure(key, seen.size, seen.modified_ns);
        }
        self.wake(key);
    }

    fn followed_to(&mut self, from: &Path, to: &Path) {
        let first = match self.renamed.remove(from) {
            _ if self.patterns.matches(from) => Some(from.to_owned()),
            earlier => earlier,
        };
        if let Some(first) = first
            && self.renamed.len() < RENAMED_MAX
        {
            self.renamed.insert(to.to_owned(), first);
        }
        self.appeared(to);
    }

    /// Nothing stands there any more, or something else.
    fn path_is_gone(&mut self, path: &Path) {
        let Some(key) = self.table.drop_path(path) else { return };
        if self.table.get(key).is_some_and(|file| file.path == path) {
            self.gone(key);
        }
        self.wake(key);
    }

    fn appeared(&mut self, path: &Path) {
        let matches = self.patterns.matches(path);
        if let Some(seen) = Seen::at(path, matches) {
            self.consider(&seen);
        } else if path.is_dir() && self.patterns.reach_into(path) {
            self.walk(vec![path.to_owned()], false);
        }
    }

    /// A file stands at a path: a known one, perhaps renamed, or a new one.
    pub(super) fn consider(&mut self, seen: &Seen) {
        if let Some(key) = self.table.by_id(seen.id) {
            self.meet(key, seen);
            return;
        }
        let Ok(absent) = self.known_content(seen) else {
            self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
            return;
        };
        let first = self.renamed.get(&seen.path).unwrap_or(&seen.path);
        let followed = seen.matches || (*first != seen.path && !compressed(&seen.path));
        if absent.is_none() && !followed {
            return;
        }
        let (source, _) = model::text::keep_text(first.as_os_str().as_encoded_bytes());
        let stream = absent.as_ref().map_or(&*source, |known| &known.source);
        let recipe = self.recipe(Path::new(stream), &seen.path);
        // The files of a spool are one stream: each waits for the one before.
        let folder = seen.path.parent().filter(|_| recipe.spooled);
        let source = match folder {
            Some(folder) => folder.to_string_lossy(),
            None => source.clone(),
        };
        // Nothing of a file is read that is begun at its end, however old it is; what comes is.
        let at_end = self.first_walk && self.first_run && recipe.start_at == StartAt::End;
        let too_old = recipe.ignore_older.is_some_and(|age| self.is_older(seen, age));
        if absent.is_none() && too_old && !at_end {
            return;
        }
        let (checkpoint, generation) = match absent {
            Some(known) => (Checkpoint { id: seen.id, ..known }, Generation::Saved),
            None => {
                let start = if at_end { seen.size } else { 0 };
                let blank = Checkpoint {
                    producer: 0,
                    id: seen.id,
                    fingerprint: Fingerprint::default(),
                    offset: 0,
                    sent: None,
                    source: source.into_owned(),
                    path: String::new(),
                    real: None,
                    seen_ns: 0,
                    size: 0,
                };
                (new_generation(blank), Generation::Unseen { start, look: true })
            }
        };
        self.path_is_gone(&seen.path);
        let (key, before) =
            self.table.add(Tracked::new(checkpoint, generation, &seen.path, recipe));
        self.context.metrics.files.set(i64::try_from(self.table.text_count()).unwrap_or(i64::MAX));
        self.table.measure(key, seen.size, seen.modified_ns);
        self.heard_of(key, seen.size);
        self.follow_link(&seen.path, key);
        if let Some(before) = before {
            self.wake(before);
        }
        self.wake(key);
    }

    /// The checkpoint of a file that was not found until now, when this one has its content: that
    /// it has its inode may be chance. `Err`: another file stands at the path by now.
    fn known_content(&mut self, seen: &Seen) -> Result<Option<Checkpoint>, Elsewhere> {
        if !self.table.absent.has(seen.id.inode) {
            return Ok(None);
        }
        let file = File::open(&seen.path);
        let there = match &file {
            Ok(file) => file.metadata().is_ok_and(|metadata| FileId::of(&metadata) == seen.id),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if !there {
            return Err(Elsewhere);
        }
        let absent = self.table.absent.at(seen.id.inode);
        let key = match &file {
            // Of several the one of which most is known: little fits anything.
            Ok(file) => absent
                .filter(|(_, known)| known.verify(file).is_ok_and(|it| it.is_some()))
                .max_by_key(|(_, known)| (known.fingerprint.head_bytes, known.offset)),
            // What cannot be read now may be the last that was; its turn will tell.
            Err(_) => absent.max_by_key(|(_, known)| known.seen_ns),
        };
        let key = key.map(|(key, _)| key);
        Ok(key.and_then(|key| self.table.absent.take(key)))
    }

    fn has_known_content(&self, seen: &Seen) -> bool {
        let mut absent = self.table.absent.at(seen.id.inode);
        File::open(&seen.path).is_ok_and(|file| {
            absent.any(|(_, known)| known.verify(&file).is_ok_and(|it| it.is_some()))
        })
    }

    /// What is done to the lines of a stream: as its first path says, which it may have been
    /// renamed from.
    pub(super) fn recipe(&self, stream: &Path, path: &Path) -> Arc<Recipe> {
        let source = self.patterns.source_of(stream).or_else(|| self.patterns.source_of(path));
        let recipe = self.recipes.get(source.unwrap_or(0)).cloned();
        recipe.unwrap_or_default()
    }

    pub(super) fn is_older(&self, seen: &Seen, than: Duration) -> bool {
        let age = self.context.clock.now().0.saturating_sub(seen.modified_ns);
        u64::try_from(age).is_ok_and(|age| Duration::from_nanos(age) > than)
    }

    /// A known file is met at a path.
    fn meet(&mut self, key: Key, seen: &Seen) {
        let Some(file) = self.table.get(key) else { return };
        let grown = (file.size, file.modified_ns) != (seen.size, seen.modified_ns);
        let larger = seen.size > file.size;
        let shrinks = seen.size < file.size || file.shrunk_at.is_some();
        let asks_again = shrinks && file.path == seen.path;
        if file.path != seen.path {
            // A walk's news may be old by now.
            if Seen::at(&seen.path, true).is_none_or(|there| there.id != seen.id) {
                return;
            }
            let elsewhere =
                file.present && Seen::at(&file.path, true).is_some_and(|there| there.id == seen.id);
            if elsewhere {
                // Another name of the same file: shipped once, under the first.
                self.table.add_path(seen.path.clone(), key);
            } else if inode_used_again(file, seen) {
                self.missing(key);
                self.consider(seen);
                return;
            } else {
                self.renamed_to(key, &seen.path);
            }
        } else if !file.present {
            self.renamed_to(key, &seen.path);
        }
        if asks_again {
            // What a walk saw may be old by now: that is no shrinking.
            self.written(key, &seen.path);
            return;
        }
        if larger {
            self.table.measure(key, seen.size, seen.modified_ns);
            if let Some(file) = self.table.get_mut(key) {
                file.heard_size = file.heard_size.max(seen.size);
            }
        }
        if grown {
            self.wake(key);
        }
    }

    fn renamed_to(&mut self, key: Key, path: &Path) {
        self.table.rename(key, path);
        self.moved(key);
    }

    /// Changes of a linked file are heard of where it really is; and there it is looked for when the
    /// link leads elsewhere after a restart.
    fn follow_link(&mut self, path: &Path, key: Key) {
        let Ok(real) = path.canonicalize() else { return };
        if real == path {
            return;
        }
        if let Some(file) = self.table.get_mut(key) {
            file.real = Some(real.clone());
        }
        if path.is_symlink() {
            if let Some(folder) = real.parent() {
                self.watch.folders().add(folder);
            }
            self.table.add_path(real, key);
        }
    }

    /// Files whose links lead elsewhere by now, with something in them that is not read: they are
    /// read to their ends where they really are.
    fn look_where_links_led(&mut self) {
        let unread = |(_, known): (_, &Checkpoint)| {
            let seen = Seen::at(Path::new(known.real.as_deref()?), false)?;
            (seen.id.inode == known.id.inode && seen.size > known.offset).then_some(seen)
        };
        let led: Vec<Seen> = self.table.absent.all().filter_map(unread).collect();
        for seen in led {
            self.consider(&seen);
            if let Some(key) = self.table.by_id(seen.id) {
                self.gone(key);
            }
        }
    }

    pub(super) fn walk(&mut self, roots: Vec<PathBuf>, whole: bool) {
        let (patterns, folders) = (self.patterns.clone(), self.watch.folders());
        let known: HashSet<u64> = self.table.inodes();
        if whole {
            self.walking = true;
            let period = if self.watch.is_complete() { self.walk_period } else { LOOK_PERIOD };
            self.walk_started = self.context.clock.elapsed();
            self.schedule.walked(self.walk_started + period);
        }
        let alive_ns = (whole && self.first_walk && !self.first_run).then_some(self.alive_ns);
        self.tasks.spawn(async move {
            let walked = tokio::task::spawn_blocking(move || {
                let mut entered = Vec::new();
                let mut enter = |folder: &Path| {
                    folders.add(folder);
                    entered.extend(alive_ns.map(|_| folder.to_owned()));
                };
                let walk = |root: &PathBuf| patterns.walk(root, &known, &mut enter);
                let seen: Vec<Seen> = roots.iter().flat_map(walk).collect();
                let rotated = |folder: &PathBuf| {
                    family::families(folder, &patterns, alive_ns.unwrap_or(i64::MAX))
                };
                (seen, entered.iter().flat_map(rotated).collect())
            });
            let (seen, rotated) = walked.await.unwrap_or_default();
            Done::Walk { seen, whole, rotated }
        });
    }

    /// A walk is over. The first one goes on with what was rotated before it.
    pub(super) fn walked(&mut self, seen: Vec<Seen>, whole: bool, rotated: Vec<Family>) {
        match rotated.is_empty() {
            true => self.settled(seen, whole, Between::default()),
            false => self.look_between(seen, rotated),
        }
    }

    /// All that can be known of what was seen is.
    pub(super) fn settled(&mut self, mut seen: Vec<Seen>, whole: bool, between: Between) {
        // Files known from before come first, then the longest untouched: of two files of one
        // stream the older one is sent first.
        seen.sort_by_key(|seen| (!self.table.absent.has(seen.id.inode), seen.modified_ns));
        let is_known = |seen: &&Seen| {
            let inode_is = self.table.absent.has(seen.id.inode);
            // A truncated file has another content: what was copied from it comes before.
            inode_is && (between.is_empty() || self.has_known_content(seen))
        };
        let (known, new): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(is_known);
        known.into_iter().for_each(|seen| self.consider(seen));
        if whole && self.first_walk {
            self.look_where_links_led();
            self.take_between(between);
        }
        new.into_iter().for_each(|seen| self.consider(seen));
        if whole {
            self.walk_over(&seen);
        }
    }

    /// A pattern may be mistyped, and who wants no more than what is there would never know.
    fn tell_when_none(&self, seen: &[Seen]) {
        let patterns = self.patterns.texts();
        let is_any = seen.iter().any(|seen| seen.matches);
        if !is_any && !patterns.is_empty() && self.context.config.feeds.is_empty() {
            tracing::warn!(?patterns, "no file is there that the patterns name");
        }
    }

    fn walk_over(&mut self, seen: &[Seen]) {
        self.walking = false;
        self.feeds.unseen = false;
        self.judge_vanished();
        self.judge_unread();
        if self.first_walk {
            self.tell_when_none(seen);
        }
        (self.first_walk, self.known_before) = (false, HashSet::new());
        self.forget_long_absent();
        self.renamed.clear();
        if !self.watch.is_complete() {
            let soon = self.context.clock.elapsed() + LOOK_PERIOD;
            self.schedule.walked(soon);
        }
        let took = self.context.clock.elapsed().saturating_sub(self.walk_started);
        self.walk_period = (took * WALK_SHARE).clamp(WALK_PERIOD, WALK_PERIOD_MAX);
        let found: HashSet<&Path> = seen.iter().map(|seen| seen.path.as_path()).collect();
        for key in self.table.keys() {
            let Some(file) = self.table.get(key) else { continue };
            if !file.present || found.contains(file.path.as_path()) {
                continue;
            }
            let there = Seen::at(&file.path, true);
            let (id, path) = (file.checkpoint.id, file.path.clone());
            match there {
                Some(there) if there.id == id => self.meet(key, &there),
                _ => {
                    self.table.drop_path(&path);
                    self.gone(key);
                    self.wake(key);
                }
            }
        }
    }
}
