//! Columns that are written one after the other: of rows with many columns few are in memory in the
//! order of a split, and one is packed, at a time. A column's values are put where their rows stand;
//! cells without one are not looked at, and most of those of wide records are such. A merge reads such a
//! column of all splits when it is its turn.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanArray, BooleanBufferBuilder,
    PrimitiveArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use model::record::FieldType;

use super::body_name;
use super::build::BuildError;
use super::open::Split;
use super::senders::is_sender;
use super::sketch::Sketches;
use super::stored::to_rows;
use super::sums::Sums;
use crate::columns::Values;
use crate::scan::ScanError;
use crate::schema::FieldColumnId;

/// Columns of fields from which on they are written one after the other.
const COLUMNS_MIN: usize = if cfg!(test) { 2 } else { 16 };
/// Rows up to which they are: those of one row group.
const ROWS_MAX: usize = 1 << 20;
/// Bytes of the texts of a column up to which it is made whole, in memory.
const TEXTS_BYTES_MAX: u64 = 64 << 20;

/// Columns that the rows of a split come without. Each is made whole, behind all rows.
pub(crate) struct Late<'a> {
    schema: SchemaRef,
    given: Given<'a>,
    /// Their places in the schema, ascending.
    columns: Vec<usize>,
    ids: HashSet<FieldColumnId>,
    places: Places,
    row_count: usize,
}

/// What the columns are made of.
enum Given<'a> {
    /// Rows in parts, with all columns.
    Rows(Vec<RecordBatch>),
    Splits(&'a [Split]),
}

/// Where the rows of each part, or split, stand in the new split. Of splits it is told while they are
/// merged. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Placed>>);

#[derive(Debug, Default)]
struct Placed {
    of: Vec<Vec<u32>>,
    next: u32,
}

impl Places {
    /// Of parts of so many rows.
    fn new(counts: impl Iterator<Item = usize>) -> Self {
        let of = counts.map(|count| vec![0; count]).collect();
        Self(Arc::new(Mutex::new(Placed { of, next: 0 })))
    }

