//! Columns whose values stand in long spans of rows: the level, labels, text fields. Rows are ordered
//! by service and template, so such a column is a few thousand spans, and what is asked of it is
//! answered from them: no row is read.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use model::limits::BLOCK_ROWS;
use model::query::Filter;
use model::record::FieldType;
use model::split::FieldStat;
use model::time::TimeRange;

use super::coding::{Reader, malformed, put, put_bytes};
use super::rowset::RowSet;
use crate::columns::Values;
use crate::evaluate::{Evaluator, Place};
use crate::schema::{FieldColumnId, schema, time_type};

/// The column of levels.
pub(super) const LEVEL: &str = "level";
/// Rows of a span, on average, from which on a column's spans are kept.
const ROWS_MIN: usize = 64;
/// Spans of a column that are kept whatever their length.
const SPANS_MIN: usize = 16;
/// Bytes of a column's values that are kept: of one with more, as of traces of stacks, nothing is.
const VALUES_BYTES_MAX: usize = 1 << 20;
/// Text fields of a split whose spans are looked at, the first ones of its columns.
const FIELDS_MAX: usize = 64;

/// A column in spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SpanColumn {
    /// The values; number 0 is none.
    values: Vec<Option<String>>,
    /// The row behind each span, ascending, with the number of the span's value.
    spans: Vec<(u32, u32)>,
}

impl SpanColumn {
    /// The first row behind a span, and the span's value. Spans are given by ascending numbers.
    pub(super) fn span(&self, number: usize) -> Option<(u32, Option<&str>)> {
        let (end, value) = self.spans.get(number)?;
        Some((*end, self.values.get(*value as usize)?.as_deref()))
    }

    /// The rows whose value passes a test of this column alone.
    pub(super) fn passing(
        &self,
        test: &Filter,
        column: Option<&FieldColumnId>,
        place: Place<'_>,
    ) -> Result<RowSet, ArrowError> {
        let passing = Evaluator::new(test, TimeRange::ALL).rows(&self.distinct(column)?, place);
        let mut start = 0;
        Ok(RowSet::from_sorted(self.spans.iter().filter_map(|(end, value)| {
            let range = start..*end;
            start = *end;
            passing.value(*value as usize).then_some(range)
        })))
    }

    /// A row for each value, the level's where no column is named.
    fn distinct(&self, column: Option<&FieldColumnId>) -> Result<RecordBatch, ArrowError> {
        let values: ArrayRef = Arc::new(self.values.iter().collect::<StringArray>());
        let times = TimestampNanosecondArray::from(vec![0; values.len()]).with_timezone("UTC");
        let own = match column {
            None => Field::new(LEVEL, DataType::Utf8, true),
            Some(column) => {
                let schema = schema(std::slice::from_ref(column));
                let mut fields = schema.fields().iter();
                let own = fields.find(|field| FieldColumnId::of(field).is_some());
                own.map(|field| field.as_ref().clone().with_data_type(DataType::Utf8)).ok_or_else(
                    || ArrowError::SchemaError("a schema without its column".to_owned()),
                )?
            }
        };
        let schema = Schema::new(vec![Field::new("timestamp", time_type(), false), own]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times), values])
    }

    fn value_count(&self) -> u64 {
        let (mut start, mut count) = (0, 0);
        for (end, value) in &self.spans {
            count += u64::from(if *value == 0 { 0 } else { end - start });
            start = *end;
        }
        count
    }
}

/// The columns of a split that are kept in spans, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans(BTreeMap<String, SpanColumn>);

impl Spans {
    pub(super) fn level(&self) -> Option<&SpanColumn> {
        self.0.get(LEVEL)
    }

    /// The only column of that name, when all values of that name are in it.
    pub(super) fn named(
        &self,
        name: &str,
        fields: &[FieldStat],
    ) -> Option<(FieldColumnId, &SpanColumn)> {
        let mut named = fields.iter().filter(|field| field.name == name);
        let (Some(only), None) = (named.next(), named.next()) else { return None };
        if name == LEVEL || only.kind != FieldType::Text {
            return None;
        }
        // The only column of its name has the name itself; more values may be among the rest, of
        // other rows (which are counted) or of the same. (Splits that do not say `several` counted
        // values, not rows.)
        let is_all =
            |column: &&SpanColumn| column.value_count() == only.count && only.several != Some(true);
        let column = self.0.get(name).filter(is_all)?;
        let kind = (!only.label).then_some(FieldType::Text);
        Some((FieldColumnId { name: name.to_owned(), kind }, column))
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        for (name, column) in &self.0 {
            put_bytes(&mut out, name.as_bytes());
            let values = column.values.iter().flatten();
            put(&mut out, values.clone().count() as u64);
            values.for_each(|value| put_bytes(&mut out, value.as_bytes()));
            put(&mut out, column.spans.len() as u64);
            let mut start = 0;
            for (end, value) in &column.spans {
                put(&mut out, u64::from(end - start));
                put(&mut out, u64::from(*value));
                start = *end;
            }
        }
        out
    }

