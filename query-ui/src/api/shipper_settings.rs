//! `/api/v1/shippers/settings`: a document of settings that operators write and shippers fetch and
//! watch. Each version has a number; what is in it is judged by the shippers, which keep the last
//! one they could use.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use cluster::documents::DocumentKind;
use model::wire::ShipperSettings;
use platform::http::ApiError;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};

use super::QueryState;
use super::body::{Json, Params, Said, invalid_value};
use super::stored::asked;

/// The name of the only document.
const NAME: &str = "all";
/// Bytes of a document.
const SETTINGS_BYTES_MAX: usize = 256 << 10;
/// Seconds a shipper may wait for a newer version.
const WAIT_S_MAX: u64 = 60;
/// Another node may have taken a version: the catalog is looked at that often.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// Tells those who wait that a version was written here. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    changes: Arc<watch::Sender<u64>>,
    /// One writer at a time: versions are given in order.
    writing: Arc<Mutex<()>>,
}

impl Default for Announced {
    fn default() -> Self {
        Self { changes: Arc::new(watch::Sender::new(0)), writing: Arc::default() }
    }
}

/// Versions that every client can tell apart: what JSON keeps exactly.
const VERSION_MAX: u64 = (1 << 53) - 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<u64>,
    #[serde(default)]
    wait_s: u64,
}

impl Said for After {
    const RIGHT: &'static str = "?after=3&wait_s=50 waits for another version than 3";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    settings: String,
}

impl Said for Wanted {
    const RIGHT: &'static str = "send a JSON object such as \
        {\"settings\":\"[[files]]\\npaths = [\\\"/var/log/*.log\\\"]\\n\"}";
}

async fn stored(state: &QueryState) -> Result<ShipperSettings, ApiError> {
    let catalog = state.engine.searcher().catalog();
    let found =
        asked(catalog, |catalog| catalog.document(DocumentKind::ShipperSettings, NAME)).await?;
    Ok(found.unwrap_or_default())
}

/// The document, once its version is another than `after`; nothing when none comes in time.
pub(super) async fn get(
    State(state): State<QueryState>,
    Params(After { after, wait_s }): Params<After>,
) -> Result<Response, ApiError> {
    if wait_s > WAIT_S_MAX {
        let message = format!("\"wait_s\" is over {WAIT_S_MAX}");
        return Err(invalid_value(message).hint("ask again when nothing came"));
    }
    if after.is_some_and(|after| after > VERSION_MAX) {
        let message = format!("\"after\" is over {VERSION_MAX}");
        return Err(invalid_value(message).hint("send back the version that came last"));
    }
    let clock = state.engine.clock().clone();
    let until = clock.elapsed() + Duration::from_secs(wait_s);
    let mut changes = state.fleet.settings.changes.subscribe();
    loop {
        let settings = stored(&state).await?;
        if after != Some(settings.version) {
            return Ok(Answer(settings).into_response());
        }
        let left = until.saturating_sub(clock.elapsed());
        if left.is_zero() || state.shutdown.is_triggered() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = clock.sleep(left.min(LOOK_PERIOD)) => {}
            () = state.shutdown.wait() => {}
        }
    }
}

/// Takes a new version.
pub(super) async fn put(
    State(state): State<QueryState>,
    Json(Wanted { settings }): Json<Wanted>,
) -> Result<Answer<ShipperSettings>, ApiError> {
    if settings.len() > SETTINGS_BYTES_MAX {
        let message = format!("\"settings\" has more than {SETTINGS_BYTES_MAX} bytes");
        return Err(invalid_value(message).hint("write less, or keep some in the servers' files"));
    }
    if let Err(error) = toml::from_str::<toml::Table>(&settings) {
        return Err(invalid_value(format!("\"settings\" is no TOML: {error}")).hint(
            "docs/shipper.md says what may stand in it; `sawlog-shipper check --cluster` tries a file",
        ));
    }
    let announced = state.fleet.settings.clone();
    let _one = announced.writing.lock().await;
    let version = stored(&state).await?.version + 1;
    let changed = Some(state.engine.clock().now().to_string());
    let document = ShipperSettings { version, settings, changed };
    let written = document.clone();
    asked(state.engine.searcher().catalog(), move |catalog| {
        catalog.put_document(DocumentKind::ShipperSettings, NAME, &written)
    })
    .await?;
    announced.changes.send_replace(version);
    Ok(Answer(document))
}
