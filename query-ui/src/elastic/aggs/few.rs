//! Few of very many groups: they are compared, sorted and cut where they are counted, and only those
//! that an answer shows are read.

use serde_json::Value;

use super::buckets::{Bucket, Room};
use super::key::{Part, compared, literal};
use super::run::{Level, Runner, key_name, text_of};
use super::{Aggregation, BUCKETS_MAX, Choice, Composite, Source, Terms, show};
use crate::elastic::dates::{Dates, Edge, in_format};
use crate::elastic::refusal::Refusal;
use crate::elastic::search::table;
use crate::elastic::sort::verbatim;
use crate::language::{Aggregate, Expr, Function, Operator, Pipe, SortKey};

/// Terms that are asked for by their values, with what is in their buckets.
const CHOSEN_MAX: usize = 1_024;
/// The column of a group's count.
const COUNT: &str = "\u{1}a0";

/// The key that a client gives back as it was told (`after`).
pub(super) fn given(source: &Source, told: &Value) -> Result<Value, Refusal> {
    let refused =
        || Refusal::argument(format!("[composite] [after]: [{}] cannot be {told}", source.name));
    if told.is_null() {
        return Ok(Value::Null);
    }
    if !source.part.is_time() {
        return literal(told).map(|_| told.clone()).ok_or_else(refused);
    }
    let format = source.format.as_deref().unwrap_or_default();
    let dates = Dates::new(model::time::Timestamp::default(), &source.zone, format);
    let time = dates.and_then(|dates| dates.read(told, Edge::First)).ok_or_else(refused)?;
    // What is not read as it was written would begin the page elsewhere.
    match told.as_str().is_none_or(|text| in_format(time, format, &source.zone) == text) {
        true => Ok(time.to_string().into()),
        false => Err(refused()),
    }
}

impl Level {
    /// The column of a key behind the counting.
    fn column(&self, at: usize) -> String {
        let group = self.parts.get(at).and_then(|part| part.group.as_ref());
        group.map_or_else(|| key_name(at), |group| group.name().to_owned())
    }

    fn columns(&self) -> impl Iterator<Item = (&Part, Expr)> {
        let parts = self.parts.iter().enumerate();
        parts.map(move |(at, part)| (part, Expr::Column(self.column(at))))
    }

    /// A row for each group, with its count, where the keys are such that there is a bucket.
    fn counted(&self) -> Vec<Pipe> {
        let count = count_of(Function::Count, None);
        let mut pipes = self.prepared();
        pipes.push(Pipe::Stats { aggregates: vec![count], by: self.groups() });
        let of_values = self.columns().filter(|(part, _)| !part.is_time());
        let mut wanted: Vec<Expr> = of_values.map(|(_, column)| can_be_told(column)).collect();
        for (part, column) in self.columns().filter(|(part, _)| !part.keeps_missing) {
            wanted.push(Expr::Exists(Box::new(column.clone())));
            if part.is_level {
                let unknown = Expr::Text("unknown".to_owned());
                wanted.push(compared(Operator::NotEqual, column, unknown));
            }
        }
        pipes.extend((!wanted.is_empty()).then(|| Pipe::Where(all(wanted))));
        pipes
    }

    /// A row for each group of terms that may have a bucket.
    fn counted_terms(&self, terms: &Terms) -> Vec<Pipe> {
        let mut pipes = self.counted();
        let mut texts: Vec<Expr> = Vec::new();
        for (_, column) in self.columns() {
            if !texts.is_empty() {
                texts.push(Expr::Text("|".to_owned()));
            }
            texts.push(Expr::Call("text", vec![column]));
        }
        let key = match texts.len() {
            1 => texts.swap_remove(0),
            _ => Expr::Call("concat", texts),
        };
        let is_one = |choice: &Choice| match choice {
            Choice::Listed(list) => {
                let list = list.iter().map(|one| verbatim(one)).collect();
                Expr::In(Box::new(key.clone()), list)
            }
            Choice::Like(regex) => Expr::Like(Box::new(key.clone()), regex.as_str().to_owned()),
        };
        let mut wanted: Vec<Expr> = terms.include.iter().map(is_one).collect();
        wanted.extend(terms.exclude.iter().map(|choice| Expr::Not(Box::new(is_one(choice)))));
        if terms.count_min > 1 {
            let least = Expr::Int(i64::try_from(terms.count_min).unwrap_or(i64::MAX));
            let count = Expr::Column(COUNT.to_owned());
            wanted.push(compared(Operator::GreaterEqual, count, least));
        }
        pipes.extend((!wanted.is_empty()).then(|| Pipe::Where(all(wanted))));
        pipes
    }

