//! Every door under damaged requests: what real clients send, changed at random places. Each is
//! answered in words (2xx, 4xx), nothing panics, and what comes beside it is stored.
//! `FUZZ_CASES=100000 make fuzz-doors` runs long; a failure names its case, which `FUZZ_FIRST` begins at.

use std::net::SocketAddr;

use model::zone::Zone;
use platform::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::tests::{Fixture, fixture, listener};

/// Damaged requests of each door in an ordinary run.
const CASES: u64 = 150;

struct Seed {
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

impl Seed {
    /// What is behind the packing is what is worth changing.
    fn packed(&self, body: Vec<u8>) -> Vec<u8> {
        match self.headers {
            [PROTOBUF] if self.path.starts_with("/loki") => {
                snap::raw::Encoder::new().compress_vec(&body).unwrap()
            }
            [("content-encoding", "zstd")] => zstd::bulk::compress(&body, 1).unwrap(),
            _ => body,
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

const SEEDS: [Seed; 17] = [
    Seed { path: "/api/v1/ingest", headers: &[("content-type", "text/plain")], body: b"ERROR one\r\n{\"msg\":\"two\"}\n\xff\xfe three\n" },
    Seed { path: "/api/v1/ingest?service=a", headers: &[("content-encoding", "zstd")], body: b"{\"msg\":\"one\",\"level\":50,\"time\":\"2026-11-20T10:00:00Z\"}\n{\"msg\":\"two\"}\n" },
    Seed { path: "/es/_index_template/t", headers: &[JSON], body: b"{\"index_patterns\":[\"logs-*\"],\"template\":{\"settings\":{\"a\":1}}}" },
    Seed { path: "/es/_bulk?filter_path=errors,items.*.error", headers: &[], body: b"{\"index\":{\"_index\":\"logs\",\"_id\":7}}\n{\"message\":\"m\"}\n{\"create\":{\"_index\":\"logs\",\"_id\":\"7\"}}\n{\"message\":\"m\"}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n" },
    Seed { path: "/loki/api/v1/push", headers: &[PROTOBUF], body: b"\x0a\x2a\x0a\x09{app=\"a\"}\x12\x1d\x0a\x08\x08\x80\xe2\xcf\xaa\x06\x10\x05\x12\x07{\"n\":5}\x1a\x08\x0a\x01k\x12\x03val" },
    Seed { path: "/services/collector/ack?channel=c", headers: &[], body: b"{\"acks\":[1,2,9007199254740993,-1,\"x\"]}" },
    Seed { path: "/api/v1/ingest", headers: &[], body: b"{\"msg\":\"one\",\"a\":{\"b\":[1,2.5,\"x\",null]},\"ts\":1700000000}\n{\"log\":\"two\"}\n" },
    Seed { path: "/es/_bulk", headers: &[], body: b"{\"index\":{\"_index\":\"logs\",\"_id\":\"1\"},\"attempts\":0}\n{\"message\":\"m\",\"@timestamp\":\"2026-11-20T10:00:00Z\"}\n\n{\"create\":{\"_index\":\"logs\"}}\r\n{\"time\":1,\"msg\":\"x\",\"level\":30}\n{\"delete\":{\"_index\":\"logs\",\"_id\":\"1\"}}\n" },
    Seed { path: "/es/logs/_doc/1", headers: &[JSON], body: b"{\"message\":\"m\"}" },
    Seed { path: "/v1/logs", headers: &[JSON], body: b"{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"s\"}}]},\"scopeLogs\":[{\"scope\":{\"name\":\"l\"},\"logRecords\":[{\"timeUnixNano\":\"1700000000000000000\",\"severityNumber\":9,\"body\":{\"stringValue\":\"hi\"},\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"attributes\":[{\"key\":\"n\",\"value\":{\"intValue\":\"7\"}}]}]}]}]}" },
    Seed { path: "/v1/logs", headers: &[("content-type", "application/x-protobuf")], body: b"\x0a\x42\x0a\x17\x0a\x15\x0a\x0cservice.name\x12\x05\x0a\x03abc\x12\x27\x0a\x03\x0a\x01l\x12\x20\x09\x00\x01\x02\x03\x04\x05\x06\x17\x10\x09\x1a\x04INFO\x2a\x04\x0a\x02hi\x32\x07\x0a\x01n\x12\x02\x18\x07" },
    Seed { path: "/loki/api/v1/push", headers: &[JSON], body: b"{\"streams\":[{\"stream\":{\"app\":\"a\"},\"values\":[[\"1700000000000000000\",\"line\",{\"k\":\"v\"}]]}]}" },
    Seed { path: "/services/collector", headers: &[], body: b"{\"event\":\"one\",\"time\":1700000000.25,\"host\":\"h\",\"fields\":{\"a\":1}}{\"event\":{\"message\":\"two\"}}" },
    Seed { path: "/services/collector/raw?channel=c", headers: &[], body: b"one\r\ntwo\n{\"msg\":\"three\"}\n" },
    Seed { path: "/gelf", headers: &[], body: b"{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"m\",\"timestamp\":1700000000.5,\"level\":3,\"_a\":1}" },
    Seed { path: "/upload", headers: &[("user-agent", "systemd-journal-upload 257")], body: b"__CURSOR=s=aa;i=1f;b=1\n__REALTIME_TIMESTAMP=1700000000000001\n_HOSTNAME=h\nMESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\nPRIORITY=3\n\n__CURSOR=s=aa;i=20;b=1\nMESSAGE=two\n\n" },
    Seed { path: "/api/v1/batches", headers: &[], body: b"SAWLOGBATCH0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08" },
];

const SYSLOG: &[u8] = b"<165>1 2026-11-23T15:24:00.5Z web1 app 42 ID47 [ex@1 a=\"1\"] new\n126 <34>Oct 11 22:14:15 db su[7]: old\r\n13 <11>1 - - - -\n<14>@cee: {\"msg\":\"json\"}\0";
/// Message, Forward with metadata, PackedForward with a chunk.
const FORWARD: &[u8] = b"\x93\xa3tag\xce\x65\x53\xf1\x00\x82\xa7message\xa2hi\xa1n\x07\x92\xa3tag\x91\x92\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x05\x80\x81\xa1a\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x93\xa3tag\xc4\x14\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x05\x81\xa3log\xa3two\x81\xa5chunk\xa1c";
const GELF: &[u8] = b"{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"m\",\"timestamp\":1700000000.5,\"level\":3,\"_a\":[1]}\0{\"host\":\"h\",\"full_message\":\"f\"}\0";
/// The only chunk of its message.
const GELF_CHUNK: &[u8] =
    b"\x1e\x0f\x01\x02\x03\x04\x05\x06\x07\x08\0\x01{\"host\":\"h\",\"short_message\":\"chunk\"}";

/// A good message of each protocol that is not asked over HTTP.
const GOOD_SYSLOG: &[u8] = b"<14>1 - h a - - - beside";
const GOOD_FORWARD: &[u8] = b"\x93\xa1t\x01\x81\xa7message\xa6beside";
const GOOD_GELF: &[u8] = b"{\"host\":\"h\",\"short_message\":\"beside\"}";

/// A small generator: equal seeds damage equally.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        const WORDS: [&[u8]; 12] = [
            b"\0",
            b"\xff\xff\xff\xff",
            b"\"",
            b"{",
            b"]",
            b"\n",
            b"-1",
            b"1e999",
            b"\\ud800",
            b"\xdd\xff\xff\xff\xff",
            b"99999999999999999999",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ];
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(6) {
            let (one, two) = (self.below(bytes.len()), self.below(bytes.len()));
            let (from, to) = (one.min(two), one.max(two));
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[from] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[from] = u8::try_from(self.below(256)).unwrap(),
                2 => drop(bytes.drain(from..to.min(from + 9))),
                3 => bytes.truncate(to),
                4 => {
                    let again = bytes[from..to].to_vec();
                    bytes.splice(to..to, again);
                }
                _ => {
                    let word = WORDS[self.below(WORDS.len())].to_vec();
                    bytes.splice(from..from, word);
                }
            }
        }
        bytes
    }
}

