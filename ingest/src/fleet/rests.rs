//! Replicas that failed are left alone for a while, longer each time: opening one reads its log. Where the
//! disk is short they are left until there is room.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use model::partition::PartitionId;

use super::Fleet;
use super::tend::TendError;

/// How long a replica is left that failed; twice as long each time.
const REST_MIN: Duration = Duration::from_millis(500);
/// How long it is left at most. One that worked for so long begins anew.
const REST_MAX: Duration = Duration::from_secs(30);
/// How long one that stopped on a full disk is left before the disk is looked at again.
const ROOM_REST: Duration = Duration::from_secs(10);

/// Replicas that failed, and until when they are left.
#[derive(Debug, Default)]
pub(super) struct Rests(BTreeMap<PartitionId, Rest>);

#[derive(Debug)]
struct Rest {
    why: String,
    pause: Duration,
    until: Duration,
    /// It waits for room on the disk.
    for_room: bool,
}

impl Rests {
    /// One failed. Whether that was not known yet.
    fn failed(&mut self, partition: PartitionId, why: &str, now: Duration) -> bool {
        let known = self.0.get(&partition).filter(|known| now < known.until + REST_MAX);
        let pause = known.map_or(REST_MIN, |known| (known.pause * 2).min(REST_MAX));
        let is_new = known.is_none_or(|known| known.why != why);
        let (why, until, for_room) = (why.to_owned(), now + pause, false);
        self.0.insert(partition, Rest { why, pause, until, for_room });
        is_new
    }

    /// One failed for want of room.
    fn lacks_room(&mut self, partition: PartitionId, why: &str, now: Duration) -> bool {
        let is_new = self.0.get(&partition).is_none_or(|known| !known.for_room);
        let (why, until) = (why.to_owned(), now + ROOM_REST);
        self.0.insert(partition, Rest { why, pause: REST_MIN / 2, until, for_room: true });
        is_new
    }

    /// Why one is left alone now, if it is; `is_short` says whether the disk is.
    fn of(
        &mut self,
        partition: PartitionId,
        now: Duration,
        is_short: impl Fn() -> bool,
    ) -> Option<TendError> {
        let rest = self.0.get_mut(&partition)?;
        if rest.for_room && now >= rest.until && is_short() {
            rest.until = now + ROOM_REST;
        }
        match now < rest.until {
            true if rest.for_room => Some(TendError::NoRoom),
            true => Some(TendError::Rests(rest.why.clone())),
            false => None,
        }
    }

    /// One works: it is as if it had not failed, if it does so for long.
    fn works(&mut self, partition: PartitionId, now: Duration) {
        if self.0.get(&partition).is_some_and(|rest| now >= rest.until + REST_MAX) {
            self.0.remove(&partition);
        }
    }
}

impl Fleet {
    /// A replica stopped, or cannot be opened: it is tried again after a while.
    pub(super) fn let_rest(&self, partition: PartitionId, why: &str) {
        let (now, is_short) = (self.0.parties.clock.elapsed(), self.lacks_room());
        let mut rests = self.0.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match is_short {
            true => rests.lacks_room(partition, why, now),
            false => rests.failed(partition, why, now),
        };
        if is_new {
            tracing::error!(why, %partition, "this replica does not work; it is started again");
        }
    }

    fn lacks_room(&self) -> bool {
        let space = platform::disk::space(&self.0.folder);
        space.is_ok_and(|(free, _)| free < self.0.parties.settings.disk_free_bytes_min)
    }

    /// Whether a replica may be opened.
    ///
    /// # Errors
    /// It is left alone.
    pub(super) fn may_open(&self, partition: PartitionId) -> Result<(), TendError> {
        let now = self.0.parties.clock.elapsed();
        let mut rests = self.0.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.of(partition, now, || self.lacks_room()).map_or(Ok(()), Err)
    }

    /// A replica works.
    pub(super) fn note_work(&self, partition: PartitionId) {
        let now = self.0.parties.clock.elapsed();
        self.0.rests.lock().unwrap_or_else(PoisonError::into_inner).works(partition, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(3);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn rests(rests: &mut Rests, ms: u64, is_short: bool) -> Option<String> {
        rests.of(P, at(ms), || is_short).map(|error| error.to_string())
    }

    #[test]
    fn what_fails_is_tried_ever_more_rarely_and_said_once() {
        let mut all = Rests::default();
        assert_eq!(rests(&mut all, 0, false), None);
        assert!(all.failed(P, "no file", at(1_000)));
        let said = rests(&mut all, 1_499, false).unwrap();
        assert!(said.contains("no file"), "{said}");
        assert_eq!(rests(&mut all, 1_500, false), None);
        assert!(!all.failed(P, "no file", at(1_500)));
        assert!(rests(&mut all, 2_499, false).is_some());
        assert!(all.failed(P, "another", at(2_500)));
        for _ in 0..20 {
            all.failed(P, "another", at(10_000));
        }
        assert!(rests(&mut all, 39_999, false).is_some());
        assert_eq!(rests(&mut all, 40_000, false), None);
        assert!(all.of(PartitionId(4), at(0), || false).is_none());
        // It works, but not for long.
        all.works(P, at(69_999));
        assert!(!all.failed(P, "another", at(69_999)));
        all.works(P, at(69_999 + 60_000));
        assert!(all.failed(P, "another", at(130_000)));
        assert_eq!(rests(&mut all, 130_500, false), None);
    }

    #[test]
    fn what_lacks_room_is_left_until_there_is_some() {
        let mut all = Rests::default();
        assert!(all.lacks_room(P, "full", at(0)));
        for ms in [9_999, 10_000, 19_999, 20_000] {
            let said = rests(&mut all, ms, true);
            assert_eq!(said, Some(TendError::NoRoom.to_string()), "{ms}");
        }
        assert!(!all.lacks_room(P, "full", at(20_000)));
        assert!(rests(&mut all, 29_999, false).is_some());
        assert_eq!(rests(&mut all, 30_000, false), None);
        // What fails then for another reason is tried again soon.
        assert!(all.failed(P, "no file", at(30_000)));
        assert_eq!(rests(&mut all, 30_500, false), None);
    }
}
