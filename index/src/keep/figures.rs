//! What a node's metrics say of the copies of all splits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::node::{NodeId, NodeInfo, Topology};
use model::split::SplitMeta;
use platform::shutdown::Shutdown;
use platform::telemetry::Metrics;
use prometheus_client::metrics::gauge::Gauge;

use super::copies::{Copies, wanted};

/// How often they are counted at most; not while nothing changes.
const FIGURES_INTERVAL: Duration = Duration::from_secs(5);

impl Copies {
    /// Tells the metrics how many copies there are too few, until the shutdown.
    pub fn tell_figures(&self, metrics: &Metrics, shutdown: Shutdown) {
        let gauge = |name: &str, help: &str| {
            metrics.register(name, help, Gauge::<u64, AtomicU64>::default())
        };
        let missing = gauge(
            "cluster_copies_missing",
            "Copies of splits that are missing in the whole cluster: nobody keeps them, or who does is away",
        );
        let wanted = gauge("cluster_copies_wanted", "Copies of splits that there should be");
        let copies = self.clone();
        tokio::spawn(async move {
            let mut changed = copies.0.metadata.catalog().changed();
            loop {
                changed.mark_unchanged();
                if let Some((few, all)) = copies.counted().await {
                    missing.set(few);
                    wanted.set(all);
                }
                let again = async {
                    copies.0.metadata.clock().sleep(FIGURES_INTERVAL).await;
                    changed.changed().await
                };
                tokio::select! { _ = again => {}, () = shutdown.wait() => return }
            }
        });
    }

    /// How many copies are missing, and of how many; `None` when the catalog does not tell.
    async fn counted(&self) -> Option<(u64, u64)> {
        let (catalog, topology) = (self.0.metadata.catalog().clone(), self.topology());
        let read = tokio::task::spawn_blocking(move || catalog.splits());
        let splits = read.await.ok()?.ok()?;
        Some(missing(&splits, &topology))
    }
}

/// How many copies are missing of splits, and of how many.
#[must_use]
pub fn missing(splits: &[Arc<SplitMeta>], topology: &Topology) -> (u64, u64) {
    let is_there = |node: &NodeId| topology.nodes.get(node).is_some_and(NodeInfo::is_up);
    let mut sums = (0, 0);
    // In a store that all share nobody keeps copies.
    for split in splits.iter().filter(|split| !split.copies.is_empty()) {
        let wanted = wanted(&split.id, topology).len();
        let there = split.copies.iter().filter(|node| is_there(node)).count();
        sums.0 += wanted.saturating_sub(there) as u64;
        sums.1 += wanted as u64;
    }
    sums
}

#[cfg(test)]
mod tests {
    use model::node::Health;
    use model::split::SplitId;

    use super::*;
    use crate::fixture::entry;

    /// What is missing of a split that these nodes keep, in a cluster of three as they are.
    fn check(healths: [Health; 3], copies: &[u64], expected: (u64, u64)) {
        let node = |(id, health)| (NodeId(id), NodeInfo::first(NodeId(id), health));
        let nodes = (1..).zip(healths).map(node).collect();
        let topology = Topology { nodes, ..Topology::default() };
        let copies = copies.iter().copied().map(NodeId).collect();
        let split = SplitMeta { copies, ..entry(SplitId("one".to_owned()), 0, 10) };
        assert_eq!(missing(&[Arc::new(split)], &topology), expected);
    }

    #[test]
    fn copies_that_nobody_keeps_or_whose_node_is_away_are_missing() {
        let (up, down) = (Health::Up, Health::Down);
        check([up; 3], &[1, 2, 3], (0, 3));
        check([up; 3], &[1, 2], (1, 3));
        check([up, up, down], &[1, 2, 3], (1, 3));
        check([up, down, down], &[1, 2], (2, 3));
        // Who is not expected back is no place for one.
        check([up, up, Health::Gone], &[1, 2, 3], (0, 2));
        // In a store that all share.
        check([up, up, down], &[], (0, 0));
    }
}
