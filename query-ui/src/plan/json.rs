//! Rows as the JSON of answers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{
    Array, ArrayRef, AsArray as _, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimestampNanosecondType, UInt32Type,
    UInt64Type,
};
use model::level::Level;
use model::partition::{Offset, PartitionId, RecordId};
use model::time::Timestamp;
use serde_json::{Map, Value};

use super::lower::{ColumnKind, Extras, OutputColumn};

/// Whole records of a batch with the columns of a record, in their order.
pub struct Records<'a> {
    times: &'a TimestampNanosecondArray,
    ingest_times: &'a TimestampNanosecondArray,
    partitions: &'a UInt32Array,
    offsets: &'a UInt64Array,
    /// Index, level, message, labels, fields.
    texts: [&'a StringArray; 5],
    /// Values that pipes computed, with their columns.
    computed: Vec<(&'a OutputColumn, &'a ArrayRef)>,
    dropped: &'a BTreeMap<String, usize>,
}

impl<'a> Records<'a> {
    /// `None` when the batch has other columns.
    #[must_use]
    pub fn of(rows: &'a RecordBatch, extras: &'a Extras) -> Option<Self> {
        let (record, computed) = rows.columns().split_first_chunk::<9>()?;
        let [times, ingest_times, partitions, offsets, index, level, message, labels, fields] =
            record;
        Some(Self {
            times: times.as_primitive_opt::<TimestampNanosecondType>()?,
            ingest_times: ingest_times.as_primitive_opt::<TimestampNanosecondType>()?,
            partitions: partitions.as_primitive_opt::<UInt32Type>()?,
            offsets: offsets.as_primitive_opt::<UInt64Type>()?,
            texts: [
                index.as_string_opt()?,
                level.as_string_opt()?,
                message.as_string_opt()?,
                labels.as_string_opt()?,
                fields.as_string_opt()?,
            ],
            computed: extras.computed.iter().zip(computed).collect(),
            dropped: &extras.dropped,
        })
    }

    /// A record's time and id.
    #[must_use]
    pub fn place(&self, row: usize) -> (Timestamp, RecordId) {
        let partition = PartitionId(self.partitions.value(row));
        let id = RecordId { partition, offset: Offset(self.offsets.value(row)) };
        (Timestamp(self.times.value(row)), id)
    }

    /// Index, level, message, labels and fields of a record; the last two are JSON.
    pub(crate) fn texts(&self, row: usize) -> [Cow<'a, str>; 5] {
        let [index, level, message, labels, fields] =
            self.texts.map(|texts| Cow::Borrowed(texts.value(row)));
        if self.computed.is_empty() && self.dropped.is_empty() {
            return [index, level, message, labels, fields];
        }
        let read =
            |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
        let (mut all_labels, mut all_fields) = (read(&labels), read(&fields));
        all_labels.retain(|name, _| !self.dropped.contains_key(name));
        all_fields.retain(|name, _| !self.dropped.contains_key(name));
        // Objects come first.
        for (at, (output, column)) in self.computed.iter().enumerate() {
            match value(column, row, output.kind) {
                Value::Null => {}
                Value::String(object) if output.kind == ColumnKind::Object => {
                    let mut object = read(&object);
                    object
                        .retain(|name, _| self.dropped.get(name).is_none_or(|first| *first <= at));
                    all_fields.extend(object);
                }
                value => {
                    all_fields.insert(output.name.clone(), value);
                }
            }
        }
        let shown = |object| Cow::Owned(Value::Object(object).to_string());
        [index, level, message, shown(all_labels), shown(all_fields)]
    }

    /// Time, level, message, id, ingest time, index, labels and fields of a record.
    #[must_use]
    pub fn cells(&self, row: usize) -> [String; 8] {
        let (time, id) = self.place(row);
        let ingest_time = Timestamp(self.ingest_times.value(row)).to_string();
        let [index, level, message, labels, fields] = self.texts(row).map(Cow::into_owned);
        [time.to_string(), level, message, id.to_string(), ingest_time, index, labels, fields]
    }

    /// Appends one record as a JSON object.
    pub fn write(&self, row: usize, to: &mut Vec<u8>) {
        let (time, id) = self.place(row);
        let ingest_time = Timestamp(self.ingest_times.value(row));
        let [index, level, message, labels, fields] = self.texts(row);
        put(
            to,
            &format!(
                r#"{{"id":"{id}","timestamp":"{time}","ingest_time":"{ingest_time}","index":"#
            ),
        );
        put_text(to, &index);
        put(to, ",\"level\":");
        put_text(to, &level);
        put(to, ",\"message\":");
        put_text(to, &message);
        // These are JSON already.
        put(to, ",\"labels\":");
        put(to, &labels);
        put(to, ",\"fields\":");
        put(to, &fields);
        put(to, "}");
    }
}

fn put(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(text.as_bytes());
}

/// Appends a text as JSON.
pub fn put_text(to: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(&mut *to, text).expect("a Vec takes every write");
}

/// Appends one value of a table as JSON.
pub fn put_cell(to: &mut Vec<u8>, column: &ArrayRef, row: usize, kind: ColumnKind) {
    match cell(column, row, kind) {
        Cell::Json(value) => {
            serde_json::to_writer(to, &value).expect("a Vec takes every write");
        }
        Cell::Digits(digits) => put(to, &digits),
    }
}

/// One value of a table as JSON; numbers beyond 64 bits as floats.
#[must_use]
pub fn value(column: &ArrayRef, row: usize, kind: ColumnKind) -> Value {
    match cell(column, row, kind) {
        Cell::Json(value) => value,
        Cell::Digits(digits) => digits.parse::<f64>().map_or(Value::Null, Value::from),
    }
}

enum Cell {
    Json(Value),
    /// A whole number beyond 64 bits.
    Digits(String),
}

fn cell(column: &ArrayRef, row: usize, kind: ColumnKind) -> Cell {
    if column.is_null(row) {
        return Cell::Json(Value::Null);
    }
    Cell::Json(match column.data_type() {
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::from(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::from(column.as_string_view().value(row)),
        DataType::Int64 => {
            let number = column.as_primitive::<Int64Type>().value(row);
            match kind {
                ColumnKind::Level => {
                    Value::from(Level::from_number(u8::try_from(number).unwrap_or(0)).name())
                }
                _ => Value::from(number),
            }
        }
        DataType::Float64 => Value::from(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::UInt64 => Value::from(column.as_primitive::<UInt64Type>().value(row)),
        DataType::UInt32 => Value::from(column.as_primitive::<UInt32Type>().value(row)),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).map(|at| value(&values, at, ColumnKind::Text)).collect()
        }
        DataType::Timestamp(_, _) => {
            let time = column.as_primitive_opt::<TimestampNanosecondType>();
            time.map_or(Value::Null, |times| Timestamp(times.value(row)).to_string().into())
        }
        DataType::Decimal128(_, _) => {
            let number = column.as_primitive::<Decimal128Type>().value(row);
            match i64::try_from(number) {
                Ok(number) => Value::from(number),
                Err(_) => return Cell::Digits(number.to_string()),
            }
        }
        _ => Value::Null,
    })
}
