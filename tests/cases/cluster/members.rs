//! Nodes that come and go while records are taken.

use std::path::Path;
use std::time::Duration;

use platform::clock::Clock;
use serde_json::{Value, json};
use tests::client::Client;
use tests::cluster::{Cluster, QUICK, list};
use tests::load::Load;
use tests::process::{refuses, run};
use tests::wait::eventually;

use super::{plain, replicas};

/// How long a node that was removed may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(4);
/// How long it may take to end.
const END_WAIT: Duration = Duration::from_secs(8);

/// What a node's status says of the node with this id.
fn node(cluster: &Cluster, seen_by: usize, id: &str) -> Option<Value> {
    let status = cluster.status(seen_by)?;
    list(&status["nodes"]).iter().find(|node| node["id"] == json!(id)).cloned()
}

/// What `sawlog cluster` says when it asks a node, which does it.
fn sawlog_cluster(cluster: &Cluster, at: usize, words: &[&str]) -> String {
    let server = ["--server", cluster.client(at).url.as_str()];
    let done = run("sawlog", &[&["cluster"][..], words, &server[..]].concat());
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(done.status.success(), "{words:?}: {said}");
    said
}

fn operate(cluster: &Cluster, at: usize, what: &str, id: &str) {
    let said = sawlog_cluster(cluster, at, &[what, id]);
    assert!(said.contains(id), "{what}: {said}");
}

fn keeps_nothing(node: &Value) -> bool {
    ["replicas", "indexing", "splits"].iter().all(|what| node[*what] == 0)
}

/// Three nodes come to vote in the metadata group by themselves.
fn three_vote(cluster: &Cluster, seen_by: usize) {
    eventually("three nodes to vote", || {
        let status = cluster.status(seen_by)?;
        let voters = list(&status["nodes"]).iter().filter(|node| node["votes"] == true);
        (voters.count() == 3).then_some(())
    });
}

#[test]
fn changes_of_members_that_follow_each_other_lose_nothing() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "changes", 4);
    load.more(500);
    let ids: Vec<String> = (0..3).map(|number| cluster.id(number)).collect();
    // One comes, one goes, it shall not go after all, another one goes: nobody waits for anything.
    let new = cluster.add(Vec::new());
    cluster.begin(new);
    operate(&cluster, 0, "drain", &ids[1]);
    eventually("the new one to be in", || cluster.status(new));
    operate(&cluster, new, "undrain", &ids[1]);
    operate(&cluster, 1, "drain", &ids[2]);
    eventually("it to keep nothing", || node(&cluster, 0, &ids[2]).filter(keeps_nothing));
    load.more(200);
    cluster.stop(2);
    operate(&cluster, 0, "remove", &ids[2]);
    load.more(200);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn who_leads_is_removed_and_nothing_is_lost() {
    let mut cluster = Cluster::start(4, QUICK, plain);
    three_vote(&cluster, 0);
    let load = Load::start(&cluster.addresses(), "removed", 4);
    load.more(500);
    // It leads the metadata, and partitions as a rule.
    let id = cluster.status(0).unwrap()["leader"].as_str().unwrap().to_owned();
    let victim = cluster.number_of(&id);
    let witness = (victim + 1) % 4;
    cluster.kill(victim);
    eventually("its death to be known", || {
        node(&cluster, witness, &id).filter(|node| node["health"] != "up")
    });
    operate(&cluster, witness, "remove", &id);
    load.more(500);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    assert!(node(&cluster, witness, &id).is_none());
    // Another one votes in its place.
    three_vote(&cluster, witness);
}