    /// These rows of a part come next.
    pub(crate) fn add(&self, part: usize, rows: Range<usize>) {
        let Placed { of, next } = &mut *self.lock();
        let places = of.get_mut(part).and_then(|places| places.get_mut(rows));
        for place in places.into_iter().flatten() {
            *place = *next;
            *next += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Placed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A column of a part, and where its rows stand.
type Part<'a> = (ArrayRef, &'a [u32]);

impl<'a> Late<'a> {
    /// No column.
    fn none(schema: SchemaRef) -> Self {
        let (given, columns) = (Given::Rows(Vec::new()), Vec::new());
        let (ids, places) = (HashSet::new(), Places::default());
        Self { schema, given, columns, ids, places, row_count: 0 }
    }

    fn new(
        schema: &SchemaRef,
        (given, places): (Given<'a>, impl FnOnce() -> Places),
        row_count: usize,
        text_bytes: impl Fn(usize, &FieldColumnId) -> u64,
    ) -> Self {
        let is_late = |(at, field): (usize, &Arc<Field>)| {
            let id = FieldColumnId::of(field).filter(|id| id.kind.is_some() && !is_sender(id))?;
            let is_text = id.kind == Some(FieldType::Text);
            (!is_text || text_bytes(at, &id) <= TEXTS_BYTES_MAX).then_some(at)
        };
        let columns: Vec<usize> = schema.fields().iter().enumerate().filter_map(is_late).collect();
        if columns.len() < COLUMNS_MIN || row_count > ROWS_MAX {
            return Self::none(schema.clone());
        }
        let ids = columns.iter().filter_map(|at| FieldColumnId::of(schema.field(*at))).collect();
        Self { schema: schema.clone(), given, columns, ids, places: places(), row_count }
    }

    /// Of rows in parts with the columns of one schema, that stand in a split in such an order (the
    /// part of each, and its row there): the columns of fields but for those that tell senders, where
    /// they are many.
    pub(crate) fn of(schema: &SchemaRef, parts: &[RecordBatch], order: &[(usize, usize)]) -> Self {
        let text_bytes = |at: usize, _: &FieldColumnId| {
            parts.iter().map(|part| text_bytes(part.column(at))).sum::<u64>()
        };
        let places = || {
            let places = Places::new(parts.iter().map(RecordBatch::num_rows));
            order.iter().for_each(|(part, row)| places.add(*part, *row..*row + 1));
            places
        };
        let given = Given::Rows(parts.to_vec());
        Self::new(schema, (given, places), order.len(), text_bytes)
    }

    /// The same of splits that are merged with all their rows, of which so much is known; none where
    /// too little is.
    pub(crate) fn of_splits(
        schema: &SchemaRef,
        splits: &'a [Split],
        sketches: &Sketches,
        sums: &Sums,
    ) -> Result<Self, ScanError> {
        let mut is_known = sums.fields.is_some();
        for split in splits {
            is_known = is_known && split.sketches()?.is_some();
        }
        if !is_known {
            return Ok(Self::none(schema.clone()));
        }
        let counts = || splits.iter().map(|split| split.row_count as usize);
        let text_bytes = |_: usize, id: &FieldColumnId| sketches.text_bytes(id);
        let given = (Given::Splits(splits), || Places::new(counts()));
        Ok(Self::new(schema, given, counts().sum(), text_bytes))
    }

    /// Their places among the columns of the rows, ascending.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether the column of a field is one of them.
    pub(crate) fn has(&self, id: &FieldColumnId) -> bool {
        self.ids.contains(id)
    }

    /// Where rows come to stand, for who merges them.
    pub(crate) fn places(&self) -> Places {
        self.places.clone()
    }

    /// The place of a column, if it is one of them.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let at = self.schema.index_of(name).ok()?;
        self.columns.binary_search(&at).is_ok().then_some(at)
    }

    /// One of them, in the order of the split.
    ///
    /// # Errors
    /// [`BuildError`] where a split cannot be read.
    pub(super) fn column(&self, at: usize) -> Result<ArrayRef, BuildError> {
        let (placed, field) = (self.places.lock(), self.schema.field(at));
        let mut parts: Vec<Part<'_>> = Vec::new();
        match &self.given {
            Given::Rows(rows) => {
                let places = placed.of.iter().map(Vec::as_slice);
                parts.extend(rows.iter().map(|part| part.column(at).clone()).zip(places));
            }
            Given::Splits(splits) => {
                let id = FieldColumnId::of(field);
                for (split, places) in splits.iter().zip(&placed.of) {
                    let mut left = places.as_slice();
                    for column in split.column(id.as_ref())? {
                        let (own, rest) = left.split_at(column.len().min(left.len()));
                        parts.push((column, own));
                        left = rest;
                    }
                }
            }
        }
        parts.retain(|(column, _)| column.null_count() < column.len());
        Ok(match field.data_type() {
            DataType::Utf8 => Arc::new(texts(&parts, self.row_count)?),
            DataType::Int64 => Arc::new(numbers::<Int64Type>(&parts, self.row_count)),
            DataType::Float64 => Arc::new(numbers::<Float64Type>(&parts, self.row_count)),
            DataType::Boolean => Arc::new(truths(&parts, self.row_count)),
            other => return Err(BuildError::Broken(format!("a field's column of {other}"))),
        })
    }
}

impl Split {
    /// A field's column of all rows, in parts; none where it has none.
    fn column(&self, id: Option<&FieldColumnId>) -> Result<Vec<ArrayRef>, ScanError> {
        let body = self.body()?;
        let mut fields = body.parquet.schema().fields().iter();
        let at = fields.position(|field| FieldColumnId::of(field).as_ref() == id);
        let Some(at) = at.filter(|_| id.is_some()) else { return Ok(Vec::new()) };
        let (asked, name) = (&self.bundle.asked, body_name(&self.meta.id));
        let rows = self.reader(&body, &body.parquet, &[at], None)?.map(|rows| {
            let rows = rows.and_then(|rows| to_rows(&rows));
            let rows = rows.map_err(|error| asked.wrong(&name, error.to_string()))?;
            Ok(rows.columns().first().cloned())
        });
        rows.filter_map(Result::transpose).collect()
    }
}

/// Bytes of a column's texts.
fn text_bytes(column: &ArrayRef) -> u64 {
    let Values::Text(texts) = Values::of(column) else { return 0 };
    let ends = texts.value_offsets();
    ends.first().zip(ends.last()).map_or(0, |(from, to)| u64::from(to.abs_diff(*from)))
}

/// So many bits, none of which is set.
fn unset(count: usize) -> BooleanBufferBuilder {
    let mut bits = BooleanBufferBuilder::new(count);
    bits.append_n(count, false);
    bits
}

/// Which rows have a value.
fn nulls_of(mut valid: BooleanBufferBuilder) -> Option<NullBuffer> {
    Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
}

/// Calls `each` with every row that has a value, and its place.
fn each_value((column, places): &Part<'_>, mut each: impl FnMut(usize, usize)) {
    let mut call = |row: usize| {
        if let Some(place) = places.get(row) {
            each(row, *place as usize);
        }
    };
    match column.nulls() {
        Some(nulls) => nulls.valid_indices().for_each(call),
        None => (0..column.len()).for_each(&mut call),
    }
}

fn numbers<T: ArrowPrimitiveType>(parts: &[Part<'_>], count: usize) -> PrimitiveArray<T> {
    let (mut values, mut valid) = (vec![T::Native::default(); count], unset(count));
    for part in parts {
        let given = part.0.as_primitive::<T>().values();
        each_value(part, |row, place| {
            if let (Some(slot), Some(value)) = (values.get_mut(place), given.get(row)) {
                *slot = *value;
                valid.set_bit(place, true);
            }
        });
    }
    PrimitiveArray::new(values.into(), nulls_of(valid))
}

fn truths(parts: &[Part<'_>], count: usize) -> BooleanArray {
    let (mut values, mut valid) = (unset(count), unset(count));
    for part in parts {
        let given = part.0.as_boolean();
        each_value(part, |row, place| {
            values.set_bit(place, given.value(row));
            valid.set_bit(place, true);
        });
    }
    BooleanArray::new(values.finish(), nulls_of(valid))
}

fn texts(parts: &[Part<'_>], count: usize) -> Result<StringArray, ArrowError> {
    let too_long = || ArrowError::ComputeError("texts of more than 2 GiB".to_owned());
    // First how long each is, then where it ends.
    let (mut ends, mut valid) = (vec![0_i32; count + 1], unset(count));
    for part in parts {
        let given = part.0.as_string::<i32>();
        each_value(part, |row, place| {
            if let Some(end) = ends.get_mut(place + 1) {
                *end = given.value_length(row);
                valid.set_bit(place, true);
            }
        });
    }
    let mut length = 0_i32;
    for end in &mut ends {
        length = length.checked_add(*end).ok_or_else(too_long)?;
        *end = length;
    }
    let mut bytes = vec![0_u8; usize::try_from(length).map_err(|_| too_long())?];
    for part in parts {
        let given = part.0.as_string::<i32>();
        each_value(part, |row, place| {
            let text = given.value(row).as_bytes();
            let start = ends.get(place).and_then(|start| usize::try_from(*start).ok());
            let slot = start.and_then(|start| bytes.get_mut(start..start + text.len()));
            if let Some(slot) = slot {
                slot.copy_from_slice(text);
            }
        });
    }
    StringArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), nulls_of(valid))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};
    use arrow::compute::interleave;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{REST, schema};

    const KINDS: [FieldType; 4] =
        [FieldType::Text, FieldType::Int, FieldType::Float, FieldType::Bool];

    /// The same values in every type of a field, and nothing in the other columns.
    fn part(values: &[Option<i64>]) -> RecordBatch {
        let ids = KINDS
            .map(|kind| FieldColumnId { name: kind.name().to_owned(), kind: Some(kind) })
            .into_iter()
            .chain([FieldColumnId { name: "host".to_owned(), kind: Some(FieldType::Text) }]);
        let own = schema(&ids.collect::<Vec<_>>());
        let fields: Vec<Field> = own
            .fields()
            .iter()
            .filter(|field| FieldColumnId::of(field).is_some() || field.name() == REST)
            .map(|field| field.as_ref().clone())
            .collect();
        let given = || values.iter().copied();
        let text =
            || given().map(|value| value.map(|value| "é".repeat(usize::try_from(value).unwrap())));
        let columns = fields.iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "int" => Arc::new(given().collect::<Int64Array>()),
                "float" => {
                    Arc::new(given().map(|v| v.map(|v| v as f64 / 3.0)).collect::<Float64Array>())
                }
                "bool" => Arc::new(given().map(|v| v.map(|v| v > 3)).collect::<BooleanArray>()),
                _ => Arc::new(text().collect::<StringArray>()),
            }
        });
        let columns = columns.collect();
        RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap()
    }

    proptest! {
        #[test]
        fn columns_are_those_that_arrow_picks(
            parts in prop::collection::vec(
                prop::collection::vec(prop::option::of(0_i64..9), 1..9), 1..4),
            shuffle in any::<u64>(),
        ) {
            let batches: Vec<RecordBatch> = parts.iter().map(|part| self::part(part)).collect();
            let rows = |(at, part): (usize, &Vec<_>)| (0..part.len()).map(move |row| (at, row));
            let mut order: Vec<(usize, usize)> =
                parts.iter().enumerate().flat_map(rows).collect();
            let key = |place: &(usize, usize)| {
                (place.0 as u64 * 31 + place.1 as u64 + 1).wrapping_mul(shuffle | 1)
            };
            order.sort_by_key(key);
            let schema = batches[0].schema();
            let late = Late::of(&schema, &batches, &order);
            prop_assert_eq!(late.columns().len(), KINDS.len());
            prop_assert!(late.place("host").is_none() && late.place(REST).is_none());
            for kind in KINDS {
                let at = late.place(kind.name()).unwrap();
                let columns: Vec<&dyn Array> =
                    batches.iter().map(|batch| batch.column(at).as_ref()).collect();
                let expected = interleave(&columns, &order).unwrap();
                prop_assert_eq!(&late.column(at).unwrap(), &expected);
            }
        }
    }

    #[test]
    fn few_columns_come_with_their_rows() {
        let batch = part(&[Some(1), None]).project(&[0, 4]).unwrap();
        let late = Late::of(&batch.schema(), &[batch], &[(0, 0), (0, 1)]);
        assert!(late.columns().is_empty());
    }

    #[test]
    fn long_columns_and_those_of_very_many_rows_come_with_their_rows() {
        let schema = part(&[None]).schema();
        let columns = |rows: usize, bytes: u64| {
            let given = (Given::Rows(Vec::new()), Places::default);
            Late::new(&schema, given, rows, |_, _| bytes).columns().len()
        };
        assert_eq!(columns(ROWS_MAX, TEXTS_BYTES_MAX), KINDS.len());
        assert_eq!(columns(ROWS_MAX, TEXTS_BYTES_MAX + 1), KINDS.len() - 1);
        assert_eq!(columns(ROWS_MAX + 1, 0), 0);
    }
}
