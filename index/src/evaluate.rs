//! Which rows pass a filter: exact, on Arrow columns, the same for fresh records and splits.

use arrow::array::{Array as _, RecordBatch};
use arrow::buffer::BooleanBuffer;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::Filter;
use model::record::FieldType;
use model::time::{TimeRange, Timestamp};

use crate::columns::{Values, numbers, times};
use crate::condition::{Condition, by_key, keep, texts};
use crate::matcher::Matcher;
use crate::rest;
use crate::schema::{FieldColumnId, REST};

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
#[expect(clippy::large_enum_variant, reason = "a query has a few of them")]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Text(Matcher),
    Field { name: String, test: Condition },
}
impl Evaluator {
    /// Prepares a filter over a time range.
    #[must_use]
    pub fn new(filter: &Filter, range: TimeRange) -> Self {
        Self { node: Node::new(filter), range }
    }

    /// A bit for every row: whether it passes.
    #[must_use]
    pub fn rows(&self, rows: &RecordBatch, place: Place<'_>) -> BooleanBuffer {
        let Some(timestamps) = times(rows, "timestamp") else {
            return BooleanBuffer::new_unset(rows.num_rows());
        };
        let inside = BooleanBuffer::collect_bool(rows.num_rows(), |row| {
            self.range.contains(Timestamp(timestamps.value(row)))
        });
        self.node.rows(&Unit { rows, place }, &inside)
    }
}
struct Unit<'a> {
    rows: &'a RecordBatch,
    place: Place<'a>,
}

impl Node {
    fn new(filter: &Filter) -> Self {
        match filter {
            Filter::All => Self::All,
            Filter::And(parts) => Self::And(parts.iter().map(Self::new).collect()),
            Filter::Or(parts) => Self::Or(parts.iter().map(Self::new).collect()),
            Filter::Not(part) => Self::Not(Box::new(Self::new(part))),
            Filter::Text(text) => Self::Text(Matcher::new(text)),
            Filter::Field { name, test } => {
                Self::Field { name: name.clone(), test: Condition::new(test) }
            }
        }
    }

    /// Of the candidates, those that pass.
    fn rows(&self, unit: &Unit<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
        if candidates.count_set_bits() == 0 {
            return candidates.clone();
        }
        match self {
            Self::All => candidates.clone(),
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
            Self::Field { name, test } => unit.field(name, test, candidates),
        }
    }
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

    fn field(&self, name: &str, test: &Condition, candidates: &BooleanBuffer) -> BooleanBuffer {
        match name {
            "timestamp" | "ingest_time" => {
                let Some(times) = times(self.rows, name) else {
                    return BooleanBuffer::new_unset(candidates.len());
                };
                keep(candidates, |row| test.time(Timestamp(times.value(row))))
            }
            "level" => {
                let levels = Values::named(self.rows, "level");
                let passes = |name: &str| test.level_named(name);
                match levels {
                    Values::Label(keys, names) => by_key(keys, names, candidates, passes),
                    _ => keep(candidates, |row| levels.text(row).is_some_and(|name| passes(&name))),
                }
            }
            "message" => {
                let messages = Values::named(self.rows, "message");
                match test {
                    Condition::Exists => keep(candidates, |row| {
                        messages.text(row).is_some_and(|text| !text.is_empty())
                    }),
                    Condition::Matches(matches) => texts(&matches.matcher, &messages, candidates),
                    Condition::Between { .. } => keep(candidates, |row| {
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
            name => self.named_field(name, test, candidates),
        }
    }

    fn named_field(&self, name: &str, test: &Condition, candidates: &BooleanBuffer) -> BooleanBuffer {
        let schema = self.rows.schema();
        let mut found = BooleanBuffer::new_unset(candidates.len());
        for (field, column) in schema.fields().iter().zip(self.rows.columns()) {
            if FieldColumnId::of(field).is_some_and(|id| id.name == name) {
                let values = Values::of(column);
                let left = candidates & &!&found;
                found = &found | &test.rows(&values, &left);
            }
        }
        let rest = Values::named(self.rows, REST);
        let quoted = serde_json::Value::from(name).to_string();
        let left = candidates & &!&found;
        let in_rest = keep(&left, |row| {
            let text = rest.text(row).filter(|text| text.contains(&quoted));
            let values = text.as_deref().map(rest::values).unwrap_or_default();
            values.iter().any(|(other, value)| other == name && test.single(value))
        });
        &found | &in_rest
    }
}
