//! Deletions: records that match a search go. Answers leave them out at once; the splits that hold
//! them are written anew, here or when they are merged.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use cluster::catalog::CatalogError;
use cluster::queue::Queue;
use model::deletion::Deletion;
use model::query::Filter;
use model::split::SplitMeta;
use model::time::TimeRange;

use crate::columns::numbers;
use crate::evaluate::{Evaluator, Place};
use crate::fresh::{FreshPart, Parts};
use crate::merge::{open_all, source_of};
use crate::publish::{PublishError, new_id};
use crate::scan::{Column, ScanError, ScanRequest};
use crate::searcher::Core;
use crate::split::{Origin, Split, build};

/// The deletions of a node that go on.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    /// Those that are not done.
    pub(crate) open: Vec<Arc<Deletion>>,
    /// The number of the last that was asked, done or not.
    pub(crate) last: u64,
}

impl Deletions {
    /// Of all that were ever asked.
    pub(crate) fn of(all: Vec<Deletion>) -> Self {
        let last = all.iter().map(|deletion| deletion.number).max().unwrap_or(0);
        let open = all.into_iter().filter(|deletion| deletion.done.is_none());
        Self { open: open.map(Arc::new).collect(), last }
    }

    /// What of a split is to go; `None` when nothing is.
    pub(crate) fn of_split(&self, split: &SplitMeta) -> Option<Filter> {
        let concerned = self.open.iter().filter(|deletion| deletion.concerns(split));
        let filters: Vec<Filter> = concerned.map(|deletion| deletion.filter.clone()).collect();
        (!filters.is_empty()).then_some(Filter::Or(filters))
    }

    /// A fresh part without the records that are to go.
    pub(crate) fn kept(&self, part: Arc<FreshPart>) -> Arc<FreshPart> {
        self.open.iter().fold(part, |part, deletion| without(&part, deletion).unwrap_or(part))
    }
}

/// A part without the records of a deletion; `None` when it has none of them.
fn without(part: &Arc<FreshPart>, deletion: &Deletion) -> Option<Arc<FreshPart>> {
    let bound = deletion.bound(part.partition).0;
    let offsets = numbers(&part.rows, "offset")?;
    let first = offsets.values().first()?;
    if *first >= bound || !deletion.means(&part.index) {
        return None;
    }
    let place = Place { partition: part.partition, index: &part.index };
    let going = matching(&deletion.filter).rows(&part.rows, place);
    let keep = arrow::buffer::BooleanBuffer::collect_bool(going.len(), |row| {
        !going.value(row) || offsets.value(row) >= bound
    });
    if keep.count_set_bits() == keep.len() {
        return None;
    }
    let rows = filter_record_batch(&part.rows, &keep.into()).ok()?;
    Some(Arc::new(FreshPart::new(part.partition, part.index.clone(), rows)))
}

fn matching(filter: &Filter) -> Evaluator {
    Evaluator::new(filter, TimeRange::ALL)
}

/// Begins a deletion: from here on no answer has its records. Its number and bounds are set here.
pub(crate) fn begin(core: &Core, mut deletion: Deletion) -> Result<Deletion, CatalogError> {
    let _alone = core.deleting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    deletion.number = core.read(|state| state.deletions.last) + 1;
    let committed = |queue: &Arc<dyn Queue>| (queue.partition(), *queue.committed().borrow());
    deletion.below = core.parties.queues.iter().map(committed).collect();
    core.parties.catalog.put_deletion(&deletion)?;
    let gone = core.change(|state| {
        state.deletions.last = deletion.number;
        state.deletions.open.push(Arc::new(deletion.clone()));
        let mut gone = 0;
        for partition in state.partitions.values_mut() {
            let before = partition.active.row_count();
            partition.active.replace(|part| without(part, &deletion));
            gone += before - partition.active.row_count();
            // What is being built goes on as it is: its split is written anew. Answers do without.
            let frozen = partition.frozen.as_ref().map(|frozen| {
                let mut kept = Parts::clone(frozen);
                kept.replace(|part| without(part, &deletion));
                Arc::new(kept)
            });
            partition.frozen = frozen;
        }
        gone
    });
    deletion.deleted = gone;
    if gone > 0 {
        note(core, &deletion)?;
    }
    tracing::info!(number = deletion.number, query = deletion.query, "a deletion begins");
    Ok(deletion)
}

