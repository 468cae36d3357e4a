//! The shipper at the edges: rotation in quick succession, few descriptors, a state that cannot be
//! written, settings that change all the time, a firehose beside quiet files, clocks that leap.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use tests::clocks::Clocks;
use tests::preload;
use tests::process::{Node, Process, program};
use tests::wait::{eventually, pace};

use crate::shipper::{ALL, World, append, lines, text};

/// Lines of the firehose that wait to be shipped.
const OUTSTANDING_LINES: u64 = 30_000;

#[test]
fn a_hundred_rotations_with_late_writes_keep_every_line() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = world.ship();
    let mut expected = Vec::new();
    for generation in 0..100 {
        let fresh = lines(&format!("g{generation}"), 6);
        append(&world.path("app"), text(&fresh[..3]));
        fs::rename(world.path("app"), world.path(&format!("app.{generation}"))).unwrap();
        // Who has it open writes on.
        append(&world.path(&format!("app.{generation}")), text(&fresh[3..]));
        expected.extend(fresh);
    }
    world.expect(&expected);
    assert!(shipper.stop());
}

#[test]
fn two_thousand_files_are_shipped_with_a_hundred_descriptors() {
    let world = World::new();
    world.settings("", ALL);
    let mut expected = Vec::new();
    for number in 0..2_000 {
        let line = format!("line of {number}");
        append(&world.path(&format!("f{number}")), format!("{line}\n"));
        expected.push(line);
    }
    let settings = world.settings_file();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 100; exec \"$0\" --once --config \"$1\""])
        .arg(program("sawlog-shipper"))
        .arg(settings)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.expect(&expected);
}

#[test]
fn a_state_that_cannot_be_written_is_said_and_recovers() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("known"), "one\n");
    world.once();
    // Nothing can be written where a folder stands, nor into a folder that is a file.
    let blocked = world.state().join("checkpoints.next.json");
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("in the way"), "").unwrap();
    let journal = world.state().join("journal");
    fs::remove_dir_all(&journal).unwrap();
    fs::write(&journal, "").unwrap();
    let mut shipper = world.ship();
    append(&world.path("known"), "two\n");
    // A file that was saved once is shipped on; the queue knows what it has of it.
    world.expect(&["one", "two"]);
    append(&world.path("new"), "three\n");
    eventually("the trouble to be said", || {
        let error = world.status()?["last_error"].as_str()?.to_owned();
        error.contains("checkpoints").then_some(())
    });
    fs::remove_dir_all(blocked).unwrap();
    fs::remove_file(journal).unwrap();
    world.expect(&["one", "two", "three"]);
    assert!(shipper.stop());
}

#[test]
fn settings_that_change_all_the_time_lose_no_place() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = world.ship();
    // A SIGHUP before it listens for one ends it.
    eventually("it to answer", || world.status());
    let mut expected = Vec::new();
    for round in 0..12 {
        let fresh = lines(&format!("r{round}"), 20);
        append(&world.path("app"), text(&fresh));
        expected.extend(fresh);
        // The source goes, and comes back.
        let other = "[[files]]\npaths = [\"LOGS/other\"]\n";
        world.settings("", if round % 2 == 0 { other } else { ALL });
        shipper.hang_up();
    }
    world.settings("", ALL);
    shipper.hang_up();
    world.expect(&expected);
    // With nobody to send to it ends all the same.
    world.settings_to("http://127.0.0.1:9", "", ALL);
    shipper.hang_up();
    append(&world.path("app"), "last\n");
    assert!(shipper.stop());
    world.settings("", ALL);
    world.once();
    expected.push("last".to_owned());
    world.expect(&expected);
}

