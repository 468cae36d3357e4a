//! One node and three give the same answers, whoever holds what the answers are made of: parts of
//! plans run at the holders, and when these fail the rows are fetched.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use tests::chance::Chance;
use tests::client::Client;
use tests::cluster::{Cluster, QUICK, all_published};
use tests::process::{Node, TINY};
use tests::wait::eventually;

const SERVICES: usize = 9;
const RECORDS_EACH: usize = 600;

/// Every kind of part: halves of each aggregate, groups of each kind, functions of our own, first
/// rows; and plans that have none.
const QUESTIONS: [&str; 31] = [
    "| stats count() as n",
    "refused | stats count() as n by service",
    "| stats count(took) as n, sum(took) as s, min(took) as least, max(took) as most by service, level",
    "| stats avg(took) as a, count() as n by bin(timestamp, 5m)",
    "| stats count_distinct(user) as d by level",
    "| stats count_distinct_estimate(user) as d",
    "| stats median(took) as m, p99(took) as p by service",
    "| stats first(user) as f, last(user) as l by service",
    "| stats values(level) as v by service",
    "| stats sum(cost) as s, max(level) as worst by user",
    "level:error took:>100 | stats count() as n by user",
    "| where took > 50 AND contains(user, \"1\") | stats count() as n by level",
    "| eval slow = if(took > 100, \"yes\", \"no\") | stats count() as n, sum(took) as s by slow",
    "| eval hour = time_bin(timestamp, \"hour\", \"Europe/Berlin\") | stats count() as n by hour",
    "| extract \"user <who> refused\" | stats count() as n by who",
    "| extract /after (?<ms>[0-9]+) ms/ | stats sum(ms) as s by level",
    "| stats count() as n, sum(number(note)) as s by bin(took, 25)",
    "| where in_cidr(ip, \"10.0.0.0/25\") | stats count() as n by service",
    "| eval kind = replace_regex(user, /[0-9]+/, \"\") | where kind == \"u\" | stats count() as n",
    "| stats count() as n by user | where n > 30 | sort n desc, user | limit 10",
    "| fields user, took | sort took desc, user | limit 12",
    "| where took > 3 | eval twice = took * 2 | sort twice desc, user, cost | fields twice, user | limit 7",
    "| top 5 user",
    "user:u1 | stats count() as n by service | sort n desc, service",
    "error NOT refused | fields message, user | sort message, user | limit 20",
    "user:u1 level:error | context before 2 after 1 | stats count() as n, count() where _matched as m by service",
    "level:error | limit 5 | context 3 | fields timestamp, service, user, _matched",
    "| expand note as one | stats count() as n by one",
    "refused | patterns",
    "| stats max(timestamp) as l, min(message) as m, max(level) as w by _pattern, service",
    "level:error | dedup service | context after 4 | where not _matched | stats count() as n by service",
];

/// The records of a service, each with a time of its own.
fn records(service: usize) -> String {
    let mut chance = Chance::new(7 + service as u64);
    let mut lines = String::new();
    for number in 0..RECORDS_EACH {
        let (took, user) = (chance.skewed(500), chance.skewed(60));
        let at = model::time::Timestamp(
            1_790_000_000_000_000_000
                + i64::try_from(number * SERVICES + service).unwrap() * 1_700_000_000,
        );
        let words = ["refused", "let in", "timed out"];
        let mut record = json!({
            "timestamp": at.to_string(),
            "level": *chance.one_of(&["info", "warn", "error"]),
            "message": format!("user u{user} {} after {took} ms", chance.one_of(&words)),
            "took": took,
            "user": format!("u{user}"),
            "ip": format!("10.0.0.{}", chance.below(256)),
        });
        if chance.below(3) == 0 {
            // Quarters: sums of them do not hang on their order.
            record["cost"] = json!(chance.below(400) as f64 / 4.0);
            record["note"] = json!(format!("{}", chance.below(50)));
        }
        writeln!(lines, "{record}").unwrap();
    }
    lines
}

fn ask(client: &Client, query: &str) -> Vec<Value> {
    client.whole_rows(query)
}

