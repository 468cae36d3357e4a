//! Counting rows by sender, level and time while a split is written, within bounds: steps of time become
//! wider, and columns with too many values are left out.

use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use model::level::Level;
use model::record::FieldType;

use super::{LEVEL_BITS, SenderColumn, Senders, code};
use crate::columns::Values;
use crate::schema::FieldColumnId;
use crate::split::indexed::Indexed;
use crate::split::statistics::MINUTE;

/// Fields that say where a record is from, as its labels do.
const FIELDS: [&str; 10] = [
    "service",
    "service.name",
    "host",
    "host.name",
    "hostname",
    "app",
    "env",
    "environment",
    "namespace",
    "container",
];
/// Widths of a step, nanoseconds: the first that keeps the cells within their bounds. Each is so many
/// times the one before it.
const WIDTHS: [i64; 4] = [MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE];
/// Cells that are kept of a split, and gathered while it is written.
const CELLS_MAX: usize = 1 << 18;
/// So few cells are kept however few the rows; of more each must stand for as many rows, on average.
const CELLS_FREE: usize = 1_024;
const CELL_ROWS_MIN: usize = 8;
/// Senders of a split. Of more the column with most values is left out.
const SENDERS_MAX: usize = 4_096;
/// Columns of senders. More are left out.
const COLUMNS_MAX: usize = 32;
/// Distinct values of a column, and bytes of a value. A column with more is left out.
const VALUES_MAX: usize = 1_024;
const VALUE_BYTES_MAX: usize = 256;

/// Counts rows by sender, level and time.
#[derive(Debug)]
pub(crate) struct SenderCounter {
    /// `None` where nothing can be kept.
    found: Option<Finding>,
    /// The counts of all rows are known without looking.
    is_told: bool,
}

impl Default for SenderCounter {
    fn default() -> Self {
        Self { found: Some(Finding::default()), is_told: false }
    }
}

impl SenderCounter {
    /// Of all rows of some splits: the sums of what these know, if that is all there is to know; else
    /// it looks at the rows.
    pub(crate) fn of_splits(all: &[Arc<Senders>]) -> Self {
        let mut found = Finding::default();
        let is_told = !all.is_empty()
            && all.iter().all(|one| one.is_by_minute() && found.join(one).is_some());
        if is_told { Self { found: Some(found), is_told } } else { Self::default() }
    }

    /// Whether it knows the counts of all rows without looking.
    #[cfg(test)]
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// Looks at the next rows.
    pub(in crate::split) fn add(&mut self, rows: &RecordBatch, columns: &Indexed<'_>) {
        let mut from = 0;
        while from < rows.num_rows() && !self.is_told {
            let Some(found) = &mut self.found else { return };
            match found.add(rows, columns, from) {
                Some(next) => from = next,
                None => self.found = None,
            }
        }
    }

    /// The counts of all rows, as many as there were; `None` where they do not fit.
    pub(in crate::split) fn finish(self, row_count: u32) -> Option<Senders> {
        let mut found = self.found?;
        let most = CELLS_FREE.max(row_count as usize / CELL_ROWS_MIN);
        while found.cells.len() > most {
            found.shrink()?;
        }
        let is_whole = found.rows == u64::from(row_count);
        (is_whole && !found.columns.is_empty()).then(|| found.into_senders())
    }
}

/// A column of senders with the values that were met.
#[derive(Debug)]
struct ColumnFinding {
    id: FieldColumnId,
    numbers: HashMap<Box<str>, u32>,
    values: Vec<String>,
}

impl ColumnFinding {
    /// The number of a value; `None` of one that is too much.
    fn number(&mut self, value: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(value) {
            return Some(*number);
        }
        if value.len() > VALUE_BYTES_MAX || self.values.len() >= VALUES_MAX {
            return None;
        }
        self.values.push(value.to_owned());
        let number = u32::try_from(self.values.len()).ok()?;
        self.numbers.insert(value.into(), number);
        Some(number)
    }
}

/// A column of rows that are looked at.
struct Looked<'a> {
    /// Its place among the columns of senders.
    at: usize,
    values: Values<'a>,
    /// The numbers of the values of a dictionary, as far as rows have them.
    of_key: Vec<Option<u32>>,
    /// The last text, with its number.
    last: Option<(&'a str, u32)>,
}

