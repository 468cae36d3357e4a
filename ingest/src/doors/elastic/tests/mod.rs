//! Exchanges as the clients have them, down to their oddities.

mod exchanges;

use axum::http::StatusCode;
use cluster::catalog::Catalog;
use model::record::{FieldValue, POISON_FIELD, Record};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::action::Operation;
use super::bulk::Reader;
use super::ids::{Claim, Ids};
use crate::doors::names::{LARGE, PLACES_MAX};
use crate::doors::parcel::Parcel;
use crate::doors::tests::{Fixture, fixture};

#[track_caller]
fn statuses(answer: &Value) -> Vec<u64> {
    let items = answer["items"].as_array().expect("an answer has items");
    let status = |item: &Value| {
        let item = item.as_object().and_then(|item| item.values().next());
        item.and_then(|item| item["status"].as_u64()).expect("an item has a status")
    };
    items.iter().map(status).collect()
}

async fn bulk(fixture: &Fixture, body: &str) -> (StatusCode, Value) {
    fixture.post("/es/_bulk", &[], body.as_bytes().to_vec()).await
}

fn messages(fixture: &Fixture) -> Vec<String> {
    fixture.records().into_iter().map(|record| record.message).collect()
}

fn field<'a>(record: &'a Record, name: &str) -> Option<&'a FieldValue> {
    record.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[tokio::test]
async fn a_bulk_is_read_leniently() {
    let fixture = fixture();
    // winston: a key beside the action, a null pipeline. pino: no @timestamp, a number as level.
    // rsyslog: an empty line at the end. Line ends of either kind.
    let body = concat!(
        r#"{"index":{"_index":"logs-2026.11.22","pipeline":null},"attempts":0}"#,
        "\r\n",
        r#"{"@timestamp":"2026-11-22T10:00:00Z","message":"winston","severity":"error","fields":{"a":1}}"#,
        "\r\n",
        r#"{"index":{"_index":"pino"}}"#,
        "\n",
        r#"{"time":"2026-11-22T10:00:01Z","msg":"pino","level":30}"#,
        "\n\n",
    );
    let (status, answer) = bulk(&fixture, body).await;
    assert_eq!((status, statuses(&answer)), (StatusCode::OK, vec![201, 201]), "{answer}");
    let records = fixture.records();
    let levels: Vec<&str> = records.iter().map(|record| record.level.name()).collect();
    assert_eq!(
        (messages(&fixture), levels),
        (vec!["winston".into(), "pino".into()], vec!["error", "info"])
    );
    assert_eq!(records[0].timestamp, model::time::Timestamp::parse("2026-11-22T10:00:00Z"));
    assert_eq!(field(&records[0], "fields.a"), Some(&FieldValue::Int(1)));
}

#[tokio::test]
async fn an_answer_is_spelled_as_clients_look_for_it() {
    let fixture = fixture();
    let one = b"{\"create\":{\"_index\":\"a\"}}\n{\"m\":1}\n".to_vec();
    let (_, text) = fixture.ask("PUT", "/es/_bulk", &[], one).await;
    assert!(text.starts_with("{\"took\":"), "{text}");
    assert!(text.contains("\"errors\":false,\"items\":["), "{text}");
    let bad = b"{\"create\":{\"_index\":\"A\"}}\n{\"m\":1}\n{\"create\":{}}\n{\"m\":2}\n".to_vec();
    let (_, text) = fixture.ask("POST", "/es/b/_bulk", &[], bad.clone()).await;
    assert!(text.contains("\"errors\":true,\"items\":["), "{text}");
    let path = "/es/b/_bulk?filter_path=errors,items.*.error,items.*.status";
    let (_, text) = fixture.ask("POST", path, &[], bad).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["items"][1], json!({ "create": { "status": 201 } }));
    assert_eq!(answer["items"][0]["create"]["error"]["type"], "invalid_index_name_exception");
    assert!(answer.get("took").is_none());
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_kept_as_text() {
    let fixture = fixture();
    let body = "{\"index\":{\"_index\":\"a\"}}\n{broken\n{\"index\":{\"_index\":\"a\"}}\n{\"msg\":\"fine\"}\n";
    let (_, answer) = bulk(&fixture, body).await;
    assert_eq!(statuses(&answer), [201, 201]);
    assert_eq!(messages(&fixture), ["{broken", "fine"]);
    assert!(field(&fixture.records()[0], POISON_FIELD).is_some());
}

