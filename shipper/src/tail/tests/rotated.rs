//! Rotation while nobody ships: what came and went meanwhile, and where links led.

use std::time::{Duration, SystemTime};

use super::*;

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
