//! What is in the queue stays on every node until splits that have it are safe, and goes from all then.

use std::path::{Path, PathBuf};

use tests::cluster::{Cluster, all_published, list};
use tests::disks::{segments, swap_away};
use tests::load::Load;
use tests::wait::eventually;

use super::plain;

/// Many small segments, and splits soon.
const SETTINGS: &str = "partitions = 2\n[queue]\nsegment_bytes_max = 16384\n[index]\nfresh_rows_max = 400\nfresh_age_max_s = 1\nmerge_fan_in = 3\n";
/// As [`SETTINGS`] say.
const PARTITIONS: usize = 2;
/// Segments of a partition at a node, more than there are when splits keep up.
const SEGMENTS_MANY: usize = 4;

/// The segments of each partition at each node.
fn all_segments(cluster: &Cluster) -> Vec<Vec<PathBuf>> {
    let of = |number| (0..PARTITIONS).map(move |partition| segments(cluster, number, partition));
    (0..3).flat_map(of).collect()
}

/// Nodes with a load, whose splits are safe nowhere while these folders are away.
fn check(cluster: &Cluster, away: &[PathBuf], tag: &str) {
    let first: Vec<Vec<PathBuf>> = all_segments(cluster);
    assert!(first.iter().all(|found| found.len() == 1), "{first:?}");
    away.iter().for_each(|folder| swap_away(folder));
    let load = Load::start(&cluster.addresses(), tag, 4);
    eventually("many segments", || {
        all_segments(cluster).iter().all(|found| found.len() >= SEGMENTS_MANY).then_some(())
    });
    eventually("splits to be refused", || {
        (0..3).any(|number| cluster.words(number).contains("publishing failed")).then_some(())
    });
    load.more(300);
    let status = eventually("a status", || cluster.status(0));
    assert!(list(&status["partitions"]).iter().all(|one| one["published"] == 0), "{status}");
    assert!(first.iter().flatten().all(|segment| segment.exists()), "{:?}", all_segments(cluster));
    away.iter().for_each(|folder| swap_away(folder));
    let tally = load.end();
    eventually("all to be in splits", || all_published(&cluster.status(0)?).then_some(()));
    eventually("the queue to go from every node", || {
        let left = all_segments(cluster);
        let few = left.iter().all(|found| found.len() < SEGMENTS_MANY);
        (few && !first.iter().flatten().any(|segment| segment.exists())).then_some(())
    });
    cluster.expect(&tally);
}

#[test]
fn with_copies_the_queue_goes_when_a_majority_has_the_splits_and_not_before() {
    let mut cluster = Cluster::start(3, SETTINGS, plain);
    let away: Vec<PathBuf> = [1, 2].map(|number| cluster.data(number).join("objects")).into();
    check(&cluster, &away, "copied");
    // The copies alone have the records.
    cluster.settled();
    let count = eventually("a count", || cluster.count(0, "copied"));
    cluster.kill(0);
    for number in [1, 2] {
        eventually("all records without that node", || {
            (cluster.count(number, "copied")? == count).then_some(())
        });
    }
}

#[test]
fn with_a_store_the_queue_goes_when_it_has_the_splits_and_not_before() {
    let store = |folder: &Path| folder.join("store");
    let cluster = Cluster::start(3, SETTINGS, |folder, _| {
        vec!["--store".to_owned(), format!("file://{}", store(folder).display())]
    });
    let away = [store(cluster.folder.path())];
    check(&cluster, &away, "stored");
}
