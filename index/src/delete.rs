//! Deletions: records that match a search go. Answers leave them out at once; the splits that hold
//! them are written anew, here or when they are merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use cluster::catalog::{CatalogError, Command};
use model::deletion::Deletion;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::{Bound, FieldTest, Filter, Literal};
use model::split::SplitMeta;
use model::time::{TimeRange, Timestamp};

use crate::aside::written_anew;
use crate::columns::numbers;
use crate::evaluate::{Evaluator, Place};
use crate::fresh::{FreshPart, Parts};
use crate::merge::{open_all, put_in_place, source_of};
use crate::publish::{PublishError, new_id};
use crate::remote::VIEW_HELD_MAX;
use crate::rewrite::{WhileWanted, Work};
use crate::scan::{Column, ScanError, ScanRequest};
use crate::searcher::{Core, State};
use crate::split::{BuildError, Origin, Packing, Split, build};

/// The deletions of a node that go on.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    /// Those that are not done.
    pub(crate) open: Vec<Arc<Deletion>>,
    /// Those that are done and concern splits that left the catalog: views may still hold them.
    pub(crate) done: Vec<Arc<Deletion>>,
    /// The number of the last that was asked, done or not.
    pub(crate) last: u64,
    /// Those that began a short while ago, and when: views may hold fresh records of before.
    pub(crate) recent: Vec<(Duration, Arc<Deletion>)>,
}

impl Deletions {
    /// Of all that were ever asked.
    pub(crate) fn of(all: Vec<Deletion>) -> Self {
        let last = all.iter().map(|deletion| deletion.number).max().unwrap_or(0);
        let all = all.into_iter().map(Arc::new);
        let (open, done) = all.partition(|deletion| deletion.done.is_none());
        Self { open, done, last, recent: Vec::new() }
    }

    /// What of a split is to go; `None` when nothing is.
    pub(crate) fn of_split(&self, split: &SplitMeta) -> Option<Filter> {
        let all = self.open.iter().chain(&self.done);
        let concerned = all.filter(|deletion| deletion.concerns(split));
        let filters: Vec<Filter> =
            concerned.map(|deletion| going(deletion, split.partition, split.offset_last)).collect();
        (!filters.is_empty()).then_some(Filter::Or(filters))
    }

    /// Whether records of a split may have to go yet, for a deletion that goes on. Up to `since` they
    /// have gone, or go with what is made of it now.
    pub(crate) fn is_open(&self, split: &SplitMeta, since: u64) -> bool {
        self.open.iter().any(|one| one.number > since && one.concerns(split))
    }

    /// What of a fresh part is to go that a view holds as it was before; `None` when nothing is.
    pub(crate) fn of_fresh(&self, part: &FreshPart) -> Option<Filter> {
        let (first, last) = part.offsets();
        let recent = self.recent.iter().map(|(_, deletion)| deletion);
        let filters: Vec<Filter> = recent
            .filter(|one| first < one.bound(part.partition) && one.means(&part.index))
            .map(|one| going(one, part.partition, last))
            .collect();
        (!filters.is_empty()).then_some(Filter::Or(filters))
    }

    /// Forgets those of which no view is older any more.
    fn forget_recent(&mut self, now: Duration) {
        self.recent.retain(|(began, _)| now.saturating_sub(*began) <= VIEW_HELD_MAX);
    }

    /// Takes over what is known of a deletion.
    fn hear(&mut self, deletion: &Deletion) {
        self.last = self.last.max(deletion.number);
        self.open.retain(|one| one.number != deletion.number);
        self.done.retain(|one| one.number != deletion.number);
        let all = if deletion.done.is_none() { &mut self.open } else { &mut self.done };
        all.push(Arc::new(deletion.clone()));
    }

    /// Forgets what is done, but for what concerns one of these splits.
    fn forget_done(&mut self, removed: &[&SplitMeta]) -> usize {
        let before = self.done.len();
        self.done.retain(|deletion| removed.iter().any(|split| deletion.concerns(split)));
        before - self.done.len()
    }

    /// A fresh part without the records that are to go.
    pub(crate) fn kept(&self, part: Arc<FreshPart>) -> Arc<FreshPart> {
        self.open.iter().fold(part, |part, deletion| without(&part, deletion).unwrap_or(part))
    }
}

