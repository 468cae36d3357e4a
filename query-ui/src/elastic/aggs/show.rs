//! Buckets as answers show them: chosen, ordered, gaps filled.

use std::collections::BTreeMap;

use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::buckets::{Bucket, Empty, Room, sort};
use super::few::can_be_given;
use super::key::Part;
use super::pipeline;
use super::{
    Aggregation, BUCKETS_MAX, Branches, Choice, Composite, Dates, Kind, Shape, Source, Steps, Terms,
};
use crate::elastic::dates::{in_format, millis};
use crate::elastic::refusal::{Refusal, set};
use crate::elastic::values::text_of;

/// An aggregation whose buckets have keys; there is room for so many without records.
pub(super) fn keyed(
    aggregation: &Aggregation,
    buckets: Vec<Bucket>,
    room: &mut Room,
) -> Result<Value, Refusal> {
    let inner = &aggregation.inner;
    match &aggregation.kind {
        Kind::Terms(terms) => Ok(of_terms(terms, buckets, 0, inner)),
        Kind::Dates(dates) => of_dates(dates, buckets, inner, room),
        Kind::Steps(steps) => of_steps(steps, buckets, inner, room),
        Kind::Composite(composite) => Ok(of_composite(composite, buckets, inner)),
        Kind::Metric(_)
        | Kind::Branches(_)
        | Kind::TopHits(_)
        | Kind::TopMetrics(_)
        | Kind::Pipeline(_) => Ok(Value::Null),
    }
}

/// A key as it is shown, and as text where that differs.
fn key_of(part: &Part, value: &Value) -> (Value, Option<String>) {
    match value {
        Value::Bool(truth) => (u8::from(*truth).into(), Some(truth.to_string())),
        Value::String(text) if part.is_time() => match Timestamp::parse(text) {
            Some(time) => (millis(time).into(), Some(in_format(time, "", ""))),
            None => (value.clone(), None),
        },
        value => (value.clone(), None),
    }
}

impl Choice {
    fn holds(&self, key: &str) -> bool {
        match self {
            Self::Listed(list) => list.iter().any(|one| one == key),
            Self::Like(regex) => regex.is_match(key),
        }
    }
}

/// The buckets of terms; behind them are so many records of others that were not read.
pub(super) fn of_terms(
    terms: &Terms,
    mut buckets: Vec<Bucket>,
    beyond: u64,
    inner: &[Aggregation],
) -> Value {
    buckets.retain(|bucket| {
        let key = bucket.keys.iter().map(|key| text_of(key).unwrap_or_default());
        let key = key.collect::<Vec<_>>().join("|");
        terms.include.as_ref().is_none_or(|choice| choice.holds(&key))
            && !terms.exclude.as_ref().is_some_and(|choice| choice.holds(&key))
    });
    buckets.retain(|bucket| bucket.count >= terms.count_min);
    sort(&mut buckets, &terms.order);
    let rest = buckets.split_off(terms.size.min(buckets.len()));
    let others: u64 = rest.iter().map(|bucket| bucket.count).sum();
    pipeline::add_to_each(inner, &mut buckets);
    let shown = |bucket: Bucket| {
        let keys = terms.parts.iter().zip(&bucket.keys).map(|(part, value)| key_of(part, value));
        let (keys, texts): (Vec<Value>, Vec<Option<String>>) = keys.unzip();
        let mut before = Map::new();
        if terms.multiple {
            let text = |(key, text): (&Value, Option<String>)| {
                text.or_else(|| text_of(key)).unwrap_or_default()
            };
            let text: Vec<String> = keys.iter().zip(texts).map(text).collect();
            before.insert("key".to_owned(), keys.into());
            before.insert("key_as_string".to_owned(), text.join("|").into());
        } else {
            before.insert("key".to_owned(), keys.into_iter().next().unwrap_or_default());
            if let Some(text) = texts.into_iter().next().flatten() {
                before.insert("key_as_string".to_owned(), text.into());
            }
        }
        let mut shown = bucket.shown(before);
        if terms.tells_error {
            set(&mut shown, "doc_count_error_upper_bound", 0.into());
        }
        shown
    };
    json!({
        "doc_count_error_upper_bound": 0, "sum_other_doc_count": others + beyond,
        "buckets": buckets.into_iter().map(shown).collect::<Vec<_>>(),
    })
}

