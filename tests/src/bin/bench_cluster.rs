//! `make bench-cluster`: taking records on three nodes beside one and beside NATS JetStream, the time
//! from the death of a leader to the next acknowledgement, and what idle nodes cost.
//! BENCH_MB (200), KILLS (20), SEED (1); JETSTREAM is the command of the reference.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first thing that is wrong, and its output is its purpose"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::level::Level;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use platform::clock::Clock;
use serde_json::Value;
use tests::chance::Chance;
use tests::client::Client;
use tests::cluster::Cluster;
use tests::corpus::{Corpus, STREAMS};
use tests::measure::{cpu_s, cpu_s_now, mb, quantile, resident_bytes};
use tests::process::{Node, Process};
use tests::wait::{eventually, pace};

/// Connections that send.
const SENDERS: usize = 8;
/// Bytes of text in a batch: what a shipper sends when much is waiting.
const BATCH_TEXT_BYTES: usize = 512 << 10;
/// How long nodes are let alone before they are idle.
const CALM: Duration = Duration::from_secs(10);
/// How long idle nodes are looked at.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a message to the reference when it gets the text itself.
const MESSAGE_BYTES: usize = 512 << 10;
/// Records stay in the queue and in memory: what is measured is taking them.
const QUEUE_ONLY: &str = "[index]\nfresh_rows_max = 1000000000\nfresh_bytes_max = 1000000000000\nfresh_age_max_s = 86400\n";

/// A corpus as a shipper would send it.
struct Load {
    /// Per stream, its batches in order.
    streams: Vec<Vec<Vec<u8>>>,
    text: Vec<u8>,
    records: u64,
}

fn main() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (mb_wanted, kills, seed) =
        (setting("BENCH_MB", 200), setting("KILLS", 20), setting("SEED", 1));
    let load = Load::new(mb_wanted * 1_000_000, seed);
    println!(
        "{} records, {:.1} MB of text in {} streams, {:.1} MB as batches, {SENDERS} senders, seed {seed}",
        load.records,
        mb(load.text.len() as u64),
        load.streams.len(),
        mb(load.batch_bytes())
    );
    println!("\n| what | MB/s of text | MB/s as sent | CPU-s/GB of text |\n|---|---|---|---|");
    one_node(&load);
    three_nodes(&load);
    if let Ok(command) = std::env::var("JETSTREAM") {
        jetstream(&command, "NATS JetStream R=3, the same batches", &load, load.batches());
        let text: Vec<&[u8]> = load.text.chunks(MESSAGE_BYTES).collect();
        jetstream(&command, "NATS JetStream R=3, the text, 512 KiB a message", &load, text);
    }
    idle_and_failover(kills, seed);
}

impl Load {
    fn new(bytes: u64, seed: u64) -> Self {
        let mut corpus = Corpus::new(seed);
        let mut waiting: Vec<Vec<String>> = vec![Vec::new(); STREAMS];
        let mut sizes = vec![0; STREAMS];
        let mut load = Self { streams: vec![Vec::new(); STREAMS], text: Vec::new(), records: 0 };
        let mut sequences = vec![0; STREAMS];
        while (load.text.len() as u64) < bytes {
            // The corpus's own streams are of very different size; here each is a shipper's.
            let (_, line) = corpus.line();
            let stream = usize::try_from(load.records % STREAMS as u64).unwrap();
            load.records += 1;
            load.text.extend_from_slice(line.as_bytes());
            load.text.push(b'\n');
            sizes[stream] += line.len() + 1;
            waiting[stream].push(line);
            if sizes[stream] >= BATCH_TEXT_BYTES {
                let lines = std::mem::take(&mut waiting[stream]);
                load.streams[stream].push(batch(stream, &mut sequences[stream], &lines));
                sizes[stream] = 0;
            }
        }
        for (stream, lines) in waiting.iter().enumerate().filter(|(_, lines)| !lines.is_empty()) {
            load.streams[stream].push(batch(stream, &mut sequences[stream], lines));
        }
        load
    }

    fn batches(&self) -> Vec<&[u8]> {
        self.streams.iter().flatten().map(Vec::as_slice).collect()
    }

    fn batch_bytes(&self) -> u64 {
        self.batches().iter().map(|batch| batch.len() as u64).sum()
    }

    /// Sends everything to these nodes, stream by stream; seconds until the last acknowledgement.
    fn send(&self, addresses: &[String]) -> f64 {
        let clock = Clock::system();
        let begin = clock.elapsed();
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let address = &addresses[sender % addresses.len()];
                let own = (sender..self.streams.len()).step_by(SENDERS);
                let own: Vec<&Vec<Vec<u8>>> = own.map(|stream| &self.streams[stream]).collect();
                scope.spawn(move || {
                    let client = Client::new(address);
                    let longest = own.iter().map(|batches| batches.len()).max().unwrap_or(0);
                    for turn in 0..longest {
                        own.iter()
                            .filter_map(|all| all.get(turn))
                            .for_each(|one| take(&client, one));
                    }
                });
            }
        });
        (clock.elapsed() - begin).as_secs_f64()
    }

    fn row(&self, what: &str, seconds: f64, sent: u64, cpu_s: f64) {
        let text = self.text.len() as u64;
        println!(
            "| {what} | {:.1} | {:.1} | {:.2} |",
            mb(text) / seconds,
            mb(sent) / seconds,
            cpu_s / (text as f64 / 1e9)
        );
    }
}

