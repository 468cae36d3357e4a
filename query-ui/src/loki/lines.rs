//! Lines as streams: labels, structured metadata and what stages took out of them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use model::query::Filter;
use model::stream::RESERVED;
use model::time::{TimeRange, Timestamp};
use serde_json::{Map, Value, json};

use super::ast::Log;
use super::lower::{ERRORS, LINE, Lowered};
use crate::language::{Pipe, Query, SortKey};
use crate::plan::json::{Records, value};
use crate::plan::{ColumnKind, Engine, Extras, QueryFailure, Question, RECORD, Shape};

/// Labels of a stream or a series.
pub(super) type Labels = BTreeMap<String, String>;

/// In which order lines come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Backward,
    Forward,
}

/// A name as labels can have it.
pub(super) fn label_name(name: &str) -> String {
    let sign = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '_' };
    let mut label: String = name.chars().map(sign).collect();
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert(0, '_');
    }
    label
}

/// A value as labels can have it.
pub(super) fn label_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn labels_of(text: &str) -> Labels {
    let object = serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    object.iter().map(|(name, value)| (label_name(name), label_value(value))).collect()
}

/// A label's name in lines.
fn in_lines(name: &str) -> String {
    let own = name.strip_prefix("fields_").filter(|own| RESERVED.contains(own));
    own.unwrap_or(name).to_owned()
}

/// Names that what a record has of itself had to be told from, as they are in lines.
fn as_in_lines(parsed: &mut Labels) {
    for own in RESERVED {
        // A stage wrote it behind those that took lines apart.
        if let Some(value) = parsed.remove(&format!("fields_{own}")) {
            parsed.insert(own.to_owned(), value);
        }
    }
}

/// What a line has beside its stream, by where it is from.
fn categories(metadata: &Labels, parsed: &Labels) -> Map<String, Value> {
    let all = [("structuredMetadata", metadata), ("parsed", parsed)];
    let some = all.into_iter().filter(|(_, labels)| !labels.is_empty());
    some.map(|(name, labels)| (name.to_owned(), json!(labels))).collect()
}

/// Which lines.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) range: TimeRange,
    pub(super) limit: u64,
    pub(super) direction: Direction,
    /// Only those that pass it.
    pub(super) within: Filter,
}

impl Wanted {
    pub(super) fn of(range: TimeRange, limit: u64, direction: Direction) -> Self {
        Self { range, limit, direction, within: Filter::All }
    }

    fn question(self, lowered: &Lowered) -> Question {
        let mut pipes = lowered.pipes.clone();
        if self.direction == Direction::Forward {
            let name = "timestamp".to_owned();
            pipes.push(Pipe::Sort(vec![SortKey { name, descending: false, numbers: false }]));
        }
        pipes.push(Pipe::Limit(self.limit));
        let filter = match self.within {
            Filter::All => lowered.filter(),
            within => Filter::And(vec![lowered.filter(), within]),
        };
        let query = Query { time: None, filter, pipes };
        Question { query, range: self.range, indexes: None, limit: 0 }
    }
}

/// Labels without those that lines lost before more was taken out of them: what is there of such a name was taken
/// out later. `late` tells the names of that, behind so many structures that were parsed before.
fn as_lost(
    lowered: &Lowered,
    [stream, metadata, parsed]: [&mut Labels; 3],
    late: impl FnOnce(usize) -> BTreeSet<String>,
) {
    let only = lowered.only.as_ref();
    let is_left = |name: &String| only.is_none_or(|only| only.labels.contains(name));
    let is_lost = |name: &String| lowered.lost.contains(name) || !is_left(name);
    parsed.retain(|name, value| is_lost(name) || metadata.get(name) != Some(value));
    if let Some(only) = only {
        let late = late(only.parses);
        parsed.retain(|name, _| late.contains(name) || is_left(&in_lines(name)));
    }
    stream.retain(|name, _| !is_lost(name));
    metadata.retain(|name, _| !is_lost(name));
}