    /// The order of terms as pipes; `None` where it goes by a figure.
    fn sorted(&self, terms: &Terms) -> Option<Vec<Pipe>> {
        // Levels are ordered by name here, as everywhere in buckets.
        let (mut names, mut keys) = (Vec::new(), Vec::new());
        for (at, (part, column)) in self.columns().enumerate() {
            match part.is_level {
                true => {
                    let name = format!("\u{1}t{at}");
                    names.push((name.clone(), Expr::Call("text", vec![column])));
                    keys.push(name);
                }
                false => keys.push(self.column(at)),
            }
        }
        let by_keys = |descending: bool| {
            keys.iter().map(move |name| SortKey { name: name.clone(), descending, numbers: false })
        };
        let mut order = Vec::new();
        for (path, descending) in &terms.order {
            match path.as_str() {
                "_count" => {
                    order.push(SortKey {
                        name: COUNT.to_owned(),
                        descending: *descending,
                        numbers: false,
                    });
                }
                "_key" => order.extend(by_keys(*descending)),
                _ => return None,
            }
        }
        order.extend(by_keys(false));
        let names = (!names.is_empty()).then_some(Pipe::Eval(names));
        Some(names.into_iter().chain([Pipe::Sort(order)]).collect())
    }
}

fn count_of(function: Function, argument: Option<Expr>) -> Aggregate {
    Aggregate { function, argument, condition: None, name: COUNT.to_owned() }
}

fn all(parts: impl IntoIterator<Item = Expr>) -> Expr {
    let and = |a, b| compared(Operator::And, a, b);
    parts.into_iter().reduce(and).unwrap_or(Expr::Bool(true))
}

fn any(parts: impl IntoIterator<Item = Expr>) -> Expr {
    let or = |a, b| compared(Operator::Or, a, b);
    parts.into_iter().reduce(or).unwrap_or(Expr::Bool(false))
}

/// Whether a key is none of the numbers that JSON does not have. Every page would begin again behind
/// one of those.
fn can_be_told(column: Expr) -> Expr {
    let nothing = compared(Operator::Subtract, column.clone(), column);
    let nothing = Expr::Call("coalesce", vec![nothing, Expr::Float(0.0)]);
    compared(Operator::Equal, nothing, Expr::Float(0.0))
}

/// What the keys of a part are compared with; `None` when it is none. Moments and levels are named by
/// a text, all else is compared with the text itself.
fn beside(part: &Part, value: &Value) -> Option<Expr> {
    match value {
        Value::String(text) if !part.is_time() && !part.is_level => Some(verbatim(text)),
        value => literal(value),
    }
}

/// Refuses keys that would not be given back as they are: the next page would begin elsewhere.
pub(super) fn can_be_given(sources: &[Source], keys: &[Value]) -> Result<(), Refusal> {
    for (source, key) in sources.iter().zip(keys) {
        let told = show::told(source, key);
        if given(source, &told).ok().as_ref() != Some(key) {
            let name = &source.name;
            return Err(Refusal::argument(format!(
                "[composite] [{name}]: {key} is told as {told}, behind which no page can begin: choose another [format]"
            )));
        }
    }
    Ok(())
}

/// Whether keys come behind others in the order of a `composite`.
fn behind(sources: &[Source], keys: &[Expr], place: &[Value]) -> Expr {
    let (mut alternatives, mut equal) = (Vec::new(), Vec::<Expr>::new());
    for ((source, key), value) in sources.iter().zip(keys).zip(place) {
        let exists = Expr::Exists(Box::new(key.clone()));
        let missing = Expr::Not(Box::new(exists.clone()));
        let (further, same) = match beside(&source.part, value) {
            None if source.missing_first => (Some(exists), missing),
            None => (None, missing),
            Some(value) => {
                let operator = if source.descending { Operator::Less } else { Operator::Greater };
                let further = compared(operator, key.clone(), value.clone());
                let further = match source.missing_first {
                    true => further,
                    false => any([further, missing]),
                };
                (Some(further), compared(Operator::Equal, key.clone(), value))
            }
        };
        alternatives.extend(further.map(|further| all(equal.iter().cloned().chain([further]))));
        equal.push(same);
    }
    any(alternatives)
}

