//! Lines and requests that are not as they should be: kept and marked, or refused in words.

use serde_json::json;
use tests::process::{FRESH, Node, TINY};

const NEIGHBOUR: &[u8] = b"2026-01-02T03:04:05Z INFO a good neighbour\n";

fn ship(bytes: &[u8], settings: &str) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.log"), [NEIGHBOUR, bytes, NEIGHBOUR].concat()).unwrap();
    std::fs::write(folder.path().join("empty.log"), b"").unwrap();
    let glob = folder.path().join("*.log");
    let node = Node::start("run", folder.path(), settings, &["--ship", glob.to_str().unwrap()]);
    (folder, node)
}

/// Ships bytes between two good lines; so many records must come of them, answering these queries.
#[track_caller]
fn check(bytes: &[u8], records: u64, answers: &[(&str, u64)]) {
    let (_folder, node) = ship(bytes, TINY);
    node.client.expect_records(records + 2);
    assert_eq!(node.client.count_of("\"a good neighbour\" level:info"), 2);
    for (query, expected) in answers {
        assert_eq!(node.client.count_of(query), *expected, "{query}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_escaped_and_marked() {
    check(
        b"caf\xe9 \xff\xfe broken\n",
        1,
        &[("_kept:escaped", 1), ("\"\\\\xff\\\\xfe\"", 1), ("broken", 1)],
    );
}

#[test]
fn zero_bytes_are_kept() {
    check(b"before\0after zero\n", 1, &[("zero", 1), ("before", 1), ("after", 1)]);
}

#[test]
fn a_line_of_a_megabyte_is_kept_whole() {
    let line = ["needle1 ", &"x".repeat(1 << 20), " needle2\n"].concat();
    let (_folder, node) = ship(line.as_bytes(), TINY);
    node.client.expect_records(3);
    let rows = node.client.rows(&json!({ "query": "needle1 needle2" }));
    assert_eq!(rows[0]["message"].as_str().unwrap(), line.trim_end());
    assert_eq!(rows[0]["fields"], json!({}));
}

#[test]
fn a_line_over_the_bound_is_cut_and_says_so() {
    let bytes = model::limits::MESSAGE_BYTES_MAX + (1 << 20);
    let line = ["needle1 ", &"x".repeat(bytes), " needle2\n"].concat();
    check(
        line.as_bytes(),
        1,
        &[
            ("needle1", 1),
            ("needle2", 0),
            ("_kept:cut", 1),
            (&format!("_bytes:{}", line.len() - 1), 1),
        ],
    );
}

#[test]
fn broken_json_is_text() {
    check(
        b"{\"user\": \"bob\", broken}\n{\"open\": \n",
        2,
        &[("broken", 1), ("bob", 1), ("user:*", 0), ("open", 1)],
    );
}

#[test]
fn json_nested_too_deep_is_kept_with_the_reason() {
    let deep = format!("{}1{}\n", "{\"a\":".repeat(40), "}".repeat(40));
    check(deep.as_bytes(), 1, &[("_poison:*", 1), ("_poison:deeper", 1)]);
}

#[test]
fn empty_lines_are_nothing() {
    check(b"\n\r\n\n", 0, &[]);
}

fn node() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    (folder, node)
}

#[test]
fn lines_that_are_no_json_are_taken_as_poison_beside_good_ones() {
    let (_folder, node) = node();
    let deep = format!("{}1{}\n", "{\"a\":".repeat(40), "}".repeat(40));
    let lines =
        [b"{\"msg\":\"good\"}\n{broken\n[1]\n\xff\xfe\n", deep.as_bytes(), b"{\"msg\":\"good\"}"]
            .concat();
    let answer = node.client.ingest("/api/v1/ingest", &lines);
    assert_eq!((&answer["accepted"], &answer["poisoned"]), (&json!(6), &json!(4)));
    node.client.expect_records(6);
    for (query, expected) in
        [("good", 2), ("_poison:*", 4), ("broken", 1), ("good NOT _poison:*", 2)]
    {
        assert_eq!(node.client.count_of(query), expected, "{query}");
    }
}

#[test]
fn a_request_that_unpacks_to_too_much_is_refused_whole() {
    let (_folder, node) = node();
    let zeros = vec![b' '; model::limits::REQUEST_BYTES_MAX + 1];
    let body = zstd::encode_all(zeros.as_slice(), 1).unwrap();
    let headers = [("content-encoding", "zstd")];
    let answer = node.client.send("POST", "/api/v1/ingest", &headers, body).unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("too_large")));
    assert_eq!(node.client.count_of(""), 0);
}

#[test]
fn what_is_no_batch_is_refused() {
    let (_folder, node) = node();
    for body in [&b""[..], b"nonsense", &[0; 100], &[0xFF; 5000]] {
        let answer = node.client.send("POST", "/api/v1/batches", &[], body.to_vec()).unwrap();
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(node.client.count_of(""), 0);
}

#[test]
fn a_query_that_is_wrong_is_told_where() {
    let (_folder, node) = node();
    for (query, start) in [
        ("a AND", 5),
        ("(a", 2),
        ("user:", 5),
        ("\"open", 0),
        ("a | nosuch", 4),
        ("ü )", 2),
        ("ü status:[5 TO 1]", 9),
        ("| where length(message)", 8),
        ("a | eval level = 1", 9),
        ("| where host in (a | fields host, user)", 17),
    ] {
        let answer = node.client.post("/api/v1/query", &json!({ "query": query }));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], json!("invalid_query"), "{query}");
        assert_eq!(error["position"]["start"], json!(start), "{query}: {error}");
    }
}

#[test]
fn a_request_that_is_wrong_says_what() {
    let (_folder, node) = node();
    for body in
        [json!({ "query": "a", "from": "yesterday-ish" }), json!({ "qury": "a" }), json!([1])]
    {
        let answer = node.client.post("/api/v1/query", &body);
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
    }
}
