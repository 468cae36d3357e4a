//! In which order hits come, and where a page begins.

use model::partition::RecordId;
use model::query::Filter;
use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::dates::{Dates, Edge, millis, shown};
use super::hits::Document;
use super::missing::{Missing, in_stead, unsupported};
use super::names;
use super::numbered::Numbered;
use super::refusal::Refusal;
use super::taken::{self, Fields};
use crate::language::{Expr, Operator, Pipe, SortKey};
use crate::plan::{Cursor, Held};

/// Keys of one order.
const KEYS_MAX: usize = 16;

/// What every record has, by our name: of one type, and no list.
const OF_RECORD: [&str; 6] = ["timestamp", "ingest_time", "level", "message", "id", "index"];

/// A key of an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    /// A field by our name.
    field: String,
    /// What stands in for it in records without it.
    own: Option<&'static str>,
    /// The column by which it is sorted, and what is in it, where that is no field.
    computed: Option<(String, Expr)>,
    /// The columns of its numbers, where values are texts or of several types: they go before.
    numbered: Option<Numbered>,
    /// The column that is 0 where there is no value, else 1, where such records come first.
    missing: Option<String>,
    /// What stands in where there is no value.
    stead: Option<Value>,
    descending: bool,
    /// Which of several values counts (`mode`): there must not be any.
    is_one: bool,
    /// Times are shown so.
    format: String,
}

/// Which of several values counts.
const MODES: [&str; 5] = ["min", "max", "sum", "avg", "median"];

/// The order of hits: the keys, then newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sorting {
    keys: Vec<Key>,
    /// The place among equal ones is shown too (`_doc`, `_shard_doc`).
    tie: bool,
    /// Hits say where they stand.
    asked: bool,
}

impl Sorting {
    /// What `sort` says: a name, an object, or a list of these.
    pub(super) fn read(given: Option<&Value>) -> Result<Self, Refusal> {
        let mut sorting = Self::default();
        match given {
            None | Some(Value::Null) => return Ok(sorting),
            Some(Value::Array(list)) => {
                for one in list {
                    sorting.add(one)?;
                }
            }
            Some(one) => sorting.add(one)?,
        }
        if sorting.keys.len() > KEYS_MAX {
            return Err(Refusal::argument(format!("[sort] has more than {KEYS_MAX} keys")));
        }
        sorting.asked = !sorting.keys.is_empty() || sorting.tie;
        Ok(sorting)
    }

    /// What the parameter `sort` says: `a:desc,b`.
    pub(super) fn of_parameter(text: &str) -> Result<Self, Refusal> {
        let one = |part: &str| match part.split_once(':') {
            Some((name, order)) => json!({ name: order }),
            None => json!(part),
        };
        Self::read(Some(&text.split(',').map(one).collect()))
    }

    fn add(&mut self, given: &Value) -> Result<(), Refusal> {
        match given {
            Value::String(name) => self.key(name, &Map::new(), None),
            Value::Object(object) => object.iter().try_for_each(|(name, how)| match how {
                Value::String(order) => self.key(name, &Map::new(), Some(order)),
                Value::Object(options) => {
                    let order = options.get("order").and_then(Value::as_str);
                    self.key(name, options, order)
                }
                _ => Err(Refusal::parsing(format!("[sort] of [{name}] wants an order"))),
            }),
            _ => Err(Refusal::parsing("[sort] wants names or objects")),
        }
    }

    fn key(
        &mut self,
        name: &str,
        options: &Map<String, Value>,
        order: Option<&str>,
    ) -> Result<(), Refusal> {
        let known = ["order", "unmapped_type", "format", "numeric_type", "missing", "mode"];
        if let Some(option) = options.keys().find(|option| !known.contains(&option.as_str())) {
            return Err(Refusal::parsing(format!(
                "[sort] of [{name}] does not support [{option}]"
            )));
        }
        let absent = Missing::read(name, options.get("missing"))?;
        let mode = options.get("mode").filter(|mode| !mode.is_null());
        if let Some(mode) =
            mode.filter(|mode| !mode.as_str().is_some_and(|mode| MODES.contains(&mode)))
        {
            return Err(Refusal::parsing(format!("[sort] of [{name}] has no [mode] {mode}")));
        }
        if let Some(wanted) = options.get("numeric_type").filter(|wanted| !wanted.is_null()) {
            let is_time = names::taken(name) == Some("timestamp")
                || names::field(name).is_ok_and(|field| names::is_time(&field));
            let known = if is_time { "date" } else { "double" };
            if wanted != known {
                let reason = format!("[sort] of [{name}] does not support [numeric_type] {wanted}");
                return Err(Refusal::parsing(reason));
            }
        }
        let descending = is_descending(name, order)?;
        match name {
            // There are no ranks: all are equal.
            "_score" => return Ok(()),
            "_doc" | "_shard_doc" => self.tie = true,
            // Behind the place nothing is equal any more.
            _ if self.tie => {}
            name if name.starts_with("_script") || name.starts_with("_geo") => {
                return Err(Refusal::parsing(format!("[sort] does not support [{name}]")));
            }
            name => {
                let format = options.get("format").and_then(Value::as_str).unwrap_or_default();
                let (field, format) = (names::field(name)?, format.to_owned());
                let (own, is_one) = (names::taken(name), mode.is_some());
                let may_miss = !OF_RECORD.contains(&field.as_str());
                let is_first = may_miss && absent == Missing::First;
                let missing = is_first.then(|| format!("\u{1}m{}", self.keys.len()));
                let stead = if let Missing::As(value) = absent { Some(value) } else { None };
                self.keys.push(Key {
                    field,
                    own,
                    computed: None,
                    numbered: None,
                    missing,
                    stead,
                    descending,
                    is_one,
                    format,
                });
            }
        }
        Ok(())
    }

