//! Records as hits: `_source` built and filtered, `fields`, highlight.

use model::query::{FieldTest, Filter, TextMatch};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::dates::{millis, shown};
use super::names;
use super::refusal::Refusal;
use super::values::GIVEN_ID;
use crate::plan::Cursor;
use crate::plan::json::Records;

/// Patterns of one highlight.
const PATTERNS_MAX: usize = 256;

/// A record as clients see it.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) index: String,
    pub(super) cursor: Cursor,
    /// The `_id` that its sender gave.
    given: Option<String>,
    /// Values by dotted names.
    pub(super) flat: Map<String, Value>,
}

impl Document {
    /// A row of whole records.
    pub(super) fn of(records: &Records<'_>, row: usize) -> Self {
        let (time, id) = records.place(row);
        let [index, level, message, labels, fields] = records.texts(row);
        let mut flat = Map::new();
        flat.insert("@timestamp".to_owned(), shown(time).into());
        flat.insert("message".to_owned(), message.into());
        if level != "unknown" {
            flat.insert("level".to_owned(), level.into());
        }
        for text in [fields, labels] {
            let object = serde_json::from_str::<Map<String, Value>>(&text).unwrap_or_default();
            for (name, value) in object {
                flat.entry(name).or_insert(value);
            }
        }
        let given = match flat.remove(GIVEN_ID) {
            Some(Value::String(given)) => Some(given),
            // Not one that came through our door: it is a field like others.
            Some(other) => {
                flat.insert(GIVEN_ID.to_owned(), other);
                None
            }
            None => None,
        };
        Self { index: index.into_owned(), cursor: Cursor { time, id }, given, flat }
    }

    /// Its `_id`: the sender's, else the record's own.
    pub(super) fn id(&self) -> String {
        self.given.clone().unwrap_or_else(|| self.cursor.id.to_string())
    }

    /// The values of a field by a client's name.
    fn values(&self, name: &str) -> Vec<Value> {
        match self.flat.get(name.strip_suffix(".keyword").unwrap_or(name)) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
        }
    }
}

/// Which parts of a source are shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SourceFilter {
    hidden: bool,
    includes: Vec<String>,
    excludes: Vec<String>,
}

impl SourceFilter {
    /// What `_source` says: a truth, a pattern, patterns, or includes and excludes.
    pub(super) fn read(given: Option<&Value>) -> Result<Self, Refusal> {
        match given {
            None | Some(Value::Null | Value::Bool(true)) => Ok(Self::default()),
            Some(Value::Bool(false)) => Ok(Self { hidden: true, ..Self::default() }),
            Some(Value::Object(object)) => {
                let mut filter = Self::default();
                for (name, list) in object {
                    match name.as_str() {
                        "includes" | "include" => filter.includes = patterns(list)?,
                        "excludes" | "exclude" => filter.excludes = patterns(list)?,
                        other => {
                            let reason = format!("[_source] does not support [{other}]");
                            return Err(Refusal::parsing(reason));
                        }
                    }
                }
                Ok(filter)
            }
            Some(list) => Ok(Self { includes: patterns(list)?, ..Self::default() }),
        }
    }

    /// What parameters say beside it.
    pub(super) fn with(mut self, includes: Option<&str>, excludes: Option<&str>) -> Self {
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        self.includes = includes.map_or(self.includes, list);
        self.excludes = excludes.map_or(self.excludes, list);
        self
    }

    /// The source of a document; `None` where none is wanted.
    pub(super) fn source(&self, flat: &Map<String, Value>) -> Option<Value> {
        if self.hidden {
            return None;
        }
        let under = |pattern: &String, name: &str| {
            names::matches(pattern, name) || names::matches(&format!("{pattern}.*"), name)
        };
        let mut source = Map::new();
        for (name, value) in flat {
            let is_in = self.includes.is_empty() || self.includes.iter().any(|p| under(p, name));
            if is_in && !self.excludes.iter().any(|p| under(p, name)) {
                nest(&mut source, name, value.clone());
            }
        }
        Some(Value::Object(source))
    }
}

fn patterns(list: &Value) -> Result<Vec<String>, Refusal> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = match list {
        Value::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|one| one.split(',').map(str::to_owned).collect()),
    };
    found.ok_or_else(|| Refusal::parsing("[_source] wants names"))
}

