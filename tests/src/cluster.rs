//! Several nodes on one machine as a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::clock::Clock;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::client::Client;
use crate::links::Links;
use crate::load::Tally;
use crate::process::{Node, Process, free_address};
use crate::wait::{PATIENCE, eventually, pace};

/// Settings that cut and merge splits soon, and give a silent node up soon.
pub const QUICK: &str = "partitions = 4\n[index]\nfresh_rows_max = 1500\nfresh_age_max_s = 1\nmerge_fan_in = 3\n[cluster]\ngone_after_s = 8\n";
/// No split is cut: the queue alone has the records.
pub const QUEUED: &str = "partitions = 4\n[index]\nfresh_age_max_s = 86400\n";

/// A node of a cluster, running or not.
#[derive(Debug)]
struct Seat {
    folder: PathBuf,
    http: String,
    peer: String,
    /// Where other nodes are told to reach it.
    advertised: String,
    more: Vec<String>,
    /// A command that becomes the node.
    through: Vec<String>,
    /// It was started before: the first one founds the cluster once, whatever becomes of its disk.
    begun: bool,
    node: Option<Node>,
}

/// A cluster. All its nodes end when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Before the folder: a node that is dropped tells its last words, which are there.
    seats: Vec<Seat>,
    /// Below it each node has a folder.
    pub folder: tempfile::TempDir,
    settings: String,
    links: Option<Links>,
}

impl Cluster {
    /// Starts so many nodes and waits until all is as it should be. `more` gives further arguments
    /// of each.
    ///
    /// # Panics
    /// They do not become a cluster.
    #[must_use]
    pub fn start(count: usize, settings: &str, more: impl Fn(&Path, usize) -> Vec<String>) -> Self {
        let mut cluster = Self::new(count, settings, more);
        cluster.begin_all();
        cluster
    }

    /// As [`Self::start`], with wires between the nodes that can be cut.
    ///
    /// # Panics
    /// They do not become a cluster.
    #[must_use]
    pub fn linked(count: usize, settings: &str) -> (Self, Links) {
        let (mut cluster, links) = Self::wired(count, settings, |_, _| Vec::new());
        cluster.begin_all();
        (cluster, links)
    }

    /// [`Self::new`] with wires between the nodes that can be cut.
    ///
    /// # Panics
    /// Their folders cannot be made.
    #[must_use]
    pub fn wired(
        count: usize,
        settings: &str,
        more: impl Fn(&Path, usize) -> Vec<String>,
    ) -> (Self, Links) {
        let links = Links::default();
        (Self::seated(count, settings, more, Some(links.clone())), links)
    }

    /// So many nodes that do not run yet.
    ///
    /// # Panics
    /// Their folders cannot be made.
    #[must_use]
    pub fn new(count: usize, settings: &str, more: impl Fn(&Path, usize) -> Vec<String>) -> Self {
        Self::seated(count, settings, more, None)
    }

    fn seated(
        count: usize,
        settings: &str,
        more: impl Fn(&Path, usize) -> Vec<String>,
        links: Option<Links>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (seats, settings) = (Vec::with_capacity(count), settings.to_owned());
        let mut cluster = Self { folder, settings, seats, links };
        for number in 0..count {
            let more = more(cluster.folder.path(), number);
            cluster.add(more);
        }
        cluster
    }

