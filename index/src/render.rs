//! The output columns of rows that were chosen.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringArray,
    StringBuilder, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::error::ArrowError;
use model::number::{Number, read_number};
use model::record::FieldType;
use serde_json::{Map, Value};

use crate::columns::{Values, numbers, times};
use crate::evaluate::Place;
use crate::rest;
use crate::scan::{Column, ScanError, output_schema};
use crate::schema::{FieldColumnId, REST};
use crate::several::lists;
use crate::split::pattern_of;

/// The column of patterns, among rows of a split that told them.
pub(crate) const PATTERN: &str = "_pattern";

/// The output columns of rows that were chosen.
///
/// # Errors
/// [`ScanError::Arrow`] only.
pub(crate) fn render(
    rows: &RecordBatch,
    place: Place<'_>,
    columns: &[Column],
) -> Result<RecordBatch, ScanError> {
    let count = rows.num_rows();
    let fixed = |name: &str| {
        let column = rows.column_by_name(name).cloned();
        column.ok_or_else(|| ArrowError::SchemaError(format!("rows without {name}")))
    };
    let text = |name: &str| -> ArrayRef {
        let values = Values::named(rows, name);
        Arc::new((0..count).map(|row| values.text(row)).collect::<StringArray>())
    };
    let mut output: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        output.push(match column {
            Column::Timestamp | Column::IngestTime | Column::Message => fixed(column.name())?,
            Column::Earliest | Column::Latest => fixed("timestamp")?,
            Column::Example => fixed("message")?,
            Column::Offset => Arc::new(
                numbers(rows, "offset").cloned().unwrap_or_else(|| UInt64Array::new_null(count)),
            ),
            Column::Partition => Arc::new(UInt32Array::from(vec![place.partition.0; count])),
            Column::Index => Arc::new(StringArray::from(vec![place.index; count])),
            Column::Level => text("level"),
            Column::Pattern => patterns(rows),
            Column::Bin { width, origin } => bins(rows, *width, *origin)?,
            Column::Labels => objects(rows, Part::Labels),
            Column::Fields => objects(rows, Part::Fields),
            Column::Field { name, kind } => named(rows, place, name, *kind),
            Column::Values { name, kind, distinct } => lists(rows, name, *kind, *distinct),
        });
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(output_schema(columns), output, &options)?)
}

/// The beginnings of the bins in which rows are.
fn bins(rows: &RecordBatch, width: i64, origin: i64) -> Result<ArrayRef, ScanError> {
    let missing = || ArrowError::SchemaError("rows without timestamp".to_owned());
    let times = times(rows, "timestamp").ok_or_else(missing)?;
    let bins: TimestampNanosecondArray = times.unary(|time| bin_of(time, width, origin));
    Ok(Arc::new(bins.with_timezone("UTC")))
}

/// The beginning of the bin in which a moment is.
pub(crate) fn bin_of(time: i64, width: i64, origin: i64) -> i64 {
    time.saturating_sub(time.saturating_sub(origin).rem_euclid(width.max(1)))
}

/// The patterns that a split told of its rows; none where it did not. A field may have the name.
pub(crate) fn told_patterns(rows: &RecordBatch) -> Values<'_> {
    let mut columns = rows.schema_ref().fields().iter().zip(rows.columns());
    let told =
        columns.find(|(field, _)| field.name() == PATTERN && FieldColumnId::of(field).is_none());
    told.map_or(Values::None, |(_, column)| Values::of(column))
}

/// The patterns of rows: as their split told them, or made of their messages, which is the same.
fn patterns(rows: &RecordBatch) -> ArrayRef {
    let (known, messages) = (told_patterns(rows), Values::named(rows, "message"));
    let pattern = |row| {
        let pattern = known.text(row).map(std::borrow::Cow::into_owned);
        pattern.or_else(|| messages.text(row).map(|message| pattern_of(&message)))
    };
    Arc::new((0..rows.num_rows()).map(pattern).collect::<StringArray>())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Labels,
    Fields,
}

