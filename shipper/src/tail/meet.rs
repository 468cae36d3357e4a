//! News of files, heard or walked by → which are followed: new ones, renamed ones, gone ones.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::between::Between;
use super::family::{self, Family};
use super::quiet::Quiet;
use super::table::{Generation, Key, Tracked};
use super::truncated::new_generation;
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::config::StartAt;
use crate::discover::Seen;
use crate::doubt::{asked, certain, is_passing};
use crate::identity::{FileId, Fingerprint};
use crate::rotation::compressed;
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

/// Where a known file is met.
enum Place {
    /// Where it was.
    Known,
    /// Where it is not any more: a walk's news may be old.
    Old,
    /// Under another name as well.
    Second,
    /// It had gone and left its inode to this one.
    Another,
    /// It was renamed, or is there again.
    New,
}

/// Whether the file at another path is not the followed one: that had gone and left its inode.
/// What we hold open has not gone.
///
/// # Errors
/// Those that leave it open.
fn inode_used_again(file: &Tracked, seen: &Seen) -> io::Result<bool> {
    let known = !matches!(file.generation, Generation::Unseen { .. });
    let closed = file.hand.as_ref().is_some_and(|hand| hand.file.is_none());
    if !known || !closed {
        return Ok(false);
    }
    let differs = |there: File| -> io::Result<Option<()>> {
        Ok(file.checkpoint.verify(&there)?.is_none().then_some(()))
    };
    certain(File::open(&seen.path).and_then(differs))
}

impl Shipper {
    pub(super) fn hear(&mut self, changes: Vec<Change>) {
        let now = self.context.clock.elapsed();
        for change in changes {
            match change {
                Change::Written(path) => self.changed(&path, true),
                Change::Touched(path) => self.changed(&path, false),
                Change::Appeared(path) => self.appeared(&path, false),
                Change::Gone(path) => {
                    self.path_is_gone(&path);
                }
                Change::Renamed { from, to } => self.followed_to(&from, &to),
                Change::Unknown => {
                    self.passed.missed(now);
                    self.schedule.walk_at(now + WALK_DELAY);
                }
            }
        }
    }

    fn changed(&mut self, path: &Path, written: bool) {
        match self.table.by_path(path) {
            Some(key) => self.written(key, path),
            None => self.appeared(path, written),
        }
    }

    /// A file that waits for its turn for long is behind by what is written meanwhile.
    fn written(&mut self, key: Key, path: &Path) {
        let id = self.table.get(key).map(|file| file.checkpoint.id);
        if let Some(seen) = Seen::surely_at(path, true).filter(|seen| Some(seen.id) == id) {
            self.heard_of(key, seen.size);
            self.table.measure(key, seen.size, seen.modified_ns);
            let unseen = |file: &Tracked| matches!(file.generation, Generation::Unseen { .. });
            if seen.size == 0 && self.table.get(key).is_some_and(unseen) {
                // What was written to it was cut away before we came to look.
                self.look_back(key);
            }
        }
        self.passed.wrote(key);
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
        self.appeared(to, false);
    }

    /// Nothing stands there any more, or something else.
    fn path_is_gone(&mut self, path: &Path) {
        let Some(key) = self.table.drop_path(path) else { return };
        if self.table.get(key).is_some_and(|file| file.path == path) {
            self.gone(key);
        }
        self.wake(key);
    }

    fn appeared(&mut self, path: &Path, written: bool) {
        let matches = self.patterns.matches(path);
        match Seen::at(path, matches) {
            Ok(Some(seen)) => self.consider_one(&seen, written),
            Ok(None) if path.is_dir() && self.patterns.reach_into(path) => {
                self.walk(vec![path.to_owned()], false);
            }
            // It came and went before we came to look.
            Ok(None) if matches => self.look_back_at(path),
            Ok(None) => {}
            Err(_) => self.look_later(),
        }
    }

    /// What could not be looked at the next walk finds.
    fn look_later(&mut self) {
        self.schedule.walk_at(self.context.clock.elapsed() + LOOK_PERIOD);
    }

    /// A file stands at a path: a known one, perhaps renamed, or a new one.
    pub(super) fn consider(&mut self, seen: &Seen) {
        self.consider_one(seen, false);
    }

