//! Views that everybody may see: named addresses of the page, kept by the node.

use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cluster::documents::DocumentKind;
use model::error::Kind;
use model::wire::SharedView;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::QueryState;
use super::body::{Json, Said, invalid_value};
use super::stored::{asked, short};
use crate::ui;

/// Views that are kept.
const VIEWS_MAX: usize = 1_000;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 120;
/// Characters of an author's name.
const AUTHOR_CHARS_MAX: usize = 80;
/// Bytes of an address.
const SEARCH_BYTES_MAX: usize = 32 << 10;
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
    #[serde(default)]
    author: String,
    search: String,
}

impl Said for Wanted {
    const RIGHT: &'static str = "send a JSON object such as \
        {\"name\":\"Failed payments\",\"author\":\"Ada\",\"search\":\"?q=refused\"}";
}

impl Wanted {
    fn checked(self) -> Result<Self, ApiError> {
        let wanted = self;
        let name = short("the name", &wanted.name, NAME_CHARS_MAX)?;
        let author = short("the author", &wanted.author, AUTHOR_CHARS_MAX)?;
        if name.is_empty() {
            return Err(invalid_value("a view has a name").hint("give it one"));
        }
        let search = wanted.search;
        let sound = search.is_empty()
            || search.starts_with('?') && search.bytes().all(|byte| byte.is_ascii_graphic());
        if !sound || search.len() > SEARCH_BYTES_MAX {
            let message = format!(
                "\"search\" is no address of the page, or longer than {SEARCH_BYTES_MAX} bytes"
            );
            return Err(invalid_value(message)
                .hint("send what stands in the browser's address from the ? on"));
        }
        Ok(Self { name, author, search })
    }

    fn view(self, id: String, state: &QueryState) -> SharedView {
        let saved = state.engine.clock().now().to_string();
        SharedView { id, name: self.name, author: self.author, saved, search: self.search }
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(Kind::Invalid, format!("there is no view {id:?}"))
        .code("not_found")
        .hint("it may have been removed: GET /api/v1/views lists those there are")
}

/// By name; the names of views differ.
async fn all(state: &QueryState) -> Result<Vec<SharedView>, ApiError> {
    let catalog = state.engine.searcher().catalog();
    let views = asked(catalog, |catalog| catalog.documents(DocumentKind::View)).await?;
    let mut views: Vec<SharedView> = views.into_iter().map(|(_, view)| view).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(views)
}

async fn put(state: &QueryState, view: &SharedView) -> Result<(), ApiError> {
    let view = view.clone();
    asked(state.engine.searcher().catalog(), move |catalog| {
        catalog.put_document(DocumentKind::View, &view.id, &view)
    })
    .await
}

async fn found(state: &QueryState, id: String) -> Result<SharedView, ApiError> {
    let wanted = id.clone();
    let view = asked(state.engine.searcher().catalog(), move |catalog| {
        catalog.document(DocumentKind::View, &wanted)
    })
    .await?;
    view.ok_or_else(|| unknown(&id))
}

/// Refuses a name that another view has.
async fn free(state: &QueryState, name: &str, id: &str) -> Result<usize, ApiError> {
    let views = all(state).await?;
    match views.iter().find(|view| view.name == name && view.id != id) {
        None => Ok(views.len()),
        Some(other) => Err(ApiError::new(Kind::Invalid, format!("there is a view named {name:?}"))
            .code("name_taken")
            .hint(format!("choose another name, or PUT /api/v1/views/{}", other.id))),
    }
}

pub(super) async fn list(State(state): State<QueryState>) -> Result<Answer<Value>, ApiError> {
    Ok(Answer(json!({ "views": all(&state).await? })))
}

pub(super) async fn one(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<Answer<SharedView>, ApiError> {
    found(&state, id).await.map(Answer)
}

pub(super) async fn add(
    State(state): State<QueryState>,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Answer<SharedView>), ApiError> {
    let wanted = wanted.checked()?;
    if free(&state, &wanted.name, "").await? >= VIEWS_MAX {
        let message = format!("there are {VIEWS_MAX} shared views, which is all that are kept");
        return Err(ApiError::new(Kind::Overloaded, message).hint("remove some first"));
    }
    // Short enough to be read out, long enough never to be drawn twice.
    let id = format!("{:010x}", platform::random::u64() >> 24);
    let view = wanted.view(id, &state);
    put(&state, &view).await?;
    Ok((StatusCode::CREATED, Answer(view)))
}

pub(super) async fn replace(
    State(state): State<QueryState>,
    Path(id): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<SharedView>, ApiError> {
    let wanted = wanted.checked()?;
    found(&state, id.clone()).await?;
    free(&state, &wanted.name, &id).await?;
    let view = wanted.view(id, &state);
    put(&state, &view).await?;
    Ok(Answer(view))
}

pub(super) async fn remove(
    State(state): State<QueryState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let gone = id.clone();
    let was_there = asked(state.engine.searcher().catalog(), move |catalog| {
        catalog.remove_document(DocumentKind::View, &gone)
    })
    .await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&id)) }
}

/// `/v/{id}`: leads to what the view shows; of a view that is gone the page tells.
pub(super) async fn open(
    State(state): State<QueryState>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let Ok(view) = found(&state, id).await else { return ui::page(request).await };
    match HeaderValue::from_str(&format!("/{}", view.search)) {
        Ok(place) => {
            // The view may be saved anew, so nobody may remember where it led.
            let headers = [(header::LOCATION, place)];
            let kept = [(header::CACHE_CONTROL, "no-store")];
            (StatusCode::FOUND, headers, kept).into_response()
        }
        Err(_) => ui::page(request).await,
    }
}
