//! Chance: ids that nobody else draws.

use std::hash::{BuildHasher as _, RandomState};

/// A random number from the system, never zero.
#[must_use]
pub fn u64() -> u64 {
    // No source (a bare container): the standard library's own seed is random as well.
    let number =
        getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(std::process::id()));
    number.max(1)
}
