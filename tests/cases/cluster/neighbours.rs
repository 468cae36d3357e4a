//! Nodes that speak neighbouring versions of the nodes' protocol: they work together, and are upgraded
//! one after the other. Each is today's program; one that is told to speak an earlier version says so,
//! takes others for neighbours by it and reads no command of a later one. (What earlier programs wrote is
//! read beside the code: `cluster::raft::tests::earlier`, `cluster::catalog::{written, dump}`.)

use std::path::Path;

use tests::cluster::{Cluster, list};
use tests::load::Load;
use tests::process::run;
use tests::wait::eventually;

/// The version before the newest. (When there is a newer one this is to grow with it: its neighbour is
/// refused otherwise.)
const BEFORE: u32 = 4;
const FEWER: usize = 2;
const MORE: usize = 4;

fn settings(partitions: usize) -> String {
    format!(
        "partitions = {partitions}\n[index]\nfresh_rows_max = 1500\nfresh_age_max_s = 1\nmerge_fan_in = 3\n"
    )
}

fn speaking(version: u32) -> Vec<String> {
    vec!["--protocol".to_owned(), version.to_string()]
}

/// Starts a node again with these arguments, while the load goes on.
fn upgrade(cluster: &mut Cluster, load: &Load, number: usize, more: Vec<String>) {
    load.more(100);
    cluster.stop(number);
    cluster.give(number, more);
    cluster.begin(number);
    cluster.settled();
    load.more(100);
}

/// What `sawlog cluster status` says at a node.
fn shown(cluster: &Cluster, at: usize) -> String {
    let done = run("sawlog", &["cluster", "status", "--server", &cluster.client(at).url]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// How many partitions the cluster has, by each node.
fn partitions(cluster: &Cluster) -> Vec<usize> {
    let count = |number| {
        let status = eventually("a status", || cluster.status(number));
        list(&status["partitions"]).len()
    };
    cluster.running().into_iter().map(count).collect()
}

#[test]
fn neighbours_work_together_and_are_upgraded_one_by_one_under_load() {
    // The first is a version behind the others, which are one behind that before the newest.
    let (first_version, others) = (BEFORE - 2, BEFORE - 1);
    let version =
        |_: &Path, number: usize| speaking(if number == 0 { first_version } else { others });
    let mut cluster = Cluster::start(3, &settings(FEWER), version);
    // To every node, a tenth of it once more.
    let load = Load::start(&cluster.addresses(), "neighbour", 4);
    load.more(200);
    let first = cluster.id(0);
    let is_behind =
        format!("speaks version {first_version} of the nodes' protocol, others {others}");
    let told = shown(&cluster, 1);
    assert!(told.contains(&first[..8]) && told.contains(&is_behind), "{told}");
    // What takes a version that one of them does not speak is not decided, and says for whom it waits.
    cluster.set(&settings(MORE));
    upgrade(&mut cluster, &load, 1, speaking(others));
    let words = cluster.words(1);
    let why = format!("node {first} speaks version {first_version}");
    assert!(words.contains("the queue keeps its partitions") && words.contains(&why), "{words}");
    assert_eq!(partitions(&cluster), [FEWER; 3]);
    upgrade(&mut cluster, &load, 0, speaking(BEFORE));
    upgrade(&mut cluster, &load, 1, speaking(BEFORE));
    // Now all read it, also the one that is of the version before yet.
    eventually("partitions to be added", || (partitions(&cluster) == [MORE; 3]).then_some(()));
    cluster.settled();
    load.more(200);
    upgrade(&mut cluster, &load, 2, speaking(BEFORE));
    // The newest comes to neighbours of one version before.
    (0..3).for_each(|number| upgrade(&mut cluster, &load, number, Vec::new()));
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    let told = shown(&cluster, 0);
    assert!(!told.contains("speaks version"), "{told}");
}

#[test]
fn who_is_further_than_a_neighbour_is_not_let_in_and_told_so() {
    let newest =
        |_: &Path, number: usize| if number == 2 { speaking(BEFORE - 1) } else { Vec::new() };
    let mut cluster = Cluster::new(3, &settings(FEWER), newest);
    cluster.begin(0);
    eventually("the first to be ready", || {
        cluster.client(0).status_of("/readyz").filter(|is| *is == 200)
    });
    cluster.client(0).ingest("/api/v1/ingest?service=one", b"{\"message\":\"kept\"}");
    cluster.begin(2);
    eventually("it to be told why", || {
        assert_eq!(cluster.count(0, "kept").unwrap_or(1), 1);
        cluster.words(2).contains("upgrade one step at a time").then_some(())
    });
    // It left nothing behind: the next one comes in.
    cluster.kill(2);
    cluster.give(2, Vec::new());
    cluster.begin(2);
    cluster.begin(1);
    cluster.settled();
    eventually("what was kept", || (cluster.count(2, "kept")? == 1).then_some(()));
}
