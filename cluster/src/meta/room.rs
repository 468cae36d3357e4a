//! Nodes whose disks are short of room: they say so with every sign of life, and nothing is given to them that
//! others can do.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::node::NodeId;

use super::Metadata;

/// What a node says that is asked to take over and has no room for what comes.
pub const SHORT_TOO: &str = "this node's disk is short of room";

impl Metadata {
    /// Notes whether this node's disk is short of room. Whether that is news.
    pub fn note_room(&self, is_short: bool) -> bool {
        self.0.is_short.swap(is_short, Ordering::Relaxed) != is_short
    }

    /// Whether this node's disk is short of room: it takes no records.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.0.is_short.load(Ordering::Relaxed)
    }

    /// Nodes that said so within that time, as far as this one was told, which leads.
    pub(super) fn short_within(&self, time: Duration) -> BTreeSet<NodeId> {
        let elapsed = self.0.clock.elapsed();
        let heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let short = heard
            .iter()
            .filter(|(_, (at, beat))| beat.short_of_room && elapsed.saturating_sub(*at) < time);
        short.map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::alone;
    use super::*;
    use crate::meta::Beat;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_short_of_room_is_so_until_it_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = alone(folder.path()).await;
        assert!(metadata.note_room(true) && metadata.is_short());
        assert!(!metadata.note_room(true));
        assert!(metadata.note_room(false) && !metadata.is_short());
        let session = Duration::from_secs(3_600);
        let beat = |short_of_room| Beat { node: NodeId(7), short_of_room, ..Beat::default() };
        metadata.note(beat(true));
        assert_eq!(metadata.short_within(session), [NodeId(7)].into());
        assert!(metadata.short_within(Duration::ZERO).is_empty());
        metadata.note(beat(false));
        assert!(metadata.short_within(session).is_empty());
        metadata.stop().await;
    }
}
