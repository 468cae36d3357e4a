//! Splunk's HTTP event collector: events, raw lines, health, acknowledgements, its table of codes.

mod channels;
mod event;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::error::Kind;
use platform::http::ApiError;
use serde_json::{Map, Value, json};

use super::parcel::{self, Key, Parcel};
use super::{IngestState, body};
use channels::Channels;
use event::{Meta, Reader};

const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");
/// Acknowledgements of one question.
const ACKS_MAX: usize = 100_000;

type Parameters = Query<HashMap<String, String>>;

/// What this door needs.
#[derive(Debug, Clone)]
pub(super) struct Hec {
    ingest: IngestState,
    channels: Arc<Mutex<Channels>>,
}

impl Hec {
    pub(super) fn new(ingest: IngestState) -> Self {
        Self { ingest, channels: Arc::default() }
    }
}

/// The routes below `/services/collector`.
pub(super) fn router(hec: Hec) -> Router {
    Router::new()
        .route("/services/collector", post(events))
        .route("/services/collector/event", post(events))
        .route("/services/collector/event/1.0", post(events))
        .route("/services/collector/raw", post(raw))
        .route("/services/collector/raw/1.0", post(raw))
        .route("/services/collector/ack", post(acks))
        .route("/services/collector/health", get(health))
        .route("/services/collector/health/1.0", get(health))
        .with_state(hec)
}

async fn health() -> Json<Value> {
    Json(json!({ "text": "HEC is healthy", "code": 17 }))
}

/// A refusal of this protocol's own table.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u32,
    text: &'static str,
    event: Option<usize>,
}

impl Refusal {
    const NO_DATA: Self = Self::new(5, "No data");
    const INVALID: Self = Self::new(6, "Invalid data format");
    const INDEX: Self = Self::new(7, "Incorrect index");
    const CHANNEL: Self = Self::new(10, "Data channel is missing");
    const NO_EVENT: Self = Self::new(12, "Event field is required");
    const BLANK_EVENT: Self = Self::new(13, "Event field cannot be blank");

    const fn new(code: u32, text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, text, event: None }
    }

    /// The same about the event of that number.
    fn at(self, event: usize) -> Self {
        Self { event: Some(event), ..self }
    }

    fn body(&self) -> Value {
        let mut body = json!({ "text": self.text, "code": self.code });
        if let (Some(event), Value::Object(members)) = (self.event, &mut body) {
            members.insert("invalid-event-number".to_owned(), event.into());
        }
        body
    }
}

/// Why a request is not taken: by the table, or by what all doors share.
#[derive(Debug)]
pub(super) enum Error {
    Table(Refusal),
    Shared(ApiError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Table(refusal)
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Shared(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Table(refusal) => (refusal.status, Json(refusal.body())).into_response(),
            Self::Shared(error) => error.into_response(),
        }
    }
}

/// A refusal that was made elsewhere, by the table.
pub(super) fn refusal(status: StatusCode, has_token: bool) -> (StatusCode, Value) {
    let refusal = match status.as_u16() {
        401 | 403 if has_token => {
            Refusal { status: StatusCode::FORBIDDEN, ..Refusal::new(4, "Invalid token") }
        }
        401 | 403 => Refusal { status, ..Refusal::new(2, "Token is required") },
        413 => Refusal { status, ..Refusal::new(27, "Request entity too large") },
        429 | 503 => {
            Refusal { status: StatusCode::SERVICE_UNAVAILABLE, ..Refusal::new(9, "Server is busy") }
        }
        404 | 405 => Refusal { status, ..Refusal::new(404, "The requested URL was not found") },
        400..500 => Refusal { status, ..Refusal::INVALID },
        _ => Refusal { status, ..Refusal::new(8, "Internal server error") },
    };
    (refusal.status, refusal.body())
}

