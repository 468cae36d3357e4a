//! Ids of acknowledgements, for each channel of its own. An answer is given when its records are
//! durable, so an id that was given out is acknowledged; of an id that was not the node knows
//! nothing, and says so.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

/// Channels remembered, those used last; about 1 MB. A sender of many connections has one for each.
pub(super) const CHANNELS_MAX: usize = 16_384;
/// A channel's first id is below it: with all that follow they stay below 2^53, as far as clients
/// count.
const FIRST_MAX: u64 = 1 << 52;

/// The channels of this node, in this life of it.
#[derive(Debug, Default)]
pub(super) struct Channels {
    known: HashMap<u128, Channel>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    first: u64,
    next: u64,
    used: u64,
}

impl Channels {
    /// Gives out an id for what has been stored. The ids of a channel begin at a place drawn from
    /// `chance`: another node, or this one after a restart, does not take them for its own.
    pub(super) fn give(&mut self, name: &str, chance: u64) -> u64 {
        let key = xxh3_128(name.as_bytes());
        if !self.known.contains_key(&key) {
            self.forget();
            let first = chance % FIRST_MAX;
            self.known.insert(key, Channel { first, next: first, used: 0 });
        }
        self.clock += 1;
        let used = self.clock;
        let Some(channel) = self.known.get_mut(&key) else { return 0 };
        let id = channel.next;
        *channel = Channel { next: id + 1, used, ..*channel };
        id
    }

    /// For each of these ids whether it was given out in that channel.
    pub(super) fn asked(&mut self, name: &str, ids: &[u64]) -> Vec<bool> {
        self.clock += 1;
        let given = match self.known.get_mut(&xxh3_128(name.as_bytes())) {
            None => 0..0,
            Some(channel) => {
                channel.used = self.clock;
                channel.first..channel.next
            }
        };
        ids.iter().map(|id| given.contains(id)).collect()
    }

    /// How many channels are remembered.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Makes room for one more: the one that was not used for the longest time goes.
    fn forget(&mut self) {
        while self.known.len() >= CHANNELS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, channel)| channel.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_true_in_the_channel_it_was_given_in() {
        let mut channels = Channels::default();
        assert_eq!([channels.give("a", 100), channels.give("a", 7)], [100, 101]);
        assert_eq!(channels.give("b", 500), 500);
        assert_eq!(
            channels.asked("a", &[99, 100, 101, 102, 500]),
            [false, true, true, false, false]
        );
        // It may ask again: an answer can be lost.
        assert_eq!(channels.asked("a", &[101]), [true]);
        assert_eq!(channels.asked("b", &[100, 500]), [false, true]);
        assert_eq!(channels.asked("nobody's", &[0, 100]), [false, false]);
        assert!(channels.give("far", u64::MAX) < FIRST_MAX);
    }

    #[test]
    fn another_life_knows_nothing_of_it() {
        let (mut before, mut after) = (Channels::default(), Channels::default());
        let id = before.give("a", 1_000);
        assert_eq!(after.asked("a", &[id]), [false]);
        after.give("a", 5_000);
        assert_eq!(after.asked("a", &[id, id + 1, 5_000]), [false, false, true]);
    }

    #[test]
    fn the_channel_that_is_silent_longest_is_forgotten() {
        let mut channels = Channels::default();
        let first = channels.give("0", 9);
        for number in 1..CHANNELS_MAX {
            channels.give(&number.to_string(), 9);
        }
        // It asks, so the one behind it is the most silent.
        assert_eq!(channels.asked("0", &[first]), [true]);
        channels.give("one more", 9);
        assert_eq!(channels.count(), CHANNELS_MAX);
        assert_eq!(
            (channels.asked("0", &[9]), channels.asked("1", &[9])),
            (vec![true], vec![false])
        );
    }
}
