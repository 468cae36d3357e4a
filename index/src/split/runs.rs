//! Sorted runs of tokens with the units that have them: what a gatherer puts aside when its tables
//! are full, and joins in the end.

use std::io;

use super::coding::{Reader, malformed, put, put_bytes, shared};

/// A run while it is written: tokens in order, each with its units, front-coded.
#[derive(Default)]
pub(super) struct RunWriter {
    out: Vec<u8>,
    last: Vec<u8>,
}

impl RunWriter {
    /// Adds the next token; its units ascend.
    pub(super) fn add(&mut self, token: &[u8], units: &[u32]) {
        let shared = shared(&self.last, token);
        let own = token.get(shared..).unwrap_or_default();
        put(&mut self.out, shared as u64);
        put_bytes(&mut self.out, own);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        put(&mut self.out, units.len() as u64);
        let mut before = 0;
        for unit in units {
            put(&mut self.out, u64::from(unit - before));
            before = *unit;
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// The next token of a run.
struct Head<'a> {
    rest: Reader<'a>,
    token: Vec<u8>,
}

impl Head<'_> {
    /// Goes to the next token, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let shared = usize::try_from(self.rest.number()?).map_err(|_| malformed())?;
        self.token.truncate(shared);
        self.token.extend_from_slice(self.rest.bytes()?);
        Ok(true)
    }

    fn units(&mut self, units: &mut Vec<u32>) -> io::Result<()> {
        let mut unit = 0_u32;
        for _ in 0..self.rest.number()? {
            unit = unit.checked_add(self.rest.small()?).ok_or_else(malformed)?;
            units.push(unit);
        }
        Ok(())
    }
}

/// Calls `each` with every token of the runs in order, with its units in order. The units of a run
/// are before those of the next.
pub(super) fn join<E: From<io::Error>>(
    runs: &[Vec<u8>],
    mut each: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut heads = Vec::with_capacity(runs.len());
    for run in runs {
        let mut head = Head { rest: Reader(run), token: Vec::new() };
        if head.advance()? {
            heads.push(head);
        }
    }
    let (mut token, mut units) = (Vec::new(), Vec::new());
    while let Some(least) = heads.iter().map(|head| head.token.as_slice()).min() {
        token.clear();
        token.extend_from_slice(least);
        units.clear();
        let mut ended = false;
        for head in heads.iter_mut().filter(|head| head.token == token) {
            head.units(&mut units)?;
            if !head.advance()? {
                head.token.clear();
                ended = true;
            }
        }
        if ended {
            heads.retain(|head| !head.token.is_empty());
        }
        each(&token, &units)?;
    }
    Ok(())
}
