//! Looking after the copies: what this node should keep and does not is fetched, and what others keep
//! in its place goes. Splits are looked at when something became of them; all of them now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster::catalog::{CatalogError, Change, Command, Refusal};
use cluster::peer::PeerServer;
use model::node::{NodeId, NodeInfo, Topology};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use platform::shutdown::Shutdown;

use super::copies::{Copies, as_built, is_mute, names, wanted};

/// The call that asks what an object is.
pub(super) const ANNOUNCE_CALL: &str = "announce_object";
/// How often copies are looked after.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Rounds between two looks at all splits, for what a disk lost, what is too much and what is damaged.
const SEARCH_ROUNDS: u64 = 30;
/// Splits that are told of in one command.
pub(super) const TELL_MAX: usize = 256;
/// Splits of which something became that are remembered one by one; of more all are looked at.
const NEWS_MAX: usize = 4_096;
/// How long a node is not asked again that did not answer, and a split not fetched again of which no
/// copy was had.
const REST: Duration = Duration::from_secs(10);
/// Others that keep a split, at least, when this node leaves it to those that should.
const OTHERS_MIN: usize = 2;

/// Looks after the copies of a node.
pub(super) struct Looker {
    pub(super) copies: Copies,
    news: Arc<Mutex<News>>,
    /// Nodes that did not answer, and from when on they are asked again.
    mute: BTreeMap<NodeId, Duration>,
    /// Splits of which no copy was had, and from when on they are fetched again.
    resting: BTreeMap<SplitId, Duration>,
    /// Splits that may be damaged here.
    pub(super) suspects: BTreeSet<SplitId>,
    /// The last split that was looked through.
    pub(super) looked_through: Option<SplitId>,
    /// Splits whose objects are here and that are not known, and since when.
    pub(super) unknown: BTreeMap<SplitId, Duration>,
}

/// Of which splits something became.
#[derive(Debug, Default)]
struct News {
    all: bool,
    splits: BTreeSet<SplitId>,
}

/// What was read of the catalog.
pub(super) struct Sight {
    /// What was begun before this and is not among the splits never will be.
    pub(super) swept: Timestamp,
    pub(super) splits: Vec<Arc<SplitMeta>>,
    pub(super) topology: Arc<Topology>,
}

impl Copies {
    /// Until the shutdown.
    pub async fn look_after(self, server: PeerServer, shutdown: Shutdown) {
        let own = self.clone();
        server.on_call(ANNOUNCE_CALL, move |name| {
            let copies = own.clone();
            async move { copies.announce(&name).await }
        });
        let mut looker = Looker::new(self);
        let mut round = 0_u64;
        loop {
            tokio::select! {
                () = looker.copies.0.metadata.clock().sleep(LOOK_INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            round += 1;
            if let Err(error) = looker.look(round).await {
                looker.news().all = true;
                tracing::warn!(%error, "copies of splits are not as they should be yet");
            }
        }
    }

    async fn announce(&self, name: &[u8]) -> Result<Bytes, String> {
        let name = String::from_utf8_lossy(name).into_owned();
        let announced = self.reading(move |copies| copies.announced(name)).await;
        let announced = announced.map_err(|error| error.to_string())?;
        serde_json::to_vec(&announced).map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Does something that waits for the disk.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let copies = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&copies)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether this node has the split's objects; whether they are whole is another question.
    pub(super) fn has(&self, split: &SplitMeta) -> bool {
        match as_built(split) {
            Some(objects) => objects.iter().all(|object| self.has_object(object)),
            None => names(&split.id)
                .iter()
                .all(|name| self.objects().is_ok_and(|objects| objects.has_local(name))),
        }
    }

    pub(super) fn remove(&self, splits: &[SplitId]) {
        let Ok(objects) = self.objects() else { return };
        for name in splits.iter().flat_map(names) {
            if let Err(error) = objects.delete(&name) {
                tracing::warn!(%error, name, "an object could not be deleted; a sweep tries again");
            }
        }
    }
}

impl Looker {
    fn new(copies: Copies) -> Self {
        let news = Arc::new(Mutex::new(News { all: true, ..News::default() }));
        let hearing = news.clone();
        copies.0.metadata.catalog().subscribe(move |change| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).hear(change);
        });
        Self {
            copies,
            news,
            mute: BTreeMap::new(),
            resting: BTreeMap::new(),
            suspects: BTreeSet::new(),
            looked_through: None,
            unknown: BTreeMap::new(),
        }
    }

