//! Which rows pass a filter: exact, on Arrow columns, the same for fresh records and splits.

mod test;
mod levels;
mod extent;

use arrow::array::{Array as _, BooleanBufferBuilder, DictionaryArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use model::level::Level;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::{FieldTest, Filter};
use model::record::FieldType;
use model::stream::{IndexName, Labels, StreamId};
use model::time::{TimeRange, Timestamp};

pub(crate) use self::extent::{Extent, ExtentTest, Passing};
pub use self::levels::levels_passing;
use self::test::Test;
use crate::columns::{Values, numbers, times};
use crate::matcher::Matcher;
use crate::rest;
use crate::schema::{FieldColumnId, REST, STREAM};
use crate::split::RowSet;

/// A filter ready to be asked many times.
#[derive(Debug)]
pub struct Evaluator {
    node: Node,
    range: TimeRange,
}

/// Where rows are from; values that all rows of a unit share.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Their partition.
    pub partition: PartitionId,
    /// Their index.
    pub index: &'a str,
}

#[derive(Debug)]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Text(Matcher),
    /// An index knows the answer.
    Known(RowSet),
    Field {
        name: String,
        test: Test,
        /// What the test was made of: it knows which names it covers.
        asked: FieldTest,
    },
}

impl Evaluator {
    /// Prepares a filter over a time range.
    #[must_use]
    pub fn new(filter: &Filter, range: TimeRange) -> Self {
        Self::with_known(filter, range, &mut |_| None)
    }

    /// Prepares a filter of which the answers to some parts are known, by row number. `known` is
    /// asked for every part, in order, outer ones first.
    pub(crate) fn with_known(
        filter: &Filter,
        range: TimeRange,
        known: &mut dyn FnMut(&Filter) -> Option<RowSet>,
    ) -> Self {
        Self { node: Node::new(filter, known), range }
    }

    /// Of the rows `0..count` those that pass, whatever their time, when all is known.
    pub(crate) fn known_rows(&self, count: u32) -> Option<RowSet> {
        self.node.known_rows(&RowSet::all(count))
    }

    /// A bit for every row: whether it passes.
    #[must_use]
    pub fn rows(&self, rows: &RecordBatch, place: Place<'_>) -> BooleanBuffer {
        self.numbered_rows(rows, place, &[])
    }

    /// The same for rows with these numbers, by which known answers are looked up.
    pub(crate) fn numbered_rows(
        &self,
        rows: &RecordBatch,
        place: Place<'_>,
        numbers: &[u32],
    ) -> BooleanBuffer {
        let Some(timestamps) = times(rows, "timestamp") else {
            return BooleanBuffer::new_unset(rows.num_rows());
        };
        let inside = BooleanBuffer::collect_bool(rows.num_rows(), |row| {
            self.range.contains(Timestamp(timestamps.value(row)))
        });
        self.node.rows(&Unit { rows, place, numbers }, &inside)
    }

    /// The same for rows that are known to be in the range: their times need not be there.
    pub(crate) fn timely_rows(
        &self,
        rows: &RecordBatch,
        place: Place<'_>,
        numbers: &[u32],
    ) -> BooleanBuffer {
        let inside = BooleanBuffer::new_set(rows.num_rows());
        self.node.rows(&Unit { rows, place, numbers }, &inside)
    }
}

struct Unit<'a> {
    rows: &'a RecordBatch,
    place: Place<'a>,
    numbers: &'a [u32],
}

impl Node {
    fn new(filter: &Filter, known: &mut dyn FnMut(&Filter) -> Option<RowSet>) -> Self {
        if let Some(rows) = known(filter) {
            return Self::Known(rows);
        }
        match filter {
            Filter::All => Self::All,
            Filter::And(parts) => {
                Self::And(parts.iter().map(|part| Self::new(part, known)).collect())
            }
            Filter::Or(parts) => {
                Self::Or(parts.iter().map(|part| Self::new(part, known)).collect())
            }
            Filter::Not(part) => Self::Not(Box::new(Self::new(part, known))),
            Filter::Text(text) => Self::Text(Matcher::new(text)),
            Filter::Field { name, test } => {
                let (name, asked) = (name.clone(), test.clone());
                Self::Field { test: Test::new(&name, test), name, asked }
            }
        }
    }

