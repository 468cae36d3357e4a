//! The rows of a query, as they come.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::displayable;
use futures::StreamExt as _;
use index::searcher::Unit;
use model::partition::RecordId;
use model::time::{TimeRange, Timestamp};
use model::wire::Missing;

use super::count::counts_of;
use super::lower::{Lowered, Order, Reading, asked, fields_of, fixed, is_sliced, queries};
use super::planning::Size;
use super::range::{Cursor, may_hold, narrowed};
use super::room::Room;
use super::scan::{Progress, ProgressWatch, Scanner, StopGuard};
use super::slices::slices;
use super::types::{Types, at_hand, look_up};
use super::warnings::Doubt;
use super::{Budget, Engine, OutputColumn, QueryFailure, Question, Shape};
use crate::language::{Pipe, Query};

/// How a question would be answered.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// The range that is read.
    pub range: TimeRange,
    /// Splits that may be read.
    pub splits: u64,
    /// Fresh parts that may be read.
    pub fresh: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes, stored.
    pub bytes: u64,
    /// The plan as DataFusion runs it.
    pub plan: String,
}

/// A running query. Dropping it stops the work.
pub struct Answer {
    shape: Shape,
    rows: SendableRecordBatchStream,
    left: Option<u64>,
    /// The bound of a table's rows.
    pub(super) room: Option<Room>,
    /// Rows of a page, where there are pages.
    limit: Option<u64>,
    pub(super) scanner: Scanner,
    pub(super) budget: Budget,
    /// Fields that some record may have or none.
    pub(super) doubt: Doubt,
    memory_bytes_max: usize,
    matched: Matched,
    planned: Duration,
    /// What is still to be sorted, where the answer is made in slices.
    rest: Option<Box<Rest>>,
    _stop: StopGuard,
}

/// The slices of a range that are still to be given out.
struct Rest {
    engine: Engine,
    question: Question,
    /// Of the whole range.
    reading: Reading,
    span: TimeRange,
    /// The next one last.
    ranges: Vec<TimeRange>,
}

impl Rest {
    /// Begins with the next slice.
    async fn next(
        &mut self,
        scanner: &Scanner,
        budget: &mut Budget,
    ) -> Result<Option<SendableRecordBatchStream>, QueryFailure> {
        let Some(range) = self.ranges.pop() else { return Ok(None) };
        *budget = budget.anew();
        let question = &self.question;
        let readings = vec![(&question.query, self.reading.within(range))];
        let (order, size) = ((Order::Defined, self.span), Size::of(&question.query));
        let asked = (question, size);
        let lowered = self.engine.lowered(scanner, asked, readings, order, budget).await?;
        self.engine.begin((lowered.plan, size), &lowered.shape, budget).await.map(Some)
    }
}

/// What is known of the number of records that pass the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matched {
    /// It is the number of those that passed, when the rows have come to their end and they are
    /// fewer than this: scans may leave out what cannot be among so many newest.
    Below(u64),
    /// So many.
    Known(u64),
    /// Nothing: the search is not the only one, or not all of it is read.
    Unknown,
}

