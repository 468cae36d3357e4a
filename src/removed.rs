//! What a node does that is out of its cluster: it says so to everybody at once, and ends.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use cluster::meta::Metadata;
use model::error::Kind;
use platform::clock::Clock;
use platform::http::ApiError;

use crate::listeners::Listeners;

/// How long answers that have begun may go on: nobody takes or tells anything for this node any more.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// The routes, of which each says that the node is out as soon as it is, also in the middle of what it does.
pub(crate) fn answered(router: Router, metadata: Option<&Metadata>) -> Router {
    let Some(metadata) = metadata.cloned() else { return router };
    let answer = move |request: Request, next: Next| {
        let metadata = metadata.clone();
        async move { unless_out(&metadata, request, next).await }
    };
    router.layer(middleware::from_fn(answer))
}

async fn unless_out(metadata: &Metadata, request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        why = metadata.out() => refusal(&why).into_response(),
        answer = next.run(request) => answer,
    }
}

fn refusal(why: &str) -> ApiError {
    ApiError::new(Kind::Unavailable, format!("this node is out of its cluster, and stops: {why}"))
        .hint("ask another node")
}

/// Serves until the wish to stop, or until a node was out for long enough to have said so: why it is.
pub(crate) async fn serve(
    main: impl Future<Output = io::Result<()>>,
    more: Listeners,
    metadata: Option<&Metadata>,
    clock: &Clock,
) -> Result<Option<Error>> {
    let serving = async {
        main.await.context("serving failed")?;
        more.join().await
    };
    tokio::select! {
        served = serving => served.map(|()| metadata.and_then(Metadata::why_out).map(|why| no_more(&why))),
        why = is_through(metadata, clock) => Ok(Some(no_more(&why))),
    }
}

fn no_more(why: &str) -> Error {
    anyhow!("this node is not of its cluster any more: {why}")
}

/// Returns when a node was out for long enough to have said so: why it is.
async fn is_through(metadata: Option<&Metadata>, clock: &Clock) -> String {
    let Some(metadata) = metadata else { return std::future::pending().await };
    let why = metadata.out().await;
    clock.sleep(LAST_WAIT).await;
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_out_says_why_and_whom_to_ask() {
        let response = refusal("it was removed").into_response();
        assert_eq!(response.status().as_u16(), 503);
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("it was removed") && body.contains("ask another node"), "{body}");
    }

    #[tokio::test]
    async fn a_node_of_its_own_is_never_out() {
        let clock = Clock::system();
        let through = is_through(None, &clock);
        assert!(clock.timeout(Duration::from_millis(20), through).await.is_none());
    }
}
