//! The corpora of the split's bench, as NDJSON: `plain` (real lines with their slots redrawn),
//! `hostile` (random words, unique ids, free text) and `wide` (objects of 30 to 300 fields).
//! Equal seeds give equal records.

mod samples;
mod plain;
mod hostile;
mod wide;
pub mod asked;
pub mod truth;
pub mod table;

use crate::chance::Chance;

pub use samples::Samples;

/// Streams: pairs of a service and a host.
pub const STREAMS: usize = 40;
/// The moment of the first record: 2026-11-01T00:00:00Z, microseconds.
const START_US: i64 = 1_793_491_200_000_000;
/// Mean microseconds from one record to the next.
const STEP_US: u64 = 3_000;

/// A kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Real lines with their slots redrawn.
    Plain,
    /// Random words, unique ids, sentences, stack traces, blobs.
    Hostile,
    /// Objects with 30 to 300 fields.
    Wide,
}

impl Kind {
    /// Its name, as `CORPUS` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hostile => "hostile",
            Self::Wide => "wide",
        }
    }
}

/// Makes records in order of time.
#[derive(Debug)]
pub struct Records {
    kind: Kind,
    chance: Chance,
    samples: Samples,
    plain: plain::Plain,
    hostile: hostile::Hostile,
    wide: wide::Wide,
    next: u64,
    time_us: i64,
}

impl Records {
    /// Begins at a seed.
    #[must_use]
    pub fn new(kind: Kind, seed: u64, samples: Samples) -> Self {
        let mut chance = Chance::new(seed);
        Self {
            kind,
            plain: plain::Plain::default(),
            hostile: hostile::Hostile::new(&mut chance),
            wide: wide::Wide::new(&mut chance),
            chance,
            samples,
            next: 0,
            time_us: START_US,
        }
    }

    /// About the second in which a record of a number has its time.
    #[must_use]
    pub fn second_of(number: u64) -> i64 {
        (START_US + i64::try_from(number * STEP_US).unwrap()) / 1_000_000
    }

    /// Writes the next record and its line's end.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        let n = self.next;
        self.next += 1;
        self.time_us += i64::try_from(self.chance.below(STEP_US * 2)).unwrap();
        let stream = usize::try_from(self.chance.skewed(STREAMS as u64)).unwrap();
        let level = match self.chance.below(100) {
            0 => "ERROR",
            1..=4 => "WARN",
            5..=14 => "DEBUG",
            _ => "INFO",
        };
        let time = model::time::Timestamp(self.time_us * 1_000);
        let service = self.samples.service(stream);
        let host = stream / self.samples.services();
        out.extend_from_slice(
            format!(
                "{{\"timestamp\":\"{time}\",\"host\":\"{service}-{host}.eu-1.example.net\",\"service\":\"{service}\",\"level\":\"{level}\","
            )
            .as_bytes(),
        );
        if self.kind == Kind::Wide {
            self.wide.write(&mut self.chance, stream, n, level, out);
        } else {
            out.extend_from_slice(b"\"message\":\"");
            let start = out.len();
            self.plain.write(&mut self.chance, &self.samples, stream, n, out);
            if self.kind == Kind::Hostile {
                self.hostile.write(&mut self.chance, out);
            }
            escape(out, start);
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Escapes what a JSON text may not have, from a place on.
fn escape(out: &mut Vec<u8>, start: usize) {
    if !out[start..].iter().any(|byte| matches!(byte, b'"' | b'\\') || *byte < 0x20) {
        return;
    }
    let text = out.split_off(start);
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\t' => out.extend(b"\\t"),
            byte if byte < 0x20 => out.extend(format!("\\u{byte:04x}").into_bytes()),
            byte => out.push(byte),
        }
    }
}
