//! Rotation goes on several times while the shipper is held up. Nobody else runs on the one thread of these
//! tests until the next await: to the shipper that is what a stopped process or a suspended machine is.

use super::held::until;
use super::*;
use crate::checkpoint::Checkpoint;
use crate::tail::gap::Gap;

/// How a file is rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Renamed,
    Packed,
    /// All but the newest are packed.
    PackedLater,
    Copied,
    CopiedAndPacked,
}

fn pack(world: &World, name: &str) {
    let plain = world.path(name);
    let packed = world.path(&format!("{name}.gz"));
    let written = fs::metadata(&plain).unwrap().modified().unwrap();
    fs::write(&packed, gzip(&fs::read(&plain).unwrap())).unwrap();
    OpenOptions::new().write(true).open(packed).unwrap().set_modified(written).unwrap();
    fs::remove_file(plain).unwrap();
}

/// As logrotate does it, and keeps so many.
fn rotate(world: &World, way: Way, kept: usize) {
    let name = |n: usize| format!("a.log.{n}");
    for ending in ["", ".gz"] {
        fs::remove_file(world.path(&format!("{}{ending}", name(kept)))).ok();
        for n in (1..kept).rev() {
            let [from, to] = [n, n + 1].map(|n| world.path(&format!("{}{ending}", name(n))));
            fs::rename(from, to).ok();
        }
    }
    match way {
        Way::Renamed | Way::Packed | Way::PackedLater => {
            fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
            world.append("a.log", "");
        }
        Way::Copied | Way::CopiedAndPacked => {
            fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
            OpenOptions::new().write(true).open(world.path("a.log")).unwrap().set_len(0).unwrap();
        }
    }
    match way {
        Way::Packed | Way::CopiedAndPacked => pack(world, "a.log.1"),
        Way::PackedLater if world.path("a.log.2").exists() => pack(world, "a.log.2"),
        _ => {}
    }
}

/// What is stored, in the order in which it came.
async fn stored(world: &World, count: usize) -> Vec<String> {
    world.receiver.messages(count).await;
    world.receiver.stored().into_iter().map(|stored| stored.record.message).collect()
}

async fn check(way: Way) {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.start();
    world.expect(&["one"]).await;
    let mut expected = vec!["one".to_owned()];
    for pause in 0..3 {
        let mut between = Vec::new();
        for round in 0..4 {
            let line = format!("pause {pause} round {round}");
            world.append("a.log", &format!("{line}\n"));
            between.push(line);
            if round < 3 {
                rotate(&world, way, 20);
            }
        }
        expected.extend(between.iter().cloned());
        let all = stored(&world, expected.len()).await;
        let sorted = |lines: &[String]| {
            let mut lines = lines.to_vec();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&all), sorted(&expected), "{way:?}");
        // What is read from packed files and copies comes in its order, before what is there now.
        let place = |line: &String| all.iter().position(|it| it == line);
        let places: Vec<_> = between[1..].iter().map(place).collect();
        assert!(way == Way::Renamed || places.is_sorted(), "{way:?}: {all:?}");
        world.append("a.log", &format!("live {pause}\n"));
        expected.push(format!("live {pause}"));
        stored(&world, expected.len()).await;
    }
    world.stop().await;
    world.once().await;
    let all = stored(&world, expected.len()).await;
    assert_eq!(all.len(), expected.len(), "{way:?}: {all:?}");
}

#[tokio::test]
async fn files_that_came_and_were_rotated_while_it_was_held_up_are_read_once() {
    for way in [Way::Renamed, Way::Packed, Way::PackedLater, Way::Copied, Way::CopiedAndPacked] {
        check(way).await;
    }
}

/// Rotation that is as quick, and a shipper that keeps up.
#[tokio::test]
async fn a_file_that_is_packed_at_once_is_not_taken_for_one_that_came_between() {
    let mut world = World::new().await;
    world.start();
    let mut expected = Vec::new();
    for round in 0..20 {
        // All begin alike, and little is known of them.
        world.append("a.log", "begun\n");
        expected.push("begun".to_owned());
        world.receiver.messages(expected.len()).await;
        world.append("a.log", &format!("round {round}\n"));
        expected.push(format!("round {round}"));
        rotate(&world, Way::Packed, 9);
    }
    expected.sort();
    assert_eq!(world.receiver.messages(expected.len()).await, expected);
    world.stop().await;
    world.once().await;
    let all = world.receiver.messages(expected.len()).await;
    assert_eq!(all, expected);
}

