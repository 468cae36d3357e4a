//! Listeners beside the main one, for clients that cannot be told a path or speak no HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use ingest::doors::{Audience, Doors};
use model::zone::Zone;
use platform::http::Access;
use platform::shutdown::Shutdown;
use platform::tls::TlsFiles;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::tell;

/// Certificate and zone of the syslog listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SyslogConfig {
    /// Zone of times that state none; without it the machine's.
    pub(crate) zone: Option<String>,
    /// Certificate of the listener, in PEM.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its key.
    pub(crate) key_file: Option<PathBuf>,
    /// Roots of the certificates that senders must show; without it they need none.
    pub(crate) client_ca_file: Option<PathBuf>,
}

impl SyslogConfig {
    /// Where the certificate is.
    ///
    /// # Errors
    /// It is not said.
    pub(crate) fn tls(&self) -> Result<TlsFiles> {
        let said = |file: &Option<PathBuf>, name| {
            file.clone().with_context(|| format!("syslog_tls_listen needs {name} in [syslog]"))
        };
        Ok(TlsFiles {
            certificate: said(&self.certificate_file, "certificate_file")?,
            key: said(&self.key_file, "key_file")?,
            client_authorities: self.client_ca_file.clone(),
        })
    }
}

/// Listeners that serve.
pub(crate) struct Listeners(JoinSet<std::io::Result<()>>);

/// Opens those that the settings name. `main` has the routes of the node; `guarded` puts routes
/// behind the token.
pub(crate) async fn open(
    config: &Config,
    main: &Router,
    doors: &Doors,
    guarded: impl Fn(Router, Audience) -> Router,
    access: &Access,
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
    open_others(config, doors, access, shutdown, &mut tasks).await?;
    Ok(Listeners(tasks))
}

/// Listeners of what is not HTTP/1.
async fn open_others(
    config: &Config,
    doors: &Doors,
    access: &Access,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<std::io::Result<()>>,
) -> Result<()> {
    if let Some(address) = config.otlp_grpc_listen {
        let listener = bind("OTLP over gRPC", address).await?;
        let served = doors.otlp_grpc(access.clone()).serve(listener, shutdown.clone());
        tasks.spawn(async move { served.await.map_err(std::io::Error::other) });
    }
    if let Some(address) = config.fluent_listen {
        let listener = bind("Fluentd", address).await?;
        let served = doors.forward(config.fluent_key()?).serve(listener, shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
    }
    if let Some(address) = config.gelf_listen {
        let (listener, socket) = bind_both("GELF", address).await?;
        let door = doors.gelf();
        let served = door.clone().serve(listener, shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
        let served = door.serve_datagrams(socket, shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
    }
    read_kafka(config, doors, shutdown, tasks)?;
    let zone = Zone::of(config.syslog.zone.as_deref()).context("in the settings of syslog")?;
    let door = doors.syslog(zone);
    if let Some(address) = config.syslog_listen {
        let (listener, socket) = bind_both("syslog", address).await?;
        let served = door.clone().serve(listener, None, shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
        let served = door.clone().serve_datagrams(socket, shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
    }
    if let Some(address) = config.syslog_tls_listen {
        let tls = platform::tls::server(&config.syslog.tls()?)?;
        let listener = bind("syslog over TLS", address).await?;
        let served = door.serve(listener, Some(tls), shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
    }
    Ok(())
}

/// Reads the topics of Kafka that the settings name.
#[cfg(feature = "kafka")]
fn read_kafka(
    config: &Config,
    doors: &Doors,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<std::io::Result<()>>,
) -> Result<()> {
    for source in &config.kafka {
        let door = doors.kafka(source.with_password()?)?;
        tell(&format!("reading {} from Kafka", source.topics.join(" ")));
        let served = door.serve(shutdown.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
    }
    Ok(())
}

/// Settings that name topics were refused before.
#[cfg(not(feature = "kafka"))]
fn read_kafka(
    _: &Config,
    _: &Doors,
    _: &Shutdown,
    _: &mut JoinSet<std::io::Result<()>>,
) -> Result<()> {
    Ok(())
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

async fn bind(what: &str, address: SocketAddr) -> Result<TcpListener> {
    let listener = platform::http::bind(address).await?;
    let address = listener.local_addr().context("the address is not known")?;
    tell(&format!("clients of {what} are heard at {address}"));
    Ok(listener)
}

/// The same port for connections and datagrams.
async fn bind_both(what: &str, address: SocketAddr) -> Result<(TcpListener, UdpSocket)> {
    let listener = bind(what, address).await?;
    let address = listener.local_addr().context("the address is not known")?;
    let socket = UdpSocket::bind(address)
        .await
        .with_context(|| format!("cannot take datagrams at {address}"))?;
    Ok((listener, socket))
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
