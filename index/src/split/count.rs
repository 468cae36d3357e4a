//! Counting the rows that pass without reading them: from templates, from spans, and from the counts
//! of a column's values.

use std::sync::Arc;

use model::level::Level;
use model::record::FieldType;
use model::split::FieldStat;
use model::time::Timestamp;

use super::open::Split;
use super::patterns::Patterns;
use super::rowset::RowSet;
use super::search::Question;
use super::spans::{SpanColumn, Spans};
use super::templates::{Template, Templates};
use crate::measure::Measured;
use crate::render::bin_of;
use crate::scan::{Column, ScanError};
use crate::tally::{Known, Tally, keys};

/// What is measured where nothing is asked of it.
pub(super) const NOTHING: Measured<'static> = Measured { times: (0, 0), example: None };

/// What a column by which rows are counted is known from.
#[derive(Debug, Clone, Copy)]
enum Key<'a> {
    /// All rows have one value.
    Always(&'a str),
    Spans(&'a SpanColumn),
    /// The forms of templates.
    Pattern,
    /// The times of templates.
    Bin {
        width: i64,
        origin: i64,
    },
}

/// Looks at the values of a key, row by row: rows ascend.
struct Cursor<'a> {
    key: Key<'a>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The value of a row, if it is known, and the first row behind it that may have another.
    fn value(&mut self, row: u32, told: Option<&'a Told>) -> (Option<Known<'a>>, u32) {
        match self.key {
            Key::Always(text) => (Some(Known::Text(Some(text))), u32::MAX),
            Key::Spans(column) => {
                while let Some((end, value)) = column.span(self.at) {
                    if row < end {
                        return (Some(Known::Text(value)), end);
                    }
                    self.at += 1;
                }
                (Some(Known::Text(None)), u32::MAX)
            }
            Key::Pattern => {
                let Some(Told { templates, patterns }) = told else { return (None, u32::MAX) };
                while let Some(template) = templates.0.get(self.at) {
                    if row < template.rows.end {
                        let form = patterns.only(self.at);
                        let known = form.map(|form| Known::Text(Some(form.text.as_str())));
                        return (known, template.rows.end);
                    }
                    self.at += 1;
                }
                (None, u32::MAX)
            }
            Key::Bin { .. } => (None, u32::MAX),
        }
    }

    /// The value that all rows of a template have; a pattern is that of its forms.
    fn value_of(&mut self, template: &Template) -> Option<Known<'a>> {
        match self.key {
            Key::Pattern => Some(Known::Text(None)),
            Key::Bin { width, origin } => {
                let begin = |time| bin_of(time, width, origin);
                let first = begin(template.time_first);
                (first == begin(template.time_last)).then_some(Known::Time(first))
            }
            Key::Always(_) | Key::Spans(_) => {
                let (value, behind) = self.value(template.rows.start, None);
                value.filter(|_| behind >= template.rows.end)
            }
        }
    }
}

/// What templates tell of patterns.
struct Told {
    templates: Arc<Templates>,
    patterns: Arc<Patterns>,
}

impl Split {
    /// Counts what of the rows of a question can be counted without reading them; gives those rows.
    /// `exact` are those that pass of all that are not open, where that is known and all are within
    /// the range.
    pub(super) fn count_unread(
        &self,
        question: &Question<'_>,
        exact: Option<&RowSet>,
        tally: &mut Tally<'_>,
    ) -> Result<RowSet, ScanError> {
        let columns = &question.request.columns;
        let (spans, fields) = (self.spans()?, self.fields()?);
        let Some(keys) = self.keys(columns, &spans, &fields) else {
            return Ok(RowSet::default());
        };
        let plain = !columns.iter().any(Column::is_measured);
        let exact = exact.filter(|_| plain);
        let by_spans = |key: &Key<'_>| matches!(key, Key::Always(_) | Key::Spans(_));
        let mut counted = RowSet::default();
        if exact.is_none() || !keys.iter().all(by_spans) {
            counted = self.tally_templates(question, &keys, tally)?;
        }
        if let Some(passing) = exact {
            let left = passing.without(&counted);
            counted = counted.or(&self.tally_spans(&left, &keys, tally)?);
        }
        Ok(counted)
    }

