//! Figures of a histogram's buckets that are made of figures of others: `derivative`, `cumulative_sum`,
//! `moving_avg`, `moving_fn`, `serial_diff`, `bucket_script`.

use model::quantity::read_duration;
use serde_json::{Map, Value, json};

use super::buckets::{Bucket, value_at, with_meta};
use super::moving::Moving;
use super::read::{only, text, whole};
use super::script::Script;
use super::{Aggregation, Branches, Kind, Shape};
use crate::elastic::refusal::{Refusal, set};

/// Buckets of a window, or between two that are compared: each bucket costs as many steps.
const WINDOW_MAX: u64 = 4_096;
/// The path of a bucket's records.
const COUNT: &str = "_count";

/// A figure made of others.
#[derive(Debug)]
pub(super) struct Pipeline {
    rule: Rule,
    /// Where the figures are that it is made of.
    paths: Vec<String>,
    gaps: Gaps,
}

#[derive(Debug)]
enum Rule {
    /// The difference to the bucket before; also by so many milliseconds.
    Derivative { unit: Option<f64> },
    /// The sum of this bucket and all before.
    Sum,
    /// The difference to the bucket so many before.
    Difference { lag: usize },
    /// Of the values in a window, which ends so many values behind the one before this.
    Window { window: i64, shift: i64, moving: Moving },
    /// The mean of the values before, where there are some.
    Average { window: i64, moving: Moving },
    /// Arithmetic.
    Script(Script),
}

/// What stands for a figure that a bucket has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Skip,
    Zeros,
    /// Figures of buckets without records count where there are some.
    Keep,
}

impl Gaps {
    fn read(kind: &str, body: &Map<String, Value>) -> Result<Self, Refusal> {
        match body.get("gap_policy").filter(|given| !given.is_null()) {
            None => Ok(Self::Skip),
            Some(given) => match given.as_str() {
                Some("skip") => Ok(Self::Skip),
                Some("insert_zeros") => Ok(Self::Zeros),
                Some("keep_values") => Ok(Self::Keep),
                _ => Err(Refusal::argument(format!("[{kind}] has no [gap_policy] {given}"))),
            },
        }
    }
}

impl Pipeline {
    /// The figure of a name; `None` when it is none of these.
    pub(super) fn read(kind: &str, body: &Map<String, Value>) -> Result<Option<Self>, Refusal> {
        let own: &[&str] = match kind {
            "derivative" => &["gap_policy", "unit"],
            "cumulative_sum" => &[],
            "serial_diff" => &["gap_policy", "lag"],
            "moving_avg" => &["gap_policy", "window", "model", "settings", "minimize", "predict"],
            "moving_fn" => &["gap_policy", "window", "shift", "script"],
            "bucket_script" => &["gap_policy", "script"],
            _ => return Ok(None),
        };
        only(kind, body, &[["buckets_path", "format"].as_slice(), own].concat())?;
        // Grafana sends one that was cleared as an empty text.
        if body.get("format").is_some_and(|format| !format.is_null() && format != "") {
            return Err(Refusal::parsing(format!("[{kind}] [format] is not supported")));
        }
        let gaps = Gaps::read(kind, body)?;
        if kind == "bucket_script" {
            let (script, paths) = scripted(body)?;
            return Ok(Some(Self { rule: Rule::Script(script), paths, gaps }));
        }
        let path = match body.get("buckets_path") {
            Some(Value::Array(list)) if list.len() == 1 => list.first().and_then(Value::as_str),
            Some(path) => path.as_str(),
            None => None,
        };
        let path = path.ok_or_else(|| {
            Refusal::parsing(format!("[{kind}] wants [buckets_path], the path of one figure"))
        })?;
        let rule = match kind {
            "derivative" => Rule::Derivative { unit: unit(body)? },
            "cumulative_sum" => Rule::Sum,
            "serial_diff" => {
                let lag = bounded(kind, body, "lag", 1)?;
                Rule::Difference { lag: usize::try_from(lag).unwrap_or(usize::MAX) }
            }
            "moving_avg" => {
                let window = bounded(kind, body, "window", 5)?;
                Rule::Average { window, moving: Moving::of_model(body)? }
            }
            _ => {
                if body.get("window").is_none_or(Value::is_null) {
                    return Err(Refusal::parsing("[moving_fn] wants [window], a whole number"));
                }
                let window = bounded(kind, body, "window", 1)?;
                let moving = Moving::of_script(&source(kind, body)?)?;
                Rule::Window { window, shift: shift(body)?, moving }
            }
        };
        Ok(Some(Self { rule, paths: vec![path.to_owned()], gaps }))
    }

