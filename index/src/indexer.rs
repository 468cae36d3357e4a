//! The indexer: its threads, started from what the catalog and the queues hold, stopped together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::catalog::{CatalogError, Fence};
use cluster::queue::Queue;
use model::error::chain;
use model::partition::PartitionId;
use platform::shutdown::Shutdown;
use tokio::runtime::Handle;

use crate::cold::Compactor;
use crate::consume::Consumer;
use crate::fresh::Parts;
use crate::guard::guarded;
use crate::patience::Patience;
use crate::publish::{Cut, PublishError, Publisher};
use crate::searcher::{Core, Parties, PartitionState, Searcher};
use crate::split::BuildError;
use crate::{delete, merge, retain};

/// How often merges and sweeps are looked for.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// How often age and disk are looked at.
const EXPIRING: Duration = Duration::from_secs(60);
/// How long publishing rests after it broke off.
const REST: Duration = Duration::from_secs(5);

/// How often a store that all nodes share is swept.
const SWEEPING_SHARED: Duration = Duration::from_secs(600);
/// How long merging or deleting rests at most that fails again and again.
const REWRITING_REST_MAX: Duration = Duration::from_secs(300);

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
    maintainers: Mutex<Vec<JoinHandle<()>>>,
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
    /// From now on, on a node that runs until its shutdown.
    pub(crate) fn new(node: Shutdown, fence: Option<Fence>) -> Self {
        Self { node, own: Shutdown::default(), fence }
    }

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
        let (maintained, handle, folder) = (core.clone(), runtime.clone(), data.clone());
        let (compacted, other) = (core.clone(), runtime.clone());
        let maintainers = vec![
            spawn("maintain".to_owned(), move || maintain(&maintained, &folder, &handle))?,
            spawn("compact".to_owned(), move || compact(&compacted, &data, &other))?,
        ];
        let maintainers = Mutex::new(maintainers);
        Ok(Self { searcher: Searcher(core), runtime, maintainers, seats: Mutex::default() })
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
        let tenure = Tenure::new(core.shutdown.clone(), fence);
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
        let publisher = (core.clone(), queue, tenure.clone());
        let (handle, other) = (self.runtime.clone(), self.runtime.clone());
        let threads = vec![
            spawn(format!("consume-{partition}"), move || consumer.run(&handle))?,
            spawn(format!("publish-{partition}"), move || publish(&publisher, &cuts, &other))?,
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
        let maintainers = {
            let mut maintainers = self.maintainers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *maintainers)
        };
        maintainers.into_iter().for_each(ended);
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

/// Publishes what is cut until the tenure is over. Where that breaks off, what was cut is cut again.
fn publish(
    (core, queue, tenure): &(Arc<Core>, Arc<dyn Queue>, Tenure),
    cuts: &flume::Receiver<Cut>,
    runtime: &Handle,
) {
    let partition = queue.partition();
    let publisher =
        || Publisher { core: core.clone(), queue: queue.clone(), tenure: tenure.clone() };
    while let Err(broken) = guarded(|| publisher().run(cuts, runtime)) {
        core.parties.metrics.failures.inc();
        tracing::error!(%broken, %partition, "publishing broke off; trying again");
        let wait = core.parties.clock.sleep(REST);
        runtime.block_on(async {
            tokio::select! { () = wait => {}, () = tenure.over() => {} }
        });
        let now = core.parties.clock.elapsed();
        core.change(|state| {
            if let Some(state) = state.partitions.get_mut(&partition) {
                state.thaw(now);
            }
        });
    }
}

/// Deletes, merges, expires and sweeps until the shutdown.
fn maintain(core: &Core, data: &std::path::Path, runtime: &Handle) {
    let (mut expiring, mut sweeping) = (Every::new(EXPIRING), Every::new(SWEEPING_SHARED));
    let (mut deleting, mut merging) = (Rewriting::new(), Rewriting::new());
    while !core.shutdown.is_triggered() {
        let deleted = deleting.step(core, "deleting", || delete::advance(core));
        let merged = merging.step(core, "merging", || merge::merge_one(core));
        if expiring.is_due(core.parties.clock.elapsed()) {
            report(core, "expiring", || retain::expire(core, data));
        }
        report(core, "sweeping", || {
            retain::sweep(core);
            Ok(())
        });
        if sweeping.is_due(core.parties.clock.elapsed()) {
            report(core, "closing the past", || retain::close_past(core));
            report(core, "sweeping the store", || {
                sweep_shared(core);
                Ok(())
            });
        }
        if !merged && !deleted {
            rest(core, runtime);
        }
    }
}

