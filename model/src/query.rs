//! What a search asks of a record. The language parses into it, splits and fresh records answer it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::number::{FLOAT_EXACT, Number, digits};
use crate::time::Period;

/// A condition on one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// Every record.
    All,
    /// All of them hold; none is [`Filter::All`]'s answer.
    And(Vec<Filter>),
    /// One of them holds at least.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The message, or the text of any field's value (labels not included), matches.
    Text(TextMatch),
    /// A named value passes the test. Names: what every record has (`timestamp`, `ingest_time`,
    /// `level`, `message`, `index`, `id`), labels, and fields. A field with several values or
    /// types passes when one of them does.
    Field {
        /// Whose value.
        name: String,
        /// The test.
        test: FieldTest,
    },
}

/// How a text is matched; folding and boundaries are [`crate::text`]'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextMatch {
    /// The folded text occurs literally, standing free at both ends
    /// ([`crate::text::stands_free`]). Words are phrases of one word. Never empty.
    Phrase(String),
    /// The parts occur in order, with any characters but white space between them (`*` in the
    /// language). The match stands free at an end unless the pattern is open there.
    Pattern {
        /// The literal pieces between the stars, folded, none empty. No piece: anything matches
        /// that is not empty.
        parts: Vec<String>,
        /// Begins with a star.
        open_start: bool,
        /// Ends with a star.
        open_end: bool,
    },
    /// The inner phrase or pattern, with its letters in exactly this case: nothing in it is
    /// folded. What matches it matches the inner one as well.
    Cased(Box<TextMatch>),
    /// The regular expression (syntax of the `regex` crate) matches anywhere in the text. One that
    /// cannot be compiled matches nothing; the language refuses it.
    Regex(String),
    /// An IP address in the text, standing free, lies in the network.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// How many of its leading bits the network's addresses share.
        prefix: u8,
    },
}

/// Bytes of memory that one compiled regular expression may take.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// A test of one named value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FieldTest {
    /// There is a value. A message exists when it is not empty, a level when it is not unknown.
    Exists,
    /// There is a value, under this name or under one that goes on behind it with a dot: what
    /// people call an object is many fields here.
    ExistsBelow,
    /// The value's text ([`crate::record::FieldValue::to_text`]) matches; a level's name, a
    /// time's RFC 3339 form. Where a phrase is a number, values that are numbers pass when they are
    /// equal to it (`200` finds 200.0, `5` does not find 74.5), whatever their texts.
    Matches(TextMatch),
    /// The value lies between the bounds. Numbers compare as numbers, and so do texts that read
    /// as numbers; levels by severity; times as times, and so do texts that read as times
    /// ([`Literal::Time`]); other texts by code point, folded.
    Between {
        /// Lower bound.
        from: Bound,
        /// Upper bound.
        to: Bound,
    },
}

impl FieldTest {
    /// Whether this test of what is named `wanted` looks at the value called `name`.
    #[must_use]
    pub fn covers(&self, wanted: &str, name: &str) -> bool {
        name.strip_prefix(wanted).is_some_and(|rest| {
            rest.is_empty() || *self == Self::ExistsBelow && rest.starts_with('.')
        })
    }
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// No bound.
    Open,
    /// The value itself is inside.
    Inclusive(Literal),
    /// The value itself is outside.
    Exclusive(Literal),
}

/// A literal to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// A number. Text never compares with it unless it reads as a number. Whole numbers from
    /// [`FLOAT_EXACT`] on are [`Literal::Whole`] unless they were written as floats.
    Number(f64),
    /// A span of time, nanoseconds. Texts that read as one ([`crate::quantity`]) compare with it,
    /// and numbers of fields whose name ends in a unit (`took_ms`).
    Duration(f64),
    /// So many bytes. Texts that read as a size ([`crate::quantity`]) compare with it, and numbers:
    /// as bytes, or in the unit in which the field's name ends (`cache_mb`).
    Size(f64),
    /// A time. Texts that read as one ([`Period::read`]) compare with it by the first moment that
    /// they name, which is equal to every moment of the period; other texts compare with the text.
    /// Never compares with a number.
    Time {
        /// The moments that it names.
        period: Period,
        /// As it was written, folded.
        text: String,
    },
    /// Anything else: a level's name, a moment of what every record has, or text (folded). Never
    /// compares with a number.
    Text(String),
    /// A whole number that a float would not tell from its neighbours ([`FLOAT_EXACT`]). Nodes before
    /// version 4 of the nodes' protocol cannot read it.
    Whole(#[serde(with = "digits")] i128),
}

impl Literal {
    /// A number, in the form that most nodes can read.
    #[must_use]
    pub fn of_number(number: Number) -> Self {
        match number {
            Number::Whole(whole) if !is_float_exact(whole) => Self::Whole(whole),
            number => Self::Number(number.to_float()),
        }
    }

    /// The number that it is; spans and sizes are none.
    #[must_use]
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Self::Whole(whole) => Some(Number::Whole(*whole)),
            Self::Number(float) => Some(match Number::of_float(*float) {
                Number::Whole(whole) if is_float_exact(whole) => Number::Whole(whole),
                _ => Number::Float(*float),
            }),
            _ => None,
        }
    }
}

fn is_float_exact(whole: i128) -> bool {
    (1 - FLOAT_EXACT..FLOAT_EXACT).contains(&whole)
}

impl Filter {
    /// Whether there is a [`Literal::Whole`] in it, so that nodes before version 4 of the nodes'
    /// protocol cannot read it.
    #[must_use]
    pub fn has_whole(&self) -> bool {
        let is_whole = |bound: &Bound| match bound {
            Bound::Inclusive(literal) | Bound::Exclusive(literal) => {
                matches!(literal, Literal::Whole(_))
            }
            Bound::Open => false,
        };
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::has_whole),
            Self::Not(part) => part.has_whole(),
            Self::Field { test: FieldTest::Between { from, to }, .. } => {
                is_whole(from) || is_whole(to)
            }
            Self::All | Self::Text(_) | Self::Field { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: &str, json: &str) {
        let number = Number::read(number).unwrap();
        let literal = Literal::of_number(number);
        assert_eq!(serde_json::to_string(&literal).unwrap(), json);
        // Read out of a tree of values, as well as out of the text.
        let tree: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_value::<Literal>(tree).unwrap(), literal);
        assert_eq!(serde_json::from_str::<Literal>(json).unwrap(), literal);
        assert_eq!(literal.as_number(), Some(number));
        let at = Bound::Inclusive(literal.clone());
        let test = FieldTest::Between { from: Bound::Open, to: at };
        let filter = Filter::Not(Box::new(Filter::Field { name: "n".to_owned(), test }));
        assert_eq!(filter.has_whole(), matches!(literal, Literal::Whole(_)));
    }

    #[test]
    fn only_what_floats_confuse_is_sent_in_the_form_that_is_new() {
        check("5", r#"{"Number":5.0}"#);
        check("5.5", r#"{"Number":5.5}"#);
        check("1e300", r#"{"Number":1e+300}"#);
        check("9007199254740991", r#"{"Number":9007199254740991.0}"#);
        check("9007199254740992", r#"{"Whole":"9007199254740992"}"#);
        check("9007199254740992.0", r#"{"Number":9007199254740992.0}"#);
        check("-9007199254740991", r#"{"Number":-9007199254740991.0}"#);
        check("-9007199254740993", r#"{"Whole":"-9007199254740993"}"#);
        check("18446744073709551615", r#"{"Whole":"18446744073709551615"}"#);
    }
}
