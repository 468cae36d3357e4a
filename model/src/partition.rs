//! Where a record is in the queue: its partition and its offset there.

use std::fmt;

use bytes::Bytes;

use crate::time::Timestamp;

/// One totally ordered queue log.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct PartitionId(pub u32);

/// A record's dense place in its partition, from 0.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Offset(pub u64);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The permanent id of a record: partition and offset, in hexadecimal `p-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// Its partition.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
}

impl RecordId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        Some(Self {
            partition: PartitionId(u32::from_str_radix(partition, 16).ok()?),
            offset: Offset(u64::from_str_radix(offset, 16).ok()?),
        })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.partition.0, self.offset.0)
    }
}

/// A committed batch as a partition serves it: still encoded ([`crate::codec`]).
#[derive(Debug, Clone)]
pub struct Entry {
    /// Offset of its first record; the others follow densely.
    pub first: Offset,
    /// How many records; `first + record_count` is the next entry's `first`.
    pub record_count: u32,
    /// When the node accepted it.
    pub ingest_time: Timestamp,
    /// The batch, as it came.
    pub batch: Bytes,
}

impl Entry {
    /// The offset behind its last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.first.0 + u64::from(self.record_count))
    }
}
