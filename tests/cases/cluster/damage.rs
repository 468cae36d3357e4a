//! Files of nodes that were changed or cut: told, mended from a majority, never dropped in silence.

use std::path::PathBuf;

use tests::cluster::{Cluster, QUEUED, QUICK, all_published, list};
use tests::disks::{SlowDisks, SmallDisk, flip, segments, tear};
use tests::load::{Load, Tally};
use tests::preload::command;
use tests::wait::eventually;

use super::plain;

/// A cluster whose records are in the queue alone, and its fullest partition.
fn queued(tag: &str) -> (Cluster, Tally, usize) {
    let cluster = Cluster::start(3, QUEUED, plain);
    let load = Load::start(&cluster.addresses(), tag, 4);
    load.more(400);
    let tally = load.end();
    cluster.expect(&tally);
    let status = cluster.status(0).unwrap();
    let partitions = list(&status["partitions"]).iter();
    let fullest = partitions.max_by_key(|one| one["committed"].as_u64()).unwrap();
    let fullest = usize::try_from(fullest["partition"].as_u64().unwrap()).unwrap();
    (cluster, tally, fullest)
}

/// The newest segment of a partition's replica at a node.
fn segment(cluster: &Cluster, number: usize, partition: usize) -> PathBuf {
    segments(cluster, number, partition).pop().expect("a replica has a segment")
}

#[test]
fn a_torn_tail_of_one_replica_loses_nothing() {
    let (mut cluster, tally, partition) = queued("torn");
    cluster.kill(1);
    let path = segment(&cluster, 1, partition);
    tear(&path);
    cluster.begin(1);
    cluster.settled();
    cluster.expect(&tally);
    // What it has again counts: with it two are a majority.
    cluster.kill(0);
    cluster.expect(&tally);
}

#[test]
fn damage_on_a_majority_is_said_and_nothing_is_dropped_in_silence() {
    let (mut cluster, tally, partition) = queued("lost");
    (0..3).for_each(|number| cluster.stop(number));
    let paths = [1, 2].map(|number| segment(&cluster, number, partition));
    // What had been durable: of one the end, of the other a bit in the middle.
    let good = [tear(&paths[0]), flip(&paths[1], 0.5)];
    (0..3).for_each(|number| cluster.begin(number));
    eventually("both nodes to say it", || {
        [1, 2].iter().all(|number| cluster.words(*number).contains("damaged at byte")).then_some(())
    });
    // A question never gets fewer records without being told so, whoever is asked and whoever
    // would index the partition meanwhile.
    let mut declared = 0;
    while declared < 20 {
        for number in cluster.running() {
            match tally.found(&cluster, number) {
                Some(found) => assert_eq!((found.missing, found.twice), (0, 0), "{found:?}"),
                None => declared += 1,
            }
        }
    }
    let status = eventually("a status", || cluster.status(0));
    let troubles = list(&list(&status["partitions"])[partition]["replicas"]).iter();
    let troubles = troubles.filter(|one| one["trouble"].is_string()).count();
    assert!(troubles >= 2, "{}", list(&status["partitions"])[partition]);
    // The files that are good are put back, as is said: everything is there again.
    [1, 2].iter().for_each(|number| cluster.stop(*number));
    for (path, bytes) in paths.iter().zip(good) {
        std::fs::write(path, bytes).unwrap();
    }
    [1, 2].iter().for_each(|number| cluster.begin(*number));
    cluster.settled();
    cluster.expect(&tally);
}

#[test]
fn a_damaged_log_of_the_metadata_stops_its_node_alone_and_is_not_cut() {
    let (mut cluster, tally, _) = queued("decided");
    cluster.stop(1);
    let files = std::fs::read_dir(cluster.data(1).join("meta")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|end| end == "seg"));
    let path = segments.max().expect("the log has a segment");
    let good = flip(&path, 0.5);
    let bad = std::fs::read(&path).unwrap();
    cluster.begin(1);
    let ended = eventually("it to end by itself", || cluster.process(1).ended());
    let words = cluster.words(1);
    assert!(!ended && words.contains("the log of the metadata cannot be opened"), "{words}");
    assert!(words.contains("damaged at byte"), "{words}");
    assert_eq!(std::fs::read(&path).unwrap(), bad, "it is left as it is");
    // The others decide, take and answer without it.
    cluster.kill(1);
    let load = Load::start(&cluster.addresses(), "meanwhile", 2);
    load.more(100);
    let meanwhile = load.end();
    cluster.expect(&tally);
    std::fs::write(&path, good).unwrap();
    cluster.begin(1);
    cluster.settled();
    cluster.expect(&tally);
    cluster.expect(&meanwhile);
}

