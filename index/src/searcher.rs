//! What queries see: a consistent view of fresh records and splits, and the way to scan them.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::catalog::{Catalog, CatalogError, Fence};
use cluster::queue::Queue;
use model::deletion::Deletion;
use model::level::Level;
use model::node::NodeId;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::Filter;
use model::record::FieldType;
use model::split::{FieldStat, SplitId, SplitMeta};
use model::time::{TimeRange, Timestamp};
use model::wire::Missing;
use moka::sync::Cache;
use platform::clock::Clock;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use tokio::sync::{broadcast, watch};

use crate::delete::{self, Deletions};
use crate::evaluate::{Evaluator, Place};
use crate::fresh::{FreshPart, Parts};
use crate::keep::Keeper;
use crate::metrics::IndexMetrics;
use crate::remote::{Remote, RemotePart};
use crate::scan::{ScanError, ScanRequest, field_counts, scan_rows};
use crate::settings::Settings;
use crate::split::{PageCache, Split, body_name};

/// Parts that a slow follower may be behind before it misses some.
pub(crate) const FOLLOW_PARTS_MAX: usize = 1_024;
/// How long a question waits for records that were acknowledged before it was asked. A consumer is
/// a millisecond behind; more than this only after a start or below a bound on fresh records, and
/// then the answer is given from what there is.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// Every record that was consumed, exactly once.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// Published splits.
    pub splits: Vec<Arc<SplitMeta>>,
    /// Fresh rows.
    pub fresh: Vec<Arc<FreshPart>>,
    /// Fresh rows that other nodes hold.
    pub remote: Vec<Arc<RemotePart>>,
    /// The offsets below which records of each partition are in it.
    pub ends: BTreeMap<PartitionId, Offset>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

impl View {
    /// All of it.
    pub fn units(&self) -> impl Iterator<Item = Unit> {
        let splits = self.splits.iter().cloned().map(Unit::Split);
        let fresh = self.fresh.iter().cloned().map(Unit::Fresh);
        splits.chain(fresh).chain(self.remote.iter().cloned().map(Unit::Remote))
    }
}

/// A split or a fresh part: what one thread scans.
#[derive(Debug, Clone)]
pub enum Unit {
    /// A split.
    Split(Arc<SplitMeta>),
    /// A fresh part.
    Fresh(Arc<FreshPart>),
    /// A fresh part on another node.
    Remote(Arc<RemotePart>),
}

