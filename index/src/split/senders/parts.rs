//! What of a question senders answer: whether they know all that it names, which steps of time lie in
//! it whole, and how many rows each of its groups has there.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::error::ArrowError;
use hashbrown::HashMap;
use model::level::Level;
use model::query::Filter;
use model::record::FieldType;
use model::split::FieldStat;
use model::time::{TimeRange, Timestamp};

use super::{Kind, Senders};
use crate::evaluate::{Evaluator, Place};
use crate::render::bin_of;
use crate::scan::{Column, ScanError};
use crate::schema::{FieldColumnId, STREAM, schema};
use crate::split::resolve::{EVERY, leaves_of};
use crate::split::spans::LEVEL;
use crate::tally::Known;

const INDEX: &str = "index";

/// What a column by which rows are counted is known from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    /// All rows have one value, or none.
    Always(Option<&'a str>),
    Level,
    /// A column of senders, by its place.
    Column(usize),
    /// The times of steps.
    Bin {
        width: i64,
        origin: i64,
    },
}

impl Key<'_> {
    /// Whether it surely has one value between two moments.
    fn is_one(&self, first: i64, last: i64) -> bool {
        let Self::Bin { width, origin } = *self else { return true };
        let is_near = |time: i64| time.checked_sub(origin).is_some();
        let bin = |time| bin_of(time, width, origin);
        is_near(first) && is_near(last) && bin(first) == bin(last)
    }
}

/// A range of time, parted.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The places of the steps that lie in it whole, each in one bin, with the first moment of each.
    pub(super) whole: Vec<(usize, i64)>,
    /// The rest of it, as far as there are rows.
    pub(super) cut: Vec<TimeRange>,
}

/// The kinds of rows that pass, by group.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    keys: &'a [Key<'a>],
    /// The group of each kind; `None` of one that does not pass.
    of_kind: Vec<Option<usize>>,
    /// What the rows of a group share.
    values: Vec<Vec<Known<'a>>>,
}

/// Takes the values of a group and how many rows it has; may be asked several times of one.
pub(super) type Give<'a> = dyn FnMut(&[Known<'_>], u64) -> Result<ControlFlow<()>, ScanError> + 'a;

/// Whether a filter asks for nothing that only rows tell, by its looks.
pub(super) fn is_of_senders(filter: &Filter) -> bool {
    leaves_of(filter).into_iter().all(|leaf| match leaf {
        Filter::Field { name, .. } => {
            [LEVEL, INDEX, STREAM].contains(&name.as_str()) || !EVERY.contains(&name.as_str())
        }
        _ => false,
    })
}

