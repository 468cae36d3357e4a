//! The command line against a node: SQL, Ctrl-C, deleting, a tail over a restart.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use platform::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::client::Client;
use tests::process::{FRESH, Node, TINY, free_address, program, refuses, run};
use tests::wait::eventually;

fn start(settings: &str) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), settings, &[]);
    (folder, node)
}

fn lines(range: std::ops::Range<u32>) -> Vec<u8> {
    let line = |n| format!("{{\"msg\":\"line {n}\",\"level\":\"error\",\"n\":{n}}}\n");
    range.map(line).collect::<String>().into_bytes()
}

/// Standard output of a program that succeeds.
#[track_caller]
fn says(args: &[&str], node: &Node) -> String {
    let args: Vec<&str> = args.iter().copied().chain(["--server", node.url()]).collect();
    let output = run("sawlog", &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_node_to_which_nobody_listens_any_more_goes_on() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let mut command = Command::new(program("sawlog"));
    command.args(["node", "--listen", &address, "--data-dir"]).arg(folder.path());
    command.env("SAWLOG_LOG", "debug").stdin(Stdio::null());
    let mut node = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever read what it says ends: every further word cannot be written.
    drop((node.stdout.take(), node.stderr.take()));
    let client = Client::new(&address);
    eventually("the node", || (client.status_of("/readyz")? == 200).then_some(()));
    client.ingest("/api/v1/ingest", &lines(0..10));
    client.expect_records(10);
    let pid = Pid::from_raw(i32::try_from(node.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(eventually("the node to end", || node.try_wait().unwrap()).success());
}

#[test]
fn a_node_that_cannot_start_says_why_and_nothing_else() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let data = folder.path().to_str().unwrap();
    let args = ["node", "--data-dir", data, "--listen", &address, "--es-listen", &taken];
    // Its queue and index are at work by then.
    let output = run("sawlog", &args);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains(&format!("{taken} is in use by another program")), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

#[test]
fn query_speaks_sql() {
    let (_folder, node) = start(TINY);
    node.client.ingest("/api/v1/ingest", &lines(0..10));
    let sql = "SELECT level, count(*) AS n FROM logs WHERE matches('line') GROUP BY level";
    let printed = says(&["query", sql, "--format", "ndjson"], &node);
    assert_eq!(printed, "{\"level\":\"error\",\"n\":10}\n");
    let wrong = ["query", "SELECT nosuch FROM logs", "--server", node.url()];
    refuses("sawlog", &wrong, &["nosuch"]);
    let search = ["query", "line | stats count()", "--server", node.url()];
    refuses("sawlog", &search, &["sawlog search 'line | stats count()'"]);
}

#[test]
fn delete_says_how_many_and_deletes_them() {
    let (_folder, node) = start(TINY);
    node.client.ingest("/api/v1/ingest", &lines(0..20));
    refuses("sawlog", &["delete", "n:>=5", "--yes", "--server", node.url()], &["--all"]);
    refuses("sawlog", &["delete", "n:>=5", "--all", "--server", node.url()], &["--yes"]);
    node.client.expect_records(20);
    says(&["delete", "n:>=5", "--all", "--yes", "--wait"], &node);
    node.client.expect_records(5);
}

fn spawn(args: &[&str], node: &Node) -> Child {
    let mut command = Command::new(program("sawlog"));
    command.args(args).args(["--format", "ndjson", "--server", node.url()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn running(node: &Node) -> u64 {
    let metrics = node.client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
    let line = metrics.lines().find(|line| line.starts_with("query_running ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn ctrl_c_ends_the_query_on_the_node() {
    let (_folder, node) = start(FRESH);
    for batch in 0..60 {
        node.client.ingest("/api/v1/ingest", &lines(batch * 2_000..(batch + 1) * 2_000));
    }
    // Every record with every other one of its level: more than anybody waits for.
    let sql = "SELECT count(*) FROM logs a JOIN logs b ON a.level = b.level WHERE a.n + b.n < 0";
    let mut child = spawn(&["query", sql], &node);
    eventually("the query to run", || (running(&node) == 1).then_some(()));
    let clock = Clock::system();
    let begun = clock.elapsed();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    eventually("the query to end", || (running(&node) == 0).then_some(()));
    let took = clock.elapsed() - begun;
    assert!(took.as_millis() < 1_000, "{took:?}");
}

#[test]
fn a_tail_goes_on_when_the_node_is_killed() {
    let (folder, mut node) = start(TINY);
    let address = node.url().trim_start_matches("http://").to_owned();
    let mut child = spawn(&["tail", "line"], &node);
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> u64 {
        let line: Value = serde_json::from_str(&printed.next().unwrap().unwrap()).unwrap();
        line["fields"]["n"].as_u64().unwrap()
    };
    eventually("the tail to be open", || {
        let metrics = node.client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
        metrics.lines().any(|line| line == "query_tails 1").then_some(())
    });
    let mut seen = Vec::new();
    for round in 0..3 {
        node.client.ingest("/api/v1/ingest", &lines(round * 100..round * 100 + 50));
        seen.extend((0..30).map(|_| next()));
        node.process.kill();
        node = Node::begin("node", folder.path(), &address, TINY, &[]);
        node.ready();
        node.client.ingest("/api/v1/ingest", &lines(round * 100 + 50..round * 100 + 100));
        seen.extend((0..70).map(|_| next()));
    }
    let expected: Vec<u64> = (0..300).collect();
    assert_eq!(json!(seen), json!(expected));
    child.kill().unwrap();
    child.wait().unwrap();
}
