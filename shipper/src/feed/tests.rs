//! Feeds with a real receiver behind them: standard input, syslog by each transport, damage, and
//! a spool that is full.
#![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::record::FieldValue;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::stdin::Splitter;
use super::*;
use crate::config::{Config, Until};
use crate::receiver::{Fault, Receiver, Stored};
use crate::recipe::Delimiting;
use crate::status::{Handle, ShipperError};
use crate::tail::Shipper;

struct World {
    folder: tempfile::TempDir,
    receiver: Receiver,
    shutdown: Shutdown,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, receiver: Receiver::start().await, shutdown: Shutdown::default() }
    }

    fn start(&self, listen: &str, spool_bytes_max: Option<u64>) -> Handle {
        let syslog = Syslog::new(listen, None, None, None).unwrap();
        self.start_with(Feed::new(Input::Syslog(syslog), Files::default(), spool_bytes_max))
    }

    fn start_with(&self, feed: Feed) -> Handle {
        self.start_all(vec![feed])
    }

    fn start_all(&self, feeds: Vec<Feed>) -> Handle {
        let state = self.folder.path().join("state");
        let mut config = Config::new(&self.receiver.url, state, Vec::new());
        config.feeds = feeds;
        Shipper::start(config, Clock::system(), self.shutdown.clone()).unwrap()
    }

    async fn stop(&mut self, shipper: Handle) -> Result<(), ShipperError> {
        self.shutdown.trigger();
        self.shutdown = Shutdown::default();
        shipper.join().await
    }
}

/// An address nobody listens at just now.
async fn free() -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

async fn connected(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => Clock::system().sleep(Duration::from_millis(5)).await,
        }
    }
}

fn field<'a>(stored: &'a Stored, name: &str) -> Option<&'a FieldValue> {
    stored.record.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

