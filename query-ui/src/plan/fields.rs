//! Which fields records have, and a field's most frequent values.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use index::scan::{Column, ScanRequest};
use index::searcher::Unit;
use model::query::Filter;
use model::record::FieldType;
use model::wire::Missing;
use serde_json::{Map, Value};

use super::lower::Order;
use super::range::{may_hold, narrowed};
use super::scan::Scanner;
use super::types::{Types, resolve};
use super::{Engine, Fold, QueryFailure, Question, Shape, json};
use crate::language::{Aggregate, Function, Group, Pipe, Query};

/// The fields of the records that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// How many records.
    pub records: u64,
    /// Their fields, most frequent first.
    pub fields: Vec<FieldCount>,
    /// What the counts lack.
    pub missing: Vec<Missing>,
}

/// A field, and how many records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCount {
    /// Its name.
    pub name: String,
    /// Whether it is a label of streams.
    pub label: bool,
    /// The types of its values.
    pub types: Vec<FieldType>,
    /// Records that have it.
    pub count: u64,
}

/// A field that some record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The type in which all its values are seen.
    pub kind: FieldType,
    /// Whether some record may have several values of it.
    pub has_lists: bool,
    /// Whether its values are of types that are seen as text only together.
    pub is_mixed: bool,
}

/// A field's most frequent values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldValues {
    /// How many records.
    pub records: u64,
    /// How many of them have the field.
    pub present: u64,
    /// Values with their counts, most frequent first, equal counts by value.
    pub values: Vec<(Value, u64)>,
    /// What the counts lack.
    pub missing: Vec<Missing>,
}

impl Engine {
    /// Counts fields. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn fields(&self, question: &Question) -> Result<Fields, QueryFailure> {
        let (scanner, mut budget) = (self.scanner(), self.budget());
        let _stop = scanner.stop_guard();
        let units = self.units(&scanner, &question.range, question.indexes.as_deref()).await;
        // Where all of a unit is asked for, it knows its fields; of others the records are read.
        let all = question.query.filter == Filter::All;
        let range = question.range;
        let (whole, part): (Vec<Unit>, Vec<Unit>) = units
            .into_iter()
            .partition(|unit| all && unit.is_inside(&range) && self.searcher().is_whole(unit));
        let request = ScanRequest {
            filter: question.query.filter.clone(),
            range,
            columns: vec![Column::Labels, Column::Fields],
            newest: None,
            counted: false,
        };
        let each = |counts: &mut Counts, rows: &RecordBatch| {
            counts.add(rows);
            counts.go_on()
        };
        let bytes_max = self.0.settings.memory_bytes_max;
        let pool = self.0.memory.share(bytes_max);
        let start = move || Counts::new(&pool);
        let mut counts = start();
        let fold = Fold { start: Box::new(start.clone()), each: Arc::new(each) };
        for part in self.fold(&scanner, part, request, &mut budget, fold).await? {
            counts.merge(part);
        }
        let (reader, mut known) = (scanner.clone(), start());
        let known = tokio::task::spawn_blocking(move || {
            known.add_known(&reader, &whole);
            known
        });
        counts.merge(budget.within(known).await?.map_err(|_| QueryFailure::Broken)?);
        match counts.is_full {
            true => Err(QueryFailure::TooLarge(bytes_max >> 20)),
            false => Ok(counts.into_fields(scanner.missing())),
        }
    }

    /// Those of these fields that some record has. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn held(
        &self,
        question: &Question,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Held>, QueryFailure> {
        let (scanner, mut budget) = (self.scanner(), self.budget());
        let _stop = scanner.stop_guard();
        let filter = &question.query.filter;
        let range = narrowed(question.range, filter);
        let mut units = self.units(&scanner, &range, question.indexes.as_deref()).await;
        units.retain(|unit| may_hold(filter, unit));
        let looked = tokio::task::spawn_blocking(move || {
            let (mut types, mut several) = (Types::new(), BTreeSet::new());
            let _core = scanner.cores.take();
            for unit in units.iter().take_while(|_| !scanner.is_stopped()) {
                for stat in scanner.fields(unit).iter().flat_map(|stats| stats.iter()) {
                    if stat.count == 0 || !names.contains(&stat.name) {
                        continue;
                    }
                    if stat.several != Some(false) {
                        several.insert(stat.name.clone());
                    }
                    types.entry(stat.name.clone()).or_default().insert(stat.kind);
                }
            }
            let held = |(name, of_name): (&String, &BTreeSet<FieldType>)| {
                let kind = resolve(&types, name);
                let is_mixed = kind == FieldType::Text && of_name.len() > 1;
                (name.clone(), Held { kind, has_lists: several.contains(name), is_mixed })
            };
            types.iter().map(held).collect()
        });
        budget.within(looked).await?.map_err(|_| QueryFailure::Broken)
    }

    /// Counts a field's values. Runs on the queries' threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn field_values(
        &self,
        question: &Question,
        field: &str,
        limit: usize,
    ) -> Result<FieldValues, QueryFailure> {
        let count = Aggregate {
            function: Function::Count,
            argument: None,
            condition: None,
            name: "count".to_owned(),
        };
        let pipes =
            vec![Pipe::Stats { aggregates: vec![count], by: vec![Group::Field(field.to_owned())] }];
        let filter = question.query.filter.clone();
        let question =
            Question { query: Query { time: None, filter, pipes }, limit: 0, ..question.clone() };
        let mut answer = self.ask_in(&question, Order::Any).await?;
        let kind = match answer.shape() {
            Shape::Table(columns) => columns.first().map(|column| column.kind),
            Shape::Records(_) => None,
        };
        let mut found = FieldValues::default();
        while let (Some(rows), Some(kind)) = (answer.next().await?, kind) {
            let [values, counts] = rows.columns() else { continue };
            let Some(counts) = counts.as_primitive_opt::<Int64Type>() else { continue };
            for (row, count) in counts.values().iter().enumerate() {
                let count = u64::try_from(*count).unwrap_or_default();
                found.records += count;
                if values.is_valid(row) {
                    found.present += count;
                    found.values.push((json::value(values, row, kind), count));
                }
            }
            found.keep(limit);
        }
        found.sort(limit);
        found.missing = answer.missing();
        Ok(found)
    }
}

