//! Who belongs to a group: changes of it take two entries, and may be left half done.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use openraft::{ChangeMembers, Membership};
use platform::clock::Clock;

use super::group::Group;
use super::types::Peer;

/// How long a change is waited for. It may go on behind that: whoever leads sees that it is half done
/// ([`is_half_done`]) and asks for it again.
pub const CHANGE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a group has not changed yet.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No majority answers.
    #[error("no majority took the change within {} s: start the nodes that are down", CHANGE_WAIT_MAX.as_secs())]
    NoMajority,
    /// This member does not lead, or another change is on its way.
    #[error("{0}")]
    Refused(String),
}

/// Whether a change was begun and not ended: majorities of both the old and the new voters are needed
/// until the same change is asked for again.
#[must_use]
pub fn is_half_done(membership: &Membership<u64, Peer>) -> bool {
    membership.get_joint_config().len() > 1
}

impl Group {
    /// Changes who belongs to the group, on its leader. `retain` keeps voters that go as learners.
    ///
    /// # Errors
    /// [`ChangeError`]; the change may have been begun.
    pub async fn change(
        &self,
        clock: &Clock,
        change: impl Into<ChangeMembers<u64, Peer>>,
        retain: bool,
    ) -> Result<(), ChangeError> {
        in_time(clock, self.raft().change_membership(change, retain)).await
    }

    /// Lets somebody in who does not vote, on the group's leader.
    ///
    /// # Errors
    /// [`ChangeError`]; it may come in later.
    pub async fn learn(&self, clock: &Clock, id: u64, peer: Peer) -> Result<(), ChangeError> {
        in_time(clock, self.raft().add_learner(id, peer, false)).await
    }
}

async fn in_time<T, E: fmt::Display>(
    clock: &Clock,
    change: impl Future<Output = Result<T, E>>,
) -> Result<(), ChangeError> {
    match clock.timeout(CHANGE_WAIT_MAX, change).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(ChangeError::Refused(error.to_string())),
        None => Err(ChangeError::NoMajority),
    }
}
