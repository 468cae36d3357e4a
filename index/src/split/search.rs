//! Asking a split: what its indexes know of a filter, then exactly which rows, then their columns.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Int32Type, Schema};
use model::query::Filter;
use model::split::FieldStat;
use model::time::TimeRange;

use super::found::Found;
use super::offsets::OffsetReader;
use super::open::Split;
use super::patterns::Patterns;
use super::present::is_own;
use super::resolve::{Leaf, Resolved, is_leaf, resolve};
use super::rowset::RowSet;
use super::spans::Spans;
use super::statistics::BlockTimes;
use super::stored::{moments, to_rows, with_arrival};
use super::templates::Templates;
use super::tokens::Tokens;
use super::words::Words;
use crate::evaluate::{Evaluator, Place};
use crate::render::PATTERN;
use crate::scan::{Column, ScanError, ScanRequest, needed, render};
use crate::schema::label_type;
use crate::tally::Tally;

/// Columns of a fetch from which on it is worth asking which of them have values.
const WIDE: usize = 16;

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

    /// The rows that are known to pass a filter.
    pub(super) fn found(&self, filter: &Filter) -> Option<Arc<Found>> {
        self.split.found(filter)
    }

    pub(super) fn spans(&self) -> Result<Arc<Spans>, Unreadable> {
        self.split.spans()
    }

    /// Where all rows are.
    pub(super) fn place(&self) -> Place<'_> {
        self.split.place()
    }

    pub(super) fn unreadable(&self, section: &str, error: &dyn std::error::Error) -> Unreadable {
        self.split.wrong(format!("its section {section}: {error}"))
    }
}

/// What a request asks of a split's rows, with what the indexes knew.
pub(super) struct Question<'a> {
    pub(super) request: &'a ScanRequest,
    pub(super) evaluator: &'a Evaluator,
    /// Rows that surely pass, whatever their time.
    pub(super) sure: RowSet,
    /// Rows for which the indexes left open whether a text matches.
    pub(super) open: RowSet,
    /// The other rows that may pass, and a filter that knows the indexes' answers.
    pub(super) decided: RowSet,
    pub(super) known: Evaluator,
    /// What of the filter the indexes do not know of decided rows.
    pub(super) unknown: Filter,
    /// Of the decided rows those that pass, when the indexes know all that is asked.
    pub(super) passing: Option<RowSet>,
    /// Which rows pass was known from a question before.
    pub(super) is_found: bool,
}

