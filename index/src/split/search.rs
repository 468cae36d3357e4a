//! An open split: what its indexes know of a filter, then exactly which rows, then their columns.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema};
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
use super::bundle::Bundle;
use super::lex::show;
use super::resolve::{Resolved, asks_texts, resolve};
use super::rowset::RowSet;
use super::statistics::{BlockTimes, Minutes};
use super::stored::{IngestTimes, Unit, to_rows};
use super::templates::Templates;
use super::tokens::Tokens;
use super::words::Words;
use super::{body_name, bundle_name};
use crate::evaluate::{Evaluator, Place};
use crate::scan::{Column, Newest, PATTERN, ScanError, ScanRequest, key, needed, render};

/// Rows read at a time.
const BATCH_ROWS: usize = 8_192;

/// A split of which the footer is read; the rest is read when it is asked for, and kept.
#[derive(Debug)]
pub struct Split {
    meta: Arc<SplitMeta>,
    bundle: Bundle,
    row_count: u32,
    body: Kept<OpenBody>,
    words: Kept<Words>,
    templates: Kept<Templates>,
    tokens: Kept<Tokens>,
    blocks: Kept<BlockTimes>,
    minutes: Kept<Minutes>,
    ingest: Kept<IngestTimes>,
    fields: Kept<Vec<FieldStat>>,
    objects: Objects,
}

#[derive(Debug)]
struct OpenBody {
    body: Body,
    parquet: ArrowReaderMetadata,
}

/// Something that is read once, when it is asked for first.
#[derive(Debug)]
struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    fn get(&self, read: impl FnOnce() -> Result<T, ScanError>) -> Result<Arc<T>, ScanError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.as_ref() {
            return Ok(value.clone());
        }
        let value = Arc::new(read()?);
        *kept = Some(value.clone());
        Ok(value)
    }
}

/// Why an index could not be asked.
pub(super) type Unreadable = ScanError;

/// A split's indexes as a filter asks them.
pub(super) struct Indexes<'a> {
    split: &'a Split,
    pub(super) row_count: u32,
}

impl Indexes<'_> {
    pub(super) fn words(&self) -> Result<Arc<Words>, Unreadable> {
        self.split.words()
    }

    pub(super) fn templates(&self) -> Result<Arc<Templates>, Unreadable> {
        self.split.templates()
    }

    pub(super) fn tokens(&self) -> Result<Arc<Tokens>, Unreadable> {
        self.split.tokens()
    }

    pub(super) fn blocks(&self) -> Result<Arc<BlockTimes>, Unreadable> {
        self.split.blocks()
    }

    pub(super) fn fields(&self) -> Result<Arc<Vec<FieldStat>>, Unreadable> {
        self.split.fields()
    }

    pub(super) fn unreadable(&self, section: &str, error: &dyn std::error::Error) -> Unreadable {
        self.split.wrong(format!("its section {section}: {error}"))
    }
}

/// What a request asks of a split's rows, with what the indexes knew.
struct Question<'a> {
    request: &'a ScanRequest,
    evaluator: &'a Evaluator,
    /// Rows for which the indexes left open whether a text matches.
    open: RowSet,
    /// The other rows that may pass, and a filter that knows their texts' answers.
    decided: RowSet,
    known: Evaluator,
    /// Of the decided rows those that pass, when nothing but texts is asked.
    passing: Option<RowSet>,
}

impl Split {
    /// Opens a split: reads its footer and checks it.
    ///
    /// # Errors
    /// [`ScanError::Corrupt`] names the object and what is wrong with it.
    pub fn open(meta: Arc<SplitMeta>, objects: &Objects) -> Result<Self, ScanError> {
        let name = bundle_name(&meta.id);
        let wrong = |what: String| ScanError::Corrupt { object: name.clone(), what };
        let bundle = Bundle::open(objects, &name).map_err(|error| wrong(error.to_string()))?;
        let footer = &bundle.footer;
        let row_count = u32::try_from(footer.row_count).ok();
        let row_count = row_count.filter(|_| {
            footer.row_count == meta.row_count
                && footer.block_rows == BLOCK_ROWS as u64
                && footer.piece_bytes == PIECE_BYTES
        });
        let row_count =
            row_count.ok_or_else(|| wrong("it is not the one the catalog knows".to_owned()))?;
        Ok(Self {
            meta,
            bundle,
            row_count,
            body: Kept::default(),
            words: Kept::default(),
            templates: Kept::default(),
            tokens: Kept::default(),
            blocks: Kept::default(),
            minutes: Kept::default(),
            ingest: Kept::default(),
            fields: Kept::default(),
            objects: objects.clone(),
        })
    }

