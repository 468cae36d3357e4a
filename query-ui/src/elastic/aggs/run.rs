//! The questions that aggregations come to, one for each level of buckets, and their answers folded.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use model::query::Filter;
use model::wire::Missing;
use serde_json::{Map, Value};

use super::buckets::{Bucket, nothing, with_meta};
use super::key::Part;
use super::{Aggregation, BUCKETS_MAX, Kind, Metric, show};
use crate::elastic::hits::Document;
use crate::elastic::refusal::Refusal;
use crate::elastic::search::{Hits, Search, table};
use crate::elastic::values;
use crate::language::{Aggregate, Expr, Function, Group, Pipe};
use crate::plan::json::{Records, value};
use crate::plan::{Engine, Extras, RECORD, Shape};

/// Questions that one request may come to.
const QUESTIONS_MAX: usize = 256;
/// Hits of all buckets of one `top_hits`.
const TOP_HITS_MAX: usize = 10_000;

/// Computes aggregations over the records that a search finds. Runs on the queries' threads.
pub(in crate::elastic) async fn run(
    engine: &Engine,
    search: &Search,
    aggregations: &[Aggregation],
) -> Result<(Value, Vec<Missing>), Refusal> {
    let mut runner = Runner { engine, search, questions: 0, missing: Vec::new() };
    let level = Level { filter: search.filter.clone(), parts: Vec::new(), counts: false };
    let buckets = runner.level(aggregations, level).await?;
    let values = match buckets.into_iter().next() {
        Some(bucket) => bucket.values,
        None => nothing(aggregations)?,
    };
    Ok((Value::Object(values), runner.missing))
}

/// Which records, by which keys.
#[derive(Debug, Clone)]
struct Level {
    filter: Filter,
    parts: Vec<Part>,
    /// The number of records is wanted, not the figures alone.
    counts: bool,
}

struct Runner<'a> {
    engine: &'a Engine,
    search: &'a Search,
    questions: usize,
    missing: Vec<Missing>,
}

type Found<'a> = Pin<Box<dyn Future<Output = Result<Vec<Bucket>, Refusal>> + Send + 'a>>;

/// The name of a computed key; no field is called so.
fn key_name(at: usize) -> String {
    format!("\u{1}{at}")
}

fn text_of(keys: &[Value]) -> String {
    serde_json::to_string(keys).unwrap_or_default()
}

impl Level {
    /// What has to be computed before records can be grouped.
    fn computed(&self) -> Vec<(String, Expr)> {
        let parts = self.parts.iter().enumerate().filter(|(_, part)| part.group.is_none());
        parts.map(|(at, part)| (key_name(at), part.expr.clone())).collect()
    }

