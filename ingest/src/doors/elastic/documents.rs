//! Templates, policies and pipelines: kept as they came and given back, without effect here.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use cluster::aliases::{self, Alias, Change, Written};
use cluster::catalog::CatalogError;
use cluster::documents::DocumentKind;
use model::error::Kind;
use platform::http::ApiError;
use serde_json::{Map, Value, json};

use super::{Elastic, answer};
use crate::doors::body;

/// Bytes of one document.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Documents in all.
const DOCUMENTS_MAX: usize = 4_096;

/// A family of documents.
#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    IndexTemplate,
    Template,
    ComponentTemplate,
    Policy,
    Pipeline,
    DataStream,
    Index,
}

impl Family {
    /// Those with routes of their own, by path.
    pub(super) const ROUTED: [(&'static str, Self); 6] = [
        ("/_index_template", Self::IndexTemplate),
        ("/_template", Self::Template),
        ("/_component_template", Self::ComponentTemplate),
        ("/_ilm/policy", Self::Policy),
        ("/_ingest/pipeline", Self::Pipeline),
        ("/_data_stream", Self::DataStream),
    ];

    fn key(self) -> &'static str {
        match self {
            Self::IndexTemplate => "index_template",
            Self::Template => "template",
            Self::ComponentTemplate => "component_template",
            Self::Policy => "policy",
            Self::Pipeline => "pipeline",
            Self::DataStream => "data_stream",
            Self::Index => "index",
        }
    }

    /// As Elasticsearch gives them back.
    fn render(self, found: Vec<(String, Value)>) -> Value {
        let listed = |list: &str, member: &str| {
            let entries =
                found.iter().map(|(name, document)| json!({ "name": name, member: document }));
            json!({ list: entries.collect::<Vec<_>>() })
        };
        match self {
            Self::IndexTemplate => listed("index_templates", "index_template"),
            Self::ComponentTemplate => listed("component_templates", "component_template"),
            Self::DataStream => {
                let streams = found.iter().map(|(name, _)| {
                    json!({
                        "name": name,
                        "timestamp_field": { "name": "@timestamp" },
                        "indices": [{ "index_name": name, "index_uuid": name }],
                        "generation": 1,
                        "status": "GREEN",
                        "template": name,
                    })
                });
                json!({ "data_streams": streams.collect::<Vec<_>>() })
            }
            Self::Template | Self::Policy | Self::Pipeline | Self::Index => {
                Value::Object(found.into_iter().collect::<Map<_, _>>())
            }
        }
    }
}

/// Those whose name the pattern fits: `GET`, `HEAD`.
pub(super) async fn find(elastic: Elastic, family: Family, pattern: String) -> Response {
    match elastic.documents(family, &pattern).await {
        Err(error) => error.into_response(),
        Ok(found) if found.is_empty() && !pattern.contains('*') => {
            let reason = format!("{} [{pattern}] not found", family.key().replace('_', " "));
            answer::error(StatusCode::NOT_FOUND, "resource_not_found_exception", &reason)
        }
        Ok(found) => Json(family.render(found)).into_response(),
    }
}

/// Keeps one: `PUT`, `POST`.
pub(super) async fn put(
    elastic: Elastic,
    family: Family,
    name: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let packing = body::Packing::of(headers)?;
    let body = packing.unpack(body::read(body).await?)?;
    if body.len() > DOCUMENT_BYTES_MAX {
        let words = format!("a document has at most {DOCUMENT_BYTES_MAX} bytes");
        return Err(ApiError::new(Kind::Invalid, words).code("too_large"));
    }
    let document: Value = match body.trim_ascii() {
        b"" => json!({}),
        text => serde_json::from_slice(text)
            .map_err(|error| ApiError::new(Kind::Invalid, format!("not JSON: {error}")))?,
    };
    let aliases = match family {
        Family::Index => aliases_of(&name, &document)?,
        _ => Vec::new(),
    };
    for change in &aliases {
        // What is written to that index would go elsewhere from then on.
        if let Change::Add { alias, .. } = change
            && elastic.is_index(alias).await?
        {
            let words = format!("an index exists with the same name as the alias [{alias}]");
            return Err(ApiError::new(Kind::Invalid, words));
        }
    }
    let catalog = elastic.catalog.clone();
    let key = format!("{}/{name}", family.key());
    let stored = elastic.blocking(move || {
        if let Err(refused) = catalog.change_aliases(&aliases)? {
            return Ok(Err(ApiError::new(Kind::Invalid, refused.to_string())));
        }
        let all = catalog.documents::<Value>(DocumentKind::Elastic)?;
        let is_new = !all.iter().any(|(known, _)| *known == key);
        if is_new && all.len() >= DOCUMENTS_MAX {
            return Ok(Ok(false));
        }
        catalog.put_document(DocumentKind::Elastic, &key, &document).map(|()| Ok(true))
    });
    if !stored.await?? {
        let words = format!("at most {DOCUMENTS_MAX} templates, policies and pipelines are kept");
        return Err(ApiError::new(Kind::Invalid, words).hint("delete some"));
    }
    let mut answer = json!({ "acknowledged": true });
    if let (Family::Index, Value::Object(members)) = (family, &mut answer) {
        members.insert("shards_acknowledged".to_owned(), true.into());
        members.insert("index".to_owned(), name.into());
    }
    Ok(Json(answer).into_response())
}