impl Matched {
    fn of(question: &Question, readings: usize, newest: Option<usize>) -> Self {
        // Conditions of pipes go down into scans, as far as they can.
        let hides = |pipe: &Pipe| matches!(pipe, Pipe::Limit(0) | Pipe::Where(_));
        if readings != 1 || question.query.pipes.iter().any(hides) {
            return Self::Unknown;
        }
        Self::Below(newest.map_or(u64::MAX, |most| most as u64))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Answer {
    /// Rows that are all of it; how many records pass the search is not known.
    pub(super) fn of(
        engine: &Engine,
        shape: Shape,
        rows: SendableRecordBatchStream,
        (scanner, stop): (Scanner, StopGuard),
        (budget, doubt): (Budget, Doubt),
    ) -> Self {
        let memory_bytes_max = engine.0.settings.memory_bytes_max;
        let (left, limit, matched) = (None, None, Matched::Unknown);
        let (planned, _stop) = (budget.age(), stop);
        Self {
            shape,
            rows,
            left,
            room: None,
            limit,
            scanner,
            budget,
            doubt,
            memory_bytes_max,
            matched,
            planned,
            rest: None,
            _stop,
        }
    }

    /// What its rows are.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The columns of its rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// How far the work is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.watch().now()
    }

    /// Sees how far the work is, while rows are waited for.
    #[must_use]
    pub fn watch(&self) -> ProgressWatch {
        self.scanner.progress.clone()
    }

    /// The next rows that the plan gives; `None` at the end.
    ///
    /// # Errors
    /// [`QueryFailure`]; the rows so far were right, but are not all.
    pub(super) async fn produced(&mut self) -> Result<Option<RecordBatch>, QueryFailure> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            let rows = match self.budget.within(self.rows.next()).await? {
                None => {
                    if let Some(rest) = &mut self.rest
                        && let Some(rows) = rest.next(&self.scanner, &mut self.budget).await?
                    {
                        self.rows = rows;
                        continue;
                    }
                    let passed = self.progress().rows;
                    self.matched = match self.matched {
                        Matched::Below(most) if passed < most => Matched::Known(passed),
                        Matched::Known(count) => Matched::Known(count),
                        Matched::Below(_) | Matched::Unknown => Matched::Unknown,
                    };
                    return Ok(None);
                }
                Some(Err(error)) => return Err(QueryFailure::of(error, self.memory_bytes_max)),
                Some(Ok(rows)) => rows,
            };
            let Some(left) = self.left else { return Ok(Some(rows)) };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(rows.num_rows());
            self.left = Some(left - count as u64);
            if count > 0 {
                return Ok(Some(rows.slice(0, count)));
            }
        }
    }

    /// Where the next page begins, behind the last record of a page that is full.
    #[must_use]
    pub fn next_page(&self, rows: u64, last: Option<(Timestamp, RecordId)>) -> Option<Cursor> {
        let last = last.filter(|_| self.limit.is_some_and(|limit| rows >= limit));
        last.map(|(time, id)| Cursor { time, id })
    }

    /// How long it took from the question to a plan that runs.
    #[must_use]
    pub fn planned(&self) -> Duration {
        self.planned
    }

    /// How many records pass the search, where all of them were looked at.
    #[must_use]
    pub fn matched(&self) -> Option<u64> {
        match self.matched {
            Matched::Known(count) if self.missing().is_empty() => Some(count),
            _ => None,
        }
    }

    /// What the answer lacks so far; all of it at the end.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.scanner.missing()
    }
}