/// Puts a value under its dotted name; where a part of that is a value itself, the name stays dotted.
fn nest(object: &mut Map<String, Value>, name: &str, value: Value) {
    let fits = name.split('.').all(|part| !part.is_empty());
    match name.split_once('.').filter(|_| fits) {
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            match inner {
                Value::Object(inner) => nest(inner, rest, value),
                _ => drop(object.insert(name.to_owned(), value)),
            }
        }
        None => match object.get(name) {
            // What is an object already keeps its members.
            Some(Value::Object(_)) => {
                if let Some(Value::Object(inner)) = object.get_mut(name) {
                    inner.insert("_value".to_owned(), value);
                }
            }
            _ => drop(object.insert(name.to_owned(), value)),
        },
    }
}

/// Names of `fields` and `docvalue_fields`, with the formats of times.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct FieldList(Vec<(String, String)>);

impl FieldList {
    pub(super) fn read(clause: &str, given: &Value, list: &mut Self) -> Result<(), Refusal> {
        let refused = || Refusal::parsing(format!("[{clause}] wants names or {{\"field\":…}}"));
        for one in given.as_array().ok_or_else(refused)? {
            let (name, format) = match one {
                Value::String(name) => (name.clone(), String::new()),
                Value::Object(object) => {
                    let text = |name: &str| object.get(name).and_then(Value::as_str);
                    let name = text("field").ok_or_else(refused)?.to_owned();
                    (name, text("format").unwrap_or_default().to_owned())
                }
                _ => return Err(refused()),
            };
            list.0.push((name, format));
        }
        Ok(())
    }

    pub(super) fn shown(&self, document: &Document) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut fields = Map::new();
        for (pattern, format) in &self.0 {
            let bare = pattern.strip_suffix(".keyword").unwrap_or(pattern);
            for name in document.flat.keys().filter(|name| names::matches(bare, name)) {
                let values = match name.as_str() {
                    "@timestamp" => vec![formatted(document.cursor.time, format)],
                    name => document.values(name),
                };
                let name = if bare == name { pattern } else { name };
                if !values.is_empty() {
                    fields.insert(name.clone(), Value::Array(values));
                }
            }
            match pattern.as_str() {
                "_id" => drop(fields.insert("_id".to_owned(), json!([document.id()]))),
                "_index" => drop(fields.insert("_index".to_owned(), json!([document.index]))),
                _ => {}
            }
        }
        (!fields.is_empty()).then_some(Value::Object(fields))
    }
}

/// A time in one of the formats of dates.
pub(super) fn formatted(time: model::time::Timestamp, format: &str) -> Value {
    match format {
        "epoch_millis" => millis(time).to_string().into(),
        "epoch_second" => time.0.div_euclid(1_000_000_000).to_string().into(),
        "strict_date_optional_time_nanos" | "date_optional_time_nanos" => time.to_string().into(),
        _ => shown(time).into(),
    }
}

/// What is marked in hits.
#[derive(Debug)]
pub(super) struct Highlight {
    /// Patterns of names.
    fields: Vec<String>,
    pre: String,
    post: String,
    fragment: usize,
    fragments: usize,
    /// What was looked for in which field; `*` is every one.
    patterns: Vec<(String, Regex)>,
    needs_field: bool,
}