/// The aliases that an index is created with.
fn aliases_of(index: &str, document: &Value) -> Result<Vec<Change>, ApiError> {
    let Some(named) = document.get("aliases").and_then(Value::as_object) else {
        return Ok(Vec::new());
    };
    let change = |(alias, options): (&String, &Value)| {
        if !aliases::is_name(alias) {
            let words = format!("{alias:?} is no name of an alias: 1 to 128 of a-z 0-9 . _ -");
            return Err(ApiError::new(Kind::Invalid, words));
        }
        let refused = |name: &&String| !matches!(name.as_str(), "is_write_index" | "is_hidden");
        if let Some(name) = options.as_object().and_then(|object| object.keys().find(refused)) {
            let words = format!("[{name}] is not supported in an alias: it names whole indexes");
            return Err(ApiError::new(Kind::Invalid, words));
        }
        let kept = Alias { is_write_index: options.get("is_write_index").and_then(Value::as_bool) };
        Ok(Change::Add { alias: alias.clone(), index: index.to_owned(), kept })
    };
    named.iter().map(change).collect()
}

/// Forgets one: `DELETE`.
pub(super) async fn remove(
    State(elastic): State<Elastic>,
    Path(name): Path<String>,
    family: Family,
) -> Result<Response, ApiError> {
    let (catalog, key) = (elastic.catalog.clone(), format!("{}/{name}", family.key()));
    let removed =
        elastic.blocking(move || catalog.remove_document(DocumentKind::Elastic, &key)).await?;
    Ok(if removed {
        Json(json!({ "acknowledged": true })).into_response()
    } else {
        let reason = format!("{} [{name}] not found", family.key().replace('_', " "));
        answer::error(StatusCode::NOT_FOUND, "resource_not_found_exception", &reason)
    })
}

impl Elastic {
    async fn documents(
        &self,
        family: Family,
        pattern: &str,
    ) -> Result<Vec<(String, Value)>, ApiError> {
        let catalog = self.catalog.clone();
        let all = self.blocking(move || catalog.documents(DocumentKind::Elastic)).await?;
        let prefix = format!("{}/", family.key());
        let patterns: Vec<&str> = pattern.split(',').collect();
        let named = all
            .into_iter()
            .filter_map(|(key, document)| Some((key.strip_prefix(&prefix)?.to_owned(), document)));
        let fits = |name: &str| patterns.iter().any(|pattern| answer::matches(pattern, name));
        Ok(named.filter(|(name, _)| fits(name)).collect())
    }

    /// Whether there is an index or an alias of that name.
    pub(super) async fn has_index(&self, name: &str) -> Result<bool, ApiError> {
        let (catalog, alias) = (self.catalog.clone(), name.to_owned());
        Ok(self.blocking(move || catalog.written(&alias)).await? != Written::AsNamed
            || self.is_index(name).await?)
    }

    /// Whether there is an index of that name: created by request, or with records in splits.
    async fn is_index(&self, pattern: &str) -> Result<bool, ApiError> {
        if !self.documents(Family::Index, pattern).await?.is_empty()
            || !self.documents(Family::DataStream, pattern).await?.is_empty()
        {
            return Ok(true);
        }
        let (catalog, pattern) = (self.catalog.clone(), pattern.to_owned());
        let splits = self.blocking(move || catalog.splits()).await?;
        Ok(splits.iter().any(|split| answer::matches(&pattern, split.index.as_str())))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let broken = |_| ApiError::new(Kind::Bug, "the catalog could not be asked");
        let done = tokio::task::spawn_blocking(work).await.map_err(broken)?;
        done.map_err(|error| ApiError::new(Kind::Unavailable, error.to_string()))
    }
}