impl Split {
    /// Answers a request; `emit` gets the rows and may end it. Where none pass it gets no rows, to be
    /// asked whether to go on.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn scan(
        &self,
        evaluator: &Evaluator,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let Some(left) = self.count_stored(request, emit)? else {
            return self.scan_rows(evaluator, request, emit);
        };
        let is_over = Cell::new(false);
        let mut give = |rows: RecordBatch| {
            let flow = emit(rows);
            is_over.set(flow.is_break());
            flow
        };
        for range in left {
            if is_over.get() {
                break;
            }
            let request = ScanRequest { range, ..request.clone() };
            self.scan_rows(&Evaluator::new(&request.filter, range), &request, &mut give)?;
        }
        Ok(())
    }

    /// The same from the rows alone.
    fn scan_rows(
        &self,
        evaluator: &Evaluator,
        request: &ScanRequest,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let question = self.question(evaluator, request)?;
        if question.open.is_empty() && question.decided.is_empty() {
            // No row may pass: nothing more is asked of the split.
            self.keep_found(&question, self.finder(&question));
            give_last(emit, RecordBatch::new_empty(request.schema()));
            return Ok(());
        }
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
        if let Some(found) = self.found(&request.filter) {
            return self.known_question(evaluator, request, found.rows());
        }
        let indexes = Indexes { split: self, row_count: self.row_count };
        let mut resolved = resolve(&request.filter, &indexes)?;
        let mut may = self.in_time(&resolved.bounds.may, &request.range)?;
        // Only then the body's own index is worth its reading.
        if !may.is_empty() && self.narrow(&request.filter, &mut resolved)? {
            may = may.and(&resolved.bounds.may);
        }
        let Resolved { bounds, leaves } = resolved;
        let mut open = RowSet::default();
        for leaf in leaves.iter().filter(|leaf| leaf.is_decided) {
            open = open.or(&leaf.bounds.may.without(&leaf.bounds.sure).and(&may));
        }
        let decided = may.without(&open);
        let unknown = unknown(&request.filter, &mut leaves.iter().map(|leaf| leaf.is_decided));
        let sure_of = |leaf: Leaf| leaf.is_decided.then_some(leaf.bounds.sure);
        let mut sure = leaves.into_iter().map(sure_of);
        let mut known = |part: &Filter| is_leaf(part).then(|| sure.next()).flatten().flatten();
        let known = Evaluator::with_known(&request.filter, request.range, &mut known);
        let passing = known.known_rows(self.row_count).map(|rows| rows.and(&decided));
        let (sure, is_found) = (bounds.sure, false);
        Ok(Question { request, evaluator, sure, open, decided, known, unknown, passing, is_found })
    }

    /// The same where it is known which rows pass, whatever their time.
    fn known_question<'a>(
        &self,
        evaluator: &'a Evaluator,
        request: &'a ScanRequest,
        rows: RowSet,
    ) -> Result<Question<'a>, ScanError> {
        let decided = self.in_time(&rows, &request.range)?;
        let mut whole = |_: &Filter| Some(rows.clone());
        Ok(Question {
            request,
            evaluator,
            known: Evaluator::with_known(&request.filter, request.range, &mut whole),
            sure: rows,
            open: RowSet::default(),
            unknown: Filter::All,
            passing: Some(decided.clone()),
            decided,
            is_found: true,
        })
    }

    /// Of some rows those of blocks that may be in a range.
    fn in_time(&self, rows: &RowSet, range: &TimeRange) -> Result<RowSet, ScanError> {
        Ok(match self.is_inside(range) {
            true => rows.clone(),
            false => rows.and(&self.blocks()?.rows_in(range, self.row_count)),
        })
    }

    /// Reads what a filter and some output columns need of rows, with the rows' numbers.
    pub(super) fn read(
        &self,
        rows: &RowSet,
        needs: &Needs<'_>,
        each: &mut Each<'_, ControlFlow<()>>,
    ) -> Result<ControlFlow<()>, ScanError> {
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut told = None;
        if needs.columns.contains(&Column::Pattern) && !needs.in_order {
            let (templates, patterns) = (self.templates()?, self.patterns()?);
            let known = patterns.told_rows(&templates).and(rows);
            if !known.is_empty() && known != *rows {
                // Only the others have their patterns from their messages.
                return match self.read(&known, needs, each)? {
                    ControlFlow::Continue(()) => self.read(&rows.without(&known), needs, each),
                    broken => Ok(broken),
                };
            }
            told = (!known.is_empty()).then_some((templates, patterns));
        }
        let body = self.body()?;
        let columns = self.columns_of(body.parquet.schema(), rows, needs, told.is_some())?;
        let ingest = needs.asks_ingest_time().then(|| self.ingest()).transpose()?;
        let mut offsets = match needs.asks_offsets() {
            true => Some(OffsetReader::new(self.offsets()?)),
            false => None,
        };
        let mut numbers = rows.rows();
        let parquet = if needs.by_keys { self.keyed(&body)? } else { body.parquet.clone() };
        for stored in self.reader(&body, &parquet, &columns, Some(rows))? {
            let rows = stored.and_then(|stored| to_rows(&stored));
            let mut rows = rows.map_err(|error| self.corrupt_body(&error))?;
            let numbers: Vec<u32> = numbers.by_ref().take(rows.num_rows()).collect();
            if let Some(offsets) = &mut offsets {
                let read = offsets.read(numbers.iter().copied(), moments(&rows));
                let read =
                    read.map_err(|error| self.wrong(format!("its section offsets: {error}")))?;
                rows = with_arrival(&rows, read, ingest.as_deref())?;
            }
            if let Some((templates, patterns)) = &told {
                let told = (templates.as_ref(), patterns.as_ref());
                rows = with_patterns(&rows, &numbers, told)?;
            }
            if each(rows, &numbers)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The columns that must be read of some rows; not those that have no values there.
    pub(super) fn columns_of(
        &self,
        schema: &Schema,
        rows: &RowSet,
        needs: &Needs<'_>,
        are_told: bool,
    ) -> Result<Vec<usize>, ScanError> {
        let wanted = needs.columns.iter().filter(|one| !are_told || **one != Column::Pattern);
        let wanted: Vec<Column> = wanted.cloned().collect();
        let with_times = needs.with_times || needs.asks_offsets();
        let mut columns = needed(schema, needs.filter, &wanted, with_times);
        if columns.len() > WIDE {
            let present = self.present()?;
            if let Some(names) = present.columns_of(rows) {
                let is_there = |at: &usize| {
                    let field = schema.field(*at);
                    !is_own(field) || names.contains(field.name().as_str())
                };
                columns.retain(is_there);
            }
        }
        Ok(columns)
    }

    pub(super) fn read_all(
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

    /// Which of some rows with these numbers pass, by a filter that is prepared. Times are looked at only
    /// where they may be outside of the range: else they need not be read.
    fn passing(
        &self,
        evaluator: &Evaluator,
        request: &ScanRequest,
        (rows, numbers): (&RecordBatch, &[u32]),
    ) -> BooleanBuffer {
        match self.is_inside(&request.range) {
            true => evaluator.timely_rows(rows, self.place(), numbers),
            false => evaluator.numbered_rows(rows, self.place(), numbers),
        }
    }

    fn scan_all(
        &self,
        question: &Question<'_>,
        emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let request = question.request;
        let (inside, mut finder) = (self.is_inside(&request.range), self.finder(question));
        let mut tally = request.counted.then(|| Tally::new(&request.columns, self.place()));
        let nothing = RecordBatch::new_empty(request.schema());
        let exact = question.passing.as_ref().filter(|_| inside);
        let unread = match (exact, &mut tally) {
            (Some(passing), _) if request.columns.is_empty() => {
                if emit(only_count(passing.count())?).is_break() {
                    return Ok(());
                }
                passing.clone()
            }
            (_, Some(tally)) => self.count_unread(question, exact, tally)?,
            _ => RowSet::default(),
        };
        let decided = question.passing.as_ref().unwrap_or(&question.decided).without(&unread);
        let open = question.open.without(&unread);
        let all_pass = exact.is_some();
        finder.add_rows(&exact.map_or_else(|| unread.clone(), |passing| passing.or(&unread)));
        let needs = |filter| Needs {
            filter,
            columns: &request.columns,
            with_times: !inside,
            by_keys: request.counted || request.columns.is_empty(),
            in_order: false,
        };
        let all = Filter::All;
        let filter = if all_pass { &all } else { &question.unknown };
        let passes: [(&RowSet, Option<&Evaluator>, Needs<'_>); 2] = [
            (&decided, (!all_pass).then_some(&question.known), needs(filter)),
            (&open, Some(question.evaluator), needs(&request.filter)),
        ];
        for (rows, evaluator, needs) in passes {
            let mut give = |rows: RecordBatch, numbers: &[u32]| {
                let rows = match evaluator {
                    None => rows,
                    Some(evaluator) => {
                        let passing = self.passing(evaluator, request, (&rows, numbers));
                        finder.add(numbers, &passing);
                        if passing.count_set_bits() == 0 {
                            return Ok(emit(nothing.clone()));
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
                    false => Ok(emit(nothing.clone())),
                }
            };
            if self.read(rows, &needs, &mut give)?.is_break() {
                return Ok(());
            }
        }
        self.keep_found(question, finder);
        if let Some(tally) = &mut tally {
            give_last(emit, tally.take()?);
        }
        Ok(())
    }
}

/// Rows without columns, where only their number is wanted.
pub(super) fn only_count(count: usize) -> Result<RecordBatch, ScanError> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options)?)
}

/// Gives the last rows; whether to go on does not matter any more.
pub(super) fn give_last(emit: &mut dyn FnMut(RecordBatch) -> ControlFlow<()>, rows: RecordBatch) {
    #[expect(clippy::let_underscore_must_use, reason = "there is nothing more")]
    let _: ControlFlow<()> = emit(rows);
}

/// Takes rows and their numbers.
pub(super) type Each<'a, T> = dyn FnMut(RecordBatch, &[u32]) -> Result<T, ScanError> + 'a;

/// What is to be read of rows.
pub(super) struct Needs<'a> {
    pub(super) filter: &'a Filter,
    pub(super) columns: &'a [Column],
    /// Whether the rows' times are looked at, be they asked for or not.
    pub(super) with_times: bool,
    /// Whether texts with few values come as keys of dictionaries.
    pub(super) by_keys: bool,
    /// Whether the rows must come in their order.
    pub(super) in_order: bool,
}

impl Needs<'_> {
    fn asks_offsets(&self) -> bool {
        self.columns.contains(&Column::Offset)
            || filter_names(self.filter, "id")
            || self.asks_ingest_time()
    }

    fn asks_ingest_time(&self) -> bool {
        self.columns.contains(&Column::IngestTime) || filter_names(self.filter, "ingest_time")
    }
}

