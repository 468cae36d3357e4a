//! What was asked to be deleted: a search whose records go, and how far that is.

use serde::{Deserialize, Serialize};

use crate::partition::{Offset, PartitionId};
use crate::query::Filter;
use crate::split::SplitMeta;
use crate::time::Timestamp;

/// The records that match a search and were accepted before a moment, on their way out. No answer
/// has them from the moment on at which it is stored; the splits that hold them are written anew
/// one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// Deletions are numbered from 1.
    pub number: u64,
    /// The search as it was asked.
    pub query: String,
    /// The search and its time range, as it is decided.
    pub filter: Filter,
    /// Only records of these indexes.
    pub indexes: Option<Vec<String>>,
    /// No record before this has to go, nanoseconds UTC.
    pub time_first: i64,
    /// No record after this has to go, nanoseconds UTC.
    pub time_last: i64,
    /// Records below these offsets go.
    pub below: Vec<(PartitionId, Offset)>,
    /// When it was asked.
    pub asked: Timestamp,
    /// Records that are gone from splits and memory so far.
    pub deleted: u64,
    /// When the last of them was gone; `None` while it goes on.
    pub done: Option<Timestamp>,
}

impl Deletion {
    /// Whether records of an index are meant.
    #[must_use]
    pub fn means(&self, index: &str) -> bool {
        self.indexes.as_ref().is_none_or(|all| all.iter().any(|one| one == index))
    }

    /// The offset below which records of a partition go.
    #[must_use]
    pub fn bound(&self, partition: PartitionId) -> Offset {
        let bound = self.below.iter().find(|(one, _)| *one == partition);
        bound.map_or(Offset(0), |(_, offset)| *offset)
    }

    /// Whether a split may hold records that are to go.
    #[must_use]
    pub fn concerns(&self, split: &SplitMeta) -> bool {
        split.deletions < self.number
            && self.means(&split.index)
            && split.time_first <= self.time_last
            && split.time_last >= self.time_first
            && split.offset_first < self.bound(split.partition)
    }
}
