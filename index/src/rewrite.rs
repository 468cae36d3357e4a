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
/// now. `None` where the node stops, or another one has the partition: nothing is left of it then.
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
    };
    let begun = core.parties.clock.elapsed();
    let source = source_of(&opened, &going)?;
    let source = source.with(|pieces| WhileOwn { pieces, core, partition: one.partition });
    let meta = match build(origin, source, &work, &core.parties.objects) {
        Err(BuildError::Stopped) => return Ok(None),
        built => built?,
    };
    let took = core.parties.clock.elapsed().saturating_sub(begun);
    Ok(Some(Rewritten { meta, took }))
}

/// Rows that come while the node runs and indexes their partition.
struct WhileOwn<'a, I> {
    pieces: I,
    core: &'a Core,
    partition: PartitionId,
}

impl<I: Iterator<Item = Result<Piece, BuildError>>> Iterator for WhileOwn<'_, I> {
    type Item = Result<Piece, BuildError>;

    fn next(&mut self) -> Option<Self::Item> {
        let core = self.core;
        if core.shutdown.is_triggered() || core.fence(self.partition).is_err() {
            return Some(Err(BuildError::Stopped));
        }
        self.pieces.next()
    }
}

#[cfg(test)]
mod tests {
    use platform::disk;

    use super::*;
    use crate::fixture::{Fixture, PARTITION};

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
    }
}
