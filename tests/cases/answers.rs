//! What is answered beside records: patterns, counts over time, fields, live records; and splits
//! looked at from outside.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::process::{FRESH, Node, TINY, refuses, run};
use tests::wait::eventually;

/// Five hundred records of two texts, ten seconds apart, and one that is like no other.
fn lines() -> String {
    let time = |n: usize| format!("2026-01-01T{:02}:{:02}:{:02}Z", n / 360, n / 6 % 60, n % 6 * 10);
    let line = |n: usize| {
        let (level, text) = match n % 5 {
            0 => ("error", format!("disk {n} is full on web{}", n % 3)),
            _ => ("info", format!("GET /item/{n} took {}ms", n % 90)),
        };
        json!({ "timestamp": time(n), "level": level, "message": text, "n": n }).to_string() + "\n"
    };
    let alone = json!({ "timestamp": time(500), "message": "once upon a time" }).to_string();
    (0..500).map(line).collect::<String>() + &alone + "\n"
}

fn filled(settings: &str) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), settings, &[]);
    node.client.ingest("/api/v1/ingest", lines().as_bytes());
    (folder, node)
}

/// Waits until everything is in one split.
fn one_split(node: &Node) {
    eventually("one split", || {
        let status = node.client.get("/api/v1/status");
        let index = &status["indexes"][0];
        let partitions = status["partitions"].as_array().unwrap();
        let fresh = partitions.iter().any(|partition| partition["fresh_records"] != 0);
        (!fresh && index["splits"] == 1 && index["records"] == 501).then_some(())
    });
}

#[track_caller]
fn check_answers(node: &Node) {
    let rows = node.client.rows(&json!({ "query": "* | patterns" }));
    let expected = [
        json!({ "_pattern": "GET /item/<*> took <*>", "count": 400,
            "first_seen": "2026-01-01T00:00:10.000000000Z", "last_seen": "2026-01-01T01:23:10.000000000Z",
            "example": "GET /item/1 took 1ms" }),
        json!({ "_pattern": "disk <*> is full on <*>", "count": 100,
            "first_seen": "2026-01-01T00:00:00.000000000Z", "last_seen": "2026-01-01T01:22:30.000000000Z",
            "example": "disk 0 is full on web0" }),
        json!({ "_pattern": "once upon a time", "count": 1,
            "first_seen": "2026-01-01T01:23:20.000000000Z", "last_seen": "2026-01-01T01:23:20.000000000Z",
            "example": "once upon a time" }),
    ];
    assert_eq!(rows, expected);
    let question = json!({ "query": "*", "buckets": 10, "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T01:40:00Z" });
    let histogram = node.client.post("/api/v1/histogram", &question).json();
    let buckets = histogram["buckets"].as_array().unwrap();
    let sum = |level: &str| -> u64 {
        buckets.iter().map(|bucket| bucket["levels"][level].as_u64().unwrap_or(0)).sum()
    };
    assert_eq!((sum("error"), sum("info"), sum("unknown")), (100, 400, 1), "{histogram}");
    assert_eq!(buckets[0]["levels"], json!({ "error": 12, "info": 48 }), "{histogram}");
    let fields = node.client.post("/api/v1/fields", &json!({ "query": "full" })).json();
    let field = fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == "n");
    assert_eq!(field.unwrap()["count"], json!(100), "{fields}");
}

#[test]
fn patterns_histograms_and_fields_are_the_same_fresh_and_in_a_split() {
    let (_folder, node) = filled(FRESH);
    check_answers(&node);
    let (_folder, node) = filled(TINY);
    one_split(&node);
    check_answers(&node);
}

