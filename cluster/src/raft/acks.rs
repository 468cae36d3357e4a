//! When members last took something of their leader, by the leader's own clock.
//!
//! openraft says the same, as of when it last looked: a leader whose disk stalls, or whose process
//! was stopped for a while, would believe that it was heard a moment ago when others lead already.
//! So the moment before a call is noted when its answer comes, and compared with the clock when it
//! is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::{RaftMetrics, ServerState};

use super::types::{Peer, Vote};

/// What members took of this one, since it leads. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Acks(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// The leadership.
    vote: Vote,
    /// When the last call that was taken was sent, by member.
    sent: BTreeMap<u64, Duration>,
    /// The leadership that was asked for last, and when it was first asked for.
    begun: Option<(Vote, Duration)>,
}

impl Acks {
    /// A member took a call of this leadership that was sent then.
    pub(super) fn note(&self, vote: Vote, member: u64, sent: Duration) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.vote != vote {
            // A call of a former leadership may be answered late.
            if taken.vote > vote {
                return;
            }
            *taken = Taken { vote, sent: BTreeMap::new(), begun: taken.begun };
        }
        let known = taken.sent.entry(member).or_default();
        *known = sent.max(*known);
    }

    /// Whether a majority of each set of voters took something that was sent within that time, if `me`
    /// leads as far as it knows.
    pub(super) fn are_within(
        &self,
        time: Duration,
        me: u64,
        metrics: &RaftMetrics<u64, Peer>,
        now: Duration,
    ) -> bool {
        let sent = self.majority(me, metrics, now);
        sent.is_some_and(|sent| now.saturating_sub(sent) < time)
    }

    /// Whether a leadership is younger than that time; it begins when this is first asked.
    pub(super) fn has_just_begun(&self, time: Duration, vote: Vote, now: Duration) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = taken.begun.filter(|(known, _)| *known == vote);
        let (_, begun) = *taken.begun.insert(known.unwrap_or((vote, now)));
        now.saturating_sub(begun) < time
    }

    /// When a majority of each set of voters had last been sent something that it took, if `me`
    /// leads as far as it knows. `now` for a member that is the majority by itself.
    fn majority(
        &self,
        me: u64,
        metrics: &RaftMetrics<u64, Peer>,
        now: Duration,
    ) -> Option<Duration> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if metrics.state != ServerState::Leader {
            return None;
        }
        let is_of_now = taken.vote == metrics.vote;
        let of = |voter: &u64| match *voter == me {
            true => Some(now),
            false => taken.sent.get(voter).copied().filter(|_| is_of_now),
        };
        let sets = metrics.membership_config.membership().get_joint_config();
        let oldest = sets.iter().map(|voters| {
            let mut sent: Vec<Option<Duration>> = voters.iter().map(of).collect();
            sent.sort_unstable_by(|one, other| other.cmp(one));
            sent.get(voters.len() / 2).copied().flatten()
        });
        oldest.min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use openraft::{Membership, StoredMembership};

    use super::*;

    fn leader(vote: Vote, sets: &[&[u64]]) -> RaftMetrics<u64, Peer> {
        let sets: Vec<BTreeSet<u64>> =
            sets.iter().map(|voters| voters.iter().copied().collect()).collect();
        let membership = Membership::<u64, Peer>::new(sets, None);
        let mut metrics = RaftMetrics::new_initial(1);
        metrics.state = ServerState::Leader;
        metrics.vote = vote;
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership));
        metrics
    }

    #[test]
    fn a_leader_goes_on_while_it_is_heard_or_has_just_begun() {
        let at = Duration::from_millis;
        let (acks, vote, next) =
            (Acks::default(), Vote::new_committed(3, 1), Vote::new_committed(5, 1));
        let begun = |vote, now| acks.has_just_begun(at(100), vote, at(now));
        assert!(begun(vote, 1_000) && begun(vote, 1_099));
        assert!(!begun(vote, 1_100));
        // What members take makes a leadership no younger.
        acks.note(vote, 2, at(1_150));
        assert!(!begun(vote, 1_160));
        let within = |now| acks.are_within(at(100), 1, &leader(vote, &[&[1, 2, 3]]), at(now));
        assert!(within(1_249) && !within(1_250));
        // The next leadership of the same member begins anew.
        assert!(begun(next, 2_000) && !begun(next, 2_100));
    }

    #[test]
    fn the_majority_is_as_old_as_its_oldest_member() {
        let at = Duration::from_millis;
        let (acks, vote) = (Acks::default(), Vote::new_committed(3, 1));
        let of = |sets: &[&[u64]]| acks.majority(1, &leader(vote, sets), at(100));
        assert_eq!(of(&[&[1]]), Some(at(100)));
        assert_eq!(of(&[&[1, 2, 3]]), None);
        acks.note(vote, 2, at(40));
        acks.note(vote, 2, at(30));
        acks.note(Vote::new_committed(2, 1), 3, at(90));
        assert_eq!(of(&[&[1, 2, 3]]), Some(at(40)));
        assert_eq!(of(&[&[1, 2, 3, 4, 5]]), None);
        acks.note(vote, 4, at(20));
        assert_eq!(of(&[&[1, 2, 3, 4, 5]]), Some(at(20)));
        // Of two sets the one that heard less.
        assert_eq!(of(&[&[1, 2, 3], &[1, 4, 5]]), Some(at(20)));
        assert_eq!(of(&[&[1, 2, 3], &[3, 4, 5]]), None);
        // Who was heard in a leadership before is not heard in the next.
        assert_eq!(
            acks.majority(1, &leader(Vote::new_committed(4, 1), &[&[1, 2, 3]]), at(100)),
            None
        );
        let mut follower = leader(vote, &[&[1, 2, 3]]);
        follower.state = ServerState::Follower;
        assert_eq!(acks.majority(1, &follower, at(100)), None);
    }
}
