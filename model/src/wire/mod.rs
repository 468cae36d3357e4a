//! Bodies of the HTTP API (docs/api.md), shared by those who serve it and those who call it.

mod cluster;

use serde::{Deserialize, Serialize};

pub use cluster::{ClusterNode, ClusterPartition, ClusterReplica, ClusterStatus};

/// Content type of an encoded batch ([`crate::codec`]).
pub const BATCH_CONTENT_TYPE: &str = "application/x-sawlog-batch";
/// Path that takes one encoded batch.
pub const BATCHES_PATH: &str = "/api/v1/batches";

/// Body of every failed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One of the codes of docs/api.md.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// For code `sequence`: where the producer's next batch must start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The name of the request, by which the node's own words speak of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A place in a query's text, in characters from 0, end exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// First character.
    pub start: usize,
    /// First character after.
    pub end: usize,
    /// What could stand there.
    #[serde(default)]
    pub expected: Vec<String>,
}

/// Answer to an accepted batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// Records taken now; 0 for a repeat.
    pub accepted: u64,
    /// Whether the batch had been taken before.
    pub duplicate: bool,
    /// Where the producer's next batch must start.
    pub next: u64,
}

/// Answer to an NDJSON request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestAnswer {
    /// Records taken.
    pub accepted: u64,
    /// Of those, lines kept as text because they could not be read.
    pub poisoned: u64,
    /// Whether the request had been taken before (by `Idempotency-Key`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// Request of query, histogram and fields. Times as texts or numbers (docs/api.md).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The query; empty finds everything.
    #[serde(default)]
    pub query: String,
    /// First moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// First moment after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
    /// Records at most; 0 means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only these indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexes: Option<Vec<String>>,
    /// Where the page begins: what the end of the page before had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Histogram: buckets at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,
    /// Field values: the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Something an answer lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The node's state: `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The node's id.
    pub node: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether it takes and answers everything.
    pub ready: bool,
    /// Why it does not; earlier programs do not say it.
    #[serde(default)]
    pub lack: Option<String>,
    /// Whether it has stored records in the last moments that cannot be found yet.
    #[serde(default)]
    pub behind: bool,
    /// For how many seconds the store that all nodes share has not answered it, where it does not.
    #[serde(default)]
    pub store_silent_s: Option<u64>,
    /// Where its state is.
    pub data_dir: String,
    /// The disk below it.
    pub disk: DiskStatus,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
    /// The indexes.
    pub indexes: Vec<IndexStatus>,
    /// The embedded shipper, if there is one.
    pub shippers: Vec<ShipperStatus>,
}

/// Bytes of the disk below the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Taken by Sawlog.
    pub used_bytes: u64,
    /// Free for it.
    pub free_bytes: u64,
    /// The disk's size.
    pub total_bytes: u64,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// Records accepted since ever.
    pub committed: u64,
    /// Of those, how many are in splits.
    pub published: u64,
    /// Records searchable from memory.
    pub fresh_records: u64,
    /// Bytes of its queue segments.
    pub queue_bytes: u64,
    /// Age of the oldest record that is in no split, seconds.
    pub oldest_unpublished_s: u64,
}

/// One index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IndexStatus {
    /// Its name.
    pub name: String,
    /// Records in it, fresh ones included.
    pub records: u64,
    /// Its splits.
    pub splits: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of their records before compression.
    pub raw_bytes: u64,
    /// Earliest timestamp, RFC 3339.
    pub time_min: Option<String>,
    /// Latest timestamp, RFC 3339.
    pub time_max: Option<String>,
    /// Days that records are kept.
    pub retention_days: u32,
    /// Whether that was set for this index; else the node's settings say it.
    #[serde(default)]
    pub retention_is_own: bool,
}

/// What can be changed of an index: `PATCH /api/v1/indexes/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSettings {
    /// Days that its records are kept; without a number the node's settings say it.
    pub retention_days: Option<u32>,
}

/// A view that everybody may see: `/api/v1/views`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedView {
    /// Its place: `/v/{id}`.
    pub id: String,
    /// What it shows.
    pub name: String,
    /// Who saved it, as they call themselves; may be empty.
    pub author: String,
    /// When, RFC 3339.
    pub saved: String,
    /// The page's address behind the path: empty, or from the `?` on.
    pub search: String,
}

/// Path below which shippers report, by id.
pub const SHIPPERS_PATH: &str = "/api/v1/shippers";

/// What a shipper says of itself: `POST /api/v1/shippers/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShipperReport {
    /// The name of its machine.
    pub host: String,
    /// Version of the program.
    pub version: String,
    /// Files it follows.
    pub files: u64,
    /// Bytes of them that are not acknowledged yet.
    pub lag_bytes: u64,
    /// Gaps it found since it started: bytes that were gone before they were read.
    #[serde(default)]
    pub gaps: u64,
    /// Those bytes.
    #[serde(default)]
    pub lost_bytes: u64,
    /// What it looks for.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// The last thing that went wrong, while it still does.
    #[serde(default)]
    pub last_error: Option<String>,
    /// The files that are furthest behind, at most [`REPORTED_FILES_MAX`].
    #[serde(default)]
    pub behind: Vec<ReportedFile>,
}

/// Where the settings are that shippers fetch.
pub const SHIPPER_SETTINGS_PATH: &str = "/api/v1/shippers/settings";

/// Settings for shippers, as the cluster keeps them: `GET /api/v1/shippers/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShipperSettings {
    /// Counts up with each change. Zero: nobody has written any.
    pub version: u64,
    /// TOML, as in a settings file of a shipper.
    pub settings: String,
    /// When they were written, RFC 3339.
    pub changed: Option<String>,
}

/// Files of a report.
pub const REPORTED_FILES_MAX: usize = 50;

/// One file of a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReportedFile {
    /// Where it is.
    pub path: String,
    /// Bytes that are not acknowledged yet.
    pub lag_bytes: u64,
    /// What went wrong, while it does.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// A shipper as the node knows it: `GET /api/v1/shippers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownShipper {
    /// Its id.
    pub id: String,
    /// When it reported last, RFC 3339.
    pub seen: String,
    /// How long ago that is, seconds.
    #[serde(default)]
    pub silent_s: u64,
    /// What it said then.
    #[serde(flatten)]
    pub report: ShipperReport,
}

/// A shipper that runs inside the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShipperStatus {
    /// Files it reads.
    pub files: u64,
    /// Bytes it has not got acknowledged yet.
    pub lag_bytes: u64,
    /// What it looks for.
    pub patterns: Vec<String>,
    /// The last thing that went wrong, if it still does.
    pub last_error: Option<String>,
}