impl Engine {
    /// Begins to answer. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn ask(&self, question: &Question) -> Result<Answer, QueryFailure> {
        self.ask_in(question, Order::Defined).await
    }

    pub(super) async fn ask_in(
        &self,
        question: &Question,
        order: Order,
    ) -> Result<Answer, QueryFailure> {
        let scanner = self.scanner();
        let stop = scanner.stop_guard();
        let mut budget = self.budget();
        let (mut readings, doubt) = self.readings(&scanner, question, &mut budget).await?;
        let reading_count = readings.len();
        let span = readings.first().map_or(question.range, |(_, reading)| reading.span());
        let rest = self.sliced(question, &mut readings, (order, span));
        let planless = match readings.as_slice() {
            [(query, reading)] => self.planless(&scanner, query, reading),
            _ => None,
        };
        let (rows, shape, take, pages, newest) = match planless {
            Some((rows, columns)) => (rows, Shape::Table(columns), None, false, None),
            None => {
                let size = Size::of(&question.query);
                let (asked, order) = ((question, size), (order, span));
                let lowered = self.lowered(&scanner, asked, readings, order, &mut budget).await?;
                let Lowered { plan, shape, take, pages, newest } = lowered;
                let rows = self.begin((plan, size), &shape, &mut budget).await?;
                (rows, shape, take, pages, newest)
            }
        };
        let matched = Matched::of(question, reading_count, newest);
        let limit = pages.then_some(question.limit).filter(|limit| *limit > 0);
        let answer = Answer::of(self, shape, rows, (scanner, stop), (budget, doubt));
        Ok(Answer { left: take, limit, matched, rest, ..answer })
    }

    /// The rows of a question that only counts, which needs no plan. In a cluster it has one: others
    /// count theirs.
    fn planless(
        &self,
        scanner: &Scanner,
        query: &Query,
        reading: &Reading,
    ) -> Option<(SendableRecordBatchStream, Vec<OutputColumn>)> {
        if self.searcher().is_clustered() {
            return None;
        }
        match counts_of(query) {
            Some(counts) => {
                let counted = (&query.filter, reading.clone());
                Some((self.count(scanner, counted, counts.len()), counts))
            }
            None => self.groups(scanner, query, reading),
        }
    }

    /// Leaves the first slice of a great range in what is read, if the answer can be made so; the rest
    /// comes later.
    fn sliced(
        &self,
        question: &Question,
        readings: &mut [(&Query, Reading)],
        (order, span): (Order, TimeRange),
    ) -> Option<Box<Rest>> {
        let [(_, reading)] = readings else { return None };
        if order != Order::Defined || !is_sliced(&question.query, question.limit) {
            return None;
        }
        let mut ranges = slices(&reading.units, reading.range, self.0.settings.slice_rows);
        ranges.reverse();
        let first = ranges.pop().filter(|_| !ranges.is_empty())?;
        let whole = std::mem::replace(reading, reading.within(first));
        let (engine, question) = (self.clone(), question.clone());
        Some(Box::new(Rest { engine, question, reading: whole, span, ranges }))
    }

    /// What the query and those inside of it read, all of one view, and the fields that they name.
    async fn readings<'a>(
        &self,
        scanner: &Scanner,
        question: &'a Question,
        budget: &mut Budget,
    ) -> Result<(Vec<(&'a Query, Reading)>, Doubt), QueryFailure> {
        let view = self.view().await;
        scanner.lack(&view.missing);
        let now = self.clock().now();
        let mut readings = Vec::new();
        let queries = queries(&question.query);
        let indexes = question.indexes.as_deref();
        let filters = queries.iter().map(|query| &query.filter);
        let mut doubt = Doubt::of(&view, indexes, filters, asked(&question.query));
        for query in queries {
            let range = if std::ptr::eq(query, &raw const question.query) {
                question.range
            } else {
                question.range_of(query, now)
            };
            let whole = range;
            let range = narrowed(range, &query.filter);
            let mut units = self.searcher().units(&view, &range, indexes);
            units.retain(|unit| may_hold(&query.filter, unit));
            let mut names = fields_of(query);
            names.extend(fields_of(&question.query));
            names.retain(|name| fixed(name).is_none());
            let (units, types) = self.types(scanner, units, names, budget).await?;
            // What was found here needs no looking for.
            doubt.names.retain(|name| !types.contains_key(name));
            // A field may be in a record of the time that is left out for another reason.
            if !doubt.names.is_empty() && (readings.is_empty() || query.time.is_some()) {
                doubt.units.extend(self.searcher().units(&view, &whole, indexes));
            }
            readings.push((query, Reading { units, types, range }));
        }
        Ok((readings, doubt))
    }

    /// The types of some fields, and the units that can be read.
    async fn types(
        &self,
        scanner: &Scanner,
        mut units: Vec<Unit>,
        names: BTreeSet<String>,
        budget: &mut Budget,
    ) -> Result<(Vec<Unit>, Types), QueryFailure> {
        if names.is_empty() {
            return Ok((units, Types::new()));
        }
        if let Some(types) = at_hand(scanner, &units, |name| names.contains(name)) {
            return Ok((units, types));
        }
        let scanner = scanner.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let types = look_up(&scanner, &mut units, |name| names.contains(name));
            (units, types)
        });
        budget.within(looked).await?.map_err(|_| QueryFailure::Broken)
    }

    /// The types of all fields, and the units that can be read.
    pub(super) async fn all_types(
        &self,
        scanner: &Scanner,
        mut units: Vec<Unit>,
        budget: &mut Budget,
    ) -> Result<(Vec<Unit>, Types), QueryFailure> {
        let scanner = scanner.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let types = look_up(&scanner, &mut units, |_| true);
            (units, types)
        });
        budget.within(looked).await?.map_err(|_| QueryFailure::Broken)
    }

    /// How a question would be answered. No record is read.
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn explain(&self, question: &Question) -> Result<Explanation, QueryFailure> {
        let scanner = self.scanner();
        let _stop = scanner.stop_guard();
        let mut budget = self.budget();
        let (readings, _) = self.readings(&scanner, question, &mut budget).await?;
        let range = readings.first().map_or(question.range, |(_, reading)| reading.range);
        let mut explanation = Explanation { range, ..Explanation::default() };
        for unit in readings.iter().flat_map(|(_, reading)| &reading.units) {
            explanation.records += unit.row_count();
            explanation.bytes += unit.bytes();
            match unit {
                Unit::Split(_) => explanation.splits += 1,
                Unit::Fresh(_) | Unit::Remote(_) => explanation.fresh += 1,
            }
        }
        let span = readings.first().map_or(question.range, |(_, reading)| reading.span());
        let size = Size::of(&question.query);
        let (asked, order) = ((question, size), (Order::Defined, span));
        let lowered = self.lowered(&scanner, asked, readings, order, &mut budget).await?;
        let plan = self.runnable((lowered.plan, size), &lowered.shape, &mut budget).await?;
        explanation.plan = displayable(plan.as_ref()).indent(false).to_string();
        Ok(explanation)
    }
}
