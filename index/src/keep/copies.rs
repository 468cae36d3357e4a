//! Making copies, and reading what other nodes keep.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cluster::meta::Metadata;
use cluster::placement::{key_of, ranked};
use model::node::{NodeId, NodeInfo, Topology};
use model::split::{SplitId, SplitMeta};
use platform::objects::{Announced, Fetch, Objects};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{COPIES, KeepError, Keeper};
use crate::split::{body_name, bundle_name};

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

/// The copies of splits over the nodes of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Copies(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) metadata: Metadata,
    pub(super) runtime: Handle,
    pub(super) objects: OnceLock<Objects>,
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
}

/// An object as its keeper announces it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TakenObject {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Copies {
    /// Over this node's place in the cluster. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(metadata: Metadata) -> Self {
        let (runtime, objects) = (Handle::current(), OnceLock::new());
        Self(Arc::new(Inner { metadata, runtime, objects }))
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

    /// What a split's objects are, as this node has them. Reads all of them.
    fn announced(&self, id: &SplitId) -> io::Result<Vec<TakenObject>> {
        let announce = |name: String| {
            let Announced { bytes, crc32c: crc } = self.objects()?.announce(&name)?;
            Ok(TakenObject { name, bytes, crc })
        };
        [body_name(id), bundle_name(id)].into_iter().map(announce).collect()
    }

    fn ask_to_take(&self, node: &NodeInfo, objects: &TakeRequest) -> Result<(), String> {
        let body = serde_json::to_vec(objects).map_err(|error| error.to_string())?;
        let peers = self.0.metadata.peers();
        let call = peers.call(&node.address, TAKE_CALL, body.into(), TAKE_WAIT);
        self.0.runtime.block_on(call).map(drop).map_err(|error| error.to_string())
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

/// The split whose object it is.
pub(super) fn split_of(name: &str) -> Option<SplitId> {
    let mut parts = name.split('/');
    (parts.next() == Some("splits")).then(|| parts.next().map(|id| SplitId(id.to_owned())))?
}

/// Who should keep a split: the first in its rank among the nodes that are expected to be there.
pub(crate) fn wanted(id: &SplitId, topology: &Topology) -> Vec<NodeId> {
    let keepers = topology.keepers().map(|node| node.id.0);
    ranked(key_of(&id.0), keepers).into_iter().take(COPIES).map(NodeId).collect()
}

impl Keeper for Copies {
    fn secure(&self, meta: &SplitMeta) -> Result<Vec<NodeId>, KeepError> {
        let me = self.0.metadata.me();
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
        let members = topology.keepers().count();
        // With a node down for a while the others do; two of three are a majority.
        let needed = members.min(COPIES).div_ceil(2).max(members.min(2));
        let mut why = "no other node is there".to_owned();
        let objects =
            self.announced(&meta.id).map_err(|error| few(0, needed, error.to_string()))?;
        let request = TakeRequest { from: self.0.metadata.address().to_owned(), objects };
        let mut copies = Vec::new();
        for node in ranks.into_iter().map(NodeId) {
            if copies.len() == COPIES {
                break;
            }
            let Some(info) = topology.nodes.get(&node) else { continue };
            if node == me {
                copies.push(me);
                continue;
            }
            match self.ask_to_take(info, &request) {
                Ok(()) => copies.push(node),
                Err(words) => why = words,
            }
        }
        if copies.len() < needed {
            return Err(few(copies.len(), needed, why));
        }
        Ok(copies)
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
