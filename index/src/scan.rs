//! What a query asks of a set of rows, and the columns it gets back.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use model::query::Filter;
use model::record::FieldType;
use model::time::TimeRange;
use serde::{Deserialize, Serialize};

use crate::columns::{numbers, times};
use crate::evaluate::{Evaluator, Place};
use crate::schema::{FieldColumnId, REST, STREAM, field_type, time_type};
use crate::several::list_type;
use crate::tally::Tally;

pub(crate) use crate::render::{own_columns, render, rest_is_empty};
pub use crate::tally::COUNTED_COLUMNS_MAX;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Column {
    /// When it happened.
    Timestamp,
    /// When the node accepted it.
    IngestTime,
    /// Its partition, u32.
    Partition,
    /// Its offset there, u64.
    Offset,
    /// Its index's name.
    Index,
    /// Its level's name.
    Level,
    /// Its message.
    Message,
    /// Its labels as a JSON object.
    Labels,
    /// Its fields as a JSON object.
    Fields,
    /// What its message has in common with others: `<*>` in the place of the tokens that vary by
    /// their look, so that a message has one pattern wherever it is stored.
    Pattern,
    /// The beginning of the bin of time in which its timestamp is.
    Bin {
        /// Nanoseconds of a bin, more than 0.
        width: i64,
        /// Where a bin begins, nanoseconds since 1970.
        origin: i64,
    },
    /// One named value (a field, a label, `level`, `message` or `index`) in one type: as text,
    /// any value's text; as a float, numbers and texts that read as numbers; null where there is
    /// none. Of several values the first.
    Field {
        /// Its name.
        name: String,
        /// The type wanted.
        kind: FieldType,
    },
    /// All values of a name as a list, in one type as [`Column::Field`] has it; null where there
    /// is none.
    Values {
        /// The name.
        name: String,
        /// The type wanted.
        kind: FieldType,
        /// Each value once.
        distinct: bool,
    },
    /// The earliest timestamp of the records that a row stands for: of one record its own.
    Earliest,
    /// The latest timestamp of the records that a row stands for.
    Latest,
    /// The least message, by its bytes, of the records that a row stands for.
    Example,
}