/// Compacts until the shutdown. A group takes minutes: nothing else waits for it.
fn compact(core: &Core, data: &std::path::Path, runtime: &Handle) {
    let (mut compacting, mut compactor) = (Rewriting::new(), Compactor::default());
    while !core.shutdown.is_triggered() {
        if !compacting.step(core, "cold compaction", || compactor.step(core, data)) {
            rest(core, runtime);
        }
    }
}

/// Waits a while, or for the shutdown.
fn rest(core: &Core, runtime: &Handle) {
    let wait = core.parties.clock.sleep(MAINTENANCE);
    runtime.block_on(async {
        tokio::select! { () = wait => {}, () = core.shutdown.wait() => {} }
    });
}

/// Something that is done at once and then after so long again, however long other work takes.
struct Every {
    interval: Duration,
    /// The next time, by the clock's elapsed time.
    next: Duration,
}

impl Every {
    fn new(interval: Duration) -> Self {
        Self { interval, next: Duration::ZERO }
    }

    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.interval;
        }
        is_due
    }
}

/// Work that writes splits anew. When it fails it rests; and while it is in doubt what became of the
/// last one, no other is built: until the catalog decides again each would stay.
struct Rewriting {
    patience: Patience,
    in_doubt: bool,
}

impl Rewriting {
    fn new() -> Self {
        Self { patience: Patience::new(MAINTENANCE, REWRITING_REST_MAX), in_doubt: false }
    }

    /// Does one piece of it, unless it rests. Whether there was any.
    fn step(
        &mut self,
        core: &Core,
        what: &str,
        work: impl FnOnce() -> Result<bool, PublishError>,
    ) -> bool {
        if !self.patience.is_over(core.parties.clock.elapsed()) {
            return false;
        }
        let (in_doubt, mut rests) = (&mut self.in_doubt, true);
        let done = report(core, what, || {
            if *in_doubt {
                retain::await_decision(core, None)?;
            }
            let done = work();
            *in_doubt = matches!(done, Err(PublishError::Catalog(CatalogError::Undecided { .. })));
            // Splits that cannot be read are left alone by now: there may be others.
            rests = !matches!(
                done,
                Err(PublishError::Build(BuildError::Rows(_) | BuildError::Broken(_)))
            );
            done
        });
        match done {
            Some(_) => self.patience.done(),
            None if rests => {
                self.patience.failed(core.parties.clock.elapsed());
            }
            None => {}
        }
        done.unwrap_or(false)
    }
}

fn sweep_shared(core: &Core) {
    if let Err(error) = retain::sweep_shared(core) {
        tracing::warn!(%error, "the store could not be swept; it is tried again");
    }
}

/// What came of some work; what went wrong, also where it broke off, is said and counted.
fn report<T>(core: &Core, what: &str, work: impl FnOnce() -> Result<T, PublishError>) -> Option<T> {
    let why = match guarded(work) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => chain(&error),
        Err(broken) => broken.to_string(),
    };
    core.parties.metrics.failures.inc();
    tracing::error!(why, "{what} failed; trying again later");
    None
}

#[cfg(test)]
mod tests {
    use model::node::NodeId;
    use model::split::{SplitId, SplitMeta};

    use super::*;
    use crate::fixture::{Fixture, deletion};
    use crate::keep::{KeepError, Keeper};
    use crate::settings::Settings;

    /// How long a thread may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Says that a cold split is to be kept, and keeps it when it is let.
    struct Gate {
        asked: flume::Sender<()>,
        let_go: flume::Receiver<()>,
    }

    impl Keeper for Gate {
        fn secure(&self, meta: &SplitMeta) -> Result<Vec<NodeId>, KeepError> {
            if meta.cold {
                let _told = self.asked.send(());
                let _let_go = self.let_go.recv();
            }
            Ok(Vec::new())
        }

