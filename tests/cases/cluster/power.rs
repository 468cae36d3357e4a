//! All nodes lose power at once: of what was not synced nothing is left, of what was acknowledged all.

use std::path::Path;
use std::process::Command;

use tests::cluster::{Cluster, QUICK, all_published};
use tests::load::Load;
use tests::power::{Lost, VolatileDisks};
use tests::preload::command;
use tests::wait::eventually;

use super::plain;

/// Times that the power fails.
const FAILURES: usize = 2;

#[test]
fn what_was_acknowledged_outlives_a_loss_of_power_of_all() {
    // Segments begin and go all the time, so that their names count too.
    let settings = format!("{QUICK}[queue]\nsegment_bytes_max = 16384\n");
    let mut cluster = Cluster::new(3, &settings, plain);
    let disks = VolatileDisks::new(cluster.folder.path());
    (0..3).for_each(|number| cluster.through(number, command(&[disks.preload(number)])));
    cluster.begin_all();
    let load = Load::start(&cluster.addresses(), "power", 4);
    for _ in 0..FAILURES {
        load.more(500);
        cluster.kill_all();
        let mut lost = Lost::default();
        (0..3).for_each(|number| lost.add(disks.lose(number, &cluster.data(number))));
        // What the nodes note for themselves is not synced: the disks do forget.
        assert_ne!(lost, Lost::default());
        (0..3).for_each(|number| cluster.begin(number));
    }
    load.more(100);
    let tally = load.end();
    cluster.settled();
    cluster.expect(&tally);
    eventually("all to be in splits", || all_published(&cluster.status(0)?).then_some(()));
    cluster.expect(&tally);
}

/// The disks themselves: a sync that is left out takes what it should have kept.
#[test]
fn a_disk_without_power_keeps_what_was_synced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let disks = VolatileDisks::new(folder.path());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let run = |words: &[&str]| {
        let command = command(&[disks.preload(0)]);
        let done = Command::new(&command[0]).args(&command[1..]).args(words).status();
        assert!(done.is_ok_and(|status| status.success()), "{words:?}");
    };
    let write = |name: &str, bytes: &str, how: &[&str]| {
        let (to, size) = (format!("of={}", data.join(name).display()), format!("bs={bytes}"));
        let words = ["dd", "if=/dev/zero", "count=1", "status=none", &to, &size];
        run(&[&words[..], how].concat());
    };
    let length = |path: &Path| std::fs::metadata(path).ok().map(|found| found.len());
    write("appended", "4096", &["conv=fsync"]);
    write("written.redb", "512", &["conv=fdatasync"]);
    write("not_synced", "100", &[]);
    run(&["sync", data.to_str().unwrap()]);
    write("appended", "100", &["oflag=append", "conv=notrunc"]);
    std::fs::write(data.join("written.redb"), "other").unwrap();
    write("not_named", "100", &["conv=fsync"]);
    let lost = disks.lose(0, &data);
    assert_eq!(lost, Lost { bytes: 200, files: 1 });
    assert_eq!(length(&data.join("appended")), Some(4096));
    assert_eq!(std::fs::read(data.join("written.redb")).unwrap(), [0; 512]);
    assert_eq!(length(&data.join("not_synced")), Some(0));
    assert_eq!(length(&data.join("not_named")), None);
}
