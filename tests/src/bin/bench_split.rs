//! `make bench-split`: bytes by part before and after cold compaction, CPU by stage and queries over
//! three corpora, whole node over HTTP, each beside references of the same run. CORPUS
//! (plain,hostile,wide), RECORDS (10,000,000 of plain, 1,000,000 of the others), SEED (1), SAMPLES (a
//! folder of NAME_2k.log files).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first thing that is wrong, and its output is its purpose"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use platform::clock::Clock;
use serde_json::{Value, json};
use tests::measure::{cpu_s, cpu_s_by_thread, cpu_s_now, folder_bytes, mb, peak_bytes, quantile};
use tests::process::{self, Node};
use tests::records::{Kind, Records, Samples, asked};
use tests::scene::{SETTINGS, drop_caches, ripgrep, send, settle, time, write_raw};
use tests::wait::{pace, within};

/// So long may cold compaction take, also with very many records.
const COMPACTION: Duration = Duration::from_secs(4 * 3600);
/// Runs of each query; the median is printed.
const RUNS: usize = 7;

fn main() {
    let setting = |name: &str| std::env::var(name).ok();
    let samples = setting("SAMPLES").map(PathBuf::from);
    let (samples, folder) = Samples::read(samples.as_deref());
    println!("lines are made after those in {}", folder.file_name().unwrap().display());
    let chosen = setting("CORPUS").unwrap_or_else(|| "plain,hostile,wide".to_owned());
    for kind in [Kind::Plain, Kind::Hostile, Kind::Wide] {
        if chosen.split(',').any(|name| name == kind.name()) {
            let usual = if kind == Kind::Plain { 10_000_000 } else { 1_000_000 };
            let count = setting("RECORDS").map_or(usual, |text| text.parse().unwrap());
            let seed = setting("SEED").map_or(1, |text| text.parse().unwrap());
            let scene = Scene::new(kind, count, Records::new(kind, seed, samples.clone()));
            scene.run();
        }
    }
}

struct Scene {
    kind: Kind,
    folder: tempfile::TempDir,
    clock: Clock,
    count: u64,
    raw_bytes: u64,
}

