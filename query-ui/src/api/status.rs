//! `GET /api/v1/status`, and what the indexes say of themselves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use index::retain::IndexDocuments;
use index::searcher::{Unit, View};
use model::error::Kind;
use model::time::Timestamp;
use model::wire::{IndexStatus, Status};
use platform::http::ApiError;

use super::QueryState;

/// Who knows the state of the whole node.
pub trait StatusSource: Send + Sync {
    /// The state now. May block on the disk.
    fn status(&self) -> Status;
}

pub(super) async fn status(State(state): State<QueryState>) -> Result<Json<Status>, ApiError> {
    let source = state.status;
    let looked = tokio::task::spawn_blocking(move || source.status()).await;
    looked.map(Json).map_err(|_| ApiError::new(Kind::Bug, "the node's state cannot be told"))
}

/// The indexes of a view, by name.
#[must_use]
pub fn index_status(view: &View, own: &IndexDocuments, usual_days: u32) -> Vec<IndexStatus> {
    let mut indexes: BTreeMap<String, (IndexStatus, i64, i64)> = BTreeMap::new();
    for unit in view.units() {
        let entry = indexes.entry(unit.index().to_owned());
        let (index, first, last) =
            entry.or_insert_with(|| (IndexStatus::default(), i64::MAX, i64::MIN));
        index.records += unit.row_count();
        *first = unit.time_first().min(*first);
        *last = unit.time_last().max(*last);
        if let Unit::Split(split) = &unit {
            index.splits += 1;
            index.bytes += split.stored_bytes;
            index.raw_bytes += split.raw_bytes;
        }
    }
    let finished = |(name, (index, first, last)): (String, (IndexStatus, i64, i64))| {
        let own_days = own.get(&name).and_then(|settings| settings.retention_days);
        IndexStatus {
            name,
            time_min: Some(Timestamp(first).to_string()),
            time_max: Some(Timestamp(last).to_string()),
            retention_days: own_days.unwrap_or(usual_days),
            retention_is_own: own_days.is_some(),
            ..index
        }
    };
    indexes.into_iter().map(finished).collect()
}
