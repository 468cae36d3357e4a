//! Checkpoints go to disk: soon after they moved, seldom enough to cost nothing.

use std::time::Duration;

use super::table::{Generation, Kept, Key, Tracked};
use super::{Done, Shipper};
use crate::checkpoint;
use crate::config::Until;

/// Checkpoints are saved that often, less often when there are many.
const SAVE_PERIOD: Duration = Duration::from_secs(1);
/// Files for which a save period is added.
const SAVE_FILES: usize = 2_000;
/// Files that grew are gathered that long before a save, for each of so many files.
const GATHER_PERIOD: Duration = Duration::from_millis(20);
/// A failed save is tried again after that.
const SAVE_RETRY: Duration = Duration::from_secs(5);

impl Shipper {
    pub(super) fn changed_checkpoints(&mut self) {
        if !self.unsaved {
            self.unsaved = true;
            let periods = u32::try_from(1 + self.table.len() / SAVE_FILES).unwrap_or(u32::MAX);
            let period = SAVE_PERIOD.saturating_mul(periods);
            self.schedule.save_at(self.context.clock.elapsed() + period);
        }
    }

    /// A file waits for a save. One that only grew waits for others where a save is dear.
    pub(super) fn save_soon(&mut self, key: Key) {
        let file = self.table.get(key);
        let grew = file.is_some_and(|file| file.generation == Generation::Outgrown);
        let lots = u32::try_from(self.table.len() / SAVE_FILES).unwrap_or(u32::MAX);
        let delay = if grew { GATHER_PERIOD.saturating_mul(lots) } else { Duration::ZERO };
        self.schedule.save_at(self.context.clock.elapsed() + delay);
    }

    pub(super) fn save(&mut self) {
        let (checkpoints, fresh) = self.table.snapshot(self.context.clock.now());
        let folder = self.store.folder().to_owned();
        self.saving = true;
        self.unsaved = false;
        self.schedule.saving();
        self.tasks.spawn(async move {
            let saved =
                tokio::task::spawn_blocking(move || checkpoint::save(&folder, &checkpoints)).await;
            let result = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            Done::Save { fresh, result }
        });
    }

    pub(super) fn saved(&mut self, fresh: &[Kept], result: std::io::Result<()>) {
        self.saving = false;
        if let Err(error) = result {
            let folder = self.store.folder().display();
            let why = format!("cannot save checkpoints in {folder}: {error}; new files wait");
            tracing::warn!("{why}");
            if self.context.config.until == Until::Done {
                self.unread.push(why.clone());
            }
            self.context.board.checkpoint(Some(why));
            self.unsaved = true;
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
