//! Records as Arrow columns: one shape for fresh records and for the body of a split.
//!
//! Every row has `timestamp offset ingest_time level message`; then a column per label, a
//! column per frequent (field, type), and `_rest`: a JSON object of all values that have no column
//! of their own (rare fields, second values of a field). What a column really holds stands in its
//! metadata, since a field with two types needs two column names.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use model::record::{FieldType, FieldValue};

use crate::columns::Values;
use crate::rest;
pub use crate::rows::rows_of;

/// Field columns of one set of rows; values of rarer fields go to `_rest`.
pub const COLUMNS_MAX: usize = 256;
/// The columns that every row has, in this order.
pub const FIXED: [&str; 5] = ["timestamp", "offset", "ingest_time", "level", "message"];
/// The name by which a filter asks for a record's stream.
pub const STREAM: &str = "_stream";
/// The column of values that have none of their own.
pub const REST: &str = "_rest";

const NAME: &str = "sawlog.name";
const KIND: &str = "sawlog.kind";

/// What a column of a field or label holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldColumnId {
    /// The field's or label's own name.
    pub name: String,
    /// The type of its values; `None` for a label.
    pub kind: Option<FieldType>,
}

impl FieldColumnId {
    /// Reads it from a column; `None` for the columns that every row has, and `_rest`.
    #[must_use]
    pub fn of(field: &Field) -> Option<Self> {
        let name = field.metadata().get(NAME)?.clone();
        let kind = match field.metadata().get(KIND)?.as_str() {
            "label" => None,
            kind => Some(*FieldType::ALL.iter().find(|known| known.name() == kind)?),
        };
        Some(Self { name, kind })
    }
}

/// The type of a timestamp column.
#[must_use]
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The type of a label's or level's column.
#[must_use]
pub fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The type of a field's column.
#[must_use]
pub fn field_type(kind: FieldType) -> DataType {
    match kind {
        FieldType::Text => DataType::Utf8,
        FieldType::Int => DataType::Int64,
        FieldType::Float => DataType::Float64,
        FieldType::Bool => DataType::Boolean,
    }
}

/// Schemas that were made last: batches of one sender, and what is joined of them, mostly have the same,
/// and of hundreds of columns one takes a hundred kilobytes.
static KNOWN: Mutex<VecDeque<Known>> = Mutex::new(VecDeque::new());
/// How many of them are kept.
const KNOWN_MAX: usize = 16;

/// The columns of a schema, and it.
type Known = (Vec<FieldColumnId>, SchemaRef);

/// The schema of rows with these label and field columns, in the order given.
#[must_use]
pub fn schema(columns: &[FieldColumnId]) -> SchemaRef {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, schema)) = known().iter().find(|(of, _)| of == columns) {
        return schema.clone();
    }
    let made = made(columns);
    let mut known = known();
    known.truncate(KNOWN_MAX - 1);
    known.push_front((columns.to_vec(), made.clone()));
    made
}

