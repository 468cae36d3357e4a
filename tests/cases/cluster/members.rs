//! Nodes that come and go while records are taken.

use serde_json::{Value, json};
use tests::cluster::{Cluster, QUICK, list};
use tests::load::Load;
use tests::wait::eventually;

use super::{plain, replicas};

/// What a node's status says of the node with this id.
fn node(cluster: &Cluster, seen_by: usize, id: &str) -> Option<Value> {
    let status = cluster.status(seen_by)?;
    list(&status["nodes"]).iter().find(|node| node["id"] == json!(id)).cloned()
}

fn operate(cluster: &Cluster, at: usize, what: &str, id: &str) {
    let path = format!("/api/v1/cluster/{what}");
    let answer = cluster.client(at).post(&path, &json!({ "node": id }));
    assert_eq!(answer.status, 200, "{what} {id}: {}", answer.body);
}

fn keeps_nothing(node: &Value) -> bool {
    ["replicas", "indexing", "splits"].iter().all(|what| node[*what] == 0)
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