impl Runner<'_> {
    /// The groups of some pipes, so many at most, with their counts.
    async fn tallied(
        &mut self,
        level: &Level,
        pipes: Vec<Pipe>,
        most: usize,
    ) -> Result<Vec<Bucket>, Refusal> {
        self.question()?;
        let question = self.search.question(level.filter.clone(), pipes, 0);
        let mut answer = self.engine.ask(&question).await?;
        let rows = table(&mut answer, most).await?;
        self.missing.extend(answer.missing());
        let bucket = |mut keys: Vec<Value>| {
            let cells = keys.split_off(level.parts.len().min(keys.len()));
            let count = cells.first().and_then(Value::as_u64).unwrap_or(0);
            Bucket { keys, count, ..Bucket::default() }
        };
        Ok(rows.into_iter().map(bucket).collect())
    }

    /// What is in buckets that were chosen, in their order.
    async fn filled(
        &mut self,
        aggregation: &Aggregation,
        level: Level,
        buckets: Vec<Bucket>,
    ) -> Result<Vec<Bucket>, Refusal> {
        let found = self.level(&aggregation.inner, level).await?;
        let mut by_keys: std::collections::HashMap<String, Bucket> =
            found.into_iter().map(|bucket| (text_of(&bucket.keys), bucket)).collect();
        let one = |bucket: Bucket| by_keys.remove(&text_of(&bucket.keys)).unwrap_or(bucket);
        Ok(buckets.into_iter().map(one).collect())
    }

    /// The first of terms that are too many to be read; `None` where that needs all of them.
    pub(super) async fn first_terms(
        &mut self,
        aggregation: &Aggregation,
        terms: &Terms,
        level: &Level,
    ) -> Result<Option<Value>, Refusal> {
        let has_inner = !aggregation.inner.is_empty();
        let most = if has_inner { CHOSEN_MAX } else { BUCKETS_MAX };
        let Some(sorted) = level.sorted(terms).filter(|_| terms.size <= most) else {
            return Ok(None);
        };
        let counted = level.counted_terms(terms);
        let mut summed = counted.clone();
        let column = Expr::Column(COUNT.to_owned());
        let sum = count_of(Function::Sum, Some(column));
        summed.push(Pipe::Stats { aggregates: vec![sum], by: Vec::new() });
        let whole = Level { parts: Vec::new(), ..level.clone() };
        let whole = self.tallied(&whole, summed, 1).await?;
        let records: u64 = whole.iter().map(|bucket| bucket.count).sum();
        let mut pipes = counted;
        pipes.extend(sorted);
        pipes.push(Pipe::Limit(terms.size as u64));
        let mut buckets = self.tallied(level, pipes, terms.size).await?;
        let shown: u64 = buckets.iter().map(|bucket| bucket.count).sum();
        if has_inner && !buckets.is_empty() {
            let one = |bucket: &Bucket| {
                let pairs = level.parts.iter().zip(&bucket.keys);
                all(pairs.filter_map(|(part, key)| {
                    Some(compared(Operator::Equal, part.expr.clone(), beside(part, key)?))
                }))
            };
            let chosen = halved(buckets.iter().map(one).collect());
            let level = Level { chosen: Some(chosen), ..level.clone() };
            buckets = self.filled(aggregation, level, buckets).await?;
        }
        let beyond = records.saturating_sub(shown);
        Ok(Some(show::of_terms(terms, buckets, beyond, &aggregation.inner)))
    }

    /// A page of a `composite`.
    pub(super) async fn page(
        &mut self,
        aggregation: &Aggregation,
        composite: &Composite,
        mut level: Level,
    ) -> Result<Value, Refusal> {
        let keys: Vec<Expr> = level.parts.iter().map(|part| part.expr.clone()).collect();
        let sources = composite.sources.as_slice();
        let after = composite.after.as_ref().map(|place| behind(sources, &keys, place));
        level.chosen.clone_from(&after);
        let mut pipes = level.counted();
        let (mut flags, mut order) = (Vec::new(), Vec::new());
        for (at, (source, (_, column))) in sources.iter().zip(level.columns()).enumerate() {
            if source.part.keeps_missing {
                let name = format!("\u{1}f{at}");
                let descending = !source.missing_first;
                order.push(SortKey { name: name.clone(), descending, numbers: false });
                flags.push((name, Expr::Exists(Box::new(column))));
            }
            let descending = source.descending;
            order.push(SortKey { name: level.column(at), descending, numbers: false });
        }
        pipes.extend((!flags.is_empty()).then_some(Pipe::Eval(flags)));
        pipes.push(Pipe::Sort(order));
        pipes.push(Pipe::Limit(composite.size as u64));
        let size = composite.size.min(BUCKETS_MAX);
        let mut buckets = self.tallied(&level, pipes, size).await?;
        // Behind a page that is not full there is none.
        if let Some(last) = buckets.last().filter(|_| buckets.len() >= size) {
            can_be_given(sources, &last.keys)?;
        }
        if let Some(last) = buckets.last().filter(|_| !aggregation.inner.is_empty()) {
            // A page is all between two places.
            let beyond = Expr::Not(Box::new(behind(sources, &keys, &last.keys)));
            level.chosen = Some(all(after.into_iter().chain([beyond])));
            buckets = self.filled(aggregation, level, buckets).await?;
        }
        show::keyed(aggregation, buckets, &mut Room::whole())
    }
}

/// Whether one holds, as a tree that is no deeper than it must be.
fn halved(mut parts: Vec<Expr>) -> Expr {
    match parts.len() {
        0 | 1 => any(parts),
        count => {
            let rest = parts.split_off(count / 2);
            any([halved(parts), halved(rest)])
        }
    }
}
