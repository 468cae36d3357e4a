//! Counting rows by the values of columns: by the dictionaries' keys, without a text per row.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::TimestampNanosecondType;
use hashbrown::HashMap;

use crate::columns::Values;
use crate::evaluate::Place;
use crate::measure::{self, Measured, Measures, Sum};
use crate::render::told_patterns;
use crate::scan::{Column, ScanError, output_schema_counted, own_columns, render, rest_is_empty};

/// Columns by which rows can be counted together.
pub const COUNTED_COLUMNS_MAX: usize = 4;
/// Groups that are kept; more are given out and begun anew.
const GROUPS_MAX: usize = 65_536;
/// Bytes of their examples, likewise.
const EXAMPLE_BYTES_MAX: usize = 8 << 20;
/// Bytes of the texts by which they are told apart, likewise.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Cells of a table of groups that are counted whatever the number of rows.
const CELLS_MIN: usize = 4_096;

/// Numbers of the values of a group.
type Key = [u32; COUNTED_COLUMNS_MAX];

/// Counts rows by some columns, and measures them where that is asked too.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    columns: &'a [Column],
    place: Place<'a>,
    /// Of each column by which rows are counted.
    seen: Vec<Seen>,
    counts: HashMap<Key, i64>,
    /// What the rows of each group measure, where anything is asked of it.
    sums: Option<HashMap<Key, Sum>>,
    example_bytes: usize,
}

/// A value that is known of many rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known<'a> {
    Text(Option<&'a str>),
    /// The beginning of a bin.
    Time(i64),
}

/// The columns by which rows are counted.
pub(crate) fn keys(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns.iter().filter(|column| !column.is_measured())
}

/// The values of a column that were met, by number.
#[derive(Debug)]
enum Seen {
    Texts { numbers: HashMap<Arc<str>, u32>, values: Vec<Option<Arc<str>>>, bytes: usize },
    Times { numbers: HashMap<i64, u32>, values: Vec<i64> },
}

impl Seen {
    fn of(column: &Column) -> Self {
        match column {
            Column::Bin { .. } => Self::Times { numbers: HashMap::new(), values: Vec::new() },
            // Number 0 is no value.
            _ => Self::Texts { numbers: HashMap::new(), values: vec![None], bytes: 0 },
        }
    }

    /// How many numbers are given out.
    fn len(&self) -> usize {
        match self {
            Self::Texts { values, .. } => values.len(),
            Self::Times { values, .. } => values.len(),
        }
    }

