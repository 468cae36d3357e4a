//! A file has another content: it was truncated, or written anew. What it had is read from a copy, if
//! there is one; so is what came and went in it while it had no turn, because no node answered.

use super::absent::absent_key;
use super::between::{self, Between, Truncated};
use super::gap::Gap;
use super::recover::Vanished;
use super::step::Hand;
use super::table::{Generation, Key, Outbox};
use super::{Done, Shipper};
use crate::checkpoint::Checkpoint;
use crate::identity::Fingerprint;

/// Copies of a file that has no turn are looked for that often at most, nanoseconds: some programs write
/// a file anew all the time.
pub(super) const LOOK_PERIOD_NS: i64 = 1_000_000_000;

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
        let gap = file.gap(file.verified, self.context.clock.now());
        let old = file.generation.is_kept().then(|| absent_key(&file.checkpoint));
        if old.is_some() {
            self.table.shelve(key);
        }
        let Some(file) = self.table.get_mut(key) else { return };
        file.checkpoint = new_generation(file.checkpoint.clone());
        file.verified = 0;
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
        self.wake(key);
        match old {
            // A copy of it may have been compressed, or it had gone and left its inode to this one.
            Some(key) => self.judge(vec![Vanished { key, gap, tries: 0, overwritten: true }]),
            None => gap.into_iter().for_each(|gap| self.lost(gap)),
        }
    }

    /// A file was written to and has so many bytes. When it has fewer than before, its next turn
    /// tells what became of it; when it has fewer once more and that turn has not come, nobody has
    /// seen what stood there in between.
    pub(super) fn heard_of(&mut self, key: Key, size: u64) {
        let now = self.context.clock.now();
        let Some(file) = self.table.get_mut(key) else { return };
        let bytes = std::mem::replace(&mut file.heard_size, size);
        if size >= bytes {
            return;
        }
        let since = *file.shrunk_at.get_or_insert(now);
        if now.0.saturating_sub(since.0) < LOOK_PERIOD_NS {
            return;
        }
        file.shrunk_at = Some(now);
        if !file.generation.is_kept() || !file.present || !self.patterns.matches(&file.path) {
            return;
        }
        let truncated = Truncated {
            path: file.path.clone(),
            bytes,
            // That is a period ago: its copies are newer for sure, and those of what came before are not.
            since_ns: since.0,
            before: file.checkpoint.clone(),
        };
        self.look_for_copies(truncated);
    }

    fn look_for_copies(&mut self, truncated: Truncated) {
        let known = self.known_of(&truncated.before.source);
        let (patterns, now) = (self.patterns.clone(), self.context.clock.now());
        self.looks += 1;
        self.tasks.spawn(async move {
            let look = move || between::copies(&truncated, &known, &patterns, now);
            Done::Copies(tokio::task::spawn_blocking(look).await.unwrap_or_default())
        });
    }

    /// Copies are read before what stands in the file now, and kept open until then: rotation may
    /// delete them meanwhile.
    pub(super) fn copies_found(&mut self, between: Between) {
        self.looks -= 1;
        let (copies, now) = (between.begun(), self.context.clock.now());
        self.take_between(between);
        let mut packed = Vec::new();
        for copy in copies {
            if let Some(key) = self.table.by_id(copy.id) {
                self.open(key);
            } else {
                let gap = Gap::of_absent(&copy, true, now);
                packed.push(Vanished { key: absent_key(&copy), gap, tries: 0, overwritten: false });
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
        known.filter(|known| known.source == source).cloned().collect()
    }
}

pub(super) fn new_generation(of: Checkpoint) -> Checkpoint {
    let fingerprint = Fingerprint::default();
    let producer = platform::random::u64();
    Checkpoint { producer, fingerprint, offset: 0, sent: None, size: 0, ..of }
}