        fn suspect(&self, _: &SplitId) {}
    }

    #[test]
    fn merges_and_deletions_do_not_wait_for_a_compaction() {
        let ((asked, is_asked), (going, let_go)) = (flume::bounded(1), flume::bounded::<()>(0));
        let fixture = Fixture::kept(Settings::TINY, Some(Arc::new(Gate { asked, let_go })));
        let (core, first) = (&fixture.core, fixture.publish(&["secret 0"]));
        // Too big to be written together with the first.
        fixture.publish(&["secret 0"; 2_000]);
        fixture.searcher.compact("main").unwrap();
        let (compacted, folder) = (core.clone(), tempfile::tempdir().unwrap());
        let nowhere = folder.path().join("nowhere");
        let step = move || Compactor::default().step(&compacted, &nowhere).unwrap();
        let compactor = std::thread::spawn(step);
        is_asked.recv_timeout(PATIENCE).unwrap();
        // It is at work on the first.
        for message in ["secret 1", "a 2", "a 3"] {
            fixture.publish(&[message]);
        }
        assert!(merge::merge_one(core).unwrap());
        let command = cluster::catalog::Command::BeginDeletion(deletion("secret", 2_004));
        core.parties.catalog.execute(command).unwrap();
        assert!(delete::advance(core).unwrap() && delete::advance(core).unwrap());
        assert!(!delete::advance(core).unwrap(), "the first is being written");
        assert_eq!(core.parties.metrics.rewrites_running.get(), 1);
        let view = fixture.searcher.view();
        assert!(view.splits.len() == 2 && view.splits.contains(&first));
        assert_eq!(view.splits.iter().map(|split| split.row_count).sum::<u64>(), 3);
        // Nor do sweeps: two objects of the first, of what it becomes, and of the other.
        retain::sweep(core);
        assert_eq!(core.parties.objects.list().unwrap().len(), 6);
        drop(going);
        assert!(compactor.join().unwrap());
        while delete::advance(core).unwrap() {}
        assert_eq!(fixture.stored(), ["a 2", "a 3"]);
        assert_eq!(core.parties.metrics.rewrites_running.get(), 0);
    }

    #[test]
    fn what_breaks_off_is_counted_and_others_go_on() {
        let fixture = Fixture::new();
        let broken = report(&fixture.core, "merging", || -> Result<u32, PublishError> {
            panic!("a row is not there")
        });
        assert_eq!(broken, None);
        assert_eq!(fixture.core.parties.metrics.failures.get(), 1);
        assert_eq!(report(&fixture.core, "expiring", || Ok(3)), Some(3));
    }

    #[test]
    fn what_is_done_now_and_then_is_done_by_the_clock() {
        let (second, mut every) = (Duration::from_secs(1), Every::new(Duration::from_secs(60)));
        let due = [0, 1, 59, 60, 61, 119, 300, 301, 360].map(|at| every.is_due(at * second));
        assert_eq!(due, [true, false, false, true, false, false, true, false, true]);
    }

    #[test]
    fn nothing_is_built_while_it_rests_and_a_doubt_ends_with_a_decision() {
        let fixture = Fixture::new();
        let (core, mut merging) = (&fixture.core, Rewriting::new());
        let undecided = || CatalogError::Undecided { why: "no majority".to_owned() };
        assert!(!merging.step(core, "merging", || Err(undecided().into())));
        assert!(merging.in_doubt);
        assert!(!merging.step(core, "merging", || panic!("it rests")));
        fixture.clock.advance(MAINTENANCE);
        assert!(merging.step(core, "merging", || Ok(true)));
        assert!(!merging.in_doubt, "the catalog has decided");
        // What cannot be read is no reason to rest.
        let damaged = || -> Result<bool, PublishError> {
            let (object, what) = ("splits/a".to_owned(), "damaged".to_owned());
            Err(BuildError::Rows(crate::scan::ScanError::Corrupt { object, what }).into())
        };
        assert!(!merging.step(core, "merging", damaged));
        assert!(merging.step(core, "merging", || Ok(true)));
    }
}