#[tokio::test]
async fn what_was_sent_before_is_stored_once() {
    let fixture = fixture();
    let create = |text: &str| {
        format!("{{\"create\":{{\"_index\":\"a\",\"_id\":\"1\"}}}}\n{{\"msg\":\"{text}\"}}\n")
    };
    let index = |text: &str| {
        format!("{{\"index\":{{\"_index\":\"a\",\"_id\":1}}}}\n{{\"msg\":\"{text}\"}}\n")
    };
    for (body, expected) in [
        (create("x"), [201]),
        (create("x"), [409]),
        (create("y"), [409]),
        (index("x"), [200]),
        (index("z"), [201]),
        (index("z"), [200]),
    ] {
        let (_, answer) = bulk(&fixture, &body).await;
        assert_eq!(statuses(&answer), expected, "{body}");
    }
    assert_eq!(messages(&fixture), ["x", "z"]);
}

#[tokio::test]
async fn an_id_twice_in_one_bulk_is_stored_once() {
    let fixture = fixture();
    let action = |operation: &str, text: &str| {
        format!("{{\"{operation}\":{{\"_index\":\"a\",\"_id\":\"1\"}}}}\n{{\"msg\":\"{text}\"}}\n")
    };
    let body = [
        action("create", "x"),
        action("create", "x"),
        action("index", "x"),
        action("index", "y"),
        action("create", "z"),
    ];
    let (_, answer) = bulk(&fixture, &body.concat()).await;
    assert_eq!(statuses(&answer), [201, 409, 200, 201, 409]);
    assert_eq!(messages(&fixture), ["x", "y"]);
}

/// A bulk of documents with ids.
fn named(numbers: std::ops::Range<usize>) -> String {
    let line =
        |n| format!("{{\"index\":{{\"_index\":\"a\",\"_id\":\"{n}\"}}}}\n{{\"msg\":\"m{n}\"}}\n");
    numbers.map(line).collect()
}

#[tokio::test]
async fn a_bulk_of_documents_with_ids_is_recognised_at_another_node() {
    let one = fixture();
    let body = named(0..LARGE);
    let (_, answer) = bulk(&one, &body).await;
    assert_eq!(statuses(&answer), [201; LARGE]);
    // Its answer was lost, and that of the next node as well, and then the node's files.
    for node in [one.other_node(), one.other_node()] {
        let (status, answer) = bulk(&node, &body).await;
        assert_eq!((status, &answer["errors"]), (StatusCode::OK, &json!(false)), "{answer}");
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(LARGE));
    }
    assert_eq!(messages(&one).len(), LARGE);
    // Others are others: nothing of them is passed over, at the price that some are twice.
    let more = named(0..LARGE + 1);
    bulk(&one.other_node(), &more).await;
    assert_eq!(messages(&one).len(), 2 * LARGE + 1);
    let changed = body.replace("m7\"", "another\"");
    bulk(&one.other_node(), &changed).await;
    assert_eq!(messages(&one).iter().filter(|text| *text == "another").count(), 1);
}

