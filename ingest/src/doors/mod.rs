//! The doors: each turns what its clients send into batches; then all go one way.

mod body;
mod names;
mod parcel;
mod whole;
mod stream;
mod datagrams;
mod native;
mod ndjson;
mod elastic;
mod loki;
mod otlp;
mod hec;
mod gelf;
mod journald;
mod forward;
mod syslog;
mod kafka;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bytes::Bytes;
use cluster::catalog::Catalog;
use model::codec;
use model::error::Kind;
use model::limits::REQUEST_BYTES_MAX;
use model::partition::PartitionId;
use model::zone::Zone;
use platform::clock::Clock;
use platform::disk::Disk;
use platform::http::{Access, ApiError};

use crate::metrics::IngestMetrics;
use crate::partition::{AppendError, Appended, Checked};
use crate::route::{Partitions, Target};
use elastic::Elastic;
pub use forward::Forward;
pub use gelf::Gelf;
use hec::Hec;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use kafka::{KafkaError, KafkaSource, Start};
use names::Names;
pub use otlp::LogsService;
pub use syslog::Syslog;
pub use words::{Audience, translated};

/// The code of a refusal: another life of the producer, or another body of the key, was seen.
const FENCED: &str = "fenced";
/// What to look at when too few nodes are there.
const NODES_AWAY: &str = "`sawlog cluster status` shows which nodes are away: start them";

/// What the doors need.
#[derive(Debug, Clone)]
pub struct IngestState(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    partitions: Partitions,
    clock: Clock,
    metrics: IngestMetrics,
    names: Names,
}

impl IngestState {
    /// The doors of these partitions.
    #[must_use]
    pub fn new(partitions: Partitions, clock: Clock, metrics: IngestMetrics) -> Self {
        Self(Arc::new(Parts { partitions, clock, metrics, names: Names::default() }))
    }

    /// Appends batches, each to the partition of its stream; answers in the order given. What
    /// goes to one partition is taken all or none.
    async fn append(&self, batches: Vec<(codec::Head, Bytes)>) -> Vec<Result<Appended, ApiError>> {
        let mut groups: BTreeMap<PartitionId, (Target, Vec<usize>, Vec<Checked>)> = BTreeMap::new();
        let without = || Err(ApiError::new(Kind::Unavailable, "this node has no partition"));
        let mut answers: Vec<_> = batches.iter().map(|_| without()).collect();
        for (place, (head, bytes)) in batches.into_iter().enumerate() {
            let Some(partition) = self.0.partitions.of(head.stream) else { continue };
            let (_, places, checked) = groups
                .entry(partition.partition())
                .or_insert_with(|| (partition.clone(), Vec::new(), Vec::new()));
            places.push(place);
            checked.push(Checked::new(&head, bytes));
        }
        let appends = groups.into_values().map(|(partition, places, checked)| async move {
            (places, partition.append(checked).await)
        });
        for (places, outcome) in futures::future::join_all(appends).await {
            let outcome = outcome.map_err(|error| self.refuse(&error));
            for (nth, place) in places.into_iter().enumerate() {
                let Some(answer) = answers.get_mut(place) else { continue };
                *answer = match &outcome {
                    Ok(taken) => taken.get(nth).copied().ok_or_else(unanswered),
                    Err(error) => Err(error.clone()),
                };
            }
        }
        answers
    }

