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

    /// Whether it was last found to say something else. Neither is so before it was compared, and while
    /// nobody tells what the others say.
    #[must_use]
    pub fn clock_differs(&self) -> bool {
        self.0.clock_differs.load(Ordering::Relaxed)
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
        let agrees = agrees(&self.heard().await, self.0.me);
        if self.clock_is_found(agrees) {
            tracing::error!(
                "this node's clock differs by over a minute from those of most nodes: nothing expires by age here until they agree"
            );
        }
    }

    /// Notes what was found, and that nothing was. Whether it differs now and did not before, or was not
    /// compared then: also a node that starts with a wrong clock is told so.
    fn clock_is_found(&self, agrees: Option<bool>) -> bool {
        // Where nobody leads nothing is decided by age either.
        self.0.clock_agrees.store(agrees == Some(true), Ordering::Relaxed);
        let differs = agrees == Some(false);
        !self.0.clock_differs.swap(differs, Ordering::Relaxed) && differs
    }
}

/// Whether a node and more than half of all say the same time. Of two that differ nobody knows
/// which is right. `None` when the node itself was not heard: nobody knows what it says.
fn agrees(heard: &[NodeReport], me: NodeId) -> Option<bool> {
    let recent = || heard.iter().filter(|one| one.heard_ms_ago <= HEARD_MS_MAX);
    let own = recent().find(|one| one.node == me)?;
    let near = |one: &&NodeReport| one.clock_ahead_ms.abs_diff(own.clock_ahead_ms) <= APART_MS_MAX;
    Some(2 * recent().filter(near).count() > recent().count())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::alone;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_clock_that_was_not_compared_neither_agrees_nor_differs() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = alone(folder.path()).await;
        let found = |agrees: Option<bool>| {
            let is_said = metadata.clock_is_found(agrees);
            (is_said, metadata.clock_agrees(), metadata.clock_differs())
        };
        // Also as the first thing that is found after a start; said once.
        assert_eq!(found(None), (false, false, false));
        assert_eq!(found(Some(false)), (true, false, true));
        assert_eq!(found(Some(false)), (false, false, true));
        assert_eq!(found(Some(true)), (false, true, false));
        assert_eq!(found(None), (false, false, false));
        metadata.stop().await;
    }

    /// Reports of nodes 1, 2, … by how long ago they were heard and how far ahead they are.
    fn reports<const N: usize>(nodes: [(u64, i64); N]) -> Vec<NodeReport> {
        let report = |(node, (heard_ms_ago, clock_ahead_ms)): (u64, (u64, i64))| NodeReport {
            node: NodeId(node),
            heard_ms_ago,
            clock_ahead_ms,
            short_of_room: false,
            unreached: Vec::new(),
        };
        (1..).zip(nodes).map(report).collect()
    }

    #[test]
    fn a_clock_is_right_where_most_agree_with_it() {
        let hour = 3_600_000;
        let check = |heard: Vec<NodeReport>, expected: &[Option<bool>]| {
            let nodes = (1..).map(NodeId).take(expected.len());
            let found: Vec<Option<bool>> = nodes.map(|me| agrees(&heard, me)).collect();
            assert_eq!(found, expected, "{heard:?}");
        };
        let (yes, no) = (Some(true), Some(false));
        check(reports([(0, 0)]), &[yes, None]);
        check(reports([(0, 0), (300, 59_000), (500, -900)]), &[yes, yes, yes]);
        // Who leads is an hour ahead: to it the others are behind.
        check(reports([(0, 0), (300, -hour), (500, -hour - 70)]), &[no, yes, yes]);
        check(reports([(0, 0), (300, hour)]), &[no, no]);
        // Who was not heard for long says nothing, and is not said to be wrong: others, or a node that
        // stops and does not say any more that it is there.
        check(reports([(0, 0), (20_000, hour)]), &[yes, None]);
        check(reports([(20_000, 0), (20_000, 0)]), &[None, None]);
    }
}
