//! `/api/v1/export`: a whole answer as a file, of any size.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::Value;

use super::body::{Json, Params, Said};
use super::output::{Format, Packing, stream};
use super::request::Ask;
use super::{QueryState, refusal};

/// What a body asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExportRequest {
    query: String,
    from: Option<Value>,
    to: Option<Value>,
    limit: Option<u64>,
    indexes: Option<Vec<String>>,
    format: FileFormat,
}

impl Said for ExportRequest {
    const RIGHT: &'static str =
        "send a JSON object such as {\"query\":\"error\",\"format\":\"csv\"}";
}

/// The same in an address.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExportAddress {
    query: String,
    from: Option<Value>,
    to: Option<Value>,
    limit: Option<u64>,
    /// Names with commas between them.
    indexes: Option<String>,
    format: FileFormat,
}

impl Said for ExportAddress {
    const RIGHT: &'static str =
        "parameters are query, from, to, limit, indexes and format (ndjson, csv, arrow or parquet)";
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileFormat {
    #[default]
    Ndjson,
    Csv,
    Arrow,
    Parquet,
}

pub(super) async fn from_body(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Json(request): Json<ExportRequest>,
) -> Result<Response, ApiError> {
    export(state, &headers, request).await
}

pub(super) async fn from_address(
    State(state): State<QueryState>,
    headers: HeaderMap,
    Params(said): Params<ExportAddress>,
) -> Result<Response, ApiError> {
    let indexes = said.indexes.map(|names| names.split(',').map(str::to_owned).collect());
    let ExportAddress { query, from, to, limit, format, .. } = said;
    export(state, &headers, ExportRequest { query, from, to, limit, indexes, format }).await
}

async fn export(
    state: QueryState,
    headers: &HeaderMap,
    request: ExportRequest,
) -> Result<Response, ApiError> {
    let asked = QueryRequest {
        query: request.query,
        from: request.from,
        to: request.to,
        limit: Some(request.limit.unwrap_or(0)),
        indexes: request.indexes,
        ..QueryRequest::default()
    };
    let engine = state.engine;
    let ask = Ask::of(asked, engine.clock().now())?;
    let ticket = engine.admit(Some(&ask.question)).await;
    let ticket = ticket.map_err(|failure| refusal(&failure))?;
    let (format, name) = match request.format {
        FileFormat::Ndjson => (Format::Lines, "attachment; filename=\"sawlog.ndjson\""),
        FileFormat::Csv => (Format::Csv, "attachment; filename=\"sawlog.csv\""),
        FileFormat::Arrow => (Format::Arrow, "attachment; filename=\"sawlog.arrows\""),
        FileFormat::Parquet => (Format::Parquet, "attachment; filename=\"sawlog.parquet\""),
    };
    let times = (ask.from, ask.to);
    let asking = engine.clone();
    let begin = async move {
        let answer = asking.ask(&ask.question).await;
        answer.map_err(|failure| failure.located(&ask.request.query))
    };
    let packing = Packing::accepted(headers);
    let mut response = stream(&engine, ticket, (format, packing), times, begin).await?;
    let name = HeaderValue::from_static(name);
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