    fn refuse(&self, error: &AppendError) -> ApiError {
        let mut refusal = ApiError::new(error.kind(), error.to_string());
        self.0.metrics.refused(match error {
            AppendError::Sequence { next } => {
                refusal.detail.next = Some(*next);
                "sequence"
            }
            AppendError::Fenced { .. } => {
                refusal = refusal.code(FENCED).hint("two processes send as one producer: stop one");
                FENCED
            }
            AppendError::Overloaded { what } => what,
            AppendError::TooLarge { .. } => {
                refusal = refusal.code("too_large").hint("send less at a time");
                "too_large"
            }
            AppendError::DiskFull | AppendError::DiskFullAt { .. } => {
                refusal.retry_after_s = Some(5);
                "disk_full"
            }
            AppendError::Storage(source) => {
                refusal.detail.hint = Some(source.to_string());
                refusal.retry_after_s = Some(10);
                "storage"
            }
            AppendError::Stopping => "stopping",
            AppendError::NotLeader { .. } => {
                refusal = ApiError::new(Kind::Unavailable, "the partition has no leader now")
                    .hint(NODES_AWAY);
                refusal.retry_after_s = Some(1);
                "no_leader"
            }
            AppendError::NoMajority(_) => {
                refusal = refusal.hint(NODES_AWAY);
                refusal.retry_after_s = Some(2);
                "no_majority"
            }
            AppendError::Elsewhere { .. } => {
                refusal.retry_after_s = Some(1);
                "elsewhere"
            }
            AppendError::Unsure => {
                refusal.retry_after_s = Some(1);
                "unsure"
            }
        });
        refusal
    }
}

/// The doors of a node.
#[derive(Debug, Clone)]
pub struct Doors {
    state: IngestState,
    elastic: Elastic,
    hec: Hec,
}

impl Doors {
    /// The doors of this node; some leave documents with the catalog, and files in `folder`.
    ///
    /// # Errors
    /// As the system says of the files.
    pub fn open(
        state: IngestState,
        catalog: Catalog,
        folder: &Path,
        disk: &Disk,
    ) -> io::Result<Self> {
        let elastic = Elastic::open(state.clone(), catalog, folder, disk)?;
        Ok(Self { elastic, hec: Hec::new(state.clone()), state })
    }

    /// The routes of every door.
    pub fn router(&self) -> Router {
        Router::new()
            .route(model::wire::BATCHES_PATH, post(native::take))
            .route("/api/v1/ingest", post(ndjson::take))
            .route("/gelf", post(gelf::take))
            .route("/upload", post(journald::take))
            .route("/loki/api/v1/push", post(loki::take))
            .route("/api/prom/push", post(loki::take))
            .with_state(self.state.clone())
            .merge(self.otlp())
            .merge(hec::router(self.hec.clone()))
            .nest("/es", self.elastic())
            // Nesting takes no slash at the end, and clients ask with one.
            .route("/es/", get(elastic::info))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
    }

    /// Logs of OpenTelemetry over HTTP.
    pub fn otlp(&self) -> Router {
        Router::new()
            .route("/v1/logs", post(otlp::take))
            .route("/otlp/v1/logs", post(otlp::take))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(self.state.clone())
    }

    /// Syslog, not over HTTP. `zone` is that of messages which state none.
    #[must_use]
    pub fn syslog(&self, zone: Zone) -> Syslog {
        Syslog::new(self.state.clone(), zone)
    }

    /// Fluentd's forward protocol, not over HTTP. With a key its senders must know it.
    #[must_use]
    pub fn forward(&self, key: Option<String>) -> Forward {
        Forward::new(self.state.clone(), key)
    }

    /// GELF, not over HTTP.
    #[must_use]
    pub fn gelf(&self) -> Gelf {
        Gelf::new(self.state.clone())
    }

    /// Topics of Kafka.
    ///
    /// # Errors
    /// The settings cannot be used.
    #[cfg(feature = "kafka")]
    pub fn kafka(&self, source: KafkaSource) -> Result<Kafka, KafkaError> {
        Kafka::open(self.state.clone(), source)
    }

    /// OTLP over gRPC, for those whom `access` admits.
    #[must_use]
    pub fn otlp_grpc(&self, access: Access) -> LogsService {
        LogsService::new(self.state.clone(), access)
    }

    /// The write side of Elasticsearch, without prefix.
    fn elastic(&self) -> Router {
        elastic::router(self.elastic.clone())
    }
}

fn unanswered() -> ApiError {
    ApiError::new(Kind::Bug, "a batch without answer")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod fuzz;
