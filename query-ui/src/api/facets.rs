//! Histogram, fields, and the values of one field or several: small answers in one piece.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use model::level::Level;
use model::record::FieldType;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{Json, Said, invalid_value};
use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::{
    BUCKETS_MAX, Bucket, Engine, FieldCount, FieldValues, QueryFailure, Question, VALUES_MAX,
};

/// Buckets where the request does not say.
const BUCKETS: u32 = 60;
/// Values where the request does not say.
const VALUES: u64 = 10;
/// Fields whose values one request asks for.
const FACETS_MAX: usize = 32;

/// Runs a small answer on the queries' threads, to a question or to something quick; it ends when
/// the asker goes, or by its name.
pub(super) async fn run<T, F>(
    engine: &Engine,
    question: Option<&Question>,
    answer: impl FnOnce(Engine) -> F,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, QueryFailure>> + Send + 'static,
{
    let ticket = engine.admit(question).await.map_err(|failure| refusal(&failure))?;
    // Its place is free when its threads let go of it, not when its end is wished for.
    let ticket = Arc::new(ticket);
    let (place, work) = (ticket.clone(), answer(engine.clone()));
    let work = engine.run(async move {
        let outcome = work.await;
        drop(place);
        outcome
    });
    let outcome = ticket.unless_cancelled(Box::pin(work)).await;
    outcome.map_err(|failure| refusal(&failure))
}

pub(super) async fn histogram(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<Answer<Value>, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    let buckets = ask.request.buckets.unwrap_or(BUCKETS);
    if buckets == 0 || buckets > BUCKETS_MAX {
        let message = format!("\"buckets\" is from 1 to {BUCKETS_MAX}");
        return Err(invalid_value(message));
    }
    let question = ask.question.clone();
    let histogram = run(&state.engine, Some(&question), |engine| async move {
        engine.histogram(&ask.question, ask.from, ask.to, buckets).await
    })
    .await?;
    let bucket = |bucket: &Bucket| {
        let levels = Level::ALL.iter().zip(bucket.counts).filter(|(_, count)| *count > 0);
        let levels: Map<String, Value> =
            levels.map(|(level, count)| (level.name().to_owned(), count.into())).collect();
        let (start, total) = (bucket.start.to_string(), bucket.total());
        json!({ "start": start, "total": total, "levels": levels })
    };
    Ok(Answer(json!({
        "from": histogram.range.from.to_string(),
        "to": histogram.range.to.to_string(),
        "interval_ms": histogram.interval / 1_000_000,
        "total": histogram.buckets.iter().map(Bucket::total).sum::<u64>(),
        "buckets": histogram.buckets.iter().map(bucket).collect::<Vec<_>>(),
        "partial": histogram.missing,
    })))
}

pub(super) async fn fields(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<Answer<Value>, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    let question = ask.question.clone();
    let answer = |engine: Engine| async move { engine.fields(&ask.question).await };
    let fields = run(&state.engine, Some(&question), answer).await?;
    let field = |field: &FieldCount| {
        let types: Vec<&str> = field.types.iter().copied().map(FieldType::name).collect();
        json!({ "name": field.name, "label": field.label, "types": types, "count": field.count })
    };
    Ok(Answer(json!({
        "records": fields.records,
        "fields": fields.fields.iter().map(field).collect::<Vec<_>>(),
        "partial": fields.missing,
    })))
}

pub(super) async fn field_values(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<Answer<Value>, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    let limit = ask.request.limit.unwrap_or(VALUES);
    if limit == 0 || limit > VALUES_MAX {
        let message = format!("\"limit\" is from 1 to {VALUES_MAX}");
        return Err(invalid_value(message));
    }
    let Some(field) = ask.request.field.clone().filter(|field| !field.is_empty()) else {
        return Err(invalid_value("\"field\" names the field; it is missing"));
    };
    let (name, most) = (field.clone(), usize::try_from(limit).unwrap_or(usize::MAX));
    let question = ask.question.clone();
    let found = run(&state.engine, Some(&question), |engine| async move {
        engine.field_values(&ask.question, &name, most).await
    })
    .await?;
    Ok(Answer(shown(&field, &found)))
}

/// A field's values as they are told.
fn shown(field: &str, found: &FieldValues) -> Value {
    let value = |(value, count): &(Value, u64)| json!({ "value": value, "count": count });
    json!({
        "field": field,
        "records": found.records,
        "present": found.present,
        "values": found.values.iter().map(value).collect::<Vec<_>>(),
        "partial": found.missing,
    })
}

/// What a body asks of several fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FacetsRequest {
    query: String,
    from: Option<Value>,
    to: Option<Value>,
    indexes: Option<Vec<String>>,
    fields: Vec<String>,
    limit: Option<u64>,
}

impl Said for FacetsRequest {
    const RIGHT: &'static str =
        "send a JSON object such as {\"query\":\"error\",\"fields\":[\"service\",\"level\"]}";
}

/// The values of several fields of the same records.
pub(super) async fn facets(
    State(state): State<QueryState>,
    Json(said): Json<FacetsRequest>,
) -> Result<Answer<Value>, ApiError> {
    let FacetsRequest { query, from, to, indexes, fields, limit } = said;
    let limit = limit.unwrap_or(VALUES);
    if limit == 0 || limit > VALUES_MAX {
        return Err(invalid_value(format!("\"limit\" is from 1 to {VALUES_MAX}")));
    }
    if fields.is_empty() || fields.len() > FACETS_MAX || fields.iter().any(String::is_empty) {
        return Err(invalid_value(format!("\"fields\" names from 1 to {FACETS_MAX} fields")));
    }
    let asked = QueryRequest { query, from, to, indexes, ..QueryRequest::default() };
    let ask = Ask::of(asked, state.engine.clock().now())?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let question = ask.question.clone();
    let names = fields.clone();
    let facets = run(&state.engine, Some(&question), |engine| async move {
        engine.facets(&ask.question, &names, most).await
    })
    .await?;
    let facets = fields.iter().zip(&facets).map(|(field, found)| shown(field, found));
    Ok(Answer(json!({ "facets": facets.collect::<Vec<_>>() })))
}
