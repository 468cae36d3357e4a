//! The `_id`s that clients give, remembered: a document that is sent again is stored once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use platform::disk::Disk;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::kept::{Entry, Kept};
use super::turns::Turns;

/// Ids remembered, the latest; about 16 MB.
pub(super) const IDS_MAX: usize = 262_144;

/// Ids of documents; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    known: Arc<Mutex<Known>>,
    /// Where they outlive the process.
    kept: Option<Arc<Mutex<Kept>>>,
    turns: Turns,
}

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
    /// A document of this id is being stored.
    Busy {
        /// The id.
        key: u128,
        /// What this document is.
        content: u64,
    },
}

/// An id that is being stored.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) key: u128,
    pub(super) content: u64,
    before: Option<State>,
}

impl Ids {
    /// Those that the files in this folder hold.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn open(folder: &Path, disk: &Disk) -> io::Result<Self> {
        let (kept, entries) = Kept::open(folder, disk)?;
        let mut known = Known::default();
        for entry in entries {
            let before = known.states.get(&entry.0).copied();
            known.keep(entry, before);
        }
        let known = Arc::new(Mutex::new(known));
        let kept = Some(Arc::new(Mutex::new(kept)));
        Ok(Self { known, kept, turns: Turns::default() })
    }

    /// The turns of requests that say the same.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Writes ids that were settled. Blocks.
    pub(super) fn save(&self, entries: &[Entry]) {
        let Some(kept) = self.kept.as_ref().filter(|_| !entries.is_empty()) else { return };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = kept.append(entries) {
            tracing::warn!(%error, "ids of documents are not kept over a restart");
        }
    }

    /// Claims the id for a document.
    pub(super) fn claim(&self, index: &str, id: &str, content: &[u8]) -> Claim {
        let key = xxh3_128_with_seed(id.as_bytes(), xxh3_64(index.as_bytes()));
        let content = xxh3_64(content);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.states.get(&key).copied();
        match before {
            Some(State::Busy) => return Claim::Busy { key, content },
            Some(State::Stored(stored)) if stored == content => return Claim::Same,
            _ => {}
        }
        known.states.insert(key, State::Busy);
        let claimed = Claimed { key, content, before };
        if before.is_some() { Claim::Changed(claimed) } else { Claim::Take(claimed) }
    }

    /// Says what became of a claim; gives what is to be saved.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is settled once")]
    pub(super) fn settle(&self, claimed: Claimed, stored: Result<(), ()>) -> Option<Entry> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (stored, claimed.before) {
            (Ok(()), before) => {
                let entry = (claimed.key, claimed.content);
                known.keep(entry, before);
                return Some(entry);
            }
            (Err(()), Some(before)) => {
                known.states.insert(claimed.key, before);
            }
            (Err(()), None) => {
                known.states.remove(&claimed.key);
            }
        }
        None
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).order.len()
    }
}

/// The ids that a request claims. Those that it has not settled when it goes are free again, also where
/// what reads its documents broke down.
#[derive(Debug)]
pub(super) struct Claims {
    ids: Ids,
    /// With the numbers of their records.
    open: Vec<(usize, Claimed)>,
}

impl Claims {
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, open: Vec::new() }
    }

    /// Keeps the claim for the record of that number.
    pub(super) fn add(&mut self, record: usize, claimed: Claimed) {
        self.open.push((record, claimed));
    }

    /// Says of each whether its record is stored; gives what is to be saved.
    pub(super) fn settle(mut self, is_stored: impl Fn(usize) -> bool) -> Vec<Entry> {
        let settle = |(record, claimed)| {
            let stored = if is_stored(record) { Ok(()) } else { Err(()) };
            self.ids.settle(claimed, stored)
        };
        std::mem::take(&mut self.open).into_iter().filter_map(settle).collect()
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        for (_, claimed) in self.open.drain(..) {
            self.ids.settle(claimed, Err(()));
        }
    }
}

impl Known {
    /// Remembers a stored one, which had that state before, and forgets the oldest beyond the
    /// bound.
    fn keep(&mut self, (key, content): Entry, before: Option<State>) {
        self.states.insert(key, State::Stored(content));
        if before.is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > IDS_MAX {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.states.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stored_once_and_a_failure_is_forgotten() {
        let ids = Ids::default();
        let Claim::Take(first) = ids.claim("a", "1", b"x") else { panic!("it is new") };
        assert!(matches!(ids.claim("a", "1", b"x"), Claim::Busy { .. }));
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
    fn ids_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Ids::open(folder.path(), &Disk::default()).unwrap();
        let ids = open();
        let Claim::Take(claimed) = ids.claim("a", "1", b"x") else { panic!("it is new") };
        let entry = ids.settle(claimed, Ok(())).unwrap();
        ids.save(&[entry]);
        let ids = open();
        assert!(matches!(ids.claim("a", "1", b"x"), Claim::Same));
        assert!(matches!(ids.claim("a", "1", b"y"), Claim::Changed(_)));
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
