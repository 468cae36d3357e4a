//! Checkpoints of files that are not found now: kept until they are, or for long enough.

use std::collections::BTreeMap;
use std::time::Duration;

use model::time::Timestamp;

use super::Shipper;
use crate::checkpoint::Checkpoint;
use crate::config::DAY;

/// So many of them are kept, the newest ones.
pub(super) const COUNT_MAX: usize = 20_000;

/// The inode of a file that is not found, and its generation: inodes are used again.
pub(super) type AbsentKey = (u64, u64);

pub(super) fn absent_key(checkpoint: &Checkpoint) -> AbsentKey {
    (checkpoint.id.inode, checkpoint.producer)
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Absent(BTreeMap<AbsentKey, Checkpoint>);

/// How many were let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// Because they were not found for long.
    pub(super) old: usize,
    /// Because there were too many.
    pub(super) excess: usize,
}

impl Absent {
    pub(super) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        Self(checkpoints.into_iter().map(|known| (absent_key(&known), known)).collect())
    }

    pub(super) fn put(&mut self, checkpoint: Checkpoint) {
        self.0.insert(absent_key(&checkpoint), checkpoint);
    }

    /// Those with this inode. More than one when the inode was given to another file.
    pub(super) fn at(&self, inode: u64) -> impl Iterator<Item = (AbsentKey, &Checkpoint)> {
        self.0.range((inode, 0)..=(inode, u64::MAX)).map(|(key, known)| (*key, known))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, inode: u64) -> bool {
        self.at(inode).next().is_some()
    }

    pub(super) fn get(&self, key: AbsentKey) -> Option<&Checkpoint> {
        self.0.get(&key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (AbsentKey, &Checkpoint)> {
        self.0.iter().map(|(key, known)| (*key, known))
    }

    /// It is found, or all of it is stored and it never grows again.
    pub(super) fn take(&mut self, key: AbsentKey) -> Option<Checkpoint> {
        self.0.remove(&key)
    }

    /// Nothing is missing of it that is not told. Whether that is new.
    pub(super) fn told(&mut self, key: AbsentKey) -> bool {
        let size = self.0.get_mut(&key).map(|checkpoint| &mut checkpoint.size);
        size.is_some_and(|size| std::mem::take(size) > 0)
    }

    /// Lets go those that were not found for so long, and of too many the oldest.
    pub(super) fn forget(&mut self, time: Duration, now: Timestamp) -> Forgotten {
        let before = self.0.len();
        self.0.retain(|_, checkpoint| checkpoint.seen_within(time, now));
        let left = self.0.len();
        if left > COUNT_MAX {
            let mut ages: Vec<(i64, AbsentKey)> =
                self.0.iter().map(|(key, known)| (known.seen_ns, *key)).collect();
            ages.sort_unstable();
            for (_, key) in ages.iter().take(left - COUNT_MAX) {
                self.0.remove(key);
            }
        }
        Forgotten { old: before - left, excess: left - self.0.len() }
    }
}

/// Now, by the calendar as it was when we began: nothing is forgotten because the clock was set since.
fn steady((began, began_at): (Timestamp, Duration), now: Duration) -> Timestamp {
    let since = now.saturating_sub(began_at).as_nanos();
    Timestamp(began.0.saturating_add(i64::try_from(since).unwrap_or(i64::MAX)))
}

impl Shipper {
    /// Checkpoints of files that were not found for long, or too many of them, are let go, and it is
    /// said: a file that comes back later is sent from its beginning.
    pub(super) fn forget_long_absent(&mut self) {
        let time = self.context.config.forget_after;
        let now = steady(self.began, self.context.clock.elapsed());
        let Forgotten { old, excess } = self.table.absent.forget(time, now);
        if old > 0 {
            let days = time.as_secs() / DAY.as_secs();
            tracing::info!(count = old, days, "files that were not found for long are forgotten");
        }
        if excess > 0 {
            tracing::warn!(
                count = excess,
                kept = COUNT_MAX,
                "too many files are remembered that are not found: the oldest are forgotten"
            );
        }
        if old + excess > 0 {
            self.changed_checkpoints();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{FileId, Fingerprint};

    fn known(inode: u64, seen_ns: i64) -> Checkpoint {
        Checkpoint {
            producer: inode,
            id: FileId { device: 1, inode },
            fingerprint: Fingerprint::default(),
            offset: 0,
            sent: None,
            source: "/a".to_owned(),
            path: "/a".to_owned(),
            real: None,
            seen_ns,
            size: 0,
        }
    }

    #[test]
    fn what_is_not_found_for_long_is_forgotten_and_counted() {
        let now = Timestamp(10_000_000_000);
        let mut absent = Absent::new((0..10).map(|n| known(n, n as i64 * 1_000_000_000)).collect());
        let forgotten = absent.forget(Duration::from_secs(5), now);
        assert_eq!(forgotten, Forgotten { old: 5, excess: 0 });
        assert!(!absent.has(4) && absent.has(5));
        assert_eq!(absent.forget(Duration::from_secs(5), now), Forgotten::default());
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_older() {
        let began = (Timestamp(7_000), Duration::from_nanos(100));
        assert_eq!(steady(began, Duration::from_nanos(130)), Timestamp(7_030));
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten_though_all_are_as_old() {
        let count = COUNT_MAX as u64 + 3;
        let mut absent = Absent::new((0..count).map(|n| known(n, 7)).collect());
        let forgotten = absent.forget(Duration::from_secs(5), Timestamp(7));
        assert_eq!(forgotten, Forgotten { old: 0, excess: 3 });
        assert_eq!(absent.all().count(), COUNT_MAX);
        assert!(!absent.has(2) && absent.has(3));
    }
}
