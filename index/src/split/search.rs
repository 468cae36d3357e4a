//! An open split: which blocks may hold an answer, then exactly which rows, then their columns.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use model::limits::BLOCK_ROWS;
use model::query::Filter;
use model::split::{FieldStat, SplitMeta};
use model::time::Timestamp;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;
use platform::objects::Objects;

use super::body::{Body, PIECE_BYTES};
use super::words::{Blocks, Words};
use super::{body_name, bundle, bundle_name};
use crate::evaluate::{Evaluator, Place};
use crate::scan::{Newest, ScanError, ScanRequest, key, needed, render};

/// Rows read at a time.
const BATCH_ROWS: usize = 8_192;

/// A split whose footers and word index are in memory.
#[derive(Debug)]
pub struct Split {
    meta: Arc<SplitMeta>,
    body: Body,
    parquet: ArrowReaderMetadata,
    words: Words,
    block_times: Vec<(i64, i64)>,
    fields: Vec<FieldStat>,
    memory_bytes: usize,
}

impl Split {
    /// Opens a split: reads its bundle and the body's footer, and checks them.
    ///
    /// # Errors
    /// [`ScanError::Corrupt`] names the object and what is wrong with it.
    pub fn open(meta: Arc<SplitMeta>, objects: &Objects) -> Result<Self, ScanError> {
        let (body, bundle) = (body_name(&meta.id), bundle_name(&meta.id));
        let read = bundle::read(objects, &bundle)?;
        let wrong =
            |object: &str, what: String| ScanError::Corrupt { object: object.to_owned(), what };
        let blocks = read.footer.block_times.len();
        let words = Words::open(&read.files, blocks)
            .map_err(|error| wrong(&bundle, format!("its word index: {error}")))?;
        let expected = usize::try_from(meta.row_count).unwrap_or(usize::MAX).div_ceil(BLOCK_ROWS);
        if read.footer.block_rows != BLOCK_ROWS as u64
            || read.footer.piece_bytes != PIECE_BYTES
            || blocks != expected
        {
            return Err(wrong(&bundle, "it is not the one the catalog knows".to_owned()));
        }
        let memory_bytes = read.files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let crcs: Arc<[u32]> = read.footer.piece_crcs.into();
        let bytes = read.footer.body_bytes;
        let reader = Body { objects: objects.clone(), name: body.as_str().into(), bytes, crcs };
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let parquet = ArrowReaderMetadata::load(&reader, options)
            .map_err(|error| wrong(&body, format!("its footer: {error}")))?;
        let memory_bytes = memory_bytes + parquet.metadata().memory_size();
        let (block_times, fields) = (read.footer.block_times, read.footer.fields);
        Ok(Self { meta, body: reader, parquet, words, block_times, fields, memory_bytes })
    }

    /// What the catalog knows of it.
    #[must_use]
    pub fn meta(&self) -> &Arc<SplitMeta> {
        &self.meta
    }

    /// About how much memory it takes while it is open.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Its fields, labels included.
    #[must_use]
    pub fn fields(&self) -> &[FieldStat] {
        &self.fields
    }

