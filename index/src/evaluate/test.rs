//! Tests of one named value: exactly what it must be.

use arrow::array::Array as _;
use arrow::buffer::BooleanBuffer;
use model::level::Level;
use model::number::Number;
use model::partition::RecordId;
use model::quantity::{duration_unit, read_duration, read_size, size_unit};
use model::query::{Bound, FieldTest, Literal, TextMatch};
use model::record::{FieldType, FieldValue};
use model::text::fold_text;
use model::time::{Period, Timestamp};

use super::{keep, texts};
use crate::columns::Values;
use crate::matcher::Matcher;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a query has a few of them")]
pub(super) enum Test {
    Exists,
    Matches(Box<Matches>),
    Between { from: Limit, to: Limit },
}

/// A text to match, read in every way it can be.
#[derive(Debug)]
pub(super) struct Matches {
    pub(super) matcher: Matcher,
    /// What was written, when it is a phrase.
    phrase: Option<String>,
    number: Option<Number>,
    level: Option<Level>,
}

/// One end of a range, with its literal read in every way it can be.
#[derive(Debug)]
pub(super) enum Limit {
    Open,
    At {
        inclusive: bool,
        number: Option<Number>,
        text: Option<String>,
        /// What the text names, where it is a time.
        period: Option<Period>,
        level: Option<Level>,
        time: Option<Timestamp>,
        id: Option<RecordId>,
        quantity: Option<Quantity>,
    },
}

/// A span of time or a size to compare with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity {
    limit: f64,
    /// What a plain number of the field stands for; `None` when that is not known.
    one: Option<f64>,
    read: fn(&str) -> Option<f64>,
}

impl Quantity {
    fn of(&self, value: Option<Number>, text: Option<&str>) -> Option<f64> {
        match value {
            Some(value) => Some(value.to_float() * self.one?),
            None => (self.read)(text?),
        }
    }
}

impl Matches {
    pub(super) fn new(text: &TextMatch) -> Self {
        let phrase = match text {
            TextMatch::Phrase(phrase) => Some(phrase.as_str()),
            _ => None,
        };
        Self {
            matcher: Matcher::new(text),
            phrase: phrase.map(str::to_owned),
            number: Number::meant(text),
            level: phrase.and_then(Level::from_word),
        }
    }

    /// Numbers that are equal to it, where it is one; other values whose text matches.
    pub(super) fn rows(&self, values: &Values<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
        let none = || BooleanBuffer::new_unset(candidates.len());
        match (values, self.number) {
            (Values::Int(numbers), Some(Number::Whole(wanted))) => match i64::try_from(wanted) {
                Ok(wanted) => {
                    keep(candidates, |row| numbers.is_valid(row) && numbers.value(row) == wanted)
                }
                Err(_) => none(),
            },
            (Values::Int(_), Some(Number::Float(_))) => none(),
            (Values::Float(numbers), Some(wanted)) => {
                keep(candidates, |row| numbers.is_valid(row) && wanted.is_float(numbers.value(row)))
            }
            (Values::Int(_), None) if !self.matcher.may_match(FieldType::Int) => none(),
            _ => texts(&self.matcher, values, candidates),
        }
    }

    pub(super) fn single(&self, value: &FieldValue) -> bool {
        match (value, self.number) {
            (FieldValue::Int(value), Some(wanted)) => wanted == Number::Whole(i128::from(*value)),
            (FieldValue::Float(value), Some(wanted)) => wanted.is_float(*value),
            _ => self.matcher.matches(&value.to_text()),
        }
    }
}

impl Test {
    /// A test of the values of that name.
    pub(super) fn new(name: &str, test: &FieldTest) -> Self {
        match test {
            FieldTest::Exists | FieldTest::ExistsBelow => Self::Exists,
            FieldTest::Matches(text) => Self::Matches(Box::new(Matches::new(text))),
            FieldTest::Between { from, to } => {
                Self::Between { from: Limit::new(name, from), to: Limit::new(name, to) }
            }
        }
    }

    pub(super) fn rows(&self, values: &Values<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
        match self {
            Self::Exists => keep(candidates, |row| values.is_present(row)),
            Self::Matches(matches) => matches.rows(values, candidates),
            Self::Between { from, to } => {
                let is_text =
                    matches!(values, Values::Text(_) | Values::Label(..) | Values::Bool(_));
                keep(candidates, |row| {
                    let number = values.number(row);
                    let text = if is_text { values.text(row) } else { None };
                    (number.is_some() || text.is_some())
                        && from.below(number, text.as_deref())
                        && to.above(number, text.as_deref())
                })
            }
        }
    }

    pub(super) fn single(&self, value: &FieldValue) -> bool {
        match self {
            Self::Exists => true,
            Self::Matches(matches) => matches.single(value),
            Self::Between { from, to } => {
                let (number, text) = match value {
                    FieldValue::Int(_) | FieldValue::Float(_) => (Number::of(value), None),
                    FieldValue::Text(text) => (Number::read(text), Some(text.as_str())),
                    FieldValue::Bool(true) => (None, Some("true")),
                    FieldValue::Bool(false) => (None, Some("false")),
                };
                from.below(number, text) && to.above(number, text)
            }
        }
    }

