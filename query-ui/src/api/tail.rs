//! `GET /api/v1/tail`: matching records as they are accepted, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::UInt64Type;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use index::fresh::FreshPart;
use index::scan::ScanRequest;
use index::searcher::Searcher;
use model::error::Kind;
use model::partition::PartitionId;
use model::time::TimeRange;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::QueryState;
use super::body::{Params, Said, invalid_value};
use super::request::understood;
use crate::plan::json::Records;
use crate::plan::{Engine, Extras, RECORD};

/// How often a silent tail says that it is alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader; then whole parts are lost for it, and it is told.
const EVENTS_AHEAD: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailParams {
    #[serde(default)]
    query: String,
}

impl Said for TailParams {
    const RIGHT: &'static str = "parameters are query and after";
}

type Events = ReceiverStream<Result<Event, Infallible>>;

pub(super) async fn tail(
    State(state): State<QueryState>,
    Params(params): Params<TailParams>,
) -> Result<Sse<axum::response::sse::KeepAliveStream<Events>>, ApiError> {
    let query = understood(&params.query)?;
    if !query.pipes.is_empty() {
        return Err(invalid_value("a tail takes a search without pipes")
            .hint("leave out everything from the first |"));
    }
    if query.time.is_some() {
        return Err(invalid_value("a tail has no times: it shows what comes")
            .hint("leave out the time words"));
    }
    let Ok(permit) = state.tails.clone().try_acquire_owned() else {
        let most = state.engine.settings().tails_max;
        return Err(ApiError::new(Kind::Overloaded, format!("{most} tails are open already")));
    };
    // What was acknowledged before belongs to searches.
    state.engine.searcher().catch_up().await;
    let (to, events) = mpsc::channel(EVENTS_AHEAD);
    let tail = Tail {
        request: Arc::new(ScanRequest {
            filter: query.filter,
            range: TimeRange::ALL,
            columns: RECORD.to_vec(),
            newest: None,
            counted: false,
        }),
        parts: state.engine.searcher().follow(),
        engine: state.engine,
        to,
        ends: HashMap::new(),
        _permit: permit,
    };
    let shutdown = state.shutdown;
    tokio::spawn(async move {
        let metrics = tail.engine.metrics().clone();
        let gone = tail.to.clone();
        metrics.tails.inc();
        tokio::select! {
            () = tail.run() => {}
            () = gone.closed() => {}
            () = shutdown.wait() => {}
        }
        metrics.tails.dec();
    });
    let alive = KeepAlive::new().interval(ALIVE_INTERVAL);
    Ok(Sse::new(ReceiverStream::new(events)).keep_alive(alive))
}

/// One reader's tail.
struct Tail {
    engine: Engine,
    request: Arc<ScanRequest>,
    parts: broadcast::Receiver<Arc<FreshPart>>,
    to: mpsc::Sender<Result<Event, Infallible>>,
    /// The offset behind the last record seen of each partition.
    ends: HashMap<PartitionId, u64>,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    async fn run(mut self) {
        let mut lost_parts = 0;
        loop {
            let part = match self.parts.recv().await {
                Ok(part) => part,
                Err(RecvError::Lagged(parts)) => {
                    lost_parts += parts;
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            let lost = self.lost(&part, std::mem::take(&mut lost_parts));
            if lost > 0 {
                self.engine.metrics().tail_lost.inc_by(lost);
                let data = json!({ "count": lost }).to_string();
                if self.send("lost", data).await.is_err() {
                    return;
                }
            }
            for record in self.records(part).await {
                if self.send("record", record).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn send(&self, kind: &str, data: String) -> Result<(), ()> {
        self.to.send(Ok(Event::default().event(kind).data(data))).await.map_err(|_| ())
    }

    /// How many records went by unseen before this part.
    fn lost(&mut self, part: &FreshPart, parts: u64) -> u64 {
        let offsets = part.rows.column_by_name("offset");
        let offsets = offsets.and_then(|offsets| offsets.as_primitive_opt::<UInt64Type>());
        let offsets = offsets.map(|offsets| offsets.values().as_ref()).unwrap_or_default();
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0 };
        let expected = self.ends.insert(part.partition, last + 1);
        match expected {
            _ if parts == 0 => 0,
            Some(expected) => first.saturating_sub(expected),
            None => parts,
        }
    }

    /// The records of a part that match, oldest first.
    async fn records(&self, part: Arc<FreshPart>) -> Vec<String> {
        let searcher: Searcher = self.engine.searcher().clone();
        let request = self.request.clone();
        let rendered = self.engine.run(async move {
            let work = tokio::task::spawn_blocking(move || rendered(&searcher, &part, &request));
            Ok(work.await.unwrap_or_default())
        });
        rendered.await.unwrap_or_default()
    }
}

fn rendered(searcher: &Searcher, part: &FreshPart, request: &ScanRequest) -> Vec<String> {
    let rows = match searcher.scan_part(part, request) {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%error, "a tail cannot show what was accepted");
            return Vec::new();
        }
    };
    let extras = Extras::default();
    let Some(records) = Records::of(&rows, &extras) else { return Vec::new() };
    let record = |row| {
        let mut text = Vec::new();
        records.write(row, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    (0..rows.num_rows()).map(record).collect()
}
