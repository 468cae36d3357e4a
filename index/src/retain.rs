//! What is too old, or too much for the disk, goes: whole splits, oldest first. And objects that
//! nobody knows of any more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::{CatalogError, Command, Fence, Order};
use cluster::documents::DocumentKind;
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use model::wire::IndexSettings;
use platform::disk;

use crate::publish::PublishError;
use crate::room::Room;
use crate::searcher::{Core, Searcher};
use crate::split::{body_name, bundle_name, split_of};

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// What indexes have of their own, by name; the others are as the node's settings say.
pub type IndexDocuments = BTreeMap<String, IndexSettings>;

/// What a shorter retention takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiring {
    /// Records.
    pub records: u64,
    /// Bytes of their splits.
    pub bytes: u64,
}

impl Searcher {
    /// The settings of indexes that have some of their own. Blocks on the disk.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn index_settings(&self) -> Result<IndexDocuments, CatalogError> {
        index_settings(&self.0)
    }

    /// Changes the settings of an index; records that are too old by them go within a minute.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`CatalogError`]; nothing has changed then.
    pub fn set_index_settings(
        &self,
        index: &str,
        settings: &IndexSettings,
    ) -> Result<(), CatalogError> {
        self.0.parties.catalog.put_document(DocumentKind::Index, index, settings)
    }

    /// Days that an index keeps records when it has no settings of its own.
    #[must_use]
    pub fn retention_days(&self) -> u32 {
        let days = self.0.parties.settings.retention.as_secs() / 86_400;
        u32::try_from(days).unwrap_or(u32::MAX)
    }

    /// What would go now if an index kept records for so many days.
    #[must_use]
    pub fn expiring(&self, index: &str, days: u32) -> Expiring {
        let limit = before(self.0.parties.clock.now(), days);
        let view = self.view();
        let old =
            view.splits.iter().filter(|split| split.index == index && split.older_than(limit));
        old.fold(Expiring::default(), |sum, split| Expiring {
            records: sum.records + split.row_count,
            bytes: sum.bytes + split.stored_bytes,
        })
    }
}

fn before(now: Timestamp, days: u32) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::from(days).saturating_mul(DAY_NS)))
}

fn index_settings(core: &Core) -> Result<IndexDocuments, CatalogError> {
    Ok(core.parties.catalog.documents(DocumentKind::Index)?.into_iter().collect())
}

/// Expires splits by age; and looks at the disk. How many went.
///
/// On a node of its own the oldest splits go when the disk is short of room. In a cluster they are
/// everybody's: with a store that all share only what this node keeps of it for itself goes; of
/// copies only this node's own (`keep/sweep.rs`).
pub(crate) fn expire(core: &Core, data: &Path) -> Result<usize, PublishError> {
    let aged = expire_old(core)?;
    let is_shared = core.parties.objects.is_shared();
    if core.parties.remote.is_some() && !is_shared {
        return Ok(aged);
    }
    let Some(space) = Room::new(data.to_owned(), &core.parties.settings).measure() else {
        return Ok(aged);
    };
    if is_shared {
        core.parties.objects.bound_cache(space.bound(core.parties.objects.cache_bytes()));
        return Ok(aged);
    }
    Ok(aged + expire_full(core, space.short)?)
}

/// Expires what is too old. One node does it for all.
fn expire_old(core: &Core) -> Result<usize, PublishError> {
    let Ok(fence) = core.time_lease() else { return Ok(0) };
    if core.parties.remote.as_ref().is_some_and(|remote| !remote.clock_agrees()) {
        // By a clock that is wrong everything may be too old.
        return Ok(0);
    }
    if fence.is_some() && !too_old(core)?.is_empty() {
        // This node may be behind: settings that were changed until now hold.
        await_decision(core, fence.clone())?;
    }
    let gone = too_old(core)?;
    remove(core, &gone, fence)
}

