//! Small splits into one: of one index, partition and size, streamed in row order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use cluster::catalog::{CatalogError, Command, Order, Refusal};
use model::partition::PartitionId;
use model::query::Filter;
use model::split::{FieldStat, SplitMeta};

use crate::aside::written_anew;
use crate::merging::Merging;
use crate::publish::{PublishError, not_published, secured};
use crate::rewrite::{Rewritten, own_splits, rewritten};
use crate::scan::ScanError;
use crate::schema::{FieldColumnId, united};
use crate::searcher::Core;
use crate::split::{
    Arrivals, BuildError, Forms, IngestTimes, Late, Packing, PageCache, Sketches, Source, Split,
    Sums, TemplateKey, Unit, body_name, bundle_name,
};

/// Each size is so many times the one before.
const TIER: u64 = 8;
/// Rows of the smallest size.
const TIER_ROWS: u64 = 1 << 12;
/// Inputs of a merge at most, in fan-ins: all of them are open at once.
pub(crate) const INPUTS: usize = 4;
/// Bytes of a row's texts that a split's size is counted in where they are more, however well they are
/// packed.
const TEXT_BYTES: u64 = 4 << 10;
/// Bytes of a row at rest that a split's size is counted in: a merge holds the pages and the tokens of
/// the split that it makes, so wider rows count for more.
const ROW_BYTES: u64 = 64;
/// A day in nanoseconds: splits of one day are merged with each other first.
pub(crate) const DAY: i64 = 86_400_000_000_000;

/// Merges one group, if there is one to merge. Whether there was.
pub(crate) fn merge_one(core: &Core) -> Result<bool, PublishError> {
    let (settings, splits) = (&core.parties.settings, own_splits(core));
    let Some(group) = choose(&splits, settings.merge_fan_in, settings.merge_rows_max) else {
        return Ok(false);
    };
    written_anew(core, &group, || merge(core, &group))
}

/// Merges a group. Whether it was done: not where it was to stop.
fn merge(core: &Core, group: &[Arc<SplitMeta>]) -> Result<bool, PublishError> {
    let Some(Rewritten { meta, took }) = rewritten(core, group, Packing::of(group))? else {
        return Ok(false);
    };
    core.parties.metrics.merges.add(meta.as_ref(), took);
    let rows = meta.as_ref().map_or(0, |meta| meta.row_count);
    let split = meta.as_ref().map(|meta| meta.id.to_string()).unwrap_or_default();
    let from = group.len() as u64;
    put_in_place(core, group, meta)?;
    core.parties.metrics.splits_merged.inc_by(from);
    tracing::info!(split, from, rows, "splits merged");
    Ok(true)
}

/// Puts what was built in the place of splits of one partition, kept as often as it has to be.
pub(crate) fn put_in_place(
    core: &Core,
    group: &[Arc<SplitMeta>],
    built: Option<SplitMeta>,
) -> Result<(), PublishError> {
    let Some(one) = group.first() else { return Ok(()) };
    let Ok(fence) = core.fence(one.partition) else {
        // The partition is another node's by now.
        if let Some(meta) = built {
            tracing::warn!(split = %meta.id, "built and not published");
            discard(core, group, &meta);
        }
        return Ok(());
    };
    let kept =
        |meta: SplitMeta| secured(core, meta.clone()).inspect_err(|_| discard(core, group, &meta));
    let add: Vec<SplitMeta> = built.into_iter().map(kept).collect::<Result<_, _>>()?;
    let remove: Vec<_> = group.iter().map(|split| split.id.clone()).collect();
    let command = Command::Replace { remove, add: add.clone() };
    let is_alone = fence.is_none();
    let replaced = core.parties.catalog.execute(Order { command, fence });
    replaced.map(drop).map_err(|error| {
        not_published(&add, &error);
        // One of them expired meanwhile. A catalog of this node alone decides once and for all.
        if is_alone && matches!(error, CatalogError::Refused(Refusal::Gone(_))) {
            add.iter().for_each(|meta| discard(core, group, meta));
        }
        error.into()
    })
}

/// Deletes the objects of a split that was built and that nobody was told of.
fn discard(core: &Core, group: &[Arc<SplitMeta>], meta: &SplitMeta) {
    // One that stays under its name was not built.
    if group.iter().any(|split| split.id == meta.id) {
        return;
    }
    for name in [body_name(&meta.id), bundle_name(&meta.id)] {
        if let Err(error) = core.parties.objects.delete(&name) {
            tracing::warn!(%error, name, "an object could not be deleted; a sweep tries again");
        }
    }
}

/// Opened splits are not cached: they are about to go.
pub(crate) fn open_all(core: &Core, group: &[Arc<SplitMeta>]) -> Result<Vec<Split>, PublishError> {
    let pages = PageCache::none();
    let open = |meta: &Arc<SplitMeta>| Split::open(meta.clone(), &core.parties.objects, &pages);
    let opened = group.iter().map(open).collect::<Result<_, ScanError>>();
    opened.map_err(|error| PublishError::Build(BuildError::Rows(error)))
}