/// The splits of a node, by their folders.
fn splits(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder.path().join("data/objects/splits")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_index_is_packed_for_size_when_that_is_asked_for() {
    let (folder, node) = filled(TINY);
    one_split(&node);
    let hot = splits(&folder);
    let compact = || {
        let output = run("sawlog", &["compact", "main", "--wait", "--server", node.url()]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.contains("done: 1 splits"), "{words}");
    };
    compact();
    // The objects of the one before go when no question reads them any more.
    let cold = eventually("another split", || {
        let found = splits(&folder);
        (found.len() == 1 && !hot.contains(&found[0])).then_some(found)
    });
    let path = cold[0].to_str().unwrap();
    let dump = String::from_utf8(run("sawlog", &["split", "dump", path]).stdout).unwrap();
    assert!(dump.lines().next().unwrap().ends_with(", cold"), "{dump}");
    check_answers(&node);
    compact();
    assert_eq!(splits(&folder), cold, "it is not done twice");
    refuses("sawlog", &["compact", "none", "--server", node.url()], &["no index"]);
}

#[test]
fn a_split_is_looked_at_without_a_node() {
    let (folder, mut node) = filled(TINY);
    one_split(&node);
    assert!(node.process.stop());
    let folders = splits(&folder);
    let path = folders[0].to_str().unwrap();
    let dump = String::from_utf8(run("sawlog", &["split", "dump", path]).stdout).unwrap();
    for part in
        ["501 rows", "message", "tokens", "400  GET /item/<*> took <*>", "1 rows without one"]
    {
        assert!(dump.contains(part), "{part:?} in:\n{dump}");
    }
    let whole = String::from_utf8(run("sawlog", &["split", "check", path]).stdout).unwrap();
    assert_eq!(whole, format!("{path}: whole\n"));
    // What stands behind the end of the body hides it from others.
    let (body, bundle) = (folders[0].join("body.parquet"), folders[0].join("index.bundle"));
    let bytes = std::fs::read(&body).unwrap();
    std::fs::write(&body, [bytes.as_slice(), b"more"].concat()).unwrap();
    is_damaged(path, "body.parquet is unreadable: it has ");
    std::fs::write(&body, bytes).unwrap();
    flipped(&body, 10, || is_damaged(path, "body.parquet is damaged within 65536 bytes from 0"));
    let words = "index.bundle is unreadable: the checksum of its section ";
    flipped(&bundle, 100, || is_damaged(path, words));
    let behind = std::fs::read(&bundle).unwrap().len();
    flipped(&bundle, behind - 30, || {
        let words = "index.bundle is unreadable: the footer's checksum differs";
        is_damaged(path, words);
        refuses("sawlog", &["split", "dump", path], &[words]);
    });
    let whole = String::from_utf8(run("sawlog", &["split", "check", path]).stdout).unwrap();
    assert_eq!(whole, format!("{path}: whole\n"));
    refuses("sawlog", &["split", "dump", "/"], &["no folder of a split"]);
}

/// `sawlog split check` names the file and the part that is damaged.
#[track_caller]
fn is_damaged(path: &str, says: &str) {
    let args = ["split", "check", path];
    let words = String::from_utf8(run("sawlog", &args).stdout).unwrap();
    assert!(words.contains(says), "{says:?} in: {words}");
    refuses("sawlog", &args, &["1 of 1 are not whole splits"]);
}

/// Looks while a bit of a file is another.
fn flipped(file: &Path, at: usize, look: impl FnOnce()) {
    let whole = std::fs::read(file).unwrap();
    let mut bytes = whole.clone();
    bytes[at] ^= 4;
    std::fs::write(file, bytes).unwrap();
    look();
    std::fs::write(file, whole).unwrap();
}

#[test]
fn live_records_come_as_they_are_accepted_and_only_those_that_match() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    node.client.ingest("/api/v1/ingest", b"{\"msg\":\"before wanted\"}\n");
    let address = node.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = format!("GET /api/v1/tail?query=wanted HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    assert!(lines.next().unwrap().contains("200"), "the tail is taken");
    // The head has come, so whatever is accepted from here on is followed.
    lines.find(String::is_empty).expect("a head ends");
    for n in 0..3 {
        let two = format!("{{\"msg\":\"wanted {n}\"}}\n{{\"msg\":\"other {n}\"}}\n");
        node.client.ingest("/api/v1/ingest", two.as_bytes());
    }
    let records = lines.filter_map(|line| {
        let record: Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
        Some(record["message"].as_str()?.to_owned())
    });
    assert_eq!(records.take(3).collect::<Vec<_>>(), ["wanted 0", "wanted 1", "wanted 2"]);
}
