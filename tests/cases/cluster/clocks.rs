//! Clocks that leap: what is decided by them is nothing that could lose a record or a lease.

use std::collections::BTreeMap;

use model::time::{SECOND, Timestamp};
use platform::clock::Clock;
use serde_json::Value;
use tests::clocks::Clocks;
use tests::cluster::{Cluster, QUICK, all_published, list};
use tests::load::{Load, Tally};
use tests::preload::command;
use tests::wait::eventually;

use super::plain;

const HOUR_S: i64 = 3600;
/// What asking and being asked may take in a difference of clocks, seconds.
const SLACK_S: i64 = 60;

/// What a node says of another one, by its id.
fn node(cluster: &Cluster, seen_by: usize, id: &str) -> Option<Value> {
    let status = cluster.status(seen_by)?;
    list(&status["nodes"]).iter().find(|node| node["id"] == id).cloned()
}

/// Waits until the status says that the first one's clock is so much ahead of the second one's.
fn shown(cluster: &Cluster, ids: &[String], (one, other): (usize, usize), ahead_s: i64) {
    eventually(&format!("node {one} to be {ahead_s} s ahead of node {other}"), || {
        let clock = |number: usize| node(cluster, one, &ids[number])?["clock_ahead_ms"].as_i64();
        let found_s = (clock(one)? - clock(other)?) / 1000;
        ((found_s - ahead_s).abs() < SLACK_S).then_some(())
    });
}

/// In which of its lives each node is: whoever is given up gets another one.
fn lives(cluster: &Cluster, ids: &[String]) -> Vec<u64> {
    let life =
        |id: &String| eventually("a node's life", || node(cluster, 0, id)?["epoch"].as_u64());
    ids.iter().map(life).collect()
}

/// The times of arrival of all records never go back within a partition, and none is further from the
/// test than the clocks were.
fn check_arrivals(cluster: &Cluster, tally: &Tally, began: Timestamp) {
    let query = format!("{} | sort id | fields id, ingest_time", tally.tag);
    let rows = eventually("the arrivals", || cluster.table(0, &query));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let arrival = |row: &Value| {
        let (partition, offset) = row["id"].as_str().unwrap().split_once('-').unwrap();
        let time = row["ingest_time"].as_str().unwrap().to_owned();
        ((number(partition), number(offset)), time)
    };
    let arrivals: Vec<_> =
        rows.iter().map(arrival).collect::<BTreeMap<_, _>>().into_iter().collect();
    assert_eq!(arrivals.len() as u64, tally.total());
    for pair in arrivals.windows(2) {
        let ((one, earlier), (other, later)) = (&pair[0], &pair[1]);
        assert!(one.0 != other.0 || earlier <= later, "{pair:?}");
    }
    let far = (HOUR_S + SLACK_S) * SECOND;
    let [from, until] =
        [Timestamp(began.0 - far), Timestamp(Clock::system().now().0 + far)].map(|t| t.to_string());
    let strange = arrivals.iter().find(|(_, time)| *time < from || *time > until);
    assert!(strange.is_none(), "{strange:?} is not within {from} and {until}");
}

#[test]
fn clocks_that_leap_lose_no_record_and_no_lease() {
    let began = Clock::system().now();
    let mut cluster = Cluster::new(3, QUICK, plain);
    let clocks = Clocks::new(cluster.folder.path());
    (0..3).for_each(|number| cluster.through(number, command(&[clocks.preload(number)])));
    cluster.begin_all();
    let ids: Vec<String> = (0..3).map(|number| cluster.id(number)).collect();
    let load = Load::start(&cluster.addresses(), "leap", 4);
    load.more(200);
    let leader = eventually("a leader", || {
        let id = cluster.status(0)?["leader"].as_str()?.to_owned();
        ids.iter().position(|one| *one == id)
    });
    let [ahead, behind] = [(leader + 1) % 3, (leader + 2) % 3];
    let before = lives(&cluster, &ids);
    // While they run; who leads at last.
    clocks.set(ahead, HOUR_S);
    clocks.set(behind, -HOUR_S);
    shown(&cluster, &ids, (ahead, behind), 2 * HOUR_S);
    eventually("the figures to say that it differs", || {
        let told = cluster.client(ahead).send("GET", "/metrics", &[], Vec::new())?.body;
        told.lines().any(|line| line == "cluster_clock_differs 1").then_some(())
    });
    load.more(300);
    clocks.set(leader, HOUR_S);
    shown(&cluster, &ids, (leader, behind), 2 * HOUR_S);
    load.more(300);
    // Nobody was given up for what it said the time was. One may be, on a machine so busy that it was
    // not heard for seconds.
    let after = lives(&cluster, &ids);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(changed < 2, "{before:?}, then {after:?}");
    // While it is away.
    cluster.kill(ahead);
    clocks.set(ahead, -HOUR_S);
    cluster.begin(ahead);
    load.more(200);
    shown(&cluster, &ids, (leader, ahead), 2 * HOUR_S);
    (0..3).for_each(|number| clocks.set(number, 0));
    load.more(200);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    check_arrivals(&cluster, &tally, began);
    eventually("all to be in splits", || all_published(&cluster.status(0)?).then_some(()));
    cluster.expect(&tally);
}
