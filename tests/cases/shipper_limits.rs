//! The shipper where the system or the node gives less than it wants: no inotify, few watches, events
//! lost, a record that is refused, rotation faster than anybody looks, state of an older version.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::process::{Process, program};
use tests::wait::{eventually, pace};
use xxhash_rust::xxh3::xxh3_64;

use crate::shipper::{ALL, World, append, lines, text};
use crate::shipper_front::{Fault, Front};

/// Rotated files that are kept.
const KEPT: usize = 4;

/// The shipper, started by a shell that sets a limit first.
fn limited(world: &World, limit: &str) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg(format!("{limit} && exec \"$0\" --config \"$1\""));
    command.arg(program("sawlog-shipper")).arg(world.settings_file());
    Process::of(command, &world.folder.path().join("shipper.words"))
}

/// Files that are written, renamed, made in new folders and written on.
fn come_and_go(world: &World) {
    append(&world.path("a"), "one\n");
    fs::create_dir_all(world.path("early/still")).unwrap();
    append(&world.path("early/still/b"), "two\n");
    world.expect(&["one", "two"]);
    append(&world.path("a"), "three\n");
    fs::rename(world.path("a"), world.path("a.1")).unwrap();
    append(&world.path("a"), "four\n");
    fs::create_dir_all(world.path("later/still")).unwrap();
    append(&world.path("later/still/c"), "five\n");
    append(&world.path("early/still/b"), "six\n");
    let expected = ["one", "two", "three", "four", "five", "six"];
    world.expect(&expected);
    append(&world.path("a.1"), "late\n");
    world.expect(&[&expected[..], &["late"]].concat());
}

/// S27: the user may have no inotify at all.
#[test]
fn where_there_is_no_inotify_files_are_looked_at() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = limited(&world, "echo 0 > /proc/sys/user/max_inotify_instances");
    come_and_go(&world);
    assert!(shipper.words().contains("no inotify here"), "{}", shipper.words());
    assert!(shipper.stop());
}

/// A system without certificates is of no concern to who speaks plain HTTP, and told to who does not.
#[test]
fn where_nobody_is_trusted_plain_http_works_and_tls_says_what_to_do() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("a"), "one\n");
    let nobody = "export SSL_CERT_FILE=/nowhere SSL_CERT_DIR=/nowhere";
    let mut shipper = limited(&world, nobody);
    world.expect(&["one"]);
    assert!(shipper.stop());
    world.settings_to("https://127.0.0.1:9", "", ALL);
    let mut shipper = limited(&world, nobody);
    eventually("it to end", || shipper.ended());
    assert!(shipper.words().contains("ca-certificates"), "{}", shipper.words());
}

/// A folder nobody may look into costs nothing but what is in it.
#[test]
fn a_folder_that_is_closed_to_us_is_told_and_all_else_is_heard_of() {
    let world = World::new();
    world.settings("", ALL);
    let closed = world.path("closed");
    fs::create_dir_all(&closed).unwrap();
    append(&closed.join("app"), "hidden\n");
    append(&world.path("open"), "seen\n");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    // Somebody else's, where we may give it away; else closed to ourselves.
    let mut shipper = match std::os::unix::fs::chown(&closed, Some(12_345), Some(12_345)) {
        Ok(()) => limited(&world, "true"),
        Err(_) => {
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
            world.ship()
        }
    };
    world.expect(&["seen"]);
    let words = shipper.words();
    assert!(words.contains("cannot look into the folder"), "{words}");
    assert!(!words.contains("every second"), "{words}");
    assert!(shipper.stop());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

/// S27: there are more folders than may be watched.
#[test]
fn folders_that_may_not_be_watched_are_looked_at() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = limited(&world, "echo 2 > /proc/sys/user/max_inotify_watches");
    come_and_go(&world);
    assert!(shipper.words().contains("cannot watch"), "{}", shipper.words());
    assert!(shipper.stop());
}

/// S27: more happens than the kernel remembers, while the shipper is held up.
#[test]
fn events_that_were_lost_lose_no_line() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), "known\n");
    append(&world.path("idle"), "idle\n");
    let mut shipper = world.ship();
    world.expect(&["known", "idle"]);
    shipper.pause();
    let bound = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    // Each renaming is two events.
    for _ in 0..=bound.trim().parse::<u32>().unwrap() / 4 {
        fs::rename(world.path("idle"), world.path("elsewhere")).unwrap();
        fs::rename(world.path("elsewhere"), world.path("idle")).unwrap();
    }
    append(&world.path("app"), "rest\n");
    fs::rename(world.path("app"), world.path("app.1")).unwrap();
    append(&world.path("app"), "new\n");
    fs::create_dir(world.path("folder")).unwrap();
    append(&world.path("folder/app"), "deep\n");
    shipper.resume();
    world.expect(&["known", "idle", "rest", "new", "deep"]);
    assert!(shipper.stop());
    world.once();
    world.expect(&["known", "idle", "rest", "new", "deep"]);
}

/// S25: a record that the node takes in no form but as text, among thousands.
#[test]
fn a_record_that_is_refused_is_kept_with_the_reason_and_holds_up_nobody() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "", ALL);
    front.fail(Fault::Poison("evil"));
    let mut expected = lines("before", 3_000);
    let poison = r#"{"number":1,"message":"evil"}"#;
    expected.push(poison.to_owned());
    expected.extend(lines("after", 3_000));
    append(&world.path("app"), text(&expected));
    append(&world.path("other"), "of another file\n");
    expected.push("of another file".to_owned());
    let mut shipper = world.ship();
    world.expect(&expected);
    let row = world.rows("evil").remove(0);
    assert_eq!(row["message"], poison);
    assert!(row.to_string().contains("no such record here"), "the reason is missing in {row}");
    assert!(shipper.stop());
}

