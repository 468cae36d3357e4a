//! Small documents in the catalog, as the routes reach them: off the event loop, failures told.

use cluster::catalog::{Catalog, CatalogError};
use model::error::Kind;
use platform::http::ApiError;

use super::body::invalid_value;

/// Asks the catalog where it may block.
pub(super) async fn asked<T: Send + 'static>(
    catalog: &Catalog,
    ask: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
) -> Result<T, ApiError> {
    let catalog = catalog.clone();
    let answer = tokio::task::spawn_blocking(move || ask(&catalog)).await;
    let answer = answer.map_err(|_| ApiError::new(Kind::Bug, "the catalog was not asked"))?;
    answer.map_err(|error| {
        tracing::error!(%error, "the catalog failed");
        let kind = match error {
            CatalogError::Damaged { .. } => Kind::Corrupt,
            _ => Kind::Unavailable,
        };
        ApiError::new(kind, error.to_string())
    })
}

/// The text without spaces around it; refused when it is too long or holds what cannot be seen.
pub(super) fn short(what: &str, text: &str, chars_max: usize) -> Result<String, ApiError> {
    let text = text.trim();
    if text.chars().count() > chars_max || text.chars().any(char::is_control) {
        let message = format!("{what} has more than {chars_max} characters, or line breaks");
        return Err(invalid_value(message).hint("make it shorter"));
    }
    Ok(text.to_owned())
}
