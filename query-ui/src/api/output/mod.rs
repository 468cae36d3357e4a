//! An answer on its way out: lines, JSON, CSV, Arrow or Parquet, in chunks, packed if asked for.

mod arrow;
mod csv;

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use model::error::Kind;
use model::time::Timestamp;
use platform::http::{ApiError, RequestId};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use self::arrow::ArrowWriter;
use super::refusal;
use super::request::Page;
use crate::plan::json::{Records, put_cell, put_text};
use crate::plan::{Answer, Engine, OutputColumn, QueryFailure, Shape, Ticket};

/// Bytes of an answer that go out together.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow reader.
const CHUNKS_AHEAD: usize = 4;
/// How long lines wait for more while the query works: a small answer goes out in one piece.
const LINGER: Duration = Duration::from_millis(20);
/// How often a query that works says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// The columns of records in a table.
const RECORD_COLUMNS: [&str; 8] =
    ["timestamp", "level", "message", "id", "ingest_time", "index", "labels", "fields"];

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines that say what they are: header, rows, progress, end.
    Stream,
    /// One JSON object.
    Json,
    /// Rows alone, one JSON object a line.
    Lines,
    /// RFC 4180.
    Csv,
    /// A stream of Arrow's record batches.
    Arrow,
    /// A file of Parquet.
    Parquet,
}

