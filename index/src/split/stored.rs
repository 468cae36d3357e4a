//! Rows as the body stores them: as [`crate::schema`] has them, but for three columns and those of fields
//! that have other types there ([`super::typed`]). Timestamps are in the coarsest unit that loses
//! nothing, since most logs have no nanoseconds; the ingest time, which all records of a batch share,
//! stands once a batch in the bundle; and so do offsets, which timestamps nearly tell.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType,
};
use arrow::error::ArrowError;

use super::coding::{Reader, malformed, put, put_signed};
use super::typed::{Form, Forms};
use crate::columns::{numbers, times};
use crate::schema::time_type;

const INGEST_TIME: &str = "ingest_time";
const OFFSET: &str = "offset";
const TIMESTAMP: &str = "timestamp";

/// When records were accepted: the first offset of each batch and its time, by offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IngestTimes(Vec<(u64, i64)>);

impl IngestTimes {
    /// Of rows in the order of their offsets.
    pub(crate) fn of(parts: &[RecordBatch]) -> Self {
        let mut steps: Vec<(u64, i64)> = Vec::new();
        for rows in parts {
            let (offsets, ingest) = (numbers(rows, "offset"), times(rows, INGEST_TIME));
            let Some((offsets, ingest)) = offsets.zip(ingest) else { continue };
            for (offset, time) in offsets.values().iter().zip(ingest.values()) {
                if steps.last().is_none_or(|(_, last)| last != time) {
                    steps.push((*offset, *time));
                }
            }
        }
        Self(steps)
    }

    /// Of splits of one partition, whose offsets differ.
    pub(crate) fn joined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut steps: Vec<(u64, i64)> =
            all.into_iter().flat_map(|times| times.0.iter().copied()).collect();
        steps.sort_unstable();
        Self(steps)
    }

    /// The times of records. Neighbours often came in one batch.
    pub(crate) fn all(&self, offsets: &[u64]) -> Vec<i64> {
        let (mut known, mut time) = (0..0, 0);
        let at = |offset: &u64| {
            if !known.contains(offset) {
                (known, time) = self.around(*offset);
            }
            time
        };
        offsets.iter().map(at).collect()
    }

    /// The offsets around a record that have its time, and that time.
    fn around(&self, offset: u64) -> (Range<u64>, i64) {
        let after = self.0.partition_point(|(first, _)| *first <= offset);
        let step = after.checked_sub(1).and_then(|at| self.0.get(at));
        let end = self.0.get(after).map_or(u64::MAX, |(first, _)| *first);
        let time = step.or(self.0.first()).map_or(0, |(_, time)| *time);
        (step.map_or(0, |(first, _)| *first)..end, time)
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        let (mut offset, mut time) = (0, 0_i64);
        for step in &self.0 {
            put(&mut out, step.0 - offset);
            put_signed(&mut out, step.1.wrapping_sub(time));
            (offset, time) = *step;
        }
        out
    }

    /// Undoes [`IngestTimes::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let mut steps = Vec::new();
        let (mut offset, mut time) = (0_u64, 0_i64);
        for _ in 0..count {
            offset = offset.checked_add(reader.number()?).ok_or_else(malformed)?;
            time = time.wrapping_add(reader.signed()?);
            steps.push((offset, time));
        }
        Ok(Self(steps))
    }
}

/// The unit in which timestamps are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Nano,
    /// Microseconds.
    Micro,
    /// Milliseconds.
    Milli,
}

impl Unit {
    /// The coarsest that holds all of these exactly.
    pub(crate) fn of(parts: &[RecordBatch]) -> Self {
        let mut unit = Self::Milli;
        let times = parts.iter().filter_map(|rows| times(rows, TIMESTAMP));
        for time in times.flat_map(|times| times.values().iter()) {
            while time % unit.nanoseconds() != 0 {
                unit = if unit == Self::Milli { Self::Micro } else { Self::Nano };
            }
            if unit == Self::Nano {
                break;
            }
        }
        unit
    }

    /// That of a stored schema.
    pub(crate) fn of_stored(schema: &Schema) -> Self {
        schema.field_with_name(TIMESTAMP).map_or(Self::Nano, Self::of_field)
    }

