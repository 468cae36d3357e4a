//! Splits written anew as one, their rows as they stand: by merges, and by cold compaction.

use std::sync::Arc;
use std::time::Duration;

use model::partition::PartitionId;
use model::query::Filter;
use model::split::SplitMeta;

use crate::merge::{open_all, source_of};
use crate::publish::{PublishError, new_id};
use crate::searcher::Core;
use crate::split::{BuildError, Origin, Packing, Piece, build};

/// What some splits became; nobody knows of it yet.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// Its entry for the catalog; `None` where all of their records were to be deleted.
    pub(crate) meta: Option<SplitMeta>,
    /// The time that it took.
    pub(crate) took: Duration,
}

/// The splits that may be written anew here. Who indexes a partition does it: nobody else does the
/// same.
pub(crate) fn own_splits(core: &Core) -> Vec<Arc<SplitMeta>> {
    let splits = core.read(|state| {
        let own = |split: &&Arc<SplitMeta>| state.partitions.contains_key(&split.partition);
        state.splits.values().filter(own).cloned().collect()
    });
    core.not_aside(splits)
}

/// Writes a group of one index and partition as one split, without what was asked to be deleted until
/// now. `None` where it was given up ([`Work`]): nothing is left of it then.
pub(crate) fn rewritten(
    core: &Core,
    group: &[Arc<SplitMeta>],
    packing: Packing,
) -> Result<Option<Rewritten>, PublishError> {
    let Some(one) = group.first() else { return Ok(None) };
    let opened = open_all(core, group)?;
    let (deletions, going) = core.read(|state| {
        let going: Vec<Option<Filter>> =
            group.iter().map(|split| state.deletions.of_split(split)).collect();
        (state.deletions.last, going)
    });
    let merges = group.iter().map(|split| split.merges).max().unwrap_or(0);
    let id = new_id(core, one.partition);
    let work = core.parties.work.join(&id.0);
    let origin = Origin {
        id,
        index: one.index.clone(),
        partition: one.partition,
        merges: merges.saturating_add(u32::from(group.len() > 1)),
        deletions,
        packing,
        may_type: core.may_type(),
    };
    let begun = core.parties.clock.elapsed();
    let source = source_of(&opened, &going)?;
    let gives_way = packing == Packing::Small;
    let until = Work { core, group, partition: one.partition, deletions, gives_way };
    let source = source.with(|pieces| WhileWanted { pieces, work: until });
    let meta = match build(origin, source, &work, &core.parties.objects) {
        Err(BuildError::Stopped) => return Ok(None),
        built => built?,
    };
    let took = core.parties.clock.elapsed().saturating_sub(begun);
    Ok(Some(Rewritten { meta, took }))
}

/// A group that is being written anew. It is given up where the node stops, another node has the
/// partition, or one of the splits has left the catalog (it expired).
pub(crate) struct Work<'a> {
    pub(crate) core: &'a Core,
    pub(crate) group: &'a [Arc<SplitMeta>],
    pub(crate) partition: PartitionId,
    /// The last deletion whose records are left out.
    pub(crate) deletions: u64,
    /// Whether it is given up for a deletion too that came later and concerns one of them, to begin again
    /// behind it: a merge or a compaction that is packed small, which takes long.
    pub(crate) gives_way: bool,
}

impl Work<'_> {
    fn is_wanted(&self) -> bool {
        if self.core.shutdown.is_triggered() || self.core.fence(self.partition).is_err() {
            return false;
        }
        self.core.read(|state| {
            self.group.iter().all(|split| {
                let is_overtaken = self.gives_way && state.deletions.is_open(split, self.deletions);
                state.splits.contains_key(&split.id) && !is_overtaken
            })
        })
    }
}

/// Rows that come while they are wanted.
pub(crate) struct WhileWanted<'a, I> {
    pub(crate) pieces: I,
    pub(crate) work: Work<'a>,
}

impl<I: Iterator<Item = Result<Piece, BuildError>>> Iterator for WhileWanted<'_, I> {
    type Item = Result<Piece, BuildError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.work.is_wanted() {
            return Some(Err(BuildError::Stopped));
        }
        self.pieces.next()
    }
}

#[cfg(test)]
mod tests {
    use cluster::catalog::Command;
    use platform::disk;

    use super::*;
    use crate::fixture::{Fixture, PARTITION, deletion};

    #[test]
    fn what_is_to_stop_leaves_nothing() {
        let check = |stop: fn(&Core)| {
            let fixture = Fixture::new();
            let group = [fixture.publish(&["a 1"]), fixture.publish(&["a 2"])];
            let core = &fixture.core;
            stop(core);
            assert!(rewritten(core, &group, Packing::Quick).unwrap().is_none());
            assert_eq!(core.parties.objects.list().unwrap().len(), 4, "two objects a split");
            assert_eq!(disk::folder_bytes(&core.parties.work), 0);
            assert_eq!(core.not_aside(group.to_vec()).len(), 2, "nothing is wrong with them");
        };
        check(|core| core.shutdown.trigger());
        check(|core| drop(core.change(|state| state.partitions.remove(&PARTITION))));
        check(|core| drop(core.change(|state| state.splits.pop_first())));
    }

    #[test]
    fn what_is_packed_small_gives_way_to_deletions() {
        let fixture = Fixture::new();
        let group = [fixture.publish(&["a 1"]), fixture.publish(&["a 2"])];
        let work = |gives_way| Work {
            core: &fixture.core,
            group: &group,
            partition: PARTITION,
            deletions: fixture.core.read(|state| state.deletions.last),
            gives_way,
        };
        let (small, quick) = (work(true), work(false));
        // One that concerns none of them, and one that does.
        for (below, is_wanted) in [(0, true), (1, false)] {
            let command = Command::BeginDeletion(deletion("a", below));
            fixture.core.parties.catalog.execute(command).unwrap();
            assert_eq!((small.is_wanted(), quick.is_wanted()), (is_wanted, true), "{below}");
        }
        assert!(work(true).is_wanted(), "what begins now leaves them out");
    }
}