    /// With the place among equal ones, so that pages have no gap.
    pub(super) fn with_tie(mut self) -> Self {
        (self.tie, self.asked) = (true, true);
        self
    }

    /// Whether hits say where they stand.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether the order is that in which records come anyway.
    fn is_newest_first(&self) -> bool {
        match self.keys.as_slice() {
            [] => true,
            [first, ..] => first.field == "timestamp" && first.descending && self.keys.len() == 1,
        }
    }

    /// The fields of which it matters whether there are such, and of what types.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        let is_open = |key: &&Key| !OF_RECORD.contains(&key.field.as_str());
        self.keys.iter().filter(is_open).map(|key| key.field.as_str())
    }

    /// With the fields that there are among those.
    pub(super) fn settle(&mut self, fields: &Fields) -> Result<(), Refusal> {
        for (at, key) in self.keys.iter_mut().enumerate() {
            let held = fields.get(&key.field);
            if key.is_one && held.is_some_and(|held| held.has_lists) {
                return Err(Refusal::parsing(format!(
                    "[sort] of [{}] does not support [mode]: some records have several values",
                    key.field
                )));
            }
            match (key.own.take(), held) {
                (Some(own), Some(held)) => {
                    let value = taken::value(&key.field, own, held.kind);
                    key.computed = Some((format!("\u{1}s{at}"), value));
                }
                (Some(own), None) => own.clone_into(&mut key.field),
                (None, _) => {}
            }
            let is_mixed = held.is_some_and(|held| held.is_mixed);
            // When they came stands in no field of theirs; of several values, and of those that are seen
            // as text, the one by which it is sorted is told.
            let numbered = held.and_then(|held| Numbered::of(held, at));
            if key.computed.is_none()
                && (key.field == "ingest_time"
                    || numbered.is_some()
                    || held.is_some_and(|h| h.has_lists))
            {
                key.computed = Some((format!("\u{1}s{at}"), Expr::Column(key.field.clone())));
            }
            if is_mixed && key.missing.is_some() {
                let why = "_last where some values are numbers and others are not";
                return Err(unsupported(&key.field, &json!("_first"), why));
            }
            key.stand_in(at, held)?;
            key.numbered = numbered;
        }
        Ok(())
    }

    /// What is computed before records are compared or sorted.
    pub(super) fn computed(&self) -> Option<Pipe> {
        let mut computed: Vec<(String, Expr)> = Vec::new();
        for key in &self.keys {
            computed.extend(key.computed.clone());
            let column = || Expr::Column(key.column().to_owned());
            computed.extend(key.numbered.iter().flat_map(|numbered| numbered.computed(&column())));
            let is_there = || Expr::Exists(Box::new(column()));
            let told = || Expr::Call("if", vec![is_there(), Expr::Int(1), Expr::Int(0)]);
            computed.extend(key.missing.clone().map(|name| (name, told())));
        }
        (!computed.is_empty()).then_some(Pipe::Eval(computed))
    }

    /// The pipe that sorts; none where records come so.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        if self.is_newest_first() {
            return None;
        }
        let mut keys = Vec::new();
        for key in &self.keys {
            let numbered = key.numbered.iter().flat_map(Numbered::columns);
            let columns = numbered.chain([key.column()]);
            let descending = key.descending;
            let first = key.missing.clone();
            keys.extend(first.map(|name| SortKey { name, descending: false, numbers: false }));
            keys.extend(columns.map(|name| SortKey {
                name: name.to_owned(),
                descending,
                numbers: false,
            }));
        }
        Some(Pipe::Sort(keys))
    }

    /// Where a hit stands.
    pub(super) fn place(&self, hit: &Document) -> Vec<Value> {
        let cursor = &hit.cursor;
        let value = |key: &Key| match (key.field.as_str(), &key.computed) {
            ("ingest_time", Some((name, _))) => {
                let time = hit.computed.get(name).and_then(Value::as_str);
                time.and_then(Timestamp::parse)
                    .map_or(Value::Null, |time| moment(time, &key.format))
            }
            (_, Some((name, _))) => hit.computed.get(name).cloned().unwrap_or_default(),
            ("timestamp", _) => moment(cursor.time, &key.format),
            ("id", _) => cursor.id.to_string().into(),
            ("index", _) => hit.index.clone().into(),
            (field, _) => match hit.flat.get(names::shown(field)) {
                Some(Value::Array(values)) => values.first().cloned().unwrap_or_default(),
                Some(value) => value.clone(),
                // What has no level sorts as the least of them.
                None if field == "level" => "unknown".into(),
                None => Value::Null,
            },
        };
        let mut place: Vec<Value> = self.keys.iter().map(value).collect();
        if self.tie {
            place.push(cursor.to_string().into());
        }
        place
    }

    /// What holds for the hits behind a place: a filter that narrows, and a condition that decides.
    pub(super) fn behind(&self, place: &[Value]) -> Result<(Filter, Option<Expr>), Refusal> {
        let count = self.keys.len() + usize::from(self.tie);
        if place.len() != count {
            let reason = format!("search_after has {} value(s) but sort has {count}.", place.len());
            return Err(Refusal::argument(reason));
        }
        let cursor = match place.last().filter(|_| self.tie) {
            None => None,
            Some(text) => {
                let cursor = text.as_str().and_then(Cursor::parse);
                Some(cursor.ok_or_else(|| {
                    Refusal::argument(format!("[search_after] {text} is no place of ours: send back [sort] of the last hit"))
                })?)
            }
        };
        if let (true, Some(cursor)) = (self.is_newest_first(), &cursor) {
            return Ok((cursor.earlier(), None));
        }
        let mut alternatives = Vec::new();
        let mut equal: Vec<Expr> = Vec::new();
        for (key, value) in self.keys.iter().zip(place) {
            let (after, same) = key.compared(value)?;
            alternatives.extend(after.map(|after| all(equal.iter().cloned().chain([after]))));
            equal.push(same);
        }
        if let Some(cursor) = cursor {
            alternatives.push(all(equal.into_iter().chain([earlier(&cursor)])));
        }
        let condition = alternatives
            .into_iter()
            .reduce(|a, b| Expr::Binary(Operator::Or, Box::new(a), Box::new(b)))
            .unwrap_or(Expr::Bool(false));
        Ok((Filter::All, Some(condition)))
    }
}