fn cases() -> impl Iterator<Item = u64> {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = setting("FUZZ_FIRST").unwrap_or(1);
    first..first + setting("FUZZ_CASES").unwrap_or(CASES)
}

#[tokio::test]
async fn damaged_requests_are_answered_in_words() {
    for seed in SEEDS {
        let Seed { path, headers, body } = seed;
        let fixture = fixture();
        for case in cases() {
            let damaged = seed.packed(Chance(case).damage(body));
            let (status, answer) = fixture.ask("POST", path, headers, damaged).await;
            let is_word = status.is_success() || status.is_client_error();
            assert!(is_word, "case {case} of {path}: {status} {answer}");
        }
        let before = fixture.records().len();
        let (status, _) =
            fixture.post("/api/v1/ingest", &[], b"{\"msg\":\"beside\"}".to_vec()).await;
        assert!(status.is_success());
        assert_eq!(fixture.records().len(), before + 1, "{path}");
    }
}

/// Waits until one more good message is stored than there were.
async fn one_more(fixture: &Fixture, case: u64, count: usize) {
    let found = || {
        let beside = |record: &&model::record::Record| record.message == "beside";
        fixture.records().iter().filter(beside).count() > count
    };
    fixture.until(&format!("case {case}"), found).await;
}

/// Sends each damaged body on a connection of its own, with a good one behind it.
async fn send(fixture: &Fixture, address: SocketAddr, seed: &[u8], good: &[u8]) {
    for (count, case) in cases().enumerate() {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // It may be turned away before it has said all.
        drop(socket.write_all(&Chance(case).damage(seed)).await);
        drop(socket);
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(good).await.unwrap();
        socket.shutdown().await.unwrap();
        one_more(fixture, case, count).await;
    }
}

