//! Values of templates.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::number::read_number;

use super::layout;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Nanoseconds since 1970: more than a moment of ours may have, as Go's first one.
    Time(i128),
    /// What JSON has as `null`, and for a member that is not there.
    Nothing,
    List(Rc<[Self]>),
    Map(Rc<BTreeMap<String, Self>>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Numbers of JSON are floats, as Go has them.
    pub(super) fn of_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nothing,
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or_default()),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(list) => {
                Self::List(list.into_iter().map(Self::of_json).collect())
            }
            serde_json::Value::Object(object) => {
                let member = |(name, value)| (name, Self::of_json(value));
                Self::Map(Rc::new(object.into_iter().map(member).collect()))
            }
        }
    }

    /// As it stands in a text.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(float_text(*number)),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Time(nanos) => Cow::Owned(layout::shown(layout::PLAIN, *nanos)),
            Self::Nothing => Cow::Borrowed(""),
            Self::List(_) | Self::Map(_) => {
                let mut text = String::new();
                self.show_inside(&mut text);
                Cow::Owned(text)
            }
        }
    }

    /// As it stands inside a list or a map.
    fn show_inside(&self, text: &mut String) {
        match self {
            Self::Nothing => text.push_str("<nil>"),
            Self::List(list) => {
                text.push('[');
                for (at, value) in list.iter().enumerate() {
                    text.push_str(if at > 0 { " " } else { "" });
                    value.show_inside(text);
                }
                text.push(']');
            }
            Self::Map(map) => {
                text.push_str("map[");
                for (at, (name, value)) in map.iter().enumerate() {
                    text.push_str(if at > 0 { " " } else { "" });
                    text.push_str(name);
                    text.push(':');
                    value.show_inside(text);
                }
                text.push(']');
            }
            value => text.push_str(&value.shown()),
        }
    }

    /// The number that it is, also as a text; else 0.
    pub(super) fn float(&self) -> f64 {
        match self {
            Self::Text(text) => read_number(text).unwrap_or_default(),
            Self::Int(number) => *number as f64,
            Self::Time(number) => *number as f64,
            Self::Float(number) => *number,
            Self::Bool(truth) => f64::from(u8::from(*truth)),
            Self::Nothing | Self::List(_) | Self::Map(_) => 0.0,
        }
    }

    /// The same as a whole number, towards 0.
    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Text(text) => text.trim().parse().unwrap_or_else(|_| whole(self.float())),
            Self::Int(number) => *number,
            Self::Time(nanos) => i64::try_from(*nanos).unwrap_or_else(|_| whole(self.float())),
            value => whole(value.float()),
        }
    }

    /// The number of a value that is one, no text.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(_) | Self::Float(_) | Self::Time(_) => Some(self.float()),
            _ => None,
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
            Self::Nothing => false,
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// What is in it: elements, members, bytes.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            value => value.shown().len(),
        }
    }

    /// How many values it is made of, itself among them.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::List(list) => 1 + list.iter().map(Self::size).sum::<u64>(),
            Self::Map(map) => 1 + map.values().map(Self::size).sum::<u64>(),
            _ => 1,
        }
    }
}

/// A float without what is behind its point.
#[expect(clippy::cast_possible_truncation, reason = "the nearest that there is")]
pub(super) fn whole(number: f64) -> i64 {
    number as i64
}

/// A float as Go shows it: with an exponent where it has seven digits before its point, or is very small.
pub(super) fn float_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() || (1e-4..1e6).contains(&size) {
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
