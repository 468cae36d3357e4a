//! How long work that failed waits until it is tried again: twice as long each time.

use std::time::Duration;

/// Of some work that may fail.
#[derive(Debug)]
pub(crate) struct Patience {
    first: Duration,
    most: Duration,
    /// The next wait.
    next: Duration,
    /// The moment of the clock's elapsed time up to which it waits.
    until: Duration,
}

impl Patience {
    /// Nothing has failed yet.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first, until: Duration::ZERO }
    }

    /// Whether it has waited long enough.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// It failed. How long it waits.
    pub(crate) fn failed(&mut self, now: Duration) -> Duration {
        let wait = self.next;
        self.until = now + wait;
        self.next = (wait * 2).min(self.most);
        wait
    }

    /// It was done.
    pub(crate) fn done(&mut self) {
        (self.next, self.until) = (self.first, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_twice_as_long_each_time_up_to_a_bound() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(second, 5 * second);
        assert!(patience.is_over(Duration::ZERO));
        let waits = [1, 2, 4, 5, 5].map(|seconds| seconds * second);
        assert_eq!([(); 5].map(|()| patience.failed(10 * second)), waits);
        assert!(!patience.is_over(14 * second));
        assert!(patience.is_over(15 * second));
        patience.done();
        assert!(patience.is_over(Duration::ZERO));
        assert_eq!(patience.failed(Duration::ZERO), second);
    }
}
