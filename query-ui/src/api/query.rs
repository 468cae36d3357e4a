//! `POST /api/v1/query` and `/patterns`: an answer, as it comes; `DELETE /api/v1/queries/{id}` ends one.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::error::Kind;
use model::wire::QueryRequest;
use platform::http::ApiError;

use super::body::Json;
use super::output::{Format, Packing, stream};
use super::request::{Ask, understood};
use super::{QueryState, refusal};
use crate::plan::{Engine, QueryId};

pub(super) async fn query(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Json(request): Json<QueryRequest>,
) -> Result<Response, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    answer(state.engine, &headers, ask).await
}

/// What the messages have in common that the search part of a query finds.
pub(super) async fn patterns(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Json(request): Json<QueryRequest>,
) -> Result<Response, ApiError> {
    let mut ask = Ask::of(request, state.engine.clock().now())?;
    ask.question.query.pipes = understood("* | patterns")?.pipes;
    answer(state.engine, &headers, ask).await
}

async fn answer(engine: Engine, headers: &HeaderMap, ask: Ask) -> Result<Response, ApiError> {
    let format = Format::accepted(headers)?;
    let ticket = engine.admit(Some(&ask.question)).await;
    let ticket = ticket.map_err(|failure| refusal(&failure))?;
    let times = (ask.from, ask.to);
    let asking = engine.clone();
    let rows_max = engine.settings().table_rows_max;
    let begin = async move {
        let answer = asking.ask(&ask.question).await;
        let answer = answer.map_err(|failure| failure.located(&ask.request.query));
        answer.map(|answer| answer.at_most(rows_max))
    };
    stream(&engine, ticket, (format, Packing::None), times, begin).await
}

pub(super) async fn cancel(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    match QueryId::parse(&id) {
        Some(id) if state.engine.cancel(id).await => Ok(StatusCode::NO_CONTENT),
        _ => Err(ApiError::new(Kind::Invalid, format!("no query {id:?} runs"))
            .code("not_found")
            .hint("the header X-Query-Id of an answer names its query; it may have ended")),
    }
}
