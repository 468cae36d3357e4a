//! Nodes that start: who says that it is ready answers with all records.

use tests::cluster::{Cluster, QUEUED};
use tests::load::{Load, Tally};
use tests::wait::eventually;

use super::plain;

/// Starts of all nodes, in one of which every answer must be whole: a lease that moves right then makes one
/// say what it lacks.
const STARTS_MAX: usize = 4;
/// What a node says on its terminal when it is ready.
const SAID: &str = "Sawlog is ready";
/// And what it says before.
const EARLY_SAID: &str = "not ready yet: reading what is there";
/// What `/readyz` says of a node that was not ready yet since it was started.
const EARLY: [&str; 2] = ["starting", "not all records are there yet"];

/// Starts all anew and asks each as soon as it says that it is ready. Whether all answers were whole.
fn all_are_ready_when_they_say_so(cluster: &mut Cluster, tally: &Tally) -> bool {
    cluster.kill_all();
    (0..3).for_each(|number| cluster.begin(number));
    let (mut starting, mut whole) = (vec![0, 1, 2], 0);
    eventually("all to be ready", || {
        starting.retain(|&number| {
            if cluster.client(number).status_of("/readyz") != Some(200) {
                return true;
            }
            match cluster.count(number, &tally.tag) {
                Some(count) => {
                    assert_eq!(count, tally.total(), "node {number}");
                    whole += 1;
                }
                None => eprintln!("node {number} was ready and did not answer with everything"),
            }
            false
        });
        starting.is_empty().then_some(())
    });
    whole == 3
}

#[test]
fn who_is_ready_has_all_records_of_all_nodes() {
    // No record is in a split: all are read from the queues again.
    let mut cluster = Cluster::start(3, QUEUED, plain);
    let load = Load::start(&cluster.addresses(), "ready", 4);
    load.more(2_000);
    let tally = load.end();
    cluster.expect(&tally);
    assert!((0..STARTS_MAX).any(|_| all_are_ready_when_they_say_so(&mut cluster, &tally)));
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn a_node_whose_cluster_lacks_a_node_is_ready_all_the_same() {
    let mut cluster = Cluster::start(3, QUEUED, plain);
    cluster.kill_all();
    let said = |cluster: &Cluster, number: usize| cluster.words(number).matches(SAID).count();
    let before = [0, 1].map(|number| said(&cluster, number));
    // Two of three decide and acknowledge.
    cluster.begin(0);
    cluster.begin(1);
    for number in [0, 1] {
        let client = cluster.client(number);
        eventually("it to be ready, and to say so then", || {
            let says = said(&cluster, number) > before[number];
            let answer = client.send("GET", "/readyz", &[], Vec::new())?;
            let is_early = EARLY.contains(&answer.body.trim());
            assert!(!says || !is_early, "{}", answer.body);
            (says && answer.status == 200).then_some(())
        });
        client.ingest("/api/v1/ingest", b"{\"message\":\"of two\"}");
    }
    eventually("both records", || (cluster.count(0, "\"of two\"")? == 2).then_some(()));
    // Whoever looks at its terminal knows from the beginning where it is, and that it is not ready yet.
    let words = cluster.words(0);
    let early = words.find(EARLY_SAID).expect("it says that it starts");
    assert!(words.find(SAID).is_some_and(|ready| early < ready), "{words}");
}
