//! What queries see: a consistent view of fresh records and splits, and the way to scan them.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::catalog::{Catalog, CatalogError};
use cluster::queue::Queue;
use model::deletion::Deletion;
use model::level::Level;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::Filter;
use model::record::FieldType;
use model::split::{FieldStat, SplitId, SplitMeta};
use model::time::{TimeRange, Timestamp};
use moka::sync::Cache;
use platform::clock::Clock;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use tokio::sync::{broadcast, watch};

use crate::delete::{self, Deletions};
use crate::evaluate::{Evaluator, Place};
use crate::fresh::{FreshPart, Parts};
use crate::metrics::IndexMetrics;
use crate::scan::{ScanError, ScanRequest, field_counts, scan_rows};
use crate::settings::Settings;
use crate::split::{PageCache, Split};

/// Parts that a slow follower may be behind before it misses some.
const FOLLOW_PARTS_MAX: usize = 1_024;
/// How long a question waits for records that were acknowledged before it was asked. A consumer is
/// a millisecond behind; more than this only after a start or below a bound on fresh records, and
/// then the answer is given from what there is.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// Every record that was consumed, exactly once.
#[derive(Debug, Default)]
pub struct View {
    /// Published splits.
    pub splits: Vec<Arc<SplitMeta>>,
    /// Fresh rows.
    pub fresh: Vec<Arc<FreshPart>>,
}

/// A split or a fresh part: what one thread scans.
#[derive(Debug, Clone)]
pub enum Unit {
    /// A split.
    Split(Arc<SplitMeta>),
    /// A fresh part.
    Fresh(Arc<FreshPart>),
}

impl Unit {
    /// Earliest timestamp.
    #[must_use]
    pub fn time_first(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_first,
            Self::Fresh(part) => part.time_first,
        }
    }

    /// Latest timestamp.
    #[must_use]
    pub fn time_last(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_last,
            Self::Fresh(part) => part.time_last,
        }
    }

    /// Rows in it.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        match self {
            Self::Split(split) => split.row_count,
            Self::Fresh(part) => part.rows.num_rows() as u64,
        }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &str {
        match self {
            Self::Split(split) => &split.index,
            Self::Fresh(part) => &part.index,
        }
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Split(split) => split.partition,
            Self::Fresh(part) => part.partition,
        }
    }

    /// The lowest and the highest id of its records; ids in between may be of other units.
    #[must_use]
    pub fn ids(&self) -> (RecordId, RecordId) {
        let (first, last) = match self {
            Self::Split(split) => (split.offset_first, split.offset_last),
            Self::Fresh(part) => part.offsets(),
        };
        let id = |offset| RecordId { partition: self.partition(), offset };
        (id(first), id(last))
    }
}

/// A minute's beginning, nanoseconds, and its rows by level number.
pub type MinuteCounts = (i64, [u64; Level::ALL.len()]);

/// What an indexer is made of.
#[derive(Clone)]
pub struct Parties {
    /// The partitions to index.
    pub queues: Vec<Arc<dyn Queue>>,
    /// Where splits are published.
    pub catalog: Catalog,
    /// Where splits are kept.
    pub objects: Objects,
    /// A folder for work in progress, on the objects' file system; emptied at the start.
    pub work: PathBuf,
    /// A folder for batches that could not be opened.
    pub poison: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Bounds.
    pub settings: Settings,
    /// Figures.
    pub metrics: IndexMetrics,
}

pub(crate) struct Core {
    pub(crate) parties: Parties,
    pub(crate) state: Mutex<State>,
    /// One deletion begins at a time.
    pub(crate) deleting: Mutex<()>,
    pub(crate) shutdown: Shutdown,
    follow: broadcast::Sender<Arc<FreshPart>>,
    shown: watch::Sender<()>,
    cache: Cache<SplitId, Arc<Split>>,
    pages: PageCache,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("settings", &self.parties.settings).finish_non_exhaustive()
    }
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) splits: BTreeMap<SplitId, Arc<SplitMeta>>,
    pub(crate) partitions: BTreeMap<PartitionId, PartitionState>,
    /// Splits that left the catalog; their objects go when no view holds them.
    pub(crate) removed: Vec<Arc<SplitMeta>>,
    /// What was asked to be deleted.
    pub(crate) deletions: Deletions,
    view: Option<Arc<View>>,
}

/// The fresh records of a partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionState {
    /// What came since the last cut.
    pub(crate) active: Parts,
    /// What is being built into splits.
    pub(crate) frozen: Option<Arc<Parts>>,
    /// The offset below which records are in splits.
    pub(crate) published: Offset,
    /// When the oldest row of `active` came, by the clock's elapsed time.
    pub(crate) since: Option<Duration>,
}

impl State {
    /// Whether the partitions are consumed up to these offsets.
    fn has_shown(&self, wanted: &[(PartitionId, Offset)]) -> bool {
        let shown = |id| self.partitions.get(id).map(|partition| partition.active.end);
        wanted.iter().all(|(id, offset)| shown(id).is_some_and(|end| end >= *offset))
    }
}

impl Core {
    pub(crate) fn new(parties: Parties, shutdown: Shutdown) -> Self {
        let weigh = |_: &SplitId, split: &Arc<Split>| {
            u32::try_from(split.memory_bytes()).unwrap_or(u32::MAX)
        };
        let cache =
            Cache::builder().max_capacity(parties.settings.cache_bytes_max).weigher(weigh).build();
        let pages = PageCache::new(parties.settings.page_bytes_max, parties.metrics.clone());
        let follow = broadcast::Sender::new(FOLLOW_PARTS_MAX);
        let shown = watch::Sender::new(());
        let (state, deleting) = (Mutex::default(), Mutex::default());
        Self { parties, state, deleting, shutdown, follow, shown, cache, pages }
    }