impl Senders {
    /// What columns are known from by which rows are counted, if all are.
    pub(super) fn keys<'a>(
        &self,
        columns: &[Column],
        fields: &[FieldStat],
        index: &'a str,
    ) -> Option<Vec<Key<'a>>> {
        let key = |column: &Column| match column {
            Column::Index => Some(Key::Always(Some(index))),
            Column::Level => Some(Key::Level),
            Column::Bin { width, origin } => Some(Key::Bin { width: *width, origin: *origin }),
            Column::Field { name, kind: FieldType::Text } if !EVERY.contains(&name.as_str()) => {
                match fields.iter().any(|field| field.name == *name) {
                    true => self.column(name, fields).map(Key::Column),
                    false => Some(Key::Always(None)),
                }
            }
            _ => None,
        };
        columns.iter().map(key).collect()
    }

    /// The only column of that name, when all values of that name are in it.
    fn column(&self, name: &str, fields: &[FieldStat]) -> Option<usize> {
        let mut named = fields.iter().filter(|field| field.name == name);
        let (Some(only), None) = (named.next(), named.next()) else { return None };
        if only.kind != FieldType::Text || only.several == Some(true) {
            return None;
        }
        let kind = (!only.label).then_some(FieldType::Text);
        let id = FieldColumnId { name: name.to_owned(), kind };
        let at = self.columns.iter().position(|column| column.id == id)?;
        (self.value_count(at) == only.count).then_some(at)
    }

    /// Whether all values that a filter asks for are known.
    pub(super) fn know(&self, filter: &Filter, fields: &[FieldStat]) -> bool {
        leaves_of(filter).into_iter().all(|leaf| match leaf {
            Filter::Field { name, .. } if [LEVEL, INDEX].contains(&name.as_str()) => true,
            Filter::Field { name, .. } if name == STREAM => self.is_full,
            Filter::Field { name, test } => {
                let mut asked = fields.iter().filter(|field| test.covers(name, &field.name));
                asked.all(|field| self.column(&field.name, fields).is_some())
            }
            _ => false,
        })
    }

    /// A range parted, of rows whose times are between two moments.
    pub(super) fn parts(&self, range: &TimeRange, span: (i64, i64), keys: &[Key<'_>]) -> Parts {
        let (mut parts, mut last_cut) = (Parts::default(), None::<usize>);
        for (at, step) in self.steps.iter().enumerate() {
            let (first, last) = self.moments(step.number, span);
            if !range.overlaps(Timestamp(first), Timestamp(last)) {
                continue;
            }
            let is_inside = range.covers(Timestamp(first), Timestamp(last));
            if is_inside && keys.iter().all(|key| key.is_one(first, last)) {
                parts.whole.push((at, first));
                continue;
            }
            let to = range.to.min(Timestamp(last.saturating_add(1)));
            match parts.cut.last_mut().filter(|_| last_cut.is_some_and(|cut| cut + 1 == at)) {
                // Between them are no rows.
                Some(before) => before.to = to,
                None => parts.cut.push(TimeRange { from: range.from.max(Timestamp(first)), to }),
            }
            last_cut = Some(at);
        }
        parts
    }

    /// The first and the last moment of a step, within others.
    fn moments(&self, number: i64, (first, last): (i64, i64)) -> (i64, i64) {
        let start = i128::from(number) * i128::from(self.width);
        let end = start + i128::from(self.width) - 1;
        let within = |moment: i128| {
            let moment = moment.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            i64::try_from(moment).unwrap_or_default()
        };
        (within(start).max(first), within(end).min(last))
    }

    /// The kinds of rows that pass a filter, by what they are counted by.
    pub(super) fn groups<'a>(
        &'a self,
        filter: &Filter,
        keys: &'a [Key<'a>],
        place: Place<'_>,
    ) -> Result<Groups<'a>, ArrowError> {
        let passing = match filter {
            Filter::All => BooleanBuffer::new_set(self.kinds.len()),
            filter => Evaluator::new(filter, TimeRange::ALL).rows(&self.rows()?, place),
        };
        let mut places: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut values: Vec<Vec<Known<'a>>> = Vec::new();
        let group = |(at, kind): (usize, &Kind)| {
            passing.value(at).then(|| {
                let numbers = keys.iter().map(|key| self.number(*key, *kind)).collect();
                *places.entry(numbers).or_insert_with(|| {
                    values.push(keys.iter().map(|key| self.known(*key, *kind)).collect());
                    values.len() - 1
                })
            })
        };
        let of_kind = self.kinds.iter().enumerate().map(group).collect();
        Ok(Groups { keys, of_kind, values })
    }

    /// Kinds with the same number for a key have the same value there.
    fn number(&self, key: Key<'_>, kind: Kind) -> u32 {
        match key {
            Key::Always(_) | Key::Bin { .. } => 0,
            Key::Level => u32::from(kind.level.number()),
            Key::Column(at) => self.value_of(kind.sender, at),
        }
    }

    /// The value of a key; of a bin any.
    fn known<'a>(&'a self, key: Key<'a>, kind: Kind) -> Known<'a> {
        match key {
            Key::Always(value) => Known::Text(value),
            Key::Level => Known::Text(Some(kind.level.name())),
            Key::Column(at) => Known::Text(self.text(at, self.value_of(kind.sender, at))),
            Key::Bin { .. } => Known::Time(0),
        }
    }

    /// A row for each kind.
    fn rows(&self) -> Result<RecordBatch, ArrowError> {
        let ids: Vec<FieldColumnId> = self.columns.iter().map(|column| column.id.clone()).collect();
        let whole = schema(&ids);
        let is_own = |field: &&Arc<Field>| FieldColumnId::of(field).is_some();
        let fixed = ["timestamp", LEVEL].map(|name| whole.field_with_name(name).cloned());
        let [time, level] = fixed;
        let fixed = [Arc::new(time?), Arc::new(level?)];
        let fields = fixed.into_iter().chain(whole.fields().iter().filter(is_own).cloned());
        let times = TimestampNanosecondArray::from(vec![0; self.kinds.len()]).with_timezone("UTC");
        let levels = self.kinds.iter().map(|kind| i32::from(kind.level.number()));
        let names = StringArray::from_iter_values(Level::ALL.iter().map(|level| level.name()));
        let levels = Int32Array::from_iter_values(levels);
        let levels = DictionaryArray::<Int32Type>::try_new(levels, Arc::new(names))?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(levels)];
        for (at, id) in ids.iter().enumerate() {
            columns.push(self.texts(at, id)?);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
    }

    /// The values of each kind in a column, as rows have them.
    fn texts(&self, at: usize, id: &FieldColumnId) -> Result<ArrayRef, ArrowError> {
        let numbers = self.kinds.iter().map(|kind| self.value_of(kind.sender, at));
        if id.kind.is_some() {
            let texts = numbers.map(|number| self.text(at, number));
            return Ok(Arc::new(texts.collect::<StringArray>()));
        }
        let keys = numbers.map(|number| i32::try_from(number.checked_sub(1)?).ok());
        let values = self.columns.get(at).map(|column| column.values.as_slice());
        let values = StringArray::from_iter_values(values.unwrap_or_default());
        let keys: Int32Array = keys.collect();
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values))?))
    }

    /// Adds up the rows of steps by group and bin.
    pub(super) fn add_up(
        &self,
        whole: &[(usize, i64)],
        groups: &Groups<'_>,
        give: &mut Give<'_>,
    ) -> Result<ControlFlow<()>, ScanError> {
        let mut sums = Sums::new(groups);
        if whole.len() == self.steps.len() && sums.bins.is_empty() {
            for (kind, group) in self.kinds.iter().zip(&groups.of_kind) {
                sums.add(*group, kind.rows);
            }
            return sums.give(give);
        }
        for (at, first) in whole {
            if sums.is_elsewhere(*first) {
                if sums.give(give)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                sums.begin(*first);
            }
            for cell in self.cells_of(*at) {
                let group = groups.of_kind.get(cell.kind as usize).copied().flatten();
                sums.add(group, u64::from(cell.rows));
            }
        }
        sums.give(give)
    }
}

