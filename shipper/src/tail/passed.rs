//! What came and was rotated while we were held up: stopped by a signal, in a frozen group, on a machine that
//! was suspended, or slower than rotation. Whenever the file at a path is another than the one that was read
//! there, the rotated files beside it are looked at, as at the start: each that was written since we last had
//! heard of everything, and is newer than what is known of its stream, is read before what stands there now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use model::time::Timestamp;

use super::absent::AbsentKey;
use super::between::{Between, CLOCK_GRAIN_NS, text};
use super::news::{Known, Stream, look_into};
use super::step::Outcome;
use super::table::{Generation, Key};
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::discover::Seen;
use crate::doubt::asked;
use crate::identity::{FileId, Fingerprint};
use crate::rotation::{compressed, unrotated};

/// Files that were read from compressed files and copies, and are remembered while rotation may still bring
/// them under another name; of more the oldest are let go.
const READ_MAX: usize = 10_000;

/// Which streams are looked at, and what such looks must not take again.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// When we last had heard of everything, nanoseconds since 1970.
    heard_ns: i64,
    /// Changes were missed then, by the clock that never leaps; a walk begun later makes up for them.
    missed_at: Option<Duration>,
    /// What the first walk has found is taken in: what came before it is looked at otherwise.
    pub(super) settles: bool,
    /// Streams to be looked at, and since when nobody knows what came of them, nanoseconds since 1970.
    wanted: BTreeMap<String, i64>,
    looking: Option<Looking>,
    /// Files of such streams that were read before: they need not wait for what comes behind them.
    ahead: HashSet<Key>,
    /// Files of which nothing is read yet, and since when nobody knows what came before them.
    fresh: HashMap<Key, i64>,
    /// Files that were written to since their last turn began, and since when nobody knows what they had.
    written: HashMap<Key, i64>,
    /// The same of the turns they have.
    turning: HashMap<Key, i64>,
    /// Files that were found by looks, and when they were written last.
    taken: HashMap<FileId, i64>,
    /// What was read to its end and is followed no more, and when, nanoseconds since 1970.
    read: Vec<(Checkpoint, i64)>,
}

/// A look under way.
#[derive(Debug)]
struct Looking {
    sources: HashSet<String>,
    since_ns: i64,
}

