//! Sources that are no files, and settings that the cluster keeps, with the real programs.

use std::fs;
use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use serde_json::json;
use tests::client::Client;
use tests::process::{free_address, program, run};
use tests::wait::eventually;

use crate::shipper::{ALL, World, append, lines, text};

#[test]
fn a_pipe_ships_what_comes_and_ends_when_it_is_stored() {
    let world = World::new();
    let state = world.state();
    let mut pipe = Command::new(program("sawlog-shipper"))
        .args(["pipe", "--to", world.node.url(), "--state-dir", state.to_str().unwrap()])
        .args(["--label", "service=app"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut expected = lines("piped", 5_000);
    let mut input = pipe.stdin.take().unwrap();
    input.write_all(text(&expected).as_bytes()).unwrap();
    input.write_all(b"no newline").unwrap();
    drop(input);
    assert!(pipe.wait().unwrap().success());
    expected.push("no newline".to_owned());
    world.expect(&expected);
    let row = world.rows("newline").remove(0).to_string();
    for label in ["\"service\":\"app\"", "\"source\":\"stdin\""] {
        assert!(row.contains(label), "{label} is missing in {row}");
    }
    let spool = state.join("spool/stdin");
    assert!(
        fs::read_dir(spool).unwrap().all(|entry| {
            entry.unwrap().path().extension().is_none_or(|ending| ending != "spool")
        })
    );
}

/// What else there is to ship is shipped meanwhile.
#[test]
fn a_journal_that_is_not_there_is_named_by_check_and_status_and_ends_nothing() {
    let world = World::new();
    world.settings("", &format!("{ALL}\n[[journal]]\njournalctl = \"/nowhere/journalctl\"\n"));
    let checked = run("sawlog-shipper", &["check", world.settings_file().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && said.contains("/nowhere/journalctl is not there"),
        "{said}"
    );
    append(&world.path("app"), "one\n");
    let mut shipper = world.ship();
    world.expect(&["one"]);
    eventually("it to be said", || {
        let error = world.status()?["last_error"].as_str()?.to_owned();
        error.contains("/nowhere/journalctl is not there").then_some(())
    });
    assert_eq!(shipper.ended(), None, "{}", shipper.words());
    assert_eq!(shipper.words().matches("/nowhere/journalctl").count(), 1, "{}", shipper.words());
    assert!(shipper.stop());
}

/// Standard input is read once: what came of it is not lost with the process.
#[test]
fn a_pipe_that_is_ended_keeps_the_line_that_was_begun() {
    let world = World::new();
    let state = world.state();
    let pipe = |input: Stdio| {
        Command::new(program("sawlog-shipper"))
            .args(["pipe", "--to", world.node.url(), "--state-dir", state.to_str().unwrap()])
            .stdin(input)
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut first = pipe(Stdio::piped());
    let mut input = first.stdin.take().unwrap();
    input.write_all(b"whole\nhalf").unwrap();
    world.expect(&["whole"]);
    let ended = Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap();
    assert!(ended.success() && first.wait().unwrap().success());
    drop(input);
    assert!(pipe(Stdio::null()).wait().unwrap().success());
    world.expect(&["whole", "half"]);
}

#[test]
fn syslog_comes_by_datagrams_and_connections_beside_files() {
    let world = World::new();
    let (udp, tcp) = (free_address(), free_address());
    let figures = free_address();
    world.settings(
        &format!("metrics_listen = {figures:?}"),
        &format!(
            "[[files]]\npaths = [\"LOGS/**\"]\n[[syslog]]\nlisten = \"udp://{udp}\"\n\
             [[syslog]]\nlisten = \"tcp://{tcp}\"\nlabels = {{ team = \"net\" }}\n"
        ),
    );
    append(&world.path("app"), "of a file\n");
    let mut shipper = world.ship();
    let mut sender = eventually("the listener", || TcpStream::connect(&tcp).ok());
    sender.write_all(b"<11>Oct 11 22:14:15 web1 app[7]: by tcp\n").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.send_to(b"<12>1 2026-11-23T10:00:00Z web2 app - - - by udp", &udp).unwrap();
    world.expect(&[
        "of a file",
        "<11>Oct 11 22:14:15 web1 app[7]: by tcp",
        "<12>1 2026-11-23T10:00:00Z web2 app - - - by udp",
    ]);
    let row = world.rows("tcp").remove(0).to_string();
    for word in ["\"team\":\"net\"", "\"hostname\":\"web1\"", "\"peer\":\"127.0.0.1\"", "error"] {
        assert!(row.contains(word), "{word} is missing in {row}");
    }
    // How full its spool is, and its listener; who has none has no such figures.
    let client = Client::new(&figures);
    let figures = client.send("GET", "/metrics", &[], Vec::new()).unwrap().body;
    let feed = format!("feed=\"syslog-tcp-{}\"", tcp.replace(['.', ':'], "-"));
    for line in [
        format!("shipper_syslog_connections{{{feed}}} 1"),
        format!("shipper_spool_bytes_max{{{feed}}} 1073741824"),
    ] {
        assert!(figures.lines().any(|it| it == line), "{line} is missing in {figures}");
    }
    let filled = format!("shipper_spool_bytes{{{feed}}} ");
    let filled = figures.lines().find_map(|line| line.strip_prefix(filled.as_str()));
    assert!(filled.is_some_and(|bytes| bytes != "0"), "{figures}");
    drop(sender);
    assert!(shipper.stop());
    world.once();
    world.node.client.expect_records(3);
}

#[test]
fn settings_of_the_cluster_hold_also_while_it_is_away() {
    let mut world = World::new();
    world.settings("settings_from_cluster = true", "");
    append(&world.path("a"), "of a\n");
    append(&world.path("b"), "of b\n");
    let put = |world: &World, names: &str| {
        let logs = world.folder.path().join("logs");
        let settings = format!("[[files]]\npaths = [\"{}/{names}\"]\n", logs.display());
        let body = json!({ "settings": settings }).to_string().into_bytes();
        let path = "/api/v1/shippers/settings";
        let answer = world.node.client.send("PUT", path, &[], body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    put(&world, "a");
    let mut shipper = world.ship();
    world.expect(&["of a"]);
    // A change is heard of.
    put(&world, "[ab]");
    world.expect(&["of a", "of b"]);
    // What cannot be used is not, and the last good ones hold.
    put(&world, "[");
    eventually("the refusal", || shipper.words().contains("the old ones hold").then_some(()));
    append(&world.path("b"), "more of b\n");
    world.expect(&["of a", "of b", "more of b"]);
    assert!(shipper.stop());
    // The node is away when it starts: the settings are those that were kept.
    world.node.process.kill();
    append(&world.path("b"), "the last of b\n");
    let mut shipper = world.ship();
    eventually("the file to be followed", || {
        (world.status()?["followed"].as_array()?.len() == 2).then_some(())
    });
    let address = world.node.url().trim_start_matches("http://").to_owned();
    let folder = world.folder.path().to_owned();
    let node = tests::process::Node::begin("node", &folder, &address, tests::process::TINY, &[]);
    world.node = node;
    world.node.ready();
    world.expect(&["of a", "of b", "more of b", "the last of b"]);
    assert!(shipper.stop());
}