    /// What each of some buckets has of it; they come by their keys.
    fn figures(&self, buckets: &[Bucket], keys: &[f64]) -> Vec<Option<Value>> {
        let path = self.paths.first().map_or("", String::as_str);
        let found = |gaps| buckets.iter().map(move |bucket| figure(bucket, path, gaps));
        let all = || -> Vec<f64> { found(self.gaps).map(|one| one.unwrap_or(f64::NAN)).collect() };
        match &self.rule {
            Rule::Derivative { unit } => {
                let all: Vec<Option<f64>> = found(self.gaps).collect();
                derivative(&all, keys, *unit)
            }
            Rule::Sum => {
                let mut sum = 0.0;
                let mut add = |value: Option<f64>| {
                    sum += value.unwrap_or(0.0);
                    Some(shown(sum))
                };
                found(Gaps::Zeros).map(&mut add).collect()
            }
            Rule::Difference { lag } => {
                let all = all();
                let none = std::iter::repeat_n(f64::NAN, (*lag).min(all.len()));
                let before = none.chain(all.iter().copied());
                let apart = all.iter().zip(before).map(|(now, before)| now - before);
                apart.map(|apart| (!apart.is_nan()).then(|| shown(apart))).collect()
            }
            Rule::Window { window, shift, moving } => {
                let value = |values: &[f64]| Some(shown(moving.of(values)));
                moved(&all(), *window, *shift, value)
            }
            Rule::Average { window, moving } => {
                let value = |before: &[f64]| (!before.is_empty()).then(|| shown(moving.of(before)));
                moved(&all(), *window, 0, value)
            }
            Rule::Script(script) => {
                let one = |bucket: &Bucket| {
                    let known = |path: &String| {
                        figure(bucket, path, self.gaps).filter(|figure| !figure.is_nan())
                    };
                    let figures: Option<Vec<f64>> = self.paths.iter().map(known).collect();
                    figures.map(|figures| shown(script.of(&figures)))
                };
                buckets.iter().map(one).collect()
            }
        }
    }

    /// Whether it has a figure of that name.
    fn has(&self, part: &str) -> bool {
        match part {
            "" | "value" => true,
            "normalized_value" => matches!(self.rule, Rule::Derivative { unit: Some(_) }),
            _ => false,
        }
    }
}

/// A figure as it is told; what is no finite number is none.
fn shown(figure: f64) -> Value {
    json!({ "value": figure })
}

/// The figure of a bucket at a path: not a number where there is a gap, none where the bucket has no
/// such figure at all, as the first one has no derivative.
fn figure(bucket: &Bucket, path: &str, gaps: Gaps) -> Option<f64> {
    if path == COUNT {
        return Some(bucket.count as f64);
    }
    let found = found(&bucket.values, path)?;
    let is_there = found.is_finite() && (bucket.count > 0 || gaps == Gaps::Keep);
    Some(match gaps {
        _ if is_there => found,
        Gaps::Zeros => 0.0,
        Gaps::Skip | Gaps::Keep => f64::NAN,
    })
}

/// The figure at a path, which may lead through aggregations of one bucket; not a number where it is
/// one of no records.
fn found(values: &Map<String, Value>, path: &str) -> Option<f64> {
    let number = |value: Value| value.as_f64().unwrap_or(f64::NAN);
    let Some((name, rest)) = path.split_once('>') else {
        return value_at(values, path).map(number);
    };
    let inner = values.get(name)?.as_object()?;
    match rest {
        COUNT => inner.get("doc_count").cloned().map(number),
        rest => found(inner, rest),
    }
}

/// A figure and the key of its bucket.
type Keyed = (Option<f64>, f64);

/// Differences of neighbours; the first has none, and none have those that lack one of the two.
fn derivative(all: &[Option<f64>], keys: &[f64], unit: Option<f64>) -> Vec<Option<Value>> {
    let known = || all.iter().copied().zip(keys.iter().copied());
    let before = std::iter::once(None).chain(known().map(Some));
    let one = |((value, key), before): (Keyed, Option<Keyed>)| {
        let (last, from) = before?;
        let gradient = value? - last?;
        let mut shown = shown(gradient);
        if let Some(unit) = unit {
            set(&mut shown, "normalized_value", (gradient / ((key - from) / unit)).into());
        }
        Some(shown)
    };
    known().zip(before).map(one).collect()
}

