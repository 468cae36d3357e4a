//! `POST /api/v1/sql`: SQL over the records.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::Value;

use super::body::{Json, Said};
use super::output::{Format, Packing, stream};
use super::request::Ask;
use super::{QueryState, refusal};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    sql: String,
    from: Option<Value>,
    to: Option<Value>,
    indexes: Option<Vec<String>>,
}

impl Said for SqlRequest {
    const RIGHT: &'static str =
        "send a JSON object such as {\"sql\":\"SELECT count(*) FROM logs\"}";
}

pub(super) async fn sql(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Json(request): Json<SqlRequest>,
) -> Result<Response, ApiError> {
    let engine = state.engine;
    let format = Format::accepted(&headers)?;
    let around = QueryRequest {
        from: request.from,
        to: request.to,
        indexes: request.indexes,
        ..QueryRequest::default()
    };
    let ask = Ask::of(around, engine.clock().now())?;
    let ticket = engine.admit(Some(&ask.question)).await;
    let ticket = ticket.map_err(|failure| refusal(&failure))?;
    let times = (ask.from, ask.to);
    let asking = engine.clone();
    let rows_max = engine.settings().table_rows_max;
    let begin = async move {
        let answer = asking.ask_sql(&request.sql, &ask.question).await;
        answer.map(|answer| answer.at_most(rows_max))
    };
    stream(&engine, ticket, (format, Packing::None), times, begin).await
}
