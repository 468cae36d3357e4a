//! Small splits into one: of one index, partition and size, streamed in row order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use cluster::catalog::{Command, Order};
use model::partition::PartitionId;
use model::query::Filter;
use model::split::{FieldStat, SplitMeta};
use model::time::TimeRange;

use crate::aside::written_anew;
use crate::columns::{Values, numbers, times};
use crate::evaluate::{Evaluator, Place};
use crate::pick::pick;
use crate::publish::{PublishError, new_id, not_published, secured};
use crate::scan::ScanError;
use crate::schema::{BATCH_BYTES, FieldColumnId, adapt, batch_rows, text_bytes, united};
use crate::searcher::Core;
use crate::split::{
    Arrivals, BuildError, IngestTimes, Origin, PageCache, Piece, Sketches, Source, Split,
    TemplateKey, Unit, body_name, build, bundle_name,
};

/// Each size is so many times the one before.
const TIER: u64 = 8;
/// Rows of the smallest size.
const TIER_ROWS: u64 = 1 << 12;
/// Inputs of a merge at most, in fan-ins: all of them are open at once.
const INPUTS: usize = 4;
/// Bytes of a row's texts that a split's size is counted in where they are more, however well they are
/// packed.
const TEXT_BYTES: u64 = 4 << 10;
/// Bytes of a row at rest that a split's size is counted in: a merge holds the pages and the tokens of
/// the split that it makes, so wider rows count for more.
const ROW_BYTES: u64 = 64;
/// A day in nanoseconds: splits of one day are merged with each other first.
const DAY: i64 = 86_400_000_000_000;

/// Merges one group, if there is one to merge. Whether there was.
pub(crate) fn merge_one(core: &Core) -> Result<bool, PublishError> {
    let settings = &core.parties.settings;
    // Who indexes a partition merges its splits: nobody else does the same.
    let splits: Vec<Arc<SplitMeta>> = core.read(|state| {
        let own = |split: &&Arc<SplitMeta>| state.partitions.contains_key(&split.partition);
        state.splits.values().filter(own).cloned().collect()
    });
    let splits = core.not_aside(splits);
    let Some(group) = choose(&splits, settings.merge_fan_in, settings.merge_rows_max) else {
        return Ok(false);
    };
    written_anew(core, &group, || merge(core, &group))?;
    Ok(true)
}

