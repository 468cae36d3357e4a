//! The whole walk through real processes: every file, every question, every count as the oracle has it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use platform::clock::Clock;
use serde_json::{Value, json};
use tests::client::request;
use tests::cluster::all_published;
use tests::material;
use tests::oracle::Truth;
use tests::process::{FRESH, Node, Process, TINY, run};
use tests::questions::{self, Question};
use tests::wait::eventually;

struct Walk {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    records: Vec<Truth>,
    questions: Vec<Question>,
}

impl Walk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let files = material::stage(&material::files(), &logs);
        let now = Clock::system().now().0;
        let records: Vec<Truth> = files.iter().flat_map(|file| material::read(file, now)).collect();
        let questions = questions::all(&records);
        Self { folder, files, records, questions }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn glob(&self) -> String {
        self.path().join("logs/*").to_str().unwrap().to_owned()
    }

    /// Asks everything; every answer is the oracle's.
    fn check(&self, node: &Node) {
        node.client.expect_records(self.records.len() as u64);
        let mut wrong = Vec::new();
        for question in &self.questions {
            let hits: Vec<&Truth> = self.hits(question);
            let expected = hits.len() as u64;
            let counted = node.client.count(question);
            let charted = self.charted(node, question);
            if counted != expected || charted != expected {
                let (typed, window) = (&question.typed, question.window);
                wrong.push(format!(
                    "{typed} {window:?}: counted {counted}, charted {charted}, truth {expected}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
        for question in self.questions.iter().step_by(7) {
            self.check_records(node, question);
        }
        self.check_records(node, &self.questions[0]);
        self.check_values(node, "source", |record| Some(record.source.clone()));
        self.check_values(node, "nginx_version", |record| {
            let value = record.fields.iter().find(|(name, _)| name == "nginx_version");
            value.and_then(|(_, value)| value.as_str().map(str::to_owned))
        });
    }

    fn hits(&self, question: &Question) -> Vec<&Truth> {
        let holds = |r: &&Truth| r.inside(question.window) && question.ask.holds(r);
        self.records.iter().filter(holds).collect()
    }

    /// The total of the histogram, which is the sum of its buckets and of their levels.
    fn charted(&self, node: &Node, question: &Question) -> u64 {
        let answer = node.client.post("/api/v1/histogram", &request(question));
        assert_eq!(answer.status, 200, "{}: {}", question.typed, answer.body);
        let answer = answer.json();
        assert_eq!(answer["partial"], json!([]), "{}", question.typed);
        let buckets = answer["buckets"].as_array().unwrap();
        let total = answer["total"].as_u64().unwrap();
        let sum: u64 = buckets.iter().map(|b| b["total"].as_u64().unwrap()).sum();
        let levels = buckets.iter().flat_map(|b| b["levels"].as_object().unwrap().values());
        let of_levels: u64 = levels.map(|n| n.as_u64().unwrap()).sum();
        assert_eq!((sum, of_levels), (total, total), "buckets of {}", question.typed);
        total
    }

    /// The records themselves: each line once, ids unique, newest first, as the oracle has them.
    fn check_records(&self, node: &Node, question: &Question) {
        let mut request = request(question);
        request["limit"] = json!(0);
        let rows = node.client.rows(&request);
        let ids: HashSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), rows.len(), "an id twice: {}", question.typed);
        assert!(
            rows.windows(2)
                .all(|pair| pair[0]["timestamp"].as_str() >= pair[1]["timestamp"].as_str()),
            "not newest first: {}",
            question.typed
        );
        let mut found: Vec<String> = rows.iter().map(seen).collect();
        let mut expected: Vec<String> = self.hits(question).into_iter().map(known).collect();
        found.sort();
        expected.sort();
        let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "{}: {} of {}, {first:?}",
            question.typed,
            found.len(),
            expected.len()
        );
    }

    fn check_values(&self, node: &Node, field: &str, value: impl Fn(&Truth) -> Option<String>) {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        self.records.iter().filter_map(value).for_each(|v| *expected.entry(v).or_default() += 1);
        let body = json!({ "query": "", "field": field, "limit": 1000 });
        let answer = node.client.post("/api/v1/field-values", &body).json();
        assert_eq!(answer["records"], json!(self.records.len()), "{field}");
        assert_eq!(answer["present"], json!(expected.values().sum::<u64>()), "{field}");
        let values = answer["values"].as_array().unwrap();
        let found: BTreeMap<String, u64> = values
            .iter()
            .map(|v| (v["value"].as_str().unwrap().to_owned(), v["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(found, expected, "{field}");
    }

    /// Waits until nothing is fresh and merging has come to rest.
    fn settle(&self, node: &Node) {
        let mut last = Value::Null;
        let mut quiet = 0;
        eventually("every record in a split, and merging at rest", || {
            let status = node.client.get("/api/v1/status");
            let partitions = status["partitions"].as_array().unwrap();
            let fresh: u64 = partitions.iter().map(|p| p["fresh_records"].as_u64().unwrap()).sum();
            quiet = if fresh == 0 && status["indexes"] == last { quiet + 1 } else { 0 };
            last = status["indexes"].clone();
            (quiet > 150).then_some(())
        });
        assert_eq!(last[0]["records"], json!(self.records.len()));
    }
}

/// A record of an answer, as one text.
fn seen(row: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fields = row["fields"].as_object().unwrap().len();
    format!(
        "{} {} {fields} {}",
        text(&row["timestamp"]),
        text(&row["labels"]["source"]),
        text(&row["message"])
    )
}

/// A record of the oracle, as the same text.
fn known(record: &Truth) -> String {
    let time = model::time::Timestamp(record.timestamp.unwrap());
    let fields: HashSet<&str> = record.fields.iter().map(|(name, _)| name.as_str()).collect();
    format!("{time} {} {} {}", record.source, fields.len(), record.message)
}

#[test]
fn one_process_ships_cuts_merges_restarts_and_every_count_is_right() {
    let walk = Walk::new();
    let glob = walk.glob();
    let arguments = ["--ship", glob.as_str()];
    let mut node = Node::start("run", walk.path(), TINY, &arguments);
    walk.check(&node);
    walk.settle(&node);
    walk.check(&node);
    assert!(node.process.stop(), "a node that is told to end ends well");
    let node = Node::start("run", walk.path(), TINY, &arguments);
    walk.check(&node);
}

#[test]
fn two_processes_keep_everything_fresh_and_every_count_is_right() {
    let walk = Walk::new();
    let mut node = Node::start("node", walk.path(), FRESH, &[]);
    let (glob, state) = (walk.glob(), walk.path().join("state"));
    let args = ["--to", node.url(), "--state-dir", state.to_str().unwrap(), "--path", &glob];
    let mut shipper = Process::start("sawlog-shipper", &args, &walk.path().join("shipper.words"));
    walk.check(&node);
    assert!(shipper.stop(), "a shipper that is told to end ends well");
    node.process.kill();
    // Nothing of it was in a split: all comes back from the queue.
    let node = Node::start("node", walk.path(), FRESH, &[]);
    walk.check(&node);
}

#[test]
fn imported_files_are_stored_once_however_often_and_however_packed() {
    let walk = Walk::new();
    let node = Node::start("node", walk.path(), TINY, &[]);
    let import = |files: &[PathBuf]| {
        let mut args = vec!["import", "--server", node.url()];
        args.extend(files.iter().map(|file| file.to_str().unwrap()));
        let output = run("sawlog", &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    import(&walk.files);
    walk.check(&node);
    import(&walk.files);
    walk.check(&node);
}

#[test]
fn packed_files_are_imported_as_what_is_in_them() {
    let walk = Walk::new();
    let node = Node::start("node", walk.path(), TINY, &[]);
    let plain = std::fs::read(&walk.files[0]).unwrap();
    let lines = plain.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let (gz, zst) = (walk.path().join("a.log.gz"), walk.path().join("b.log.zst"));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    std::fs::write(&gz, encoder.finish().unwrap()).unwrap();
    std::fs::write(&zst, zstd::encode_all(plain.as_slice(), 1).unwrap()).unwrap();
    for (file, expected) in [(&gz, 1), (&gz, 1), (&zst, 2)] {
        let output = run("sawlog", &["import", "--server", node.url(), file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        node.client.expect_records(expected * lines as u64);
    }
}

#[test]
fn the_command_line_answers_in_a_pipe() {
    let walk = Walk::new();
    let node = Node::start("run", walk.path(), TINY, &["--ship", &walk.glob()]);
    node.client.expect_records(walk.records.len() as u64);
    let question = walk.questions.iter().find(|q| q.typed == "error").unwrap();
    let query = "error | stats count() as n";
    let args = ["search", query, "--all", "--format", "ndjson", "--server", node.url()];
    let output = Command::new(tests::process::program("sawlog")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, format!("{{\"n\":{}}}\n", walk.hits(question).len()));
    let output = run("sawlog", &["status", "--format", "json", "--server", node.url()]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["ready"], json!(true));
}

#[test]
fn splits_that_were_read_go_when_others_take_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), TINY, &[]);
    // Each round is a split of its own, which a question opens before it is merged.
    for round in 1..=6_u64 {
        node.client.ingest("/api/v1/ingest", b"{\"msg\":\"first\"}\n{\"msg\":\"second\"}\n");
        eventually("the round to be in a split", || {
            all_published(&node.client.get("/api/v1/status")).then_some(())
        });
        assert_eq!(node.client.count_of("second"), round);
    }
    eventually("the folders of merged splits to be gone", || {
        let status = node.client.get("/api/v1/status");
        let splits = status["indexes"][0]["splits"].as_u64()?;
        let here =
            std::fs::read_dir(folder.path().join("data/objects/splits")).ok()?.count() as u64;
        (splits < 6 && here == splits).then_some(())
    });
}
