//! Bounds of queries.

use std::path::PathBuf;
use std::time::Duration;

/// Newest records that a scan picks by itself; more are sorted by DataFusion, on disk if need be.
pub(super) const NEWEST_MAX: u64 = 10_000;
/// Buckets of a histogram.
pub const BUCKETS_MAX: u32 = 1_000;
/// Values of a field that one answer lists.
pub const VALUES_MAX: u64 = 1_000;

/// What queries may take.
#[derive(Debug, Clone)]
pub struct QuerySettings {
    /// Bytes of memory that one query's groups and sorting may take; sorting goes on on disk,
    /// grouping is refused.
    pub memory_bytes_max: usize,
    /// Bytes of memory that all queries together may take so.
    pub memory_all_bytes_max: usize,
    /// Bytes of disk that one query's sorting may take.
    pub spill_bytes_max: u64,
    /// A folder for them; emptied at the start.
    pub spill: PathBuf,
    /// Time that a query may work; the time its reader takes does not count.
    pub deadline: Duration,
    /// Time that a reader may take before it reads on.
    pub stall_max: Duration,
    /// Queries at a time.
    pub concurrency_max: usize,
    /// Time that one more waits for its turn before it is told to come later.
    pub wait_max: Duration,
    /// Records, as far as is known before, that are sorted at a time where an answer gives all records
    /// in the order of their times.
    pub slice_rows: u32,
    /// Rows of a table that an answer gives out; what is beyond is told as missing. Exports have all.
    pub table_rows_max: u64,
    /// Parts of other nodes' plans that run at a time; more wait.
    pub fragments_max: usize,
    /// Live tails at a time.
    pub tails_max: usize,
    /// Processor cores that queries use.
    pub core_count: usize,
}

impl QuerySettings {
    /// The bounds of a node; sorting may use this folder.
    #[must_use]
    pub fn new(spill: PathBuf) -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            memory_all_bytes_max: 1 << 30,
            spill_bytes_max: 8 << 30,
            spill,
            deadline: Duration::from_secs(60),
            stall_max: Duration::from_secs(60),
            concurrency_max: 16,
            wait_max: Duration::from_secs(10),
            slice_rows: 1_000_000,
            table_rows_max: 1_000_000,
            fragments_max: 64,
            tails_max: 64,
            core_count: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        }
    }
}
