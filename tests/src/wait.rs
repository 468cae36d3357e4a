//! Waiting for a condition, with a deadline that says what did not come.

use std::time::Duration;

use platform::clock::Clock;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// How long anything may take on a busy machine of two cores before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until there is something, at most [`PATIENCE`].
///
/// # Panics
/// It did not come in time.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks until there is something, at most so long.
///
/// # Panics
/// It did not come in time.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let start = clock.elapsed();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.elapsed() - start < patience, "waited {patience:?} in vain for: {what}");
        pace(LOOK);
    }
}

/// Lets the others run for a while: the pace of a writer, the moment of a kill. Never a wait for
/// something to have happened; that is [`eventually`].
pub fn pace(time: Duration) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(Clock::system().sleep(time));
}
