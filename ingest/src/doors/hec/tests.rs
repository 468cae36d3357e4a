//! The collector through the door: events, raw lines, acknowledgements, its refusals.

use model::record::FieldValue;
use proptest::prelude::*;

use super::*;
use crate::doors::tests::{Fixture, field, fixture, fixture_within};
use crate::partition::PartitionSettings;

async fn post(fixture: &Fixture, path: &str, body: &str) -> (u16, Value) {
    let path = format!("/services/collector{path}");
    let (status, answer) = fixture.post(&path, &[], body.as_bytes().to_vec()).await;
    (status.as_u16(), answer)
}

#[tokio::test]
async fn events_stand_one_behind_the_other() {
    let fixture = fixture();
    let body = r#"{"event":"one","time":1700000000.25,"host":"h","sourcetype":"s","fields":{"a":1,"b":["x","y"]}}{"event":{"message":"two","level":"warn"},"time":"1700000001"}
        {"event":3,"index":"other"}"#;
    let (status, answer) = post(&fixture, "/event", body).await;
    assert_eq!((status, answer), (200, json!({ "text": "Success", "code": 0 })));
    let records = fixture.records();
    let mut seen: Vec<(&str, &str)> =
        records.iter().map(|r| (r.message.as_str(), r.level.name())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("3", "unknown"), ("one", "unknown"), ("two", "warn")]);
    let one = records.iter().find(|record| record.message == "one").unwrap();
    assert_eq!(one.timestamp.unwrap().0, 1_700_000_000_250_000_000);
    assert_eq!(one.fields.len(), 3);
    assert!(one.fields.contains(&("a".to_owned(), FieldValue::Int(1))));
    assert!(fixture.labels().iter().any(|labels| labels.get("sourcetype") == Some("s")));
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_kept() {
    let fixture = fixture();
    let body = r#"{"event":"one","time":"soon"}{"event":"two","time":null}{"event":"three","time":{"a":1}}{"event":"four","time":1e300}"#;
    let (status, _) = post(&fixture, "", body).await;
    assert_eq!(status, 200);
    let kept = |record: &model::record::Record| match record.fields.as_slice() {
        [] => String::new(),
        [(name, FieldValue::Text(text))] => format!("{name}={text}"),
        [(name, FieldValue::Float(number))] => format!("{name}={number:e}"),
        other => panic!("{other:?}"),
    };
    let kept: Vec<String> = fixture.records().iter().map(kept).collect();
    assert_eq!(kept, ["time=soon", "", r#"time={"a":1}"#, "time=1e300"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_its_neighbours_nothing() {
    let fixture = fixture();
    let deep = format!("{{\"event\":{}1{}}}", "{\"a\":".repeat(300), "}".repeat(300));
    let twice = r#"{"event":"x","event":"y"}"#;
    let body = format!(r#"{{"event":"before"}}{deep}{twice}{{"event":"after"}}"#);
    let (status, _) = post(&fixture, "", &body).await;
    assert_eq!(status, 200);
    let records = fixture.records();
    let messages: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(messages, ["before", &deep, twice, "after"]);
}

/// What an event says is read although something around it is odd.
#[tokio::test]
async fn only_what_is_odd_around_an_event_is_put_aside() {
    for (odd, index, host, kept) in [
        (json!({ "host": 7, "source": true }), "shop", Some("7"), None),
        (json!({ "host": [1] }), "shop", Some("h"), Some(("host", "[1]"))),
        (json!({ "fields": "a=b" }), "shop", Some("h"), Some(("fields", "\"a=b\""))),
        (json!({ "fields": [{ "a": 1 }] }), "shop", Some("h"), Some(("fields", r#"[{"a":1}]"#))),
        (json!({ "index": { "a": 1 } }), "main", Some("h"), Some(("index", r#"{"a":1}"#))),
        (json!({ "fields": null, "host": null }), "shop", Some("h"), None),
    ] {
        let fixture = fixture();
        let mut event = json!({ "event": "said", "time": 1_700_000_000.5, "index": "shop" });
        event.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        let (status, answer) = post(&fixture, "?host=h", &event.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        let records = fixture.records();
        assert_eq!(records.len(), 1, "{event}");
        assert_eq!(records[0].message, "said", "{event}");
        assert_eq!(records[0].timestamp.unwrap().0, 1_700_000_000_500_000_000);
        assert_eq!(field(&records[0], "_poison").is_some(), kept.is_some(), "{event}");
        if let Some((name, text)) = kept {
            let found = records[0].fields.iter().find(|(found, _)| found.ends_with(name));
            assert_eq!(found.map(|(_, value)| value), Some(&FieldValue::Text(text.to_owned())));
            let reason = field(&records[0], "_poison").unwrap();
            assert!(reason.starts_with(name), "{reason}");
        }
        assert!(fixture.labels().iter().all(|labels| labels.get("host") == host), "{event}");
        assert_eq!(fixture.indexes(), [index], "{event}");
    }
}

#[tokio::test]
async fn an_object_over_a_bound_is_kept_with_the_reason() {
    let fixture = fixture();
    let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
    let (status, _) = post(&fixture, "/raw", &deep).await;
    assert_eq!(status, 200);
    let event = json!({ "event": deep }).to_string();
    let (status, _) = post(&fixture, "", &event).await;
    assert_eq!(status, 200);
    let records = fixture.records();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(record.message, deep);
        assert!(record.fields.iter().any(|(name, _)| name == "_poison"), "{record:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_has_the_tables_code_and_the_events_number() {
    let fixture = fixture();
    for (path, body, code, event) in [
        ("", "", 5, None),
        ("", " \n", 5, None),
        ("", "nonsense", 6, Some(0)),
        ("", r#"[{"event":"x"}]"#, 6, Some(0)),
        ("", r#"{"a":1}{"event":"x""#, 12, Some(0)),
        ("", r#"{"event":" "}"#, 13, Some(0)),
        ("?index=NOT", r#"{"event":"x"}"#, 7, None),
        ("/raw?index=NOT", "line", 7, None),
    ] {
        let (status, answer) = post(&fixture, path, body).await;
        assert_eq!((status, answer["code"].as_u64()), (400, Some(code)), "{body}");
        assert_eq!(answer["invalid-event-number"].as_u64(), event, "{body}");
    }
    assert!(fixture.records().is_empty());
    let (status, answer) = post(&fixture, "/nowhere", "").await;
    assert_eq!((status, answer["code"].as_u64()), (404, Some(404)));
}

#[tokio::test]
async fn what_is_no_event_or_over_a_bound_is_kept_beside_its_neighbours() {
    let long = "n".repeat(model::limits::FIELD_NAME_BYTES_MAX + 1);
    let many: Map<_, _> = (0..5_000).map(|n| (format!("f{n}"), n.into())).collect();
    for (odd, reason) in [
        (
            json!({ "event": "x", "time": 1_700_000_000, "fields": { long: 1 } }).to_string(),
            "a field name is over",
        ),
        (
            json!({ "event": "x", "time": 1_700_000_000, "fields": many }).to_string(),
            "more than 4096 fields",
        ),
        (r#"{"event":"x","time":1700000000,"index":"NOT"}"#.to_owned(), "index name \"NOT\""),
        (r#"{"time":1,"a":1}"#.to_owned(), "Event field is required"),
        (r#"{"event":"  "}"#.to_owned(), "Event field cannot be blank"),
        (r#"["event"]"#.to_owned(), "Invalid data format"),
        // What breaks the JSON ends at the end of its line.
        (r#"{"event":"cut off, "a":{"#.to_owned(), "Invalid data format"),
    ] {
        let fixture = fixture();
        let body = format!("{{\"event\":\"before\"}}{odd}\n{{\"event\":\"after\"}}\n");
        let (status, answer) = post(&fixture, "?host=h", &body).await;
        assert_eq!((status, answer["code"].as_u64()), (200, Some(0)), "{odd}: {answer}");
        let records = fixture.records();
        let messages: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(messages, ["before", &odd, "after"]);
        let poison = |at: usize| field(&records[at], "_poison");
        assert!(poison(1).is_some_and(|why| why.contains(reason)), "{:?}", poison(1));
        assert_eq!((poison(0), poison(2)), (None, None));
        if reason.contains("field name") || reason.contains("NOT") {
            assert_eq!(
                records[1].timestamp.unwrap().0,
                1_700_000_000_000_000_000,
                "its time is known"
            );
        }
        assert!(fixture.labels().iter().all(|labels| labels.get("host") == Some("h")));
    }
}

#[tokio::test]
async fn raw_lines_and_their_acknowledgement() {
    let fixture = fixture();
    let (status, answer) =
        post(&fixture, "/raw?channel=c&host=h&source=s", "one\r\ntwo\n\n{\"msg\":\"three\"}").await;
    let id = answer["ackId"].as_u64().expect("a channel is acknowledged");
    assert_eq!(status, 200);
    let texts: Vec<String> = fixture.records().into_iter().map(|record| record.message).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let asked = json!({ "acks": [id, id + 1] }).to_string();
    let (_, answer) = post(&fixture, "/ack?channel=c", &asked).await;
    assert_eq!(answer, json!({ "acks": { id.to_string(): true, (id + 1).to_string(): false } }));
    let (_, answer) = post(&fixture, "?channel=c", "{\"event\":\"four\"}").await;
    assert_eq!(answer["ackId"].as_u64(), Some(id + 1), "a channel counts");
    let (status, answer) = post(&fixture, "/ack", &asked).await;
    assert_eq!((status, answer["code"].as_u64()), (400, Some(10)));
}

/// The answers for these ids in a channel.
async fn known(fixture: &Fixture, channel: &str, ids: &[u64]) -> Vec<bool> {
    let asked = json!({ "acks": ids }).to_string();
    let (_, answer) = post(fixture, &format!("/ack?channel={channel}"), &asked).await;
    let of = |id: &u64| answer["acks"][id.to_string()].as_bool().expect("each id has an answer");
    ids.iter().map(of).collect()
}

#[tokio::test]
async fn an_acknowledgement_is_true_where_it_was_given_and_nowhere_else() {
    let one = fixture();
    let other = one.other_node();
    let event = "{\"event\":\"x\"}";
    let given = async |fixture: &Fixture, channel: &str| {
        let (_, answer) = post(fixture, &format!("?channel={channel}"), event).await;
        answer["ackId"].as_u64().expect("a channel is acknowledged")
    };
    let id = given(&one, "c").await;
    assert_eq!(known(&one, "c", &[id, id + 1]).await, [true, false]);
    // Of another channel, of another node, which a node is to itself after a restart.
    given(&one, "d").await;
    assert_eq!(known(&one, "d", &[id]).await, [false]);
    assert_eq!(known(&other, "c", &[id]).await, [false]);
    given(&other, "c").await;
    assert_eq!(known(&other, "c", &[id]).await, [false]);
    // What could not be stored has no id, and the next one follows the last.
    let settings = PartitionSettings {
        queue_bytes_max: 0,
        disk_free_bytes_min: 0,
        ..PartitionSettings::default()
    };
    let full = fixture_within(&[settings]);
    let (status, answer) = post(&full, "?channel=c", event).await;
    assert_eq!((status, answer.get("ackId")), (503, None), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_again_in_its_channel_is_stored_once_where_events_state_their_times() {
    let one = fixture();
    let body =
        r#"{"event":"a","time":1700000000.25,"host":"h"}{"event":"b","time":"1700000000.5"}"#;
    let acknowledged = async |node: &Fixture, path: &str, body: &str| {
        let (status, answer) = post(node, path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["ackId"].as_u64()
    };
    let first = acknowledged(&one, "?channel=c", body).await.unwrap();
    let again = acknowledged(&one, "/event?channel=c", body).await.unwrap();
    assert_ne!(first, again, "a repeat has an id of its own");
    // Its answer was lost, and it goes to another node, which says the channel in a header.
    let other = one.other_node();
    let channel = [("x-splunk-request-channel", "c")];
    let path = "/services/collector";
    let (_, answer) = other.post(path, &channel, body.as_bytes().to_vec()).await;
    assert!(answer["ackId"].is_u64(), "{answer}");
    assert_eq!(one.records().len(), 2);
    // Another channel's, nobody's, and others are others.
    for (path, body) in [
        ("?channel=d", body.to_owned()),
        ("", body.to_owned()),
        ("", body.to_owned()),
        ("?channel=c", body.replace("0.5", "0.7")),
        ("?channel=c", format!("{body} ")),
    ] {
        let before = one.records().len();
        acknowledged(&other, path, &body).await;
        assert_eq!(one.records().len(), before + 2, "{path} {body}");
    }
}

#[tokio::test]
async fn equal_bodies_are_ordinary_where_an_event_states_no_time_or_all_the_same_second() {
    let one = fixture();
    for (path, body, count) in [
        ("", r#"{"event":"a"}"#, 1),
        ("", r#"{"event":"a","time":1700000000.5}{"event":"b"}"#, 2),
        // Of the same second, as a handler that sends each event alone has them.
        ("", r#"{"event":"a","time":1700000000}"#, 1),
        ("", r#"{"event":"a","time":"1700000000.000"}{"event":"b","time":1700000000}"#, 2),
        ("", r#"{"event":"a","time":1700000000.5}{"event":"b","time":"soon"}"#, 2),
        ("", r#"{"event":"a","time":1700000000.5}{"time":1700000000}"#, 2),
        ("", "{\"event\":\"a\",\"time\":1700000000.5}\nbroken", 2),
        ("/raw", "a line", 1),
    ] {
        for node in [&one, &one.other_node()] {
            let before = one.records().len();
            let (status, answer) = post(node, &format!("{path}?channel=c"), body).await;
            assert_eq!((status, answer["ackId"].is_u64()), (200, true), "{answer}");
            assert_eq!(one.records().len(), before + count, "{body}");
        }
    }
    // A key names the request, whatever it holds.
    let body = r#"{"event":"a","time":1700000000}"#;
    for (key, count) in [("k1", 1), ("k1", 0), ("k2", 1)] {
        let before = one.records().len();
        let headers = [("x-splunk-request-channel", "c"), ("idempotency-key", key)];
        let (status, _) = one.post("/services/collector", &headers, body.as_bytes().to_vec()).await;
        assert_eq!((status.as_u16(), one.records().len()), (200, before + count), "{key}");
    }
}

#[tokio::test]
async fn a_body_of_many_batches_is_recognised_whole_or_not_at_all() {
    let one = fixture();
    let event =
        |n: usize| json!({ "event": "m".repeat(500), "time": 1_700_000_000 + n }).to_string();
    let mut body: String = (0..12_000).map(event).collect();
    for _ in 0..2 {
        post(&one.other_node(), "?channel=c", &body).await;
        assert_eq!(one.records().len(), 12_000);
    }
    // One without a time is the last of them, when batches were sealed before.
    body.push_str(r#"{"event":"x"}"#);
    for nth in 1..3 {
        post(&one.other_node(), "?channel=c", &body).await;
        assert_eq!(one.records().len(), 12_000 + nth * 12_001);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(garbage: Vec<u8>, raw: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let path = if raw { "/services/collector/raw" } else { "/services/collector" };
            let (status, answer) = fixture.post(path, &[], garbage.clone()).await;
            let known = answer["code"].as_u64();
            assert!(status == StatusCode::OK && known == Some(0) || status.is_client_error() && known > Some(0), "{answer}");
            let event = |text: &str| format!("{{\"event\":\"{text}\"}}\n").into_bytes();
            let body = [event("before"), garbage, b"\n".to_vec(), event("after")].concat();
            let (status, answer) = fixture.post(path, &[], body).await;
            assert_eq!(answer["code"], 0, "{answer}");
            // There are events in it: whatever stands between them, they are stored.
            assert_eq!(status, StatusCode::OK);
            let records = fixture.records();
            let count = |text: &str| records.iter().filter(|record| record.message == text).count();
            assert_eq!([count("before"), count("after")], [1, 1], "{records:?}");
        });
    }
}