#[tokio::test]
async fn what_is_created_is_recognised_at_another_node_however_few_come_together() {
    let one = fixture();
    let action = |operation: &str, id: u32, text: &str| {
        format!(
            "{{\"{operation}\":{{\"_index\":\"a\",\"_id\":\"{id}\"}}}}\n{{\"msg\":\"{text}\"}}\n"
        )
    };
    let few = action("create", 1, "x") + &action("create", 2, "y");
    for node in [&one, &one.other_node(), &one.other_node()] {
        let (_, answer) = bulk(node, &few).await;
        assert_eq!(statuses(&answer), [201, 201]);
        let (status, _) = node.post("/es/a/_create/3", &[], b"{\"msg\":\"z\"}".to_vec()).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    assert_eq!(messages(&one), ["x", "y", "z"]);
    // What is indexed may come back behind another content, which no other node knows of.
    for text in ["up", "down", "up"] {
        bulk(&one.other_node(), &action("index", 7, text)).await;
    }
    assert_eq!(messages(&one)[3..], ["up", "down", "up"]);
    // With what is indexed, nor what is created.
    let mixed = action("create", 8, "m") + &action("index", 9, "n");
    for _ in 0..2 {
        bulk(&one.other_node(), &mixed).await;
    }
    assert_eq!(messages(&one).len(), 10);
    // And where no more places are left.
    let full = one.other_node();
    let parts = &full.doors.state.0;
    assert!(parts.names.take(PLACES_MAX, parts.clock.elapsed()));
    bulk(&full, &few).await;
    assert_eq!(messages(&one)[10..], ["x", "y"]);
}

#[tokio::test]
async fn what_is_sent_again_while_it_is_stored_is_stored_once() {
    let one = fixture();
    let other = one.other_node();
    let body = named(0..8 * LARGE);
    // Three times at each of two nodes, all at once: who waited for an answer no longer.
    let sent = (0..6).map(|turn| bulk(if turn % 2 == 0 { &one } else { &other }, &body));
    for (status, answer) in futures::future::join_all(sent).await {
        assert_eq!((status, &answer["errors"]), (StatusCode::OK, &json!(false)), "{answer}");
    }
    assert_eq!(messages(&one).len(), 8 * LARGE);
}

#[tokio::test]
async fn what_is_indexed_with_its_time_is_recognised_at_another_node_however_few_come_together() {
    let one = fixture();
    let document = |id: u32, time: &str, text: &str| {
        let action = format!("{{\"index\":{{\"_index\":\"a\",\"_id\":\"{id}\"}}}}");
        format!("{action}\n{{\"ts\":{time},\"msg\":\"{text}\"}}\n")
    };
    let (fine, whole) = ("\"2026-01-01T00:00:00.123Z\"", "\"2026-01-01T00:00:00Z\"");
    for body in [
        document(1, fine, "a"),
        document(2, "\"2026-01-01T00:00:00.5\"", "b"),
        document(3, "1767225600001", "c"),
        // One of them that is finer is enough: they come together.
        document(4, whole, "d") + &document(5, fine, "e"),
    ] {
        for node in [&one, &one.other_node(), &one.other_node()] {
            let (_, answer) = bulk(node, &body).await;
            assert!(statuses(&answer).iter().all(|status| *status == 201), "{answer}");
        }
    }
    assert_eq!(messages(&one), ["a", "b", "c", "d", "e"]);
    // Who says the same of the same moment again changes nothing, whatever was said between.
    let (later, up) = ("\"2026-01-01T00:00:01.5Z\"", document(7, fine, "up"));
    for body in [&up, &document(7, later, "down"), &up] {
        bulk(&one.other_node(), body).await;
    }
    assert_eq!(messages(&one)[5..], ["up", "down"]);
    // Within a second much may be said, and without a time anything.
    for body in [document(8, whole, "x"), document(9, fine, "y") + &document(10, "null", "z")] {
        let before = messages(&one).len();
        bulk(&one.other_node(), &body).await;
        let stored = messages(&one).len() - before;
        bulk(&one.other_node(), &body).await;
        assert_eq!(messages(&one).len(), before + 2 * stored, "{body}");
    }
}

#[tokio::test]
async fn what_an_id_stood_for_before_is_stored_again() {
    let one = fixture();
    let first = named(0..LARGE);
    let second = first.replace("{\"msg\":\"", "{\"msg\":\"other ");
    for (nth, body) in [&first, &second, &first].into_iter().enumerate() {
        let (_, answer) = bulk(&one, body).await;
        assert_eq!(statuses(&answer), [201; LARGE]);
        assert_eq!(messages(&one).len(), (nth + 1) * LARGE);
    }
}

#[test]
fn ids_of_a_request_that_broke_down_are_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let (ids, parcel) = (Ids::default(), Parcel::new(model::time::Timestamp(1), None));
    let mut reader = Reader::new(parcel, ids.clone(), catalog);
    let document = Some(b"{\"msg\":\"x\"}".as_slice());
    reader.document(Operation::Index, "a", Some("1"), document).unwrap();
    assert!(matches!(ids.claim("a", "1", b"x"), Claim::Busy { .. }));
    drop(reader);
    assert!(matches!(ids.claim("a", "1", b"x"), Claim::Take(_)));
}

