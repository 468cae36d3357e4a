//! `POST /api/v1/query`: an answer as a stream of lines.

use std::convert::Infallible;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use model::time::Timestamp;
use platform::http::ApiError;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::request::Ask;
use super::{QueryState, refusal};
use crate::plan::json::{Records, put_cell, put_text};
use crate::plan::{Answer, Engine, OutputColumn, QueryFailure, Shape, Ticket};

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
        let outcome = engine.run(produce(lines, ticket, ask)).await;
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
async fn produce(mut lines: Lines, ticket: Ticket, ask: Ask) -> Result<(), QueryFailure> {
    let to = lines.to.clone();
    tokio::select! {
        outcome = answer(&mut lines, &ticket, &ask) => outcome,
        () = to.closed() => Ok(()),
    }
}

async fn answer(lines: &mut Lines, ticket: &Ticket, ask: &Ask) -> Result<(), QueryFailure> {
    let answer = lines.engine.clone().ask(&ask.question).await?;
    lines.whole(answer, ticket, (ask.from, ask.to)).await
}

/// The ends of the range that is asked; open where there is none.
type Times = (Option<Timestamp>, Option<Timestamp>);

fn header_of(shape: &Shape, (from, to): Times) -> serde_json::Value {
    let column = |column: &OutputColumn| json!({ "name": column.name, "type": column.kind.name() });
    let (kind, columns) = match shape {
        Shape::Records(_) => ("records", Vec::new()),
        Shape::Table(columns) => ("table", columns.iter().map(column).collect()),
    };
    let shown = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    json!({ "kind": kind, "columns": columns, "from": shown(from), "to": shown(to) })
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
    /// All lines of an answer.
    async fn whole(
        &mut self,
        mut answer: Answer,
        ticket: &Ticket,
        times: Times,
    ) -> Result<(), QueryFailure> {
        let shape = answer.shape().clone();
        self.line(&json!({ "header": header_of(&shape, times) }));
        if self.flush().await.is_err() {
            return Ok(());
        }
        let (mut count, mut last) = (0, None);
        while let Some(rows) = answer.next().await? {
            count += rows.num_rows() as u64;
            if let (Shape::Records(extras), Some(row)) = (&shape, rows.num_rows().checked_sub(1)) {
                last = Records::of(&rows, extras).map(|records| records.place(row));
            }
            if self.rows(&rows, &shape).await.is_err() {
                return Ok(());
            }
        }
        let elapsed_ms = u64::try_from(ticket.elapsed().as_millis()).unwrap_or(u64::MAX);
        let cursor = answer.next_page(count, last).map(|cursor| cursor.to_string());
        self.line(&json!({ "end": {
            "rows": count, "matched": null, "elapsed_ms": elapsed_ms, "cursor": cursor,
            "partial": answer.missing(),
        }}));
        self.flush().await.ok();
        Ok(())
    }

    fn line(&mut self, value: &serde_json::Value) {
        self.buffer.extend_from_slice(value.to_string().as_bytes());
        self.buffer.push(b'\n');
    }

    async fn rows(&mut self, rows: &RecordBatch, shape: &Shape) -> Result<(), Gone> {
        for row in 0..rows.num_rows() {
            self.buffer.extend_from_slice(b"{\"row\":");
            match shape {
                Shape::Records(extras) => {
                    if let Some(records) = Records::of(rows, extras) {
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
