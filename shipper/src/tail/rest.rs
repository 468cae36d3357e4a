//! A file with nothing more to send: looked at again, handed on to the next of its stream, or let go.

use std::time::Duration;

use super::recover::Vanished;
use super::step::{self, Rest};
use super::table::{Key, Tracked};
use super::{FAILURE_PAUSE, Shipper, WALK_DELAY, absent};
use crate::config::Until;
use crate::discover::Seen;

/// A file without a name is looked at that often.
const NAMELESS_PERIOD: Duration = Duration::from_millis(500);
/// A deleted file is let go after that much rest.
const UNLINKED_HOLD: Duration = Duration::from_secs(5);
/// A file moved out of sight is let go after that much rest.
const MOVED_HOLD: Duration = Duration::from_secs(60);
/// A file whose last record may still grow is looked at that often at most.
const JOIN_PERIOD: Duration = Duration::from_millis(100);

impl Shipper {
    /// A file is read to its end: lets the next one of its stream begin, and looks again when
    /// its last line may count, or when a nameless file is to be let go.
    pub(super) fn rested(&mut self, key: Key, rest: Rest) {
        self.table.measure(key, rest.size, rest.modified_ns);
        self.release(key);
        let now = self.context.clock.elapsed();
        let read_out = |file: &mut Tracked| !std::mem::replace(&mut file.read_out, true);
        if rest.unlinked && self.table.get_mut(key).is_some_and(read_out) {
            self.moved(key);
        }
        let Some(file) = self.table.get(key) else { return };
        let once = self.context.config.until == Until::Done;
        if rest.unlinked || !file.present {
            let hold = if rest.unlinked { UNLINKED_HOLD } else { MOVED_HOLD };
            if rest.partial_bytes == 0 && !rest.joining && (rest.quiet >= hold || once) {
                let known = absent::absent_key(&file.checkpoint);
                self.let_go(key, rest.unlinked);
                // It is read: whatever takes its place, of this one nothing is missing.
                self.table.absent.told(known);
            } else {
                self.schedule.later(key, now + NAMELESS_PERIOD);
            }
        } else if (rest.partial_bytes > 0 || rest.joining) && !once {
            let wanted = match rest.joining {
                true => step::join_timeout(&self.context, &file.recipe),
                false => self.context.config.partial_after,
            };
            let left = wanted.saturating_sub(rest.quiet);
            self.schedule.later(key, now + left.max(JOIN_PERIOD));
        }
    }

    /// The next file of the same stream may begin.
    pub(super) fn release(&mut self, key: Key) {
        let file = self.table.get_mut(key).filter(|file| !file.waits);
        let next = file.and_then(|file| file.next.take());
        self.release_next(next);
    }

    pub(super) fn release_next(&mut self, next: Option<Key>) {
        let mut next = next;
        while let Some(key) = next
            && let Some(file) = self.table.get_mut(key)
        {
            file.waits = false;
            // One that is no text has no turn, and so no end of it.
            next = file.next.take_if(|_| file.binary);
            self.wake(key);
        }
    }

    pub(super) fn let_go(&mut self, key: Key, forgotten: bool) {
        self.passed.forget(key);
        if let Some(file) = self.table.remove(key, forgotten) {
            if file.hand.is_some_and(|hand| hand.file.is_some()) {
                self.open_files = self.open_files.saturating_sub(1);
            }
            if file.last_error.is_some() {
                self.context.board.file(self.table.error());
            }
            self.release_next(file.next);
            if forgotten && file.generation.is_kept() {
                self.passed.was_read(file.checkpoint, self.context.clock.now());
            }
            if let Some(missed) = file.missed {
                self.look_for_copies(*missed);
            }
            self.changed_checkpoints();
        }
    }

    /// The path names it no more. If it is not gone it will be found by its inode.
    pub(super) fn missing(&mut self, key: Key) {
        let Some(file) = self.table.get(key) else { return };
        let (path, absent) = (file.path.clone(), absent::absent_key(&file.checkpoint));
        let seen_to = file.verified.max(file.shrunk_from.unwrap_or(file.size));
        let id = file.checkpoint.id;
        let gap = file.gap(seen_to, self.context.clock.now());
        if file.generation.is_kept() {
            // More than was seen may stand in the file it was packed into.
            self.vanished(Vanished::of(absent, gap));
        } else if let Some(gap) = gap {
            self.gaps.unread.push((id, gap));
            self.look_back_for(key);
        }
        self.let_go(key, false);
        if let Some(seen) = Seen::surely_at(&path, self.patterns.matches(&path)) {
            self.consider(&seen);
        }
        self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
    }

    pub(super) fn binary(&mut self, key: Key) {
        self.release(key);
        let Some(file) = self.table.get_mut(key) else { return };
        tracing::warn!(file = %file.path.display(), "this is no text: not read");
        file.binary = true;
        if let Some(hand) = &mut file.hand
            && hand.file.take().is_some()
        {
            self.open_files = self.open_files.saturating_sub(1);
        }
        let (size, modified_ns) = (file.size, file.modified_ns);
        self.table.measure(key, size, modified_ns);
    }

    /// It is tried again later; the next one of its stream need not wait for that.
    pub(super) fn failed(&mut self, key: Key, why: &str) {
        self.release(key);
        let Some(file) = self.table.get_mut(key) else { return };
        file.last_error = Some(why.to_owned());
        if file.failures == 0 {
            tracing::warn!(why, "cannot ship the file, will try again");
        }
        file.failures = file.failures.saturating_add(1);
        let pause = FAILURE_PAUSE * (1 << file.failures.min(7));
        self.context.board.file(Some(why.to_owned()));
        if self.context.config.until == Until::Done {
            self.unread.push(why.to_owned());
        } else {
            self.schedule.later(key, self.context.clock.elapsed() + pause);
        }
    }
}
