//! `GET /loki/api/v1/tail`: lines as they are stored, over a WebSocket, as Grafana's live view reads
//! them. What comes next is asked for when the reader has taken what came before, so that a slow one
//! is told everything, later, and holds nothing here.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::Response;
use index::fresh::FreshPart;
use model::time::{SECOND, TimeRange, Timestamp};
use platform::shutdown::Shutdown;
use platform::telemetry::Counted;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ast::{Log, Query};
use super::lines::{Direction, Wanted, streams};
use super::routes::{LINES, LINES_MAX, Params, Refusal, run};
use super::socket::{Gone, HEARD_BYTES_MAX, Socket};
use crate::api::tail::TailPlace;
use crate::plan::Engine;

/// Offsets of each partition that are read together: what one message holds at most.
const STEP: u64 = 4_096;
/// The longest wait for more lines before those that came are sent, seconds.
const DELAY_MAX_S: u64 = 5;
/// How long a reader may take to take a message.
const SEND_TIME_MAX: Duration = Duration::from_secs(60);
/// How often a reader is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The first wait after the node was too busy to read for the tail, and the longest.
const BUSY_WAIT: Duration = Duration::from_millis(200);
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What tails share with those of our own API.
#[derive(Debug, Clone)]
pub(crate) struct Tails {
    /// One for each tail that may be open.
    pub(crate) room: Arc<Semaphore>,
    /// Ends them.
    pub(crate) shutdown: Shutdown,
}

/// What a tail waits for.
enum Sign {
    Records,
    Reader,
    Silence,
}

/// One reader's tail.
struct Tail {
    engine: Engine,
    log: Log,
    categorized: bool,
    delay: Duration,
    place: TailPlace,
    socket: Socket,
    _room: OwnedSemaphorePermit,
}

pub(super) async fn tail(
    State((engine, tails)): State<(Engine, Tails)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let params = Params::from_request(Request::from_parts(parts, body), &()).await?;
    let Query::Log(log) = params.query()? else {
        return Err(Refusal::bad("only log queries can be tailed: leave out the aggregation"));
    };
    let upgrade = upgrade.map_err(|_| {
        Refusal::bad("a tail is read over a WebSocket: ask ws://…/loki/api/v1/tail")
    })?;
    let delay_s: u64 = match params.get("delay_for").unwrap_or("0").parse() {
        Ok(seconds) if seconds <= DELAY_MAX_S => seconds,
        _ => {
            return Err(Refusal::bad(format!(
                "\"delay_for\" is a number of seconds up to {DELAY_MAX_S}"
            )));
        }
    };
    let (limit, now) = (params.limit(LINES, LINES_MAX)?, engine.clock().now());
    let start = params.time("start")?.unwrap_or(Timestamp(now.0.saturating_sub(3_600 * SECOND)));
    let room = tails.room.clone().try_acquire_owned().map_err(|_| {
        Refusal::later(format!("{} tails are open already", engine.settings().tails_max))
    })?;
    let categorized = params.categorized;
    let delay = Duration::from_secs(delay_s);
    let upgrade = upgrade.max_message_size(HEARD_BYTES_MAX).max_frame_size(HEARD_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        let socket = Socket(socket);
        let open = Counted::one(&engine.metrics().tails);
        let place = TailPlace::default();
        let mut tail = Tail { engine, log, categorized, delay, place, socket, _room: room };
        tokio::select! {
            _ = tail.follow(start, limit) => {}
            () = tails.shutdown.wait() => {}
        }
        drop(open);
    }))
}

impl Tail {
    /// The lines there are, then those that come.
    async fn follow(&mut self, start: Timestamp, limit: u64) -> Result<(), Gone> {
        let mut parts = self.engine.searcher().follow_all();
        self.begin(start, limit).await?;
        let mut is_heard = true;
        loop {
            match self.next(&mut parts).await? {
                Sign::Records => {
                    if !self.delay.is_zero() {
                        self.engine.clock().sleep(self.delay).await;
                    }
                    while parts.try_recv().is_ok() {}
                    self.read_on().await?;
                }
                Sign::Reader => is_heard = true,
                Sign::Silence if is_heard => {
                    is_heard = false;
                    let asked = self.socket.ping();
                    self.engine.clock().timeout(SEND_TIME_MAX, asked).await.unwrap_or(Err(Gone))?;
                }
                Sign::Silence => return Err(Gone),
            }
        }
    }

