//! Syslog over UDP, TCP and TLS. Nobody is answered in this protocol: a connection is read as fast
//! as its messages become durable, and datagrams that find no room are counted.

mod frame;
mod record;

use std::sync::Arc;

use bytes::BytesMut;
use model::zone::Zone;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UdpSocket};

use self::frame::{Frame, Framer, MESSAGE_BYTES_MAX};
use self::record::Reader;
use super::IngestState;
use super::datagrams::{self, Datagram};
use super::stream::{self, Connection};

/// The door's name in figures.
const DOOR: &str = "syslog";
/// The door of syslog.
#[derive(Debug, Clone)]
pub struct Syslog {
    ingest: IngestState,
    zone: Zone,
}

impl Syslog {
    /// `zone` is that of messages which state none.
    pub(super) fn new(ingest: IngestState, zone: Zone) -> Self {
        Self { ingest, zone }
    }

    /// Takes connections, encrypted ones with `tls`, until the wish to stop.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shutdown: Shutdown,
    ) {
        let state = self.ingest.clone();
        let wish = shutdown.clone();
        let serve = move |connection: Connection| {
            let (door, wish) = (self.clone(), wish.clone());
            async move {
                let peer = connection.peer;
                if let Err(error) = door.read(connection, &wish).await {
                    tracing::debug!(%peer, error = %error.detail.message, "syslog ended");
                }
            }
        };
        stream::accept(listener, tls, &state, &shutdown, serve).await;
    }

    async fn read(&self, mut connection: Connection, shutdown: &Shutdown) -> Result<(), ApiError> {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::new());
        let mut zone = self.zone.clone();
        loop {
            let open = tokio::select! {
                read = stream::read(&mut connection.socket, &mut buffer) => read.unwrap_or(false),
                () = shutdown.wait() => false,
            };
            let mut reader = Reader::new(self.ingest.0.clock.now(), &mut zone);
            while let Some(frame) = framer.next(&mut buffer) {
                reader.push(&frame, connection.peer)?;
            }
            if !open && let Some(frame) = framer.last(&mut buffer) {
                reader.push(&frame, connection.peer)?;
            }
            self.ingest.persist(DOOR, reader.finish()?, shutdown).await?;
            if !open {
                return Ok(());
            }
        }
    }

    /// Takes datagrams until the wish to stop, and stores what has come.
    pub async fn serve_datagrams(self, socket: UdpSocket, shutdown: Shutdown) {
        let Self { ingest, mut zone } = self;
        let clock = ingest.0.clock.clone();
        let pack = |all: &[Datagram]| {
            let mut reader = Reader::new(clock.now(), &mut zone);
            for datagram in all.iter().filter(|datagram| !datagram.bytes.is_empty()) {
                let kept = datagram.bytes.len().min(MESSAGE_BYTES_MAX);
                let is_cut = kept < datagram.bytes.len();
                reader.push(&Frame::of(&datagram.bytes.slice(..kept), is_cut), datagram.peer)?;
            }
            reader.finish()
        };
        datagrams::serve(DOOR, &ingest, socket, &shutdown, pack).await;
    }
}

#[cfg(test)]
mod tests;
