//! Turns begin: a few at once, for each may wait long for a node. First looks are short and do not
//! wait for them: what a file is known by is on disk also while nothing gets through, so that a
//! restart finds it again, wherever rotation has put it.

use std::fs::File;

use platform::shutdown::Shutdown;

use super::step::{self, Turn};
use super::table::Key;
use super::{Done, Shipper, TURNS_MAX};
use crate::config::{Config, Until};
use crate::descriptors;
use crate::discover::Seen;
use crate::identity::FileId;

/// Files held open that are read and could be opened again by their path; fewer where the system lets
/// a process have few.
const OPEN_READ_MAX: usize = 200;
/// Files with unread bytes that are held open, and rotated ones beside them, however many descriptors
/// there are: the kernel keeps a kilobyte or two for each.
const OPEN_UNREAD_MAX: usize = 16_384;
/// Descriptors left for connections, the state, the watch.
const OPEN_OTHERS: usize = 64;
/// Rotated files are held open before their turn also where descriptors are few.
const OPEN_AHEAD_MIN: usize = 16;

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
        // What it is told from others by is found out when they are looked at.
        let held = !file.generation.is_kept() && self.passed.holds(&file.checkpoint.source);
        let idle = file.binary || held;
        if !idle && !file.generation.awaits_save() && self.take(key, true) {
            self.looks += 1;
        }
    }

    fn start_turn(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        file.queued = false;
        let source = &file.checkpoint.source;
        let held = self.held.contains(source) || self.passed.holds(source);
        let held = held && !self.passed.is_ahead(key);
        // It is woken when its pause is over, whatever is written to it meanwhile.
        let paused = file.paused_until.is_some_and(|until| self.context.clock.elapsed() < until);
        let idle = file.waits || file.binary || held || paused;
        let ready = !idle && !file.generation.awaits_save();
        if ready && !self.gathers(key) && self.take(key, false) {
            self.turns += 1;
        }
    }

    /// Whether the file's turn is put off: it has less than a batch, and that for less than
    /// `batch_age`.
    fn gathers(&mut self, key: Key) -> bool {
        let (now, age) = (self.context.clock.elapsed(), self.context.config.batch_age);
        let Some(file) = self.table.get_mut(key) else { return false };
        if age.is_zero() || self.context.config.until == Until::Done || !file.may_gather() {
            return false;
        }
        if let Some(since) = file.gathers_since {
            return now < since.saturating_add(age);
        }
        file.gathers_since = Some(now);
        self.schedule.later(key, now.saturating_add(age));
        true
    }

    /// A file with unread bytes that waits for its turn behind others is opened before it: it may be
    /// deleted meanwhile, and nothing else leads to them then. What is wrong with it its turn tells.
    pub(super) fn open_early(&mut self, key: Key) {
        if self.schedule.ready_count() + self.turns > TURNS_MAX {
            self.open(key);
        }
    }

    /// A file with unread bytes is opened, if descriptors are left for it.
    pub(super) fn open(&mut self, key: Key) {
        if self.open_files >= self.open_max.unread {
            return;
        }
        let Some(file) = self.table.get_mut(key).filter(|file| file.present && file.lags()) else {
            return;
        };
        let Some(hand) = file.hand.as_mut().filter(|hand| hand.file.is_none()) else { return };
        let id = file.checkpoint.id;
        if Seen::surely_at(&file.path, true).is_none_or(|there| there.id != id) {
            return;
        }
        let is_it = |file: &File| file.metadata().is_ok_and(|there| FileId::of(&there) == id);
        hand.file = File::open(&file.path).ok().filter(is_it);
        self.open_files += usize::from(hand.file.is_some());
    }

    /// Whether nobody else has the file just now.
    fn take(&mut self, key: Key, look: bool) -> bool {
        let Some(file) = self.table.get_mut(key) else { return false };
        let Some(hand) = file.hand.take() else {
            file.changed = true;
            return false;
        };
        (file.changed, file.shrunk_at) = (false, None);
        self.passed.turn_begins(key);
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

/// How many files may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenMax {
    /// Up to here those that are read stay open.
    read: usize,
    /// Up to here those with unread bytes do: once they are deleted, nothing else leads to these.
    pub(super) unread: usize,
    /// Compressed files and copies, beside those, that are found and wait to be read.
    pub(super) ahead: usize,
}

impl OpenMax {
    /// As many as the system lets this process have.
    pub(super) fn of_process(config: &Config) -> Self {
        let listeners = config.feeds.iter().filter(|feed| feed.is_connected()).count();
        Self::of(descriptors::limit(), listeners)
    }

    /// Of so many descriptors: at least a quarter, and of what others leave (senders to so many
    /// listeners, half of all at most) three quarters for files with unread bytes.
    fn of(limit: usize, listeners: usize) -> Self {
        let senders = listeners.saturating_mul(descriptors::connections_max(limit)).min(limit / 2);
        let free = limit.saturating_sub(OPEN_OTHERS + senders);
        let read = free.max(limit / 4).min(OPEN_READ_MAX);
        let unread = read.max((free / 4 * 3).min(OPEN_UNREAD_MAX));
        let ahead = free.saturating_sub(unread).clamp(OPEN_AHEAD_MIN, OPEN_UNREAD_MAX);
        Self { read, unread, ahead }
    }

    /// The bound for a file that is acknowledged so far, of so many bytes.
    pub(super) fn for_file(self, acknowledged: u64, bytes: u64) -> usize {
        if bytes > acknowledged { self.unread } else { self.read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, listeners: usize, [read, unread, ahead]: [usize; 3]) {
        assert_eq!(OpenMax::of(limit, listeners), OpenMax { read, unread, ahead });
    }

    #[test]
    fn descriptors_are_kept_for_what_nobody_could_open_again() {
        check(1024, 0, [200, 720, 240]);
        check(4096, 0, [200, 3024, 1008]);
        check(264, 0, [200, 200, 16]);
        check(100, 0, [36, 36, 16]);
        check(20, 0, [5, 5, 16]);
        check(1024, 1, [200, 528, 176]);
        check(1024, 9, [200, 336, 112]);
        check(1 << 20, 0, [200, OPEN_UNREAD_MAX, OPEN_UNREAD_MAX]);
    }
}
