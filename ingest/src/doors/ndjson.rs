//! The NDJSON door: one JSON object a line, labels in the address.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::codec::Head;
use model::error::Kind;
use model::json;
use model::limits::BATCH_BYTES_TARGET;
use model::stream::{IndexName, Labels, StreamId};
use model::time::Timestamp;
use model::wire::IngestAnswer;
use platform::http::ApiError;

use super::{IngestState, body, sealed};

pub(super) async fn take(
    State(state): State<IngestState>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IngestAnswer>, ApiError> {
    let (index, labels) = stream(parameters)?;
    let packing = body::Packing::of(&headers)?;
    let producer = idempotency(&headers, StreamId::of(&index, &labels));
    let body = body::read(body).await?;
    let arrival = state.0.clock.now();
    let parse = move || parse(&packing.unpack(body)?, (index, labels), producer, arrival);
    let parsed = tokio::task::spawn_blocking(parse)
        .await
        .map_err(|_| ApiError::new(Kind::Bug, "the lines could not be read"))??;
    state.0.metrics.poisoned.inc_by(parsed.poisoned);
    let answers = state.append(parsed.batches).await.map_err(|mut error| {
        // Another body under a key that was used before: the key names what was sent, so this
        // one is not taken.
        if error.detail.next.take().is_some() {
            error = ApiError::new(Kind::Invalid, "this Idempotency-Key was used for another body")
                .hint("use a key of its own for each request");
        }
        error
    })?;
    let duplicate = !answers.is_empty() && answers.iter().all(|answer| answer.duplicate);
    let accepted = answers.iter().map(|answer| u64::from(answer.record_count)).sum();
    let poisoned = if duplicate { 0 } else { parsed.poisoned };
    Ok(Json(IngestAnswer { accepted, poisoned, duplicate }))
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

/// The producer that a key stands for: never 0, the same for the same key and stream.
fn idempotency(headers: &HeaderMap, stream: StreamId) -> Option<u64> {
    let key = headers.get("idempotency-key")?;
    Some(xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), stream.0).max(1))
}

struct Parsed {
    batches: Vec<(Head, Bytes)>,
    poisoned: u64,
}

/// Lines to batches. With a producer, batch `i` has the sequence `i..i+1`.
fn parse(
    body: &[u8],
    (index, labels): (IndexName, Labels),
    producer: Option<u64>,
    arrival: Timestamp,
) -> Result<Parsed, ApiError> {
    let mut parsed = Parsed { batches: Vec::new(), poisoned: 0 };
    let mut builder = BatchBuilder::new(index.clone(), labels.clone());
    let seal = |builder: BatchBuilder, batches: &mut Vec<_>| {
        let at = batches.len() as u64;
        let sequence = producer.map_or(Sequence::NONE, |producer| Sequence {
            producer,
            epoch: 0,
            from: at,
            to: at + 1,
        });
        let sealed = sealed(&builder.finish(), sequence);
        batches.push(sealed.map_err(|error| ApiError::new(Kind::Invalid, error.to_string()))?);
        Ok::<_, ApiError>(())
    };
    for line in lines(body) {
        let record = json::record(line).unwrap_or_else(|error| {
            parsed.poisoned += 1;
            json::poisoned(line, &error.to_string())
        });
        if !builder.fits(&record) || builder.bytes() >= BATCH_BYTES_TARGET {
            let full =
                std::mem::replace(&mut builder, BatchBuilder::new(index.clone(), labels.clone()));
            seal(full, &mut parsed.batches)?;
        }
        builder.push(record, arrival);
    }
    if builder.record_count() > 0 {
        seal(builder, &mut parsed.batches)?;
    }
    Ok(parsed)
}

/// The lines that are not blank, without their ends.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
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