/// Buckets as a list, or by a text.
fn listed(buckets: Vec<(String, Value)>, keyed: bool) -> Value {
    match keyed {
        true => json!({ "buckets": buckets.into_iter().collect::<Map<_, _>>() }),
        false => {
            json!({ "buckets": buckets.into_iter().map(|(_, bucket)| bucket).collect::<Vec<_>>() })
        }
    }
}

/// When the bucket of a bin begins.
fn start_of(bucket: &Bucket) -> Option<Timestamp> {
    bucket.keys.first().and_then(Value::as_str).and_then(Timestamp::parse)
}

/// Puts buckets without records where there are none, as far as the row reaches.
fn fill_bins(
    dates: &Dates,
    found: &mut BTreeMap<Timestamp, Bucket>,
    inner: &[Aggregation],
    room: &mut Room,
) -> Result<(), Refusal> {
    if found.is_empty() && !dates.bounds.is_closed() {
        return Ok(());
    }
    let first = found.keys().next().copied().into_iter().chain(dates.bounds.min).min();
    let last = found.keys().next_back().copied().into_iter().chain(dates.bounds.max).max();
    let (Some(mut at), Some(last)) = (first, last) else { return Ok(()) };
    let empty = Empty::of(inner)?;
    while at <= last {
        if found.len() > BUCKETS_MAX {
            return Err(Refusal::buckets(BUCKETS_MAX));
        }
        if let std::collections::btree_map::Entry::Vacant(gap) = found.entry(at) {
            gap.insert(empty.in_gap(Value::from(at.to_string()), room)?);
        }
        match dates.bins.next(at) {
            Some(next) if next > at => at = next,
            _ => break,
        }
    }
    Ok(())
}

fn of_dates(
    dates: &Dates,
    buckets: Vec<Bucket>,
    inner: &[Aggregation],
    room: &mut Room,
) -> Result<Value, Refusal> {
    let mut found: BTreeMap<Timestamp, Bucket> = BTreeMap::new();
    for bucket in buckets {
        if let Some(start) = start_of(&bucket).filter(|start| dates.hard.holds_below(*start)) {
            found.insert(start, bucket);
        }
    }
    if dates.count_min == 0 {
        fill_bins(dates, &mut found, inner, room)?;
    }
    let mut buckets: Vec<Bucket> =
        found.into_values().filter(|bucket| bucket.count >= dates.count_min).collect();
    let start = |bucket: &Bucket| start_of(bucket).unwrap_or_default();
    pipeline::add(inner, &mut buckets, |bucket| millis(start(bucket)) as f64);
    sort(&mut buckets, &dates.order);
    let shown = |bucket: Bucket| {
        let start = start(&bucket);
        let text = in_format(start, &dates.format, &dates.bins.zone);
        let mut before = Map::new();
        before.insert("key_as_string".to_owned(), text.clone().into());
        before.insert("key".to_owned(), millis(start).into());
        (text, bucket.shown(before))
    };
    Ok(listed(buckets.into_iter().map(shown).collect(), dates.keyed))
}

/// The key of a step.
fn step_of(bucket: &Bucket) -> f64 {
    bucket.keys.first().and_then(Value::as_f64).unwrap_or_default()
}

