//! What benches share: a corpus in a file, sent to a node, indexed, taken out of the page cache;
//! the same file searched by ripgrep.

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use platform::clock::Clock;
use serde_json::{Value, json};

use crate::client::Client;
use crate::measure::quantile;
use crate::process::Node;
use crate::records::Records;
use crate::wait::{pace, within};

/// Bytes of a request's body.
const BODY_BYTES: usize = 1 << 20;
/// Requests on their way at a time.
const SENDERS: usize = 2;
/// Anything may take so long, also with very many records.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Runs of ripgrep; the median counts.
const RIPGREP_RUNS: usize = 3;

/// What is left in memory becomes a split soon after the last record.
pub const SETTINGS: &str = "[index]\nfresh_age_max_s = 5\n";

/// Runs something and says how long it took.
pub fn time<T>(clock: &Clock, work: impl FnOnce() -> T) -> (Duration, T) {
    let start = clock.elapsed();
    let outcome = work();
    (clock.elapsed().saturating_sub(start), outcome)
}

/// Writes so many records to a file and shows each line to somebody; the bytes.
///
/// # Panics
/// The file cannot be written.
pub fn write_raw(
    path: &Path,
    records: &mut Records,
    count: u64,
    mut see: impl FnMut(&[u8]),
) -> u64 {
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    let (mut bytes, mut line) = (0, Vec::new());
    for _ in 0..count {
        line.clear();
        records.write(&mut line);
        bytes += line.len() as u64;
        file.write_all(&line).unwrap();
        see(&line);
    }
    drop(file.into_inner().unwrap());
    bytes
}

/// Sends a file in bodies of whole lines over a few connections.
///
/// # Panics
/// It is refused for another reason than that it is too much at a time.
pub fn send(client: &Client, file: &Path) {
    let (give, take) = flume::bounded::<Vec<u8>>(SENDERS * 2);
    let address = client.url.trim_start_matches("http://").to_owned();
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            let (take, address) = (take.clone(), address.clone());
            scope.spawn(move || {
                let client = Client::new(&address);
                take.into_iter().for_each(|body| send_one(&client, &body));
            });
        }
        drop(take);
        let mut file = BufReader::with_capacity(1 << 20, std::fs::File::open(file).unwrap());
        loop {
            let mut body = Vec::with_capacity(BODY_BYTES + 4096);
            let most = BODY_BYTES as u64;
            std::io::Read::by_ref(&mut file).take(most).read_to_end(&mut body).unwrap();
            file.read_until(b'\n', &mut body).unwrap();
            if body.is_empty() {
                break;
            }
            give.send(body).unwrap();
        }
        drop(give);
    });
}

fn send_one(client: &Client, body: &[u8]) {
    let mut wait = 1;
    loop {
        let answer = client.send("POST", "/api/v1/ingest", &[], body.to_vec()).unwrap();
        if answer.status == 200 {
            return;
        }
        assert!(matches!(answer.status, 429 | 503), "{}", answer.body);
        pace(Duration::from_millis(wait));
        wait = (wait * 2).min(200);
    }
}

/// Waits until everything is in splits and no merge changes them any more.
///
/// # Panics
/// It takes an hour.
pub fn settle(node: &Node, clock: &Clock) {
    let (mut last, mut since) = (Value::Null, clock.elapsed());
    within(PATIENCE, "splits built and merged", || {
        // Asking costs the node CPU that is not its work's.
        pace(Duration::from_millis(250));
        let status = node.client.get("/api/v1/status");
        let fresh = status["partitions"].as_array().unwrap();
        let fresh = fresh.iter().any(|partition| partition["fresh_records"] != json!(0));
        if fresh || status["indexes"] != last {
            (last, since) = (status["indexes"].clone(), clock.elapsed());
        }
        (clock.elapsed().saturating_sub(since) > Duration::from_secs(4)).then_some(())
    });
}

/// Median milliseconds of ripgrep over a file; `None` where it is not installed.
#[must_use]
pub fn ripgrep(clock: &Clock, pattern: &str, file: &PathBuf) -> Option<f64> {
    let run = || {
        let mut command = Command::new("rg");
        command.args(["-i", "-c", "--no-messages", "-e", pattern]).arg(file);
        command.stdout(Stdio::null()).status()
    };
    run().ok()?;
    let once = |_| time(clock, run).0.as_secs_f64() * 1e3;
    let mut times: Vec<f64> = (0..RIPGREP_RUNS).map(once).collect();
    times.sort_by(f64::total_cmp);
    Some(quantile(&times, 0.5))
}

/// Takes the files below a folder out of the page cache, as far as the system lets us.
///
/// # Panics
/// The folder cannot be read.
pub fn drop_caches(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            drop_caches(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            file.sync_all().ok();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).ok();
        }
    }
}
