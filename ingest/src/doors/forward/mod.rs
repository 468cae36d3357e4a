//! Fluentd's forward protocol, which Fluent Bit speaks as well: four modes, acknowledged when the
//! records are durable.

mod extent;
mod handshake;
mod message;

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use model::error::Kind;
use model::limits::REQUEST_BYTES_MAX;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use rmpv::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::extent::Extent;
use self::handshake::{Answer, Handshake};
use self::message::{Message, MessageError};
use super::IngestState;
use super::stream::{self, Connection, HANDSHAKE_TIME_MAX};

/// The door's name in figures.
const DOOR: &str = "forward";
/// Bytes of a message beyond which few may be read at one time.
const LARGE_BYTES: usize = 1 << 20;
/// Messages over [`LARGE_BYTES`] that are read at one time.
const LARGE_MAX: usize = 4;
/// Bytes of what a sender says in the handshake.
const PING_BYTES_MAX: usize = 16 << 10;

/// The door of the forward protocol.
#[derive(Debug, Clone)]
pub struct Forward {
    ingest: IngestState,
    key: Option<Arc<str>>,
    large: Arc<Semaphore>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the other side has gone")]
    Gone(#[from] std::io::Error),
    #[error("the handshake failed")]
    Handshake,
    #[error(transparent)]
    Extent(#[from] extent::ExtentError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the records could not be stored: {}", .0.detail.message)]
    Refused(ApiError),
}

impl Forward {
    /// With a key senders must know it.
    pub(super) fn new(ingest: IngestState, key: Option<String>) -> Self {
        let large = Arc::new(Semaphore::new(LARGE_MAX));
        Self { ingest, key: key.map(Arc::from), large }
    }

    /// Takes connections until the wish to stop.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let (state, wish) = (self.ingest.clone(), shutdown.clone());
        let serve = move |connection: Connection| {
            let (door, wish) = (self.clone(), wish.clone());
            async move {
                let peer = connection.peer;
                match door.read(connection, &wish).await {
                    Ok(()) => {}
                    Err(error @ Ended::Gone(_)) => tracing::debug!(%peer, %error, "forward ended"),
                    Err(error) => {
                        door.ingest.0.metrics.refused("invalid");
                        tracing::warn!(%peer, %error, "a forwarding connection is closed");
                    }
                }
            }
        };
        stream::accept(listener, None, &state, &shutdown, serve).await;
    }

    async fn read(&self, mut connection: Connection, shutdown: &Shutdown) -> Result<(), Ended> {
        let mut buffer = BytesMut::new();
        if let Some(key) = &self.key {
            let clock = &self.ingest.0.clock;
            let greeted = greet(&mut connection, &mut buffer, key);
            clock.timeout(HANDSHAKE_TIME_MAX, greeted).await.ok_or(Ended::Handshake)??;
        }
        loop {
            let next = self.next(&mut connection, &mut buffer, REQUEST_BYTES_MAX);
            let next = tokio::select! {
                next = next => next?,
                () = shutdown.wait() => return Ok(()),
            };
            let Some((end, large)) = next else { return Ok(()) };
            let bytes = buffer.split_to(end).freeze();
            let chunk = self.store(bytes, shutdown).await?;
            drop(large);
            if let Some(chunk) = chunk {
                let answer = Value::Map(vec![("ack".into(), chunk.into())]);
                connection.socket.write_all(&handshake::encode(&answer)).await?;
                connection.socket.flush().await?;
            }
        }
    }

    /// Reads until a whole message is there: where it ends, and the room it takes if it is large.
    /// `None` at the end of the connection.
    async fn next(
        &self,
        connection: &mut Connection,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<Option<(usize, Option<OwnedSemaphorePermit>)>, Ended> {
        let mut extent = Extent::new(bytes_max);
        let mut large = None;
        loop {
            // Heartbeats of old senders.
            if buffer.first() == Some(&0) || buffer.first() == Some(&0xc0) {
                buffer.advance(1);
                continue;
            }
            if let Some(end) = extent.advance(buffer)? {
                return Ok(Some((end, large)));
            }
            if buffer.len() > LARGE_BYTES && large.is_none() {
                // Closed never.
                large = self.large.clone().acquire_owned().await.ok();
            }
            if !stream::read(&mut connection.socket, buffer).await? {
                return Ok(None);
            }
        }
    }

    /// Stores a message; gives what its sender wants to see again.
    async fn store(&self, bytes: Bytes, shutdown: &Shutdown) -> Result<Option<String>, Ended> {
        let arrival = self.ingest.0.clock.now();
        let parse = move || {
            let message = Message::read(&bytes)?;
            Ok::<_, MessageError>((message.pack(arrival)?, message.chunk))
        };
        let lost = |_| Ended::Refused(ApiError::new(Kind::Bug, "a message could not be read"));
        let (packed, chunk) = tokio::task::spawn_blocking(parse).await.map_err(lost)??;
        self.ingest.persist(DOOR, packed, shutdown).await.map_err(Ended::Refused)?;
        Ok(chunk)
    }
}

async fn greet(connection: &mut Connection, buffer: &mut BytesMut, key: &str) -> Result<(), Ended> {
    let [one, two] = [platform::random::u64(), platform::random::u64()].map(u64::to_le_bytes);
    let mut nonce = [0; 16];
    for (place, byte) in nonce.iter_mut().zip(one.into_iter().chain(two)) {
        *place = byte;
    }
    let handshake = Handshake::new(nonce, key);
    connection.socket.write_all(&handshake.greeting()).await?;
    connection.socket.flush().await?;
    let mut extent = Extent::new(PING_BYTES_MAX);
    let end = loop {
        if let Some(end) = extent.advance(buffer)? {
            break end;
        }
        if !stream::read(&mut connection.socket, buffer).await? {
            return Err(Ended::Handshake);
        }
    };
    let (answer, is_welcome) = match handshake.answer(&buffer.split_to(end)) {
        Answer::Welcome(answer) => (answer, true),
        Answer::Refused(answer) => (answer, false),
    };
    connection.socket.write_all(&answer).await?;
    connection.socket.flush().await?;
    if is_welcome { Ok(()) } else { Err(Ended::Handshake) }
}

#[cfg(test)]
mod tests;
