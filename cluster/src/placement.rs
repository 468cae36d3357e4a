//! Which of several candidates owns a key: rendezvous hashing, pure.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The candidate with the highest hash of (candidate, key). Taking a candidate away moves only
/// the keys it owned; adding one moves about its share.
#[must_use]
pub fn owner(key: u64, candidates: impl IntoIterator<Item = u64>) -> Option<u64> {
    candidates.into_iter().max_by_key(|candidate| score(key, *candidate))
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
}
