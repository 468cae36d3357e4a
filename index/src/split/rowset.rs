//! Sets of a split's rows as ascending ranges: what the indexes give, and the algebra of filters.

use std::ops::Range;

/// Rows of a split: ascending ranges that neither touch nor overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RowSet(Vec<Range<u32>>);

impl RowSet {
    /// The rows `0..count`.
    pub(crate) fn all(count: u32) -> Self {
        Self::from_sorted(std::iter::once(0..count))
    }

    /// Ranges that begin in ascending order; they may touch and overlap.
    pub(crate) fn from_sorted(ranges: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut set: Vec<Range<u32>> = Vec::new();
        for range in ranges.into_iter().filter(|range| range.start < range.end) {
            match set.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => set.push(range),
            }
        }
        Self(set)
    }

    /// The ranges, ascending.
    pub(crate) fn ranges(&self) -> &[Range<u32>] {
        &self.0
    }

    /// How many rows.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|range| (range.end - range.start) as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows, ascending.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().cloned().flatten()
    }

    /// Rows of one or the other.
    pub(crate) fn or(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        Self::from_sorted(std::iter::from_fn(|| {
            let first = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if b.start < a.start => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            first.cloned()
        }))
    }

    /// Rows of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
            let range = left.start.max(right.start)..left.end.min(right.end);
            if range.start < range.end {
                both.push(range);
            }
            if left.end < right.end {
                a.next();
            } else {
                b.next();
            }
        }
        Self(both)
    }

    /// Rows that are not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut holes = other.0.iter().peekable();
        let mut left = Vec::new();
        for range in &self.0 {
            let mut start = range.start;
            while let Some(hole) = holes.peek() {
                if hole.end <= start {
                    holes.next();
                    continue;
                }
                if hole.start >= range.end {
                    break;
                }
                if hole.start > start {
                    left.push(start..hole.start);
                }
                start = hole.end;
                if hole.end < range.end {
                    holes.next();
                } else {
                    break;
                }
            }
            if start < range.end {
                left.push(start..range.end);
            }
        }
        Self(left)
    }

    /// Of ascending row numbers, whether each is in the set.
    pub(crate) fn contains_each(&self, rows: &[u32]) -> arrow::buffer::BooleanBuffer {
        let mut ranges = self.0.iter().peekable();
        arrow::buffer::BooleanBuffer::collect_bool(rows.len(), |at| {
            let Some(row) = rows.get(at) else { return false };
            while ranges.next_if(|range| range.end <= *row).is_some() {}
            ranges.peek().is_some_and(|range| range.start <= *row)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn set() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0_u32..60, 0..40)
    }

    fn made(rows: &BTreeSet<u32>) -> RowSet {
        RowSet::from_sorted(rows.iter().map(|row| *row..row + 1))
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(a in set(), b in set()) {
            let (x, y) = (made(&a), made(&b));
            let rows = |set: &RowSet| set.rows().collect::<BTreeSet<_>>();
            prop_assert_eq!(rows(&x.or(&y)), &a | &b);
            prop_assert_eq!(rows(&x.and(&y)), &a & &b);
            prop_assert_eq!(rows(&x.without(&y)), &a - &b);
            prop_assert_eq!(x.count(), a.len());
            let asked: Vec<u32> = b.iter().copied().collect();
            let bits = x.contains_each(&asked);
            for (at, row) in asked.iter().enumerate() {
                prop_assert_eq!(bits.value(at), a.contains(row));
            }
            // Ranges neither touch nor overlap.
            for set in [x.or(&y), x.and(&y), x.without(&y)] {
                prop_assert!(set.ranges().windows(2).all(|two| two[0].end < two[1].start));
            }
        }
    }
}
