//! What operators do to a shipper, and what it does to their machine: signals, figures, flags, files it
//! holds, senders that must show who they are.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use platform::clock::Clock;
use tests::client::Client;
use tests::process::{Process, free_address, refuses, run};
use tests::wait::eventually;

use crate::shipper::{ALL, World, append, lines, text};
use crate::shipper_front::{Fault, Front};

/// A request under way has five seconds; the rest is for a busy machine.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

#[test]
fn figures_are_served_as_soon_as_their_address_is_free_and_files_shipped_before() {
    let world = World::new();
    let address = free_address();
    let taken = TcpListener::bind(&address).unwrap();
    world.settings(&format!("metrics_listen = {address:?}"), ALL);
    append(&world.path("app"), "one\ntwo\n");
    let mut shipper = world.ship();
    world.expect(&["one", "two"]);
    eventually("the trouble to be said", || {
        let error = world.status()?["last_error"].as_str()?.to_owned();
        (error.contains("figures are not served") && error.contains(&address)).then_some(())
    });
    drop(taken);
    let client = Client::new(&address);
    let figures = eventually("the figures", || {
        let answer = client.send("GET", "/metrics", &[], Vec::new())?;
        (answer.status == 200).then_some(answer.body)
    });
    for line in [
        "shipper_records_total 2",
        "shipper_files 1",
        "shipper_lag_bytes 0",
        "shipper_cut_records_total 0",
        // Whatever has a bound says how full it is, and the bound.
        "shipper_open_files 1",
        "shipper_turns 0",
        "shipper_turns_max 8",
        "shipper_sending_batches 0",
        "shipper_sending_batches_max 10",
        "shipper_sending_bytes 0",
        "shipper_sending_bytes_max 167772160",
        "shipper_waiting_files 0",
        "shipper_waiting_gaps 0",
        "shipper_waiting_gaps_max 1000",
        "shipper_absent_files 0",
        "shipper_absent_files_max 20000",
        "shipper_polling 0",
    ] {
        assert!(figures.lines().any(|it| it == line), "{line} is missing in {figures}");
    }
    for bound in ["shipper_open_files_max ", "shipper_ahead_files_max "] {
        let is_set = |line: &str| line.strip_prefix(bound).is_some_and(|value| value != "0");
        assert!(figures.lines().any(is_set), "{bound}is missing in {figures}");
    }
    assert_eq!(client.status_of("/livez"), Some(200));
    assert!(world.status().unwrap()["last_error"].is_null());
    assert!(shipper.stop());
}

#[test]
fn with_flags_alone_a_hang_up_ends_nothing_and_an_exclude_for_nothing_is_refused() {
    let world = World::new();
    let (state, glob) = (world.state(), world.path("*"));
    let [state, glob] = [&state, &glob].map(|path| path.to_str().unwrap());
    let args = ["--to", world.node.url(), "--state-dir", state, "--path", glob];
    let words = world.folder.path().join("shipper.words");
    let mut shipper = Process::start("sawlog-shipper", &args, &words);
    // A SIGHUP before it listens for one ends it.
    eventually("it to answer", || world.status());
    for round in 0..3 {
        shipper.hang_up();
        append(&world.path("app"), format!("round {round}\n"));
        world.node.client.expect_records(round + 1);
    }
    assert_eq!(shipper.ended(), None, "{}", shipper.words());
    assert!(shipper.words().contains("no settings file"), "{}", shipper.words());
    assert!(shipper.stop());
    let without = [&args[..4], &["--exclude", glob]].concat();
    refuses("sawlog-shipper", &without, &["--exclude narrows what --path names"]);
}