/// The filter without the leaves that are known, as far as it says which columns are to be read.
fn unknown(filter: &Filter, known: &mut dyn Iterator<Item = bool>) -> Filter {
    match filter {
        Filter::All => Filter::All,
        Filter::And(parts) | Filter::Or(parts) => {
            Filter::And(parts.iter().map(|part| unknown(part, known)).collect())
        }
        Filter::Not(part) => unknown(part, known),
        leaf if known.next() == Some(true) => {
            debug_assert!(is_leaf(leaf));
            Filter::All
        }
        leaf => leaf.clone(),
    }
}

/// Whether a filter tests a value of this name.
fn filter_names(filter: &Filter, wanted: &str) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().any(|part| filter_names(part, wanted))
        }
        Filter::Not(part) => filter_names(part, wanted),
        Filter::Field { name, test } => test.covers(name, wanted),
        Filter::All | Filter::Text(_) => false,
    }
}

/// Rows with a column of their patterns, which their templates tell.
fn with_patterns(
    rows: &RecordBatch,
    numbers: &[u32],
    (templates, patterns): (&Templates, &Patterns),
) -> Result<RecordBatch, ScanError> {
    let (mut texts, mut keys) = (Vec::<&str>::new(), Vec::with_capacity(numbers.len()));
    let mut last = 0..0;
    for row in numbers {
        if !last.contains(row) {
            let number = templates.number_of(*row).unwrap_or(usize::MAX);
            last = templates.0.get(number).map_or(0..0, |template| template.rows.clone());
            texts.push(patterns.only(number).map_or("", |form| form.text.as_str()));
        }
        keys.push(i32::try_from(texts.len()).unwrap_or(i32::MAX) - 1);
    }
    let (keys, texts) = (Int32Array::from(keys), StringArray::from(texts));
    let patterns = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts))?;
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(PATTERN, label_type(), true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(patterns));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
