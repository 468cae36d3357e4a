//! Pushes through the door: in both forms, what is kept of broken ones, what is none.

use std::io::Write as _;

use model::limits::{LABEL_BYTES_MAX, LABELS_MAX};
use model::record::FieldValue;
use proptest::prelude::*;

use super::labels::UNREAD;
use super::wire::PushPair;
use super::*;
use crate::doors::tests::{Fixture, field, fixture};

const PATH: &str = "/loki/api/v1/push";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A push of protobuf, packed.
fn packed(streams: &[PushStream]) -> Vec<u8> {
    let streams = streams.iter().map(|stream| stream.encode_to_vec().into()).collect();
    let request = PushRequest { streams };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

fn stream(labels: &str, entries: &[PushEntry]) -> PushStream {
    let entries = entries.iter().map(|entry| entry.encode_to_vec().into()).collect();
    PushStream { labels: labels.to_owned().into(), entries }
}

fn entry(seconds: i64, line: &[u8], metadata: &[(&str, &str)]) -> PushEntry {
    let pair = |(name, value): &(&str, &str)| PushPair {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    PushEntry {
        timestamp: Some(PushTime { seconds, nanos: 5 }),
        line: Bytes::copy_from_slice(line),
        metadata: metadata.iter().map(pair).collect(),
    }
}

async fn push(fixture: &Fixture, headers: &[(&str, &str)], body: Vec<u8>) -> StatusCode {
    fixture.ask("POST", PATH, headers, body).await.0
}

fn messages(fixture: &Fixture) -> Vec<String> {
    fixture.records().into_iter().map(|record| record.message).collect()
}

#[tokio::test]
async fn json_becomes_records_of_labelled_streams() {
    let fixture = fixture();
    let body = r#"{"streams":[
        {"stream":{"app":"a","level":"warn","host":"h"},"values":[["1700000000000000001","one",{"trace":"t1"}],["1700000000000000002","{\"msg\":\"two\",\"n\":2}"]]},
        {"stream":{"app":"b","index":"x"},"values":[["1700000000000000003","ERROR three"]]}
    ]}"#;
    let headers = [("content-type", "application/json"), ("x-scope-orgid", "team")];
    let (status, text) = fixture.ask("POST", PATH, &headers, body.into()).await;
    assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
    let records = fixture.records();
    let seen: Vec<(&str, &str, i64)> = records
        .iter()
        .map(|r| (r.message.as_str(), r.level.name(), r.timestamp.unwrap().0 % 10))
        .collect();
    let two = r#"{"msg":"two","n":2}"#;
    assert_eq!(seen, [("one", "warn", 1), (two, "warn", 2), ("ERROR three", "error", 3)]);
    assert_eq!(records[0].fields, [text_field("trace", "t1")]);
    assert_eq!(records[1].fields, [("n".to_owned(), FieldValue::Int(2))]);
    let streams = fixture.labels();
    let expected = [
        vec![("app", "a"), ("host", "h"), ("tenant", "team")],
        vec![("app", "b"), ("label_index", "x"), ("tenant", "team")],
    ];
    for (labels, expected) in streams.iter().zip(expected) {
        assert_eq!(labels.iter().collect::<Vec<_>>(), expected);
    }
}

fn text_field(name: &str, value: &str) -> (String, FieldValue) {
    text(name, value)
}

