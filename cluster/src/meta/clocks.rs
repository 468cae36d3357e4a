//! Whether this node's clock says about what those of most nodes say: what is decided by age waits
//! where it does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::node::NodeId;
use platform::shutdown::Shutdown;

use super::Metadata;
use super::beat::NodeReport;

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// By how much two clocks may differ to say the same, milliseconds.
const APART_MS_MAX: u64 = 60_000;
/// How long ago a node may have said its time, milliseconds.
const HEARD_MS_MAX: u64 = 10_000;

impl Metadata {
    /// Whether the clock of this node was last found to say about what those of most nodes say;
    /// before it was looked, it is not.
    #[must_use]
    pub fn clock_agrees(&self) -> bool {
        self.0.clock_agrees.load(Ordering::Relaxed)
    }

    /// Looks whether it does, until the shutdown.
    pub(super) async fn compare_clocks(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = self.0.clock.sleep(LOOK_INTERVAL) => self.compare_once().await,
                () = shutdown.wait() => return,
            }
        }
    }

    async fn compare_once(&self) {
        let heard = self.heard().await;
        let agrees = agrees(&heard, self.0.me);
        let did = self.0.clock_agrees.swap(agrees, Ordering::Relaxed);
        // Where nobody leads nothing is decided by age either.
        if did && !agrees && !heard.is_empty() {
            tracing::error!(
                "this node's clock differs by over a minute from those of most nodes: nothing expires by age here until they agree"
            );
        }
    }
}

/// Whether a node and more than half of all say the same time. Of two that differ nobody knows
/// which is right.
fn agrees(heard: &[NodeReport], me: NodeId) -> bool {
    let recent = || heard.iter().filter(|one| one.heard_ms_ago <= HEARD_MS_MAX);
    let Some(own) = recent().find(|one| one.node == me) else { return false };
    let near = |one: &&NodeReport| one.clock_ahead_ms.abs_diff(own.clock_ahead_ms) <= APART_MS_MAX;
    2 * recent().filter(near).count() > recent().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports of nodes 1, 2, … by how long ago they were heard and how far ahead they are.
    fn reports<const N: usize>(nodes: [(u64, i64); N]) -> Vec<NodeReport> {
        let report = |(node, (heard_ms_ago, clock_ahead_ms)): (u64, (u64, i64))| NodeReport {
            node: NodeId(node),
            heard_ms_ago,
            clock_ahead_ms,
        };
        (1..).zip(nodes).map(report).collect()
    }

    #[test]
    fn a_clock_is_right_where_most_agree_with_it() {
        let hour = 3_600_000;
        let check = |heard: Vec<NodeReport>, expected: &[bool]| {
            let nodes = (1..).map(NodeId).take(expected.len());
            let found: Vec<bool> = nodes.map(|me| agrees(&heard, me)).collect();
            assert_eq!(found, expected, "{heard:?}");
        };
        check(reports([(0, 0)]), &[true, false]);
        check(reports([(0, 0), (300, 59_000), (500, -900)]), &[true, true, true]);
        // Who leads is an hour ahead: to it the others are behind.
        check(reports([(0, 0), (300, -hour), (500, -hour - 70)]), &[false, true, true]);
        check(reports([(0, 0), (300, hour)]), &[false, false]);
        // Who was not heard for long says nothing.
        check(reports([(0, 0), (20_000, hour)]), &[true, false]);
    }
}
