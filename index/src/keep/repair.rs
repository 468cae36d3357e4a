//! Looking after the copies: what this node should keep and does not is fetched, what others keep in
//! its place goes, and objects that nobody knows of are swept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::catalog::{CatalogError, Command};
use cluster::peer::PeerServer;
use model::node::{NodeId, NodeInfo, Topology};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use platform::objects::Announced;
use platform::shutdown::Shutdown;

use super::copies::{Copies, TakenObject, split_of, wanted};
use crate::split::{body_name, bundle_name};

/// The call that asks what an object is.
pub(super) const ANNOUNCE_CALL: &str = "announce_object";
/// How often copies are looked after.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Rounds between two sweeps.
const SWEEP_ROUNDS: u64 = 30;
/// Splits that are told of in one command.
const TELL_MAX: usize = 256;
/// How old an object is that nobody knows of, nanoseconds: a split is published long before.
const ORPHAN_AGE_NS: i64 = 900_000_000_000;

impl Copies {
    /// Until the shutdown.
    pub async fn look_after(self, server: PeerServer, shutdown: Shutdown) {
        let own = self.clone();
        server.on_call(ANNOUNCE_CALL, move |name| {
            let copies = own.clone();
            async move { copies.announce(&name).await }
        });
        let mut round = 0_u64;
        loop {
            tokio::select! {
                () = self.0.metadata.clock().sleep(LOOK_INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            round += 1;
            let sweep = round.is_multiple_of(SWEEP_ROUNDS);
            if let Err(error) = self.look(sweep || round == 1, sweep).await {
                tracing::warn!(%error, "copies of splits are not as they should be yet");
            }
        }
    }

    async fn announce(&self, name: &[u8]) -> Result<Bytes, String> {
        let name = String::from_utf8_lossy(name).into_owned();
        let copies = self.clone();
        let announced = tokio::task::spawn_blocking(move || {
            let Announced { bytes, crc32c: crc } = copies.objects()?.announce(&name)?;
            Ok::<_, std::io::Error>(TakenObject { name, bytes, crc })
        });
        let announced = announced.await.map_err(|error| error.to_string())?;
        let announced = announced.map_err(|error| error.to_string())?;
        serde_json::to_vec(&announced).map(Bytes::from).map_err(|error| error.to_string())
    }

    async fn look(&self, search: bool, sweep: bool) -> Result<(), CatalogError> {
        let catalog = self.0.metadata.catalog().clone();
        let read = tokio::task::spawn_blocking(move || catalog.splits()).await;
        let splits = read.unwrap_or_else(|_| Ok(Vec::new()))?;
        let topology = self.topology();
        let me = self.0.metadata.me();
        let (mut copied, mut dropped) = (Vec::new(), Vec::new());
        for split in &splits {
            let wanted = wanted(&split.id, &topology);
            let (is_wanted, is_kept) = (wanted.contains(&me), split.copies.contains(&me));
            // What a disk lost is fetched again; looked for now and then.
            let is_lost = search && is_kept && !self.has(split);
            if is_wanted && (!is_kept || is_lost) {
                if self.fetch(split, &topology).await {
                    copied.push(split.id.clone());
                }
            } else if is_kept && !is_wanted && wanted.iter().all(|one| split.copies.contains(one)) {
                dropped.push(split.id.clone());
            }
            if copied.len() >= TELL_MAX {
                self.tell(std::mem::take(&mut copied), Vec::new()).await?;
            }
        }
        self.tell(copied, dropped).await?;
        if sweep {
            self.sweep(&splits).await;
        }
        Ok(())
    }

    async fn tell(&self, copied: Vec<SplitId>, dropped: Vec<SplitId>) -> Result<(), CatalogError> {
        let node = self.0.metadata.me();
        if !copied.is_empty() {
            tracing::info!(splits = copied.len(), "copies of splits were made here");
            let command = Command::Copied { splits: copied, node };
            self.0.metadata.decide(&command.into()).await?;
        }
        if !dropped.is_empty() {
            tracing::info!(splits = dropped.len(), "splits are kept by others now");
            let gone: Vec<SplitId> = dropped.clone();
            let command = Command::Dropped { splits: dropped, node };
            self.0.metadata.decide(&command.into()).await?;
            let copies = self.clone();
            let removed = tokio::task::spawn_blocking(move || copies.remove(&gone)).await;
            drop(removed);
        }
        Ok(())
    }

    fn remove(&self, splits: &[SplitId]) {
        let Ok(objects) = self.objects() else { return };
        for name in splits.iter().flat_map(|id| [body_name(id), bundle_name(id)]) {
            if let Err(error) = objects.delete(&name) {
                tracing::warn!(%error, name, "an object could not be deleted; a sweep tries again");
            }
        }
    }

    /// Whether this node has the split's objects.
    fn has(&self, split: &SplitMeta) -> bool {
        let has = |name: String| self.objects().is_ok_and(|objects| objects.has_local(&name));
        has(body_name(&split.id)) && has(bundle_name(&split.id))
    }

    /// Fetches a split's objects. Whether this node has them now.
    async fn fetch(&self, split: &SplitMeta, topology: &Topology) -> bool {
        let names = [body_name(&split.id), bundle_name(&split.id)];
        let me = self.0.metadata.me();
        let others = split.copies.iter().filter(|node| **node != me);
        let keepers = others.filter_map(|node| topology.nodes.get(node));
        let mut keepers: Vec<&NodeInfo> = keepers.filter(|node| node.answers()).collect();
        keepers.sort_by_key(|node| !node.is_up());
        if self.has(split) {
            return true;
        }
        for keeper in keepers {
            match self.copy_from(&keeper.address, &names).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::warn!(%error, split = %split.id, from = %keeper.id, "no copy of it yet");
                }
            }
        }
        false
    }

    /// Objects here that are of no split, or of one that others keep, go after a while.
    async fn sweep(&self, splits: &[Arc<SplitMeta>]) {
        let me = self.0.metadata.me();
        let own = splits.iter().filter(|split| split.copies.contains(&me));
        let own: BTreeSet<SplitId> = own.map(|split| split.id.clone()).collect();
        let before = Timestamp(self.0.metadata.clock().now().0.saturating_sub(ORPHAN_AGE_NS));
        let copies = self.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let objects = copies.objects()?;
            for listed in objects.list_with_age()? {
                let is_orphan = split_of(&listed.name).is_some_and(|id| !own.contains(&id));
                if is_orphan && listed.changed < before {
                    tracing::info!(name = listed.name, "sweeping an object that nobody knows of");
                    objects.delete(&listed.name)?;
                }
            }
            objects.sweep_half(before)
        });
        if let Ok(Err(error)) = swept.await {
            tracing::warn!(%error, "objects could not be swept");
        }
    }
}

/// How many copies are missing of splits, and of how many.
#[must_use]
pub fn missing(splits: &[Arc<SplitMeta>], topology: &Topology) -> (u64, u64) {
    let is_there = |node: &NodeId| topology.nodes.get(node).is_some_and(NodeInfo::is_up);
    let mut sums = (0, 0);
    // In a store that all share nobody keeps copies.
    for split in splits.iter().filter(|split| !split.copies.is_empty()) {
        let wanted = wanted(&split.id, topology).len();
        let there = split.copies.iter().filter(|node| is_there(node)).count();
        sums.0 += wanted.saturating_sub(there) as u64;
        sums.1 += wanted as u64;
    }
    sums
}