/// The address of a socket has at most 107 bytes.
#[test]
fn status_is_answered_however_deep_the_state_directory_lies() {
    let world = World::new();
    let state = world.folder.path().join("deep".repeat(30)).join("state".repeat(20));
    let (state, glob) = (state.to_str().unwrap(), world.path("*"));
    append(&world.path("app"), "one\n");
    let args = ["--to", world.node.url(), "--state-dir", state, "--path", glob.to_str().unwrap()];
    let words = world.folder.path().join("shipper.words");
    let mut shipper = Process::start("sawlog-shipper", &args, &words);
    world.expect(&["one"]);
    let status = eventually("it to answer", || {
        let output = run("sawlog-shipper", &["status", "--json", "--state-dir", state]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(status.contains("/logs/app"), "{status}");
    assert!(shipper.stop());
}

#[test]
fn patterns_that_name_nothing_are_told() {
    let world = World::new();
    let state = world.state();
    let state = state.to_str().unwrap();
    let (to, words) = (world.node.url(), world.folder.path().join("shipper.words"));
    let args = ["--to", to, "--state-dir", state, "--path", "/nowhere/*.log", "--once"];
    let shipper = Process::start("sawlog-shipper", &args, &words);
    eventually("it to be told", || {
        let words = shipper.words();
        (words.contains("no file is there") && words.contains("/nowhere/*.log")).then_some(())
    });
}

/// Of each command, flags that change nothing of what it does.
const NEEDLESS: [(&str, &[[&str; 2]]); 4] = [
    ("pipe", &[["--path", "/a"], ["--exclude", "/a"], ["--start-at", "end"], ["--once", ""]]),
    ("journal", &[["--path", "/a"], ["--exclude", "/a"]]),
    ("check", &[["--to", "http://n"], ["--path", "/a"], ["--once", ""]]),
    ("status", &[["--to", "http://n"], ["--config", "/a"]]),
];

#[test]
fn flags_that_a_command_has_no_use_for_are_refused() {
    for (command, flags) in NEEDLESS {
        for [flag, value] in flags {
            let mut args = match command {
                "check" => vec![command, "/nowhere"],
                _ => vec![command, "--state-dir", "/nowhere"],
            };
            args.push(flag);
            args.extend(Some(*value).filter(|value| !value.is_empty()));
            refuses("sawlog-shipper", &args, &[&format!("unexpected argument '{flag}'")]);
        }
    }
}

/// Who says what is wrong says where, and nobody says a password.
#[test]
fn mistakes_name_their_place_and_passwords_are_said_nowhere() {
    let world = World::new();
    let front = Front::of(world.node.url());
    front.fail(Fault::Answer("503 Service Unavailable"));
    let to = front.url.replace("http://", "http://me:hush@");
    world.settings_to(&to, "", "[[files]]\npaths = [\"LOGS/a\"]\nencoding = \"utf-9\"\n");
    let file = world.settings_file();
    let file = file.to_str().unwrap();
    for args in [&["check", file][..], &["--config", file]] {
        refuses("sawlog-shipper", args, &[file, "line 4", "/logs/a", "utf-9"]);
    }
    let state = world.state();
    let empty = ["--to", &to, "--state-dir", state.to_str().unwrap(), "--path", ""];
    refuses("sawlog-shipper", &empty, &["a path is empty"]);
    world.settings_to(&to, "", "[[files]]\npaths = [\"LOGS/a\"]\n");
    let checked = run("sawlog-shipper", &["check", file]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("well: 1 pattern, 0 sources") && said.contains("***@"), "{said}");
    append(&world.path("a"), "one\n");
    let mut shipper = world.ship();
    eventually("it to fail", || shipper.words().contains("503").then_some(()));
    let status = world.status().unwrap().to_string();
    assert!(shipper.stop());
    let words = shipper.words();
    assert!(words.contains("***@") && !words.contains("hush"), "{words}");
    assert!(!said.contains("hush") && !status.contains("hush"), "{status}");
}

#[test]
fn settings_that_cannot_be_used_are_in_the_status_until_others_can() {
    let world = World::new();
    world.settings("", ALL);
    let mut shipper = world.ship();
    eventually("it to answer", || world.status());
    world.settings("nonsense = 1", ALL);
    shipper.hang_up();
    eventually("the trouble to be said", || {
        let error = world.status()?["last_error"].as_str()?.to_owned();
        (error.contains("the old ones hold") && error.contains("nonsense")).then_some(())
    });
    world.settings("", ALL);
    shipper.hang_up();
    eventually("it to be over", || world.status()?["last_error"].is_null().then_some(()));
    assert!(shipper.stop());
}

/// HTTP/2 without TLS, a level of zstd and the age of batches, as they are set; what is usual otherwise.
#[test]
fn batches_go_in_the_http_at_the_level_and_in_the_time_that_are_set() {
    let world = World::new();
    let (front, address) = (Front::of(world.node.url()), free_address());
    let set = format!(
        "http_version = \"2\"\ncompression = 5\nbatch_age_ms = 500\nmetrics_listen = {address:?}"
    );
    world.settings_to(&front.url, &set, ALL);
    append(&world.path("app"), "one\ntwo\n");
    let mut shipper = world.ship();
    world.expect(&["one", "two"]);
    assert!(front.begins().iter().all(|begin| begin == "PRI"), "{:?}", front.begins());
    let client = Client::new(&address);
    let figures = eventually("the figures", || {
        let answer = client.send("GET", "/metrics", &[], Vec::new())?;
        let batches =
            answer.body.lines().find(|line| line.starts_with("shipper_batches_total "))?;
        (batches == "shipper_batches_total 1").then(|| answer.body.clone())
    });
    for line in ["shipper_zstd_level 5", "shipper_ahead_files 0"] {
        assert!(figures.lines().any(|it| it == line), "{line} is missing in {figures}");
    }
    assert!(shipper.stop());
    // Without TLS nobody is asked, so what is usual is what every node and proxy speaks.
    let before = front.begins().len();
    world.settings_to(&front.url, "", ALL);
    append(&world.path("app"), "three\n");
    world.once();
    world.expect(&["one", "two", "three"]);
    assert!(front.begins().len() > before);
    assert!(front.begins()[before..].iter().all(|begin| begin == "POS"), "{:?}", front.begins());
}

/// S31: nobody answers, and it ends all the same; what was under way is not stored twice.
#[test]
fn with_a_silent_node_it_ends_within_its_grace() {
    let world = World::new();
    let front = Front::of(world.node.url());
    front.fail(Fault::Silence);
    world.settings_to(&front.url, "", ALL);
    let expected = lines("line", 100);
    append(&world.path("app"), text(&expected));
    let mut shipper = world.ship();
    eventually("it to be sent in vain", || {
        let status = world.status()?;
        (status["followed"][0]["sent"].as_u64()? > 0).then_some(())
    });
    let clock = Clock::system();
    let start = clock.elapsed();
    assert!(shipper.stop());
    let took = clock.elapsed() - start;
    assert!(took < STOP_TIME_MAX, "{took:?}");
    front.fail(Fault::None);
    world.once();
    world.expect(&expected);
}

/// S26: a deleted file that nobody takes does not fill the disk for ever.
#[test]
fn a_deleted_file_is_held_for_a_while_and_then_its_loss_is_said() {
    let world = World::new();
    let front = Front::of(world.node.url());
    front.fail(Fault::Answer("503 Service Unavailable"));
    world.settings_to(&front.url, "deleted_hold_s = 2", ALL);
    let lost = text(&lines("lost", 100));
    append(&world.path("app"), &lost);
    let mut shipper = world.ship();
    eventually("it to be sent in vain", || {
        let status = world.status()?;
        (status["followed"][0]["sent"].as_u64()? > 0).then_some(())
    });
    fs::remove_file(world.path("app")).unwrap();
    let descriptors = format!("/proc/{}/fd", shipper.id());
    let holds = || {
        let links = fs::read_dir(&descriptors).unwrap().flatten();
        let mut links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.to_string_lossy().contains("/logs/app"))
    };
    assert!(holds());
    eventually("it to be let go", || (!holds()).then_some(()));
    append(&world.path("next"), "next\n");
    front.fail(Fault::None);
    world.node.client.expect_records(2);
    let said = world.rows("gap").remove(0).to_string();
    let to = format!("\"gap_to\":{}", lost.len());
    for word in ["\"gap_from\":0", &to, "/logs/app", "deleted_hold_s", "may be stored"] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    assert!(shipper.stop());
}

/// Sends one message over TLS: arguments are port, authority, message, and perhaps certificate and key.
const TLS_SENDER: &str = r#"
import socket, ssl, sys
port, authority, message = sys.argv[1:4]
context = ssl.create_default_context(cafile=authority)
context.check_hostname = False
# Newer Pythons ask for more of a certificate than it needs.
context.verify_flags &= ~ssl.VERIFY_X509_STRICT
if len(sys.argv) > 4:
    context.load_cert_chain(sys.argv[4], sys.argv[5])
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)))) as sender:
    sender.sendall(message.encode() + b"\n")
    sender.settimeout(5)
    # With TLS 1.3 a server refuses a certificate only after the handshake; silence is consent.
    try:
        sys.exit(0 if sender.recv(1) else 1)
    except TimeoutError:
        sys.exit(0)
