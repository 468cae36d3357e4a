//! Lines of real systems with their slots redrawn, and what the bench looks for planted in them.

use super::samples::{Draw, Part, Samples};
use crate::chance::Chance;

/// A word that few records have; one in [`NEEDLE_EVERY`].
pub(super) const NEEDLE: &str = "kx7needle";
/// Records from one needle to the next.
pub(super) const NEEDLE_EVERY: u64 = 1_000_000;
/// A phrase that one record in [`PHRASE_EVERY`] has.
pub(super) const PHRASE: &str = "replica refused the promotion";
/// Its words in another order, ten times as often.
pub(super) const DECOY: &str = "promotion refused, the replica waits";
/// Records from one phrase to the next.
pub(super) const PHRASE_EVERY: u64 = 10_000;
/// A token that one record in [`REQUEST_EVERY`] has.
pub(super) const REQUEST: &str = "7c1e55aa90f3bd42";
/// Records from one such request to the next.
pub(super) const REQUEST_EVERY: u64 = 2_000_000;
/// Letters within a longer token of one record in [`SUBSTRING_EVERY`].
pub(super) const SUBSTRING: &str = "qzvxjk";
/// Records from one such token to the next.
pub(super) const SUBSTRING_EVERY: u64 = 1_000_000;
/// An address that one record in [`ADDRESS_EVERY`] has.
pub(super) const ADDRESS: &str = "172.31.254.77";
/// Records from one such address to the next.
pub(super) const ADDRESS_EVERY: u64 = 1_000_000;
/// A word that no record has.
pub(super) const ABSENT: &str = "flibbertigibbet";

const HEX: &[u8; 16] = b"0123456789abcdef";

#[derive(Debug, Default)]
pub(super) struct Plain {
    scratch: Vec<u8>,
}

impl Plain {
    pub(super) fn write(
        &mut self,
        chance: &mut Chance,
        samples: &Samples,
        stream: usize,
        n: u64,
        out: &mut Vec<u8>,
    ) {
        let lines = &samples.system(stream).lines;
        // Most lines are of few kinds.
        let place = usize::try_from(chance.skewed(lines.len() as u64)).unwrap();
        let place = if chance.below(2) == 0 { chance.place(lines.len()) } else { place };
        for part in &lines[place] {
            match part {
                Part::Fixed(text) => out.extend_from_slice(text.as_bytes()),
                Part::Slot(seen, draw) => self.slot(chance, seen, *draw, out),
            }
        }
        plant(n, out);
    }

    fn slot(&mut self, chance: &mut Chance, seen: &str, draw: Draw, out: &mut Vec<u8>) {
        let mut source = match draw {
            Draw::Seen => return out.extend_from_slice(seen.as_bytes()),
            Draw::Skewed => Chance::new(chance.skewed(1_000)),
            Draw::Any => Chance::new(chance.draw()),
        };
        self.scratch.clear();
        let is_hex = seen.bytes().all(|byte| HEX.contains(&byte)) && seen.len() >= 8;
        let letters = seen.bytes().any(|byte| byte.is_ascii_alphabetic());
        let mut bits = source.draw();
        for (at, byte) in seen.bytes().enumerate() {
            if at % 12 == 11 {
                bits = source.draw();
            }
            self.scratch.push(match byte {
                _ if is_hex && letters => HEX[usize::try_from(bits & 15).unwrap()],
                b'0'..=b'9' => b'0' + u8::try_from((bits & 15) * 10 / 16).unwrap(),
                other => other,
            });
            bits >>= 5;
        }
        out.extend_from_slice(&self.scratch);
    }
}

/// What is looked for; each at a place of its own.
fn plant(n: u64, out: &mut Vec<u8>) {
    let mut plant = |every: u64, at: u64, text: &str| {
        if n % every == at % every {
            out.push(b' ');
            out.extend_from_slice(text.as_bytes());
        }
    };
    plant(NEEDLE_EVERY, 700_001, NEEDLE);
    plant(PHRASE_EVERY, 7, PHRASE);
    plant(PHRASE_EVERY / 10, 11, DECOY);
    plant(REQUEST_EVERY, 400_013, &format!("req-{REQUEST}"));
    plant(SUBSTRING_EVERY, 300_017, &format!("tok9{SUBSTRING}{n}"));
    plant(ADDRESS_EVERY, 500_019, &format!("from {ADDRESS}:8443"));
}
