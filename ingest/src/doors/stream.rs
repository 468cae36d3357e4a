//! Connections that carry records without requests: accepted within a bound, read as fast as
//! records become durable and no faster.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt as _;
use model::error::Kind;
use platform::clock::Clock;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::IngestState;
use super::parcel::Packed;

/// Connections of one listener at one time; each holds at most [`READ_BYTES`] and a frame.
pub(super) const CONNECTIONS_MAX: usize = 1_024;
/// Bytes that are read before they are stored: with one write to disk for all of them.
pub(super) const READ_BYTES: usize = 256 << 10;
/// How long a handshake may take.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long connections may go on after the wish to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Wait after a connection could not be accepted: out of file descriptors, as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest wait before records that were refused are offered again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Both directions of a connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection and where it comes from.
pub(super) struct Connection {
    pub(super) socket: Box<dyn Duplex>,
    pub(super) peer: IpAddr,
}

/// Accepts connections until the wish to stop, each served by a task of its own.
pub(super) async fn accept<F, S>(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    state: &IngestState,
    shutdown: &Shutdown,
    serve: F,
) where
    F: Fn(Connection) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let tls = tls.map(TlsAcceptor::from);
    let clock = &state.0.clock;
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok(_) if tasks.len() >= CONNECTIONS_MAX => state.0.metrics.refused("connections"),
            Ok((socket, address)) => {
                // A slow handshake holds up nobody: it is made inside the task.
                let (tls, clock, serve) = (tls.clone(), clock.clone(), serve.clone());
                tasks.spawn(async move {
                    if let Some(connection) = open(socket, address, tls, &clock).await {
                        serve(connection).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    clock.timeout(DRAIN_TIME, drained).await;
}

async fn open(
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    clock: &Clock,
) -> Option<Connection> {
    let peer = address.ip().to_canonical();
    let socket: Box<dyn Duplex> = match tls {
        None => Box::new(socket),
        Some(tls) => match clock.timeout(HANDSHAKE_TIME_MAX, tls.accept(socket)).await? {
            Ok(socket) => Box::new(socket),
            Err(error) => {
                tracing::debug!(%peer, %error, "no encryption was agreed on");
                return None;
            }
        },
    };
    Some(Connection { socket, peer })
}

/// Reads what there is, up to [`READ_BYTES`] more, waiting for the first byte. False at the end.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> std::io::Result<bool> {
    let before = buffer.len();
    if socket.read_buf(buffer).await? == 0 {
        return Ok(false);
    }
    while buffer.len() - before < READ_BYTES {
        match socket.read_buf(buffer).now_or_never() {
            // The end is met again with the next reading.
            None | Some(Ok(0)) => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(true)
}

impl IngestState {
    /// Stores a parcel however long it takes: what is refused for now is offered again, as long
    /// as nobody wishes to stop. Gives how many records are stored.
    pub(super) async fn persist(
        &self,
        door: &'static str,
        packed: Packed,
        shutdown: &Shutdown,
    ) -> Result<u64, ApiError> {
        let mut stored = 0;
        let mut rest = packed;
        let mut pause = Duration::from_millis(50);
        loop {
            let again = rest.clone();
            let delivered = self.deliver(door, rest).await;
            let (count, refused) = delivered.remaining(again);
            stored += count;
            let Some((packed, refusal)) = refused else { return Ok(stored) };
            if !matches!(refusal.kind, Kind::Overloaded | Kind::Unavailable) {
                return Err(refusal);
            }
            rest = packed;
            tokio::select! {
                () = self.0.clock.sleep(pause) => {}
                () = shutdown.wait() => return Err(refusal),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
