//! Standing for election at once, where to wait for a timer would only prolong that nobody leads.
//!
//! When a leader dies with entries on their way, the first member to stand may lack one that another
//! has. It cannot win; the other one stands when its own timer says so, may then be refused because
//! the vote of the first has the same number and a higher name, and waits once more. So who refuses
//! a vote because its candidate lacks entries stands itself, and who is refused for the number
//! alone, by one that lacks entries, stands with the next number. Who may win is openraft's to say
//! as before; only when is ours.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use platform::clock::Clock;

use super::types::{LogId, Raft, Vote, VoteAnswer};

/// How long openraft may take to read an answer to a vote.
const SEEN_WAIT: Duration = Duration::from_millis(200);

/// When a member stands beside what its timers say. Clones share it.
#[derive(Clone)]
pub(super) struct Stand(Arc<Inner>);

struct Inner {
    /// The member, which holds this through its network: it ends with the last that is held elsewhere.
    raft: OnceLock<Weak<Raft>>,
    /// When it last took something of a leader, nanoseconds of the clock's elapsed time.
    heard_ns: AtomicU64,
    /// It may stand: not while it wants another to lead.
    may: AtomicBool,
    /// How long a leader is silent that may be gone.
    silence: Duration,
    /// The last vote for whose number it was refused and stood again.
    outdone: Mutex<Vote>,
}

impl Stand {
    pub(super) fn new(silence: Duration) -> Self {
        let (heard_ns, may) = (AtomicU64::new(0), AtomicBool::new(true));
        let outdone = Mutex::default();
        let stand =
            Self(Arc::new(Inner { raft: OnceLock::new(), heard_ns, may, silence, outdone }));
        stand.heard();
        stand
    }

    /// The member is there.
    pub(super) fn begin(&self, raft: &Arc<Raft>) {
        self.0.raft.get_or_init(|| Arc::downgrade(raft));
    }

    /// The member, as long as somebody has it.
    fn raft(&self) -> Option<Arc<Raft>> {
        self.0.raft.get().and_then(Weak::upgrade)
    }

    /// The member took something of a leader.
    pub(super) fn heard(&self) {
        self.0.heard_ns.store(now_ns(), Ordering::Relaxed);
    }

    /// How long the member has taken nothing of a leader.
    pub(super) fn silence(&self) -> Duration {
        Duration::from_nanos(now_ns().saturating_sub(self.0.heard_ns.load(Ordering::Relaxed)))
    }

    /// Whether the member may stand at all.
    pub(super) fn may(&self, may: bool) {
        self.0.may.store(may, Ordering::Relaxed);
        if let Some(raft) = self.raft() {
            raft.runtime_config().elect(may);
        }
    }

    /// The member answered a candidate whose last entry is `theirs`.
    pub(super) async fn answered(&self, theirs: Option<LogId>, answer: &VoteAnswer) {
        if !answer.vote_granted && answer.last_log_id > theirs {
            self.now().await;
        }
    }

    /// The member asked for a vote, its last entry being `mine`, and this was the answer.
    pub(super) fn asked(&self, vote: Vote, mine: Option<LogId>, answer: &VoteAnswer) {
        if answer.vote_granted || answer.vote <= vote || answer.last_log_id >= mine {
            return;
        }
        let Some(raft) = self.raft() else { return };
        {
            // Several may refuse for the same vote; standing twice takes back what was granted.
            let mut outdone = self.0.outdone.lock().unwrap_or_else(PoisonError::into_inner);
            if *outdone >= answer.vote {
                return;
            }
            *outdone = answer.vote;
        }
        let (stand, theirs) = (self.clone(), answer.vote);
        // With the next number: openraft must have seen this one before.
        tokio::spawn(async move {
            let seen = raft.wait(Some(SEEN_WAIT));
            let seen = Box::pin(seen.metrics(|metrics| metrics.vote >= theirs, "their vote")).await;
            if seen.is_ok() {
                stand.now().await;
            }
        });
    }

    async fn now(&self) {
        let leads = self.silence() <= self.0.silence;
        let Some(raft) = self.raft() else { return };
        if leads || !self.0.may.load(Ordering::Relaxed) {
            return;
        }
        // Who leads, or does not vote, does not stand.
        if let Err(error) = raft.trigger().elect().await {
            tracing::debug!(%error, "the member does not stand");
        }
    }
}

fn now_ns() -> u64 {
    u64::try_from(Clock::system().elapsed().as_nanos()).unwrap_or(u64::MAX)
}
