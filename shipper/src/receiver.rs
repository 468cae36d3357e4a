//! A node for tests: real HTTP, the queue's rules of sequences, and faults on order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use model::batch::{Batch, Sequence};
use model::codec;
use model::record::{POISON_FIELD, Record};
use model::wire::{BATCHES_PATH, BatchAnswer, ErrorBody, ErrorDetail};
use platform::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Refused with that status, nothing kept.
    Status(u16),
    /// Refused, to come back after so many seconds.
    Later(u64),
    /// Kept, but the answer is lost.
    AnswerLost,
    /// Sent to another address, with that status.
    Elsewhere(u16, String),
}

/// A stored record.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) source: String,
    pub(crate) record: Record,
}

#[derive(Debug, Default)]
struct Script {
    ends: HashMap<u64, u64>,
    faults: VecDeque<Fault>,
    /// Every request fails so, until it is taken away.
    down: Option<Fault>,
    /// Records that hold this are refused unless they are marked as poison.
    poison: Option<String>,
    requests: usize,
    recuts: usize,
    duplicates: usize,
}

/// A running node.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    script: Arc<Mutex<Script>>,
    stored: Arc<watch::Sender<Vec<Stored>>>,
    pub(crate) url: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let receiver = Self { script: Arc::default(), stored: Arc::default(), url };
        let router = Router::new()
            .route(BATCHES_PATH, post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What happens to the next requests.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script(|script| script.faults.extend(faults));
    }

    /// What happens to all requests until told otherwise.
    pub(crate) fn down(&self, fault: Option<Fault>) {
        self.script(|script| script.down = fault);
    }

    pub(crate) fn poison(&self, word: &str) {
        self.script(|script| script.poison = Some(word.to_owned()));
    }

    /// Requests, recuts and duplicates answered so far.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.script(|script| (script.requests, script.recuts, script.duplicates))
    }

    pub(crate) fn stored(&self) -> Vec<Stored> {
        self.stored.borrow().clone()
    }

    /// The messages, once there are so many of them; sorted.
    #[track_caller]
    pub(crate) fn messages(&self, count: usize) -> impl Future<Output = Vec<String>> {
        let mut changes = self.stored.subscribe();
        async move {
            let wait = changes.wait_for(|stored| stored.len() >= count);
            let enough = Clock::system().timeout(PATIENCE, wait).await.is_some();
            let mut messages: Vec<String> =
                changes.borrow().iter().map(|stored| stored.record.message.clone()).collect();
            messages.sort();
            assert!(enough, "{} of {count} came: {messages:?}", messages.len());
            messages
        }
    }

    /// Waits until so many requests came, answered well or not.
    pub(crate) async fn requests(&self, count: usize) {
        let clock = Clock::system();
        while self.counts().0 < count {
            clock.sleep(Duration::from_millis(5)).await;
        }
    }

    fn keep(&self, batch: &Batch) {
        let source = batch.labels.get("source").unwrap_or_default();
        let rows = (0..batch.record_count()).filter_map(|row| batch.record(row));
        let rows = rows.map(|record| Stored { source: source.to_owned(), record });
        self.stored.send_modify(|stored| stored.extend(rows));
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(
        headers.get("content-type").and_then(|value| value.to_str().ok()),
        Some(model::wire::BATCH_CONTENT_TYPE)
    );
    let (head, batch) = codec::decode(&body).expect("a whole batch");
    let fault = receiver.script(|script| {
        script.requests += 1;
        script.down.clone().or_else(|| script.faults.pop_front())
    });
    match fault {
        Some(Fault::Status(status)) => return refuse(status, "staged", None),
        Some(Fault::Later(seconds)) => {
            let mut response = refuse(429, "staged", None);
            response.headers_mut().insert("retry-after", seconds.into());
            return response;
        }
        Some(Fault::Elsewhere(status, url)) => {
            let mut response = refuse(status, "staged", None);
            response.headers_mut().insert("location", url.parse().expect("an address"));
            return response;
        }
        Some(Fault::AnswerLost) => {
            admit(&receiver, head.sequence, &batch);
            return refuse(502, "the answer is lost", None);
        }
        None => {}
    }
    let marked = |record: &Record| record.fields.iter().any(|(name, _)| name == POISON_FIELD);
    let poison = receiver.script(|script| script.poison.clone());
    if let Some(word) = poison
        && (0..batch.record_count())
            .filter_map(|row| batch.record(row))
            .any(|record| record.message.contains(&word) && !marked(&record))
    {
        return refuse(400, "poison", None);
    }
    admit(&receiver, head.sequence, &batch)
}

/// The rules of [`Sequence`].
fn admit(receiver: &Receiver, sequence: Sequence, batch: &Batch) -> Response {
    let Sequence { producer, from, to, .. } = sequence;
    let end = receiver.script(|script| script.ends.get(&producer).copied());
    match end {
        Some(end) if to <= end => {
            receiver.script(|script| script.duplicates += 1);
            answer(0, true, end)
        }
        Some(end) if from != end => {
            receiver.script(|script| script.recuts += 1);
            refuse(409, "out of sequence", Some(end))
        }
        _ => {
            receiver.script(|script| script.ends.insert(producer, to));
            receiver.keep(batch);
            answer(batch.record_count() as u64, false, to)
        }
    }
}

fn answer(accepted: u64, duplicate: bool, next: u64) -> Response {
    axum::Json(BatchAnswer { accepted, duplicate, next }).into_response()
}

fn refuse(status: u16, message: &str, next: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let error = ErrorDetail { message: message.to_owned(), next, ..ErrorDetail::default() };
    (status, axum::Json(ErrorBody { error })).into_response()
}
