//! A node with records of its own becomes the first of a cluster while the others knock already.

use serde_json::json;
use tests::cluster::{Cluster, QUICK};
use tests::process::Node;
use tests::wait::eventually;

use super::plain;

const PATH: &str = "/api/v1/ingest?service=old";

#[test]
fn whoever_leads_a_partition_it_begins_where_the_founders_ended() {
    let mut cluster = Cluster::new(3, QUICK, plain);
    let address = cluster.addresses()[0].clone();
    let key = [("idempotency-key", "once")];
    let body = b"{\"message\":\"sent twice\"}".to_vec();
    {
        let mut node = Node::begin("node", cluster.home(0), &address, QUICK, &[]);
        node.ready();
        assert_eq!(node.client.send("POST", PATH, &key, body.clone()).unwrap().status, 200);
        for number in 0..200 {
            let path = format!("/api/v1/ingest?service=s{}", number % 10);
            node.client.ingest(&path, b"{\"message\":\"from before\"}");
        }
        node.client.expect_records(201);
        assert!(node.process.stop());
    }
    // The others do not wait for the founder.
    [1, 2, 0].iter().for_each(|number| cluster.begin(*number));
    cluster.settled();
    for number in 0..3 {
        cluster.client(number).expect_records(201);
    }
    let again = cluster.client(2).send("POST", PATH, &key, body).unwrap();
    assert_eq!(again.json()["duplicate"], json!(true), "{}", again.body);
    // What is taken now does not count as what was published before.
    for number in 0..60 {
        let path = format!("/api/v1/ingest?service=s{}", number % 10);
        cluster.client(number % 3).ingest(&path, b"{\"message\":\"from after\"}");
    }
    for number in 0..3 {
        cluster.client(number).expect_records(261);
    }
    eventually("everything to be in splits", || {
        tests::cluster::all_published(&cluster.status(0)?).then_some(())
    });
    for number in 0..3 {
        cluster.kill(number);
    }
    (0..3).for_each(|number| cluster.begin(number));
    cluster.settled();
    for number in 0..3 {
        cluster.client(number).expect_records(261);
    }
}