/// What of the records up to the last one is to go: those at the bound and behind it came later.
fn going(deletion: &Deletion, partition: PartitionId, last: Offset) -> Filter {
    let (filter, bound) = (deletion.filter.clone(), deletion.bound(partition));
    if last < bound {
        return filter;
    }
    let bound = RecordId { partition, offset: bound };
    let to = Bound::Exclusive(Literal::Text(bound.to_string()));
    let test = FieldTest::Between { from: Bound::Open, to };
    Filter::And(vec![filter, Filter::Field { name: "id".to_owned(), test }])
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

/// Begins a deletion: from here on no answer has its records. Its number is set here; the bounds of
/// partitions that other nodes index are given.
pub(crate) fn begin(core: &Core, mut deletion: Deletion) -> Result<Deletion, CatalogError> {
    let _alone = core.deleting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for queue in core.queues() {
        let (partition, committed) = (queue.partition(), *queue.committed().borrow());
        deletion.below.retain(|(one, _)| *one != partition);
        deletion.below.push((partition, committed));
    }
    let begun = core.parties.catalog.execute(Command::BeginDeletion(deletion.clone()))?;
    deletion.number = begun.number();
    tracing::info!(number = deletion.number, query = deletion.query, "a deletion begins");
    deletion.deleted = tell_taken(core)?.get(&deletion.number).copied().unwrap_or(0);
    Ok(deletion)
}

/// A deletion began or went on, as the catalog tells it: fresh records that are to go, go.
pub(crate) fn heard(core: &Core, deletion: &Deletion) {
    let now = core.parties.clock.elapsed();
    let gone = core.change(|state| {
        let is_new = deletion.number > state.deletions.last;
        state.deletions.hear(deletion);
        forget_done(state);
        if !is_new {
            return 0;
        }
        state.deletions.recent.push((now, Arc::new(deletion.clone())));
        take_fresh(state, deletion)
    });
    if gone > 0 {
        let mut taken = core.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *taken.entry(deletion.number).or_default() += gone;
    }
}

/// Forgets deletions that are done and that no view needs any more. How many.
pub(crate) fn forget_done(state: &mut State) -> usize {
    let State { deletions, removed, .. } = state;
    let removed: Vec<&SplitMeta> = removed.iter().map(|split| &**split).collect();
    deletions.forget_done(&removed)
}

/// Takes the records of a deletion from memory. How many.
fn take_fresh(state: &mut State, deletion: &Deletion) -> u64 {
    let mut gone = 0;
    for partition in state.partitions.values_mut() {
        let before = partition.active.row_count();
        partition.active.replace(|part| without(part, deletion));
        gone += before - partition.active.row_count();
        // What is being built goes on as it is: its split is written anew. Answers do without.
        let frozen = partition.frozen.as_ref().map(|frozen| {
            let mut kept = Parts::clone(frozen);
            kept.replace(|part| without(part, deletion));
            Arc::new(kept)
        });
        partition.frozen = frozen;
    }
    gone
}

/// Tells the catalog how many records deletions took from memory here. What was told.
fn tell_taken(core: &Core) -> Result<BTreeMap<u64, u64>, CatalogError> {
    let taken = {
        let mut taken = core.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *taken)
    };
    for (number, deleted) in &taken {
        progress(core, *number, *deleted, None)?;
    }
    Ok(taken)
}

/// Stores how far a deletion is.
fn progress(
    core: &Core,
    number: u64,
    deleted: u64,
    done: Option<Timestamp>,
) -> Result<(), CatalogError> {
    let command = Command::ProgressDeletion { number, deleted, done };
    core.parties.catalog.execute(command).map(drop)
}