/// Splits of one index, partition and size, oldest first: of one day before others. Those that are cold
/// are merged with each other, and stay cold.
fn choose(splits: &[Arc<SplitMeta>], fan_in: usize, rows_max: u64) -> Option<Vec<Arc<SplitMeta>>> {
    type Groups<'a, K> = BTreeMap<(K, bool, &'a str, PartitionId), Vec<&'a Arc<SplitMeta>>>;
    let (mut by_day, mut by_size): (Groups<'_, (u32, i64)>, Groups<'_, u32>) = Default::default();
    // What is more than half of the bound is done: hardly another would fit beside it.
    let open = |split: &&Arc<SplitMeta>| size(split) <= rows_max / 2;
    for split in splits.iter().filter(open) {
        let tier = (size(split) / TIER_ROWS).max(1).ilog(TIER);
        let day = split.time_last.div_euclid(DAY);
        let (cold, index, partition) = (split.cold, &*split.index, split.partition);
        by_day.entry(((tier, day), cold, index, partition)).or_default().push(split);
        by_size.entry((tier, cold, index, partition)).or_default().push(split);
    }
    let most = (fan_in.saturating_mul(INPUTS), rows_max);
    by_day.into_values().find_map(|group| fitting(group, fan_in, most)).or_else(|| {
        // Days with few splits would keep them for ever: merge them across days when there are
        // very many.
        by_size.into_values().find_map(|group| fitting(group, most.0, most))
    })
}

/// The rows of a split, counted in rows of [`ROW_BYTES`] and of [`TEXT_BYTES`] where its own are wider.
pub(crate) fn size(split: &SplitMeta) -> u64 {
    split.row_count.max(split.stored_bytes / ROW_BYTES).max(split.raw_bytes / TEXT_BYTES)
}

fn fitting(
    mut group: Vec<&Arc<SplitMeta>>,
    fan_in: usize,
    (inputs_max, rows_max): (usize, u64),
) -> Option<Vec<Arc<SplitMeta>>> {
    group.sort_by_key(|split| (split.time_last, split.offset_first));
    let (mut run, mut rows): (Vec<Arc<SplitMeta>>, u64) = (Vec::new(), 0);
    let waiting = group.len();
    for split in group {
        if run.len() == inputs_max || rows + size(split) > rows_max {
            // No more would fit: there is nothing to wait for.
            if run.len() >= 2 {
                return Some(run);
            }
            run.clear();
            rows = 0;
        }
        rows += size(split);
        run.push(Arc::clone(split));
    }
    (waiting >= fan_in && run.len() >= 2).then_some(run)
}

/// Splits as one is built from them, without the rows that match what is `going` from each.
pub(crate) fn source_of<'a>(
    splits: &'a [Split],
    going: &[Option<Filter>],
) -> Result<Source<'a, Merging>, BuildError> {
    let schema = shared(splits)?;
    let mut templates: BTreeMap<TemplateKey, u32> = BTreeMap::new();
    let (mut ingest, mut arrivals, mut unit) = (Vec::new(), Vec::new(), Unit::Milli);
    let (mut sketches, mut forms) = (Vec::new(), Vec::new());
    for split in splits {
        templates.extend(split.templates()?.0.iter().map(|template| (template.key.clone(), 0)));
        ingest.push(split.ingest()?);
        arrivals.push(split.arrivals()?);
        sketches.push(split.sketches()?);
        unit = unit.min(split.unit()?);
        forms.push(split.forms()?);
    }
    for (rank, place) in (0..).zip(templates.values_mut()) {
        *place = rank;
    }
    let sums = match going.iter().any(Option::is_some) {
        true => Sums::default(),
        false => Sums::of_splits(splits, &templates)?,
    };
    let sketches = Sketches::joined(sketches.iter().map(Option::as_ref));
    let late = Late::of_splits(&schema, splits, &sketches, &sums)?;
    let pieces = Merging::new(splits, going, (schema.clone(), &late), &templates)?;
    let ingest = IngestTimes::joined(ingest.iter().map(Arc::as_ref));
    let (templates, arrivals) = (templates.into_keys().collect(), Arrivals::joined(&arrivals));
    let forms = Forms::joined(forms);
    Ok(Source { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, pieces })
}

fn shared(splits: &[Split]) -> Result<SchemaRef, ScanError> {
    let id = |field: &FieldStat| FieldColumnId {
        name: field.name.clone(),
        kind: (!field.label).then_some(field.kind),
    };
    let mut counts: Vec<(FieldColumnId, u64)> = Vec::new();
    for split in splits {
        counts.extend(split.fields()?.iter().map(|field| (id(field), field.count)));
    }
    Ok(united(counts.iter().map(|(id, count)| (id, *count))))
}

