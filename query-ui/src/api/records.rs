//! One record by its id, and what stands around it.

use axum::Json;
use axum::extract::{Path, State};
use model::error::Kind;
use model::partition::RecordId;
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use model::time::{TimeRange, Timestamp};
use model::wire::Missing;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{Params, Said, invalid_value};
use super::{QueryState, facets};
use crate::language::{AROUND_MAX, Pipe, Query, SortKey};
use crate::plan::json::Records;
use crate::plan::{Cursor, Engine, QueryFailure, Question, Shape};

/// Records on each side where the request does not say.
const AROUND: u64 = 10;
/// What comes later is looked for in windows that grow: nanoseconds.
const WINDOWS: [i64; 5] =
    [1_000_000_000, 60_000_000_000, 3_600_000_000_000, 86_400_000_000_000, 30 * 86_400_000_000_000];

/// What is asked of a context.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Around {
    before: Option<u64>,
    after: Option<u64>,
    #[serde(default)]
    scope: Scope,
}

impl Said for Around {
    const RIGHT: &'static str = "parameters are before, after, and scope (stream, index or all)";
}

/// Which records belong to a context.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// Those of the same index and labels.
    #[default]
    Stream,
    /// Those of the same index.
    Index,
    /// All.
    All,
}

/// Records as JSON, and what is missing.
#[derive(Debug, Default)]
struct Found {
    records: Vec<Value>,
    places: Vec<(Timestamp, RecordId)>,
    missing: Vec<Missing>,
}

async fn find(engine: &Engine, question: &Question) -> Result<Found, QueryFailure> {
    let mut answer = engine.ask(question).await?;
    let shape = answer.shape().clone();
    let mut found = Found::default();
    while let Some(rows) = answer.next().await? {
        let Shape::Records(extras) = &shape else { continue };
        let Some(records) = Records::of(&rows, extras) else { continue };
        for row in 0..rows.num_rows() {
            let mut text = Vec::new();
            records.write(row, &mut text);
            found.records.push(serde_json::from_slice(&text).unwrap_or_default());
            found.places.push(records.place(row));
        }
    }
    found.missing = answer.missing();
    Ok(found)
}

fn question(filter: Filter, limit: u64) -> Question {
    let query = Query { time: None, filter, pipes: Vec::new() };
    let range = TimeRange { from: Timestamp::MIN, to: Timestamp::MAX };
    Question { query, range, indexes: None, limit }
}

fn is_it(id: RecordId) -> Filter {
    let test = FieldTest::Matches(TextMatch::Phrase(id.to_string()));
    Filter::Field { name: "id".to_owned(), test }
}

/// The record of an id with its time.
async fn one(state: &QueryState, id: &str) -> Result<(Found, RecordId), ApiError> {
    let id = RecordId::parse(id).ok_or_else(|| {
        invalid_value(format!("{id:?} is no record's id"))
            .hint("an id is what answers have as \"id\", such as 0-1f")
    })?;
    let wanted = question(is_it(id), 1);
    let found =
        facets::run(&state.engine, None, |engine| async move { find(&engine, &wanted).await })
            .await?;
    if found.records.is_empty() {
        let error = ApiError::new(Kind::Invalid, format!("there is no record {id}"));
        let hint = match found.missing.first() {
            Some(missing) => format!("{} could not be read: {}", missing.what, missing.why),
            None => "it may have expired, or been deleted".to_owned(),
        };
        return Err(error.code("not_found").hint(hint));
    }
    Ok((found, id))
}

pub(super) async fn record(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (found, _) = one(&state, &id).await?;
    Ok(Json(json!({ "record": found.records.first(), "partial": found.missing })))
}

pub(super) async fn context(
    State(state): State<QueryState>,
    Path(id): Path<String>,
    Params(around): Params<Around>,
) -> Result<Json<Value>, ApiError> {
    let (before, after) = (around.before.unwrap_or(AROUND), around.after.unwrap_or(AROUND));
    if before > AROUND_MAX || after > AROUND_MAX {
        let message = format!("\"before\" and \"after\" are from 0 to {AROUND_MAX}");
        return Err(invalid_value(message));
    }
    let (found, id) = one(&state, &id).await?;
    let record = found.records.into_iter().next().unwrap_or_default();
    let time = found.places.first().map_or(Timestamp::MIN, |(time, _)| *time);
    let mut stream = question(around.scope.filter(&record), before);
    stream.indexes = around.scope.indexes(&record);
    let cursor = Cursor { time, id };
    let answer = facets::run(&state.engine, None, |engine| async move {
        let earlier = match before {
            0 => Found::default(),
            _ => find(&engine, &stream.clone().behind(&cursor)).await?,
        };
        let later = later(&engine, stream, &cursor, after).await?;
        Ok((earlier, later))
    });
    let (mut earlier, later) = answer.await?;
    earlier.records.reverse();
    let mut missing = earlier.missing;
    missing
        .extend(later.missing.into_iter().filter(|one| !missing.contains(one)).collect::<Vec<_>>());
    Ok(Json(json!({
        "before": earlier.records, "record": record, "after": later.records, "partial": missing,
    })))
}

/// The records next behind a place, oldest first.
async fn later(
    engine: &Engine,
    stream: Question,
    cursor: &Cursor,
    most: u64,
) -> Result<Found, QueryFailure> {
    let mut found = Found::default();
    if most == 0 {
        return Ok(found);
    }
    let earlier = Filter::Not(Box::new(cursor.earlier()));
    let others = Filter::Not(Box::new(is_it(cursor.id)));
    let mut wanted = stream;
    wanted.query.filter = Filter::And(vec![wanted.query.filter, earlier, others]);
    let key = |name: &str| SortKey { name: name.to_owned(), descending: false, numbers: false };
    wanted.query.pipes = vec![Pipe::Sort(vec![key("timestamp"), key("id")]), Pipe::Limit(most)];
    wanted.limit = most;
    for window in WINDOWS.into_iter().map(Some).chain([None]) {
        let to =
            window.map_or(Timestamp::MAX, |window| Timestamp(cursor.time.0.saturating_add(window)));
        wanted.range = TimeRange { from: cursor.time, to };
        found = find(engine, &wanted).await?;
        if found.records.len() as u64 == most {
            break;
        }
    }
    Ok(found)
}

impl Scope {
    fn filter(self, record: &Value) -> Filter {
        let empty = Map::new();
        let labels = match self {
            Self::Stream => record.get("labels").and_then(Value::as_object).unwrap_or(&empty),
            Self::Index | Self::All => &empty,
        };
        let same = |(name, value): (&String, &Value)| {
            let text = value.as_str().unwrap_or_default();
            let at = Bound::Inclusive(Literal::Text(model::text::fold_text(text).into_owned()));
            let test = FieldTest::Between { from: at.clone(), to: at };
            Filter::Field { name: name.clone(), test }
        };
        Filter::And(labels.iter().map(same).collect())
    }

    fn indexes(self, record: &Value) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Stream | Self::Index => {
                record.get("index").and_then(Value::as_str).map(|index| vec![index.to_owned()])
            }
        }
    }
}