    pub(super) fn text(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Matches(matches) => matches.matcher.matches(text),
            Self::Between { from, to } => {
                let number = Number::read(text);
                from.below(number, Some(text)) && to.above(number, Some(text))
            }
        }
    }

    pub(super) fn level(&self, level: Level) -> bool {
        match self {
            Self::Exists => level != Level::Unknown,
            Self::Matches(matches) => match matches.level {
                Some(wanted) => level == wanted,
                None => matches.matcher.matches(level.name()),
            },
            Self::Between { from, to } => from.level_below(level) && to.level_above(level),
        }
    }

    pub(super) fn time(&self, time: Timestamp) -> bool {
        match self {
            Self::Exists => true,
            Self::Matches(matches) => {
                matches.phrase.as_deref().and_then(Timestamp::parse) == Some(time)
                    || matches.matcher.matches(&time.to_string())
            }
            Self::Between { from, to } => from.time_below(time) && to.time_above(time),
        }
    }

    pub(super) fn id(&self, id: RecordId) -> bool {
        match self {
            Self::Exists => true,
            Self::Matches(matches) => match &matches.phrase {
                Some(exact) => RecordId::parse(exact) == Some(id),
                None => matches.matcher.matches(&id.to_string()),
            },
            Self::Between { from, to } => from.id_below(id) && to.id_above(id),
        }
    }
}

impl Limit {
    pub(super) fn new(name: &str, bound: &Bound) -> Self {
        let (literal, inclusive) = match bound {
            Bound::Open => return Self::Open,
            Bound::Inclusive(literal) => (literal, true),
            Bound::Exclusive(literal) => (literal, false),
        };
        let number = literal.as_number();
        let (mut text, mut period, mut quantity) = (None, None, None);
        match literal {
            Literal::Number(_) | Literal::Whole(_) => {}
            Literal::Text(plain) => text = Some(plain),
            Literal::Time { period: named, text: plain } => {
                (period, text) = (Some(*named), Some(plain));
            }
            Literal::Duration(limit) => {
                let (limit, one) = (*limit, duration_unit(name));
                quantity = Some(Quantity { limit, one, read: read_duration });
            }
            Literal::Size(limit) => {
                let (limit, one) = (*limit, Some(size_unit(name)));
                quantity = Some(Quantity { limit, one, read: read_size });
            }
        }
        Self::At {
            inclusive,
            number,
            period,
            level: text.and_then(|text| Level::from_word(text)),
            time: match text {
                Some(text) => Timestamp::parse(text),
                None => number.and_then(|number| match literal {
                    Literal::Whole(whole) => Timestamp::from_epoch(i64::try_from(*whole).ok()?),
                    _ => Timestamp::from_epoch_float(number.to_float()),
                }),
            },
            id: text.and_then(|text| RecordId::parse(text)),
            text: text.map(|text| fold_text(text).into_owned()),
            quantity,
        }
    }

    /// Whether this lower bound lets the value pass.
    pub(super) fn below(&self, value: Option<Number>, text: Option<&str>) -> bool {
        self.passes(value, text, std::cmp::Ordering::is_lt)
    }

    /// Whether this upper bound lets the value pass.
    pub(super) fn above(&self, value: Option<Number>, text: Option<&str>) -> bool {
        self.passes(value, text, std::cmp::Ordering::is_gt)
    }

    pub(super) fn passes(
        &self,
        value: Option<Number>,
        given: Option<&str>,
        strict: impl Fn(std::cmp::Ordering) -> bool,
    ) -> bool {
        let Self::At { inclusive, number, text, period, quantity, .. } = self else { return true };
        let order = match (number, text, quantity) {
            (Some(number), _, _) => value.and_then(|value| number.order(value)),
            (_, Some(text), _) => {
                given.map(|given| match period.and_then(|p| Some((p, Period::read(given)?))) {
                    Some((period, given)) => period.order(given.first),
                    None => text.as_str().cmp(&fold_text(given)),
                })
            }
            (_, _, Some(quantity)) => {
                let value = quantity.of(value, given);
                value.and_then(|value| quantity.limit.partial_cmp(&value))
            }
            (None, None, None) => None,
        };
        order.is_some_and(|order| strict(order) || (*inclusive && order.is_eq()))
    }

    pub(super) fn level_below(&self, level: Level) -> bool {
        let Self::At { inclusive, level: Some(limit), .. } = self else { return self.is_open() };
        *limit < level || (*inclusive && *limit == level)
    }

    pub(super) fn level_above(&self, level: Level) -> bool {
        let Self::At { inclusive, level: Some(limit), .. } = self else { return self.is_open() };
        *limit > level || (*inclusive && *limit == level)
    }

    pub(super) fn time_below(&self, time: Timestamp) -> bool {
        let Self::At { inclusive, time: Some(limit), .. } = self else { return self.is_open() };
        *limit < time || (*inclusive && *limit == time)
    }

    pub(super) fn time_above(&self, time: Timestamp) -> bool {
        let Self::At { inclusive, time: Some(limit), .. } = self else { return self.is_open() };
        *limit > time || (*inclusive && *limit == time)
    }

    fn id_below(&self, id: RecordId) -> bool {
        let Self::At { inclusive, id: Some(limit), .. } = self else { return self.is_open() };
        *limit < id || (*inclusive && *limit == id)
    }

    fn id_above(&self, id: RecordId) -> bool {
        let Self::At { inclusive, id: Some(limit), .. } = self else { return self.is_open() };
        *limit > id || (*inclusive && *limit == id)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}
