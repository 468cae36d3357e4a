//! `GET /api/v1/openapi.json`: the API as programs read it.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use serde_json::Value;

/// The document, written by hand beside the routes. `tests/cases/openapi.rs` compares them.
const DOCUMENT: &str = include_str!("openapi.json");

/// The document with the version of this program in it.
static SERVED: LazyLock<String> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    if let Some(version) = document.pointer_mut("/info/version") {
        *version = env!("CARGO_PKG_VERSION").into();
    }
    document.to_string()
});

pub(super) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], SERVED.as_str())
}
