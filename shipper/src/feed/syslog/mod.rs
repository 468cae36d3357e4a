//! Syslog over the network: datagrams, connections, connections under TLS. Senders are not told
//! what is stored, as the protocol has no word for it; a full spool makes connections wait, and
//! datagrams that come meanwhile are counted, and a record says how many.

mod frames;
mod socket;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use self::frames::{Frames, Message};
use self::socket::{Overflow, listener};
use self::tls::Acceptor;
use super::record::{self, Note};
use super::run::{Out, Post, gap};
use crate::descriptors;

/// Bytes of the greatest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Bytes of datagrams that go into the spool together.
const PORTION_BYTES: usize = 256 << 10;
/// Bytes of a connection read at once.
const READ_BYTES: usize = 64 << 10;
/// An address that cannot be had is tried again after that.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Datagrams that were dropped are told of that soon after there is room.
const TELL_PERIOD: Duration = Duration::from_millis(500);

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    transport: Transport,
    address: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls(Certificates),
}

/// The files of a listener under TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificates {
    cert_file: PathBuf,
    key_file: PathBuf,
    /// Who vouches for senders; without it anybody may send.
    ca_file: Option<PathBuf>,
}

/// Why a listener cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The address is none.
    #[error(
        "syslog cannot listen on {0:?}: give udp://, tcp:// or tls://, an address and a port, such as \
         udp://0.0.0.0:514"
    )]
    Address(String),
    /// TLS needs a certificate and its key.
    #[error("syslog on {0}: tls:// needs cert_file and key_file, and only tls:// has them")]
    Certificates(String),
    /// They cannot be used.
    #[error("{} {what}", .path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls(_) => "tls",
        };
        write!(f, "{scheme} {}", self.address)
    }
}

impl Syslog {
    /// Listens there: `udp://…`, `tcp://…` or `tls://…`, and for the last with those files.
    ///
    /// # Errors
    /// [`SyslogError`].
    pub fn new(
        listen: &str,
        cert_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, SyslogError> {
        let wrong = || SyslogError::Address(listen.to_owned());
        let (scheme, address) = listen.split_once("://").ok_or_else(wrong)?;
        let address = address.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let plain = cert_file.is_none() && key_file.is_none() && ca_file.is_none();
        let transport = match (scheme, cert_file, key_file) {
            ("udp", ..) if plain => Transport::Udp,
            ("tcp", ..) if plain => Transport::Tcp,
            ("tls", Some(cert_file), Some(key_file)) => {
                let certificates = Certificates { cert_file, key_file, ca_file };
                Acceptor::new(&certificates)?;
                Transport::Tls(certificates)
            }
            ("udp" | "tcp" | "tls", ..) => {
                return Err(SyslogError::Certificates(listen.to_owned()));
            }
            _ => return Err(wrong()),
        };
        Ok(Self { transport, address })
    }

    /// Whether senders connect, and so take a descriptor each.
    pub(super) fn is_connected(&self) -> bool {
        self.transport != Transport::Udp
    }
}

/// Listens until the wish to stop. An address that cannot be had is asked for again.
pub(super) async fn listen(syslog: &Syslog, post: &Post, out: &Out) {
    let had = || post.board.feed_waits(&post.name(), None);
    loop {
        let why = match &syslog.transport {
            Transport::Udp => match UdpSocket::bind(syslog.address).await {
                Ok(socket) => {
                    had();
                    return datagrams(&socket, post, out).await;
                }
                Err(error) => error.to_string(),
            },
            Transport::Tcp => match listener(syslog.address) {
                Ok(listener) => {
                    had();
                    return connections(&listener, None, post, out).await;
                }
                Err(error) => error.to_string(),
            },
            Transport::Tls(files) => match (Acceptor::new(files), listener(syslog.address)) {
                (Ok(acceptor), Ok(listener)) => {
                    had();
                    return connections(&listener, Some(acceptor), post, out).await;
                }
                (Err(error), _) => error.to_string(),
                (_, Err(error)) => error.to_string(),
            },
        };
        let why = format!("cannot listen for syslog on {syslog}: {why}");
        // It may stay so for days.
        if post.board.feed_waits(&post.name(), Some(&why)) {
            tracing::error!("{why}, will try again");
        }
        tokio::select! {
            () = post.clock.sleep(RETRY_PAUSE) => {}
            () = post.stop.wait() => return,
        }
    }
}

/// What was not put into the spool.
#[derive(Debug, Default)]
struct Dropped {
    records: u64,
    bytes: u64,
}

impl Dropped {
    /// Says so in the spool, when there is room again.
    fn tell(&mut self, out: &Out) {
        let why = "the spool was full";
        if self.records > 0 && out.offer(gap(out, self.records, Some(self.bytes), why)) {
            tracing::error!(records = self.records, bytes = self.bytes, "dropped: {why}");
            *self = Self::default();
        }
    }
}

async fn datagrams(socket: &UdpSocket, post: &Post, out: &Out) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let (mut dropped, mut overflow) = (Dropped::default(), Overflow::of(socket));
    loop {
        let first = tokio::select! {
            first = socket.recv_from(&mut buffer) => first,
            () = post.clock.sleep(TELL_PERIOD), if dropped.records > 0 || overflow.waits() => {
                dropped.tell(out);
                overflow.look_now(post, out);
                continue;
            }
            () = post.stop.wait() => {
                dropped.tell(out);
                return overflow.look_now(post, out);
            }
        };
        overflow.look(post, out);
        // Errors are those of what we sent, and we send nothing.
        let Ok((length, from)) = first else { continue };
        let (mut records, mut count, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Ok((length, from));
        while let Ok((length, from)) = next {
            let text = trimmed(buffer.get(..length).unwrap_or_default());
            if !text.is_empty() {
                let peer = from.ip().to_string();
                record::put(&mut records, text, Note { peer: Some(&peer), ..out.note() });
                (count, bytes) = (count + 1, bytes + text.len() as u64);
            }
            if records.len() >= PORTION_BYTES {
                break;
            }
            next = socket.try_recv_from(&mut buffer);
        }
        dropped.tell(out);
        if count > 0 && (dropped.records > 0 || !out.offer(records)) {
            dropped.records += count;
            dropped.bytes += bytes;
            post.metrics.dropped.inc_by(count);
        }
    }
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r' | 0] = text {
        text = rest;
    }
    text
}

