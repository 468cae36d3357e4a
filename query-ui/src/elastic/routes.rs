//! The routes and what each of them does.

use std::collections::BTreeSet;
use std::future::Future;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use cluster::documents::DocumentKind;
use platform::http::Slashed as _;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::names::{self, Absent, Known};
use super::pages::{Point, Scroll, id_of, told};
use super::refusal::{Refusal, set};
use super::request::{Asked, BYTES_MAX, product};
use super::search::{Search, shards};
use super::{aggs, aliases, cat, catalog, dated, documents, msearch};
use crate::plan::{Engine, QueryFailure, Question};

/// The routes.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new()
        .slashed("/es/_search", get(search_all).post(search_all))
        .slashed("/es/{index}/_search", get(search_in).post(search_in))
        .slashed("/es/_count", get(count_all).post(count_all))
        .slashed("/es/{index}/_count", get(count_in).post(count_in))
        .slashed("/es/_search/scroll", get(scroll).post(scroll).delete(end_scroll))
        .slashed("/es/{index}/_pit", post(open_point))
        .slashed("/es/_pit", axum::routing::delete(close_point))
        .slashed("/es/_msearch", get(msearch::all).post(msearch::all))
        .slashed("/es/{index}/_msearch", get(msearch::within).post(msearch::within))
        .slashed("/es/_mapping", get(catalog::mapping_all))
        .slashed("/es/{index}/_mapping", get(catalog::mapping))
        .slashed("/es/_field_caps", get(catalog::caps_all).post(catalog::caps_all))
        .slashed("/es/{index}/_field_caps", get(catalog::caps).post(catalog::caps))
        .slashed("/es/_cat/indices", get(catalog::cat))
        .slashed("/es/_cat/indices/{index}", get(catalog::cat))
        .slashed("/es/_resolve/index/{index}", get(catalog::resolve).post(catalog::resolve))
        .slashed("/es/_refresh", get(refreshed).post(refreshed))
        .slashed("/es/{index}/_refresh", get(refreshed_in).post(refreshed_in))
        .slashed("/es/_flush", get(refreshed).post(refreshed))
        .slashed("/es/{index}/_flush", get(refreshed_in).post(refreshed_in))
        .slashed("/es/{index}", get(catalog::index))
        .merge(aliases::router())
        .merge(cat::router())
        .merge(documents::router())
        .layer(DefaultBodyLimit::max(BYTES_MAX))
        .layer(map_response(product))
        .with_state(engine)
}

pub(super) type Answered = Result<Response, Refusal>;

/// Runs something on the queries' threads, as one query among others; it ends when the asker goes.
pub(super) async fn run<T, F>(
    engine: &Engine,
    question: Option<&Question>,
    work: impl FnOnce(Engine) -> F,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let ticket = engine.admit(question).await?;
    let work = work(engine.clone());
    let running = engine.run(async move { Ok(work.await) });
    let outcome: Result<Result<T, Refusal>, QueryFailure> =
        ticket.unless_cancelled(Box::pin(running)).await;
    outcome?
}

/// The names that there are, with everything that was acknowledged.
pub(super) async fn known(engine: &Engine) -> Result<Known, Refusal> {
    let view = engine.view().await;
    let (created, aliases) = aliases::kept(engine, |catalog| {
        let mut created = BTreeSet::new();
        for family in ["index/", "data_stream/"] {
            let found: Vec<(String, IgnoredAny)> =
                catalog.documents_below(DocumentKind::Elastic, family)?;
            let names =
                found.into_iter().filter_map(|(key, _)| Some(key.strip_prefix(family)?.to_owned()));
            created.extend(names);
        }
        Ok((created, catalog.aliases()?))
    })
    .await?;
    let stored = view.units().map(|unit| unit.index().to_owned());
    Ok(Known { indexes: created.into_iter().chain(stored).collect(), aliases })
}