    fn news(&self) -> std::sync::MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.copies.0.metadata.clock().elapsed()
    }

    async fn look(&mut self, round: u64) -> Result<(), CatalogError> {
        let is_search = round.is_multiple_of(SEARCH_ROUNDS);
        let news = std::mem::take(&mut *self.news());
        let is_all = news.all || is_search;
        if is_search || round == 1 {
            let room = self.copies.0.room.clone();
            // Where the system does not tell there is room.
            drop(self.copies.reading(move |_| Ok(room.measure())).await);
        }
        let sight = self.sight((!is_all).then_some(news.splits)).await?;
        let (mut copied, mut dropped) = (self.mend(&sight).await?, Vec::new());
        for split in &sight.splits {
            match self.duty(split, &sight.topology, is_search || round == 1) {
                Duty::Fetch => {
                    if self.fetch(split, &sight.topology).await {
                        copied.push(split.id.clone());
                    }
                }
                Duty::Mend => {
                    self.suspects.insert(split.id.clone());
                }
                Duty::Drop => dropped.push(split.id.clone()),
                Duty::None => {}
            }
            if copied.len() >= TELL_MAX {
                self.tell_copied(std::mem::take(&mut copied)).await?;
            }
        }
        self.tell_copied(copied).await?;
        let least = sight.topology.keepers().count().min(OTHERS_MIN);
        self.drop_copies(&dropped, least).await?;
        if is_search { self.search(&sight).await } else { Ok(()) }
    }

    /// Looks for what is too much here, or damaged.
    async fn search(&mut self, sight: &Sight) -> Result<(), CatalogError> {
        self.give_up(sight).await?;
        self.sweep(sight).await?;
        self.look_through(&sight.splits);
        Ok(())
    }

    /// What the catalog has: of all splits, or of these and those that could not be fetched before.
    async fn sight(&mut self, of: Option<BTreeSet<SplitId>>) -> Result<Sight, CatalogError> {
        let catalog = self.copies.0.metadata.catalog().clone();
        let now = self.elapsed();
        let due: Vec<SplitId> = self
            .resting
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &due {
            self.resting.remove(id);
        }
        let read = move || -> Result<_, CatalogError> {
            let swept = catalog.swept_before()?;
            let splits = match of {
                None => catalog.splits()?,
                Some(mut ids) => {
                    ids.extend(due);
                    let known = ids.iter().map(|id| catalog.split(id));
                    let known = known.collect::<Result<Vec<_>, _>>()?;
                    known.into_iter().flatten().map(Arc::new).collect()
                }
            };
            Ok((swept, splits))
        };
        let read = tokio::task::spawn_blocking(read).await;
        // The node stops.
        let (swept, splits) = read.unwrap_or_else(|_| Ok((Timestamp::MIN, Vec::new())))?;
        Ok(Sight { swept, splits, topology: self.copies.topology() })
    }

    /// What this node has to do with a split. What its disk lost is looked for in a `search`.
    fn duty(&self, split: &SplitMeta, topology: &Topology, search: bool) -> Duty {
        let me = self.copies.0.metadata.me();
        let wanted = wanted(&split.id, topology);
        let (is_wanted, is_kept) = (wanted.contains(&me), split.copies.contains(&me));
        let is_lost = search && is_kept && !self.copies.has(split);
        let is_left = is_kept && !is_wanted && wanted.iter().all(|one| split.copies.contains(one));
        if is_left {
            return Duty::Drop;
        }
        // Others count on it: it comes again whatever room is left.
        if is_lost && as_built(split).is_some() {
            return Duty::Mend;
        }
        if is_wanted && (!is_kept || is_lost) && !self.rests(&split.id) {
            return Duty::Fetch;
        }
        Duty::None
    }

    /// Has it decided that this node keeps these splits.
    async fn tell_copied(&self, splits: Vec<SplitId>) -> Result<(), CatalogError> {
        if splits.is_empty() {
            return Ok(());
        }
        tracing::info!(splits = splits.len(), "copies of splits were made here");
        let node = self.copies.0.metadata.me();
        for splits in splits.chunks(TELL_MAX) {
            let command = Command::Copied { splits: splits.to_vec(), node };
            self.copies.0.metadata.decide(&command.into()).await?;
        }
        Ok(())
    }

    /// Has it decided that this node does not keep these splits, each where so many others keep it;
    /// then its objects go.
    pub(super) async fn drop_copies(
        &self,
        splits: &[SplitId],
        least: usize,
    ) -> Result<(), CatalogError> {
        let node = self.copies.0.metadata.me();
        for splits in splits.chunks(TELL_MAX) {
            let splits = splits.to_vec();
            let command = Command::Dropped { splits: splits.clone(), node, least };
            match self.copies.0.metadata.decide(&command.into()).await {
                Ok(_) => {}
                // While nodes of an earlier version are there nothing goes; all else is looked after.
                Err(CatalogError::Refused(Refusal::Early { .. })) => return Ok(()),
                Err(error) => return Err(error),
            }
            let gone = self.copies.reading(move |copies| {
                let catalog = copies.0.metadata.catalog();
                let is_gone = |id: &SplitId| {
                    let known = catalog.split(id).ok().flatten();
                    known.is_some_and(|meta| !meta.copies.contains(&node))
                };
                // One that is not known any more is swept when no view holds it.
                let gone: Vec<SplitId> = splits.into_iter().filter(is_gone).collect();
                copies.remove(&gone);
                Ok(gone.len())
            });
            if let Some(gone) = gone.await.ok().filter(|gone| *gone > 0) {
                tracing::info!(splits = gone, "splits are kept by others now");
            }
        }
        Ok(())
    }

    /// Fetches a split's objects. Whether this node has them now.
    async fn fetch(&mut self, split: &SplitMeta, topology: &Topology) -> bool {
        if self.copies.has(split) {
            return true;
        }
        // Who has no room leaves it to others.
        if self.copies.0.room.takes_easily(split.stored_bytes) {
            for keeper in self.keepers(split, topology) {
                let copied = self.copies.copy_from(&keeper.address, split).await;
                if self.has_come(&split.id, &keeper, copied) {
                    return true;
                }
            }
        }
        self.rest(split.id.clone());
        false
    }

    /// Whether a split is not fetched again yet.
    pub(super) fn rests(&self, id: &SplitId) -> bool {
        self.resting.contains_key(id)
    }

    /// A split is not fetched again at once.
    pub(super) fn rest(&mut self, id: SplitId) {
        let until = self.elapsed() + REST;
        self.resting.insert(id, until);
    }

    /// The other nodes that keep a split and may answer, likely ones first.
    pub(super) fn keepers(&mut self, split: &SplitMeta, topology: &Topology) -> Vec<NodeInfo> {
        let (me, now) = (self.copies.0.metadata.me(), self.elapsed());
        self.mute.retain(|_, until| *until > now);
        let others = split.copies.iter().filter(|node| **node != me);
        let others = others.filter(|node| !self.mute.contains_key(*node));
        let keepers = others.filter_map(|node| topology.nodes.get(node));
        let mut keepers: Vec<NodeInfo> = keepers.filter(|node| node.answers()).cloned().collect();
        keepers.sort_by_key(|node| !node.is_up());
        keepers
    }

    /// Whether a copy came from a keeper; who does not answer is not asked again for a while.
    pub(super) fn has_come(
        &mut self,
        split: &SplitId,
        keeper: &NodeInfo,
        came: io::Result<()>,
    ) -> bool {
        let Err(error) = came else { return true };
        tracing::warn!(%error, %split, from = %keeper.id, "no copy of it yet");
        if is_mute(&error) {
            let until = self.elapsed() + REST;
            self.mute.insert(keeper.id, until);
        }
        false
    }
}

/// What a node has to do with a split.
enum Duty {
    /// It should keep it and does not.
    Fetch,
    /// It is counted among those that keep it, and its disk lost it.
    Mend,
    /// Others keep it in its place.
    Drop,
    None,
}

impl News {
    fn hear(&mut self, change: &Change) {
        match change {
            Change::Published(publication) => self.add(&publication.add),
            Change::Replaced { add, .. } => self.add(add),
            Change::Copies(metas) => self.add(metas),
            Change::Deletion(_) => {}
            Change::Topology | Change::All => self.all = true,
        }
        if self.splits.len() > NEWS_MAX {
            (self.all, self.splits) = (true, BTreeSet::new());
        }
    }

    fn add(&mut self, metas: &[SplitMeta]) {
        if !self.all {
            self.splits.extend(metas.iter().map(|meta| meta.id.clone()));
        }
    }
}