/// Merges a group.
fn merge(core: &Core, group: &[Arc<SplitMeta>]) -> Result<(), PublishError> {
    let Some(one) = group.first() else { return Ok(()) };
    let id = new_id(core, one.partition);
    let opened = open_all(core, group)?;
    // What was asked to be deleted until now goes with it.
    let (deletions, going) = core.read(|state| {
        let going: Vec<Option<Filter>> =
            group.iter().map(|split| state.deletions.of_split(split)).collect();
        (state.deletions.last, going)
    });
    let origin = Origin {
        id: id.clone(),
        index: one.index.clone(),
        partition: one.partition,
        merges: group.iter().map(|split| split.merges).max().unwrap_or(0).saturating_add(1),
        deletions,
    };
    let begun = core.parties.clock.elapsed();
    let source = source_of(&opened, &going)?;
    let built = build(origin, source, &core.parties.work.join(&id.0), &core.parties.objects)?;
    let took = core.parties.clock.elapsed().saturating_sub(begun);
    core.parties.metrics.merges.add(built.as_ref(), took);
    let rows = built.as_ref().map_or(0, |meta| meta.row_count);
    let from = group.len() as u64;
    put_in_place(core, group, built)?;
    core.parties.metrics.splits_merged.inc_by(from);
    tracing::info!(split = %id, from, rows, "splits merged");
    Ok(())
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
    let replaced = core.parties.catalog.execute(Order { command, fence });
    replaced.map(drop).map_err(|error| {
        not_published(&add, &error);
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

/// Splits of one index, partition and size, oldest first: of one day before others.
fn choose(splits: &[Arc<SplitMeta>], fan_in: usize, rows_max: u64) -> Option<Vec<Arc<SplitMeta>>> {
    let mut by_day: BTreeMap<(u32, i64, &str, PartitionId), Vec<&Arc<SplitMeta>>> = BTreeMap::new();
    let mut by_size: BTreeMap<(u32, &str, PartitionId), Vec<&Arc<SplitMeta>>> = BTreeMap::new();
    // What is more than half of the bound is done: hardly another would fit beside it.
    let open = |split: &&Arc<SplitMeta>| size(split) <= rows_max / 2;
    for split in splits.iter().filter(open) {
        let tier = (size(split) / TIER_ROWS).max(1).ilog(TIER);
        let day = split.time_last.div_euclid(DAY);
        by_day.entry((tier, day, &split.index, split.partition)).or_default().push(split);
        by_size.entry((tier, &split.index, split.partition)).or_default().push(split);
    }
    let most = (fan_in.saturating_mul(INPUTS), rows_max);
    by_day.into_values().find_map(|group| fitting(group, fan_in, most)).or_else(|| {
        // Days with few splits would keep them for ever: merge them across days when there are
        // very many.
        by_size.into_values().find_map(|group| fitting(group, most.0, most))
    })
}

/// The rows of a split, counted in rows of [`ROW_BYTES`] and of [`TEXT_BYTES`] where its own are wider.
fn size(split: &SplitMeta) -> u64 {
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
pub(crate) fn source_of(
    splits: &[Split],
    going: &[Option<Filter>],
) -> Result<Source<Merging>, BuildError> {
    let schema = shared(splits)?;
    let mut templates: BTreeMap<TemplateKey, u32> = BTreeMap::new();
    let (mut ingest, mut arrivals, mut unit) = (Vec::new(), Vec::new(), Unit::Milli);
    let mut sketches = Vec::new();
    for split in splits {
        templates.extend(split.templates()?.0.iter().map(|template| (template.key.clone(), 0)));
        ingest.push(split.ingest()?);
        arrivals.push(split.arrivals()?);
        sketches.push(split.sketches()?);
        unit = unit.min(split.unit()?);
    }
    for (rank, place) in (0..).zip(templates.values_mut()) {
        *place = rank;
    }
    let pieces = Merging::new(splits, going, schema.clone(), &templates)?;
    let sketches = Sketches::joined(sketches.iter().map(Option::as_ref));
    let ingest = IngestTimes::joined(ingest.iter().map(Arc::as_ref));
    let (templates, arrivals) = (templates.into_keys().collect(), Arrivals::joined(&arrivals));
    Ok(Source { schema, unit, templates, ingest, arrivals, sketches, pieces })
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

/// A row's place in a split: template, text (of loose rows only), timestamp, offset.
type Key = (u32, String, i64, u64);
type Rows = Box<dyn Iterator<Item = Result<(RecordBatch, Vec<u32>), ScanError>> + Send>;

/// One of the splits that are merged, at its next row.
struct Input {
    rows: Rows,
    /// What its rows must not match.
    going: Option<(Evaluator, Arc<SplitMeta>)>,
    batch: RecordBatch,
    /// Bytes of the texts of each row of the batch.
    bytes: Vec<u64>,
    /// The template of each row of the batch, by the numbers of the merged split.
    templates: Vec<u32>,
    /// The numbers of its templates in the merged split.
    renumbered: Vec<u32>,
    at: usize,
}

impl Input {
    /// The rows that stay.
    fn kept(
        &self,
        (batch, templates): (RecordBatch, Vec<u32>),
    ) -> Result<(RecordBatch, Vec<u32>), BuildError> {
        let Some((evaluator, meta)) = &self.going else { return Ok((batch, templates)) };
        let place = Place { partition: meta.partition, index: &meta.index };
        let stay = !&evaluator.rows(&batch, place);
        let templates = templates.into_iter().zip(stay.iter());
        let templates = templates.filter_map(|(number, stays)| stays.then_some(number)).collect();
        Ok((filter_record_batch(&batch, &stay.into())?, templates))
    }

    fn key(&self, is_loose: &[bool]) -> Option<Key> {
        let at = self.at;
        (at < self.batch.num_rows()).then_some(())?;
        let template = *self.templates.get(at)?;
        let text = if is_loose.get(template as usize).copied().unwrap_or(false) {
            Values::named(&self.batch, "message").text(at)?.into_owned()
        } else {
            String::new()
        };
        let time = times(&self.batch, "timestamp")?.value(at);
        Some((template, text, time, numbers(&self.batch, "offset")?.value(at)))
    }
}

/// Rows of several splits in row order.
pub(crate) struct Merging {
    schema: SchemaRef,
    is_loose: Vec<bool>,
    inputs: Vec<Input>,
    heap: BinaryHeap<Reverse<(Key, usize)>>,
}

impl Merging {
    fn new(
        splits: &[Split],
        going: &[Option<Filter>],
        schema: SchemaRef,
        templates: &BTreeMap<TemplateKey, u32>,
    ) -> Result<Self, BuildError> {
        let is_loose = templates.keys().map(|key| key.is_loose).collect();
        let mut merging = Self { schema, is_loose, inputs: Vec::new(), heap: BinaryHeap::new() };
        for (at, split) in splits.iter().enumerate() {
            let rows: Rows = Box::new(split.rows()?);
            let batch = RecordBatch::new_empty(merging.schema.clone());
            let own = split.templates()?;
            let number = |key: &TemplateKey| templates.get(key).copied().unwrap_or(u32::MAX);
            let renumbered = own.0.iter().map(|template| number(&template.key)).collect();
            let templates = Vec::new();
            let going = going
                .get(at)
                .and_then(Option::as_ref)
                .map(|filter| (Evaluator::new(filter, TimeRange::ALL), split.meta().clone()));
            let bytes = Vec::new();
            merging.inputs.push(Input { rows, going, batch, bytes, templates, renumbered, at: 0 });
            merging.refill(at)?;
        }
        Ok(merging)
    }

    /// Puts an input with its next row back into the heap, reading on when its batch is used up.
    fn refill(&mut self, at: usize) -> Result<(), BuildError> {
        let Some(input) = self.inputs.get_mut(at) else { return Ok(()) };
        while input.at >= input.batch.num_rows() {
            let Some(next) = input.rows.next() else { return Ok(()) };
            let (batch, templates) = input.kept(next?)?;
            input.batch = adapt(&batch, &self.schema)?;
            input.bytes = text_bytes(&input.batch);
            let renumbered = &input.renumbered;
            let number = |own: u32| renumbered.get(own as usize).copied().unwrap_or(u32::MAX);
            input.templates = templates.into_iter().map(number).collect();
            input.at = 0;
        }
        if let Some(key) = input.key(&self.is_loose) {
            self.heap.push(Reverse((key, at)));
        }
        Ok(())
    }

    fn piece(&mut self) -> Result<Option<Piece>, BuildError> {
        // Batches that rows were taken from, since an input may go on to its next one meanwhile.
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut current: Vec<Option<usize>> = vec![None; self.inputs.len()];
        let batch_rows = batch_rows(self.schema.fields().len());
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(batch_rows);
        let (mut templates, mut bytes) = (Vec::with_capacity(batch_rows), 0);
        while picks.len() < batch_rows && bytes < BATCH_BYTES {
            let Some(Reverse(((template, ..), at))) = self.heap.pop() else { break };
            let (Some(input), Some(place)) = (self.inputs.get_mut(at), current.get_mut(at)) else {
                break;
            };
            let batch = *place.get_or_insert_with(|| {
                batches.push(input.batch.clone());
                batches.len() - 1
            });
            picks.push((batch, input.at));
            bytes += input.bytes.get(input.at).copied().unwrap_or(0);
            templates.push(template);
            input.at += 1;
            if input.at == input.batch.num_rows() {
                *place = None;
            }
            self.refill(at)?;
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(Some(Piece { rows: pick(&self.schema, &batches, &picks)?, templates }))
    }
}

impl Iterator for Merging {
    type Item = Result<Piece, BuildError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

#[cfg(test)]
mod tests {
    use model::partition::Offset;
    use model::split::SplitId;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Fixture;

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
    fn texts_that_pack_well_are_merged_up_to_a_bound() {
        let wide = |at| SplitMeta { raw_bytes: 1 << 28, ..SplitMeta::clone(&split(at, 1_000)) };
        let splits: Vec<Arc<SplitMeta>> = (0..40).map(|at| Arc::new(wide(at))).collect();
        let group = choose(&splits, 8, 1_000_000).unwrap();
        assert_eq!(group.iter().map(|split| split.raw_bytes).sum::<u64>(), 15 << 28);
    }

    fn split(at: usize, row_count: u64) -> Arc<SplitMeta> {
        let time = i64::try_from(at).unwrap() * 60_000_000_000;
        Arc::new(SplitMeta {
            id: SplitId(at.to_string()),
            index: "main".to_owned(),
            partition: PartitionId(0),
            offset_first: Offset(at as u64),
            offset_last: Offset(at as u64),
            row_count,
            time_first: time,
            time_last: time,
            ingest_last: 0,
            level_counts: [0; 7],
            stored_bytes: 0,
            raw_bytes: 0,
            merges: 0,
            deletions: 0,
            copies: Vec::new(),
            sums: None,
        })
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
