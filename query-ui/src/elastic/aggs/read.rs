//! JSON → aggregations. What is not known is refused by its name.

use model::query::Filter;
use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::branch::{date_ranges, filters, one_branch, ranges};
use super::few::given;
use super::histogram::{dates, steps};
use super::key::Part;
use super::metric::Metric;
use super::pipeline::{self, Pipeline};
use super::top::TopMetrics;
use super::{
    AGGREGATIONS_MAX, Aggregation, Branches, Choice, Composite, DEPTH_MAX, Kind, Shape, Source,
    Terms, rate,
};
use crate::elastic::dsl::Reader;
use crate::elastic::refusal::Refusal;
use crate::elastic::search::{Params, Search};
use crate::elastic::values;

/// The aggregations of a body.
pub(in crate::elastic) fn read(body: &Value, now: Timestamp) -> Result<Vec<Aggregation>, Refusal> {
    let given = body.get("aggs").or_else(|| body.get("aggregations"));
    let mut count = 0;
    let list = given.map_or(Ok(Vec::new()), |given| all(given, now, 0, &mut count))?;
    let mut list = pipeline::placed(None, list)?;
    rate::placed(&mut list)?;
    Ok(list)
}

fn all(
    given: &Value,
    now: Timestamp,
    depth: usize,
    count: &mut usize,
) -> Result<Vec<Aggregation>, Refusal> {
    let object = given.as_object();
    let object = object.ok_or_else(|| Refusal::parsing("[aggs] wants an object"))?;
    *count += object.len();
    if depth > DEPTH_MAX || *count > AGGREGATIONS_MAX {
        let reason = format!(
            "[aggs] has more than {AGGREGATIONS_MAX} aggregations, or {DEPTH_MAX} inside each other"
        );
        return Err(Refusal::argument(reason));
    }
    object.iter().map(|(name, given)| one(name, given, now, depth, count)).collect()
}

fn one(
    name: &str,
    given: &Value,
    now: Timestamp,
    depth: usize,
    count: &mut usize,
) -> Result<Aggregation, Refusal> {
    let object = given.as_object();
    let object = object.ok_or_else(|| {
        Refusal::parsing(format!("Aggregation definition for [{name}] wants an object"))
    })?;
    let (mut inner, mut found, mut meta) = (Vec::new(), None, None);
    for (kind, body) in object {
        match kind.as_str() {
            "aggs" | "aggregations" => inner = all(body, now, depth + 1, count)?,
            "meta" => meta = Some(body.clone()),
            kind if found.is_none() => found = Some((kind, body)),
            kind => {
                let reason =
                    format!("Found two aggregation type definitions in [{name}]: [{kind}]");
                return Err(Refusal::parsing(reason));
            }
        }
    }
    let Some((kind, body)) = found else {
        return Err(Refusal::parsing(format!("Missing definition for aggregation [{name}]")));
    };
    let kind = kind_of(kind, body, now)?;
    let is_leaf = matches!(
        kind,
        Kind::Metric(_) | Kind::TopHits(_) | Kind::TopMetrics(_) | Kind::Pipeline(_)
    );
    if is_leaf && !inner.is_empty() {
        let reason = format!("Aggregator [{name}] cannot accept sub-aggregations");
        return Err(Refusal::argument(reason));
    }
    let inner = pipeline::placed(Some(&kind), inner)?;
    can_be_ordered(name, &kind, &inner)?;
    Ok(Aggregation { name: name.to_owned(), kind, inner, meta })
}

/// Refuses orders by what is in no bucket.
fn can_be_ordered(name: &str, kind: &Kind, inner: &[Aggregation]) -> Result<(), Refusal> {
    let orders = match kind {
        Kind::Terms(terms) => terms.order.as_slice(),
        Kind::Dates(dates) => dates.order.as_slice(),
        Kind::Steps(steps) => steps.order.as_slice(),
        _ => &[],
    };
    for (path, _) in orders.iter().filter(|(path, _)| !path.starts_with('_')) {
        let own = path.split(['.', '[']).next().unwrap_or(path);
        let part = path.get(own.len() + 1..).unwrap_or_default().trim_end_matches(']');
        let known = |known: &&Aggregation| known.name == own || known.name == *path;
        let is_figure = match inner.iter().find(known).map(|found| &found.kind) {
            Some(Kind::Metric(_)) => true,
            Some(Kind::TopMetrics(top)) => top.has(part),
            Some(Kind::Branches(Branches { shape: Shape::One, .. })) => true,
            _ => false,
        };
        if !is_figure {
            let reason = format!(
                "Invalid aggregation order path [{path}]: there is no such figure in [{name}]"
            );
            return Err(Refusal::argument(reason));
        }
    }
    Ok(())
}