fn figure(client: &Client, name: &str) -> u64 {
    let text = client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
    let line = text.lines().find(|line| line.contains(name) && !line.starts_with('#'));
    let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn answers_are_the_same_wherever_their_parts_run() {
    let folder = tempfile::tempdir().unwrap();
    let alone = Node::start("node", folder.path(), TINY, &[]);
    let shared = tempfile::tempdir().unwrap();
    let store = format!("file://{}", shared.path().display());
    let cluster = Cluster::start(3, QUICK, |_, _| vec!["--store".to_owned(), store.clone()]);
    // Most of it becomes splits in the store that all share, the last of it stays fresh.
    for service in 0..SERVICES {
        let (path, lines) = (format!("/api/v1/ingest?service=s{service}"), records(service));
        alone.client.ingest(&path, lines.as_bytes());
        cluster.client(service % 3).ingest(&path, lines.as_bytes());
    }
    let all = (SERVICES * RECORDS_EACH) as u64;
    alone.client.expect_records(all);
    cluster.client(0).expect_records(all);
    let expected: Vec<Vec<Value>> =
        QUESTIONS.iter().map(|query| ask(&alone.client, query)).collect();
    let agree = |cluster: &Cluster, when: &str| {
        for number in cluster.running() {
            for (query, expected) in QUESTIONS.iter().zip(&expected) {
                let rows = ask(cluster.client(number), query);
                assert_eq!(&rows, expected, "{when}, node {number}: {query}");
            }
        }
    };
    agree(&cluster, "fresh records");
    eventually("all to be in splits", || all_published(&cluster.status(0)?).then_some(()));
    agree(&cluster, "splits");
    let sum = |cluster: &Cluster, name| -> u64 {
        cluster.running().iter().map(|number| figure(cluster.client(*number), name)).sum()
    };
    assert!(sum(&cluster, "query_fragments_total") > 0);
    assert_eq!(sum(&cluster, "query_fragment_failures_total"), 0);
    assert!(sum(&cluster, "query_fragments_served_total") > 0);
    for query in [QUESTIONS[2], QUESTIONS[21]] {
        let runs = |number: &usize| {
            let body = json!({ "query": query });
            let told = cluster.client(*number).post("/api/v1/query/explain", &body);
            told.body.contains("FragmentExec")
        };
        assert!(cluster.running().iter().any(runs), "{query}");
    }
    let sql = json!({ "sql": "SELECT service, count(*) AS n, sum(took) AS s FROM logs GROUP BY service ORDER BY service" });
    let told = |client: &Client| {
        let mut lines = client.post("/api/v1/sql", &sql).lines();
        lines.retain(|line| line.get("row").is_some());
        lines
    };
    assert_eq!(told(cluster.client(1)), told(&alone.client));
    assert_eq!(told(&alone.client).len(), SERVICES);
    // A holder that says nothing: its part is done from elsewhere. That its newest records are not
    // known is said; there are none.
    cluster.pause(2);
    let answer = cluster.client(0).post("/api/v1/query", &json!({ "query": QUESTIONS[2] }));
    let mut rows = answer.lines();
    rows.retain(|line| line.get("row").is_some());
    let rows: Vec<Value> = rows.into_iter().map(|mut line| line["row"].take()).collect();
    assert_eq!(rows, expected[2], "a holder that says nothing");
    cluster.resume(2);
    cluster.settled();
    agree(&cluster, "everybody again");
}

/// Sends a question with one more header.
fn send(address: &str, path: &str, header: &str, body: &Value) -> TcpStream {
    use std::io::Write as _;
    let mut connection = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\n{header}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    connection
}

/// Begins a question and gives the connection on which it is answered, and its name.
fn begin(address: &str, path: &str, body: &Value) -> (TcpStream, String) {
    use std::io::{BufRead as _, BufReader};
    let connection = send(address, path, "user-agent: spread", body);
    let head = BufReader::new(connection.try_clone().unwrap()).lines().map(Result::unwrap);
    let name = head
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-query-id: ").map(str::to_owned));
    (connection, name.expect("the answer names its query"))
}

#[test]
fn a_query_is_ended_at_any_node_by_its_name() {
    let one_place = format!("{QUICK}[query]\nconcurrency_max = 1\n");
    let cluster = Cluster::start(3, &one_place, |_, _| Vec::new());
    for batch in 0..30 {
        let line = |n: usize| format!("{{\"msg\":\"line {n}\",\"level\":\"error\",\"n\":{n}}}\n");
        let lines: String = (batch * 2_000..(batch + 1) * 2_000).map(line).collect();
        let path = format!("/api/v1/ingest?service=s{}", batch % SERVICES);
        cluster.client(batch % 3).ingest(&path, lines.as_bytes());
    }
    cluster.client(0).expect_records(60_000);
    // Every record with every other one: more than anybody waits for.
    let sql = "SELECT count(*) FROM logs a JOIN logs b ON a.level = b.level WHERE a.n + b.n < 0";
    let address = cluster.addresses()[0].clone();
    let (_connection, name) = begin(&address, "/api/v1/sql", &json!({ "sql": sql }));
    let running = || figure(cluster.client(0), "query_running ");
    assert_eq!(running(), 1);
    // What is small has a name too, and is ended by it while it waits for the place.
    let small = json!({ "query": "line" });
    let mut waiting = send(&address, "/api/v1/histogram", "x-query-id: 00000000c0ffee00", &small);
    eventually("the histogram to be ended", || {
        let path = "/api/v1/queries/00000000c0ffee00";
        let ended = cluster.client(2).send("DELETE", path, &[], Vec::new()).unwrap();
        (ended.status == 204).then_some(())
    });
    let mut told = String::new();
    waiting.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 409") && told.contains("cancelled"), "{told}");
    assert_eq!(running(), 1);
    let clock = platform::clock::Clock::system();
    let begun = clock.elapsed();
    let path = format!("/api/v1/queries/{name}");
    let ended = cluster.client(1).send("DELETE", &path, &[], Vec::new()).unwrap();
    assert_eq!(ended.status, 204, "{}", ended.body);
    eventually("the query to end", || (running() == 0).then_some(()));
    let took = clock.elapsed() - begun;
    assert!(took.as_millis() < 1_000, "{took:?}");
    let again = cluster.client(1).send("DELETE", &path, &[], Vec::new()).unwrap();
    assert_eq!(again.status, 404, "{}", again.body);
}