/// Whether a request shows a token, be it a wrong one.
pub(super) fn has_token(headers: &HeaderMap, query: Option<&str>) -> bool {
    headers.contains_key(axum::http::header::AUTHORIZATION)
        || query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("token=")))
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Events,
    /// Lines of text.
    Raw,
}

async fn events(
    State(hec): State<Hec>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    hec.take(&parameters, &headers, body, Form::Events).await
}

async fn raw(
    State(hec): State<Hec>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    hec.take(&parameters, &headers, body, Form::Raw).await
}

impl Hec {
    async fn take(
        &self,
        parameters: &HashMap<String, String>,
        headers: &HeaderMap,
        body: Body,
        form: Form,
    ) -> Result<Json<Value>, Error> {
        let packing = body::Packing::of(headers)?;
        let (arrival, with) = (self.ingest.0.clock.now(), headers.clone());
        let meta = Meta::of(parameters);
        meta.index().map_err(|_| Refusal::INDEX)?;
        let sender = channel(headers, parameters).map(str::to_owned);
        let body = body::read(body).await?;
        let parse = move || {
            let body = packing.unpack(body)?;
            if body.trim_ascii().is_empty() {
                return Err(Refusal::NO_DATA.into());
            }
            let given = parcel::key(&with, &body);
            // A line of text tells nothing from an equal one.
            let sender = sender.filter(|_| given.is_none() && form == Form::Events);
            let content = sender.map(|sender| Key::of_content(&sender, &body));
            let mut reader = match content {
                Some(content) => Reader::by_content(Parcel::new(arrival, Some(content))),
                None => Reader::new(Parcel::new(arrival, given)),
            };
            match form {
                Form::Events => reader.events(&body, &meta)?,
                Form::Raw => reader.raw(&body, &meta)?,
            }
            reader.finish()
        };
        let packed = tokio::task::spawn_blocking(parse)
            .await
            .map_err(|_| ApiError::new(Kind::Bug, "the events could not be read"))?
            .inspect_err(|_| self.ingest.0.metrics.refused("invalid"))?;
        self.ingest.store("hec", packed.within(&self.ingest)).await?;
        let mut answer = Map::new();
        answer.insert("text".to_owned(), "Success".into());
        answer.insert("code".to_owned(), 0.into());
        if let Some(channel) = channel(headers, parameters) {
            answer.insert("ackId".to_owned(), self.acknowledged(channel).into());
        }
        Ok(Json(Value::Object(answer)))
    }

    /// An id for what is durable now.
    fn acknowledged(&self, channel: &str) -> u64 {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let id = channels.give(channel, platform::random::u64());
        self.ingest.0.metrics.hec_channels.set(channels.count() as u64);
        id
    }
}

fn channel<'a>(headers: &'a HeaderMap, parameters: &'a HashMap<String, String>) -> Option<&'a str> {
    let header = headers.get(CHANNEL).and_then(|channel| channel.to_str().ok());
    let parameter = parameters.get("channel").map(String::as_str);
    header.or(parameter).filter(|channel| !channel.is_empty())
}

async fn acks(
    State(hec): State<Hec>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let channel = channel(&headers, &parameters).ok_or(Refusal::CHANNEL)?;
    let packing = body::Packing::of(&headers)?;
    let body = packing.unpack(body::read(body).await?)?;
    let asked: Value = serde_json::from_slice(&body).map_err(|_| Refusal::INVALID)?;
    let asked = asked.get("acks").and_then(Value::as_array).ok_or(Refusal::INVALID)?;
    if asked.len() > ACKS_MAX {
        return Err(Refusal::INVALID.into());
    }
    let asked: Vec<u64> = asked.iter().filter_map(Value::as_u64).collect();
    let known = hec.channels.lock().unwrap_or_else(PoisonError::into_inner).asked(channel, &asked);
    let answer = asked.iter().zip(known).map(|(id, is_known)| (id.to_string(), is_known.into()));
    let answer: Map<_, _> = answer.collect();
    Ok(Json(json!({ "acks": answer })))
}

#[cfg(test)]
mod tests;
