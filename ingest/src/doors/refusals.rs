//! When the node takes nothing: each protocol's own words for "later" and for "too much", by which its
//! clients keep what they have and come again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use model::limits::REQUEST_BYTES_MAX;
use model::time::Timestamp;
use platform::clock::Clock;
use platform::disk::{Disk, Faults};
use serde_json::{Value, json};

use super::tests::{Fixture, fixture, fixture_by, fixture_within};
use super::whole::REST_TIME_MAX;
use crate::partition::PartitionSettings;

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

const BULK: &str = "{\"create\":{\"_index\":\"a\"}}\n{\"msg\":\"x\"}\n";
const PUSH: &str = r#"{"streams":[{"stream":{},"values":[["1700000000000000001","x"]]}]}"#;
const LOGS: &str =
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
/// The same in protobuf.
const LOGS_BYTES: &[u8] = b"\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01x";
const EVENT: &str = r#"{"event":"x"}"#;

/// A partition with a queue of so many bytes, on a disk on which so many stay free.
fn bounds(queue_bytes_max: u64, disk_free_bytes_min: u64) -> PartitionSettings {
    PartitionSettings { queue_bytes_max, disk_free_bytes_min, ..PartitionSettings::default() }
}

/// A node whose queue is full: "later" is 429.
fn full_queue() -> Fixture {
    fixture_within(&[bounds(0, 0)])
}

/// A node whose disk is full: "later" is 503.
fn full_disk() -> Fixture {
    fixture_within(&[bounds(u64::MAX, u64::MAX)])
}

/// What a door answers: status, headers, body.
async fn ask(
    fixture: &Fixture,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = fixture.response(request.body(Body::from(body.into())).unwrap()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, body.to_vec())
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(body)))
}

/// Seconds after which to come again; they must be said.
#[track_caller]
fn seconds(headers: &HeaderMap) -> u64 {
    let said = headers.get("retry-after").expect("it says when to come again");
    said.to_str().unwrap().parse().unwrap()
}

/// Nothing of what was put off is there.
#[track_caller]
fn check_empty(fixture: &Fixture) {
    assert!(fixture.records().is_empty(), "{:?}", fixture.records());
}

#[tokio::test]
async fn elasticsearch_says_429_and_503() {
    for (fixture, expected, kind) in [
        (full_queue(), 429, "es_rejected_execution_exception"),
        (full_disk(), 503, "unavailable_shards_exception"),
    ] {
        for path in ["/es/_bulk", "/es/a/_bulk", "/es/a/_doc", "/es/a/_create/1"] {
            let body = if path.ends_with("_bulk") { BULK } else { "{\"msg\":\"x\"}" };
            let (status, headers, body) = ask(&fixture, path, &[JSON], body).await;
            assert_eq!(status, expected, "{path}");
            assert!(seconds(&headers) > 0);
            assert_eq!(headers["x-elastic-product"], "Elasticsearch");
            let answer = json_of(&body);
            assert_eq!(
                (&answer["status"], &answer["error"]["type"]),
                (&json!(expected), &json!(kind))
            );
        }
        // Nobody has the id of what was put off: it is no conflict when it comes again.
        let (status, ..) = ask(&fixture, "/es/a/_create/1", &[JSON], "{\"msg\":\"x\"}").await;
        assert_eq!(status, expected);
        check_empty(&fixture);
    }
}

#[tokio::test]
async fn a_bulk_of_which_some_is_put_off_says_so_for_each_item() {
    let room = bounds(u64::MAX, 0);
    for (full, expected) in [(bounds(0, 0), 429), (bounds(u64::MAX, u64::MAX), 503)] {
        let fixture = fixture_within(&[room.clone(), full]);
        // Each index is a stream of its own, and streams are in either partition.
        let lines = |n| format!("{{\"index\":{{\"_index\":\"i{n}\"}}}}\n{{\"msg\":\"m{n}\"}}\n");
        let body: String = (0..20).map(lines).collect();
        let (status, _, body) = ask(&fixture, "/es/_bulk", &[JSON], body).await;
        let answer = json_of(&body);
        assert_eq!((status, &answer["errors"]), (200, &json!(true)), "{answer}");
        let mut stored = Vec::new();
        for (number, item) in answer["items"].as_array().unwrap().iter().enumerate() {
            let status = item["index"]["status"].as_u64().unwrap();
            assert!(status == 201 || status == expected, "{item}");
            assert_eq!(item["index"]["error"].is_object(), status != 201, "{item}");
            stored.extend((status == 201).then(|| format!("m{number}")));
        }
        let records = fixture.records();
        let found: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(found, stored);
        assert!(!stored.is_empty() && stored.len() < 20, "{stored:?}");
    }
}

