//! The way to search what an indexer holds, and what others hold.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::catalog::{Catalog, CatalogError};
use cluster::queue::Queue;
use model::deletion::Deletion;
use model::level::Level;
use model::node::NodeId;
use model::partition::{Offset, PartitionId};
use model::query::Filter;
use model::record::FieldType;
use model::split::{FieldStat, SplitMeta};
use model::time::TimeRange;
use tokio::sync::broadcast;

pub use crate::core::Parties;
pub(crate) use crate::core::{Core, FOLLOW_PARTS_MAX, OwnPartition, PartitionState, State};
use crate::delete;
use crate::evaluate::{Evaluator, Place};
use crate::fresh::FreshPart;
use crate::remote::{Remote, RemotePart};
use crate::resume::Resume;
use crate::scan::{ScanError, ScanRequest, scan_rows};
use crate::split::body_name;
pub use crate::view::{Unit, View};

/// A minute's beginning, nanoseconds, and its rows by level number.
pub type MinuteCounts = (i64, [u64; Level::ALL.len()]);

/// Searches what an indexer holds. Clones share it.
#[derive(Debug, Clone)]
pub struct Searcher(pub(crate) Arc<Core>);

/// Figures of a partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct PartitionFigures {
    /// The offset below which records are in splits.
    pub published: u64,
    /// The offset below which records are searchable.
    pub end: Offset,
    /// Rows searchable from memory.
    pub fresh_rows: u64,
    /// Age of the oldest of them, seconds.
    pub fresh_age_s: u64,
}

