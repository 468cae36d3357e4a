//! What is a record, seen from outside: where reading begins, halves of lines, delimiters, traces.

use std::time::Duration;

use tests::wait::{eventually, pace};

use crate::shipper::{ALL, World, append, lines, text};

/// S02: what was there before the very first run is passed, all else is not.
#[test]
fn a_start_at_the_end_passes_only_what_was_there() {
    let world = World::new();
    world.settings("start_at = \"end\"", ALL);
    append(&world.path("old"), "passed\nhalf");
    let mut shipper = world.ship();
    eventually("the file to be known", || {
        (world.status()?["followed"][0]["acknowledged"] == 7).then_some(())
    });
    append(&world.path("old"), " a line\n");
    append(&world.path("new"), "from its beginning\n");
    world.expect(&["half a line", "from its beginning"]);
    assert!(shipper.stop());
    append(&world.path("meanwhile"), "written while stopped\n");
    world.once();
    world.expect(&["half a line", "from its beginning", "written while stopped"]);
}

/// S06: a line in three parts with pauses, a restart and a SIGKILL between them is one record.
#[test]
fn a_line_in_parts_is_one_record_whatever_comes_between() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), "whole\nthe first part, ");
    let mut shipper = world.ship();
    world.expect(&["whole"]);
    assert!(shipper.stop());
    append(&world.path("app"), "the second, ");
    let mut shipper = world.ship();
    eventually("the parts to be seen", || {
        (world.status()?["followed"][0]["size"] == 34).then_some(())
    });
    shipper.kill();
    let mut shipper = world.ship();
    pace(Duration::from_millis(200));
    append(&world.path("app"), "and the last\nnext\n");
    world.expect(&["whole", "the first part, the second, and the last", "next"]);
    assert!(shipper.stop());
}

/// S07: CRLF, empty lines, a delimiter of several bytes, also one that comes in two writes.
#[test]
fn lines_end_where_their_delimiter_ends() {
    let world = World::new();
    world.settings(
        "",
        "[[files]]\npaths = [\"LOGS/own\"]\ndelimiter = \"<<END>>\"\n[[files]]\npaths = [\"LOGS/**\"]\n",
    );
    append(&world.path("windows"), "one\r\n\r\n\ntwo\r\n");
    append(&world.path("own"), "a\nb<<END>>c <<EN");
    let mut shipper = world.ship();
    world.expect(&["one", "two", "a\nb"]);
    append(&world.path("own"), "D>>");
    world.expect(&["one", "two", "a\nb", "c "]);
    // The delimiter at every place of the edge of what is read at once.
    let long: Vec<String> = (0..9).map(|n| format!("{n} {}", "x".repeat((1 << 20) + n))).collect();
    for line in &long {
        append(&world.path("own"), format!("{line}<<END>>"));
    }
    eventually("the long lines", || (world.node.client.count_of("") == 13).then_some(()));
    assert!(shipper.stop());
}

/// S10: a trace that is written while the shipper is stopped in the middle of it.
#[test]
fn a_trace_over_a_restart_is_one_record() {
    let world = World::new();
    world.settings(
        "",
        "[[files]]\npaths = [\"LOGS/**\"]\njoin = \"traces\"\njoin_timeout_ms = 60000\n",
    );
    append(&world.path("app"), "INFO ready\nERROR failed\n\tat a.b(C.java:1)\n");
    let mut shipper = world.ship();
    world.expect(&["INFO ready"]);
    assert!(shipper.stop());
    append(&world.path("app"), "\tat a.c(C.java:2)\nINFO next\nINFO last\n");
    let mut shipper = world.ship();
    world.expect(&[
        "INFO ready",
        "ERROR failed\n\tat a.b(C.java:1)\n\tat a.c(C.java:2)",
        "INFO next",
    ]);
    assert!(shipper.stop());
}

/// S12 and S19, at length: names that go round while the shipper is away for most of it.
#[test]
fn names_that_go_round_keep_every_line() {
    let world = World::new();
    world.settings("", ALL);
    let name = |n: usize| world.path(&format!("out{n}"));
    let mut expected = Vec::new();
    for round in 0..12 {
        for n in 0..3 {
            let fresh = lines(&format!("round {round} file {n}"), 5);
            append(&name(n), text(&fresh));
            expected.extend(fresh);
        }
        if round % 4 == 1 {
            world.once();
        }
        std::fs::rename(name(2), name(3)).unwrap();
        std::fs::rename(name(1), name(2)).unwrap();
        std::fs::rename(name(0), name(1)).unwrap();
        std::fs::rename(name(3), name(0)).unwrap();
    }
    world.once();
    world.expect(&expected);
}
