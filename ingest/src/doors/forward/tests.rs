//! The forward protocol over real sockets.

use std::io::Write as _;
use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::doors::tests::{Fixture, field, fixture, listener};

async fn door(
    fixture: &Fixture,
    key: Option<&str>,
) -> (SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
    let (listener, address) = listener().await;
    let shutdown = Shutdown::default();
    let door = fixture.doors.forward(key.map(str::to_owned));
    (address, shutdown.clone(), tokio::spawn(door.serve(listener, shutdown)))
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

fn record(text: &str) -> Value {
    map(&[("message", text.into()), ("n", 7.into()), ("k", map(&[("pod", "p1".into())]))])
}

fn time() -> Value {
    let (seconds, nanoseconds) = (1_700_000_000_u32.to_be_bytes(), 5_u32.to_be_bytes());
    Value::Ext(0, [seconds, nanoseconds].concat())
}

fn entries(texts: &[&str]) -> Vec<u8> {
    let entry = |text: &&str| handshake::encode(&Value::Array(vec![time(), record(text)]));
    texts.iter().flat_map(entry).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

async fn answer(socket: &mut TcpStream) -> Option<Value> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(end) = extent::end(&buffer) {
            assert_eq!(end, buffer.len());
            return rmpv::decode::read_value(&mut &buffer[..]).ok();
        }
        if socket.read_buf(&mut buffer).await.unwrap() == 0 {
            return None;
        }
    }
}

async fn say(socket: &mut TcpStream, parts: &[Value]) {
    let bytes = handshake::encode(&Value::Array(parts.to_vec()));
    socket.write_all(&bytes).await.unwrap();
}

