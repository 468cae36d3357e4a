//! What happens while no shipper runs: rotation, compression, links that lead elsewhere. And the order
//! in which the lines of a stream are read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::process::program;
use tests::wait::{eventually, pace};

use crate::shipper::{World, append, gzip, lines, text};

/// Messages in the order in which they were written, as a search gives them the other way round.
fn in_order(world: &World) -> Vec<String> {
    let rows = world.rows("");
    rows.iter().rev().map(|row| row["message"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
pub(crate) fn check_order(world: &World, expected: &[String]) {
    world.expect(expected);
    let found = in_order(world);
    let place = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(place, None, "out of order: {found:?}");
}

/// The pattern names the current file alone, as the package's does /var/log/syslog.
const LITERAL: &str = "[[files]]\npaths = [\"LOGS/syslog\"]\n";
const LOGROTATE: &str = "/usr/sbin/logrotate";

/// Real logrotate for the file of a world, where it is installed.
struct Logrotate {
    rules: PathBuf,
    state: PathBuf,
}

impl Logrotate {
    fn new(world: &World, rules: &str) -> Self {
        let file = |name: &str| world.folder.path().join(name);
        let rotate = Self { rules: file("rotate.conf"), state: file("rotate.state") };
        let log = world.path("syslog");
        fs::write(&rotate.rules, format!("{} {{\n{rules}\n}}\n", log.display())).unwrap();
        rotate
    }

    fn run(&self) {
        let [state, rules] = [&self.state, &self.rules].map(|path| path.to_str().unwrap());
        let output =
            Command::new(LOGROTATE).args(["--force", "--state", state, rules]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Real logrotate, three times while nobody ships, in each of its ways.
#[test]
fn logrotate_while_nobody_ships_loses_no_file_and_no_order() {
    if !Path::new(LOGROTATE).exists() {
        eprintln!("skipped: logrotate is not installed");
        return;
    }
    for way in [
        "create",
        "copytruncate",
        "create\ncompress",
        "create\ncompress\ndelaycompress",
        "create\ncompress\ndelaycompress\ndateext\ndateformat -%Y%m%d-%s",
    ] {
        eprintln!("{way:?}");
        let world = World::new();
        world.settings("", LITERAL);
        let rotate = Logrotate::new(&world, &format!("rotate 9\n{way}"));
        let log = world.path("syslog");
        let mut expected = lines("before", 50);
        append(&log, text(&expected));
        world.once();
        for round in 0..4 {
            let fresh = lines(&format!("round {round}"), 50);
            append(&log, text(&fresh));
            expected.extend(fresh);
            if round == 3 {
                break;
            }
            rotate.run();
            // Names with a second in them shall differ.
            pace(Duration::from_millis(if way.contains("dateext") { 1_100 } else { 0 }));
        }
        world.once();
        check_order(&world, &expected);
        world.once();
        world.expect(&expected);
    }
}

/// Real logrotate, three times while the shipper is stopped by a signal (a frozen group, a suspended machine).
#[test]
fn logrotate_while_it_is_held_up_loses_no_file_and_reads_none_twice() {
    if !Path::new(LOGROTATE).exists() {
        eprintln!("skipped: logrotate is not installed");
        return;
    }
    for way in [
        "create",
        "create\ncompress",
        "create\ncompress\ndelaycompress",
        "create\ncompress\ndateext\ndateformat -%Y%m%d-%s",
        "copytruncate",
        "copytruncate\ncompress",
    ] {
        eprintln!("{way:?}");
        let world = World::new();
        world.settings("", LITERAL);
        let rotate = Logrotate::new(&world, &format!("rotate 20\n{way}"));
        let log = world.path("syslog");
        let mut expected = lines("before", 50);
        append(&log, text(&expected));
        let mut shipper = world.ship();
        world.expect(&expected);
        for pause in 0..2 {
            shipper.pause();
            for round in 0..4 {
                let fresh = lines(&format!("pause {pause} round {round}"), 50);
                append(&log, text(&fresh));
                expected.extend(fresh);
                if round < 3 {
                    rotate.run();
                    // Names with a second in them shall differ.
                    pace(Duration::from_millis(if way.contains("dateext") { 1_100 } else { 0 }));
                }
            }
            shipper.resume();
            world.expect(&expected);
        }
        assert!(shipper.stop());
        world.once();
        world.expect(&expected);
    }
}

/// Real logrotate that keeps nothing: what came after the last look is lost, and that is said.
#[test]
fn logrotate_that_keeps_nothing_while_nobody_ships_is_said() {
    if !Path::new(LOGROTATE).exists() {
        eprintln!("skipped: logrotate is not installed");
        return;
    }
    for way in ["create", "copytruncate"] {
        eprintln!("{way:?}");
        let world = World::new();
        world.settings("", LITERAL);
        let rotate = Logrotate::new(&world, &format!("rotate 0\n{way}"));
        let log = world.path("syslog");
        append(&log, "read\n");
        world.once();
        for round in 0..2 {
            append(&log, format!("round {round}\n"));
            rotate.run();
        }
        append(&log, "new\n");
        world.once();
        let gaps = world.expect_beside_gaps(&["read", "new"]);
        assert!(gaps.len() == 1 && gaps[0].contains("may have come and gone"), "{gaps:?}");
        world.once();
        assert_eq!(world.expect_beside_gaps(&["read", "new"]), gaps);
    }
}

/// The rotated file is still written to after the start, and the next rotation finds it as usual.
#[test]
fn a_file_rotated_out_of_its_pattern_while_stopped_is_followed_on() {
    let world = World::new();
    world.settings("", LITERAL);
    let mut expected = lines("one", 20);
    append(&world.path("syslog"), text(&expected));
    world.once();
    fs::rename(world.path("syslog"), world.path("syslog.2")).unwrap();
    for (name, generation) in [("syslog.1", "two"), ("syslog", "three")] {
        let fresh = lines(generation, 20);
        append(&world.path(name), text(&fresh));
        expected.extend(fresh);
    }
    let mut shipper = world.ship();
    check_order(&world, &expected);
    append(&world.path("syslog.1"), "late\n");
    fs::rename(world.path("syslog.2"), world.path("syslog.3")).unwrap();
    fs::rename(world.path("syslog.1"), world.path("syslog.2")).unwrap();
    fs::rename(world.path("syslog"), world.path("syslog.1")).unwrap();
    append(&world.path("syslog"), "four\n");
    expected.extend(["late", "four"].map(str::to_owned));
    world.expect(&expected);
    assert!(shipper.stop());
}

/// S27: many streams were rotated in an outage, and the shipper that finds them has few descriptors.
#[test]
fn what_was_rotated_while_stopped_is_shipped_once_with_few_descriptors() {
    const STREAMS: usize = 150;
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/*.log\"]\n");
    let name = |stream: usize, ending: &str| world.path(&format!("s{stream}.log{ending}"));
    let mut expected = Vec::new();
    let mut write = |stream: usize, word: &str| {
        let fresh = lines(&format!("{word} {stream}"), 3);
        append(&name(stream, ""), text(&fresh));
        expected.extend(fresh);
    };
    (0..STREAMS).for_each(|stream| write(stream, "first"));
    world.once();
    for stream in 0..STREAMS {
        write(stream, "rest");
        fs::rename(name(stream, ""), name(stream, ".2")).unwrap();
        write(stream, "between");
        fs::rename(name(stream, ""), name(stream, ".1")).unwrap();
        write(stream, "last");
    }
    let few = |descriptors: u32| {
        let ship = format!("ulimit -n {descriptors}; exec \"$0\" --once --config \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &ship]).arg(program("sawlog-shipper")).arg(world.settings_file());
        let output = command.stdout(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    few(100);
    world.expect(&expected);
    few(100);
    world.expect(&expected);
}

/// Rotated while nobody shipped, it is met under its rotated name, which the pattern names too; then it is packed.
#[test]
fn a_rotated_file_that_was_met_under_that_name_is_known_when_it_is_packed() {
    for held_up in [true, false] {
        let world = World::new();
        world.settings("", "[[files]]\npaths = [\"LOGS/*.log*\"]\n");
        let mut expected = lines("first", 20);
        append(&world.path("app.log"), text(&expected));
        world.once();
        fs::rename(world.path("app.log"), world.path("app.log.2")).unwrap();
        let second = lines("second", 20);
        append(&world.path("app.log.1"), text(&second));
        expected.extend(second.clone());
        let mut shipper = world.ship();
        world.expect(&expected);
        match held_up {
            true => shipper.pause(),
            false => assert!(shipper.stop()),
        }
        fs::write(world.path("app.log.1.gz"), gzip(text(&second).as_bytes())).unwrap();
        fs::remove_file(world.path("app.log.1")).unwrap();
        let third = lines("third", 20);
        append(&world.path("app.log"), text(&third));
        expected.extend(third);
        match held_up {
            true => shipper.resume(),
            false => shipper = world.ship(),
        }
        world.expect(&expected);
        assert!(shipper.stop());
        world.once();
        check_order(&world, &expected);
        let sources: std::collections::BTreeSet<String> =
            world.rows("").iter().map(|row| row["labels"]["source"].to_string()).collect();
        assert_eq!(sources.len(), 1, "{sources:?}");
    }
}

/// A file whose compression nobody here knows, and a stream of which the known file is gone.
#[test]
fn what_rotation_took_away_while_stopped_is_said() {
    let world = World::new();
    world.settings("", LITERAL);
    append(&world.path("syslog"), "one\n");
    world.once();
    fs::remove_file(world.path("syslog")).unwrap();
    append(&world.path("syslog.2.xz"), "no xz at all\n");
    append(&world.path("syslog.1"), "two\n");
    append(&world.path("syslog"), "three\n");
    world.once();
    world.node.client.expect_records(5);
    let gaps = world.rows("gap");
    let said: String = gaps.iter().map(ToString::to_string).collect();
    assert_eq!(gaps.len(), 2, "{said}");
    for word in ["syslog.2.xz came while nobody shipped", "\"gap_to\":13", "may have come and gone"]
    {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    world.once();
    world.node.client.expect_records(5);
}

#[test]
fn a_link_that_leads_elsewhere_by_now_loses_nothing_of_where_it_led() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/*.log\"]\n");
    let elsewhere = |name: &str| world.folder.path().join(name);
    let point = |name: &str| {
        std::os::unix::fs::symlink(elsewhere(name), elsewhere("link")).unwrap();
        fs::rename(elsewhere("link"), world.path("app.log")).unwrap();
    };
    let mut expected = lines("old", 20);
    append(&elsewhere("old"), text(&expected[..10]));
    point("old");
    world.once();
    append(&elsewhere("old"), text(&expected[10..]));
    let fresh = lines("new", 10);
    append(&elsewhere("new"), text(&fresh));
    expected.extend(fresh);
    point("new");
    let mut shipper = world.ship();
    check_order(&world, &expected);
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}

/// S14: order over ten rotations while the shipper runs, with late writes.
#[test]
fn the_lines_of_a_stream_are_read_back_in_the_order_they_were_written() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/app\"]\n");
    let mut shipper = world.ship();
    let mut expected: Vec<String> = Vec::new();
    for generation in 0..10 {
        let fresh: Vec<String> =
            (0..60).map(|n| format!("line {:06}", generation * 60 + n)).collect();
        append(&world.path("app"), text(&fresh[..40]));
        // What is rotated before anybody saw it has no stream: that is another test.
        eventually("the file to be read", || {
            (world.node.client.count_of("") > expected.len() as u64).then_some(())
        });
        let rotated = world.path(&format!("app.{}", 10 - generation));
        fs::rename(world.path("app"), &rotated).unwrap();
        append(&rotated, text(&fresh[40..]));
        expected.extend(fresh);
    }
    check_order(&world, &expected);
    let sources: std::collections::BTreeSet<String> =
        world.rows("").iter().map(|row| row["labels"]["source"].to_string()).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(shipper.stop());
}