    /// What the columns are known from by which rows are counted, if all are.
    fn keys<'a>(
        &'a self,
        columns: &[Column],
        spans: &'a Spans,
        fields: &[FieldStat],
    ) -> Option<Vec<Key<'a>>> {
        let key = |column: &Column| match column {
            Column::Index => Some(Key::Always(&self.meta.index)),
            Column::Level => spans.level().map(Key::Spans),
            Column::Pattern => Some(Key::Pattern),
            Column::Bin { width, origin } => Some(Key::Bin { width: *width, origin: *origin }),
            Column::Field { name, kind: FieldType::Text } => {
                spans.named(name, fields).map(|(_, column)| Key::Spans(column))
            }
            _ => None,
        };
        keys(columns).map(key).collect()
    }

    fn told(&self) -> Result<Told, ScanError> {
        Ok(Told { templates: self.templates()?, patterns: self.patterns()? })
    }

    /// Counts the rows of templates of which all surely pass and are within the range.
    fn tally_templates(
        &self,
        question: &Question<'_>,
        keys: &[Key<'_>],
        tally: &mut Tally<'_>,
    ) -> Result<RowSet, ScanError> {
        let request = question.request;
        let of_forms = |column: &Column| matches!(column, Column::Pattern | Column::Example);
        let by_forms = request.columns.iter().any(of_forms);
        let (templates, patterns) = match by_forms {
            true => (self.templates()?, Some(self.patterns()?)),
            false => (self.templates()?, None),
        };
        let mut cursors: Vec<Cursor<'_>> =
            keys.iter().map(|key| Cursor { key: *key, at: 0 }).collect();
        let mut sure = question.sure.ranges().iter().peekable();
        let mut counted = Vec::new();
        for (number, template) in templates.0.iter().enumerate() {
            let rows = &template.rows;
            while sure.next_if(|range| range.end <= rows.start).is_some() {}
            let is_sure =
                |range: &&std::ops::Range<u32>| range.start <= rows.start && rows.end <= range.end;
            let (first, last) = (Timestamp(template.time_first), Timestamp(template.time_last));
            if !sure.peek().is_some_and(is_sure) || !request.range.covers(first, last) {
                continue;
            }
            let values = cursors.iter_mut().map(|cursor| cursor.value_of(template));
            let Some(mut values) = values.collect::<Option<Vec<Known<'_>>>>() else { continue };
            let Some(patterns) = &patterns else {
                let times = (template.time_first, template.time_last);
                let measured = Measured { times, example: None };
                tally.add_known(&values, u64::from(rows.end - rows.start), measured);
                counted.push(rows.clone());
                continue;
            };
            for form in patterns.forms(number) {
                for (value, key) in values.iter_mut().zip(keys) {
                    if matches!(key, Key::Pattern) {
                        *value = Known::Text(Some(&form.text));
                    }
                }
                let measured = Measured { times: form.times, example: Some(&form.example) };
                tally.add_known(&values, u64::from(form.rows), measured);
            }
            if !patterns.forms(number).is_empty() {
                counted.push(rows.clone());
            }
        }
        Ok(RowSet::from_sorted(counted))
    }

    /// Counts rows that pass by columns that are kept in spans, and by the patterns of templates that
    /// have one; gives those of which all is known.
    fn tally_spans(
        &self,
        passing: &RowSet,
        keys: &[Key<'_>],
        tally: &mut Tally<'_>,
    ) -> Result<RowSet, ScanError> {
        let by_pattern = keys.iter().any(|key| matches!(key, Key::Pattern));
        let told = by_pattern.then(|| self.told()).transpose()?;
        let mut cursors: Vec<Cursor<'_>> =
            keys.iter().map(|key| Cursor { key: *key, at: 0 }).collect();
        let (mut counted, mut values) = (Vec::new(), Vec::with_capacity(keys.len()));
        for range in passing.ranges() {
            let mut row = range.start;
            while row < range.end {
                let mut end = range.end;
                values.clear();
                for cursor in &mut cursors {
                    let (value, behind) = cursor.value(row, told.as_ref());
                    values.extend(value);
                    end = end.min(behind);
                }
                if values.len() == keys.len() {
                    tally.add_known(&values, u64::from(end - row), NOTHING);
                    counted.push(row..end);
                }
                row = end;
            }
        }
        Ok(RowSet::from_sorted(counted))
    }

    /// Counts rows that pass by columns, where what is kept in spans tells of all of them.
    pub(super) fn tally_found(
        &self,
        passing: &RowSet,
        columns: &[Column],
        tally: &mut Tally<'_>,
    ) -> Result<bool, ScanError> {
        let (spans, fields) = (self.spans()?, self.fields()?);
        let Some(keys) = self.keys(columns, &spans, &fields) else { return Ok(false) };
        if !keys.iter().all(|key| matches!(key, Key::Always(_) | Key::Spans(_))) {
            return Ok(false);
        }
        Ok(self.tally_spans(passing, &keys, tally)? == *passing)
    }

    /// Counts all rows by a label or the level from what is stored of them, if it is.
    pub(super) fn tally_known(
        &self,
        columns: &[Column],
        tally: &mut Tally<'_>,
    ) -> Result<bool, ScanError> {
        match columns {
            [Column::Level] => {
                for (level, rows) in Level::ALL.iter().zip(self.meta.level_counts) {
                    if rows > 0 {
                        tally.add_known(&[Known::Text(Some(level.name()))], rows, NOTHING);
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
                    tally.add_known(&[Known::Text(Some(value))], *rows, NOTHING);
                }
                let without = self.meta.row_count.saturating_sub(in_column);
                if without > 0 {
                    tally.add_known(&[Known::Text(None)], without, NOTHING);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
