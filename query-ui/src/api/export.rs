//! `/api/v1/export`: a whole answer as a file, of any size.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Params, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use model::error::Kind;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::Value;

use super::output::{Format, Packing, stream};
use super::request::Ask;
use super::{QueryState, refusal};

/// What both ways of asking have.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExportRequest {
    query: String,
    from: Option<Value>,
    to: Option<Value>,
    limit: Option<Number>,
    indexes: Option<Names>,
    format: FileFormat,
}

/// A number, or its digits in an address.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Digits(String),
}

/// A list, or names with commas in an address.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Joined(String),
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileFormat {
    #[default]
    Ndjson,
    Csv,
    Arrow,
}

pub(super) async fn from_body(
    State(state): State<QueryState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(Kind::Invalid, format!("the request is not understood: {error}"))
            .hint("send a JSON object such as {\"query\":\"error\",\"format\":\"csv\"}")
    })?;
    export(state, &headers, request).await
}

pub(super) async fn from_address(
    State(state): State<QueryState>,
    headers: HeaderMap,
    params: Result<Params<ExportRequest>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Params(request) = params.map_err(|error| {
        ApiError::new(Kind::Invalid, error.body_text()).hint(
            "parameters are query, from, to, limit, indexes and format (ndjson, csv or arrow)",
        )
    })?;
    export(state, &headers, request).await
}

async fn export(
    state: QueryState,
    headers: &HeaderMap,
    request: ExportRequest,
) -> Result<Response, ApiError> {
    let limit = match request.limit {
        None => 0,
        Some(Number::Plain(limit)) => limit,
        Some(Number::Digits(digits)) => digits.parse().map_err(|_| {
            ApiError::new(Kind::Invalid, format!("\"limit\" is no number: {digits:?}"))
        })?,
    };
    let indexes = request.indexes.map(|names| match names {
        Names::List(names) => names,
        Names::Joined(names) => names.split(',').map(str::to_owned).collect(),
    });
    let asked = QueryRequest {
        query: request.query,
        from: request.from,
        to: request.to,
        limit: Some(limit),
        indexes,
        ..QueryRequest::default()
    };
    let engine = state.engine;
    let ask = Ask::of(asked, engine.clock().now())?;
    let ticket = engine.admit().await.map_err(|failure| refusal(&failure))?;
    let (format, name) = match request.format {
        FileFormat::Ndjson => (Format::Lines, "attachment; filename=\"sawlog.ndjson\""),
        FileFormat::Csv => (Format::Csv, "attachment; filename=\"sawlog.csv\""),
        FileFormat::Arrow => (Format::Arrow, "attachment; filename=\"sawlog.arrows\""),
    };
    let times = (ask.from, ask.to);
    let asking = engine.clone();
    let begin = async move { asking.ask(&ask.question).await };
    let packing = Packing::accepted(headers);
    let mut response = stream(&engine, ticket, (format, packing), times, begin).await?;
    let name = HeaderValue::from_static(name);
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