fn too_old(core: &Core) -> Result<Vec<Arc<SplitMeta>>, CatalogError> {
    let age = i64::try_from(core.parties.settings.retention.as_nanos()).unwrap_or(i64::MAX);
    let now = core.parties.clock.now();
    let usual = Timestamp(now.0.saturating_sub(age));
    let own = index_settings(core)?;
    let limit = |index: &str| {
        let days = own.get(index).and_then(|settings| settings.retention_days);
        days.map_or(usual, |days| before(now, days))
    };
    let is_old = |split: &&Arc<SplitMeta>| split.older_than(limit(&split.index));
    Ok(core.read(|state| state.splits.values().filter(is_old).cloned().collect()))
}

/// Expires the oldest splits until so many bytes become free.
fn expire_full(core: &Core, short: u64) -> Result<usize, PublishError> {
    let (mut splits, going) = core.read(|state| {
        let splits: Vec<Arc<SplitMeta>> = state.splits.values().cloned().collect();
        let going = state.removed.iter().chain(state.doomed.iter().map(|(_, split)| split));
        (splits, going.map(|split| split.stored_bytes).sum::<u64>())
    });
    splits.sort_by_key(|split| split.age());
    // What views hold still goes by itself.
    let gone = until_free(splits, short.saturating_sub(going));
    for split in &gone {
        tracing::warn!(split = %split.id, rows = split.row_count, "the disk is full: the oldest split goes before its time");
    }
    remove(core, &gone, None)
}

/// The first of some splits that free so many bytes together, or all.
pub(crate) fn until_free(splits: Vec<Arc<SplitMeta>>, mut bytes: u64) -> Vec<Arc<SplitMeta>> {
    let is_wanted = |split: &Arc<SplitMeta>| {
        let is_wanted = bytes > 0;
        bytes = bytes.saturating_sub(split.stored_bytes);
        is_wanted
    };
    splits.into_iter().take_while(is_wanted).collect()
}

fn remove(
    core: &Core,
    gone: &[Arc<SplitMeta>],
    fence: Option<Fence>,
) -> Result<usize, PublishError> {
    if gone.is_empty() {
        return Ok(0);
    }
    let remove: Vec<SplitId> = gone.iter().map(|split| split.id.clone()).collect();
    let command = Command::Replace { remove, add: Vec::new() };
    core.parties.catalog.execute(Order { command, fence })?;
    core.parties.metrics.splits_expired.inc_by(gone.len() as u64);
    for split in gone {
        tracing::info!(split = %split.id, "split expired");
    }
    Ok(gone.len())
}

/// How long ago a split was begun at least that is not known and never will be, nanoseconds: building
/// one takes less.
const ORPHAN_AGE_NS: i64 = 900_000_000_000;
/// The same where its objects go to a store that all nodes share, which may be slow.
const ORPHAN_AGE_SHARED_NS: i64 = 3_600_000_000_000;

/// Has it decided that splits which were begun a while ago and are not known by now never will be.
/// From then on whoever knows of it may sweep their objects. In a cluster one node does it for all; a
/// node of its own needs it for a store only.
pub(crate) fn close_past(core: &Core) -> Result<(), PublishError> {
    let Ok(fence) = core.time_lease() else { return Ok(()) };
    if core.parties.remote.as_ref().is_some_and(|remote| !remote.clock_agrees()) {
        return Ok(());
    }
    let is_shared = core.parties.objects.is_shared();
    if fence.is_none() && !is_shared {
        return Ok(());
    }
    let age = if is_shared { ORPHAN_AGE_SHARED_NS } else { ORPHAN_AGE_NS };
    let before = Timestamp(core.parties.clock.now().0.saturating_sub(age));
    let command = Command::SweepBefore(before);
    core.parties.catalog.execute(Order { command, fence })?;
    Ok(())
}

/// Waits until the catalog decides: what was proposed before is decided then too, and known here.
pub(crate) fn await_decision(core: &Core, fence: Option<Fence>) -> Result<(), PublishError> {
    // It changes nothing.
    let command = Command::Copied { splits: Vec::new(), node: core.parties.node };
    core.parties.catalog.execute(Order { command, fence })?;
    Ok(())
}

/// How much longer they stay in a shared store for those nodes whose turn it is not: should the one
/// whose turn it is have started again and never heard of them, they are deleted all the same.
const TURN: Duration = Duration::from_secs(15);