#[tokio::test]
async fn all_four_modes_are_stored_and_acknowledged() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture, None).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let chunk = |id: &str| map(&[("chunk", id.into())]);
    let zipped = [gzip(&entries(&["six"])), gzip(&entries(&["seven"]))].concat();
    let newer = Value::Array(vec![Value::Array(vec![time(), map(&[])]), record("three")]);
    let list = vec![Value::Array(vec![1_700_000_000.into(), record("two")]), newer];
    let messages: [(Vec<Value>, Option<&str>); 5] = [
        (vec![1_700_000_000.into(), record("one")], None),
        (vec![Value::Array(list), chunk("b")], Some("b")),
        (vec![Value::Binary(entries(&["four", "five"])), chunk("c")], Some("c")),
        (
            vec![
                Value::Binary(zipped),
                map(&[("chunk", "d".into()), ("compressed", "gzip".into())]),
            ],
            Some("d"),
        ),
        (vec![time(), "no map".into(), chunk("e")], Some("e")),
    ];
    for (parts, acknowledged) in messages {
        let parts = [vec!["app.web".into()], parts].concat();
        say(&mut socket, &parts).await;
        if let Some(chunk) = acknowledged {
            assert_eq!(answer(&mut socket).await, Some(map(&[("ack", chunk.into())])));
        }
    }
    let records = fixture.records();
    let texts: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three", "four", "five", "six", "seven", "\"no map\""]);
    let three = &records[2];
    assert_eq!(three.timestamp.unwrap().0, 1_700_000_000_000_000_005);
    assert_eq!(
        (field(three, "n").unwrap(), field(three, "k.pod").unwrap()),
        ("7".into(), "p1".into())
    );
    assert!(field(&records[7], "_poison").is_some());
    assert!(fixture.labels().iter().all(|labels| labels.get("tag") == Some("app.web")));
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn nesting_has_the_bound_of_every_record() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture, None).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    for depth in [30, 40, 200] {
        let nested = (0..depth).fold(Value::from(1), |inner, _| map(&[("a", inner)]));
        let record = map(&[("message", format!("{depth} deep").into()), ("in", nested)]);
        say(
            &mut socket,
            &["t".into(), time(), record, map(&[("chunk", depth.to_string().into())])],
        )
        .await;
        assert!(answer(&mut socket).await.is_some());
    }
    let records = fixture.records();
    assert_eq!((records.len(), records[0].message.as_str()), (3, "30 deep"));
    let poison: Vec<bool> = records.iter().map(|r| field(r, "_poison").is_some()).collect();
    assert_eq!(poison, [false, true, true]);
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn a_chunk_is_stored_once_and_another_of_its_name_as_well() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture, None).await;
    for (text, count) in [("x", 1), ("x", 1), ("another", 2)] {
        // A sender that saw no answer comes again.
        let mut socket = TcpStream::connect(address).await.unwrap();
        let chunk = map(&[("chunk", "same".into())]);
        say(&mut socket, &["t".into(), Value::Binary(entries(&[text])), chunk]).await;
        assert!(answer(&mut socket).await.is_some());
        assert_eq!(fixture.records().len(), count);
    }
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn a_message_of_another_shape_is_kept_and_costs_its_neighbours_nothing() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture, None).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let chunk = |id: &str| map(&[("chunk", id.into())]);
    for (parts, id) in [
        (vec!["t".into(), time(), record("first"), chunk("a")], "a"),
        (vec![5.into(), time(), record("no tag"), chunk("b")], "b"),
        (vec!["t".into(), chunk("c")], "c"),
        (vec!["t".into(), time(), record("last"), chunk("d")], "d"),
    ] {
        say(&mut socket, &parts).await;
        assert_eq!(answer(&mut socket).await, Some(map(&[("ack", id.into())])));
    }
    let records = fixture.records();
    let poison: Vec<bool> = records.iter().map(|r| field(r, "_poison").is_some()).collect();
    assert_eq!(poison, [false, true, true, false]);
    assert!(records[1].message.contains("no tag"), "{}", records[1].message);
    // What is no message of this protocol at all ends its connection.
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut socket).await, None);
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn who_does_not_know_the_key_is_turned_away() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture, Some("the-shared-key")).await;
    for (key, is_right) in [("another-key", false), ("the-shared-key", true)] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let Some(Value::Array(greeting)) = answer(&mut socket).await else { panic!("no greeting") };
        assert_eq!(greeting[0], "HELO".into());
        let Value::Map(options) = &greeting[1] else { panic!("{greeting:?}") };
        let nonce = options.iter().find(|(name, _)| name.as_str() == Some("nonce")).unwrap();
        let nonce: [u8; 16] = nonce.1.as_slice().unwrap().try_into().unwrap();
        // The digest of the documentation: salt, host, nonce, key.
        let digest = |host: &str| {
            use sha2::Digest as _;
            let text = [b"salt", host.as_bytes(), &nonce, key.as_bytes()].concat();
            let hash = sha2::Sha512::digest(&text);
            hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let ping = ["PING", "web1", "salt", &digest("web1"), "", ""].map(Value::from);
        say(&mut socket, &ping).await;
        let Some(Value::Array(pong)) = answer(&mut socket).await else { panic!("no PONG") };
        assert_eq!((&pong[0], &pong[1]), (&"PONG".into(), &is_right.into()), "{pong:?}");
        if is_right {
            assert_eq!((&pong[3], &pong[4]), (&"sawlog".into(), &digest("sawlog").as_str().into()));
            let chunk = map(&[("chunk", "c".into())]);
            say(&mut socket, &["t".into(), time(), record("in"), chunk]).await;
            assert!(answer(&mut socket).await.is_some());
        } else {
            assert_eq!(socket.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
        }
    }
    assert_eq!(fixture.records().len(), 1);
    shutdown.trigger();
    task.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_what_was_acknowledged_is_there(garbage: Vec<u8>, inside: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let (address, shutdown, task) = door(&fixture, None).await;
            let mut socket = TcpStream::connect(address).await.unwrap();
            let chunk = map(&[("chunk", "c".into())]);
            let mut packed = entries(&["first"]);
            if inside {
                packed.extend_from_slice(&garbage);
            }
            say(&mut socket, &["t".into(), Value::Binary(packed), chunk]).await;
            assert!(answer(&mut socket).await.is_some());
            // The connection may be closed for it; the door stands.
            drop(socket.write_all(&garbage).await);
            drop(socket);
            let mut socket = TcpStream::connect(address).await.unwrap();
            say(&mut socket, &["t".into(), time(), record("last"), map(&[("chunk", "d".into())])]).await;
            assert!(answer(&mut socket).await.is_some());
            shutdown.trigger();
            task.await.unwrap();
            let all: Vec<String> = fixture.records().into_iter().map(|r| r.message).collect();
            assert!(["first", "last"].iter().all(|text| all.iter().any(|m| m == text)), "{all:?}");
        });
    }
}
