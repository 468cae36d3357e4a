//! GELF: Graylog's format over HTTP, over TCP with a zero byte behind each message, and over UDP in
//! one datagram or several.

mod chunk;
mod record;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Buf as _, Bytes, BytesMut};
use model::error::Kind;
use model::limits::MESSAGE_BYTES_MAX;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, UdpSocket};

use self::chunk::{Arrived, Chunks};
use self::record::Reader;
use super::datagrams::{self, Datagram};
use super::parcel::{self, Parcel};
use super::stream::{self, Connection};
use super::{IngestState, body, ndjson};

/// The door's name in figures.
const DOOR: &str = "gelf";
/// How often it is seen which messages never became whole.
const EXPIRY: Duration = Duration::from_secs(1);

/// `POST /gelf`: one message, or several one behind the other. Goes on from the first moment when
/// the sender leaves: some send and close without waiting for the answer.
pub(super) async fn take(
    State(state): State<IngestState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let taken = tokio::spawn(store(state, headers, body));
    taken.await.map_err(|_| ApiError::new(Kind::Bug, "the messages could not be stored"))?
}

async fn store(state: IngestState, headers: HeaderMap, body: Body) -> Result<StatusCode, ApiError> {
    // Senders say `gzip,deflate` and mean one of them: the first bytes tell.
    let packing = body::Packing::of(&headers).ok().filter(|said| *said == body::Packing::Zstd);
    let packing = packing.unwrap_or(body::Packing::Plain);
    let arrival = state.0.clock.now();
    let body = body::read(body).await?;
    let parse = move || {
        let body = unpacked(packing.unpack(body)?)?;
        let mut reader = Reader::new(Parcel::new(arrival, parcel::key(&headers, &body)));
        let mut messages =
            serde_json::Deserializer::from_slice(&body).into_iter::<Map<String, Value>>();
        let mut start = 0;
        while let Some(message) = messages.next() {
            let message = match message {
                Ok(message) => message,
                // Nobody knows where a broken one ends: what is left is kept as it came, by lines,
                // for a refusal would cost those before and behind it, if there are any.
                Err(error) => {
                    let mut has_message = start > 0;
                    for line in ndjson::lines(body.get(start..).unwrap_or_default()) {
                        has_message |= reader.read(line, None)?;
                    }
                    if !has_message {
                        let words = format!("not a message of GELF: {error}");
                        return Err(ApiError::new(Kind::Invalid, words)
                            .hint("send one JSON object with version, host and short_message"));
                    }
                    break;
                }
            };
            let end = messages.byte_offset();
            reader.message(message, body.get(start..end).unwrap_or_default(), None)?;
            start = end;
        }
        reader.finish()
    };
    state.take(DOOR, parse).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Senders pack what they send and do not say so; its first bytes do.
fn unpacked(bytes: Bytes) -> Result<Bytes, ApiError> {
    match bytes.first_chunk::<2>() {
        Some([0x1f, 0x8b]) => body::Packing::Gzip.unpack(bytes),
        Some([0x78, second]) if (0x7800 + u16::from(*second)) % 31 == 0 => {
            body::Packing::Deflate.unpack(bytes)
        }
        _ => Ok(bytes),
    }
}

/// The door of GELF without HTTP.
#[derive(Debug, Clone)]
pub struct Gelf {
    ingest: IngestState,
}

impl Gelf {
    pub(super) fn new(ingest: IngestState) -> Self {
        Self { ingest }
    }

    /// Takes connections until the wish to stop.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let (state, wish) = (self.ingest.clone(), shutdown.clone());
        let serve = move |connection: Connection| {
            let (door, wish) = (self.clone(), wish.clone());
            async move {
                let peer = connection.peer;
                if let Err(error) = door.read(connection, &wish).await {
                    tracing::debug!(%peer, error = %error.detail.message, "gelf ended");
                }
            }
        };
        stream::accept(listener, None, &state, &shutdown, serve).await;
    }

    async fn read(&self, mut connection: Connection, shutdown: &Shutdown) -> Result<(), ApiError> {
        let (mut buffer, mut searched, mut is_passing) = (BytesMut::new(), 0, false);
        let peer = connection.peer.to_string();
        loop {
            let open = tokio::select! {
                read = stream::read(&mut connection.socket, &mut buffer) => read.unwrap_or(false),
                () = shutdown.wait() => false,
            };
            let mut reader = Reader::new(Parcel::new(self.ingest.0.clock.now(), None));
            loop {
                let unseen = buffer.get(searched..).unwrap_or_default();
                let end = memchr::memchr(0, unseen).map(|at| at + searched);
                let is_last = end.is_none() && (!open || buffer.len() > MESSAGE_BYTES_MAX);
                if end.is_none() && !is_last {
                    searched = buffer.len();
                    break;
                }
                let message = buffer.split_to(end.unwrap_or(buffer.len()));
                searched = 0;
                buffer.advance(usize::from(end.is_some()));
                // The rest of one that was over the bound.
                let is_rest = std::mem::replace(&mut is_passing, is_last && open);
                let message = message.trim_ascii();
                if !message.is_empty() && !is_rest {
                    reader.push(message, Some(&peer))?;
                }
                if is_last {
                    break;
                }
            }
            self.ingest.persist(DOOR, reader.finish()?, shutdown).await?;
            if !open {
                return Ok(());
            }
        }
    }

    /// Takes datagrams until the wish to stop, and stores what has come.
    pub async fn serve_datagrams(self, socket: UdpSocket, shutdown: Shutdown) {
        let chunks = Arc::new(Mutex::new(Chunks::default()));
        let (door, waiting) = (self.clone(), chunks.clone());
        let pack = move |all: &[Datagram]| {
            let mut reader = Reader::new(Parcel::new(door.ingest.0.clock.now(), None));
            for datagram in all {
                door.arrived(&mut locked(&waiting), datagram, &mut reader)?;
            }
            reader.finish()
        };
        tokio::join!(
            datagrams::serve(DOOR, &self.ingest, socket, &shutdown, pack),
            self.expire(&chunks, &shutdown)
        );
        // What is missing comes to nobody any more.
        self.lost(locked(&chunks).waiting());
    }

    /// Counts messages that never become whole when their time is over, also where nothing comes any more.
    async fn expire(&self, chunks: &Mutex<Chunks>, shutdown: &Shutdown) {
        let clock = &self.ingest.0.clock;
        loop {
            tokio::select! {
                () = clock.sleep(EXPIRY) => {}
                () = shutdown.wait() => return,
            }
            let lost = locked(chunks).forget(clock.elapsed());
            self.lost(lost);
        }
    }

    fn lost(&self, messages: u64) {
        (0..messages).for_each(|_| self.ingest.0.metrics.refused("chunks"));
    }

    fn arrived(
        &self,
        chunks: &mut Chunks,
        datagram: &Datagram,
        reader: &mut Reader,
    ) -> Result<(), ApiError> {
        let (peer, now): (IpAddr, _) = (datagram.peer, self.ingest.0.clock.elapsed());
        let (arrived, lost) = chunks.take(peer, datagram.bytes.clone(), now);
        self.lost(lost);
        let sender = peer.to_string();
        match arrived {
            Arrived::Part => Ok(()),
            Arrived::Broken(reason) => reader.broken(&datagram.bytes, &sender, reason),
            Arrived::Whole(bytes) => match unpacked(bytes.clone()) {
                Ok(plain) => reader.push(&plain, Some(&sender)),
                Err(error) => reader.broken(&bytes, &sender, &error.detail.message),
            },
        }
    }
}

fn locked(chunks: &Mutex<Chunks>) -> MutexGuard<'_, Chunks> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