/// Labels as the stages leave them: a label without a value is none.
fn as_kept(lowered: &Lowered, stream: &mut Labels, metadata: &mut Labels, parsed: &mut Labels) {
    for (name, _) in parsed.iter().filter(|(_, value)| value.is_empty()) {
        stream.remove(name);
        metadata.remove(name);
    }
    parsed.retain(|_, value| !value.is_empty());
    for names in [stream, metadata, parsed] {
        names.retain(|name, _| {
            let kept = lowered.kept.as_ref().is_none_or(|kept| kept.contains(name));
            (kept || ERRORS.contains(&name.as_str())) && !lowered.dropped.contains(name)
        });
    }
}

/// The names of what stages took out of a line, but for the first so many structures.
fn late(rows: &RecordBatch, extras: &Extras, row: usize, parses: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let columns = extras.computed.iter().zip(rows.columns().iter().skip(RECORD.len()));
    for (output, column) in columns.skip(parses) {
        match value(column, row, output.kind) {
            Value::Null => {}
            Value::String(object) if output.kind == ColumnKind::Object => {
                names.extend(labels_of(&object).into_keys());
            }
            _ => {
                names.insert(label_name(&output.name));
            }
        }
    }
    names
}

/// Finds lines and gives them as streams.
pub(super) async fn streams(
    engine: &Engine,
    log: &Log,
    wanted: Wanted,
    categorized: bool,
) -> Result<Value, QueryFailure> {
    let lowered = Lowered::of(log);
    let question = wanted.question(&lowered);
    let mut answer = engine.ask(&question).await?;
    let shape = answer.shape().clone();
    let plain = Extras::default();
    let mut found: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    while let Some(rows) = answer.next().await? {
        let Shape::Records(extras) = &shape else { continue };
        let (Some(stored), Some(all)) = (Records::of(&rows, &plain), Records::of(&rows, extras))
        else {
            continue;
        };
        for row in 0..rows.num_rows() {
            let (time, _) = stored.place(row);
            let [_, level, message, labels, fields] = stored.texts(row);
            let [_, _, _, _, computed] = all.texts(row);
            let mut stream = labels_of(&labels);
            let mut metadata = labels_of(&fields);
            let mut parsed = labels_of(&computed);
            let line = parsed.remove(&label_name(LINE)).filter(|_| lowered.rewritten);
            if level != "unknown" {
                metadata.insert("detected_level".to_owned(), level.into_owned());
            }
            let late = |parses: usize| late(&rows, extras, row, parses);
            as_lost(&lowered, [&mut stream, &mut metadata, &mut parsed], late);
            as_in_lines(&mut parsed);
            as_kept(&lowered, &mut stream, &mut metadata, &mut parsed);
            let line = line.unwrap_or_else(|| message.into_owned());
            let stamp = time.0.to_string();
            let value = if categorized {
                json!([stamp, line, categories(&metadata, &parsed)])
            } else {
                stream.extend(metadata);
                stream.extend(parsed);
                json!([stamp, line])
            };
            found.entry(stream).or_default().push(value);
        }
    }
    if let Some(missing) = answer.missing().into_iter().next() {
        return Err(QueryFailure::Incomplete(missing.what, missing.why));
    }
    Ok(answered(found, categorized))
}

fn answered(found: BTreeMap<Labels, Vec<Value>>, categorized: bool) -> Value {
    let stream =
        |(labels, values): (Labels, Vec<Value>)| json!({ "stream": labels, "values": values });
    let result: Vec<Value> = found.into_iter().map(stream).collect();
    let mut data = Map::from_iter([
        ("resultType".to_owned(), json!("streams")),
        ("result".to_owned(), json!(result)),
        ("stats".to_owned(), json!({})),
    ]);
    if categorized {
        data.extend([("encodingFlags".to_owned(), json!(["categorize-labels"]))]);
    }
    data.into()
}

/// The moments of a range query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Nanoseconds; at least a millisecond.
    pub(super) step: i64,
}

impl Moments {
    pub(super) fn all(self) -> impl Iterator<Item = i64> {
        let count = self.last.0.saturating_sub(self.first.0) / self.step;
        (0..=count.max(0)).map(move |at| self.first.0 + at * self.step)
    }
}
