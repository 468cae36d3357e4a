//! `PATCH /api/v1/indexes/{name}`: what can be changed of an index while the node runs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use index::searcher::Unit;
use model::error::Kind;
use model::wire::IndexSettings;
use platform::http::ApiError;
use serde_json::{Value, json};

use super::QueryState;
use super::stored::{asked, read};

/// Days that can be asked for: a hundred years.
const RETENTION_DAYS_MAX: u32 = 36_500;

pub(super) async fn change(
    State(state): State<QueryState>,
    Path(name): Path<String>,
    RawQuery(how): RawQuery,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let is_preview = match how.as_deref() {
        None | Some("") => false,
        Some("preview=true") => true,
        Some(other) => {
            return Err(ApiError::new(Kind::Invalid, format!("{other:?} is not understood"))
                .hint("?preview=true only tells what the change would delete"));
        }
    };
    let settings: IndexSettings = read(&body, "{\"retention_days\":30}, or null for the usual")?;
    if settings.retention_days.is_some_and(|days| !(1..=RETENTION_DAYS_MAX).contains(&days)) {
        let message = format!("\"retention_days\" is not between 1 and {RETENTION_DAYS_MAX}");
        return Err(ApiError::new(Kind::Invalid, message)
            .hint("write a number of days, or null for what the node's settings say"));
    }
    let searcher = state.engine.searcher().clone();
    let view = searcher.view();
    let splits = view.splits.iter().cloned().map(Unit::Split);
    let mut units = splits.chain(view.fresh.iter().cloned().map(Unit::Fresh));
    if !units.any(|unit| unit.index() == name) {
        return Err(ApiError::new(Kind::Invalid, format!("there is no index {name:?}"))
            .code("not_found")
            .hint("an index begins with its first record: GET /api/v1/status names all"));
    }
    let days = settings.retention_days.unwrap_or_else(|| searcher.retention_days());
    let expiring = searcher.expiring(&name, days);
    if !is_preview {
        let (changed, index) = (settings.clone(), name.clone());
        let changing = searcher.clone();
        asked(searcher.catalog(), move |_| changing.set_index_settings(&index, &changed)).await?;
        tracing::info!(index = name, days, records = expiring.records, "retention changed");
    }
    Ok(Json(json!({
        "name": name,
        "retention_days": days,
        "retention_is_own": settings.retention_days.is_some(),
        "expiring_records": expiring.records,
        "expiring_bytes": expiring.bytes,
        "changed": !is_preview,
    })))
}