fn batch(stream: usize, sequence: &mut u64, lines: &[String]) -> Vec<u8> {
    let labels = Labels::new(vec![("service".to_owned(), format!("service{stream}"))]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    for line in lines {
        builder.push_text(Timestamp(1_793_491_200_000_000_000), Level::Info, line);
    }
    let (from, to) = (*sequence, *sequence + lines.len() as u64);
    *sequence = to;
    let sequence = Sequence { producer: stream as u64 + 1, epoch: 0, from, to };
    codec::encode(&builder.finish(), sequence).unwrap().to_vec()
}

fn take(client: &Client, batch: &[u8]) {
    let headers = [("content-type", "application/x-sawlog-batch")];
    eventually("the batch to be taken", || {
        let answer = client.send("POST", "/api/v1/batches", &headers, batch.to_vec())?;
        (answer.status == 200).then_some(())
    });
}

fn one_node(load: &Load) {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start("node", folder.path(), QUEUE_ONLY, &[]);
    let before = cpu_s(&node.process);
    let seconds = load.send(&[node.url().trim_start_matches("http://").to_owned()]);
    node.client.expect_records(load.records);
    load.row("one node", seconds, load.batch_bytes(), cpu_s(&node.process) - before);
    node.process.stop();
}

/// Something of each node's process.
fn each(cluster: &mut Cluster, what: impl Fn(&Process) -> f64) -> Vec<f64> {
    cluster.running().into_iter().map(|number| what(cluster.process(number))).collect()
}

fn three_nodes(load: &Load) {
    let mut cluster = Cluster::start(3, QUEUE_ONLY, |_, _| Vec::new());
    let before: f64 = each(&mut cluster, cpu_s).iter().sum();
    let seconds = load.send(&cluster.addresses());
    eventually("every record", || (cluster.count(0, "")? == load.records).then_some(()));
    let spent = each(&mut cluster, cpu_s).iter().sum::<f64>() - before;
    load.row("three nodes, three replicas", seconds, load.batch_bytes(), spent);
}

fn jetstream(command: &str, what: &str, load: &Load, payloads: Vec<&[u8]>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payloads");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    for payload in payloads {
        out.write_all(&u32::try_from(payload.len()).unwrap().to_le_bytes()).unwrap();
        out.write_all(payload).unwrap();
    }
    drop(out.into_inner().unwrap());
    let parts: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(parts[0])
        .args(&parts[1..])
        .args([file.as_path(), folder.path(), Path::new(&SENDERS.to_string())])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the reference fails: {}", output.status);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |name: &str| result[name].as_f64().unwrap();
    load.row(what, figure("seconds"), result["bytes"].as_u64().unwrap(), figure("cpu_s"));
}

/// What three nodes cost that do nothing; then leaders are killed.
fn idle_and_failover(kills: u64, seed: u64) {
    let settings = "[index]\nfresh_age_max_s = 2\n[cluster]\ngone_after_s = 600\n";
    let mut cluster = Cluster::start(3, settings, |_, _| Vec::new());
    let clock = Clock::system();
    pace(CALM);
    let before = each(&mut cluster, cpu_s_now);
    pace(IDLE);
    let after = each(&mut cluster, cpu_s_now);
    let resident = each(&mut cluster, |process| mb(resident_bytes(process)));
    println!("\n| idle node | share of one core, % | resident MB |\n|---|---|---|");
    for (at, resident) in resident.iter().enumerate() {
        let share = (after[at] - before[at]) / IDLE.as_secs_f64() * 100.0;
        println!("| {at} | {share:.2} | {resident:.0} |");
    }
    let (mut chance, mut times) = (Chance::new(seed), Vec::new());
    let partitions = cluster.status(0).unwrap()["partitions"].as_array().unwrap().len();
    for kill in 0..kills {
        let partition = chance.place(partitions);
        let victim = cluster.leader_of(partition, 0);
        let survivor = (victim + 1) % 3;
        let service = service_of(&cluster, partition, kill);
        cluster.kill(victim);
        let begin = clock.elapsed();
        let path = format!("/api/v1/ingest?service={service}");
        eventually("an acknowledgement", || {
            let client = cluster.client(survivor);
            let key = format!("failover {kill}");
            let headers = [("idempotency-key", key.as_str())];
            let answer = client.send("POST", &path, &headers, b"{\"msg\":\"after\"}\n".to_vec())?;
            (answer.status == 200).then_some(())
        });
        times.push((clock.elapsed() - begin).as_secs_f64());
        cluster.begin(victim);
        cluster.settled();
    }
    times.sort_by(f64::total_cmp);
    println!(
        "\nfailover, SIGKILL of a partition's leader to the next acknowledgement of the partition, {kills} times: p50 {:.2} s, p99 {:.2} s, longest {:.2} s (aims: 1 s, 3 s)",
        quantile(&times, 0.5),
        quantile(&times, 0.99),
        quantile(&times, 1.0)
    );
}

/// A stream that goes to this partition, found by trying.
fn service_of(cluster: &Cluster, partition: usize, kill: u64) -> String {
    let committed = || {
        let status = eventually("a status", || cluster.status(0));
        status["partitions"][partition]["committed"].as_u64().unwrap()
    };
    for n in 0..1_000 {
        let (service, before) = (format!("try{kill}x{n}"), committed());
        let path = format!("/api/v1/ingest?service={service}");
        cluster.client(0).ingest(&path, b"{\"msg\":\"where\"}\n");
        if committed() > before {
            return service;
        }
    }
    panic!("no stream goes to partition {partition}")
}
