//! Rows of several batches in another order. Most columns of wide records hold nothing in most
//! rows, and rows in order have their values together: a column of which nothing is picked is not
//! looked at cell by cell. Rows that stay beside each other are copied together.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{
    Array, ArrayData, ArrayRef, MutableArrayData, RecordBatch, make_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

/// Rows that stand beside each other: their batch's place, and which of its rows they are.
pub(crate) type Run = (usize, Range<usize>);

/// Rows for each run and each batch, on average, from which on runs are copied as such: to begin one
/// costs about as much as to pick so many rows.
const RUN_ROWS_MIN: usize = 16;

/// The rows `picks` (a batch's place, a row of it) of batches that have such columns, in this order. The
/// columns at the places `left` (ascending) are left out: they hold nothing.
///
/// # Errors
/// As Arrow says; not for places and rows that are there.
pub(crate) fn pick(
    schema: &SchemaRef,
    batches: &[&RecordBatch],
    picks: &[(usize, usize)],
    left: &[usize],
) -> Result<RecordBatch, ArrowError> {
    let is_null =
        |nulls: Option<&NullBuffer>, row: &usize| nulls.is_none_or(|nulls| nulls.is_null(*row));
    each_column(schema, batches, picks.len(), |at, parts| {
        let is_left = left.binary_search(&at).is_ok();
        if is_left || has_nothing(parts, picks, is_null) {
            Ok(None)
        } else {
            interleave(parts, picks).map(Some)
        }
    })
}

/// The rows of `runs` of batches that have such columns, in this order.
///
/// # Errors
/// As Arrow says; not for places and rows that are there.
pub(crate) fn pick_runs(
    schema: &SchemaRef,
    batches: &[&RecordBatch],
    runs: &[Run],
) -> Result<RecordBatch, ArrowError> {
    if let [(at, rows)] = runs
        && let Some(batch) = batches.get(*at)
    {
        return Ok(batch.slice(rows.start, rows.len()));
    }
    let rows = |(batch, rows): &Run| {
        let batch = *batch;
        rows.clone().map(move |row| (batch, row))
    };
    let picks: Vec<(usize, usize)> = runs.iter().flat_map(rows).collect();
    let are_long = picks.len() >= RUN_ROWS_MIN * (runs.len() + batches.len());
    let is_null = |nulls: Option<&NullBuffer>, rows: &Range<usize>| {
        let of_rows = |nulls: &NullBuffer| nulls.slice(rows.start, rows.len());
        nulls.is_none_or(|nulls| of_rows(nulls).null_count() == rows.len())
    };
    each_column(schema, batches, picks.len(), |_, parts| {
        if has_nothing(parts, runs, is_null) {
            return Ok(None);
        }
        // Dictionaries are joined by the batch, not by the run, and made smaller where that pays.
        let is_of_keys = |part: &&dyn Array| matches!(part.data_type(), DataType::Dictionary(..));
        if are_long && !parts.first().is_some_and(is_of_keys) {
            copied(parts, runs, picks.len()).map(Some)
        } else {
            interleave(parts, &picks).map(Some)
        }
    })
}

/// So many rows of which each column is picked from those of the batches; nothing picked is nothing
/// in every row.
fn each_column(
    schema: &SchemaRef,
    batches: &[&RecordBatch],
    count: usize,
    picked: impl Fn(usize, &[&dyn Array]) -> Result<Option<ArrayRef>, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let mut empty: HashMap<&DataType, ArrayRef> = HashMap::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let parts: Vec<&dyn Array> =
            batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        columns.push(match picked(at, &parts)? {
            Some(column) => column,
            None => {
                let of_type = empty.entry(field.data_type());
                of_type.or_insert_with(|| new_null_array(field.data_type(), count)).clone()
            }
        });
    }
    RecordBatch::try_new(schema.clone(), columns)
}