/// The rows of groups in one bin.
struct Sums<'a> {
    groups: &'a Groups<'a>,
    rows: Vec<u64>,
    /// The groups that have some.
    met: Vec<usize>,
    /// The places of the keys that are bins, with width, origin and beginning.
    bins: Vec<(usize, (i64, i64), Option<i64>)>,
}

impl<'a> Sums<'a> {
    fn new(groups: &'a Groups<'a>) -> Self {
        let bin = |(at, key): (usize, &Key<'_>)| match key {
            Key::Bin { width, origin } => Some((at, (*width, *origin), None)),
            _ => None,
        };
        let bins = groups.keys.iter().enumerate().filter_map(bin).collect();
        Self { groups, rows: vec![0; groups.values.len()], met: Vec::new(), bins }
    }

    /// Whether a moment is in other bins.
    fn is_elsewhere(&self, time: i64) -> bool {
        let mut bins = self.bins.iter();
        bins.any(|(_, (width, origin), begin)| *begin != Some(bin_of(time, *width, *origin)))
    }

    fn begin(&mut self, time: i64) {
        for (_, (width, origin), begin) in &mut self.bins {
            *begin = Some(bin_of(time, *width, *origin));
        }
    }

    fn add(&mut self, group: Option<usize>, rows: u64) {
        let Some(group) = group else { return };
        let Some(sum) = self.rows.get_mut(group).filter(|_| rows > 0) else { return };
        if *sum == 0 {
            self.met.push(group);
        }
        *sum += rows;
    }

    /// Gives out what was added.
    fn give(&mut self, give: &mut Give<'_>) -> Result<ControlFlow<()>, ScanError> {
        for group in std::mem::take(&mut self.met) {
            let rows = self.rows.get_mut(group).map_or(0, std::mem::take);
            let mut values = self.groups.values.get(group).cloned().unwrap_or_default();
            for (at, _, begin) in &self.bins {
                if let (Some(value), Some(begin)) = (values.get_mut(*at), begin) {
                    *value = Known::Time(*begin);
                }
            }
            if give(&values, rows)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