#[cfg(test)]
mod tests {
    use model::split::SplitId;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Fixture, entry};

    #[test]
    fn a_damaged_split_is_left_out_for_a_while() {
        let fixture = Fixture::new();
        let damaged = fixture.publish(&["a 0"]);
        for message in ["a 1", "a 2", "a 3"] {
            fixture.publish(&[message]);
        }
        let body = fixture.damage(&damaged);
        assert!(merge_one(&fixture.core).is_err());
        assert!(merge_one(&fixture.core).unwrap());
        let known = |split: &SplitMeta| fixture.core.parties.catalog.split(&split.id).unwrap();
        assert_eq!(known(&damaged).as_ref(), Some(&*damaged));
        assert_eq!(fixture.searcher.view().splits.len(), 2);
        fixture.mend(&damaged, &body);
        assert_eq!(fixture.stored(), ["a 0", "a 1", "a 2", "a 3"]);
    }

    #[test]
    fn many_small_splits_are_merged_some_at_a_time() {
        let splits: Vec<Arc<SplitMeta>> = (0..1_000).map(|at| split(at, 1)).collect();
        let group = choose(&splits, 8, 1_000_000).unwrap();
        // The oldest of them.
        assert_eq!(group, splits[..32]);
        let days = |at| SplitMeta { time_last: at * DAY, ..SplitMeta::clone(&split(0, 1)) };
        let splits: Vec<Arc<SplitMeta>> = (0..1_000).map(|at| Arc::new(days(at))).collect();
        assert_eq!(choose(&splits, 8, 1_000_000).unwrap(), splits[..32]);
    }

    #[test]
    fn cold_splits_are_merged_with_each_other_alone() {
        let cold = |at| Arc::new(SplitMeta { cold: true, ..SplitMeta::clone(&split(at, 1)) });
        let mixed: Vec<Arc<SplitMeta>> =
            (0..14).map(|at| if at % 2 == 0 { cold(at) } else { split(at, 1) }).collect();
        assert_eq!(choose(&mixed, 8, 1_000_000), None, "seven of each");
        let group = choose(&[mixed, vec![cold(14)]].concat(), 8, 1_000_000).unwrap();
        assert!(group.len() == 8 && group.iter().all(|split| split.cold));
        assert_eq!((Packing::of(&group), Packing::of(&[])), (Packing::Small, Packing::Quick));
    }

    #[test]
    fn texts_that_pack_well_are_merged_up_to_a_bound() {
        let wide = |at| SplitMeta { raw_bytes: 1 << 28, ..SplitMeta::clone(&split(at, 1_000)) };
        let splits: Vec<Arc<SplitMeta>> = (0..40).map(|at| Arc::new(wide(at))).collect();
        let group = choose(&splits, 8, 1_000_000).unwrap();
        assert_eq!(group.iter().map(|split| split.raw_bytes).sum::<u64>(), 15 << 28);
    }

    fn split(at: usize, row_count: u64) -> Arc<SplitMeta> {
        let time = i64::try_from(at).unwrap() * 60_000_000_000;
        Arc::new(entry(SplitId(at.to_string()), time, row_count))
    }

    #[test]
    fn what_was_built_of_splits_that_left_the_catalog_goes() {
        let fixture = Fixture::new();
        let group = [fixture.publish(&["a 1"]), fixture.publish(&["a 2"])];
        let core = &fixture.core;
        let built = rewritten(core, &group, Packing::Quick).unwrap().unwrap();
        let remove = vec![group[0].id.clone()];
        core.parties.catalog.execute(Command::Replace { remove, add: Vec::new() }).unwrap();
        assert!(put_in_place(core, &group, built.meta).is_err());
        // Those of what expired go with a sweep.
        assert_eq!(core.parties.objects.list().unwrap().len(), 4, "two objects a split");
        assert_eq!(fixture.stored(), ["a 2"]);
    }

    proptest! {
        #[test]
        fn merging_comes_to_an_end_with_few_splits(sizes in prop::collection::vec(1_u64..400_000, 1..120)) {
            const ROWS_MAX: u64 = 1_000_000;
            const FAN_IN: usize = 8;
            let mut splits: Vec<Arc<SplitMeta>> = Vec::new();
            let (mut written, all) = (0, sizes.iter().sum::<u64>());
            for (at, rows) in sizes.iter().enumerate() {
                splits.push(split(at, *rows));
                while let Some(group) = choose(&splits, FAN_IN, ROWS_MAX) {
                    prop_assert!(group.len() >= 2);
                    let rows = group.iter().map(|split| split.row_count).sum();
                    prop_assert!(rows <= ROWS_MAX);
                    written += rows;
                    splits.retain(|split| !group.iter().any(|gone| gone.id == split.id));
                    splits.push(split(1_000 + at * 100 + splits.len(), rows));
                }
            }
            prop_assert_eq!(splits.iter().map(|split| split.row_count).sum::<u64>(), all);
            // Splits that are done are more than half full; of each size a few wait.
            let tiers = 4;
            prop_assert!(splits.len() as u64 <= all * 2 / ROWS_MAX + tiers * FAN_IN as u64);
            prop_assert!(written <= all * tiers, "{written} of {all} rows");
        }
    }
}