#[tokio::test]
async fn protobuf_is_the_default_and_its_lines_may_be_any_bytes() {
    let fixture = fixture();
    let entry = entry(1_700_000_000, b"caf\xe9", &[("k", "v")]);
    let body = packed(&[stream(r#"{app="a\"b", job="j"}"#, &[entry])]);
    let (status, _) = fixture.ask("POST", "/api/prom/push", &[], body).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let records = fixture.records();
    assert_eq!(records[0].message, "caf\\xe9");
    assert_eq!(records[0].timestamp, Some(Timestamp(1_700_000_000_000_000_005)));
    assert_eq!(fixture.labels()[0].get("app"), Some("a\"b"));
}

#[tokio::test]
async fn an_entry_without_a_time_has_that_of_its_arrival() {
    let fixture = fixture();
    let before = platform::clock::Clock::system().now();
    let entry = PushEntry { timestamp: None, ..entry(0, b"line", &[]) };
    assert_eq!(push(&fixture, &[], packed(&[stream(r#"{app="a"}"#, &[entry])])).await, 204);
    let records = fixture.records();
    assert!(records[0].timestamp.unwrap() >= before, "{records:?}");
    assert!(field(&records[0], POISON_FIELD).is_none(), "{records:?}");
}

#[tokio::test]
async fn what_is_no_push_is_refused_in_plain_words() {
    let fixture = fixture();
    for body in ["nonsense", "[]", r#"{"streams":[5,{"stream":3}]}"#] {
        let (status, text) = fixture.ask("POST", PATH, &JSON, body.into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!text.starts_with('{') && text.ends_with('\n'), "{text}");
    }
    // It says that it holds 4 GiB.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert_eq!(push(&fixture, &[], bomb).await, StatusCode::PAYLOAD_TOO_LARGE);
    let garbage = snap::raw::Encoder::new().compress_vec(b"\xff\xff").unwrap();
    assert_eq!(push(&fixture, &[], garbage).await, StatusCode::BAD_REQUEST);
    assert!(fixture.records().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_costs_its_neighbours_nothing() {
    let fixture = fixture();
    let deep = format!(
        r#"["1700000000000000004","deep",{{"a":{}1{}}}]"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let body = format!(
        r#"{{"streams":[
        {{"stream":"{{a=","values":[["1700000000000000001","one"]]}},
        {{"stream":{{"app":"a"}},"values":[["1700000000000000002",5],["1700000000000000003","two"],{{"x":1}},{deep}]}},
        {{"stream":{{"app":"a"}},"values":["soon"]}},
        {{"stream":{{"app":"a"}},"values":[["soon","three",{{"k":"v"}}]]}},
        {{"stream":{{"app":"a"}},"values":7}}
    ]}}"#
    );
    assert_eq!(push(&fixture, &JSON, body.into()).await, StatusCode::NO_CONTENT);
    let poison: Vec<(String, bool)> = fixture
        .records()
        .into_iter()
        .map(|record| (record.message.clone(), field(&record, POISON_FIELD).is_some()))
        .collect();
    let expected = [
        ("one", true),
        (r#"["1700000000000000002",5]"#, true),
        ("two", false),
        (r#"{"x":1}"#, true),
        (deep.as_str(), true),
        (r#""soon""#, true),
        ("three", true),
        (r#"{"stream":{"app":"a"},"values":7}"#, true),
    ];
    assert_eq!(poison.len(), expected.len(), "{poison:?}");
    // By streams, so in another order.
    for (text, is_poison) in expected {
        assert!(poison.contains(&(text.to_owned(), is_poison)), "{text}: {poison:?}");
    }
    let records = fixture.records();
    let three = records.iter().find(|record| record.message == "three").unwrap();
    assert_eq!(field(three, "k").as_deref(), Some("v"));
    assert_eq!(field(three, POISON_FIELD).as_deref(), Some("\"soon\" is no time in nanoseconds"));
    assert!(fixture.labels().iter().any(|labels| labels.get(UNREAD) == Some("{a=")));
}

#[tokio::test]
async fn labels_over_a_bound_cost_neither_their_lines_nor_others() {
    let many: serde_json::Map<_, _> =
        (0..LABELS_MAX + 10).map(|n| (format!("l{n}"), "v".into())).collect();
    let long = "x".repeat(LABEL_BYTES_MAX + 1);
    for (odd, reason) in [
        (serde_json::Value::Object(many), "labels are more than"),
        (serde_json::json!({ "app": long }), "over 4096 bytes"),
        (serde_json::json!({ "": "x" }), "has no name"),
        (serde_json::json!({ "index": "x", "label_index": "y" }), "given twice"),
    ] {
        let fixture = fixture();
        let line = |text: &str| serde_json::json!([["1700000000000000001", text]]);
        let body = serde_json::json!({ "streams": [
            { "stream": { "app": "a" }, "values": line("before") },
            { "stream": odd, "values": line("{\"n\":5}") },
            { "stream": { "app": "b" }, "values": line("after") },
        ]});
        let headers = [JSON[0], ("x-scope-orgid", "team")];
        let status = push(&fixture, &headers, body.to_string().into()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(messages(&fixture), ["before", "{\"n\":5}", "after"]);
        let records = fixture.records();
        let poison = field(&records[1], POISON_FIELD).unwrap();
        assert!(poison.contains(reason), "{poison}");
        assert_eq!(field(&records[1], "n").as_deref(), Some("5"), "its line is taken apart");
        assert_eq!(records[1].timestamp, Some(Timestamp(1_700_000_000_000_000_001)));
        assert!([0, 2].iter().all(|at| field(&records[*at], POISON_FIELD).is_none()));
        let labels = &fixture.labels()[1];
        assert_eq!((labels.count(), labels.get("tenant")), (2, Some("team")));
        assert!(labels.get(UNREAD).unwrap().starts_with('{'), "{labels:?}");
    }
}

#[tokio::test]
async fn broken_parts_of_protobuf_cost_their_neighbours_nothing() {
    let fixture = fixture();
    let good = |text: &str| stream("{app=\"a\"}", &[entry(1, text.as_bytes(), &[])]);
    let mut odd = stream("{app=\"a\"}", &[entry(i64::MAX, b"far", &[]), entry(2, b"near", &[])]);
    // A field of a kind that there is not.
    odd.entries.push(Bytes::from_static(b"\x0f"));
    let unread = PushStream { labels: Bytes::from_static(b"{a=\"\xff\"}"), ..good("bytes") };
    let mut streams: Vec<Bytes> = Vec::new();
    for stream in [good("before"), odd, unread, good("after")] {
        streams.push(stream.encode_to_vec().into());
        streams.push(Bytes::from_static(b"\x0f\x01"));
    }
    let request = PushRequest { streams }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
    assert_eq!(push(&fixture, &[], body).await, StatusCode::NO_CONTENT);
    let records = fixture.records();
    let poison = |text: &str| {
        let record = records.iter().find(|record| record.message == text);
        field(record.unwrap_or_else(|| panic!("{text}: {records:?}")), POISON_FIELD)
    };
    for text in ["before", "near", "after"] {
        assert_eq!(poison(text), None, "{text}");
    }
    assert!(poison("far").unwrap().contains("out of range"));
    assert!(poison("bytes").unwrap().contains("labels cannot be read"));
    assert!(poison("\u{f}").is_some() && poison("\u{f}\u{1}").is_some());
    assert_eq!(records.len(), 5 + 1 + 4);
    assert!(fixture.labels().iter().any(|labels| labels.get(UNREAD) == Some(r#"{a="\xff"}"#)));
}

#[tokio::test]
async fn promtail() {
    let fixture = fixture();
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("user-agent", "promtail/3.5.0"),
        ("x-scope-orgid", "team-a"),
    ];
    let file = r#"{filename="/var/log/a.log", job="varlogs"}"#;
    let pod = r#"{namespace="shop", pod="cart-1", stream="stderr"}"#;
    let first = packed(&[
        stream(file, &[entry(1_700_000_000, b"one", &[]), entry(1_700_000_001, b"two", &[])]),
        stream(pod, &[entry(1_700_000_002, b"level=warn msg=three", &[("trace_id", "t1")])]),
    ]);
    let second = packed(&[stream(file, &[entry(1_700_000_003, b"four", &[])])]);
    for body in [first, second] {
        let (status, text) = fixture.ask("POST", PATH, &headers, body).await;
        assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    let mut stored = messages(&fixture);
    stored.sort();
    assert_eq!(stored, ["four", "level=warn msg=three", "one", "two"]);
    let records = fixture.records();
    let three = records.iter().find(|record| record.message.ends_with("three")).unwrap();
    assert_eq!(field(three, "trace_id").as_deref(), Some("t1"));
    assert_eq!(three.timestamp, Some(Timestamp(1_700_000_002_000_000_005)));
    let has = |pairs: &[(&str, &str)]| {
        let all = fixture.labels();
        all.iter().any(|labels| pairs.iter().all(|(name, value)| labels.get(name) == Some(value)))
    };
    assert!(has(&[("filename", "/var/log/a.log"), ("job", "varlogs"), ("tenant", "team-a")]));
    assert!(has(&[("pod", "cart-1"), ("stream", "stderr"), ("tenant", "team-a")]));
}

#[tokio::test]
async fn whose_a_stream_is_the_header_says_alone() {
    let fixture = fixture();
    let body = r#"{"streams":[{"stream":{"app":"a","tenant":"other"},"values":[["1","x"]]}]}"#;
    let body = || body.as_bytes().to_vec();
    for header in [JSON[0], ("x-scope-orgid", " team ")] {
        let headers = [JSON[0], header];
        assert_eq!(push(&fixture, &headers, body()).await, StatusCode::NO_CONTENT);
    }
    let labels = fixture.labels();
    let of = |at: usize| (labels[at].get("tenant"), labels[at].get("label_tenant"));
    assert_eq!([of(0), of(1)], [(Some("other"), None), (Some("team"), Some("other"))]);
    let long = "t".repeat(LABEL_BYTES_MAX + 1);
    for bad in ["a|b", &long, "", " "] {
        let headers = [JSON[0], ("x-scope-orgid", bad)];
        assert_eq!(push(&fixture, &headers, body()).await, StatusCode::BAD_REQUEST, "{bad:?}");
    }
    assert_eq!(messages(&fixture).len(), 2);
}

#[tokio::test]
async fn vector_loki() {
    let fixture = fixture();
    // By default: protobuf, and the packing is said of it.
    let snappy = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    let labels = r#"{agent="vector",forwarder="h"}"#;
    let event = br#"{"host":"h","message":"one","source_type":"file"}"#;
    let body = packed(&[stream(labels, &[entry(1_700_000_000, event, &[])])]);
    assert_eq!(push(&fixture, &snappy, body).await, StatusCode::NO_CONTENT);
    // With `compression = "gzip"`: JSON.
    let gzip = [JSON[0], ("content-encoding", "gzip"), ("x-scope-orgid", "t")];
    let body = serde_json::json!({ "streams": [{
        "stream": { "agent": "vector" },
        "values": [["1700000000000000001", "two"], ["1700000000000000002", "three", { "k": "v" }]],
    }]});
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.to_string().as_bytes()).unwrap();
    let status = push(&fixture, &gzip, encoder.finish().unwrap()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let event = String::from_utf8_lossy(event).into_owned();
    assert_eq!(messages(&fixture), [event.as_str(), "two", "three"]);
    assert_eq!(field(&fixture.records()[0], "source_type").as_deref(), Some("file"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Garbage alone, in front of a push, in its middle, and as a stream of its own.
    #[test]
    fn any_bytes_are_answered_and_cost_no_neighbour(garbage: Vec<u8>, at in 0_usize..60, is_json: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let headers: &[(&str, &str)] = if is_json { &JSON } else { &[] };
            let good = |text: &str| if is_json {
                let line = serde_json::json!([["1700000000000000001", text]]);
                serde_json::json!({ "streams": [{ "stream": {}, "values": line }] }).to_string().into_bytes()
            } else {
                packed(&[stream("{}", &[entry(1, text.as_bytes(), &[])])])
            };
            assert_eq!(push(&fixture, headers, good("before")).await, StatusCode::NO_CONTENT);
            let mut bent = good("bent");
            bent.splice(at.min(bent.len())..at.min(bent.len()), garbage.iter().copied());
            for body in [garbage.clone(), [garbage.clone(), good("behind")].concat(), bent] {
                let (status, text) = fixture.ask("POST", PATH, headers, body).await;
                let is_word = status.is_client_error() && text.ends_with('\n') && !text.starts_with('{');
                assert!(status == StatusCode::NO_CONTENT || is_word, "{status} {text}");
            }
            if !is_json {
                // In one push with others.
                let odd: Bytes = garbage.into();
                let streams = vec![stream("{}", &[entry(1, b"within", &[])]).encode_to_vec().into(), odd];
                let request = PushRequest { streams }.encode_to_vec();
                let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
                assert_eq!(push(&fixture, headers, body).await, StatusCode::NO_CONTENT);
                assert!(messages(&fixture).contains(&"within".to_owned()));
            }
            assert_eq!(push(&fixture, headers, good("after")).await, StatusCode::NO_CONTENT);
            let all = messages(&fixture);
            assert_eq!(all.iter().filter(|text| *text == "before" || *text == "after").count(), 2, "{all:?}");
        });
    }
}
