//! Chance: ids that nobody else draws.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;

/// A random number from the system, never zero.
#[must_use]
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    let number = match read {
        Ok(()) => u64::from_le_bytes(bytes),
        // No device (a bare container): the standard library's own seed is random as well.
        Err(_) => RandomState::new().hash_one(std::process::id()),
    };
    number.max(1)
}
