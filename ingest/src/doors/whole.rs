//! Requests that are answered as a whole. Each partition takes or refuses its own part, and a client
//! that is refused sends all of it again: so the rest of what was taken in part is offered for a while.

use std::time::Duration;

use model::error::Kind;
use platform::http::ApiError;

use super::IngestState;
use super::parcel::Packed;

/// How long the rest of a request is offered; many clients wait for their answer no longer.
pub(super) const REST_TIME_MAX: Duration = Duration::from_secs(10);
/// The first wait before it is offered again.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What was stored of a request: all of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stored {
    /// Records that were taken now.
    pub(super) accepted: u64,
    /// Records kept as text.
    pub(super) poisoned: u64,
    /// All of it had been taken before.
    pub(super) is_repeat: bool,
}

impl IngestState {
    /// Makes a parcel away from the event loop, and stores all of it.
    pub(super) async fn take<F>(&self, door: &'static str, parse: F) -> Result<Stored, ApiError>
    where
        F: FnOnce() -> Result<Packed, ApiError> + Send + 'static,
    {
        let packed = tokio::task::spawn_blocking(parse)
            .await
            .map_err(|_| ApiError::new(Kind::Bug, "the records could not be read"))?;
        let packed = packed.inspect_err(|_| self.0.metrics.refused("invalid"))?;
        self.store(door, packed).await
    }

    /// Waits until all of a parcel is durable. Where nothing was taken, or a key makes the part that
    /// was taken a repeat when it comes again, a refusal is answered at once.
    pub(super) async fn store(
        &self,
        door: &'static str,
        packed: Packed,
    ) -> Result<Stored, ApiError> {
        let clock = &self.0.clock;
        let (has_key, started) = (packed.has_key(), clock.elapsed());
        let mut stored = Stored::default();
        let mut rest = packed.without_places();
        let mut pause = PAUSE;
        loop {
            let again = rest.clone();
            let delivered = self.deliver(door, rest).await;
            stored.poisoned += delivered.poisoned;
            stored.is_repeat = delivered.is_repeat();
            let (count, refused) = delivered.remaining(again);
            stored.accepted += count;
            let Some((packed, refusal)) = refused else { return Ok(stored) };
            let is_for_now = matches!(refusal.kind, Kind::Overloaded | Kind::Unavailable);
            let is_late = clock.elapsed().saturating_sub(started) >= REST_TIME_MAX;
            if has_key || stored.accepted == 0 || !is_for_now || is_late {
                return Err(refusal);
            }
            rest = packed;
            clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
