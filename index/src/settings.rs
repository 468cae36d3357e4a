//! Bounds of an indexer.

use std::time::Duration;

/// When splits are cut, merged and expired, and what may be held in memory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Fresh rows of a partition at which splits are cut.
    pub fresh_rows_max: u64,
    /// Bytes of fresh rows at which splits are cut. Twice as many at most are held: what is being
    /// built, and what came meanwhile.
    pub fresh_bytes_max: u64,
    /// Age of the oldest fresh row at which splits are cut.
    pub fresh_age_max: Duration,
    /// Splits of one size that are merged into one.
    pub merge_fan_in: usize,
    /// Rows of a split that merging does not exceed.
    pub merge_rows_max: u64,
    /// Age at which records are cold: splits that are done are then packed for size; `None` is never.
    pub cold_after: Option<Duration>,
    /// How long the objects of splits that were replaced or removed stay for answers of other nodes.
    pub removed_kept: Duration,
    /// How long records are kept.
    pub retention: Duration,
    /// Share of the disk that splits may take, percent.
    pub disk_percent_max: u64,
    /// Bytes of the disk that stay free.
    pub disk_free_bytes_min: u64,
    /// Bytes of opened splits kept in memory.
    pub cache_bytes_max: u64,
    /// Bytes of unpacked pages of splits kept in memory.
    pub page_bytes_max: u64,
}

impl Settings {
    /// Bounds so small that everything happens in a test.
    pub const TINY: Self = Self {
        fresh_rows_max: 50,
        fresh_bytes_max: 1 << 20,
        fresh_age_max: Duration::from_millis(50),
        merge_fan_in: 3,
        merge_rows_max: 2_000,
        cold_after: None,
        removed_kept: Duration::from_secs(60),
        retention: Duration::from_secs(3600 * 24 * 365 * 100),
        disk_percent_max: 100,
        disk_free_bytes_min: 0,
        cache_bytes_max: 8 << 20,
        page_bytes_max: 1 << 20,
    };
}
