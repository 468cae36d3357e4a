//! Numbers as exact as they were written: a whole one is not taken for its neighbour.

use std::cmp::Ordering;

use crate::query::TextMatch;
use crate::record::FieldValue;

/// Whole numbers nearer to zero than this are floats of the same value, and a greater one never
/// becomes such a float: with these, floats compare as exactly as whole numbers.
pub const FLOAT_EXACT: i128 = 1 << 53;

/// A number to compare with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number, written without point and exponent.
    Whole(i128),
    /// Any other one, and whole ones of more than 128 bits.
    Float(f64),
}

/// A text as a finite number. What Rust reads beside numbers (`inf`, `nan`) is text to people.
#[must_use]
pub fn read_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl Number {
    /// Reads a text as [`read_number`] does.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.parse() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => read_number(text).map(Self::Float),
        }
    }

    /// The value, if it is a number.
    #[must_use]
    pub fn of(value: &FieldValue) -> Option<Self> {
        match value {
            FieldValue::Int(number) => Some(Self::Whole(i128::from(*number))),
            FieldValue::Float(number) => Some(Self::Float(*number)),
            FieldValue::Text(_) | FieldValue::Bool(_) => None,
        }
    }

    /// The number that a text to match is, by its value ([`Self::of_float`]); `None` when it is none.
    #[must_use]
    pub fn meant(text: &TextMatch) -> Option<Self> {
        match text {
            TextMatch::Phrase(phrase) => Some(match Self::read(phrase)? {
                Self::Float(number) => Self::of_float(number),
                whole @ Self::Whole(_) => whole,
            }),
            // Digits have no case.
            TextMatch::Cased(inner) => Self::meant(inner),
            _ => None,
        }
    }

    /// The value of a float: a whole number where it is one.
    #[must_use]
    pub fn of_float(number: f64) -> Self {
        // 2^127, the first that is too large.
        let bound = -(i128::MIN as f64);
        if number.fract() == 0.0 && (-bound..bound).contains(&number) {
            #[allow(clippy::cast_possible_truncation, reason = "it was just tested to fit")]
            Self::Whole(number as i128)
        } else {
            Self::Float(number)
        }
    }

    /// The float that is nearest to it.
    #[must_use]
    pub fn to_float(self) -> f64 {
        match self {
            Self::Whole(number) => match i64::try_from(number) {
                // The processor knows how.
                Ok(number) => number as f64,
                Err(_) => number as f64,
            },
            Self::Float(number) => number,
        }
    }

    /// Which is the greater: whole numbers exactly, and as floats where one of them is one. `None`
    /// where one is no number (NaN).
    #[must_use]
    pub fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(&other)),
            (one, other) => one.to_float().partial_cmp(&other.to_float()),
        }
    }

    /// Whether a float is equal to it, or is shown by these very digits: great floats are shown by the
    /// fewest that tell them apart, and zeros.
    #[must_use]
    pub fn is_float(self, value: f64) -> bool {
        match self {
            Self::Whole(number) if Self::of_float(value) != self => {
                self.to_float() == value && number.to_string() == value.to_string()
            }
            _ => Self::of_float(value) == self,
        }
    }

    /// The texts ([`FieldValue::to_text`]) of the values that equal it: as a whole number, and as
    /// a float, whose shortest form can differ.
    #[must_use]
    pub fn texts(self) -> Vec<String> {
        match self {
            Self::Whole(number) => vec![number.to_string(), self.to_float().to_string()],
            Self::Float(number) => vec![number.to_string()],
        }
    }
}

/// A whole number as it is sent: its digits, as JSON's readers take great numbers for floats.
pub(crate) mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    /// Writes the digits.
    pub(crate) fn serialize<S: Serializer>(number: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    /// Reads the digits.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Number {
        Number::read(text).unwrap()
    }

    #[test]
    fn a_float_is_found_by_its_value_and_as_it_is_shown() {
        let is = |text: &str, value| {
            let phrase = TextMatch::Phrase(text.to_owned());
            Number::meant(&phrase).is_some_and(|number| number.is_float(value))
        };
        for text in ["5", "5.0", "5e0", "+5"] {
            assert!(is(text, 5.0) && !is(text, 5.5) && !is(text, -5.0), "{text}");
        }
        let (great, odd) = (2_f64.powi(60), 2_f64.powi(53));
        for text in ["1152921504606846976", "1152921504606847000", "1.152921504606847e18"] {
            assert!(is(text, great), "{text}");
        }
        assert!(!is("1152921504606846975", great));
        assert!(is("9007199254740992", odd) && !is("9007199254740993", odd));
        let beyond = 2_f64.powi(64);
        for text in ["18446744073709551616", "18446744073709552000", "1.8446744073709552e19"] {
            assert!(is(text, beyond), "{text}");
        }
        assert!(!is("18446744073709551615", beyond));
    }

    #[test]
    fn whole_numbers_are_told_from_their_neighbours() {
        let ascending = [
            "-9223372036854775809",
            "-9223372036854775808",
            "-9223372036854775807",
            "-9007199254740993",
            "-9007199254740992",
            "-1",
            "0",
            "9007199254740992",
            "+9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551614",
            " 18446744073709551615 ",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(read(one).order(read(other)), Some(at.cmp(&other_at)), "{one} {other}");
            }
        }
    }

    #[test]
    fn beside_a_float_a_whole_number_is_one() {
        let equal = Some(Ordering::Equal);
        assert_eq!(read("9007199254740993").order(read("9007199254740992.0")), equal);
        assert_eq!(read("5").order(read("5.0")), equal);
        assert_eq!(read("-0.0").order(read("0")), equal);
        assert_eq!(read("5").order(read("5.5")), Some(Ordering::Less));
        assert_eq!(read("1e300").order(read("18446744073709551615")), Some(Ordering::Greater));
        assert_eq!(read("5").order(Number::Float(f64::NAN)), None);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", " ", "inf", "nan", "-inf", "1e999", "5ms", "0x10", "--1", "1_000"] {
            assert_eq!(Number::read(text), None, "{text}");
        }
        let long = "1".repeat(60);
        assert!(matches!(Number::read(&long), Some(Number::Float(_))));
    }
}
