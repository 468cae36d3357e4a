//! For how long nobody has written to a file, since we look at it. What the file's own time says is not asked:
//! the clock of the calendar may leap, and the file may lie on a machine whose clock is another. Only of a
//! file that was there at the start it is, once: most of those have been quiet for long.

use std::fs::Metadata;
use std::time::Duration;

use model::time::Timestamp;
use platform::clock::Clock;

use crate::discover::modified_ns;

/// What a file looked like, and since when.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    seen: Option<(Look, Duration)>,
    /// For how long it had been quiet by then.
    before: Duration,
    /// It was there at the start.
    is_old: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    size: u64,
    modified_ns: i64,
}

impl Quiet {
    /// Of a file that was there at the start.
    pub(super) fn of_old() -> Self {
        Self { is_old: true, ..Self::default() }
    }

    /// The time for which it has looked as it does now.
    pub(super) fn time(&mut self, metadata: &Metadata, clock: &Clock) -> Duration {
        let look = Look { size: metadata.len(), modified_ns: modified_ns(metadata) };
        self.time_of(look, clock.elapsed(), clock.now())
    }

    fn time_of(&mut self, look: Look, now: Duration, calendar: Timestamp) -> Duration {
        match self.seen {
            Some((before, since)) if before == look => self.before + now.saturating_sub(since),
            seen => {
                let age = calendar.0.saturating_sub(look.modified_ns);
                let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
                self.before = if seen.is_none() && self.is_old { age } else { Duration::ZERO };
                self.seen = Some((look, now));
                self.before
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_NS: i64 = 365 * 86_400 * 1_000_000_000;

    /// The seconds for which a file is said to be quiet, that had these sizes and times at these seconds.
    fn times(mut quiet: Quiet, looks: &[(u64, u64, i64)]) -> Vec<u64> {
        let time = |(second, size, modified_ns): &(u64, u64, i64)| {
            let look = Look { size: *size, modified_ns: *modified_ns };
            quiet.time_of(look, Duration::from_secs(*second), Timestamp(YEAR_NS)).as_secs()
        };
        looks.iter().map(time).collect()
    }

    #[test]
    fn a_file_is_quiet_since_it_was_seen_to_be_what_it_is() {
        // However old it says it is, or however far ahead.
        let looks = [(5, 1, 0), (9, 1, 0), (10, 1, 2 * YEAR_NS), (12, 1, 2 * YEAR_NS), (13, 2, 0)];
        assert_eq!(times(Quiet::default(), &looks), [0, 4, 0, 2, 0]);
    }

    #[test]
    fn one_that_was_there_at_the_start_is_believed_once() {
        let year_s = 365 * 86_400;
        let looks = [(5, 1, 0), (6, 1, 0), (7, 2, 0), (9, 2, 0)];
        assert_eq!(times(Quiet::of_old(), &looks), [year_s, year_s + 1, 0, 2]);
        assert_eq!(times(Quiet::of_old(), &[(5, 1, 2 * YEAR_NS), (6, 1, 2 * YEAR_NS)]), [0, 1]);
    }
}
