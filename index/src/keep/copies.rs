//! Making copies, and reading what other nodes keep.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster::meta::Metadata;
use cluster::peer::PeerError;
use cluster::placement::{key_of, ranked};
use model::node::{NodeId, NodeInfo, Topology};
use model::split::{ObjectSum, SplitId, SplitMeta};
use platform::objects::{Announced, Fetch, Objects};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{COPIES, KeepError, Keeper};
use crate::room::Room;
use crate::split::{body_name, bundle_name, split_of};

/// The call for a range of an object.
pub(super) const RANGE_CALL: &str = "object_range";
/// The call for an object's length.
pub(super) const SIZE_CALL: &str = "object_size";
/// The call that asks a node to take a copy.
pub(super) const TAKE_CALL: &str = "take_copy";
/// How long a range may take.
const RANGE_WAIT: Duration = Duration::from_secs(10);
/// How long a node may take to copy a split.
const TAKE_WAIT: Duration = Duration::from_secs(120);
/// Splits that wait to be looked at because they could not be read; others are found by and by.
const SUSPECTS_MAX: usize = 1_024;

/// The copies of splits over the nodes of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Copies(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) metadata: Metadata,
    pub(super) runtime: Handle,
    pub(super) objects: OnceLock<Objects>,
    pub(super) room: Room,
    /// Splits that could not be read here.
    suspects: Mutex<BTreeSet<SplitId>>,
}

/// Which bytes of which object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RangeRequest {
    pub(super) name: String,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What a node is to copy, from where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TakeRequest {
    pub(super) from: String,
    pub(super) objects: Vec<TakenObject>,
    /// It is taken also by a node that is short of room: too few others did.
    #[serde(default)]
    pub(super) insist: bool,
}

/// An object as it was built, or as its keeper announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TakenObject {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Copies {
    /// Over this node's place in the cluster, on a disk with such room. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn new(metadata: Metadata, room: Room) -> Self {
        let (runtime, objects) = (Handle::current(), OnceLock::new());
        Self(Arc::new(Inner { metadata, runtime, objects, room, suspects: Mutex::default() }))
    }

    /// These are the objects of this node. Once, before anything else.
    pub fn own(&self, objects: Objects) {
        if self.0.objects.set(objects).is_err() {
            tracing::error!("the objects of this node are known already");
        }
    }

    pub(super) fn objects(&self) -> io::Result<&Objects> {
        self.0.objects.get().ok_or_else(|| io::Error::other("this node is starting"))
    }

    pub(super) fn topology(&self) -> Arc<Topology> {
        self.0.metadata.catalog().topology().borrow().clone()
    }

    /// What an object is, as this node has it. Reads all of it.
    pub(super) fn announced(&self, name: String) -> io::Result<TakenObject> {
        let Announced { bytes, crc32c: crc } = self.objects()?.announce(&name)?;
        Ok(TakenObject { name, bytes, crc })
    }

    /// What a split's objects are: as they were built, or else as this node has them.
    fn objects_of(&self, meta: &SplitMeta) -> io::Result<Vec<TakenObject>> {
        match as_built(meta) {
            Some(objects) => Ok(objects.into()),
            None => names(&meta.id).into_iter().map(|name| self.announced(name)).collect(),
        }
    }

    /// Splits that could not be read here since the last time.
    pub(super) fn take_suspects(&self) -> BTreeSet<SplitId> {
        std::mem::take(&mut *self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask_to_take(&self, node: &NodeInfo, objects: &TakeRequest) -> io::Result<()> {
        let body = serde_json::to_vec(objects).map_err(io::Error::other)?;
        let peers = self.0.metadata.peers();
        let call = peers.call(&node.address, TAKE_CALL, body.into(), TAKE_WAIT);
        self.0.runtime.block_on(call).map(drop).map_err(told)
    }

    /// Asks nodes to take copies until there are so many; who does not answer is not asked again.
    fn ask_all(&self, ranks: &mut Vec<NodeInfo>, asking: &mut Asking, most: usize) {
        let me = self.0.metadata.me();
        ranks.retain(|node| {
            if asking.copies.len() >= most {
                return true;
            }
            let taken = match node.id == me {
                true => Ok(()),
                false => self.ask_to_take(node, &asking.request),
            };
            match taken {
                Ok(()) => {
                    asking.copies.push(node.id);
                    false
                }
                Err(error) => {
                    asking.why = error.to_string();
                    !is_mute(&error)
                }
            }
        });
    }

    /// Asks the keepers of a split, one after the other, until one answers.
    fn ask_keepers<T>(
        &self,
        name: &str,
        call: &str,
        body: &Bytes,
        read: impl Fn(Bytes) -> Option<T>,
    ) -> io::Result<T> {
        let missing = |why: String| io::Error::new(io::ErrorKind::NotFound, why);
        let id = split_of(name).ok_or_else(|| missing(format!("{name} is of no split")))?;
        let meta = self.0.metadata.catalog().split(&id).map_err(io::Error::other)?;
        let meta = meta.ok_or_else(|| missing(format!("split {id} is gone")))?;
        let topology = self.topology();
        let mut why = "no node that keeps it is there".to_owned();
        let me = self.0.metadata.me();
        let mut keepers: Vec<&NodeInfo> = meta
            .copies
            .iter()
            .filter(|node| **node != me)
            .filter_map(|node| topology.nodes.get(node))
            .collect();
        // Who answers first; one that is thought to be down may be back.
        keepers.sort_by_key(|node| !node.answers());
        for keeper in keepers {
            let asked =
                self.0.metadata.peers().call(&keeper.address, call, body.clone(), RANGE_WAIT);
            match self.0.runtime.block_on(asked) {
                Ok(answer) => match read(answer) {
                    Some(answer) => return Ok(answer),
                    None => why = format!("node {} answers wrongly", keeper.id),
                },
                Err(error) => why = error.to_string(),
            }
        }
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("{name}: {why}")))
    }
}

