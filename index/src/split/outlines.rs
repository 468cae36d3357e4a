//! Rows of which the messages are the same but for tokens with digits, and how often words are met: once
//! for all of them.

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::cluster::Messages;
use super::lex::{SLOT, each_judged};

/// Counters of words. Two words that share one look more frequent than they are, which costs
/// templates and is never wrong.
const COUNTERS: usize = 1 << 18;

/// Rows that are looked at before it is given up, where more than one of so many has an outline of its own:
/// to look for it takes longer than what is found saves.
const LOOKED_AT: usize = if cfg!(test) { 16 } else { 4_096 };
const OWN: usize = 3;

/// Rows of a service whose messages are the same but for tokens with digits.
pub(super) struct Outline {
    hash: u128,
    pub(super) service: u32,
    /// The first of them.
    pub(super) row: u32,
    pub(super) rows: u32,
}

/// The outlines of rows, and how often words are met in them.
pub(super) struct Outlines {
    pub(super) all: Vec<Outline>,
    table: HashTable<u32>,
    /// By [`counter`].
    pub(super) counts: Vec<u32>,
    /// Of the message that is looked at: its words (`start..end`, bytes), and what is left of it.
    words: Vec<(usize, usize)>,
    scratch: Vec<u8>,
}

impl Outlines {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            table: HashTable::new(),
            counts: vec![0; COUNTERS],
            words: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The number of a message's outline, in order of finding. The words of a new one are counted.
    pub(super) fn add(&mut self, service: u32, row: u32, message: &str) -> u32 {
        if row as usize >= LOOKED_AT && self.all.len() * OWN > row as usize {
            return self.add_own(service, row, message);
        }
        let Self { all, table, counts, words, scratch } = self;
        let bytes = message.as_bytes();
        words.clear();
        scratch.clear();
        let mut at = 0;
        each_judged(message, |start, end, varies| {
            if varies {
                scratch.extend_from_slice(bytes.get(at..start).unwrap_or_default());
                scratch.push(SLOT);
                at = end;
            } else {
                words.push((start, end));
            }
        });
        scratch.extend_from_slice(bytes.get(at..).unwrap_or_default());
        let hash = hash_of(scratch, service);
        let is_it = |number: &u32| all.get(*number as usize).is_some_and(|one| one.hash == hash);
        if let Some(number) = table.find(low(hash), is_it).copied() {
            if let Some(outline) = all.get_mut(number as usize) {
                outline.rows += 1;
            }
            return number;
        }
        for (start, end) in words.iter() {
            count(counts, bytes.get(*start..*end).unwrap_or_default(), 1);
        }
        let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.push(Outline { hash, service, row, rows: 1 });
        let hash_of = |number: &u32| all.get(*number as usize).map_or(0, |one| low(one.hash));
        table.insert_unique(low(hash), number, hash_of);
        number
    }

    /// Gives a message an outline of its own, whatever it has in common with others.
    fn add_own(&mut self, service: u32, row: u32, message: &str) -> u32 {
        each_judged(message, |start, end, varies| {
            if !varies {
                let word = message.as_bytes().get(start..end).unwrap_or_default();
                count(&mut self.counts, word, 1);
            }
        });
        self.all.push(Outline { hash: 0, service, row, rows: 1 });
        u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
    }

    /// With the words of all rows counted.
    pub(super) fn counted(mut self, messages: &Messages<'_>) -> Self {
        for outline in self.all.iter().filter(|outline| outline.rows > 1) {
            let message = messages.at(outline.row);
            each_judged(message, |start, end, varies| {
                if !varies {
                    let word = message.as_bytes().get(start..end).unwrap_or_default();
                    count(&mut self.counts, word, outline.rows - 1);
                }
            });
        }
        self
    }
}

/// Counts a word that is met so many times more.
fn count(counts: &mut [u32], word: &[u8], times: u32) {
    if let Some(count) = counts.get_mut(counter(word)) {
        *count = count.saturating_add(times);
    }
}

/// The place of a word's count.
pub(super) fn counter(token: &[u8]) -> usize {
    usize::try_from(xxh3_64(token)).unwrap_or(usize::MAX) & (COUNTERS - 1)
}

/// 128 bits tell templates apart: that two texts share them is as likely as a broken disk that goes
/// unnoticed.
pub(super) fn hash_of(text: &[u8], service: u32) -> u128 {
    xxh3_128_with_seed(text, u64::from(service))
}

pub(super) fn low(hash: u128) -> u64 {
    let bytes = hash.to_le_bytes();
    let (low, _) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*low)
}