    /// A place for one node more, which does not run yet; its number.
    ///
    /// # Panics
    /// Its folder cannot be made.
    pub fn add(&mut self, more: Vec<String>) -> usize {
        let number = self.seats.len();
        let folder = self.folder.path().join(format!("n{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (http, peer) = (free_address(), free_address());
        let (mut advertised, through) = (peer.clone(), Vec::new());
        if let Some(links) = &self.links {
            advertised = free_address();
            links.serve(number, &advertised, &peer);
        }
        let seat = Seat { folder, http, peer, advertised, more, through, begun: false, node: None };
        self.seats.push(seat);
        number
    }

    /// From its next start on a node has these settings.
    pub fn set(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    /// From its next start on a node has these further arguments.
    pub fn give(&mut self, number: usize, more: Vec<String>) {
        self.seats[number].more = more;
    }

    /// From its next start on a node is started by this command, which becomes it.
    pub fn through(&mut self, number: usize, command: Vec<String>) {
        self.seats[number].through = command;
    }

    /// Starts all nodes, the first one first, and waits until all is as it should be.
    ///
    /// # Panics
    /// They do not become a cluster.
    pub fn begin_all(&mut self) {
        for number in 0..self.seats.len() {
            self.begin(number);
            if number == 0 {
                self.seats[0].node.as_mut().unwrap().ready();
            }
        }
        self.settled();
    }

    /// Starts a node; does not wait for it.
    ///
    /// # Panics
    /// It runs already.
    pub fn begin(&mut self, number: usize) {
        let others: Vec<String> = self.seats.iter().map(|seat| seat.advertised.clone()).collect();
        let seat = &mut self.seats[number];
        assert!(seat.node.is_none(), "node {number} runs already");
        let is_first = number == 0 && !seat.begun;
        seat.begun = true;
        let mut args = vec!["--peer-listen", &seat.peer, "--advertise", &seat.advertised];
        let join = others.join(",");
        if is_first {
            args.push("--bootstrap");
        } else {
            args.extend(["--join", join.as_str()]);
        }
        args.extend(seat.more.iter().map(String::as_str));
        let (folder, through) = (&seat.folder, &seat.through);
        let node = Node::begin_through(through, "node", folder, &seat.http, &self.settings, &args);
        if let Some(links) = &self.links {
            links.runs(number, node.process.id());
        }
        seat.node = Some(node);
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

    /// The process of a node.
    ///
    /// # Panics
    /// It does not run.
    pub fn process(&mut self, number: usize) -> &mut Process {
        &mut self.seats[number].node.as_mut().expect("the node runs").process
    }

    /// The folder with a node's settings, words and state.
    #[must_use]
    pub fn home(&self, number: usize) -> &Path {
        &self.seats[number].folder
    }

    /// Where other nodes are told to reach a node.
    #[must_use]
    pub fn advertised(&self, number: usize) -> &str {
        &self.seats[number].advertised
    }

    /// What a node said so far.
    #[must_use]
    pub fn words(&self, number: usize) -> String {
        std::fs::read_to_string(self.seats[number].folder.join("node.words")).unwrap_or_default()
    }

    /// CPU seconds of the living threads of every running node, to the nanosecond.
    #[must_use]
    pub fn cpu_s_now(&self) -> f64 {
        let nodes = self.seats.iter().filter_map(|seat| seat.node.as_ref());
        nodes.map(|node| crate::measure::cpu_s_now(&node.process)).sum()
    }

    /// Where a node keeps its state.
    #[must_use]
    pub fn data(&self, number: usize) -> PathBuf {
        self.seats[number].folder.join("data")
    }

    /// The disk of a node that does not run is an empty one from now on.
    ///
    /// # Panics
    /// The files cannot be removed.
    pub fn wipe(&self, number: usize) {
        let data = self.data(number);
        if data.exists() {
            std::fs::remove_dir_all(data).unwrap();
        }
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

    /// SIGKILL of all that run, as if at one moment: none does anything while others end.
    ///
    /// # Panics
    /// One cannot be killed.
    pub fn kill_all(&mut self) {
        let running = self.running();
        running.iter().for_each(|number| self.pause(*number));
        running.iter().for_each(|number| self.kill(*number));
    }

    /// SIGTERM, and waits.
    ///
    /// # Panics
    /// It does not run, or does not end well.
    pub fn stop(&mut self, number: usize) {
        let mut node = self.seats[number].node.take().expect("the node runs");
        assert!(node.process.stop(), "node {number} ended badly: {}", node.process.words());
    }

    /// SIGTERM of all that run at one moment, and waits. How long it took.
    ///
    /// # Panics
    /// One does not end well.
    pub fn stop_all(&mut self) -> Duration {
        let (clock, running) = (Clock::system(), self.running());
        let begun = clock.elapsed();
        running.iter().for_each(|number| self.signal(*number, Signal::TERM));
        // Who is told again is told nothing new.
        running.iter().for_each(|number| self.stop(*number));
        clock.elapsed() - begun
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

    /// A node's id.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn id(&self, number: usize) -> String {
        let id = || self.status(number)?["node"].as_str().map(str::to_owned);
        eventually("the node to say who it is", id)
    }

    /// The running node with this id.
    ///
    /// # Panics
    /// None is it.
    #[must_use]
    pub fn number_of(&self, id: &str) -> usize {
        let mut running = self.running().into_iter();
        running.find(|number| self.id(*number) == id).unwrap_or_else(|| panic!("no node is {id}"))
    }

    /// Who leads a partition, as a node sees it.
    ///
    /// # Panics
    /// Nobody does for long.
    #[must_use]
    pub fn leader_of(&self, partition: usize, seen_by: usize) -> usize {
        let id = eventually("a leader", || {
            let status = self.status(seen_by)?;
            let leader = status["partitions"][partition]["leader"].as_str()?.to_owned();
            (!leader.is_empty()).then_some(leader)
        });
        self.number_of(&id)
    }

    /// The rows of a query at a node, when the answer is complete: nothing partial, no error.
    #[must_use]
    pub fn table(&self, number: usize, query: &str) -> Option<Vec<Value>> {
        self.client(number).complete(query)
    }

    /// How many records answer a query at a node, when the answer is complete.
    #[must_use]
    pub fn count(&self, number: usize, query: &str) -> Option<u64> {
        let rows = self.table(number, &format!("{query} | stats count() as n"))?;
        rows.first()?["n"].as_u64()
    }

    /// Every running node finds exactly the records that the load had acknowledged, each once.
    ///
    /// # Panics
    /// One does not.
    #[track_caller]
    pub fn expect(&self, tally: &Tally) {
        for number in self.running() {
            self.expect_at(number, tally);
        }
    }

    /// This node finds exactly the records that the load had acknowledged, each once.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn expect_at(&self, number: usize, tally: &Tally) {
        let mut seen = None;
        let clock = Clock::system();
        let until = clock.elapsed() + PATIENCE;
        loop {
            if let Some(found) = tally.found(self, number) {
                assert_eq!(found.twice, 0, "node {number}: {found:?}");
                if seen != Some(found) {
                    eprintln!("node {number}: {found:?} of {}", tally.total());
                }
                seen = Some(found);
                if found.missing == 0 {
                    return;
                }
            }
            let what = json!({ "query": tally.tag, "limit": 1 }).to_string().into_bytes();
            let headers = [("content-type", "application/json")];
            let why = || self.client(number).send("POST", "/api/v1/query", &headers, what);
            assert!(clock.elapsed() < until, "node {number} never finds all: {:?}", why());
            pace(Duration::from_millis(20));
        }
    }
}

/// A JSON list's items; none when it is no list.
#[must_use]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether every record of a node's or a cluster's status is in a split.
#[must_use]
pub fn all_published(status: &Value) -> bool {
    list(&status["partitions"]).iter().all(|one| one["committed"] == one["published"])
}
