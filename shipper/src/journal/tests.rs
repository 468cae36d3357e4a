//! The journal through a stand-in for journalctl that keeps its promises: entries in order, those
//! behind a cursor, and more as they come. As the real one, it shows the entries of this boot only
//! while it follows.
#![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use platform::shutdown::Shutdown;

use super::*;
use crate::config::Config;
use crate::feed::{Feed, Input};
use crate::files::Files;
use crate::receiver::{Fault, Receiver};
use crate::status::{Handle, ShipperError};
use crate::tail::Shipper;

/// Gives the entries of a file, all or those behind the cursor; follows by staying.
const JOURNALCTL: &str = r#"#!/bin/sh
after=
follow=
for argument in "$@"; do
    case "$argument" in
    --after-cursor=*) after="${argument#*=}" ;;
    --follow) follow=yes ;;
    esac
done
echo "$*" >> "$0.calls"
if [ -n "$after" ]; then sed "1,/\"__CURSOR\":\"$after\"/d" "$0.entries"; else cat "$0.entries"; fi |
if [ -n "$follow" ]; then grep -v OLDBOOT; else cat; fi
if [ -n "$follow" ]; then exec sleep 1000; fi
"#;

struct World {
    folder: tempfile::TempDir,
    receiver: Receiver,
}

impl World {
    async fn new() -> Self {
        let world =
            Self { folder: tempfile::tempdir().unwrap(), receiver: Receiver::start().await };
        let program = world.program();
        fs::write(&program, JOURNALCTL).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("journalctl")
    }

    fn entries(&self, numbers: std::ops::Range<u32>) {
        self.entries_of("x", numbers);
    }

    fn entries_of(&self, boot: &str, numbers: std::ops::Range<u32>) {
        let path = self.folder.path().join("journalctl.entries");
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        for number in numbers {
            writeln!(
                file,
                r#"{{"__CURSOR":"s=a;i={number}","__REALTIME_TIMESTAMP":"170000000000{number:04}","PRIORITY":"3","_SYSTEMD_UNIT":"web.service","_BOOT_ID":"{boot}","MESSAGE":"entry {number}"}}"#
            )
            .unwrap();
        }
    }

    async fn ship(&self, until: Until, shutdown: &Shutdown) -> Result<(), ShipperError> {
        self.start(until, shutdown).join().await
    }

    fn start(&self, until: Until, shutdown: &Shutdown) -> Handle {
        let state = self.folder.path().join("state");
        let journal = Journal { journalctl: self.program(), arguments: Vec::new() };
        let feeds = vec![Feed::new(Input::Journal(journal), Files::default(), None)];
        let config = Config { until, feeds, ..Config::new(&self.receiver.url, state, Vec::new()) };
        Shipper::start(config, Clock::system(), shutdown.clone()).unwrap()
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("state/spool/journal")
    }

    async fn once(&self) {
        self.ship(Until::Done, &Shutdown::default()).await.unwrap();
    }

    async fn expect(&self, numbers: std::ops::Range<u32>) {
        let mut expected: Vec<String> = numbers.map(|number| format!("entry {number}")).collect();
        expected.sort();
        assert_eq!(self.receiver.messages(expected.len()).await, expected);
    }
}

#[tokio::test]
async fn entries_are_shipped_once_over_restarts_and_a_dead_node() {
    let world = World::new().await;
    world.entries(0..30);
    world.once().await;
    world.expect(0..30).await;
    world.once().await;
    world.expect(0..30).await;
    let stored = world.receiver.stored();
    let one = &stored[0];
    assert_eq!((one.source.as_str(), one.record.level.name()), ("journal", "error"));
    assert_eq!(one.record.timestamp.unwrap().0 / 1_000_000_000, 1_700_000_000);
    let names: Vec<&str> = one.record.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["unit", "boot"]);
    // Read into the spool, but not acknowledged when it was stopped.
    world.receiver.down(Some(Fault::Status(503)));
    world.entries(30..50);
    let (shutdown, seen) = (Shutdown::default(), world.receiver.counts().0);
    let shipped = async { world.ship(Until::Stopped, &shutdown).await.unwrap() };
    let stopped = async {
        world.receiver.requests(seen + 1).await;
        shutdown.trigger();
    };
    tokio::join!(shipped, stopped);
    world.receiver.down(None);
    // And half a record, as a crash leaves one.
    let paths = fs::read_dir(world.spool()).unwrap().map(|entry| entry.unwrap().path());
    let newest = paths.filter(|path| path.extension().is_some_and(|it| it == "spool")).max();
    let newest = newest.unwrap();
    fs::File::options().append(true).open(newest).unwrap().write_all(b"{\"time\":\"20").unwrap();
    world.entries(50..60);
    world.once().await;
    world.expect(0..60).await;
    let calls = fs::read_to_string(world.folder.path().join("journalctl.calls")).unwrap();
    let last = calls.lines().last().unwrap();
    assert!(last.contains("--after-cursor=s=a;i=49"), "{calls}");
}

#[tokio::test]
async fn what_an_earlier_boot_left_unread_is_shipped() {
    let world = World::new().await;
    world.entries_of("OLDBOOT", 0..3);
    world.once().await;
    // The system went down before all was read.
    world.entries_of("OLDBOOT", 3..6);
    world.entries(6..8);
    let shutdown = Shutdown::default();
    let shipped = async { world.ship(Until::Stopped, &shutdown).await.unwrap() };
    let stopped = async {
        world.expect(0..8).await;
        shutdown.trigger();
    };
    tokio::join!(shipped, stopped);
}

