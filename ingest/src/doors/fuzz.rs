//! Every door under damaged requests: what real clients send, changed at random places. Each is
//! answered in words (2xx, 4xx), nothing panics, and what comes beside it is stored.
//! `FUZZ_CASES=100000 make fuzz-doors` runs long; a failure names its case, which `FUZZ_FIRST` begins at.

use std::net::SocketAddr;

use model::zone::Zone;
use platform::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::tests::{Fixture, fixture, listener};

/// Damaged requests of each door in an ordinary run.
const CASES: u64 = 150;

struct Seed {
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

const JSON: (&str, &str) = ("content-type", "application/json");

const SEEDS: [Seed; 11] = [
    Seed { path: "/api/v1/ingest", headers: &[], body: b"{\"msg\":\"one\",\"a\":{\"b\":[1,2.5,\"x\",null]},\"ts\":1700000000}\n{\"log\":\"two\"}\n" },
    Seed { path: "/es/_bulk", headers: &[], body: b"{\"index\":{\"_index\":\"logs\",\"_id\":\"1\"},\"attempts\":0}\n{\"message\":\"m\",\"@timestamp\":\"2026-11-20T10:00:00Z\"}\n\n{\"create\":{\"_index\":\"logs\"}}\r\n{\"time\":1,\"msg\":\"x\",\"level\":30}\n{\"delete\":{\"_index\":\"logs\",\"_id\":\"1\"}}\n" },
    Seed { path: "/es/logs/_doc/1", headers: &[JSON], body: b"{\"message\":\"m\"}" },
    Seed { path: "/v1/logs", headers: &[JSON], body: b"{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"s\"}}]},\"scopeLogs\":[{\"scope\":{\"name\":\"l\"},\"logRecords\":[{\"timeUnixNano\":\"1700000000000000000\",\"severityNumber\":9,\"body\":{\"stringValue\":\"hi\"},\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"attributes\":[{\"key\":\"n\",\"value\":{\"intValue\":\"7\"}}]}]}]}]}" },
    Seed { path: "/v1/logs", headers: &[("content-type", "application/x-protobuf")], body: b"\x0a\x43\x0a\x17\x0a\x15\x0a\x0cservice.name\x12\x05\x0a\x03abc\x12\x28\x0a\x03\x0a\x01l\x12\x21\x09\x00\x01\x02\x03\x04\x05\x06\x17\x10\x09\x1a\x04INFO\x2a\x04\x0a\x02hi\x32\x07\x0a\x01n\x12\x02\x18\x07" },
    Seed { path: "/loki/api/v1/push", headers: &[JSON], body: b"{\"streams\":[{\"stream\":{\"app\":\"a\"},\"values\":[[\"1700000000000000000\",\"line\",{\"k\":\"v\"}]]}]}" },
    Seed { path: "/services/collector", headers: &[], body: b"{\"event\":\"one\",\"time\":1700000000.25,\"host\":\"h\",\"fields\":{\"a\":1}}{\"event\":{\"message\":\"two\"}}" },
    Seed { path: "/services/collector/raw?channel=c", headers: &[], body: b"one\r\ntwo\n{\"msg\":\"three\"}\n" },
    Seed { path: "/gelf", headers: &[], body: b"{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"m\",\"timestamp\":1700000000.5,\"level\":3,\"_a\":1}" },
    Seed { path: "/upload", headers: &[("user-agent", "systemd-journal-upload 257")], body: b"__CURSOR=s=aa;i=1f;b=1\n__REALTIME_TIMESTAMP=1700000000000001\n_HOSTNAME=h\nMESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\nPRIORITY=3\n\n__CURSOR=s=aa;i=20;b=1\nMESSAGE=two\n\n" },
    Seed { path: "/api/v1/batches", headers: &[], body: b"SAWLOGBATCH0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08" },
];

const SYSLOG: &[u8] = b"<165>1 2026-11-23T15:24:00.5Z web1 app 42 ID47 [ex@1 a=\"1\"] new\n126 <34>Oct 11 22:14:15 db su[7]: old\r\n13 <11>1 - - - -\n";
const FORWARD: &[u8] = b"\x93\xa3tag\xce\x65\x53\xf1\x00\x82\xa7message\xa2hi\xa1n\x07\x93\xa3tag\xc4\x15\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x05\x81\xa3log\xa3two\x81\xa5chunk\xa1c";

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
    for Seed { path, headers, body } in SEEDS {
        let fixture = fixture();
        for case in cases() {
            let damaged = Chance(case).damage(body);
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
        let found = || {
            let beside = |record: &&model::record::Record| record.message == "beside";
            fixture.records().iter().filter(beside).count() > count
        };
        fixture.until(&format!("case {case}"), found).await;
    }
}

#[tokio::test]
async fn damaged_connections_cost_no_other() {
    let fixture = fixture();
    let shutdown = Shutdown::default();
    let mut tasks = Vec::new();
    let (syslog, at) = listener().await;
    let door = fixture.doors.syslog(Zone::default());
    tasks.push(tokio::spawn(door.serve(syslog, None, shutdown.clone())));
    send(&fixture, at, SYSLOG, b"<14>1 - h a - - - beside").await;
    let good = b"\x93\xa1t\x01\x81\xa7message\xa6beside";
    let fixture = super::tests::fixture();
    let (forward, at) = listener().await;
    tasks.push(tokio::spawn(fixture.doors.forward(None).serve(forward, shutdown.clone())));
    send(&fixture, at, FORWARD, good).await;
    shutdown.trigger();
    for task in tasks {
        task.await.unwrap();
    }
}
