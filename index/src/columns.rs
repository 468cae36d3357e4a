//! Reading values out of Arrow columns of the types that our rows have.

use std::borrow::Cow;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, DictionaryArray, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type,
};
use model::query::TextMatch;
use model::record::FieldValue;

/// A column of a field, label, level or message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    Text(&'a StringArray),
    Label(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
    /// A type that we never write.
    None,
}

impl<'a> Values<'a> {
    pub(crate) fn of(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Int64 => Self::Int(column.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>()),
            DataType::Boolean => Self::Bool(column.as_boolean()),
            DataType::Dictionary(_, _) => {
                match column.as_any().downcast_ref::<DictionaryArray<Int32Type>>() {
                    Some(keys) => match keys.values().as_string_opt() {
                        Some(texts) => Self::Label(keys, texts),
                        None => Self::None,
                    },
                    None => Self::None,
                }
            }
            _ => Self::None,
        }
    }

    /// The column of that name.
    pub(crate) fn named(rows: &'a RecordBatch, name: &str) -> Self {
        rows.column_by_name(name).map_or(Self::None, Self::of)
    }

    pub(crate) fn is_present(&self, row: usize) -> bool {
        match self {
            Self::Text(values) => values.is_valid(row),
            Self::Label(keys, _) => keys.is_valid(row),
            Self::Int(values) => values.is_valid(row),
            Self::Float(values) => values.is_valid(row),
            Self::Bool(values) => values.is_valid(row),
            Self::None => false,
        }
    }

    pub(crate) fn value(&self, row: usize) -> Option<FieldValue> {
        if !self.is_present(row) {
            return None;
        }
        Some(match self {
            Self::Text(_) | Self::Label(..) => FieldValue::Text(self.text(row)?.into_owned()),
            Self::Int(values) => FieldValue::Int(values.value(row)),
            Self::Float(values) => FieldValue::Float(values.value(row)),
            Self::Bool(values) => FieldValue::Bool(values.value(row)),
            Self::None => return None,
        })
    }

    /// The value's text: [`FieldValue::to_text`] without the copy where it is text already.
    pub(crate) fn text(&self, row: usize) -> Option<Cow<'a, str>> {
        if !self.is_present(row) {
            return None;
        }
        Some(match self {
            Self::Text(values) => Cow::Borrowed(values.value(row)),
            Self::Label(keys, texts) => {
                let key = usize::try_from(keys.keys().value(row)).ok()?;
                Cow::Borrowed((key < texts.len()).then(|| texts.value(key))?)
            }
            Self::Int(values) => Cow::Owned(values.value(row).to_string()),
            Self::Float(values) => Cow::Owned(values.value(row).to_string()),
            Self::Bool(values) => Cow::Borrowed(if values.value(row) { "true" } else { "false" }),
            Self::None => return None,
        })
    }

    /// The value as a number: numbers, and texts that read as finite ones.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Int(values) if values.is_valid(row) =>
            {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "comparisons are on floats, as documented"
                )]
                Some(values.value(row) as f64)
            }
            Self::Float(values) if values.is_valid(row) => Some(values.value(row)),
            Self::Text(_) | Self::Label(..) => read_number(&self.text(row)?),
            _ => None,
        }
    }
}

/// A text as a finite number.
pub(crate) fn read_number(text: &str) -> Option<f64> {
    let text = text.trim();
    // What Rust reads beside numbers (`inf`, `nan`) is text to people.
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A number as exact as it was written: `200` and `200.0` are equal, neighbours beyond 2^53 are
/// not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// Not a whole number of 64 bits.
    Float(f64),
}

impl Number {
    /// Reads a literal; `None` when it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let float = read_number(text)?;
        Some(text.trim().parse().map_or_else(|_| Self::of_float(float), Self::Int))
    }

    /// The number that a text to match is; `None` when it is none.
    pub(crate) fn meant(text: &TextMatch) -> Option<Self> {
        match text {
            TextMatch::Phrase(phrase) => Self::read(phrase),
            // Digits have no case.
            TextMatch::Cased(inner) => Self::meant(inner),
            _ => None,
        }
    }

    /// The value, if it is a number.
    pub(crate) fn of(value: &FieldValue) -> Option<Self> {
        match value {
            FieldValue::Int(number) => Some(Self::Int(*number)),
            FieldValue::Float(number) => Some(Self::of_float(*number)),
            FieldValue::Text(_) | FieldValue::Bool(_) => None,
        }
    }

    /// Whether a float is equal to it, or is shown by these very digits: great floats are shown by the
    /// fewest that tell them apart, and zeros.
    #[expect(clippy::cast_precision_loss, reason = "the float that is nearest is looked at")]
    pub(crate) fn is_float(self, value: f64) -> bool {
        match self {
            Self::Int(number) if Self::of_float(value) != self => {
                number as f64 == value && number.to_string() == value.to_string()
            }
            _ => Self::of_float(value) == self,
        }
    }

    pub(crate) fn of_float(number: f64) -> Self {
        // 2^63, the first that is too large.
        let bound = -(i64::MIN as f64);
        if number.fract() == 0.0 && (-bound..bound).contains(&number) {
            #[expect(clippy::cast_possible_truncation, reason = "it was just tested to fit")]
            Self::Int(number as i64)
        } else {
            Self::Float(number)
        }
    }

    /// The texts ([`FieldValue::to_text`]) of the values that equal it: as a whole number, and as
    /// a float, whose shortest form can differ.
    pub(crate) fn texts(self) -> Vec<String> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the float that is nearest is meant")]
            Self::Int(number) => vec![number.to_string(), (number as f64).to_string()],
            Self::Float(number) => vec![number.to_string()],
        }
    }
}

/// A column of moments.
pub(crate) fn times<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a TimestampNanosecondArray> {
    rows.column_by_name(name)?.as_primitive_opt::<TimestampNanosecondType>()
}

/// A column of offsets.
pub(crate) fn numbers<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a UInt64Array> {
    rows.column_by_name(name)?.as_primitive_opt::<UInt64Type>()
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn a_float_is_found_by_its_value_and_as_it_is_shown() {
        let is = |text, value| Number::read(text).is_some_and(|number| number.is_float(value));
        for text in ["5", "5.0", "5e0", "+5"] {
            assert!(is(text, 5.0) && !is(text, 5.5) && !is(text, -5.0), "{text}");
        }
        let (great, odd) = (2_f64.powi(60), 2_f64.powi(53));
        for text in ["1152921504606846976", "1152921504606847000", "1.152921504606847e18"] {
            assert!(is(text, great), "{text}");
        }
        assert!(!is("1152921504606846975", great));
        assert!(is("9007199254740992", odd) && !is("9007199254740993", odd));
    }
}
