//! What is too old, or too much for the disk, goes: whole splits, oldest first. And objects that
//! nobody knows of any more.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use platform::disk;

use crate::publish::PublishError;
use crate::searcher::Core;
use crate::split::{body_name, bundle_name};

/// Expires splits by age and by disk share. How many went.
pub(crate) fn expire(core: &Core, data: &Path) -> Result<usize, PublishError> {
    let settings = &core.parties.settings;
    let splits: Vec<Arc<SplitMeta>> = core.read(|state| state.splits.values().cloned().collect());
    let age = i64::try_from(settings.retention.as_nanos()).unwrap_or(i64::MAX);
    let limit = Timestamp(core.parties.clock.now().0.saturating_sub(age));
    let (old, mut young): (Vec<_>, Vec<_>) =
        splits.into_iter().partition(|split| split.older_than(limit));
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
    core.parties.catalog.replace(&ids, &[])?;
    core.parties.metrics.splits_expired.inc_by(ids.len() as u64);
    core.change(|state| {
        for id in &ids {
            tracing::info!(split = %id, "split expired");
            state.removed.extend(state.splits.remove(id));
        }
    });
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

/// Deletes the objects of splits that left the catalog and that no view holds any more.
pub(crate) fn sweep(core: &Core) {
    let removable: Vec<Arc<SplitMeta>> = core
        .change_if(|state| {
            let (held, free): (Vec<_>, Vec<_>) = std::mem::take(&mut state.removed)
                .into_iter()
                .partition(|split| Arc::strong_count(split) > 1);
            state.removed = held;
            (!free.is_empty()).then_some(free)
        })
        .unwrap_or_default();
    for split in removable {
        core.forget(&split.id);
        for name in [body_name(&split.id), bundle_name(&split.id)] {
            if let Err(error) = core.parties.objects.delete(&name) {
                tracing::warn!(%error, name, "an object could not be deleted; the next start tries again");
            }
        }
    }
}

/// At the start: work in progress that a crash left, and objects that were never published.
///
/// # Errors
/// As the system says.
pub(crate) fn sweep_leftovers(core: &Core) -> std::io::Result<()> {
    disk::remove_dir_all(&core.parties.work)?;
    disk::create_dir_all(&core.parties.work)?;
    let known: HashSet<String> = core.read(|state| {
        let names = |id: &SplitId| [body_name(id), bundle_name(id)];
        state.splits.keys().flat_map(names).collect()
    });
    for (name, bytes) in core.parties.objects.list()? {
        if name.starts_with("splits/") && !known.contains(&name) {
            tracing::info!(name, bytes, "sweeping an object that was never published");
            core.parties.objects.delete(&name)?;
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
