//! Routes that clients also ask with a slash at the end.

use axum::Router;
use axum::routing::MethodRouter;

/// Routes whose paths may end in a slash.
pub trait Slashed<S> {
    /// A route, with and without a slash at the end. `path` ends in none.
    #[must_use]
    fn slashed(self, path: &str, methods: MethodRouter<S>) -> Self;
}

impl<S: Clone + Send + Sync + 'static> Slashed<S> for Router<S> {
    fn slashed(self, path: &str, methods: MethodRouter<S>) -> Self {
        self.route(path, methods.clone()).route(&format!("{path}/"), methods)
    }
}
