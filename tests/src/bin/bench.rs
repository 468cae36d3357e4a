//! `make bench`: speed, size and latency of the real processes, each beside a reference of the same run.
//! RECORDS (1,000,000), SEED (1).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first thing that is wrong, and its output is its purpose"
)]

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use platform::clock::Clock;
use serde_json::{Value, json};
use tests::corpus::{Corpus, NEEDLE_EVERY, STREAMS};
use tests::measure::{cpu_s, folder_bytes, mb, peak_bytes, quantile};
use tests::process::{Node, Process};
use tests::wait::within;

/// Lines whose way from file to answer is timed.
const PROBES: usize = 200;
/// Runs of each query; the median is printed.
const RUNS: usize = 5;
/// Anything may take so long, also with very many records.
const PATIENCE: Duration = Duration::from_secs(3600);
const SETTINGS: &str = "[index]\nfresh_age_max_s = 5\n";

struct Scene {
    folder: tempfile::TempDir,
    clock: Clock,
    records: u64,
    raw_bytes: u64,
    files: Vec<PathBuf>,
}

fn main() {
    let setting =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (records, seed) = (setting("RECORDS", 1_000_000), setting("SEED", 1));
    let clock = Clock::system();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let (files, raw_bytes) = write_corpus(folder.path(), records, seed);
    let scene = Scene { folder, clock, records, raw_bytes, files };
    println!("corpus: {records} records, {STREAMS} streams, {:.1} MB, seed {seed}", mb(raw_bytes));
    scene.reference_zstd();
    let mut node = Node::start("node", scene.folder.path(), SETTINGS, &[]);
    let shipper = scene.shipper(&node);
    scene.ingest(&node, &shipper);
    scene.latency(&node, "while the splits of the corpus are built");
    scene.settle(&node);
    scene.latency(&node, "at rest");
    scene.settle(&node);
    scene.size(&node, &shipper);
    scene.queries(&node);
    node.process.stop();
}

fn write_corpus(folder: &Path, records: u64, seed: u64) -> (Vec<PathBuf>, u64) {
    let files: Vec<PathBuf> =
        (0..STREAMS).map(|n| folder.join(format!("logs/service{n}.log"))).collect();
    let open = |path| BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writers: Vec<_> = files.iter().map(open).collect();
    let (mut corpus, mut bytes) = (Corpus::new(seed), 0);
    for _ in 0..records {
        let (stream, line) = corpus.line();
        bytes += line.len() as u64 + 1;
        writeln!(writers[stream], "{line}").unwrap();
    }
    writers.into_iter().for_each(|writer| drop(writer.into_inner().unwrap()));
    (files, bytes)
}

impl Scene {
    fn shipper(&self, node: &Node) -> Process {
        let (state, glob) =
            (self.folder.path().join("state"), self.folder.path().join("logs/*.log"));
        let args = [
            "--to",
            node.url(),
            "--state-dir",
            state.to_str().unwrap(),
            "--path",
            glob.to_str().unwrap(),
        ];
        Process::start("sawlog-shipper", &args, &self.folder.path().join("shipper.words"))
    }

    fn time<T>(&self, work: impl FnOnce() -> T) -> (Duration, T) {
        let start = self.clock.elapsed();
        let outcome = work();
        (self.clock.elapsed() - start, outcome)
    }

    fn reference_zstd(&self) {
        let (took, bytes) = self.time(|| {
            let pack = |file: &PathBuf| {
                let raw = std::fs::File::open(file).unwrap();
                zstd::encode_all(raw, 1).unwrap().len() as u64
            };
            self.files.iter().map(pack).sum::<u64>()
        });
        let share = bytes as f64 / self.raw_bytes as f64;
        let speed = mb(self.raw_bytes) / took.as_secs_f64();
        println!("reference  zstd -1: {share:.4} bytes per raw byte, {speed:.0} MB/s");
    }

    fn ingest(&self, node: &Node, shipper: &Process) {
        let (took, ()) = self.time(|| {
            within(PATIENCE, "every record of the corpus", || {
                (node.client.count_of("") >= self.records).then_some(())
            });
        });
        let speed = mb(self.raw_bytes) / took.as_secs_f64();
        println!(
            "ingest     {speed:.1} MB/s, {:.0} records/s, file to found",
            self.records as f64 / took.as_secs_f64()
        );
        let gb = self.raw_bytes as f64 / 1e9;
        let (node, shipper) = (cpu_s(&node.process) / gb, cpu_s(shipper) / gb);
        println!(
            "           {:.1} CPU-s/GB so far: node {node:.1}, shipper {shipper:.1}",
            node + shipper
        );
    }