    /// The rows that pass, when all is known.
    fn known_rows(&self, all: &RowSet) -> Option<RowSet> {
        match self {
            Self::All => Some(all.clone()),
            Self::Known(rows) => Some(rows.clone()),
            Self::And(parts) => parts
                .iter()
                .try_fold(all.clone(), |both, part| Some(both.and(&part.known_rows(all)?))),
            Self::Or(parts) => parts
                .iter()
                .try_fold(RowSet::default(), |any, part| Some(any.or(&part.known_rows(all)?))),
            Self::Not(part) => Some(all.without(&part.known_rows(all)?)),
            Self::Text(_) | Self::Field { .. } => None,
        }
    }

    /// Of the candidates, those that pass.
    fn rows(&self, unit: &Unit<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
        if candidates.count_set_bits() == 0 {
            return candidates.clone();
        }
        match self {
            Self::All => candidates.clone(),
            Self::Known(rows) => candidates & &rows.contains_each(unit.numbers),
            Self::And(parts) => {
                parts.iter().fold(candidates.clone(), |left, part| part.rows(unit, &left))
            }
            Self::Or(parts) => {
                let none = BooleanBuffer::new_unset(candidates.len());
                parts.iter().fold(none, |found, part| {
                    let left = candidates & &!&found;
                    &found | &part.rows(unit, &left)
                })
            }
            Self::Not(part) => candidates & &!&part.rows(unit, candidates),
            Self::Text(matcher) => unit.any_text(matcher, candidates),
            Self::Field { name, test, asked } => unit.field(name, test, asked, candidates),
        }
    }
}

/// The candidates for which the test holds.
fn keep(candidates: &BooleanBuffer, mut test: impl FnMut(usize) -> bool) -> BooleanBuffer {
    let mut kept = BooleanBufferBuilder::new(candidates.len());
    kept.append_n(candidates.len(), false);
    for row in candidates.set_indices() {
        if test(row) {
            kept.set_bit(row, true);
        }
    }
    kept.finish()
}

