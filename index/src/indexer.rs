//! The indexer: its threads, started from what the catalog and the queues hold, stopped together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::catalog::{CatalogError, Fence};
use cluster::queue::Queue;
use model::partition::PartitionId;
use platform::shutdown::Shutdown;
use tokio::runtime::Handle;

use crate::consume::Consumer;
use crate::fresh::Parts;
use crate::publish::{PublishError, Publisher, chain_of};
use crate::searcher::{Core, Parties, PartitionState, Searcher};
use crate::{delete, merge, retain};

/// How often merges and sweeps are looked for.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// Maintenance rounds between two looks at age and disk.
const EXPIRE_ROUNDS: u64 = 60;

/// Maintenance rounds between two sweeps of a store that all nodes share.
const SHARED_ROUNDS: u64 = 600;

/// Why the indexer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The catalog cannot be read.
    #[error("the catalog cannot be read")]
    Catalog(#[from] CatalogError),
    /// Folders or threads cannot be made.
    #[error("the indexer's folders or threads cannot be made")]
    Io(#[from] std::io::Error),
}

/// A running indexer: partitions are taken and released while it runs.
pub struct Indexer {
    searcher: Searcher,
    runtime: Handle,
    maintainer: Mutex<Option<JoinHandle<()>>>,
    seats: Mutex<BTreeMap<PartitionId, Seat>>,
}

impl std::fmt::Debug for Indexer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Indexer").finish_non_exhaustive()
    }
}

/// A partition that is indexed here.
struct Seat {
    tenure: Tenure,
    threads: Vec<JoinHandle<()>>,
}

/// How long a partition is indexed here: until the node stops or another node has it.
#[derive(Debug, Clone)]
pub(crate) struct Tenure {
    node: Shutdown,
    own: Shutdown,
    /// The lease, in a cluster.
    pub(crate) fence: Option<Fence>,
}

impl Tenure {
    pub(crate) fn is_over(&self) -> bool {
        self.own.is_triggered() || self.node.is_triggered()
    }

    /// Returns when it is over.
    pub(crate) async fn over(&self) {
        tokio::select! { () = self.node.wait() => {}, () = self.own.wait() => {} }
    }

    pub(crate) fn end(&self) {
        self.own.trigger();
    }
}

impl Indexer {
    /// Starts from the catalog, without partitions. `data` is the folder whose disk share is kept.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parties: Parties, data: PathBuf, shutdown: Shutdown) -> Result<Self, StartError> {
        let core = Arc::new(Core::new(parties, shutdown));
        let hearing = Arc::downgrade(&core);
        core.parties.catalog.subscribe(move |change| {
            if let Some(core) = hearing.upgrade() {
                core.hear(change);
            }
        });
        core.read_all()?;
        retain::sweep_leftovers(&core)?;
        let runtime = Handle::current();
        let (maintained, handle) = (core.clone(), runtime.clone());
        let maintainer =
            spawn("maintain".to_owned(), move || maintain(&maintained, &data, &handle))?;
        let maintainer = Mutex::new(Some(maintainer));
        Ok(Self { searcher: Searcher(core), runtime, maintainer, seats: Mutex::default() })
    }

    /// Indexes a partition from its published offset on; its fresh records come from the queue.
    /// Taking it again under another lease begins anew.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn take(&self, queue: Arc<dyn Queue>, fence: Option<Fence>) -> Result<(), StartError> {
        let partition = queue.partition();
        self.release(partition);
        let core = &self.searcher.0;
        let tenure = Tenure { node: core.shutdown.clone(), own: Shutdown::default(), fence };
        // Nobody publishes meanwhile: the lease is ours.
        let at = core.parties.catalog.indexed_offset(partition)?;
        let state = PartitionState {
            queue: queue.clone(),
            fence: tenure.fence.clone(),
            active: Parts::from(at),
            frozen: None,
            published: at,
            since: None,
        };
        core.change(|all| all.partitions.insert(partition, state));
        let (builder, cuts) = flume::bounded(1);
        let consumer = Consumer {
            core: core.clone(),
            queue: queue.clone(),
            builder,
            tenure: tenure.clone(),
            at,
        };
        let publisher = Publisher { core: core.clone(), queue, tenure: tenure.clone() };
        let (handle, other) = (self.runtime.clone(), self.runtime.clone());
        let threads = vec![
            spawn(format!("consume-{partition}"), move || consumer.run(&handle))?,
            spawn(format!("publish-{partition}"), move || publisher.run(&cuts, &other))?,
        ];
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.insert(partition, Seat { tenure, threads });
        Ok(())
    }

    /// Another node indexes a partition: its fresh records are not shown here any more. Blocks
    /// until its threads have ended.
    pub fn release(&self, partition: PartitionId) {
        let seat = self.seats.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        let Some(seat) = seat else { return };
        seat.tenure.end();
        self.searcher.0.change(|state| state.partitions.remove(&partition));
        seat.threads.into_iter().for_each(ended);
    }

    /// The leases under which partitions are indexed here; those that are over are not among them.
    #[must_use]
    pub fn seats(&self) -> BTreeMap<PartitionId, Option<Fence>> {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let live = seats.iter().filter(|(_, seat)| !seat.tenure.is_over());
        live.map(|(partition, seat)| (*partition, seat.tenure.fence.clone())).collect()
    }

    /// Counts how often everything may have become another: partitions are to be taken anew.
    #[must_use]
    pub fn reset(&self) -> tokio::sync::watch::Receiver<u64> {
        self.searcher.0.reset.subscribe()
    }

    /// The way to search it.
    #[must_use]
    pub fn searcher(&self) -> Searcher {
        self.searcher.clone()
    }

    /// Waits for the threads to end, after the shutdown was triggered.
    pub fn join(&self) {
        let seats = {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *seats)
        };
        seats.into_values().flat_map(|seat| seat.threads).for_each(ended);
        let maintainer = self.maintainer.lock().unwrap_or_else(PoisonError::into_inner).take();
        maintainer.into_iter().for_each(ended);
    }
}

fn ended(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        tracing::error!(name, "a thread ended badly");
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(work)
}

/// Merges, expires and sweeps until the shutdown.
fn maintain(core: &Core, data: &std::path::Path, runtime: &Handle) {
    let mut round = 0_u64;
    while !core.shutdown.is_triggered() {
        let deleted = report(core, "deleting", delete::advance(core)).unwrap_or(false);
        let merged = report(core, "merging", merge::merge_one(core)).unwrap_or(false);
        if round.is_multiple_of(EXPIRE_ROUNDS) {
            report(core, "expiring", retain::expire(core, data));
        }
        retain::sweep(core);
        if round.is_multiple_of(SHARED_ROUNDS)
            && let Err(error) = retain::sweep_shared(core)
        {
            tracing::warn!(%error, "the store could not be swept; it is tried again");
        }
        round += 1;
        if !merged && !deleted {
            let wait = core.parties.clock.sleep(MAINTENANCE);
            runtime.block_on(async {
                tokio::select! { () = wait => {}, () = core.shutdown.wait() => {} }
            });
        }
    }
}

fn report<T>(core: &Core, what: &str, outcome: Result<T, PublishError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            core.parties.metrics.failures.inc();
            tracing::error!(why = chain_of(&error), "{what} failed; trying again later");
            None
        }
    }
}
