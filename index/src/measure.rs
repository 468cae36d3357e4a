//! What is told of the rows of a group beside their number: when the earliest and the latest of them
//! are, and their least message as an example.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray};

use crate::columns::{Values, times};
use crate::scan::Column;

/// What some rows measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'a> {
    /// The earliest and the latest timestamp.
    pub(crate) times: (i64, i64),
    /// The least message, where one is wanted.
    pub(crate) example: Option<&'a str>,
}

/// The columns of rows that are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measures<'a> {
    times: Option<&'a TimestampNanosecondArray>,
    messages: Option<&'a StringArray>,
}

impl<'a> Measures<'a> {
    /// Those that some columns of an answer ask for.
    pub(crate) fn of(rows: &'a RecordBatch, columns: &[Column]) -> Self {
        let messages = match Values::named(rows, "message") {
            Values::Text(messages) if columns.contains(&Column::Example) => Some(messages),
            _ => None,
        };
        Self { times: times(rows, "timestamp"), messages }
    }

    /// What a run of rows measures.
    pub(crate) fn over(&self, rows: Range<usize>) -> Measured<'a> {
        let mut span = (i64::MAX, i64::MIN);
        let moments = self.times.and_then(|times| times.values().get(rows.clone()));
        for time in moments.unwrap_or_default() {
            span = (span.0.min(*time), span.1.max(*time));
        }
        let example = self.messages.and_then(|all| rows.map(|row| all.value(row)).min());
        Measured { times: span, example }
    }
}

/// What the rows of a group measured so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    times: (i64, i64),
    example: Option<Box<str>>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { times: (i64::MAX, i64::MIN), example: None }
    }
}

impl Sum {
    /// Adds what more rows measure. How many bytes more it takes.
    pub(crate) fn add(&mut self, more: Measured<'_>) -> usize {
        self.times = (self.times.0.min(more.times.0), self.times.1.max(more.times.1));
        let Some(example) = more.example else { return 0 };
        if self.example.as_deref().is_some_and(|known| known <= example) {
            return 0;
        }
        self.example = Some(example.into());
        example.len()
    }

    /// What was added.
    pub(crate) fn measured(&self) -> Measured<'_> {
        Measured { times: self.times, example: self.example.as_deref() }
    }
}

/// A column of what groups measure.
pub(crate) fn column<'a>(
    wanted: &Column,
    groups: impl Iterator<Item = Option<Measured<'a>>>,
) -> ArrayRef {
    if *wanted == Column::Example {
        let example = |group: Option<Measured<'a>>| group.and_then(|group| group.example);
        return Arc::new(groups.map(example).collect::<StringArray>());
    }
    let is_first = *wanted == Column::Earliest;
    let time = |group: Option<Measured<'a>>| {
        group.map(|group| if is_first { group.times.0 } else { group.times.1 })
    };
    let times: TimestampNanosecondArray = groups.map(time).collect();
    Arc::new(times.with_timezone("UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_all_their_rows() {
        let times = TimestampNanosecondArray::from(vec![5, -3, 9]).with_timezone("UTC");
        let messages = StringArray::from(vec!["b", "c", "a"]);
        let columns: [(&str, ArrayRef); 2] =
            [("timestamp", Arc::new(times)), ("message", Arc::new(messages))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let measures = Measures::of(&rows, &[Column::Latest, Column::Example]);
        let mut sum = Sum::default();
        assert_eq!(sum.add(measures.over(0..2)), 1);
        assert_eq!((sum.measured().times, sum.measured().example), ((-3, 5), Some("b")));
        assert_eq!(sum.add(measures.over(2..3)), 1);
        assert_eq!(sum.add(measures.over(0..1)), 0);
        assert_eq!((sum.measured().times, sum.measured().example), ((-3, 9), Some("a")));
        // Nobody asked for an example.
        let measures = Measures::of(&rows, &[Column::Earliest]);
        assert_eq!(measures.over(0..3).example, None);
    }
}
