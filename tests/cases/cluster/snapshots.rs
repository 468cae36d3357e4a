//! The log of the metadata is cut, and who lacks what was cut away gets all of it at once.

use serde_json::json;
use tests::cluster::{Cluster, QUEUED};
use tests::load::Load;
use tests::wait::eventually;

use super::plain;

/// Where a document is kept that fills the log.
const PATH: &str = "/api/v1/shippers/settings";
/// Its bytes, and how often it is written: together more than a log may have, which is 16 MiB.
const BYTES: usize = 250 << 10;
const VERSIONS: u64 = 80;
/// What is left of a log that was cut.
const CUT_BYTES_MAX: u64 = 10 << 20;

/// Writes it at a node: its version.
fn write(cluster: &Cluster, number: usize, version: u64) -> Option<u64> {
    let settings = format!("# {version} {}\n", "x".repeat(BYTES));
    let body = json!({ "settings": settings }).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let answer = cluster.client(number).send("PUT", PATH, &headers, body)?;
    (answer.status == 200).then(|| answer.json()["version"].as_u64())?
}

/// The version that a node knows.
fn known(cluster: &Cluster, number: usize) -> Option<u64> {
    let answer = cluster.client(number).send("GET", PATH, &[], Vec::new())?;
    (answer.status == 200).then(|| answer.json()["version"].as_u64())?
}

/// Bytes of a node's log of the metadata.
fn log_bytes(cluster: &Cluster, number: usize) -> u64 {
    let files = std::fs::read_dir(cluster.data(number).join("meta")).unwrap().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    // One may go meanwhile.
    segments.filter_map(|segment| segment.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn who_lacks_what_was_cut_away_from_the_log_of_the_metadata_gets_it_at_once() {
    let mut cluster = Cluster::start(3, QUEUED, plain);
    let load = Load::start(&cluster.addresses(), "cut", 4);
    load.more(200);
    let tally = load.end();
    cluster.kill(2);
    let mut last = 0;
    while last < VERSIONS {
        // An answer may be lost while another node begins to lead.
        last = eventually("a version to be taken", || write(&cluster, 0, last + 1));
    }
    eventually("both logs to be cut", || {
        [0, 1].iter().all(|number| log_bytes(&cluster, *number) < CUT_BYTES_MAX).then_some(())
    });
    // One that was away, and one that is new.
    cluster.begin(2);
    let new = cluster.add(Vec::new());
    cluster.begin(new);
    for number in [2, new] {
        eventually("it to know all", || (known(&cluster, number)? == last).then_some(()));
        assert!(log_bytes(&cluster, number) < CUT_BYTES_MAX, "it got each entry");
    }
    cluster.settled();
    cluster.expect(&tally);
    // All begin again from what they have.
    cluster.kill_all();
    (0..=new).for_each(|number| cluster.begin(number));
    cluster.settled();
    for number in 0..=new {
        eventually("it to know all again", || (known(&cluster, number)? == last).then_some(()));
    }
    cluster.expect(&tally);
}
