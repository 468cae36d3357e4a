//! `_search`: what is asked, and its answer.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use model::query::Filter;
use model::time::{TimeRange, Timestamp};
use model::wire::Missing;
use serde_json::{Map, Value, json};

use super::dates::short_formats;
use super::dsl::Reader;
use super::highlight::Highlight;
use super::hits::{Document, FieldList, SourceFilter};
use super::pages::{Point, Scroll, id_of, told};
use super::refusal::{Refusal, set};
use super::sort::Sorting;
use super::taken::{self, Fields};
use super::values;
use crate::language::{Aggregate, Function, Pipe, Query};
use crate::plan::json::Records;
use crate::plan::{Answer, Engine, Extras, OutputColumn, Question, RECORD, Shape};

/// Hits of one answer, and before it: as `index.max_result_window` is everywhere.
const WINDOW_MAX: u64 = 10_000;
/// Hits where the request does not say.
const SIZE: u64 = 10;

/// Parameters of an address.
pub(super) type Params = BTreeMap<String, String>;

/// A search that was understood.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) indexes: Option<Vec<String>>,
    pub(super) filter: Filter,
    /// Only hits pass it, aggregations do not.
    post_filter: Filter,
    from: u64,
    size: u64,
    sorting: Sorting,
    after: Option<Vec<Value>>,
    source: SourceFilter,
    fields: FieldList,
    highlight: Option<Highlight>,
    total: TotalHits,
    pit: Option<String>,
    /// Hits say their version, and their place in its history: each is the first and only one.
    shows_version: bool,
    shows_sequence: bool,
}

/// How the number of hits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TotalHits {
    Object,
    Number,
    No,
}

const REFUSED: [&str; 9] = [
    "collapse",
    "rescore",
    "suggest",
    "knn",
    "slice",
    "retriever",
    "indices_boost",
    "min_score",
    "rank",
];

impl Search {
    /// Understands a body and the parameters beside it.
    pub(super) fn read(
        body: &Value,
        params: &Params,
        indexes: Option<Vec<String>>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let nothing = Map::new();
        let object = match body {
            Value::Null => &nothing,
            Value::Object(object) => object,
            _ => return Err(Refusal::content("[1:1] the body of a search is a JSON object")),
        };
        let param = |name: &str| params.get(name).map(String::as_str);
        let mut reader = Reader::new(now);
        let mut search = Self {
            indexes,
            filter: Filter::All,
            post_filter: Filter::All,
            from: number("from", param("from"), 0)?,
            size: number("size", param("size"), SIZE)?,
            sorting: param("sort").map_or(Ok(Sorting::default()), Sorting::of_parameter)?,
            after: None,
            source: SourceFilter::default(),
            fields: FieldList::default(),
            highlight: None,
            total: match (param("rest_total_hits_as_int"), param("track_total_hits")) {
                (Some("true" | ""), _) => TotalHits::Number,
                (_, Some("false")) => TotalHits::No,
                _ => TotalHits::Object,
            },
            pit: None,
            shows_version: false,
            shows_sequence: false,
        };
        if let Some(text) = param("q") {
            let operator = param("default_operator").unwrap_or("OR");
            let mut query = json!({ "query": text, "default_operator": operator });
            if let Some(field) = param("df") {
                set(&mut query, "default_field", field.into());
            }
            search.filter = reader.query(&json!({ "query_string": query }))?;
        }
        for (name, value) in object {
            search.member(name, value, &mut reader)?;
        }
        if let Some(source) = param("_source") {
            let value = match source {
                "true" | "" => json!(true),
                "false" => json!(false),
                names => json!(names.split(',').collect::<Vec<_>>()),
            };
            search.source = SourceFilter::read(Some(&value))?;
        }
        let (includes, excludes) = (param("_source_includes"), param("_source_excludes"));
        search.source = search.source.with(includes, excludes);
        search.bounded(object)
    }