impl Engine {
    /// Counts the values of several fields, all within the time of one query. Runs on the queries'
    /// threads ([`Engine::run`]).
    ///
    /// # Errors
    /// [`QueryFailure`].
    pub async fn facets(
        &self,
        question: &Question,
        fields: &[String],
        limit: usize,
    ) -> Result<Vec<FieldValues>, QueryFailure> {
        let mut budget = self.budget();
        let mut facets = Vec::with_capacity(fields.len());
        for field in fields {
            let counted = Box::pin(self.field_values(question, field, limit));
            facets.push(budget.within(counted).await??);
        }
        Ok(facets)
    }
}

impl FieldValues {
    /// Forgets what cannot be among the first so many any more, now and then.
    fn keep(&mut self, most: usize) {
        if self.values.len() > 4 * most + 8_192 {
            self.sort(most);
        }
    }

    fn sort(&mut self, most: usize) {
        self.values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| order(&a.0, &b.0)));
        self.values.truncate(most);
    }
}

/// Numbers by size, texts by code point.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => {
                let float = |number: &serde_json::Number| number.as_f64().unwrap_or_default();
                float(a).total_cmp(&float(b))
            }
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// Bytes that a field takes beside its name.
const FIELD_BYTES: usize = 128;

/// Counts by name, and whether it is a label, in the memory of a query.
#[derive(Debug)]
struct Counts {
    records: u64,
    fields: BTreeMap<(String, bool), (u64, BTreeSet<FieldType>)>,
    memory: MemoryReservation,
    /// There are more fields than there is memory: the counts are not whole.
    is_full: bool,
}

impl Counts {
    fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let memory = MemoryConsumer::new("fields").register(pool);
        Self { records: 0, fields: BTreeMap::new(), memory, is_full: false }
    }

    /// Whether more rows may be added.
    fn go_on(&self) -> ControlFlow<()> {
        if self.is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What is known of a field; of one more field only while there is memory for it.
    fn field(&mut self, key: (String, bool)) -> Option<&mut (u64, BTreeSet<FieldType>)> {
        if !self.fields.contains_key(&key)
            && self.memory.try_grow(key.0.len() + FIELD_BYTES).is_err()
        {
            self.is_full = true;
            return None;
        }
        Some(self.fields.entry(key).or_default())
    }

    fn add(&mut self, rows: &RecordBatch) {
        self.records += rows.num_rows() as u64;
        let [labels, fields] = rows.columns() else { return };
        for (column, label) in [(labels, true), (fields, false)] {
            for text in column.as_string_opt::<i32>().into_iter().flatten().flatten() {
                let object = serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
                for (name, value) in object {
                    let Some((count, types)) = self.field((name, label)) else { return };
                    *count += 1;
                    match &value {
                        Value::Array(values) => types.extend(values.iter().filter_map(type_of)),
                        value => types.extend(type_of(value)),
                    }
                }
            }
        }
    }

    /// Adds what units say of their fields. Blocks.
    fn add_known(&mut self, scanner: &Scanner, units: &[Unit]) {
        let _core = scanner.cores.take();
        for unit in units.iter().take_while(|_| !scanner.is_stopped()) {
            let Some(stats) = scanner.fields(unit) else { continue };
            self.records += unit.row_count();
            let mut of_unit: BTreeMap<(String, bool), (u64, BTreeSet<FieldType>)> = BTreeMap::new();
            for stat in stats.iter().filter(|stat| stat.count > 0) {
                let key = (stat.name.clone(), stat.label);
                let (count, types) = of_unit.entry(key).or_default();
                // A record with values of two types is counted once for each.
                *count = (*count + stat.count).min(unit.row_count());
                types.insert(stat.kind);
            }
            self.add_fields(of_unit);
            if self.is_full {
                return;
            }
        }
    }

    fn add_fields(&mut self, fields: BTreeMap<(String, bool), (u64, BTreeSet<FieldType>)>) {
        for (key, (count, types)) in fields {
            let Some((sum, all)) = self.field(key) else { return };
            *sum += count;
            all.extend(types);
        }
    }

    fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.is_full |= other.is_full;
        self.add_fields(other.fields);
    }

    fn into_fields(self, missing: Vec<Missing>) -> Fields {
        let field = |((name, label), (count, types)): ((String, bool), (u64, BTreeSet<_>))| {
            FieldCount { name, label, types: types.into_iter().collect(), count }
        };
        let mut fields: Vec<FieldCount> = self.fields.into_iter().map(field).collect();
        fields.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        Fields { records: self.records, fields, missing }
    }
}

fn type_of(value: &Value) -> Option<FieldType> {
    match value {
        Value::String(_) => Some(FieldType::Text),
        Value::Number(number) if number.is_f64() => Some(FieldType::Float),
        Value::Number(_) => Some(FieldType::Int),
        Value::Bool(_) => Some(FieldType::Bool),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