    /// The same of one that is written to just now, or not: then it is not old, whatever clocks say.
    fn consider_one(&mut self, seen: &Seen, written: bool) {
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
        let source = self.stream_of(first);
        let stream = absent.as_ref().map_or(&*source, |known| &known.source);
        let recipe = self.recipe(Path::new(stream), &seen.path);
        // The files of a spool are one stream: each waits for the one before.
        let folder = seen.path.parent().filter(|_| recipe.spooled);
        let source = match folder {
            Some(folder) => folder.to_string_lossy().into_owned(),
            None => source.clone(),
        };
        // Nothing of a file is read that is begun at its end, however old it is; what comes is.
        let at_end = self.first_walk && self.first_run && recipe.start_at == StartAt::End;
        let too_old = recipe.ignore_older.is_some_and(|age| self.is_older(seen, age));
        if absent.is_none() && too_old && !at_end && !written {
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
                    source,
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
        if self.first_walk
            && let Some(hand) = self.table.get_mut(key).and_then(|file| file.hand.as_mut())
        {
            hand.quiet = Quiet::of_old();
        }
        self.context.metrics.files.set(i64::try_from(self.table.text_count()).unwrap_or(i64::MAX));
        self.table.measure(key, seen.size, seen.modified_ns);
        self.heard_of(key, seen.size);
        self.follow_link(&seen.path, key);
        if !generation.is_kept() {
            self.look_back(key);
        }
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
        let absent: Vec<_> = self.table.absent.at(seen.id.inode).collect();
        let (mut having, mut unread) = (Vec::new(), file.is_err());
        if let Ok(file) = &file {
            for (key, known) in &absent {
                match certain(known.verify(file)) {
                    Ok(true) => having.push((*key, *known)),
                    Ok(false) => {}
                    Err(_) => unread = true,
                }
            }
        }
        let key = match unread && having.is_empty() {
            // What cannot be read now may be the last that was; its turn will tell.
            true => absent.into_iter().max_by_key(|(_, known)| known.seen_ns),
            // Of several the one of which most is known: little fits anything.
            false => having
                .into_iter()
                .max_by_key(|(_, known)| (known.fingerprint.head_bytes, known.offset)),
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

    pub(super) fn is_older(&self, seen: &Seen, than: Duration) -> bool {
        let age = self.context.clock.now().0.saturating_sub(seen.modified_ns);
        u64::try_from(age).is_ok_and(|age| Duration::from_nanos(age) > than)
    }

    /// A known file is met at a path.
    fn meet(&mut self, key: Key, seen: &Seen) {
        let Ok(place) = self.place_of(key, seen) else {
            self.look_later();
            return;
        };
        let Some(file) = self.table.get(key) else { return };
        let grown = (file.size, file.modified_ns) != (seen.size, seen.modified_ns);
        let larger = seen.size > file.size;
        let shrinks = seen.size < file.size || file.shrunk_at.is_some();
        let asks_again = shrinks && file.path == seen.path;
        match place {
            Place::Known => {}
            Place::Old => return,
            // Another name of the same file: shipped once, under the first.
            Place::Second => self.table.add_path(seen.path.clone(), key),
            Place::Another => {
                self.missing(key);
                self.consider(seen);
                return;
            }
            Place::New => self.renamed_to(key, &seen.path),
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
            self.passed.wrote(key);
            self.wake(key);
        }
    }

    fn place_of(&self, key: Key, seen: &Seen) -> io::Result<Place> {
        let Some(file) = self.table.get(key) else { return Ok(Place::Old) };
        if file.path == seen.path {
            return Ok(if file.present { Place::Known } else { Place::New });
        }
        let stands = |path: &Path| -> io::Result<bool> {
            Ok(Seen::at(path, true)?.is_some_and(|there| there.id == seen.id))
        };
        if !stands(&seen.path)? {
            return Ok(Place::Old);
        }
        if file.present && stands(&file.path)? {
            return Ok(Place::Second);
        }
        let another = self.is_of_another_stream(file, seen) || inode_used_again(file, seen)?;
        Ok(if another { Place::Another } else { Place::New })
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
    pub(super) fn look_where_links_led(&mut self) {
        let unread = |(_, known): (_, &Checkpoint)| {
            let seen = Seen::surely_at(Path::new(known.real.as_deref()?), false)?;
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
        let (context, first) = (self.context.clone(), whole && self.first_walk);
        self.tasks.spawn(async move {
            let walk = move || {
                let (mut entered, mut doubt) = (Vec::new(), None);
                let mut enter = |folder: &Path| {
                    folders.add(folder);
                    entered.extend(alive_ns.map(|_| folder.to_owned()));
                };
                // Of the first walk what is not found is taken for gone; later ones come again.
                let mut failed = |error: io::Error| {
                    doubt = Some(error).filter(|error| first && is_passing(error)).or(doubt.take());
                };
                let mut seen: Vec<Seen> = Vec::new();
                for root in &roots {
                    seen.extend(patterns.walk(root, &known, &mut enter, &mut failed));
                }
                let mut rotated: Vec<Family> = Vec::new();
                for folder in &entered {
                    match family::families(folder, &patterns, alive_ns.unwrap_or(i64::MAX)) {
                        Ok(families) => rotated.extend(families),
                        Err(error) => failed(error),
                    }
                }
                ((seen, rotated), doubt)
            };
            let ((seen, rotated), _) = asked(&context.clock, &context.shutdown, walk).await;
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
        self.passed.settles = whole && self.first_walk;
        known.into_iter().for_each(|seen| self.consider(seen));
        if whole && self.first_walk {
            self.look_where_links_led();
            self.take_between(between);
        }
        new.into_iter().for_each(|seen| self.consider(seen));
        self.passed.settles = false;
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
        self.walked_all();
        self.judge_vanished();
        self.judge_unread();
        if self.first_walk {
            self.tell_when_none(seen);
            // From now on we were there, whatever ends us before a file is known.
            self.changed_checkpoints();
        }
        self.first_walk = false;
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
            // What cannot be looked at is not gone for that.
            let Ok(there) = Seen::at(&file.path, true) else { continue };
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
