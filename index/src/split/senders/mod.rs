//! How many rows each sender has at each level in each minute. A sender is what says where a record is
//! from: its labels, and the fields that have such names. What asks for no more than senders, levels
//! and bins of time is counted by it; rows are read of cut minutes only.

mod gather;
mod parts;
mod count;

use std::collections::BTreeMap;
use std::io;

use model::level::Level;
use model::record::FieldType;

pub(crate) use self::gather::SenderCounter;
pub(super) use self::gather::is_sender;
use super::coding::{Reader, malformed, put, put_bytes, put_signed};
use super::statistics::{MINUTE, Minutes};
use crate::schema::FieldColumnId;

/// Bits of a kind's code that are its level's.
const LEVEL_BITS: u32 = 3;

/// A column by which senders differ.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SenderColumn {
    id: FieldColumnId,
    /// Counted from 1: number 0 is none.
    values: Vec<String>,
}

/// The rows of one sender at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    sender: u32,
    level: Level,
    rows: u64,
}

impl Kind {
    fn code(self) -> u32 {
        code(self.sender, self.level)
    }
}

/// A sender and a level as one number; sorted by it, kinds of one sender stand together.
fn code(sender: u32, level: Level) -> u32 {
    (sender << LEVEL_BITS) | u32::from(level.number())
}

fn level_of(code: u32) -> Option<Level> {
    let number = u8::try_from(code & ((1 << LEVEL_BITS) - 1)).ok()?;
    Level::ALL.into_iter().find(|level| level.number() == number)
}

/// Rows whose time divided by the width of a step is one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    number: i64,
    /// The place behind its last cell.
    end: usize,
}

/// The rows of a kind in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kind: u32,
    rows: u32,
}

/// The counts of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Senders {
    /// Nanoseconds of a step.
    width: i64,
    /// Whether all columns of senders are here: none had too many values.
    is_full: bool,
    columns: Vec<SenderColumn>,
    /// Of each sender the number of its value in each column.
    senders: Vec<Vec<u32>>,
    /// By code.
    kinds: Vec<Kind>,
    /// By number.
    steps: Vec<Step>,
    /// Of each step by kind.
    cells: Vec<Cell>,
}

