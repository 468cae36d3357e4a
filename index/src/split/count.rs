//! Counting the rows that pass without reading them: from spans, and from counts that are stored.

use std::ops::ControlFlow;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use model::level::Level;
use model::record::FieldType;

use super::open::Split;
use super::rowset::RowSet;
use super::spans::SpanColumn;
use crate::scan::{Column, ScanError, ScanRequest};
use crate::tally::Tally;

/// What of passing rows need not be read any more.
pub(super) enum Unread {
    /// They must be read.
    No,
    /// None of them must be read.
    All,
    /// Nothing is wanted any more.
    Stop,
}

/// A column in spans with the place where it is looked at; none where all rows have one value.
struct Cursor<'a> {
    column: Option<&'a SpanColumn>,
    constant: Option<&'a str>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The value of a row, and the first row behind it that may have another; rows ascend.
    fn value(&mut self, row: u32) -> (Option<&'a str>, u32) {
        let Some(column) = self.column else { return (self.constant, u32::MAX) };
        while let Some((end, value)) = column.span(self.at) {
            if row < end {
                return (value, end);
            }
            self.at += 1;
        }
        (None, u32::MAX)
    }
}

impl Split {
    /// Gives of passing rows what needs none of them read: their number, or their counts by
    /// columns that are kept in spans, or all rows' counts by a column.
    pub(super) fn counted_unread(
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
        if self.tally_spans(passing, &request.columns, tally)? {
            return Ok(Unread::All);
        }
        let whole = passing.count() == self.row_count as usize;
        Ok(match whole && self.tally_known(&request.columns, tally)? {
            true => Unread::All,
            false => Unread::No,
        })
    }

    /// Counts passing rows by columns that are kept in spans, if all are.
    fn tally_spans(
        &self,
        passing: &RowSet,
        columns: &[Column],
        tally: &mut Tally<'_>,
    ) -> Result<bool, ScanError> {
        let (spans, fields) = (self.spans()?, self.fields()?);
        let mut cursors = Vec::with_capacity(columns.len());
        for column in columns {
            let found = match column {
                Column::Index => None,
                Column::Level => spans.level(),
                Column::Field { name, kind: FieldType::Text } => {
                    spans.named(name, &fields).map(|(_, column)| column)
                }
                _ => None,
            };
            if found.is_none() && *column != Column::Index {
                return Ok(false);
            }
            cursors.push(Cursor { column: found, constant: Some(&self.meta.index), at: 0 });
        }
        let mut values = Vec::with_capacity(cursors.len());
        for range in passing.ranges() {
            let mut row = range.start;
            while row < range.end {
                let mut end = range.end;
                values.clear();
                for cursor in &mut cursors {
                    let (value, behind) = cursor.value(row);
                    values.push(value);
                    end = end.min(behind);
                }
                tally.add_known(&values, u64::from(end - row));
                row = end;
            }
        }
        Ok(true)
    }

    /// Counts all rows by a label or the level from what is stored of them, if it is.
    fn tally_known(&self, columns: &[Column], tally: &mut Tally<'_>) -> Result<bool, ScanError> {
        match columns {
            [Column::Level] => {
                for (level, rows) in Level::ALL.iter().zip(self.meta.level_counts) {
                    if rows > 0 {
                        tally.add_known(&[Some(level.name())], rows);
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
                    tally.add_known(&[Some(value)], *rows);
                }
                let without = self.meta.row_count.saturating_sub(in_column);
                if without > 0 {
                    tally.add_known(&[None], without);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