/// What a window over the values there are comes to at each of them.
fn moved(
    all: &[f64],
    window: i64,
    shift: i64,
    value: impl Fn(&[f64]) -> Option<Value>,
) -> Vec<Option<Value>> {
    let known: Vec<f64> = all.iter().copied().filter(|value| !value.is_nan()).collect();
    let place = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(known.len());
    let mut at = 0_i64;
    let mut one = |of_bucket: &f64| {
        if of_bucket.is_nan() {
            return None;
        }
        let span = place(at + shift - window)..place(at + shift);
        at += 1;
        value(known.get(span).unwrap_or_default())
    };
    all.iter().map(&mut one).collect()
}

/// The unit of a derivative, milliseconds.
fn unit(body: &Map<String, Value>) -> Result<Option<f64>, Refusal> {
    let Some(given) = body.get("unit").filter(|unit| !unit.is_null()) else { return Ok(None) };
    let millis = given.as_str().and_then(read_duration).map(|nanos| nanos / 1e6);
    match millis.filter(|millis| *millis > 0.0 && millis.is_finite()) {
        Some(millis) => Ok(Some(millis)),
        None => Err(Refusal::argument(format!("[derivative] [unit] {given} is no span: 1s, 1h"))),
    }
}

/// A whole number from 1.
fn bounded(kind: &str, body: &Map<String, Value>, name: &str, usual: u64) -> Result<i64, Refusal> {
    match whole(body, name, usual)? {
        number @ 1..=WINDOW_MAX => Ok(i64::try_from(number).unwrap_or(i64::MAX)),
        _ => Err(Refusal::argument(format!("[{kind}] [{name}] is from 1 to {WINDOW_MAX}"))),
    }
}

/// By how many values a window ends later.
fn shift(body: &Map<String, Value>) -> Result<i64, Refusal> {
    let Some(given) = body.get("shift").filter(|shift| !shift.is_null()) else { return Ok(0) };
    let number = given.as_i64().or_else(|| given.as_str()?.parse().ok());
    let most = i64::try_from(WINDOW_MAX).unwrap_or(i64::MAX);
    number.filter(|number| (-most..=most).contains(number)).ok_or_else(|| {
        Refusal::argument(format!("[moving_fn] [shift] is from -{WINDOW_MAX} to {WINDOW_MAX}"))
    })
}

/// The text of a script, written short or with what stands around it.
fn source(kind: &str, body: &Map<String, Value>) -> Result<String, Refusal> {
    match body.get("script") {
        Some(Value::String(source)) => Ok(source.clone()),
        Some(Value::Object(script)) => {
            only(&format!("{kind}] [script"), script, &["source", "inline", "lang", "params"])?;
            let source = script.get("source").or_else(|| script.get("inline"));
            let source = source.and_then(Value::as_str);
            source.map(str::to_owned).ok_or_else(|| {
                Refusal::parsing(format!("[{kind}] [script] wants [source], a text"))
            })
        }
        _ => text(kind, body, "script").map(str::to_owned),
    }
}

/// The arithmetic of a `bucket_script`, and the paths of its figures.
fn scripted(body: &Map<String, Value>) -> Result<(Script, Vec<String>), Refusal> {
    let kind = "bucket_script";
    let refused = || Refusal::parsing("[bucket_script] wants [buckets_path], {name: path}");
    let mut named: Vec<(&str, &str)> = Vec::new();
    match body.get("buckets_path") {
        Some(Value::Object(paths)) => {
            for (name, path) in paths {
                named.push((name.as_str(), path.as_str().ok_or_else(refused)?));
            }
        }
        Some(Value::String(path)) => named.push(("_value", path.as_str())),
        _ => return Err(refused()),
    }
    let params = body.get("script").and_then(|script| script.get("params"));
    let find = |name: &str| {
        let place = named.iter().position(|(known, _)| *known == name).map(Script::Figure);
        let number = || params?.get(name)?.as_f64().map(Script::Number);
        place.or_else(number)
    };
    let source = source(kind, body)?;
    let script = Script::read(&source, &find).map_err(|why| {
        let reason = format!("[bucket_script] [script] cannot be computed: {why}");
        Refusal::argument(reason)
    })?;
    Ok((script, named.into_iter().map(|(_, path)| path.to_owned()).collect()))
}

