//! Tests of one named value: exactly what it must be.

use arrow::array::Array as _;
use arrow::buffer::BooleanBuffer;
use model::level::Level;
use model::partition::RecordId;
use model::query::{Bound, FieldTest, Literal, TextMatch};
use model::record::{FieldType, FieldValue};
use model::text::fold_text;
use model::time::Timestamp;

use super::{keep, texts};
use crate::columns::{Number, Values, read_number};
use crate::matcher::Matcher;

#[derive(Debug)]
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
        number: Option<f64>,
        text: Option<String>,
        level: Option<Level>,
        time: Option<Timestamp>,
    },
}

impl Matches {
    pub(super) fn new(text: &TextMatch) -> Self {
        let phrase = match text {
            TextMatch::Phrase(phrase) => Some(phrase.as_str()),
            TextMatch::Pattern { .. } => None,
        };
        Self {
            matcher: Matcher::new(text),
            phrase: phrase.map(str::to_owned),
            number: phrase.and_then(Number::read),
            level: phrase.and_then(Level::from_word),
        }
    }

    /// Numbers equal to it, and values whose text matches.
    pub(super) fn rows(&self, values: &Values<'_>, candidates: &BooleanBuffer) -> BooleanBuffer {
        match (values, self.number) {
            (Values::Int(numbers), Some(Number::Int(wanted))) if self.is_plain(wanted) => {
                // `404` stands free in `-404`, which therefore matches too.
                let other = wanted.checked_abs().and_then(i64::checked_neg);
                let other = other.filter(|_| wanted >= 0).unwrap_or(wanted);
                keep(candidates, |row| {
                    let value = numbers.value(row);
                    numbers.is_valid(row) && (value == wanted || value == other)
                })
            }
            (Values::Int(_), None) if !self.matcher.may_match(FieldType::Int) => {
                BooleanBuffer::new_unset(candidates.len())
            }
            (Values::Int(_) | Values::Float(_), Some(wanted)) => keep(candidates, |row| {
                let value = values.value(row);
                value.as_ref().and_then(Number::of) == Some(wanted)
                    || value.is_some_and(|value| self.matcher.matches(&value.to_text()))
            }),
            _ => texts(&self.matcher, values, candidates),
        }
    }

    /// Whether the number was written as numbers are shown.
    pub(super) fn is_plain(&self, number: i64) -> bool {
        self.phrase.as_deref() == Some(number.to_string().as_str())
    }

    pub(super) fn single(&self, value: &FieldValue) -> bool {
        let number = Number::of(value);
        number.is_some() && number == self.number || self.matcher.matches(&value.to_text())
    }
}

impl Test {
    pub(super) fn new(test: &FieldTest) -> Self {
        match test {
            FieldTest::Exists => Self::Exists,
            FieldTest::Matches(text) => Self::Matches(Box::new(Matches::new(text))),
            FieldTest::Between { from, to } => {
                Self::Between { from: Limit::new(from), to: Limit::new(to) }
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
                let text = value.to_text();
                let is_number = Number::of(value).is_some();
                let number = match value {
                    FieldValue::Bool(_) => None,
                    _ => read_number(&text),
                };
                let text = (!is_number).then_some(text.as_str());
                from.below(number, text) && to.above(number, text)
            }
        }
    }

    pub(super) fn text(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Matches(matches) => matches.matcher.matches(text),
            Self::Between { from, to } => {
                let number = read_number(text);
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
            Self::Between { .. } => false,
        }
    }
}

impl Limit {
    pub(super) fn new(bound: &Bound) -> Self {
        let (literal, inclusive) = match bound {
            Bound::Open => return Self::Open,
            Bound::Inclusive(literal) => (literal, true),
            Bound::Exclusive(literal) => (literal, false),
        };
        match literal {
            Literal::Number(number) => {
                let time = Timestamp::from_epoch_float(*number);
                Self::At { inclusive, number: Some(*number), text: None, level: None, time }
            }
            Literal::Text(text) => Self::At {
                inclusive,
                number: None,
                text: Some(fold_text(text).into_owned()),
                level: Level::from_word(text),
                time: Timestamp::parse(text),
            },
        }
    }

    /// Whether this lower bound lets the value pass.
    pub(super) fn below(&self, value: Option<f64>, text: Option<&str>) -> bool {
        self.passes(value, text, std::cmp::Ordering::is_lt)
    }

    /// Whether this upper bound lets the value pass.
    pub(super) fn above(&self, value: Option<f64>, text: Option<&str>) -> bool {
        self.passes(value, text, std::cmp::Ordering::is_gt)
    }

    pub(super) fn passes(
        &self,
        value: Option<f64>,
        given: Option<&str>,
        strict: impl Fn(std::cmp::Ordering) -> bool,
    ) -> bool {
        let Self::At { inclusive, number, text, .. } = self else { return true };
        let order = match (number, text) {
            (Some(number), _) => value.and_then(|value| number.partial_cmp(&value)),
            (None, Some(text)) => given.map(|given| text.as_str().cmp(&fold_text(given))),
            (None, None) => None,
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

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}
