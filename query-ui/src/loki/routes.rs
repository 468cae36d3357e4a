//! The routes, their parameters, and queries.

use std::future::Future;

use axum::extract::{FromRequest, Query as Address, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::error::Kind;
use model::query::Filter;
use model::time::{SECOND, TimeRange, Timestamp};
use serde_json::{Value, json};

use super::ast::{Log, Query};
use super::figures::{Asked, Found};
use super::lines::{Direction, Moments, Wanted, streams};
use super::parse::parse;
use super::tail::{self, Tails};
use super::tenant::Tenants;
use super::{catalog, detected};
use crate::plan::{Engine, QueryFailure};

/// Lines of an answer where the request does not say, and at most.
pub(super) const LINES: u64 = 100;
pub(super) const LINES_MAX: u64 = 5_000;
/// Moments of a series.
const MOMENTS_MAX: i64 = 11_000;
/// Bytes of parameters.
const BYTES_MAX: usize = 256 << 10;

/// The routes.
pub(crate) fn router(engine: Engine, tails: Tails) -> Router {
    let both = |path: &str| format!("/loki/api/v1/{path}");
    Router::new()
        .route(&both("query"), get(instant).post(instant))
        .route(&both("query_range"), get(ranged).post(ranged))
        .route(&both("labels"), get(catalog::labels).post(catalog::labels))
        .route(&both("label"), get(catalog::labels))
        .route(&both("label/{name}/values"), get(catalog::values))
        .route(&both("series"), get(catalog::series).post(catalog::series))
        .route(
            &both("detected_labels"),
            get(catalog::detected_labels).post(catalog::detected_labels),
        )
        .route(&both("detected_fields"), get(detected::fields).post(detected::fields))
        .route(&both("detected_field/{name}/values"), get(catalog::detected_values))
        .route(&both("index/stats"), get(catalog::stats).post(catalog::stats))
        .route(&both("index/volume"), get(catalog::volume).post(catalog::volume))
        .route(&both("index/volume_range"), get(catalog::volume_range).post(catalog::volume_range))
        .route(&both("patterns"), get(catalog::patterns).post(catalog::patterns))
        .route(&both("format_query"), get(format_query).post(format_query))
        .route(&both("status/buildinfo"), get(build))
        .route(&both("drilldown-limits"), get(catalog::limits))
        .with_state(engine.clone())
        .route(&both("tail"), get(tail::tail).with_state((engine, tails)))
}

/// Why there is no answer: plain text, which Grafana shows as it is.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    pub(super) fn later(why: impl Into<String>) -> Self {
        Self(StatusCode::TOO_MANY_REQUESTS, why.into())
    }

    /// Whether the same may be answered later.
    pub(super) fn is_passing(&self) -> bool {
        self.0 == StatusCode::TOO_MANY_REQUESTS
    }

    /// Why.
    pub(super) fn reason(&self) -> &str {
        &self.1
    }
}

