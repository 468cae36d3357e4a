//! Batch → acknowledgement: one HTTP request a batch, tried until somebody answers for good.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::wire::{BATCH_CONTENT_TYPE, BATCHES_PATH, BatchAnswer, ErrorBody};
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

use crate::metrics::Metrics;
use crate::status::Board;

/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take: a node that commits slowly is slow, one that says nothing is dead.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause after the first failure; doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause of our own choice.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest pause a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How long a request under way may still take once we shall stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why nothing can be sent to an address, ever.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The address is none.
    #[error("cannot send to {0:?}: give an address such as http://127.0.0.1:7410")]
    Address(String),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// The nodes that take batches, and how they fared.
#[derive(Debug)]
pub(crate) struct Target {
    client: reqwest::Client,
    urls: Vec<String>,
    token: Option<String>,
    clock: Clock,
    metrics: Metrics,
    gate: Mutex<Gate>,
}

/// What all senders know of the target together: a dead one is asked seldom, by whoever.
#[derive(Debug, Default)]
struct Gate {
    failures: u32,
    not_before: Duration,
    /// The node that answered last.
    node: usize,
}

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The batch is kept.
    Taken(BatchAnswer),
    /// It must start elsewhere.
    Recut { next: u64 },
    /// It will never be taken as it is.
    Refused(String),
}

/// A passing one.
struct Failure {
    message: String,
    retry_after: Option<Duration>,
}

impl Target {
    /// Sends to the first of these that answers, later to the next when it fails.
    ///
    /// # Errors
    /// An address is none.
    pub(crate) fn new(
        urls: &[String],
        token: Option<String>,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, TargetError> {
        let urls = addresses(urls)?;
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .no_proxy()
            .build()
            .map_err(TargetError::Client)?;
        Ok(Self { client, urls, token, clock, metrics, gate: Mutex::default() })
    }

    /// Sends a batch until somebody answers for good. `None` when we shall stop before.
    pub(crate) async fn deliver(
        &self,
        batch: &Bytes,
        board: &Board,
        shutdown: &Shutdown,
    ) -> Option<Reply> {
        loop {
            let (node, pause) = self.turn();
            if !pause.is_zero() {
                tokio::select! {
                    () = self.clock.sleep(pause) => {}
                    () = shutdown.wait() => return None,
                }
                continue;
            }
            if shutdown.is_triggered() {
                return None;
            }
            let answer = tokio::select! {
                answer = self.attempt(node, batch) => answer,
                () = self.grace_over(shutdown) => return None,
            };
            match answer {
                Ok(reply) => {
                    self.succeeded(node);
                    board.target_well();
                    return Some(reply);
                }
                Err(failure) => {
                    board.target_failed(&failure.message);
                    self.failed(node, &failure);
                }
            }
        }
    }

    async fn grace_over(&self, shutdown: &Shutdown) {
        shutdown.wait().await;
        self.clock.sleep(GRACE).await;
    }

    /// Which node to ask, and how long not to.
    fn turn(&self) -> (usize, Duration) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        (gate.node, gate.not_before.saturating_sub(self.clock.elapsed()))
    }

    fn succeeded(&self, node: usize) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        *gate = Gate { node, ..Gate::default() };
    }

    fn failed(&self, node: usize, failure: &Failure) {
        self.metrics.failures.inc();
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.failures == 0 {
            tracing::warn!(why = failure.message, "sending failed, will go on trying");
        }
        gate.failures = gate.failures.saturating_add(1);
        if gate.node == node {
            gate.node = (node + 1) % self.urls.len();
        }
        // The other nodes are asked at once; only when all have failed it is time to wait.
        let nodes = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        let rounds = gate.failures / nodes;
        let pause = match failure.retry_after {
            Some(asked) if nodes == 1 || rounds > 0 => jittered(asked.min(RETRY_AFTER_MAX)),
            _ if rounds == 0 => Duration::ZERO,
            _ => jittered(PAUSE_MIN.saturating_mul(1 << (rounds - 1).min(10)).min(PAUSE_MAX)),
        };
        gate.not_before = gate.not_before.max(self.clock.elapsed() + pause);
    }

    async fn attempt(&self, node: usize, batch: &Bytes) -> Result<Reply, Failure> {
        let url = self.urls.get(node).map(String::as_str).unwrap_or_default();
        let mut request =
            self.client.post(url).header(CONTENT_TYPE, BATCH_CONTENT_TYPE).body(batch.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let failure = |error: reqwest::Error| Failure {
            message: format!("{url}: {}", root(&error)),
            retry_after: None,
        };
        let answer = request.send().await.map_err(failure)?;
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
        let body = answer.bytes().await.map_err(failure)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map(Reply::Taken).map_err(|_| Failure {
                message: format!("{url}: the answer is none of Sawlog's"),
                retry_after,
            });
        }
        let detail = serde_json::from_slice::<ErrorBody>(&body).ok().map(|body| body.error);
        let message = match &detail {
            Some(detail) => detail.message.clone(),
            None => status.to_string(),
        };
        match (status, detail.and_then(|detail| detail.next)) {
            (StatusCode::CONFLICT, Some(next)) => Ok(Reply::Recut { next }),
            (
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY,
                _,
            ) => Ok(Reply::Refused(message)),
            _ => Err(Failure { message: format!("{url}: {status}: {message}"), retry_after }),
        }
    }
}

/// Where nodes of these addresses take batches.
///
/// # Errors
/// An address is none, or there is none.
pub(crate) fn addresses(urls: &[String]) -> Result<Vec<String>, TargetError> {
    let address = |url: &String| {
        let sound = reqwest::Url::parse(url)
            .is_ok_and(|parsed| parsed.scheme() == "http" && parsed.has_host());
        if !sound {
            return Err(TargetError::Address(url.clone()));
        }
        Ok(format!("{}{BATCHES_PATH}", url.trim_end_matches('/')))
    };
    if urls.is_empty() {
        return Err(TargetError::Address(String::new()));
    }
    urls.iter().map(address).collect()
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The pause, up to a quarter longer, so that shippers do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(platform::random::u64() % 250).unwrap_or(0);
    pause + pause * share / 1000
}