impl Passed {
    pub(super) fn new(began: Timestamp) -> Self {
        Self { heard_ns: began.0, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.looking.is_none()
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// Whether a file waits for a look at its stream.
    pub(super) fn holds(&self, source: &str) -> bool {
        let looked_at = self.looking.as_ref().is_some_and(|it| it.sources.contains(source));
        looked_at || self.wanted.contains_key(source)
    }

    /// Whether a file of a stream that is held goes on all the same.
    pub(super) fn is_ahead(&self, key: Key) -> bool {
        self.ahead.contains(&key)
    }

    /// No stream is held any more.
    pub(super) fn released(&mut self) {
        self.ahead.clear();
    }

    /// We may have missed something.
    pub(super) fn missed(&mut self, now: Duration) {
        self.missed_at = Some(now);
    }

    /// Nothing of the stream was known to be missing then.
    fn since_ns(&self) -> i64 {
        self.heard_ns.saturating_sub(CLOCK_GRAIN_NS)
    }

    fn want(&mut self, source: &str, since_ns: i64) {
        let since = self.wanted.entry(source.to_owned()).or_insert(since_ns);
        *since = (*since).min(since_ns);
    }

    /// A file has another content than its turn knows, it may be.
    pub(super) fn wrote(&mut self, key: Key) {
        let since_ns = self.since_ns();
        self.written.entry(key).or_insert(since_ns);
    }

    /// A turn looks at what was written until now.
    pub(super) fn turn_begins(&mut self, key: Key) {
        if let Some(since_ns) = self.written.remove(&key) {
            let turning = self.turning.entry(key).or_insert(since_ns);
            *turning = (*turning).min(since_ns);
        }
    }

    /// It has, and found the content it knew, or another one; or it could not tell.
    pub(super) fn turn_ended(&mut self, key: Key, outcome: &Outcome) {
        match outcome {
            // It is looked back from then.
            Outcome::Replaced { .. } => {}
            Outcome::Sent { .. } | Outcome::Resting(_) | Outcome::Looked | Outcome::Binary => {
                self.turning.remove(&key);
            }
            _ => {
                if let Some(since_ns) = self.turning.remove(&key) {
                    let written = self.written.entry(key).or_insert(since_ns);
                    *written = (*written).min(since_ns);
                }
            }
        }
    }

    /// Since then nobody knows what it had.
    fn unknown_since_ns(&mut self, key: Key) -> i64 {
        let written = self.written.get(&key).copied();
        [self.turning.remove(&key), written].into_iter().flatten().min().unwrap_or(i64::MAX)
    }

    /// It is not followed any more.
    pub(super) fn forget(&mut self, key: Key) {
        self.written.remove(&key);
        self.turning.remove(&key);
    }

    /// What was read to its end may come again, compressed.
    pub(super) fn was_read(&mut self, checkpoint: Checkpoint, now: Timestamp) {
        let since_ns = self.oldest_ns();
        self.read.retain(|(_, at_ns)| *at_ns > since_ns);
        if self.read.len() >= READ_MAX {
            self.read.remove(0);
        }
        self.read.push((checkpoint, now.0));
    }

    /// From then on nobody knows what came.
    fn oldest_ns(&self) -> i64 {
        let unknown = self.written.values().chain(self.turning.values()).copied();
        unknown.fold(self.since_ns().min(self.known_to_ns()), i64::min)
    }

    /// Until then all that came is known.
    fn known_to_ns(&self) -> i64 {
        let wanted = self.wanted.values().copied().min();
        let looking = self.looking.as_ref().map(|looking| looking.since_ns);
        [wanted, looking].into_iter().flatten().fold(self.heard_ns, i64::min)
    }

    /// Those were found, and are read.
    pub(super) fn took(&mut self, taken: &[(FileId, i64)]) {
        if self.taken.len() + taken.len() > READ_MAX {
            let since_ns = self.oldest_ns();
            self.taken.retain(|_, modified_ns| *modified_ns > since_ns);
        }
        self.taken.extend(taken.iter().copied());
    }
}

/// The streams among whose rotated files one of that stream may be: its own, and the one that it was rotated
/// from by its name.
fn streams_of(source: &str) -> impl Iterator<Item = &str> {
    let before = unrotated(source);
    std::iter::once(source).chain(Some(before).filter(|before| *before != source))
}

fn is_asked(streams: &HashMap<String, Stream>, source: &str) -> bool {
    streams_of(source).any(|source| streams.contains_key(source))
}

fn tell(streams: &mut HashMap<String, Stream>, source: &str, mut say: impl FnMut(&mut Stream)) {
    for source in streams_of(source) {
        if let Some(stream) = streams.get_mut(source) {
            say(stream);
        }
    }
}

impl Shipper {
    /// Hears what waits to be heard; when nothing does, all that happened until now is known.
    pub(super) fn listen(&mut self) {
        let now = self.context.clock.now();
        let changes = self.watch.waiting();
        let unsure = self.first_walk || self.passed.missed_at.is_some();
        let heard = changes.is_empty() && self.watch.is_drained() && self.watch.is_complete();
        if heard && !unsure {
            self.passed.heard_ns = now.0;
        }
        self.hear(changes);
    }

    /// A walk is over: what happened before it began is known, whatever was missed.
    pub(super) fn walked_all(&mut self) {
        let took = self.context.clock.elapsed().saturating_sub(self.walk_started);
        let took_ns = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        if self.passed.missed_at.is_some_and(|at| at > self.walk_started) {
            return;
        }
        let complete = self.watch.is_complete() && self.passed.missed_at.is_none();
        if !complete || self.first_walk {
            self.passed.heard_ns = self.context.clock.now().0.saturating_sub(took_ns);
        }
        self.passed.missed_at = None;
    }

    /// Until then all that happened is known: what a save may say of us.
    pub(super) fn known_until(&self) -> Timestamp {
        let now = self.context.clock.now();
        if self.first_walk { now } else { Timestamp(now.0.min(self.passed.known_to_ns())) }
    }

    /// What was written before is known, or nobody's to read: at the start what was there before us.
    fn unheard_since_ns(&self) -> i64 {
        if self.first_walk { self.passed.heard_ns } else { self.passed.since_ns() }
    }

    /// The file at a path is another than before, or there is none: others may have come and gone between.
    pub(super) fn look_back(&mut self, key: Key) {
        let Some(file) = self.table.get(key) else { return };
        let source = &file.checkpoint.source;
        let is_new = matches!(file.generation, Generation::Unseen { .. });
        let current = match is_new {
            // One that was rotated before it was met came behind others.
            true => {
                let path = text(&file.path);
                [path.as_str(), unrotated(&path)].contains(&source.as_str())
            }
            false => file.path == Path::new(source),
        };
        let current = current && self.patterns.matches(&file.path);
        if self.passed.settles || file.recipe.spooled || !current {
            return;
        }
        let (source, since_ns) = (source.clone(), self.unheard_since_ns());
        let since_ns = since_ns.min(self.passed.unknown_since_ns(key));
        if is_new {
            self.passed.fresh.entry(key).or_insert(since_ns);
        }
        self.passed.want(&source, since_ns);
    }

    /// A file stood there for a moment and was not met: rotation may have renamed and compressed it.
    pub(super) fn look_back_at(&mut self, path: &Path) {
        let source = self.stream_of(path);
        let recipe = self.recipe(Path::new(&source), path);
        if self.passed.settles || self.first_walk || recipe.spooled {
            return;
        }
        let since_ns = self.unheard_since_ns();
        self.passed.want(&source, since_ns);
    }

    /// A file of which nothing was read is gone: it may have been compressed.
    pub(super) fn look_back_for(&mut self, key: Key) {
        let Some(file) = self.table.get(key) else { return };
        if self.passed.settles || file.recipe.spooled {
            return;
        }
        let since_ns = self.passed.fresh.get(&key).copied().unwrap_or(i64::MAX);
        let since_ns = since_ns.min(self.unheard_since_ns());
        let source = file.checkpoint.source.clone();
        self.passed.want(&source, since_ns);
    }

    /// Looks at the streams that want it, all together, once none of their files is looked at otherwise.
    pub(super) fn look_at_passed(&mut self) {
        let busy = self.first_walk || self.passed.is_looking() || self.copied.is_looking();
        if self.passed.wanted.is_empty() || busy {
            return;
        }
        let wanted = self.passed.wanted.iter();
        let mut streams: HashMap<String, Stream> = wanted
            .map(|(source, since_ns)| (source.clone(), Stream::of(source, *since_ns)))
            .collect();
        let busy = self.gather(&mut streams);
        self.gather_gone(&mut streams);
        streams.retain(|source, _| !busy.contains(source));
        self.passed.wanted.retain(|source, _| busy.contains(source));
        if streams.is_empty() {
            return;
        }
        let since_ns = streams.values().map(|stream| stream.since_ns).min().unwrap_or(i64::MAX);
        let (sources, streams): (HashSet<String>, Vec<Stream>) = streams.into_iter().unzip();
        self.passed.looking = Some(Looking { sources, since_ns });
        let (patterns, taken) = (self.patterns.clone(), self.passed.taken.clone());
        let (context, now) = (self.context.clone(), self.context.clock.now());
        self.tasks.spawn(async move {
            let look = move || look_into(&streams, &taken, &patterns, now);
            Done::Passed(asked(&context.clock, &context.shutdown, look).await.0)
        });
    }

    /// Tells the streams what is known of their files. Of which of them one is being looked at just now.
    pub(super) fn gather(&mut self, streams: &mut HashMap<String, Stream>) -> HashSet<String> {
        let mut busy = HashSet::new();
        for key in self.table.keys() {
            let Some(file) = self.table.get(key) else { continue };
            let source = &file.checkpoint.source;
            if !is_asked(streams, source) {
                continue;
            }
            let current = file.present && file.path == Path::new(source);
            let known = match (file.generation, &file.hand) {
                (Generation::Saved | Generation::Outgrown, _) => {
                    if !current {
                        self.passed.ahead.insert(key);
                    }
                    Some(file.placed())
                }
                (_, None) => {
                    busy.insert(source.clone());
                    None
                }
                (Generation::Seen, _) => Some(file.checkpoint.clone()),
                (Generation::Unseen { .. }, Some(hand)) => {
                    let id = file.checkpoint.id;
                    tell(streams, source, |stream| _ = stream.unread.insert(id));
                    // It is read as it is open: what it begins with tells it from others. That it stands no
                    // longer at its path we may not have heard yet.
                    let stands = || Seen::surely_at(&file.path, true).is_some_and(|it| it.id == id);
                    let open = hand.file.as_ref().filter(|_| !(current && stands()));
                    let print =
                        open.and_then(|it| Fingerprint::default().verify(it, 0).ok().flatten());
                    print.map(|fingerprint| Checkpoint { fingerprint, ..file.checkpoint.clone() })
                }
            };
            if let Some(known) = known {
                let known = Known::of(&known, file.modified_ns);
                tell(streams, source, |stream| stream.known.push(known.clone()));
            }
        }
        busy
    }

    /// The same of files that are not followed any more.
    pub(super) fn gather_gone(&mut self, streams: &mut HashMap<String, Stream>) {
        for (_, known) in self.table.absent.all() {
            tell(streams, &known.source, |stream| stream.absent.push(known.clone()));
        }
        for (known, _) in &self.passed.read {
            tell(streams, &known.source, |stream| stream.known.push(Known::of(known, 0)));
        }
        for (_, gap) in &self.gaps.unread {
            tell(streams, &gap.source, |stream| stream.misses = true);
        }
        let table = &self.table;
        self.passed.fresh.retain(|key, _| {
            table.get(*key).is_some_and(|file| matches!(file.generation, Generation::Unseen { .. }))
        });
    }

    /// What a look has found is read before what stands at its path now.
    pub(super) fn passed_found(&mut self, mut between: Between) {
        let Some(Looking { sources, since_ns }) = self.passed.looking.take() else { return };
        self.passed.took(&between.taken);
        let gaps = std::mem::take(&mut between.gaps).into_iter();
        let said = |source: &str| self.gaps.says_of_files(source, since_ns);
        between.gaps = gaps.filter(|gap| gap.to > gap.from || !said(&gap.source)).collect();
        for file in &between.files {
            // One of which nothing was read, and that was not found any more, is compressed now.
            let unread = self
                .gaps
                .unread
                .iter()
                .position(|(_, gap)| streams_of(&gap.source).any(|it| it == file.source));
            if let Some(at) = unread.filter(|_| compressed(Path::new(&file.path))) {
                self.gaps.unread.remove(at);
            }
        }
        if !between.is_empty() {
            tracing::warn!(
                "files were rotated faster than they could be followed, or while we were held up"
            );
        }
        self.read_first(between);
        for source in &sources {
            if let Some(current) = self.table.by_path(Path::new(source)) {
                let next = self.table.move_behind(current);
                self.release_next(next);
            }
        }
        self.wake_streams(&sources);
        if !self.gaps.unread.is_empty() {
            self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
        }
        self.look_for_next_copies();
    }

    fn wake_streams(&mut self, sources: &HashSet<String>) {
        if sources.is_empty() {
            return;
        }
        for key in self.table.keys() {
            let file = self.table.get(key);
            if file.is_some_and(|file| sources.contains(&file.checkpoint.source)) {
                self.wake(key);
            }
        }
    }

    /// The rest of a file that vanished was read from a compressed one, or a copy.
    pub(super) fn recovered_from(&mut self, key: AbsentKey, path: &Path) {
        tracing::info!(file = %path.display(), "read the rest from the compressed file or copy");
        let now = self.context.clock.now();
        if let Some(known) = self.table.absent.take(key) {
            self.passed.was_read(known, now);
        }
        let written_ns = Seen::surely_at(path, true).map_or(0, |seen| seen.modified_ns);
        if written_ns <= now.0 {
            self.recovered_ns = self.recovered_ns.max(written_ns);
        }
        self.changed_checkpoints();
    }
}
