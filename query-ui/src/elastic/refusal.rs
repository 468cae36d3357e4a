//! What a request is refused with, in Elasticsearch's words.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::error::Kind;
use serde_json::{Value, json};

use crate::plan::QueryFailure;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, kind, reason: reason.into() }
    }

    /// A clause that is not known, or does not look so.
    pub(super) fn parsing(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "parsing_exception", reason)
    }

    /// A body that is no JSON, or has a member of the wrong kind.
    pub(super) fn content(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "x_content_parse_exception", reason)
    }

    /// A value that cannot be.
    pub(super) fn argument(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "illegal_argument_exception", reason)
    }

    /// More buckets than an answer may have.
    pub(super) fn buckets(most: usize) -> Self {
        let reason = format!(
            "Trying to create too many buckets. Must be less than or equal to: [{most}]: ask for \
             less, or for a shorter time"
        );
        Self::new(StatusCode::BAD_REQUEST, "too_many_buckets_exception", reason)
    }

    /// Whether there are more buckets than an answer may have.
    pub(super) fn is_buckets(&self) -> bool {
        self.kind == "too_many_buckets_exception"
    }

    /// An index that is not there.
    pub(super) fn no_index(name: &str) -> Self {
        let reason = format!("no such index [{name}]");
        Self::new(StatusCode::NOT_FOUND, "index_not_found_exception", reason)
    }

    /// A document that is not there, or shows nothing of itself.
    pub(super) fn no_source(index: &str, id: &str) -> Self {
        let reason = format!("Document not found [{index}]/[{id}]");
        Self::new(StatusCode::NOT_FOUND, "resource_not_found_exception", reason)
    }

    /// An alias that is not there.
    pub(super) fn no_alias(name: &str) -> Self {
        let reason = format!("aliases [{name}] missing");
        Self::new(StatusCode::NOT_FOUND, "aliases_not_found_exception", reason)
    }

    /// A name that no alias may have.
    pub(super) fn alias_name(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_alias_name_exception", reason)
    }

    /// What is kept cannot be read or changed now.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_shards_exception", reason)
    }

    /// A body over the bound.
    pub(super) fn too_large(most: usize) -> Self {
        let reason = format!("the request is over {most} bytes: send less at a time");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "content_too_long_exception", reason)
    }

    /// The refusal as a value of an answer, with its status.
    pub(super) fn body(&self) -> Value {
        let cause = json!({ "type": self.kind, "reason": self.reason });
        let mut error = json!({ "root_cause": [cause], "type": self.kind, "reason": self.reason });
        if self.kind == "index_not_found_exception" {
            let index = self.reason.trim_start_matches("no such index [").trim_end_matches(']');
            set(&mut error, "index", index.into());
        }
        json!({ "error": error, "status": self.status.as_u16() })
    }
}

/// Sets a member of an object, or of nothing yet; anything else stays as it is.
pub(super) fn set(value: &mut Value, name: &str, member: Value) {
    if value.is_null() {
        *value = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(members) = value {
        members.insert(name.to_owned(), member);
    }
}

impl From<QueryFailure> for Refusal {
    fn from(failure: QueryFailure) -> Self {
        let reason = failure.to_string();
        match (&failure, failure.kind()) {
            (QueryFailure::Timeout(_), _) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_exception", reason)
            }
            (QueryFailure::TooLarge(_), _) => {
                Self::new(StatusCode::BAD_REQUEST, "circuit_breaking_exception", reason)
            }
            (QueryFailure::Cancelled, _) => {
                Self::new(StatusCode::BAD_REQUEST, "task_cancelled_exception", reason)
            }
            (_, Kind::Invalid) => Self::argument(reason),
            (_, Kind::Overloaded | Kind::Unavailable | Kind::Moved) => {
                let kind = "es_rejected_execution_exception";
                Self::new(StatusCode::TOO_MANY_REQUESTS, kind, reason)
            }
            (_, Kind::Corrupt | Kind::Bug) => {
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                tracing::error!(%failure, cause, "a search failed");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, "search_phase_execution_exception", reason)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let header = axum::http::header::RETRY_AFTER;
            response.headers_mut().insert(header, axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}
