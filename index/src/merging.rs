//! Rows of several splits in row order, run by run: an input gives its rows as long as they are before
//! the next row of every other one. Splits of one partition hardly overlap in time, so most runs are
//! all the rows that an input has of a template.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use model::query::Filter;
use model::split::SplitMeta;
use model::time::TimeRange;

use crate::columns::{numbers, times};
use crate::evaluate::{Evaluator, Place};
use crate::pick::{Run, pick_runs};
use crate::scan::ScanError;
use crate::schema::{Adapter, BATCH_BYTES, TextBytes, batch_rows};
use crate::split::{BuildError, Late, Piece, Places, Split, TemplateKey};

/// A row's place in a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    template: u32,
    /// Of loose rows only.
    text: Option<&'a str>,
    time: i64,
    offset: u64,
}

/// Rows with the numbers of their templates.
type Rows = Box<dyn Iterator<Item = Result<(RecordBatch, Vec<u32>), ScanError>> + Send>;

/// Rows that an input has read, at its next one.
struct Part {
    batch: RecordBatch,
    /// By the numbers of the merged split.
    templates: Vec<u32>,
    times: ScalarBuffer<i64>,
    offsets: ScalarBuffer<u64>,
    messages: StringArray,
    texts: TextBytes,
    at: usize,
    /// Rows of the input before its first one.
    before: usize,
}

impl Part {
    fn new(batch: RecordBatch, templates: Vec<u32>, before: usize) -> Result<Self, BuildError> {
        let lacking = || BuildError::Broken("rows without a column that all have".to_owned());
        let times = times(&batch, "timestamp").ok_or_else(lacking)?.values().clone();
        let offsets = numbers(&batch, "offset").ok_or_else(lacking)?.values().clone();
        let messages = batch.column_by_name("message").ok_or_else(lacking)?;
        let messages = messages.as_string_opt::<i32>().ok_or_else(lacking)?.clone();
        let texts = TextBytes::of(&batch);
        Ok(Self { batch, templates, times, offsets, messages, texts, at: 0, before })
    }

    /// The place of a row.
    fn key(&self, row: usize, is_loose: &[bool]) -> Option<Key<'_>> {
        let template = *self.templates.get(row)?;
        let is_loose = is_loose.get(template as usize).copied().unwrap_or(false);
        let text = (is_loose && row < self.messages.len()).then(|| self.messages.value(row));
        Some(Key { template, text, time: *self.times.get(row)?, offset: *self.offsets.get(row)? })
    }
}

/// One of the splits that are merged.
struct Input {
    rows: Rows,
    /// What its rows must not match.
    going: Option<(Evaluator, Arc<SplitMeta>)>,
    /// The numbers of its templates in the merged split.
    renumbered: Vec<u32>,
    adapter: Option<Adapter>,
    /// `None` at its end.
    part: Option<Part>,
    /// Rows that were read, of those that stay.
    read: usize,
}

impl Input {
    fn of(
        split: &Split,
        going: Option<&Filter>,
        templates: &BTreeMap<TemplateKey, u32>,
        late: &Late<'_>,
    ) -> Result<Self, BuildError> {
        let rows: Rows = Box::new(split.rows(&|id| late.has(id))?);
        let own = split.templates()?;
        let number = |key: &TemplateKey| templates.get(key).copied().unwrap_or(u32::MAX);
        let renumbered = own.0.iter().map(|template| number(&template.key)).collect();
        let going =
            going.map(|filter| (Evaluator::new(filter, TimeRange::ALL), Arc::clone(split.meta())));
        Ok(Self { rows, going, renumbered, adapter: None, part: None, read: 0 })
    }

    /// The rows that stay.
    fn kept(
        &self,
        (batch, templates): (RecordBatch, Vec<u32>),
    ) -> Result<(RecordBatch, Vec<u32>), BuildError> {
        let Some((evaluator, meta)) = &self.going else { return Ok((batch, templates)) };
        let place = Place { partition: meta.partition, index: &meta.index };
        let stay = !&evaluator.rows(&batch, place);
        let templates = templates.into_iter().zip(stay.iter());
        let templates = templates.filter_map(|(number, stays)| stays.then_some(number)).collect();
        Ok((filter_record_batch(&batch, &stay.into())?, templates))
    }

