//! GELF in all its ways.

use std::io::Write as _;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::doors::tests::{field, fixture, fixture_by, listener};

const MESSAGE: &str = r#"{"version":"1.1","host":"web1","short_message":"it failed","full_message":"it failed\nbecause","timestamp":1700000000.25,"level":3,"_user":"ann","_n":5,"facility":"f"}"#;

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(bytes).unwrap();
    zlib.finish().unwrap()
}

#[track_caller]
fn check(record: &model::record::Record) {
    assert_eq!((record.message.as_str(), record.level.name()), ("it failed", "error"));
    assert_eq!(record.timestamp.unwrap().0, 1_700_000_000_250_000_000);
    for (name, value) in
        [("full_message", "it failed\nbecause"), ("user", "ann"), ("n", "5"), ("facility", "f")]
    {
        assert_eq!(field(record, name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn over_http() {
    let fixture = fixture();
    for body in [MESSAGE.as_bytes().to_vec(), zlib(MESSAGE.as_bytes())] {
        let (status, _) = fixture.post("/gelf", &[], body).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
    // As pygelf says it.
    let said = [("content-encoding", "gzip,deflate")];
    let (status, _) = fixture.post("/gelf", &said, zlib(MESSAGE.as_bytes())).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let records = fixture.records();
    assert_eq!(records.len(), 3);
    records.iter().for_each(check);
    assert!(fixture.labels().iter().all(|labels| labels.get("host") == Some("web1")));
    let (status, answer) = fixture.post("/gelf", &[], b"{broken".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn a_broken_message_costs_its_neighbours_nothing() {
    let fixture = fixture();
    let broken = format!("{{\"host\":\n{MESSAGE}\n5\n");
    // Behind a good one, and as the first.
    for body in [format!("{MESSAGE}{broken}"), broken] {
        let (status, answer) = fixture.post("/gelf", &[], body.into_bytes()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    let (good, odd): (Vec<_>, Vec<_>) =
        fixture.records().into_iter().partition(|record| field(record, "_poison").is_none());
    assert_eq!((good.len(), odd.len()), (3, 4));
    good.iter().for_each(check);
    let texts: Vec<&str> = odd.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["{\"host\":", "5", "{\"host\":", "5"]);
}

#[tokio::test]
async fn over_connections_and_datagrams() {
    let fixture = fixture();
    let (listener, address) = listener().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = socket.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let door = fixture.doors.gelf();
    let one = tokio::spawn(door.clone().serve(listener, shutdown.clone()));
    let two = tokio::spawn(door.serve_datagrams(socket, shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let bytes = [MESSAGE.as_bytes(), b"\0", b"nonsense\0", MESSAGE.as_bytes()].concat();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(&zlib(MESSAGE.as_bytes()), udp).await.unwrap();
    let parts: Vec<&[u8]> = MESSAGE.as_bytes().chunks(50).collect();
    for (number, part) in parts.iter().enumerate().rev() {
        let [number, count] = [number, parts.len()].map(|n| u8::try_from(n).unwrap());
        let head = [0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, number, count];
        sender.send_to(&[&head, *part].concat(), udp).await.unwrap();
    }
    let records = fixture.stored(5).await;
    let (odd, good): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.message == "nonsense");
    assert_eq!((odd.len(), good.len()), (1, 4));
    good.into_iter().for_each(check);
    assert!(field(odd[0], "_poison").is_some());
    shutdown.trigger();
    one.await.unwrap();
    two.await.unwrap();
}

/// Nothing comes behind the first chunk, and its message is counted all the same.
#[tokio::test]
async fn what_never_becomes_whole_is_counted_when_its_time_is_over() {
    let clock = platform::clock::Clock::manual(model::time::Timestamp(0));
    let fixture = fixture_by(clock.clone(), &[platform::disk::Disk::default()]);
    let (socket, sender) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let udp = socket.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let serving = tokio::spawn(fixture.doors.gelf().serve_datagrams(socket, shutdown.clone()));
    sender.send_to(&[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, b'a'], udp).await.unwrap();
    // Read behind it.
    sender.send_to(MESSAGE.as_bytes(), udp).await.unwrap();
    fixture.stored(1).await;
    let counted = || fixture.refused("chunks");
    assert_eq!(counted(), 0);
    clock.advance(Duration::from_secs(6));
    let seen = async {
        while counted() == 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(clock.timeout(Duration::from_secs(20), seen).await.is_some());
    shutdown.trigger();
    serving.await.unwrap();
    assert_eq!(counted(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_and_cost_no_neighbour(garbage: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let (status, _) = fixture.post("/gelf", &[], garbage.clone()).await;
            assert!(status == StatusCode::ACCEPTED || status.is_client_error(), "{status}");
            let (listener, address) = listener().await;
            let shutdown = Shutdown::default();
            let task = tokio::spawn(fixture.doors.gelf().serve(listener, shutdown.clone()));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let bytes = [MESSAGE.as_bytes(), b"\0", &garbage, b"\0", MESSAGE.as_bytes(), b"\0"].concat();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let neighbours =
                || fixture.records().iter().filter(|record| record.message == "it failed").count();
            // What came by HTTP may be more than one record too.
            fixture.until("both neighbours", || neighbours() >= 2).await;
            drop(stream);
            shutdown.trigger();
            task.await.unwrap();
            assert_eq!(neighbours(), 2);
        });
    }
}
