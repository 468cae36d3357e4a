//! Values of templates.

use std::borrow::Cow;

use model::number::read_number;

use super::layout;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Nanoseconds since 1970.
    Time(i64),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// As it stands in a text.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(float_text(*number)),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Time(nanos) => Cow::Owned(layout::shown(layout::PLAIN, *nanos)),
        }
    }

    /// The number that it is, also as a text; else 0.
    pub(super) fn float(&self) -> f64 {
        match self {
            Self::Text(text) => read_number(text).unwrap_or_default(),
            Self::Int(number) | Self::Time(number) => *number as f64,
            Self::Float(number) => *number,
            Self::Bool(truth) => f64::from(u8::from(*truth)),
        }
    }

    /// The same as a whole number, towards 0.
    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Text(text) => text.trim().parse().unwrap_or_else(|_| whole(self.float())),
            Self::Int(number) | Self::Time(number) => *number,
            Self::Float(number) => whole(*number),
            Self::Bool(truth) => i64::from(*truth),
        }
    }

    /// The number of a value that is one, no text.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(_) | Self::Float(_) | Self::Time(_) => Some(self.float()),
            Self::Text(_) | Self::Bool(_) => None,
        }
    }

    /// Neither empty nor zero nor false.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(truth) => *truth,
            Self::Time(_) => true,
        }
    }
}

/// A float without what is behind its point.
#[expect(clippy::cast_possible_truncation, reason = "the nearest that there is")]
pub(super) fn whole(number: f64) -> i64 {
    number as i64
}

/// A float as Go shows it: with an exponent where it is very great or very small.
pub(super) fn float_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() || (1e-4..1e21).contains(&size) {
        return match number.is_infinite() {
            true if number > 0.0 => "+Inf".to_owned(),
            true => "-Inf".to_owned(),
            false => number.to_string(),
        };
    }
    exponent(&format!("{number:e}"))
}

/// Go writes two digits of an exponent at least, and its sign.
pub(super) fn exponent(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}
