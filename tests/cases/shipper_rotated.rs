//! Rotation in the moments in which it is easily lost sight of: files whose own names look rotated, files that
//! are born or empty while the shipper is held up, a kill before anything was known, many streams at once.

use std::fs;

use tests::process::Process;
use tests::wait::eventually;

use crate::shipper::{World, append, gzip, lines, text};
use crate::shipper_stopped::check_order;

/// Renamed and packed, as logrotate's `compress` does.
fn pack(world: &World, name: &str, to: &str) {
    let bytes = fs::read(world.path(name)).unwrap();
    fs::write(world.path(to), gzip(&bytes)).unwrap();
    fs::remove_file(world.path(name)).unwrap();
}

/// Copied and truncated, as logrotate's `copytruncate` does.
fn copy_and_truncate(world: &World, name: &str, to: &str) {
    fs::copy(world.path(name), world.path(to)).unwrap();
    fs::File::options().write(true).open(world.path(name)).unwrap().set_len(0).unwrap();
}

fn write(world: &World, name: &str, word: &str, expected: &mut Vec<String>) {
    let fresh = lines(word, 10);
    append(&world.path(name), text(&fresh));
    expected.extend(fresh);
}

/// Ends it by SIGKILL once it says how it fares.
fn kill(world: &World, mut shipper: Process) {
    eventually("it to be there", || world.status());
    shipper.kill();
}

#[test]
fn a_file_whose_own_name_looks_rotated_is_known_when_it_is_packed() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/out.*\"]\n");
    let mut expected = Vec::new();
    for name in ["out.0", "out.1"] {
        write(&world, name, &format!("{name} first"), &mut expected);
    }
    world.once();
    for name in ["out.0", "out.1"] {
        write(&world, name, &format!("{name} second"), &mut expected);
        pack(&world, name, &format!("{name}.1.gz"));
        write(&world, name, &format!("{name} third"), &mut expected);
    }
    world.once();
    world.expect(&expected);
    let sources: std::collections::BTreeSet<String> =
        world.rows("").iter().map(|row| row["labels"]["source"].to_string()).collect();
    assert_eq!(sources.len(), 2, "{sources:?}");
}

/// Another section names the rotated file, by whose rules nothing would be hidden.
#[test]
fn a_rotated_file_goes_by_the_rules_of_the_path_it_was_rotated_from() {
    let world = World::new();
    let sections = "[[files]]\npaths = [\"LOGS/app.log\"]\n\
                    [[files.rules]]\nredact = [\"mail\"]\n\
                    [[files]]\npaths = [\"LOGS/*\"]\n";
    world.settings("", sections);
    append(&world.path("app.log"), "of ann@example.com\n");
    world.once();
    fs::rename(world.path("app.log"), world.path("app.log.2")).unwrap();
    append(&world.path("app.log.1"), "of bob@example.com\n");
    append(&world.path("app.log"), "of cid@example.com\n");
    world.once();
    world.expect(&["of [mail]"; 3]);
}

#[test]
fn what_comes_and_is_copied_away_while_it_is_held_up_is_read() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/*.log\"]\n");
    let mut expected = Vec::new();
    write(&world, "app.log", "before", &mut expected);
    let mut shipper = world.ship();
    world.expect(&expected);
    fs::rename(world.path("app.log"), world.path("app.log.2")).unwrap();
    append(&world.path("app.log"), "");
    let path = world.path("app.log").display().to_string();
    eventually("the empty file to be known", || {
        let status = world.status()?;
        let known = |file: &serde_json::Value| file["path"] == path.as_str() && file["size"] == 0;
        status["followed"].as_array()?.iter().any(known).then_some(())
    });
    shipper.pause();
    write(&world, "app.log", "cut away", &mut expected);
    copy_and_truncate(&world, "app.log", "app.log.1");
    write(&world, "born.log", "packed", &mut expected);
    pack(&world, "born.log", "born.log.1.gz");
    write(&world, "born.log", "born", &mut expected);
    shipper.resume();
    world.expect(&expected);
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}

#[test]
fn what_was_rotated_after_a_kill_before_any_file_was_known_is_read() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/app.log\"]\n");
    let shipper = world.ship();
    eventually("the state to be on disk", || {
        world.state().join("checkpoints.json").exists().then_some(())
    });
    kill(&world, shipper);
    let mut expected = Vec::new();
    write(&world, "app.log", "first", &mut expected);
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    write(&world, "app.log", "second", &mut expected);
    world.once();
    check_order(&world, &expected);
}

#[test]
fn the_unread_rests_of_many_streams_come_before_what_stands_there_now() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/*.log\"]\n");
    let names = ["a", "b", "c", "d"].map(|name| format!("{name}.log"));
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for (name, expected) in names.iter().zip(&mut expected) {
        write(&world, name, &format!("{name} first"), expected);
    }
    let shipper = world.ship();
    world.expect(&expected.concat());
    kill(&world, shipper);
    for (name, expected) in names.iter().zip(&mut expected) {
        write(&world, name, &format!("{name} second"), expected);
        pack(&world, name, &format!("{name}.1.gz"));
        write(&world, name, &format!("{name} third"), expected);
    }
    world.once();
    world.expect(&expected.concat());
    let rows = world.rows("");
    for (name, expected) in names.iter().zip(&expected) {
        let messages = rows.iter().rev().filter_map(|row| row["message"].as_str());
        let found: Vec<&str> = messages.filter(|message| message.starts_with(name)).collect();
        assert_eq!(&found, expected, "{name}");
    }
}