#[tokio::test]
async fn loki_says_429_and_503_in_plain_text() {
    for (fixture, expected, word) in [(full_queue(), 429, "queue"), (full_disk(), 503, "disk")] {
        for path in ["/loki/api/v1/push", "/api/prom/push"] {
            let (status, headers, body) = ask(&fixture, path, &[JSON], PUSH).await;
            assert_eq!(status, expected, "{path}");
            assert!(seconds(&headers) > 0);
            let text = String::from_utf8(body).unwrap();
            assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain"));
            assert!(text.contains(word) && !text.starts_with('{'), "{text}");
        }
        check_empty(&fixture);
    }
}

#[tokio::test]
async fn the_event_collector_says_503_with_code_9() {
    for fixture in [full_queue(), full_disk()] {
        for path in ["/services/collector", "/services/collector/raw?channel=c"] {
            let (status, headers, body) = ask(&fixture, path, &[], EVENT).await;
            assert_eq!(status, 503, "{path}");
            assert!(seconds(&headers) > 0);
            // No acknowledgement is promised.
            assert_eq!(json_of(&body), json!({ "text": "Server is busy", "code": 9 }));
        }
        check_empty(&fixture);
    }
}

#[tokio::test]
async fn otlp_says_429_and_503_as_a_status() {
    for (fixture, expected, code) in [(full_queue(), 429, 8_u8), (full_disk(), 503, 14)] {
        for path in ["/v1/logs", "/otlp/v1/logs"] {
            let (status, headers, body) = ask(&fixture, path, &[JSON], LOGS).await;
            assert_eq!((status, &json_of(&body)["code"]), (expected, &json!(code)), "{path}");
            assert!(seconds(&headers) > 0);
            let (status, headers, body) = ask(&fixture, path, &[PROTOBUF], LOGS_BYTES).await;
            assert_eq!(status, expected, "{path}");
            assert!(seconds(&headers) > 0);
            assert_eq!(headers["content-type"], PROTOBUF.1);
            // The first member of `google.rpc.Status`.
            assert_eq!(body[..2], [0x08, code]);
        }
        check_empty(&fixture);
    }
    // These are exports, which a node with room takes.
    let fixture = fixture();
    for (kind, body) in [(JSON, LOGS.as_bytes()), (PROTOBUF, LOGS_BYTES)] {
        assert_eq!(ask(&fixture, "/v1/logs", &[kind], body).await.0, 200);
    }
    assert_eq!(fixture.records().len(), 2);
}

/// A node of two partitions, of which the disk of one is full.
struct Half {
    fixture: Fixture,
    faults: Arc<Faults>,
    clock: Clock,
}

impl Half {
    fn new() -> Self {
        let (faults, clock) = (Arc::new(Faults::default()), Clock::manual(Timestamp(1)));
        let disks = [Disk::default(), Disk::faulty(faults.clone())];
        let fixture = fixture_by(clock.clone(), &disks);
        faults.free_bytes.store(0, Ordering::SeqCst);
        Self { fixture, faults, clock }
    }

    fn refused(&self) -> u64 {
        let full = vec![("reason", "disk_full")];
        self.fixture.doors.state.0.metrics.refusals.get_or_create(&full).get()
    }

    async fn until_refused(&self, count: u64) {
        while self.refused() < count {
            tokio::task::yield_now().await;
        }
    }
}

