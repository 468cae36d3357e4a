//! Syslog over real sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use platform::disk::{Disk, Faults};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::doors::tests::{Fixture, field, fixture, fixture_on, listener};

/// The door on a port, until the wish to stop.
async fn door(fixture: &Fixture) -> (std::net::SocketAddr, Shutdown, tokio::task::JoinHandle<()>) {
    let (listener, address) = listener().await;
    let shutdown = Shutdown::default();
    let door = fixture.doors.syslog(Zone::default());
    (address, shutdown.clone(), tokio::spawn(door.serve(listener, None, shutdown)))
}

#[tokio::test]
async fn a_connection_may_frame_as_it_likes() {
    let fixture = fixture();
    let (address, shutdown, task) = door(&fixture).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let new = "<165>1 2026-11-23T15:24:00.5Z web1 app 42 ID47 [ex@1 a=\"1\"] \u{feff}new";
    let bytes = [
        format!("{} {new}", new.len()).as_bytes(),
        b"<34>Oct 11 22:14:15 db su[7]: old\r\n",
        b"what is this?\n",
        b"<11>1 2026-11-23T15:24:00Z h a - - - {\"msg\":\"said \\\"so\\\"\",\"n\":5,\"level\":\"warn\"}\n",
        b"<13>1 never h a - - - odd time\n<13>caf\xe9",
    ]
    .concat();
    socket.write_all(&bytes).await.unwrap();
    socket.shutdown().await.unwrap();
    let records = fixture.stored(6).await;
    let find = |text: &str| records.iter().find(|record| record.message.contains(text)).unwrap();
    let new = find("new");
    assert_eq!((new.message.as_str(), new.level.name()), ("new", "info"));
    assert_eq!(new.timestamp.unwrap().to_string(), "2026-11-23T15:24:00.500000000Z");
    for (name, value) in [
        ("facility", "local4"),
        ("pid", "42"),
        ("msgid", "ID47"),
        ("ex@1.a", "1"),
        ("peer", "127.0.0.1"),
    ] {
        assert_eq!(field(new, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(
        (find("old").level.name(), field(find("old"), "pid").unwrap()),
        ("fatal", "7".into())
    );
    assert!(field(find("what is this?"), "_poison").unwrap().contains("priority"));
    let json = find("said");
    assert_eq!((json.message.as_str(), json.level.name()), ("said \"so\"", "warn"));
    assert_eq!(field(json, "n").as_deref(), Some("5"));
    let odd = find("odd time");
    assert_eq!(field(odd, "_poison").as_deref(), Some("its time cannot be read"));
    assert!(odd.message.starts_with("<13>1 never"));
    assert_eq!(field(find("caf"), "_kept").as_deref(), Some("escaped"));
    let labels = fixture.labels();
    let has = |host, service| {
        labels.iter().any(|l| l.get("host") == Some(host) && l.get("service") == service)
    };
    assert!(
        has("web1", Some("app")) && has("db", Some("su")) && has("127.0.0.1", None),
        "{labels:?}"
    );
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_holds_the_sender_back_and_costs_nothing() {
    let faults = Arc::new(Faults::default());
    let fixture = fixture_on(&Disk::faulty(faults.clone()));
    let (address, shutdown, task) = door(&fixture).await;
    faults.free_bytes.store(0, Ordering::SeqCst);
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"<14>1 - h a - - - waits\n").await.unwrap();
    let full = vec![("reason", "disk_full")];
    let refusals = &fixture.doors.state.0.metrics.refusals;
    while refusals.get_or_create(&full).get() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(fixture.records().is_empty());
    faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    socket.write_all(b"<14>1 - h a - - - follows\n").await.unwrap();
    let records = fixture.stored(2).await;
    let texts: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["waits", "follows"]);
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn datagrams_are_messages() {
    let fixture = fixture();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let door = fixture.doors.syslog(Zone::default());
    let task = tokio::spawn(door.serve_datagrams(socket, shutdown.clone()));
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..50 {
        let text = format!("<14>1 - web1 app - - - number {number}\n");
        sender.send_to(text.as_bytes(), address).await.unwrap();
    }
    sender.send_to(b"", address).await.unwrap();
    let records = fixture.stored(50).await;
    assert_eq!(records.len(), 50);
    assert!((0..50).all(|n| records.iter().any(|r| r.message == format!("number {n}"))));
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn an_encrypted_connection_wants_the_certificate_of_its_authority() {
    let fixture = fixture();
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [("cert", own.cert.pem()), ("key", own.signing_key.serialize_pem())] {
        platform::disk::write_atomically(&path(name), text.as_bytes()).unwrap();
    }
    let files = platform::tls::TlsFiles {
        certificate: path("cert"),
        key: path("key"),
        client_authorities: None,
    };
    let (listener, address) = listener().await;
    let shutdown = Shutdown::default();
    let tls = platform::tls::server(&files).unwrap();
    let door = fixture.doors.syslog(Zone::default());
    let task = tokio::spawn(door.serve(listener, Some(tls), shutdown.clone()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    // Who does not encrypt is not heard.
    TcpStream::connect(address).await.unwrap().write_all(b"<14>plain\n").await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    let mut socket = connector.connect(name, socket).await.unwrap();
    socket.write_all(b"24 <14>1 - h a - - - secret").await.unwrap();
    socket.shutdown().await.unwrap();
    let records = fixture.stored(1).await;
    assert_eq!((records.len(), records[0].message.as_str()), (1, "secret"));
    shutdown.trigger();
    task.await.unwrap();
    let wrong = platform::tls::TlsFiles { key: path("nothing"), ..files };
    assert!(platform::tls::server(&wrong).unwrap_err().to_string().contains("nothing"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_between_nothing_is_lost(garbage: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let (address, shutdown, task) = door(&fixture).await;
            let mut socket = TcpStream::connect(address).await.unwrap();
            let bytes = [b"<14>first\n".as_slice(), &garbage, b"\n<14>last\n"].concat();
            socket.write_all(&bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            let is_last = || fixture.records().iter().any(|record| record.message.contains("last"));
            fixture.until("the last one", is_last).await;
            shutdown.trigger();
            task.await.unwrap();
            let all: Vec<String> = fixture.records().into_iter().map(|r| r.message).collect();
            assert!(all.iter().any(|m| m == "first") && all.iter().any(|m| m.contains("last")), "{all:?}");
        });
    }
}
