//! Turns begin: a few at once, for each may wait long for a node. First looks are short and do not
//! wait for them: what a file is known by is on disk also while nothing gets through, so that a
//! restart finds it again, wherever rotation has put it.

use platform::shutdown::Shutdown;

use super::step::{self, Turn};
use super::table::Key;
use super::{Done, Shipper, TURNS_MAX};

/// Files held open that could be opened again by their path; fewer where the system lets a
/// process have few.
const OPEN_FILES_MAX: usize = 200;
/// Descriptors left for connections, the state, the watch.
const OPEN_OTHERS: usize = 64;

/// Files that are looked at at once.
const LOOKS_MAX: usize = 2;

impl Shipper {
    /// Begins as many turns and looks as may be.
    pub(super) fn begin(&mut self) {
        while self.looks < LOOKS_MAX
            && let Some(key) = self.schedule.next_look()
        {
            match self.table.get(key) {
                Some(file) if file.wants_look() => self.start_look(key),
                Some(_) => self.schedule.push(key),
                None => {}
            }
        }
        while self.turns < TURNS_MAX
            && let Some(key) = self.schedule.next()
        {
            self.start_turn(key);
        }
    }

    fn start_look(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        file.queued = false;
        if !file.binary && !file.generation.awaits_save() && self.take(key, true) {
            self.looks += 1;
        }
    }

    fn start_turn(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        file.queued = false;
        let held = self.held.contains(&file.checkpoint.source);
        let ready = !file.waits && !file.binary && !held && !file.generation.awaits_save();
        if ready && self.take(key, false) {
            self.turns += 1;
        }
    }

    /// Whether nobody else has the file just now.
    fn take(&mut self, key: Key, look: bool) -> bool {
        let Some(file) = self.table.get_mut(key) else { return false };
        let Some(hand) = file.hand.take() else {
            file.changed = true;
            return false;
        };
        file.changed = false;
        let stop = file.stop.insert(Shutdown::default()).clone();
        if hand.file.is_none() {
            self.open_files += 1;
        }
        let turn = Turn {
            key,
            look,
            path: file.path.clone(),
            recipe: file.recipe.clone(),
            verified: file.verified,
            sent: file.sent.clone(),
            checkpoint: file.checkpoint.clone(),
            generation: file.generation,
            head_kept: file.head_kept,
            hand,
            stop,
        };
        let context = self.context.clone();
        self.tasks.spawn(async move { Done::Turn(Box::new(step::take(context, turn).await)) });
        true
    }
}

/// As many as the system lets us, a quarter of them at least.
pub(super) fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    limit.map_or(OPEN_FILES_MAX, |limit| {
        limit.saturating_sub(OPEN_OTHERS).max(limit / 4).min(OPEN_FILES_MAX)
    })
}
