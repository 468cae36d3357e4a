//! Histogram, fields, and a field's values: small answers in one piece.

use axum::Json as Answer;
use axum::extract::State;
use model::level::Level;
use model::record::FieldType;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde_json::{Map, Value, json};

use super::body::{Json, invalid_value};
use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::{BUCKETS_MAX, Bucket, Engine, FieldCount, QueryFailure, Question, VALUES_MAX};

/// Buckets where the request does not say.
const BUCKETS: u32 = 60;
/// Values where the request does not say.
const VALUES: u64 = 10;

/// Runs a small answer on the queries' threads, to a question or to something quick; it ends when
/// the asker goes.
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
    let outcome = ticket.unless_cancelled(Box::pin(engine.run(answer(engine.clone())))).await;
    drop(ticket);
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
    let value = |(value, count): &(Value, u64)| json!({ "value": value, "count": count });
    Ok(Answer(json!({
        "field": field,
        "records": found.records,
        "present": found.present,
        "values": found.values.iter().map(value).collect::<Vec<_>>(),
        "partial": found.missing,
    })))
}
