//! `make bench-doors`: the same records through every door, each into a node of its own, beside the
//! native one of the same run. RECORDS (500,000), SEED (1), DOORS (a part of their names).
//!
//! The budget: a door may cost half of what the whole way costs through the native one, from the
//! socket to a split at rest.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first thing that is wrong, and its output is its purpose"
)]

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use platform::clock::Clock;
use tests::client::Client;
use tests::grpc;
use tests::measure::{cpu_s, cpu_s_by_thread, mb};
use tests::process::{Node, free_address};
use tests::scene::{settle, time};
use tests::wait::within;
use tests::wires::{BODY_RECORDS, WIRES, Way, Wire, lines};

/// Connections that send at one time.
const SENDERS: usize = 2;
/// Anything may take so long.
const PATIENCE: Duration = Duration::from_secs(3_600);

struct Figures {
    speed: f64,
    whole: f64,
    door: f64,
}

fn main() {
    let setting =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let lines = lines(setting("RECORDS", 500_000), setting("SEED", 1) as u64);
    let raw_bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let raw_bytes = raw_bytes as u64;
    let wanted = std::env::var("DOORS").unwrap_or_default();
    println!("corpus: {} records, {:.1} MB as lines of JSON", lines.len(), mb(raw_bytes));
    println!("door                   MB/s   CPU-s/GB, whole way      of these: sockets and door");
    let mut native = None;
    for wire in WIRES.iter().filter(|wire| wire.name == "native" || wire.name.contains(&wanted)) {
        let figures = measure(wire, &lines, raw_bytes);
        let native = native.get_or_insert(figures.whole);
        println!(
            "{:<20} {:>6.0} {:>10.1} = {:.2} × native {:>16.1}",
            wire.name,
            figures.speed,
            figures.whole,
            figures.whole / *native,
            figures.door
        );
    }
}

fn measure(wire: &Wire, lines: &[String], raw_bytes: u64) -> Figures {
    let clock = Clock::system();
    let folder = tempfile::tempdir().unwrap();
    let bodies: Vec<Vec<u8>> = lines.chunks(BODY_RECORDS).map(wire.body).collect();
    let address = free_address();
    let more: &[&str] = match wire.way {
        Way::Connection(option) | Way::Call { option, .. } => &[option, &address],
        Way::Post { .. } => &[],
    };
    let settings = "[index]\nfresh_age_max_s = 2\n";
    let node = Node::start("node", folder.path(), settings, more);
    let before = (cpu_s(&node.process), sockets(&node));
    let count = lines.len() as u64;
    let (took, ()) = time(&clock, || {
        send(wire, &node, &address, &bodies);
        within(PATIENCE, "every record", || (node.client.count_of("") >= count).then_some(()));
    });
    let door = sockets(&node) - before.1;
    settle(&node, &clock);
    assert_eq!(node.client.count_of(""), count, "{}: each record is found once", wire.name);
    assert_eq!(node.client.count_of("_poison:*"), 0, "{}", wire.name);
    let gb = raw_bytes as f64 / 1e9;
    Figures {
        speed: mb(raw_bytes) / took.as_secs_f64(),
        whole: (cpu_s(&node.process) - before.0) / gb,
        door: door / gb,
    }
}

/// CPU seconds of the threads that read sockets and take bodies apart.
fn sockets(node: &Node) -> f64 {
    let all = cpu_s_by_thread(&node.process);
    all.iter().filter(|(name, _)| name.starts_with("tokio")).map(|(_, spent)| spent).sum()
}

fn send(wire: &Wire, node: &Node, address: &str, bodies: &[Vec<u8>]) {
    let server = node.client.url.trim_start_matches("http://");
    let share = bodies.len().div_ceil(SENDERS);
    std::thread::scope(|scope| {
        for bodies in bodies.chunks(share) {
            scope.spawn(move || match wire.way {
                Way::Post { path, kind } => {
                    let client = Client::new(server);
                    bodies.iter().for_each(|body| post(&client, path, kind, body));
                }
                Way::Call { path, .. } => grpc::call_all(address, path, bodies, PATIENCE),
                Way::Connection(_) => {
                    let mut socket = TcpStream::connect(address).unwrap();
                    bodies.iter().for_each(|body| socket.write_all(body).unwrap());
                }
            });
        }
    });
}

fn post(client: &Client, path: &str, kind: &str, body: &[u8]) {
    let headers = [("content-type", kind)];
    within(PATIENCE, "the body to be taken", || {
        let answer = client.send("POST", path, &headers, body.to_vec()).unwrap();
        assert!(matches!(answer.status, 200..300 | 429 | 503), "{}", answer.body);
        (answer.status < 300).then_some(())
    });
}
