//! Bodies and parameters of requests: read, or refused in words.

use std::fmt::Display;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use model::error::Kind;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::de::DeserializeOwned;

use super::REQUEST_BYTES_MAX;

/// What a request says, and how it is said right.
pub(super) trait Said: DeserializeOwned {
    /// Advice for those who said it wrong.
    const RIGHT: &'static str;
}

impl Said for QueryRequest {
    const RIGHT: &'static str = "send a JSON object such as {\"query\":\"error\",\"from\":\"-1h\"}";
}

/// A value that is none of those that can be.
pub(super) fn invalid_value(message: impl Into<String>) -> ApiError {
    ApiError::new(Kind::Invalid, message).code("invalid_value")
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: Said> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(Kind::Invalid, "the body is not said to be JSON")
                .code("unsupported_media_type")
                .hint("send it with the header Content-Type: application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| broken(&error))?;
        // The values alone, in the order of the fields, would be read as well.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(invalid_value("the request is a list, no object").hint(T::RIGHT));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| not_understood::<T>(&error))
    }
}

/// Whether a body may be JSON. One that does not say what it is may; what a browser sends for a
/// page of another site without asking first (forms, plain text) may not.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn broken(error: &BytesRejection) -> ApiError {
    match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            let message = format!("the request is over {REQUEST_BYTES_MAX} bytes");
            ApiError::new(Kind::Invalid, message).code("too_large").hint("send less at a time")
        }
        _ => ApiError::new(Kind::Invalid, format!("the request broke off: {error}")),
    }
}

fn not_understood<T: Said>(error: &serde_json::Error) -> ApiError {
    let message = format!("the request is not understood: {error}");
    let refusal = match error.is_data() {
        true => invalid_value(message),
        false => ApiError::new(Kind::Invalid, message),
    };
    refusal.hint(T::RIGHT)
}

/// What stands behind the `?` of an address.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: Said> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let refused = |error: &dyn Display| invalid_value(error.to_string()).hint(T::RIGHT);
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(said)) => Ok(Self(said)),
            Err(error) => Err(refused(&error.body_text())),
        }
    }
}