    /// Reads on, when what was read is used up.
    fn read_on(&mut self, schema: &SchemaRef) -> Result<(), BuildError> {
        if self.part.as_ref().is_some_and(|part| part.at < part.batch.num_rows()) {
            return Ok(());
        }
        self.part = None;
        while self.part.is_none() {
            let Some(next) = self.rows.next() else { return Ok(()) };
            let (batch, mut templates) = self.kept(next?)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let known = self.adapter.take().filter(|known| known.takes(batch.schema_ref()));
            let adapter = match known {
                Some(known) => known,
                None => Adapter::new(batch.schema_ref(), schema)?,
            };
            for template in &mut templates {
                let number = self.renumbered.get(*template as usize).copied();
                *template = number.unwrap_or(u32::MAX);
            }
            self.part = Some(Part::new(adapter.adapt(&batch)?, templates, self.read)?);
            self.read += batch.num_rows();
            self.adapter = Some(adapter);
        }
        Ok(())
    }
}

/// Rows of several splits in row order.
pub(crate) struct Merging {
    schema: SchemaRef,
    /// By template.
    is_loose: Vec<bool>,
    inputs: Vec<Input>,
    /// The inputs that have rows, that with the first row last.
    order: Vec<usize>,
    /// Rows of a piece at most, and bytes of its texts at which it ends.
    most: (usize, u64),
    /// Where rows come to stand, which columns are made by that come behind them.
    places: Option<Places>,
}