    fn bounded(mut self, object: &Map<String, Value>) -> Result<Self, Refusal> {
        if self.from.saturating_add(self.size) > WINDOW_MAX {
            let reason = format!(
                "Result window is too large, from + size must be less than or equal to: \
                 [{WINDOW_MAX}] but was [{}]: use search_after, a scroll or a point in time",
                self.from.saturating_add(self.size)
            );
            return Err(Refusal::argument(reason));
        }
        if self.after.is_some() && self.from > 0 {
            return Err(Refusal::argument(
                "`from` parameter must be set to 0 when `search_after` is used",
            ));
        }
        if let Some(id) = &self.pit {
            let point: Point = told("point in time", id)?;
            self.indexes.clone_from(&point.indexes);
            self.filter = values::all(vec![self.filter, point.filter()]);
            self.sorting = self.sorting.with_tie();
        }
        self.highlight = match object.get("highlight") {
            None | Some(Value::Null) => None,
            Some(given) => Some(Highlight::read(given, &self.filter)?),
        };
        Ok(self)
    }

    fn member(&mut self, name: &str, value: &Value, reader: &mut Reader) -> Result<(), Refusal> {
        if matches!(name, "sort" | "fields" | "docvalue_fields" | "aggs" | "aggregations") {
            short_formats(value).map_err(Refusal::argument)?;
        }
        match name {
            "query" if value.is_null() => {}
            "query" => self.filter = reader.query(value)?,
            "post_filter" => self.post_filter = reader.query(value)?,
            "from" => self.from = whole(name, value)?,
            "size" => self.size = whole(name, value)?,
            "sort" => self.sorting = Sorting::read(Some(value))?,
            "search_after" => {
                let list = value.as_array();
                let list = list.ok_or_else(|| Refusal::parsing("[search_after] wants a list"))?;
                self.after = Some(list.clone());
            }
            "_source" => self.source = SourceFilter::read(Some(value))?,
            "fields" | "docvalue_fields" => FieldList::read(name, value, &mut self.fields)?,
            "track_total_hits" => match value {
                Value::Bool(false) => self.total = TotalHits::No,
                // Hits are counted exactly, however many there are.
                Value::Bool(true) | Value::Number(_) => {}
                _ => return Err(Refusal::parsing("[track_total_hits] wants a truth or a number")),
            },
            "pit" => {
                let id = value.get("id").and_then(Value::as_str);
                let id = id.ok_or_else(|| Refusal::parsing("[pit] wants an [id]"))?;
                self.pit = Some(id.to_owned());
            }
            "highlight" | "aggs" | "aggregations" => {}
            "version" => self.shows_version = truth(name, value)?,
            "seq_no_primary_term" => self.shows_sequence = truth(name, value)?,
            // What changes nothing in an answer of ours.
            "timeout" | "track_scores" | "stats" | "terminate_after" => {}
            "stored_fields" if *value == json!("_none_") || *value == json!(["_none_"]) => {
                self.source = SourceFilter::read(Some(&json!(false)))?;
            }
            "explain" | "profile" if *value == json!(false) => {}
            "script_fields" | "runtime_mappings" | "ext" | "rescore" | "suggest"
            | "indices_boost"
                if is_empty(value) => {}
            name if REFUSED.contains(&name) => {
                return Err(Refusal::parsing(format!("[{name}] is not supported in a search")));
            }
            name => {
                let reason = format!("unknown key [{name}] for a search: it is not supported");
                return Err(Refusal::parsing(reason));
            }
        }
        Ok(())
    }

    /// The question for records that pass a filter.
    pub(super) fn question(&self, filter: Filter, pipes: Vec<Pipe>, limit: u64) -> Question {
        Question {
            query: Query { time: None, filter, pipes },
            range: TimeRange::ALL,
            indexes: self.indexes.clone(),
            limit,
        }
    }

    /// What this reads most: by it the search gets its place among others.
    pub(super) fn cost(&self) -> Question {
        self.question(self.filter.clone(), Vec::new(), self.size)
    }

    /// Refuses to give more hits than so many.
    pub(super) fn within(&self, most: u64) -> Result<(), Refusal> {
        match self.from.saturating_add(self.size) {
            wanted if wanted > most => {
                let reason = format!(
                    "Top hits result window is too large: [from] + [size] is at most {most}, but was {wanted}"
                );
                Err(Refusal::argument(reason))
            }
            _ => Ok(()),
        }
    }

    /// Hits that are passed over, and hits that are shown.
    pub(super) fn window(&self) -> (u64, u64) {
        (self.from, self.size)
    }

    /// The pipes that sort; none where records come so.
    pub(super) fn sorting(&self) -> impl Iterator<Item = Pipe> {
        self.sorting.computed().into_iter().chain(self.sorting.pipe())
    }