fn is_descending(name: &str, order: Option<&str>) -> Result<bool, Refusal> {
    match order {
        None => Ok(name == "_score"),
        Some(order) if order.eq_ignore_ascii_case("asc") => Ok(false),
        Some(order) if order.eq_ignore_ascii_case("desc") => Ok(true),
        Some(order) => Err(Refusal::argument(format!("No enum constant SortOrder.{order}"))),
    }
}

/// A time as a sort value: milliseconds where these are exact.
fn moment(time: Timestamp, format: &str) -> Value {
    match format {
        "" | "epoch_millis" if time.0 % 1_000_000 == 0 => millis(time).into(),
        _ => shown(time).into(),
    }
}

impl Key {
    /// Puts the value that is said in the place of none, where records may have none.
    fn stand_in(&mut self, at: usize, held: Option<&Held>) -> Result<(), Refusal> {
        let may_miss = !OF_RECORD.contains(&self.field.as_str());
        let Some(value) = self.stead.take().filter(|_| may_miss) else { return Ok(()) };
        let other = in_stead(&self.field, &value, held)?;
        let own = self.computed.take().map(|(_, value)| value);
        let own = own.or(held.map(|_| Expr::Column(self.field.clone())));
        let value = match own {
            Some(own) => Expr::Call("coalesce", vec![own, other]),
            None => other,
        };
        self.computed = Some((format!("\u{1}s{at}"), value));
        Ok(())
    }

    /// The column by which it is sorted.
    fn column(&self) -> &str {
        self.computed.as_ref().map_or(&self.field, |(name, _)| name)
    }

