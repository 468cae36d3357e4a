//! Partitions that are added while records are taken.

use tests::cluster::{Cluster, list};
use tests::load::Load;
use tests::wait::eventually;

use super::plain;

const FEWER: usize = 2;
const MORE: usize = 5;
/// Streams that come when there are more.
const STREAMS: u64 = 24;

fn settings(partitions: usize) -> String {
    format!(
        "partitions = {partitions}\n[index]\nfresh_rows_max = 1500\nfresh_age_max_s = 1\nmerge_fan_in = 3\n"
    )
}

#[test]
fn partitions_that_are_added_take_their_part_and_nothing_is_stored_twice() {
    let mut cluster = Cluster::start(3, &settings(FEWER), plain);
    // A tenth of what was acknowledged is sent once more, and must be recognised.
    let load = Load::start(&cluster.addresses(), "added", 4);
    load.more(400);
    cluster.set(&settings(MORE));
    cluster.stop(1);
    cluster.begin(1);
    eventually("all partitions to be led and kept", || {
        let status = cluster.status(0)?;
        let all = list(&status["partitions"]);
        let is_whole =
            |one: &serde_json::Value| one["leader"] != "" && list(&one["replicas"]).len() == 3;
        (all.len() == MORE && all.iter().all(is_whole)).then_some(())
    });
    load.more(400);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    for stream in 0..STREAMS {
        let path = format!("/api/v1/ingest?service=new{stream}");
        cluster.client(0).ingest(&path, b"{\"message\":\"of more\"}");
    }
    eventually("what came since", || (cluster.count(2, "\"of more\"")? == STREAMS).then_some(()));
    let status = eventually("a status", || cluster.status(2));
    let committed = |one: &serde_json::Value| one["committed"].as_u64().unwrap_or(0);
    let added: u64 = list(&status["partitions"]).iter().skip(FEWER).map(committed).sum();
    assert!(added > 0, "{status}");
}
