//! Any bytes to the doors that are not asked over HTTP: the first byte says to which. Nothing panics,
//! and what another sender says behind them is stored.
#![no_main]

mod node;

use std::cell::RefCell;
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use model::zone::Zone;
use node::{INPUTS_MAX, Node};
use platform::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const SYSLOG: &[u8] = b"<14>1 - h a - - - beside";
const FORWARD: &[u8] = b"\x93\xa1t\x01\x81\xa7message\xa6beside";
const GELF: &[u8] = b"{\"host\":\"h\",\"short_message\":\"beside\"}";

/// A door: where it listens, whether for datagrams, and what is good there.
struct Door {
    address: SocketAddr,
    takes_datagrams: bool,
    good: &'static [u8],
}

struct Listening {
    node: Node,
    doors: [Door; 5],
    shutdown: Shutdown,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

async fn connections() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn datagrams() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

impl Listening {
    fn start() -> Self {
        let (node, shutdown) = (Node::start(), Shutdown::default());
        let door = |address, takes_datagrams, good| Door { address, takes_datagrams, good };
        let doors = node.runtime.block_on(async {
            let syslog = || node.doors.syslog(Zone::default());
            let (listener, one) = connections().await;
            tokio::spawn(syslog().serve(listener, None, shutdown.clone()));
            let (socket, two) = datagrams().await;
            tokio::spawn(syslog().serve_datagrams(socket, shutdown.clone()));
            let (listener, three) = connections().await;
            tokio::spawn(node.doors.forward(None).serve(listener, shutdown.clone()));
            let (listener, four) = connections().await;
            tokio::spawn(node.doors.gelf().serve(listener, shutdown.clone()));
            let (socket, five) = datagrams().await;
            tokio::spawn(node.doors.gelf().serve_datagrams(socket, shutdown.clone()));
            [
                door(one, false, SYSLOG),
                door(two, true, SYSLOG),
                door(three, false, FORWARD),
                door(four, false, GELF),
                door(five, true, GELF),
            ]
        });
        Self { node, doors, shutdown }
    }

    async fn say(&self, door: &Door, bytes: &[u8]) {
        let Door { address, takes_datagrams, good } = door;
        let before = self.node.committed();
        if *takes_datagrams {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            // What is longer than a datagram is not sent.
            drop(socket.send_to(bytes, address).await);
            socket.send_to(good, address).await.expect("it is sent");
        } else {
            let mut socket = TcpStream::connect(address).await.expect("it listens");
            // It may be turned away before it has said all.
            drop(socket.write_all(bytes).await);
            drop(socket);
            let mut socket = TcpStream::connect(address).await.expect("it listens");
            socket.write_all(good).await.expect("it is said");
            socket.shutdown().await.expect("that was all");
        }
        let mut seen = before;
        while !self.node.has("beside", before) {
            self.node.more_than(seen).await;
            seen = self.node.committed();
        }
    }
}

thread_local! {
    static LISTENING: RefCell<Listening> = RefCell::new(Listening::start());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((door, bytes)) = bytes.split_first() else { return };
    LISTENING.with_borrow_mut(|listening| {
        listening.node.inputs += 1;
        if listening.node.inputs > INPUTS_MAX {
            *listening = Listening::start();
        }
        let door = &listening.doors[usize::from(*door) % listening.doors.len()];
        listening.node.runtime.block_on(listening.say(door, bytes));
    });
});