#[test]
fn who_operates_sees_the_nodes_and_is_told_what_to_do() {
    // The last one only answers.
    let roles = |_: &Path, number: usize| match number {
        3 => ["--roles", "query"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    };
    let cluster = Cluster::start(4, QUICK, roles);
    eventually("all of them to be shown as they are", || {
        let shown = sawlog_cluster(&cluster, 1, &["status"]);
        let are_up = shown.lines().filter(|line| line.contains("  up  ")).count() == 4;
        let words = ["metadata led by", "clock", "entries behind", " splits"];
        (are_up && words.iter().all(|words| shown.contains(words))).then_some(())
    });
    eventually("the figures of all nodes to say the same", || {
        let says = |number: usize| {
            let told = cluster.client(number).send("GET", "/metrics", &[], Vec::new())?.body;
            let has = |line: &str| told.lines().any(|one| one == line);
            let is_so =
                has("cluster_nodes{health=\"up\"} 4") && has("cluster_nodes{health=\"gone\"} 0");
            let clock = has("cluster_clock_differs 0") && has("cluster_clock_compared 1");
            (is_so && has("cluster_replicas_troubled 0") && clock).then_some(())
        };
        (0..4).try_for_each(says)
    });
    let told = sawlog_cluster(&cluster, 2, &["status", "--format", "json"]);
    let status: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(list(&status["nodes"]).len(), 4, "{status}");
    cluster.client(3).ingest("/api/v1/ingest", b"{\"message\":\"by way of another\"}");
    eventually("its answer", || (cluster.count(3, "\"by way\"")? == 1).then_some(()));
    assert!(node(&cluster, 0, &cluster.id(3)).is_some_and(|node| keeps_nothing(&node)));
    let said = sawlog_cluster(&cluster, 0, &["add"]);
    // Three of the four, whichever.
    let named = (0..4).filter(|number| said.contains(cluster.advertised(*number))).count();
    assert!(said.contains("--join") && named == 3, "{said}");
    let (id, url) = (cluster.id(2), cluster.client(0).url.clone());
    let refused = |what: &str, id: &str, says: &str| {
        refuses("sawlog", &["cluster", what, id, "--server", &url], &[says]);
    };
    refused("remove", &id, "is up");
    let among_nodes = ["cluster", "status", "--server", cluster.advertised(0)];
    refuses("sawlog", &among_nodes, &["where other nodes hear a node"]);
    refused("undrain", &id, "is not being drained");
    refused("drain", "nobody", "no node is");
    // By its address, and back by the beginning of its id.
    let drained = sawlog_cluster(&cluster, 0, &["drain", cluster.advertised(2)]);
    assert!(drained.contains(&id), "{drained}");
    eventually("it to be seen to drain", || {
        sawlog_cluster(&cluster, 1, &["status"]).contains("  draining  ").then_some(())
    });
    assert!(sawlog_cluster(&cluster, 1, &["undrain", &id[..8]]).contains(&id));
    cluster.settled();
}

#[test]
fn a_removed_node_says_so_at_once_and_ends() {
    let mut cluster = Cluster::start(4, QUICK, plain);
    three_vote(&cluster, 0);
    let id = cluster.id(3);
    operate(&cluster, 0, "drain", &id);
    eventually("it to keep nothing", || node(&cluster, 0, &id).filter(keeps_nothing));
    let address = cluster.addresses()[3].clone();
    operate(&cluster, 0, "remove", &id);
    let clock = Clock::system();
    let begun = clock.elapsed();
    let ended = eventually("it to end", || {
        // Who asks it meanwhile hangs for nothing.
        let asked = clock.elapsed();
        let client = Client::fresh(&address, ANSWER_WAIT);
        let body = b"{\"message\":\"too late\"}".to_vec();
        drop(client.send("POST", "/api/v1/ingest", &[], body));
        assert!(clock.elapsed().saturating_sub(asked) < ANSWER_WAIT, "it hangs");
        cluster.process(3).ended()
    });
    assert!(clock.elapsed().saturating_sub(begun) < END_WAIT, "it does not end");
    assert!(!ended && cluster.words(3).contains("was removed from the cluster"));
}

#[test]
fn what_is_refused_for_want_of_a_majority_is_not_done_later() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    three_vote(&cluster, 0);
    let leader = cluster.status(0).unwrap()["leader"].as_str().unwrap().to_owned();
    let last = cluster.number_of(&leader);
    let others = [(last + 1) % 3, (last + 2) % 3];
    let ids: Vec<String> = (0..3).map(|number| cluster.id(number)).collect();
    others.iter().for_each(|number| cluster.kill(*number));
    let server = cluster.client(last).url.clone();
    let asked = ["cluster", "drain", &ids[last], "--server", &server];
    refuses("sawlog", &asked, &["decides nothing now", "Nothing was changed"]);
    // Nobody surely leads, and it is said.
    eventually("nobody to lead", || (cluster.status(last)?["leader"] == "").then_some(()));
    others.iter().for_each(|number| cluster.begin(*number));
    cluster.settled();
    assert_eq!(node(&cluster, last, &ids[last]).unwrap()["health"], "up");
}

#[test]
fn who_drains_is_left_also_when_it_is_started_again() {
    let mut cluster = Cluster::start(4, QUICK, plain);
    let id = cluster.id(3);
    let before = node(&cluster, 0, &id).unwrap()["epoch"].as_u64();
    operate(&cluster, 0, "drain", &id);
    cluster.kill(3);
    cluster.begin(3);
    eventually("it to drain again", || {
        let node = node(&cluster, 0, &id)?;
        (node["health"] == "draining" && node["epoch"].as_u64() > before).then_some(())
    });
    eventually("it to keep nothing", || node(&cluster, 0, &id).filter(keeps_nothing));
    operate(&cluster, 1, "undrain", &id);
    cluster.settled();
}

#[test]
fn what_a_node_kept_goes_when_it_comes_back_and_is_not_to_keep_it() {
    let mut cluster = Cluster::start(4, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "left", 4);
    load.more(300);
    let tally = load.end();
    let id = cluster.id(3);
    assert!(!replicas(&cluster, 3, "00").is_empty());
    cluster.kill(3);
    eventually("it to be gone", || node(&cluster, 0, &id).filter(|node| node["health"] == "gone"));
    operate(&cluster, 0, "drain", &id);
    cluster.settled();
    cluster.begin(3);
    eventually("its logs to go", || replicas(&cluster, 3, "00").is_empty().then_some(()));
    (0..3).for_each(|number| cluster.expect_at(number, &tally));
}