impl Searcher {
    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.parties.node
    }

    /// Whether other nodes are asked too.
    #[must_use]
    pub fn is_clustered(&self) -> bool {
        self.0.parties.remote.is_some()
    }

    pub(crate) fn clustered(&self) -> Option<&Remote> {
        self.0.parties.remote.as_ref()
    }

    /// The catalog, for the small documents beside the splits.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.parties.catalog
    }

    /// What there is now. It stays as it is while it is held; objects are not deleted below it.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = &state.view {
            return view.clone();
        }
        let view = Arc::new(View {
            splits: state.splits.values().cloned().collect(),
            fresh: state.partitions.values().flat_map(PartitionState::parts).collect(),
            ..View::default()
        });
        state.view = Some(view.clone());
        view
    }

    /// The queues that are indexed here.
    pub(crate) fn queues(&self) -> Vec<Arc<dyn Queue>> {
        self.0.queues()
    }

    /// The partitions that are indexed here (with the token of their lease, the offset below which
    /// they are published, and the one below which they are shown), and their fresh parts.
    pub(crate) fn own_parts(&self) -> (Vec<OwnPartition>, Vec<Arc<FreshPart>>) {
        self.0.read(|state| {
            let own = |(id, partition): (&PartitionId, &PartitionState)| {
                let token = partition.fence.as_ref().map_or(0, |fence| fence.token);
                (*id, token, partition.published, partition.active.end)
            };
            let parts = state.partitions.values().flat_map(PartitionState::parts);
            (state.partitions.iter().map(own).collect(), parts.collect())
        })
    }

    /// Time since the process began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.parties.clock.elapsed()
    }

    /// What of a view may hold records of the range and indexes, latest time first.
    #[must_use]
    pub fn units(&self, view: &View, range: &TimeRange, indexes: Option<&[String]>) -> Vec<Unit> {
        let inside = |unit: &Unit| {
            unit.overlaps(range)
                && indexes.is_none_or(|indexes| indexes.iter().any(|index| index == unit.index()))
        };
        let mut units: Vec<Unit> = view.units().filter(inside).collect();
        units.sort_by_key(|unit| std::cmp::Reverse(unit.time_last()));
        units
    }

    /// Scans one unit; `emit` gets the rows and may end it. Blocks; for threads that do CPU work.
    ///
    /// # Errors
    /// [`ScanError`] names the split that cannot be read.
    pub fn scan(
        &self,
        unit: &Unit,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let narrowed = self.without_deleted(unit, request);
        let request = narrowed.as_ref().unwrap_or(request);
        let evaluator = Evaluator::new(&request.filter, request.range);
        match unit {
            Unit::Split(meta) => match self.elsewhere(meta) {
                Some(remote) => {
                    remote.scan_split(meta, request, &mut Resume::new(request.counted, emit))
                }
                None => self.scan_own(meta, &evaluator, request, emit),
            },
            Unit::Fresh(part) => {
                let place = Place { partition: part.partition, index: &part.index };
                let rows = scan_rows(&part.rows, place, &evaluator, request)?;
                if rows.num_rows() > 0 {
                    // The only rows there are; whether to go on does not matter.
                    #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
                    let _: ControlFlow<()> = emit(rows);
                }
                Ok(())
            }
            Unit::Remote(part) => self.remote_of(part)?.scan(part, request, emit),
        }
    }

    /// What is asked of a unit of which some records are deleted and still there.
    fn without_deleted(&self, unit: &Unit, request: &ScanRequest) -> Option<ScanRequest> {
        let going = match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)),
            Unit::Fresh(part) => self.0.read(|state| state.deletions.of_fresh(part)),
            // Who holds it leaves out what goes.
            Unit::Remote(_) => None,
        }?;
        let filter = Filter::And(vec![request.filter.clone(), Filter::Not(Box::new(going))]);
        Some(ScanRequest { filter, ..request.clone() })
    }

    /// How many records of a unit pass that is within the range, where that is known from what is in
    /// memory.
    #[must_use]
    pub fn known_count(&self, unit: &Unit, request: &ScanRequest) -> Option<u64> {
        let Unit::Split(meta) = unit else { return None };
        let split = self.0.opened(&meta.id)?;
        let narrowed = self.without_deleted(unit, request);
        split.known_count(narrowed.as_ref().unwrap_or(request)).map(|count| count as u64)
    }

    /// What [`Searcher::scan`] gives of a unit whose records are counted, where that is known from what
    /// is in memory: nothing is read, and nobody is waited for.
    #[must_use]
    pub fn at_hand(&self, unit: &Unit, request: &ScanRequest) -> Option<Vec<RecordBatch>> {
        let Unit::Split(meta) = unit else { return None };
        if self.is_clustered() {
            return None;
        }
        let split = self.0.opened(&meta.id)?;
        let narrowed = self.without_deleted(unit, request);
        // What is wrong is told by the scan that follows.
        split.at_hand(narrowed.as_ref().unwrap_or(request)).ok().flatten()
    }

    /// Scans a split with what this node has of it. Where that turns out to be damaged it goes on with
    /// another copy.
    fn scan_own(
        &self,
        meta: &Arc<SplitMeta>,
        evaluator: &Evaluator,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let mut resume = Resume::new(request.counted, emit);
        let mut take = |rows: RecordBatch| resume.take(rows);
        let scanned = self.0.open(meta).and_then(|split| split.scan(evaluator, request, &mut take));
        let Err(error) = scanned else {
            resume.finish();
            return Ok(());
        };
        self.0.suspect(&meta.id, &error);
        let is_kept_elsewhere = meta.copies.iter().any(|node| *node != self.node());
        let is_damaged = matches!(error, ScanError::Corrupt { .. });
        match self.remote().filter(|_| is_damaged && is_kept_elsewhere) {
            // Its own words say what an operator should look at.
            Some(remote) => remote.scan_split(meta, request, &mut resume).map_err(|away| {
                tracing::warn!(%away, "no other copy was read in the place of a damaged one");
                error
            }),
            None => Err(error),
        }
    }

    /// The way to a split whose rows are nearer to another node.
    pub(crate) fn elsewhere(&self, meta: &SplitMeta) -> Option<&Remote> {
        let parties = &self.0.parties;
        let remote = parties.remote.as_ref()?;
        let is_here = match parties.objects.is_shared() {
            true => remote.is_owner(meta),
            false => parties.objects.has_local(&body_name(&meta.id)),
        };
        (!is_here).then_some(remote)
    }

    /// Scans a split with what this node has of it, whatever it knows of deletions.
    ///
    /// # Errors
    /// [`ScanError`] names the split.
    pub fn scan_here(
        &self,
        meta: &Arc<SplitMeta>,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let evaluator = Evaluator::new(&request.filter, request.range);
        let scanned = self.0.open(meta).and_then(|split| split.scan(&evaluator, request, emit));
        scanned.inspect_err(|error| self.0.suspect(&meta.id, error))
    }

    fn remote_of(&self, part: &RemotePart) -> Result<&Remote, ScanError> {
        let away = || ScanError::Away { what: part.name(), why: "no cluster".to_owned() };
        self.remote().ok_or_else(away)
    }

    /// The way to other nodes, where there are any.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.0.parties.remote.as_ref()
    }

    /// Whether a unit's own counts are those of its records: nothing in it waits to be deleted.
    #[must_use]
    pub fn is_whole(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)).is_none(),
            Unit::Fresh(part) => self.0.read(|state| state.deletions.of_fresh(part)).is_none(),
            Unit::Remote(part) => part.is_whole(),
        }
    }

    /// Deletes the records that match and are stored by now. When this returns no answer has them
    /// any more; the splits that hold them are written anew meanwhile. Number, bounds and progress
    /// of what is given are set here. Blocks.
    ///
    /// # Errors
    /// [`CatalogError`]; nothing is deleted then.
    pub fn delete(&self, deletion: Deletion) -> Result<Deletion, CatalogError> {
        delete::begin(&self.0, deletion)
    }

    /// All deletions with how many splits each still has before it, by number.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn deletions(&self) -> Result<Vec<(Deletion, u64)>, CatalogError> {
        let all = self.0.parties.catalog.deletions()?;
        let left = |deletion: &Deletion| {
            self.0.read(|state| {
                state.splits.values().filter(|split| deletion.concerns(split)).count()
            })
        };
        let left = |deletion: Deletion| {
            let left = if deletion.done.is_none() { left(&deletion) as u64 } else { 0 };
            (deletion, left)
        };
        Ok(all.into_iter().map(left).collect())
    }

    /// The rows of a split by minute (its beginning, nanoseconds) and level. No row is read.
    ///
    /// # Errors
    /// [`ScanError`] names the split that cannot be read.
    pub fn minutes(&self, split: &Arc<SplitMeta>) -> Result<Vec<MinuteCounts>, ScanError> {
        let minutes = self.0.open(split).and_then(|split| split.minutes());
        let minutes = minutes.inspect_err(|error| self.0.suspect(&split.id, error))?;
        Ok(minutes.iter().map(|(minute, counts)| (minute, *counts)).collect())
    }

    /// The fields of some units with their types and counts, labels included, by name.
    ///
    /// # Errors
    /// [`ScanError`] names the split that cannot be read.
    pub fn field_stats(&self, units: &[Unit]) -> Result<Vec<FieldStat>, ScanError> {
        let mut sums: BTreeMap<(String, FieldType, bool), FieldStat> = BTreeMap::new();
        let mut add = |field: FieldStat| {
            let sum = sums.entry((field.name.clone(), field.kind, field.label));
            sum.and_modify(|sum| sum.add(&field)).or_insert(field);
        };
        for unit in units {
            Arc::unwrap_or_clone(self.fields(unit)?).into_iter().for_each(&mut add);
        }
        Ok(sums.into_values().collect())
    }

    /// The fields of one unit with their types and counts, labels included: of each name, type and label
    /// one. A split has them in memory when they were asked before.
    ///
    /// # Errors
    /// [`ScanError`] names the split that cannot be read.
    pub fn fields(&self, unit: &Unit) -> Result<Arc<Vec<FieldStat>>, ScanError> {
        match unit {
            Unit::Split(meta) => self.split_fields(meta),
            Unit::Remote(part) => Ok(Arc::new(self.remote_of(part)?.fields(part)?)),
            Unit::Fresh(part) => Ok(part.fields()),
        }
    }

    /// The same of a unit whose fields are in memory; `None` where somebody would have to be waited for.
    #[must_use]
    pub fn fields_at_hand(&self, unit: &Unit) -> Option<Arc<Vec<FieldStat>>> {
        match unit {
            Unit::Split(meta) => self.0.opened(&meta.id)?.fields_at_hand(),
            Unit::Fresh(part) => part.fields_at_hand(),
            Unit::Remote(_) => None,
        }
    }

    /// The fields of a split, where it is damaged here those of another copy.
    fn split_fields(&self, meta: &Arc<SplitMeta>) -> Result<Arc<Vec<FieldStat>>, ScanError> {
        self.kept_fields(meta).or_else(|error| {
            let is_damaged = matches!(error, ScanError::Corrupt { .. });
            let remote = self.remote().filter(|_| is_damaged && !meta.copies.is_empty());
            remote.and_then(|remote| remote.split_fields(meta)).map(Arc::new).ok_or(error)
        })
    }

    /// The fields of a split with what this node has of it.
    pub(crate) fn fields_here(&self, meta: &Arc<SplitMeta>) -> Result<Vec<FieldStat>, ScanError> {
        self.kept_fields(meta).map(|fields| fields.to_vec())
    }

    fn kept_fields(&self, meta: &Arc<SplitMeta>) -> Result<Arc<Vec<FieldStat>>, ScanError> {
        let fields = self.0.open(meta).and_then(|split| split.fields());
        fields.inspect_err(|error| self.0.suspect(&meta.id, error))
    }

    /// Every part of records as it becomes searchable.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<FreshPart>> {
        self.0.follow.subscribe()
    }

    /// The rows of a part that pass a filter, with the columns wanted.
    ///
    /// # Errors
    /// [`ScanError::Arrow`] only.
    pub fn scan_part(
        &self,
        part: &FreshPart,
        request: &ScanRequest,
    ) -> Result<RecordBatch, ScanError> {
        let evaluator = Evaluator::new(&request.filter, request.range);
        let place = Place { partition: part.partition, index: &part.index };
        scan_rows(&part.rows, place, &evaluator, request)
    }

    /// Figures of each partition.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<PartitionId, PartitionFigures> {
        let now = self.0.parties.clock.elapsed();
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = |partition: &PartitionState| PartitionFigures {
            published: partition.published.0,
            end: partition.active.end,
            fresh_rows: partition.active.row_count()
                + partition.frozen.as_ref().map_or(0, |frozen| frozen.row_count()),
            fresh_age_s: partition.since.map_or(0, |since| now.saturating_sub(since).as_secs()),
        };
        state.partitions.iter().map(|(id, partition)| (*id, figures(partition))).collect()
    }

    /// Whether everything that was committed before the start is searchable again.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let committed = |queue: &Arc<dyn Queue>| (queue.partition(), *queue.committed().borrow());
        let wanted: Vec<_> = self.0.queues().iter().map(committed).collect();
        self.0.read(|state| state.has_shown(&wanted))
    }

    /// For how long the store of splits that all nodes share has not answered this node; `None` where it
    /// does, or there is none.
    #[must_use]
    pub fn store_silence(&self) -> Option<Duration> {
        self.0.parties.objects.silence()
    }
}