#[test]
fn a_damaged_catalog_stops_its_node_alone_and_says_what_to_do() {
    let (mut cluster, tally, _) = queued("known");
    cluster.stop(1);
    let path = cluster.data(1).join("catalog.redb");
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped.iter_mut().skip(4_196).step_by(4_096).for_each(|byte| *byte ^= 1);
    let damaged = [
        ("flipped", Some(flipped)),
        ("cut", Some(good[..good.len() / 2].to_vec())),
        ("emptied", Some(Vec::new())),
        ("gone", None),
    ];
    for (what, bytes) in damaged {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let before = cluster.words(1).len();
        cluster.begin(1);
        let ended = eventually("it to end by itself", || cluster.process(1).ended());
        let words = cluster.words(1);
        let said = &words[before..];
        assert!(!ended && said.contains("catalog.redb is damaged"), "{what}: {said}");
        assert!(said.contains("join with an empty one"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        cluster.kill(1);
    }
    // As is said: it comes with an empty disk, as a new node.
    cluster.wipe(1);
    cluster.begin(1);
    cluster.settled();
    cluster.expect(&tally);
}

/// Bytes of the disk that becomes full.
const DISK_BYTES: u64 = 160 << 20;

#[test]
fn a_full_disk_of_one_node_is_said_and_stops_nobody_else() {
    let mut cluster = Cluster::new(3, QUICK, plain);
    let (disk, mounted) = SmallDisk::new(&cluster.data(2), DISK_BYTES);
    cluster.through(2, mounted);
    cluster.begin_all();
    let load = Load::start(&cluster.addresses(), "full", 4);
    load.more(500);
    disk.fill(cluster.process(2));
    load.more(1_500);
    eventually("it to be said", || {
        let status = cluster.status(0)?;
        let is_said = |partition: &serde_json::Value| {
            list(&partition["replicas"]).iter().any(|one| one["trouble"].is_string())
        };
        list(&status["partitions"]).iter().any(is_said).then_some(())
    });
    // It comes back by itself when there is room: a full disk is no reason to start it again.
    disk.empty(cluster.process(2));
    load.more(500);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    // What it has counts again.
    cluster.kill(0);
    load_after(&cluster);
    [1, 2].iter().for_each(|number| cluster.expect_at(*number, &tally));
}

/// What each sync of the slow disk takes longer, milliseconds.
const SLOW_MS: u64 = 200;

#[test]
fn a_slow_disk_stops_nobody_and_loses_nothing() {
    let mut cluster = Cluster::new(3, QUICK, plain);
    let disks = SlowDisks::new(cluster.folder.path());
    (0..3).for_each(|number| cluster.through(number, command(&[disks.preload(number)])));
    cluster.begin_all();
    let load = Load::start(&cluster.addresses(), "slow", 4);
    // Of one that leads, and of one that may only follow there.
    let leader = cluster.leader_of(0, 0);
    for victim in [leader, (leader + 1) % 3] {
        load.more(200);
        disks.slow(victim, SLOW_MS);
        load.more(200);
        disks.quick(victim);
    }
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
}

/// A load whose records are all in splits.
fn published(cluster: &Cluster, tag: &str) -> Tally {
    let load = Load::start(&cluster.addresses(), tag, 4);
    load.more(2_000);
    let tally = load.end();
    eventually("all to be in splits", || all_published(&cluster.status(0)?).then_some(()));
    cluster.settled();
    tally
}

/// The bodies of splits at a node.
fn bodies(cluster: &Cluster, number: usize) -> Vec<PathBuf> {
    let splits = std::fs::read_dir(cluster.data(number).join("objects/splits"));
    let bodies = splits.into_iter().flatten().flatten();
    let bodies = bodies.map(|split| split.path().join("body.parquet"));
    bodies.filter(|body| body.exists()).collect()
}

#[test]
fn a_damaged_copy_of_a_split_is_no_hole_and_is_fetched_again() {
    let mut cluster = Cluster::start(3, QUICK, plain);
    let tally = published(&cluster, "flipped");
    cluster.kill(1);
    // Near the end, which is read whenever a body is.
    let damage = |body: PathBuf| {
        let good = flip(&body, 0.97);
        (body, good)
    };
    let good: Vec<(PathBuf, Vec<u8>)> = bodies(&cluster, 1).into_iter().map(damage).collect();
    assert!(!good.is_empty());
    cluster.begin(1);
    cluster.settled();
    // Who has the damaged copies answers from others'.
    cluster.expect(&tally);
    eventually("whole copies", || {
        // One that was merged meanwhile is gone.
        let is_whole = |(body, good): &(PathBuf, Vec<u8>)| {
            std::fs::read(body).map_or(true, |bytes| bytes == *good)
        };
        good.iter().all(is_whole).then_some(())
    });
    cluster.expect(&tally);
}

#[test]
fn a_node_short_of_room_gives_up_its_own_copies_and_nobody_elses() {
    let mut cluster = Cluster::new(3, QUICK, plain);
    let (disk, mounted) = SmallDisk::new(&cluster.data(2), DISK_BYTES);
    cluster.through(2, mounted);
    cluster.begin_all();
    let tally = published(&cluster, "short");
    // A twentieth of it is to stay free.
    if !disk.fill_but(cluster.process(2), DISK_BYTES / 28) {
        eprintln!("not root: no disk is short of room");
        return;
    }
    let kept = |cluster: &Cluster, number: usize| {
        let (status, id) = (cluster.status(0)?, cluster.id(number));
        let node = list(&status["nodes"]).iter().find(|node| node["id"] == id.as_str())?;
        node["splits"].as_u64()
    };
    eventually("it to keep nothing", || (kept(&cluster, 2)? == 0).then_some(()));
    eventually("the figures to say that copies are missing", || {
        let told = cluster.client(0).send("GET", "/metrics", &[], Vec::new())?.body;
        let count = told.lines().find_map(|line| line.strip_prefix("cluster_copies_missing "))?;
        (count.parse::<u64>().unwrap() > 0).then_some(())
    });
    // Nothing is lost by it, and the others give nothing up: they keep two copies of each.
    cluster.expect(&tally);
    assert!([0, 1].iter().all(|number| kept(&cluster, *number).is_some_and(|splits| splits > 0)));
    // With room again there are three.
    disk.empty(cluster.process(2));
    cluster.settled();
    assert!(kept(&cluster, 2).is_some_and(|splits| splits > 0));
    cluster.expect(&tally);
}

/// Bytes that are left on the disk of a node that takes no records any more.
const SHORT_BYTES: u64 = 64 << 20;

#[test]
fn a_node_short_of_room_leads_and_indexes_nothing_and_others_go_on() {
    // So many that wherever they are placed each node has its share.
    let settings = QUICK.replace("partitions = 4", "partitions = 9");
    let mut cluster = Cluster::new(3, &settings, plain);
    let (disk, mounted) = SmallDisk::new(&cluster.data(2), DISK_BYTES);
    cluster.through(2, mounted);
    cluster.begin_all();
    let id = cluster.id(2);
    let share = |cluster: &Cluster, what: &str| {
        let status = cluster.status(0)?;
        let own = list(&status["partitions"]).iter().filter(|one| one[what] == id.as_str());
        Some(own.count())
    };
    let has_share = |cluster: &Cluster| {
        eventually("it to lead and index its share", || {
            (share(cluster, "leader")? > 0 && share(cluster, "indexer")? > 0).then_some(())
        });
    };
    has_share(&cluster);
    let load = Load::start(&cluster.addresses(), "room", 8);
    load.more(500);
    if !disk.fill_but(cluster.process(2), SHORT_BYTES) {
        eprintln!("not root: no disk is short of room");
        drop(load.end());
        return;
    }
    // Streams of all partitions are taken, at this node as well.
    load.more(2_000);
    eventually("it to lead and index nothing", || {
        (share(&cluster, "leader")? == 0 && share(&cluster, "indexer")? == 0).then_some(())
    });
    eventually("it to be said", || {
        let status = cluster.status(1)?;
        let node = list(&status["nodes"]).iter().find(|node| node["id"] == id.as_str())?.clone();
        let told = cluster.client(2).send("GET", "/metrics", &[], Vec::new())?.body;
        let is_said = told.lines().any(|line| line == "cluster_disk_short 1");
        (node["short_of_room"] == true && is_said).then_some(())
    });
    // Not one byte more: it leads nothing that would wait for it.
    disk.fill(cluster.process(2));
    load.more(1_000);
    disk.empty(cluster.process(2));
    load.more(300);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    has_share(&cluster);
}

/// Records are taken by the nodes that run.
fn load_after(cluster: &Cluster) {
    let addresses: Vec<String> =
        cluster.running().into_iter().map(|number| cluster.addresses()[number].clone()).collect();
    let load = Load::start(&addresses, "after", 2);
    load.more(200);
    let tally = load.end();
    cluster.expect(&tally);
}