    /// Answers a request; `emit` gets the rows and may end it.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn scan(
        &self,
        evaluator: &Evaluator,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let blocks = self.candidates(request)?;
        match request.newest {
            None => self.scan_all(&blocks, evaluator, request, emit),
            Some(newest) => self.scan_newest(&blocks, evaluator, request, newest, emit),
        }
    }

    /// All rows, in row order, as they are stored.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ScanError>> + use<>, ScanError> {
        let columns: Vec<usize> = (0..self.parquet.schema().fields().len()).collect();
        let name = self.body.name.clone();
        let reader = self.reader(&columns, None)?;
        Ok(reader.map(move |rows| {
            rows.map_err(|error| ScanError::Corrupt {
                object: name.to_string(),
                what: error.to_string(),
            })
        }))
    }

    /// The schema of its rows.
    #[must_use]
    pub fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.parquet.schema().clone()
    }

    fn place(&self) -> Place<'_> {
        Place { partition: self.meta.partition, index: &self.meta.index }
    }

    fn corrupt(&self, error: &dyn std::error::Error) -> ScanError {
        ScanError::Corrupt { object: self.body.name.to_string(), what: error.to_string() }
    }

    fn candidates(&self, request: &ScanRequest) -> Result<Blocks, ScanError> {
        let labels: Vec<&str> = self
            .fields
            .iter()
            .filter(|field| field.label)
            .map(|field| field.name.as_str())
            .collect();
        let mut blocks = match without_labels(&request.filter, &labels) {
            Some(filter) => self.words.candidates(&filter).map_err(|error| ScanError::Corrupt {
                object: bundle_name(&self.meta.id),
                what: error.to_string(),
            })?,
            None => Blocks::all(self.block_times.len()),
        };
        blocks.keep(|at| {
            let times = self.block_times.get(at);
            times.is_some_and(|(first, last)| {
                request.range.overlaps(Timestamp(*first), Timestamp(*last))
            })
        });
        Ok(blocks)
    }

    fn reader(
        &self,
        columns: &[usize],
        selection: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader, ScanError> {
        let mask = ProjectionMask::roots(self.parquet.parquet_schema(), columns.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.body.clone(),
            self.parquet.clone(),
        )
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        builder.build().map_err(|error| self.corrupt(&error))
    }

    /// The rows of some blocks.
    fn selection(&self, blocks: &Blocks) -> RowSelection {
        let total = usize::try_from(self.meta.row_count).unwrap_or(usize::MAX);
        let ranges =
            blocks.iter().map(|block| block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(total));
        RowSelection::from_consecutive_ranges(ranges, total)
    }

    fn scan_all(
        &self,
        blocks: &Blocks,
        evaluator: &Evaluator,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let columns = needed(self.parquet.schema(), &request.filter, &request.columns);
        for rows in self.reader(&columns, Some(self.selection(blocks)))? {
            let rows = rows.map_err(|error| self.corrupt(&error))?;
            let passing = evaluator.rows(&rows, self.place());
            if passing.count_set_bits() == 0 {
                continue;
            }
            let picked = filter_record_batch(&rows, &passing.into())?;
            if emit(render(&picked, self.place(), &request.columns)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// First which rows, by the filter's columns alone; then the answer's columns of those few.
    fn scan_newest(
        &self,
        blocks: &Blocks,
        evaluator: &Evaluator,
        request: &ScanRequest,
        newest: usize,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let columns = needed(self.parquet.schema(), &request.filter, &[]);
        let mut row_numbers =
            blocks.iter().flat_map(|block| block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS);
        let mut best = Newest::new(newest);
        for rows in self.reader(&columns, Some(self.selection(blocks)))? {
            let rows = rows.map_err(|error| self.corrupt(&error))?;
            let passing = evaluator.rows(&rows, self.place());
            for (row, number) in (0..rows.num_rows()).zip(&mut row_numbers) {
                if passing.value(row) {
                    best.offer(key(&rows, row), number);
                }
            }
        }
        let order: Vec<usize> = best.into_sorted().into_iter().map(|(_, row)| row).collect();
        if order.is_empty() {
            return Ok(());
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let total = usize::try_from(self.meta.row_count).unwrap_or(usize::MAX);
        let ranges = sorted.iter().map(|row| *row..row + 1);
        let selection = RowSelection::from_consecutive_ranges(ranges, total);
        let columns = needed(self.parquet.schema(), &Filter::All, &request.columns);
        let reader = self.reader(&columns, Some(selection))?;
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let rows = reader.collect::<Result<Vec<_>, _>>().map_err(|error| self.corrupt(&error))?;
        let rows = concat_batches(&schema, &rows)?;
        let place_of =
            |row: &usize| sorted.binary_search(row).ok().and_then(|at| u32::try_from(at).ok());
        let order: Vec<u32> = order.iter().filter_map(place_of).collect();
        let rows = take_record_batch(&rows, &UInt32Array::from(order))?;
        // The last call; whether to go on does not matter any more.
        #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
        let _: ControlFlow<()> = emit(render(&rows, self.place(), &request.columns)?);
        Ok(())
    }
}

/// The filter as far as the word index knows of it: tests of labels are taken for true.
/// `None` when nothing is left to ask.
fn without_labels(filter: &Filter, labels: &[&str]) -> Option<Filter> {
    Some(match filter {
        Filter::Field { name, .. } if labels.contains(&name.as_str()) => return None,
        Filter::And(parts) => {
            Filter::And(parts.iter().filter_map(|part| without_labels(part, labels)).collect())
        }
        Filter::Or(parts) => Filter::Or(
            parts.iter().map(|part| without_labels(part, labels)).collect::<Option<Vec<_>>>()?,
        ),
        other => other.clone(),
    })
}
