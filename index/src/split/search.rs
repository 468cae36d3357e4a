//! Asking a split: what its indexes know of a filter, then exactly which rows, then their columns.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema};
use model::level::Level;
use model::query::Filter;
use model::record::FieldType;
use model::split::FieldStat;
use model::time::Timestamp;

use super::lex::show;
use super::offsets::OffsetReader;
use super::open::Split;
use super::resolve::{Resolved, asks_texts, resolve};
use super::rowset::RowSet;
use super::statistics::BlockTimes;
use super::stored::{moments, to_rows, with_arrival};
use super::templates::Templates;
use super::tokens::Tokens;
use super::words::Words;
use crate::evaluate::Evaluator;
use crate::scan::{Column, Newest, PATTERN, ScanError, ScanRequest, key, needed, render};
use crate::tally::Tally;

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

/// What of passing rows need not be read any more.
enum Unread {
    /// They must be read.
    No,
    /// None of them must be read.
    All,
    /// Nothing is wanted any more.
    Stop,
}

impl Split {
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

    /// Reads what a filter and some output columns need of rows, with the rows' numbers.
    fn read(
        &self,
        rows: &RowSet,
        needs: &Needs<'_>,
        each: &mut Each<'_, ControlFlow<()>>,
    ) -> Result<ControlFlow<()>, ScanError> {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let patterns = needs.columns.contains(&Column::Pattern);
        let templates = patterns.then(|| self.templates()).transpose()?;
        let loose = templates.as_ref().map(|all| all.loose_rows().and(rows));
        if let Some(loose) = loose.filter(|loose| !loose.is_empty() && loose != rows) {
            // Only loose rows have their patterns from their messages.
            return match self.read(&rows.without(&loose), needs, each)? {
                ControlFlow::Continue(()) => self.read(&loose, needs, each),
                broken => Ok(broken),
            };
        }
        let body = self.body()?;
        let schema = body.parquet.schema();
        let times = needs.with_times || needs.asks_offsets();
        let mut columns = needed(schema, needs.filter, needs.columns, needs.with_texts, times);
        if templates.as_ref().is_some_and(|all| all.loose_rows().and(rows).is_empty()) {
            let others: Vec<Column> =
                needs.columns.iter().filter(|c| **c != Column::Pattern).cloned().collect();
            columns = needed(schema, needs.filter, &others, needs.with_texts, times);
        }
        let ingest = needs.asks_ingest_time().then(|| self.ingest()).transpose()?;
        let mut offsets = match needs.asks_offsets() {
            true => Some(OffsetReader::new(self.offsets()?)),
            false => None,
        };
        let mut numbers = rows.rows();
        let parquet = if needs.by_keys { self.keyed(&body)? } else { body.parquet.clone() };
        for stored in self.reader(&body, &parquet, &columns, Some(rows))? {
            let stored = stored.map_err(|error| self.corrupt_body(&error))?;
            let numbers: Vec<u32> = numbers.by_ref().take(stored.num_rows()).collect();
            let mut rows = to_rows(&stored)?;
            if let Some(offsets) = &mut offsets {
                let read = offsets.read(numbers.iter().copied(), moments(&rows));
                let read =
                    read.map_err(|error| self.wrong(format!("its section offsets: {error}")))?;
                rows = with_arrival(&rows, read, ingest.as_deref())?;
            }
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
        each: &mut Each<'_, ()>,
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
        let mut tally = request.counted.then(|| Tally::new(&request.columns, self.place()));
        let known = match question.passing.as_ref().filter(|_| inside) {
            Some(passing) => self.counted_unread(passing, request, &mut tally, emit)?,
            None => Unread::No,
        };
        let none = RowSet::default();
        let decided = match known {
            Unread::Stop => return Ok(()),
            Unread::All => &none,
            Unread::No => question.passing.as_ref().unwrap_or(&question.decided),
        };
        let all_pass = inside && question.passing.is_some();
        let needs = |filter, reads_all| Needs {
            filter,
            columns: &request.columns,
            with_texts: reads_all,
            with_offsets: false,
            with_times: reads_all || !all_pass,
            by_keys: request.counted,
        };
        let all = Filter::All;
        let filter = if all_pass { &all } else { &request.filter };
        let passes: [(&RowSet, Option<&Evaluator>, Needs<'_>); 2] = [
            (decided, (!all_pass).then_some(&question.known), needs(filter, false)),
            (&question.open, Some(question.evaluator), needs(&request.filter, true)),
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
                let Some(tally) = &mut tally else {
                    return Ok(emit(render(&rows, self.place(), &request.columns)?));
                };
                tally.add(&rows)?;
                match tally.is_full() {
                    true => Ok(emit(tally.take()?)),
                    false => Ok(ControlFlow::Continue(())),
                }
            };
            if self.read(rows, &needs, &mut give)?.is_break() {
                return Ok(());
            }
        }
        if let Some(tally) = &mut tally {
            give_last(emit, tally.take()?);
        }
        Ok(())
    }

    /// Gives of passing rows what needs none of them read: their number, or all rows' counts.
    fn counted_unread(
        &self,
        passing: &RowSet,
        request: &ScanRequest,
        tally: &mut Option<Tally<'_>>,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<Unread, ScanError> {
        if request.columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(passing.count()));
            let schema = Schema::empty().into();
            let rows = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
            return Ok(if emit(rows).is_break() { Unread::Stop } else { Unread::All });
        }
        let Some(tally) = tally else { return Ok(Unread::No) };
        let whole = passing.count() == self.row_count as usize;
        Ok(match whole && self.tally_known(&request.columns, tally)? {
            true => Unread::All,
            false => Unread::No,
        })
    }

    /// Counts all rows by a label or the level from what is stored of them, if it is.
    fn tally_known(&self, columns: &[Column], tally: &mut Tally<'_>) -> Result<bool, ScanError> {
        match columns {
            [Column::Level] => {
                for (level, rows) in Level::ALL.iter().zip(self.meta.level_counts) {
                    if rows > 0 {
                        tally.add_known(Some(level.name()), rows);
                    }
                }
            }
            [Column::Field { name, kind: FieldType::Text }] => {
                let (fields, values) = (self.fields()?, self.values()?);
                let mut named = fields.iter().filter(|field| field.name == *name);
                let (Some(only), None) = (named.next(), named.next()) else { return Ok(false) };
                // The only column of its name has the name itself.
                let Some(counts) = values.of(name).filter(|_| only.kind == FieldType::Text) else {
                    return Ok(false);
                };
                let in_column: u64 = counts.iter().map(|(_, rows)| rows).sum();
                if in_column != only.count {
                    // There are more in the column of the rest.
                    return Ok(false);
                }
                for (value, rows) in counts {
                    tally.add_known(Some(value), *rows);
                }
                let without = self.meta.row_count.saturating_sub(in_column);
                if without > 0 {
                    tally.add_known(None, without);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
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
            let needs = Needs {
                filter: &request.filter,
                columns: &[],
                with_texts,
                with_offsets: true,
                with_times: true,
                by_keys: false,
            };
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
        give_last(emit, rows);
        Ok(())
    }

    /// Some columns of a few rows, in the order given.
    fn fetch(&self, order: &[u32], columns: &[Column]) -> Result<RecordBatch, ScanError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let rows = RowSet::from_sorted(sorted.iter().map(|row| *row..*row + 1));
        let needs = Needs {
            filter: &Filter::All,
            columns,
            with_texts: true,
            with_offsets: false,
            with_times: true,
            by_keys: false,
        };
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

/// Gives the last rows; whether to go on does not matter any more.
fn give_last(emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>, rows: RecordBatch) {
    #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
    let _: ControlFlow<()> = emit(rows);
}

/// Takes rows and their numbers.
type Each<'a, T> = dyn FnMut(RecordBatch, &[u32]) -> Result<T, ScanError> + 'a;

/// What is to be read of rows.
struct Needs<'a> {
    filter: &'a Filter,
    columns: &'a [Column],
    /// Whether the filter's texts are asked, or known.
    with_texts: bool,
    /// Whether rows are to be put in order.
    with_offsets: bool,
    /// Whether the rows' times are looked at, be they asked for or not.
    with_times: bool,
    /// Whether texts with few values come as keys of dictionaries.
    by_keys: bool,
}

impl Needs<'_> {
    fn asks_offsets(&self) -> bool {
        let named = filter_names(self.filter, "id");
        self.with_offsets
            || self.columns.contains(&Column::Offset)
            || named
            || self.asks_ingest_time()
    }

    fn asks_ingest_time(&self) -> bool {
        self.columns.contains(&Column::IngestTime) || filter_names(self.filter, "ingest_time")
    }
}

/// Whether a filter tests a value of this name.
fn filter_names(filter: &Filter, wanted: &str) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().any(|part| filter_names(part, wanted))
        }
        Filter::Not(part) => filter_names(part, wanted),
        Filter::Field { name, .. } => name == wanted,
        Filter::All | Filter::Text(_) => false,
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