/// The indexes that a request names.
pub(super) async fn named(
    engine: &Engine,
    expression: &str,
    asked: &Asked,
) -> Result<Option<Vec<String>>, Refusal> {
    let absent = Absent {
        named: asked.is_set("ignore_unavailable"),
        no_pattern: asked.param("allow_no_indices") == Some("false"),
    };
    let expression = dated::resolved(expression, engine.clock().now())?;
    names::indexes(&expression, &known(engine).await?, absent)
}

pub(super) const SEARCH: [&str; 10] = [
    "q",
    "from",
    "size",
    "sort",
    "_source",
    "_source_includes",
    "_source_excludes",
    "track_total_hits",
    "rest_total_hits_as_int",
    "track_scores",
];

async fn search_all(State(engine): State<Engine>, asked: Asked) -> Answered {
    search(engine, "_all", asked).await
}

async fn search_in(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    search(engine, &index, asked).await
}

async fn search(engine: Engine, expression: &str, asked: Asked) -> Answered {
    asked.only(&SEARCH)?;
    let body = asked.json()?;
    let indexes = named(&engine, expression, &asked).await?;
    if asked.param("scroll").is_some() {
        return begin_scroll(&engine, indexes, body, &asked).await;
    }
    let search = Search::read(&body, &asked.params, indexes, engine.clock().now())?;
    let answer = answered(&engine, search, &body, asked.is_set("typed_keys")).await?;
    Ok(asked.answer(answer))
}

/// What is acknowledged is durable and found: there is nothing to wait for.
async fn refreshed(asked: Asked) -> Answered {
    asked.only(&["force", "wait_if_ongoing"])?;
    Ok(asked.answer(json!({ "_shards": shards(&[]) })))
}

async fn refreshed_in(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    named(&engine, &index, &asked).await?;
    refreshed(asked).await
}

/// The answer to a search.
pub(super) async fn answered(
    engine: &Engine,
    search: Search,
    body: &Value,
    typed_keys: bool,
) -> Result<Value, Refusal> {
    let begun = engine.clock().elapsed();
    let aggregations = aggs::read(body, engine.clock().now())?;
    let cost = search.cost();
    let mut answer = run(engine, Some(&cost), |engine| async move {
        let search = search.settled(&engine).await?;
        let hits = search.hits(&engine).await?;
        let mut answer = json!({ "took": 0, "timed_out": false, "_shards": shards(&hits.missing), "hits": search.shown(&hits) });
        if !aggregations.is_empty() {
            let (found, missing) = aggs::run(&engine, &search, aggregations).await?;
            if hits.missing.is_empty() && !missing.is_empty() {
                set(&mut answer, "_shards", shards(&missing));
            }
            set(&mut answer, "aggregations", found);
        }
        if let Some(id) = search.pit() {
            set(&mut answer, "pit_id", id.into());
        }
        Ok(answer)
    })
    .await?;
    set(&mut answer, "took", took(engine, begun));
    let asked = body.get("aggs").or_else(|| body.get("aggregations"));
    if let (true, Some(asked), Some(found)) = (typed_keys, asked, answer.get_mut("aggregations")) {
        aggs::typed(asked, found);
    }
    Ok(answer)
}

fn took(engine: &Engine, begun: std::time::Duration) -> Value {
    let took = engine.clock().elapsed().saturating_sub(begun);
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into()
}

async fn count_all(State(engine): State<Engine>, asked: Asked) -> Answered {
    count(engine, "_all", asked).await
}

async fn count_in(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    count(engine, &index, asked).await
}

async fn count(engine: Engine, expression: &str, asked: Asked) -> Answered {
    asked.only(&["q"])?;
    let body = asked.json()?;
    if let Some(name) = body.as_object().and_then(|body| body.keys().find(|name| *name != "query"))
    {
        return Err(Refusal::parsing(format!("request does not support [{name}]")));
    }
    let indexes = named(&engine, expression, &asked).await?;
    let search = Search::read(&body, &asked.params, indexes, engine.clock().now())?;
    let cost = search.cost();
    let (count, missing) = run(&engine, Some(&cost), |engine| async move {
        search.count(&engine, search.filter.clone()).await
    })
    .await?;
    Ok(asked.answer(json!({ "count": count, "_shards": shards(&missing) })))
}

