//! A decoded batch as rows. Most columns have one value a row at most, and their values stand in the batch
//! as they do in Arrow: texts are not copied then.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, DictionaryArray, Int32Array,
    PrimitiveArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use model::batch::{Batch, FieldColumn, FieldValues, Texts};
use model::level::Level;
use model::partition::Entry;

use crate::rest::{self, Left};
use crate::schema::{COLUMNS_MAX, FieldColumnId, schema};

/// A decoded batch as rows.
///
/// # Errors
/// Only when the batch contradicts itself, which decoding has ruled out.
pub fn rows_of(entry: &Entry, batch: &Batch) -> Result<RecordBatch, ArrowError> {
    let count = batch.record_count();
    let mut by_size: Vec<&FieldColumn> = batch.fields.iter().collect();
    by_size.sort_by_key(|column| std::cmp::Reverse(column.rows.len()));
    let own_count = by_size.len().min(COLUMNS_MAX);
    let (own, rare) = by_size.split_at_mut(own_count);
    // As in a split: which of several values is the first is the same there.
    let in_order = |a: &&FieldColumn, b: &&FieldColumn| {
        (&a.name, a.values.kind()).cmp(&(&b.name, b.values.kind()))
    };
    own.sort_by(in_order);
    rare.sort_by(in_order);

    let label = |(name, _): (&str, &str)| FieldColumnId { name: name.to_owned(), kind: None };
    let mut ids: Vec<FieldColumnId> = batch.labels.iter().map(label).collect();
    ids.extend(own.iter().map(|column| FieldColumnId {
        name: column.name.clone(),
        kind: Some(column.values.kind()),
    }));

    let first = entry.first.0;
    let offsets = (first..first + count as u64).collect::<Vec<_>>();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(batch.timestamps.clone()).with_timezone("UTC")),
        Arc::new(UInt64Array::from(offsets)),
        Arc::new(
            TimestampNanosecondArray::from(vec![entry.ingest_time.0; count]).with_timezone("UTC"),
        ),
        Arc::new(levels(&batch.levels)?),
        Arc::new(messages(batch)?),
    ];
    for (_, value) in batch.labels.iter() {
        let keys = Int32Array::from(vec![0; count]);
        let values = Arc::new(StringArray::from(vec![value]));
        columns.push(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?));
    }
    let mut rest = Left::new();
    for column in own.iter() {
        columns.push(own_column(column, count, &mut rest)?);
    }
    for column in rare.iter() {
        for (at, row) in column.rows.iter().enumerate() {
            if let Some(value) = column.values.get(at) {
                rest.push((*row, &column.name, value));
            }
        }
    }
    columns.push(rest::array(count, rest));
    RecordBatch::try_new(schema(&ids), columns)
}

fn levels(numbers: &[u8]) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let keys = numbers.iter().map(|number| i32::from(Level::from_number(*number).number()));
    let names = StringArray::from_iter_values(Level::ALL.iter().map(|level| level.name()));
    DictionaryArray::try_new(Int32Array::from_iter_values(keys), Arc::new(names))
}

/// The messages, sharing the bytes of the decoded batch.
fn messages(batch: &Batch) -> Result<StringArray, ArrowError> {
    let ends = batch.messages.ends().iter().map(|end| end.cast_signed());
    let ends: Vec<i32> = std::iter::once(0).chain(ends).collect();
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    StringArray::try_new(offsets, Buffer::from(batch.messages.bytes().clone()), None)
}

/// A column of a field's first values; further values of the same row go to `_rest`.
fn own_column<'a>(
    column: &'a FieldColumn,
    count: usize,
    rest: &mut Left<'a>,
) -> Result<ArrayRef, ArrowError> {
    if column.rows.is_sorted_by(|row, next| row < next) {
        return single(&column.values, &column.rows, count);
    }
    // The rows that have a value, ascending, and the place of each one's first among the column's.
    let (mut rows, mut firsts) = (Vec::new(), Vec::new());
    for (at, row) in column.rows.iter().enumerate() {
        if rows.last().is_none_or(|last| last < row) {
            rows.push(*row);
            firsts.push(at);
        } else if let Some(value) = column.values.get(at) {
            rest.push((*row, &column.name, value));
        }
    }
    single(&picked(&column.values, &firsts), &rows, count)
}

/// Some of a column's values.
fn picked(values: &FieldValues, places: &[usize]) -> FieldValues {
    fn of<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
        places.iter().filter_map(|at| values.get(*at).copied()).collect()
    }
    match values {
        FieldValues::Text(texts) => {
            FieldValues::Text(places.iter().filter_map(|at| texts.get(*at)).collect())
        }
        FieldValues::Int(numbers) => FieldValues::Int(of(numbers, places)),
        FieldValues::Float(numbers) => FieldValues::Float(of(numbers, places)),
        FieldValues::Bool(truths) => FieldValues::Bool(of(truths, places)),
    }
}

/// A column of so many rows that has values in these, which ascend.
fn single(values: &FieldValues, rows: &[u32], count: usize) -> Result<ArrayRef, ArrowError> {
    if rows.last().is_some_and(|row| *row as usize >= count) || rows.len() != values.len() {
        return Err(ArrowError::InvalidArgumentError(
            "values of rows that are not there".to_owned(),
        ));
    }
    Ok(match values {
        FieldValues::Text(texts) => Arc::new(texts_at(texts, rows, count)?),
        FieldValues::Int(values) => Arc::new(numbers::<Int64Type>(values, rows, count)),
        FieldValues::Float(values) => Arc::new(numbers::<Float64Type>(values, rows, count)),
        FieldValues::Bool(truths) => {
            let values = BooleanBuffer::from(placed(truths, rows, count));
            Arc::new(BooleanArray::new(values, nulls(rows, count)))
        }
    })
}

