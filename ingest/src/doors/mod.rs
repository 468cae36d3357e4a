//! The doors: each turns what its clients send into batches; then all go one way.

mod body;
mod native;
mod ndjson;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use model::batch::{Batch, Sequence};
use model::codec;
use model::error::Kind;
use model::limits::REQUEST_BYTES_MAX;
use platform::clock::Clock;
use platform::http::ApiError;

use crate::metrics::IngestMetrics;
use crate::partition::{AppendError, Appended, Checked};
use crate::route::Partitions;

/// What the doors need.
#[derive(Debug, Clone)]
pub struct IngestState(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    partitions: Partitions,
    clock: Clock,
    metrics: IngestMetrics,
}

impl IngestState {
    /// The doors of these partitions.
    #[must_use]
    pub fn new(partitions: Partitions, clock: Clock, metrics: IngestMetrics) -> Self {
        Self(Arc::new(Parts { partitions, clock, metrics }))
    }

    /// Routes batches of one stream and waits until they are durable.
    async fn append(
        &self,
        batches: Vec<(codec::Head, bytes::Bytes)>,
    ) -> Result<Vec<Appended>, ApiError> {
        let Some((first, _)) = batches.first() else { return Ok(Vec::new()) };
        let partition = self
            .0
            .partitions
            .of(first.stream)
            .ok_or_else(|| ApiError::new(Kind::Unavailable, "this node has no partition"))?;
        let checked = batches.into_iter().map(|(head, bytes)| Checked::new(&head, bytes)).collect();
        partition.append(checked).await.map_err(|error| self.refuse(&error))
    }

    fn refuse(&self, error: &AppendError) -> ApiError {
        let mut refusal = ApiError::new(error.kind(), error.to_string());
        self.0.metrics.refused(match error {
            AppendError::Sequence { next } => {
                refusal.detail.next = Some(*next);
                "sequence"
            }
            AppendError::Fenced { .. } => {
                refusal =
                    refusal.code("fenced").hint("two processes send as one producer: stop one");
                "fenced"
            }
            AppendError::Overloaded { what } => what,
            AppendError::DiskFull => {
                refusal.retry_after_s = Some(5);
                "disk_full"
            }
            AppendError::Storage(source) => {
                refusal.detail.hint = Some(source.to_string());
                refusal.retry_after_s = Some(10);
                "storage"
            }
            AppendError::Stopping => "stopping",
        });
        refusal
    }
}

/// The routes of the doors.
pub fn router(state: IngestState) -> Router {
    Router::new()
        .route(model::wire::BATCHES_PATH, post(native::take))
        .route("/api/v1/ingest", post(ndjson::take))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(state)
}

/// Encodes a batch that a door made, with the head that goes with it.
fn sealed(
    batch: &Batch,
    sequence: Sequence,
) -> Result<(codec::Head, bytes::Bytes), codec::DecodeError> {
    let bytes = codec::encode(batch, sequence)?;
    Ok((codec::head(&bytes)?, bytes))
}

#[cfg(test)]
mod tests;