/// How many messages there are in what comes in these pieces.
pub(crate) fn take_messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> usize {
    let (mut frames, mut count) = (Frames::default(), 0);
    let mut give = |_: Message<'_>| count += 1;
    pieces.for_each(|piece| frames.take(piece, &mut give));
    frames.end(&mut give);
    count
}

async fn connections(
    listener: &TcpListener,
    mut acceptor: Option<Acceptor>,
    post: &Post,
    out: &Out,
) {
    let places = descriptors::connections_max(descriptors::limit());
    let fill = post.metrics.fill.connections(&post.name(), places);
    let places = Arc::new(Semaphore::new(places));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(listener, &places) => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            () = post.stop.wait() => break,
        };
        let (place, stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of syslog");
                post.clock.sleep(TELL_PERIOD).await;
                continue;
            }
        };
        let acceptor = acceptor.as_mut().map(Acceptor::now);
        let (post, out, one) = (post.clone(), out.clone(), fill.one());
        tasks.spawn(async move {
            if let Err(error) = connection(stream, acceptor, from, &post, &out).await {
                tracing::debug!(%from, %error, "a connection of syslog broke off");
            }
            drop((place, one));
        });
    }
    // They see the wish to stop, and put in what they have.
    while tasks.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it: until then it waits in the system's queue, and
/// takes no descriptor of ours.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((place, stream, from))
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    from: SocketAddr,
    post: &Post,
    out: &Out,
) -> io::Result<()> {
    let peer = from.ip().to_string();
    let Some(acceptor) = acceptor else { return messages(stream, &peer, post, out).await };
    let accepted = tokio::select! {
        accepted = post.clock.timeout(tls::HANDSHAKE_TIME_MAX, acceptor.accept(stream)) => accepted,
        () = post.stop.wait() => return Ok(()),
    };
    match accepted {
        Some(Ok(stream)) => messages(stream, &peer, post, out).await,
        Some(Err(error)) => {
            tracing::warn!(%from, %error, "no TLS could be agreed on with a sender of syslog");
            Ok(())
        }
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn messages(
    mut stream: impl AsyncRead + Unpin,
    peer: &str,
    post: &Post,
    out: &Out,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut frames = Frames::default();
    loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read,
            () = post.stop.wait() => Ok(0),
        };
        let mut records = Vec::new();
        let note = out.note();
        let mut give = |message: Message<'_>| {
            let note = Note { peer: Some(peer), cut: message.cut, ..note };
            record::put(&mut records, message.text, note);
        };
        let length = match &read {
            Ok(length) => *length,
            Err(_) => 0,
        };
        match length {
            0 => frames.end(&mut give),
            length => frames.take(buffer.get(..length).unwrap_or_default(), &mut give),
        }
        if !out.put(records).await || length == 0 {
            return read.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_outside() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(1));
        let _first = TcpStream::connect(address).await.unwrap();
        let (place, ..) = accept(&listener, &places).await.unwrap();
        let second = TcpStream::connect(address).await.unwrap();
        assert!(accept(&listener, &places).now_or_never().is_none());
        drop(place);
        let (_place, _, from) = accept(&listener, &places).await.unwrap();
        assert_eq!(from, second.local_addr().unwrap());
    }
}