/// Deletes the objects of splits that left the catalog and that no view holds any more. In a store
/// that all share one node does it first; to the others nothing is left.
pub(crate) fn sweep(core: &Core) {
    // What is kept open for queries holds a split as a view does, and would hold it for good.
    let removed: Vec<SplitId> =
        core.read(|state| state.removed.iter().map(|split| split.id.clone()).collect());
    core.close(&removed);
    let now = core.parties.clock.elapsed();
    let is_second = core.parties.objects.is_shared() && core.time_lease().is_err();
    let turn = if is_second { TURN } else { Duration::ZERO };
    // Other nodes may still answer from them.
    let kept = core.parties.settings.removed_kept.saturating_add(turn);
    let grace = if core.parties.remote.is_some() { kept } else { Duration::ZERO };
    let removable: Vec<Arc<SplitMeta>> = core
        .change_if(|state| {
            let free = state.let_go();
            let at = now.saturating_add(grace);
            state.doomed.extend(free.into_iter().map(|split| (at, split)));
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut state.doomed).into_iter().partition(|(at, _)| *at <= now);
            state.doomed = later;
            let due: Vec<_> = due.into_iter().map(|(_, split)| split).collect();
            (!due.is_empty()).then_some(due)
        })
        .unwrap_or_default();
    for split in removable {
        core.forget(&split.id);
        for name in [body_name(&split.id), bundle_name(&split.id)] {
            if let Err(error) = core.parties.objects.delete(&name) {
                tracing::warn!(%error, name, "an object could not be deleted; a sweep tries again");
            }
        }
    }
}

/// At the start: work in progress that a crash left, and on a node of its own objects that were
/// never published. In a cluster the catalog may be behind: there objects are swept by their age.
///
/// # Errors
/// As the system says.
pub(crate) fn sweep_leftovers(core: &Core) -> std::io::Result<()> {
    disk::remove_dir_all(&core.parties.work)?;
    disk::create_dir_all(&core.parties.work)?;
    if core.parties.remote.is_none() {
        sweep_unknown(core, Timestamp(i64::MAX))?;
    }
    Ok(())
}

/// Objects of a shared store that no split has or will have, and uploads that were never finished.
/// One node does it for all.
pub(crate) fn sweep_shared(core: &Core) -> std::io::Result<()> {
    if !core.parties.objects.is_shared() || core.time_lease().is_err() {
        return Ok(());
    }
    let before = core.parties.catalog.swept_before().map_err(std::io::Error::other)?;
    sweep_unknown(core, before)?;
    let swept = core.parties.objects.sweep_half(before)?;
    if swept > 0 {
        tracing::info!(swept, "uploads that were never finished are gone");
    }
    Ok(())
}