/// Whether nothing that is picked has a value; `is_null` tells it of a part that has nulls.
fn has_nothing<T>(
    parts: &[&dyn Array],
    picks: &[(usize, T)],
    is_null: impl Fn(Option<&NullBuffer>, &T) -> bool,
) -> bool {
    if parts.iter().any(|part| part.null_count() == 0 && !part.is_empty()) {
        return picks.is_empty();
    }
    let nulls: Vec<Option<&NullBuffer>> = parts
        .iter()
        .map(|part| part.nulls().filter(|nulls| nulls.null_count() < part.len()))
        .collect();
    nulls.iter().all(Option::is_none)
        || picks.iter().all(|(part, rows)| is_null(nulls.get(*part).copied().flatten(), rows))
}

/// Runs of a column one after the other.
fn copied(parts: &[&dyn Array], runs: &[Run], count: usize) -> Result<ArrayRef, ArrowError> {
    let parts: Vec<ArrayData> = parts.iter().map(|part| part.to_data()).collect();
    let mut copy = MutableArrayData::new(parts.iter().collect(), false, count);
    for (part, rows) in runs {
        copy.try_extend(*part, rows.start, rows.end)?;
    }
    Ok(make_array(copy.freeze()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, DictionaryArray, Int64Array, StringArray};
    use arrow::compute::interleave_record_batch;
    use arrow::datatypes::{Field, Int32Type, Schema};
    use proptest::prelude::*;

    use super::*;

    /// The same values in every type that our rows have.
    fn batch(values: &[Option<i64>]) -> RecordBatch {
        let texts: Vec<Option<String>> =
            values.iter().map(|value| value.map(|value| format!("text {value}"))).collect();
        let keys: DictionaryArray<Int32Type> = texts.iter().map(Option::as_deref).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(values.iter().copied().collect::<Int64Array>()),
            Arc::new(texts.iter().collect::<StringArray>()),
            Arc::new(
                values.iter().map(|value| value.map(|value| value > 4)).collect::<BooleanArray>(),
            ),
            Arc::new(keys),
        ];
        let field = |(at, column): (usize, &ArrayRef)| {
            Field::new(format!("column {at}"), column.data_type().clone(), true)
        };
        let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    proptest! {
        #[test]
        fn rows_are_those_that_arrow_picks(
            parts in prop::collection::vec(
                prop::collection::vec(prop::option::of(0_i64..9), 0..6), 1..4),
            picks in prop::collection::vec((0_usize..4, 0_usize..6), 0..9),
        ) {
            let batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part)).collect();
            let schema = batches[0].schema();
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            let is_there = |(part, row): &(usize, usize)| {
                parts.get(*part).is_some_and(|part| *row < part.len())
            };
            let picks: Vec<_> = picks.into_iter().filter(is_there).collect();
            let picked = pick(&schema, &batches, &picks, &[]).unwrap();
            let all = interleave_record_batch(&batches, &picks).unwrap();
            prop_assert_eq!(&picked, &all);
            let some = pick(&schema, &batches, &picks, &[1]).unwrap();
            prop_assert_eq!(some.column(1).null_count(), picks.len());
            prop_assert_eq!(some.column(2), all.column(2));
        }

        #[test]
        fn runs_are_picked_as_their_rows(
            parts in prop::collection::vec(
                prop::collection::vec((prop::option::of(0_i64..9), 1_usize..40), 1..6), 1..4),
            runs in prop::collection::vec((0_usize..4, 0_usize..100, 1_usize..80), 1..9),
        ) {
            let of = |part: &Vec<(Option<i64>, usize)>| {
                let values = part.iter().flat_map(|(value, count)| vec![*value; *count]);
                batch(&values.collect::<Vec<_>>())
            };
            let batches: Vec<RecordBatch> = parts.iter().map(of).collect();
            let schema = batches[0].schema();
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            let within = |(part, from, count): (usize, usize, usize)| {
                let rows = batches.get(part)?.num_rows();
                let from = from % rows;
                Some((part, from..rows.min(from + count)))
            };
            let runs: Vec<Run> = runs.into_iter().filter_map(within).collect();
            prop_assume!(!runs.is_empty());
            let picks: Vec<(usize, usize)> = runs
                .iter()
                .flat_map(|(part, rows)| rows.clone().map(|row| (*part, row)))
                .collect();
            let picked = pick_runs(&schema, &batches, &runs).unwrap();
            prop_assert_eq!(picked, interleave_record_batch(&batches, &picks).unwrap());
        }
    }
}