#[tokio::test]
async fn syslog_over_tcp_is_read_kept_and_marked() {
    let mut world = World::new().await;
    let address = free().await;
    let shipper = world.start(&format!("tcp://{address}"), None);
    let mut sender = connected(address).await;
    let new = "<165>1 2026-11-23T10:00:00.5Z web1 app 42 ID47 [a@1 k=\"v\"] new\nand more";
    let old = "<34>Oct 11 22:14:15 mymachine su: 'su root' failed";
    let bytes = format!("{} {new}{old}\nno syslog at all\n", new.len());
    sender.write_all(bytes.as_bytes()).await.unwrap();
    let mut expected = [new, old, "no syslog at all"];
    expected.sort_unstable();
    assert_eq!(world.receiver.messages(3).await, expected);
    for stored in world.receiver.stored() {
        assert_eq!(stored.source, "syslog");
        assert_eq!(field(&stored, "peer"), Some(&FieldValue::Text("127.0.0.1".to_owned())));
        let unparsed = Some(&FieldValue::Text("unparsed".to_owned()));
        let text = &stored.record.message;
        assert_eq!(field(&stored, "_kept") == unparsed, text.starts_with("no"), "{text}");
        if text == new {
            assert_eq!(field(&stored, "a@1.k"), Some(&FieldValue::Text("v".to_owned())));
            assert_eq!(stored.record.timestamp.unwrap().0 % 1_000_000_000, 500_000_000);
        }
    }
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_spool_survives_a_dead_node_and_a_restart() {
    let mut world = World::new().await;
    world.receiver.down(Some(Fault::Status(503)));
    let address = free().await;
    let shipper = world.start(&format!("tcp://{address}"), None);
    let mut sender = connected(address).await;
    let lines: Vec<String> = (0..500).map(|n| format!("<13>line {n:03}")).collect();
    sender.write_all((lines.join("\n") + "\n").as_bytes()).await.unwrap();
    world.receiver.requests(1).await;
    drop(sender);
    world.stop(shipper).await.unwrap();
    world.receiver.down(None);
    let shipper = world.start(&format!("tcp://{address}"), None);
    assert_eq!(world.receiver.messages(500).await, lines);
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn datagrams_that_find_the_spool_full_are_counted_in_a_record() {
    let mut world = World::new().await;
    world.receiver.down(Some(Fault::Status(503)));
    let address = free().await;
    let shipper = world.start(&format!("udp://{address}"), Some(SPOOL_BYTES_MIN));
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(address).await.unwrap();
    let clock = Clock::system();
    // Until it drops: each datagram carries its number.
    let text = "x".repeat(1_000);
    let spool = world.folder.path().join("state/spool");
    let mut sent = 0_u64;
    while platform::disk::folder_bytes(&spool) < SPOOL_BYTES_MIN || sent < 3_000 {
        // Refused while nobody listens yet.
        if sender.send(format!("<13>{sent} {text}").as_bytes()).await.is_ok() {
            sent += 1;
        }
        if sent.is_multiple_of(16) {
            clock.sleep(Duration::from_millis(1)).await;
        }
    }
    world.receiver.down(None);
    let gap = loop {
        let stored = world.receiver.stored();
        let gap = stored.into_iter().find(|stored| stored.record.message.starts_with("gap"));
        if let Some(gap) = gap {
            break gap;
        }
        clock.sleep(Duration::from_millis(5)).await;
    };
    let Some(FieldValue::Int(missing)) = field(&gap, "gap_records") else { panic!("{gap:?}") };
    let missing = u64::try_from(*missing).unwrap();
    assert!(missing > 0 && missing < sent);
    assert_eq!(gap.record.level, model::level::Level::Error);
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn a_full_spool_makes_a_connection_wait_and_nothing_is_lost() {
    let mut world = World::new().await;
    world.receiver.down(Some(Fault::Status(503)));
    let address = free().await;
    let shipper = world.start(&format!("tcp://{address}"), Some(1 << 20));
    let mut sender = connected(address).await;
    let lines: Vec<String> =
        (0..100_000).map(|n| format!("<13>line {n:05} {}", "x".repeat(200))).collect();
    let bytes = Arc::new(lines.join("\n") + "\n");
    let sending = tokio::spawn(async move {
        sender.write_all(bytes.as_bytes()).await.unwrap();
    });
    world.receiver.requests(3).await;
    assert!(!sending.is_finished(), "twenty megabytes went into a spool of one");
    let spool = world.folder.path().join("state/spool");
    // What was under way between socket and spool comes on top of its bound.
    assert!(platform::disk::folder_bytes(&spool) < 8 << 20);
    world.receiver.down(None);
    assert_eq!(world.receiver.messages(100_000).await, lines);
    sending.await.unwrap();
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_in_status_until_it_is_had_whatever_others_are_sent() {
    let mut world = World::new().await;
    let blocker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (taken, address) = (blocker.local_addr().unwrap(), free().await);
    let feed = |address: SocketAddr| {
        let syslog = Syslog::new(&format!("tcp://{address}"), None, None, None).unwrap();
        Feed::new(Input::Syslog(syslog), Files::default(), None)
    };
    let shipper = world.start_all(vec![feed(taken), feed(address)]);
    let said = || shipper.status().last_error.unwrap_or_default();
    let clock = Clock::system();
    while !said().contains("cannot listen for syslog") {
        clock.sleep(Duration::from_millis(5)).await;
    }
    connected(address).await.write_all(b"<13>one\n").await.unwrap();
    assert_eq!(world.receiver.messages(1).await, ["<13>one"]);
    assert!(said().contains("cannot listen for syslog"), "{}", said());
    drop(blocker);
    // It is tried every five seconds; that it is had is said before anybody sends something.
    let _sender = connected(taken).await;
    while !said().is_empty() {
        clock.sleep(Duration::from_millis(5)).await;
    }
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_a_gap_and_its_neighbours_are_whole() {
    let mut world = World::new().await;
    world.receiver.down(Some(Fault::Status(503)));
    let address = free().await;
    let shipper = world.start(&format!("tcp://{address}"), None);
    let mut sender = connected(address).await;
    sender.write_all(b"<13>one\n<13>two\n<13>three\n").await.unwrap();
    world.receiver.requests(1).await;
    world.stop(shipper).await.unwrap();
    let folder = world.folder.path().join("state/spool");
    let spool = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let path = spool.join(format!("0000000000.{ENDING}"));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = memchr::memmem::find(&bytes, b"two").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    world.receiver.down(None);
    let shipper = world.start(&format!("tcp://{address}"), None);
    let messages = world.receiver.messages(3).await;
    assert_eq!([&messages[0], &messages[1]], ["<13>one", "<13>three"]);
    assert!(messages[2].starts_with("gap: bytes "), "{messages:?}");
    world.stop(shipper).await.unwrap();
}

#[tokio::test]
async fn a_settings_file_names_feeds_and_what_cannot_be_is_refused() {
    let parsed = |text: &str| {
        let text = format!("to = [\"http://n:1\"]\nstate_dir = \"/s\"\n{text}");
        let settings = crate::Settings::parse(&text).map_err(|error| error.to_string())?;
        settings.config().map_err(|error| error.to_string())
    };
    let config = parsed(
        "[[journal]]\narguments = [\"--unit=a\"]\nlabels = { team = \"x\" }\n\
         [[syslog]]\nlisten = \"udp://127.0.0.1:5514\"\nspool_bytes_max = 100000\n",
    )
    .unwrap();
    assert_eq!(config.feeds.len(), 2);
    assert_eq!(config.feeds[1].name(), "syslog-udp-127-0-0-1-5514");
    assert_eq!(config.until, Until::Stopped);
    for (text, word) in [
        ("[[syslog]]\nlisten = \"127.0.0.1:514\"", "udp://"),
        ("[[syslog]]\nlisten = \"tls://127.0.0.1:514\"", "cert_file"),
        ("[[syslog]]\nlisten = \"udp://127.0.0.1:514\"\npaths = [\"/a\"]", "paths"),
        ("[[syslog]]\nlisten = \"udp://127.0.0.1:514\"\nlitsen = 1", "litsen"),
        ("[[syslog]]\nlisten = \"udp://127.0.0.1:514\"\nspool_bytes_max = 1", "65536"),
        ("[[journal]]\n[[journal]]", "twice"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn standard_input_is_split_as_the_settings_say_however_it_comes() {
    let split = |files: &Files, bytes: &[u8], size: usize| {
        let by = Delimiting::of(files).unwrap();
        let (mut splitter, mut records) = (Splitter::new(&by), Vec::new());
        for piece in bytes.chunks(size) {
            splitter.take(piece, &mut records, record::Note::default());
        }
        splitter.end(&mut records, record::Note::default());
        let (mut texts, mut rest) = (Vec::new(), &records[..]);
        while let record::Next::Whole(spooled, used) = record::next(rest) {
            texts.push(String::from_utf8_lossy(spooled.text).into_owned());
            rest = &rest[used..];
        }
        texts
    };
    let own = Files { delimiter: Some("||".to_owned()), ..Files::default() };
    let wide = Files { encoding: Some("utf-16le".to_owned()), ..Files::default() };
    for size in 1..9 {
        assert_eq!(split(&Files::default(), b"a\r\n\nb\nc", size), ["a", "b", "c"]);
        assert_eq!(split(&own, b"a|b||c\nd||", size), ["a|b", "c\nd"]);
        assert_eq!(split(&wide, b"\x0a\x0b\x0a\0b\0\x0a\0", size), ["\x0a\x0b", "b\0"]);
    }
}
