//! Aggregations: each level of buckets is one `stats` of our plan, by the keys of all levels above
//! it; the rows are folded into the tree that was asked for.

mod metric;
mod key;
mod read;
mod buckets;
mod show;
mod run;
mod typed;

use model::query::Filter;
use serde_json::Value;

use crate::plan::calendar::Bins;
use key::Part;
use metric::Metric;
pub(super) use read::read;
pub(super) use run::run;
pub(super) use typed::typed;

/// Buckets of one level of an answer.
const BUCKETS_MAX: usize = 65_535;
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
    Dates(Dates),
    Steps(Steps),
    Composite(Composite),
    Branches(Branches),
    TopHits(Box<super::search::Search>),
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
    /// Milliseconds; buckets from and to these are there, also empty ones.
    bounds: Option<(i64, i64)>,
    format: String,
    keyed: bool,
    order: Vec<(String, bool)>,
}

/// `histogram`.
#[derive(Debug)]
struct Steps {
    part: Part,
    width: f64,
    count_min: u64,
    bounds: Option<(f64, f64)>,
    keyed: bool,
    order: Vec<(String, bool)>,
}

/// `composite`.
#[derive(Debug)]
struct Composite {
    sources: Vec<(String, Part, bool)>,
    size: usize,
    after: Option<Vec<Value>>,
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