impl From<QueryFailure> for Refusal {
    fn from(failure: QueryFailure) -> Self {
        let status = match (&failure, failure.kind()) {
            (QueryFailure::Timeout(_), _) => StatusCode::GATEWAY_TIMEOUT,
            (_, Kind::Invalid) => StatusCode::BAD_REQUEST,
            (_, Kind::Overloaded | Kind::Unavailable | Kind::Moved) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            (_, Kind::Corrupt | Kind::Bug) => {
                tracing::error!(%failure, "a query failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self(status, failure.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.0, kind, self.1).into_response();
        if self.0 == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) type Answered = Result<Response, Refusal>;

/// Parameters, of the address and of a form.
#[derive(Debug)]
pub(super) struct Params {
    all: Vec<(String, String)>,
    pub(super) categorized: bool,
    /// Whose records are asked for.
    tenants: Tenants,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let flags = request.headers().get("x-loki-response-encoding-flags");
        let flags = flags.and_then(|flags| flags.to_str().ok()).unwrap_or_default();
        let categorized = flags.split(',').any(|flag| flag.trim() == "categorize-labels");
        let tenants = Tenants::of(request.headers())?;
        let read = |uri: &Uri| {
            let read = Address::<Vec<(String, String)>>::try_from_uri(uri);
            read.map(|Address(all)| all).map_err(|error| Refusal::bad(error.to_string()))
        };
        let (parts, body) = request.into_parts();
        let mut all = read(&parts.uri)?;
        let body = axum::body::to_bytes(body, BYTES_MAX).await;
        let body =
            body.map_err(|_| Refusal::bad(format!("a form has at most {BYTES_MAX} bytes")))?;
        if !body.is_empty() {
            let form = String::from_utf8_lossy(&body);
            let uri = format!("/?{}", form.trim()).parse::<Uri>();
            all.extend(read(&uri.map_err(|_| Refusal::bad("the form is not understood"))?)?);
        }
        Ok(Self { all, categorized, tenants })
    }
}

/// A span of a parameter: seconds, or with a unit.
fn span(text: &str) -> Option<i64> {
    let nanos = match text.parse::<f64>() {
        Ok(seconds) => seconds * 1e9,
        Err(_) => model::quantity::read_duration(text)?,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (0.0..9e18).contains(&nanos).then_some(nanos as i64)
}

impl Params {
    /// A parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.all.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All of a name.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.all
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        self.get(name)
            .map(|text| {
                Timestamp::parse(text)
                    .ok_or_else(|| Refusal::bad(format!("{name:?} is no time: {text}")))
            })
            .transpose()
    }

    /// From when to when; the last hour where the request does not say.
    pub(super) fn range(&self, now: Timestamp) -> Result<TimeRange, Refusal> {
        let to = self.time("end")?.unwrap_or(now);
        let since = match self.get("since") {
            None => 3_600 * SECOND,
            Some(text) => {
                span(text).ok_or_else(|| Refusal::bad(format!("\"since\" is no span: {text}")))?
            }
        };
        let from = self.time("start")?.unwrap_or(Timestamp(to.0.saturating_sub(since)));
        if from > to {
            return Err(Refusal::bad("end timestamp must not be before or equal to start time"));
        }
        Ok(TimeRange { from, to })
    }

    /// Moments of a range.
    pub(super) fn moments(&self, range: TimeRange) -> Result<Moments, Refusal> {
        let whole = range.to.0.saturating_sub(range.from.0);
        let usual = (whole / 250 / SECOND).max(1) * SECOND;
        let step = match self.get("step") {
            None => usual,
            Some(text) => {
                span(text).ok_or_else(|| Refusal::bad(format!("\"step\" is no span: {text}")))?
            }
        };
        let step = step / 1_000_000 * 1_000_000;
        if step <= 0 {
            return Err(Refusal::bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if whole / step > MOMENTS_MAX {
            return Err(Refusal::bad(format!(
                "exceeded maximum resolution of {MOMENTS_MAX} points per time series: increase the step"
            )));
        }
        Ok(Moments { first: range.from, last: range.to, step })
    }

    pub(super) fn limit(&self, usual: u64, most: u64) -> Result<u64, Refusal> {
        self.count("limit", usual, most)
    }

    /// A whole number, up to a bound.
    pub(super) fn count(&self, name: &str, usual: u64, most: u64) -> Result<u64, Refusal> {
        let limit = match self.get(name) {
            None => return Ok(usual),
            Some(text) => {
                text.parse().map_err(|_| Refusal::bad(format!("{name:?} is no number: {text}")))?
            }
        };
        match limit {
            limit if limit > most => Err(Refusal::bad(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})"
            ))),
            limit => Ok(limit),
        }
    }

    fn direction(&self) -> Result<Direction, Refusal> {
        match self.get("direction").unwrap_or("backward").to_ascii_lowercase().as_str() {
            "backward" => Ok(Direction::Backward),
            "forward" => Ok(Direction::Forward),
            other => Err(Refusal::bad(format!("invalid direction '{other}'"))),
        }
    }

    /// The query as it is written.
    pub(super) fn written(&self) -> Result<Query, Refusal> {
        let text = self.get("query").ok_or_else(|| Refusal::bad("\"query\" is missing"))?;
        parse(text).map_err(Refusal::bad)
    }

    /// The query of the tenants' records.
    pub(super) fn query(&self) -> Result<Query, Refusal> {
        self.written().map(|query| self.tenants.narrowed(query))
    }

    /// A query of the tenants' records, of this text.
    pub(super) fn read(&self, text: &str) -> Result<Query, Refusal> {
        parse(text).map(|query| self.tenants.narrowed(query)).map_err(Refusal::bad)
    }

    /// All lines of the tenants.
    pub(super) fn everything(&self) -> Log {
        self.tenants.everything()
    }
}

/// Runs something on the queries' threads; it ends when the asker goes.
pub(super) async fn run<T, F>(engine: &Engine, work: impl FnOnce(Engine) -> F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: Future<Output = Result<T, QueryFailure>> + Send + 'static,
{
    let ticket = engine.admit(None).await?;
    Ok(ticket.unless_cancelled(Box::pin(engine.run(work(engine.clone())))).await?)
}

/// An answer that went well.
pub(super) fn success(data: impl Into<Value>) -> Response {
    Json(json!({ "status": "success", "data": data.into() })).into_response()
}

fn number(number: f64) -> String {
    match number {
        number if number.is_infinite() => if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        number => number.to_string(),
    }
}

fn stamp(nanos: i64) -> Value {
    match nanos % SECOND {
        0 => (nanos / SECOND).into(),
        _ => (nanos as f64 / 1e9).into(),
    }
}

async fn instant(State(engine): State<Engine>, params: Params) -> Answered {
    let query = params.query()?;
    let time = params.time("time")?.unwrap_or(engine.clock().now());
    if let Query::Log(log) = query {
        let (limit, direction) = (params.limit(LINES, LINES_MAX)?, params.direction()?);
        let from = Timestamp(time.0.saturating_sub(3_600 * SECOND));
        let range = TimeRange { from, to: Timestamp(time.0.saturating_add(1)) };
        let data = run(&engine, |engine| async move {
            streams(&engine, &log, Wanted::of(range, limit, direction), params.categorized).await
        });
        return Ok(success(data.await?));
    }
    let moments = Moments { first: time, last: time, step: SECOND };
    let data = match figures(&engine, query, moments).await? {
        Found::Number(found) => {
            json!({ "resultType": "scalar", "result": [stamp(time.0), number(found)], "stats": {} })
        }
        Found::Series(series) => {
            let one = |(labels, values): (_, std::collections::BTreeMap<i64, f64>)| {
                let (at, found) = values.into_iter().next()?;
                Some(json!({ "metric": labels, "value": [stamp(at), number(found)] }))
            };
            let result: Vec<Value> = series.into_iter().filter_map(one).collect();
            json!({ "resultType": "vector", "result": result, "stats": {} })
        }
    };
    Ok(success(data))
}

async fn ranged(State(engine): State<Engine>, params: Params) -> Answered {
    let query = params.query()?;
    let range = params.range(engine.clock().now())?;
    if let Query::Log(log) = query {
        let (limit, direction) = (params.limit(LINES, LINES_MAX)?, params.direction()?);
        let data = run(&engine, |engine| async move {
            streams(&engine, &log, Wanted::of(range, limit, direction), params.categorized).await
        });
        return Ok(success(data.await?));
    }
    let moments = params.moments(range)?;
    let found = figures(&engine, query, moments).await?;
    Ok(success(matrix(found, moments)))
}

/// Computes figures, with the labels that streams have.
pub(super) async fn figures(
    engine: &Engine,
    query: Query,
    moments: Moments,
) -> Result<Found, Refusal> {
    run(engine, |engine| async move {
        let labels = catalog::label_names(&engine, Filter::All, TimeRange::ALL).await?;
        let asked = Asked { engine, moments, labels };
        asked.compute(&query).await
    })
    .await
}

/// Series as an answer of a range.
pub(super) fn matrix(found: Found, moments: Moments) -> Value {
    let series = match found {
        Found::Series(series) => series,
        Found::Number(found) => {
            let values = moments.all().map(|at| (at, found)).collect();
            std::iter::once((super::lines::Labels::new(), values)).collect()
        }
    };
    let one = |(labels, values): (_, std::collections::BTreeMap<i64, f64>)| {
        let values: Vec<Value> =
            values.into_iter().map(|(at, found)| json!([stamp(at), number(found)])).collect();
        json!({ "metric": labels, "values": values })
    };
    let result: Vec<Value> = series.into_iter().map(one).collect();
    json!({ "resultType": "matrix", "result": result, "stats": {} })
}

async fn format_query(params: Params) -> Answered {
    params.written()?;
    let text =
        params.get("query").unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(success(text))
}

/// The version of Loki whose reading side this is.
async fn build() -> Json<Value> {
    Json(
        json!({ "version": "3.4.0", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "" }),
    )
}
