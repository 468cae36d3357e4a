//! What the disk still takes: our share of it, and the bytes that stay free.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use platform::disk;

use crate::settings::Settings;

/// Never more than such a part of a small disk is kept free, and so much more is left by what may
/// wait for room.
const SPARE_PART: u64 = 20;

/// The room of a disk, within bounds. Clones share what was measured.
#[derive(Debug, Clone)]
pub struct Room {
    folder: PathBuf,
    percent_max: u64,
    free_bytes_min: u64,
    /// Bytes of all files below the folder, as they were measured last.
    used: Arc<AtomicU64>,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes that may come.
    pub(crate) left: u64,
    /// Bytes that must go.
    pub(crate) short: u64,
    /// Bytes of the disk.
    total: u64,
}

impl Room {
    /// Of the disk of a folder, which is ours.
    #[must_use]
    pub fn new(folder: PathBuf, settings: &Settings) -> Self {
        let (percent_max, free_bytes_min) =
            (settings.disk_percent_max, settings.disk_free_bytes_min);
        Self { folder, percent_max, free_bytes_min, used: Arc::default() }
    }

    /// Looks at every file. `None` when the system does not tell. Blocks on the disk.
    pub(crate) fn measure(&self) -> Option<Space> {
        self.used.store(disk::folder_bytes(&self.folder), Ordering::Relaxed);
        self.space()
    }

    /// What there is by now, our own bytes as they were measured.
    pub(crate) fn space(&self) -> Option<Space> {
        let (free, total) = disk::space(&self.folder).ok()?;
        let used = self.used.load(Ordering::Relaxed);
        Some(Space::of(used, free, total, self.percent_max, self.free_bytes_min))
    }

    /// So many bytes came since it was measured.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether so many bytes may come.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        self.space().is_none_or(|space| bytes <= space.left)
    }

    /// Whether so many bytes may come that can wait: they leave some room for what cannot, and do not
    /// have to go again at once.
    pub(crate) fn takes_easily(&self, bytes: u64) -> bool {
        self.space().is_none_or(|space| space.takes_easily(bytes))
    }
}

impl Space {
    fn of(used: u64, free: u64, total: u64, percent_max: u64, free_min: u64) -> Self {
        let share = u128::from(total) * u128::from(percent_max) / 100;
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        let free_min = free_min.min(total / SPARE_PART);
        Self {
            left: share.saturating_sub(used).min(free.saturating_sub(free_min)),
            short: used.saturating_sub(share).max(free_min.saturating_sub(free)),
            total,
        }
    }

    fn takes_easily(&self, bytes: u64) -> bool {
        bytes.saturating_add(self.total / SPARE_PART) <= self.left
    }

    /// What a cache may hold that holds so much now.
    pub(crate) fn bound(&self, cached: u64) -> u64 {
        cached.saturating_add(self.left).saturating_sub(self.short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_and_the_free_bytes_are_both_kept() {
        let check = |(used, free, total, percent, free_min), (left, short)| {
            let space = Space::of(used, free, total, percent, free_min);
            assert_eq!((space.left, space.short), (left, short));
        };
        check((50, 50, 100, 80, 0), (30, 0));
        check((50, 10, 100, 80, 0), (10, 0));
        check((80, 20, 100, 80, 0), (0, 0));
        check((90, 10, 100, 80, 0), (0, 10));
        check((10, 100, 10_000, 80, 300), (0, 200));
        // Of a small disk a twentieth is kept free.
        check((10, 1, 100, 80, 300), (0, 4));
        check((10, 7, 100, 80, 300), (2, 0));
    }

    #[test]
    fn what_may_wait_leaves_room_and_a_cache_follows_what_there_is() {
        let space = |used, free| Space::of(used, free, 1_000, 80, 0);
        assert!(space(700, 300).takes_easily(50));
        assert!(!space(700, 300).takes_easily(51));
        assert_eq!(space(700, 300).bound(400), 500);
        assert_eq!(space(900, 100).bound(400), 300);
        assert_eq!(space(900, 100).bound(60), 0);
    }

    #[test]
    fn the_files_below_the_folder_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { disk_percent_max: 100, disk_free_bytes_min: 0, ..Settings::TINY };
        let room = Room::new(folder.path().to_owned(), &settings);
        disk::write_atomically(&folder.path().join("file"), &[7; 1_000]).unwrap();
        assert_eq!(room.measure().unwrap().short, 0);
        assert_eq!(room.used.load(Ordering::Relaxed), 1_000);
        assert!(room.takes(1));
        room.add(u64::MAX - 1_000);
        assert!(!room.takes(1), "all of the share is ours");
        let nowhere = Room::new(folder.path().join("nowhere"), &settings);
        assert!(nowhere.takes(u64::MAX), "nobody tells");
    }
}