impl Highlight {
    pub(super) fn read(given: &Value, filter: &Filter) -> Result<Self, Refusal> {
        let refused = || Refusal::parsing("[highlight] wants [fields]");
        let object = given.as_object().ok_or_else(refused)?;
        let known = [
            "fields",
            "pre_tags",
            "post_tags",
            "fragment_size",
            "number_of_fragments",
            "require_field_match",
            "type",
            "order",
            "encoder",
            "no_match_size",
            "boundary_scanner",
        ];
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Refusal::parsing(format!("[highlight] does not support [{name}]")));
        }
        let fields = match object.get("fields") {
            Some(Value::Object(fields)) => fields.keys().cloned().collect(),
            Some(Value::Array(list)) => {
                let names = list.iter().filter_map(Value::as_object).flat_map(Map::keys);
                names.cloned().collect()
            }
            _ => return Err(refused()),
        };
        let tag = |name: &str, usual: &str| match object.get(name) {
            Some(Value::Array(tags)) => {
                tags.first().and_then(Value::as_str).unwrap_or(usual).to_owned()
            }
            Some(Value::String(tag)) => tag.clone(),
            _ => usual.to_owned(),
        };
        let number = |name: &str, usual: usize| {
            let number = object.get(name).and_then(Value::as_u64);
            number.map_or(usual, |number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        let mut patterns = Vec::new();
        looked_for(filter, &mut patterns);
        patterns.truncate(PATTERNS_MAX);
        Ok(Self {
            fields,
            pre: tag("pre_tags", "<em>"),
            post: tag("post_tags", "</em>"),
            fragment: number("fragment_size", 100),
            fragments: number("number_of_fragments", 5),
            patterns,
            needs_field: object.get("require_field_match") != Some(&Value::Bool(false)),
        })
    }

    pub(super) fn shown(&self, document: &Document) -> Option<Value> {
        let mut found = Map::new();
        for (name, value) in &document.flat {
            let wanted = |pattern: &String| {
                names::matches(pattern.strip_suffix(".keyword").unwrap_or(pattern), name)
            };
            let Some(text) = value.as_str().filter(|_| self.fields.iter().any(wanted)) else {
                continue;
            };
            let fits =
                |field: &str| field == "*" || !self.needs_field || names::shown(field) == name;
            let mut spans: Vec<(usize, usize)> = self
                .patterns
                .iter()
                .filter(|(field, _)| fits(field))
                .flat_map(|(_, regex)| {
                    regex.find_iter(text).map(|found| (found.start(), found.end()))
                })
                .filter(|(start, end)| start < end)
                .collect();
            spans.sort_unstable();
            if let Some(fragments) = self.marked(text, &spans) {
                found.insert(name.clone(), fragments);
            }
        }
        (!found.is_empty()).then_some(Value::Object(found))
    }

    fn marked(&self, text: &str, spans: &[(usize, usize)]) -> Option<Value> {
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (start, end) in spans {
            match merged.last_mut() {
                Some((_, last)) if *start <= *last => *last = (*last).max(*end),
                _ => merged.push((*start, *end)),
            }
        }
        if merged.is_empty() {
            return None;
        }
        let mut fragments = Vec::new();
        if self.fragments == 0 || text.len() <= self.fragment {
            fragments.push(self.mark(text, 0, text.len(), &merged));
        } else {
            let mut next = 0;
            while let Some((start, end)) = merged.get(next).copied() {
                let room = self.fragment.saturating_sub(end - start) / 2;
                let from = text.floor_char_boundary(start.saturating_sub(room));
                let to = text.ceil_char_boundary(end.saturating_add(room).min(text.len()));
                let inside = merged.iter().skip(next).take_while(|(_, end)| *end <= to).count();
                let own = merged.get(next..next + inside.max(1)).unwrap_or_default();
                fragments.push(self.mark(text, from, to, own));
                next += inside.max(1);
                if fragments.len() >= self.fragments {
                    break;
                }
            }
        }
        Some(fragments.into())
    }

    fn mark(&self, text: &str, from: usize, to: usize, spans: &[(usize, usize)]) -> String {
        let mut marked = String::new();
        let mut at = from;
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        for (start, end) in spans {
            marked.push_str(piece(at, *start));
            marked.push_str(&self.pre);
            marked.push_str(piece(*start, *end));
            marked.push_str(&self.post);
            at = *end;
        }
        marked.push_str(piece(at, to));
        marked
    }
}

/// The texts that a filter looks for, as regular expressions.
fn looked_for(filter: &Filter, found: &mut Vec<(String, Regex)>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| looked_for(part, found));
        }
        Filter::Text(text) => found.extend(expression(text).map(|regex| ("*".to_owned(), regex))),
        Filter::Field { name, test: FieldTest::Matches(text) } => {
            found.extend(expression(text).map(|regex| (name.clone(), regex)));
        }
        Filter::All | Filter::Not(_) | Filter::Field { .. } => {}
    }
}

fn expression(text: &TextMatch) -> Option<Regex> {
    let (source, any_case) = match text {
        TextMatch::Regex(source) => (source.clone(), false),
        TextMatch::Cased(inner) => return expression(inner),
        TextMatch::Phrase(phrase) => {
            let word = |c: Option<char>| c.is_some_and(model::text::is_word);
            let left = if word(phrase.chars().next()) { r"\b" } else { "" };
            let right = if word(phrase.chars().next_back()) { r"\b" } else { "" };
            (format!("{left}{}{right}", regex::escape(phrase)), true)
        }
        TextMatch::Pattern { parts, open_start, open_end } => {
            let inner: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
            let left = if *open_start { r"\S*" } else { r"\b" };
            let right = if *open_end { r"\S*" } else { r"\b" };
            (format!("{left}{}{right}", inner.join(r"\S*")), true)
        }
        TextMatch::Network { .. } => return None,
    };
    RegexBuilder::new(&source)
        .case_insensitive(any_case)
        .size_limit(model::query::REGEX_BYTES_MAX)
        .build()
        .ok()
}
