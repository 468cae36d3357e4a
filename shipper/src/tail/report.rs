//! What a shipper tells its node of itself, so that whoever looks at the node sees all who ship
//! to it.

use std::time::Duration;

use model::wire::{REPORTED_FILES_MAX, ReportedFile, ShipperReport};
use xxhash_rust::xxh3::xxh3_64;

use super::{Done, Shipper};

/// First report after the start: by then the files are found.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// Between two reports.
const PERIOD: Duration = Duration::from_secs(10);

impl Shipper {
    /// How long until the next report.
    pub(super) fn report_pause(&self, now: Duration) -> Duration {
        self.report_at.saturating_sub(now).max(Duration::from_millis(1))
    }

    /// Sends a report when it is time. One that does not arrive is not sent again: the next one
    /// says more.
    pub(super) fn tell_status(&mut self, now: Duration) {
        if now < self.report_at {
            return;
        }
        self.report_at = now + PERIOD;
        if self.reporting || self.context.shutdown.is_triggered() {
            return;
        }
        self.reporting = true;
        let (id, report, context) = (self.id(), self.report(), self.context.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = context.target.report(&id, &report) => {}
                () = context.stop.wait() => {}
            }
            Done::Reported
        });
    }

    /// The same for every life of the shipper with this state directory on this machine.
    fn id(&self) -> String {
        let place = self.context.store.folder().display();
        format!("{:016x}", xxh3_64(format!("{}\0{place}", self.context.host).as_bytes()))
    }

    fn report(&self) -> ShipperReport {
        let sum = self.context.board.status();
        let mut files = self.table.status_of(|file| file.lags() || file.last_error.is_some());
        files.sort_by_key(|file| std::cmp::Reverse((file.last_error.is_some(), file.lag_bytes)));
        files.truncate(REPORTED_FILES_MAX);
        let behind = files.into_iter().map(|file| ReportedFile {
            path: file.path,
            lag_bytes: file.lag_bytes,
            last_error: file.last_error,
        });
        ShipperReport {
            host: self.context.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files: sum.files,
            lag_bytes: sum.lag_bytes,
            gaps: self.context.metrics.gaps.get(),
            lost_bytes: self.context.metrics.lost_bytes.get(),
            patterns: sum.patterns,
            last_error: sum.last_error,
            behind: behind.collect(),
        }
    }
}