async fn begin_scroll(
    engine: &Engine,
    indexes: Option<Vec<String>>,
    body: Value,
    asked: &Asked,
) -> Answered {
    // What stands in the address belongs to every page.
    let mut body = if body.is_null() { json!({}) } else { body };
    for name in ["aggs", "aggregations", "from", "search_after", "pit"] {
        if body.get(name).is_some() {
            return Err(Refusal::argument(format!(
                "[{name}] is not supported in a scroll context"
            )));
        }
    }
    if let (Some(size), true) = (asked.param("size"), body.get("size").is_none()) {
        set(&mut body, "size", size.into());
    }
    if let (Some(sort), true) = (asked.param("sort"), body.get("sort").is_none()) {
        let parts = sort.split(',').map(|part| match part.split_once(':') {
            Some((name, order)) => json!({ name: order }),
            None => json!(part),
        });
        set(&mut body, "sort", parts.collect());
    }
    if let Some(text) = asked.param("q") {
        set(&mut body, "query", json!({ "query_string": { "query": text } }));
    }
    let point = Point::now(engine.searcher(), indexes).await;
    page(engine, Scroll { point, body, place: None, total: 0 }, asked).await
}

async fn scroll(State(engine): State<Engine>, asked: Asked) -> Answered {
    asked.only(&["scroll_id", "rest_total_hits_as_int"])?;
    let body = asked.json()?;
    let id = body.get("scroll_id").and_then(Value::as_str).or_else(|| asked.param("scroll_id"));
    let id = id.ok_or_else(|| Refusal::argument("scroll_id is missing"))?;
    let scroll: Scroll = told("scroll", id)?;
    page(&engine, scroll, &asked).await
}

/// The next page of a scroll.
async fn page(engine: &Engine, mut scroll: Scroll, asked: &Asked) -> Answered {
    let begun = engine.clock().elapsed();
    let search = Search::scrolled(&scroll, engine.clock().now())?;
    let cost = search.cost();
    let as_number = asked.is_set("rest_total_hits_as_int");
    let mut answer = run(engine, Some(&cost), |engine| async move {
        let search = search.settled(&engine).await?;
        let hits = search.hits(&engine).await?;
        scroll.total = hits.total.unwrap_or(scroll.total);
        let mut shown = search.shown(&hits);
        let total = match as_number {
            true => scroll.total.into(),
            false => json!({ "value": scroll.total, "relation": "eq" }),
        };
        set(&mut shown, "total", total);
        // An empty page stays where it is.
        let id = match hits.documents.is_empty() {
            true => id_of(&scroll),
            false => search.next(&scroll, &hits),
        };
        Ok(json!({ "_scroll_id": id, "took": 0, "timed_out": false, "_shards": shards(&hits.missing), "hits": shown }))
    })
    .await?;
    set(&mut answer, "took", took(engine, begun));
    Ok(asked.answer(answer))
}

/// A scroll holds nothing here, so that there is nothing to end.
async fn end_scroll(asked: Asked) -> Answered {
    let body = asked.json()?;
    let count = match body.get("scroll_id") {
        Some(Value::Array(ids)) => ids.len(),
        Some(Value::String(_)) => 1,
        _ => usize::from(asked.param("scroll_id").is_some()),
    };
    Ok(asked.answer(json!({ "succeeded": true, "num_freed": count })))
}

async fn open_point(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    asked.only(&[])?;
    if asked.param("keep_alive").is_none() {
        return Err(Refusal::argument("[keep_alive] is missing: write keep_alive=1m"));
    }
    let indexes = named(&engine, &index, &asked).await?;
    let id = id_of(&Point::now(engine.searcher(), indexes).await);
    Ok(asked.answer(json!({ "id": id, "_shards": shards(&[]) })))
}

async fn close_point(asked: Asked) -> Answered {
    let body = asked.json()?;
    let id = body.get("id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Refusal::parsing("[id] is missing"))?;
    told::<Point>("point in time", id)?;
    Ok(axum::Json(json!({ "succeeded": true, "num_freed": 1 })).into_response())
}
