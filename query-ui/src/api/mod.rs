//! The reading side of the HTTP API (docs/api.md).

mod body;
mod request;
mod output;
mod query;
mod sql;
mod facets;
mod editor;
mod records;
mod export;
mod deletes;
pub(crate) mod tail;
mod status;
mod stored;
mod views;
mod indexes;
mod shippers;
mod shipper_settings;
mod openapi;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, delete, get, patch, post};
use model::error::Kind;
use model::limits::QUERY_BYTES_MAX;
use model::wire::SHIPPERS_PATH;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use tokio::sync::Semaphore;

use crate::elastic;
use crate::loki;
use crate::plan::{Asker, Engine, QueryFailure, QueryId};
use crate::ui;
use shippers::Fleet;
pub use status::{StatusSource, index_status};

/// Bytes of a request: a query whose every character is escaped, and the rest.
const REQUEST_BYTES_MAX: usize = 8 * QUERY_BYTES_MAX;

/// What the routes need. Clones share it.
#[derive(Clone)]
pub struct QueryState {
    engine: Engine,
    status: Arc<dyn StatusSource>,
    shutdown: Shutdown,
    tails: Arc<Semaphore>,
    fleet: Fleet,
}

impl std::fmt::Debug for QueryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryState").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl QueryState {
    /// Tails end when there is a wish to stop.
    #[must_use]
    pub fn new(engine: Engine, status: Arc<dyn StatusSource>, shutdown: Shutdown) -> Self {
        let tails = Arc::new(Semaphore::new(engine.settings().tails_max));
        let fleet = Fleet::of(engine.searcher().catalog());
        Self { engine, status, shutdown, tails, fleet }
    }
}

/// The routes, and the page at every path that is none of the API's.
pub fn router(state: QueryState) -> Router {
    let elastic = elastic::router(state.engine.clone());
    let tails = loki::Tails { room: state.tails.clone(), shutdown: state.shutdown.clone() };
    let loki = loki::router(state.engine.clone(), tails);
    Router::new()
        .route("/api/v1/query", post(query::query))
        .route("/api/v1/patterns", post(query::patterns))
        .route("/api/v1/query/parse", post(editor::parse))
        .route("/api/v1/query/explain", post(editor::explain))
        .route("/api/v1/queries/{id}", delete(query::cancel))
        .route("/api/v1/sql", post(sql::sql))
        .route("/api/v1/records/{id}", get(records::record))
        .route("/api/v1/records/{id}/context", get(records::context))
        .route("/api/v1/deletions", get(deletes::deletions).post(deletes::delete))
        .route("/api/v1/export", get(export::from_address).post(export::from_body))
        .route("/api/v1/histogram", post(facets::histogram))
        .route("/api/v1/fields", post(facets::fields))
        .route("/api/v1/field-values", post(facets::field_values))
        .route("/api/v1/facets", post(facets::facets))
        .route("/api/v1/tail", get(tail::tail))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/indexes/{name}", patch(indexes::change))
        .route("/api/v1/indexes/{name}/compact", get(indexes::compaction).post(indexes::compact))
        .route("/api/v1/views", get(views::list).post(views::add))
        .route("/api/v1/views/{id}", get(views::one).put(views::replace).delete(views::remove))
        .route("/v/{id}", get(views::open))
        .route(SHIPPERS_PATH, get(shippers::list))
        .route("/api/v1/shippers/settings", get(shipper_settings::get).put(shipper_settings::put))
        .route("/api/v1/shippers/{id}", post(shippers::report).delete(shippers::forget))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/{*rest}", any(unknown))
        .fallback(ui::page)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(state)
        .merge(elastic)
        .merge(loki)
        .layer(middleware::from_fn(by_asker))
}

/// The header with a tenant's name, as Loki and Grafana have it.
const TENANT_HEADER: &str = "x-scope-orgid";
/// Bytes of a name that count.
const TENANT_BYTES_MAX: usize = 128;
/// The header with the name of a query: of a request, when its asker gives one, and of every answer.
const QUERY_HEADER: &str = "x-query-id";

/// Queries are admitted by turns: tenants by their names, others by their addresses. What a request asks
/// has one name, whatever the route.
async fn by_asker(request: Request, next: Next) -> Response {
    let tenant = request.headers().get(TENANT_HEADER).map(HeaderValue::as_bytes);
    let tenant = tenant.filter(|name| name.len() <= TENANT_BYTES_MAX);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let who = match (tenant, peer) {
        (Some(name), _) => format!("tenant {}", String::from_utf8_lossy(name)),
        (None, Some(ConnectInfo(address))) => address.ip().to_string(),
        (None, None) => String::new(),
    };
    let given = request.headers().get(QUERY_HEADER).and_then(|name| name.to_str().ok());
    let asker = Asker::new(who, given.and_then(QueryId::given));
    let mut response = asker.asks(next.run(request)).await;
    let name = asker.asked().and_then(|id| HeaderValue::from_str(&id.to_string()).ok());
    if let Some(name) = name {
        response.headers_mut().insert(QUERY_HEADER, name);
    }
    response
}

async fn unknown() -> ApiError {
    ApiError::new(Kind::Invalid, "there is no such route")
        .code("not_found")
        .hint("docs/api.md lists the routes")
}

/// A failure as the API tells it.
fn refusal(failure: &QueryFailure) -> ApiError {
    let error = ApiError::new(failure.kind(), failure.to_string());
    match failure {
        QueryFailure::Overloaded(_) | QueryFailure::Incomplete(_, _) => error,
        QueryFailure::Timeout(_) => {
            error.code("timeout").hint("narrow the time range, or ask for less")
        }
        QueryFailure::TooLarge(_) => error
            .code("too_large")
            .hint("narrow the time range, or group by fields with fewer values"),
        QueryFailure::Refused(_) | QueryFailure::NoCondition(_) => error.code("invalid_query"),
        QueryFailure::Misread(wrong) => {
            let mut error = error.code("invalid_query");
            error.detail.hint.clone_from(&wrong.hint);
            error.detail.position.clone_from(&wrong.position);
            error
        }
        QueryFailure::Cancelled => error.code("cancelled"),
        QueryFailure::Engine(_) | QueryFailure::Broken => {
            let cause = std::error::Error::source(failure).map(ToString::to_string);
            tracing::error!(%failure, cause, "a query failed");
            match cause {
                // What the engine adds is advice for those who build it.
                Some(cause) => error.hint(cause.lines().next().unwrap_or_default()),
                None => error,
            }
        }
    }
}

#[cfg(test)]
mod tests;
