//! What goes from this node's disk: objects of splits that are not known and never will be, of splits
//! that others keep, and, where there is no room, its own copies of the oldest splits that enough
//! others keep.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::CatalogError;
use model::node::{NodeId, NodeInfo, Topology};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;

use super::copies::{enough, wanted};
use super::repair::{Looker, Sight};
use crate::retain::until_free;
use crate::split::split_of;

/// How long the objects of a split that is not known stay: longer than any question that may read
/// them.
const UNKNOWN_WAIT: Duration = Duration::from_secs(600);
/// How old a file is that was never finished, nanoseconds.
const HALF_AGE_NS: i64 = 900_000_000_000;
/// How long damaged objects stay that were set aside, nanoseconds.
const ASIDE_AGE_NS: i64 = 7 * 86_400_000_000_000;

impl Looker {
    /// Gives own copies up when the disk is short of room.
    pub(super) async fn give_up(&self, sight: &Sight) -> Result<(), CatalogError> {
        let short = self.copies.0.room.space().map_or(0, |space| space.short);
        if short == 0 {
            return Ok(());
        }
        let me = self.copies.0.metadata.me();
        let surplus = surplus(&sight.splits, &sight.topology, me, short);
        if surplus.is_empty() {
            tracing::warn!(
                short,
                "the disk is short of room, and too few others keep what is here: make room, add a node, or lower the retention"
            );
            return Ok(());
        }
        tracing::warn!(
            splits = surplus.len(),
            short,
            "the disk is short of room: copies that others keep are given up"
        );
        self.drop_copies(&surplus, enough(sight.topology.keepers().count())).await
    }

    /// Objects that are not of this node's splits go after a while.
    pub(super) async fn sweep(&mut self, sight: &Sight) -> Result<(), CatalogError> {
        let listed = self.copies.reading(|copies| {
            let listed = copies.objects()?.list_with_age()?;
            Ok(listed.iter().filter_map(|object| split_of(&object.name)).collect::<BTreeSet<_>>())
        });
        let here = match listed.await {
            Ok(here) => here,
            Err(error) => {
                tracing::warn!(%error, "objects could not be listed");
                return Ok(());
            }
        };
        let Leavings { unknown, kept_elsewhere } =
            leavings(here, sight, self.copies.0.metadata.me());
        let now = self.elapsed();
        let seen = std::mem::take(&mut self.unknown);
        let since = |id: SplitId| (id.clone(), seen.get(&id).copied().unwrap_or(now));
        let (gone, stay): (BTreeMap<_, _>, BTreeMap<_, _>) = unknown
            .into_iter()
            .map(since)
            .partition(|(_, at)| now.saturating_sub(*at) >= UNKNOWN_WAIT);
        self.unknown = stay;
        // Whatever was proposed before of who keeps them is decided by then.
        self.drop_copies(&kept_elsewhere, 0).await?;
        let now = self.copies.0.metadata.clock().now().0;
        let swept = self.copies.reading(move |copies| -> io::Result<()> {
            let gone: Vec<SplitId> = gone.into_keys().collect();
            for split in &gone {
                tracing::info!(%split, "sweeping the objects of a split that nobody knows of");
            }
            copies.remove(&gone);
            let objects = copies.objects()?;
            objects.sweep_half(Timestamp(now.saturating_sub(HALF_AGE_NS)))?;
            objects.sweep_aside(Timestamp(now.saturating_sub(ASIDE_AGE_NS)))?;
            Ok(())
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "objects could not be swept");
        }
        Ok(())
    }
}

/// Splits whose objects are here and should not be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Leavings {
    /// Nobody knows of them, and nobody will.
    unknown: Vec<SplitId>,
    /// Others keep them, and this node is not to.
    kept_elsewhere: Vec<SplitId>,
}

fn leavings(here: BTreeSet<SplitId>, sight: &Sight, me: NodeId) -> Leavings {
    let known: BTreeMap<&SplitId, &Arc<SplitMeta>> =
        sight.splits.iter().map(|split| (&split.id, split)).collect();
    let mut leavings = Leavings::default();
    for id in here {
        match known.get(&id) {
            None if id.begun().is_some_and(|begun| begun < sight.swept) => {
                leavings.unknown.push(id);
            }
            // It is being built, or copied before it is published.
            None => {}
            Some(split) => {
                let is_ours = split.copies.is_empty()
                    || split.copies.contains(&me)
                    || wanted(&id, &sight.topology).contains(&me);
                if !is_ours {
                    leavings.kept_elsewhere.push(id);
                }
            }
        }
    }
    leavings
}

