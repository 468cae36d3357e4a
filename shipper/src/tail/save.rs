//! Checkpoints go to disk: soon after they moved, seldom enough to cost nothing.

use std::collections::HashSet;
use std::time::Duration;

use model::time::Timestamp;

use super::table::{Generation, Kept, Key, Tracked};
use super::{Done, Shipper, between};
use crate::config::Until;

/// Checkpoints that moved are appended that often.
const SAVE_PERIOD: Duration = Duration::from_secs(1);
/// A whole save is no sooner after the one before than this, for each of so many files.
const SAVE_FILES: usize = 2_000;
/// A failed save is tried again after that.
const SAVE_RETRY: Duration = Duration::from_secs(5);

/// What is to be saved.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// Files whose checkpoints moved, or wait for a save.
    moved: HashSet<Key>,
    /// Files are followed no more, or forgotten: only a whole save says so.
    whole: bool,
    /// No whole save before that.
    whole_at: Duration,
}

impl Unsaved {
    /// Whether there is anything.
    pub(super) fn is_any(&self) -> bool {
        self.whole || !self.moved.is_empty()
    }
}

impl Shipper {
    /// A checkpoint moved.
    pub(super) fn moved(&mut self, key: Key) {
        if self.unsaved.moved.is_empty() {
            self.schedule.save_at(self.context.clock.elapsed() + SAVE_PERIOD);
        }
        self.unsaved.moved.insert(key);
    }

    /// Which checkpoints there are changed.
    pub(super) fn changed_checkpoints(&mut self) {
        if !std::mem::replace(&mut self.unsaved.whole, true) {
            let soon = self.context.clock.elapsed() + SAVE_PERIOD;
            self.schedule.save_at(soon.max(self.unsaved.whole_at));
        }
    }

    /// A file waits for a save.
    pub(super) fn save_soon(&mut self, key: Key) {
        self.unsaved.moved.insert(key);
        self.schedule.save_at(self.context.clock.elapsed());
    }

    /// Saves what moved, or all there is when that is due.
    pub(super) fn save(&mut self) {
        let (now, elapsed) = (self.known_until(), self.context.clock.elapsed());
        let store = self.context.store.clone();
        let whole = self.unsaved.whole && elapsed >= self.unsaved.whole_at || store.wants_whole();
        self.saving = true;
        self.schedule.saving();
        let moved = std::mem::take(&mut self.unsaved.moved);
        if !whole {
            let (checkpoints, fresh) = self.table.snapshot_of(moved, now);
            let durable = !fresh.is_empty();
            self.saved_by(fresh, move || match durable {
                true => store.append_durably(&checkpoints),
                false => store.append(&checkpoints),
            });
            if self.unsaved.whole {
                self.schedule.save_at(self.unsaved.whole_at);
            }
            return;
        }
        // First: what is sent from now on is in the next journal, if not in what we save.
        let number = store.turn_over();
        self.say_alive(now);
        let (checkpoints, fresh) = self.table.snapshot(now);
        self.unsaved.whole = false;
        let periods = u32::try_from(1 + self.table.len() / SAVE_FILES).unwrap_or(u32::MAX);
        self.unsaved.whole_at = elapsed + SAVE_PERIOD.saturating_mul(periods);
        self.saved_by(fresh, move || store.replace(number, &checkpoints));
    }

    /// We are there, once the first walk has found what there was before us.
    pub(super) fn say_alive(&self, now: Timestamp) {
        if !self.first_walk {
            // What was read a moment after it was written is no news to the next start.
            let read_ns = self.recovered_ns.saturating_add(between::CLOCK_GRAIN_NS);
            self.context.store.alive(Timestamp(now.0.max(read_ns)));
        }
    }

    fn saved_by(
        &mut self,
        fresh: Vec<Kept>,
        save: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            let saved = tokio::task::spawn_blocking(save).await;
            let result = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            Done::Save { fresh, result }
        });
    }

    pub(super) fn saved(&mut self, fresh: &[Kept], result: std::io::Result<()>) {
        self.saving = false;
        if let Err(error) = result {
            let folder = self.context.store.folder().display();
            let why = format!("cannot save checkpoints in {folder}: {error}; new files wait");
            tracing::warn!("{why}");
            if self.context.config.until == Until::Done {
                self.unread.push(why.clone());
            }
            self.context.board.checkpoint(Some(why));
            self.unsaved.whole = true;
            self.unsaved.whole_at = Duration::ZERO;
            // One that was saved once goes on: where nothing can be written, little is known anyway.
            for kept in fresh {
                let outgrown = |file: &&mut Tracked| file.generation == Generation::Outgrown;
                if self.table.get_mut(kept.key).filter(outgrown).is_some_and(|f| f.kept(*kept)) {
                    self.wake(kept.key);
                }
            }
            self.schedule.save_again(self.context.clock.elapsed() + SAVE_RETRY);
            return;
        }
        self.context.board.checkpoint(None);
        for kept in fresh {
            if self.table.get_mut(kept.key).is_some_and(|file| file.kept(*kept)) {
                self.wake(kept.key);
            }
        }
    }
}