    /// From a line's end in the file to the first answer that has it.
    fn latency(&self, node: &Node, when: &str) {
        let path = self.folder.path().join("logs/probe.log");
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        let tag = self.clock.now().0;
        let mut times: Vec<f64> = (0..PROBES)
            .map(|n| {
                let word = format!("probe{tag}x{n}");
                let line = format!("{} INFO {word}\n", self.clock.now());
                let (took, ()) = self.time(|| {
                    file.write_all(line.as_bytes()).unwrap();
                    while node
                        .client
                        .rows(&json!({ "query": word, "from": "-1h", "limit": 1 }))
                        .is_empty()
                    {}
                });
                took.as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(&times, share));
        println!(
            "latency    line appended → found: p50 {p50:.0} ms, p99 {p99:.0} ms, {when} (aim: p99 under 1,000)"
        );
    }

    fn settle(&self, node: &Node) {
        let (mut last, mut since) = (Value::Null, self.clock.elapsed());
        within(PATIENCE, "splits built and merged", || {
            let status = node.client.get("/api/v1/status");
            let fresh = status["partitions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|p| p["fresh_records"] != json!(0));
            if fresh || status["indexes"] != last {
                (last, since) = (status["indexes"].clone(), self.clock.elapsed());
            }
            (self.clock.elapsed() - since > Duration::from_secs(3)).then_some(())
        });
    }

    fn size(&self, node: &Node, shipper: &Process) {
        let data = self.folder.path().join("data");
        let (all, splits) = (folder_bytes(&data), folder_bytes(&data.join("splits")));
        let objects = if splits > 0 { splits } else { folder_bytes(&data.join("objects")) };
        let share = |bytes: u64| bytes as f64 / self.raw_bytes as f64;
        println!(
            "disk       {:.4} bytes per raw byte in splits, {:.4} with the queue",
            share(objects),
            share(all)
        );
        let (a, b) = (peak_bytes(&node.process), peak_bytes(shipper));
        println!("memory     peak: node {:.0} MB, shipper {:.0} MB", mb(a), mb(b));
        let gb = self.raw_bytes as f64 / 1e9;
        let (node, shipper) = (cpu_s(&node.process) / gb, cpu_s(shipper) / gb);
        println!(
            "cpu        {:.1} CPU-s/GB with splits and merges: node {node:.1}, shipper {shipper:.1}",
            node + shipper
        );
    }

    fn queries(&self, node: &Node) {
        let needle = format!("needle{}", (self.records - 1) / NEEDLE_EVERY / 2);
        println!("queries    median of {RUNS}; beside: ripgrep over the raw files");
        let count = |query: &str| ("/api/v1/query", format!("{query} | stats count() as n"));
        let list: [(&str, (&str, String), Option<&str>); 9] = [
            ("needle", ("/api/v1/query", needle.clone()), Some(needle.as_str())),
            ("frequent word, count", count("terminating"), Some(r"\bterminating\b")),
            (
                "rare word, newest 100",
                ("/api/v1/query", "exceeded".to_owned()),
                Some(r"\bexceeded\b"),
            ),
            (
                "phrase, count",
                count("\"Failed password for invalid user\""),
                Some("Failed password for invalid user"),
            ),
            (
                "field, count",
                count("status:503 user:alice"),
                Some("\"status\":503.*\"user\":\"alice\""),
            ),
            ("newest 100", ("/api/v1/query", String::new()), None),
            ("histogram of all", ("/api/v1/histogram", String::new()), None),
            ("histogram of a word", ("/api/v1/histogram", "error".to_owned()), Some(r"\berror\b")),
            ("stats by level", ("/api/v1/query", "| stats count() as n by level".to_owned()), None),
        ];
        for (name, (path, query), pattern) in list {
            let ours = self.median(|| {
                let answer = node.client.post(path, &json!({ "query": query, "limit": 100 }));
                assert_eq!(answer.status, 200, "{name}: {}", answer.body);
            });
            let theirs = pattern.and_then(|pattern| self.ripgrep(pattern));
            let theirs = theirs.map_or_else(|| "-".to_owned(), |ms| format!("rg {ms:.1} ms"));
            println!("           {name:<24} {ours:>8.1} ms   {theirs}");
        }
    }

    fn median(&self, mut work: impl FnMut()) -> f64 {
        let mut times: Vec<f64> =
            (0..RUNS).map(|_| self.time(&mut work).0.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        quantile(&times, 0.5)
    }

    /// `None` where ripgrep is not installed.
    fn ripgrep(&self, pattern: &str) -> Option<f64> {
        let logs = self.folder.path().join("logs");
        let run = || {
            let mut command = Command::new("rg");
            command.args(["-i", "-c", "--no-messages", "-e", pattern]).arg(&logs);
            command.stdout(Stdio::null()).status()
        };
        run().ok()?;
        Some(self.median(|| drop(run())))
    }
}