impl Looked<'_> {
    /// The number of a row's value; `None` of one that is too much.
    fn number(&mut self, row: usize, column: &mut ColumnFinding) -> Option<u32> {
        match self.values {
            Values::Label(keys, texts) if keys.is_valid(row) => {
                let key = usize::try_from(keys.keys().value(row)).unwrap_or(usize::MAX);
                let Some(known) = self.of_key.get_mut(key) else { return Some(0) };
                if known.is_none() {
                    *known = match texts.is_valid(key) {
                        true => Some(column.number(texts.value(key))?),
                        false => Some(0),
                    };
                }
                *known
            }
            Values::Text(texts) if texts.is_valid(row) => {
                let text = texts.value(row);
                if let Some((_, number)) = self.last.filter(|(last, _)| *last == text) {
                    return Some(number);
                }
                let number = column.number(text)?;
                self.last = Some((text, number));
                Some(number)
            }
            _ => Some(0),
        }
    }
}

/// What is gathered.
#[derive(Debug, Default)]
struct Finding {
    columns: Vec<ColumnFinding>,
    /// By the numbers of their values, without zeros at the end.
    senders: HashMap<Box<[u32]>, u32>,
    /// Rows by step and by the code of their kind.
    cells: HashMap<(i64, u32), u32>,
    /// Which of [`WIDTHS`] a step has.
    width: usize,
    /// Columns that are left out.
    dropped: Vec<FieldColumnId>,
    rows: u64,
}

impl Finding {
    /// Looks at rows from one on, until the columns of senders change. The row to go on with; `None`
    /// when nothing can be kept.
    fn add(&mut self, rows: &RecordBatch, columns: &Indexed<'_>, from: usize) -> Option<usize> {
        let mut looked = self.look(rows);
        let mut values = vec![0_u32; self.columns.len()];
        let mut sender = None;
        for row in from..rows.num_rows() {
            for one in &mut looked {
                let (Some(column), Some(value)) =
                    (self.columns.get_mut(one.at), values.get_mut(one.at))
                else {
                    continue;
                };
                let Some(number) = one.number(row, column) else {
                    self.drop_column(one.at)?;
                    return Some(row);
                };
                if *value != number {
                    (*value, sender) = (number, None);
                }
            }
            let Some(number) = sender.or_else(|| self.sender(&values)) else {
                self.drop_column(self.widest()?)?;
                return Some(row);
            };
            sender = Some(number);
            let level = columns.levels.get(row).copied().unwrap_or_default();
            let time = columns.times.map_or(0, |times| times.value(row));
            self.count((time, number, level), 1);
            if self.cells.len() > CELLS_MAX {
                self.shrink()?;
                return Some(row + 1);
            }
        }
        Some(rows.num_rows())
    }

