//! How far a tail is: of each partition the offset behind the last record it has seen. As a text it
//! is the id of an event, and what a client sends back to go on there.

use std::collections::BTreeMap;
use std::fmt;

use model::partition::{Offset, PartitionId, RecordId};
use model::query::{Bound, FieldTest, Filter, Literal};

/// Partitions that one text may name.
const PARTITIONS_MAX: usize = 4_096;

/// A place in all partitions. One that is not named stands at its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TailPlace(BTreeMap<PartitionId, Offset>);

impl fmt::Display for TailPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, offset)) in self.0.iter().enumerate() {
            let id = RecordId { partition: *partition, offset: *offset };
            write!(f, "{}{id}", if at > 0 { "." } else { "" })?;
        }
        if self.0.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

impl TailPlace {
    /// Reads what is displayed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::default());
        }
        let mut place = Self::default();
        for part in text.split('.') {
            let RecordId { partition, offset } = RecordId::parse(part)?;
            let named_before = place.0.insert(partition, offset).is_some();
            if named_before || place.0.len() > PARTITIONS_MAX {
                return None;
            }
        }
        Some(place)
    }

    /// The place at these ends.
    pub(crate) fn at(ends: impl IntoIterator<Item = (PartitionId, Offset)>) -> Self {
        Self(ends.into_iter().collect())
    }

    pub(crate) fn of(&self, partition: PartitionId) -> Offset {
        self.0.get(&partition).copied().unwrap_or(Offset(0))
    }

    /// Goes on to an offset of a partition; never back.
    pub(crate) fn advance(&mut self, partition: PartitionId, to: Offset) {
        let at = self.0.entry(partition).or_insert(to);
        *at = (*at).max(to);
    }

    /// Goes on to another place.
    pub(crate) fn advance_to(&mut self, other: &Self) {
        other.0.iter().for_each(|(partition, to)| self.advance(*partition, *to));
    }

    /// The place from here towards another one, by so many offsets of a partition at most.
    pub(crate) fn step(&self, to: &Self, most: u64) -> Self {
        let near = |(partition, to): (&PartitionId, &Offset)| {
            let far = Offset(self.of(*partition).0.saturating_add(most));
            (*partition, far.min(*to))
        };
        Self(to.0.iter().map(near).collect())
    }

    /// The records from here to another place; `None` when there can be none.
    pub(crate) fn records_to(&self, to: &Self) -> Option<Filter> {
        let stretch = |(partition, end): (&PartitionId, &Offset)| {
            let from = self.of(*partition);
            let at = |offset: Offset| {
                Literal::Text(RecordId { partition: *partition, offset }.to_string())
            };
            let from_to = || FieldTest::Between {
                from: Bound::Inclusive(at(from)),
                to: Bound::Exclusive(at(*end)),
            };
            (from < *end).then(|| Filter::Field { name: "id".to_owned(), test: from_to() })
        };
        let stretches: Vec<Filter> = to.0.iter().filter_map(stretch).collect();
        (!stretches.is_empty()).then_some(Filter::Or(stretches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[(u32, u64)]>) {
        let place = |ends: &[(u32, u64)]| {
            TailPlace::at(ends.iter().map(|(p, o)| (PartitionId(*p), Offset(*o))))
        };
        assert_eq!(TailPlace::parse(text), expected.map(place), "{text}");
        if let Some(expected) = expected {
            assert_eq!(place(expected).to_string(), text);
        }
    }

    #[test]
    fn a_place_reads_what_it_shows() {
        check("-", Some(&[]));
        check("0-1f", Some(&[(0, 31)]));
        check("0-0.a-ffffffffffffffff", Some(&[(0, 0), (10, u64::MAX)]));
        check("", None);
        check("0-1.0-2", None);
        check("0-1.", None);
        check("next", None);
    }

    #[test]
    fn steps_end_where_they_should() {
        let from = TailPlace::parse("0-2.1-5").unwrap();
        let to = TailPlace::parse("0-64.1-6.2-3").unwrap();
        assert_eq!(from.step(&to, 4).to_string(), "0-6.1-6.2-3");
        assert!(to.records_to(&from).is_none());
        let mut place = from.clone();
        place.advance_to(&from.step(&to, 4));
        assert_eq!(place.to_string(), "0-6.1-6.2-3");
    }
}
