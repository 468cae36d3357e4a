//! Who keeps the objects of a split, in a cluster without a shared store: copies on nodes chosen by
//! the hash, made before the split is published, made again when a node is gone for good or a disk
//! damaged one.

mod copies;
mod figures;
mod serve;
mod repair;
mod mend;
mod sweep;

use model::node::NodeId;
use model::split::{SplitId, SplitMeta};

pub use copies::Copies;
pub(crate) use copies::wanted;
pub use figures::missing;

/// Copies of a split, where there are so many nodes.
pub const COPIES: usize = 3;

/// Why a split is not kept often enough. What is fresh stays in the queue, and it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Too few nodes took it.
    #[error("{copies} of {wanted} copies of split {split} could be made: {why}")]
    TooFew {
        /// Which split.
        split: String,
        /// How many there are.
        copies: usize,
        /// How many there must be.
        wanted: usize,
        /// What a node that did not take it said.
        why: String,
    },
    /// What this node built is not on its disk any more as it was written.
    #[error("split {split} was damaged on this disk before it was copied: it is built anew")]
    Damaged {
        /// Which split.
        split: String,
    },
}

/// Has copies made of what this node built.
pub trait Keeper: Send + Sync {
    /// Returns who keeps the split's objects when they are as many as they have to be. Blocks.
    ///
    /// # Errors
    /// [`KeepError`].
    fn secure(&self, meta: &SplitMeta) -> Result<Vec<NodeId>, KeepError>;

    /// A split could not be read here: its objects are looked at soon, and whole ones put in the place
    /// of damaged ones.
    fn suspect(&self, id: &SplitId);
}
