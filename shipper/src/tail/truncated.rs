//! A file has another content: it was truncated, or written anew. What it had is read from a copy, if
//! there is one; so is what came and went in it while it had no turn, because no node answered.

use std::collections::VecDeque;
use std::time::Duration;

use super::absent::absent_key;
use super::between::{Between, CLOCK_GRAIN_NS};
use super::copies::{self, Truncated};
use super::gap::Gap;
use super::recover::Vanished;
use super::step::Hand;
use super::table::{Generation, Key, Outbox};
use super::{Done, Shipper};
use crate::checkpoint::Checkpoint;
use crate::doubt::asked;
use crate::identity::Fingerprint;
use crate::rotation::unrotated;

/// Copies of a file that has no turn are looked for that often at most: some programs write a file anew
/// all the time. What came and went meanwhile is looked for together.
pub(super) const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// What copies are looked for of.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// At most one a file.
    waiting: VecDeque<Truncated>,
    /// One is looked for just now.
    looking: bool,
}

impl Copied {
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }
}

impl Shipper {
    /// The file has another content now: a new generation, read from its beginning.
    pub(super) fn replaced(&mut self, key: Key, size: u64) {
        let Some(file) = self.table.get_mut(key) else { return };
        if !self.patterns.matches(&file.path) {
            // Under a name nobody follows stands something else: what had been rotated there is
            // gone, or was packed in its place.
            self.missing(key);
            return;
        }
        tracing::info!(file = %file.path.display(), offset = file.checkpoint.offset, size,
            "truncated or written anew: reading from the beginning");
        // Of what was heard of it too, though nobody read it.
        let seen_to = file.verified.max(file.shrunk_from.unwrap_or(0));
        let gap = file.gap(seen_to, self.context.clock.now());
        let old = file.generation.is_kept().then(|| absent_key(&file.checkpoint));
        if old.is_some() {
            self.table.shelve(key);
        }
        let Some(file) = self.table.get_mut(key) else { return };
        file.checkpoint = new_generation(file.checkpoint.clone());
        (file.verified, file.shrunk_from) = (0, None);
        // What is heard late of the content before is none of this one.
        file.heard_size = size;
        file.head_kept = 0;
        file.generation = Generation::Unseen { start: 0, look: false };
        file.sent = Outbox::default();
        let open = file.hand.take().and_then(|hand| hand.file);
        let mut hand = Hand::at(0);
        hand.file = open;
        file.hand = Some(hand);
        self.table.measure(key, size, 0);
        let before = self.table.move_behind(key);
        self.release_next(before);
        self.look_for_missed(key);
        self.look_back(key);
        self.wake(key);
        match old {
            // A copy of it may have been compressed, or it had gone and left its inode to this one.
            Some(key) => self.judge(vec![Vanished { overwritten: true, ..Vanished::of(key, gap) }]),
            None => gap.into_iter().for_each(|gap| self.lost(gap)),
        }
    }

    /// A file was written to and has so many bytes. When it has fewer than before, its next turn
    /// tells what became of it; when it has fewer once more and that turn has not come, nobody has
    /// seen what stood there in between, and copies of that are looked for.
    pub(super) fn heard_of(&mut self, key: Key, size: u64) {
        let now = self.context.clock.now();
        let Some(file) = self.table.get_mut(key) else { return };
        let bytes = std::mem::replace(&mut file.heard_size, size);
        if size >= bytes {
            return;
        }
        if matches!(file.generation, Generation::Unseen { .. }) {
            // Nothing tells what it had, but a copy of that may be there.
            file.shrunk_at.get_or_insert(now);
            self.look_back(key);
            return;
        }
        file.shrunk_from.get_or_insert(bytes);
        let Some(since) = file.shrunk_at else {
            file.shrunk_at = Some(now);
            return;
        };
        if !file.generation.is_kept() || !file.present || !self.patterns.matches(&file.path) {
            return;
        }
        let missed = file.missed.get_or_insert_with(|| {
            Box::new(Truncated {
                path: file.path.clone(),
                bytes: 0,
                times: 0,
                since_ns: since.0.saturating_sub(CLOCK_GRAIN_NS),
                before: file.checkpoint.clone(),
            })
        });
        missed.bytes += bytes;
        missed.times += 1;
        if missed.times == 1 {
            self.look_when_due(key);
        }
    }

