//! `make bench-query`: the table of queries over the bench corpus, end to end through HTTP, warm and
//! cold, CPU of the whole node, every answer compared with plain loops over the same records;
//! ripgrep over the raw file in the same run; then many dashboards at a time. NODES=3 asks the same,
//! warm, of one node of a cluster that has the records spread. RECORDS (10,000,000), SEED (1),
//! SAMPLES (a folder of NAME_2k.log files), DASHBOARDS (100), SECONDS (20), NODES (1).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first thing that is wrong, and its output is its purpose"
)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::clock::Clock;
use serde_json::json;
use tests::client::Client;
use tests::cluster::{Cluster, all_published};
use tests::measure::{cpu_s, cpu_s_now, folder_bytes, mb, peak_bytes, quantile};
use tests::process::Node;
use tests::records::table::{Row, rows};
use tests::records::truth::Raw;
use tests::records::{Kind, Records, Samples};
use tests::scene::{SETTINGS, drop_caches, ripgrep, send, settle, time, write_raw};
use tests::wait::{pace, within};

/// Runs of each query; the median is printed.
const RUNS: usize = 7;

fn main() {
    let setting = |name: &str| std::env::var(name).ok();
    let number = |name: &str, usual| setting(name).map_or(usual, |text| text.parse().unwrap());
    let (samples, _) = Samples::read(setting("SAMPLES").map(PathBuf::from).as_deref());
    let count: u64 = number("RECORDS", 10_000_000);
    let folder = tempfile::tempdir().unwrap();
    let (clock, raw) = (Clock::system(), folder.path().join("raw"));
    let mut table = rows(Records::second_of(count / 2));
    let mut records = Records::new(Kind::Plain, number("SEED", 1), samples);
    let raw_bytes = write_raw(&raw, &mut records, count, |line| {
        let raw = Raw::read(line);
        table.iter_mut().for_each(|row| row.see(&raw));
    });
    println!("{count} records, {:.1} MB of NDJSON", mb(raw_bytes));
    let nodes = number("NODES", 1);
    if nodes > 1 {
        return spread(&mut table, &raw, &clock, usize::try_from(nodes).unwrap());
    }
    let mut node = Node::start("node", folder.path(), SETTINGS, &[]);
    let (took, ()) = time(&clock, || send(&node.client, &raw));
    settle(&node, &clock);
    let data = folder.path().join("data");
    println!(
        "ingest  {:.1} MB/s, {:.1} CPU-s/GB with splits and merges, {:.3} of raw on disk",
        mb(raw_bytes) / took.as_secs_f64(),
        cpu_s(&node.process) / (raw_bytes as f64 / 1e9),
        folder_bytes(&data.join("objects")) as f64 / raw_bytes as f64
    );
    let scene = Scene { clock, raw, data };
    let cpu = || cpu_s_now(&node.process);
    let ask = |row: &mut Row| warm(&scene.clock, &cpu, &node.client, row);
    let all_warm: Vec<Figures> = table.iter_mut().map(ask).collect();
    let dashboards = number("DASHBOARDS", 100);
    scene.dashboards(&node, dashboards, Duration::from_secs(number("SECONDS", 20)));
    node.process.stop();
    let mut node = Node::start("node", folder.path(), SETTINGS, &[]);
    println!(
        "{:<34} {:>8} {:>8} {:>6}  {:>8} {:>8}  {:>8}  peers at 10 M: CPU-ms",
        "", "warm CPU", "wall ms", "plan", "cold CPU", "wall ms", "rg ms"
    );
    for (row, warm) in table.iter_mut().zip(all_warm) {
        let cold = scene.cold(&node, row);
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.0}"));
        let peer = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        println!(
            "{:<34} {warm}  {:>8.1} {:>8.1}  {:>8}  {:>8} {:>8}",
            row.name,
            cold.cpu_ms,
            cold.wall_ms,
            figure(row.pattern.and_then(|pattern| ripgrep(&scene.clock, pattern, &scene.raw))),
            peer(row.peers[0]),
            peer(row.peers[1]),
        );
    }
    node.process.stop();
}

/// What a query took.
struct Figures {
    cpu_ms: f64,
    wall_ms: f64,
    plan_us: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan_us.map_or("-".to_owned(), |us| format!("{:.1}", us / 1e3));
        write!(out, "{:>8.1} {:>8.1} {plan:>6}", self.cpu_ms, self.wall_ms)
    }
}

struct Scene {
    clock: Clock,
    raw: PathBuf,
    data: PathBuf,
}

