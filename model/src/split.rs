//! What the catalog knows of a split, without opening it.

use std::fmt;

use crate::node::NodeId;
use crate::partition::{Offset, PartitionId};
use crate::record::FieldType;
use crate::time::Timestamp;

/// Names a split and its objects; never used twice.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct SplitId(pub String);

/// Hexadecimal digits of a moment at the beginning of a split's name.
const BUILT_DIGITS: usize = 16;

impl SplitId {
    /// A name that no other split has: when it was begun, its partition, chance.
    #[must_use]
    pub fn new(begun: Timestamp, partition: PartitionId, chance: u64) -> Self {
        Self(format!("{:016x}-{:02x}-{chance:016x}", begun.0.max(0), partition.0))
    }

    /// When building it was begun, as its name says; `None` where the name says nothing of it.
    #[must_use]
    pub fn begun(&self) -> Option<Timestamp> {
        let (digits, _) = self.0.split_once('-')?;
        let moment =
            (digits.len() == BUILT_DIGITS).then(|| u64::from_str_radix(digits, 16).ok())?;
        i64::try_from(moment?).ok().map(Timestamp)
    }
}

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an object of a split is, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectSum {
    /// Its length.
    pub bytes: u64,
    /// CRC32C of its bytes.
    pub crc32c: u32,
}

/// What the objects of a split are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SplitSums {
    /// The body.
    pub body: ObjectSum,
    /// The index bundle.
    pub bundle: ObjectSum,
}

/// One published split.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SplitMeta {
    /// Its name.
    pub id: SplitId,
    /// The index whose records it holds.
    pub index: String,
    /// The partition they came through.
    pub partition: PartitionId,
    /// Lowest offset inside.
    pub offset_first: Offset,
    /// Highest offset inside (offsets in between may belong to other indexes).
    pub offset_last: Offset,
    /// Rows, one per record.
    pub row_count: u64,
    /// Earliest timestamp, nanoseconds UTC.
    pub time_first: i64,
    /// Latest timestamp, nanoseconds UTC.
    pub time_last: i64,
    /// When the newest of its records was accepted, nanoseconds UTC.
    pub ingest_last: i64,
    /// Rows per [`crate::level::Level`] number.
    pub level_counts: [u64; 7],
    /// Bytes of its objects.
    pub stored_bytes: u64,
    /// Bytes of messages and fields before compression.
    pub raw_bytes: u64,
    /// How often it has been merged; 0 when it came from the queue.
    pub merges: u32,
    /// The number of the last deletion whose records are not in it any more.
    #[serde(default)]
    pub deletions: u64,
    /// The nodes of a cluster that keep its objects; empty where there is one node or a shared
    /// store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<NodeId>,
    /// What its objects were when they were built, which tells whole copies from damaged ones;
    /// `None` of a split that was built before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<SplitSums>,
    /// Whether it was packed small, for the last time; splits that are not cold are not merged with it.
    /// A node of an earlier version passes over it: the split's own footer has it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
    /// Whether columns of fields have types of their own in its body: version 3 of the format. It takes
    /// version 5 of the nodes' protocol to hear of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typed: bool,
}

impl SplitMeta {
    /// A split of which no more is known than its name: records of any time may be in it.
    #[must_use]
    pub fn named(id: SplitId) -> Self {
        Self {
            id,
            index: String::new(),
            partition: PartitionId(0),
            offset_first: Offset(0),
            offset_last: Offset(u64::MAX),
            row_count: 0,
            time_first: i64::MIN,
            time_last: i64::MAX,
            ingest_last: i64::MAX,
            level_counts: [0; 7],
            stored_bytes: 0,
            raw_bytes: 0,
            merges: 0,
            deletions: 0,
            copies: Vec::new(),
            sums: None,
            cold: false,
            typed: false,
        }
    }

    /// Whether retention by age may take it: both its records' own time and their arrival are
    /// older than the given moment, so that importing an old file does not delete it at once.
    #[must_use]
    pub fn older_than(&self, moment: Timestamp) -> bool {
        self.time_last < moment.0 && self.ingest_last < moment.0
    }

    /// By this those are first that go first when there is no room.
    #[must_use]
    pub fn age(&self) -> (i64, Offset) {
        (self.time_last.max(self.ingest_last), self.offset_first)
    }
}

/// A field inside a split (or among fresh records).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FieldStat {
    /// Its name.
    pub name: String,
    /// One of its types; a field with two has two entries. Labels are text.
    pub kind: FieldType,
    /// Whether it is a label of the stream.
    pub label: bool,
    /// Rows that have it in this type.
    pub count: u64,
    /// Whether some row has more than one value of that name, in whatever types; `None` where the
    /// split was written before this was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub several: Option<bool>,
}

impl FieldStat {
    /// Adds what other rows have of the same field in the same type.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.several = match (self.several, other.several) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeRange;

    #[test]
    fn a_split_of_which_only_the_name_is_known_is_asked_always_and_never_expires() {
        let split = SplitMeta::named(SplitId("a".to_owned()));
        let span = (Timestamp(split.time_first), Timestamp(split.time_last));
        for from in [i64::MIN, 0, i64::MAX - 1] {
            let range = TimeRange { from: Timestamp(from), to: Timestamp(from + 1) };
            assert!(range.overlaps(span.0, span.1), "{from}");
        }
        assert!(!split.older_than(Timestamp::MAX));
    }

    #[test]
    fn a_name_says_when_it_was_begun() {
        let (begun, partition) = (Timestamp(1_767_225_600_000_000_000), PartitionId(3));
        let id = SplitId::new(begun, partition, 7);
        assert_eq!(id.0, format!("{:016x}-03-0000000000000007", begun.0));
        assert_eq!(id.begun(), Some(begun));
        assert_eq!(SplitId::new(Timestamp::MIN, partition, 7).begun(), Some(Timestamp(0)));
        for other in ["s", "abc-03", "zzzzzzzzzzzzzzzz-03-1", "ffffffffffffffff-03-1", ""] {
            assert_eq!(SplitId(other.to_owned()).begun(), None, "{other:?}");
        }
    }
}
