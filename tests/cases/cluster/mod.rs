//! Three nodes and what may happen to them: every acknowledged record is found once, from every node.

mod chaos;
mod clocks;
mod damage;
mod faults;
mod foreign;
mod founding;
mod members;
mod neighbours;
mod partitions;
mod power;
mod repeats;
mod rolling;
mod snapshots;
mod starting;
mod stopping;
mod trimmed;
mod trust;

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{Cluster, QUICK, list};
use tests::load::Load;
use tests::process::{Node, TINY, free_address, run};
use tests::wait::{eventually, pace};

fn plain(_: &Path, _: usize) -> Vec<String> {
    Vec::new()
}

/// The folders of replicas that a node has, whole or set aside.
fn replicas(cluster: &Cluster, number: usize, prefix: &str) -> Vec<PathBuf> {
    let folder = cluster.data(number).join("replicas");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    paths.filter(named).collect()
}

#[test]
fn every_node_takes_and_answers_everything_over_mutual_tls() {
    let certs = |folder: &Path, number: usize| {
        let (certs, name) = (folder.join("certs"), format!("n{number}"));
        let made = run("sawlog", &["cluster", "certs", certs.to_str().unwrap(), &name]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        vec!["--cluster-tls".to_owned(), certs.join(name).display().to_string()]
    };
    let cluster = Cluster::start(3, QUICK, certs);
    for number in 0..3 {
        let line = format!("{{\"message\":\"hello from {number}\",\"size\":{number}}}");
        for service in 0..8 {
            let path = format!("/api/v1/ingest?service=s{service}");
            cluster.client(number).ingest(&path, line.as_bytes());
        }
    }
    // What was acknowledged anywhere is found everywhere with the next question.
    for number in 0..3 {
        assert_eq!(cluster.client(number).count_of("hello"), 24);
    }
    let fields = cluster.client(1).post("/api/v1/fields", &json!({ "query": "hello" }));
    assert!(fields.body.contains("\"size\""), "{}", fields.body);
    // Leadership goes to who indexes, and that is spread.
    eventually("each partition to be led where it is indexed, at several nodes", || {
        let status = cluster.status(0)?;
        let all = list(&status["partitions"]);
        let leaders: BTreeSet<&str> = all.iter().filter_map(|one| one["leader"].as_str()).collect();
        let is_at_home = all.iter().all(|one| one["leader"] == one["indexer"]);
        (is_at_home && leaders.len() > 1).then_some(())
    });
    // A document that one node stores is every node's.
    let view = json!({ "name": "mine", "author": "Ada", "search": "?q=hello" });
    let kept = cluster.client(2).post("/api/v1/views", &view);
    assert_eq!(kept.status, 201, "{}", kept.body);
    assert!(cluster.client(0).get("/api/v1/views").to_string().contains("mine"));
    // Deleted on one, gone on all.
    let deleted = cluster.client(1).post("/api/v1/deletions", &json!({ "query": "size:2" }));
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    for number in 0..3 {
        eventually("the records to be gone", || {
            (cluster.client(number).count_of("hello") == 16).then_some(())
        });
    }
    eventually("the deletion to be done", || {
        let all = cluster.client(0).get("/api/v1/deletions");
        all["deletions"][0]["done"].is_string().then_some(())
    });
    assert_eq!(cluster.client(2).count_of("hello"), 16);
}

#[test]
fn a_killed_node_loses_nothing_and_comes_back() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "killed", 4);
    load.more(500);
    cluster.kill(0);
    // The others go on, and answer without it.
    load.more(1_000);
    cluster.begin(0);
    load.more(300);
    cluster.kill(1);
    load.more(300);
    cluster.begin(1);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn a_damaged_replica_is_set_aside_and_filled_again() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "damaged", 4);
    load.more(1_000);
    cluster.kill(1);
    let mut flipped = 0;
    for folder in replicas(&cluster, 1, "00") {
        let segment = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> =
            segment.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        segments.sort();
        let mut file = std::fs::File::options().read(true).write(true).open(&segments[0]).unwrap();
        // In the first frame, which had been durable long ago.
        let mut byte = [0];
        file.seek(std::io::SeekFrom::Start(40)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(std::io::SeekFrom::Start(40)).unwrap();
        file.write_all(&[byte[0] ^ 4]).unwrap();
        flipped += 1;
    }
    assert!(flipped > 0);
    load.more(300);
    cluster.begin(1);
    eventually("every damaged log to be set aside", || {
        (replicas(&cluster, 1, "damaged-").len() == flipped).then_some(())
    });
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    assert!(cluster.words(1).contains("filled again from the others"), "{}", cluster.words(1));
}

