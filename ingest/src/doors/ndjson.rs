//! The NDJSON door: one JSON object a line, labels in the address; as `text/plain` any lines.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use model::error::Kind;
use model::json::{self, Desk, JsonError};
use model::stream::{IndexName, Labels};
use model::wire::IngestAnswer;
use platform::http::ApiError;

use super::parcel::{self, Parcel};
use super::whole::Stored;
use super::{IngestState, body};

pub(super) async fn take(
    State(state): State<IngestState>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IngestAnswer>, ApiError> {
    let (index, labels) = stream(parameters)?;
    let packing = body::Packing::of(&headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_text = kind.is_some_and(|kind| kind.starts_with("text/plain"));
    let arrival = state.0.clock.now();
    let body = body::read(body).await?;
    let parse = move || {
        let body = packing.unpack(body)?;
        let mut parcel = Parcel::new(arrival, parcel::key(&headers, &body));
        let stream = parcel.stream(index, labels)?;
        let mut desk = Desk::default();
        for line in lines(&body) {
            if let Ok(record) = desk.read(line) {
                parcel.push_quick(stream, &record, || line.to_vec())?;
                continue;
            }
            let record = match json::flat_of_any(line) {
                Ok(mut record) => {
                    parcel.push_flat(stream, &mut record, || line.to_vec())?;
                    continue;
                }
                Err(JsonError::Syntax(_) | JsonError::NotObject) if is_text => json::plain(line),
                Err(error) => json::poisoned(line, &error.to_string()),
            };
            parcel.push(stream, record, || line.to_vec())?;
        }
        parcel.finish()
    };
    let Stored { accepted, poisoned, is_repeat } = state.take("ndjson", parse).await?;
    Ok(Json(IngestAnswer { accepted, poisoned, duplicate: is_repeat }))
}

fn stream(parameters: Vec<(String, String)>) -> Result<(IndexName, Labels), ApiError> {
    let (index, labels): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name == "index");
    let invalid = |error: &dyn std::error::Error| ApiError::new(Kind::Invalid, error.to_string());
    let index = match index.as_slice() {
        [] => IndexName::default(),
        [(_, name)] => IndexName::new(name).map_err(|error| invalid(&error))?,
        _ => return Err(ApiError::new(Kind::Invalid, "name one index")),
    };
    Ok((index, Labels::new(labels).map_err(|error| invalid(&error))?))
}

/// The lines that are not blank, without their ends.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end)?;
            rest = after.get(1..).unwrap_or_default();
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}
