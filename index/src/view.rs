//! What queries see: splits and fresh records, of one moment, wherever they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::partition::{Offset, PartitionId, RecordId};
use model::split::SplitMeta;
use model::time::{TimeRange, Timestamp};
use model::wire::Missing;

use crate::fresh::FreshPart;
use crate::remote::RemotePart;

/// Every record that was consumed, exactly once.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// Published splits.
    pub splits: Vec<Arc<SplitMeta>>,
    /// Fresh rows.
    pub fresh: Vec<Arc<FreshPart>>,
    /// Fresh rows that other nodes hold.
    pub remote: Vec<Arc<RemotePart>>,
    /// The offsets below which records of each partition are in it.
    pub ends: BTreeMap<PartitionId, Offset>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

impl View {
    /// All of it.
    pub fn units(&self) -> impl Iterator<Item = Unit> {
        let splits = self.splits.iter().cloned().map(Unit::Split);
        let fresh = self.fresh.iter().cloned().map(Unit::Fresh);
        splits.chain(fresh).chain(self.remote.iter().cloned().map(Unit::Remote))
    }
}

/// A split or a fresh part: what one thread scans.
#[derive(Debug, Clone)]
pub enum Unit {
    /// A split.
    Split(Arc<SplitMeta>),
    /// A fresh part.
    Fresh(Arc<FreshPart>),
    /// A fresh part on another node.
    Remote(Arc<RemotePart>),
}

impl Unit {
    /// Earliest timestamp.
    #[must_use]
    pub fn time_first(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_first,
            Self::Fresh(part) => part.time_first,
            Self::Remote(part) => part.span().0,
        }
    }

    /// Latest timestamp.
    #[must_use]
    pub fn time_last(&self) -> i64 {
        match self {
            Self::Split(split) => split.time_last,
            Self::Fresh(part) => part.time_last,
            Self::Remote(part) => part.span().1,
        }
    }

    /// Whether it may hold records of the range.
    #[must_use]
    pub fn overlaps(&self, range: &TimeRange) -> bool {
        range.overlaps(Timestamp(self.time_first()), Timestamp(self.time_last()))
    }

    /// Whether all its records are in the range.
    #[must_use]
    pub fn is_inside(&self, range: &TimeRange) -> bool {
        range.covers(Timestamp(self.time_first()), Timestamp(self.time_last()))
    }

    /// Rows in it.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        match self {
            Self::Split(split) => split.row_count,
            Self::Fresh(part) => part.rows.num_rows() as u64,
            Self::Remote(part) => part.row_count(),
        }
    }

    /// Bytes that it takes, on disk or in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Split(split) => split.stored_bytes,
            Self::Fresh(part) => part.bytes,
            Self::Remote(part) => part.bytes(),
        }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &str {
        match self {
            Self::Split(split) => &split.index,
            Self::Fresh(part) => &part.index,
            Self::Remote(part) => part.index(),
        }
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Split(split) => split.partition,
            Self::Fresh(part) => part.partition,
            Self::Remote(part) => part.partition(),
        }
    }

    /// The lowest and the highest id of its records; ids in between may be of other units.
    #[must_use]
    pub fn ids(&self) -> (RecordId, RecordId) {
        let (first, last) = match self {
            Self::Split(split) => (split.offset_first, split.offset_last),
            Self::Fresh(part) => part.offsets(),
            Self::Remote(part) => part.offsets(),
        };
        let id = |offset| RecordId { partition: self.partition(), offset };
        (id(first), id(last))
    }
}
