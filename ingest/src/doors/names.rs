//! Small batches that are recognised when they come again: each takes a place among the producers that its
//! partition remembers, so that only so many may in an hour. A large one is worth its place.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records from which on a batch takes a place whatever others took.
pub(super) const LARGE: usize = 32;
/// Places that small batches take in an hour at this node: less than a partition remembers for all.
pub(super) const PLACES_MAX: u64 = 50_000;
/// How long they are remembered, as the queue does (`NAMES_SILENCE_MAX`).
const HOUR: Duration = Duration::from_secs(3_600);

/// The places that small batches took.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    since: Duration,
    places: u64,
}

impl Names {
    /// Takes so many places at a time of the node's clock; whether there is room for all of them.
    pub(super) fn take(&self, places: u64, now: Duration) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(taken.since) >= HOUR {
            *taken = Taken { since: now, places: 0 };
        }
        let sum = taken.places.saturating_add(places);
        let has_room = sum <= PLACES_MAX;
        if has_room {
            taken.places = sum;
        }
        has_room
    }

    /// How many are taken.
    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_places_are_taken_in_an_hour() {
        let names = Names::default();
        let at = Duration::from_secs;
        assert!(names.take(PLACES_MAX - 1, at(5)));
        assert!(!names.take(2, at(6)));
        assert!(names.take(1, at(7)));
        assert!(!names.take(1, at(3_599)));
        assert_eq!(names.count(), PLACES_MAX);
        assert!(names.take(3, at(3_600)));
        assert_eq!(names.count(), 3);
    }
}
