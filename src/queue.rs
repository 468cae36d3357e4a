//! Settings of the queue.

use anyhow::{Result, ensure};
use ingest::partition::PartitionSettings;
use model::limits::SEGMENT_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Bounds of the queue of each partition on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueueConfig {
    /// Bytes on disk beyond which producers are told to come later: what is not in splits yet, and a
    /// segment. A request that is larger is refused, so more than a shipper's batches.
    pub(crate) bytes_max: u64,
    /// Bytes at which a segment is sealed. Only sealed ones are cut away.
    pub(crate) segment_bytes_max: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        let settings = PartitionSettings::default();
        Self { bytes_max: settings.queue_bytes_max, segment_bytes_max: settings.segment_bytes_max }
    }
}

impl QueueConfig {
    /// # Errors
    /// A bound is out of range.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1 << 10..=SEGMENT_BYTES_MAX as u64).contains(&self.segment_bytes_max),
            "queue.segment_bytes_max must be 1024 to {SEGMENT_BYTES_MAX}"
        );
        ensure!(
            self.bytes_max / 4 >= self.segment_bytes_max,
            "queue.bytes_max must be at least four times queue.segment_bytes_max"
        );
        Ok(())
    }

    /// As partitions take them.
    pub(crate) fn settings(&self) -> PartitionSettings {
        PartitionSettings {
            queue_bytes_max: self.bytes_max,
            segment_bytes_max: self.segment_bytes_max,
            ..PartitionSettings::default()
        }
    }
}
