//! Records through the doors of other products while nodes are killed: whatever was acknowledged is
//! found once, at every node.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::chance::Chance;
use tests::client::{Answer, Client};
use tests::cluster::{Cluster, QUICK};
use tests::wait::{eventually, pace};

use super::plain;

/// Records of a request: so many that a bulk of them is recognised at another node by its ids.
const REQUEST_RECORDS: u64 = 40;
/// How long a request may take before it is sent to another node.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// Between two requests of a sender.
const PAUSE: Duration = Duration::from_millis(20);

/// A door and what its clients say there.
struct Door {
    /// The word in every record.
    word: &'static str,
    path: &'static str,
    body: fn(&str, Range<u64>) -> Value,
    /// Whether an answer says that everything is stored.
    is_taken: fn(&Answer) -> bool,
}

static DOORS: [Door; 3] = [
    Door {
        word: "exported",
        path: "/v1/logs",
        body: export,
        is_taken: |answer| answer.status == 200,
    },
    Door {
        word: "pushed",
        path: "/loki/api/v1/push",
        body: push,
        is_taken: |answer| answer.status == 204,
    },
    Door {
        word: "collected",
        path: "/services/collector?channel=c",
        body: events,
        is_taken: |answer| answer.status == 200 && answer.json()["ackId"].is_u64(),
    },
];

fn message(word: &str, number: u64) -> String {
    format!("{word} n{number}")
}

fn export(word: &str, numbers: Range<u64>) -> Value {
    let log = |n| {
        let number = json!({ "key": "number", "value": { "intValue": n } });
        json!({ "body": { "stringValue": message(word, n) }, "attributes": [number] })
    };
    let logs: Vec<Value> = numbers.map(log).collect();
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": logs }] }] })
}

fn push(word: &str, numbers: Range<u64>) -> Value {
    let line = |n: u64| {
        let time = (1_795_000_000_000_000_000 + n).to_string();
        json!([time, message(word, n), { "number": n.to_string() }])
    };
    let lines: Vec<Value> = numbers.map(line).collect();
    json!({ "streams": [{ "stream": { "app": word }, "values": lines }] })
}

/// The body of the collector is what stands in the list, one behind the other. Events with times of their
/// own are recognised in their channel.
fn events(word: &str, numbers: Range<u64>) -> Value {
    let event = |n| {
        let said = json!({ "message": message(word, n), "number": n });
        json!({ "event": said, "host": "h", "time": 1_795_000_000 + n })
    };
    numbers.map(event).collect()
}

/// A bulk, as text: it is no JSON as a whole.
fn bulk(word: &str, numbers: Range<u64>) -> String {
    let lines = |n| {
        let action = json!({ "index": { "_index": "main", "_id": format!("{word}-{n}") } });
        let document = json!({ "message": message(word, n), "number": n });
        format!("{action}\n{document}\n")
    };
    numbers.map(lines).collect()
}

/// Senders at work, one for each door.
struct Foreign {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    senders: Vec<(&'static str, std::thread::JoinHandle<u64>)>,
}

impl Foreign {
    fn start(addresses: &[String]) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut senders = Vec::new();
        for (seed, door) in DOORS.iter().map(Some).chain([None]).enumerate() {
            let word = door.map_or("bulked", |door| door.word);
            let (addresses, stop) = (addresses.to_vec(), stop.clone());
            let acknowledged = acknowledged.clone();
            let send = move || {
                let client = |address: &String| Client::hurried(address, REQUEST_WAIT);
                let clients: Vec<Client> = addresses.iter().map(client).collect();
                let (mut chance, mut sent) = (Chance::new(seed as u64), 0);
                while !stop.load(Ordering::SeqCst) {
                    let numbers = sent..sent + REQUEST_RECORDS;
                    insist(door, &clients, &mut chance, numbers);
                    sent += REQUEST_RECORDS;
                    acknowledged.fetch_add(REQUEST_RECORDS, Ordering::SeqCst);
                    pace(PAUSE);
                }
                sent
            };
            senders.push((word, std::thread::spawn(send)));
        }
        Self { stop, acknowledged, senders }
    }

    /// Waits until so many more records are acknowledged.
    #[track_caller]
    fn more(&self, records: u64) {
        let read = || self.acknowledged.load(Ordering::SeqCst);
        let until = read() + records;
        eventually("more acknowledgements", || (read() >= until).then_some(()));
    }

    /// What each door acknowledged.
    fn end(self) -> Vec<(&'static str, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        let finished = || self.senders.iter().all(|(_, sender)| sender.is_finished());
        eventually("the last acknowledgements", || finished().then_some(()));
        self.senders.into_iter().map(|(word, sender)| (word, sender.join().unwrap())).collect()
    }
}

/// Sends a request to any node until it is acknowledged; without a door, a bulk. What makes a repeat
/// no second one is the key, in a bulk its ids, and in a channel of the collector all that it holds.
fn insist(door: Option<&Door>, clients: &[Client], chance: &mut Chance, numbers: Range<u64>) {
    let key = format!("foreign-{}-{}", door.map_or("bulk", |door| door.word), numbers.start);
    let (path, body) = match door {
        None => ("/es/_bulk", bulk("bulked", numbers)),
        Some(door) if door.word == "collected" => {
            let events = (door.body)(door.word, numbers);
            (door.path, events.as_array().unwrap().iter().map(Value::to_string).collect())
        }
        Some(door) => (door.path, (door.body)(door.word, numbers).to_string()),
    };
    let mut headers = vec![("content-type", "application/json")];
    if door.is_some_and(|door| door.word != "collected") {
        headers.push(("idempotency-key", key.as_str()));
    }
    let is_taken = door.map_or(is_stored as fn(&Answer) -> bool, |door| door.is_taken);
    loop {
        let client = chance.one_of(clients);
        match client.send("POST", path, &headers, body.clone().into_bytes()) {
            Some(answer) if is_taken(&answer) => return,
            // Refused for good it would be lost: these clients drop what is.
            Some(answer) => {
                let passes = [200, 408, 429, 500, 502, 503, 504].contains(&answer.status);
                assert!(passes, "{path}: {} {}", answer.status, answer.body);
            }
            None => {}
        }
        pace(PAUSE);
    }
}

/// Whether every document of a bulk is stored. One that is not is put off, never refused for good.
fn is_stored(answer: &Answer) -> bool {
    if answer.status != 200 {
        return false;
    }
    let answer = answer.json();
    for item in answer["items"].as_array().unwrap() {
        let status = item["index"]["status"].as_u64().unwrap();
        assert!([200, 201, 429, 503].contains(&status), "{item}");
    }
    answer["errors"] == false
}

#[test]
fn what_others_doors_acknowledged_outlives_the_nodes_they_are_of() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let foreign = Foreign::start(&cluster.addresses());
    foreign.more(800);
    for victim in [0, 2] {
        cluster.kill(victim);
        foreign.more(800);
        cluster.begin(victim);
        foreign.more(400);
        cluster.settled();
    }
    let acknowledged = foreign.end();
    cluster.settled();
    for number in cluster.running() {
        for (word, expected) in &acknowledged {
            let query = format!("{word} | stats count() as n, count_distinct(number) as d");
            eventually(&format!("{expected} records that were {word}, at node {number}"), || {
                let rows = cluster.table(number, &query)?;
                let (all, distinct) = (rows.first()?["n"].as_u64()?, rows[0]["d"].as_u64()?);
                assert_eq!(all, distinct, "node {number}: some that were {word} are there twice");
                assert!(distinct <= *expected, "node {number}: {distinct} of {expected} {word}");
                (distinct == *expected).then_some(())
            });
        }
    }
}