    /// Looks for copies of what a file had without a turn, once that began a period ago: they are newer
    /// for sure, and copies of what came before are not.
    pub(super) fn look_when_due(&mut self, key: Key) {
        let now = self.context.clock.now();
        let missed = self.table.get(key).and_then(|file| file.missed.as_ref());
        let Some(since_ns) = missed.map(|missed| missed.since_ns) else { return };
        // A clock that was set back is no reason to wait.
        let age = u64::try_from(now.0.saturating_sub(since_ns)).unwrap_or(u64::MAX);
        let wait = LOOK_PERIOD.saturating_sub(Duration::from_nanos(age));
        match wait.is_zero() {
            true => self.look_for_missed(key),
            false => self.schedule.later(key, self.context.clock.elapsed() + wait),
        }
    }

    /// The same at once: what stands in the file now is read next.
    fn look_for_missed(&mut self, key: Key) {
        let now = self.context.clock.now();
        let Some(file) = self.table.get_mut(key) else { return };
        file.shrunk_at = file.shrunk_at.map(|_| now);
        if let Some(missed) = file.missed.take() {
            self.look_for_copies(*missed);
        }
    }

    /// We stop: nobody looks for copies any more.
    pub(super) fn give_up_missed(&mut self) {
        let now = self.context.clock.now();
        for key in self.table.keys() {
            let missed = self.table.get_mut(key).and_then(|file| file.missed.take());
            if let Some(missed) = missed {
                let why = "were truncated before they were read, and the shipper was stopped before it \
                           looked for a copy of them";
                self.lost(Gap { why: Some(why.to_owned()), ..missed.uncopied(0, now) });
            }
        }
    }

    /// Copies of it are looked for, behind those of others: what one look finds is known to the next.
    pub(super) fn look_for_copies(&mut self, truncated: Truncated) {
        self.looks += 1;
        self.copied.waiting.push_back(truncated);
        self.look_for_next_copies();
    }

    pub(super) fn look_for_next_copies(&mut self) {
        // What one look finds the next must know.
        if self.copied.looking || self.passed.is_looking() {
            return;
        }
        let Some(truncated) = self.copied.waiting.pop_front() else { return };
        self.copied.looking = true;
        let known = self.known_of(&truncated.before.source);
        let (patterns, context) = (self.patterns.clone(), self.context.clone());
        let now = context.clock.now();
        self.tasks.spawn(async move {
            let look = move || copies::copies(&truncated, &known, &patterns, now);
            Done::Copies(asked(&context.clock, &context.shutdown, look).await.0)
        });
    }

    /// Copies are read before what stands in the file now, and kept open until then: rotation may
    /// delete them meanwhile.
    pub(super) fn copies_found(&mut self, between: Between) {
        self.looks -= 1;
        self.copied.looking = false;
        self.passed.took(&between.taken);
        self.read_first(between);
        self.look_for_next_copies();
    }

    /// What was found is read first, and its files are kept open until then.
    pub(super) fn read_first(&mut self, between: Between) {
        let (copies, now) = (between.files.clone(), self.context.clock.now());
        self.take_between(between);
        let mut packed = Vec::new();
        for copy in copies {
            if let Some(key) = self.table.by_id(copy.id) {
                self.open(key);
            } else {
                let gap = Gap::of_absent(&copy, true, now);
                packed.push(Vanished::of(absent_key(&copy), gap));
            }
        }
        // Also when there are none: the stream is held until they were looked for.
        self.judge(packed);
    }

    /// What is known of the files of a stream, whether they are found or not.
    fn known_of(&self, source: &str) -> Vec<Checkpoint> {
        let followed = self.table.keys().into_iter().filter_map(|key| self.table.get(key));
        let followed = followed.filter(|file| file.generation.is_kept());
        let absent = self.table.absent.all().map(|(_, known)| known);
        let known = followed.map(|file| &file.checkpoint).chain(absent);
        known
            .filter(|known| known.source == source || unrotated(&known.source) == source)
            .cloned()
            .collect()
    }
}

pub(super) fn new_generation(of: Checkpoint) -> Checkpoint {
    let fingerprint = Fingerprint::default();
    let producer = platform::random::u64();
    Checkpoint { producer, fingerprint, offset: 0, sent: None, size: 0, ..of }
}
