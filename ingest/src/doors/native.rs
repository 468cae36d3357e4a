//! Our own door: one encoded batch a request, stored as it came.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use model::codec;
use model::error::Kind;
use model::wire::BatchAnswer;
use platform::http::ApiError;

use super::{IngestState, body, unanswered};

pub(super) async fn take(
    State(state): State<IngestState>,
    body: Body,
) -> Result<Json<BatchAnswer>, ApiError> {
    let bytes = body::read(body).await?;
    // The checksum of a batch of ordinary size takes well under a millisecond.
    let head = codec::head(&bytes).map_err(|error| {
        state.0.metrics.refused("damaged");
        ApiError::new(Kind::Invalid, error.to_string())
    })?;
    let answer = state.append(vec![(head, bytes)]).await.pop().ok_or_else(unanswered)??;
    state.0.metrics.came_through("native", u64::from(answer.record_count));
    Ok(Json(BatchAnswer {
        accepted: u64::from(answer.record_count),
        duplicate: answer.duplicate,
        next: answer.next,
    }))
}
