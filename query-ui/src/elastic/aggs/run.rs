//! The questions that aggregations come to, one for each level of buckets, and their answers folded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;

use model::query::Filter;
use model::record::FieldType;
use model::wire::Missing;
use serde_json::{Map, Value};

use super::buckets::{Bucket, Empty, Room, nothing, with_meta};
use super::key::Part;
use super::{Aggregation, BUCKETS_MAX, Kind, Metric, show};
use crate::elastic::hits::Document;
use crate::elastic::refusal::Refusal;
use crate::elastic::search::{Hits, Search, documents, table};
use crate::elastic::taken::{self, Fields};
use crate::elastic::values;
use crate::language::{Aggregate, Expr, Function, Group, Pipe};
use crate::plan::Engine;

/// Questions that one request may come to.
const QUESTIONS_MAX: usize = 256;
/// Hits of all buckets of one `top_hits`.
const TOP_HITS_MAX: usize = 10_000;

/// Computes aggregations over the records that a search finds. Runs on the queries' threads.
pub(in crate::elastic) async fn run(
    engine: &Engine,
    search: &Search,
    mut aggregations: Vec<Aggregation>,
) -> Result<(Value, Vec<Missing>), Refusal> {
    let names = aggregations.iter().flat_map(Aggregation::fields);
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    let fields = taken::fields(engine, search, names).await?;
    aggregations.iter_mut().try_for_each(|aggregation| aggregation.settle(&fields))?;
    let several = several(&fields);
    let mut runner = Runner { engine, search, several, questions: 0, missing: Vec::new() };
    let filter = search.filter.clone();
    let level = Level { filter, parts: Vec::new(), counts: false, chosen: None };
    let buckets = runner.level(&aggregations, level).await?;
    let values = match buckets.into_iter().next() {
        Some(bucket) => bucket.values,
        None => nothing(&aggregations)?,
    };
    Ok((Value::Object(values), runner.missing))
}

/// Fields of which records have several values, with their types.
fn several(fields: &Fields) -> BTreeMap<String, FieldType> {
    let lists = fields.iter().filter(|(_, held)| held.has_lists);
    lists.map(|(name, held)| (name.clone(), held.kind)).collect()
}

/// Which records, by which keys.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) filter: Filter,
    pub(super) parts: Vec<Part>,
    /// The number of records is wanted, not the figures alone.
    pub(super) counts: bool,
    /// Only rows for which this holds.
    pub(super) chosen: Option<Expr>,
}

/// What asks the questions of one request.
pub(super) struct Runner<'a> {
    pub(super) engine: &'a Engine,
    pub(super) search: &'a Search,
    /// Fields of which records have several values, with their types.
    several: BTreeMap<String, FieldType>,
    questions: usize,
    pub(super) missing: Vec<Missing>,
}

type Found<'a> = Pin<Box<dyn Future<Output = Result<Vec<Bucket>, Refusal>> + Send + 'a>>;

/// The name of a computed key; no field is called so.
pub(super) fn key_name(at: usize) -> String {
    format!("\u{1}{at}")
}

/// Keys as one text, by which they are found.
pub(super) fn text_of(keys: &[Value]) -> String {
    serde_json::to_string(keys).unwrap_or_default()
}

impl Level {
    /// What has to be done before records can be grouped.
    pub(super) fn prepared(&self) -> Vec<Pipe> {
        let mut pipes = self.expanded();
        let parts = self.parts.iter().enumerate();
        let computed: Vec<(String, Expr)> = parts
            .filter(|(_, part)| part.group.is_none())
            .map(|(at, part)| (key_name(at), part.expr.clone()))
            .collect();
        let mut names: Vec<String> = computed.iter().map(|(name, _)| name.clone()).collect();
        if !computed.is_empty() {
            pipes.push(Pipe::Eval(computed));
        }
        pipes.extend(self.chosen.clone().map(Pipe::Where));
        // Values of one record that come to one key are one there.
        if self.parts.iter().any(Part::may_repeat) {
            names.push("id".to_owned());
            pipes.push(Pipe::Dedup { keep: 1, by: names });
        }
        pipes
    }

    /// A row for each value, where records have several.
    fn expanded(&self) -> Vec<Pipe> {
        let expand = |part: &Part| {
            let (from, into) = (part.field.clone(), part.single.clone()?);
            Some(Pipe::Expand { from, into, distinct: true })
        };
        self.parts.iter().filter_map(expand).collect()
    }