/// The oldest splits whose copies here may go, until so many bytes become free: enough other nodes
/// that are up keep them.
fn surplus(splits: &[Arc<SplitMeta>], topology: &Topology, me: NodeId, bytes: u64) -> Vec<SplitId> {
    let enough = enough(topology.keepers().count());
    let is_up = |node: &NodeId| topology.nodes.get(node).is_some_and(NodeInfo::is_up);
    let others =
        |split: &SplitMeta| split.copies.iter().filter(|node| **node != me && is_up(node)).count();
    let is_surplus =
        |split: &&Arc<SplitMeta>| split.copies.contains(&me) && others(split) >= enough;
    let mut surplus: Vec<Arc<SplitMeta>> = splits.iter().filter(is_surplus).cloned().collect();
    surplus.sort_by_key(|split| split.age());
    until_free(surplus, bytes).iter().map(|split| split.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use model::node::Health;
    use model::partition::PartitionId;

    use super::*;
    use crate::fixture::entry;

    fn topology(nodes: &[(u64, Health)]) -> Topology {
        let node = |(id, health): &(u64, Health)| NodeInfo {
            address: format!("host{id}:7411"),
            http: format!("host{id}:7410"),
            ..NodeInfo::first(NodeId(*id), *health)
        };
        let nodes = nodes.iter().map(node).map(|node| (node.id, node)).collect();
        Topology { nodes, ..Topology::default() }
    }

    fn split(id: SplitId, time: i64, copies: &[u64]) -> Arc<SplitMeta> {
        let copies = copies.iter().copied().map(NodeId).collect();
        let entry = entry(id, time, 10);
        Arc::new(SplitMeta { stored_bytes: 100, raw_bytes: 1_000, copies, ..entry })
    }

    fn named(name: &str) -> SplitId {
        SplitId(name.to_owned())
    }

    #[test]
    fn what_is_not_known_goes_only_when_it_never_will_be() {
        let topology = topology(&[1, 2, 3, 4].map(|id| (id, Health::Up)));
        let begun = |at: i64| SplitId::new(Timestamp(at), PartitionId(0), at.unsigned_abs());
        let is_wanted = |id: &SplitId| wanted(id, &topology).contains(&NodeId(1));
        let [others, ours] = [false, true]
            .map(|wanted| (0..).map(begun).find(|id| is_wanted(id) == wanted).unwrap());
        let (old, new, kept) = (begun(1_000), begun(2_000), begun(3_000));
        let splits = vec![
            split(others.clone(), 0, &[2, 3, 4]),
            split(ours.clone(), 0, &[2, 3]),
            split(kept.clone(), 0, &[1, 2]),
        ];
        let sight = Sight { swept: Timestamp(1_500), splits, topology: Arc::new(topology.clone()) };
        let here = [&others, &ours, &old, &new, &kept, &named("strange")];
        let here = here.into_iter().cloned().collect();
        let expected = Leavings { unknown: vec![old], kept_elsewhere: vec![others.clone()] };
        assert_eq!(leavings(here, &sight, NodeId(1)), expected);
    }

    #[test]
    fn the_oldest_copies_that_enough_others_keep_are_given_up() {
        let splits = [
            split(named("c"), 3, &[1, 2, 3]),
            split(named("a"), 1, &[1, 2, 3]),
            split(named("two"), 0, &[1, 2]),
            split(named("others"), 0, &[2, 3]),
            split(named("b"), 2, &[1, 2, 3]),
        ];
        let check = |nodes: &[(u64, Health)], bytes, expected: &[&str]| {
            let given_up = surplus(&splits, &topology(nodes), NodeId(1), bytes);
            let expected: Vec<SplitId> = expected.iter().map(|name| named(name)).collect();
            assert_eq!(given_up, expected);
        };
        let up = [1, 2, 3].map(|id| (id, Health::Up));
        check(&up, 0, &[]);
        check(&up, 1, &["a"]);
        check(&up, 101, &["a", "b"]);
        check(&up, 10_000, &["a", "b", "c"]);
        // Two that are up are enough, one is not; of two nodes each needs the other.
        let one_down = [(1, Health::Up), (2, Health::Up), (3, Health::Down)];
        check(&one_down, 10_000, &[]);
        check(&up[..2], 10_000, &[]);
        check(&up[..1], 10_000, &[]);
        let one_gone = [(1, Health::Up), (2, Health::Up), (3, Health::Up), (4, Health::Gone)];
        check(&one_gone, 1, &["a"]);
    }
}