#[test]
fn a_wiped_node_is_a_new_one_and_lost_copies_come_back() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let load = Load::start(&cluster.addresses(), "wiped", 4);
    load.more(2_000);
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.data(2)).unwrap();
    load.more(300);
    cluster.begin(2);
    let tally = load.end();
    eventually("the wiped node to be gone and the new one to be whole", || {
        let status = cluster.status(0)?;
        let nodes = status["nodes"].as_array()?;
        let gone = nodes.iter().filter(|node| node["health"] == "gone").count();
        let up = nodes.iter().filter(|node| node["health"] == "up").count();
        (gone == 1 && up == 3).then_some(())
    });
    cluster.settled();
    cluster.expect(&tally);
    // A disk that lost only its splits.
    cluster.stop(0);
    std::fs::remove_dir_all(cluster.data(0).join("objects")).unwrap();
    cluster.begin(0);
    eventually("the splits to be there again", || {
        let status = cluster.client(0).send("GET", "/api/v1/status", &[], Vec::new())?.json();
        let splits = status["indexes"].as_array()?.iter().map(|one| one["splits"].as_u64());
        let splits: u64 = splits.sum::<Option<u64>>()?;
        let here = std::fs::read_dir(cluster.data(0).join("objects/splits"));
        let here = here.map_or(0, Iterator::count) as u64;
        (splits > 0 && here >= splits).then_some(())
    });
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn a_node_is_drained_removed_and_another_one_takes_its_place() {
    let mut cluster = Cluster::start(4, QUICK, plain);
    // The one that leads the metadata, alive and at work.
    let leader = eventually("a leader", || {
        cluster.status(0)?["leader"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    });
    let victim = cluster.number_of(&leader);
    let [one, other] = [(victim + 1) % 4, (victim + 2) % 4];
    let (mut addresses, status) = (cluster.addresses(), cluster.status(one).unwrap());
    let http = addresses.remove(victim);
    let load = Load::start(&addresses, "drained", 3);
    load.more(1_000);
    let find = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["http"] == http.as_str()).cloned()
    };
    let id = find(&status).unwrap()["id"].as_str().unwrap().to_owned();
    let refused = cluster.client(one).post("/api/v1/cluster/remove", &json!({ "node": id }));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.contains("drain it first"), "{}", refused.body);
    let drained = cluster.client(one).post("/api/v1/cluster/drain", &json!({ "node": http }));
    assert_eq!(drained.status, 200, "{}", drained.body);
    eventually("it to keep nothing", || {
        let node = find(&cluster.status(one)?)?;
        let empty = ["replicas", "indexing", "splits"].iter().all(|what| node[*what] == 0);
        empty.then_some(())
    });
    load.more(300);
    cluster.stop(victim);
    let removed = cluster.client(one).post("/api/v1/cluster/remove", &json!({ "node": id[..8] }));
    assert_eq!(removed.status, 200, "{}", removed.body);
    eventually("the others to hear of it", || {
        find(&cluster.status(other)?).is_none().then_some(())
    });
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    // It is told that it is out; with an empty disk it is a new node.
    cluster.begin(victim);
    eventually("it to be refused", || {
        cluster.words(victim).contains("was removed from the cluster").then_some(())
    });
}

#[test]
fn a_node_of_its_own_founds_a_cluster_with_all_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let key = [("idempotency-key", "once")];
    let body =
        b"{\"message\":\"from before\",\"n\":1}\n{\"message\":\"from before\",\"n\":2}".to_vec();
    let address;
    {
        let mut node = Node::start("node", folder.path(), TINY, &[]);
        address = node.url().trim_start_matches("http://").to_owned();
        let path = "/api/v1/ingest?service=old";
        assert_eq!(node.client.send("POST", path, &key, body.clone()).unwrap().status, 200);
        for number in 0..40 {
            node.client
                .ingest(path, format!("{{\"message\":\"from before\",\"n\":{number}}}").as_bytes());
        }
        assert!(node.process.stop());
    }
    let settings = format!("partitions = 3\n{TINY}");
    let peer = free_address();
    let more = ["--bootstrap", "--peer-listen", &peer];
    let mut node = Node::begin("node", folder.path(), &address, &settings, &more);
    node.ready();
    node.client.expect_records(42);
    // What was sent before is recognised; what is new is taken.
    let again = node.client.send("POST", "/api/v1/ingest?service=old", &key, body).unwrap();
    assert_eq!(again.json()["duplicate"], json!(true), "{}", again.body);
    node.client.ingest("/api/v1/ingest?service=old", b"{\"message\":\"from after\"}");
    node.client.expect_records(43);
    assert!(node.process.stop());
    let mut node = Node::begin("node", folder.path(), &address, &settings, &more);
    node.ready();
    node.client.expect_records(43);
}

#[test]
fn without_a_majority_nothing_is_acknowledged_and_answers_say_what_is_missing() {
    let mut cluster =
        Cluster::start(3, "partitions = 2\n[index]\nfresh_age_max_s = 86400\n", plain);
    let load = Load::start(&cluster.addresses(), "minority", 2);
    load.more(200);
    let tally = load.end();
    cluster.expect(&tally);
    cluster.kill(0);
    cluster.kill(1);
    // The one that is left says in every answer that it may not know everything.
    eventually("the answer to be declared partial", || {
        let answer = cluster.client(2).post("/api/v1/query", &json!({ "query": "minority" }));
        let end = answer.lines().pop()?;
        let partial = end["end"]["partial"].as_array()?;
        (!partial.is_empty() && partial.iter().all(|one| one["why"].is_string())).then_some(())
    });
    let refused = std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let client = tests::client::Client::new(&cluster.addresses()[2]);
            client.send("POST", "/api/v1/ingest", &[], b"{\"message\":\"lonely\"}".to_vec())
        });
        sent.join().unwrap()
    });
    let refused = refused.expect("it answers");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    cluster.begin(0);
    cluster.begin(1);
    cluster.settled();
    cluster.expect(&tally);
    pace(Duration::ZERO);
}
