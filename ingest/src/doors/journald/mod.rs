//! The journal as `systemd-journal-upload` sends it: one request that may never end, stored while it
//! comes. What it sends again after a break is recognised by its place in the journal.

mod export;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use futures::{FutureExt as _, Stream, StreamExt as _};
use model::batch::{BatchBuilder, Sequence};
use model::codec::{self, Head};
use model::error::Kind;
use model::limits::{BATCH_BYTES_TARGET, LABEL_BYTES_MAX};
use model::record::Record;
use model::stream::{IndexName, Labels, StreamId};
use model::text::cut;
use model::time::Timestamp;
use platform::http::ApiError;

use self::export::{Entry, Place, Reader};
use super::parcel::{self, Key, Parcel};
use super::stream::READ_BYTES;
use super::{IngestState, body};

/// The door's name in figures.
const DOOR: &str = "journald";
/// How often entries are offered that another request is sending as well.
const ATTEMPTS_MAX: usize = 8;
/// The longest wait before entries that were refused are offered again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

pub(super) async fn take(
    State(state): State<IngestState>,
    headers: HeaderMap,
    body: Body,
) -> Result<String, ApiError> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    // It sends each journal in order; others may send older parts after newer ones, and what is
    // behind would pass for sent already.
    let is_ordered = agent.is_some_and(|agent| agent.starts_with("systemd-journal-upload"));
    let packing = body::Packing::of(&headers)?;
    let mut upload = Upload {
        state,
        key: None,
        is_ordered,
        reader: Reader::default(),
        buffer: BytesMut::new(),
        runs: BTreeMap::new(),
        parts: 0,
        stored: 0,
    };
    // What a key stands for is known when all of it is here.
    let has_key = !is_ordered && headers.contains_key(parcel::KEY);
    if packing == body::Packing::Plain && !has_key {
        upload.read(body.into_data_stream()).await?;
    } else {
        let packed = body::read(body).await?;
        let unpack = move || packing.unpack(packed);
        let lost = |_| ApiError::new(Kind::Bug, "the journal could not be unpacked");
        let plain = tokio::task::spawn_blocking(unpack).await.map_err(lost)??;
        upload.key = parcel::key(&headers, &plain).filter(|_| has_key);
        upload.read(futures::stream::iter([Ok::<_, axum::Error>(plain)])).await?;
    }
    Ok(format!("{} entries stored.\n", upload.stored))
}

/// One request.
struct Upload {
    state: IngestState,
    key: Option<Key>,
    is_ordered: bool,
    reader: Reader,
    buffer: BytesMut,
    /// Where each journal is, by host and series.
    runs: BTreeMap<(String, String), Run>,
    /// Parts stored so far, each under a key of its own.
    parts: u64,
    stored: u64,
}

/// A journal: what waits to be stored, and the number of the next entry that is not.
#[derive(Debug, Default)]
struct Run {
    waiting: Vec<(u64, Record)>,
    next: Option<u64>,
}