impl Senders {
    /// Of cells in any order: step, code of a kind, rows.
    fn of_cells(
        (width, is_full): (i64, bool),
        (columns, senders): (Vec<SenderColumn>, Vec<Vec<u32>>),
        mut given: Vec<(i64, u32, u32)>,
    ) -> Self {
        given.sort_unstable();
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, code, rows) in &given {
            *sums.entry(*code).or_default() += u64::from(*rows);
        }
        let kind = |(code, rows): (&u32, &u64)| {
            let level = level_of(*code).unwrap_or_default();
            Kind { sender: code >> LEVEL_BITS, level, rows: *rows }
        };
        let kinds = sums.iter().map(kind).collect();
        let numbers: BTreeMap<u32, u32> = sums.keys().copied().zip(0_u32..).collect();
        let (mut steps, mut cells) = (Vec::<Step>::new(), Vec::with_capacity(given.len()));
        for (number, code, rows) in given {
            cells.push(Cell { kind: numbers.get(&code).copied().unwrap_or(0), rows });
            match steps.last_mut() {
                Some(last) if last.number == number => last.end = cells.len(),
                _ => steps.push(Step { number, end: cells.len() }),
            }
        }
        Self { width, is_full, columns, senders, kinds, steps, cells }
    }

    /// What minutes tell: levels, and nothing of senders.
    pub(super) fn of_minutes(minutes: &Minutes) -> Self {
        let cells = minutes.iter().flat_map(|(minute, counts)| {
            let number = minute.div_euclid(MINUTE);
            let cell = move |(level, rows): (&Level, &u64)| {
                let rows = u32::try_from(*rows).unwrap_or(u32::MAX);
                (rows > 0).then(|| (number, code(0, *level), rows))
            };
            Level::ALL.iter().zip(counts).filter_map(cell).collect::<Vec<_>>()
        });
        Self::of_cells((MINUTE, false), (Vec::new(), vec![Vec::new()]), cells.collect())
    }

    /// Whether sums of such counts are those of all the rows.
    fn is_by_minute(&self) -> bool {
        self.width == MINUTE && self.is_full && !self.columns.is_empty()
    }

    /// Whether its levels are those of the minutes.
    pub(super) fn agrees(&self, minutes: &Minutes) -> bool {
        let mut sums: BTreeMap<(i64, u8), u64> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            for cell in self.cells_of(at) {
                let Some(kind) = self.kinds.get(cell.kind as usize) else { return false };
                let key = (step.number, kind.level.number());
                *sums.entry(key).or_default() += u64::from(cell.rows);
            }
        }
        let mut expected: BTreeMap<(i64, u8), u64> = BTreeMap::new();
        for (minute, counts) in minutes.iter() {
            for (level, rows) in Level::ALL.iter().zip(counts).filter(|(_, rows)| **rows > 0) {
                let key = (minute.div_euclid(self.width), level.number());
                *expected.entry(key).or_default() += rows;
            }
        }
        sums == expected
    }

    /// The cells of a step.
    fn cells_of(&self, step: usize) -> &[Cell] {
        let end = |at: usize| self.steps.get(at).map_or(0, |step| step.end);
        let start = step.checked_sub(1).map_or(0, end);
        self.cells.get(start..end(step)).unwrap_or_default()
    }

    /// The number of a sender's value in a column.
    fn value_of(&self, sender: u32, column: usize) -> u32 {
        let values = self.senders.get(sender as usize);
        values.and_then(|values| values.get(column)).copied().unwrap_or(0)
    }

    /// The value of such a number.
    fn text(&self, column: usize, value: u32) -> Option<&str> {
        let at = value.checked_sub(1)? as usize;
        Some(self.columns.get(column)?.values.get(at)?.as_str())
    }

    /// How many rows have a value in a column.
    fn value_count(&self, column: usize) -> u64 {
        let has = |kind: &&Kind| self.value_of(kind.sender, column) > 0;
        self.kinds.iter().filter(has).map(|kind| kind.rows).sum()
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, (self.width / MINUTE).unsigned_abs());
        put(&mut out, u64::from(self.is_full));
        put(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            put_bytes(&mut out, column.id.name.as_bytes());
            put(&mut out, u64::from(column.id.kind.is_some()));
            put(&mut out, column.values.len() as u64);
            column.values.iter().for_each(|value| put_bytes(&mut out, value.as_bytes()));
        }
        put(&mut out, self.senders.len() as u64);
        for column in 0..self.columns.len() {
            let values = self.senders.iter().map(|sender| sender.get(column).copied());
            values.for_each(|value| put(&mut out, u64::from(value.unwrap_or(0))));
        }
        put(&mut out, self.kinds.len() as u64);
        let mut before = 0;
        for kind in &self.kinds {
            put(&mut out, u64::from(kind.code() - before));
            before = kind.code();
        }
        put(&mut out, self.steps.len() as u64);
        let (mut before, mut start) = (0_i64, 0);
        for step in &self.steps {
            put_signed(&mut out, step.number.wrapping_sub(before));
            put(&mut out, (step.end - start) as u64);
            (before, start) = (step.number, step.end);
        }
        for at in 0..self.steps.len() {
            let mut before = 0;
            for cell in self.cells_of(at) {
                put(&mut out, u64::from(cell.kind - before));
                before = cell.kind;
            }
        }
        self.cells.iter().for_each(|cell| put(&mut out, u64::from(cell.rows)));
        out
    }

    /// Undoes [`Senders::encode`]; all cells together have so many rows.
    pub(super) fn decode(bytes: &[u8], row_count: u32) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let minutes = i64::try_from(reader.number()?).ok().filter(|minutes| *minutes > 0);
        let width =
            minutes.and_then(|minutes| minutes.checked_mul(MINUTE)).ok_or_else(malformed)?;
        let is_full = reader.number()? == 1;
        let columns = decode_columns(&mut reader)?;
        let senders = decode_senders(&mut reader, &columns)?;
        let mut kinds = decode_kinds(&mut reader, senders.len())?;
        let steps = decode_steps(&mut reader)?;
        let cells = decode_cells(&mut reader, &steps, &mut kinds)?;
        let rows: u64 = kinds.iter().map(|kind| kind.rows).sum();
        if rows != u64::from(row_count) || !reader.is_empty() {
            return Err(malformed());
        }
        Ok(Self { width, is_full, columns, senders, kinds, steps, cells })
    }
}

