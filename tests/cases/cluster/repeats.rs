//! What is sent again: to another node, after a change of leaders, after a node became a cluster.

use std::path::Path;

use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::level::Level;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use serde_json::{Value, json};
use tests::cluster::{Cluster, QUICK};
use tests::process::{Node, TINY};
use tests::wait::eventually;

use super::plain;

const NATIVE: [(&str, &str); 1] = [("content-type", "application/x-sawlog-batch")];
const BY_KEY: &[u8] = b"{\"msg\":\"by key 1\"}\n{\"msg\":\"by key 2\"}\n";

/// One batch of a producer, as a shipper makes it.
fn batch(producer: u64, from: u64, to: u64) -> Vec<u8> {
    let labels = Labels::new(vec![("service".to_owned(), "twice".to_owned())]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    for n in from..to {
        builder.push_text(Timestamp(1), Level::Info, &format!("native record {n}"));
    }
    let sequence = Sequence { producer, epoch: 0, from, to };
    codec::encode(&builder.finish(), sequence).unwrap().to_vec()
}

/// Sends it until it is taken.
fn send(cluster: &Cluster, at: usize, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    eventually("the request to be taken", || {
        let answer = cluster.client(at).send("POST", path, headers, body.to_vec())?;
        (answer.status == 200).then(|| answer.json())
    })
}

#[test]
fn a_repeat_at_another_node_after_a_change_of_leaders_is_recognised() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let (first, key) = (batch(77, 0, 5), [("idempotency-key", "of mine")]);
    assert_eq!(send(&cluster, 0, "/api/v1/batches", &NATIVE, &first)["duplicate"], json!(false));
    assert_ne!(send(&cluster, 0, "/api/v1/ingest", &key, BY_KEY)["duplicate"], json!(true));
    // Whoever leads what, it leads it no longer.
    for victim in 0..3 {
        cluster.kill(victim);
        for at in cluster.running() {
            let again = send(&cluster, at, "/api/v1/batches", &NATIVE, &first);
            assert_eq!(again["duplicate"], json!(true), "{again}");
            let again = send(&cluster, at, "/api/v1/ingest", &key, BY_KEY);
            assert_eq!(again["duplicate"], json!(true), "{again}");
        }
        cluster.begin(victim);
        cluster.settled();
    }
    // A lease that moves now makes an answer incomplete, which it says, but never wrong.
    let count = |number, query| eventually("a complete answer", || cluster.count(number, query));
    for number in 0..3 {
        assert_eq!(count(number, "\"native record\""), 5);
        assert_eq!(count(number, "\"by key\""), 2);
    }
    let next = send(&cluster, 1, "/api/v1/batches", &NATIVE, &batch(77, 5, 9));
    assert_eq!((&next["duplicate"], &next["next"]), (&json!(false), &json!(9)));
    assert_eq!(count(2, "\"native record\""), 9);
}

/// A request to take records: its path, headers, body.
type Taken<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8]);

/// A node of its own that took these, and ended in order.
fn alone(home: &Path, requests: &[Taken<'_>]) {
    let mut node = Node::start("node", home, TINY, &[]);
    for (path, headers, body) in requests {
        let answer = node.client.send("POST", path, headers, body.to_vec()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert!(node.process.stop());
}

#[test]
fn what_the_founder_had_before_the_cluster_outlives_it() {
    let mut cluster = Cluster::new(3, QUICK, plain);
    let key = [("idempotency-key", "before")];
    let lines: String = (0..200).map(|n| format!("{{\"msg\":\"alone {n}\"}}\n")).collect();
    let native = batch(5, 0, 3);
    alone(
        cluster.home(0),
        &[("/api/v1/ingest", &key, lines.as_bytes()), ("/api/v1/batches", &NATIVE, &native)],
    );
    cluster.begin_all();
    for number in 0..3 {
        eventually("what the first one had", || {
            let all = cluster.count(number, "alone")?;
            assert!(all <= 200, "node {number}: {all}");
            (all == 200).then_some(())
        });
        let again = send(&cluster, number, "/api/v1/ingest", &key, lines.as_bytes());
        assert_eq!(again["duplicate"], json!(true), "{again}");
        let again = send(&cluster, number, "/api/v1/batches", &NATIVE, &native);
        assert_eq!(again["duplicate"], json!(true), "{again}");
    }
    // Its splits have their copies by then.
    cluster.settled();
    cluster.kill(0);
    for number in [1, 2] {
        eventually("what the first one had", || {
            let all = (cluster.count(number, "alone")?, cluster.count(number, "native")?);
            (all == (200, 3)).then_some(())
        });
    }
}
