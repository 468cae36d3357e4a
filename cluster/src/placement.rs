//! Which of several candidates owns a key: rendezvous hashing, pure. One implementation for streams
//! and partitions, partitions and replicas, partitions and indexers, splits and their keepers.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A candidate may own so many times its fair share, in percent, before keys go to the next.
const LOAD_PERCENT_MAX: usize = 125;

/// The candidate with the highest hash of (candidate, key). Taking a candidate away moves only
/// the keys it owned; adding one moves about its share.
#[must_use]
pub fn owner(key: u64, candidates: impl IntoIterator<Item = u64>) -> Option<u64> {
    candidates.into_iter().max_by_key(|candidate| score(key, *candidate))
}

/// The candidates by their hashes, highest first: who owns a key, and who would if others were
/// gone.
#[must_use]
pub fn ranked(key: u64, candidates: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut ranked: Vec<u64> = candidates.into_iter().collect();
    ranked.sort_unstable_by_key(|candidate| std::cmp::Reverse(score(key, *candidate)));
    ranked.dedup();
    ranked
}

/// How many of `keys` keys one of so many candidates may own.
#[must_use]
pub fn load_max(keys: usize, candidates: usize) -> usize {
    (keys * LOAD_PERCENT_MAX).div_ceil(100 * candidates.max(1)).max(1)
}

/// The key of a text, such as a split's name.
#[must_use]
pub fn key_of(text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), 0)
}

fn score(key: u64, candidate: u64) -> (u64, u64) {
    (xxh3_64_with_seed(&key.to_le_bytes(), candidate), candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_one_of_n_moves_about_one_nth() {
        let keys = 0..10_000_u64;
        let moved = keys.clone().filter(|key| owner(*key, 0..4) != owner(*key, 0..5)).count();
        assert!((1_700..2_300).contains(&moved), "{moved}");
        let to_others = keys.filter(|key| {
            let after = owner(*key, 0..5);
            owner(*key, 0..4) != after && after != Some(4)
        });
        assert_eq!(to_others.count(), 0);
        assert_eq!(owner(1, []), None);
    }

    #[test]
    fn the_next_owner_is_the_next_in_rank() {
        for key in 0..1_000 {
            let ranks = ranked(key, 0..7);
            assert_eq!(ranks.len(), 7);
            let mut left: Vec<u64> = (0..7).collect();
            for candidate in ranks {
                assert_eq!(owner(key, left.iter().copied()), Some(candidate));
                left.retain(|other| *other != candidate);
            }
        }
        assert_eq!(load_max(8, 3), 4);
        assert_eq!(load_max(1, 5), 1);
    }
}
