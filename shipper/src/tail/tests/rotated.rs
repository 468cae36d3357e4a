//! Rotation while nobody ships: what came and went meanwhile, and where links led.

use std::time::{Duration, SystemTime};

use super::*;
use crate::rotation::compressed;

fn rename(world: &World, from: &str, to: &str) {
    fs::rename(world.path(from), world.path(to)).unwrap();
}

fn compress(world: &World, name: &str) {
    let packed = gzip(&fs::read(world.path(name)).unwrap());
    fs::write(world.path(&format!("{name}.gz")), packed).unwrap();
    fs::remove_file(world.path(name)).unwrap();
}

/// The messages in the order in which they came, when there are so many.
async fn in_order(world: &World, count: usize) -> Vec<String> {
    world.receiver.messages(count).await;
    world.receiver.stored().into_iter().map(|stored| stored.record.message).collect()
}

#[tokio::test]
async fn files_that_came_and_were_rotated_while_stopped_are_read_in_order() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    world.append("a.log", "two\n");
    rename(&world, "a.log", "a.log.3");
    world.append("a.log.2", "three\n");
    world.append("a.log.1", "four\n");
    world.append("a.log", "five\n");
    compress(&world, "a.log.3");
    compress(&world, "a.log.2");
    world.once().await;
    assert_eq!(in_order(&world, 5).await, ["one", "two", "three", "four", "five"]);
    let source = world.path("a.log").to_string_lossy().into_owned();
    assert!(world.receiver.stored().iter().all(|stored| stored.source == source));
    // And that is that, also after the next rotation.
    world.once().await;
    rename(&world, "a.log.1", "a.log.2");
    compress(&world, "a.log.2");
    rename(&world, "a.log", "a.log.1");
    world.append("a.log", "six\n");
    world.once().await;
    assert_eq!(in_order(&world, 6).await, ["one", "two", "three", "four", "five", "six"]);
}

#[tokio::test]
async fn a_file_out_of_its_pattern_is_read_on_and_written_on() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    rename(&world, "a.log", "a.log-20261129");
    world.append("a.log-20261130", "two\n");
    world.append("a.log", "three\n");
    world.start();
    world.expect(&["one", "two", "three"]).await;
    // Who writes it has not heard of the rotation yet.
    world.append("a.log-20261130", "late\n");
    world.expect(&["one", "two", "three", "late"]).await;
    world.stop().await;
}

#[tokio::test]
async fn what_was_rotated_before_and_what_is_no_log_is_left_alone() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    // Of a time when somebody shipped: it was read then, or was not to be.
    world.append("a.log.4", "old\n");
    compress(&world, "a.log.4");
    let old = fs::File::options().write(true).open(world.path("a.log.4.gz")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    rename(&world, "a.log", "a.log.2");
    world.append("a.log.1", "two\n");
    // Older than what is known, by its name; another's name; no text; empty.
    world.append("a.log.3", "copied there\n");
    world.append("other.1", "nobody follows it\n");
    fs::write(world.path("b.log.1"), [1, 0, 2, 0, 3, 0, 255]).unwrap();
    world.append("a.log.0", "");
    world.append("b.log", "three\n");
    world.once().await;
    world.expect(&["one", "two", "three"]).await;
}

#[tokio::test]
async fn what_cannot_be_read_and_what_may_be_missing_is_said() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    fs::remove_file(world.path("a.log")).unwrap();
    world.append("a.log.2.xz", "packed by some other program\n");
    world.append("a.log.1", "two\n");
    world.append("a.log", "three\n");
    world.once().await;
    let messages = world.receiver.messages(5).await;
    let gaps: Vec<&String> = messages.iter().filter(|text| text.starts_with("gap: ")).collect();
    assert_eq!((gaps.len(), messages.len()), (2, 5), "{messages:?}");
    assert!(gaps[0].starts_with("gap: bytes 0 to 29 of ") && gaps[0].contains("a.log.2.xz came"));
    assert!(gaps[1].contains("may have come and gone"), "{messages:?}");
    world.once().await;
    world.receiver.messages(5).await;
    assert_eq!(world.receiver.stored().len(), 5, "said once");
}

#[tokio::test]
async fn copies_of_truncated_files_are_what_came_before() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    world.append("a.log", "two\n");
    fs::copy(world.path("a.log"), world.path("a.log.2")).unwrap();
    fs::write(world.path("a.log"), "three\n").unwrap();
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    fs::write(world.path("a.log"), "four\n").unwrap();
    world.once().await;
    assert_eq!(in_order(&world, 4).await, ["one", "two", "three", "four"]);
    world.once().await;
    world.expect(&["one", "two", "three", "four"]).await;
}

