//! A range in slices of not too many records, newest first: what is to be given out as a whole in order of
//! time is sorted slice by slice, so that it begins at once and may be of any size.

use std::collections::BTreeMap;

use index::searcher::Unit;
use model::time::{TimeRange, Timestamp};

/// The slices of a range, newest first; together they are the range. Records are taken to be spread
/// evenly over the time of their unit. Each slice opens all units that reach into it.
pub(super) fn slices(units: &[Unit], range: TimeRange, rows_max: u32) -> Vec<TimeRange> {
    let spans = units.iter().map(|unit| {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rows = unit.row_count() as f64;
        (unit.time_first(), unit.time_last(), rows)
    });
    sliced(spans, range, f64::from(rows_max))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "where a slice ends exactly does not matter"
)]
fn sliced(
    spans: impl Iterator<Item = (i64, i64, f64)>,
    range: TimeRange,
    rows_max: f64,
) -> Vec<TimeRange> {
    // By how much there are more records a nanosecond below a moment than above it.
    let mut turns: BTreeMap<i64, f64> = BTreeMap::new();
    for (first, last, rows) in spans {
        let end = last.saturating_add(1);
        let density = rows / (end as f64 - first as f64).max(1.0);
        *turns.entry(end).or_default() += density;
        *turns.entry(first).or_default() -= density;
    }
    let (mut slices, mut to) = (Vec::new(), range.to);
    let (mut rows, mut density, mut above) = (0.0, 0.0_f64, None);
    for (moment, more) in turns.into_iter().rev() {
        let mut end: i64 = above.unwrap_or(moment).min(range.to.0);
        let start = moment.max(range.from.0);
        while end > start && density > 0.0 {
            let here = density * (end as f64 - start as f64);
            if rows + here <= rows_max {
                rows += here;
                break;
            }
            let length = (((rows_max - rows) / density) as i64).max(1);
            let cut = end.saturating_sub(length).max(start);
            if cut > range.from.0 {
                slices.push(TimeRange { from: Timestamp(cut), to });
                to = Timestamp(cut);
            }
            (rows, end) = (0.0, cut);
        }
        density += more;
        above = Some(moment);
    }
    slices.push(TimeRange { from: range.from, to });
    slices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_are_the_range_and_none_has_many_more_records_than_it_may(
            spans in prop::collection::vec((0_i64..1_000, 0_i64..500, 1_u32..2_000), 0..12),
            from in prop::option::of(0_i64..600),
            to in prop::option::of(600_i64..1_600),
        ) {
            let range = TimeRange {
                from: from.map_or(Timestamp::MIN, Timestamp),
                to: to.map_or(Timestamp::MAX, Timestamp),
            };
            let spans: Vec<(i64, i64, f64)> = spans
                .into_iter()
                .map(|(first, length, rows)| (first, first + length, f64::from(rows)))
                .collect();
            let most = 700.0;
            let slices = sliced(spans.iter().copied(), range, most);
            prop_assert_eq!(slices.first().unwrap().to, range.to);
            prop_assert_eq!(slices.last().unwrap().from, range.from);
            for (newer, older) in slices.iter().zip(slices.iter().skip(1)) {
                prop_assert_eq!(newer.from, older.to);
                prop_assert!(newer.from < newer.to);
            }
            // Of one nanosecond there may be more.
            let peak = |at: i64| -> f64 {
                let there = spans.iter().filter(|(first, last, _)| (*first..=*last).contains(&at));
                there.map(|(first, last, rows)| rows / (last - first + 1) as f64).sum()
            };
            for slice in &slices {
                let inside = |at: &i64| slice.contains(Timestamp(*at));
                let all: Vec<f64> = (0..1_600).filter(inside).map(peak).collect();
                let sum: f64 = all.iter().sum();
                let one = all.iter().copied().fold(0.0, f64::max);
                prop_assert!(sum <= most + one + 1.0, "{} in {:?}", sum, slice);
            }
        }
    }
}