    /// The fields by which it sorts of which it matters whether there are such.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        self.sorting.open()
    }

    /// With the fields that there are among those.
    pub(super) fn settle(&mut self, fields: &Fields) -> Result<(), Refusal> {
        self.sorting.settle(fields)
    }

    /// The same search, its order settled. Runs on the queries' threads.
    pub(super) async fn settled(mut self, engine: &Engine) -> Result<Self, Refusal> {
        let names = self.open().map(str::to_owned).collect();
        let fields = taken::fields(engine, &self, names).await?;
        self.settle(&fields)?;
        Ok(self)
    }

    fn places_shown(&self) -> bool {
        self.sorting.is_asked()
    }
}

fn truth(name: &str, value: &Value) -> Result<bool, Refusal> {
    value.as_bool().ok_or_else(|| Refusal::parsing(format!("[{name}] wants a truth")))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        other => other.is_null(),
    }
}

fn number(name: &str, given: Option<&str>, usual: u64) -> Result<u64, Refusal> {
    given.map_or(Ok(usual), |text| {
        let refused = |_| {
            Refusal::argument(format!("Failed to parse int parameter [{name}] with value [{text}]"))
        };
        text.parse().map_err(refused)
    })
}

fn whole(name: &str, value: &Value) -> Result<u64, Refusal> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value.as_u64().or(text).ok_or_else(|| {
        Refusal::argument(format!("[{name}] parameter cannot be {value}: a whole number from 0"))
    })
}

/// Hits, how many there are in all, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) documents: Vec<Document>,
    pub(super) total: Option<u64>,
    pub(super) missing: Vec<Missing>,
}

impl Search {
    /// Finds the hits. Runs on the queries' threads.
    pub(super) async fn hits(&self, engine: &Engine) -> Result<Hits, Refusal> {
        let mut parts = vec![self.filter.clone(), self.post_filter.clone()];
        let matching = values::all(parts.clone());
        let mut hits = Hits::default();
        let wanted = self.from + self.size;
        if wanted > 0 {
            let mut pipes: Vec<Pipe> = self.sorting.computed().into_iter().collect();
            if let Some(place) = &self.after {
                let (narrowed, condition) = self.sorting.behind(place)?;
                parts.push(narrowed);
                pipes.extend(condition.map(Pipe::Where));
            }
            pipes.extend(self.sorting.pipe());
            pipes.push(Pipe::Limit(wanted));
            let question = self.question(values::all(parts), pipes, 0);
            let mut answer = engine.ask(&question).await?;
            hits.documents = documents(&mut answer, usize::MAX).await?;
            hits.missing = answer.missing();
            let skipped = usize::try_from(self.from).unwrap_or(usize::MAX);
            if self.after.is_none() {
                hits.total = answer.matched();
            }
            hits.documents.drain(..skipped.min(hits.documents.len()));
        }
        if hits.total.is_none() && self.total != TotalHits::No {
            let (total, missing) = self.count(engine, matching).await?;
            hits.total = Some(total);
            hits.missing.extend(missing);
        }
        hits.missing.dedup();
        Ok(hits)
    }

    /// The number of records that pass a filter, and what could not be read.
    pub(super) async fn count(
        &self,
        engine: &Engine,
        filter: Filter,
    ) -> Result<(u64, Vec<Missing>), Refusal> {
        let count = Aggregate {
            function: Function::Count,
            argument: None,
            condition: None,
            name: "count".to_owned(),
        };
        let pipes = vec![Pipe::Stats { aggregates: vec![count], by: Vec::new() }];
        let mut answer = engine.ask(&self.question(filter, pipes, 0)).await?;
        let rows = table(&mut answer, 1).await?;
        let count = rows.first().and_then(|row| row.first()).and_then(Value::as_u64);
        Ok((count.unwrap_or_default(), answer.missing()))
    }

