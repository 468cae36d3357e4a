//! SIGKILL of node and shipper at seeded moments under load: at the end every line exactly once.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::chance::{Chance, setting};
use tests::process::{Node, Process, TINY, free_address};
use tests::wait::pace;

/// Kills in a run, unless SAWLOG_CRASH_ROUNDS says otherwise.
const ROUNDS: u64 = 8;
/// Files that are written at the same time.
const FILES: usize = 3;

/// Appends numbered lines to several files until told to stop, rotates them now and then, and
/// leaves half a line standing for a while. Gives how many lines each file's name has got.
fn write_lines(folder: &Path, seed: u64, stop: &AtomicBool) -> Vec<u64> {
    let mut chance = Chance::new(seed);
    let mut written = vec![0_u64; FILES];
    let mut generation = 0;
    while !stop.load(Ordering::SeqCst) {
        let at = chance.place(FILES);
        let path = folder.join(format!("app{at}.log"));
        let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        for _ in 0..chance.below(40) {
            let n = written[at];
            let pad = "x".repeat(usize::try_from(chance.skewed(400)).unwrap());
            let line =
                format!("2026-11-23T10:00:00.{:06}Z INFO line f{at}n{n} {pad}\n", n % 1_000_000);
            let half = chance.place(line.len());
            file.write_all(&line.as_bytes()[..half]).unwrap();
            file.write_all(&line.as_bytes()[half..]).unwrap();
            written[at] += 1;
        }
        if chance.below(60) == 0 {
            generation += 1;
            std::fs::rename(&path, folder.join(format!("app{at}.log.{generation}"))).unwrap();
        }
        pace(Duration::from_millis(chance.below(8)));
    }
    written
}

struct Scene {
    folder: PathBuf,
    logs: PathBuf,
    address: String,
}

impl Scene {
    fn node(&self) -> Node {
        Node::begin("node", &self.folder, &self.address, TINY, &[])
    }

    fn shipper(&self) -> Process {
        let (url, state) = (format!("http://{}", self.address), self.folder.join("state"));
        let glob = self.logs.join("*.log*");
        let args = [
            "--to",
            &url,
            "--state-dir",
            state.to_str().unwrap(),
            "--path",
            glob.to_str().unwrap(),
        ];
        Process::start("sawlog-shipper", &args, &self.folder.join("shipper.words"))
    }
}

#[test]
fn every_line_is_found_once_whatever_is_killed_when() {
    let (rounds, seed) = (setting("SAWLOG_CRASH_ROUNDS", ROUNDS), setting("SAWLOG_CRASH_SEED", 1));
    eprintln!(
        "again: SAWLOG_CRASH_ROUNDS={rounds} SAWLOG_CRASH_SEED={seed} cargo test -p tests --test cases crash"
    );
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene {
        folder: folder.path().to_owned(),
        logs: folder.path().join("logs"),
        address: free_address(),
    };
    std::fs::create_dir(&scene.logs).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (logs, stop) = (scene.logs.clone(), stop.clone());
        std::thread::spawn(move || write_lines(&logs, seed, &stop))
    };
    let (mut node, mut shipper) = (scene.node(), scene.shipper());
    let mut chance = Chance::new(seed ^ 0x5A17);
    for round in 0..rounds {
        // Also while they start: recovery may be interrupted as well.
        pace(Duration::from_millis(chance.below(1_500)));
        let victims = chance.below(3);
        eprintln!(
            "round {round}: kill {}",
            ["node", "shipper", "both"][usize::try_from(victims).unwrap()]
        );
        if victims != 1 {
            assert_eq!(node.process.ended(), None, "the node ended by itself");
            node.process.kill();
            node = scene.node();
        }
        if victims != 0 {
            assert_eq!(shipper.ended(), None, "the shipper ended by itself");
            shipper.kill();
            shipper = scene.shipper();
        }
    }
    stop.store(true, Ordering::SeqCst);
    let written = writer.join().unwrap();
    node.ready();
    node.client.expect_records(written.iter().sum());
    check_lines(&node, &written);
}

/// Each line by its number: once, none missing.
fn check_lines(node: &Node, written: &[u64]) {
    let rows = node.client.rows(&json!({ "query": "line", "limit": 0 }));
    let mut seen: HashMap<String, u64> = HashMap::new();
    for row in &rows {
        let name = row["message"].as_str().unwrap().split(' ').nth(3).unwrap();
        *seen.entry(name.to_owned()).or_default() += 1;
    }
    for (at, count) in written.iter().enumerate() {
        for n in 0..*count {
            let times = seen.remove(&format!("f{at}n{n}"));
            assert_eq!(times, Some(1), "line {n} of file {at}");
        }
    }
    assert!(seen.is_empty(), "lines nobody wrote: {seen:?}");
    eprintln!("{} lines, each once", rows.len());
}
