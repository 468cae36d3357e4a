//! Rows as a stream of Arrow's record batches (IPC).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use datafusion::error::DataFusionError;
use model::level::Level;

use super::RECORD_COLUMNS;
use crate::plan::json::Records;
use crate::plan::{ColumnKind, QueryFailure, Shape};

/// Writes one answer.
pub(super) struct ArrowWriter {
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowWriter {
    /// Begins with the schema.
    pub(super) fn new(
        shape: &Shape,
        rows: &SchemaRef,
        to: &mut Vec<u8>,
    ) -> Result<Self, QueryFailure> {
        let fields: Vec<Field> = match shape {
            Shape::Records(_) => {
                RECORD_COLUMNS.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect()
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
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
        let mut begun = Self { schema, writer };
        begun.take(to);
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
                let column = |at: usize| {
                    let texts = cells.iter().map(|row| row.get(at));
                    Arc::new(texts.collect::<StringArray>()) as ArrayRef
                };
                (0..RECORD_COLUMNS.len()).map(column).collect()
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
        self.writer.write(&rows).map_err(failed)?;
        self.take(to);
        Ok(())
    }

    /// The end of the stream.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>) -> Result<(), QueryFailure> {
        self.writer.finish().map_err(failed)?;
        self.take(to);
        Ok(())
    }

    fn take(&mut self, to: &mut Vec<u8>) {
        to.append(self.writer.get_mut());
    }
}

fn level_names(numbers: &ArrayRef) -> ArrayRef {
    let Some(numbers) = numbers.as_primitive_opt::<Int64Type>() else { return numbers.clone() };
    let name = |number: Option<i64>| {
        number.map(|number| Level::from_number(u8::try_from(number).unwrap_or(0)).name())
    };
    Arc::new(numbers.iter().map(name).collect::<StringArray>())
}

fn failed(error: ArrowError) -> QueryFailure {
    QueryFailure::Engine(DataFusionError::from(error))
}