/// A dead node keeps the few turns there are: what waits for one is behind all the same, and said to be
/// missing when it goes meanwhile.
#[test]
fn files_that_wait_for_a_turn_are_behind_and_read_when_they_are_gone() {
    let world = World::new();
    world.settings_to("http://127.0.0.1:9", "", ALL);
    let early: Vec<String> = (0..8).map(|number| format!("early{number}")).collect();
    early.iter().for_each(|name| append(&world.path(name), "early\n"));
    let mut shipper = world.ship();
    let followed = || Some(world.status()?["followed"].as_array()?.clone());
    eventually("every turn to wait for the node", || {
        (followed()?.iter().filter(|file| file["sent"] == 6).count() == 8).then_some(())
    });
    for name in ["late1", "late2"] {
        append(&world.path(name), "first\n");
    }
    let late_lag = |bytes: u64| {
        let late = |file: &&Value| file["path"].as_str().is_some_and(|path| path.contains("late"));
        let behind = |file: &&Value| file["lag_bytes"] == bytes;
        (followed()?.iter().filter(late).filter(behind).count() == 2).then_some(())
    };
    eventually("them to be behind", || late_lag(6));
    append(&world.path("late1"), "second\n");
    append(&world.path("late2"), "second\n");
    eventually("what is written meanwhile to count", || late_lag(13));
    fs::remove_file(world.path("late1")).unwrap();
    world.settings("", ALL);
    let mut expected = vec!["early".to_owned(); 8];
    expected.extend(["first", "second", "first", "second"].map(str::to_owned));
    world.expect(&expected);
    assert!(shipper.stop());
}

/// S20: hundreds of rotations between two looks. What is still there is shipped, and the file that was
/// open is read to its end although it is deleted; nothing is there twice.
#[test]
fn what_rotation_has_left_is_shipped_once_however_fast_it_is() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), "known\n");
    let mut shipper = world.ship();
    world.expect(&["known"]);
    shipper.pause();
    append(&world.path("app"), "the rest of it\n");
    let name = |n: usize| world.path(&if n == 0 { "app".to_owned() } else { format!("app.{n}") });
    let mut all = vec!["known".to_owned(), "the rest of it".to_owned()];
    for generation in 0..300 {
        for n in (0..KEPT).rev().filter(|n| name(*n).exists()) {
            fs::rename(name(n), name(n + 1)).unwrap();
        }
        let fresh = lines(&format!("generation {generation}"), 10);
        append(&name(0), text(&fresh));
        all.extend(fresh);
    }
    shipper.resume();
    let mut left: Vec<&String> = all.iter().take(2).collect();
    left.extend(&all[all.len() - 10 * (KEPT + 1)..]);
    eventually("all that is left to be stored", || {
        let found = world.messages();
        left.iter().all(|line| found.binary_search(line).is_ok()).then_some(())
    });
    assert!(shipper.stop());
    world.once();
    let found = world.messages();
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "twice: {found:?}");
    assert!(found.iter().all(|line| all.contains(line)), "nobody wrote some of: {found:?}");
}

/// A crash right after a batch was taken, and the file written anew with the same beginning: of the
/// old content the queue has more than the checkpoint says, of the new one nothing.
#[test]
fn a_file_written_anew_with_the_same_beginning_right_after_a_crash_is_another() {
    let world = World::new();
    world.settings("", ALL);
    let head = format!("head {}", "h".repeat(1_100));
    let mut expected = Vec::new();
    for round in 0..4 {
        let mut shipper = world.ship();
        let old = lines(&format!("old {round}"), 200);
        let content = text(&[std::slice::from_ref(&head), &old[..]].concat());
        fs::write(world.path("app"), &content).unwrap();
        expected.push(head.clone());
        expected.extend(old);
        world.expect_beside_gaps(&expected);
        shipper.kill();
        // As long, and no line of it is the same.
        let new = lines(&format!("new {round}"), 200);
        let anew = text(&[std::slice::from_ref(&head), &new[..]].concat());
        assert_eq!(content.len(), anew.len());
        fs::write(world.path("app"), anew).unwrap();
        expected.push(head.clone());
        expected.extend(new);
        world.once();
        world.expect_beside_gaps(&expected);
    }
}

/// S35: state that version 1 wrote; the one before journals. Its files' contents are as they were then.
#[test]
fn the_state_of_an_older_version_is_gone_on_from() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), text(&lines("old", 40)));
    append(&world.path("half"), "whole\nthe first half, ");
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut state = fs::read_to_string(fixture.join("fixtures/shipper_state_v1.json")).unwrap();
    for name in ["app", "half"] {
        let inode = fs::metadata(world.path(name)).unwrap().ino();
        state = state.replace(&format!("INODE_{name}"), &inode.to_string());
    }
    let device = fs::metadata(world.path("app")).unwrap().dev();
    let logs = world.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    state = state.replace("DEVICE", &device.to_string()).replace("LOGS", &logs);
    let (head, body) = state.split_at(state.find('\n').unwrap());
    let head = head.replace("CHECKSUM", &xxh3_64(body.as_bytes()).to_string());
    fs::create_dir(world.state()).unwrap();
    fs::write(world.state().join("checkpoints.json"), head + body).unwrap();
    append(&world.path("app"), "more\n");
    append(&world.path("half"), "and the other\n");
    let mut shipper = world.ship();
    let expected = ["more", "the first half, and the other"];
    world.expect(&expected);
    pace(Duration::from_millis(100));
    shipper.kill();
    world.once();
    world.expect(&expected);
}