    /// The member `hits` of an answer.
    pub(super) fn shown(&self, hits: &Hits) -> Value {
        let hit = |document: &Document| {
            let mut hit = Map::new();
            hit.insert("_index".to_owned(), document.index.clone().into());
            hit.insert("_id".to_owned(), document.id().into());
            let score = if self.places_shown() { Value::Null } else { json!(1.0) };
            hit.insert("_score".to_owned(), score);
            let mut put = |name: &str, value: Option<Value>| {
                value.map(|value| hit.insert(name.to_owned(), value));
            };
            put("_version", self.shows_version.then(|| json!(1)));
            put("_seq_no", self.shows_sequence.then(|| json!(0)));
            put("_primary_term", self.shows_sequence.then(|| json!(1)));
            put("_source", self.source.source(&document.flat));
            put("fields", self.fields.shown(document));
            put("highlight", self.highlight.as_ref().and_then(|light| light.shown(document)));
            if self.places_shown() {
                put("sort", Some(self.sorting.place(document).into()));
            }
            Value::Object(hit)
        };
        let mut shown = Map::new();
        match (self.total, hits.total) {
            (TotalHits::Object, Some(total)) => {
                shown.insert("total".to_owned(), json!({ "value": total, "relation": "eq" }));
            }
            (TotalHits::Number, Some(total)) => {
                drop(shown.insert("total".to_owned(), total.into()))
            }
            _ => {}
        }
        let ranked = !self.places_shown() && !hits.documents.is_empty();
        shown.insert("max_score".to_owned(), if ranked { json!(1.0) } else { Value::Null });
        shown.insert("hits".to_owned(), hits.documents.iter().map(hit).collect());
        Value::Object(shown)
    }

    /// The id of the point in time that the search names.
    pub(super) fn pit(&self) -> Option<&str> {
        self.pit.as_deref()
    }

    /// The page of a scroll behind its place; the place is moved.
    pub(super) fn scrolled(scroll: &Scroll, now: Timestamp) -> Result<Self, Refusal> {
        let mut search =
            Self::read(&scroll.body, &Params::new(), scroll.point.indexes.clone(), now)?;
        search.filter = values::all(vec![search.filter, scroll.point.filter()]);
        search.sorting = search.sorting.with_tie();
        search.after.clone_from(&scroll.place);
        if scroll.place.is_some() {
            (search.from, search.total) = (0, TotalHits::No);
        }
        Ok(search)
    }

    /// The id of a scroll behind these hits.
    pub(super) fn next(&self, scroll: &Scroll, hits: &Hits) -> String {
        let last = hits.documents.last();
        let place = last.map(|last| self.sorting.place(last));
        id_of(&Scroll { place, ..scroll.clone() })
    }
}

/// Whole records of an answer, so many at most.
pub(super) async fn documents(answer: &mut Answer, most: usize) -> Result<Vec<Document>, Refusal> {
    let Shape::Records(extras) = answer.shape().clone() else { return Ok(Vec::new()) };
    // What was computed beside a record is no part of it.
    let (mut documents, plain) = (Vec::new(), Extras::default());
    while let Some(rows) = answer.next().await? {
        let Some(records) = Records::of(&rows, &plain) else { continue };
        if documents.len() + rows.num_rows() > most {
            return Err(Refusal::buckets(most));
        }
        let computed = rows.columns().iter().skip(RECORD.len()).zip(&extras.computed);
        for row in 0..rows.num_rows() {
            let cell = |(column, output): (&ArrayRef, &OutputColumn)| {
                (output.name.clone(), crate::plan::json::value(column, row, output.kind))
            };
            let mut document = Document::of(&records, row);
            document.computed = computed.clone().map(cell).collect();
            documents.push(document);
        }
    }
    Ok(documents)
}

/// The rows of a table, so many at most.
pub(super) async fn table(answer: &mut Answer, most: usize) -> Result<Vec<Vec<Value>>, Refusal> {
    let kinds: Vec<_> = match answer.shape() {
        Shape::Table(columns) => columns.iter().map(|column| column.kind).collect(),
        Shape::Records(_) => Vec::new(),
    };
    let mut table = Vec::new();
    while let Some(rows) = answer.next().await? {
        if table.len() + rows.num_rows() > most {
            return Err(Refusal::buckets(most));
        }
        for row in 0..rows.num_rows() {
            let cells = rows.columns().iter().zip(&kinds);
            table.push(
                cells.map(|(column, kind)| crate::plan::json::value(column, row, *kind)).collect(),
            );
        }
    }
    Ok(table)
}

/// The member `_shards`: what cannot be read is a shard that failed.
pub(super) fn shards(missing: &[Missing]) -> Value {
    let failure = |missing: &Missing| json!({ "shard": 0, "index": missing.what, "reason": { "type": "corrupt", "reason": missing.why } });
    let mut shards = json!({ "total": missing.len() + 1, "successful": 1, "skipped": 0, "failed": missing.len() });
    if !missing.is_empty() {
        set(&mut shards, "failures", missing.iter().map(failure).collect());
    }
    shards
}
