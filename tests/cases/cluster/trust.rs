//! Who belongs to the cluster and who does not.

use tests::cluster::{Cluster, QUICK, list};
use tests::process::{Node, Process, free_address, run};
use tests::wait::eventually;

use super::plain;

/// Waits until a node has refused to start, and gives its words.
fn refused(cluster: &mut Cluster, number: usize) -> String {
    let ended = eventually("the node to give up", || Process::ended(cluster.process(number)));
    let words = cluster.words(number);
    assert!(!ended, "it ended well: {words}");
    assert!(!words.contains("panicked"), "{words}");
    words
}

#[test]
fn a_node_of_another_cluster_is_refused_with_words() {
    let ours = Cluster::start(1, QUICK, plain);
    let door = ours.advertised(0).to_owned();
    // The second of theirs is told of our door too; its own founder is not there.
    let mut theirs = Cluster::start(2, QUICK, |_, number| {
        if number == 1 { vec!["--join".to_owned(), door.clone()] } else { Vec::new() }
    });
    (0..2).for_each(|number| theirs.stop(number));
    theirs.begin(1);
    let words = refused(&mut theirs, 1);
    assert!(words.contains("this is another cluster"), "{words}");
    assert!(words.contains("check --join"), "{words}");
    let cluster = ours.status(0).unwrap()["cluster"].as_str().unwrap().to_owned();
    assert!(!cluster.is_empty() && !words.contains(&cluster), "{words}");
    assert_eq!(list(&ours.status(0).unwrap()["nodes"]).len(), 1);
}

#[test]
fn a_node_that_names_anothers_address_is_refused_and_harms_nobody() {
    let cluster = Cluster::start(2, QUICK, plain);
    let folder = tempfile::tempdir().unwrap();
    let (listen, taken) = (free_address(), cluster.advertised(1));
    let args = ["--peer-listen", &listen, "--advertise", taken, "--join", cluster.advertised(0)];
    let mut node = Node::begin("node", folder.path(), &free_address(), QUICK, &args);
    let ended = eventually("the node to give up", || node.process.ended());
    let words = node.process.words();
    assert!(!ended && words.contains("give the address of this node with --advertise"), "{words}");
    eventually("the two to be there as they were", || {
        let status = cluster.status(0)?;
        let nodes = list(&status["nodes"]);
        assert_eq!(nodes.len(), 2, "{status}");
        nodes.iter().all(|node| node["health"] == "up").then_some(())
    });
}

#[test]
fn without_a_certificate_of_the_authority_nobody_comes_in() {
    let certs = |folder: &std::path::Path, authority: &str, name: &str| {
        let folder = folder.join(authority);
        let made = run("sawlog", &["cluster", "certs", folder.to_str().unwrap(), name]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        vec!["--cluster-tls".to_owned(), folder.join(name).display().to_string()]
    };
    let own =
        |folder: &std::path::Path, number: usize| certs(folder, "ours", &format!("n{number}"));
    let mut cluster = Cluster::start(1, QUICK, own);
    let forged = certs(cluster.folder.path(), "theirs", "n1");
    let strangers = [cluster.add(forged), cluster.add(Vec::new())];
    strangers.iter().for_each(|number| cluster.begin(*number));
    for number in strangers {
        let words = refused(&mut cluster, number);
        assert!(words.contains("not in its cluster"), "{words}");
    }
    assert_eq!(list(&cluster.status(0).unwrap()["nodes"]).len(), 1);
}

#[test]
fn a_node_whose_splits_would_be_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        vec!["--store".to_owned(), format!("file://{}", folder.path().join("store").display())];
    let mut shared = Cluster::start(1, QUICK, |_, _| store.clone());
    let without = shared.add(Vec::new());
    shared.begin(without);
    let words = refused(&mut shared, without);
    assert!(words.contains("start this one with the same --store URL"), "{words}");
    // One with a store of its own is none of the cluster's nodes either: nothing is given to it to keep.
    let other = format!("file://{}", folder.path().join("other").display());
    let with_other = shared.add(vec!["--store".to_owned(), other]);
    shared.begin(with_other);
    let words = refused(&mut shared, with_other);
    assert!(words.contains("is not this cluster's, it is empty"), "{words}");
    assert_eq!(list(&shared.status(0).unwrap()["nodes"]).len(), 1);
    let mut copies = Cluster::start(1, QUICK, plain);
    let with = copies.add(store);
    copies.begin(with);
    let words = refused(&mut copies, with);
    assert!(words.contains("start this one without --store"), "{words}");
}

#[test]
fn a_node_that_waited_while_the_store_was_nobodys_is_of_its_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        vec!["--store".to_owned(), format!("file://{}", folder.path().join("store").display())];
    let mut cluster = Cluster::new(2, QUICK, |_, _| store.clone());
    cluster.begin(1);
    eventually("it to knock", || cluster.words(1).contains("not in the cluster yet").then_some(()));
    cluster.begin(0);
    cluster.settled();
    // It is given up, and comes in again: the store is the cluster's by now.
    let id = cluster.id(1);
    cluster.pause(1);
    eventually("it to be given up", || {
        let status = cluster.status(0)?;
        let node = list(&status["nodes"]).iter().find(|node| node["id"] == id.as_str())?;
        (node["health"] == "down").then_some(())
    });
    cluster.resume(1);
    cluster.settled();
}

#[test]
fn a_store_that_is_not_the_one_of_before_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (there, away) = (folder.path().join("store"), folder.path().join("away"));
    let url = format!("file://{}", there.display());
    let store = || vec!["--store".to_owned(), url.clone()];
    let mut cluster = Cluster::start(1, QUICK, |_, _| store());
    cluster.client(0).ingest("/api/v1/ingest?service=a", b"{\"message\":\"kept\"}\n");
    cluster.stop(0);
    std::fs::rename(&there, &away).unwrap();
    cluster.begin(0);
    let words = refused(&mut cluster, 0);
    assert!(words.contains("is the folder mounted"), "{words}");
    cluster.kill(0);
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    // Another cluster does not write between its objects.
    let mut other = Cluster::new(1, QUICK, |_, _| store());
    other.begin(0);
    let words = refused(&mut other, 0);
    assert!(words.contains("the store belongs to another one"), "{words}");
    cluster.begin(0);
    cluster.client(0).expect_records(1);
}