#[tokio::test]
async fn documents_without_ids_are_stored_each_time() {
    let one = fixture();
    let without = "{\"index\":{\"_index\":\"a\"}}\n{\"msg\":\"x\"}\n";
    for body in [without.repeat(LARGE), named(0..LARGE) + without] {
        let before = messages(&one).len();
        bulk(&one, &body).await;
        let stored = messages(&one).len() - before;
        bulk(&one.other_node(), &body).await;
        assert_eq!(messages(&one).len(), before + 2 * stored);
    }
}

#[tokio::test]
async fn a_bulk_of_which_some_is_known_is_not_taken_for_the_whole() {
    let one = fixture();
    let whole = named(0..LARGE + 3);
    bulk(&one, &named(0..3)).await;
    let (_, answer) = bulk(&one, &whole).await;
    assert_eq!(statuses(&answer)[..4], [200, 200, 200, 201]);
    assert_eq!(messages(&one).len(), LARGE + 3);
    // As one batch these were never stored: rather twice than not at all.
    bulk(&one.other_node(), &whole).await;
    assert_eq!(messages(&one).len(), 2 * (LARGE + 3));
    // And these were.
    bulk(&one.other_node(), &named(3..LARGE + 3)).await;
    assert_eq!(messages(&one).len(), 2 * (LARGE + 3));
}