#[tokio::test]
async fn a_damaged_spool_does_not_begin_the_journal_again() {
    let world = World::new().await;
    world.entries(0..5);
    world.once().await;
    for entry in fs::read_dir(world.spool()).unwrap() {
        let path = entry.unwrap().path();
        let zeros = vec![0; fs::read(&path).unwrap().len()];
        fs::write(path, zeros).unwrap();
    }
    let refused = world.ship(Until::Done, &Shutdown::default()).await.unwrap_err();
    assert!(refused.to_string().contains("--start-at end"), "{refused}");
    world.expect(0..5).await;
    // Without a spool the journal is read from its beginning. What was stored may be recognised.
    fs::remove_dir_all(world.spool()).unwrap();
    world.entries(5..6);
    world.once().await;
    assert!(world.receiver.messages(6).await.contains(&"entry 5".to_owned()));
    let calls = fs::read_to_string(world.folder.path().join("journalctl.calls")).unwrap();
    assert!(!calls.lines().last().unwrap().contains("--after-cursor"), "{calls}");
}

/// Neither ends the journal, nor goes without a word; and what is cut still says where to go on.
#[tokio::test]
async fn entries_too_long_for_the_spool_are_cut_and_too_long_for_all_said() {
    let world = World::new().await;
    let long = |cursor: &str, bytes: usize| {
        let path = world.folder.path().join("journalctl.entries");
        let mut file = fs::File::options().append(true).open(path).unwrap();
        let text = "long ".repeat(bytes / 5);
        writeln!(file, r#"{{"__CURSOR":"{cursor}","MESSAGE":"{text}"}}"#).unwrap();
    };
    world.entries(0..2);
    long("s=a;i=8", 9 << 20);
    world.entries(2..3);
    long("s=a;i=9", 5 << 20);
    world.once().await;
    world.entries(3..4);
    world.once().await;
    let messages = world.receiver.messages(6).await;
    let short: Vec<&String> = messages.iter().filter(|text| text.starts_with("entry")).collect();
    assert_eq!(short, ["entry 0", "entry 1", "entry 2", "entry 3"]);
    let gap = messages.iter().find(|text| text.starts_with("gap: 1 records were dropped")).unwrap();
    assert!(gap.contains("too long"), "{gap}");
    let stored = world.receiver.stored();
    let cut = stored.iter().find(|stored| stored.record.message.starts_with("long")).unwrap();
    let names: Vec<&str> = cut.record.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["_kept", "_bytes"]);
    let calls = fs::read_to_string(world.folder.path().join("journalctl.calls")).unwrap();
    assert!(calls.lines().last().unwrap().contains("--after-cursor=s=a;i=9"), "{calls}");
}

#[tokio::test]
async fn a_journalctl_that_cannot_run_is_named() {
    let world = World::new().await;
    fs::write(world.program(), "#!/bin/sh\necho no journal here >&2\nexit 1\n").unwrap();
    let refused = world.ship(Until::Stopped, &Shutdown::default()).await.unwrap_err();
    assert!(refused.to_string().contains("no journal here"), "{refused}");
    let world = World::new().await;
    fs::remove_file(world.program()).unwrap();
    let refused = world.ship(Until::Done, &Shutdown::default()).await.unwrap_err();
    assert!(refused.to_string().contains("--journalctl"), "{refused}");
}

/// A service that ended over it would be started again and again.
#[tokio::test]
async fn a_journalctl_that_is_not_there_is_said_and_waited_for() {
    let world = World::new().await;
    world.entries(0..2);
    let away = world.folder.path().join("away");
    fs::rename(world.program(), &away).unwrap();
    let (shutdown, clock) = (Shutdown::default(), Clock::system());
    let shipper = world.start(Until::Stopped, &shutdown);
    let said = || shipper.status().last_error.unwrap_or_default();
    while !said().contains("is not there: install") {
        clock.sleep(Duration::from_millis(5)).await;
    }
    fs::rename(away, world.program()).unwrap();
    world.expect(0..2).await;
    assert_eq!(said(), "");
    shutdown.trigger();
    shipper.join().await.unwrap();
}

#[test]
fn an_entry_is_a_line_with_our_names() {
    let line =
        |text: &str| entry::line(text.as_bytes()).map(|(line, _)| String::from_utf8(line).unwrap());
    let binary = r#"{"__CURSOR":"c","MESSAGE":[103,114,195,188,110,255],"PRIORITY":"4","CODE_LINE":"7","_X":"y"}"#;
    let expected = r#"{"level":"warn","message":"grün\\xff","code_line":"7","journal_cursor":"c"}"#;
    assert_eq!(line(binary).as_deref(), Some(expected));
    assert_eq!(
        line(r#"{"__CURSOR":"c","MESSAGE":null,"A":["x","y"]}"#).as_deref(),
        Some(r#"{"message":null,"a":"x\ny","journal_cursor":"c"}"#)
    );
    assert_eq!(line("no json"), None);
    assert_eq!(line(r#"{"MESSAGE":"no cursor"}"#), None);
    assert_eq!(entry::cursor_of(expected.as_bytes()).as_deref(), Some("c"));
}
