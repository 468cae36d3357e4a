//! The columns of rows that are looked at row by row while a split is built.

use arrow::array::{Array as _, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::Field;
use model::level::Level;

use crate::columns::{Values, numbers, times};
use crate::schema::{FieldColumnId, REST};

/// The columns of a piece that are looked at row by row.
pub(super) struct Indexed<'a> {
    pub(super) times: Option<&'a TimestampNanosecondArray>,
    pub(super) offsets: Option<&'a UInt64Array>,
    pub(super) levels: Vec<Level>,
    pub(super) messages: Values<'a>,
    /// Of fields that have values.
    pub(super) fields: Vec<Values<'a>>,
    pub(super) rest: Values<'a>,
}

impl<'a> Indexed<'a> {
    pub(super) fn of(rows: &'a RecordBatch) -> Self {
        let schema = rows.schema();
        let is_own = |field: &Field| FieldColumnId::of(field).is_some_and(|id| id.kind.is_some());
        let fields = schema.fields().iter().zip(rows.columns());
        let fields =
            fields.filter(|(field, column)| is_own(field) && column.null_count() < rows.num_rows());
        Self {
            times: times(rows, "timestamp"),
            offsets: numbers(rows, "offset"),
            levels: levels(rows),
            messages: Values::named(rows, "message"),
            fields: fields.map(|(_, column)| Values::of(column)).collect(),
            rest: Values::named(rows, REST),
        }
    }
}

fn levels(rows: &RecordBatch) -> Vec<Level> {
    let level = |text: &str| Level::from_word(text).unwrap_or_default();
    let Values::Label(keys, texts) = Values::named(rows, "level") else { return Vec::new() };
    let levels: Vec<Level> = texts.iter().map(|text| text.map(level).unwrap_or_default()).collect();
    let of_key = |key: Option<i32>| levels.get(usize::try_from(key?).ok()?).copied();
    keys.keys().iter().map(|key| of_key(key).unwrap_or_default()).collect()
}