#[tokio::test]
async fn what_is_written_to_an_alias_goes_to_its_index() {
    let fixture = fixture();
    let given = json!({ "aliases": { "all": { "is_write_index": true } } }).to_string();
    let (status, answer) = fixture.ask("PUT", "/es/all-1", &[], given.clone().into_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let body = "{\"index\":{\"_index\":\"all\"}}\n{\"msg\":\"x\"}\n";
    let (_, answer) = bulk(&fixture, body).await;
    assert_eq!(answer["items"][0]["index"]["_index"], "all-1", "{answer}");
    // Two that are written at once would be no answer to where it goes.
    let (status, answer) = fixture.ask("PUT", "/es/all-2", &[], given.into_bytes()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer.contains("more than one write index"), "{answer}");
    for index in ["many-1", "many-2"] {
        let given = json!({ "aliases": { "many": {} } }).to_string().into_bytes();
        let (status, _) = fixture.ask("PUT", &format!("/es/{index}"), &[], given).await;
        assert_eq!(status, StatusCode::OK);
    }
    let (_, answer) = bulk(&fixture, &body.replace("\"all\"", "\"many\"")).await;
    assert_eq!(statuses(&answer), [400]);
    let reason = answer["items"][0]["index"]["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("no write index"), "{reason}");
    let bad = [json!({ "A!": {} }), json!({ "few": { "filter": {} } }), json!({ "all-1": {} })];
    for bad in bad {
        let given = json!({ "aliases": bad }).to_string().into_bytes();
        let (status, answer) = fixture.ask("PUT", "/es/other", &[], given).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    assert_eq!(messages(&fixture), ["x"]);
}

#[tokio::test]
async fn a_document_that_is_empty_is_refused() {
    let fixture = fixture();
    for body in ["", " \n"] {
        let (status, answer) = fixture.post("/es/a/_doc", &[], body.as_bytes().to_vec()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    assert!(fixture.records().is_empty());
}

#[tokio::test]
async fn a_bulk_that_is_none_is_refused_whole() {
    let fixture = fixture();
    let good = "{\"index\":{\"_index\":\"a\",\"_id\":\"7\"}}\n{\"msg\":\"fine\"}\n";
    for bad in ["nonsense\n", "{}\n", "[1]\n", "{\"index\":3}\n"] {
        let (status, answer) = bulk(&fixture, &format!("{good}{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(answer["error"]["type"], "illegal_argument_exception", "{answer}");
        assert_eq!(answer["status"], 400);
    }
    assert!(fixture.records().is_empty());
    // Its ids are free again.
    let (_, answer) = bulk(&fixture, good).await;
    assert_eq!(statuses(&answer), [201]);
}

#[tokio::test]
async fn every_answer_names_the_product() {
    let fixture = fixture();
    for (method, path, expected) in [
        ("GET", "/es", 200),
        ("GET", "/es/", 200),
        ("HEAD", "/es/", 200),
        ("GET", "/es/_license", 200),
        ("GET", "/es/_nodes/http", 200),
        ("GET", "/es/_cat/health", 200),
        ("GET", "/es/_cluster/health/logs-*", 200),
        ("GET", "/es/_xpack", 200),
        ("GET", "/es/_ilm/policy", 200),
        ("HEAD", "/es/_index_template/template_logs", 404),
        ("DELETE", "/es/_bulk", 405),
        ("GET", "/es/a/b/c/d", 404),
    ] {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = fixture.response(request).await;
        assert_eq!(response.status().as_u16(), expected, "{method} {path}");
        assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch", "{method} {path}");
    }
}

#[tokio::test]
async fn the_table_of_health_has_its_head_its_columns_and_its_format() {
    let fixture = fixture();
    let ask = async |path: &str, accept: &str| {
        let request = axum::http::Request::builder().uri(path).header("accept", accept);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let body = fixture.response(request).await.into_body();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    // What elasticsearch-py accepts: text before JSON.
    let text = "text/plain,application/json";
    let plain = ask("/es/_cat/health?v=true&h=status,node.total,none", text).await;
    assert_eq!(plain, "status node.total\ngreen 1\n");
    let short = ask("/es/_cat/health?v&h=st,%20nt", text).await;
    assert_eq!(short, "st nt\ngreen 1\n");
    let head = ask("/es/_cat/health?v", "*/*").await;
    assert!(head.starts_with("epoch timestamp cluster status "), "{head}");
    for (path, accept) in [
        ("/es/_cat/health?h=status,pri&format=json", text),
        ("/es/_cat/health?h=status,pri", "application/json"),
    ] {
        let answer: Value = serde_json::from_str(&ask(path, accept).await).unwrap();
        assert_eq!(answer, json!([{"pri": "1", "status": "green"}]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is sent: an answer, never a server error; an item for each record that is kept,
    /// and what was stored before stays.
    #[test]
    fn any_bytes_are_answered(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                Just(b"{\"index\":{\"_index\":\"a\"}}\n".to_vec()),
                Just(b"{\"create\":{\"_id\":\"1\"}}\n".to_vec()),
                Just(b"{\"delete\":{\"_id\":\"1\"}}\n".to_vec()),
                Just(b"{\"msg\":\"x\"}\n".to_vec()),
                Just(b"\n".to_vec()),
            ],
            0..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let before = b"{\"index\":{\"_index\":\"a\"}}\n{\"msg\":\"before\"}\n".to_vec();
            fixture.post("/es/_bulk", &[], before).await;
            let (status, answer) = fixture.post("/es/a/_bulk", &[], parts.concat()).await;
            let records = fixture.records();
            assert_eq!(records[0].message, "before");
            if status == StatusCode::OK {
                let stored = statuses(&answer).iter().filter(|status| **status == 201).count();
                assert_eq!(records.len(), 1 + stored);
            } else {
                assert_eq!((status, records.len()), (StatusCode::BAD_REQUEST, 1), "{answer}");
            }
            let after = b"{\"index\":{\"_index\":\"a\"}}\n{\"msg\":\"after\"}\n".to_vec();
            let (status, _) = fixture.post("/es/_bulk", &[], after).await;
            assert_eq!((status, fixture.records().len()), (StatusCode::OK, records.len() + 1));
        });
    }
}
