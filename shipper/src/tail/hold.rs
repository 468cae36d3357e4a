//! Deleted files that are not read to their end are held open, for their bytes are nowhere else; but
//! not for ever: a target that stays dead must not fill the disk.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::recover::Vanished;
use super::table::Key;
use super::{Shipper, WALK_DELAY, absent};
use crate::discover::modified_ns;

/// Looks at a file that is held are so far apart at least.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

impl Shipper {
    /// Its path names it no more.
    pub(super) fn gone(&mut self, key: Key) {
        let now = self.context.clock.elapsed();
        let Some(file) = self.table.get_mut(key) else { return };
        file.present = false;
        if file.gone_at.is_none() {
            file.gone_at = Some(now);
            self.schedule.hold(key, now.saturating_add(self.context.config.deleted_hold));
            self.look_back(key);
        }
    }

    /// Lets go what was held for long enough.
    pub(super) fn let_go_overdue(&mut self, now: Duration) {
        for key in self.schedule.holds_due(now) {
            self.let_go_if_overdue(key);
        }
    }

    pub(super) fn let_go_if_overdue(&mut self, key: Key) {
        let (now, hold) = (self.context.clock.elapsed(), self.context.config.deleted_hold);
        let Some(file) = self.table.get_mut(key) else { return };
        let Some(gone_at) = file.gone_at else { return };
        let due = gone_at.saturating_add(hold);
        if due > now {
            self.schedule.hold(key, due);
            return;
        }
        let again = now.saturating_add(hold.max(LOOK_PAUSE));
        let Some(hand) = &file.hand else {
            // Its turn ends, and it comes here again.
            file.stop.iter().for_each(|stop| stop.trigger());
            self.schedule.hold(key, again);
            return;
        };
        let Some(Ok(metadata)) = hand.file.as_ref().map(std::fs::File::metadata) else { return };
        if metadata.nlink() > 0 {
            // It is only moved: its bytes are not kept by us.
            self.schedule.hold(key, again);
            return;
        }
        let size = metadata.len().max(file.verified);
        self.table.measure(key, size, modified_ns(&metadata));
        self.give_up(key, size);
    }

    /// What is not read of it is lost, unless it was compressed before it was deleted.
    fn give_up(&mut self, key: Key, size: u64) {
        let held_s = self.context.config.deleted_hold.as_secs();
        let Some(file) = self.table.get(key) else { return };
        let gap = file.gap(size, self.context.clock.now()).map(|mut gap| {
            gap.sent_to = file.sent_to();
            gap.why = Some(format!(
                "were let go unread: the file had been deleted for {held_s} seconds (deleted_hold_s)"
            ));
            gap
        });
        tracing::warn!(file = %file.path.display(), held_s, "deleted, not read to its end, let go");
        match (file.generation.is_kept(), gap) {
            (true, gap) => {
                let key = absent::absent_key(&file.checkpoint);
                self.vanished(Vanished { overwritten: true, ..Vanished::of(key, gap) });
            }
            (false, Some(gap)) => self.lost(gap),
            (false, None) => {}
        }
        self.let_go(key, false);
        self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
    }
}