fn decode_columns(reader: &mut Reader<'_>) -> io::Result<Vec<SenderColumn>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
    let mut columns = Vec::new();
    for _ in 0..reader.number()? {
        let name = text(reader.bytes()?)?;
        let kind = (reader.number()? > 0).then_some(FieldType::Text);
        let mut values = Vec::new();
        for _ in 0..reader.number()? {
            values.push(text(reader.bytes()?)?);
        }
        columns.push(SenderColumn { id: FieldColumnId { name, kind }, values });
    }
    Ok(columns)
}

fn decode_senders(reader: &mut Reader<'_>, columns: &[SenderColumn]) -> io::Result<Vec<Vec<u32>>> {
    let count = usize::try_from(reader.number()?).map_err(|_| malformed())?;
    // Each takes a byte of each column at least.
    if columns.is_empty() || count > reader.0.len() {
        return Err(malformed());
    }
    let mut senders = vec![Vec::new(); count];
    for column in columns {
        for sender in &mut senders {
            let value = reader.small()?;
            if value as usize > column.values.len() {
                return Err(malformed());
            }
            sender.push(value);
        }
    }
    Ok(senders)
}

fn decode_kinds(reader: &mut Reader<'_>, senders: usize) -> io::Result<Vec<Kind>> {
    let (mut kinds, mut code) = (Vec::new(), 0_u32);
    for at in 0..reader.number()? {
        let more = reader.small()?;
        code = code.checked_add(more).ok_or_else(malformed)?;
        let (sender, level) = (code >> LEVEL_BITS, level_of(code).ok_or_else(malformed)?);
        if (at > 0 && more == 0) || sender as usize >= senders {
            return Err(malformed());
        }
        kinds.push(Kind { sender, level, rows: 0 });
    }
    Ok(kinds)
}

fn decode_steps(reader: &mut Reader<'_>) -> io::Result<Vec<Step>> {
    let (mut steps, mut end, mut before) = (Vec::<Step>::new(), 0_usize, 0_i64);
    for _ in 0..reader.number()? {
        let number = before.wrapping_add(reader.signed()?);
        let cells = reader.small()? as usize;
        let ascends = steps.last().is_none_or(|last| last.number < number);
        if !ascends || cells == 0 {
            return Err(malformed());
        }
        end = end.checked_add(cells).ok_or_else(malformed)?;
        steps.push(Step { number, end });
        before = number;
    }
    Ok(steps)
}

/// The cells of all steps; adds their rows up by kind.
fn decode_cells(
    reader: &mut Reader<'_>,
    steps: &[Step],
    kinds: &mut [Kind],
) -> io::Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    for step in steps {
        let (mut kind, mut is_first) = (0_u32, true);
        while cells.len() < step.end {
            let more = reader.small()?;
            kind = kind.checked_add(more).ok_or_else(malformed)?;
            if !is_first && more == 0 {
                return Err(malformed());
            }
            is_first = false;
            cells.push(Cell { kind, rows: 0 });
        }
    }
    for cell in &mut cells {
        cell.rows = reader.small()?;
        let kind = kinds.get_mut(cell.kind as usize).ok_or_else(malformed)?;
        kind.rows += u64::from(cell.rows);
        if cell.rows == 0 {
            return Err(malformed());
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests;
