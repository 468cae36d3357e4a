//! Rows as Arrow's record batches: a stream of them (IPC), or a file of Parquet.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use datafusion::error::DataFusionError;
use model::level::Level;
use parquet::arrow::ArrowWriter as FileWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::RECORD_COLUMNS;
use crate::plan::json::Records;
use crate::plan::{ColumnKind, QueryFailure, RECORD, Shape};

/// Writes one answer.
pub(super) struct ArrowWriter {
    schema: SchemaRef,
    writer: Writer,
}

enum Writer {
    Stream(Box<StreamWriter<Vec<u8>>>),
    File(Box<FileWriter<Vec<u8>>>),
}

/// Rows that a file of Parquet keeps together; so many are held in memory, coded.
const GROUP_ROWS: usize = 65_536;

impl ArrowWriter {
    /// Begins with the schema.
    pub(super) fn new(
        shape: &Shape,
        rows: &SchemaRef,
        is_file: bool,
        to: &mut Vec<u8>,
    ) -> Result<Self, QueryFailure> {
        let fields: Vec<Field> = match shape {
            Shape::Records(_) => {
                let kind = |name: &str| match moments(name) {
                    Some(at) => rows.fields().get(at).map(|field| field.data_type().clone()),
                    None => None,
                };
                let kind = |name: &str| kind(name).unwrap_or(DataType::Utf8);
                RECORD_COLUMNS.iter().map(|name| Field::new(*name, kind(name), true)).collect()
            }
            Shape::Table(columns) => {
                let field = |column: &crate::plan::OutputColumn, field: &Arc<Field>| {
                    let kind = match column.kind {
                        ColumnKind::Level => DataType::Utf8,
                        _ => field.data_type().clone(),
                    };
                    Field::new(&column.name, kind, true)
                };
                columns.iter().zip(rows.fields()).map(|(c, f)| field(c, f)).collect()
            }
        };
        let schema = Arc::new(Schema::new(fields));
        let writer = match is_file {
            false => {
                let writer = StreamWriter::try_new(Vec::new(), &schema);
                Writer::Stream(Box::new(writer.map_err(failed)?))
            }
            true => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = FileWriter::try_new(Vec::new(), schema.clone(), Some(properties));
                Writer::File(Box::new(writer.map_err(unwritten)?))
            }
        };
        let mut begun = Self { schema, writer };
        begun.take(to)?;
        Ok(begun)
    }

    /// Some rows.
    pub(super) fn rows(
        &mut self,
        rows: &RecordBatch,
        shape: &Shape,
        to: &mut Vec<u8>,
    ) -> Result<(), QueryFailure> {
        let arrays: Vec<ArrayRef> = match shape {
            Shape::Records(extras) => {
                let Some(records) = Records::of(rows, extras) else { return Ok(()) };
                let cells: Vec<[String; 8]> =
                    (0..rows.num_rows()).map(|row| records.cells(row)).collect();
                let texts = |at: usize| {
                    let texts = cells.iter().map(|row| row.get(at));
                    Arc::new(texts.collect::<StringArray>()) as ArrayRef
                };
                let column = |(at, name): (usize, &&str)| {
                    let times = moments(name).and_then(|at| rows.columns().get(at).cloned());
                    times.unwrap_or_else(|| texts(at))
                };
                RECORD_COLUMNS.iter().enumerate().map(column).collect()
            }
            Shape::Table(columns) => columns
                .iter()
                .zip(rows.columns())
                .map(|(column, values)| match column.kind {
                    ColumnKind::Level => level_names(values),
                    _ => values.clone(),
                })
                .collect(),
        };
        let rows = RecordBatch::try_new(self.schema.clone(), arrays).map_err(failed)?;
        match &mut self.writer {
            Writer::Stream(writer) => writer.write(&rows).map_err(failed)?,
            Writer::File(writer) => writer.write(&rows).map_err(unwritten)?,
        }
        self.take(to)
    }

    /// The end of it.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>) -> Result<(), QueryFailure> {
        match &mut self.writer {
            Writer::Stream(writer) => writer.finish().map_err(failed)?,
            Writer::File(writer) => drop(writer.finish().map_err(unwritten)?),
        }
        self.take(to)
    }

    fn take(&mut self, to: &mut Vec<u8>) -> Result<(), QueryFailure> {
        match &mut self.writer {
            Writer::Stream(writer) => to.append(writer.get_mut()),
            Writer::File(writer) => {
                writer.sync().map_err(|error| unwritten(error.into()))?;
                to.append(writer.inner_mut());
            }
        }
        Ok(())
    }
}

/// Where among a record's columns the times of that name are.
fn moments(name: &str) -> Option<usize> {
    RECORD.iter().take(2).position(|column| column.name() == name)
}

fn level_names(numbers: &ArrayRef) -> ArrayRef {
    let Some(numbers) = numbers.as_primitive_opt::<Int64Type>() else { return numbers.clone() };
    let name = |number: Option<i64>| {
        number.map(|number| Level::from_number(u8::try_from(number).unwrap_or(0)).name())
    };
    Arc::new(numbers.iter().map(name).collect::<StringArray>())
}

fn unwritten(error: ParquetError) -> QueryFailure {
    QueryFailure::Engine(DataFusionError::External(Box::new(error)))
}

fn failed(error: ArrowError) -> QueryFailure {
    QueryFailure::Engine(DataFusionError::from(error))
}
