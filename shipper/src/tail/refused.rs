//! A batch that is refused: cut smaller, down to the one record that is the cause. That one is tried as it is
//! for a while, for who refuses it may be set right; then as much of it is sent as gets through, so that it
//! holds up nobody for ever.

use std::time::Duration;

use model::limits::BATCH_RECORDS_MAX;

use super::context::Context;
use super::step::{Hand, Outcome, Turn};
use crate::pack::{Packed, Width};
use crate::send::Patience;

/// What a file keeps of refusals between turns.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) width: Width,
    /// Up to here the narrow width holds.
    narrow_to: u64,
    /// Up to here somebody before the nodes refused a batch.
    turned_away_to: u64,
    stuck: Option<Stuck>,
}

/// Records of it did not get through.
#[derive(Debug)]
struct Stuck {
    since: Duration,
    /// Bytes of the smallest batch that was refused with all of a record.
    bytes: usize,
    /// Where the last such record is.
    from: u64,
    /// Requests that nodes had taken when it was first refused.
    taken_count: u64,
}

impl Refusals {
    /// A batch was taken: the next one is wider.
    pub(super) fn over(&mut self, packed: &Packed) {
        // Where one as large gets through, the next large record is waited for again.
        let as_large = self.stuck.as_ref().is_some_and(|it| it.bytes <= packed.bytes.len());
        if as_large && !self.width.cuts() {
            self.stuck = None;
        }
        let records_max = self.width.records_max.saturating_mul(2).min(BATCH_RECORDS_MAX);
        self.width = match packed.to < self.narrow_to {
            true => Width { records_max, poison: None },
            false => Width::default(),
        };
    }

    fn narrowed(&mut self, packed: &Packed, width: Width) {
        self.narrow_to = self.narrow_to.max(packed.to);
        self.width = width;
    }
}

/// How long a batch of a file is tried that somebody before the nodes refuses.
pub(super) fn patience(context: &Context, hand: &Hand) -> Patience {
    let refusals = &hand.refusals;
    let turned_away = refusals.turned_away_to > hand.place.acknowledged;
    match turned_away || refusals.stuck.is_some() {
        true => Patience::Over,
        false => Patience::For(context.config.cut_after),
    }
}

/// A node does not take it: one record is tried as text before less of it is.
pub(super) fn by_node(context: &Context, turn: &mut Turn, packed: &Packed, why: &str) -> Outcome {
    match turn.hand.refusals.width.narrower(packed.record_count, why) {
        Some(width) => cut(turn, packed, width, why),
        None => shorten(context, turn, packed, (why, false)),
    }
}

/// Somebody before the nodes does not: what a record says is not the matter, but how much.
pub(super) fn by_others(
    context: &Context,
    turn: &mut Turn,
    packed: &Packed,
    (why, large): (&str, bool),
) -> Outcome {
    let refusals = &mut turn.hand.refusals;
    refusals.turned_away_to = refusals.turned_away_to.max(packed.to);
    match refusals.width.halved(packed.record_count) {
        Some(width) => cut(turn, packed, width, why),
        None => shorten(context, turn, packed, (why, large)),
    }
}

fn cut(turn: &mut Turn, packed: &Packed, width: Width, why: &str) -> Outcome {
    tracing::debug!(file = %turn.path.display(), why, records = packed.record_count,
        "batch refused, cutting it smaller");
    turn.hand.refusals.narrowed(packed, width);
    Outcome::Again
}

/// The one record is refused: waits, then sends less of it. Unless it is said that it is too large, others
/// must have got through meanwhile: else it may be all that is refused, whatever it is.
fn shorten(
    context: &Context,
    turn: &mut Turn,
    packed: &Packed,
    (why, large): (&str, bool),
) -> Outcome {
    let (now, wait, from) = (context.clock.elapsed(), context.config.cut_after, packed.from);
    let (bytes, taken_count) = (packed.bytes.len(), context.target.taken_count());
    let (refusals, file) = (&mut turn.hand.refusals, turn.path.display());
    let stuck = refusals.stuck.get_or_insert(Stuck { since: now, bytes, from, taken_count });
    if stuck.from != from {
        (stuck.from, stuck.taken_count) = (from, taken_count);
        // One that was too large is followed by others; of what else is wrong nothing follows for the next.
        stuck.since = if large { stuck.since } else { now };
    }
    let cuts = refusals.width.cuts();
    if !cuts {
        stuck.bytes = stuck.bytes.min(bytes);
    }
    let sure = large || cuts || taken_count > stuck.taken_count;
    if !sure || now.saturating_sub(stuck.since) < wait {
        let wait_s = wait.as_secs();
        return Outcome::Failed(format!(
            "{file}: the record at byte {from} is refused, and is tried as it is for {wait_s} seconds \
             (cut_after_s) before less of it is sent: {why}"
        ));
    }
    if let Some(width) = refusals.width.shortened(packed.to - from, why) {
        if !cuts {
            tracing::warn!(%file, from, why, "a record is refused: as much of it is sent as gets through");
        }
        refusals.narrowed(packed, width);
        return Outcome::Again;
    }
    // Words in its place are refused as well: it is not this record. All of it is tried again.
    refusals.narrowed(packed, Width { records_max: 1, poison: None });
    refusals.stuck = None;
    Outcome::Failed(format!("{file}: all is refused, a few words in place of a record too: {why}"))
}