impl Merging {
    /// Of splits without the rows that match what is `going` from each, with the numbers of all their
    /// templates; without the columns that come late.
    ///
    /// # Errors
    /// [`BuildError`] when a split cannot be read.
    pub(crate) fn new(
        splits: &[Split],
        going: &[Option<Filter>],
        (schema, late): (SchemaRef, &Late<'_>),
        templates: &BTreeMap<TemplateKey, u32>,
    ) -> Result<Self, BuildError> {
        let going = |at: usize| going.get(at).and_then(Option::as_ref);
        let splits = splits.iter().enumerate();
        let inputs = splits.map(|(at, split)| Input::of(split, going(at), templates, late));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let is_loose = templates.keys().map(|key| key.is_loose).collect();
        let most = (batch_rows(schema.fields().len() - late.columns().len()), BATCH_BYTES);
        let places = (!late.columns().is_empty()).then(|| late.places());
        Self { schema, is_loose, inputs, order: Vec::new(), most, places }.begun()
    }

    /// With the first rows of all inputs read.
    fn begun(mut self) -> Result<Self, BuildError> {
        for at in 0..self.inputs.len() {
            self.put_back(at)?;
        }
        Ok(self)
    }

    /// Where an input's next row stands; inputs with equal rows go by their order.
    fn next_key(&self, at: usize) -> Option<(Key<'_>, usize)> {
        let part = self.inputs.get(at)?.part.as_ref()?;
        Some((part.key(part.at, &self.is_loose)?, at))
    }

    /// Puts an input with its next row in order, reading on where it has to.
    fn put_back(&mut self, at: usize) -> Result<(), BuildError> {
        if let Some(input) = self.inputs.get_mut(at) {
            input.read_on(&self.schema)?;
        }
        if let Some(key) = self.next_key(at) {
            let is_after = |other: &usize| self.next_key(*other).is_some_and(|next| next > key);
            let place = self.order.partition_point(is_after);
            self.order.insert(place, at);
        }
        Ok(())
    }

    /// The rows that an input gives before it is another one's turn, as far as there is room: rows, and
    /// bytes.
    fn run(&self, at: usize, room: (usize, u64)) -> Option<Range<usize>> {
        let part = self.inputs.get(at)?.part.as_ref()?;
        let next = self.order.last().and_then(|next| self.next_key(*next));
        let is_before = |row: usize| {
            let key = part.key(row, &self.is_loose).map(|key| (key, at));
            next.is_none_or(|next| key.is_some_and(|key| key < next))
        };
        let end = part.batch.num_rows().min(part.at.saturating_add(room.0));
        let end = first_behind(part.at + 1, end, is_before);
        Some(part.at..part.texts.end_of(&(part.at..end), room.1))
    }

    fn piece(&mut self) -> Result<Option<Piece>, BuildError> {
        let (rows_max, bytes_max) = self.most;
        let mut taken = Taken::new(self.inputs.len());
        while taken.templates.len() < rows_max && taken.bytes < bytes_max {
            let Some(at) = self.order.pop() else { break };
            let room = (rows_max - taken.templates.len(), bytes_max - taken.bytes);
            let Some(rows) = self.run(at, room) else { break };
            if let Some(part) = self.inputs.get_mut(at).and_then(|input| input.part.as_mut()) {
                part.at = rows.end;
                if let Some(places) = &self.places {
                    places.add(at, part.before + rows.start..part.before + rows.end);
                }
                taken.add(at, part, rows);
            }
            self.put_back(at)?;
        }
        taken.into_piece(&self.schema)
    }
}

/// The first row from one on that is not before something, up to an end. What is before it comes first.
fn first_behind(from: usize, end: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high, mut step) = (from, end, 1);
    while low + step < end {
        if !is_before(low + step - 1) {
            high = low + step - 1;
            break;
        }
        low += step;
        step *= 2;
    }
    while low < high {
        let middle = low.midpoint(high);
        match is_before(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// Runs of rows that become a piece.
struct Taken {
    /// What rows were taken from, since an input may go on to its next batch meanwhile.
    batches: Vec<RecordBatch>,
    /// The place there of each input's batch.
    current: Vec<Option<usize>>,
    runs: Vec<Run>,
    templates: Vec<u32>,
    /// Of their texts.
    bytes: u64,
}

impl Taken {
    fn new(inputs: usize) -> Self {
        let (batches, runs, templates) = (Vec::new(), Vec::new(), Vec::new());
        Self { batches, current: vec![None; inputs], runs, templates, bytes: 0 }
    }

    /// Takes rows of an input.
    fn add(&mut self, input: usize, part: &Part, rows: Range<usize>) {
        let Some(current) = self.current.get_mut(input) else { return };
        let batch = *current.get_or_insert_with(|| {
            self.batches.push(part.batch.clone());
            self.batches.len() - 1
        });
        if rows.end >= part.batch.num_rows() {
            *current = None;
        }
        self.bytes = self.bytes.saturating_add(part.texts.between(&rows));
        self.templates.extend_from_slice(part.templates.get(rows.clone()).unwrap_or_default());
        self.runs.push((batch, rows));
    }

    fn into_piece(self, schema: &SchemaRef) -> Result<Option<Piece>, BuildError> {
        if self.runs.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let rows = pick_runs(schema, &batches, &self.runs)?;
        Ok(Some(Piece { rows, templates: self.templates }))
    }
}

impl Iterator for Merging {
    type Item = Result<Piece, BuildError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        ArrayRef, DictionaryArray, TimestampNanosecondArray, UInt64Array, new_null_array,
    };
    use arrow::compute::interleave_record_batch;
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{FieldColumnId, schema};

    /// Template, message, time of a row. Of its offset the input's number is the lowest part, so that
    /// no two are equal.
    type Given = (u32, String, i64);

    /// The templates: the first and the last are loose.
    const LOOSE: [bool; 4] = [true, false, false, true];
    const INPUTS: usize = 8;

    fn batch(rows: &[(Given, u64)], label: Option<&str>) -> RecordBatch {
        let label_id = FieldColumnId { name: "host".to_owned(), kind: None };
        let schema = schema(&label.map(|_| label_id).into_iter().collect::<Vec<_>>());
        let times: TimestampNanosecondArray =
            rows.iter().map(|((_, _, time), _)| *time).collect::<Vec<_>>().into();
        let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
        let keys = |text: &str| -> ArrayRef {
            Arc::new(rows.iter().map(|_| Some(text)).collect::<DictionaryArray<Int32Type>>())
        };
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "timestamp" | "ingest_time" => times.clone(),
                "offset" => Arc::new(rows.iter().map(|(_, at)| Some(*at)).collect::<UInt64Array>()),
                "level" => keys("info"),
                "message" => Arc::new(
                    rows.iter().map(|((_, text, _), _)| Some(text)).collect::<StringArray>(),
                ),
                "host" => keys(label.unwrap_or_default()),
                _ => new_null_array(field.data_type(), rows.len()),
            }
        });
        RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
    }

    /// An input's rows in their order, in batches of so many.
    fn input(at: usize, rows: &[Given], cut: usize) -> (Vec<(Given, u64)>, Input) {
        let numbered = rows.iter().cloned().zip((at as u64..).step_by(INPUTS));
        let mut rows: Vec<(Given, u64)> = numbered.collect();
        let is_loose = |template: u32| LOOSE[template as usize];
        rows.sort_by(|((a, a_text, a_time), a_offset), ((b, b_text, b_time), b_offset)| {
            let texts = a_text.cmp(b_text);
            let by_text = if is_loose(*a) { texts } else { std::cmp::Ordering::Equal };
            a.cmp(b).then(by_text).then(a_time.cmp(b_time)).then(a_offset.cmp(b_offset))
        });
        // Some inputs lack the label.
        let label = (!at.is_multiple_of(3)).then(|| format!("web{at}"));
        let parts: Vec<(RecordBatch, Vec<u32>)> = rows
            .chunks(cut)
            .map(|part| {
                let templates = part.iter().map(|((template, ..), _)| *template).collect();
                (batch(part, label.as_deref()), templates)
            })
            .collect();
        let renumbered = (0..4).collect();
        let given: Rows = Box::new(parts.into_iter().map(Ok));
        (rows, Input { rows: given, going: None, renumbered, adapter: None, part: None, read: 0 })
    }

    fn merging(inputs: Vec<Input>, most: (usize, u64)) -> Merging {
        let label = FieldColumnId { name: "host".to_owned(), kind: None };
        let (schema, is_loose) = (schema(&[label]), LOOSE.to_vec());
        let (order, places) = (Vec::new(), None);
        Merging { schema, is_loose, inputs, order, most, places }.begun().unwrap()
    }

    /// The plain twin: all rows sorted by their keys, and cut into pieces row by row.
    fn pieces_of(
        inputs: &[Vec<(Given, u64)>],
        schema: &SchemaRef,
        most: (usize, u64),
    ) -> Vec<(RecordBatch, Vec<u32>)> {
        let whole = |(at, rows): (usize, &Vec<(Given, u64)>)| {
            let label = (!at.is_multiple_of(3)).then(|| format!("web{at}"));
            crate::schema::adapt(&batch(rows, label.as_deref()), schema).unwrap()
        };
        let batches: Vec<RecordBatch> = inputs.iter().enumerate().map(whole).collect();
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let key = |(input, row): &(usize, usize)| {
            let ((template, text, time), offset) = inputs[*input][*row].clone();
            let text = if LOOSE[template as usize] { text } else { String::new() };
            (template, text, time, offset)
        };
        let each = |(at, rows): (usize, &Vec<(Given, u64)>)| {
            (0..rows.len()).map(move |row| (at, row)).collect::<Vec<_>>()
        };
        let mut picks: Vec<(usize, usize)> = inputs.iter().enumerate().flat_map(each).collect();
        picks.sort_by_key(key);
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (at, pick) in picks.iter().enumerate() {
            piece.push(*pick);
            bytes += inputs[pick.0][pick.1].0.1.len() as u64;
            if piece.len() == most.0 || bytes >= most.1 || at + 1 == picks.len() {
                let rows = interleave_record_batch(&batches, &piece).unwrap();
                let templates = piece.iter().map(|pick| key(pick).0).collect();
                pieces.push((rows, templates));
                (piece, bytes) = (Vec::new(), 0);
            }
        }
        pieces
    }

    fn row() -> impl Strategy<Value = Given> {
        (0_u32..4, "[ab]{0,2}", 0_i64..30)
    }

    proptest! {
        #[test]
        fn runs_are_merged_as_rows_are(
            inputs in prop::collection::vec(prop::collection::vec(row(), 0..60), 0..INPUTS),
            cut in 1_usize..20,
            most in (1_usize..80, 1_u64..60),
            apart in any::<bool>(),
        ) {
            let later = |at: usize| if apart { 30 * i64::try_from(at).unwrap() } else { 0 };
            let inputs = inputs.into_iter().enumerate().map(|(at, mut rows)| {
                rows.iter_mut().for_each(|row| row.2 += later(at));
                input(at, &rows, cut)
            });
            let (rows, inputs): (Vec<_>, Vec<_>) = inputs.unzip();
            let merging = merging(inputs, most);
            let expected = pieces_of(&rows, &merging.schema, most);
            let found: Vec<Piece> = merging.map(Result::unwrap).collect();
            prop_assert_eq!(found.len(), expected.len());
            for (found, (rows, templates)) in found.iter().zip(&expected) {
                prop_assert_eq!(&found.templates, templates);
                prop_assert_eq!(&found.rows, rows);
            }
        }

        #[test]
        fn the_first_row_behind_is_found(
            from in 0_usize..40,
            length in 0_usize..200,
            before in 0_usize..200,
        ) {
            let end = from + length;
            let bound = from + before;
            prop_assert_eq!(first_behind(from, end, |row| row < bound), bound.min(end));
        }
    }

    #[test]
    fn inputs_that_do_not_overlap_are_copied_in_long_runs() {
        let rows: Vec<Given> = (0..100).map(|n| (1 + n % 2, String::new(), n.into())).collect();
        let later: Vec<Given> =
            rows.iter().map(|row| (row.0, row.1.clone(), row.2 + 100)).collect();
        let inputs = vec![input(0, &rows, 30).1, input(1, &later, 30).1];
        let mut merging = merging(inputs, (1_000, 1_000));
        assert_eq!(merging.order.pop(), Some(0));
        assert_eq!(merging.run(0, (1_000, 1_000)), Some(0..30));
        assert_eq!(merging.run(0, (7, 1_000)), Some(0..7));
        merging.order.push(0);
        let pieces: Vec<RecordBatch> = merging.map(|piece| piece.unwrap().rows).collect();
        let [piece] = pieces.as_slice() else { panic!("{} pieces", pieces.len()) };
        let expected: Vec<i64> =
            [0, 1].into_iter().flat_map(|odd| (0..100).map(move |n| n * 2 + odd)).collect();
        assert_eq!(times(piece, "timestamp").unwrap().values().to_vec(), expected);
    }
}
