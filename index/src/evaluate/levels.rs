//! Filters that ask nothing but the level: counts by level answer them.

use std::sync::Arc;

use arrow::array::{
    DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::Int32Type;
use model::level::Level;
use model::partition::PartitionId;
use model::query::Filter;
use model::time::TimeRange;

use super::{Evaluator, Place};

/// Which levels pass, by number; `None` when the filter asks anything else.
#[must_use]
pub fn levels_passing(filter: &Filter) -> Option<[bool; Level::ALL.len()]> {
    asks_levels_only(filter).then_some(())?;
    let count = Level::ALL.len();
    let keys = Int32Array::from_iter_values(Level::ALL.map(|level| i32::from(level.number())));
    let names = StringArray::from_iter_values(Level::ALL.iter().map(|level| level.name()));
    let levels = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(names)).ok()?;
    let times = TimestampNanosecondArray::from(vec![0; count]).with_timezone("UTC");
    let rows: [(&str, Arc<dyn arrow::array::Array>); 2] =
        [("timestamp", Arc::new(times)), ("level", Arc::new(levels))];
    let rows = RecordBatch::try_from_iter(rows).ok()?;
    // Of an index or a partition nothing is asked.
    let place = Place { partition: PartitionId(0), index: "" };
    let passing = Evaluator::new(filter, TimeRange::ALL).rows(&rows, place);
    let mut levels = [false; Level::ALL.len()];
    for (row, level) in Level::ALL.iter().enumerate() {
        *levels.get_mut(usize::from(level.number()))? = passing.value(row);
    }
    Some(levels)
}

fn asks_levels_only(filter: &Filter) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().all(asks_levels_only),
        Filter::Not(part) => asks_levels_only(part),
        Filter::Field { name, .. } => name == "level",
        Filter::Text(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use model::query::{Bound, FieldTest, Literal, TextMatch};

    use super::*;

    #[test]
    fn levels_are_told_from_the_rest() {
        let test = |name: &str, test| Filter::Field { name: name.to_owned(), test };
        let error = test("level", FieldTest::Matches(TextMatch::Phrase("err".to_owned())));
        let from = Bound::Inclusive(Literal::Text("warn".to_owned()));
        let warn = test("level", FieldTest::Between { from, to: Bound::Open });
        let names = |filter: &Filter| {
            let passing = levels_passing(filter).unwrap();
            let all = Level::ALL.iter().zip(passing).filter(|(_, passes)| *passes);
            all.map(|(level, _)| level.name()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&error), "error");
        assert_eq!(names(&warn), "warn error fatal");
        assert_eq!(names(&Filter::And(vec![warn, Filter::Not(Box::new(error))])), "warn fatal");
        assert_eq!(levels_passing(&Filter::All), Some([true; 7]));
        assert_eq!(levels_passing(&Filter::Text(TextMatch::Phrase("x".to_owned()))), None);
    }
}
