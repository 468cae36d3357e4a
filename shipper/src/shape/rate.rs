//! So many bytes a second for one source: a token bucket. A file waits; nothing is dropped.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A bucket that holds one second's worth.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that may be sent at once; below zero a debt.
    left: i128,
    at: Duration,
}

impl Rate {
    /// So many bytes a second, at least one.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        let state = State { left: i128::from(bytes_per_second), at: Duration::ZERO };
        Self { bytes_per_second, state: Mutex::new(state) }
    }

    /// Takes bytes that were sent at `now`; how long to wait before the next.
    pub(crate) fn take(&self, bytes: u64, now: Duration) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = i128::from(self.bytes_per_second);
        let passed = now.saturating_sub(state.at).as_micros();
        let earned = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(rate) / 1_000_000;
        if earned > 0 {
            state.left = state.left.saturating_add(earned).min(rate);
            state.at = now;
        }
        state.left -= i128::from(bytes);
        let debt = u64::try_from(-state.left).unwrap_or(0);
        Duration::from_micros(debt.saturating_mul(1_000_000) / self.bytes_per_second)
    }
}