    /// Bytes of its texts.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Texts { bytes, .. } => *bytes,
            Self::Times { .. } => 0,
        }
    }

    fn text(&mut self, text: Option<&str>) -> u32 {
        let (Some(text), Self::Texts { numbers, values, bytes }) = (text, self) else { return 0 };
        if let Some(number) = numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let known: Arc<str> = text.into();
        numbers.insert(known.clone(), number);
        values.push(Some(known));
        *bytes += text.len();
        number
    }

    fn time(&mut self, time: i64) -> u32 {
        let Self::Times { numbers, values } = self else { return 0 };
        *numbers.entry(time).or_insert_with(|| {
            values.push(time);
            u32::try_from(values.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// The values with these numbers.
    fn column(&self, numbers: impl Iterator<Item = u32>) -> ArrayRef {
        match self {
            Self::Texts { values, .. } => {
                let text = |number: u32| values.get(number as usize).and_then(Option::as_deref);
                Arc::new(numbers.map(text).collect::<StringArray>())
            }
            Self::Times { values, .. } => {
                let time = |number: u32| values.get(number as usize).copied();
                let times: TimestampNanosecondArray = numbers.map(time).collect();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

impl<'a> Tally<'a> {
    /// Counts by these columns, of which each [`Column::is_counted`] or [`Column::is_measured`].
    pub(crate) fn new(columns: &'a [Column], place: Place<'a>) -> Self {
        let seen = keys(columns).map(Seen::of).collect();
        let sums = columns.iter().any(Column::is_measured).then(HashMap::new);
        Self { columns, place, seen, counts: HashMap::new(), sums, example_bytes: 0 }
    }

    /// Counts rows.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<(), ScanError> {
        let mut numbers = Vec::with_capacity(self.seen.len());
        for (column, seen) in keys(self.columns).zip(&mut self.seen) {
            numbers.push(numbered(rows, self.place, column, seen)?);
        }
        let count = rows.num_rows();
        let cells = self.cells().filter(|cells| *cells <= CELLS_MIN.max(count));
        if let Some(cells) = cells.filter(|_| self.sums.is_none()) {
            self.add_cells(&numbers, count, cells);
            return Ok(());
        }
        let measures = Measures::of(rows, self.columns);
        let key = |row: usize| {
            let mut key = Key::default();
            for (place, numbers) in key.iter_mut().zip(&numbers) {
                *place = numbers.get(row).copied().unwrap_or(0);
            }
            key
        };
        // Rows of one template stand together, so groups come in runs.
        let mut from = 0;
        while from < count {
            let first = key(from);
            let run = (from..count).take_while(|row| key(*row) == first).count();
            self.add_group(first, run as u64, || measures.over(from..from + run));
            from += run;
        }
        Ok(())
    }

    /// Counts rows of one group.
    fn add_group<'b>(&mut self, key: Key, rows: u64, measured: impl FnOnce() -> Measured<'b>) {
        *self.counts.entry(key).or_default() += i64::try_from(rows).unwrap_or(i64::MAX);
        if let Some(sums) = &mut self.sums {
            self.example_bytes += sums.entry(key).or_default().add(measured());
        }
    }

    /// How many groups the values met so far can make.
    fn cells(&self) -> Option<usize> {
        self.seen.iter().try_fold(1_usize, |cells, seen| cells.checked_mul(seen.len().max(1)))
    }

    /// Counts rows in a table that has a cell for each possible group.
    fn add_cells(&mut self, numbers: &[Vec<u32>], rows: usize, cells: usize) {
        let mut cell_of = vec![0_u32; rows];
        for (numbers, seen) in numbers.iter().zip(&self.seen) {
            let width = u32::try_from(seen.len().max(1)).unwrap_or(u32::MAX);
            for (cell, number) in cell_of.iter_mut().zip(numbers) {
                *cell = cell.wrapping_mul(width).wrapping_add(*number);
            }
        }
        let mut counts = vec![0_i64; cells];
        for cell in cell_of {
            if let Some(count) = counts.get_mut(cell as usize) {
                *count += 1;
            }
        }
        for (cell, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let (mut key, mut cell) = (Key::default(), cell);
            let places = key.get_mut(..self.seen.len()).unwrap_or_default();
            for (place, seen) in places.iter_mut().zip(&self.seen).rev() {
                let width = seen.len().max(1);
                *place = u32::try_from(cell % width).unwrap_or(0);
                cell /= width;
            }
            *self.counts.entry(key).or_default() += count;
        }
    }

    /// Counts many rows that have the same value in each column by which they are counted.
    pub(crate) fn add_known(&mut self, values: &[Known<'_>], rows: u64, measured: Measured<'_>) {
        let mut key = Key::default();
        for ((place, seen), value) in key.iter_mut().zip(&mut self.seen).zip(values) {
            *place = match value {
                Known::Text(text) => seen.text(*text),
                Known::Time(time) => seen.time(*time),
            };
        }
        self.add_group(key, rows, || measured);
    }

    /// Whether what was counted must be given out.
    pub(crate) fn is_full(&self) -> bool {
        self.counts.len() >= GROUPS_MAX
            || self.example_bytes >= EXAMPLE_BYTES_MAX
            || self.seen.iter().map(Seen::text_bytes).sum::<usize>() >= TEXT_BYTES_MAX
    }

    /// The groups counted since the last time, each with its rows.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ScanError> {
        let counts = std::mem::take(&mut self.counts);
        let sums = self.sums.as_mut().map(std::mem::take).unwrap_or_default();
        self.example_bytes = 0;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        let mut seen = self.seen.iter_mut().enumerate();
        for column in self.columns {
            if column.is_measured() {
                let groups = counts.keys().map(|key| sums.get(key).map(Sum::measured));
                columns.push(measure::column(column, groups));
                continue;
            }
            let Some((at, seen)) = seen.next() else { continue };
            let numbers = counts.keys().map(|key| key.get(at).copied().unwrap_or(0));
            columns.push(seen.column(numbers));
            *seen = Seen::of(column);
        }
        columns.push(Arc::new(counts.values().copied().collect::<Int64Array>()));
        Ok(RecordBatch::try_new(output_schema_counted(self.columns), columns)?)
    }
}

/// The number of each row's value.
fn numbered(
    rows: &RecordBatch,
    place: Place<'_>,
    column: &Column,
    seen: &mut Seen,
) -> Result<Vec<u32>, ScanError> {
    let labels = match column {
        Column::Index => return Ok(vec![seen.text(Some(place.index)); rows.num_rows()]),
        Column::Level => vec![Values::named(rows, "level")],
        Column::Pattern => vec![told_patterns(rows)],
        Column::Field { name, .. } if rest_is_empty(rows) => own_columns(rows, name),
        _ => Vec::new(),
    };
    if let [Values::Label(keys, texts)] = labels.as_slice() {
        let of_key: Vec<u32> = texts.iter().map(|text| seen.text(text)).collect();
        let number = |key: Option<i32>| {
            let key = key.and_then(|key| usize::try_from(key).ok());
            key.and_then(|key| of_key.get(key).copied()).unwrap_or(0)
        };
        if keys.null_count() == 0 {
            return Ok(keys.keys().values().iter().map(|key| number(Some(*key))).collect());
        }
        return Ok(keys.keys().iter().map(number).collect());
    }
    let rendered = render(rows, place, std::slice::from_ref(column))?;
    let Some(values) = rendered.columns().first() else { return Ok(Vec::new()) };
    if let Some(times) = values.as_primitive_opt::<TimestampNanosecondType>() {
        return Ok(times.values().iter().map(|time| seen.time(*time)).collect());
    }
    let mut last: (Option<&str>, u32) = (None, 0);
    let number = |text: Option<&'_ str>| text.map_or(0, |text| seen.text(Some(text)));
    let mut number = number;
    let texts = values.as_string_opt::<i32>();
    let numbers = texts.into_iter().flatten().map(|text| {
        // Values often repeat from row to row.
        if text != last.0 {
            last = (text, number(text));
        }
        last.1
    });
    Ok(numbers.collect())
}

#[cfg(test)]
mod tests {
    use model::partition::PartitionId;

    use super::*;

    #[test]
    fn long_texts_are_given_out_before_they_are_too_many() {
        let columns = [Column::Pattern];
        let place = Place { partition: PartitionId(0), index: "main" };
        let mut tally = Tally::new(&columns, place);
        let measured = Measured { times: (0, 0), example: None };
        let texts = ["a", "b"].map(|letter| letter.repeat(TEXT_BYTES_MAX / 2));
        let add = |tally: &mut Tally<'_>, text: &str| {
            tally.add_known(&[Known::Text(Some(text))], 1, measured);
        };
        add(&mut tally, &texts[0]);
        add(&mut tally, &texts[0]);
        assert!(!tally.is_full());
        add(&mut tally, &texts[1]);
        assert!(tally.is_full());
        assert_eq!(tally.take().unwrap().num_rows(), 2);
        assert!(!tally.is_full());
    }
}