/// The table over so many nodes: asked of the first, CPU of all of them together.
fn spread(table: &mut [Row], raw: &Path, clock: &Clock, nodes: usize) {
    let cluster = Cluster::start(nodes, SETTINGS, |_, _| Vec::new());
    send(cluster.client(0), raw);
    within(Duration::from_secs(3600), "every record in a split", || {
        pace(Duration::from_millis(250));
        cluster.status(0).is_some_and(|status| all_published(&status)).then_some(())
    });
    cluster.settled();
    println!("{:<34} {:>8} {:>8} {:>6}", format!("{nodes} nodes"), "warm CPU", "wall ms", "plan");
    for row in table {
        let figures = warm(clock, &|| cluster.cpu_s_now(), cluster.client(0), row);
        println!("{:<34} {figures}", row.name);
    }
}

/// One run. `cpu` tells the CPU seconds spent so far.
fn once(clock: &Clock, cpu: &dyn Fn() -> f64, client: &Client, row: &mut Row) -> Figures {
    let before = cpu();
    let (took, plan_us) = time(clock, || row.ask(client));
    Figures {
        cpu_ms: (cpu() - before) * 1e3,
        wall_ms: took.as_secs_f64() * 1e3,
        plan_us: plan_us.map(|us| us as f64),
    }
}

/// The median of a few runs.
fn warm(clock: &Clock, cpu: &dyn Fn() -> f64, client: &Client, row: &mut Row) -> Figures {
    let runs: Vec<Figures> = (0..RUNS).map(|_| once(clock, cpu, client, row)).collect();
    let median = |pick: fn(&Figures) -> Option<f64>| {
        let mut all: Vec<f64> = runs.iter().filter_map(pick).collect();
        all.sort_by(f64::total_cmp);
        (!all.is_empty()).then(|| quantile(&all, 0.5))
    };
    Figures {
        cpu_ms: median(|run| Some(run.cpu_ms)).unwrap(),
        wall_ms: median(|run| Some(run.wall_ms)).unwrap(),
        plan_us: median(|run| run.plan_us),
    }
}

impl Scene {
    /// With no file of the node in the page cache, and every split forgotten by a fresh start.
    fn cold(&self, node: &Node, row: &mut Row) -> Figures {
        drop_caches(&self.data);
        once(&self.clock, &|| cpu_s_now(&node.process), &node.client, row)
    }

    /// So many dashboards at a time, each asking its panels one after the other.
    fn dashboards(&self, node: &Node, count: u64, span: Duration) {
        let panels = [
            ("/api/v1/histogram", json!({ "query": "", "buckets": 60 })),
            ("/api/v1/query", json!({ "query": "level:error", "limit": 50 })),
            ("/api/v1/query", json!({ "query": "| stats count() as n by service" })),
            ("/api/v1/query", json!({ "query": "level:error | timechart count() by service" })),
            ("/api/v1/query", json!({ "query": "block | stats count() as n" })),
            ("/api/v1/query", json!({ "query": "| top 5 host" })),
        ];
        let (refused, end) = (AtomicU64::new(0), self.clock.elapsed() + span);
        let cpu = cpu_s(&node.process);
        let address = node.client.url.trim_start_matches("http://").to_owned();
        let mut times: Vec<f64> = std::thread::scope(|scope| {
            let dashboard = |number: u64| {
                let (address, panels, refused, clock) = (&address, &panels, &refused, &self.clock);
                move || {
                    let (client, mut times) = (Client::new(address), Vec::new());
                    let first = usize::try_from(number).unwrap();
                    for (path, body) in panels.iter().cycle().skip(first % panels.len()) {
                        if clock.elapsed() >= end {
                            break;
                        }
                        let (took, answer) = time(clock, || client.post(path, body));
                        match answer.status {
                            200 => times.push(took.as_secs_f64() * 1e3),
                            429 => drop(refused.fetch_add(1, Ordering::Relaxed)),
                            status => panic!("{status}: {}", answer.body),
                        }
                    }
                    times
                }
            };
            let running: Vec<_> = (0..count).map(|n| scope.spawn(dashboard(n))).collect();
            running.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        times.sort_by(f64::total_cmp);
        let seconds = span.as_secs_f64();
        println!(
            "dashboards {count} at a time for {seconds:.0} s: {:.0} answers/s, p50 {:.0} ms, p99 {:.0} ms, {} refused, {:.1} cores, peak memory {:.0} MB",
            times.len() as f64 / seconds,
            quantile(&times, 0.5),
            quantile(&times, 0.99),
            refused.load(Ordering::Relaxed),
            (cpu_s(&node.process) - cpu) / seconds,
            mb(peak_bytes(&node.process)),
        );
    }
}
