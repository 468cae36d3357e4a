//! How hard batches are compressed: at a level that is set, or at one that suits the load.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::codec::ZSTD_LEVEL;
use model::limits::BATCH_BYTES_TARGET;
use serde::Deserialize;

/// The level when a core is what is short.
const QUICK: i32 = ZSTD_LEVEL;
/// The level when nobody waits, or the way to the node is what is short: fewer bytes for more CPU.
const THOROUGH: i32 = 3;
/// Levels that can be set. Higher ones take many times the memory for little.
const LEVELS: RangeInclusive<i32> = 1..=9;
/// Bytes of all files that are not acknowledged, from which on we are behind: more than a batch.
const BEHIND_BYTES: u64 = BATCH_BYTES_TARGET as u64;
/// The way to a node is slow when a request gets fewer compressed bytes a second through: a batch of a
/// megabyte is a tenth of one by then, and the sync of a disk takes milliseconds.
const SLOW_BYTES_PER_SECOND: u64 = 2_000_000;
/// And only when sending takes so many times as long as packing: where a core is short, both are slow.
const SLOW_TIMES: u64 = 4;
/// Smaller requests tell how long an answer takes, not how wide the way is.
const TELLING_BYTES: usize = 64 << 10;

/// `compression` of docs/shipper.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Written")]
pub enum Compression {
    /// As the load allows.
    #[default]
    Auto,
    /// This level of zstd.
    Level(i32),
}

/// The same, as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    Level(i32),
    Word(String),
}

impl TryFrom<Written> for Compression {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Level(level) if LEVELS.contains(&level) => Ok(Self::Level(level)),
            Written::Word(word) if word == "auto" => Ok(Self::Auto),
            _ => Err("compression is \"auto\" or a level of zstd, 1 to 9"),
        }
    }
}

/// What is known when a batch is about to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    /// Bytes of all files that are not acknowledged.
    pub(crate) lag_bytes: u64,
    /// As many as may pack at once do.
    pub(crate) crowded: bool,
    /// The way to the nodes is slow: [`Pace::is_slow`].
    pub(crate) slow: bool,
}

impl Compression {
    /// The level of the next batch.
    pub(crate) fn level(self, load: Load) -> i32 {
        let behind = load.lag_bytes > BEHIND_BYTES;
        match self {
            Self::Level(level) => level,
            Self::Auto if load.crowded || behind && !load.slow => QUICK,
            Self::Auto => THOROUGH,
        }
    }
}

/// A mean in which the last value is a quarter. Zero: none is known.
#[derive(Debug, Default)]
struct Mean(AtomicU64);

impl Mean {
    fn note(&self, value: u64) {
        let mean = match self.0.load(Ordering::Relaxed) {
            0 => value,
            before => before.saturating_mul(3).saturating_add(value) / 4,
        };
        self.0.store(mean.max(1), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How fast large batches were made and sent lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    packing_us: Mean,
    sending_us: Mean,
    bytes_per_second: Mean,
}

impl Pace {
    /// Making a batch of so many compressed bytes took that time.
    pub(crate) fn packed(&self, bytes: usize, time: Duration) {
        if bytes >= TELLING_BYTES {
            self.packing_us.note(micros(time));
        }
    }

    /// It was answered after that time.
    pub(crate) fn sent(&self, bytes: usize, time: Duration) {
        if bytes >= TELLING_BYTES {
            self.sending_us.note(micros(time));
            self.bytes_per_second.note((bytes as u64).saturating_mul(1_000_000) / micros(time));
        }
    }

    /// Whether the way to the nodes is what takes the time. Not before one went that tells.
    pub(crate) fn is_slow(&self) -> bool {
        let packing_us = self.packing_us.get();
        packing_us > 0
            && self.sending_us.get() > packing_us.saturating_mul(SLOW_TIMES)
            && self.bytes_per_second.get() < SLOW_BYTES_PER_SECOND
    }
}

/// At least one.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lag_bytes: u64, crowded: bool, slow: bool, expected: i32) {
        let load = Load { lag_bytes, crowded, slow };
        assert_eq!(Compression::Auto.level(load), expected, "{load:?}");
        assert_eq!(Compression::Level(7).level(load), 7, "{load:?}");
    }

    #[test]
    fn a_core_that_is_short_decides_before_the_way_and_the_way_before_the_backlog() {
        check(100, false, false, THOROUGH);
        check(100, false, true, THOROUGH);
        check(200 << 20, false, false, QUICK);
        check(200 << 20, false, true, THOROUGH);
        check(200 << 20, true, true, QUICK);
        check(100, true, false, QUICK);
    }

    /// Whether the way is slow after a few batches of so many bytes.
    fn slow(bytes: usize, packing_ms: u64, sending_ms: u64) -> bool {
        let pace = Pace::default();
        for _ in 0..3 {
            pace.packed(bytes, Duration::from_millis(packing_ms));
            pace.sent(bytes, Duration::from_millis(sending_ms));
        }
        pace.is_slow()
    }

    #[test]
    fn the_way_is_slow_when_large_batches_take_long_and_not_because_all_does() {
        assert!(!Pace::default().is_slow());
        assert!(slow(100_000, 5, 500));
        assert!(!slow(100_000, 5, 30), "a disk is synced");
        assert!(!slow(100_000, 200, 500), "a core is short");
        assert!(!slow(1_000, 1, 500), "small ones tell nothing");
        assert!(!slow(usize::MAX, 0, 0));
    }

    #[test]
    fn of_a_mean_the_last_value_is_a_quarter() {
        let mean = Mean::default();
        for value in [1_000, 5_000, 2_000] {
            mean.note(value);
        }
        assert_eq!(mean.get(), 2_000);
        mean.note(u64::MAX);
        assert!(mean.get() > 1 << 60);
    }
}
