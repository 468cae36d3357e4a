//! Processes that die, hang or are cut off under load.

use serde_json::{Value, json};
use tests::cluster::{Cluster, QUEUED, QUICK, all_published, list};
use tests::load::Load;
use tests::wait::eventually;

use super::plain;

/// What a node indexes: partitions and the tokens of their leases.
fn tokens(status: &Value, id: &str) -> Vec<(usize, u64)> {
    let own = list(&status["partitions"]).iter().filter(|one| one["indexer"] == id);
    let number = |one: &Value, name: &str| one[name].as_u64().unwrap();
    let token = |one| (usize::try_from(number(one, "partition")).unwrap(), number(one, "token"));
    own.map(token).collect()
}

#[test]
fn a_node_that_was_paused_publishes_nothing_twice() {
    let cluster = Cluster::start(3, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "paused", 4);
    load.more(300);
    // One that indexes; the others are to take that from it.
    let status = cluster.status(0).unwrap();
    let id = list(&status["partitions"])[0]["indexer"].as_str().unwrap().to_owned();
    let (victim, before) = (cluster.number_of(&id), tokens(&status, &id));
    let witness = (victim + 1) % 3;
    cluster.pause(victim);
    let after = eventually("its leases to be others'", || {
        let status = cluster.status(witness)?;
        let node = list(&status["nodes"]).iter().find(|node| node["id"] == json!(id))?.clone();
        (node["health"] != "up" && tokens(&status, &id).is_empty()).then_some(status)
    });
    for (partition, token) in before {
        let now = list(&after["partitions"])[partition]["token"].as_u64().unwrap();
        assert!(now > token, "partition {partition}: token {now} after {token}");
    }
    load.more(500);
    // It wakes up in the middle of what it did, and believes that it still may.
    cluster.resume(victim);
    load.more(300);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    eventually("everything in splits", || all_published(&cluster.status(victim)?).then_some(()));
    cluster.expect(&tally);
}

#[test]
fn a_leader_that_was_paused_takes_nobody_for_silent() {
    let cluster = Cluster::start(3, QUEUED, plain);
    let id = cluster.status(0).unwrap()["leader"].as_str().unwrap().to_owned();
    let victim = cluster.number_of(&id);
    let witness = (victim + 1) % 3;
    // A node that was given up comes back with its next epoch.
    let others = |status: &Value| -> Vec<(String, Value)> {
        let others = list(&status["nodes"]).iter().filter(|node| node["id"] != json!(id));
        others.map(|node| (node["id"].to_string(), node["epoch"].clone())).collect()
    };
    cluster.pause(victim);
    let before = eventually("another leader, to which it is down", || {
        let status = cluster.status(witness)?;
        let node = list(&status["nodes"]).iter().find(|node| node["id"] == json!(id))?;
        (node["health"] == "down" && status["leader"] != json!(id)).then(|| others(&status))
    });
    // It believes that it leads, and has heard nobody for seconds.
    cluster.resume(victim);
    cluster.settled();
    assert_eq!(others(&cluster.status(witness).unwrap()), before);
}

#[test]
fn whoever_is_cut_off_acknowledges_nothing_that_is_lost() {
    let (cluster, links) = Cluster::linked(3, QUICK);
    let load = Load::start(&cluster.addresses(), "cut", 4);
    load.more(300);
    // Both ways, then only what it says, then only what it hears.
    for (says, hears) in [(true, true), (true, false), (false, true)] {
        let alone = cluster.leader_of(0, 0);
        for other in (0..3).filter(|other| *other != alone) {
            if says {
                links.cut(alone, other);
            }
            if hears {
                links.cut(other, alone);
            }
        }
        load.more(300);
        links.mend();
        load.more(100);
        cluster.settled();
    }
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn two_nodes_that_do_not_reach_each_other_go_through_a_third() {
    let (cluster, links) = Cluster::linked(3, QUEUED);
    let load = Load::start(&cluster.addresses(), "between", 6);
    load.more(300);
    // Two that lead something each: what comes to one for the other has no direct way.
    let one = cluster.leader_of(0, 0);
    let other = (one + 1) % 3;
    links.cut(one, other);
    links.cut(other, one);
    for (number, away) in [(one, other), (other, one)] {
        let (id, away) = (cluster.id(number), cluster.id(away));
        eventually("it to be said who does not reach whom", || {
            let status = cluster.status((one + 2) % 3)?;
            let node = list(&status["nodes"]).iter().find(|node| node["id"] == json!(id))?.clone();
            list(&node["unreached"]).contains(&json!(away)).then_some(())
        });
    }
    load.more(1_000);
    let meanwhile = load.end();
    // Whole answers at each of them, while nothing is mended.
    cluster.expect(&meanwhile);
    let status = cluster.status(one).unwrap();
    let is_up = |node: &Value| node["health"] == "up";
    assert!(list(&status["nodes"]).iter().all(is_up), "{status}");
    links.mend();
    eventually("nobody to be missed", || {
        let status = cluster.status(0)?;
        let all_reached = |node: &Value| node["unreached"].is_null();
        list(&status["nodes"]).iter().all(all_reached).then_some(())
    });
    cluster.settled();
    cluster.expect(&meanwhile);
}

#[test]
fn while_a_node_is_down_answers_are_whole_or_say_what_is_missing() {
    for settings in [QUICK, QUEUED] {
        let mut cluster = Cluster::start(3, settings, plain);
        let load = Load::start(&cluster.addresses(), "partial", 4);
        load.more(600);
        let tally = load.end();
        cluster.expect(&tally);
        let victim = cluster.leader_of(0, 0);
        cluster.kill(victim);
        let body = json!({ "query": "partial | stats count() as n" });
        let mut whole = 0;
        eventually("ten whole answers", || {
            for number in cluster.running() {
                let answer = cluster.client(number).post("/api/v1/query", &body);
                let lines = if answer.status == 200 { answer.lines() } else { Vec::new() };
                let count = lines.iter().find_map(|line| line["row"]["n"].as_u64());
                let is_declared = lines.iter().any(|line| {
                    !line["error"].is_null() || !list(&line["end"]["partial"]).is_empty()
                });
                let is_refused = [503, 504].contains(&answer.status);
                let is_whole = count == Some(tally.total()) && !is_declared;
                assert!(is_whole || is_declared || is_refused, "{}", answer.body);
                whole += u32::from(is_whole);
            }
            (whole >= 10).then_some(())
        });
    }
}
