//! Cutting a replica's log up to what is in safe splits: again and again, and without a look at the disk
//! where nothing can be cut that could not be the last time.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use cluster::log::LogError;
use cluster::raft::types::LogId;
use model::partition::Offset;

use super::fold::PartitionFold;
use super::{Replica, ReplicaError};
use crate::partition::admit;

/// What was looked for in vain: the offset below which may be cut, and where the newest segment begins.
#[derive(Debug, Default)]
pub(super) struct Uncut(Mutex<Option<(Offset, LogId)>>);

impl Uncut {
    /// Whether there is nothing to cut, as was found before.
    fn is_known(&self, below: Offset, start: LogId) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Some((below, start))
    }

    /// Nothing was found. Segments of which not all was applied then are looked at again.
    fn note(&self, below: Offset, start: LogId, applied: Option<LogId>) {
        let known = (applied >= Some(start)).then_some((below, start));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Replica {
    /// Cuts the log up to what is in safe splits. Every replica does it by itself.
    ///
    /// # Errors
    /// [`ReplicaError`]; it is tried again.
    pub async fn cut(&self, below: Offset) -> Result<(), ReplicaError> {
        let known = self.0.trim_below.fetch_max(below.0, Ordering::Relaxed);
        let below = Offset(below.0.max(known));
        self.seal_for_room(below).await?;
        self.show_fill();
        // With one segment there is nothing that could go.
        let Some(start) = self.0.store.newest_start() else { return Ok(()) };
        if self.0.uncut.is_known(below, start) {
            return Ok(());
        }
        let applied = self.0.applied.borrow().log_id;
        let passes = move |fold: &PartitionFold| fold.0.next <= below;
        let point = self.0.store.trim(applied, passes).await;
        let Some(point) = point.map_err(|source| self.failed_log(source))? else {
            self.0.uncut.note(below, start, applied);
            return Ok(());
        };
        tracing::debug!(partition = %self.0.partition, ?point.log_id, "the queue is cut");
        *self.0.point.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
        // openraft takes the point for its snapshot, and purges what is before it.
        self.0.group.raft().trigger().snapshot().await.map_err(|error| self.failed(error))
    }

    /// Where nothing is taken for want of room the newest segment is sealed once all of it is in splits:
    /// only whole ones are cut away.
    async fn seal_for_room(&self, below: Offset) -> Result<(), ReplicaError> {
        let (next, last) = self.0.store.tail(|fold, last| (fold.0.next, last));
        let is_through = next <= below && self.0.applied.borrow().log_id >= last;
        let has_room = || admit(self.0.store.bytes(), &self.0.folder, &self.0.settings).is_ok();
        if !is_through || has_room() {
            return Ok(());
        }
        self.0.store.seal().await.map_err(|source| self.failed_log(source))
    }

    fn failed_log(&self, source: LogError) -> ReplicaError {
        ReplicaError::Log { partition: self.0.partition, source }
    }
}

#[cfg(test)]
mod tests {
    use cluster::raft::types::log_id;

    use super::*;

    #[test]
    fn nothing_is_looked_for_again_until_more_may_be_cut() {
        let (uncut, start) = (Uncut::default(), log_id(1, 1, 70));
        assert!(!uncut.is_known(Offset(10), start));
        uncut.note(Offset(10), start, Some(log_id(1, 1, 70)));
        assert!(uncut.is_known(Offset(10), start));
        // More is in splits; a segment was begun; the tail was written anew by another leader.
        assert!(!uncut.is_known(Offset(11), start));
        assert!(!uncut.is_known(Offset(10), log_id(1, 1, 90)));
        assert!(!uncut.is_known(Offset(10), log_id(2, 3, 70)));
        // Who is behind may cut more when it has applied more.
        for applied in [None, Some(log_id(1, 1, 69))] {
            uncut.note(Offset(10), start, applied);
            assert!(!uncut.is_known(Offset(10), start));
        }
    }
}
