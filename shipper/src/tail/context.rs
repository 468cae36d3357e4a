//! What all turns share: settings, the target, bounds, and what is known of the load.

use std::sync::Arc;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::sync::Semaphore;

use crate::checkpoint::Store;
use crate::config::Config;
use crate::effort::Load;
use crate::metrics::Metrics;
use crate::pack::Workbenches;
use crate::send::Target;
use crate::status::Board;

/// What all turns share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) config: Config,
    pub(super) host: String,
    pub(super) target: Target,
    pub(super) board: Board,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    /// Ends what is under way with these settings: there are newer ones, or we shall stop.
    pub(super) stop: Shutdown,
    /// Bounds those who read, parse and compress at once, and so their memory.
    pub(super) packers: Semaphore,
    /// What they work with; as many as packers.
    pub(super) workbenches: Workbenches,
    /// Hears of every batch before it is sent.
    pub(super) store: Arc<Store>,
}

impl Context {
    /// The level of zstd at which the next batch is compressed.
    pub(super) fn zstd_level(&self) -> i32 {
        let level = self.config.compression.level(Load {
            lag_bytes: u64::try_from(self.metrics.lag_bytes.get()).unwrap_or(0),
            crowded: self.packers.available_permits() == 0,
            slow: self.target.pace.is_slow(),
        });
        self.metrics.zstd_level.set(i64::from(level));
        level
    }
}