impl Pipeline {
    /// Refuses to stand where it cannot be computed.
    fn stand(&self, name: &str, parent: Option<&Kind>) -> Result<(), Refusal> {
        let words = match (&self.rule, parent) {
            (Rule::Script(_), Some(Kind::Terms(_) | Kind::Composite(_))) => return Ok(()),
            (Rule::Script(_), Some(Kind::Branches(branches))) if branches.shape != Shape::One => {
                return Ok(());
            }
            (Rule::Derivative { unit: Some(_) }, Some(Kind::Steps(_))) => {
                "with a [unit] must have a date_histogram as parent"
            }
            (_, Some(Kind::Dates(_) | Kind::Steps(_))) => return Ok(()),
            (Rule::Script(_), _) => "must have an aggregation of several buckets as parent",
            _ => "must have a histogram or date_histogram as parent",
        };
        Err(Refusal::argument(format!("aggregation [{name}] {words}")))
    }
}

/// Aggregations that stand within one: those that are made of others come last, each behind those that
/// it is made of. Refuses what stands where buckets are in no order, or is made of what is not there.
pub(super) fn placed(
    parent: Option<&Kind>,
    inner: Vec<Aggregation>,
) -> Result<Vec<Aggregation>, Refusal> {
    for (one, pipeline) in pipelines(&inner) {
        let name = &one.name;
        pipeline.stand(name, parent)?;
        if let Some(path) = pipeline.paths.iter().find(|path| !leads(&inner, path)) {
            return Err(Refusal::argument(format!(
                "No aggregation found for path [{path}] of [{name}]"
            )));
        }
    }
    let is_made = |one: &Aggregation| matches!(one.kind, Kind::Pipeline(_));
    let (mut waiting, mut turn): (Vec<_>, Vec<_>) = inner.into_iter().partition(is_made);
    while let Some(first) = waiting.first() {
        let waits =
            |path: &String| waiting.iter().any(|other| part_of(&other.name, path).is_some());
        let is_ready = |one: &Aggregation| match &one.kind {
            Kind::Pipeline(pipeline) => !pipeline.paths.iter().any(waits),
            _ => true,
        };
        let Some(at) = waiting.iter().position(is_ready) else {
            return Err(Refusal::argument(format!(
                "Cyclical dependency found with pipeline aggregation [{}]",
                first.name
            )));
        };
        turn.push(waiting.remove(at));
    }
    Ok(turn)
}

/// Whether a path leads to a figure.
fn leads(inner: &[Aggregation], path: &str) -> bool {
    if path == COUNT {
        return true;
    }
    let is_one = |kind: &Kind| matches!(kind, Kind::Branches(Branches { shape: Shape::One, .. }));
    if let Some((name, rest)) = path.split_once('>') {
        let holds =
            |one: &Aggregation| one.name == name && is_one(&one.kind) && leads(&one.inner, rest);
        return inner.iter().any(holds);
    }
    inner.iter().any(|one| match (&one.kind, part_of(&one.name, path)) {
        (Kind::Metric(metric), Some(part)) => metric.has(part),
        (Kind::TopMetrics(top), Some(part)) => top.has(part),
        (Kind::Pipeline(pipeline), Some(part)) => pipeline.has(part),
        _ => false,
    })
}

/// What stands behind a name in a path: `.part`, `[part]`, or nothing.
fn part_of<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    match path.strip_prefix(name)? {
        "" => Some(""),
        rest => rest.strip_prefix('.').or_else(|| rest.strip_prefix('[')?.strip_suffix(']')),
    }
}

fn pipelines(inner: &[Aggregation]) -> impl Iterator<Item = (&Aggregation, &Pipeline)> {
    inner.iter().filter_map(|one| match &one.kind {
        Kind::Pipeline(pipeline) => Some((one, pipeline)),
        _ => None,
    })
}

/// Adds to buckets, which come by their keys, what is made of their figures.
pub(super) fn add(inner: &[Aggregation], buckets: &mut [Bucket], key: impl Fn(&Bucket) -> f64) {
    if pipelines(inner).next().is_none() {
        return;
    }
    let keys: Vec<f64> = buckets.iter().map(key).collect();
    for (aggregation, pipeline) in pipelines(inner) {
        let figures = pipeline.figures(buckets, &keys);
        for (bucket, figure) in buckets.iter_mut().zip(figures) {
            if let Some(figure) = figure {
                let figure = with_meta(aggregation, figure);
                bucket.values.insert(aggregation.name.clone(), figure);
            }
        }
    }
}

/// Adds to buckets in any order what is made of the figures of each.
pub(super) fn add_to_each(inner: &[Aggregation], buckets: &mut [Bucket]) {
    add(inner, buckets, |_| 0.0);
}
