//! What the indexer's threads and the searches of a node share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::catalog::{Catalog, Fence, PROTOCOL_TYPES};
use cluster::queue::Queue;
use model::node::NodeId;
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};
use moka::sync::Cache;
use platform::clock::Clock;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use tokio::sync::{broadcast, watch};

use crate::aside::Aside;
use crate::delete::Deletions;
use crate::fresh::{FreshPart, Parts};
use crate::keep::Keeper;
use crate::metrics::IndexMetrics;
use crate::remote::Remote;
use crate::scan::ScanError;
use crate::settings::Settings;
use crate::split::{PageCache, Split};
use crate::view::View;

/// Parts that a slow follower may be behind before it misses some.
pub(crate) const FOLLOW_PARTS_MAX: usize = 1_024;

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
    pub(crate) follow: broadcast::Sender<Arc<FreshPart>>,
    pub(crate) shown: watch::Sender<()>,
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
    /// As what splits were known before, where views may hold them so.
    pub(crate) older: Vec<Arc<SplitMeta>>,
    /// Those that no view of this node holds any more, and when their objects go.
    pub(crate) doomed: Vec<(Duration, Arc<SplitMeta>)>,
    /// What was asked to be deleted.
    pub(crate) deletions: Deletions,
    /// Splits that are not written anew now.
    pub(crate) aside: Aside,
    pub(crate) view: Option<Arc<View>>,
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

    /// What was frozen is to be cut again: nobody builds it any more.
    pub(crate) fn thaw(&mut self, now: Duration) {
        if let Some(frozen) = self.frozen.take() {
            self.active.put_before(&frozen);
            self.since.get_or_insert(now);
        }
    }
}

impl State {
    /// A split is known as this from now on.
    pub(crate) fn know(&mut self, meta: Arc<SplitMeta>) {
        let before = self.splits.insert(meta.id.clone(), meta);
        self.older.extend(before.filter(|before| Arc::strong_count(before) > 1));
    }

    /// Of the splits that left the catalog those that no view holds any more, under whatever they
    /// were known as.
    pub(crate) fn let_go(&mut self) -> Vec<Arc<SplitMeta>> {
        self.older.retain(|before| Arc::strong_count(before) > 1);
        let older = &self.older;
        let is_held = |split: &Arc<SplitMeta>| {
            Arc::strong_count(split) > 1 || older.iter().any(|before| before.id == split.id)
        };
        let (held, free) = std::mem::take(&mut self.removed).into_iter().partition(is_held);
        self.removed = held;
        free
    }

    /// Whether the partitions are consumed up to these offsets.
    pub(crate) fn has_shown(&self, wanted: &[(PartitionId, Offset)]) -> bool {
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

    /// Whether every node reads splits with columns of types of their own.
    pub(crate) fn may_type(&self) -> bool {
        let topology = self.parties.catalog.topology();
        topology.borrow().nodes.values().all(|node| node.protocol >= PROTOCOL_TYPES)
    }

    /// Tells followers of a new part.
    pub(crate) fn tell(&self, part: Arc<FreshPart>) {
        // Nobody follows: nobody is told.
        drop(self.follow.send(part));
        self.shown.send_replace(());
    }

    pub(crate) fn open(&self, meta: &Arc<SplitMeta>) -> Result<Arc<Split>, ScanError> {
        if let Some(split) = self.opened(&meta.id) {
            return Ok(split);
        }
        self.parties.metrics.cache_misses.inc();
        let split = Arc::new(Split::open(meta.clone(), &self.parties.objects, &self.pages)?);
        self.cache.insert(meta.id.clone(), split.clone());
        self.settle_cache();
        Ok(split)
    }

    /// Lets go what is to go of the opened splits, and shows what stays.
    fn settle_cache(&self) {
        self.cache.run_pending_tasks();
        let bytes = i64::try_from(self.cache.weighted_size()).unwrap_or(i64::MAX);
        self.parties.metrics.cache_bytes.set(bytes);
    }

    /// A split that is open.
    pub(crate) fn opened(&self, id: &SplitId) -> Option<Arc<Split>> {
        let split = self.cache.get(id)?;
        self.parties.metrics.cache_hits.inc();
        Some(split)
    }

    /// Has the copy of a split looked at that could not be read here.
    pub(crate) fn suspect(&self, id: &SplitId, error: &ScanError) {
        if let (ScanError::Corrupt { .. }, Some(keeper)) = (error, &self.parties.keeper) {
            keeper.suspect(id);
        }
    }

    pub(crate) fn forget(&self, id: &SplitId) {
        self.cache.invalidate(id);
    }

    /// Keeps these splits open no longer, at once.
    pub(crate) fn close(&self, splits: &[SplitId]) {
        if splits.is_empty() {
            return;
        }
        splits.iter().for_each(|id| self.forget(id));
        self.settle_cache();
    }
}