fn numbers<T: ArrowPrimitiveType>(
    values: &[T::Native],
    rows: &[u32],
    count: usize,
) -> PrimitiveArray<T> {
    PrimitiveArray::new(placed(values, rows, count).into(), nulls(rows, count))
}

/// Texts at their rows, sharing the bytes of the decoded batch: a row without a text has none of them.
fn texts_at(texts: &Texts, rows: &[u32], count: usize) -> Result<StringArray, ArrowError> {
    let (mut ends, mut last) = (Vec::with_capacity(count + 1), 0);
    for (row, end) in rows.iter().zip(texts.ends()) {
        // Where the text begins is where all before it end.
        ends.resize(*row as usize + 1, last);
        last = end.cast_signed();
    }
    ends.resize(count + 1, last);
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    StringArray::try_new(offsets, Buffer::from(texts.bytes().clone()), nulls(rows, count))
}

/// Values at their rows, of so many rows.
fn placed<T: Copy + Default>(values: &[T], rows: &[u32], count: usize) -> Vec<T> {
    if rows.len() == count {
        return values.to_vec();
    }
    let mut placed = vec![T::default(); count];
    for (row, value) in rows.iter().zip(values) {
        if let Some(slot) = placed.get_mut(*row as usize) {
            *slot = *value;
        }
    }
    placed
}

/// Which of so many rows have a value; `None` where all have.
fn nulls(rows: &[u32], count: usize) -> Option<NullBuffer> {
    if rows.len() == count {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(count);
    valid.append_n(count, false);
    rows.iter().for_each(|row| valid.set_bit(*row as usize, true));
    Some(NullBuffer::new(valid.finish()))
}

#[cfg(test)]
mod tests {
    use model::batch::BatchBuilder;
    use model::codec;
    use model::partition::Offset;
    use model::record::{FieldValue, Record};
    use model::stream::{IndexName, Labels};
    use model::time::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::columns::Values;
    use crate::schema::REST;

    fn value() -> impl Strategy<Value = FieldValue> {
        prop_oneof![
            "[aé]{0,3}".prop_map(FieldValue::Text),
            any::<i64>().prop_map(FieldValue::Int),
            (-9_i16..9).prop_map(|number| FieldValue::Float(f64::from(number) / 4.0)),
            any::<bool>().prop_map(FieldValue::Bool),
        ]
    }

    proptest! {
        #[test]
        fn rows_have_the_values_of_their_records(
            records in prop::collection::vec(
                prop::collection::vec((0_usize..3, value()), 0..6), 1..9),
        ) {
            let labels = Labels::new(vec![("host".to_owned(), "h".to_owned())]).unwrap();
            let mut builder = BatchBuilder::new(IndexName::default(), labels);
            for (row, fields) in records.iter().enumerate() {
                let field = |(name, value): &(usize, FieldValue)| (format!("f{name}"), value.clone());
                let (message, fields) = (format!("m{row}"), fields.iter().map(field).collect());
                builder.push(Record { message, fields, ..Record::default() }, Timestamp(7));
            }
            let bytes = codec::encode(&builder.finish(), model::batch::Sequence::NONE).unwrap();
            let (_, batch) = codec::decode(&bytes).unwrap();
            let record_count = u32::try_from(records.len()).unwrap();
            let (first, ingest_time) = (Offset(5), Timestamp(9));
            let entry = Entry { first, ingest_time, record_count, batch: bytes };
            let rows = rows_of(&entry, &batch).unwrap();
            prop_assert_eq!(rows.num_rows(), records.len());
            let (ids, rest) = (rows.schema(), Values::named(&rows, REST));
            for (row, fields) in records.iter().enumerate() {
                prop_assert_eq!(Values::named(&rows, "message").text(row).unwrap(), format!("m{row}"));
                prop_assert_eq!(Values::named(&rows, "host").text(row).unwrap(), "h");
                // Of each name and type the first value has the column, others the rest.
                let mut left: Vec<FieldValue> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                for (name, value) in fields {
                    let id = FieldColumnId { name: format!("f{name}"), kind: Some(value.kind()) };
                    let is_it = |field: &Arc<arrow::datatypes::Field>| {
                        FieldColumnId::of(field).as_ref() == Some(&id)
                    };
                    let at = ids.fields().iter().position(is_it).unwrap();
                    if seen.insert(id) {
                        prop_assert_eq!(&Values::of(rows.column(at)).value(row).unwrap(), value);
                    } else {
                        left.push(value.clone());
                    }
                }
                let own = ids.fields().iter().zip(rows.columns());
                let own = own.filter(|(field, _)| FieldColumnId::of(field).is_some_and(|id| id.kind.is_some()));
                let present = own.filter(|(_, column)| Values::of(column).is_present(row)).count();
                prop_assert_eq!(present, seen.len());
                let rest = rest.text(row).map(|text| rest::values(&text)).unwrap_or_default();
                prop_assert_eq!(rest.len(), left.len());
            }
        }
    }

    #[test]
    fn rows_outside_are_refused() {
        assert!(single(&FieldValues::Int(vec![1]), &[3], 3).is_err());
        assert!(single(&FieldValues::Int(vec![1]), &[1, 2], 3).is_err());
        assert!(single(&FieldValues::Bool(vec![true]), &[2], 3).is_ok());
    }
}
