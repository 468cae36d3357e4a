//! Who ships to this node: what each shipper reported last, and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cluster::catalog::Catalog;
use cluster::documents::DocumentKind;
use model::error::Kind;
use model::time::Timestamp;
use model::wire::{KnownShipper, REPORTED_FILES_MAX, ShipperReport};
use platform::http::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::QueryState;
use super::body::{Json, Said};
use super::shipper_settings::Announced;
use super::stored::{asked, short};

/// Shippers that are known at one time.
const SHIPPERS_MAX: usize = 10_000;
/// Characters of an id.
const ID_CHARS_MAX: usize = 64;
/// Nanoseconds after which a silent one makes room for others.
const FORGOTTEN_NS: i64 = 30 * 86_400 * 1_000_000_000;
/// Nanoseconds between two writes of what one reports: a restart of the node forgets no more.
const KEPT_NS: i64 = 300 * 1_000_000_000;

/// A report and when it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    seen: Timestamp,
    report: ShipperReport,
    /// When it was written to the catalog.
    #[serde(skip)]
    kept: Option<Timestamp>,
}

/// All shippers by id. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Fleet {
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    /// The settings they fetch.
    pub(super) settings: Announced,
}

impl Fleet {
    /// Those that the catalog remembers.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let known = catalog.documents::<Known>(DocumentKind::Shipper).unwrap_or_else(|error| {
            tracing::error!(%error, "shippers seen before are not known");
            Vec::new()
        });
        let kept = |(id, known): (String, Known)| {
            let kept = Some(known.seen);
            (id, Known { kept, ..known })
        };
        let known = Arc::new(Mutex::new(known.into_iter().map(kept).collect()));
        Self { known, settings: Announced::default() }
    }

    /// Takes a report. Whether it is to be written down.
    fn take(&self, id: &str, report: ShipperReport, now: Timestamp) -> Result<bool, ApiError> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SHIPPERS_MAX && !all.contains_key(id) {
            all.retain(|_, known| now.0 - known.seen.0 < FORGOTTEN_NS);
        }
        if all.len() >= SHIPPERS_MAX && !all.contains_key(id) {
            let message = format!("{SHIPPERS_MAX} shippers are known, which is all there may be");
            return Err(ApiError::new(Kind::Overloaded, message)
                .hint("forget those that are gone: DELETE /api/v1/shippers/{id}"));
        }
        let before = all.get(id);
        let kept = before.and_then(|known| known.kept);
        let due = kept.is_none_or(|kept| now.0 - kept.0 >= KEPT_NS)
            || before.is_some_and(|known| known.report.gaps != report.gaps);
        let kept = if due { Some(now) } else { kept };
        all.insert(id.to_owned(), Known { seen: now, report, kept });
        Ok(due)
    }

    fn list(&self, now: Timestamp) -> Vec<KnownShipper> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(id, known): (&String, &Known)| KnownShipper {
            id: id.clone(),
            seen: known.seen.to_string(),
            silent_s: u64::try_from((now.0 - known.seen.0) / 1_000_000_000).unwrap_or(0),
            report: known.report.clone(),
        };
        all.iter().map(shown).collect()
    }

    fn forget(&self, id: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id).is_some()
    }
}

impl Said for ShipperReport {
    const RIGHT: &'static str = "send a JSON object such as \
        {\"host\":\"web1\",\"version\":\"1.0\",\"files\":3,\"lag_bytes\":0}";
}

pub(super) async fn list(State(state): State<QueryState>) -> Answer<Value> {
    Answer(json!({ "shippers": state.fleet.list(state.engine.clock().now()) }))
}

pub(super) async fn report(
    State(state): State<QueryState>,
    Path(id): Path<String>,
    Json(mut report): Json<ShipperReport>,
) -> Result<StatusCode, ApiError> {
    let id = short("the id", &id, ID_CHARS_MAX)?;
    report.behind.truncate(REPORTED_FILES_MAX);
    let now = state.engine.clock().now();
    if state.fleet.take(&id, report.clone(), now)? {
        let known = Known { seen: now, report, kept: None };
        asked(state.engine.searcher().catalog(), move |catalog| {
            catalog.put_document(DocumentKind::Shipper, &id, &known)
        })
        .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn forget(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let was_known = state.fleet.forget(&id);
    let gone = id.clone();
    let was_kept = asked(state.engine.searcher().catalog(), move |catalog| {
        catalog.remove_document(DocumentKind::Shipper, &gone)
    })
    .await?;
    if was_known || was_kept {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::new(Kind::Invalid, format!("there is no shipper {id:?}"))
        .code("not_found")
        .hint("GET /api/v1/shippers lists those that are known"))
}
