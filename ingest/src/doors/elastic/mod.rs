//! The Elasticsearch door: the handshake that shippers make, the templates they leave, and
//! their documents. Reached under `/es`, which is the root of a listener of its own.

mod action;
mod answer;
mod bulk;
mod documents;
mod health;
mod ids;
mod kept;
mod turns;

use std::io;
use std::path::Path as FilePath;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Json, Router};
use cluster::catalog::Catalog;
use platform::disk::Disk;
use platform::http::{ApiError, Slashed as _};
use serde_json::{Value, json};

use super::parcel::Delivered;
use super::{IngestState, body};
use action::Operation;
use answer::VERSION;
pub(super) use answer::refusal;
use bulk::{Given, Item};
use documents::Family;
use health::Outlook;
use ids::Ids;

type Parameters = Query<std::collections::HashMap<String, String>>;

/// What this door needs.
#[derive(Debug, Clone)]
pub(super) struct Elastic {
    ingest: IngestState,
    catalog: Catalog,
    ids: Ids,
}

impl Elastic {
    /// Ids of documents are kept in `folder`.
    pub(super) fn open(
        ingest: IngestState,
        catalog: Catalog,
        folder: &FilePath,
        disk: &Disk,
    ) -> io::Result<Self> {
        Ok(Self { ingest, catalog, ids: Ids::open(&folder.join("ids"), disk)? })
    }
}

/// The write side, without prefix.
pub(super) fn router(elastic: Elastic) -> Router {
    let mut router = Router::new()
        .route("/", get(info))
        .slashed("/_license", get(license))
        .slashed("/_xpack", get(xpack))
        .slashed("/_cluster/health", get(health))
        .slashed("/_cluster/health/{index}", get(health))
        .slashed("/_cat/health", get(cat_health))
        .slashed("/_nodes", get(nodes))
        .slashed("/_nodes/http", get(nodes))
        .slashed("/_bulk", post(bulk_all).put(bulk_all))
        .slashed("/{index}/_bulk", post(bulk_index).put(bulk_index))
        .slashed("/{index}/_doc", post(doc))
        .slashed("/{index}/_doc/{id}", post(doc_id).put(doc_id))
        .slashed("/{index}/_create/{id}", post(create).put(create))
        .slashed("/{index}", put(index_put));
    for (path, family) in Family::ROUTED {
        router = router
            .slashed(path, get(move |State(elastic)| documents::find(elastic, family, "*".into())))
            .slashed(&format!("{path}/{{name}}"), document_routes(family));
    }
    router.with_state(elastic)
}

fn document_routes(family: Family) -> MethodRouter<Elastic> {
    let keep = move |State(elastic): State<Elastic>,
                     Path(name): Path<String>,
                     headers: HeaderMap,
                     body: Body| async move {
        documents::put(elastic, family, name, &headers, body).await
    };
    get(move |State(elastic): State<Elastic>, Path(name): Path<String>| {
        documents::find(elastic, family, name)
    })
    .put(keep)
    .post(keep)
    .delete(move |state: State<Elastic>, name: Path<String>| documents::remove(state, name, family))
}

