//! Batch → acknowledgement: one HTTP request a batch, tried until somebody answers for good.

mod address;
mod nodes;
mod patience;
mod refusal;
mod secret;
mod silence;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::fmt::rfc2822;
use model::time::Timestamp;
use model::wire::{
    BATCH_CONTENT_TYPE, BATCHES_PATH, BatchAnswer, ErrorBody, SHIPPER_SETTINGS_PATH, SHIPPERS_PATH,
    ShipperReport, ShipperSettings,
};
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::Notify;

pub(crate) use self::address::addresses;
use self::address::has_user;
pub use self::address::masked;
pub use self::nodes::Balance;
use self::nodes::{Choice, Nodes};
pub(crate) use self::patience::Patience;
use self::patience::Tries;
use self::refusal::{elsewhere, is_refusal, of_front, of_token, why};
use self::secret::{Connection, Renewed, Secret as _, Token};
pub use self::secret::{HttpVersion, Tls};
use self::silence::Silence;
use crate::config::Config;
use crate::effort::Pace;
use crate::metrics::Metrics;
use crate::status::Board;

/// How long the answer of the only node may take: one that commits slowly is slow, one that says
/// nothing is dead.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may take where another node can be asked.
const FAILOVER_TIME_MAX: Duration = Duration::from_secs(5);
/// Seconds a node is asked to wait for another version of the settings.
const SETTINGS_WAIT_S: u64 = 50;
/// How long it may take to answer then.
const SETTINGS_TIME_MAX: Duration = Duration::from_secs(SETTINGS_WAIT_S + 15);
/// How long a request under way may still take once we shall stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why nothing can be sent to an address, ever.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The address is none.
    #[error("cannot send to {0:?}: give an address such as http://127.0.0.1:7410")]
    Address(String),
    /// The HTTP client cannot be made.
    #[error(
        "cannot make an HTTP client of these settings: tls.cert_file and tls.key_file must be a pair, and \
         all files of [tls] PEM"
    )]
    Client(#[source] reqwest::Error),
    /// The system trusts nobody.
    #[error(
        "cannot tell whom to trust: install the system's certificates (package ca-certificates), or name those of the nodes with tls.ca_file"
    )]
    Trust(#[source] reqwest::Error),
    /// A file of the connection cannot be read.
    #[error("cannot read {}: let this user read it, or name another file", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} {what}", .path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("tls.cert_file and tls.key_file belong together: set both, or none")]
    HalfPair,
}

/// The nodes that take batches, and how they fared.
#[derive(Debug)]
pub(crate) struct Target {
    client: Renewed<Connection>,
    token: Renewed<Token>,
    urls: Vec<String>,
    answer_time_max: Duration,
    silence: Silence,
    clock: Clock,
    metrics: Metrics,
    nodes: Mutex<Nodes>,
    /// How fast batches are made and get through.
    pub(crate) pace: Pace,
    /// An answer came: who waits may look again.
    answered: Notify,
}

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The batch is kept.
    Taken(BatchAnswer),
    /// It must start elsewhere.
    Recut { next: u64 },
    /// A node will never take it as it is.
    Refused(String),
    /// Somebody before the nodes does not let it through as it is: it is too large, or for reasons of its own.
    TurnedAway { why: String, large: bool },
}

/// A passing one.
struct Failure {
    message: String,
    retry_after: Option<Duration>,
    kind: FailureKind,
}

/// What may be learnt of a batch when it fails again and again, and others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// Somebody before the node refuses it, or ends the connection over it.
    Refused,
    /// No answer came in time.
    Late,
    /// Nothing: it is the node, or the way.
    Other,
}

impl FailureKind {
    fn of(error: &reqwest::Error) -> Self {
        match error {
            error if error.is_timeout() => Self::Late,
            error if error.is_connect() => Self::Other,
            _ => Self::Refused,
        }
    }
}

