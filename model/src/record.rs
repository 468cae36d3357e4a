//! A record: one time, one message, the fields that came with it.

use crate::level::Level;
use crate::time::Timestamp;

/// The value of a field, in the type it came with.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// Text.
    Text(String),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// Any other number; never NaN or infinite when it came from JSON.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// The type of a field's value. A field with two types is stored as two columns.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FieldType {
    /// UTF-8 text.
    Text = 0,
    /// 64-bit signed integer.
    Int = 1,
    /// 64-bit float.
    Float = 2,
    /// Boolean.
    Bool = 3,
}

impl FieldType {
    /// Every type, by number.
    pub const ALL: [Self; 4] = [Self::Text, Self::Int, Self::Float, Self::Bool];

    /// The stored number's type.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name used in answers: `text int float bool`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
        }
    }
}

impl FieldValue {
    /// The type it came with.
    #[must_use]
    pub fn kind(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Int(_) => FieldType::Int,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
        }
    }

    /// The text under which the value is found and grouped: text as it is, numbers as Rust's
    /// shortest form that reads back equal (`200`, `0.25`, `1e300`), `true` or `false`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(truth) => truth.to_string(),
        }
    }
}

/// The unit that is stored and found, on its way in. Its stream and place come from its batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// When it happened; `None` where the source did not say (then it is the time of arrival).
    pub timestamp: Option<Timestamp>,
    /// How bad it is.
    pub level: Level,
    /// The text of it.
    pub message: String,
    /// Flat fields, dotted names; a name may come twice (both values are kept and found).
    pub fields: Vec<(String, FieldValue)>,
}

/// The field that says why a record could not be taken apart and was kept as text.
pub const POISON_FIELD: &str = "_poison";
/// The field that says what was done to keep the bytes of a message: `escaped` (invalid UTF-8
/// shown as `\xNN`) or `cut` (longer than the bound; `_bytes` then holds the full length).
pub const KEPT_FIELD: &str = "_kept";
