//! What is too old, or too much for the disk, goes: whole splits, oldest first. And objects that
//! nobody knows of any more.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::{CatalogError, Command};
use cluster::documents::DocumentKind;
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use model::wire::IndexSettings;
use platform::disk;

use crate::publish::PublishError;
use crate::searcher::{Core, Searcher};
use crate::split::{body_name, bundle_name};

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

/// Expires splits by age and by disk share. How many went.
pub(crate) fn expire(core: &Core, data: &Path) -> Result<usize, PublishError> {
    let settings = &core.parties.settings;
    let splits: Vec<Arc<SplitMeta>> = core.read(|state| state.splits.values().cloned().collect());
    let age = i64::try_from(settings.retention.as_nanos()).unwrap_or(i64::MAX);
    let now = core.parties.clock.now();
    let usual = Timestamp(now.0.saturating_sub(age));
    let own = index_settings(core)?;
    let limit = |index: &str| {
        let days = own.get(index).and_then(|settings| settings.retention_days);
        days.map_or(usual, |days| before(now, days))
    };
    // By age one node does it for all; a full disk is the business of who has it.
    let is_keeper = core.keeps_time();
    let (old, mut young): (Vec<_>, Vec<_>) =
        splits.into_iter().partition(|split| is_keeper && split.older_than(limit(&split.index)));
    let me = core.parties.node;
    young.retain(|split| split.copies.is_empty() || split.copies.contains(&me));
    let mut gone: Vec<Arc<SplitMeta>> = old;
    if let Ok((free, total)) = disk::space(data) {
        let used = disk::folder_bytes(data);
        let mut excess =
            over(used, free, total, settings.disk_percent_max, settings.disk_free_bytes_min)
                .saturating_sub(gone.iter().map(|split| split.stored_bytes).sum());
        young.sort_by_key(|split| (split.time_last.max(split.ingest_last), split.offset_first));
        for split in young {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(split.stored_bytes);
            tracing::warn!(split = %split.id, rows = split.row_count, "the disk is full: the oldest split goes before its time");
            gone.push(split);
        }
    }
    if gone.is_empty() {
        return Ok(0);
    }
    let ids: Vec<SplitId> = gone.iter().map(|split| split.id.clone()).collect();
    core.parties.catalog.execute(Command::Replace { remove: ids.clone(), add: Vec::new() })?;
    core.parties.metrics.splits_expired.inc_by(ids.len() as u64);
    for id in &ids {
        tracing::info!(split = %id, "split expired");
    }
    Ok(ids.len())
}

/// Bytes that must go so that we keep to our share and the disk keeps its free bytes.
fn over(used: u64, free: u64, total: u64, percent_max: u64, free_min: u64) -> u64 {
    let share = u128::from(total) * u128::from(percent_max) / 100;
    let over_share = u64::try_from(u128::from(used).saturating_sub(share)).unwrap_or(u64::MAX);
    // Never more than a twentieth of a small disk is kept free.
    let free_min = free_min.min(total / 20);
    over_share.max(free_min.saturating_sub(free))
}

/// How long objects of splits that left the catalog stay in a cluster: other nodes may still answer
/// from them.
const GRACE: Duration = Duration::from_secs(60);
/// How much longer they stay in a shared store for those nodes whose turn it is not: should the one
/// whose turn it is have started again and never heard of them, they are deleted all the same.
const TURN: Duration = Duration::from_secs(15);
/// How old an object of a shared store is that no split has, nanoseconds: it is published long before.
const ORPHAN_AGE_NS: i64 = 3_600_000_000_000;

/// Deletes the objects of splits that left the catalog and that no view holds any more. In a store
/// that all share one node does it first; to the others nothing is left.
pub(crate) fn sweep(core: &Core) {
    // What is kept open for queries holds a split as a view does, and would hold it for good.
    let removed: Vec<SplitId> =
        core.read(|state| state.removed.iter().map(|split| split.id.clone()).collect());
    core.close(&removed);
    let now = core.parties.clock.elapsed();
    let turn =
        if core.parties.objects.is_shared() && !core.keeps_time() { TURN } else { Duration::ZERO };
    let grace = if core.parties.remote.is_some() { GRACE + turn } else { Duration::ZERO };
    let removable: Vec<Arc<SplitMeta>> = core
        .change_if(|state| {
            let (held, free): (Vec<_>, Vec<_>) = std::mem::take(&mut state.removed)
                .into_iter()
                .partition(|split| Arc::strong_count(split) > 1);
            state.removed = held;
            state.doomed.extend(free.into_iter().map(|split| (now + grace, split)));
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

/// Objects of a shared store that no split has and that are old, and uploads that were never
/// finished. One node does it for all.
pub(crate) fn sweep_shared(core: &Core) -> std::io::Result<()> {
    if !core.parties.objects.is_shared() || !core.keeps_time() {
        return Ok(());
    }
    let before = Timestamp(core.parties.clock.now().0.saturating_sub(ORPHAN_AGE_NS));
    sweep_unknown(core, before)?;
    let swept = core.parties.objects.sweep_half(before)?;
    if swept > 0 {
        tracing::info!(swept, "uploads that were never finished are gone");
    }
    Ok(())
}

/// Deletes objects of no split that were put before a moment.
fn sweep_unknown(core: &Core, before: Timestamp) -> std::io::Result<()> {
    let listed = core.parties.objects.list_with_age()?;
    let known: HashSet<String> = core.read(|state| {
        let names = |id: &SplitId| [body_name(id), bundle_name(id)];
        let going = state.removed.iter().chain(state.doomed.iter().map(|(_, split)| split));
        let going = going.map(|split| &split.id);
        state.splits.keys().chain(going).flat_map(names).collect()
    });
    for object in listed {
        let is_unknown = object.name.starts_with("splits/") && !known.contains(&object.name);
        if is_unknown && object.changed < before {
            let (name, bytes) = (&object.name, object.bytes);
            tracing::info!(name, bytes, "sweeping an object that was never published");
            core.parties.objects.delete(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::over;

    #[test]
    fn the_share_and_the_free_bytes_are_both_kept() {
        assert_eq!(over(50, 50, 100, 80, 0), 0);
        assert_eq!(over(90, 10, 100, 80, 0), 10);
        assert_eq!(over(10, 100, 10_000, 80, 300), 200);
        assert_eq!(over(10, 1, 100, 80, 300), 4);
    }
}