    /// What is behind a value of this key, and what equals it.
    fn compared(&self, value: &Value) -> Result<(Option<Expr>, Expr), Refusal> {
        let column = || Box::new(Expr::Column(self.column().to_owned()));
        let exists = Expr::Exists(column());
        if value.is_null() && self.missing.is_some() {
            return Ok((Some(exists.clone()), not(exists)));
        }
        if value.is_null() {
            return Ok((None, Expr::Not(Box::new(exists))));
        }
        let refused = || {
            Refusal::argument(format!(
                "[search_after] {value} does not compare with [{}]",
                self.field
            ))
        };
        if let Some(numbered) = self.numbered.as_ref().filter(|numbered| numbered.takes(value)) {
            let found = numbered.compared(&column(), self.beyond(), value, self.missing.is_some());
            return found.map(|(after, same)| (Some(after), same)).ok_or_else(refused);
        }
        if self.field == "id" {
            let id = value.as_str().and_then(RecordId::parse).ok_or_else(refused)?.to_string();
            let same = binary(Operator::Equal, *column(), verbatim(&id));
            let below = id_below(&id);
            let after = match self.descending {
                true => below,
                false => not(binary(Operator::Or, below, same.clone())),
            };
            return Ok((Some(after), same));
        }
        let literal = match (self.field.as_str(), value) {
            ("timestamp" | "ingest_time", value) => {
                let dates = Dates::new(Timestamp::default(), "", &self.format);
                let time = dates.and_then(|dates| dates.read(value, Edge::First));
                Expr::Text(time.ok_or_else(refused)?.to_string())
            }
            ("level", Value::String(text)) => Expr::Text(text.clone()),
            (_, Value::String(text)) => verbatim(text),
            (_, Value::Bool(truth)) => Expr::Bool(*truth),
            (_, Value::Number(number)) => match number.as_i64() {
                Some(whole) => Expr::Int(whole),
                None => Expr::Float(number.as_f64().unwrap_or_default()),
            },
            _ => return Err(refused()),
        };
        let further = binary(self.beyond(), *column(), literal.clone());
        let after = match self.missing {
            Some(_) => further,
            None => binary(Operator::Or, further, not(exists)),
        };
        Ok((Some(after), binary(Operator::Equal, *column(), literal)))
    }

    /// How what comes later compares.
    fn beyond(&self) -> Operator {
        if self.descending { Operator::Less } else { Operator::Greater }
    }
}

pub(super) fn binary(operator: Operator, a: Expr, b: Expr) -> Expr {
    Expr::Binary(operator, Box::new(a), Box::new(b))
}

pub(super) fn not(condition: Expr) -> Expr {
    Expr::Not(Box::new(condition))
}

/// A text to compare with that is that text and no period, also where it reads as a time: texts are
/// sorted so.
pub(super) fn verbatim(text: &str) -> Expr {
    Expr::Call("text", vec![Expr::Text(text.to_owned())])
}

pub(super) fn all(parts: impl IntoIterator<Item = Expr>) -> Expr {
    parts.into_iter().reduce(|a, b| binary(Operator::And, a, b)).unwrap_or(Expr::Bool(true))
}

/// The records behind a place in their usual order, as a condition of a row.
fn earlier(cursor: &Cursor) -> Expr {
    let time = || Expr::Column("timestamp".to_owned());
    let at = || Expr::Text(cursor.time.to_string());
    let same_time = binary(Operator::Equal, time(), at());
    let below = id_below(&cursor.id.to_string());
    let before = binary(Operator::Less, time(), at());
    binary(Operator::Or, before, all([same_time, below]))
}

/// Whether a record's id comes before one: ids are ordered as places, not as texts.
fn id_below(id: &str) -> Expr {
    let or = |a, b| binary(Operator::Or, a, b);
    let (partition, offset) = id.split_once('-').unwrap_or((id, ""));
    // Hexadecimal digits without zeros before them: the longer is the greater.
    let part = |which: i64| {
        let column = Expr::Column("id".to_owned());
        Expr::Call("split_part", vec![column, Expr::Text("-".to_owned()), Expr::Int(which)])
    };
    let length = |text: Expr| Expr::Call("length", vec![text]);
    let digits = |text: &str| Expr::Int(i64::try_from(text.len()).unwrap_or(i64::MAX));
    let below = |which: i64, limit: &str| {
        let shorter = binary(Operator::Less, length(part(which)), digits(limit));
        let as_long = binary(Operator::Equal, length(part(which)), digits(limit));
        or(shorter, all([as_long, binary(Operator::Less, part(which), verbatim(limit))]))
    };
    let same_partition = binary(Operator::Equal, part(1), verbatim(partition));
    or(below(1, partition), all([same_partition, below(2, offset)]))
}