fn kind_of(kind: &str, given: &Value, now: Timestamp) -> Result<Kind, Refusal> {
    if kind == "filter" {
        return one_branch(Reader::new(now).query(given)?);
    }
    let body = given.as_object();
    let body = body.ok_or_else(|| Refusal::parsing(format!("[{kind}] wants an object")))?;
    if let Some(metric) = Metric::read(kind, body)? {
        return Ok(Kind::Metric(metric));
    }
    if let Some(pipeline) = Pipeline::read(kind, body)? {
        return Ok(Kind::Pipeline(pipeline));
    }
    match kind {
        "terms" | "multi_terms" => terms(kind, body),
        "date_histogram" => dates(body, now),
        "histogram" => steps(body),
        "composite" => composite(body),
        "filters" => filters(body, now),
        "range" => ranges(body),
        "date_range" => date_ranges(body, now),
        "missing" => {
            only(kind, body, &["field"])?;
            let exists = crate::elastic::dsl::exists(text(kind, body, "field")?)?;
            one_branch(Filter::Not(Box::new(exists)))
        }
        // What is nested is flat here.
        "nested" => {
            only(kind, body, &["path"])?;
            one_branch(Filter::All)
        }
        "top_hits" => {
            only(
                kind,
                body,
                &["from", "size", "sort", "_source", "fields", "docvalue_fields", "highlight"],
            )?;
            let mut body = body.clone();
            body.entry("size").or_insert(json!(3));
            let search = Search::read(&Value::Object(body), &Params::new(), None, now)?;
            search.within(100)?;
            Ok(Kind::TopHits(Box::new(search)))
        }
        "top_metrics" => Ok(Kind::TopMetrics(TopMetrics::read(body, now)?)),
        other => Err(Refusal::parsing(format!(
            "Unknown aggregation type [{other}]: it is not supported"
        ))),
    }
}

/// Refuses members that are not known.
pub(super) fn only(kind: &str, body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            Err(Refusal::parsing(format!("[{kind}] unknown field [{name}]: it is not supported")))
        }
        None => Ok(()),
    }
}

/// A text that must be there.
pub(super) fn text<'a>(
    kind: &str,
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, Refusal> {
    body.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::parsing(format!("[{kind}] wants [{name}], a text")))
}

/// A truth, false where it is not said.
pub(super) fn boolean(kind: &str, body: &Map<String, Value>, name: &str) -> Result<bool, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| Refusal::parsing(format!("[{kind}] [{name}] wants a truth"))),
    }
}

/// A number; Grafana sends them as texts.
pub(super) fn number(kind: &str, body: &Map<String, Value>, name: &str) -> Result<f64, Refusal> {
    let Some(value) = body.get(name).filter(|value| !value.is_null()) else { return Ok(0.0) };
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| Refusal::argument(format!("[{kind}] [{name}] wants a number")))
}

/// A whole number from 0.
pub(super) fn whole(body: &Map<String, Value>, name: &str, usual: u64) -> Result<u64, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(usual),
        // Grafana sends these as texts.
        Some(value) => value
            .as_u64()
            .or_else(|| value.as_str()?.parse().ok())
            .ok_or_else(|| Refusal::argument(format!("[{name}] wants a whole number from 0"))),
    }
}

fn size(body: &Map<String, Value>, usual: u64) -> Result<usize, Refusal> {
    let size = whole(body, "size", usual)?;
    match usize::try_from(size) {
        Ok(size @ 1..) => Ok(size),
        _ => Err(Refusal::argument("[size] must be positive")),
    }
}

/// `order`: paths, and whether the greatest comes first.
pub(super) fn order(given: Option<&Value>) -> Result<Vec<(String, bool)>, Refusal> {
    let list = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    };
    let mut order = Vec::new();
    for one in list {
        let object = one.as_object();
        let object = object.ok_or_else(|| Refusal::parsing("[order] wants an object"))?;
        for (path, direction) in object {
            let descending = match direction.as_str() {
                Some(word) if word.eq_ignore_ascii_case("desc") => true,
                Some(word) if word.eq_ignore_ascii_case("asc") => false,
                _ => return Err(Refusal::parsing(format!("[order] of [{path}] is asc or desc"))),
            };
            let path = if path == "_term" || path == "_time" { "_key" } else { path.as_str() };
            if path.starts_with('_') && !["_key", "_count"].contains(&path) {
                return Err(Refusal::parsing(format!("[order] does not know [{path}]")));
            }
            order.push((path.to_owned(), descending));
        }
    }
    Ok(order)
}

