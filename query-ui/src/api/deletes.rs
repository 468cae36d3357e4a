//! Deleting records that match a search, and how far deletions are.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use model::deletion::Deletion;
use model::error::Kind;
use model::query::{Bound, FieldTest, Filter, Literal};
use model::time::Timestamp;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde_json::{Value, json};

use super::QueryState;
use super::body::{Json, invalid_value};
use super::indexes::is_known;
use super::request::Ask;

pub(super) async fn delete(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<(StatusCode, Answer<Value>), ApiError> {
    let now = state.engine.clock().now();
    let ask = Ask::of(request, now)?;
    let query = &ask.question.query;
    if !query.pipes.is_empty() {
        return Err(invalid_value("a deletion is a search without pipes")
            .hint("leave out what stands behind the first |"));
    }
    if ask.request.query.trim().is_empty() {
        return Err(invalid_value("a deletion says what goes")
            .hint("write a search; * is every record of the time range"));
    }
    let (first, last) = (ask.question.range.from, ask.question.range.to);
    let at = |moment: Timestamp| Literal::Text(moment.to_string());
    let time = FieldTest::Between {
        from: ask.from.map_or(Bound::Open, |from| Bound::Inclusive(at(from))),
        to: ask.to.map_or(Bound::Open, |to| Bound::Exclusive(at(to))),
    };
    let mut parts = vec![query.filter.clone()];
    if ask.from.is_some() || ask.to.is_some() {
        parts.push(Filter::Field { name: "timestamp".to_owned(), test: time });
    }
    let deletion = Deletion {
        number: 0,
        query: ask.request.query.clone(),
        filter: Filter::And(parts),
        indexes: ask.request.indexes.clone(),
        time_first: first.0,
        time_last: last.0,
        below: Vec::new(),
        asked: now,
        deleted: 0,
        done: None,
    };
    let searcher = state.engine.searcher().clone();
    let view = searcher.gather().await;
    if let Some(missing) = view.missing.first() {
        let words = format!("not all records are in reach, so none is deleted: {}", missing.what);
        return Err(ApiError::new(Kind::Unavailable, words).hint("try again when all nodes are up"));
    }
    for name in deletion.indexes.iter().flatten() {
        is_known(&view, name)?;
    }
    let deletion = Deletion { below: view.ends.clone().into_iter().collect(), ..deletion };
    let begun = tokio::task::spawn_blocking(move || searcher.delete(deletion)).await;
    let begun = begun.map_err(|_| ApiError::new(Kind::Bug, "the deletion broke off"))?;
    let begun = begun.map_err(|error| {
        tracing::error!(%error, "a deletion was not stored");
        ApiError::new(Kind::Unavailable, "the deletion could not be stored; nothing was deleted")
    })?;
    Ok((StatusCode::ACCEPTED, Answer(shown(&begun, None))))
}

pub(super) async fn deletions(State(state): State<QueryState>) -> Result<Answer<Value>, ApiError> {
    let searcher = state.engine.searcher().clone();
    let all = tokio::task::spawn_blocking(move || searcher.deletions()).await;
    let all = all.map_err(|_| ApiError::new(Kind::Bug, "the deletions could not be read"))?;
    let all = all.map_err(|error| ApiError::new(Kind::Corrupt, error.to_string()))?;
    let all: Vec<Value> = all.iter().map(|(one, left)| shown(one, Some(*left))).collect();
    Ok(Answer(json!({ "deletions": all })))
}

fn shown(deletion: &Deletion, splits_left: Option<u64>) -> Value {
    let mut shown = json!({
        "number": deletion.number,
        "query": deletion.query,
        "indexes": deletion.indexes,
        "asked": deletion.asked.to_string(),
        "deleted": deletion.deleted,
        "done": deletion.done.map(|moment| moment.to_string()),
    });
    if let (Some(left), Some(object)) = (splits_left, shown.as_object_mut()) {
        object.insert("splits_left".to_owned(), left.into());
    }
    shown
}
