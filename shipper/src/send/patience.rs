//! A batch that fails again and again: is it the batch, or would any fail? What is too large a proxy says; of
//! all else time tells, and whether other requests get through.

use std::time::Duration;

use super::{Failure, FailureKind, Reply};

/// The time for an answer is doubled so often at most.
const DOUBLED_MAX: u32 = 3;

/// How a batch is tried that somebody before the nodes refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For ever: it cannot be less than it is.
    Endless,
    /// Until it is told to be too large.
    UnlessLarge,
    /// Or until it was refused for so long while others were taken.
    For(Duration),
    /// Not at all: more of the same was refused before.
    Over,
}

impl Patience {
    /// An answer, as who is so patient takes it.
    pub(super) fn judge(self, answer: Result<Reply, Failure>) -> Result<Reply, Failure> {
        match answer {
            Ok(Reply::TurnedAway { why, .. }) if self == Self::Endless => {
                Err(Failure { message: why, retry_after: None, kind: FailureKind::Refused })
            }
            answer => answer,
        }
    }
}

/// How a batch fared that was tried and failed.
#[derive(Debug)]
pub(super) struct Tries {
    patience: Patience,
    /// When it was refused first, and how many requests nodes had taken by then.
    doubt: Option<(Duration, u64)>,
    refused_count: usize,
    /// How many they had taken when it was late last.
    late_at: Option<u64>,
    doubled: u32,
}

impl Tries {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, doubt: None, refused_count: 0, late_at: None, doubled: 0 }
    }

    /// It was refused; how often by now.
    pub(super) fn refused(&mut self, now: Duration, taken_count: u64) -> usize {
        self.doubt = self.doubt.or(Some((now, taken_count)));
        self.refused_count += 1;
        self.refused_count
    }

    /// Whether one that is refused is not tried again as it is.
    pub(super) fn is_over(&self, now: Duration, taken_count: u64) -> bool {
        match (self.patience, self.doubt) {
            (Patience::Endless | Patience::UnlessLarge, _) | (_, None) => false,
            (Patience::For(time), Some((since, before))) => {
                now.saturating_sub(since) >= time && taken_count > before
            }
            (Patience::Over, Some(_)) => true,
        }
    }

    /// It was answered too late. When that happens again and again while others are answered, the way is
    /// slow, and it would never be through; where none are, the node is dead.
    pub(super) fn late(&mut self, taken_count: u64) {
        let before = self.late_at.replace(taken_count);
        if before.is_some_and(|before| taken_count > before) {
            self.doubled = (self.doubled + 1).min(DOUBLED_MAX);
        }
    }

    /// How long the next answer may take, where that is usual.
    pub(super) fn time_max(&self, usual: Duration) -> Duration {
        usual * (1 << self.doubled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_batch_is_the_cause_when_others_get_through_for_long() {
        let refused = |patience| {
            let mut tries = Tries::new(patience);
            assert!(!tries.is_over(SECOND, 5));
            assert_eq!((tries.refused(SECOND, 5), tries.refused(2 * SECOND, 6)), (1, 2));
            tries
        };
        let patient = refused(Patience::For(10 * SECOND));
        assert!(!patient.is_over(10 * SECOND, 6));
        assert!(patient.is_over(11 * SECOND, 6));
        assert!(!patient.is_over(100 * SECOND, 5), "nothing gets through");
        assert!(refused(Patience::Over).is_over(SECOND, 5));
        assert!(!refused(Patience::UnlessLarge).is_over(100 * SECOND, 6));
    }

    #[test]
    fn a_batch_that_is_late_gets_more_time_while_others_are_not() {
        let mut tries = Tries::new(Patience::Endless);
        let mut times = Vec::new();
        for taken_count in [5, 5, 7, 7, 8, 9, 10, 11] {
            tries.late(taken_count);
            times.push(tries.time_max(SECOND).as_secs());
        }
        assert_eq!(times, [1, 1, 2, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn what_cannot_be_less_is_never_too_large() {
        let turned_away = || Ok(Reply::TurnedAway { why: "large".to_owned(), large: true });
        assert!(Patience::Endless.judge(turned_away()).is_err());
        let judged = Patience::UnlessLarge.judge(turned_away());
        assert!(matches!(judged, Ok(Reply::TurnedAway { .. })));
    }
}
