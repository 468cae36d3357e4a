//! What is due when: turns in the order they were asked for, second looks, walks and saves.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::table::Key;

/// The longest sleep; everything due is known before, so any length would do.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Times are those of the clock's `elapsed`.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    ready: VecDeque<Key>,
    looks: VecDeque<Key>,
    later: BinaryHeap<Reverse<(Duration, Key)>>,
    holds: BinaryHeap<Reverse<(Duration, Key)>>,
    walk: Option<Duration>,
    save: Option<Duration>,
    /// No save before that, however urgent: the last one failed.
    save_blocked: Duration,
}

impl Schedule {
    /// A file wants a turn.
    pub(super) fn push(&mut self, key: Key) {
        self.ready.push_back(key);
    }

    /// A file is to be looked at.
    pub(super) fn push_look(&mut self, key: Key) {
        self.looks.push_back(key);
    }

    /// The next one of those.
    pub(super) fn next_look(&mut self) -> Option<Key> {
        self.looks.pop_front()
    }

    /// The file that waited longest.
    pub(super) fn next(&mut self) -> Option<Key> {
        self.ready.pop_front()
    }

    /// How many files wait for a turn.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Nobody waits for a turn.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.looks.is_empty()
    }

    /// A file is looked at again at that time.
    pub(super) fn later(&mut self, key: Key, at: Duration) {
        self.later.push(Reverse((at, key)));
    }

    /// Files to be looked at again by now.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Key> {
        due(&mut self.later, now)
    }

    /// A file that is gone is held until then.
    pub(super) fn hold(&mut self, key: Key, until: Duration) {
        self.holds.push(Reverse((until, key)));
    }

    /// Files that were held for long enough.
    pub(super) fn holds_due(&mut self, now: Duration) -> Vec<Key> {
        due(&mut self.holds, now)
    }

    /// A walk is wanted by that time, or before when it already was.
    pub(super) fn walk_at(&mut self, at: Duration) {
        self.walk = Some(self.walk.map_or(at, |walk| walk.min(at)));
    }

    /// A walk begins; the next one is due then.
    pub(super) fn walked(&mut self, next: Duration) {
        self.walk = Some(next);
    }

    /// Whether a walk is due.
    pub(super) fn walk_due(&self, now: Duration) -> bool {
        self.walk.is_some_and(|at| at <= now)
    }

    /// A save is wanted by that time, or before when it already was.
    pub(super) fn save_at(&mut self, at: Duration) {
        self.save = Some(self.save.map_or(at, |save| save.min(at)));
    }

    /// A save begins.
    pub(super) fn saving(&mut self) {
        self.save = None;
    }

    /// A save failed; the next one is tried then.
    pub(super) fn save_again(&mut self, at: Duration) {
        self.save = Some(at);
        self.save_blocked = at;
    }

    /// Whether a save is due.
    pub(super) fn save_due(&self, now: Duration) -> bool {
        self.save.is_some_and(|at| at.max(self.save_blocked) <= now)
    }

    /// How long nothing is due. A walk or save that is due but under way asks for no wake-up:
    /// its end is one.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        let save = self.save.map(|at| at.max(self.save_blocked));
        let first = |heap: &BinaryHeap<Reverse<(Duration, Key)>>| Some(heap.peek()?.0.0);
        [save, first(&self.later), first(&self.holds), self.walk]
            .into_iter()
            .flatten()
            .filter_map(|at| at.checked_sub(now).filter(|left| !left.is_zero()))
            .min()
            .unwrap_or(PAUSE_MAX)
            .min(PAUSE_MAX)
    }
}

fn due(heap: &mut BinaryHeap<Reverse<(Duration, Key)>>, now: Duration) -> Vec<Key> {
    let mut due = Vec::new();
    while let Some(Reverse((at, key))) = heap.peek().copied()
        && at <= now
    {
        heap.pop();
        due.push(key);
    }
    due
}