impl Target {
    /// Sends to the nodes of these settings.
    ///
    /// # Errors
    /// An address is none, or a file of the connection cannot be used.
    pub(crate) fn new(
        config: &Config,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, TargetError> {
        let urls = addresses(&config.to)?;
        let several = urls.len() > 1;
        Ok(Self {
            client: Renewed::new(Connection::of(config))?,
            token: Renewed::new(Token::of(config))?,
            answer_time_max: if several { FAILOVER_TIME_MAX } else { ANSWER_TIME_MAX },
            silence: Silence::default(),
            nodes: Mutex::new(Nodes::new(urls.len(), config.balance)),
            urls,
            clock,
            metrics,
            pace: Pace::default(),
            answered: Notify::new(),
        })
    }

    /// Sends a batch of a producer until somebody answers for good; whoever refuses it without being a node
    /// is borne with for that long. `None` when we shall stop before.
    pub(crate) async fn deliver(
        &self,
        producer: u64,
        batch: &Bytes,
        patience: Patience,
        board: &Board,
        shutdown: &Shutdown,
    ) -> Option<Reply> {
        let _sending = self.metrics.fill.sending(batch.len());
        let (mut tries, mut renewed) = (Tries::new(patience), false);
        loop {
            if shutdown.is_triggered() {
                return None;
            }
            let answered = self.answered.notified();
            let node = match self.nodes(|nodes| nodes.choose(producer, self.clock.elapsed())) {
                Choice::Ask(node) => node,
                Choice::Wait(pause) => {
                    tokio::select! {
                        () = self.clock.sleep(pause) => {}
                        () = answered => {}
                        () = shutdown.wait() => return None,
                    }
                    continue;
                }
            };
            let (start, time_max) = (self.clock.elapsed(), tries.time_max(self.answer_time_max));
            let answer = tokio::select! {
                answer = self.attempt(node, batch, time_max) => answer,
                failure = self.back_again(node, renewed, board) => {
                    renewed = true;
                    Err(failure)
                }
                () = self.grace_over(shutdown) => {
                    self.nodes(|nodes| nodes.given_up(node));
                    return None;
                }
            };
            let time = self.clock.elapsed().saturating_sub(start);
            let answer = patience.judge(answer);
            match &answer {
                Ok(reply) => {
                    self.pace.sent(batch.len(), time);
                    self.answered_by(node, reply);
                    board.target_well();
                }
                Err(failure) => {
                    board.target_failed(&failure.message);
                    self.failed(node, failure);
                }
            }
            self.answered.notify_waiters();
            if let Some(reply) = self.settled(answer, &mut tries) {
                return Some(reply);
            }
        }
    }

    /// What an answer means for a batch that was tried before: the final one, if it is one.
    fn settled(&self, answer: Result<Reply, Failure>, tries: &mut Tries) -> Option<Reply> {
        let failure = match answer {
            Ok(reply) => return Some(reply),
            Err(failure) => failure,
        };
        let (now, taken_count) = (self.clock.elapsed(), self.taken_count());
        match failure.kind {
            FailureKind::Other => None,
            FailureKind::Late => {
                tries.late(taken_count);
                None
            }
            FailureKind::Refused => {
                let count = tries.refused(now, taken_count);
                // Each node is asked first.
                let over = count >= self.urls.len() && tries.is_over(now, taken_count);
                over.then_some(Reply::TurnedAway { why: failure.message, large: false })
            }
        }
    }

    /// How many requests, of all kinds, nodes have taken since this process began.
    pub(crate) fn taken_count(&self) -> u64 {
        self.metrics.requests.get()
    }

    async fn grace_over(&self, shutdown: &Shutdown) {
        shutdown.wait().await;
        self.clock.sleep(GRACE).await;
    }

    /// Tells a node how we fare. Whether it wants to know is its affair; that a node fails is
    /// left to the batches to find out. It is told also where these fail: that it hears of us says that it is
    /// them, and not the way.
    pub(crate) async fn report(&self, id: &str, report: &ShipperReport) {
        let now = self.clock.elapsed();
        let chosen = match self.nodes(|nodes| nodes.choose(0, now)) {
            Choice::Ask(node) => Some(node),
            Choice::Wait(_) => None,
        };
        let Some(node) = chosen.or_else(|| self.nodes(|nodes| nodes.first_due(now))) else {
            return;
        };
        let url = self.urls.get(node).map(String::as_str).unwrap_or_default();
        let base = url.strip_suffix(BATCHES_PATH).unwrap_or(url);
        let body = serde_json::to_vec(report).unwrap_or_default();
        let client = self.client.get(now);
        let mut request = client
            .post(format!("{base}{SHIPPERS_PATH}/{id}"))
            .timeout(self.answer_time_max)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(token) = self.token_for(url, now) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = request.send().await;
        if let Some(node) = chosen {
            self.nodes(|nodes| nodes.given_up(node));
        }
        match answer {
            Ok(answer) if answer.status().is_success() => {
                self.metrics.requests.inc();
            }
            Ok(answer) => tracing::debug!(status = %answer.status(), "the report was not taken"),
            Err(error) => tracing::debug!(why = why(&error), "the report did not arrive"),
        }
    }

    /// The settings the cluster keeps for shippers, once their version is another than `after`;
    /// nothing when none came in time. Any node that answers will do.
    ///
    /// # Errors
    /// What the last one said that was asked.
    pub(crate) async fn settings(
        &self,
        after: Option<u64>,
    ) -> Result<Option<ShipperSettings>, String> {
        let mut said = String::new();
        for url in &self.urls {
            let base = url.strip_suffix(BATCHES_PATH).unwrap_or(url);
            let after = after.map_or_else(String::new, |after| format!("&after={after}"));
            let url = format!("{base}{SHIPPER_SETTINGS_PATH}?wait_s={SETTINGS_WAIT_S}{after}");
            match self.settings_of(url).await {
                Ok(settings) => return Ok(settings),
                Err(why) => said = format!("{}: {why}", masked(base)),
            }
        }
        Err(said)
    }

    async fn settings_of(&self, url: String) -> Result<Option<ShipperSettings>, String> {
        let now = self.clock.elapsed();
        let token = self.token_for(&url, now);
        let mut request = self.client.get(now).get(url).timeout(SETTINGS_TIME_MAX);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = request.send().await.map_err(|error| why(&error))?;
        let (status, elsewhere) = (answer.status(), elsewhere(&answer));
        let body = answer.bytes().await.map_err(|error| why(&error))?;
        match status {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|_| "the answer is none of Sawlog's".to_owned()),
            status => Err(format!("{status}{elsewhere}")),
        }
    }

