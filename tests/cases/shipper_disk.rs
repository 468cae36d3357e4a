//! The shipper starts where its state cannot be written: a full disk, or one that is read-only now.

use std::fs;
use std::process::Command;

use tests::process::{Process, program};
use tests::wait::eventually;

use crate::shipper::{ALL, World, append};
use crate::shipper_front::{Fault, Front};

/// The shipper on a state directory that a shell prepares, in a view of the file system of its own.
fn on_a_disk(world: &World, prepare: &str) -> Process {
    let state = world.state();
    let prepare = prepare.replace("STATE", state.to_str().unwrap());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("{prepare} && exec \"$0\" --config \"$1\""));
    command.arg(program("sawlog-shipper")).arg(world.settings_file());
    Process::of(command, &world.folder.path().join("shipper.words"))
}

/// A small file system that is full, with what the state directory held.
const FULL: &str = "cp -a STATE STATE.kept && mount -t tmpfs -o size=512k none STATE && \
                    cp -a STATE.kept/. STATE/ && (cat /dev/zero > STATE/filler; true)";
const READ_ONLY: &str = "mount --bind STATE STATE && mount -o remount,ro,bind STATE";

/// A file that is known goes on, a new one waits, and the trouble is said: here and at the node.
#[track_caller]
fn check(prepare: &str, says: &str) {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("known"), "one\n");
    world.once();
    let mut shipper = on_a_disk(&world, prepare);
    append(&world.path("known"), "two\n");
    world.expect(&["one", "two"]);
    append(&world.path("new"), "three\n");
    eventually("the trouble to be said", || shipper.words().contains(says).then_some(()));
    eventually("the node to hear of it", || {
        let heard = world.node.client.get("/api/v1/shippers").to_string();
        heard.contains("cannot").then_some(())
    });
    assert_eq!(shipper.ended(), None, "{}", shipper.words());
    world.expect(&["one", "two"]);
    // It cannot save what it knows, and says that too.
    assert!(!shipper.stop());
    assert!(shipper.words().contains("cannot save the checkpoints"), "{}", shipper.words());
    // The disk is well again: what was sent meanwhile is recognised.
    fs::remove_dir_all(world.folder.path().join("state.kept")).ok();
    world.once();
    world.expect(&["one", "two", "three"]);
}

/// Lines that are more than the disk holds.
const MANY: u64 = 10_000;

/// What is acknowledged of a spool makes room, also where all of it is in the file that is written.
#[test]
fn a_pipe_whose_spool_fills_the_disk_goes_on_once_a_node_answers() {
    let world = World::new();
    let front = Front::of(world.node.url());
    front.fail(Fault::Answer("503 Service Unavailable"));
    let state = world.state();
    fs::create_dir(&state).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!(
        "mount -t tmpfs -o size=512k none {state} && seq -f '%06.0f {pad}' 1 {MANY} | \
         \"$0\" pipe --state-dir {state} --to {to}",
        state = state.display(),
        pad = "x".repeat(90),
        to = front.url
    ));
    command.arg(program("sawlog-shipper"));
    let mut pipe = Process::of(command, &world.folder.path().join("shipper.words"));
    eventually("the disk to be full", || {
        pipe.words().contains("cannot write the spool").then_some(())
    });
    front.fail(Fault::None);
    world.node.client.expect_records(MANY);
    eventually("it to end", || pipe.ended());
    world.node.client.expect_records(MANY);
    assert!(!pipe.words().contains("they are lost"), "{}", pipe.words());
}

#[test]
fn with_a_full_disk_known_files_go_on_and_it_is_said() {
    check(FULL, "cannot save checkpoints");
}

#[test]
fn with_a_disk_that_is_read_only_known_files_go_on_and_it_is_said() {
    check(READ_ONLY, "Read-only file system");
}
