//! `GET /api/v1/tail`: matching records as they are accepted, as server-sent events. Every event has
//! the tail's place as its id; who sends it back goes on there, and neither misses nor repeats one.

mod follow;
mod place;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream};
use model::error::Kind;
use platform::http::ApiError;
use platform::telemetry::Counted;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::follow::{Behind, EVENTS_AHEAD, Tail};
pub(crate) use self::place::TailPlace;
use super::QueryState;
use super::body::{Params, Said, invalid_value};
use super::request::understood;

/// How often a silent tail says that it is alive; who hears nothing for three of these has lost it.
const ALIVE_INTERVAL: Duration = Duration::from_secs(4);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailParams {
    #[serde(default)]
    query: String,
    /// Behind which place; the end of what there is when it is missing.
    after: Option<String>,
}

impl Said for TailParams {
    const RIGHT: &'static str = "parameters are query and after";
}

type Events = ReceiverStream<Result<Event, Infallible>>;

pub(super) async fn tail(
    State(state): State<QueryState>,
    Params(params): Params<TailParams>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<Events>>, ApiError> {
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
    // A browser that comes again has the id of the last event; the address is that of the first time.
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
    let after = last.or(params.after).as_deref().map(read).transpose()?;
    let parts = state.engine.searcher().follow_all();
    // What was acknowledged before belongs to searches, or to who was here before.
    let ends = ends(&state).await;
    if let Some(after) = &after {
        check(&state, after, &ends)?;
    }
    let (to, events) = mpsc::channel(EVENTS_AHEAD);
    let tail = Tail {
        engine: state.engine,
        filter: query.filter,
        parts,
        to,
        behind: if after.is_some() { Behind::Reads } else { Behind::Skips },
        place: after.unwrap_or(ends),
    };
    let shutdown = state.shutdown;
    tokio::spawn(async move {
        let open = Counted::one(&tail.engine.metrics().tails);
        let gone = tail.to.clone();
        tokio::select! {
            () = tail.run() => {}
            () = gone.closed() => {}
            () = shutdown.wait() => {}
        }
        drop((open, permit));
    });
    // An event and no comment: a page is not told of comments.
    let said = Event::default().event("alive").data("{}");
    let alive = KeepAlive::new().interval(ALIVE_INTERVAL).event(said);
    Ok(Sse::new(ReceiverStream::new(events)).keep_alive(alive))
}

fn read(after: &str) -> Result<TailPlace, ApiError> {
    TailPlace::parse(after).ok_or_else(|| {
        invalid_value(format!("{after:?} is no place of a tail")).hint(
            "send back the id of the last event that came; \"-\" is the beginning of all records",
        )
    })
}

async fn ends(state: &QueryState) -> TailPlace {
    let view = state.engine.view().await;
    TailPlace::at(view.ends.iter().map(|(partition, end)| (*partition, *end)))
}

/// A place that was never reached would show nothing for as long.
fn check(state: &QueryState, after: &TailPlace, ends: &TailPlace) -> Result<(), ApiError> {
    if ends.records_to(after).is_none() {
        return Ok(());
    }
    if !state.engine.searcher().is_caught_up() {
        return Err(ApiError::new(Kind::Unavailable, "the node still reads its queue"));
    }
    Err(invalid_value(
        "this node was never there: the place is of another one, or of data that is gone",
    )
    .hint("begin anew without \"after\""))
}
