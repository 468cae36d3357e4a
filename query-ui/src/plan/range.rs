//! The times of a question: what its query says, what its conditions leave, where a page begins.

use index::searcher::Unit;
use model::partition::RecordId;
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use model::time::{TimeRange, Timestamp};

use super::Question;
use super::lower::Reading;
use crate::language::{Query, TimeWords};

/// A place among records, newest first: the next page begins behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The time of the last record before it.
    pub time: Timestamp,
    /// That record.
    pub id: RecordId,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RecordId { partition, offset } = self.id;
        write!(f, "{:x}.{:x}.{:x}", self.time.0.cast_unsigned(), partition.0, offset.0)
    }
}

impl Cursor {
    /// Reads what is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('.')?;
        let time = Timestamp(u64::from_str_radix(time, 16).ok()?.cast_signed());
        Some(Self { time, id: RecordId::parse(&id.replacen('.', "-", 1))? })
    }

    /// The condition on the records behind it, which are the earlier ones.
    pub(crate) fn earlier(&self) -> Filter {
        let field = |name: &str, test| Filter::Field { name: name.to_owned(), test };
        let below = |text: String| FieldTest::Between {
            from: Bound::Open,
            to: Bound::Exclusive(Literal::Text(text)),
        };
        let at = Bound::Inclusive(Literal::Text(self.time.to_string()));
        let same = FieldTest::Between { from: at.clone(), to: at };
        Filter::Or(vec![
            field("timestamp", below(self.time.to_string())),
            Filter::And(vec![field("timestamp", same), field("id", below(self.id.to_string()))]),
        ])
    }
}

impl Question {
    /// The same question for the records behind a place.
    #[must_use]
    pub fn behind(mut self, cursor: &Cursor) -> Self {
        let end = Timestamp(cursor.time.0.saturating_add(1));
        self.range.to = self.range.to.min(end);
        let parts = match self.query.filter {
            Filter::All => vec![cursor.earlier()],
            filter => vec![filter, cursor.earlier()],
        };
        self.query.filter = Filter::And(parts);
        self
    }

    /// The range of a query inside of this one: what it says itself, or the same.
    pub(super) fn range_of(&self, query: &Query, now: Timestamp) -> TimeRange {
        query.time.map_or(self.range, |time| time.resolve(now))
    }
}

impl TimeWords {
    /// The range, for a query that is asked now.
    #[must_use]
    pub fn resolve(self, now: Timestamp) -> TimeRange {
        TimeRange {
            from: self.from.map_or(Timestamp::MIN, |from| from.resolve(now)),
            to: self.to.map_or(Timestamp::MAX, |to| to.resolve(now)),
        }
    }
}

impl Reading {
    /// The same of a part of the range.
    pub(super) fn within(&self, range: TimeRange) -> Self {
        let reaches = |unit: &&Unit| unit.overlaps(&range);
        let units = self.units.iter().filter(reaches).cloned().collect();
        Self { units, types: self.types.clone(), range }
    }

    /// The range without open ends: those of what is stored.
    pub(super) fn span(&self) -> TimeRange {
        let first = self.units.iter().map(Unit::time_first).min();
        let last = self.units.iter().map(Unit::time_last).max();
        let last = last.map(|last| last.saturating_add(1));
        let TimeRange { from, to } = self.range;
        let open = |moment: Timestamp, end: Timestamp, stored: Option<i64>| match stored {
            Some(stored) if moment == end => Timestamp(stored),
            _ => moment,
        };
        TimeRange { from: open(from, Timestamp::MIN, first), to: open(to, Timestamp::MAX, last) }
    }
}

/// The part of a range that a filter's conditions on the timestamp leave.
pub(super) fn narrowed(range: TimeRange, filter: &Filter) -> TimeRange {
    match filter {
        Filter::And(parts) => parts.iter().fold(range, narrowed),
        Filter::Field { name, test: FieldTest::Between { from, to } } if name == "timestamp" => {
            let moment = |literal: &Literal| match literal {
                Literal::Text(text) => Timestamp::parse(text),
                _ => None,
            };
            let first = match from {
                Bound::Inclusive(literal) | Bound::Exclusive(literal) => moment(literal),
                Bound::Open => None,
            };
            let end = match to {
                Bound::Inclusive(literal) | Bound::Exclusive(literal) => {
                    moment(literal).map(|last| Timestamp(last.0.saturating_add(1)))
                }
                Bound::Open => None,
            };
            TimeRange {
                from: first.map_or(range.from, |first| range.from.max(first)),
                to: end.map_or(range.to, |end| range.to.min(end)),
            }
        }
        _ => range,
    }
}

/// Whether a unit may hold records with the ids that a filter asks for.
pub(super) fn may_hold(filter: &Filter, unit: &Unit) -> bool {
    match filter {
        Filter::And(parts) => parts.iter().all(|part| may_hold(part, unit)),
        Filter::Or(parts) => parts.iter().any(|part| may_hold(part, unit)),
        Filter::Field { name, test } if name == "id" => {
            let (first, last) = unit.ids();
            match test {
                FieldTest::Between { from, to } => {
                    id_of(from).is_none_or(|from| from <= last)
                        && id_of(to).is_none_or(|to| first <= to)
                }
                FieldTest::Matches(TextMatch::Phrase(text)) => {
                    RecordId::parse(text).is_none_or(|id| first <= id && id <= last)
                }
                _ => true,
            }
        }
        _ => true,
    }
}

/// The id that a bound names; `None` where it is open or names none.
fn id_of(bound: &Bound) -> Option<RecordId> {
    match bound {
        Bound::Inclusive(Literal::Text(text)) | Bound::Exclusive(Literal::Text(text)) => {
            RecordId::parse(text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;

    #[track_caller]
    fn check(query: &str, from: &str, to: &str) {
        let range = narrowed(TimeRange::ALL, &parse(query).unwrap().filter);
        let shown = |moment: Timestamp| match moment {
            Timestamp::MIN | Timestamp::MAX => String::new(),
            moment => moment.to_string(),
        };
        assert_eq!((shown(range.from).as_str(), shown(range.to).as_str()), (from, to), "{query}");
    }

    #[test]
    fn conditions_on_the_timestamp_prune() {
        check("timestamp>=2026-01-01 error", "2026-01-01T00:00:00.000000000Z", "");
        check("error timestamp<2026-01-01", "", "2026-01-01T00:00:00.000000001Z");
        check("error OR timestamp<2026-01-01", "", "");
        check("NOT timestamp<2026-01-01", "", "");
        check(
            "timestamp:(>=2026-01-01 <2026-01-01)",
            "2026-01-01T00:00:00.000000000Z",
            "2026-01-01T00:00:00.000000001Z",
        );
    }

    #[test]
    fn a_cursor_reads_what_it_shows() {
        let id = RecordId::parse("a-1f").unwrap();
        for time in [Timestamp::MIN, Timestamp(-1), Timestamp(7)] {
            let cursor = Cursor { time, id };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        assert_eq!(Cursor::parse("1.2"), None);
        assert_eq!(Cursor::parse("1.2.3.4"), None);
    }
}