/// Nodes that are asked to take copies: what, who did, what another one said.
struct Asking {
    request: TakeRequest,
    copies: Vec<NodeId>,
    why: String,
}

/// What another node said, or that it said nothing.
pub(super) fn told(error: PeerError) -> io::Error {
    let kind = if error.is_ambiguous() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

/// Whether a node did not answer.
pub(super) fn is_mute(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// The names of a split's objects.
pub(super) fn names(id: &SplitId) -> [String; 2] {
    [body_name(id), bundle_name(id)]
}

/// What a split's objects were when they were built, where that was written down.
pub(super) fn as_built(meta: &SplitMeta) -> Option<[TakenObject; 2]> {
    let sums = meta.sums?;
    let object = |name, sum: ObjectSum| TakenObject { name, bytes: sum.bytes, crc: sum.crc32c };
    let [body, bundle] = names(&meta.id);
    Some([object(body, sums.body), object(bundle, sums.bundle)])
}

/// How many copies are a majority of those that there should be, with so many nodes that may keep
/// them: enough to publish a split, and to give one more up.
pub(super) fn enough(members: usize) -> usize {
    members.min(COPIES).div_ceil(2).max(members.min(2))
}

/// Who should keep a split: the first in its rank among the nodes that are expected to be there.
pub(crate) fn wanted(id: &SplitId, topology: &Topology) -> Vec<NodeId> {
    let keepers = topology.keepers().map(|node| node.id.0);
    ranked(key_of(&id.0), keepers).into_iter().take(COPIES).map(NodeId).collect()
}

impl Keeper for Copies {
    fn secure(&self, meta: &SplitMeta) -> Result<Vec<NodeId>, KeepError> {
        let few = |copies: usize, wanted: usize, why: String| KeepError::TooFew {
            split: meta.id.0.clone(),
            copies,
            wanted,
            why,
        };
        // The same split under another entry is kept already.
        if !meta.copies.is_empty() {
            return Ok(meta.copies.clone());
        }
        let topology = self.topology();
        let up = topology.keepers().filter(|node| node.is_up()).map(|node| node.id.0);
        let ranks = ranked(key_of(&meta.id.0), up);
        let ranks = ranks.into_iter().filter_map(|id| topology.nodes.get(&NodeId(id)).cloned());
        let mut ranks: Vec<NodeInfo> = ranks.collect();
        // With a node down for a while the others do; two of three are a majority.
        let needed = enough(topology.keepers().count());
        let objects = self.objects_of(meta).map_err(|error| few(0, needed, error.to_string()))?;
        let from = self.0.metadata.address().to_owned();
        let request = TakeRequest { from, objects, insist: false };
        let why = "no other node is there".to_owned();
        let mut asking = Asking { request, copies: Vec::new(), why };
        self.ask_all(&mut ranks, &mut asking, COPIES);
        asking.request.insist = true;
        self.ask_all(&mut ranks, &mut asking, needed);
        match asking.copies.len() {
            copies if copies >= needed => Ok(asking.copies),
            _ if !self.not_whole(meta).is_empty() => {
                Err(KeepError::Damaged { split: meta.id.0.clone() })
            }
            copies => Err(few(copies, needed, asking.why)),
        }
    }

    fn suspect(&self, id: &SplitId) {
        let mut suspects = self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() < SUSPECTS_MAX {
            suspects.insert(id.clone());
        }
    }
}

impl Fetch for Copies {
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let request = RangeRequest { name: name.to_owned(), from, to };
        let body = serde_json::to_vec(&request).map_err(io::Error::other)?;
        let wanted = to.saturating_sub(from);
        let whole = |bytes: Bytes| (bytes.len() as u64 == wanted).then_some(bytes);
        self.ask_keepers(name, RANGE_CALL, &body.into(), whole)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let body = Bytes::copy_from_slice(name.as_bytes());
        let number = |bytes: Bytes| bytes.as_ref().try_into().ok().map(u64::from_le_bytes);
        self.ask_keepers(name, SIZE_CALL, &body, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_copies_is_enough_and_two_where_there_are_two() {
        assert_eq!([0, 1, 2, 3, 4, 9].map(enough), [0, 1, 2, 2, 2, 2]);
    }
}
