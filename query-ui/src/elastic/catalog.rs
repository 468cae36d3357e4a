//! What there is: `_mapping`, `_field_caps`, `_cat/indices`, `_resolve/index`, indexes by name.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::IntoResponse as _;
use index::retain::IndexDocuments;
use model::query::Filter;
use model::record::FieldType;
use model::time::TimeRange;
use serde_json::{Map, Value, json};

use super::aliases::shown as shown_aliases;
use super::cat::named_or_all;
use super::names;
use super::refusal::Refusal;
use super::request::Asked;
use super::routes::{Answered, known, named, run};
use super::search::{Params, Search};
use crate::api::index_status;
use crate::language::Query;
use crate::plan::{Engine, FieldCount, Question};

/// The names that every record has, with their types.
const FIXED: [(&str, &str); 4] =
    [("@timestamp", "date"), ("message", "text"), ("level", "keyword"), ("event.ingested", "date")];

/// The fields of some indexes.
async fn fields(
    engine: &Engine,
    indexes: Option<Vec<String>>,
) -> Result<Vec<(String, &'static str)>, Refusal> {
    let question = Question {
        query: Query { time: None, filter: Filter::All, pipes: Vec::new() },
        range: TimeRange::ALL,
        indexes,
        limit: 0,
    };
    let found =
        run(engine, None, |engine| async move { Ok(engine.fields(&question).await?) }).await?;
    let fixed = FIXED.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
    let field = |field: FieldCount| {
        let taken = FIXED.iter().any(|(name, _)| *name == field.name);
        (!taken).then(|| (names::of_document(&field.name).to_owned(), type_name(&field)))
    };
    let mut all: BTreeMap<String, &'static str> = BTreeMap::new();
    for (name, kind) in found.fields.into_iter().filter_map(field) {
        let known = all.entry(name).or_insert(kind);
        if *known != kind {
            *known = "keyword";
        }
    }
    Ok(fixed.chain(all).collect())
}

fn type_name(field: &FieldCount) -> &'static str {
    match field.types.as_slice() {
        _ if field.label => "keyword",
        [FieldType::Int] => "long",
        [FieldType::Bool] => "boolean",
        types if types.iter().all(|kind| matches!(kind, FieldType::Int | FieldType::Float)) => {
            "double"
        }
        _ => "keyword",
    }
}

/// The indexes that an expression names, those that there are.
pub(super) async fn listed(
    engine: &Engine,
    expression: &str,
    asked: &Asked,
) -> Result<Vec<String>, Refusal> {
    match named(engine, expression, asked).await? {
        Some(indexes) => Ok(indexes),
        None => Ok(known(engine).await?.indexes.into_iter().collect()),
    }
}

pub(super) async fn mapping_all(State(engine): State<Engine>, asked: Asked) -> Answered {
    mapped(&engine, "_all", &asked).await
}

pub(super) async fn mapping(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    mapped(&engine, &index, &asked).await
}

async fn mapped(engine: &Engine, expression: &str, asked: &Asked) -> Answered {
    asked.only(&[])?;
    let mut mappings = Map::new();
    for index in listed(engine, expression, asked).await? {
        let mapping = properties(engine, &index).await?;
        mappings.insert(index, json!({ "mappings": mapping }));
    }
    Ok(asked.answer(Value::Object(mappings)))
}

/// The mapping of one index.
async fn properties(engine: &Engine, index: &str) -> Result<Value, Refusal> {
    let mut properties = Map::new();
    for (name, kind) in fields(engine, Some(vec![index.to_owned()])).await? {
        place(&mut properties, &name, json!({ "type": kind }));
    }
    place(&mut properties, "log.level", json!({ "type": "alias", "path": "level" }));
    Ok(json!({ "properties": properties }))
}

/// Puts a property under its dotted name; where a part of that is a value itself, the name stays dotted.
fn place(properties: &mut Map<String, Value>, name: &str, property: Value) {
    let fits = name.split('.').all(|part| !part.is_empty());
    let Some((first, rest)) = name.split_once('.').filter(|_| fits) else {
        match properties.get_mut(name) {
            Some(known) if known.get("properties").is_some() => {}
            _ => drop(properties.insert(name.to_owned(), property)),
        }
        return;
    };
    let inner = properties.entry(first).or_insert_with(|| json!({ "properties": {} }));
    match inner.get_mut("properties").and_then(Value::as_object_mut) {
        Some(inner) => place(inner, rest, property),
        None => drop(properties.insert(name.to_owned(), property)),
    }
}