impl Unit {
    /// Earliest timestamp.
    #[must_use]
    pub fn time_first(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_first,
            Self::Fresh(part) => part.time_first,
            Self::Remote(part) => part.span().0,
        }
    }

    /// Latest timestamp.
    #[must_use]
    pub fn time_last(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_last,
            Self::Fresh(part) => part.time_last,
            Self::Remote(part) => part.span().1,
        }
    }

    /// Rows in it.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        match self {
            Self::Split(split) => split.row_count,
            Self::Fresh(part) => part.rows.num_rows() as u64,
            Self::Remote(part) => part.row_count(),
        }
    }

    /// Bytes that it takes, on disk or in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Split(split) => split.stored_bytes,
            Self::Fresh(part) => part.bytes,
            Self::Remote(part) => part.bytes(),
        }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &str {
        match self {
            Self::Split(split) => &split.index,
            Self::Fresh(part) => &part.index,
            Self::Remote(part) => part.index(),
        }
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Split(split) => split.partition,
            Self::Fresh(part) => part.partition,
            Self::Remote(part) => part.partition(),
        }
    }

    /// The lowest and the highest id of its records; ids in between may be of other units.
    #[must_use]
    pub fn ids(&self) -> (RecordId, RecordId) {
        let (first, last) = match self {
            Self::Split(split) => (split.offset_first, split.offset_last),
            Self::Fresh(part) => part.offsets(),
            Self::Remote(part) => part.offsets(),
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
    /// This node.
    pub node: NodeId,
    /// Who keeps copies of what is built here; nobody on a node of its own or with a shared store.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// The way to fresh records of other nodes, in a cluster.
    pub remote: Option<Remote>,
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

/// A partition is indexed by another node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotHere;

pub(crate) struct Core {
    pub(crate) parties: Parties,
    pub(crate) state: Mutex<State>,
    /// One deletion begins at a time.
    pub(crate) deleting: Mutex<()>,
    pub(crate) shutdown: Shutdown,
    /// Records that deletions took from memory here and that were not told yet, by their numbers.
    pub(crate) taken: Mutex<BTreeMap<u64, u64>>,
    /// Wakes who indexes when everything may be another.
    pub(crate) reset: watch::Sender<u64>,
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
    /// The offsets below which records of partitions are in splits, wherever those are indexed.
    pub(crate) published: BTreeMap<PartitionId, Offset>,
    /// Splits that left the catalog; their objects go when no view holds them.
    pub(crate) removed: Vec<Arc<SplitMeta>>,
    /// What was asked to be deleted.
    pub(crate) deletions: Deletions,
    view: Option<Arc<View>>,
}

/// The fresh records of a partition.
pub(crate) struct PartitionState {
    /// Where they come from.
    pub(crate) queue: Arc<dyn Queue>,
    /// The lease under which they are indexed, in a cluster.
    pub(crate) fence: Option<Fence>,
    /// What came since the last cut.
    pub(crate) active: Parts,
    /// What is being built into splits.
    pub(crate) frozen: Option<Arc<Parts>>,
    /// The offset below which records are in splits.
    pub(crate) published: Offset,
    /// When the oldest row of `active` came, by the clock's elapsed time.
    pub(crate) since: Option<Duration>,
}

/// A partition indexed here: its token, published and shown offsets.
pub(crate) type OwnPartition = (PartitionId, u64, Offset, Offset);

impl PartitionState {
    /// All its fresh parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Arc<FreshPart>> {
        let frozen = self.frozen.iter().flat_map(|parts| parts.iter().cloned());
        frozen.chain(self.active.iter().cloned())
    }
}

impl State {
    /// Whether the partitions are consumed up to these offsets.
    fn has_shown(&self, wanted: &[(PartitionId, Offset)]) -> bool {
        let shown = |id| self.partitions.get(id).map(|partition| partition.active.end);
        // One that is indexed elsewhere by now is asked for there.
        wanted.iter().all(|(id, offset)| shown(id).is_none_or(|end| end >= *offset))
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
        let (state, deleting, taken) = Default::default();
        let reset = watch::Sender::new(0);
        Self { parties, state, deleting, shutdown, taken, reset, follow, shown, cache, pages }
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

    /// The queues that are indexed here.
    pub(crate) fn queues(&self) -> Vec<Arc<dyn Queue>> {
        self.read(|state| state.partitions.values().map(|one| one.queue.clone()).collect())
    }

    /// The lease under which a partition is indexed here; `Err` when it is not.
    pub(crate) fn fence(&self, partition: PartitionId) -> Result<Option<Fence>, NotHere> {
        let fence = self.read(|state| Some(state.partitions.get(&partition)?.fence.clone()));
        fence.ok_or(NotHere)
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

    /// Waits until what was committed before the call is searchable, so that who was told that a
    /// record is stored finds it. Gives up after half a second and counts it.
    pub async fn catch_up(&self) {
        let settled = self.0.queues().into_iter().map(|queue| {
            let settled = queue.settled();
            async move { (queue.partition(), settled.await) }
        });
        let settled = futures::future::join_all(settled).await;
        let wanted: Vec<(PartitionId, Offset)> =
            settled.into_iter().filter_map(|(id, offset)| Some((id, offset?))).collect();
        if !self.wait_shown(&wanted, CATCH_UP_MAX).await {
            self.0.parties.metrics.behind.inc();
        }
    }

    /// Waits until partitions that are indexed here are searchable up to these offsets. Whether
    /// they are.
    pub(crate) async fn wait_shown(
        &self,
        wanted: &[(PartitionId, Offset)],
        wait: Duration,
    ) -> bool {
        let core = &self.0;
        let mut shown = core.shown.subscribe();
        let all_shown = async {
            while !core.read(|state| state.has_shown(wanted)) {
                // The sender lives as long as we do.
                drop(shown.changed().await);
            }
        };
        tokio::select! {
            biased;
            () = all_shown => true,
            () = core.parties.clock.sleep(wait) => false,
        }
    }

    /// What there is now in the whole cluster, with everything that was acknowledged before the
    /// call; what cannot be had is named in it.
    pub async fn gather(&self) -> Arc<View> {
        let Some(remote) = &self.0.parties.remote else {
            self.catch_up().await;
            let view = self.view();
            let ends = self.partitions().into_iter().map(|(id, figures)| (id, figures.end));
            return Arc::new(View { ends: ends.collect(), ..View::clone(&view) });
        };
        let mine = self.tokens();
        let (gathered, ()) = tokio::join!(remote.gather(&mine), self.catch_up());
        let mut missing = gathered.missing;
        if !self.wait_published(&gathered.published).await {
            missing.push(Missing {
                what: "the newest splits".to_owned(),
                why: "this node is behind its cluster's catalog".to_owned(),
            });
        }
        missing.extend(remote.silence());
        let topology = remote.topology();
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_mine = |id: &PartitionId, partition: &&PartitionState| {
            let token = partition.fence.as_ref().map(|fence| fence.token);
            topology.indexer(*id).map(|lease| lease.token) == token
        };
        let fresh = state.partitions.iter().filter(|(id, partition)| is_mine(id, partition));
        let fresh = fresh.flat_map(|(_, partition)| partition.parts()).collect();
        // What was published since the other nodes answered is in the splits of this view.
        let from = |part: &RemotePart| state.published.get(&part.partition()).copied();
        let remote = gathered.parts.into_iter().filter_map(|part| {
            let from = from(&part).unwrap_or_default();
            part.behind(from).map(Arc::new)
        });
        let remote = remote.collect();
        let mut ends: BTreeMap<PartitionId, Offset> = gathered.ends.into_iter().collect();
        for (id, partition) in state.partitions.iter().filter(|(id, one)| is_mine(id, one)) {
            ends.insert(*id, partition.active.end);
        }
        let splits = state.splits.values().cloned().collect();
        Arc::new(View { splits, fresh, remote, ends, missing })
    }

    /// Waits until this node knows what others have published. Whether it does.
    async fn wait_published(&self, published: &[(PartitionId, Offset)]) -> bool {
        let core = &self.0;
        let mut changed = core.parties.catalog.changed();
        let known = |state: &State| {
            let at = |id| state.published.get(id).copied().unwrap_or_default();
            published.iter().all(|(id, offset)| at(id) >= *offset)
        };
        let all_known = async {
            while !core.read(known) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        core.parties.clock.timeout(CATCH_UP_MAX, all_known).await.is_some()
    }

    /// The tokens of the leases under which partitions are indexed here.
    fn tokens(&self) -> BTreeMap<PartitionId, u64> {
        self.0.read(|state| {
            let token = |partition: &PartitionState| Some(partition.fence.as_ref()?.token);
            let all = state.partitions.iter();
            all.filter_map(|(id, partition)| Some((*id, token(partition)?))).collect()
        })
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
            range.overlaps(Timestamp(unit.time_first()), Timestamp(unit.time_last()))
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
        let going = match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)),
            Unit::Fresh(_) | Unit::Remote(_) => None,
        };
        let narrowed = going.map(|going| {
            let filter = Filter::And(vec![request.filter.clone(), Filter::Not(Box::new(going))]);
            ScanRequest { filter, ..request.clone() }
        });
        let request = narrowed.as_ref().unwrap_or(request);
        let evaluator = Evaluator::new(&request.filter, request.range);
        match unit {
            Unit::Split(meta) => match self.elsewhere(meta) {
                Some(remote) => remote.scan_split(meta, request, emit),
                None => self.0.open(meta)?.scan(&evaluator, request, emit),
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
            Unit::Remote(part) => self.remote(part)?.scan(part, request, emit),
        }
    }

    /// The way to a split whose rows are nearer to another node.
    fn elsewhere(&self, meta: &SplitMeta) -> Option<&Remote> {
        let parties = &self.0.parties;
        let remote = parties.remote.as_ref()?;
        let is_here = match parties.objects.is_shared() {
            true => remote.is_owner(meta),
            false => parties.objects.has_local(&body_name(&meta.id)),
        };
        (!is_here).then_some(remote)
    }

    /// Scans a split with what this node has of it.
    pub(crate) fn scan_here(
        &self,
        meta: &Arc<SplitMeta>,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let evaluator = Evaluator::new(&request.filter, request.range);
        self.0.open(meta)?.scan(&evaluator, request, emit)
    }

    fn remote(&self, part: &RemotePart) -> Result<&Remote, ScanError> {
        let away = || ScanError::Away { what: part.name(), why: "no cluster".to_owned() };
        self.0.parties.remote.as_ref().ok_or_else(away)
    }

    /// Whether a unit's own counts are those of its records: nothing in it waits to be deleted.
    #[must_use]
    pub fn is_whole(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Split(meta) => self.0.read(|state| state.deletions.of_split(meta)).is_none(),
            Unit::Fresh(_) => true,
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
                Unit::Remote(part) => {
                    for field in self.remote(part)?.fields(part)? {
                        let key = (field.name, field.kind, field.label);
                        *sums.entry(key).or_default() += field.count;
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
        let wanted: Vec<_> = self.0.queues().iter().map(committed).collect();
        self.0.read(|state| state.has_shown(&wanted))
    }
}
