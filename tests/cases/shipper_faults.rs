//! The shipper where others fail: nodes that answer wrongly or not at all, files that may not be read,
//! handles that go stale.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::process::{Process, program};
use tests::wait::{eventually, pace, within};

use crate::shipper::{ALL, World, append, lines, text};
use crate::shipper_front::{Fault, Front};

/// Within so long another node has what one does not take.
const FAILOVER: Duration = Duration::from_secs(5);

/// S23: every way to fail, one after the other, and SIGKILL in the middle of each.
#[test]
fn whatever_a_node_answers_each_line_is_stored_once() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "", ALL);
    let mut shipper = world.ship();
    let faults = [
        Fault::AnswerLost,
        Fault::Answer("503 Service Unavailable"),
        Fault::Answer("429 Too Many Requests\r\nretry-after: 1"),
        Fault::Answer("500 Internal Server Error"),
        Fault::Reset,
        Fault::AnswerLost,
        Fault::Silence,
    ];
    let mut expected = Vec::new();
    for (round, fault) in faults.into_iter().enumerate() {
        front.fail(fault);
        for file in ["a", "b"] {
            let fresh = lines(&format!("{file}{round}"), 200);
            append(&world.path(file), text(&fresh));
            expected.extend(fresh);
        }
        pace(Duration::from_millis(300));
        shipper.kill();
        shipper = world.ship();
        pace(Duration::from_millis(300));
        front.fail(Fault::None);
        world.expect(&expected);
    }
    assert!(shipper.stop());
}

/// S24: of two nodes one ends its connections, or says nothing.
#[test]
fn another_node_takes_over_within_seconds() {
    let world = World::new();
    let fronts = [Front::of(world.node.url()), Front::of(world.node.url())];
    let nodes = format!("{:?}, {:?}", fronts[0].url, fronts[1].url);
    world.settings("", ALL);
    let settings = fs::read_to_string(world.settings_file()).unwrap();
    let both = settings.replace(&format!("{:?}", world.node.url()), &nodes);
    assert_ne!(settings, both);
    fs::write(world.settings_file(), both).unwrap();
    let mut shipper = world.ship();
    let mut expected = Vec::new();
    for (round, (dead, fault)) in
        [(0, Fault::Reset), (1, Fault::Reset), (0, Fault::Silence)].into_iter().enumerate()
    {
        fronts[dead].fail(fault);
        fronts[1 - dead].fail(Fault::None);
        let fresh = lines(&format!("round {round}"), 50);
        append(&world.path("app"), text(&fresh));
        expected.extend(fresh);
        // What silence takes is the five seconds after which a node counts as dead.
        within(2 * FAILOVER, "the other node to take over", || {
            (world.node.client.count_of("") == expected.len() as u64).then_some(())
        });
    }
    world.expect(&expected);
    assert!(shipper.stop());
}

/// S13: rotated out of the pattern and deleted while no node takes anything.
#[test]
fn a_file_deleted_unread_is_read_to_its_end_and_let_go() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "", "[[files]]\npaths = [\"LOGS/*.log\"]\n");
    let mut expected = lines("early", 20);
    append(&world.path("app.log"), text(&expected));
    let mut shipper = world.ship();
    world.expect(&expected);
    front.fail(Fault::Answer("503 Service Unavailable"));
    let unread = lines("unread", 200);
    append(&world.path("app.log"), text(&unread[..100]));
    eventually("it to be sent in vain", || {
        let status = world.status()?;
        let file = &status["followed"][0];
        (file["sent"].as_u64()? > file["acknowledged"].as_u64()?).then_some(())
    });
    fs::rename(world.path("app.log"), world.path("app.old")).unwrap();
    append(&world.path("app.old"), text(&unread[100..]));
    fs::remove_file(world.path("app.old")).unwrap();
    front.fail(Fault::None);
    expected.extend(unread);
    world.expect(&expected);
    let descriptors = format!("/proc/{}/fd", shipper.id());
    eventually("the deleted file to be let go", || {
        let links = fs::read_dir(&descriptors).unwrap().flatten();
        let mut links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        (!links.any(|link| link.to_string_lossy().contains("app."))).then_some(())
    });
    assert!(shipper.stop());
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Root may read everything, so who ships is nobody.
fn nobody(world: &World) -> Process {
    open(world.folder.path(), 0o777);
    let copy = world.folder.path().join("shipper");
    if !copy.exists() {
        fs::copy(program("sawlog-shipper"), &copy).unwrap();
    }
    let mut command = Command::new("setpriv");
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(&copy).arg("--config").arg(world.settings_file());
    Process::of(command, &world.folder.path().join("shipper.words"))
}