    fn groups(&self) -> Vec<Group> {
        let group = |(at, part): (usize, &Part)| {
            part.group.clone().unwrap_or_else(|| Group::Field(key_name(at)))
        };
        self.parts.iter().enumerate().map(group).collect()
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
    fn level<'a>(&'a mut self, aggregations: &'a [Aggregation], level: Level) -> Found<'a> {
        Box::pin(async move {
            let mut buckets = self.counted(aggregations, &level).await?;
            for aggregation in aggregations {
                let values = match &aggregation.kind {
                    Kind::Metric(_) => continue,
                    Kind::TopHits(search) => self.top(search, &level, &buckets).await?,
                    Kind::Branches(_) => self.branched(aggregation, &level, &buckets).await?,
                    Kind::Terms(terms) => {
                        self.keyed(aggregation, &terms.parts, &level, &buckets).await?
                    }
                    Kind::Dates(dates) => {
                        let parts = std::slice::from_ref(&dates.part);
                        self.keyed(aggregation, parts, &level, &buckets).await?
                    }
                    Kind::Steps(steps) => {
                        let parts = std::slice::from_ref(&steps.part);
                        self.keyed(aggregation, parts, &level, &buckets).await?
                    }
                    Kind::Composite(composite) => {
                        let parts: Vec<Part> =
                            composite.sources.iter().map(|(_, part, _)| part.clone()).collect();
                        self.keyed(aggregation, &parts, &level, &buckets).await?
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

    fn question(&mut self) -> Result<(), Refusal> {
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
            let has_hits = aggregations.iter().any(|one| matches!(one.kind, Kind::TopHits(_)));
            if !has_hits {
                return Ok(vec![Bucket::default()]);
            }
        }
        self.question()?;
        let count = Aggregate {
            function: Function::Count,
            argument: None,
            condition: None,
            name: String::new(),
        };
        let mut aggregates = vec![count];
        aggregates.extend(metrics.iter().flat_map(|(_, metric)| metric.aggregates()));
        for (at, aggregate) in aggregates.iter_mut().enumerate() {
            aggregate.name = format!("\u{1}a{at}");
        }
        let mut pipes = Vec::new();
        let computed = level.computed();
        if !computed.is_empty() {
            pipes.push(Pipe::Eval(computed));
        }
        pipes.push(Pipe::Stats { aggregates, by: level.groups() });
        let question = self.search.question(level.filter.clone(), pipes, 0);
        let mut answer = self.engine.ask(&question).await?;
        let rows = table(&mut answer, BUCKETS_MAX).await?;
        self.missing.extend(answer.missing());
        let mut buckets = Vec::with_capacity(rows.len());
        for mut row in rows {
            let cells = row.split_off(level.parts.len().min(row.len()));
            if !level.holds(&row) {
                continue;
            }
            let mut cells = cells.as_slice();
            let mut take = |count: usize| {
                let (taken, rest) = cells.split_at(count.min(cells.len()));
                cells = rest;
                taken
            };
            let count = take(1).first().and_then(Value::as_u64).unwrap_or(0);
            let mut values = Map::new();
            for (name, metric) in &metrics {
                let cells = take(metric.aggregates().len());
                values.insert((*name).to_owned(), metric.shown(cells));
            }
            buckets.push(Bucket { keys: row, count, values });
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

    /// An aggregation by keys, for each of the buckets around it.
    async fn keyed(
        &mut self,
        aggregation: &Aggregation,
        parts: &[Part],
        level: &Level,
        around: &[Bucket],
    ) -> Result<Vec<Value>, Refusal> {
        let depth = level.parts.len();
        let mut inner = level.clone();
        inner.parts.extend(parts.iter().cloned());
        inner.counts = true;
        let found = self.level(&aggregation.inner, inner).await?;
        let mut by_prefix: HashMap<String, Vec<Bucket>> = HashMap::new();
        for mut bucket in found {
            let own = bucket.keys.split_off(depth.min(bucket.keys.len()));
            let prefix = text_of(&std::mem::replace(&mut bucket.keys, own));
            by_prefix.entry(prefix).or_default().push(bucket);
        }
        let one = |bucket: &Bucket| {
            let inner = by_prefix.remove(&text_of(&bucket.keys)).unwrap_or_default();
            show::keyed(aggregation, inner)
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
        let one = |bucket: &Bucket| {
            let keys = text_of(&bucket.keys);
            let branch = |found: &mut HashMap<String, Bucket>| match found.remove(&keys) {
                Some(bucket) => Ok(bucket),
                None => Bucket::empty(Vec::new(), &aggregation.inner),
            };
            let buckets: Result<Vec<_>, Refusal> = of_branches.iter_mut().map(branch).collect();
            Ok(show::branches(branches, buckets?))
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
        let mut pipes = Vec::new();
        if !names.is_empty() {
            pipes.push(Pipe::Eval(names.iter().cloned().zip(exprs).collect()));
        }
        pipes.extend(top.sorting());
        pipes.push(match names.is_empty() {
            true => Pipe::Limit(keep),
            false => Pipe::Dedup { keep: keep.max(1), by: names },
        });
        let question = self.search.question(level.filter.clone(), pipes, 0);
        let mut answer = self.engine.ask(&question).await?;
        let shape = answer.shape().clone();
        let (plain, mut by_keys) = (Extras::default(), HashMap::<String, Vec<Document>>::new());
        let mut count = 0;
        while let Some(rows) = answer.next().await? {
            let Shape::Records(extras) = &shape else { continue };
            let Some(records) = Records::of(&rows, &plain) else { continue };
            count += rows.num_rows();
            if count > TOP_HITS_MAX {
                return Err(Refusal::buckets(TOP_HITS_MAX));
            }
            for row in 0..rows.num_rows() {
                let columns = rows.columns().iter().skip(RECORD.len());
                let keys = columns
                    .zip(&extras.computed)
                    .map(|(cells, column)| value(cells, row, column.kind));
                let keys: Vec<Value> = keys.take(level.parts.len()).collect();
                by_keys.entry(text_of(&keys)).or_default().push(Document::of(&records, row));
            }
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