/// Requests of twenty streams, or events, each with a message of its own: some go to either partition.
fn of_either_partition() -> Vec<(&'static str, (&'static str, &'static str), String)> {
    let joined =
        |one: &dyn Fn(u32) -> String, by: &str| (0..20).map(one).collect::<Vec<String>>().join(by);
    let push = |n: u32| {
        format!(r#"{{"stream":{{"s":"s{n}"}},"values":[["17000000000000000{n:02}","m{n}"]]}}"#)
    };
    let logs = |n: u32| {
        let name = format!(r#"{{"key":"service.name","value":{{"stringValue":"s{n}"}}}}"#);
        let record = format!(r#"{{"body":{{"stringValue":"m{n}"}}}}"#);
        format!(
            r#"{{"resource":{{"attributes":[{name}]}},"scopeLogs":[{{"logRecords":[{record}]}}]}}"#
        )
    };
    let event = |n: u32| format!(r#"{{"host":"h{n}","event":"m{n}"}}"#);
    let gelf = |n: u32| format!(r#"{{"version":"1.1","host":"h{n}","short_message":"m{n}"}}"#);
    vec![
        ("/loki/api/v1/push", JSON, format!(r#"{{"streams":[{}]}}"#, joined(&push, ","))),
        ("/v1/logs", JSON, format!(r#"{{"resourceLogs":[{}]}}"#, joined(&logs, ","))),
        ("/services/collector", JSON, joined(&event, "\n")),
        ("/gelf", JSON, joined(&gelf, "\n")),
    ]
}

#[tokio::test]
async fn a_request_of_which_some_is_put_off_is_stored_once() {
    for (path, kind, body) in of_either_partition() {
        let half = Half::new();
        let free = async {
            half.until_refused(2).await;
            half.faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
        };
        let headers = [kind];
        let asked = ask(&half.fixture, path, &headers, body);
        let ((status, ..), ()) = tokio::join!(asked, free);
        assert!((200..300).contains(&status), "{path}: {status}");
        let records = half.fixture.records();
        let mut found: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
        found.sort_unstable();
        let mut expected: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn what_stays_put_off_is_refused_in_time_and_at_once_where_a_key_stands_for_it() {
    for (path, kind, body) in of_either_partition() {
        let half = Half::new();
        let key = ("idempotency-key", "k1");
        let (status, ..) = ask(&half.fixture, path, &[kind, key], body.clone()).await;
        assert_eq!((status, half.refused()), (503, 1), "{path}");
        let late = async {
            half.until_refused(3).await;
            half.clock.advance(REST_TIME_MAX);
        };
        let headers = [kind];
        let asked = ask(&half.fixture, path, &headers, body);
        let ((status, ..), ()) = tokio::join!(asked, late);
        assert_eq!(status, 503, "{path}");
        assert!(!half.fixture.records().is_empty());
    }
}

#[tokio::test]
async fn what_was_stored_of_a_channels_body_is_recognised_when_it_comes_again() {
    let half = Half::new();
    let event = |n: u32| format!(r#"{{"host":"h{n}","event":"m{n:02}","time":17000000{n:02}.5}}"#);
    let body: String = (0..20).map(event).collect();
    let path = "/services/collector?channel=c";
    let late = async {
        half.until_refused(2).await;
        half.clock.advance(REST_TIME_MAX);
    };
    let headers = [JSON];
    let asked = ask(&half.fixture, path, &headers, body.clone());
    let ((status, ..), ()) = tokio::join!(asked, late);
    assert_eq!(status, 503);
    let stored = half.fixture.records().len();
    assert!(stored > 0 && stored < 20, "{stored}");
    half.faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    for _ in 0..2 {
        let (status, ..) = ask(&half.fixture, path, &[JSON], body.clone()).await;
        assert_eq!(status, 200);
        let records = half.fixture.records();
        let mut found: Vec<&str> = records.iter().map(|one| one.message.as_str()).collect();
        found.sort_unstable();
        let expected: Vec<String> = (0..20).map(|n| format!("m{n:02}")).collect();
        assert_eq!(found, expected);
    }
}

/// A body over the bound, as it is and packed small.
async fn too_much(path: &str) -> Vec<(u16, Value)> {
    let fixture = fixture();
    let large = vec![b' '; REQUEST_BYTES_MAX + 1];
    let packed = zstd::bulk::compress(&large, 1).unwrap();
    let mut answers = Vec::new();
    for (headers, body) in [(vec![JSON], large), (vec![JSON, ("content-encoding", "zstd")], packed)]
    {
        let (status, _, body) = ask(&fixture, path, &headers, body).await;
        answers.push((status, json_of(&body)));
    }
    check_empty(&fixture);
    answers
}

#[tokio::test]
async fn too_much_is_413_in_every_protocols_words() {
    for (status, answer) in too_much("/services/collector").await {
        assert_eq!(status, 413);
        assert_eq!(answer, json!({ "text": "Request entity too large", "code": 27 }));
    }
    for (status, answer) in too_much("/es/_bulk").await {
        assert_eq!((status, &answer["status"]), (413, &json!(413)));
        assert_eq!(answer["error"]["type"], "content_too_long_exception");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(&REQUEST_BYTES_MAX.to_string()), "{reason}");
    }
    for (status, answer) in too_much("/v1/logs").await {
        assert_eq!((status, &answer["code"]), (413, &json!(8)));
    }
    for (status, answer) in too_much("/api/v1/ingest").await {
        assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));
    }
}
