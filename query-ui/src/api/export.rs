//! `/api/v1/export`: the whole answer as a file, streamed, of any size.

use std::io::Write as _;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::{Query as Parameters, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use model::error::Kind;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::json::{Records, put_text, value};
use crate::plan::{Engine, Extras, OutputColumn, QueryFailure, Shape, Ticket};

/// Bytes that go out together.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow reader.
const CHUNKS_AHEAD: usize = 4;
/// The columns of records as CSV.
const COLUMNS: [&str; 8] =
    ["timestamp", "level", "message", "id", "ingest_time", "index", "labels", "fields"];

/// What the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ndjson,
    Csv,
}

/// The request: a query's, and the format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    query: String,
    from: Option<Value>,
    to: Option<Value>,
    limit: Option<u64>,
    indexes: Option<Vec<String>>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn post(
    State(state): State<QueryState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(Kind::Invalid, format!("the request is not understood: {error}"))
            .hint("send a JSON object such as {\"query\":\"error\",\"format\":\"csv\"}")
    })?;
    export(state, &headers, request).await
}

pub(super) async fn get(
    State(state): State<QueryState>,
    headers: HeaderMap,
    request: Result<Parameters<Request>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Parameters(request) = request.map_err(|error| {
        ApiError::new(Kind::Invalid, error.body_text())
            .hint("parameters are query, from, to, limit, and format (ndjson or csv)")
    })?;
    export(state, &headers, request).await
}

async fn export(
    state: QueryState,
    headers: &HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let engine = state.engine;
    let format = request.format;
    let ask = QueryRequest {
        query: request.query,
        from: request.from,
        to: request.to,
        limit: Some(request.limit.unwrap_or(0)),
        indexes: request.indexes,
        ..QueryRequest::default()
    };
    let ask = Ask::of(ask, engine.clock().now())?;
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let packed =
        accepted.is_some_and(|all| all.split(',').any(|one| one.trim().starts_with("gzip")));
    let ticket = engine.admit().await.map_err(|failure| refusal(&failure))?;
    let (to, from) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        let packer = packed.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let file =
            File { to: to.clone(), buffer: Vec::new(), packer, engine: engine.clone(), format };
        let outcome = engine.run(produce(file, ticket, ask)).await;
        if let Err(failure) = outcome {
            let detail = refusal(&failure).into_detail();
            // The body ends without its proper end: nobody takes a part for the whole.
            to.send(Err(std::io::Error::other(detail.message))).await.ok();
        }
    });
    let mut response =
        Body::from_stream(ReceiverStream::new(from).map(|chunk| chunk)).into_response();
    let (kind, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"sawlog.ndjson\""),
        Format::Csv => {
            ("text/csv; charset=utf-8; header=present", "attachment; filename=\"sawlog.csv\"")
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// A file on its way out.
struct File {
    to: mpsc::Sender<std::io::Result<Bytes>>,
    buffer: Vec<u8>,
    packer: Option<GzEncoder<Vec<u8>>>,
    engine: Engine,
    format: Format,
}

/// The reader went, or does not read on.
struct Gone;

/// Produces the file; it ends when the reader goes.
async fn produce(mut file: File, ticket: Ticket, ask: Ask) -> Result<(), QueryFailure> {
    let to = file.to.clone();
    let outcome = tokio::select! {
        outcome = file.whole(&ask) => outcome,
        () = to.closed() => Ok(()),
    };
    drop(ticket);
    outcome
}

impl File {
    async fn whole(&mut self, ask: &Ask) -> Result<(), QueryFailure> {
        let mut answer = self.engine.clone().ask(&ask.question).await?;
        let shape = answer.shape().clone();
        if self.format == Format::Csv {
            match &shape {
                Shape::Records(_) => self.csv_line(COLUMNS.iter().map(|name| (*name).to_owned())),
                Shape::Table(columns) => self.csv_line(columns.iter().map(|c| c.name.clone())),
            }
        }
        while let Some(rows) = answer.next().await? {
            for row in 0..rows.num_rows() {
                match &shape {
                    Shape::Records(extras) => self.record(&rows, row, extras),
                    Shape::Table(columns) => self.row(&rows, row, columns),
                }
                if self.buffer.len() >= CHUNK_BYTES && self.send(false).await.is_err() {
                    return Ok(());
                }
            }
        }
        if let Some(missing) = answer.missing().first() {
            tracing::error!(what = missing.what, why = missing.why, "an export is incomplete");
            return Err(QueryFailure::Broken);
        }
        self.send(true).await.ok();
        Ok(())
    }

    fn record(&mut self, rows: &RecordBatch, row: usize, extras: &Extras) {
        let Some(records) = Records::of(rows, extras) else { return };
        let start = self.buffer.len();
        records.write(row, &mut self.buffer);
        if self.format == Format::Ndjson {
            return self.buffer.push(b'\n');
        }
        let text = self.buffer.split_off(start);
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        self.csv_line(COLUMNS.iter().map(|name| cell(record.get(*name))));
    }

    fn row(&mut self, rows: &RecordBatch, row: usize, columns: &[OutputColumn]) {
        let cells = columns.iter().zip(rows.columns());
        if self.format == Format::Csv {
            return self.csv_line(cells.map(|(c, values)| cell(Some(&value(values, row, c.kind)))));
        }
        self.buffer.push(b'{');
        for (at, (column, values)) in cells.enumerate() {
            if at > 0 {
                self.buffer.push(b',');
            }
            put_text(&mut self.buffer, &column.name);
            self.buffer.push(b':');
            crate::plan::json::put_cell(&mut self.buffer, values, row, column.kind);
        }
        self.buffer.extend_from_slice(b"}\n");
    }

    /// A line as RFC 4180 has it.
    fn csv_line(&mut self, cells: impl Iterator<Item = String>) {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                self.buffer.push(b',');
            }
            if cell.contains(['"', ',', '\n', '\r']) {
                self.buffer.push(b'"');
                self.buffer.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
                self.buffer.push(b'"');
            } else {
                self.buffer.extend_from_slice(cell.as_bytes());
            }
        }
        self.buffer.extend_from_slice(b"\r\n");
    }

    async fn send(&mut self, last: bool) -> Result<(), Gone> {
        let mut chunk = std::mem::take(&mut self.buffer);
        if let Some(packer) = &mut self.packer {
            // Writing into memory does not fail.
            packer.write_all(&chunk).map_err(|_| Gone)?;
            if last {
                packer.try_finish().map_err(|_| Gone)?;
            }
            chunk = std::mem::take(packer.get_mut());
        }
        if chunk.is_empty() {
            return Ok(());
        }
        let stall_max = self.engine.settings().stall_max;
        match self.engine.clock().timeout(stall_max, self.to.send(Ok(chunk.into()))).await {
            Some(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// A value as a cell: text as it is, the rest as JSON, nothing for none.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