    /// What is stored so far belongs to the beginning, whatever its time; what comes, to the tail.
    async fn begin(&mut self, start: Timestamp, limit: u64) -> Result<(), Gone> {
        let end = self.end().await;
        if let Some(within) = self.place.records_to(&end) {
            let range = TimeRange { from: start, to: Timestamp::MAX };
            let newest = Wanted::of(range, limit, Direction::Backward);
            let mut found = self.find(Wanted { within, ..newest }).await?;
            // The newest are wanted, the oldest of them first.
            let streams = found.get_mut("result").and_then(Value::as_array_mut);
            for stream in streams.into_iter().flatten() {
                if let Some(values) = stream.get_mut("values").and_then(Value::as_array_mut) {
                    values.reverse();
                }
            }
            self.send(found).await?;
        }
        self.place = end;
        Ok(())
    }

    async fn next(&mut self, parts: &mut Receiver<Arc<FreshPart>>) -> Result<Sign, Gone> {
        let clock = self.engine.clock().clone();
        tokio::select! {
            part = parts.recv() => match part {
                Ok(_) | Err(RecvError::Lagged(_)) => Ok(Sign::Records),
                Err(RecvError::Closed) => Err(Gone),
            },
            heard = self.socket.hear() => heard.map(|()| Sign::Reader),
            () = clock.sleep(PING_INTERVAL) => Ok(Sign::Silence),
        }
    }

    /// The place behind all that is stored.
    async fn end(&mut self) -> TailPlace {
        let view = self.engine.view().await;
        TailPlace::at(view.ends.iter().map(|(partition, end)| (*partition, *end)))
    }

    /// Sends what is stored behind the tail's place, a piece at a time.
    async fn read_on(&mut self) -> Result<(), Gone> {
        let end = self.end().await;
        while self.place.records_to(&end).is_some() {
            let near = self.place.step(&end, STEP);
            if let Some(within) = self.place.records_to(&near) {
                let all = Wanted::of(TimeRange::ALL, u64::MAX >> 1, Direction::Forward);
                let found = self.find(Wanted { within, ..all }).await?;
                self.send(found).await?;
            }
            self.place.advance_to(&near);
        }
        Ok(())
    }

    /// Finds lines; a node that is too busy is asked again. What fails for good ends the tail with
    /// its reason.
    async fn find(&mut self, wanted: Wanted) -> Result<Value, Gone> {
        let mut wait = BUSY_WAIT;
        loop {
            let (log, wanted, categorized) = (self.log.clone(), wanted.clone(), self.categorized);
            let found = run(&self.engine, |engine| async move {
                streams(&engine, &log, wanted, categorized).await
            });
            match found.await {
                Ok(found) => return Ok(found),
                Err(refusal) if refusal.is_passing() && wait < BUSY_WAIT_MAX => {
                    self.engine.clock().sleep(wait).await;
                    wait *= 2;
                }
                Err(refusal) => {
                    let said = self.socket.close(refusal.reason());
                    self.engine.clock().timeout(SEND_TIME_MAX, said).await;
                    return Err(Gone);
                }
            }
        }
    }

    /// Sends streams, unless there are none.
    async fn send(&mut self, mut found: Value) -> Result<(), Gone> {
        let streams = found.get_mut("result").map(Value::take).unwrap_or_default();
        if streams.as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let mut message = Map::from_iter([("streams".to_owned(), streams)]);
        if self.categorized {
            message.insert("encodingFlags".to_owned(), json!(["categorize-labels"]));
        }
        let said = self.socket.say(Value::Object(message).to_string());
        self.engine.clock().timeout(SEND_TIME_MAX, said).await.unwrap_or(Err(Gone))
    }
}
