//! Files of the node that were cut short or changed: told, nothing else lost.

use std::path::{Path, PathBuf};

use serde_json::json;
use tests::process::{FRESH, Node, TINY, free_address, refuses};
use tests::wait::eventually;

/// All files below a folder whose names end so.
fn find(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A stopped node's folder with five acknowledged requests of one record each in its queue.
fn queue() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start("node", folder.path(), FRESH, &[]);
    for n in 0..5 {
        let line = format!("{{\"msg\":\"record number n{n} {}\"}}\n", "and more ".repeat(30));
        node.client.ingest("/api/v1/ingest", line.as_bytes());
    }
    node.client.expect_records(5);
    node.process.kill();
    let segment = find(folder.path(), ".seg").pop().expect("a segment file");
    (folder, segment)
}

#[test]
fn a_torn_last_frame_is_cut_and_the_others_are_found() {
    let (folder, segment) = queue();
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 5]).unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    node.client.expect_records(4);
    assert_eq!(node.client.count_of("n4"), 0);
    node.client.ingest("/api/v1/ingest", b"{\"msg\":\"after the crash\"}\n");
    node.client.expect_records(5);
}

#[test]
fn a_flipped_bit_in_the_queue_is_named_and_nothing_is_changed() {
    let (folder, segment) = queue();
    let good = std::fs::read(&segment).unwrap();
    let mut bad = good.clone();
    let middle = bad.windows(2).position(|w| w == b"n2").unwrap_or(bad.len() / 2);
    bad[middle] ^= 0x10;
    std::fs::write(&segment, &bad).unwrap();
    let (data, address) = (folder.path().join("data"), free_address());
    let args = ["node", "--data-dir", data.to_str().unwrap(), "--listen", &address];
    let name = segment.file_name().unwrap().to_str().unwrap();
    refuses("sawlog", &args, &[name, "damaged at byte", "Put back a copy"]);
    assert_eq!(std::fs::read(&segment).unwrap(), bad, "the damaged file is untouched");
    std::fs::write(&segment, &good).unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    node.client.expect_records(5);
}

/// A stopped node's folder with one split for each of two indexes.
fn splits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start("node", folder.path(), TINY, &[]);
    for index in ["left", "right"] {
        let lines: String =
            (0..500).map(|n| format!("{{\"msg\":\"{index} number {n}\",\"n\":{n}}}\n")).collect();
        node.client.ingest(&format!("/api/v1/ingest?index={index}"), lines.as_bytes());
    }
    eventually("both indexes in splits", || {
        let status = node.client.get("/api/v1/status");
        let all = |list: &str, test: fn(&serde_json::Value) -> bool| {
            status[list].as_array().unwrap().iter().all(test)
        };
        let done =
            all("partitions", |p| p["fresh_records"] == 0) && all("indexes", |i| i["splits"] == 1);
        (done && status["indexes"].as_array().unwrap().len() == 2).then_some(())
    });
    assert!(node.process.stop());
    folder
}

/// Damages one split's file; what can still be read is answered, what cannot is declared.
#[track_caller]
fn check_split(file: &str, damage: fn(&mut Vec<u8>)) {
    let folder = splits();
    let path = find(folder.path(), file).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    damage(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let split = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let node = Node::start("node", folder.path(), TINY, &[]);
    let ask = |index: &str| {
        // The words and counts are the bundle's to answer, the messages are the body's.
        let body = json!({ "query": "number | stats count() as n, min(message) as first", "indexes": [index] });
        let answer = node.client.post("/api/v1/query", &body);
        let whole = answer.status == 200 && answer.body.contains("\"partial\":[]");
        (whole && answer.body.contains("\"n\":500"), answer.body)
    };
    let answers = [ask("left"), ask("right")];
    let good = answers.iter().filter(|(good, _)| *good).count();
    assert_eq!(good, 1, "one index is whole: {answers:?}");
    let (_, bad) = answers.iter().find(|(good, _)| !good).unwrap();
    assert!(bad.contains(split), "the split {split} is named: {bad}");
    // The node is well and takes more.
    node.client.ingest("/api/v1/ingest?index=third", b"{\"msg\":\"fresh\"}\n");
    let rows = node.client.rows(&json!({ "query": "fresh", "indexes": ["third"] }));
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_body_cut_short_is_declared() {
    check_split("body.parquet", |bytes| bytes.truncate(bytes.len() / 2));
}

#[test]
fn a_body_with_changed_bytes_is_declared() {
    check_split("body.parquet", |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
}

#[test]
fn a_word_index_cut_short_is_declared() {
    check_split("index.bundle", |bytes| bytes.truncate(bytes.len() / 2));
}

#[test]
fn a_word_index_with_changed_bytes_is_declared() {
    check_split("index.bundle", |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
}