impl Upload {
    async fn read<E: std::error::Error>(
        &mut self,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), ApiError> {
        let mut body = body;
        let broken =
            |error: E| ApiError::new(Kind::Invalid, format!("the request broke off: {error}"));
        while let Some(piece) = body.next().await {
            self.buffer.extend_from_slice(&piece.map_err(broken)?);
            while self.buffer.len() < READ_BYTES
                && let Some(Some(piece)) = body.next().now_or_never()
            {
                self.buffer.extend_from_slice(&piece.map_err(broken)?);
            }
            let mut entries = Vec::new();
            let read = loop {
                match self.reader.next(&mut self.buffer) {
                    Ok(Some(entry)) => entries.push(entry),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            // What came before the fault is stored.
            self.store(entries).await?;
            read.map_err(|error| invalid(&error))?;
        }
        let last = self.reader.last(&self.buffer).map_err(|error| invalid(&error))?;
        self.store(last.into_iter().collect()).await
    }

    async fn store(&mut self, entries: Vec<Entry>) -> Result<(), ApiError> {
        let mut loose = Vec::new();
        for entry in entries {
            match entry.place.filter(|_| self.is_ordered) {
                Some(Place { series, number }) => {
                    let run =
                        self.runs.entry((entry.host.unwrap_or_default(), series)).or_default();
                    run.waiting.push((number, entry.record));
                }
                None => loose.push((entry.host, entry.record)),
            }
        }
        if !loose.is_empty() {
            self.store_loose(loose).await?;
        }
        let mut runs = std::mem::take(&mut self.runs);
        for ((host, series), run) in &mut runs {
            self.stored += store_run(&self.state, host, series, run).await?;
        }
        // A machine has few journals; a sender that invents them is not followed for ever.
        if runs.len() < parcel::STREAMS_MAX {
            self.runs = runs;
        }
        Ok(())
    }

    async fn store_loose(
        &mut self,
        entries: Vec<(Option<String>, Record)>,
    ) -> Result<(), ApiError> {
        let key = self.key.as_ref().map(|key| key.part(self.parts));
        self.parts += 1;
        let mut parcel = Parcel::new(self.state.0.clock.now(), key);
        for (host, record) in entries {
            let stream = parcel.stream(IndexName::default(), labels(host.as_deref()))?;
            let message = record.message.clone();
            parcel.push(stream, record, || message.into_bytes())?;
        }
        self.stored += self.state.store(DOOR, parcel.finish()?).await?.accepted;
        Ok(())
    }
}

fn invalid(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(Kind::Invalid, error.to_string())
        .hint("send what `journalctl --output=export` writes")
}

fn labels(host: Option<&str>) -> Labels {
    let source = ("source".to_owned(), "journal".to_owned());
    let host = host.map(|host| cut(host, LABEL_BYTES_MAX)).filter(|host| !host.is_empty());
    let host = host.map(|host| ("host".to_owned(), host.to_owned()));
    Labels::new([source].into_iter().chain(host).collect()).unwrap_or_default()
}

/// Stores what waits of a journal, except what was stored before.
async fn store_run(
    state: &IngestState,
    host: &str,
    series: &str,
    run: &mut Run,
) -> Result<u64, ApiError> {
    let labels = labels(Some(host));
    let stream = StreamId::of(&IndexName::default(), &labels);
    let producer = xxhash_rust::xxh3::xxh3_64_with_seed(series.as_bytes(), stream.0).max(1);
    let mut attempts = 0;
    let mut pause = Duration::from_millis(50);
    loop {
        run.waiting.retain(|(number, _)| run.next.is_none_or(|next| *number >= next));
        let Some((last, _)) = run.waiting.last() else { return Ok(0) };
        let after = last + 1;
        let batches = pack(state.0.clock.now(), &labels, producer, run)?;
        let mut refusal = None;
        let mut taken = 0;
        for answer in state.append(batches).await {
            match answer {
                Ok(answer) if answer.duplicate => {}
                Ok(answer) => taken += u64::from(answer.record_count),
                Err(error) => refusal = Some(error),
            }
        }
        let Some(mut error) = refusal else {
            run.waiting.clear();
            run.next = Some(after);
            state.0.metrics.came_through(DOOR, taken);
            return Ok(taken);
        };
        match error.detail.next.take() {
            // Stored up to there already.
            Some(next) if attempts < ATTEMPTS_MAX => {
                attempts += 1;
                run.next = Some(next);
            }
            None if matches!(error.kind, Kind::Overloaded | Kind::Unavailable)
                && pause <= PAUSE_MAX =>
            {
                state.0.clock.sleep(pause).await;
                pause *= 2;
            }
            _ => return Err(error),
        }
    }
}

fn pack(
    arrival: Timestamp,
    labels: &Labels,
    producer: u64,
    run: &Run,
) -> Result<Vec<(Head, Bytes)>, ApiError> {
    let refused = |error: codec::DecodeError| ApiError::new(Kind::Invalid, error.to_string());
    let mut batches = Vec::new();
    let mut from = run.next.or(run.waiting.first().map(|(number, _)| *number)).unwrap_or_default();
    let mut builder = BatchBuilder::new(IndexName::default(), labels.clone());
    let mut waiting = run.waiting.iter().peekable();
    while let Some((number, record)) = waiting.next() {
        builder.push(record.clone(), arrival);
        let is_full = waiting
            .peek()
            .is_none_or(|(_, next)| !builder.fits(next) || builder.bytes() >= BATCH_BYTES_TARGET);
        if is_full {
            let empty = BatchBuilder::new(IndexName::default(), labels.clone());
            let batch = std::mem::replace(&mut builder, empty).finish();
            let sequence = Sequence { producer, epoch: 0, from, to: number + 1 };
            let bytes = codec::encode(&batch, sequence).map_err(refused)?;
            batches.push((codec::head(&bytes).map_err(refused)?, bytes));
            from = number + 1;
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests;
