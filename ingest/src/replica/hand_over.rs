//! A leader that lets another member lead: it proposes nothing meanwhile, so that the next one can
//! have everything.

use std::future::Future;
use std::time::Duration;

use platform::clock::Clock;

use super::Replica;

/// How long the entry that is on its way is waited for.
const TURN_WAIT_MAX: Duration = Duration::from_millis(500);
/// How long another leader is waited for; then this one may stand again.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(1);

impl Replica {
    /// Lets the member `to` lead; `ask` asks it to stand, and says whether it was reached. Whether
    /// somebody else leads then. What is sent here meanwhile waits.
    pub(crate) async fn hand_over(
        &self,
        clock: &Clock,
        to: u64,
        ask: impl Future<Output = bool>,
    ) -> bool {
        let Some(_turn) = clock.timeout(TURN_WAIT_MAX, self.0.turn.lock()).await else {
            return false;
        };
        Box::pin(self.0.group.step_back(to, ask, LEADER_WAIT_MAX)).await
    }
}
