//! Aggregations: each level of buckets is one `stats` of our plan, by the keys of all levels above
//! it; the rows are folded into the tree that was asked for.

mod metric;
mod key;
mod read;
mod bounds;
mod histogram;
mod rate;
mod top;
mod branch;
mod buckets;
mod show;
mod run;
mod few;
mod typed;
mod script;
mod moving;
mod pipeline;

use model::query::Filter;
use model::time::Timestamp;
use serde_json::Value;

use super::refusal::Refusal;
use super::taken::Fields;
use crate::language::calendar::Bins;
use bounds::Bounds;
use key::Part;
use metric::Metric;
use pipeline::Pipeline;
use read::boolean;
pub(super) use read::read;
pub(super) use run::run;
use top::TopMetrics;
pub(super) use typed::typed;

/// Buckets of one level of an answer; fewer in tests, so that they are met there.
const BUCKETS_MAX: usize = if cfg!(test) { 1_500 } else { 65_535 };
/// Buckets without records of one aggregation, in all those around it: they fill gaps.
const GAPS_MAX: usize = 4 * BUCKETS_MAX;
/// Aggregations of one request, and inside each other.
const AGGREGATIONS_MAX: usize = 256;
const DEPTH_MAX: usize = 8;

/// An aggregation with its name.
#[derive(Debug)]
pub(super) struct Aggregation {
    name: String,
    kind: Kind,
    inner: Vec<Aggregation>,
    meta: Option<Value>,
}

#[derive(Debug)]
enum Kind {
    Metric(Metric),
    Terms(Terms),
    Dates(Box<Dates>),
    Steps(Steps),
    Composite(Composite),
    Branches(Branches),
    TopHits(Box<super::search::Search>),
    TopMetrics(TopMetrics),
    Pipeline(Pipeline),
}

impl Aggregation {
    /// The fields that this and what is in it are made of.
    fn fields(&self) -> Vec<&str> {
        let own: Vec<&str> = match &self.kind {
            Kind::Metric(metric) => metric.fields().collect(),
            Kind::TopHits(search) => search.open().collect(),
            Kind::TopMetrics(top) => top.search.open().collect(),
            _ => self.parts().into_iter().map(|part| part.field.as_str()).collect(),
        };
        own.into_iter().chain(self.inner.iter().flat_map(Self::fields)).collect()
    }

    /// What its buckets are made by.
    fn parts(&self) -> Vec<&Part> {
        match &self.kind {
            Kind::Terms(terms) => terms.parts.iter().collect(),
            Kind::Dates(dates) => vec![&dates.part],
            Kind::Steps(steps) => vec![&steps.part],
            Kind::Composite(composite) => {
                composite.sources.iter().map(|source| &source.part).collect()
            }
            Kind::Metric(_)
            | Kind::Branches(_)
            | Kind::TopHits(_)
            | Kind::TopMetrics(_)
            | Kind::Pipeline(_) => Vec::new(),
        }
    }

    /// With the fields that there are among those it is made of.
    fn settle(&mut self, fields: &Fields) -> Result<(), Refusal> {
        match &mut self.kind {
            Kind::Metric(metric) => metric.settle(fields),
            Kind::TopHits(search) => search.settle(fields)?,
            Kind::TopMetrics(top) => top.search.settle(fields)?,
            Kind::Terms(terms) => terms.parts.iter_mut().for_each(|part| part.settle(fields)),
            Kind::Dates(dates) => dates.part.settle(fields),
            Kind::Steps(steps) => steps.part.settle(fields),
            Kind::Composite(composite) => {
                composite.sources.iter_mut().for_each(|source| source.part.settle(fields));
            }
            Kind::Branches(_) | Kind::Pipeline(_) => {}
        }
        self.inner.iter_mut().try_for_each(|inner| inner.settle(fields))
    }
}

/// `terms`, `multi_terms`.
#[derive(Debug)]
struct Terms {
    parts: Vec<Part>,
    multiple: bool,
    size: usize,
    order: Vec<(String, bool)>,
    count_min: u64,
    include: Option<Choice>,
    exclude: Option<Choice>,
    /// Each bucket says by how much its count may be wrong.
    tells_error: bool,
}

/// Which keys.
#[derive(Debug)]
enum Choice {
    Listed(Vec<String>),
    Like(regex::Regex),
}

/// `date_histogram`.
#[derive(Debug)]
struct Dates {
    part: Part,
    bins: Bins,
    count_min: u64,
    /// Buckets from and to these are there, also empty ones.
    bounds: Bounds<Timestamp>,
    /// Other buckets than from the first and before the second of these are not.
    hard: Bounds<Timestamp>,
    /// The records that can be in one of those.
    within: Filter,
    format: String,
    keyed: bool,
    order: Vec<(String, bool)>,
}

/// `histogram`.
#[derive(Debug)]
struct Steps {
    part: Part,
    width: f64,
    offset: f64,
    count_min: u64,
    bounds: Bounds<f64>,
    hard: Bounds<f64>,
    keyed: bool,
    order: Vec<(String, bool)>,
}

/// `composite`.
#[derive(Debug)]
struct Composite {
    sources: Vec<Source>,
    size: usize,
    /// The keys of the last bucket of the page before, as records have them.
    after: Option<Vec<Value>>,
}

/// A source of a `composite`.
#[derive(Debug)]
struct Source {
    name: String,
    part: Part,
    descending: bool,
    /// The bucket of records without the value comes first.
    missing_first: bool,
    /// Of bins of time: how they are written, and in which zone.
    format: Option<String>,
    zone: String,
}

/// Buckets that are conditions: `filter`, `filters`, `range`, `date_range`, `missing`, `nested`.
#[derive(Debug)]
struct Branches {
    list: Vec<Branch>,
    shape: Shape,
}

#[derive(Debug)]
struct Branch {
    key: String,
    filter: Filter,
    /// What a bucket says beside its count (`from`, `to`).
    about: serde_json::Map<String, Value>,
}

/// How buckets are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Keyed,
    List,
    /// A list whose buckets have no key.
    Anonymous,
}

#[cfg(test)]
mod tests;
