//! Files that are truncated again and again while nothing gets through (`copytruncate` in an outage).

use model::record::FieldValue;

use super::held::{is_open, until};
use super::*;
use crate::tail::truncated::LOOK_PERIOD;

/// Waits until the file was seen with so many bytes.
async fn seen_with(world: &World, bytes: usize) {
    let control = world.running.as_ref().unwrap().0.control();
    let (clock, path) = (Clock::system(), world.path("a.log").display().to_string());
    let seen = async {
        loop {
            let report = control.report().await.unwrap();
            let mut files = report.followed.iter();
            if files.any(|file| file.path == path && file.size == bytes as u64) {
                break;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    clock.timeout(Duration::from_secs(20), seen).await.expect("the file to be seen");
}

/// Truncates the file and writes a line to it.
async fn written_at_once(world: &World, line: &str) {
    let file = OpenOptions::new().write(true).open(world.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    seen_with(world, 0).await;
    world.append("a.log", line);
    seen_with(world, line.len()).await;
}

/// The same, and waits until the next time is looked into.
async fn written_anew(world: &World, line: &str) {
    written_at_once(world, line).await;
    let clock = Clock::system();
    let due = clock.elapsed() + LOOK_PERIOD;
    until(|| clock.elapsed() > due).await;
}

fn files(world: &World) -> u64 {
    world.running.as_ref().unwrap().0.status().files
}

#[tokio::test]
async fn what_stood_there_between_two_truncations_is_read_from_its_copy() {
    let mut world = refused().await;
    for (copy, line) in [(3, "three\n"), (2, "four\n"), (1, "five\n")] {
        fs::copy(world.path("a.log"), world.path(&format!("a.log.{copy}"))).unwrap();
        written_anew(&world, line).await;
        // The first copy is that of what was sent: its turn looks for it.
        until(|| files(&world) == 4 - copy).await;
    }
    // Rotation goes on.
    until(|| is_open(&world, "a.log.2")).await;
    fs::remove_file(world.path("a.log.2")).unwrap();
    world.receiver.down(None);
    world.receiver.messages(5).await;
    let stored = world.receiver.stored().into_iter().map(|stored| stored.record.message);
    assert_eq!(stored.collect::<Vec<_>>(), ["one", "two", "three", "four", "five"]);
    world.stop().await;
    world.once().await;
    world.expect(&["one", "two", "three", "four", "five"]).await;
}

#[tokio::test]
async fn what_stood_there_between_two_truncations_and_has_no_copy_is_said() {
    let mut world = refused().await;
    written_anew(&world, "three\n").await;
    written_anew(&world, "four\n").await;
    world.receiver.down(None);
    let gap = format!(
        "gap: bytes 0 to 6 of {} were truncated before they were read, and no copy of them is there",
        world.path("a.log").display()
    );
    world.expect(&["one", "two", gap.as_str(), "four"]).await;
    world.stop().await;
}

/// As a rule all of it is within the period in which nobody looks twice.
#[tokio::test]
async fn what_stood_there_between_quick_truncations_is_read_from_its_copies() {
    let mut world = refused().await;
    written_at_once(&world, "three\n").await;
    fs::copy(world.path("a.log"), world.path("a.log.2")).unwrap();
    written_at_once(&world, "four\n").await;
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    written_at_once(&world, "five\n").await;
    until(|| files(&world) == 3).await;
    world.receiver.down(None);
    world.receiver.messages(5).await;
    let stored = world.receiver.stored().into_iter().map(|stored| stored.record.message);
    assert_eq!(stored.collect::<Vec<_>>(), ["one", "two", "three", "four", "five"]);
    world.stop().await;
}

/// Bytes that are told as lost so far.
fn lost_bytes(world: &World) -> i64 {
    let fields = world.receiver.stored().into_iter().flat_map(|stored| stored.record.fields);
    let bytes = |(name, value): (String, FieldValue)| match (name.as_str(), value) {
        ("gap_to", FieldValue::Int(to)) => to,
        ("gap_from", FieldValue::Int(from)) => -from,
        _ => 0,
    };
    fields.map(bytes).sum()
}

#[tokio::test]
async fn what_stood_there_between_quick_truncations_and_has_no_copy_is_said() {
    let mut world = refused().await;
    for line in ["three\n", "four\n", "five\n"] {
        written_at_once(&world, line).await;
    }
    world.receiver.down(None);
    until(|| lost_bytes(&world) == 11).await;
    let has = |line: &str| world.receiver.stored().iter().any(|it| it.record.message == line);
    until(|| has("five")).await;
    assert!(has("two") && !has("three") && !has("four"));
    world.stop().await;
}

#[tokio::test]
async fn what_was_not_looked_for_before_the_end_is_said_at_the_next_start() {
    let mut world = refused().await;
    for line in ["three\n", "four\n"] {
        written_at_once(&world, line).await;
    }
    world.stop().await;
    world.receiver.down(None);
    world.start();
    // And what had been sent of the first content.
    until(|| lost_bytes(&world) == 6 + 4).await;
    world.stop().await;
}

#[tokio::test]
async fn a_copy_that_was_found_and_is_compressed_since_then_is_read_once() {
    let mut world = refused().await;
    written_anew(&world, "three\n").await;
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    written_anew(&world, "four\n").await;
    until(|| files(&world) == 2 && is_open(&world, "a.log.1")).await;
    // As rotation does it: the compressed one has the time of what was compressed.
    let written = fs::metadata(world.path("a.log.1")).unwrap().modified().unwrap();
    fs::write(world.path("a.log.2.gz"), gzip(b"three\n")).unwrap();
    let packed = OpenOptions::new().write(true).open(world.path("a.log.2.gz")).unwrap();
    packed.set_modified(written).unwrap();
    fs::remove_file(world.path("a.log.1")).unwrap();
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    written_anew(&world, "five\n").await;
    until(|| files(&world) == 3).await;
    world.receiver.down(None);
    world.receiver.messages(5).await;
    world.stop().await;
    world.once().await;
    let stored = world.receiver.stored().into_iter().map(|stored| stored.record.message);
    assert_eq!(stored.collect::<Vec<_>>(), ["one", "two", "three", "four", "five"]);
}

#[tokio::test]
async fn what_an_old_walk_says_of_a_truncated_file_is_no_second_truncation() {
    let world = World::new().await;
    world.append("a.log", "one\ntwo\n");
    let (mut shipper, _wishes) =
        Shipper::set_up(world.config(), Clock::system(), Shutdown::default(), Watch::deaf())
            .unwrap();
    let before = Seen::surely_at(&world.path("a.log"), true).unwrap();
    shipper.consider(&before);
    let key = shipper.table.keys()[0];
    let file = OpenOptions::new().write(true).open(world.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    shipper.consider(&Seen::surely_at(&world.path("a.log"), true).unwrap());
    let shrunk_at = shipper.table.get(key).unwrap().shrunk_at;
    assert!(shrunk_at.is_some());
    shipper.consider(&before);
    let file = shipper.table.get(key).unwrap();
    assert_eq!((file.heard_size, file.size, file.shrunk_at), (0, 0, shrunk_at));
}