/// The row of steps with those without records.
fn fill_steps(
    steps: &Steps,
    buckets: Vec<Bucket>,
    inner: &[Aggregation],
    room: &mut Room,
) -> Result<Vec<Bucket>, Refusal> {
    if buckets.is_empty() && !steps.bounds.is_closed() {
        return Ok(buckets);
    }
    let holding = |at: f64| ((at - steps.offset) / steps.width).floor();
    let ends = [steps.bounds.min, steps.bounds.max].into_iter().flatten().map(holding);
    let numbers = buckets.iter().map(|bucket| steps.number(step_of(bucket)));
    let numbers: Vec<f64> = numbers.chain(ends).collect();
    let least = numbers.iter().copied().reduce(f64::min).unwrap_or_default();
    let most = numbers.iter().copied().reduce(f64::max);
    let count = most.map_or(0.0, |most| most - least + 1.0);
    if count > BUCKETS_MAX as f64 || count.is_nan() {
        return Err(Refusal::buckets(BUCKETS_MAX));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    let place = |number: f64| (number - least) as usize;
    let mut known: BTreeMap<usize, Bucket> = BTreeMap::new();
    for bucket in buckets {
        known.insert(place(steps.number(step_of(&bucket))), bucket);
    }
    let (mut all, empty) = (Vec::new(), Empty::of(inner)?);
    for at in 0..place(least + count) {
        let start = (least + at as f64) * steps.width + steps.offset;
        all.push(match known.remove(&at) {
            Some(bucket) => bucket,
            None => empty.in_gap(start.into(), room)?,
        });
    }
    Ok(all)
}

impl Steps {
    /// Steps are told apart by their number, which rounding does not touch.
    fn number(&self, key: f64) -> f64 {
        ((key - self.offset) / self.width).round()
    }
}

fn of_steps(
    steps: &Steps,
    mut buckets: Vec<Bucket>,
    inner: &[Aggregation],
    room: &mut Room,
) -> Result<Value, Refusal> {
    // As in Elasticsearch, where hard bounds know no offset.
    let is_within = |bucket: &Bucket| steps.hard.holds(steps.number(step_of(bucket)) * steps.width);
    buckets.retain(is_within);
    if steps.count_min == 0 {
        buckets = fill_steps(steps, buckets, inner, room)?;
    }
    buckets.retain(|bucket| bucket.count >= steps.count_min);
    sort(&mut buckets, &[]);
    pipeline::add(inner, &mut buckets, step_of);
    sort(&mut buckets, &steps.order);
    let shown = |bucket: Bucket| {
        let at = step_of(&bucket);
        let before = Map::from_iter([("key".to_owned(), at.into())]);
        (format!("{at:?}"), bucket.shown(before))
    };
    Ok(listed(buckets.into_iter().map(shown).collect(), steps.keyed))
}

fn of_composite(composite: &Composite, mut buckets: Vec<Bucket>, inner: &[Aggregation]) -> Value {
    pipeline::add_to_each(inner, &mut buckets);
    let named = |keys: &[Value]| -> Value {
        let pairs = composite.sources.iter().zip(keys);
        Value::Object(pairs.map(|(source, key)| (source.name.clone(), told(source, key))).collect())
    };
    // The last page has no place behind it where its key cannot be given back.
    let can_follow = |bucket: &&Bucket| can_be_given(&composite.sources, &bucket.keys).is_ok();
    let last = buckets.last().filter(can_follow).map(|bucket| named(&bucket.keys));
    let shown = |bucket: Bucket| {
        let before = Map::from_iter([("key".to_owned(), named(&bucket.keys))]);
        bucket.shown(before)
    };
    let mut answer = Map::new();
    if let Some(last) = last {
        answer.insert("after_key".to_owned(), last);
    }
    answer.insert("buckets".to_owned(), buckets.into_iter().map(shown).collect());
    Value::Object(answer)
}

/// The key of a source as it is told: times in milliseconds, or in the format of the request.
pub(super) fn told(source: &Source, key: &Value) -> Value {
    let time = key.as_str().filter(|_| source.part.is_time()).and_then(Timestamp::parse);
    match (time, &source.format) {
        (Some(time), Some(format)) => in_format(time, format, &source.zone).into(),
        (Some(time), None) => millis(time).into(),
        (None, _) => key.clone(),
    }
}

/// An aggregation whose buckets are conditions.
pub(super) fn branches(
    branches: &Branches,
    mut buckets: Vec<Bucket>,
    inner: &[Aggregation],
) -> Value {
    pipeline::add_to_each(inner, &mut buckets);
    let shown = |(branch, bucket): (&super::Branch, Bucket)| {
        let mut before = Map::new();
        if branches.shape == Shape::List {
            before.insert("key".to_owned(), branch.key.clone().into());
        }
        before.extend(branch.about.clone());
        (branch.key.clone(), bucket.shown(before))
    };
    let mut shown: Vec<(String, Value)> = branches.list.iter().zip(buckets).map(shown).collect();
    match branches.shape {
        Shape::One => shown.pop().map(|(_, bucket)| bucket).unwrap_or_default(),
        Shape::Keyed => listed(shown, true),
        Shape::List | Shape::Anonymous => listed(shown, false),
    }
}
