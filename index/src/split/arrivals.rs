//! What timestamps tell of offsets: some known arrivals of a split, by which the offset of any row is guessed
//! from its timestamp. Drawn in docs/split.md.

use std::io;

use arrow::array::RecordBatch;

use super::coding::{Reader, put};
use crate::columns::{numbers, times};

/// Rows from one known arrival to the next.
const STEP: usize = 64;
/// Offsets of neighbours in time that are further apart are of two runs.
const LEAP_ROWS: u64 = 2 * STEP as u64;
/// Of so many known arrivals of splits one may begin a run: else their order by time tells little.
const LEAPS_SHARE: usize = 4;
/// Bits of a timestamp (nanoseconds) that a known arrival leaves out.
const COARSE_BITS: u32 = 12;

/// Known arrivals: offsets and timestamps, which ascend. Mostly offsets do so too: a timestamp is then the
/// latest one up to its offset. Where records came in a few runs, each in the order of its times but one
/// before the other (senders side by side, batches that overtake each other), the ends of runs are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arrivals(Vec<Arrival>);

/// An offset, and a timestamp without its last bits.
type Arrival = (u64, i64);

impl Arrivals {
    /// Of rows in the order of their offsets.
    pub(crate) fn of(parts: &[RecordBatch]) -> Self {
        let columns = |rows| numbers(rows, "offset").zip(times(rows, "timestamp")).into_iter();
        let rows = parts.iter().flat_map(columns).flat_map(|(offsets, times)| {
            offsets.values().iter().copied().zip(times.values().iter().copied())
        });
        Self::of_rows(rows)
    }

    /// Of offsets, ascending, and timestamps.
    pub(super) fn of_rows(rows: impl Iterator<Item = (u64, i64)> + Clone) -> Self {
        let rows = rows.map(|(offset, time)| (offset, time >> COARSE_BITS));
        if !rows.clone().is_sorted_by_key(|(_, time)| time)
            && let Some(runs) = Self::of_runs(rows.clone().collect())
        {
            return runs;
        }
        let mut latest = i64::MIN;
        let known = rows.map(|(offset, time)| {
            latest = latest.max(time);
            (offset, latest)
        });
        Self(known.step_by(STEP).collect())
    }

    /// Of rows in the order of their timestamps, with the ends of runs; `None` where these are many.
    fn of_runs(mut rows: Vec<Arrival>) -> Option<Self> {
        // Mostly a few sorted runs: quick.
        rows.sort_by_key(|(_, time)| *time);
        if leaps(&rows) > rows.len() / STEP {
            return None;
        }
        let is_end = |pair: &[Arrival]| matches!(pair, [one, next] if is_leap(*one, *next));
        let ends = || rows.windows(2).map(is_end);
        let (before, behind) = (ends().chain([false]), [false].into_iter().chain(ends()));
        let known = (0..).zip(before.zip(behind)).zip(&rows);
        let known = known.filter(|((row, (before, behind)), _)| {
            usize::is_multiple_of(*row, STEP) || *before || *behind
        });
        Some(Self(known.map(|(_, known)| *known).collect()))
    }

    /// Of splits of one partition, whose offsets differ.
    pub(crate) fn joined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut known: Vec<Arrival> = all.into_iter().flat_map(|one| one.0.clone()).collect();
        known.sort_unstable();
        if !known.is_sorted_by_key(|(_, time)| *time) {
            let mut by_time = known.clone();
            by_time.sort_by_key(|(_, time)| *time);
            if leaps(&by_time) <= known.len() / LEAPS_SHARE {
                return Self(by_time);
            }
        }
        let mut latest = i64::MIN;
        for (_, time) in &mut known {
            latest = latest.max(*time);
            *time = latest;
        }
        Self(known)
    }

    /// The offset that a record of this timestamp has, about. `near` is where the last one was
    /// found: neighbours are near each other.
    pub(super) fn guess(&self, time: i64, near: &mut usize) -> u64 {
        let (known, time) = (self.0.as_slice(), time >> COARSE_BITS);
        let is_before = |at: usize| known.get(at).is_some_and(|(_, other)| *other <= time);
        let (mut low, mut high) = (0, known.len());
        if is_before(*near) {
            low = *near;
            let mut step = 1;
            while is_before(low + step) {
                low += step;
                step *= 2;
            }
            high = (low + step).min(known.len());
        }
        let between = known.get(low..high).unwrap_or_default();
        let after = low + between.partition_point(|(_, other)| *other <= time);
        *near = after.saturating_sub(1);
        let left = after.checked_sub(1).and_then(|at| known.get(at));
        match (left, known.get(after)) {
            (Some((offset, start)), Some((next, end))) => {
                let (gap, length) = (next.abs_diff(*offset), end.abs_diff(*start).max(1));
                offset.saturating_add(share(gap, time.abs_diff(*start), length))
            }
            (Some((offset, _)), None) | (None, Some((offset, _))) => *offset,
            (None, None) => 0,
        }
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        let (mut offset, mut time) = (0, 0_i64);
        for known in &self.0 {
            put(&mut out, known.0.wrapping_sub(offset));
            super::coding::put_signed(&mut out, known.1.wrapping_sub(time));
            (offset, time) = *known;
        }
        out
    }

    /// Undoes [`Arrivals::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let mut known = Vec::new();
        let (mut offset, mut time) = (0_u64, 0_i64);
        for _ in 0..count {
            offset = offset.wrapping_add(reader.number()?);
            time = time.wrapping_add(reader.signed()?);
            known.push((offset, time));
        }
        Ok(Self(known))
    }
}