    /// Undoes [`Spans::encode`]; every column has so many rows.
    pub(super) fn decode(bytes: &[u8], row_count: u32) -> io::Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
        let mut reader = Reader(bytes);
        let mut columns = BTreeMap::new();
        for _ in 0..reader.number()? {
            let name = text(reader.bytes()?)?;
            let mut column = SpanColumn { values: vec![None], spans: Vec::new() };
            for _ in 0..reader.number()? {
                column.values.push(Some(text(reader.bytes()?)?));
            }
            let mut end = 0_u32;
            for _ in 0..reader.number()? {
                end = end.checked_add(reader.small()?).ok_or_else(malformed)?;
                let value = reader.small()?;
                if column.values.len() <= value as usize {
                    return Err(malformed());
                }
                column.spans.push((end, value));
            }
            if end != row_count {
                return Err(malformed());
            }
            columns.insert(name, column);
        }
        if reader.is_empty() { Ok(Self(columns)) } else { Err(malformed()) }
    }
}

/// Finds spans while rows are written.
#[derive(Debug, Default)]
pub(super) struct SpanFinder {
    /// By column; `None` of one of which nothing is kept.
    columns: BTreeMap<String, Option<Finding>>,
    fields: usize,
    rows: u32,
}

/// A column whose spans are looked for.
#[derive(Debug, Default)]
struct Finding {
    numbers: HashMap<Box<str>, u32>,
    column: SpanColumn,
    rows: u32,
    /// Of its values.
    bytes: usize,
}

impl Finding {
    fn new() -> Self {
        let column = SpanColumn { values: vec![None], spans: Vec::new() };
        Self { column, ..Self::default() }
    }

    fn number(&mut self, value: Option<&str>) -> u32 {
        let Some(value) = value else { return 0 };
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len() + 1).unwrap_or(u32::MAX);
        self.numbers.insert(value.into(), number);
        self.column.values.push(Some(value.to_owned()));
        self.bytes += value.len();
        number
    }

    /// More rows with one value.
    fn add(&mut self, number: u32, rows: u32) {
        self.rows += rows;
        match self.column.spans.last_mut() {
            Some((end, last)) if *last == number => *end = self.rows,
            _ if rows > 0 => self.column.spans.push((self.rows, number)),
            _ => {}
        }
    }

    fn add_values(&mut self, values: &Values<'_>, count: usize) {
        let mut last: Option<(usize, u32)> = None;
        let mut from = 0;
        for row in 0..count {
            let same = last.is_some_and(|(before, _)| is_same(values, before, row));
            if !same {
                if let Some((_, number)) = last {
                    self.add(number, rows_of(from..row));
                }
                from = row;
                last = Some((row, self.number(values.text(row).as_deref())));
            }
        }
        if let Some((_, number)) = last {
            self.add(number, rows_of(from..count));
        }
    }

    /// Whether its spans are short, or its values long, for a column of so many rows.
    fn is_too_much(&self, rows: usize) -> bool {
        self.bytes > VALUES_BYTES_MAX || self.column.spans.len() > SPANS_MIN.max(rows / ROWS_MIN)
    }
}

fn rows_of(rows: std::ops::Range<usize>) -> u32 {
    u32::try_from(rows.len()).unwrap_or(u32::MAX)
}

/// Whether neighbours surely have one value.
fn is_same(values: &Values<'_>, one: usize, other: usize) -> bool {
    match values {
        Values::Label(keys, _) => {
            keys.is_null(one) == keys.is_null(other)
                && (keys.is_null(one) || keys.keys().value(one) == keys.keys().value(other))
        }
        Values::Text(texts) => {
            texts.is_null(one) == texts.is_null(other)
                && (texts.is_null(one) || texts.value(one) == texts.value(other))
        }
        _ => false,
    }
}

