//! What is shipped: a file that grows, and the shipper, which is killed now and then too.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::process::Process;
use crate::wait::{eventually, pace};

/// Between two lines of the file.
const LINE_PAUSE: Duration = Duration::from_millis(2);

/// A file that grows, and its shipper.
#[derive(Debug)]
pub(super) struct Shipped {
    folder: PathBuf,
    addresses: Vec<String>,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<u64>,
    shipper: Process,
}

/// Every line of the file, once.
pub(super) fn expect_lines(cluster: &Cluster, number: usize, lines: u64) {
    eventually(&format!("{lines} lines at node {number}"), || {
        let query = "shipped | stats count() as n, count_distinct(message) as d";
        let row = cluster.table(number, query)?.pop()?;
        let (count, distinct) = (row["n"].as_u64()?, row["d"].as_u64()?);
        assert_eq!(count, distinct, "lines found twice at node {number}");
        assert!(count <= lines, "{count} lines at node {number}, {lines} were written");
        (count == lines).then_some(())
    });
}

impl Shipped {
    pub(super) fn start(folder: &Path, addresses: &[String]) -> Self {
        let folder = folder.join("shipped");
        std::fs::create_dir(&folder).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (folder.join("app.log"), stop.clone());
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::File::create(path).unwrap();
            let mut written = 0;
            while !stopped.load(Ordering::SeqCst) {
                writeln!(file, "2026-11-23T10:00:00Z INFO shipped line {written}").unwrap();
                written += 1;
                pace(LINE_PAUSE);
            }
            written
        });
        let shipper = ship(&folder, addresses);
        Self { folder, addresses: addresses.to_vec(), stop, writer, shipper }
    }

    pub(super) fn kill(&mut self) {
        self.shipper.kill();
        self.shipper = ship(&self.folder, &self.addresses);
    }

    /// Waits until a node finds everything; how many lines.
    pub(super) fn finish(self, cluster: &Cluster, number: usize) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let lines = self.writer.join().unwrap();
        expect_lines(cluster, number, lines);
        lines
    }
}

fn ship(folder: &Path, addresses: &[String]) -> Process {
    let (state, glob) = (folder.join("state"), folder.join("*.log"));
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let mut args = vec!["--state-dir", state.to_str().unwrap(), "--path", glob.to_str().unwrap()];
    for url in &urls {
        args.extend(["--to", url]);
    }
    Process::start("sawlog-shipper", &args, &folder.join("shipper.words"))
}