/// Sends each damaged body as a datagram, with a good one behind it.
async fn send_datagrams(fixture: &Fixture, address: SocketAddr, seeds: &[&[u8]], good: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (count, case) in cases().enumerate() {
        for seed in seeds {
            socket.send_to(&Chance(case).damage(seed), address).await.unwrap();
        }
        socket.send_to(good, address).await.unwrap();
        one_more(fixture, case, count).await;
    }
}

#[tokio::test]
async fn damaged_connections_cost_no_other() {
    let shutdown = Shutdown::default();
    let mut tasks = Vec::new();
    let (syslog, forward, gelf) = (fixture(), fixture(), fixture());
    let (socket, at) = listener().await;
    let door = syslog.doors.syslog(Zone::default());
    tasks.push(tokio::spawn(door.serve(socket, None, shutdown.clone())));
    send(&syslog, at, SYSLOG, GOOD_SYSLOG).await;
    let (socket, at) = listener().await;
    tasks.push(tokio::spawn(forward.doors.forward(None).serve(socket, shutdown.clone())));
    send(&forward, at, FORWARD, GOOD_FORWARD).await;
    let (socket, at) = listener().await;
    tasks.push(tokio::spawn(gelf.doors.gelf().serve(socket, shutdown.clone())));
    send(&gelf, at, GELF, GOOD_GELF).await;
    shutdown.trigger();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn damaged_datagrams_cost_no_other() {
    let shutdown = Shutdown::default();
    let (syslog, gelf) = (fixture(), fixture());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let door = syslog.doors.syslog(Zone::default());
    let one = tokio::spawn(door.serve_datagrams(socket, shutdown.clone()));
    send_datagrams(&syslog, at, &[SYSLOG], GOOD_SYSLOG).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let two = tokio::spawn(gelf.doors.gelf().serve_datagrams(socket, shutdown.clone()));
    send_datagrams(&gelf, at, &[GELF, GELF_CHUNK], GOOD_GELF).await;
    shutdown.trigger();
    one.await.unwrap();
    two.await.unwrap();
}

/// What is damaged is worth damaging: whole, each is taken.
#[tokio::test]
async fn the_seeds_are_what_the_doors_take() {
    for seed in SEEDS.iter().filter(|seed| seed.path != "/api/v1/batches") {
        let (status, answer) =
            fixture().ask("POST", seed.path, seed.headers, seed.packed(seed.body.to_vec())).await;
        assert!(status.is_success(), "{}: {status} {answer}", seed.path);
    }
    let fixture = fixture();
    let shutdown = Shutdown::default();
    let (socket, at) = listener().await;
    let task = tokio::spawn(fixture.doors.forward(None).serve(socket, shutdown.clone()));
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(FORWARD).await.unwrap();
    socket.shutdown().await.unwrap();
    let records = fixture.stored(3).await;
    let is_whole = |record: &model::record::Record| {
        super::tests::field(record, model::record::POISON_FIELD).is_none()
    };
    assert!(records.iter().all(is_whole), "{records:?}");
    shutdown.trigger();
    task.await.unwrap();
}