"#;

fn send(address: &str, authority: &Path, message: &str, identity: Option<&Path>) -> bool {
    let port = address.rsplit(':').next().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", TLS_SENDER, port]).arg(authority).arg(message);
    if let Some(folder) = identity {
        command.args([folder.join("node.crt"), folder.join("node.key")]);
    }
    command.output().unwrap().status.success()
}

/// A listener that asks nobody who he is, and one that takes only those its authority vouches for.
#[test]
fn syslog_over_tls_comes_from_everybody_or_from_those_who_show_a_certificate() {
    let world = World::new();
    let certs = |authority: &str| {
        let folder = world.folder.path().join(authority);
        let made = run("sawlog", &["cluster", "certs", folder.to_str().unwrap(), "a"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder.join("a")
    };
    let (ours, theirs) = (certs("ours"), certs("theirs"));
    let authority = ours.join("ca.crt");
    let (open, closed) = (free_address(), free_address());
    let listener = |address: &str| {
        let (cert, key) = (ours.join("node.crt"), ours.join("node.key"));
        format!(
            "[[syslog]]\nlisten = \"tls://{address}\"\ncert_file = {cert:?}\nkey_file = {key:?}\n"
        )
    };
    world.settings(
        "",
        &format!("{}{}ca_file = {authority:?}\n", listener(&open), listener(&closed)),
    );
    let mut shipper = world.ship();
    for address in [&open, &closed] {
        eventually("the listener", || std::net::TcpStream::connect(address).ok());
    }
    let message = |what: &str| format!("<13>1 2026-11-23T10:00:00Z web app - - - {what}");
    assert!(send(&open, &authority, &message("from anybody"), None));
    assert!(send(&closed, &authority, &message("from one of ours"), Some(&ours)));
    assert!(!send(&closed, &authority, &message("from nobody"), None));
    assert!(!send(&closed, &authority, &message("from one of theirs"), Some(&theirs)));
    // Who asks for another authority does not speak to us at all.
    assert!(!send(&open, &theirs.join("ca.crt"), &message("to somebody else"), None));
    world.expect(&[message("from anybody"), message("from one of ours")]);
    assert!(shipper.stop());
    world.once();
    world.node.client.expect_records(2);
}