pub(super) async fn caps_all(State(engine): State<Engine>, asked: Asked) -> Answered {
    capable(&engine, "_all", &asked).await
}

pub(super) async fn caps(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    capable(&engine, &index, &asked).await
}

async fn capable(engine: &Engine, expression: &str, asked: &Asked) -> Answered {
    asked.only(&["fields", "include_unmapped", "filters", "types", "include_empty_fields"])?;
    let body = asked.json()?;
    if let Some(name) = body.as_object().and_then(|body| {
        body.keys().find(|name| !["fields", "index_filter"].contains(&name.as_str()))
    }) {
        return Err(Refusal::parsing(format!("[field_caps] does not support [{name}]")));
    }
    let patterns: Vec<String> = match (body.get("fields"), asked.param("fields")) {
        (Some(Value::Array(list)), _) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        (Some(Value::String(text)), _) => vec![text.clone()],
        (_, Some(text)) => text.split(',').map(str::to_owned).collect(),
        _ => return Err(Refusal::argument("no fields specified: write fields=*")),
    };
    // There are no fields of the kinds that these leave out.
    let filters = asked.param("filters").unwrap_or_default();
    if let Some(filter) = filters.split(',').find(|one| !one.is_empty() && !one.starts_with('-')) {
        return Err(Refusal::argument(format!("[field_caps] does not support [filters] {filter}")));
    }
    let types: Vec<&str> = asked
        .param("types")
        .unwrap_or_default()
        .split(',')
        .filter(|kind| !kind.is_empty())
        .collect();
    let mut indices = listed(engine, expression, asked).await?;
    if let Some(query) = body.get("index_filter").filter(|query| !query.is_null()) {
        indices = holding(engine, query, indices).await?;
    }
    let mut found = Map::new();
    for (name, kind) in fields(engine, Some(indices.clone())).await? {
        let is_wanted = types.is_empty() || types.contains(&kind);
        if is_wanted && patterns.iter().any(|pattern| names::matches(pattern, &name)) {
            let caps = json!({ "type": kind, "metadata_field": false, "searchable": true, "aggregatable": kind != "text" });
            found.insert(name, json!({ kind: caps }));
        }
    }
    Ok(asked.answer(json!({ "indices": indices, "fields": found })))
}

/// Those of some indexes that have a record which passes a query.
async fn holding(
    engine: &Engine,
    query: &Value,
    indexes: Vec<String>,
) -> Result<Vec<String>, Refusal> {
    let body = json!({ "query": query });
    let now = engine.clock().now();
    let searches: Vec<(String, Search)> = indexes
        .into_iter()
        .map(|index| {
            let search = Search::read(&body, &Params::new(), Some(vec![index.clone()]), now)?;
            Ok((index, search))
        })
        .collect::<Result<_, Refusal>>()?;
    let Some(cost) = searches.first().map(|(_, search)| search.cost()) else {
        return Ok(Vec::new());
    };
    run(engine, Some(&cost), |engine| async move {
        let mut holding = Vec::new();
        for (index, search) in searches {
            let (count, _) = search.count(&engine, search.filter.clone()).await?;
            if count > 0 {
                holding.push(index);
            }
        }
        Ok(holding)
    })
    .await
}