    /// The columns of rows by which senders differ.
    fn look<'a>(&mut self, rows: &'a RecordBatch) -> Vec<Looked<'a>> {
        let mut looked = Vec::new();
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let Some(id) = FieldColumnId::of(field).filter(is_sender) else { continue };
            if column.null_count() == column.len() {
                continue;
            }
            let values = Values::of(column);
            let of_key = match values {
                Values::Label(_, texts) => vec![None; texts.len()],
                _ => Vec::new(),
            };
            if let Some(at) = self.place(&id) {
                looked.push(Looked { at, values, of_key, last: None });
            }
        }
        looked
    }

    /// The place of a column; `None` of one that is left out.
    fn place(&mut self, id: &FieldColumnId) -> Option<usize> {
        if let Some(at) = self.columns.iter().position(|column| column.id == *id) {
            return Some(at);
        }
        if self.dropped.contains(id) {
            return None;
        }
        if self.columns.len() >= COLUMNS_MAX {
            self.dropped.push(id.clone());
            return None;
        }
        let (numbers, values) = (HashMap::new(), Vec::new());
        self.columns.push(ColumnFinding { id: id.clone(), numbers, values });
        Some(self.columns.len() - 1)
    }

    /// The number of the sender with these values; `None` of one too many.
    fn sender(&mut self, values: &[u32]) -> Option<u32> {
        let own = without_zeros(values);
        if let Some(number) = self.senders.get(own) {
            return Some(*number);
        }
        if self.senders.len() >= SENDERS_MAX {
            return None;
        }
        let number = u32::try_from(self.senders.len()).ok()?;
        self.senders.insert(own.into(), number);
        Some(number)
    }

    /// Counts rows of a time, a sender and a level.
    fn count(&mut self, (time, sender, level): (i64, u32, Level), rows: u32) {
        let width = WIDTHS.get(self.width).copied().unwrap_or(MINUTE);
        *self.cells.entry((time.div_euclid(width), code(sender, level))).or_default() += rows;
        self.rows += u64::from(rows);
    }

    /// Makes the cells fewer; `None` where nothing is left to be made coarser.
    fn shrink(&mut self) -> Option<()> {
        let width = |at: usize| WIDTHS.get(at).copied();
        let Some((now, next)) = width(self.width).zip(width(self.width + 1)) else {
            return self.drop_column(self.widest()?);
        };
        self.regroup(|step, code| (step.div_euclid(next / now), code));
        self.width += 1;
        Some(())
    }

    /// The column with most values.
    fn widest(&self) -> Option<usize> {
        let columns = self.columns.iter().enumerate();
        columns.max_by_key(|(_, column)| column.values.len()).map(|(at, _)| at)
    }

    /// Leaves a column out; `None` where there is none.
    fn drop_column(&mut self, at: usize) -> Option<()> {
        if at >= self.columns.len() {
            return None;
        }
        self.dropped.push(self.columns.remove(at).id);
        let mut before: Vec<(Box<[u32]>, u32)> =
            std::mem::take(&mut self.senders).into_iter().collect();
        before.sort_unstable_by_key(|(_, number)| *number);
        let mut renumbered = Vec::with_capacity(before.len());
        for (values, _) in before {
            let mut values = values.into_vec();
            if at < values.len() {
                values.remove(at);
            }
            renumbered.push(self.sender(&values)?);
        }
        self.regroup(|step, code| {
            let sender = renumbered.get((code >> LEVEL_BITS) as usize).copied().unwrap_or(0);
            (step, (sender << LEVEL_BITS) | (code & ((1 << LEVEL_BITS) - 1)))
        });
        Some(())
    }

    fn regroup(&mut self, to: impl Fn(i64, u32) -> (i64, u32)) {
        for ((step, code), rows) in std::mem::take(&mut self.cells) {
            *self.cells.entry(to(step, code)).or_default() += rows;
        }
    }

    /// Adds the counts of a split, which are by the minute; `None` where they are too many to add.
    fn join(&mut self, other: &Senders) -> Option<()> {
        let mut places: Vec<(usize, Vec<u32>)> = Vec::with_capacity(other.columns.len());
        for column in &other.columns {
            let at = self.place(&column.id)?;
            let own = self.columns.get_mut(at)?;
            let numbers = column.values.iter().map(|value| own.number(value));
            places.push((at, std::iter::once(Some(0)).chain(numbers).collect::<Option<_>>()?));
        }
        let mut senders = Vec::with_capacity(other.senders.len());
        for sender in &other.senders {
            let mut values = vec![0_u32; self.columns.len()];
            for ((at, numbers), value) in places.iter().zip(sender) {
                *values.get_mut(*at)? = numbers.get(*value as usize).copied()?;
            }
            senders.push(self.sender(&values)?);
        }
        for (at, step) in other.steps.iter().enumerate() {
            for cell in other.cells_of(at) {
                let kind = other.kinds.get(cell.kind as usize)?;
                let sender = senders.get(kind.sender as usize).copied()?;
                let time = step.number.saturating_mul(MINUTE);
                self.count((time, sender, kind.level), cell.rows);
            }
            while self.cells.len() > CELLS_MAX {
                self.shrink()?;
            }
        }
        self.dropped.is_empty().then_some(())
    }

    fn into_senders(self) -> Senders {
        let mut senders = vec![Vec::new(); self.senders.len()];
        for (values, number) in self.senders {
            let mut values = values.into_vec();
            values.resize(self.columns.len(), 0);
            if let Some(place) = senders.get_mut(number as usize) {
                *place = values;
            }
        }
        let width = WIDTHS.get(self.width).copied().unwrap_or(MINUTE);
        let columns = self.columns.into_iter();
        let columns = columns.map(|ColumnFinding { id, values, .. }| SenderColumn { id, values });
        let cells = self.cells.into_iter().map(|((step, code), rows)| (step, code, rows));
        Senders::of_cells(
            (width, self.dropped.is_empty()),
            (columns.collect(), senders),
            cells.collect(),
        )
    }
}

/// Whether a column says where a record is from.
pub(in crate::split) fn is_sender(id: &FieldColumnId) -> bool {
    let is_named = || FIELDS.contains(&id.name.as_str());
    id.kind.is_none() || id.kind == Some(FieldType::Text) && is_named()
}

/// What stands before the zeros at the end.
fn without_zeros(values: &[u32]) -> &[u32] {
    let length = values.iter().rposition(|value| *value > 0).map_or(0, |at| at + 1);
    values.get(..length).unwrap_or_default()
}