impl Scene {
    fn new(kind: Kind, count: u64, mut records: Records) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let raw_bytes = write_raw(&folder.path().join("raw"), &mut records, count, |_| ());
        println!("\n{}: {count} records, {:.1} MB of NDJSON", kind.name(), mb(raw_bytes));
        Self { kind, folder, clock: Clock::system(), count, raw_bytes }
    }

    fn raw(&self) -> PathBuf {
        self.folder.path().join("raw")
    }

    fn gb(&self) -> f64 {
        self.raw_bytes as f64 / 1e9
    }

    fn share(&self, bytes: u64) -> f64 {
        bytes as f64 / self.raw_bytes as f64
    }

    fn run(&self) {
        for level in [1, 3] {
            self.zstd(level);
        }
        let mut node = Node::start("node", self.folder.path(), SETTINGS, &[]);
        self.ingest(&node);
        self.sizes("disk");
        self.queries(&node, "warm");
        self.duckdb();
        node.process.stop();
        drop_caches(&self.folder.path().join("data"));
        let (took, node) = self.time(|| Node::start("node", self.folder.path(), SETTINGS, &[]));
        println!("start      {:.0} ms until it is ready", took.as_secs_f64() * 1e3);
        self.cold(&node);
        self.compact(&node);
        self.queries(&node, "warm, over compacted splits");
    }

    fn time<T>(&self, work: impl FnOnce() -> T) -> (Duration, T) {
        time(&self.clock, work)
    }

    fn zstd(&self, level: i32) {
        let (took, bytes) = self.time(|| {
            let mut packed = zstd::Encoder::new(Counted(0), level).unwrap();
            std::io::copy(&mut std::fs::File::open(self.raw()).unwrap(), &mut packed).unwrap();
            packed.finish().unwrap().0
        });
        println!(
            "reference  zstd -{level}: {:.4} of raw, {:.1} s/GB",
            self.share(bytes),
            took.as_secs_f64() / self.gb()
        );
    }

    fn ingest(&self, node: &Node) {
        let (took, ()) = self.time(|| send(&node.client, &self.raw()));
        println!(
            "ingest     {:.1} MB/s, {:.0} records/s acknowledged",
            mb(self.raw_bytes) / took.as_secs_f64(),
            self.count as f64 / took.as_secs_f64()
        );
        settle(node, &self.clock);
        let (all, by_thread) = (cpu_s(&node.process), cpu_s_by_thread(&node.process));
        println!("cpu        {:.1} CPU-s/GB for the whole node, of these", all / self.gb());
        let mut named = 0.0;
        for (name, spent) in &by_thread {
            named += spent;
            println!("           {:>6.2}  {name}", spent / self.gb());
        }
        println!("           {:>6.2}  threads that ended", (all - named) / self.gb());
        println!("memory     peak {:.0} MB (aim: 300)", mb(peak_bytes(&node.process)));
        let metrics = node.client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
        written(&metrics);
    }

    fn splits(&self) -> PathBuf {
        self.folder.path().join("data/objects/splits")
    }

    /// Has everything packed for size, and says what that cost and what it gave.
    fn compact(&self, node: &Node) {
        const PATH: &str = "/api/v1/indexes/main/compact";
        let cpu = cpu_s_now(&node.process);
        let (took, ()) = self.time(|| {
            let begun = node.client.post(PATH, &json!({}));
            assert_eq!(begun.status, 202, "{}", begun.body);
            within(COMPACTION, "everything compacted, and nothing else left", || {
                // Asking costs the node CPU that is not its work's.
                pace(Duration::from_millis(250));
                let progress = node.client.get(PATH);
                let there = std::fs::read_dir(self.splits()).unwrap().count() as u64;
                let is_done = progress["splits_left"] == json!(0);
                (is_done && progress["cold_splits"] == json!(there)).then_some(())
            });
        });
        println!(
            "compaction {:.1} CPU-s/GB, {:.0} s, memory peak {:.0} MB since the start",
            (cpu_s_now(&node.process) - cpu) / self.gb(),
            took.as_secs_f64(),
            mb(peak_bytes(&node.process))
        );
        self.sizes("disk, compacted");
    }

    /// Bytes by part, of all splits together.
    fn sizes(&self, what: &str) {
        let splits = self.splits();
        let (mut parts, mut count) = (BTreeMap::<String, u64>::new(), 0);
        for split in std::fs::read_dir(&splits).unwrap() {
            let split = split.unwrap().path();
            let dump = process::run(
                "sawlog",
                &["split", "dump", "--format", "json", split.to_str().unwrap()],
            );
            let dump: Value = serde_json::from_slice(&dump.stdout).unwrap();
            count += 1;
            for (name, prefix) in [("columns", "body "), ("sections", "index ")] {
                for (part, bytes) in dump[name].as_object().unwrap() {
                    let part = part.split('/').next().unwrap();
                    *parts.entry(format!("{prefix}{part}")).or_default() += bytes.as_u64().unwrap();
                }
            }
        }
        let all = folder_bytes(&splits);
        println!(
            "{what:<10} {:.4} of raw: {:.1} MB in {count} splits, of these",
            self.share(all),
            mb(all)
        );
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.1));
        let (most, others) = parts.split_at(parts.len().min(16));
        for (name, bytes) in most {
            println!("           {:.4}  {name}", self.share(*bytes));
        }
        let sum = |parts: &[(String, u64)]| parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
        println!("           {:.4}  {} others", self.share(sum(others)), others.len());
        let outside = all.saturating_sub(sum(&parts));
        println!("           {:.4}  footers and indexes of pages", self.share(outside));
    }

    fn queries(&self, node: &Node, state: &str) {
        println!(
            "queries    {state}: CPU-ms of the node and wall ms, median of {RUNS}; ripgrep over the raw file"
        );
        for question in asked::of(self.kind, self.count) {
            let times: Vec<(f64, f64)> = (0..RUNS)
                .map(|_| {
                    let cpu = cpu_s_now(&node.process);
                    let (took, ()) = self.time(|| question.ask(node));
                    ((cpu_s_now(&node.process) - cpu) * 1e3, took.as_secs_f64() * 1e3)
                })
                .collect();
            let median = |pick: fn(&(f64, f64)) -> f64| {
                let mut all: Vec<f64> = times.iter().map(pick).collect();
                all.sort_by(f64::total_cmp);
                quantile(&all, 0.5)
            };
            let (cpu, wall) = (median(|t| t.0), median(|t| t.1));
            let rg =
                question.pattern.and_then(|pattern| ripgrep(&self.clock, pattern, &self.raw()));
            let rg = rg.map_or_else(|| "-".to_owned(), |ms| format!("rg {ms:.0} ms"));
            println!("           {:<34} {cpu:>8.1} {wall:>8.1}   {rg}", question.name);
        }
    }

    /// The first answers of a node that has just been started, over files that are in no cache.
    fn cold(&self, node: &Node) {
        let all = asked::of(self.kind, self.count);
        println!("queries    cold (restarted, files out of the page cache), wall ms, one run each");
        for question in all.iter().filter(|question| question.cold) {
            drop_caches(&self.folder.path().join("data"));
            let (took, ()) = self.time(|| question.ask(node));
            println!("           {:<34} {:>8.1}", question.name, took.as_secs_f64() * 1e3);
        }
    }

    /// The same records in an open columnar file by DuckDB, where its Python package is installed.
    fn duckdb(&self) {
        let script = "import duckdb, sys, resource, os\n\
            duckdb.sql(\"set enable_progress_bar=false\")\n\
            raw, out = sys.argv[1:3]\n\
            duckdb.sql(f\"copy (select * from read_json('{raw}', format='newline_delimited', sample_size=100000, union_by_name=true) order by service, timestamp) to '{out}' (format parquet, compression zstd)\")\n\
            use = resource.getrusage(resource.RUSAGE_SELF)\n\
            print(os.path.getsize(out), use.ru_utime + use.ru_stime)\n";
        let out = self.folder.path().join("duckdb.parquet");
        let run = Command::new("python3")
            .args(["-c", script, self.raw().to_str().unwrap(), out.to_str().unwrap()])
            .stderr(Stdio::null())
            .output();
        let text = run.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = text.unwrap_or_default();
        let Some((bytes, cpu)) = text.trim().split_once(' ') else {
            return println!("reference  DuckDB: not run (pip install duckdb)");
        };
        println!(
            "reference  DuckDB, NDJSON to Parquet zstd by service and time: {:.4} of raw, {:.1} CPU-s/GB",
            self.share(bytes.parse().unwrap()),
            cpu.parse::<f64>().unwrap() / self.gb()
        );
    }
}

/// What building and merging wrote, and how often a byte was written all in all.
fn written(metrics: &str) {
    let figure = |name: &str| -> f64 {
        let name = format!("index_{name}_total ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name}in the metrics")).parse().unwrap()
    };
    let (built, merged) = (figure("build_bytes"), figure("merge_bytes"));
    println!(
        "written    {:.2} times what builds write, of these",
        (built + merged) / built.max(1.0)
    );
    for (what, name, bytes) in [("builds", "build", built), ("merges", "merge", merged)] {
        let [rows, seconds] = ["rows", "seconds"].map(|unit| figure(&format!("{name}_{unit}")));
        println!("           {what}: {rows:.0} rows, {:.1} MB in {seconds:.1} s", bytes / 1e6);
    }
}

/// Counts what is written.
struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
