//! A node that says nothing: that is said long before the time for its answer is over. And when the only node
//! answers again, what it was asked before may never be answered, and is asked anew.

use std::time::Duration;

use model::wire::BATCHES_PATH;

use super::address::masked;
use super::{Failure, FailureKind, Target};
use crate::status::Board;

/// What is asked to hear whether a node answers at all.
const PROBE_PATH: &str = "/livez";

/// How long what takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// So long without an answer is silence.
    pub(super) after: Duration,
    /// Between two probes of a silent node.
    pub(super) period: Duration,
    /// One that answers does so within this.
    pub(super) answer: Duration,
    /// And what it was asked before within this.
    pub(super) grace: Duration,
}

impl Default for Silence {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { after: 5 * second, period: 2 * second, answer: 2 * second, grace: 2 * second }
    }
}

impl Target {
    /// Says that a node is silent once it is. Ends when it was silent for probes too and answers them again,
    /// unless the batch was `renewed` for that before: then it may be the way that is slow.
    pub(super) async fn back_again(&self, node: usize, renewed: bool, board: &Board) -> Failure {
        let Silence { after, period, grace, .. } = self.silence;
        self.clock.sleep(after).await;
        let url = self.urls.get(node).map(String::as_str).unwrap_or_default();
        let said = masked(url);
        let after_s = after.as_secs();
        board.target_failed(&format!("{said}: no answer for {after_s} seconds, waiting for it"));
        if self.urls.len() > 1 || renewed {
            return std::future::pending().await;
        }
        let mut silent = false;
        loop {
            let answers = self.answers(url).await;
            if answers && silent {
                break;
            }
            silent |= !answers;
            self.clock.sleep(period).await;
        }
        self.clock.sleep(grace).await;
        Failure {
            message: format!(
                "{said}: it was silent and answers again: what it was asked is asked anew"
            ),
            retry_after: None,
            kind: FailureKind::Other,
        }
    }

    /// Whether it says anything, whatever that is.
    async fn answers(&self, url: &str) -> bool {
        let base = url.strip_suffix(BATCHES_PATH).unwrap_or(url);
        let client = self.client.get(self.clock.elapsed());
        let request = client.get(format!("{base}{PROBE_PATH}")).timeout(self.silence.answer);
        request.send().await.is_ok()
    }
}
