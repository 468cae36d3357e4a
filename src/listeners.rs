//! Listeners beside the main one, for clients that cannot be told a path or speak no HTTP.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use ingest::doors::{Audience, Doors};
use platform::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::tell;

/// Listeners that serve.
pub(crate) struct Listeners(JoinSet<std::io::Result<()>>);

/// Opens those that the settings name. `main` has the routes of the node; `guarded` puts routes
/// behind the token.
pub(crate) async fn open(
    config: &Config,
    main: &Router,
    doors: &Doors,
    guarded: impl Fn(Router, Audience) -> Router,
    shutdown: &Shutdown,
) -> Result<Listeners> {
    let mut tasks = JoinSet::new();
    let served = [
        ("Elasticsearch", config.es_listen, at_root(main), Audience::Elastic),
        ("OTLP", config.otlp_listen, doors.otlp(), Audience::All),
    ];
    for (what, address, router, audience) in served {
        let Some(address) = address else { continue };
        let listener = bind(what, address).await?;
        let router = guarded(router, audience);
        tasks.spawn(platform::http::serve(listener, router, shutdown.clone()));
    }
    Ok(Listeners(tasks))
}

/// What the node serves below `/es`, both writing and reading, without that prefix.
fn at_root(main: &Router) -> Router {
    let below = |mut request: Request| async move {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // A path that was read is read again with the prefix.
        if let Ok(uri) = format!("/es{path}").parse() {
            *request.uri_mut() = uri;
        }
        request
    };
    Router::new().fallback_service(main.clone()).layer(map_request(below))
}

async fn bind(what: &str, address: SocketAddr) -> Result<tokio::net::TcpListener> {
    let listener = platform::http::bind(address).await?;
    let address = listener.local_addr().context("the address is not known")?;
    tell(&format!("clients of {what} are heard at {address}"));
    Ok(listener)
}

impl Listeners {
    /// Waits until all have ended.
    pub(crate) async fn join(mut self) -> Result<()> {
        while let Some(ended) = self.0.join_next().await {
            ended.context("a listener failed")?.context("a listener failed")?;
        }
        Ok(())
    }
}