impl Format {
    const TYPES: [(&'static str, Self); 7] = [
        ("application/x-ndjson", Self::Stream),
        ("application/json", Self::Json),
        ("text/csv", Self::Csv),
        ("application/vnd.apache.arrow.stream", Self::Arrow),
        ("application/vnd.apache.parquet", Self::Parquet),
        ("application/*", Self::Stream),
        ("*/*", Self::Stream),
    ];

    /// What a request accepts: of equal wishes the first that there is.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Self::Stream) };
        let accept = accept.to_str().unwrap_or_default();
        let mut best: Option<(f32, Self)> = None;
        for wish in accept.split(',') {
            let mut parts = wish.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            let known = Self::TYPES.iter().find(|(name, _)| *name == kind);
            if let Some((_, format)) = known.filter(|_| weight > 0.0)
                && best.is_none_or(|(most, _)| weight > most)
            {
                best = Some((weight, *format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| {
            let names: Vec<&str> = Self::TYPES.iter().take(5).map(|(name, _)| *name).collect();
            ApiError::new(Kind::Invalid, format!("an answer cannot be {accept:?}"))
                .code("not_acceptable")
                .hint(format!("accept one of {}", names.join(", ")))
        })
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Stream | Self::Lines => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    /// What a request accepts.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let gzip = accepted.unwrap_or_default().split(',').any(|wish| {
            let (name, weight) = wish.split_once(";q=").unwrap_or((wish, "1"));
            name.trim() == "gzip" && weight.trim().parse().is_ok_and(|weight: f32| weight > 0.0)
        });
        if gzip { Self::Gzip } else { Self::None }
    }
}

/// The ends of the range that is asked; open where there is none.
pub(super) type Times = (Option<Timestamp>, Option<Timestamp>);

/// Answers with what `begin` asks. What fails before the first row has its own status.
pub(super) async fn stream(
    engine: &Engine,
    ticket: Ticket,
    (format, packing): (Format, Packing),
    times: Times,
    begin: impl Future<Output = Result<Answer, QueryFailure>> + Send + 'static,
) -> Result<Response, ApiError> {
    let (to, from) = mpsc::channel(CHUNKS_AHEAD);
    let (started, start) = oneshot::channel();
    let gzip = match packing {
        Packing::None => None,
        Packing::Gzip => Some(GzEncoder::new(Vec::new(), Compression::fast())),
    };
    let (buffer, arrow) = (Vec::new(), None);
    let mut output = Output { to, format, buffer, gzip, arrow, engine: engine.clone() };
    let engine = engine.clone();
    let work = async move {
        let gone = output.to.clone();
        let tail = output.to.clone();
        // Its place is free when its threads let go of it, not when its end is wished for.
        let ticket = Arc::new(ticket);
        let asked = ticket.clone();
        let answered = engine.run(async move {
            let answer = begin.await?;
            if started.send(()).is_err() {
                return Ok(());
            }
            let outcome = output.whole(answer, &asked, times).await;
            if outcome.is_err() {
                // What was made before stands before the reason.
                output.flush().await.ok();
            }
            outcome
        });
        // Whether to end is heard outside of the queries' threads, which may be deep in work.
        let outcome = tokio::select! {
            outcome = ticket.unless_cancelled(answered) => outcome,
            () = gone.closed() => Ok(()),
        };
        if let Err(failure) = outcome {
            // Nobody reads any more: nobody needs to know.
            tail.send(Err(failure)).await.ok();
        }
    };
    tokio::spawn(work.in_current_span());
    let mut from = ReceiverStream::new(from);
    if start.await.is_err() {
        let failure = match futures::StreamExt::next(&mut from).await {
            Some(Err(failure)) => failure,
            _ => QueryFailure::Broken,
        };
        return Err(refusal(&failure));
    }
    let request = RequestId::current();
    let chunks = futures::StreamExt::map(from, move |chunk| {
        chunk.or_else(|failure| last_words(failure, format, request.clone()))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if packing == Packing::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// A failure behind the first byte: formats that can say so do, of others the connection ends
/// without its proper end, so that nobody takes a part for the whole.
fn last_words(
    failure: QueryFailure,
    format: Format,
    request: Option<RequestId>,
) -> io::Result<Bytes> {
    let said = || refusal(&failure).into_detail();
    let error = match request {
        Some(request) => request.sync_scope(said),
        None => said(),
    };
    match format {
        Format::Stream => Ok(Bytes::from(format!("{}\n", json!({ "error": error })))),
        Format::Json => Ok(Bytes::from(format!("],\"error\":{}}}\n", json!(error)))),
        Format::Lines | Format::Csv | Format::Arrow | Format::Parquet => {
            Err(io::Error::other(failure))
        }
    }
}

/// The reader went, or does not read on.
struct Gone;

/// An answer on its way out.
struct Output {
    to: mpsc::Sender<Result<Bytes, QueryFailure>>,
    format: Format,
    buffer: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    arrow: Option<ArrowWriter>,
    engine: Engine,
}

impl Output {
    /// All of an answer.
    async fn whole(
        &mut self,
        mut answer: Answer,
        ticket: &Ticket,
        times: Times,
    ) -> Result<(), QueryFailure> {
        let shape = answer.shape().clone();
        self.begin(&answer, times)?;
        if self.format != Format::Stream && self.flush().await.is_err() {
            return Ok(());
        }
        let (mut count, mut last) = (0, None);
        loop {
            let Ok(rows) = self.next(&mut answer, ticket).await? else { return Ok(()) };
            let Some(rows) = rows else { break };
            if let (Shape::Records(extras), Some(row)) = (&shape, rows.num_rows().checked_sub(1)) {
                last = Records::of(&rows, extras).map(|records| records.place(row));
            }
            if self.rows(&rows, &shape, count).await?.is_err() {
                return Ok(());
            }
            count += rows.num_rows() as u64;
        }
        let (warnings, partial) = (answer.warnings().await, answer.missing());
        let elapsed_ms = u64::try_from(ticket.elapsed().as_millis()).unwrap_or(u64::MAX);
        let page = |place| Page { place, times: Some(times) }.to_string();
        let cursor = answer.next_page(count, last).map(page);
        let progress = answer.progress();
        let end = json!({
            "rows": count, "matched": answer.matched(), "elapsed_ms": elapsed_ms, "cursor": cursor,
            "partial": partial, "warnings": warnings,
            "stats": { "units": progress.units, "units_read": progress.units_done,
                "records_passed": progress.rows,
                "plan_us": u64::try_from(answer.planned().as_micros()).unwrap_or(u64::MAX) },
        });
        match self.format {
            Format::Stream => self.line(&json!({ "end": end })),
            Format::Json => {
                self.buffer.extend_from_slice(format!("],\"end\":{end}}}\n").as_bytes());
            }
            // A file cannot say that something is missing: it is not whole, so it does not end.
            Format::Lines | Format::Csv | Format::Arrow | Format::Parquet => {
                if let Some(missing) = partial.into_iter().next() {
                    return Err(QueryFailure::Incomplete(missing.what, missing.why));
                }
            }
        }
        if let Some(arrow) = &mut self.arrow {
            arrow.finish(&mut self.buffer)?;
        }
        self.end().await.ok();
        Ok(())
    }

    /// The next rows; tells meanwhile how far the query is.
    async fn next(
        &mut self,
        answer: &mut Answer,
        ticket: &Ticket,
    ) -> Result<Result<Option<RecordBatch>, Gone>, QueryFailure> {
        let clock = self.engine.clock().clone();
        let watch = answer.watch();
        let mut next = pin!(answer.next());
        let mut lingers = !self.buffer.is_empty();
        loop {
            let wait = if lingers { LINGER } else { PROGRESS_INTERVAL };
            tokio::select! {
                rows = &mut next => return rows.map(Ok),
                () = clock.sleep(wait), if self.format == Format::Stream => {
                    if !lingers {
                        let so_far = watch.now();
                        let elapsed_ms =
                            u64::try_from(ticket.elapsed().as_millis()).unwrap_or(u64::MAX);
                        self.line(&json!({ "progress": { "units": so_far.units,
                            "units_read": so_far.units_done, "records_passed": so_far.rows,
                            "elapsed_ms": elapsed_ms } }));
                    }
                    lingers = false;
                    if self.flush().await.is_err() {
                        return Ok(Err(Gone));
                    }
                }
            }
        }
    }

    fn begin(&mut self, answer: &Answer, (from, to): Times) -> Result<(), QueryFailure> {
        let shape = answer.shape();
        let column =
            |column: &OutputColumn| json!({ "name": column.name, "type": column.kind.name() });
        let (kind, columns) = match shape {
            Shape::Records(_) => ("records", Vec::new()),
            Shape::Table(columns) => ("table", columns.iter().map(column).collect()),
        };
        let shown = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let header =
            json!({ "kind": kind, "columns": columns, "from": shown(from), "to": shown(to) });
        match self.format {
            Format::Stream => self.line(&json!({ "header": header })),
            Format::Json => {
                let head = format!("{{\"header\":{header},\"rows\":[");
                self.buffer.extend_from_slice(head.as_bytes());
            }
            Format::Lines => {}
            Format::Csv => csv::header(shape, &mut self.buffer),
            Format::Arrow | Format::Parquet => {
                let (schema, is_file) = (answer.schema(), self.format == Format::Parquet);
                self.arrow = Some(ArrowWriter::new(shape, &schema, is_file, &mut self.buffer)?);
            }
        }
        Ok(())
    }

    fn line(&mut self, value: &serde_json::Value) {
        self.buffer.extend_from_slice(value.to_string().as_bytes());
        self.buffer.push(b'\n');
    }

    async fn rows(
        &mut self,
        rows: &RecordBatch,
        shape: &Shape,
        before: u64,
    ) -> Result<Result<(), Gone>, QueryFailure> {
        if let Some(arrow) = &mut self.arrow {
            arrow.rows(rows, shape, &mut self.buffer)?;
            return Ok(self.flush().await);
        }
        for row in 0..rows.num_rows() {
            match self.format {
                Format::Csv => csv::row(rows, row, shape, &mut self.buffer),
                Format::Json => {
                    let first = before == 0 && row == 0;
                    self.buffer.extend_from_slice(if first { b"" } else { b",\n" });
                    json_row(rows, row, shape, &mut self.buffer);
                }
                Format::Stream => {
                    self.buffer.extend_from_slice(b"{\"row\":");
                    json_row(rows, row, shape, &mut self.buffer);
                    self.buffer.extend_from_slice(b"}\n");
                }
                Format::Lines | Format::Arrow | Format::Parquet => {
                    json_row(rows, row, shape, &mut self.buffer);
                    self.buffer.push(b'\n');
                }
            }
            if self.buffer.len() >= CHUNK_BYTES && self.flush().await.is_err() {
                return Ok(Err(Gone));
            }
        }
        // Lines go out when the next rows are waited for; a file goes out in whole chunks.
        Ok(Ok(()))
    }

    /// Sends what there is.
    async fn flush(&mut self) -> Result<(), Gone> {
        let chunk = std::mem::take(&mut self.buffer);
        let chunk = match &mut self.gzip {
            None => chunk,
            Some(gzip) => {
                gzip.write_all(&chunk).map_err(|_| Gone)?;
                std::mem::take(gzip.get_mut())
            }
        };
        self.send(chunk).await
    }

    /// Sends the rest.
    async fn end(&mut self) -> Result<(), Gone> {
        self.flush().await?;
        match self.gzip.take() {
            None => Ok(()),
            Some(gzip) => {
                let rest = gzip.finish().map_err(|_| Gone)?;
                self.send(rest).await
            }
        }
    }

    async fn send(&mut self, chunk: Vec<u8>) -> Result<(), Gone> {
        if chunk.is_empty() {
            return Ok(());
        }
        let stall_max = self.engine.settings().stall_max;
        let sent = self.to.send(Ok(Bytes::from(chunk)));
        match self.engine.clock().timeout(stall_max, sent).await {
            Some(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn json_row(rows: &RecordBatch, row: usize, shape: &Shape, to: &mut Vec<u8>) {
    let columns = match shape {
        Shape::Records(extras) => {
            if let Some(records) = Records::of(rows, extras) {
                records.write(row, to);
            }
            return;
        }
        Shape::Table(columns) => columns,
    };
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
