//! Nodes that are stopped: alone or all at once, they end soon, and have nothing to warn of.

use std::time::Duration;

use tests::cluster::{Cluster, QUEUED};
use tests::load::Load;

use super::plain;

/// How long idle nodes that are stopped at once may take: none waits for another one to take its work over,
/// which lasts for seconds.
const STOP_MAX: Duration = Duration::from_secs(3);
/// So often they are stopped at most, and once soon enough: a machine may be busy.
const STOPS_MAX: usize = 4;

/// What a node said behind so many bytes that somebody should look at.
fn warnings(cluster: &Cluster, number: usize, from: usize) -> Vec<String> {
    let words = cluster.words(number);
    let said = words[from..].lines();
    let bad = said.filter(|line| line.contains(" WARN ") || line.contains("ERROR "));
    bad.map(str::to_owned).collect()
}

#[test]
fn nodes_that_stop_together_do_not_wait_for_each_other_and_warn_of_nothing() {
    // No split is merged or copied meanwhile.
    let mut cluster = Cluster::start(3, QUEUED, plain);
    let load = Load::start(&cluster.addresses(), "stopped", 2);
    load.more(200);
    let tally = load.end();
    cluster.settled();
    // One alone gives its work to the others.
    let before = cluster.words(1).len();
    cluster.stop(1);
    assert_eq!(warnings(&cluster, 1, before), Vec::<String>::new());
    assert!(cluster.words(1)[before..].contains("this node's work is given to others"));
    cluster.begin(1);
    cluster.settled();
    let mut times = Vec::new();
    let is_soon = (0..STOPS_MAX).any(|_| {
        let before: Vec<usize> = (0..3).map(|number| cluster.words(number).len()).collect();
        let time = cluster.stop_all();
        for (number, from) in before.into_iter().enumerate() {
            assert_eq!(warnings(&cluster, number, from), Vec::<String>::new(), "node {number}");
        }
        times.push(time);
        (0..3).for_each(|number| cluster.begin(number));
        cluster.settled();
        time < STOP_MAX
    });
    assert!(is_soon, "{times:?}");
    cluster.expect(&tally);
}