    fn of_field(field: &Field) -> Self {
        match field.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Milli,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Micro,
            _ => Self::Nano,
        }
    }

    fn nanoseconds(self) -> i64 {
        match self {
            Self::Nano => 1,
            Self::Micro => 1_000,
            Self::Milli => 1_000_000,
        }
    }

    fn data_type(self) -> DataType {
        let unit = match self {
            Self::Nano => TimeUnit::Nanosecond,
            Self::Micro => TimeUnit::Microsecond,
            Self::Milli => TimeUnit::Millisecond,
        };
        DataType::Timestamp(unit, Some("UTC".into()))
    }

    fn store(self, times: &TimestampNanosecondArray) -> ArrayRef {
        let scaled = times.values().iter().map(|time| time / self.nanoseconds());
        match self {
            Self::Nano => Arc::new(times.clone()),
            Self::Micro => {
                let times: TimestampMicrosecondArray = scaled.collect::<Vec<_>>().into();
                Arc::new(times.with_timezone("UTC"))
            }
            Self::Milli => {
                let times: TimestampMillisecondArray = scaled.collect::<Vec<_>>().into();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

/// The stored form of a schema.
pub(crate) fn stored_schema(schema: &Schema, unit: Unit, forms: &Forms) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.filter(|field| field.name() != INGEST_TIME && field.name() != OFFSET);
    let stored = fields.map(|field| {
        if field.name() == TIMESTAMP {
            Arc::new(Field::new(TIMESTAMP, unit.data_type(), false))
        } else {
            forms.stored(field)
        }
    });
    Arc::new(Schema::new(stored.collect::<Vec<_>>()))
}

/// Rows in their stored form.
pub(crate) fn to_stored(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| stored_column(rows, field));
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// The column of rows that is stored as this field.
pub(super) fn stored_column(rows: &RecordBatch, field: &Field) -> Result<ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError("rows without a column".to_owned());
    if field.name() == TIMESTAMP {
        let times = times(rows, TIMESTAMP).ok_or_else(missing)?;
        return Ok(Unit::of_field(field).store(times));
    }
    store(field, rows.column_by_name(field.name()).ok_or_else(missing)?)
}

/// A field's column as it is stored.
pub(super) fn store(field: &Field, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match Form::of_stored(field)? {
        Some(form) => form.store(column),
        None => Ok(column.clone()),
    }
}

/// Rows as they were, with nanoseconds and the types of fields; offsets and ingest times apart
/// ([`with_arrival`]).
pub(crate) fn to_rows(stored: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in stored.schema().fields().iter().zip(stored.columns()) {
        if field.name() == TIMESTAMP {
            fields.push(Arc::new(Field::new(TIMESTAMP, time_type(), false)));
            columns.push(nanoseconds(column));
        } else if let Some(form) = Form::of_stored(field)? {
            fields.push(Arc::new(form.in_memory(field)));
            columns.push(form.restore(column)?);
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// Rows with their offsets, and their ingest times when these are known.
pub(crate) fn with_arrival(
    rows: &RecordBatch,
    offsets: UInt64Array,
    ingest: Option<&IngestTimes>,
) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    if let Some(ingest) = ingest {
        let ingest: TimestampNanosecondArray = ingest.all(offsets.values()).into();
        fields.push(Arc::new(Field::new(INGEST_TIME, time_type(), false)));
        columns.push(Arc::new(ingest.with_timezone("UTC")));
    }
    fields.push(Arc::new(Field::new(OFFSET, DataType::UInt64, false)));
    columns.push(Arc::new(offsets));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The timestamps of rows, nanoseconds.
pub(crate) fn moments(rows: &RecordBatch) -> &[i64] {
    times(rows, TIMESTAMP).map_or(&[], |times| times.values())
}

fn nanoseconds(column: &ArrayRef) -> ArrayRef {
    let scaled = |values: &[i64], factor: i64| -> ArrayRef {
        let times: TimestampNanosecondArray =
            values.iter().map(|time| time.wrapping_mul(factor)).collect::<Vec<_>>().into();
        Arc::new(times.with_timezone("UTC"))
    };
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let times = column.as_primitive::<TimestampMillisecondType>();
            scaled(times.values(), Unit::Milli.nanoseconds())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            scaled(times.values(), Unit::Micro.nanoseconds())
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_loses_nothing() {
        let rows = |times: Vec<i64>| {
            let times = TimestampNanosecondArray::from(times).with_timezone("UTC");
            RecordBatch::try_from_iter([(TIMESTAMP, Arc::new(times) as ArrayRef)]).unwrap()
        };
        for (times, unit) in [
            (vec![], Unit::Milli),
            (vec![1_000_000, -5_000_000], Unit::Milli),
            (vec![1_000_000, 1_000], Unit::Micro),
            (vec![1_000_000, i64::MAX, 3], Unit::Nano),
            (vec![i64::MIN], Unit::Nano),
        ] {
            let given = rows(times);
            assert_eq!(Unit::of(std::slice::from_ref(&given)), unit);
            let schema = stored_schema(&given.schema(), unit, &Forms::default());
            let stored = to_stored(&given, &schema).unwrap();
            assert_eq!(Unit::of_stored(&schema), unit);
            assert_eq!(to_rows(&stored).unwrap().columns(), given.columns());
        }
    }

    #[test]
    fn ingest_times_are_those_of_their_batches() {
        let times = IngestTimes(vec![(3, 100), (7, 90), (9, i64::MAX)]);
        let expected = [100, 100, 90, 90, i64::MAX, i64::MAX];
        assert_eq!(times.all(&[3, 6, 7, 8, 9, 99]), expected);
        // Also out of order, and where nothing came before.
        assert_eq!(times.all(&[u64::MAX, 8, 6, 0, 7, 2]), [i64::MAX, 90, 100, 100, 90, 100]);
        assert_eq!(IngestTimes::decode(&times.encode()).unwrap(), times);
        assert_eq!(IngestTimes::default().all(&[5]), [0]);
    }
}