#[test]
fn a_firehose_does_not_hold_up_quiet_files() {
    let world = World::new();
    world.settings("", ALL);
    // Known first: of files found together the oldest goes first.
    for number in 0..20 {
        append(&world.path(&format!("quiet{number}")), format!("first of {number}\n"));
    }
    let mut shipper = world.ship();
    eventually("the quiet files to be known", || {
        (world.node.client.count_of("first") == 20).then_some(())
    });
    // It does not run dry before the quiet lines are found, however fast or slow the machine is.
    let line = format!("firehose {}\n", "x".repeat(1_000));
    let mut written = 0;
    let mut pour = |node: &Node| {
        let wanted = node.client.count_of("firehose") + OUTSTANDING_LINES;
        let missing = wanted.saturating_sub(written);
        append(&world.path("firehose"), line.repeat(usize::try_from(missing).unwrap()));
        written += missing;
        written
    };
    pour(&world.node);
    for number in 0..20 {
        append(&world.path(&format!("quiet{number}")), format!("second of {number}\n"));
    }
    let written = eventually("the quiet lines", || {
        let written = pour(&world.node);
        (world.node.client.count_of("second") == 20).then_some(written)
    });
    // And the forty quiet ones.
    world.node.client.expect_records(written + 40);
    assert!(shipper.stop());
}

#[test]
fn clocks_that_leap_change_nothing() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = world.ship();
    let mut expected = Vec::new();
    let day = Duration::from_secs(86_400);
    let times = [SystemTime::now() + day, SystemTime::now() - day, SystemTime::UNIX_EPOCH];
    for (round, time) in times.into_iter().enumerate() {
        let fresh = lines(&format!("r{round}"), 10);
        append(&world.path("app"), text(&fresh));
        let file = fs::File::options().write(true).open(world.path("app")).unwrap();
        file.set_modified(time).unwrap();
        expected.extend(fresh);
        world.expect(&expected);
    }
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}

/// A shipper whose clock of the calendar can be set.
fn with_clock(world: &World) -> (Process, Clocks) {
    let clocks = Clocks::new(world.folder.path());
    let words = preload::command(&[clocks.preload(0)]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program("sawlog-shipper"));
    command.arg("--config").arg(world.settings_file());
    (Process::of(command, &world.folder.path().join("shipper.words")), clocks)
}

/// The clock of the machine is set while it ships: an hour ahead, and an hour back.
#[test]
fn a_clock_that_is_set_while_it_ships_changes_nothing() {
    let world = World::new();
    world.settings("", ALL);
    let (mut shipper, clocks) = with_clock(&world);
    let mut expected = Vec::new();
    for (round, ahead_s) in [0, 3_600, 0, -3_600].into_iter().enumerate() {
        clocks.set(0, ahead_s);
        let fresh = lines(&format!("r{round}"), 10);
        append(&world.path("app"), text(&fresh[..5]));
        let rotated = world.path(&format!("app.{round}"));
        fs::rename(world.path("app"), &rotated).unwrap();
        append(&rotated, text(&fresh[5..]));
        expected.extend(fresh);
        world.expect(&expected);
    }
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}

/// The clock is years ahead of the times of files, and years behind them: a file that is written is not old for
/// that, and what waits for its file to rest does not wait until then. Nor does half a line count before.
#[test]
fn a_clock_that_is_years_off_leaves_out_no_file_and_holds_up_no_line() {
    let world = World::new();
    let source = "[[files]]\npaths = [\"LOGS/**\"]\nignore_older_s = 3600\n\
                  join = { continue = '^ ' }\njoin_timeout_ms = 300\n";
    world.settings("partial_after_s = 5", source);
    let (mut shipper, clocks) = with_clock(&world);
    let mut expected = Vec::new();
    let (at, years_s) = ("2026-11-23T10:00:00Z", 3 * 365 * 86_400);
    for (round, ahead_s) in [0, years_s, -years_s, 0].into_iter().enumerate() {
        clocks.set(0, ahead_s);
        for name in ["begun".to_owned(), format!("new{round}")] {
            append(&world.path(&name), format!("{at} {name} in {round}\n and more\n"));
            expected.push(format!("{at} {name} in {round}\n and more"));
        }
        world.expect(&expected);
        let parts = [format!("{at} parts in {round}"), format!(" of one\n and more of {round}")];
        append(&world.path("begun"), &parts[0]);
        pace(Duration::from_millis(500));
        append(&world.path("begun"), &parts[1]);
        expected.push(parts.concat());
        // Its last line has no end, and counts when the file rests.
        world.expect(&expected);
        append(&world.path("begun"), "\n");
    }
    assert!(shipper.stop());
}
