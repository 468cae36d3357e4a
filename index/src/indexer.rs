//! The indexer: its threads, started from what the catalog and the queues hold, stopped together.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::catalog::CatalogError;
use platform::shutdown::Shutdown;
use tokio::runtime::Handle;

use crate::consume::Consumer;
use crate::delete::Deletions;
use crate::fresh::Parts;
use crate::publish::{PublishError, Publisher, chain_of};
use crate::searcher::{Core, Parties, PartitionState, Searcher};
use crate::{delete, merge, retain};

/// How often merges and sweeps are looked for.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// Maintenance rounds between two looks at age and disk.
const EXPIRE_ROUNDS: u64 = 60;

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

/// A running indexer.
#[derive(Debug)]
pub struct Indexer {
    searcher: Searcher,
    threads: Vec<JoinHandle<()>>,
}

impl Indexer {
    /// Starts from the catalog; fresh records come back from the queues. `data` is the folder
    /// whose disk share is kept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parties: Parties, data: PathBuf, shutdown: Shutdown) -> Result<Self, StartError> {
        let core = Arc::new(Core::new(parties, shutdown));
        let splits = core.parties.catalog.splits()?;
        core.change(|state| state.splits = splits.into_iter().map(|s| (s.id.clone(), s)).collect());
        let deletions = core.parties.catalog.deletions()?;
        core.change(|state| state.deletions = Deletions::of(deletions));
        retain::sweep_leftovers(&core)?;
        let runtime = Handle::current();
        let mut threads = Vec::new();
        for queue in core.parties.queues.clone() {
            let partition = queue.partition();
            let at = core.parties.catalog.indexed_offset(partition)?;
            let active = Parts::from(at);
            let state = PartitionState { active, published: at, ..PartitionState::default() };
            core.change(|all| all.partitions.insert(partition, state));
            let (builder, cuts) = flume::bounded(1);
            let consumer = Consumer { core: core.clone(), queue: queue.clone(), builder, at };
            let publisher = Publisher { core: core.clone(), queue };
            let handle = runtime.clone();
            threads.push(spawn(format!("consume-{partition}"), move || consumer.run(&handle))?);
            let handle = runtime.clone();
            threads.push(spawn(format!("publish-{partition}"), move || {
                publisher.run(&cuts, &handle)
            })?);
        }
        let maintained = core.clone();
        let keep = move || maintain(&maintained, &data, &runtime);
        threads.push(spawn("maintain".to_owned(), keep)?);
        Ok(Self { searcher: Searcher(core), threads })
    }

    /// The way to search it.
    #[must_use]
    pub fn searcher(&self) -> Searcher {
        self.searcher.clone()
    }

    /// Waits for the threads to end, after the shutdown was triggered.
    pub fn join(self) {
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(name, "a thread ended badly");
            }
        }
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