    /// Changes the state; the next view shows it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.view = None;
        let changed = change(&mut state);
        let bytes: u64 = state
            .partitions
            .values()
            .map(|partition| {
                partition.active.bytes() + partition.frozen.as_ref().map_or(0, |f| f.bytes())
            })
            .sum();
        self.parties.metrics.fresh_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        changed
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, if there is anything to change: `None` leaves the view as it is.
    pub(crate) fn change_if<T>(&self, change: impl FnOnce(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        if changed.is_some() {
            state.view = None;
        }
        changed
    }

    /// Tells followers of a new part.
    pub(crate) fn tell(&self, part: Arc<FreshPart>) {
        // Nobody follows: nobody is told.
        drop(self.follow.send(part));
        self.shown.send_replace(());
    }

    pub(crate) fn open(&self, meta: &Arc<SplitMeta>) -> Result<Arc<Split>, ScanError> {
        if let Some(split) = self.cache.get(&meta.id) {
            self.parties.metrics.cache_hits.inc();
            return Ok(split);
        }
        self.parties.metrics.cache_misses.inc();
        let split = Arc::new(Split::open(meta.clone(), &self.parties.objects, &self.pages)?);
        self.cache.insert(meta.id.clone(), split.clone());
        let bytes = i64::try_from(self.cache.weighted_size()).unwrap_or(i64::MAX);
        self.parties.metrics.cache_bytes.set(bytes);
        Ok(split)
    }

    pub(crate) fn forget(&self, id: &SplitId) {
        self.cache.invalidate(id);
    }
}

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
        let parts = |partition: &PartitionState| {
            let frozen = partition.frozen.iter().flat_map(|parts| parts.iter().cloned());
            frozen.chain(partition.active.iter().cloned()).collect::<Vec<_>>()
        };
        let view = Arc::new(View {
            splits: state.splits.values().cloned().collect(),
            fresh: state.partitions.values().flat_map(parts).collect(),
        });
        state.view = Some(view.clone());
        view
    }

    /// Waits until what was committed before the call is searchable, so that who was told that a
    /// record is stored finds it. Gives up after half a second and counts it.
    pub async fn catch_up(&self) {
        let core = &self.0;
        let committed = |queue: &Arc<dyn Queue>| (queue.partition(), *queue.committed().borrow());
        let wanted: Vec<(PartitionId, Offset)> =
            core.parties.queues.iter().map(committed).collect();
        let mut shown = core.shown.subscribe();
        let all_shown = async {
            while !core.read(|state| state.has_shown(&wanted)) {
                // The sender lives as long as we do.
                drop(shown.changed().await);
            }
        };
        tokio::select! {
            biased;
            () = all_shown => {}
            () = core.parties.clock.sleep(CATCH_UP_MAX) => { core.parties.metrics.behind.inc(); }
        }
    }

    /// What of a view may hold records of the range and indexes, latest time first.
    #[must_use]
    pub fn units(&self, view: &View, range: &TimeRange, indexes: Option<&[String]>) -> Vec<Unit> {
        let splits = view.splits.iter().cloned().map(Unit::Split);
        let fresh = view.fresh.iter().cloned().map(Unit::Fresh);
        let inside = |unit: &Unit| {
            range.overlaps(Timestamp(unit.time_first()), Timestamp(unit.time_last()))
                && indexes.is_none_or(|indexes| indexes.iter().any(|index| index == unit.index()))
        };
        let mut units: Vec<Unit> = splits.chain(fresh).filter(inside).collect();
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
        let going = match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)),
            Unit::Fresh(_) => None,
        };
        let narrowed = going.map(|going| {
            let filter = Filter::And(vec![request.filter.clone(), Filter::Not(Box::new(going))]);
            ScanRequest { filter, ..request.clone() }
        });
        let request = narrowed.as_ref().unwrap_or(request);
        let evaluator = Evaluator::new(&request.filter, request.range);
        match unit {
            Unit::Split(meta) => self.0.open(meta)?.scan(&evaluator, request, emit),
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
        }
    }

    /// Whether a unit's own counts are those of its records: nothing in it waits to be deleted.
    #[must_use]
    pub fn is_whole(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)).is_none(),
            Unit::Fresh(_) => true,
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
        let minutes = self.0.open(split)?.minutes()?;
        Ok(minutes.iter().map(|(minute, counts)| (minute, *counts)).collect())
    }

    /// The fields of some units with their types and counts, labels included, by name.
    ///
    /// # Errors
    /// [`ScanError`] names the split that cannot be read.
    pub fn field_stats(&self, units: &[Unit]) -> Result<Vec<FieldStat>, ScanError> {
        let mut sums: BTreeMap<(String, FieldType, bool), u64> = BTreeMap::new();
        for unit in units {
            match unit {
                Unit::Split(meta) => {
                    for field in self.0.open(meta)?.fields()?.iter() {
                        *sums.entry((field.name.clone(), field.kind, field.label)).or_default() +=
                            field.count;
                    }
                }
                Unit::Fresh(part) => {
                    let mut counts = HashMap::new();
                    field_counts(&part.rows, &mut counts);
                    for (id, count) in counts {
                        let (kind, label) = (id.kind.unwrap_or(FieldType::Text), id.kind.is_none());
                        *sums.entry((id.name, kind, label)).or_default() += count;
                    }
                }
            }
        }
        let stat = |((name, kind, label), count)| FieldStat { name, kind, label, count };
        Ok(sums.into_iter().map(stat).collect())
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
        let wanted: Vec<_> = self.0.parties.queues.iter().map(committed).collect();
        self.0.read(|state| state.has_shown(&wanted))
    }
}
