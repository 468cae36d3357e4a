//! The NDJSON door: taken whole or not at all, repeats recognised, packing unpacked. Repeats at the doors of
//! others.

use serde_json::json;
use tests::process::{FRESH, Node, TINY};

const LINES: &[u8] = b"{\"msg\":\"one\",\"n\":1}\n\n{\"msg\":\"two\",\"n\":2}\n";

fn start() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), TINY, &[]);
    (folder, node)
}

#[test]
fn a_repeat_with_the_same_key_is_no_second_record() {
    let (_folder, node) = start();
    let send = || {
        let headers = [("idempotency-key", "a text of mine")];
        node.client.send("POST", "/api/v1/ingest", &headers, LINES.to_vec()).unwrap().json()
    };
    assert_eq!(send()["accepted"], json!(2));
    assert_eq!(send()["duplicate"], json!(true));
    node.client.expect_records(2);
}

#[test]
fn a_key_is_remembered_through_a_crash() {
    let (folder, mut node) = start();
    let headers = [("idempotency-key", "k")];
    let send = |node: &Node| {
        node.client.send("POST", "/api/v1/ingest", &headers, LINES.to_vec()).unwrap().json()
    };
    assert_eq!(send(&node)["accepted"], json!(2));
    node.process.kill();
    let node = Node::start("node", folder.path(), TINY, &[]);
    assert_eq!(send(&node)["duplicate"], json!(true));
    node.client.expect_records(2);
}

#[test]
fn what_came_through_a_channel_or_was_created_is_remembered_without_the_nodes_files() {
    const EVENTS: &str =
        r#"{"event":"a","time":1795000000.5}{"event":"b","time":1795000000.75,"host":"h"}"#;
    let (folder, mut node) = start();
    let send = |node: &Node| {
        let channel = [("x-splunk-request-channel", "c")];
        let path = "/services/collector";
        let answer = node.client.send("POST", path, &channel, EVENTS.into()).unwrap();
        assert!(answer.status == 200 && answer.json()["ackId"].is_u64(), "{}", answer.body);
        let json = [("content-type", "application/json")];
        let path = "/es/main/_create/7";
        let answer =
            node.client.send("POST", path, &json, br#"{"msg":"created"}"#.to_vec()).unwrap();
        answer.status
    };
    assert_eq!(send(&node), 201);
    // The node remembers the id.
    assert_eq!(send(&node), 409);
    node.client.expect_records(3);
    node.process.kill();
    // Without its ids, as another node is: the queue knows both.
    let ids = folder.path().join("data").join("doors").join("ids");
    assert!(ids.is_dir(), "the ids are elsewhere");
    std::fs::remove_dir_all(ids).unwrap();
    let node = Node::start("node", folder.path(), TINY, &[]);
    assert_eq!(send(&node), 201);
    node.client.expect_records(3);
}

#[test]
fn packed_bodies_are_unpacked() {
    let (_folder, node) = start();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, LINES).unwrap();
    let bodies =
        [("gzip", encoder.finish().unwrap()), ("zstd", zstd::encode_all(LINES, 1).unwrap())];
    for (encoding, body) in bodies {
        let headers = [("content-encoding", encoding)];
        let answer = node.client.send("POST", "/api/v1/ingest", &headers, body).unwrap();
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.body);
    }
    node.client.expect_records(4);
}

#[test]
fn index_and_labels_come_from_the_address() {
    let (_folder, node) = start();
    node.client.ingest("/api/v1/ingest?index=other&service=api&host=web1", LINES);
    node.client.ingest("/api/v1/ingest", LINES);
    node.client.expect_records(4);
    for (query, expected) in [
        ("service:api", 2),
        ("host:web1 n:2", 1),
        ("index:other", 2),
        ("index:main", 2),
        ("NOT service:*", 2),
        ("n>1", 2),
    ] {
        assert_eq!(node.client.count_of(query), expected, "{query}");
    }
    let rows = node.client.rows(&json!({ "query": "one", "indexes": ["other"] }));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["labels"], json!({ "host": "web1", "service": "api" }));
    assert_eq!(rows[0]["fields"], json!({ "n": 1 }));
}

#[test]
fn a_field_that_changes_its_type_keeps_both() {
    let (_folder, node) = start();
    node.client.ingest(
        "/api/v1/ingest",
        b"{\"v\":7,\"msg\":\"a\"}\n{\"v\":\"seven\",\"msg\":\"b\"}\n{\"v\":8.25,\"msg\":\"c\"}\n",
    );
    node.client.expect_records(3);
    for (query, expected) in [("v:7", 1), ("v:seven", 1), ("v>=7", 2), ("v:*", 3), ("v:8.25", 1)] {
        assert_eq!(node.client.count_of(query), expected, "{query}");
    }
}

#[test]
fn who_was_told_that_a_record_is_stored_finds_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    for n in 0..200 {
        node.client.ingest("/api/v1/ingest", format!("{{\"msg\":\"mark{n}\"}}\n").as_bytes());
        let rows = node.client.rows(&json!({ "query": format!("mark{n}") }));
        assert_eq!(rows.len(), 1, "mark{n}");
    }
}