fn made(columns: &[FieldColumnId]) -> SchemaRef {
    let mut fields = vec![
        Field::new("timestamp", time_type(), false),
        Field::new("offset", DataType::UInt64, false),
        Field::new("ingest_time", time_type(), false),
        Field::new("level", label_type(), false),
        Field::new("message", DataType::Utf8, false),
    ];
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for column in columns {
        *uses.entry(&column.name).or_default() += 1;
    }
    let mut taken: HashSet<String> = FIXED.iter().map(|name| (*name).to_owned()).collect();
    taken.insert(REST.to_owned());
    for column in columns {
        let alone = uses.get(column.name.as_str()) == Some(&1);
        let mut name = match column.kind {
            Some(kind) if !alone && kind != FieldType::Text => {
                format!("{}:{}", column.name, kind.name())
            }
            _ => column.name.clone(),
        };
        while taken.contains(&name) {
            name.push(':');
        }
        let kind = column.kind.map_or("label", FieldType::name);
        let data_type = column.kind.map_or_else(label_type, field_type);
        let metadata = HashMap::from([
            (NAME.to_owned(), column.name.clone()),
            (KIND.to_owned(), kind.to_owned()),
        ]);
        fields.push(Field::new(&name, data_type, true).with_metadata(metadata));
        taken.insert(name);
    }
    fields.push(Field::new(REST, DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

/// The columns that rows of several shapes share: all labels, and the most frequent fields.
#[must_use]
pub fn united<'a>(counts: impl IntoIterator<Item = (&'a FieldColumnId, u64)>) -> SchemaRef {
    let mut sums: HashMap<&FieldColumnId, u64> = HashMap::new();
    for (id, count) in counts {
        *sums.entry(id).or_default() += count;
    }
    let (mut labels, mut fields): (Vec<_>, Vec<_>) =
        sums.into_iter().partition(|(id, _)| id.kind.is_none());
    labels.sort();
    fields.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    fields.truncate(COLUMNS_MAX);
    fields.sort();
    let ids: Vec<_> = labels.into_iter().chain(fields).map(|(id, _)| id.clone()).collect();
    schema(&ids)
}

/// Cells (rows by columns) of a batch that is read, merged or written at a time.
const BATCH_CELLS: usize = 1 << 18;
/// Rows of a batch of few columns, and of very many.
const BATCH_ROWS: std::ops::RangeInclusive<usize> = 256..=8_192;

/// Rows that are handled at a time when they have so many columns: a wide batch would take
/// hundreds of megabytes otherwise, once for each input of a merge.
#[must_use]
pub(crate) fn batch_rows(columns: usize) -> usize {
    (BATCH_CELLS / columns.max(1)).clamp(*BATCH_ROWS.start(), *BATCH_ROWS.end())
}

/// Bytes of texts of a batch: each input of a merge and each scanning thread has one in memory, and
/// Arrow's texts end at 2 GiB.
pub(crate) const BATCH_BYTES: u64 = 8 << 20;

/// The same for rows whose texts take so many bytes.
#[must_use]
pub(crate) fn batch_rows_of(columns: usize, row_bytes: u64) -> usize {
    let fitting = usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(usize::MAX);
    batch_rows(columns).min(fitting.max(1))
}

/// Bytes of the texts of rows: of each text column where its texts end. Columns that hold nothing are
/// left out.
#[derive(Debug)]
pub(crate) struct TextBytes(Vec<OffsetBuffer<i32>>);

impl TextBytes {
    /// Of all texts of some rows.
    #[must_use]
    pub(crate) fn of(rows: &RecordBatch) -> Self {
        let full = rows.columns().iter().filter(|column| column.null_count() < column.len());
        let ends = full.filter_map(|column| match Values::of(column) {
            Values::Text(texts) => Some(texts.offsets().clone()),
            _ => None,
        });
        Self(ends.collect())
    }

    /// Those of rows that stand beside each other.
    #[must_use]
    pub(crate) fn between(&self, rows: &Range<usize>) -> u64 {
        let of = |ends: &OffsetBuffer<i32>| {
            let ends = ends.get(rows.start).zip(ends.get(rows.end));
            ends.map_or(0, |(from, to)| u64::from(to.abs_diff(*from)))
        };
        self.0.iter().map(of).sum()
    }

    /// Where the first of these rows end that together have so many bytes or more; all of them where
    /// they have fewer. One is taken at least, if there is one.
    #[must_use]
    pub(crate) fn end_of(&self, rows: &Range<usize>, bytes: u64) -> usize {
        if rows.is_empty() || self.between(rows) < bytes {
            return rows.end;
        }
        let (mut low, mut high) = (rows.start + 1, rows.end);
        while low < high {
            let middle = low.midpoint(high);
            match self.between(&(rows.start..middle)) < bytes {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// Brings rows to another set of columns; values without a column there go to `_rest`.
///
/// # Errors
/// As Arrow says; not for schemas made here.
pub fn adapt(rows: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if rows.schema_ref() == target {
        return Ok(rows.clone());
    }
    Adapter::new(rows.schema_ref(), target)?.adapt(rows)
}

/// How rows of one set of columns become rows of another: looked up once for all of their batches.
#[derive(Debug)]
pub(crate) struct Adapter {
    from: SchemaRef,
    to: SchemaRef,
    /// What each column is made of.
    columns: Vec<Made>,
    /// The columns whose values go to `_rest`.
    left: Vec<usize>,
}

/// What a column is made of.
#[derive(Debug)]
enum Made {
    /// The column at this place.
    Column(usize),
    Nothing,
    Rest,
}

impl Adapter {
    /// From one schema to another.
    ///
    /// # Errors
    /// When rows lack one of the [`FIXED`] columns.
    pub(crate) fn new(from: &SchemaRef, to: &SchemaRef) -> Result<Self, ArrowError> {
        let fields = from.fields().iter().enumerate();
        let mut source: HashMap<FieldColumnId, usize> =
            fields.filter_map(|(at, field)| Some((FieldColumnId::of(field)?, at))).collect();
        let mut columns = Vec::with_capacity(to.fields().len());
        for field in to.fields() {
            columns.push(match FieldColumnId::of(field) {
                Some(id) => source.remove(&id).map_or(Made::Nothing, Made::Column),
                None if field.name() == REST => Made::Rest,
                None => Made::Column(from.index_of(field.name())?),
            });
        }
        let mut left: Vec<usize> = source.into_values().collect();
        left.sort_unstable();
        Ok(Self { from: from.clone(), to: to.clone(), columns, left })
    }

    /// Whether rows of this schema are those it is made for.
    pub(crate) fn takes(&self, schema: &SchemaRef) -> bool {
        self.from == *schema
    }

    /// Rows of the one schema in the other.
    ///
    /// # Errors
    /// As Arrow says; not for rows of that schema.
    pub(crate) fn adapt(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut empty: HashMap<&DataType, ArrayRef> = HashMap::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (field, made) in self.to.fields().iter().zip(&self.columns) {
            columns.push(match made {
                Made::Column(at) => rows.column(*at).clone(),
                Made::Nothing => {
                    let of_type = empty.entry(field.data_type());
                    let empty = || new_null_array(field.data_type(), rows.num_rows());
                    of_type.or_insert_with(empty).clone()
                }
                Made::Rest => rest::with(rows, &self.left),
            });
        }
        RecordBatch::try_new(self.to.clone(), columns)
    }
}

/// The value of a field or label column in a row.
#[must_use]
pub fn value_at(rows: &RecordBatch, column: usize, row: usize) -> Option<FieldValue> {
    Values::of(rows.column(column)).value(row)
}
