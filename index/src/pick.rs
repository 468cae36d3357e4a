//! Rows of several batches in another order. Most columns of wide records hold nothing in most
//! rows, and rows in order have their values together: a column of which nothing is picked is not
//! looked at cell by cell.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

/// The rows `picks` (a batch's place, a row of it) of batches that have such columns, in this order.
///
/// # Errors
/// As Arrow says; not for places and rows that are there.
pub(crate) fn pick(
    schema: &SchemaRef,
    batches: &[&RecordBatch],
    picks: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    let mut empty: HashMap<&DataType, ArrayRef> = HashMap::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let parts: Vec<&dyn arrow::array::Array> =
            batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        columns.push(if is_empty(&parts, picks) {
            let of_type = empty.entry(field.data_type());
            of_type.or_insert_with(|| new_null_array(field.data_type(), picks.len())).clone()
        } else {
            interleave(&parts, picks)?
        });
    }
    RecordBatch::try_new(schema.clone(), columns)
}

/// Whether no row that is picked has a value.
fn is_empty(parts: &[&dyn arrow::array::Array], picks: &[(usize, usize)]) -> bool {
    if parts.iter().any(|part| part.null_count() == 0 && !part.is_empty()) {
        return picks.is_empty();
    }
    let nulls: Vec<_> = parts
        .iter()
        .map(|part| part.nulls().filter(|nulls| nulls.null_count() < part.len()))
        .collect();
    nulls.iter().all(Option::is_none)
        || picks.iter().all(|(part, row)| {
            nulls.get(*part).copied().flatten().is_none_or(|nulls| nulls.is_null(*row))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::compute::interleave_record_batch;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_those_that_arrow_picks(
            parts in prop::collection::vec(
                prop::collection::vec(prop::option::of(0_i64..9), 0..6), 1..4),
            picks in prop::collection::vec((0_usize..4, 0_usize..6), 0..9),
        ) {
            let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
            let batch = |part: &Vec<Option<i64>>| {
                let column: ArrayRef = Arc::new(Int64Array::from(part.clone()));
                RecordBatch::try_new(schema.clone(), vec![column]).unwrap()
            };
            let batches: Vec<RecordBatch> = parts.iter().map(batch).collect();
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            let is_there = |(part, row): &(usize, usize)| {
                parts.get(*part).is_some_and(|part| *row < part.len())
            };
            let picks: Vec<_> = picks.into_iter().filter(is_there).collect();
            let picked = pick(&schema, &batches, &picks).unwrap();
            prop_assert_eq!(picked, interleave_record_batch(&batches, &picks).unwrap());
        }
    }
}
