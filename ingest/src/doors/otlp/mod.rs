//! The OTLP door: logs of OpenTelemetry, as protobuf or JSON over HTTP.

mod grpc;
mod message;
mod log;
mod quick;
mod json;
mod record;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use model::error::Kind;
use model::wire::ErrorDetail;
use platform::http::ApiError;
use prost::Message as _;
use serde_json::json;

use self::message::{PartialSuccess, Request, Status};
use super::parcel::{self, Parcel};
use super::whole::Stored;
use super::{IngestState, body};
pub use grpc::LogsService;
pub(super) use message::hex;

/// Bytes of a reason: those of nested messages name every level.
const REASON_BYTES_MAX: usize = 300;

/// Content type of the binary form.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// Whether a request speaks protobuf. Its answer is of the same form.
pub(super) fn is_protobuf(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    !kind.is_some_and(|kind| kind.starts_with("application/json"))
}

pub(super) async fn take(
    State(state): State<IngestState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let packing = body::Packing::of(&headers)?;
    let arrival = state.0.clock.now();
    let is_protobuf = is_protobuf(&headers);
    let body = body::read(body).await?;
    let parse = move || {
        let body = packing.unpack(body)?;
        let parcel = Parcel::new(arrival, parcel::key(&headers, &body));
        let request = if is_protobuf {
            decode(body)?
        } else {
            json::read(&body).map_err(|error| invalid(&error))?
        };
        record::pack(&request, parcel)
    };
    let answer = answer(state.take("otlp", parse).await?);
    Ok(if is_protobuf {
        ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response()
    } else {
        let body = answer.partial_success.map_or_else(
            || json!({}),
            |partial| json!({ "partialSuccess": { "errorMessage": partial.error_message } }),
        );
        axum::Json(body).into_response()
    })
}

fn decode(body: Bytes) -> Result<Request, ApiError> {
    Request::decode(body).map_err(|error| invalid(&error.to_string()))
}

fn invalid(error: &str) -> ApiError {
    let error = model::text::cut(error, REASON_BYTES_MAX);
    ApiError::new(Kind::Invalid, format!("not an export of logs: {error}"))
}

/// Nothing is rejected; that records were kept as text is said as a warning.
fn answer(Stored { poisoned, .. }: Stored) -> message::Response {
    let partial_success = (poisoned > 0).then(|| PartialSuccess {
        rejected_log_records: 0,
        error_message: format!(
            "{poisoned} records cannot be read or are over a bound, and are kept as text: search for _poison:*"
        ),
    });
    message::Response { partial_success }
}

/// A refusal as `google.rpc.Status`, in the form of the request.
pub(super) fn refusal(
    status: StatusCode,
    detail: Option<&ErrorDetail>,
    is_protobuf: bool,
) -> (&'static str, Vec<u8>) {
    let code = match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        413 | 429 => 8,
        400..500 => 3,
        503 => 14,
        _ => 13,
    };
    let message = match detail {
        None => status.canonical_reason().unwrap_or("refused").to_owned(),
        Some(ErrorDetail { message, hint: Some(hint), .. }) => format!("{message}; {hint}"),
        Some(detail) => detail.message.clone(),
    };
    if is_protobuf {
        (PROTOBUF, Status { code, message, details: Vec::new() }.encode_to_vec())
    } else {
        let body = json!({ "code": code, "message": message });
        ("application/json", body.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests;
