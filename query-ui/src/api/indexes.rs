//! `/api/v1/indexes/{name}`: what can be changed of an index while the node runs, and its cold
//! compaction.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use index::cold::Compaction;
use index::searcher::{Searcher, View};
use model::error::Kind;
use model::wire::IndexSettings;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::QueryState;
use super::body::{Json, Params, Said, invalid_value};
use super::stored::asked;

/// Days that can be asked for: a hundred years.
const RETENTION_DAYS_MAX: u32 = 36_500;

/// Whether the change is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    preview: bool,
}

impl Said for How {
    const RIGHT: &'static str = "?preview=true only tells what the change would delete";
}

impl Said for IndexSettings {
    const RIGHT: &'static str = "send {\"retention_days\":30}, or null for the usual";
}

pub(super) async fn change(
    State(state): State<QueryState>,
    Path(name): Path<String>,
    Params(how): Params<How>,
    Json(settings): Json<IndexSettings>,
) -> Result<Answer<Value>, ApiError> {
    if settings.retention_days.is_some_and(|days| !(1..=RETENTION_DAYS_MAX).contains(&days)) {
        let message = format!("\"retention_days\" is not between 1 and {RETENTION_DAYS_MAX}");
        return Err(invalid_value(message)
            .hint("write a number of days, or null for what the node's settings say"));
    }
    let searcher = state.engine.searcher().clone();
    known(&searcher, &name).await?;
    let days = settings.retention_days.unwrap_or_else(|| searcher.retention_days());
    let expiring = searcher.expiring(&name, days);
    if !how.preview {
        let (changed, index) = (settings.clone(), name.clone());
        let changing = searcher.clone();
        asked(searcher.catalog(), move |_| changing.set_index_settings(&index, &changed)).await?;
        tracing::info!(index = name, days, records = expiring.records, "retention changed");
    }
    Ok(Answer(json!({
        "name": name,
        "retention_days": days,
        "retention_is_own": settings.retention_days.is_some(),
        "expiring_records": expiring.records,
        "expiring_bytes": expiring.bytes,
        "changed": !how.preview,
    })))
}

/// What is said of a compaction that is asked for: nothing by now, in an object.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct Wish;

impl TryFrom<Map<String, Value>> for Wish {
    type Error = String;

    fn try_from(members: Map<String, Value>) -> Result<Self, String> {
        let unknown = members.keys().next();
        unknown.map_or(Ok(Self), |name| Err(format!("unknown field {name:?}")))
    }
}

impl Said for Wish {
    const RIGHT: &'static str = "send {}: all of the index is compacted";
}

/// Has all splits of an index packed for size, whatever their age.
pub(super) async fn compact(
    State(state): State<QueryState>,
    Path(name): Path<String>,
    Json(Wish): Json<Wish>,
) -> Result<(StatusCode, Answer<Value>), ApiError> {
    let searcher = state.engine.searcher().clone();
    known(&searcher, &name).await?;
    let (asking, index) = (searcher.clone(), name.clone());
    let progress = asked(searcher.catalog(), move |_| asking.compact(&index)).await?;
    Ok((StatusCode::ACCEPTED, Answer(shown(&name, &progress))))
}

/// How far that is.
pub(super) async fn compaction(
    State(state): State<QueryState>,
    Path(name): Path<String>,
) -> Result<Answer<Value>, ApiError> {
    let searcher = state.engine.searcher().clone();
    known(&searcher, &name).await?;
    let (asking, index) = (searcher.clone(), name.clone());
    let progress = asked(searcher.catalog(), move |_| asking.compaction(&index)).await?;
    Ok(Answer(shown(&name, &progress)))
}

fn shown(name: &str, progress: &Compaction) -> Value {
    json!({
        "name": name,
        "asked": progress.asked.map(|moment| moment.to_string()),
        "splits_left": progress.splits_left,
        "bytes_left": progress.bytes_left,
        "cold_splits": progress.cold_splits,
        "cold_bytes": progress.cold_bytes,
    })
}

/// Refuses an index that there is not.
async fn known(searcher: &Searcher, name: &str) -> Result<(), ApiError> {
    // What is known at once is not waited for.
    if is_known(&*searcher.gather_within(Duration::ZERO).await, name).is_ok() {
        return Ok(());
    }
    is_known(&*searcher.gather().await, name)
}

/// Refuses an index of which a view has no records.
pub(super) fn is_known(view: &View, name: &str) -> Result<(), ApiError> {
    if view.units().any(|unit| unit.index() == name) {
        return Ok(());
    }
    Err(ApiError::new(Kind::Invalid, format!("there is no index {name:?}"))
        .code("not_found")
        .hint("an index begins with its first record: GET /api/v1/status names all"))
}