impl Unit<'_> {
    /// The message, or any field's value. Labels are asked by name only.
    fn any_text(&self, matcher: &Matcher, candidates: &BooleanBuffer) -> BooleanBuffer {
        let schema = self.rows.schema();
        let mut found = BooleanBuffer::new_unset(candidates.len());
        for (field, column) in schema.fields().iter().zip(self.rows.columns()) {
            let kind = match FieldColumnId::of(field) {
                Some(id) => id.kind,
                None => (field.name() == "message").then_some(FieldType::Text),
            };
            let may_match = kind.is_some_and(|kind| matcher.may_match(kind));
            if may_match && column.null_count() < column.len() {
                let left = candidates & &!&found;
                found = &found | &texts(matcher, &Values::of(column), &left);
            }
        }
        let rest = Values::named(self.rows, REST);
        let left = candidates & &!&found;
        let in_rest = keep(&left, |row| {
            let text = rest.text(row);
            let values = text.as_deref().map(rest::values).unwrap_or_default();
            values.iter().any(|(_, value)| matcher.matches(&value.to_text()))
        });
        &found | &in_rest
    }

    fn field(
        &self,
        name: &str,
        test: &Test,
        asked: &FieldTest,
        candidates: &BooleanBuffer,
    ) -> BooleanBuffer {
        match name {
            "timestamp" | "ingest_time" => {
                let Some(times) = times(self.rows, name) else {
                    return BooleanBuffer::new_unset(candidates.len());
                };
                keep(candidates, |row| test.time(Timestamp(times.value(row))))
            }
            "level" => {
                let levels = Values::named(self.rows, "level");
                let passes =
                    |name: &str| test.level(Level::from_word(name).unwrap_or(Level::Unknown));
                match levels {
                    Values::Label(keys, names) => by_key(keys, names, candidates, passes),
                    _ => keep(candidates, |row| levels.text(row).is_some_and(|name| passes(&name))),
                }
            }
            "message" => {
                let messages = Values::named(self.rows, "message");
                match test {
                    Test::Exists => keep(candidates, |row| {
                        messages.text(row).is_some_and(|text| !text.is_empty())
                    }),
                    Test::Matches(matches) => texts(&matches.matcher, &messages, candidates),
                    Test::Between { .. } => keep(candidates, |row| {
                        messages.text(row).is_some_and(|text| test.text(&text))
                    }),
                }
            }
            "index" => keep(candidates, |_| test.text(self.place.index)),
            "id" => {
                let Some(offsets) = numbers(self.rows, "offset") else {
                    return BooleanBuffer::new_unset(candidates.len());
                };
                keep(candidates, |row| {
                    let offset = Offset(offsets.value(row));
                    test.id(RecordId { partition: self.place.partition, offset })
                })
            }
            STREAM => keep(candidates, |row| {
                self.stream(row).is_some_and(|stream| test.text(&stream.to_string()))
            }),
            name => self.named_field(|other| asked.covers(name, other), name, test, candidates),
        }
    }

    /// The stream of a row, from its labels.
    fn stream(&self, row: usize) -> Option<StreamId> {
        let schema = self.rows.schema();
        let labels =
            schema.fields().iter().zip(self.rows.columns()).filter_map(|(field, column)| {
                let id = FieldColumnId::of(field).filter(|id| id.kind.is_none())?;
                Some((id.name, Values::of(column).text(row)?.into_owned()))
            });
        let labels = Labels::new(labels.collect()).ok()?;
        Some(StreamId::of(&IndexName::new(self.place.index).ok()?, &labels))
    }

    /// A test of the values whose names are covered; all of those begin with `name`.
    fn named_field(
        &self,
        covers: impl Fn(&str) -> bool,
        name: &str,
        test: &Test,
        candidates: &BooleanBuffer,
    ) -> BooleanBuffer {
        let schema = self.rows.schema();
        let mut found = BooleanBuffer::new_unset(candidates.len());
        for (field, column) in schema.fields().iter().zip(self.rows.columns()) {
            if FieldColumnId::of(field).is_some_and(|id| covers(&id.name)) {
                let values = Values::of(column);
                let left = candidates & &!&found;
                found = &found | &test.rows(&values, &left);
            }
        }
        let rest = Values::named(self.rows, REST);
        // As the rest has it, but for the sign at its end: the name may go on.
        let mut quoted = serde_json::Value::from(name).to_string();
        quoted.pop();
        let left = candidates & &!&found;
        let in_rest = keep(&left, |row| {
            let text = rest.text(row).filter(|text| text.contains(&quoted));
            let values = text.as_deref().map(rest::values).unwrap_or_default();
            values.iter().any(|(other, value)| covers(other) && test.single(value))
        });
        &found | &in_rest
    }
}

/// Of the candidates, those whose value's text matches.
fn texts(matcher: &Matcher, values: &Values<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
    match values {
        Values::Text(texts) => matcher.rows(texts, candidates),
        Values::Label(keys, texts) => by_key(keys, texts, candidates, |text| matcher.matches(text)),
        Values::Bool(truths) => {
            let (yes, no) = (matcher.matches("true"), matcher.matches("false"));
            keep(candidates, |row| truths.is_valid(row) && if truths.value(row) { yes } else { no })
        }
        _ => keep(candidates, |row| values.text(row).is_some_and(|text| matcher.matches(&text))),
    }
}

/// Tests every distinct text of a label once.
fn by_key(
    keys: &DictionaryArray<Int32Type>,
    texts: &StringArray,
    candidates: &BooleanBuffer,
    mut test: impl FnMut(&str) -> bool,
) -> BooleanBuffer {
    let passing: Vec<bool> = texts.iter().map(|text| text.is_some_and(&mut test)).collect();
    let keys = keys.keys();
    keep(candidates, |row| {
        let key = usize::try_from(keys.value(row)).ok();
        keys.is_valid(row) && key.and_then(|key| passing.get(key).copied()).unwrap_or_default()
    })
}
