//! The Debian package: what is in it, a unit that systemd takes, settings that the program takes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::process::program;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn is_there(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    there.is_ok_and(|output| output.status.success())
}

#[track_caller]
fn did(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_package_holds_what_it_needs_and_systemd_takes_its_unit() {
    if !is_there("dpkg-deb") {
        eprintln!("skipped: dpkg-deb is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    script(&at("program"), "exit 0");
    let mut build = Command::new(root().join("deploy/deb/build"));
    did(build.arg(at("program")).arg("9.8.7").arg(at("out")));
    let package = fs::read_dir(at("out")).unwrap().next().unwrap().unwrap().path();
    did(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(at("files")));
    did(Command::new("dpkg-deb").arg("--control").arg(&package).arg(at("control")));
    let unit = at("files/usr/lib/systemd/system/sawlog-shipper.service");
    for (path, executable) in [
        (at("files/usr/bin/sawlog-shipper"), true),
        (at("files/usr/share/doc/sawlog-shipper/shipper.md"), false),
        (at("files/usr/share/doc/sawlog-shipper/shipper.toml"), false),
        (at("control/postinst"), true),
        (at("control/prerm"), true),
        (at("control/postrm"), true),
        (unit.clone(), false),
    ] {
        let mode = fs::metadata(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).permissions();
        assert_eq!(mode.mode() & 0o111 != 0, executable, "{path:?}");
    }
    let control = fs::read_to_string(at("control/control")).unwrap();
    for line in ["Package: sawlog-shipper", "Version: 9.8.7"] {
        assert!(control.lines().any(|it| it == line), "{control}");
    }
    if !is_there("systemd-analyze") {
        eprintln!("not verified: systemd-analyze is not installed");
        return;
    }
    // The program is not installed here: any other stands in for it.
    let text = fs::read_to_string(unit).unwrap().replace("/usr/bin/sawlog-shipper", "/bin/true");
    assert!(text.contains("StartLimitIntervalSec=0") && text.contains("/bin/true --config"));
    fs::write(at("sawlog-shipper.service"), text).unwrap();
    let verified =
        Command::new("systemd-analyze").arg("verify").arg(at("sawlog-shipper.service")).output();
    let words = String::from_utf8_lossy(&verified.unwrap().stderr).into_owned();
    // What other units lack is none of ours.
    let ours = words.lines().filter(|line| line.contains("sawlog-shipper.service"));
    let ours: Vec<&str> = ours.filter(|line| !line.contains("/bin/kill")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// The script that runs after unpacking, with its places below a folder, and without what only root on
/// a machine of its own may do.
fn install(folder: &Path, variables: &[(&str, &str)]) -> Output {
    let text = fs::read_to_string(root().join("deploy/deb/postinst")).unwrap();
    let shipper = program("sawlog-shipper");
    let (shipper, here) = (shipper.to_str().unwrap(), folder.to_str().unwrap());
    let doc = root().join("deploy/shipper/shipper.toml");
    let text = text
        .replace("/usr/share/doc/sawlog-shipper/shipper.toml", doc.to_str().unwrap())
        .replace("/usr/bin/sawlog-shipper", shipper)
        .replace("/etc/sawlog", &format!("{here}/etc"))
        .replace("/run/systemd/system", &format!("{here}/no"));
    script(&folder.join("postinst"), &text);
    let tools = folder.join("tools");
    fs::create_dir_all(&tools).unwrap();
    script(&tools.join("getent"), "exit 0");
    script(
        &tools.join("install"),
        "[ \"$3\" = -g ] && exec cp \"$5\" \"$6\"; exec cp \"$3\" \"$4\"",
    );
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(folder.join("postinst"));
    command.arg("configure").env("PATH", path).envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn one_line_points_the_package_at_a_node_with_its_token_and_authority() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let certs = at("certs");
    did(Command::new(program("sawlog")).args(["cluster", "certs"]).arg(&certs).arg("a"));
    fs::write(at("token"), "secret-token\n").unwrap();
    let (token, authority) = (at("token"), certs.join("a/ca.crt"));
    let variables = [
        ("SAWLOG_TO", "https://node:7410"),
        ("SAWLOG_TOKEN_FILE", token.to_str().unwrap()),
        ("SAWLOG_CA", authority.to_str().unwrap()),
    ];
    let output = install(folder.path(), &variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(at("etc/shipper.toml")).unwrap();
    let settings: toml::Table = text.parse().unwrap();
    let place = |name: &str| toml::Value::from(at(name).to_str().unwrap());
    assert_eq!(settings["to"][0], toml::Value::from("https://node:7410"));
    assert_eq!(settings["token_file"], place("etc/shipper.token"));
    assert_eq!(settings["tls"]["ca_file"], place("etc/shipper-ca.pem"));
    assert_eq!(fs::read_to_string(at("etc/shipper.token")).unwrap(), "secret-token\n");
    // An upgrade leaves them as they are.
    let output = install(folder.path(), &[("SAWLOG_TO", "http://other:7410")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(at("etc/shipper.toml")).unwrap(), text);
}

#[test]
fn after_a_wrong_line_the_right_one_installs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("token"), "secret-token\n").unwrap();
    fs::write(at("empty"), "\n").unwrap();
    let (token, empty) = (at("token"), at("empty"));
    let (token, empty) = (token.to_str().unwrap(), empty.to_str().unwrap());
    for (wrong, word) in [
        ([("SAWLOG_TO", "node:7410"), ("SAWLOG_TOKEN_FILE", token)], "cannot send to"),
        ([("SAWLOG_TO", "http://node:7410"), ("SAWLOG_TOKEN_FILE", empty)], "no token"),
        ([("SAWLOG_TO", "http://node:7410"), ("SAWLOG_CA", token)], "no certificate"),
        ([("SAWLOG_TO", "http://node:7410"), ("SAWLOG_TOKEN_FILE", "token")], "begin with /"),
    ] {
        let output = install(folder.path(), &wrong);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(word), "{wrong:?}: {words}");
        assert!(!at("etc/shipper.toml").exists() && !at("etc/shipper.toml.new").exists());
    }
    let right = [("SAWLOG_TO", "http://[::1]:7410"), ("SAWLOG_TOKEN_FILE", token)];
    let output = install(folder.path(), &right);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(at("etc/shipper.toml")).unwrap();
    assert!(text.contains("to = [\"http://[::1]:7410\"]"), "{text}");
    // Who says it once more is told that nobody listens.
    let output = install(folder.path(), &right);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("stays as it is"));
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = install(folder.path(), &[("SAWLOG_TO", "http://a\"]\nindex = [\"b")]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("SAWLOG_TO is no address"));
    assert!(!folder.path().join("etc/shipper.toml").exists());
}