    /// What makes a group.
    pub(super) fn groups(&self) -> Vec<Group> {
        let group = |(at, part): (usize, &Part)| {
            part.group.clone().unwrap_or_else(|| Group::Field(key_name(at)))
        };
        self.parts.iter().enumerate().map(group).collect()
    }

    /// With the keys of a level inside of it.
    fn with(&self, parts: Vec<&Part>, several: &BTreeMap<String, FieldType>) -> Self {
        let mut inner = self.clone();
        for part in parts {
            let single = format!("\u{1}e{}", inner.parts.len());
            let has_several = several.contains_key(&part.field);
            let mut part = if has_several { part.of_single(single) } else { part.clone() };
            // Two columns of one name could not be told apart.
            let name = |part: &Part| part.group.as_ref().map(|group| group.name().to_owned());
            if inner.parts.iter().any(|known| name(known) == name(&part)) {
                part.group = None;
            }
            inner.parts.push(part);
        }
        inner.counts = true;
        inner
    }

    /// Whether keys are such that they have a bucket.
    fn holds(&self, keys: &[Value]) -> bool {
        self.parts.iter().zip(keys).all(|(part, key)| {
            let is_missing = key.is_null() || part.is_level && key == "unknown";
            part.keeps_missing || !is_missing
        })
    }
}

