//! `POST /api/v1/query`: an answer as a stream of lines.

use std::convert::Infallible;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use platform::http::ApiError;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::json::{Records, put_cell, put_text};
use crate::plan::{Engine, OutputColumn, QueryFailure, Question, Shape, Ticket};

/// Bytes of lines that go out together.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow reader.
const CHUNKS_AHEAD: usize = 4;

pub(super) async fn query(
    State(state): State<QueryState>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let engine = state.engine;
    let ask = Ask::read(&body, engine.clock().now())?;
    let ticket = engine.admit().await.map_err(|failure| refusal(&failure))?;
    let (to, from) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        let lines = Lines { to: to.clone(), buffer: Vec::new(), engine: engine.clone() };
        let outcome = engine.run(produce(lines, ticket, ask.question)).await;
        if let Err(failure) = outcome {
            let error = refusal(&failure).into_detail();
            let line = format!("{}\n", json!({ "error": error }));
            // Nobody reads any more: nobody needs to know.
            to.send(Bytes::from(line)).await.ok();
        }
    });
    let body = Body::from_stream(ReceiverStream::new(from).map(Ok::<Bytes, Infallible>));
    let mut response = body.into_response();
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let cache = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    Ok(response)
}

/// Produces lines until the end, or until the reader goes.
async fn produce(mut lines: Lines, ticket: Ticket, question: Question) -> Result<(), QueryFailure> {
    let to = lines.to.clone();
    tokio::select! {
        outcome = answer(&mut lines, &ticket, &question) => outcome,
        () = to.closed() => Ok(()),
    }
}

async fn answer(
    lines: &mut Lines,
    ticket: &Ticket,
    question: &Question,
) -> Result<(), QueryFailure> {
    let mut answer = lines.engine.clone().ask(question).await?;
    let shape = answer.shape().clone();
    lines.line(&json!({ "header": header_of(&shape) }));
    if lines.flush().await.is_err() {
        return Ok(());
    }
    let mut count = 0;
    while let Some(rows) = answer.next().await? {
        count += rows.num_rows();
        if lines.rows(&rows, &shape).await.is_err() {
            return Ok(());
        }
    }
    let elapsed_ms = u64::try_from(ticket.elapsed().as_millis()).unwrap_or(u64::MAX);
    lines.line(&json!({ "end": {
        "rows": count, "matched": null, "elapsed_ms": elapsed_ms, "partial": answer.missing(),
    }}));
    lines.flush().await.ok();
    Ok(())
}

fn header_of(shape: &Shape) -> serde_json::Value {
    let column = |column: &OutputColumn| json!({ "name": column.name, "type": column.kind.name() });
    match shape {
        Shape::Records => json!({ "kind": "records", "columns": [] }),
        Shape::Table(columns) => {
            json!({ "kind": "table", "columns": columns.iter().map(column).collect::<Vec<_>>() })
        }
    }
}

/// The reader went, or does not read on.
struct Gone;

/// Lines on their way out.
struct Lines {
    to: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
    engine: Engine,
}

impl Lines {
    fn line(&mut self, value: &serde_json::Value) {
        self.buffer.extend_from_slice(value.to_string().as_bytes());
        self.buffer.push(b'\n');
    }

    async fn rows(&mut self, rows: &RecordBatch, shape: &Shape) -> Result<(), Gone> {
        for row in 0..rows.num_rows() {
            self.buffer.extend_from_slice(b"{\"row\":");
            match shape {
                Shape::Records => {
                    if let Some(records) = Records::of(rows) {
                        records.write(row, &mut self.buffer);
                    }
                }
                Shape::Table(columns) => table_row(rows, row, columns, &mut self.buffer),
            }
            self.buffer.extend_from_slice(b"}\n");
            if self.buffer.len() >= CHUNK_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        let stall_max = self.engine.settings().stall_max;
        match self.engine.clock().timeout(stall_max, self.to.send(chunk)).await {
            Some(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn table_row(rows: &RecordBatch, row: usize, columns: &[OutputColumn], to: &mut Vec<u8>) {
    to.push(b'{');
    for (at, (column, values)) in columns.iter().zip(rows.columns()).enumerate() {
        if at > 0 {
            to.push(b',');
        }
        put_text(to, &column.name);
        to.push(b':');
        put_cell(to, values, row, column.kind);
    }
    to.push(b'}');
}