impl Column {
    /// The column's name in the answer.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Timestamp => "timestamp",
            Self::IngestTime => "ingest_time",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Index => "index",
            Self::Level => "level",
            Self::Message => "message",
            Self::Labels => "labels",
            Self::Fields => "fields",
            Self::Pattern => "pattern",
            Self::Bin { .. } => "bin",
            Self::Field { name, .. } | Self::Values { name, .. } => name,
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Example => "example",
        }
    }

    /// Whether rows can be counted by it ([`ScanRequest::counted`]).
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            Self::Level
                | Self::Index
                | Self::Pattern
                | Self::Bin { .. }
                | Self::Field { kind: FieldType::Text, .. }
        )
    }

    /// Whether it tells something of the records of a group, beside what they are counted by.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        matches!(self, Self::Earliest | Self::Latest | Self::Example)
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Timestamp
            | Self::IngestTime
            | Self::Bin { .. }
            | Self::Earliest
            | Self::Latest => time_type(),
            Self::Partition => DataType::UInt32,
            Self::Offset => DataType::UInt64,
            Self::Field { kind, .. } => field_type(*kind),
            Self::Values { kind, .. } => list_type(*kind),
            _ => DataType::Utf8,
        }
    }

    fn reads(&self, id: Option<&FieldColumnId>, name: &str) -> bool {
        match self {
            Self::Timestamp | Self::IngestTime | Self::Offset | Self::Level | Self::Message => {
                name == self.name()
            }
            Self::Partition | Self::Index => false,
            Self::Pattern | Self::Example => name == "message",
            Self::Bin { .. } | Self::Earliest | Self::Latest => name == "timestamp",
            Self::Labels => id.is_some_and(|id| id.kind.is_none()),
            Self::Fields => id.is_some_and(|id| id.kind.is_some()) || name == REST,
            Self::Field { name: wanted, .. } | Self::Values { name: wanted, .. } => match id {
                Some(id) => id.name == *wanted,
                None => name == *wanted || name == REST,
            },
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRequest {
    /// Which records.
    pub filter: Filter,
    /// When.
    pub range: TimeRange,
    /// What of them.
    pub columns: Vec<Column>,
    /// Only so many of the newest, ordered by (timestamp, offset) descending; all of them, in any
    /// order, when `None`.
    pub newest: Option<usize>,
    /// How many rows have the same values in these columns, instead of the rows: a last column
    /// `count` (i64) stands behind them. A group may come several times. Not together with
    /// `newest`; at most [`COUNTED_COLUMNS_MAX`] columns, of which each [`Column::is_counted`],
    /// and any that [`Column::is_measured`].
    pub counted: bool,
}

impl ScanRequest {
    /// The schema of an answer to it.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        match self.counted {
            true => output_schema_counted(&self.columns),
            false => output_schema(&self.columns),
        }
    }

    /// How many records some rows of an answer stand for.
    #[must_use]
    pub fn records(&self, rows: &RecordBatch) -> u64 {
        let counts = rows.columns().last().filter(|_| self.counted);
        match counts.and_then(|counts| counts.as_primitive_opt::<Int64Type>()) {
            Some(counts) => counts.values().iter().map(|count| count.unsigned_abs()).sum(),
            None => rows.num_rows() as u64,
        }
    }
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A split's object is damaged or gone.
    #[error("{object} is unreadable: {what}")]
    Corrupt {
        /// The object and the part of it.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// A node that has the rows does not answer.
    #[error("{what} cannot be read: {why}")]
    Away {
        /// Whose rows.
        what: String,
        /// What was heard of it.
        why: String,
    },
    /// Arrow refuses; our mistake.
    #[error("rows do not fit their schema")]
    Arrow(#[from] ArrowError),
}

/// The schema of an answer.
#[must_use]
pub fn output_schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name(), column.data_type(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The schema of counted rows.
pub(crate) fn output_schema_counted(columns: &[Column]) -> SchemaRef {
    let fields = output_schema(columns);
    let count = Arc::new(Field::new("count", DataType::Int64, false));
    Arc::new(Schema::new(fields.fields().iter().cloned().chain([count]).collect::<Vec<_>>()))
}

/// Which columns of a stored schema the filter and the output need; `timestamp` where
/// it is asked for apart.
#[must_use]
pub(crate) fn needed(
    schema: &Schema,
    filter: &Filter,
    columns: &[Column],
    with_times: bool,
) -> Vec<usize> {
    let needs = |(_, field): &(usize, &Arc<Field>)| {
        let (id, name) = (FieldColumnId::of(field), field.name().as_str());
        with_times && name == "timestamp"
            || filter_reads(filter, id.as_ref(), name)
            || columns.iter().any(|column| column.reads(id.as_ref(), name))
    };
    schema.fields().iter().enumerate().filter(needs).map(|(at, _)| at).collect()
}

fn filter_reads(filter: &Filter, id: Option<&FieldColumnId>, name: &str) -> bool {
    match filter {
        Filter::All => false,
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().any(|part| filter_reads(part, id, name))
        }
        Filter::Not(part) => filter_reads(part, id, name),
        Filter::Text(_) => {
            name == "message" || name == REST || id.is_some_and(|id| id.kind.is_some())
        }
        Filter::Field { name: wanted, test } => match id {
            Some(id) => test.covers(wanted, &id.name) || id.kind.is_none() && wanted == STREAM,
            None => name == wanted || name == REST,
        },
    }
}

/// Answers a request from rows in memory.
///
/// # Errors
/// [`ScanError::Arrow`] only.
pub fn scan_rows(
    rows: &RecordBatch,
    place: Place<'_>,
    evaluator: &Evaluator,
    request: &ScanRequest,
) -> Result<RecordBatch, ScanError> {
    let passing = evaluator.rows(rows, place);
    let Some(newest) = request.newest else {
        let picked = filter_record_batch(rows, &passing.into())?;
        if request.counted {
            let mut tally = Tally::new(&request.columns, place);
            tally.add(&picked)?;
            return tally.take();
        }
        return render(&picked, place, &request.columns);
    };
    let order = newest_of(rows, &passing, newest);
    render(&take_record_batch(rows, &UInt32Array::from(order))?, place, &request.columns)
}

/// Of rows that pass the newest, newest first.
fn newest_of(rows: &RecordBatch, passing: &BooleanBuffer, newest: usize) -> Vec<u32> {
    let times = times(rows, "timestamp").map(|times| times.values().as_ref()).unwrap_or_default();
    let offsets = numbers(rows, "offset").map(|all| all.values().as_ref()).unwrap_or_default();
    let mut best = Newest::new(newest);
    // Rows stand as they arrived, nearly in the order of time: from behind, what is offered first is what stays.
    let places = times.iter().zip(offsets).enumerate().rev();
    for (row, (time, offset)) in places.filter(|(row, _)| passing.value(*row)) {
        best.offer((*time, *offset), row);
    }
    best.into_sorted().into_iter().filter_map(|(_, row)| u32::try_from(row).ok()).collect()
}

/// Keeps the newest of what it is offered.
pub(crate) struct Newest {
    most: usize,
    heap: std::collections::BinaryHeap<std::cmp::Reverse<((i64, u64), usize)>>,
}

impl Newest {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, heap: std::collections::BinaryHeap::new() }
    }

    pub(crate) fn offer(&mut self, key: (i64, u64), row: usize) {
        let last = self.heap.peek().filter(|_| self.heap.len() >= self.most);
        if last.is_some_and(|std::cmp::Reverse((last, _))| key < *last) {
            return;
        }
        self.heap.push(std::cmp::Reverse((key, row)));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// Newest first.
    pub(crate) fn into_sorted(self) -> Vec<((i64, u64), usize)> {
        self.heap.into_sorted_vec().into_iter().map(|std::cmp::Reverse(entry)| entry).collect()
    }
}
