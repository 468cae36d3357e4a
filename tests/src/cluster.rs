//! Several nodes on one machine as a cluster, and load that knows what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::Client;
use crate::process::{Node, free_address};
use crate::wait::{eventually, pace};

/// Settings that cut and merge splits soon, and give a silent node up soon.
pub const QUICK: &str = "partitions = 4\n[index]\nfresh_rows_max = 1500\nfresh_age_max_s = 1\nmerge_fan_in = 3\n[cluster]\ngone_after_s = 8\n";
/// Records of one request.
const REQUEST_RECORDS: usize = 5;

/// A node of a cluster, running or not.
#[derive(Debug)]
struct Seat {
    folder: PathBuf,
    http: String,
    peer: String,
    more: Vec<String>,
    node: Option<Node>,
}

/// A cluster. All its nodes end when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Below it each node has a folder.
    pub folder: tempfile::TempDir,
    settings: String,
    seats: Vec<Seat>,
}

impl Cluster {
    /// Starts so many nodes and waits until all is as it should be. `more` gives further arguments
    /// of each.
    ///
    /// # Panics
    /// They do not become a cluster.
    #[must_use]
    pub fn start(count: usize, settings: &str, more: impl Fn(&Path, usize) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster =
            Self { folder, settings: settings.to_owned(), seats: Vec::with_capacity(count) };
        for number in 0..count {
            let own = cluster.folder.path().join(format!("n{number}"));
            std::fs::create_dir_all(&own).unwrap();
            let more = more(cluster.folder.path(), number);
            let (http, peer) = (free_address(), free_address());
            cluster.seats.push(Seat { folder: own, http, peer, more, node: None });
        }
        for number in 0..count {
            cluster.begin(number);
            if number == 0 {
                cluster.seats[0].node.as_mut().unwrap().ready();
            }
        }
        cluster.settled();
        cluster
    }

    /// Starts a node; does not wait for it.
    ///
    /// # Panics
    /// It runs already.
    pub fn begin(&mut self, number: usize) {
        let first = self.seats[0].peer.clone();
        let others: Vec<String> = self.seats.iter().map(|seat| seat.peer.clone()).collect();
        let seat = &mut self.seats[number];
        assert!(seat.node.is_none(), "node {number} runs already");
        let is_first = number == 0 && !seat.folder.join("data/catalog.redb").exists();
        let mut args = vec!["--peer-listen", seat.peer.as_str()];
        let join = others.join(",");
        if is_first && first == seat.peer {
            args.push("--bootstrap");
        } else {
            args.extend(["--join", join.as_str()]);
        }
        args.extend(seat.more.iter().map(String::as_str));
        seat.node = Some(Node::begin("node", &seat.folder, &seat.http, &self.settings, &args));
    }

