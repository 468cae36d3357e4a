//! Reading values out of Arrow columns of the types that our rows have.

use std::borrow::Cow;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, DictionaryArray, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type,
};
use model::number::Number;
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
    pub(crate) fn number(&self, row: usize) -> Option<Number> {
        match self {
            Self::Int(values) if values.is_valid(row) => {
                Some(Number::Whole(i128::from(values.value(row))))
            }
            Self::Float(values) if values.is_valid(row) => Some(Number::Float(values.value(row))),
            Self::Text(_) | Self::Label(..) => Number::read(&self.text(row)?),
            _ => None,
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