pub(super) async fn cat(
    State(engine): State<Engine>,
    index: Option<Path<String>>,
    headers: HeaderMap,
    asked: Asked,
) -> Answered {
    let wanted = listed(&engine, &named_or_all(index), &asked).await?;
    let view = engine.view().await;
    let stored = index_status(&view, &IndexDocuments::new(), 0);
    let mut rows = Vec::new();
    for name in wanted {
        let index = stored.iter().find(|index| index.name == name);
        let count = index.map_or(0, |index| index.records).to_string();
        let bytes = index.map_or(0, |index| index.bytes).to_string();
        let cells = ["green", "open", &name, &name, "1", "0", &count, "0", &bytes, &bytes, &bytes];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    let columns = [
        ("health", "h"),
        ("status", "s"),
        ("index", "i"),
        ("uuid", "id"),
        ("pri", "p"),
        ("rep", "r"),
        ("docs.count", "dc"),
        ("docs.deleted", "dd"),
        ("store.size", "ss"),
        ("pri.store.size", "pss"),
        ("dataset.size", "ds"),
    ];
    tabled(&columns, rows, &headers, &asked)
}

/// What a table of `_cat` takes beside what all take.
const TABLED: [&str; 8] =
    ["h", "s", "bytes", "health", "pri", "time", "help", "include_unloaded_segments"];

/// A table of `_cat`: columns by name and short name, those that `h` names; as text or JSON.
pub(super) fn tabled(
    columns: &[(&str, &str)],
    rows: Vec<Vec<String>>,
    headers: &HeaderMap,
    asked: &Asked,
) -> Answered {
    asked.only(&TABLED)?;
    if asked.is_set("help") {
        let line = |(name, short): &(&str, &str)| format!("{name} | {short} |\n");
        return Ok(columns.iter().map(line).collect::<String>().into_response());
    }
    let place = |name: &str| columns.iter().position(|column| column.0 == name || column.1 == name);
    let chosen: Vec<(String, usize)> = match asked.param("h") {
        None => {
            columns.iter().enumerate().map(|(at, (name, _))| ((*name).to_owned(), at)).collect()
        }
        Some(names) => {
            let mut chosen = Vec::new();
            for name in names.split(',').map(str::trim) {
                let at = place(name).ok_or_else(|| {
                    Refusal::argument(format!(
                        "column [{name}] is not supported: help=true lists them"
                    ))
                })?;
                chosen.push((name.to_owned(), at));
            }
            chosen
        }
    };
    let mut rows = rows;
    for key in asked.param("s").unwrap_or_default().split(',').rev().filter(|key| !key.is_empty()) {
        let (name, order) = key.split_once(':').unwrap_or((key, "asc"));
        let at = place(name.trim()).ok_or_else(|| {
            Refusal::argument(format!("column [{name}] is not supported: help=true lists them"))
        })?;
        // Figures are told from texts by what they are.
        let rank = |row: &Vec<String>| {
            let cell = row.get(at).cloned().unwrap_or_default();
            (cell.parse::<u64>().unwrap_or_default(), cell)
        };
        rows.sort_by_key(rank);
        if order == "desc" {
            rows.reverse();
        }
    }
    let accept =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cell = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
    // Clients that take both put what they want first.
    let wanted = accept.split(',').next().unwrap_or_default();
    let is_json = asked.param("format").map_or(wanted.contains("json"), |format| format == "json");
    if is_json {
        let object = |row: &Vec<String>| {
            let members = chosen.iter().map(|(name, at)| (name.clone(), cell(row, *at).into()));
            Value::Object(members.collect())
        };
        return Ok(asked.answer(rows.iter().map(object).collect()));
    }
    let mut text = String::new();
    if asked.is_set("v") {
        let names: Vec<&str> = chosen.iter().map(|(name, _)| name.as_str()).collect();
        text.push_str(&(names.join(" ") + "\n"));
    }
    for row in &rows {
        let cells: Vec<String> = chosen.iter().map(|(_, at)| cell(row, *at)).collect();
        text.push_str(&(cells.join(" ") + "\n"));
    }
    Ok(text.into_response())
}

pub(super) async fn resolve(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    asked.only(&[])?;
    let indexes = listed(&engine, &index, &asked).await?;
    let aliases = known(&engine).await?.aliases;
    let one = |name: &String| {
        let of: Vec<&str> = aliases.of(name).map(|(alias, _)| alias).collect();
        match of.is_empty() {
            true => json!({ "name": name, "attributes": ["open"] }),
            false => json!({ "name": name, "aliases": of, "attributes": ["open"] }),
        }
    };
    let indices: Vec<Value> = indexes.iter().map(one).collect();
    let wanted = |name: &&str| index.split(',').any(|pattern| names::matches(pattern.trim(), name));
    let one = |name: &str| json!({ "name": name, "indices": aliases.indexes(name) });
    let aliases: Vec<Value> = aliases.names().filter(wanted).map(one).collect();
    Ok(asked.answer(json!({ "indices": indices, "aliases": aliases, "data_streams": [] })))
}

/// `GET` and `HEAD` of indexes themselves.
pub(super) async fn index(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    method: Method,
    asked: Asked,
) -> Answered {
    asked.only(&["include_defaults", "flat_settings", "features"])?;
    let indexes = listed(&engine, &index, &asked).await?;
    let aliases = known(&engine).await?.aliases;
    let mut found = Map::new();
    for name in indexes {
        // Who asks whether there is one is told no more.
        let mappings = match method == Method::HEAD {
            true => json!({}),
            false => properties(&engine, &name).await?,
        };
        let about = json!({
            "aliases": shown_aliases(&aliases, &name, |_| true),
            "mappings": mappings,
            "settings": { "index": { "provided_name": name, "number_of_shards": "1", "number_of_replicas": "0" } },
        });
        found.insert(name, about);
    }
    Ok(asked.answer(Value::Object(found)))
}
