//! The `_id`s that clients give, remembered: a document that is sent again is stored once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// Ids remembered, the latest; about 16 MB.
pub(super) const IDS_MAX: usize = 262_144;

/// Ids of documents; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    states: HashMap<u128, State>,
    order: VecDeque<u128>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Being stored by a request that has not been answered.
    Busy,
    /// Stored, with this content.
    Stored(u64),
}

/// What an id means for a document.
#[derive(Debug)]
pub(super) enum Claim {
    /// Store it, then [`Ids::settle`].
    Take(Claimed),
    /// It was stored before with another content: store this one too, then settle.
    Changed(Claimed),
    /// This very document is stored.
    Same,
    /// Another request is storing a document of this id.
    Busy,
}

/// An id that is being stored.
#[derive(Debug)]
pub(super) struct Claimed {
    key: u128,
    content: u64,
    before: Option<State>,
}

impl Ids {
    /// Claims the id for a document.
    pub(super) fn claim(&self, index: &str, id: &str, content: &[u8]) -> Claim {
        let key = xxh3_128_with_seed(id.as_bytes(), xxh3_64(index.as_bytes()));
        let content = xxh3_64(content);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.states.get(&key).copied();
        match before {
            Some(State::Busy) => return Claim::Busy,
            Some(State::Stored(stored)) if stored == content => return Claim::Same,
            _ => {}
        }
        known.states.insert(key, State::Busy);
        let claimed = Claimed { key, content, before };
        if before.is_some() { Claim::Changed(claimed) } else { Claim::Take(claimed) }
    }

    /// Says what became of a claim.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is settled once")]
    pub(super) fn settle(&self, claimed: Claimed, stored: Result<(), ()>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        match (stored, claimed.before) {
            (Ok(()), before) => {
                known.states.insert(claimed.key, State::Stored(claimed.content));
                if before.is_none() {
                    known.order.push_back(claimed.key);
                }
            }
            (Err(()), Some(before)) => {
                known.states.insert(claimed.key, before);
            }
            (Err(()), None) => {
                known.states.remove(&claimed.key);
            }
        }
        while known.order.len() > IDS_MAX {
            let oldest = known.order.pop_front();
            oldest.and_then(|oldest| known.states.remove(&oldest));
        }
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stored_once_and_a_failure_is_forgotten() {
        let ids = Ids::default();
        let Claim::Take(first) = ids.claim("a", "1", b"x") else { panic!("it is new") };
        assert!(matches!(ids.claim("a", "1", b"x"), Claim::Busy));
        ids.settle(first, Err(()));
        let Claim::Take(again) = ids.claim("a", "1", b"x") else { panic!("it was not stored") };
        ids.settle(again, Ok(()));
        assert!(matches!(ids.claim("a", "1", b"x"), Claim::Same));
        assert!(matches!(ids.claim("b", "1", b"x"), Claim::Take(_)));
        let Claim::Changed(changed) = ids.claim("a", "1", b"y") else { panic!("it is stored") };
        ids.settle(changed, Err(()));
        assert!(matches!(ids.claim("a", "1", b"x"), Claim::Same));
        assert_eq!(ids.count(), 1);
    }

    #[test]
    fn the_oldest_is_forgotten_beyond_the_bound() {
        let ids = Ids::default();
        for number in 0..=IDS_MAX {
            let Claim::Take(claimed) = ids.claim("a", &number.to_string(), b"") else {
                panic!("each is new")
            };
            ids.settle(claimed, Ok(()));
        }
        assert_eq!(ids.count(), IDS_MAX);
        assert!(matches!(ids.claim("a", "0", b""), Claim::Take(_)));
        assert!(matches!(ids.claim("a", "1", b""), Claim::Same));
    }
}