pub(super) async fn info() -> Json<Value> {
    Json(json!({
        "name": "sawlog",
        "cluster_name": "sawlog",
        "cluster_uuid": "sawlog",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": "unknown",
            "build_date": "2025-01-01T00:00:00.000000000Z",
            "build_snapshot": false,
            "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    }))
}

async fn license() -> Json<Value> {
    Json(json!({ "license": {
        "status": "active",
        "uid": "00000000-0000-0000-0000-000000000000",
        "type": "basic",
        "mode": "basic",
        "issue_date": "2025-01-01T00:00:00.000Z",
        "issue_date_in_millis": 1_735_689_600_000_i64,
        "max_nodes": 1000,
        "issued_to": "sawlog",
        "issuer": "sawlog",
        "start_date_in_millis": -1,
    }}))
}

async fn xpack() -> Json<Value> {
    let on = json!({ "available": true, "enabled": true });
    Json(json!({
        "build": { "hash": "unknown", "date": "2025-01-01T00:00:00.000Z" },
        "license": { "uid": "00000000-0000-0000-0000-000000000000", "type": "basic", "mode": "basic", "status": "active" },
        "features": { "ilm": on, "data_streams": on },
    }))
}

async fn health(State(elastic): State<Elastic>) -> Json<Value> {
    Json(elastic.outlook().shown())
}

async fn cat_health(
    State(elastic): State<Elastic>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    let cells = elastic.outlook().cells(elastic.ingest.0.clock.now());
    let chosen: Vec<(&str, &str)> = match parameters.get("h") {
        None => cells.iter().map(|(name, cell)| (*name, cell.as_str())).collect(),
        Some(names) => {
            let named = names.split(',').map(str::trim).filter_map(|name| {
                let mut columns = cells.iter().zip(health::SHORT_NAMES);
                let found = columns.find(|((long, _), short)| [*long, *short].contains(&name));
                found.map(|((_, cell), _)| (name, cell.as_str()))
            });
            named.collect()
        }
    };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let first = accept.and_then(|accept| accept.split(',').next()).unwrap_or_default();
    let format = parameters.get("format").map(String::as_str);
    if format.map_or(first.contains("json"), |format| format == "json") {
        let row = chosen.iter().map(|(name, cell)| ((*name).to_owned(), Value::from(*cell)));
        return Json(json!([Value::Object(row.collect())])).into_response();
    }
    let line = |cells: Vec<&str>| cells.join(" ") + "\n";
    let head = match parameters.get("v").is_some_and(|wanted| wanted != "false") {
        true => line(chosen.iter().map(|(name, _)| *name).collect()),
        false => String::new(),
    };
    (head + &line(chosen.iter().map(|(_, cell)| *cell).collect())).into_response()
}

/// One node, at the address by which the client reached it: sniffing leads back here.
async fn nodes(headers: HeaderMap) -> Json<Value> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("127.0.0.1:9200");
    Json(json!({
        "_nodes": { "total": 1, "successful": 1, "failed": 0 },
        "cluster_name": "sawlog",
        "nodes": { "sawlog": {
            "name": "sawlog",
            "host": host,
            "ip": host,
            "version": VERSION,
            "build_flavor": "default",
            "roles": ["data", "ingest", "master"],
            "http": { "publish_address": host, "bound_address": [host] },
        }},
    }))
}

async fn bulk_all(
    State(elastic): State<Elastic>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    elastic.bulk(None, &parameters, &headers, body).await
}

async fn bulk_index(
    State(elastic): State<Elastic>,
    Path(index): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    elastic.bulk(Some(index), &parameters, &headers, body).await
}

async fn doc(
    State(elastic): State<Elastic>,
    Path(index): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    elastic.one(Operation::Index, index, None, &headers, body).await
}

async fn doc_id(
    State(elastic): State<Elastic>,
    Path((index, id)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let creates = parameters.get("op_type").is_some_and(|kind| kind == "create");
    let operation = if creates { Operation::Create } else { Operation::Index };
    elastic.one(operation, index, Some(id), &headers, body).await
}

async fn create(
    State(elastic): State<Elastic>,
    Path((index, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    elastic.one(Operation::Create, index, Some(id), &headers, body).await
}

impl Elastic {
    /// How the cluster is, as far as this node knows.
    fn outlook(&self) -> Outlook {
        Outlook::of(&self.catalog.topology().borrow())
    }

    async fn store(
        &self,
        given: Given,
        packing: body::Packing,
        body: Bytes,
    ) -> Result<(Vec<Item>, Delivered), ApiError> {
        let known = (self.ids.clone(), self.catalog.clone());
        bulk::store(self.ingest.clone(), known, given, packing, body).await
    }

    async fn bulk(
        self,
        index: Option<String>,
        parameters: &std::collections::HashMap<String, String>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let started = self.ingest.0.clock.elapsed();
        let packing = body::Packing::of(headers)?;
        let body = body::read(body).await?;
        let given = Given::Bulk { index };
        let (items, delivered) = self.store(given, packing, body).await?;
        // Some clients read the status alone: what was refused whole says so there.
        if let Some(refusal) = delivered.refusal() {
            return Err(refusal.clone());
        }
        let took = self.ingest.0.clock.elapsed().saturating_sub(started).as_millis();
        let mut text = bulk::answer(&items, &delivered, took);
        if let Some(filter) = parameters.get("filter_path")
            && let Ok(value) = serde_json::from_str(&text)
        {
            text = answer::filtered(value, filter).to_string();
        }
        Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
    }

    async fn one(
        self,
        operation: Operation,
        index: String,
        id: Option<String>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let packing = body::Packing::of(headers)?;
        let body = body::read(body).await?;
        let given = Given::One { operation, index, id };
        let (items, delivered) = self.store(given, packing, body).await?;
        if let Some(refusal) = delivered.refusal() {
            return Err(refusal.clone());
        }
        let Some(item) = items.first() else { return Ok(StatusCode::BAD_REQUEST.into_response()) };
        let (status, text) = bulk::outcome(item, &delivered);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Ok((status, [(header::CONTENT_TYPE, "application/json")], text).into_response())
    }
}

async fn index_put(
    State(elastic): State<Elastic>,
    Path(index): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if let Err(error) = model::stream::IndexName::new(&index) {
        let (status, reason) = (StatusCode::BAD_REQUEST, error.to_string());
        return Ok(answer::error(status, "invalid_index_name_exception", &reason));
    }
    if elastic.has_index(&index).await? {
        let reason = format!("index [{index}] already exists");
        let (status, kind) = (StatusCode::BAD_REQUEST, "resource_already_exists_exception");
        return Ok(answer::error(status, kind, &reason));
    }
    documents::put(elastic, Family::Index, index, &headers, body).await
}

#[cfg(test)]
mod tests;