#[tokio::test]
async fn what_is_rotated_away_while_it_was_held_up_is_said() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.start();
    world.expect(&["one"]).await;
    for line in ["two\n", "three\n", "four\n", "five\n"] {
        rotate(&world, Way::Packed, 1);
        world.append("a.log", line);
    }
    let messages = world.receiver.messages(4).await;
    let (gaps, lines): (Vec<_>, Vec<_>) = messages.iter().partition(|it| it.starts_with("gap: "));
    assert_eq!(lines, ["five", "four", "one"], "{messages:?}");
    assert!(gaps.len() == 1 && gaps[0].contains("may have come and gone"), "{messages:?}");
    world.stop().await;
}

/// `nocreate`, and a program that makes its file anew later.
#[tokio::test]
async fn what_came_before_a_path_was_empty_is_read_at_once() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.start();
    world.expect(&["one"]).await;
    for _ in 0..2 {
        world.append("a.log", "");
        rotate(&world, Way::Packed, 9);
        world.append("a.log", "between\n");
    }
    rotate(&world, Way::Packed, 9);
    fs::remove_file(world.path("a.log")).unwrap();
    world.expect(&["one", "between", "between"]).await;
    world.append("a.log", "later\n");
    world.expect(&["one", "between", "between", "later"]).await;
    world.stop().await;
}

/// Of a file that is cut while no node answers, what had been seen of it is told to its end.
#[tokio::test]
async fn bytes_that_were_seen_and_never_read_are_in_the_gap() {
    let mut world = refused().await;
    let before = fs::metadata(world.path("a.log")).unwrap().len();
    world.append("a.log", &"unread\n".repeat(100));
    let files = |world: &World| world.running.as_ref().unwrap().0.status().lag_bytes;
    until(|| files(&world) >= 700).await;
    OpenOptions::new().write(true).open(world.path("a.log")).unwrap().set_len(0).unwrap();
    world.append("a.log", "new\n");
    until(|| files(&world) < 700).await;
    world.receiver.down(None);
    let gap = format!(
        "gap: bytes {before} to {} of {} were gone before they were read",
        before + 700,
        world.path("a.log").display()
    );
    world.expect(&["one", "two", &gap, "new"]).await;
    world.stop().await;
}

/// A file may be renamed while the first walk runs, and so be found by none of its looks.
#[tokio::test]
async fn what_is_not_found_is_looked_for_once_more_before_it_is_said() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    let (mut shipper, _wishes) =
        Shipper::set_up(world.config(), Clock::system(), Shutdown::default(), Watch::deaf())
            .unwrap();
    let known = shipper.table.absent.all().next().map(|(key, known)| (key, known.clone()));
    let (key, known) = known.unwrap();
    let gap = Gap::of_absent(&Checkpoint { size: 8, ..known }, true, Timestamp(1));
    shipper.recovered(vec![(Vanished::of(key, gap), Fate::Lost)]);
    assert_eq!((shipper.gaps.waiting_count(), shipper.gaps.vanished.len()), (0, 1));
    let again = std::mem::take(&mut shipper.gaps.vanished);
    shipper.recovered(again.into_iter().map(|vanished| (vanished, Fate::Lost)).collect());
    assert_eq!((shipper.gaps.waiting_count(), shipper.gaps.vanished.len()), (1, 0));
}

/// A restart looks at what nobody looked at before the end.
#[tokio::test]
async fn while_a_look_is_due_a_save_says_no_more_than_is_known() {
    let world = World::new().await;
    world.append("a.log", "one\n");
    let (config, clock) = (world.config(), Clock::system());
    let (mut shipper, _wishes) =
        Shipper::set_up(config, clock.clone(), Shutdown::default(), Watch::new()).unwrap();
    shipper.first_walk = false;
    shipper.listen();
    let before = shipper.known_until();
    shipper.consider(&Seen::surely_at(&world.path("a.log"), true).unwrap());
    until(|| clock.now() > before).await;
    shipper.listen();
    assert!(shipper.known_until() < before);
    // Beside what is new nothing was rotated.
    shipper.look_at_passed();
    let found = shipper.tasks.join_next().await.unwrap().unwrap();
    shipper.finish(found);
    assert!(shipper.passed.is_idle() && shipper.known_until() > before);
}