    /// The numbers of the nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.seats.len()).filter(|number| self.seats[*number].node.is_some()).collect()
    }

    /// To ask a node.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn client(&self, number: usize) -> &Client {
        &self.seats[number].node.as_ref().expect("the node runs").client
    }

    /// What a node said so far.
    #[must_use]
    pub fn words(&self, number: usize) -> String {
        std::fs::read_to_string(self.seats[number].folder.join("node.words")).unwrap_or_default()
    }

    /// Where a node keeps its state.
    #[must_use]
    pub fn data(&self, number: usize) -> PathBuf {
        self.seats[number].folder.join("data")
    }

    /// The addresses of the nodes for clients.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.seats.iter().map(|seat| seat.http.clone()).collect()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self, number: usize) {
        let mut node = self.seats[number].node.take().expect("the node runs");
        node.process.kill();
    }

    /// SIGTERM, and waits.
    ///
    /// # Panics
    /// It does not run, or does not end well.
    pub fn stop(&mut self, number: usize) {
        let mut node = self.seats[number].node.take().expect("the node runs");
        assert!(node.process.stop(), "node {number} ended badly: {}", node.process.words());
    }

    /// SIGSTOP: it does nothing and does not know it.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let id = self.seats[number].node.as_ref().expect("the node runs").process.id();
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// The cluster as a node sees it; `None` when it does not answer.
    #[must_use]
    pub fn status(&self, number: usize) -> Option<Value> {
        let answer = self.client(number).send("GET", "/api/v1/cluster", &[], Vec::new())?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Waits until every node that runs sees all of them up, and every partition led, indexed, and
    /// kept by as many as it should be, none of them behind.
    ///
    /// # Panics
    /// It does not come to that.
    pub fn settled(&self) {
        let running = self.running();
        let replicas = if running.len() < 3 { 1 } else { 3 };
        let mut last = String::new();
        let come = |last: &mut String| {
            for number in &running {
                let status = self.status(*number)?;
                *last = status.to_string();
                let up = status["nodes"].as_array()?.iter().filter(|n| n["health"] == "up").count();
                let partitions = status["partitions"].as_array()?;
                let whole = |partition: &Value| {
                    let kept = partition["replicas"].as_array().unwrap();
                    // Under load some entries are always on their way.
                    let near = |one: &Value| one["lag"].as_u64().is_some_and(|lag| lag < 100);
                    let well = |one: &Value| one["trouble"].is_null() && near(one);
                    partition["leader"] != ""
                        && partition["indexer"] != ""
                        && kept.len() == replicas
                        && kept.iter().all(well)
                };
                let is_well = up == running.len()
                    && !partitions.is_empty()
                    && partitions.iter().all(whole)
                    && status["copies_missing"] == 0;
                if !is_well {
                    return None;
                }
            }
            Some(())
        };
        let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the cluster to settle", || come(&mut last));
        }));
        assert!(settled.is_ok(), "not settled: {last}");
    }

    /// Every running node finds exactly the records that the load had acknowledged, each once.
    ///
    /// # Panics
    /// One does not.
    #[track_caller]
    pub fn expect(&self, tag: &str, acknowledged: usize) {
        for number in self.running() {
            let mut last = Value::Null;
            let query = format!("{tag} | stats count() as n, count_distinct(seq) as d");
            let found = |last: &mut Value| {
                let body = json!({ "query": query });
                let answer = self.client(number).send(
                    "POST",
                    "/api/v1/query",
                    &[("content-type", "application/json")],
                    body.to_string().into_bytes(),
                )?;
                let mut lines = answer.lines();
                let end = lines.pop()?;
                *last = json!([lines.last(), end]);
                let row = lines.last()?["row"].clone();
                let (n, d) = (row["n"].as_u64()?, row["d"].as_u64()?);
                assert_eq!(n, d, "node {number} has records twice");
                assert!(n <= acknowledged as u64, "node {number}: {n} of {acknowledged}");
                (n == acknowledged as u64 && end["end"]["partial"] == json!([])).then_some(())
            };
            let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eventually("all records", || found(&mut last));
            }));
            assert!(all.is_ok(), "node {number} of {acknowledged} {tag}: {last}");
        }
    }
}

/// Writers that send small requests to any node, and each again until it is acknowledged.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many writers on some of the addresses.
    #[must_use]
    pub fn start(addresses: &[String], tag: &str, writers: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let write = |writer| {
            let (addresses, tag) = (addresses.to_vec(), tag.to_owned());
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            std::thread::spawn(move || write(&addresses, &tag, writer, &stop, &acknowledged))
        };
        let writers = (0..writers).map(write).collect();
        Self { stop, acknowledged, writers }
    }

    /// Records acknowledged so far.
    #[must_use]
    pub fn so_far(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more are acknowledged.
    ///
    /// # Panics
    /// They are not.
    #[track_caller]
    pub fn more(&self, records: usize) {
        let wanted = self.so_far() + records;
        eventually("records to be acknowledged", || (self.so_far() >= wanted).then_some(()));
    }

    /// Ends the writers, each with its last request acknowledged. How many records were.
    ///
    /// # Panics
    /// A writer failed.
    #[must_use]
    pub fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.writers.into_iter().for_each(|writer| writer.join().unwrap());
        self.acknowledged.load(Ordering::SeqCst)
    }
}

fn write(
    addresses: &[String],
    tag: &str,
    writer: u64,
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
) {
    let clients: Vec<Client> = addresses.iter().map(|address| Client::new(address)).collect();
    let mut chance = Chance::new(writer + 1);
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        let key = format!("{tag}-{writer}-{number}");
        let record = |at: usize| {
            let seq = format!("{key}-{at}");
            json!({ "message": format!("{tag} writer {writer} record {number}"), "seq": seq })
        };
        let lines: Vec<String> = (0..REQUEST_RECORDS).map(|at| record(at).to_string()).collect();
        let (body, path) = (lines.join("\n"), format!("/api/v1/ingest?service=w{writer}"));
        let headers = [("idempotency-key", key.as_str())];
        // A request is sent until it is acknowledged, whatever happens meanwhile.
        loop {
            let client = &clients[chance.place(clients.len())];
            let answer = client.send("POST", &path, &headers, body.clone().into_bytes());
            if answer.is_some_and(|answer| answer.status == 200) {
                break;
            }
            pace(Duration::from_millis(30));
        }
        acknowledged.fetch_add(REQUEST_RECORDS, Ordering::SeqCst);
        number += 1;
    }
}