/// One step: writes one split anew, or says that a deletion is done. Whether there was anything.
pub(crate) fn advance(core: &Core) -> Result<bool, PublishError> {
    tell_taken(core)?;
    let now = core.parties.clock.elapsed();
    core.change_if(|state| {
        state.deletions.forget_recent(now);
        (forget_done(state) > 0).then_some(())
    });
    let open = core.read(|state| state.deletions.open.clone());
    core.parties.metrics.deletions.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
    for deletion in &open {
        // Who indexes a partition writes its splits anew. Splits and offsets are of one moment: what
        // is published meanwhile may concern it.
        let (own, others, is_published) = core.read(|state| {
            let concerned = state.splits.values().filter(|split| deletion.concerns(split));
            let (own, others): (Vec<_>, Vec<_>) = concerned
                .cloned()
                .partition(|split| state.partitions.contains_key(&split.partition));
            (own, others.len(), is_published(state, deletion))
        });
        let is_written = own.is_empty() && others == 0;
        // One that cannot be read does not keep the others waiting.
        let free = core.not_aside(own);
        if let Some(split) = free.first()
            && written_anew(core, std::slice::from_ref(split), || rewrite(core, split))?
        {
            return Ok(true);
        }
        if is_written && is_published {
            progress(core, deletion.number, 0, Some(core.parties.clock.now()))?;
            let (number, deleted) = (deletion.number, deletion.deleted);
            tracing::info!(number, deleted, "a deletion is done");
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether all records that a deletion means are in splits that are known here.
fn is_published(state: &State, deletion: &Deletion) -> bool {
    let published = |id| state.published.get(id).copied().unwrap_or_default();
    deletion.below.iter().all(|(partition, bound)| published(partition) >= *bound)
}

/// Writes a split without the records that are to go. Whether it was done: not where there was nothing to
/// do, or it was to stop.
fn rewrite(core: &Core, meta: &Arc<SplitMeta>) -> Result<bool, PublishError> {
    let (last, filter) = core.read(|state| (state.deletions.last, state.deletions.of_split(meta)));
    let Some(filter) = filter else { return Ok(false) };
    let group = std::slice::from_ref(meta);
    let opened = open_all(core, group)?;
    let going = count(&opened, &filter).map_err(|error| PublishError::Build(error.into()))?;
    let built = if going == 0 {
        Some(SplitMeta { deletions: last, ..SplitMeta::clone(meta) })
    } else {
        let id = new_id(core, meta.partition);
        let origin = Origin {
            id: id.clone(),
            index: meta.index.clone(),
            partition: meta.partition,
            merges: meta.merges,
            deletions: last,
            packing: Packing::of(group),
            may_type: core.may_type(),
        };
        let begun = core.parties.clock.elapsed();
        // Others that come one after the other would keep it from its end.
        let (partition, gives_way) = (meta.partition, false);
        let work = Work { core, group, partition, deletions: last, gives_way };
        let source = source_of(&opened, &[Some(filter)])?;
        let source = source.with(|pieces| WhileWanted { pieces, work });
        let folder = core.parties.work.join(&id.0);
        let built = match build(origin, source, &folder, &core.parties.objects) {
            Err(BuildError::Stopped) => return Ok(false),
            built => built?,
        };
        let took = core.parties.clock.elapsed().saturating_sub(begun);
        core.parties.metrics.merges.add(built.as_ref(), took);
        built
    };
    let concerned = core.read(|state| {
        let mut open = state.deletions.open.iter();
        open.find(|deletion| deletion.concerns(meta)).cloned()
    });
    put_in_place(core, group, built)?;
    core.parties.metrics.rows_deleted.inc_by(going);
    if going == 0 {
        return Ok(true);
    }
    tracing::info!(split = %meta.id, rows = going, "records deleted from a split");
    if let Some(deletion) = concerned {
        progress(core, deletion.number, going, None)?;
    }
    Ok(true)
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

#[cfg(test)]
mod tests {
    use model::codec;

    use super::*;
    use crate::fixture::{Fixture, PARTITION, deletion};
    use crate::retain;
    use crate::schema::rows_of;
    use crate::view::Unit;

    /// As another node asks for it: the bound is given.
    fn begun(fixture: &Fixture, word: &str, below: u64) {
        let command = Command::BeginDeletion(deletion(word, below));
        fixture.core.parties.catalog.execute(command).unwrap();
    }

    fn advanced(fixture: &Fixture) {
        while advance(&fixture.core).unwrap() {}
    }

    #[test]
    fn what_came_behind_the_bound_stays() {
        let fixture = Fixture::new();
        fixture.publish(&["secret 0", "secret 1", "secret 2", "other 3"]);
        begun(&fixture, "secret", 2);
        let left = ["secret 2", "other 3"];
        assert_eq!(fixture.stored(), left);
        advanced(&fixture);
        assert_eq!(fixture.stored(), left);
        let deletions = fixture.searcher.deletions().unwrap();
        assert_eq!((deletions[0].0.deleted, deletions[0].0.done.is_some()), (2, true));
    }

    #[test]
    fn a_node_that_stops_leaves_it_to_the_next_start() {
        let fixture = Fixture::new();
        let split = fixture.publish(&["secret 0", "other 1"]);
        begun(&fixture, "secret", 2);
        fixture.core.shutdown.trigger();
        assert!(!advance(&fixture.core).unwrap());
        assert_eq!(fixture.searcher.view().splits[..], [split]);
        assert_eq!(fixture.core.parties.objects.list().unwrap().len(), 2, "one split");
        assert_eq!(fixture.searcher.deletions().unwrap()[0].1, 1);
    }

    #[test]
    fn a_view_shows_nothing_of_a_deletion_that_is_done() {
        let fixture = Fixture::new();
        fixture.publish(&["secret 0", "other 1"]);
        begun(&fixture, "secret", 2);
        let view = fixture.searcher.view();
        advanced(&fixture);
        assert!(fixture.core.read(|state| state.deletions.open.is_empty()));
        let old: Vec<Unit> = view.units().collect();
        assert_eq!(fixture.messages(&old[0]).unwrap(), ["other 1"]);
        assert!(!fixture.searcher.is_whole(&old[0]));
        let new: Vec<Unit> = fixture.searcher.view().units().collect();
        assert!(fixture.searcher.is_whole(&new[0]));
    }

    #[test]
    fn a_view_shows_no_fresh_records_that_went_since() {
        let fixture = Fixture::new();
        let entry = fixture.queue.append(&["secret 0", "other 1", "secret 2"]);
        let rows = rows_of(&entry, &codec::decode(&entry.batch).unwrap().1).unwrap();
        let part = Arc::new(FreshPart::new(PARTITION, "main".into(), rows));
        fixture.core.change(|state| {
            state.partitions.get_mut(&PARTITION).unwrap().active.push(part).unwrap();
        });
        let view = fixture.searcher.view();
        begun(&fixture, "secret", 2);
        let old: Vec<Unit> = view.units().collect();
        let mut found = fixture.messages(&old[0]).unwrap();
        found.sort_unstable();
        assert_eq!(found, ["other 1", "secret 2"]);
        assert!(!fixture.searcher.is_whole(&old[0]));
        // No view is as old as that.
        fixture.clock.advance(VIEW_HELD_MAX + Duration::from_secs(1));
        advanced(&fixture);
        assert!(fixture.core.read(|state| state.deletions.recent.is_empty()));
    }

    #[test]
    fn what_is_done_is_forgotten_when_no_view_holds_its_splits() {
        let fixture = Fixture::new();
        fixture.publish(&["secret 0", "other 1"]);
        begun(&fixture, "secret", 2);
        let view = fixture.searcher.view();
        advanced(&fixture);
        let known = || fixture.core.read(|state| state.deletions.done.len());
        assert_eq!(known(), 1);
        fixture.core.read_all().unwrap();
        assert_eq!(known(), 1);
        drop(view);
        retain::sweep(&fixture.core);
        advanced(&fixture);
        assert_eq!(known(), 0);
    }

    #[test]
    fn nothing_is_done_while_this_node_does_not_know_of_all_splits() {
        let fixture = Fixture::new();
        fixture.publish(&["secret 0", "other 1"]);
        begun(&fixture, "secret", 2);
        // The catalog has it, and this node was not told yet.
        let (splits, published) = fixture.core.change(|state| {
            (std::mem::take(&mut state.splits), std::mem::take(&mut state.published))
        });
        advanced(&fixture);
        let is_done = || fixture.core.read(|state| state.deletions.open.is_empty());
        assert!(!is_done());
        fixture.core.change(|state| {
            state.splits = splits;
            state.published = published;
        });
        advanced(&fixture);
        assert!(is_done());
        assert_eq!(fixture.stored(), ["other 1"]);
    }

    #[test]
    fn a_damaged_split_does_not_keep_the_others_waiting() {
        let fixture = Fixture::new();
        let damaged = fixture.publish(&["secret 0", "other 1"]);
        let whole = fixture.publish(&["secret 2", "other 3"]);
        let body = fixture.damage(&damaged);
        begun(&fixture, "secret", 4);
        assert!(advance(&fixture.core).is_err());
        advanced(&fixture);
        let is_there =
            |split: &SplitMeta| fixture.core.read(|state| state.splits.contains_key(&split.id));
        assert!(is_there(&damaged) && !is_there(&whole));
        let left = || fixture.searcher.deletions().unwrap().remove(0);
        assert_eq!((left().1, left().0.done), (1, None));
        // A good copy is in its place.
        fixture.mend(&damaged, &body);
        fixture.clock.advance(Duration::from_secs(1_000));
        advanced(&fixture);
        assert!(left().0.done.is_some());
        let mut stored = fixture.stored();
        stored.sort_unstable();
        assert_eq!(stored, ["other 1", "other 3"]);
    }
}