impl SpanFinder {
    /// Looks at the next rows.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        let before = self.rows;
        self.rows = before.saturating_add(u32::try_from(rows.num_rows()).unwrap_or(u32::MAX));
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let values = Values::of(column);
            if !matches!(values, Values::Label(..) | Values::Text(_)) {
                continue;
            }
            if !self.columns.contains_key(field.name()) {
                let finding = self.finding(field, &values);
                self.columns.insert(field.name().clone(), finding);
            }
            let Some(Some(finding)) = self.columns.get_mut(field.name()) else { continue };
            finding.add(0, before - finding.rows);
            match column.null_count() == rows.num_rows() {
                true => finding.add(0, self.rows - before),
                false => finding.add_values(&values, rows.num_rows()),
            }
            if finding.is_too_much(self.rows as usize) {
                self.columns.insert(field.name().clone(), None);
            }
        }
    }

    /// Looks at a column of all rows, which came without it.
    pub(super) fn add_column(&mut self, name: &str, column: &ArrayRef) {
        let Some(Some(finding)) = self.columns.get_mut(name) else { return };
        *finding = Finding::new();
        for from in (0..column.len()).step_by(BLOCK_ROWS) {
            let some = column.slice(from, BLOCK_ROWS.min(column.len() - from));
            finding.add_values(&Values::of(&some), some.len());
            if finding.is_too_much(column.len()) {
                self.columns.insert(name.to_owned(), None);
                return;
            }
        }
    }

    /// What is found of a column that comes first; `None` of one that is not looked at.
    fn finding(&mut self, field: &Field, values: &Values<'_>) -> Option<Finding> {
        let id = FieldColumnId::of(field);
        if id.is_none() && field.name() != LEVEL {
            return None;
        }
        self.fields += usize::from(id.is_some_and(|id| id.kind.is_some()));
        let is_looked_at = self.fields <= FIELDS_MAX || matches!(values, Values::Label(..));
        is_looked_at.then(Finding::new)
    }

    /// The columns with long spans.
    pub(super) fn finish(self) -> Spans {
        let rows = self.rows;
        let long = |(name, finding): (String, Option<Finding>)| {
            let mut finding = finding?;
            finding.add(0, rows - finding.rows);
            (!finding.is_too_much(rows as usize)).then_some((name, finding.column))
        };
        Spans(self.columns.into_iter().filter_map(long).collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, new_null_array};
    use arrow::datatypes::Int32Type;
    use model::partition::PartitionId;
    use model::query::{FieldTest, TextMatch};
    use proptest::prelude::*;

    use super::*;

    fn batch(values: &[Option<u8>], name: &str) -> RecordBatch {
        let texts: Vec<Option<String>> =
            values.iter().map(|value| value.map(|value| format!("v{value}"))).collect();
        let column: DictionaryArray<Int32Type> = texts.iter().map(Option::as_deref).collect();
        let id = FieldColumnId { name: name.to_owned(), kind: None };
        let schema = schema(&[id]);
        let field = schema.fields().iter().find(|field| field.name() == name).unwrap();
        let schema = Schema::new(vec![field.clone()]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap()
    }

    proptest! {
        #[test]
        fn spans_say_what_the_rows_say(
            parts in prop::collection::vec(
                prop::collection::vec((prop::option::of(0_u8..4), 1_usize..200), 0..8), 0..5),
            absent in 0_usize..5,
        ) {
            let mut finder = SpanFinder::default();
            let mut all: Vec<Option<u8>> = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let values: Vec<Option<u8>> = part.iter()
                    .flat_map(|(value, count)| std::iter::repeat_n(*value, *count)).collect();
                // A piece may come without the column.
                let is_absent = at == absent;
                finder.add(&batch(&values, if is_absent { "other" } else { "app" }));
                all.extend(values.iter().map(|value| value.filter(|_| !is_absent)));
            }
            let row_count = u32::try_from(all.len()).unwrap();
            let spans = finder.finish();
            let spans = Spans::decode(&spans.encode(), row_count).unwrap();
            let count = all.iter().flatten().count() as u64;
            let stat = |name: &str, count| {
                let name = name.to_owned();
                FieldStat { name, kind: FieldType::Text, label: true, count, several: Some(false) }
            };
            let place = Place { partition: PartitionId(0), index: "main" };
            let Some((id, column)) = spans.named("app", &[stat("app", count)]) else {
                return Ok(());
            };
            let text = TextMatch::Phrase("v2".to_owned());
            let test = Filter::Field { name: "app".to_owned(), test: FieldTest::Matches(text) };
            let found: Vec<u32> = column.passing(&test, Some(&id), place).unwrap().rows().collect();
            let expected: Vec<u32> =
                (0..row_count).filter(|row| all[*row as usize] == Some(2)).collect();
            prop_assert_eq!(found, expected);
            // Not when there are more of the name elsewhere.
            prop_assert!(spans.named("app", &[stat("app", count + 1)]).is_none());
            prop_assert!(spans.named("app", &[stat("app", count), stat("app", 1)]).is_none());
        }
    }
    #[test]
    fn a_column_of_all_rows_has_long_spans_on_average() {
        let id = FieldColumnId { name: "app".to_owned(), kind: Some(FieldType::Text) };
        let whole = schema(&[id]);
        let field = whole.field_with_name("app").unwrap().clone();
        let none = new_null_array(&DataType::Utf8, 8 * BLOCK_ROWS);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![none]).unwrap();
        let mut finder = SpanFinder::default();
        finder.add(&rows);
        // Fewer than so many rows may have, all of them in the first block.
        let text = |row: usize| if row < 100 && row.is_multiple_of(2) { "a" } else { "b" };
        let texts: StringArray = (0..8 * BLOCK_ROWS).map(|row| Some(text(row))).collect();
        let texts: ArrayRef = Arc::new(texts);
        finder.add_column("app", &texts);
        assert_eq!(finder.finish().0["app"].spans.len(), 100);
    }

    #[test]
    fn long_values_are_not_kept() {
        let mut finding = Finding::new();
        for n in 0..=4 {
            let value = format!("{n}{}", "x".repeat(VALUES_BYTES_MAX / 4));
            assert_eq!(finding.is_too_much(1), n == 4, "{n}");
            let number = finding.number(Some(&value));
            finding.add(number, 1_000);
        }
    }
}