/// A program that does not append goes on behind what it had written when the file was truncated.
#[tokio::test]
async fn copies_that_begin_with_a_hole_are_read() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    let write = |name: &str, hole: usize, text: &str| {
        let content = [vec![0; hole].as_slice(), text.as_bytes()].concat();
        fs::write(world.path(name), content).unwrap();
    };
    write("a.log.3", 0, "one\ntwo\n");
    write("a.log.2", 2000, "three\n");
    write("a.log.1", 2006, "four\n");
    write("a.log", 2011, "five\n");
    compress(&world, "a.log.2");
    world.once().await;
    assert_eq!(in_order(&world, 5).await, ["one", "two", "three", "four", "five"]);
}

/// As with `rotate 0`.
#[tokio::test]
async fn what_came_and_went_where_nothing_is_kept_is_said_once() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.append("b.log", "another one\n");
    world.once().await;
    for line in ["two\n", "three\n"] {
        fs::remove_file(world.path("a.log")).unwrap();
        world.append("a.log", line);
    }
    // Nothing stands here: as much as was seen of it is stored.
    fs::remove_file(world.path("b.log")).unwrap();
    world.once().await;
    let gap = unseen(&world, "what was read last of {} is not there any more");
    world.expect(&["one", "another one", &gap, "three"]).await;
    let source = world.path("a.log").to_string_lossy().into_owned();
    assert_eq!(world.receiver.stored().iter().filter(|it| it.source == source).count(), 3);
    world.append("b.log", "four\n");
    world.once().await;
    world.receiver.messages(5).await;
    world.once().await;
    assert_eq!(world.receiver.stored().len(), 5, "said once");
}

#[tokio::test]
async fn where_all_is_known_of_a_file_that_was_replaced_no_gap_is_said() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.append("b.log", "first\n");
    let once = |world: &World| {
        let mut config = world.config();
        config.paths = vec![format!("{}/logs/**/*.log*", world.folder.path().display())];
        config.until = Until::Done;
        config
    };
    world.start_with(once(&world));
    world.running.take().unwrap().0.join().await.unwrap();
    // One is written anew with all it had, as an editor does; of the other a copy is followed.
    fs::write(world.path("new"), "one\ntwo\n").unwrap();
    rename(&world, "new", "a.log");
    world.append("b.log", "second\n");
    fs::copy(world.path("b.log"), world.path("b.log.1")).unwrap();
    fs::write(world.path("b.log"), "third\n").unwrap();
    world.start_with(once(&world));
    world.running.take().unwrap().0.join().await.unwrap();
    world.expect(&["one", "one", "two", "first", "first", "second", "third"]).await;
}

/// Copies a folder. False when something in it changed meanwhile.
fn copied_at_rest(from: &Path, to: &Path) -> bool {
    let look = || {
        let folders = [from.to_owned(), from.join("journal")];
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let entry = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()?))
        };
        let mut all: Vec<_> = entries.map(entry).collect();
        all.sort();
        all
    };
    let before = look();
    fs::remove_dir_all(to).ok();
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    copied.unwrap().success() && before == look() && before.iter().all(Option::is_some)
}

/// A process that is killed before it has read them all knows them when it is back.
#[tokio::test]
async fn what_was_found_once_is_known_after_a_crash() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    rename(&world, "a.log", "a.log.3");
    for (name, text) in [("a.log.2", "two\n"), ("a.log.1", "three\n"), ("a.log", "four\n")] {
        world.append(name, text);
    }
    compress(&world, "a.log.2");
    world.receiver.down(Some(Fault::Status(503)));
    world.start();
    let seen = world.receiver.counts().0;
    world.receiver.requests(seen + 1).await;
    // What a crash leaves: the state of now, whatever is written at an orderly end.
    waiting::known(&world, 4).await;
    let left = world.folder.path().join("left");
    while !copied_at_rest(&world.state(), &left) {
        Clock::system().sleep(Duration::from_millis(50)).await;
    }
    world.stop().await;
    fs::remove_dir_all(world.state()).unwrap();
    fs::rename(left, world.state()).unwrap();
    world.receiver.down(None);
    world.once().await;
    world.expect(&["one", "two", "three", "four"]).await;
}

#[tokio::test]
async fn where_a_link_led_is_read_to_its_end_after_it_leads_elsewhere() {
    let mut world = World::new().await;
    let elsewhere = world.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    append(&elsewhere.join("0"), "one\n");
    std::os::unix::fs::symlink(elsewhere.join("0"), world.path("a.log")).unwrap();
    world.once().await;
    append(&elsewhere.join("0"), "two\n");
    append(&elsewhere.join("1"), "three\n");
    fs::remove_file(world.path("a.log")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("1"), world.path("a.log")).unwrap();
    world.once().await;
    assert_eq!(in_order(&world, 3).await, ["one", "two", "three"]);
    world.once().await;
    world.expect(&["one", "two", "three"]).await;
}