/// Deletes objects of no split that were put before a moment, and of splits that were begun before.
fn sweep_unknown(core: &Core, before: Timestamp) -> std::io::Result<()> {
    let listed = core.parties.objects.list_with_age()?;
    // As it is now: what this node was told of may be less, and what it shows more.
    let splits = core.parties.catalog.splits().map_err(std::io::Error::other)?;
    let mut known: HashSet<SplitId> = splits.iter().map(|split| split.id.clone()).collect();
    core.read(|state| {
        let going = state.removed.iter().chain(state.doomed.iter().map(|(_, split)| split));
        known.extend(state.splits.keys().chain(going.map(|split| &split.id)).cloned());
    });
    let is_alone = core.parties.remote.is_none();
    for object in listed {
        let Some(id) = split_of(&object.name).filter(|id| !known.contains(id)) else { continue };
        let is_never = is_alone || id.begun().is_some_and(|begun| begun < before);
        if is_never && object.changed < before {
            let (name, bytes) = (&object.name, object.bytes);
            tracing::info!(name, bytes, "sweeping an object that was never published");
            core.parties.objects.delete(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::node::NodeId;
    use platform::objects::{Objects, StoreOptions};
    use platform::shutdown::Shutdown;

    use super::*;
    use crate::fixture::Fixture;
    use crate::searcher::Parties;

    fn bytes_of(fixture: &Fixture) -> Vec<u64> {
        let splits = fixture.searcher.view().splits.clone();
        splits.iter().map(|split| split.stored_bytes).collect()
    }

    #[test]
    fn a_node_of_its_own_lets_its_oldest_splits_go_when_the_disk_is_short() {
        let fixture = Fixture::new();
        for message in ["one", "two", "three"] {
            fixture.publish(&[message]);
        }
        let core = &fixture.core;
        assert_eq!(expire_full(core, 0).unwrap(), 0);
        let short = bytes_of(&fixture)[0] + 1;
        let view = fixture.searcher.view();
        assert_eq!(expire_full(core, short).unwrap(), 2);
        assert_eq!(fixture.stored(), ["three"]);
        // What a question still reads goes when it is done: no more has to go for that.
        sweep(core);
        assert_eq!(expire_full(core, short).unwrap(), 0);
        drop(view);
        sweep(core);
        assert_eq!(core.parties.objects.list().unwrap().len(), 2, "one split has two objects");
        assert_eq!(expire_full(core, 1).unwrap(), 1);
        assert_eq!(core.parties.metrics.splits_expired.get(), 3);
    }

    #[test]
    fn what_is_too_old_goes_by_the_settings_of_its_index() {
        let fixture = Fixture::new();
        fixture.publish(&["one"]);
        fixture.clock.advance(Duration::from_secs(3 * 86_400));
        assert_eq!(expire_old(&fixture.core).unwrap(), 0);
        let settings = IndexSettings { retention_days: Some(2) };
        fixture.searcher.set_index_settings("main", &settings).unwrap();
        assert_eq!(fixture.searcher.expiring("main", 2).records, 1);
        assert_eq!(expire_old(&fixture.core).unwrap(), 1);
        assert!(fixture.stored().is_empty());
    }

    #[test]
    fn a_node_of_its_own_closes_the_past_of_its_store() {
        let fixture = Fixture::new();
        close_past(&fixture.core).unwrap();
        let swept = |core: &Core| core.parties.catalog.swept_before().unwrap();
        assert_eq!(swept(&fixture.core), Timestamp::MIN, "what is on its disk is swept otherwise");
        let folder = tempfile::tempdir().unwrap();
        let (url, cache) =
            (format!("file://{}/store", folder.path().display()), folder.path().join("cache"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.unwrap();
        let (options, handle) = (StoreOptions::from_env(), runtime.handle().clone());
        let objects = Objects::shared(&url, &options, &cache, 0, handle).unwrap();
        let parties = Parties { objects, ..fixture.core.parties.clone() };
        let core = Core::new(parties, Shutdown::default());
        close_past(&core).unwrap();
        assert_eq!(swept(&core), Timestamp(-ORPHAN_AGE_SHARED_NS));
    }

    #[test]
    fn what_a_question_reads_stays_under_whatever_it_was_known_as() {
        let fixture = Fixture::new();
        let id = fixture.publish(&["one"]).id.clone();
        let core = &fixture.core;
        let (view, catalog) = (fixture.searcher.view(), &core.parties.catalog);
        let splits = vec![id.clone()];
        catalog.execute(Command::Copied { splits, node: NodeId(7) }).unwrap();
        let remove = vec![id.clone()];
        catalog.execute(Command::Replace { remove, add: Vec::new() }).unwrap();
        sweep(core);
        assert!(core.parties.objects.has_local(&body_name(&id)));
        drop(view);
        sweep(core);
        assert!(!core.parties.objects.has_local(&body_name(&id)));
    }

    #[test]
    fn objects_that_were_never_published_are_swept_at_the_start() {
        let fixture = Fixture::new();
        let known = fixture.publish(&["one"]);
        let objects = &fixture.core.parties.objects;
        for name in ["splits/other/body.parquet", "owner"] {
            objects.put_new(name, b"x").unwrap();
        }
        sweep_leftovers(&fixture.core).unwrap();
        let mut left: Vec<String> =
            objects.list().unwrap().into_iter().map(|(name, _)| name).collect();
        left.sort();
        assert_eq!(left, ["owner".to_owned(), body_name(&known.id), bundle_name(&known.id)]);
        assert_eq!(fixture.stored(), ["one"]);
    }
}
