//! `_msearch`: several searches of one request, each with an answer or a refusal of its own.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::dated;
use super::names::{self, Absent};
use super::refusal::{Refusal, set};
use super::request::{Asked, json as read};
use super::routes::{Answered, answered, known};
use super::search::{Params, Search};
use crate::plan::Engine;

/// Searches of one request.
const SEARCHES_MAX: usize = 100;

pub(super) async fn all(State(engine): State<Engine>, asked: Asked) -> Answered {
    several(engine, "_all", asked).await
}

pub(super) async fn within(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    several(engine, &index, asked).await
}

async fn several(engine: Engine, expression: &str, asked: Asked) -> Answered {
    asked.only(&["rest_total_hits_as_int"])?;
    let begun = engine.clock().elapsed();
    let mut lines: Vec<&[u8]> =
        asked.body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let (pairs, rest) = lines.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        let reason = "a multi search has two lines for each search: where, and what";
        return Err(Refusal::argument(reason));
    }
    if pairs.len() > SEARCHES_MAX {
        return Err(Refusal::argument(format!(
            "a multi search has at most {SEARCHES_MAX} searches"
        )));
    }
    let mut responses = Vec::with_capacity(pairs.len());
    for [header, body] in pairs {
        // One after the other: a request is one among others.
        let answer = one(&engine, expression, header, body, &asked).await;
        responses.push(match answer {
            Ok(mut answer) => {
                set(&mut answer, "status", json!(200));
                answer
            }
            Err(refusal) => refusal.body(),
        });
    }
    let took = engine.clock().elapsed().saturating_sub(begun).as_millis();
    let took = u64::try_from(took).unwrap_or(u64::MAX);
    Ok(asked.answer(json!({ "took": took, "responses": responses })))
}

const HEADER: [&str; 13] = [
    "index",
    "indices",
    "search_type",
    "ignore_unavailable",
    "allow_no_indices",
    "expand_wildcards",
    "preference",
    "routing",
    "ignore_throttled",
    "request_cache",
    "allow_partial_search_results",
    "ccs_minimize_roundtrips",
    "max_concurrent_shard_requests",
];

async fn one(
    engine: &Engine,
    expression: &str,
    header: &[u8],
    body: &[u8],
    asked: &Asked,
) -> Result<Value, Refusal> {
    let (header, body) = (read(header)?, read(body)?);
    if !(header.is_object() || header.is_null()) {
        return Err(Refusal::argument("the line before a search is an object: {\"index\":\"…\"}"));
    }
    if let Some(name) = header
        .as_object()
        .and_then(|header| header.keys().find(|name| !HEADER.contains(&name.as_str())))
    {
        return Err(Refusal::argument(format!(
            "key [{name}] is not supported in the metadata section"
        )));
    }
    let expression = match header.get("index").or_else(|| header.get("indices")) {
        None | Some(Value::Null) => expression.to_owned(),
        Some(Value::String(names)) => names.clone(),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(",")
        }
        Some(_) => return Err(Refusal::argument("[index] wants names")),
    };
    let says = |name: &str, truth: bool| {
        let words = [json!(truth), json!(truth.to_string())];
        header.get(name).is_some_and(|value| words.contains(value))
    };
    let absent = Absent {
        named: says("ignore_unavailable", true),
        no_pattern: says("allow_no_indices", false),
    };
    let expression = dated::resolved(&expression, engine.clock().now())?;
    let indexes = names::indexes(&expression, &known(engine).await?, absent)?;
    let mut params = Params::new();
    if asked.is_set("rest_total_hits_as_int") {
        params.insert("rest_total_hits_as_int".to_owned(), "true".to_owned());
    }
    let search = Search::read(&body, &params, indexes, engine.clock().now())?;
    answered(engine, search, &body, asked.is_set("typed_keys")).await
}