/// Whether an offset and the next one in time are not of one run.
fn is_leap((one, _): Arrival, (next, _): Arrival) -> bool {
    one.abs_diff(next) > LEAP_ROWS
}

/// How many runs begin behind the first one.
fn leaps(rows: &[Arrival]) -> usize {
    rows.windows(2).filter(|pair| matches!(pair, [one, next] if is_leap(*one, *next))).count()
}

/// The part of a gap that lies before a moment; nothing where it is too large.
fn share(gap: u64, part: u64, whole: u64) -> u64 {
    match gap.checked_mul(part) {
        Some(product) => product / whole,
        // Seldom, and dear.
        None => {
            let share = u128::from(gap) * u128::from(part) / u128::from(whole);
            u64::try_from(share).unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::offsets::Writer;
    use super::*;

    proptest! {
        #[test]
        fn a_share_is_that_of_exact_numbers(
            gap: u64, part: u64, whole in 1_u64.., bits in 0_u32..64,
        ) {
            for (gap, part) in [(gap, part), (gap >> bits, part >> (63 - bits))] {
                let exact = u128::from(gap) * u128::from(part) / u128::from(whole);
                prop_assert_eq!(share(gap, part, whole), u64::try_from(exact).unwrap_or(0));
            }
        }
    }

    /// Bytes that the offsets of rows take.
    fn bytes(arrivals: &Arrivals, rows: &[(u64, i64)]) -> usize {
        let mut writer = Writer::new(arrivals);
        rows.iter().for_each(|(offset, time)| writer.add(*offset, *time));
        writer.finish().0.len()
    }

    /// Records, one each three milliseconds, but that batches of 1,000 overtook each other.
    fn overtaken(count: u64) -> Vec<(u64, i64)> {
        let in_order = (0..count).map(|n| (n, i64::try_from(n).unwrap() * 3_000_000));
        let moved = |(n, time): (u64, i64)| match n / 1_000 % 4 {
            0 => (n + 1_000, time),
            1 => (n - 1_000, time),
            _ => (n, time),
        };
        let mut rows: Vec<(u64, i64)> = in_order.map(moved).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn batches_that_overtook_each_other_cost_little() {
        let arrivals = |rows: &[(u64, i64)]| Arrivals::of_rows(rows.iter().copied());
        let rows = overtaken(40_000);
        let (one, other) = rows.split_at(20_000);
        // What is merged knows as much.
        let joined = Arrivals::joined([&arrivals(other), &arrivals(one)]);
        for known in [arrivals(&rows), joined.clone()] {
            let bits = bytes(&known, &rows) * 8 / rows.len();
            assert!(bits < 4, "{bits} bits a row");
        }
        assert_eq!(Arrivals::decode(&joined.encode()).unwrap(), joined);
    }

    #[test]
    fn rows_of_many_senders_are_known_in_the_order_they_came_in() {
        // Each second two senders give a batch of its records, one behind the other.
        let second = |n: u64| (n, i64::try_from(n / 1_000 * 1_000 + n % 500 * 2).unwrap() << 20);
        let rows: Vec<(u64, i64)> = (0..20_000).map(second).collect();
        let arrivals = Arrivals::of_rows(rows.iter().copied());
        assert_eq!(arrivals.0.len(), rows.len().div_ceil(STEP));
        assert!(arrivals.0.is_sorted());
        assert!(arrivals.0.is_sorted_by_key(|(_, time)| *time));
    }
}
