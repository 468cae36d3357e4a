//! `POST /api/v1/query`: an answer, as it comes; `DELETE /api/v1/queries/{id}` ends one.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::error::Kind;
use model::wire::QueryRequest;
use platform::http::ApiError;

use super::body::Json;
use super::output::{Format, Packing, stream};
use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::QueryId;

pub(super) async fn query(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Json(request): Json<QueryRequest>,
) -> Result<Response, ApiError> {
    let engine = state.engine;
    let format = Format::accepted(&headers)?;
    let ask = Ask::of(request, engine.clock().now())?;
    let ticket = engine.admit(Some(&ask.question)).await;
    let ticket = ticket.map_err(|failure| refusal(&failure))?;
    let times = (ask.from, ask.to);
    let asking = engine.clone();
    let begin = async move { asking.ask(&ask.question).await };
    stream(&engine, ticket, (format, Packing::None), times, begin).await
}

pub(super) async fn cancel(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    match QueryId::parse(&id) {
        Some(id) if state.engine.cancel(id) => Ok(StatusCode::NO_CONTENT),
        _ => Err(ApiError::new(Kind::Invalid, format!("no query {id:?} runs"))
            .code("not_found")
            .hint("the header X-Query-Id of an answer names its query; it may have ended")),
    }
}
