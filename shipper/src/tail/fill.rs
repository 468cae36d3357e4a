//! What is full, for `/metrics`: files, turns, gaps, and places in files that are not found.

use super::absent::COUNT_MAX;
use super::gap::GAPS_MAX;
use super::{Shipper, TURNS_MAX};

/// Batches sent at once beside those of turns: a gap, and one of a compressed file.
const SENDING_OTHERS: usize = 2;

impl Shipper {
    /// Says how full everything is, and how full it may be.
    pub(super) fn tell_fill(&self) {
        let fill = &self.context.metrics.fill;
        for (pair, now, max) in [
            (&fill.open_files, self.open_files, self.open_max.unread),
            (&fill.turns, self.turns, TURNS_MAX),
            (&fill.waiting_gaps, self.gaps.waiting_count(), GAPS_MAX),
            (&fill.absent_files, self.table.absent.len(), COUNT_MAX),
        ] {
            pair.set(now);
            pair.bounded(max);
        }
        fill.ahead_files.bounded(self.open_max.ahead);
        fill.sending_bounded(TURNS_MAX + SENDING_OTHERS);
        let waiting = self.schedule.ready_count();
        fill.waiting_files.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        fill.polling.set(i64::from(!self.watch.is_complete()));
    }
}