fn terms(kind: &str, body: &Map<String, Value>) -> Result<Kind, Refusal> {
    let known = [
        "field",
        "terms",
        "size",
        "shard_size",
        "order",
        "min_doc_count",
        "missing",
        "include",
        "exclude",
        "show_term_doc_count_error",
        "execution_hint",
        "collect_mode",
        "shard_min_doc_count",
    ];
    only(kind, body, &known)?;
    let multiple = kind == "multi_terms";
    let parts = if multiple {
        let list = body.get("terms").and_then(Value::as_array).filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| Refusal::parsing("[multi_terms] wants [terms], a list"))?;
        let part = |one: &Value| {
            let one = one.as_object().ok_or_else(|| Refusal::parsing("[terms] wants objects"))?;
            only("multi_terms", one, &["field", "missing"])?;
            Part::field(text(kind, one, "field")?, one.get("missing"))
        };
        list.iter().map(part).collect::<Result<_, _>>()?
    } else {
        vec![Part::field(text(kind, body, "field")?, body.get("missing"))?]
    };
    let count_min = whole(body, "min_doc_count", 1)?;
    if count_min == 0 {
        let reason =
            format!("[{kind}] does not support [min_doc_count] 0: terms that no record has");
        return Err(Refusal::argument(reason));
    }
    let order = match order(body.get("order"))? {
        order if order.is_empty() => vec![("_count".to_owned(), true)],
        order => order,
    };
    Ok(Kind::Terms(Terms {
        parts,
        multiple,
        size: size(body, 10)?,
        order,
        count_min,
        include: choice("include", body.get("include"))?,
        exclude: choice("exclude", body.get("exclude"))?,
        tells_error: boolean(kind, body, "show_term_doc_count_error")?,
    }))
}

fn choice(name: &str, given: Option<&Value>) -> Result<Option<Choice>, Refusal> {
    match given {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => {
            let text = |value: &Value| values::text_of(value);
            let list: Option<Vec<String>> = list.iter().map(text).collect();
            let refused = || Refusal::parsing(format!("[{name}] wants texts"));
            Ok(Some(Choice::Listed(list.ok_or_else(refused)?)))
        }
        Some(Value::String(source)) => {
            let source = crate::elastic::regexp::regexp(source, "")?;
            let built = regex::RegexBuilder::new(&format!(r"(?s)\A(?:{source})\z"))
                .size_limit(model::query::REGEX_BYTES_MAX)
                .build();
            let refused = |_| Refusal::argument(format!("[{name}] is no regular expression"));
            Ok(Some(Choice::Like(built.map_err(refused)?)))
        }
        Some(_) => Err(Refusal::parsing(format!("[{name}] wants texts or a pattern"))),
    }
}

/// The one member of an object; `None` where it has none, or others.
fn only_one(object: &Value) -> Option<(&String, &Value)> {
    object.as_object().filter(|object| object.len() == 1)?.iter().next()
}

fn composite(body: &Map<String, Value>) -> Result<Kind, Refusal> {
    only("composite", body, &["sources", "size", "after"])?;
    let refused = || Refusal::parsing("[composite] wants [sources], a list of {name: {kind: {…}}}");
    let mut sources = Vec::new();
    for source in body.get("sources").and_then(Value::as_array).ok_or_else(refused)? {
        let (name, source) = only_one(source).ok_or_else(refused)?;
        let (kind, source) = only_one(source).ok_or_else(refused)?;
        let source = source.as_object().ok_or_else(refused)?;
        if sources.iter().any(|known: &Source| known.name == *name) {
            let reason =
                format!("Composite source names must be unique, found duplicates: [{name}]");
            return Err(Refusal::argument(reason));
        }
        sources.push(Part::source(name, kind, source)?);
    }
    if sources.is_empty() {
        return Err(refused());
    }
    let after = match body.get("after") {
        None | Some(Value::Null) => None,
        Some(after) => {
            let count = after.as_object().map_or(0, Map::len);
            if count != sources.len() {
                let reason =
                    format!("[after] has {count} value(s) but [sources] has {}", sources.len());
                return Err(Refusal::argument(reason));
            }
            let value = |source: &Source| {
                let told = after
                    .get(&source.name)
                    .ok_or_else(|| Refusal::argument("[after] has not the names of [sources]"))?;
                given(source, told)
            };
            Some(sources.iter().map(value).collect::<Result<_, _>>()?)
        }
    };
    Ok(Kind::Composite(Composite { sources, size: size(body, 10)?, after }))
}