/// Stores how far a deletion is.
fn note(core: &Core, deletion: &Deletion) -> Result<(), CatalogError> {
    core.parties.catalog.put_deletion(deletion)?;
    core.change(|state| {
        let known = state.deletions.open.iter_mut().find(|one| one.number == deletion.number);
        if let Some(known) = known {
            *known = Arc::new(deletion.clone());
        }
        state.deletions.open.retain(|one| one.done.is_none());
    });
    Ok(())
}

/// One step: writes one split anew, or says that a deletion is done. Whether there was anything.
pub(crate) fn advance(core: &Core) -> Result<bool, PublishError> {
    let open = core.read(|state| state.deletions.open.clone());
    core.parties.metrics.deletions.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
    for deletion in &open {
        let concerned = core
            .read(|state| state.splits.values().find(|split| deletion.concerns(split)).cloned());
        if let Some(split) = concerned {
            rewrite(core, &split)?;
            return Ok(true);
        }
        let published = core.read(|state| {
            let mut all = state.partitions.iter();
            all.all(|(id, partition)| partition.published >= deletion.bound(*id))
        });
        if published {
            let deletion =
                Deletion { done: Some(core.parties.clock.now()), ..(**deletion).clone() };
            note(core, &deletion)?;
            tracing::info!(
                number = deletion.number,
                deleted = deletion.deleted,
                "a deletion is done"
            );
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a split without the records that are to go.
fn rewrite(core: &Core, meta: &Arc<SplitMeta>) -> Result<(), PublishError> {
    let (last, filter) = core.read(|state| (state.deletions.last, state.deletions.of_split(meta)));
    let Some(filter) = filter else { return Ok(()) };
    let opened = open_all(core, std::slice::from_ref(meta))?;
    let going = count(&opened, &filter).map_err(|error| PublishError::Build(error.into()))?;
    let mut add: Vec<SplitMeta> = Vec::new();
    if going == 0 {
        add.push(SplitMeta { deletions: last, ..SplitMeta::clone(meta) });
    } else {
        let id = new_id(core, meta.partition);
        let origin = Origin {
            id: id.clone(),
            index: meta.index.clone(),
            partition: meta.partition,
            merges: meta.merges,
            deletions: last,
        };
        let source = source_of(&opened, &[Some(filter)])?;
        add.extend(build(origin, source, &core.parties.work.join(&id.0), &core.parties.objects)?);
    }
    core.parties.catalog.replace(std::slice::from_ref(&meta.id), &add)?;
    core.parties.metrics.rows_deleted.inc_by(going);
    let concerned = core.read(|state| {
        let mut open = state.deletions.open.iter();
        open.find(|deletion| deletion.concerns(meta)).cloned()
    });
    core.change(|state| {
        let old = state.splits.remove(&meta.id);
        if going > 0 {
            state.removed.extend(old);
        }
        for meta in add {
            state.splits.insert(meta.id.clone(), Arc::new(meta));
        }
    });
    if going == 0 {
        // The same objects under another entry: what is open knows the old one.
        core.forget(&meta.id);
        return Ok(());
    }
    tracing::info!(split = %meta.id, rows = going, "records deleted from a split");
    match concerned {
        Some(deletion) => {
            let deleted = deletion.deleted + going;
            Ok(note(core, &Deletion { deleted, ..(*deletion).clone() })?)
        }
        None => Ok(()),
    }
}

/// How many rows of a split match.
fn count(opened: &[Split], filter: &Filter) -> Result<u64, ScanError> {
    let request = ScanRequest {
        filter: filter.clone(),
        range: TimeRange::ALL,
        columns: Vec::<Column>::new(),
        newest: None,
        counted: false,
    };
    let mut sum = 0;
    for split in opened {
        split.scan(&matching(filter), &request, &mut |rows: RecordBatch| {
            sum += rows.num_rows() as u64;
            std::ops::ControlFlow::Continue(())
        })?;
    }
    Ok(sum)
}