#[tokio::test]
async fn what_was_read_whole_is_known_though_no_file_is_there_any_more() {
    use crate::checkpoint::{Checkpoint, Store};
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    let (store, recovered) = Store::open(&world.state()).unwrap();
    drop(store);
    // As if somebody shipped an hour ago. A file came and was rotated since then; none is written now.
    let hour_ago = Clock::system().now().0 - 3_600_000_000_000;
    let earlier = |known: Checkpoint| Checkpoint { seen_ns: hour_ago, ..known };
    let known: Vec<Checkpoint> = recovered.checkpoints.into_iter().map(earlier).collect();
    fs::remove_dir_all(world.state()).unwrap();
    Store::open(&world.state()).unwrap().0.save(&known).unwrap();
    fs::remove_file(world.path("a.log")).unwrap();
    world.append("a.log.1", "two\n");
    compress(&world, "a.log.1");
    let packed = fs::File::options().write(true).open(world.path("a.log.1.gz")).unwrap();
    packed.set_modified(SystemTime::now() - Duration::from_secs(1800)).unwrap();
    world.once().await;
    // And that files may be missing between the two.
    let messages = world.receiver.messages(3).await;
    assert_eq!(messages[1..], ["one", "two"], "{messages:?}");
    world.once().await;
    assert_eq!(world.receiver.stored().len(), 3);
}

#[tokio::test]
async fn of_very_many_files_the_newest_are_read_and_the_others_are_said() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    rename(&world, "a.log", "a.log.104");
    for n in 1..=103 {
        world.append(&format!("a.log.{n}"), &format!("file {n}\n"));
    }
    world.append("a.log", "last\n");
    world.once().await;
    let messages = world.receiver.messages(103).await;
    let has = |text: &str| messages.iter().any(|message| message == text);
    assert!(has("file 100") && !has("file 101") && has("last"), "{messages:?}");
    let gap = messages.iter().find(|text| text.starts_with("gap: 3 of 103 files of ")).unwrap();
    assert!(gap.contains("a.log.101 and older ones"), "{gap}");
    assert_eq!(world.receiver.stored().len(), 103);
}

#[tokio::test]
async fn files_are_open_before_their_turn_comes_and_read_when_they_are_gone() {
    let mut world = World::new().await;
    let names: Vec<String> = (0..20).map(|n| format!("{n:02}.log")).collect();
    let mut expected = Vec::new();
    let mut line = |world: &World, name: &str, word: &str| {
        world.append(name, &format!("{name} {word}\n"));
        expected.push(format!("{name} {word}"));
    };
    names.iter().for_each(|name| line(&world, name, "one"));
    world.once().await;
    for name in &names {
        line(&world, name, "two");
        let rotated = format!("{name}.1");
        rename(&world, name, &rotated);
        compress(&world, &rotated);
    }
    world.receiver.down(Some(Fault::Status(503)));
    let seen = world.receiver.counts().0;
    world.start();
    world.receiver.requests(seen + 1).await;
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let packed = |link: &PathBuf| link.starts_with(world.path("")) && compressed(link);
    assert_eq!(links.filter(packed).count(), names.len());
    // The outage goes on, and rotation removes them.
    for name in &names {
        fs::remove_file(world.path(&format!("{name}.1.gz"))).unwrap();
    }
    world.receiver.down(None);
    expected.sort();
    assert_eq!(world.receiver.messages(expected.len()).await, expected);
    world.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_when_what_vanished_meanwhile_is_found_again() {
    let world = World::new().await;
    world.append("a.log", "one\n");
    let (config, clock) = (world.config(), Clock::system());
    let (mut shipper, _wishes) =
        Shipper::set_up(config, clock, Shutdown::default(), Watch::deaf()).unwrap();
    shipper.first_walk = false;
    shipper.consider(&Seen::surely_at(&world.path("a.log"), true).unwrap());
    let key = shipper.table.keys()[0];
    // It wants a turn while what came before is looked for.
    assert!(shipper.schedule.next_look().is_some());
    let file = shipper.table.get_mut(key).unwrap();
    (file.generation, file.queued) = (Generation::Saved, false);
    shipper.held.insert(file.checkpoint.source.clone());
    shipper.wake(key);
    shipper.begin();
    assert!(shipper.schedule.is_idle());
    // Meanwhile another one vanished. The next walk finds it under another name.
    shipper.vanished(Vanished::of((7, 7), None));
    shipper.recovered(Vec::new());
    assert!(shipper.schedule.is_idle());
    shipper.judge_vanished();
    assert!(!shipper.schedule.is_idle());
}