/// Labels or fields as JSON objects, names sorted.
fn objects(rows: &RecordBatch, part: Part) -> ArrayRef {
    let schema = rows.schema();
    let mut columns: Vec<(String, Values<'_>)> = Vec::new();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let id = FieldColumnId::of(field);
        if let Some(id) = id.filter(|id| id.kind.is_none() == (part == Part::Labels))
            && column.null_count() < column.len()
        {
            columns.push((id.name, Values::of(column)));
        }
    }
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    let rest = Values::named(rows, REST);
    let mut builder = StringBuilder::new();
    for row in 0..rows.num_rows() {
        let mut object = Map::new();
        for (name, values) in &columns {
            if let Some(value) = values.value(row) {
                rest::add(&mut object, name, value);
            }
        }
        if part == Part::Fields
            && let Some(text) = rest.text(row)
        {
            for (name, value) in rest::values(&text) {
                rest::add(&mut object, &name, value);
            }
            object.sort_keys();
        }
        builder.append_value(Value::Object(object).to_string());
    }
    Arc::new(builder.finish())
}

/// The columns of a name that have values.
pub(crate) fn own_columns<'a>(rows: &'a RecordBatch, name: &str) -> Vec<Values<'a>> {
    let mut columns: Vec<Values<'_>> = Vec::new();
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let own = match FieldColumnId::of(field) {
            Some(id) => id.name == name,
            None => field.name() == name && matches!(name, "level" | "message"),
        };
        if own && column.null_count() < column.len() {
            columns.push(Values::of(column));
        }
    }
    columns
}

/// One named value of each row, in one type.
fn named(rows: &RecordBatch, place: Place<'_>, name: &str, kind: FieldType) -> ArrayRef {
    let columns = own_columns(rows, name);
    let rest = Values::named(rows, REST);
    let quoted = Value::from(name).to_string();
    let value = |row: usize| {
        if name == "index" {
            return Some(model::record::FieldValue::Text(place.index.to_owned()));
        }
        columns.iter().find_map(|values| values.value(row)).or_else(|| {
            let text = rest.text(row).filter(|text| text.contains(&quoted))?;
            rest::values(&text).into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
        })
    };
    let count = rows.num_rows();
    match kind {
        FieldType::Text => {
            // The common cases without a copy per value.
            if let ([Values::Text(texts)], true) = (columns.as_slice(), rest_is_empty(rows)) {
                return Arc::new((*texts).clone());
            }
            if let ([values], true) = (columns.as_slice(), rest_is_empty(rows)) {
                return Arc::new((0..count).map(|row| values.text(row)).collect::<StringArray>());
            }
            Arc::new(
                (0..count)
                    .map(|row| value(row).map(|value| value.to_text()))
                    .collect::<StringArray>(),
            )
        }
        FieldType::Int => {
            let mut builder = Int64Builder::with_capacity(count);
            for row in 0..count {
                builder.append_option(value(row).and_then(|value| match value {
                    model::record::FieldValue::Int(number) => Some(number),
                    other => other.to_text().parse().ok(),
                }));
            }
            Arc::new(builder.finish())
        }
        FieldType::Float => {
            let mut builder = Float64Builder::with_capacity(count);
            for row in 0..count {
                let number = columns.iter().find_map(|values| values.number(row));
                let number = number.map(Number::to_float);
                builder.append_option(
                    number.or_else(|| value(row).and_then(|value| read_number(&value.to_text()))),
                );
            }
            Arc::new(builder.finish())
        }
        FieldType::Bool => {
            let mut builder = BooleanBuilder::with_capacity(count);
            for row in 0..count {
                builder.append_option(value(row).and_then(|value| value.to_text().parse().ok()));
            }
            Arc::new(builder.finish())
        }
    }
}

pub(crate) fn rest_is_empty(rows: &RecordBatch) -> bool {
    rows.column_by_name(REST).is_none_or(|rest| rest.null_count() == rest.len())
}