/// S29: a rotated file that may not be read leaves open what was read last: that is said, and waited for
/// by nobody.
#[test]
fn a_rotated_file_that_may_not_be_read_holds_up_no_start() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/app\"]\n");
    append(&world.path("app"), "one\n");
    let mut shipper = nobody(&world);
    world.expect(&["one"]);
    assert!(shipper.stop());
    append(&world.path("app.1"), "unread\n");
    open(&world.path("app.1"), 0);
    fs::remove_file(world.path("app")).unwrap();
    append(&world.path("app"), "two\n");
    let mut shipper = nobody(&world);
    let said = |gap: &String| gap.contains("cannot be looked at, and is not read: Permission");
    eventually("it to be said", || world.messages().iter().any(said).then_some(()));
    world.expect_beside_gaps(&["one", "two"]);
    assert!(!shipper.words().contains("cannot be looked at just now"), "{}", shipper.words());
    assert!(shipper.stop());
}

/// S29: rights that are taken away and given back.
#[test]
fn a_file_that_may_not_be_read_is_said_and_read_on_when_it_may() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), "one\n");
    let mut shipper = nobody(&world);
    world.expect(&["one"]);
    // What is open stays readable, whatever the rights become: only a new file can be refused.
    append(&world.folder.path().join("closed"), "two\n");
    open(&world.folder.path().join("closed"), 0);
    fs::rename(world.folder.path().join("closed"), world.path("closed")).unwrap();
    append(&world.path("app"), "three\n");
    world.expect(&["one", "three"]);
    let words = eventually("the refusal to be said", || {
        let words = shipper.words();
        words.contains("Permission denied").then_some(words)
    });
    assert!(words.contains("/closed"), "{words}");
    open(&world.path("closed"), 0o644);
    world.expect(&["one", "two", "three"]);
    assert_eq!(shipper.words().matches("cannot ship the file").count(), 1, "said once");
    assert!(shipper.stop());
}

/// What a network file system does after its server was exchanged: an open file fails until it is
/// opened anew, for as long as MARK is there no file can be read at all.
const STALE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char stale[1024];
static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/logs/") != NULL;
}
ssize_t pread64(int fd, void *buffer, size_t count, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    int known = fd >= 0 && fd < 1024;
    if (known && ours(fd) && access(getenv("MARK"), F_OK) == 0) stale[fd] = 1;
    if (known && stale[fd]) { errno = ESTALE; return -1; }
    return real(fd, buffer, count, at);
}
int close(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < 1024) stale[fd] = 0;
    return real(fd);
}
"#;

/// S29: a stale handle is opened anew, and nothing is read twice.
#[test]
fn a_handle_that_went_stale_is_opened_anew() {
    let world = World::new();
    world.settings("", ALL);
    let file = |name: &str| world.folder.path().join(name);
    fs::write(file("stale.c"), STALE).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([file("stale.so"), file("stale.c")])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut expected = lines("before", 30);
    append(&world.path("app"), text(&expected));
    let mut command = Command::new(program("sawlog-shipper"));
    command.env("LD_PRELOAD", file("stale.so")).env("MARK", file("mark"));
    command.arg("--config").arg(world.settings_file());
    let mut shipper = Process::of(command, &file("shipper.words"));
    world.expect(&expected);
    append(&file("mark"), "");
    append(&world.path("app"), "meanwhile\n");
    eventually("the trouble to be said", || {
        let status = world.status()?;
        status["followed"][0]["last_error"].as_str()?.contains("Stale").then_some(())
    });
    fs::remove_file(file("mark")).unwrap();
    append(&world.path("app"), "after\n");
    expected.extend(["meanwhile", "after"].map(str::to_owned));
    world.expect(&expected);
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}
