//! Records as hits: `_source` built and filtered, `fields`.

use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::dates::{in_format, shown};
use super::names;
use super::refusal::Refusal;
use super::values::GIVEN_ID;
use crate::plan::Cursor;
use crate::plan::json::Records;

/// A record as clients see it.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) index: String,
    pub(super) cursor: Cursor,
    /// The `_id` that its sender gave.
    given: Option<String>,
    /// Values by dotted names.
    pub(super) flat: Map<String, Value>,
    /// What was computed beside it.
    pub(super) computed: Map<String, Value>,
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
                flat.entry(names::of_document(&name)).or_insert(value);
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
        Self {
            index: index.into_owned(),
            cursor: Cursor { time, id },
            given,
            flat,
            computed: Map::new(),
        }
    }

    /// Its `_id`: the sender's, else the record's own.
    pub(super) fn id(&self) -> String {
        self.given.clone().unwrap_or_else(|| self.cursor.id.to_string())
    }

    /// The name of the value that a client's name stands for here: its own, or what was taken from it.
    pub(super) fn name<'a>(&self, name: &'a str) -> &'a str {
        let bare = name.strip_suffix(".keyword").unwrap_or(name);
        match names::taken(name) {
            Some(own) if !self.flat.contains_key(bare) => names::shown(own),
            _ => names::of_document(bare),
        }
    }

    fn values(&self, name: &str) -> Vec<Value> {
        match self.flat.get(name) {
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
            let wanted = document.name(pattern);
            for name in document.flat.keys().filter(|name| names::matches(wanted, name)) {
                let values = match name.as_str() {
                    "@timestamp" => vec![formatted(document.cursor.time, format)],
                    name => document.values(name),
                };
                let name = if wanted == name { pattern } else { name };
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
fn formatted(time: Timestamp, format: &str) -> Value {
    match format {
        "strict_date_optional_time_nanos" | "date_optional_time_nanos" => time.to_string().into(),
        format => in_format(time, format, "").into(),
    }
}
