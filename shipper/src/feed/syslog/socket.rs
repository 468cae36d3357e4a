//! Sockets of listeners: a sender that went away without a word frees its place, and what the system drops of
//! datagrams is counted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use crate::feed::run::{Out, Post, gap};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// While datagrams come, what was dropped of them is looked for that often.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Listens for connections. The system asks a sender that says nothing for two hours
/// (`net.ipv4.tcp_keepalive_time`) whether it is there, and ends the connection when it is not.
pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Connections take it from the listener.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Datagrams that the system dropped, because nobody had fetched those before yet.
#[derive(Debug)]
pub(super) struct Overflow {
    socket: Option<u64>,
    /// So many by the system's count.
    seen: u64,
    /// Of which nobody was told.
    untold: u64,
    look_at: Duration,
    /// Some came since the last look at rest.
    fresh: bool,
}

impl Overflow {
    pub(super) fn of(socket: &UdpSocket) -> Self {
        Self { socket: number(socket), seen: 0, untold: 0, look_at: Duration::ZERO, fresh: false }
    }

    /// Whether there is something to look for, or to say, when no more come for a while.
    pub(super) fn waits(&self) -> bool {
        self.fresh || self.untold > 0
    }

    /// A datagram came: looks when it is time to, and says how many were dropped.
    pub(super) fn look(&mut self, post: &Post, out: &Out) {
        let now = post.clock.elapsed();
        if now >= self.look_at {
            self.look_at = now + LOOK_PERIOD;
            self.look_now(post, out);
        }
        self.fresh = true;
    }

    /// Looks, and says how many there were.
    pub(super) fn look_now(&mut self, post: &Post, out: &Out) {
        self.fresh = false;
        let more = self.more();
        post.metrics.dropped.inc_by(more);
        self.untold += more;
        let why = "the system's buffer for the socket was full (net.core.rmem_default)";
        if self.untold > 0 && out.offer(gap(out, self.untold, None, why)) {
            tracing::error!(records = self.untold, "dropped: {why}");
            self.untold = 0;
        }
    }

    /// How many more than at the last look.
    fn more(&mut self) -> u64 {
        let count = self.socket.and_then(dropped).unwrap_or(self.seen);
        count.saturating_sub(std::mem::replace(&mut self.seen, count))
    }
}

/// The number by which the system's tables know a socket.
fn number(socket: &impl AsRawFd) -> Option<u64> {
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    std::fs::metadata(link).ok().map(|socket| socket.ino())
}

fn dropped(socket: u64) -> Option<u64> {
    let in_table = |path: &str| {
        let table = std::fs::read_to_string(path).ok()?;
        let line = table.lines().find(|line| is_of(line, socket))?;
        line.split_whitespace().last()?.parse().ok()
    };
    in_table("/proc/net/udp").or_else(|| in_table("/proc/net/udp6"))
}

/// Whether a line of such a table is about that socket.
fn is_of(line: &str, socket: u64) -> bool {
    line.split_whitespace().nth(9).and_then(|number| number.parse().ok()) == Some(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn what_the_system_drops_of_datagrams_is_counted_once() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut overflow = Overflow::of(&socket);
        assert_eq!(overflow.more(), 0);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut dropped = 0;
        // Nobody reads: however large the buffer is, it is full at some time.
        for _ in 0..100_000 {
            sender.send_to(&[b'x'; 8_000], address).unwrap();
            dropped = overflow.more();
            if dropped > 0 {
                break;
            }
        }
        assert_eq!((dropped, overflow.more()), (1, 0));
    }

    #[tokio::test]
    async fn a_sender_that_says_nothing_is_asked_whether_it_is_there() {
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let _sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let number = number(&stream).unwrap();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| is_of(line, number)).unwrap();
        // The kernel's word for a timer that keeps alive.
        assert!(line.split_whitespace().nth(5).unwrap().starts_with("02:"), "{line}");
    }
}