impl Runner<'_> {
    /// The buckets of a level with all that is in them.
    pub(super) fn level<'a>(
        &'a mut self,
        aggregations: &'a [Aggregation],
        level: Level,
    ) -> Found<'a> {
        Box::pin(async move {
            let mut buckets = self.counted(aggregations, &level).await?;
            for aggregation in aggregations {
                let values = match &aggregation.kind {
                    // What is made of the figures of a row of buckets is added when it is shown.
                    Kind::Metric(_) | Kind::Pipeline(_) => continue,
                    Kind::TopHits(search) => self.top(search, &level, &buckets).await?,
                    Kind::TopMetrics(top) => {
                        let found = self.top(&top.search, &level, &buckets).await?;
                        found.iter().map(|hits| top.shown(hits)).collect()
                    }
                    Kind::Branches(_) => self.branched(aggregation, &level, &buckets).await?,
                    Kind::Terms(_) | Kind::Dates(_) | Kind::Steps(_) | Kind::Composite(_) => {
                        self.keyed(aggregation, &level, &buckets).await?
                    }
                };
                for (bucket, value) in buckets.iter_mut().zip(values) {
                    let value = with_meta(aggregation, value);
                    bucket.values.insert(aggregation.name.clone(), value);
                }
            }
            Ok(buckets)
        })
    }

    /// One more question.
    pub(super) fn question(&mut self) -> Result<(), Refusal> {
        self.questions += 1;
        if self.questions > QUESTIONS_MAX {
            let reason = format!(
                "the aggregations come to more than {QUESTIONS_MAX} questions: ask for fewer filters inside each other"
            );
            return Err(Refusal::argument(reason));
        }
        Ok(())
    }

    /// The buckets with their counts and figures.
    async fn counted(
        &mut self,
        aggregations: &[Aggregation],
        level: &Level,
    ) -> Result<Vec<Bucket>, Refusal> {
        let metrics: Vec<(&str, &Metric)> = aggregations
            .iter()
            .filter_map(|aggregation| match &aggregation.kind {
                Kind::Metric(metric) => Some((aggregation.name.as_str(), metric)),
                _ => None,
            })
            .collect();
        if metrics.is_empty() && level.parts.is_empty() && !level.counts {
            let is_top = |kind: &Kind| matches!(kind, Kind::TopHits(_) | Kind::TopMetrics(_));
            let has_hits = aggregations.iter().any(|one| is_top(&one.kind));
            if !has_hits {
                return Ok(vec![Bucket::default()]);
            }
        }
        let is_single = |metric: &Metric| !self.several.contains_key(&metric.field);
        let count = Aggregate {
            function: Function::Count,
            argument: None,
            condition: None,
            name: String::new(),
        };
        let of_rows: Vec<_> = metrics.iter().filter(|(_, metric)| is_single(metric)).collect();
        let of_values: Vec<_> = metrics.iter().filter(|(_, metric)| !is_single(metric)).collect();
        let mut aggregates = vec![count];
        aggregates.extend(of_rows.iter().flat_map(|(_, metric)| metric.aggregates()));
        let mut buckets = Vec::new();
        for (keys, cells) in self.groups(level, None, aggregates).await? {
            let mut cells = cells.as_slice();
            let mut take = |count: usize| {
                let (taken, rest) = cells.split_at(count.min(cells.len()));
                cells = rest;
                taken
            };
            let count = take(1).first().and_then(Value::as_u64).unwrap_or(0);
            let mut values = Map::new();
            for (name, metric) in &of_rows {
                let cells = take(metric.aggregates().len());
                values.insert((*name).to_owned(), metric.shown(&keys, cells));
            }
            buckets.push(Bucket { keys, count, values });
        }
        // Records have several values of the others: those are counted, not the records.
        for (name, metric) in of_values {
            let aggregates = metric.aggregates();
            let groups = self.groups(level, Some(&metric.field), aggregates).await?;
            let mut by_keys: HashMap<String, Vec<Value>> =
                groups.into_iter().map(|(keys, cells)| (text_of(&keys), cells)).collect();
            for bucket in &mut buckets {
                let cells = by_keys.remove(&text_of(&bucket.keys)).unwrap_or_default();
                let shown = metric.shown(&bucket.keys, &cells);
                bucket.values.insert((*name).to_owned(), shown);
            }
        }
        // The order of the request is that of the answer.
        for aggregation in aggregations {
            for bucket in &mut buckets {
                if let Kind::Metric(_) = aggregation.kind
                    && let Some(value) = bucket.values.remove(&aggregation.name)
                {
                    let value = with_meta(aggregation, value);
                    bucket.values.insert(aggregation.name.clone(), value);
                }
            }
        }
        Ok(buckets)
    }

    /// Aggregates of each group of a level, with its keys; of all values of a field, if one is given.
    async fn groups(
        &mut self,
        level: &Level,
        values_of: Option<&str>,
        mut aggregates: Vec<Aggregate>,
    ) -> Result<Vec<(Vec<Value>, Vec<Value>)>, Refusal> {
        self.question()?;
        for (at, aggregate) in aggregates.iter_mut().enumerate() {
            aggregate.name = format!("\u{1}a{at}");
        }
        let mut pipes = level.prepared();
        if let Some(field) = values_of {
            let is_text = self.several.get(field) == Some(&FieldType::Text);
            let (from, into) = (field.to_owned(), field.to_owned());
            pipes.push(Pipe::Expand { from, into, distinct: is_text });
        }
        pipes.push(Pipe::Stats { aggregates, by: level.groups() });
        let question = self.search.question(level.filter.clone(), pipes, 0);
        let mut answer = self.engine.ask(&question).await?;
        let rows = table(&mut answer, BUCKETS_MAX).await?;
        self.missing.extend(answer.missing());
        let split = |mut keys: Vec<Value>| {
            let cells = keys.split_off(level.parts.len().min(keys.len()));
            (keys, cells)
        };
        Ok(rows.into_iter().map(split).filter(|(keys, _)| level.holds(keys)).collect())
    }

    /// An aggregation by keys, for each of the buckets around it.
    async fn keyed(
        &mut self,
        aggregation: &Aggregation,
        level: &Level,
        around: &[Bucket],
    ) -> Result<Vec<Value>, Refusal> {
        let mut inner = level.with(aggregation.parts(), &self.several);
        if let Kind::Dates(dates) = &aggregation.kind {
            inner.filter = values::all(vec![inner.filter, dates.within.clone()]);
        }
        let is_outermost = level.parts.is_empty();
        match &aggregation.kind {
            Kind::Composite(_) if !is_outermost => Err(Refusal::argument(format!(
                "[composite] aggregation [{}] cannot stand within buckets by keys",
                aggregation.name
            ))),
            Kind::Composite(composite) => Ok(vec![self.page(aggregation, composite, inner).await?]),
            Kind::Terms(terms) if is_outermost => {
                let all = self.all_keyed(aggregation, level, inner.clone(), around).await;
                let Some(refusal) = all.as_ref().err().filter(|refusal| refusal.is_buckets())
                else {
                    return all;
                };
                match self.first_terms(aggregation, terms, &inner).await? {
                    Some(found) => Ok(vec![found]),
                    None => Err(refusal.clone()),
                }
            }
            _ => self.all_keyed(aggregation, level, inner, around).await,
        }
    }

    /// All groups are read and told apart by the buckets around them.
    async fn all_keyed(
        &mut self,
        aggregation: &Aggregation,
        level: &Level,
        inner: Level,
        around: &[Bucket],
    ) -> Result<Vec<Value>, Refusal> {
        let depth = level.parts.len();
        let found = self.level(&aggregation.inner, inner).await?;
        let mut room = Room::whole();
        let mut by_prefix: HashMap<String, Vec<Bucket>> = HashMap::new();
        for mut bucket in found {
            let own = bucket.keys.split_off(depth.min(bucket.keys.len()));
            let prefix = text_of(&std::mem::replace(&mut bucket.keys, own));
            by_prefix.entry(prefix).or_default().push(bucket);
        }
        let one = |bucket: &Bucket| {
            let inner = by_prefix.remove(&text_of(&bucket.keys)).unwrap_or_default();
            show::keyed(aggregation, inner, &mut room)
        };
        around.iter().map(one).collect()
    }

    /// An aggregation by conditions, for each of the buckets around it.
    async fn branched(
        &mut self,
        aggregation: &Aggregation,
        level: &Level,
        around: &[Bucket],
    ) -> Result<Vec<Value>, Refusal> {
        let Kind::Branches(branches) = &aggregation.kind else { return Ok(Vec::new()) };
        let mut of_branches = Vec::new();
        for branch in &branches.list {
            let filter = values::all(vec![level.filter.clone(), branch.filter.clone()]);
            let inner = Level { filter, counts: true, ..level.clone() };
            let found = self.level(&aggregation.inner, inner).await?;
            let by_keys: HashMap<String, Bucket> =
                found.into_iter().map(|bucket| (text_of(&bucket.keys), bucket)).collect();
            of_branches.push(by_keys);
        }
        let (empty, mut room) = (Empty::of(&aggregation.inner)?, Room::whole());
        let one = |bucket: &Bucket| {
            let keys = text_of(&bucket.keys);
            let branch = |found: &mut HashMap<String, Bucket>| match found.remove(&keys) {
                Some(bucket) => Ok(bucket),
                None => empty.bucket(&mut room),
            };
            let buckets: Result<Vec<_>, Refusal> = of_branches.iter_mut().map(branch).collect();
            Ok(show::branches(branches, buckets?, &aggregation.inner))
        };
        around.iter().map(one).collect()
    }

    /// The first hits of each of the buckets around.
    async fn top(
        &mut self,
        top: &Search,
        level: &Level,
        around: &[Bucket],
    ) -> Result<Vec<Value>, Refusal> {
        self.question()?;
        let (from, size) = top.window();
        let keep = from + size;
        let names: Vec<String> = (0..level.parts.len()).map(key_name).collect();
        let exprs = level.parts.iter().map(|part| part.expr.clone());
        let mut pipes = level.expanded();
        if !names.is_empty() {
            pipes.push(Pipe::Eval(names.iter().cloned().zip(exprs).collect()));
        }
        pipes.extend(level.chosen.clone().map(Pipe::Where));
        pipes.extend(top.sorting());
        pipes.push(match names.is_empty() {
            true => Pipe::Limit(keep),
            false => Pipe::Dedup { keep: keep.max(1), by: names.clone() },
        });
        let question = self.search.question(level.filter.clone(), pipes, 0);
        let mut answer = self.engine.ask(&question).await?;
        let mut by_keys = HashMap::<String, Vec<Document>>::new();
        for document in documents(&mut answer, TOP_HITS_MAX).await? {
            let key = |name| document.computed.get(name).cloned().unwrap_or_default();
            let keys: Vec<Value> = names.iter().map(key).collect();
            by_keys.entry(text_of(&keys)).or_default().push(document);
        }
        self.missing.extend(answer.missing());
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let one = |bucket: &Bucket| {
            let documents = by_keys.remove(&text_of(&bucket.keys)).unwrap_or_default();
            let documents =
                if size == 0 { Vec::new() } else { documents.into_iter().skip(skipped).collect() };
            let hits = Hits { documents, total: Some(bucket.count), missing: Vec::new() };
            serde_json::json!({ "hits": top.shown(&hits) })
        };
        Ok(around.iter().map(one).collect())
    }
}