    /// What the catalog knows of it.
    #[must_use]
    pub fn meta(&self) -> &Arc<SplitMeta> {
        &self.meta
    }

    /// About how much memory it takes once everything in it was asked for. Pages of the token
    /// index and of the body are not kept.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let kept = self.bundle.footer.sections.iter().filter(|section| section.name != "tokens");
        let bytes: u64 = kept.map(|section| section.unpacked_bytes.unwrap_or(section.bytes)).sum();
        // Decoded sections take more than their bytes, and the body's footer is in memory too.
        usize::try_from(bytes.saturating_mul(2)).unwrap_or(usize::MAX).saturating_add(16 << 10)
    }

    /// Its fields, labels included.
    ///
    /// # Errors
    /// [`ScanError::Corrupt`].
    pub fn fields(&self) -> Result<Arc<Vec<FieldStat>>, ScanError> {
        self.fields.get(|| {
            let bytes = self.section("fields")?;
            serde_json::from_slice(&bytes)
                .map_err(|error| self.wrong(format!("its section fields: {error}")))
        })
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
        let question = self.question(evaluator, request)?;
        match request.newest {
            None => self.scan_all(&question, emit),
            Some(newest) => self.scan_newest(&question, newest, emit),
        }
    }

    /// All rows, in row order, each with the number of its template.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(crate) fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<(RecordBatch, Vec<u32>), ScanError>> + use<>, ScanError>
    {
        let body = self.body()?;
        let (ingest, templates) = (self.ingest()?, self.templates()?);
        let columns: Vec<usize> = (0..body.parquet.schema().fields().len()).collect();
        let name = body.body.name.clone();
        let reader = self.reader(&body, &columns, None)?;
        let mut numbers = (0_u32..)
            .zip(templates.0.iter().map(|template| template.rows.len()).collect::<Vec<_>>())
            .flat_map(|(number, count)| std::iter::repeat_n(number, count));
        Ok(reader.map(move |rows| {
            let rows = rows.map_err(|error| ScanError::Corrupt {
                object: name.to_string(),
                what: error.to_string(),
            })?;
            let rows = to_rows(&rows, Some(&ingest))?;
            let templates = numbers.by_ref().take(rows.num_rows()).collect();
            Ok((rows, templates))
        }))
    }

    /// The unit its timestamps are stored in.
    pub(crate) fn unit(&self) -> Result<Unit, ScanError> {
        Ok(Unit::of_stored(self.body()?.parquet.schema()))
    }

    /// Its templates, in row order.
    pub(crate) fn templates(&self) -> Result<Arc<Templates>, ScanError> {
        self.templates.get(|| {
            let decode = |bytes: &[u8]| Templates::decode(bytes, self.row_count);
            self.decode("templates", decode)
        })
    }

    /// When its records were accepted.
    pub(crate) fn ingest(&self) -> Result<Arc<IngestTimes>, ScanError> {
        self.ingest.get(|| self.decode("ingest", IngestTimes::decode))
    }

    /// Its rows by minute and level.
    pub(crate) fn minutes(&self) -> Result<Arc<Minutes>, ScanError> {
        self.minutes.get(|| self.decode("minutes", Minutes::decode))
    }

    /// Reads every byte and compares what is known twice.
    ///
    /// # Errors
    /// [`ScanError`] names the object and the part of it that is wrong.
    pub fn check(&self) -> Result<(), ScanError> {
        let words = self.bundle.names("words/");
        for name in words.map(str::to_owned).collect::<Vec<_>>() {
            self.section(&name)?;
        }
        self.words()?;
        self.fields()?;
        self.section("tokens")?;
        let blocks = self.blocks()?;
        let read = self.tokens()?.check(blocks.len());
        read.map_err(|error| self.wrong(format!("its section tokens: {error}")))?;
        if self.minutes()?.level_counts() != self.meta.level_counts {
            return Err(self.wrong("its minutes do not sum up to its levels".to_owned()));
        }
        let mut count = 0;
        for rows in self.rows()? {
            count += rows?.0.num_rows() as u64;
        }
        if count == self.meta.row_count {
            Ok(())
        } else {
            Err(self.wrong(format!("the body has {count} rows")))
        }
    }

    fn tokens(&self) -> Result<Arc<Tokens>, ScanError> {
        self.tokens.get(|| {
            let index = self.section("tokens.index")?;
            let (pages, _) =
                self.bundle.section("tokens").map_err(|e| self.wrong(e.to_string()))?;
            Tokens::open(&index, pages)
                .map_err(|error| self.wrong(format!("its section tokens.index: {error}")))
        })
    }

    fn blocks(&self) -> Result<Arc<BlockTimes>, ScanError> {
        self.blocks.get(|| {
            let blocks: BlockTimes = self.decode("blocks", BlockTimes::decode)?;
            if blocks.len() == (self.row_count as usize).div_ceil(BLOCK_ROWS) {
                Ok(blocks)
            } else {
                Err(self.wrong("its section blocks is another split's".to_owned()))
            }
        })
    }

    fn words(&self) -> Result<Arc<Words>, ScanError> {
        self.words.get(|| {
            let names = self.bundle.names("words/");
            let files = names.map(|name| {
                let file = name.trim_start_matches("words/").to_owned();
                Ok((file, self.section(name)?))
            });
            let files = files.collect::<Result<Vec<_>, ScanError>>()?;
            Words::open(&files).map_err(|error| self.wrong(format!("its word index: {error}")))
        })
    }

    fn section(&self, name: &str) -> Result<bytes::Bytes, ScanError> {
        self.bundle.read(name).map_err(|error| self.wrong(error.to_string()))
    }

    fn decode<T>(
        &self,
        name: &str,
        decode: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> Result<T, ScanError> {
        let bytes = self.section(name)?;
        decode(&bytes).map_err(|error| self.wrong(format!("its section {name}: {error}")))
    }

    fn wrong(&self, what: String) -> ScanError {
        ScanError::Corrupt { object: self.bundle.name.to_string(), what }
    }

    fn place(&self) -> Place<'_> {
        Place { partition: self.meta.partition, index: &self.meta.index }
    }

    fn corrupt_body(&self, error: &dyn std::error::Error) -> ScanError {
        ScanError::Corrupt { object: body_name(&self.meta.id), what: error.to_string() }
    }

    fn body(&self) -> Result<Arc<OpenBody>, ScanError> {
        self.body.get(|| {
            let crcs = self.section("pieces")?;
            let crcs: Arc<[u32]> = crcs
                .chunks_exact(4)
                .filter_map(|bytes| bytes.first_chunk::<4>())
                .map(|bytes| u32::from_le_bytes(*bytes))
                .collect();
            let bytes = self.bundle.footer.body_bytes;
            let name = body_name(&self.meta.id).into();
            let body = Body { objects: self.objects.clone(), name, bytes, crcs };
            let options =
                ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
            let parquet = ArrowReaderMetadata::load(&body, options)
                .map_err(|error| self.corrupt_body(&error))?;
            Ok(OpenBody { body, parquet })
        })
    }

    /// Asks the indexes, and sorts the rows by what they knew.
    fn question<'a>(
        &self,
        evaluator: &'a Evaluator,
        request: &'a ScanRequest,
    ) -> Result<Question<'a>, ScanError> {
        let indexes = Indexes { split: self, row_count: self.row_count };
        let Resolved { bounds, texts } = resolve(&request.filter, &indexes)?;
        let (first, last) = (Timestamp(self.meta.time_first), Timestamp(self.meta.time_last));
        let mut may = bounds.may;
        if !request.range.covers(first, last) {
            may = may.and(&self.blocks()?.rows_in(&request.range, self.row_count));
        }
        let mut open = RowSet::default();
        for text in &texts {
            open = open.or(&text.may.without(&text.sure).and(&may));
        }
        let decided = may.without(&open);
        let mut sure = texts.into_iter().map(|text| text.sure);
        let mut known = |part: &Filter| asks_texts(part).then(|| sure.next()).flatten();
        let known = Evaluator::with_known(&request.filter, request.range, &mut known);
        let passing = known.known_rows(self.row_count).map(|rows| rows.and(&decided));
        Ok(Question { request, evaluator, open, decided, known, passing })
    }

    /// Reads columns of rows, given by their places in the stored schema.
    fn reader(
        &self,
        body: &OpenBody,
        columns: &[usize],
        rows: Option<&RowSet>,
    ) -> Result<ParquetRecordBatchReader, ScanError> {
        let parquet = &body.parquet;
        let mask = ProjectionMask::roots(parquet.parquet_schema(), columns.iter().copied());
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(body.body.clone(), parquet.clone())
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS);
        if let Some(rows) = rows {
            let ranges = rows.ranges().iter().map(|range| range.start as usize..range.end as usize);
            let selection = RowSelection::from_consecutive_ranges(ranges, self.row_count as usize);
            builder = builder.with_row_selection(selection);
        }
        builder.build().map_err(|error| self.corrupt_body(&error))
    }

    /// Reads what a filter and some output columns need of rows, with the rows' numbers.
    fn read(
        &self,
        rows: &RowSet,
        needs: &Needs<'_>,
        each: &mut dyn FnMut(RecordBatch, &[u32]) -> Result<ControlFlow<()>, ScanError>,
    ) -> Result<ControlFlow<()>, ScanError> {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let body = self.body()?;
        let columns = needed(body.parquet.schema(), needs.filter, needs.columns, needs.with_texts);
        let ingest = needs.asks_ingest_time().then(|| self.ingest()).transpose()?;
        let patterns = needs.columns.contains(&Column::Pattern);
        let templates = patterns.then(|| self.templates()).transpose()?;
        let mut numbers = rows.rows();
        for stored in self.reader(&body, &columns, Some(rows))? {
            let stored = stored.map_err(|error| self.corrupt_body(&error))?;
            let numbers: Vec<u32> = numbers.by_ref().take(stored.num_rows()).collect();
            let mut rows = to_rows(&stored, ingest.as_deref())?;
            if let Some(templates) = &templates {
                rows = with_patterns(&rows, &numbers, templates)?;
            }
            if each(rows, &numbers)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn read_all(
        &self,
        rows: &RowSet,
        needs: &Needs<'_>,
        each: &mut dyn FnMut(RecordBatch, &[u32]) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let mut go_on = |rows: RecordBatch, numbers: &[u32]| {
            each(rows, numbers)?;
            Ok(ControlFlow::Continue(()))
        };
        self.read(rows, needs, &mut go_on).map(|_| ())
    }

    fn scan_all(
        &self,
        question: &Question<'_>,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let request = question.request;
        let (first, last) = (Timestamp(self.meta.time_first), Timestamp(self.meta.time_last));
        let inside = request.range.covers(first, last);
        let none = RowSet::default();
        let mut decided = &question.decided;
        if let Some(passing) = question.passing.as_ref() {
            decided = passing;
            if inside && request.columns.is_empty() {
                // Nothing but their number is asked.
                let options = RecordBatchOptions::new().with_row_count(Some(passing.count()));
                let schema = Schema::empty().into();
                let rows = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
                if emit(rows).is_break() {
                    return Ok(());
                }
                decided = &none;
            }
        }
        let all = Filter::All;
        let all_pass = inside && question.passing.is_some();
        let passes: [(&RowSet, Option<&Evaluator>, Needs<'_>); 2] = [
            (
                decided,
                (!all_pass).then_some(&question.known),
                Needs {
                    filter: if all_pass { &all } else { &request.filter },
                    columns: &request.columns,
                    with_texts: false,
                },
            ),
            (
                &question.open,
                Some(question.evaluator),
                Needs { filter: &request.filter, columns: &request.columns, with_texts: true },
            ),
        ];
        for (rows, evaluator, needs) in passes {
            let mut give = |rows: RecordBatch, numbers: &[u32]| {
                let rows = match evaluator {
                    None => rows,
                    Some(evaluator) => {
                        let passing = evaluator.numbered_rows(&rows, self.place(), numbers);
                        if passing.count_set_bits() == 0 {
                            return Ok(ControlFlow::Continue(()));
                        }
                        filter_record_batch(&rows, &passing.into())?
                    }
                };
                Ok(emit(render(&rows, self.place(), &request.columns)?))
            };
            if self.read(rows, &needs, &mut give)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// First which rows, by the filter's columns alone; then the answer's columns of those few.
    fn scan_newest(
        &self,
        question: &Question<'_>,
        newest: usize,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let request = question.request;
        let mut best = Newest::new(newest);
        let mut decided = question.decided.clone();
        if let Some(passing) = &question.passing {
            // Rows of blocks that end before the last wanted one begins cannot be among them; of a
            // range's last block it is not known how many are inside.
            decided = passing.clone();
            if request.range.to.0 > self.meta.time_last {
                let blocks = self.blocks()?;
                let bound = blocks.newest_bound(passing, newest);
                let late = blocks.rows_where(self.row_count, |_, last| last >= bound);
                decided = decided.and(&late);
            }
        }
        for (rows, evaluator, with_texts) in
            [(&decided, &question.known, false), (&question.open, question.evaluator, true)]
        {
            let needs = Needs { filter: &request.filter, columns: &[], with_texts };
            let mut offer = |rows: RecordBatch, numbers: &[u32]| {
                let passing = evaluator.numbered_rows(&rows, self.place(), numbers);
                for row in passing.set_indices() {
                    if let Some(number) = numbers.get(row) {
                        best.offer(key(&rows, row), *number as usize);
                    }
                }
                Ok(())
            };
            self.read_all(rows, &needs, &mut offer)?;
        }
        let order = best.into_sorted().into_iter().filter_map(|(_, row)| u32::try_from(row).ok());
        let order: Vec<u32> = order.collect();
        if order.is_empty() {
            return Ok(());
        }
        let rows = self.fetch(&order, &request.columns)?;
        // The last call; whether to go on does not matter any more.
        #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
        let _: ControlFlow<()> = emit(rows);
        Ok(())
    }

    /// Some columns of a few rows, in the order given.
    fn fetch(&self, order: &[u32], columns: &[Column]) -> Result<RecordBatch, ScanError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let rows = RowSet::from_sorted(sorted.iter().map(|row| *row..*row + 1));
        let needs = Needs { filter: &Filter::All, columns, with_texts: true };
        let mut parts = Vec::new();
        self.read_all(&rows, &needs, &mut |rows, _| {
            parts.push(rows);
            Ok(())
        })?;
        let Some(first) = parts.first() else {
            return Ok(RecordBatch::new_empty(Schema::empty().into()));
        };
        let rows = concat_batches(&first.schema(), &parts)?;
        let place_of =
            |row: &u32| sorted.binary_search(row).ok().and_then(|at| u32::try_from(at).ok());
        let order: Vec<u32> = order.iter().filter_map(place_of).collect();
        let rows = take_record_batch(&rows, &UInt32Array::from(order))?;
        render(&rows, self.place(), columns)
    }
}

/// What is to be read of rows.
struct Needs<'a> {
    filter: &'a Filter,
    columns: &'a [Column],
    /// Whether the filter's texts are asked, or known.
    with_texts: bool,
}

impl Needs<'_> {
    fn asks_ingest_time(&self) -> bool {
        fn asks(filter: &Filter) -> bool {
            match filter {
                Filter::And(parts) | Filter::Or(parts) => parts.iter().any(asks),
                Filter::Not(part) => asks(part),
                Filter::Field { name, .. } => name == "ingest_time",
                _ => false,
            }
        }
        self.columns.contains(&Column::IngestTime) || asks(self.filter)
    }
}

/// Rows with a column of their templates as people read them; none for loose rows.
fn with_patterns(
    rows: &RecordBatch,
    numbers: &[u32],
    templates: &Templates,
) -> Result<RecordBatch, ScanError> {
    let mut last: Option<(usize, Option<String>)> = None;
    let mut patterns = arrow::array::StringBuilder::new();
    for row in numbers {
        let number = templates.number_of(*row).unwrap_or(usize::MAX);
        if last.as_ref().is_none_or(|(before, _)| *before != number) {
            let fixed = templates.0.get(number).and_then(|template| template.key.fixed());
            last = Some((number, fixed.map(show)));
        }
        patterns.append_option(last.as_ref().and_then(|(_, text)| text.as_deref()));
    }
    let patterns: StringArray = patterns.finish();
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(PATTERN, arrow::datatypes::DataType::Utf8, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(patterns));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