    /// The token, where it is sent: a request has room for one of it and a user and password in the address.
    fn token_for(&self, url: &str, now: Duration) -> Option<String> {
        self.token.get(now).filter(|_| !has_user(url))
    }

    fn nodes<T>(&self, look: impl FnOnce(&mut Nodes) -> T) -> T {
        look(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered_by(&self, node: usize, reply: &Reply) {
        let taken = matches!(reply, Reply::Taken(_));
        self.metrics.requests.inc_by(u64::from(taken));
        self.nodes(|nodes| nodes.succeeded(node));
    }

    fn failed(&self, node: usize, failure: &Failure) {
        self.metrics.failures.inc();
        let now = self.clock.elapsed();
        if self.nodes(|nodes| nodes.failed(node, failure.retry_after, now)) {
            tracing::warn!(why = failure.message, "sending failed, will go on trying");
        }
    }

    async fn attempt(
        &self,
        node: usize,
        batch: &Bytes,
        time_max: Duration,
    ) -> Result<Reply, Failure> {
        let url = self.urls.get(node).map(String::as_str).unwrap_or_default();
        let now = self.clock.elapsed();
        let client = self.client.get(now);
        let mut request = client
            .post(url)
            .timeout(time_max)
            .header(CONTENT_TYPE, BATCH_CONTENT_TYPE)
            .body(batch.clone());
        let token = self.token_for(url, now);
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let (address, url) = (url, masked(url));
        let failure = |error: reqwest::Error| Failure {
            message: format!("{url}: {}", why(&error)),
            retry_after: None,
            kind: FailureKind::of(&error),
        };
        let answer = request.send().await.map_err(failure)?;
        let (status, elsewhere) = (answer.status(), elsewhere(&answer));
        let remedy = of_token(status, address, token.as_deref());
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|text| retry_after(text, self.clock.now()));
        let body = answer.bytes().await.map_err(failure)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map(Reply::Taken).map_err(|_| Failure {
                message: format!("{url}: the answer is none of Sawlog's"),
                retry_after,
                kind: FailureKind::Other,
            });
        }
        let detail = serde_json::from_slice::<ErrorBody>(&body).ok().map(|body| body.error);
        let (next, said) =
            detail.map_or((None, None), |detail| (detail.next, Some(detail.message)));
        match (status, next, said) {
            (StatusCode::CONFLICT, Some(next), _) => Ok(Reply::Recut { next }),
            // A proxy that takes less at once than a node does.
            (StatusCode::PAYLOAD_TOO_LARGE, _, None) => {
                let why = format!("{url}: {status}{}", of_front(status));
                Ok(Reply::TurnedAway { why, large: true })
            }
            (
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY,
                _,
                Some(said),
            ) => Ok(Reply::Refused(said)),
            (_, _, said) => {
                let kind = match said.is_none() && is_refusal(status) {
                    true => FailureKind::Refused,
                    false => FailureKind::Other,
                };
                let said =
                    said.map_or_else(|| of_front(status).to_owned(), |said| format!(": {said}"));
                let message = format!("{url}: {status}{elsewhere}{said}{remedy}");
                Err(Failure { message, retry_after, kind })
            }
        }
    }
}

/// Whether a connection can be made with these settings, as far as this machine can tell.
///
/// # Errors
/// Names the address or the file that is wrong.
pub(crate) fn check(config: &Config) -> Result<(), TargetError> {
    addresses(&config.to)?;
    Connection::of(config).make()?;
    Token::of(config).make().map(drop)
}

/// How long we are asked to wait: in seconds, or until a date, as proxies say it. `None` when it is neither.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let wait = date.as_nanosecond().saturating_sub(i128::from(now.0));
    // A date that is over asks for nothing.
    Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)))
}
