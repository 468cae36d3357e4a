//! The shipper as a process, with a node as the judge: every line once, whatever is done to files.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::process::{Node, Process, TINY, program, refuses, run};
use tests::wait::eventually;

/// A folder with a node, logs, and a settings file.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) node: Node,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let node = Node::start("node", folder.path(), TINY, &[]);
        Self { folder, node }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.folder.path().join("shipper.toml")
    }

    /// Writes the settings: the node, the state, and these sources; LOGS stands for the folder.
    pub(crate) fn settings(&self, head: &str, sources: &str) {
        self.settings_to(self.node.url(), head, sources);
    }

    pub(crate) fn settings_to(&self, url: &str, head: &str, sources: &str) {
        let state = self.state();
        let text = format!("to = [{url:?}]\nstate_dir = {state:?}\n{head}\n{sources}");
        let logs = self.folder.path().join("logs");
        let text = text.replace("LOGS", logs.to_str().unwrap());
        let fresh = self.folder.path().join("shipper.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.settings_file()).unwrap();
    }

    pub(crate) fn ship(&self) -> Process {
        let settings = self.settings_file();
        let args = ["--config", settings.to_str().unwrap()];
        Process::start("sawlog-shipper", &args, &self.folder.path().join("shipper.words"))
    }

    /// Ships to the end, once.
    #[track_caller]
    pub(crate) fn once(&self) {
        let output =
            run("sawlog-shipper", &["--config", self.settings_file().to_str().unwrap(), "--once"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        self.node.client.rows(&json!({ "query": query, "limit": 0 }))
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        let rows = self.rows("");
        let mut found: Vec<String> =
            rows.iter().map(|row| row["message"].as_str().unwrap().to_owned()).collect();
        found.sort();
        found
    }

    #[track_caller]
    pub(crate) fn expect(&self, expected: &[impl AsRef<str>]) {
        let mut expected: Vec<String> =
            expected.iter().map(|text| text.as_ref().to_owned()).collect();
        expected.sort();
        self.node.client.expect_records(expected.len() as u64);
        assert_eq!(self.messages(), expected);
    }

    /// As `expect`, beside records that say what may be missing; those that are there.
    #[track_caller]
    pub(crate) fn expect_beside_gaps(&self, expected: &[impl AsRef<str>]) -> Vec<String> {
        let (gaps, lines) = eventually("the lines", || {
            let messages = self.messages().into_iter();
            let (gaps, lines): (Vec<_>, Vec<_>) = messages.partition(|it| it.starts_with("gap: "));
            (lines.len() >= expected.len()).then_some((gaps, lines))
        });
        let mut expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        gaps
    }

    /// What the shipper says of itself.
    pub(crate) fn status(&self) -> Option<Value> {
        let state = self.state();
        let args = ["status", "--json", "--state-dir", state.to_str().unwrap()];
        let output = run("sawlog-shipper", &args);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }
}

pub(crate) fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

/// Lines of a file's generation, each with its number.
pub(crate) fn lines(generation: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{generation} {n}")).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(crate) fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

pub(crate) const ALL: &str =
    "[[files]]\npaths = [\"LOGS/**\"]\nexcludes = [\"LOGS/no/**\", \"LOGS/no\"]\n";

#[test]
fn twins_short_files_and_later_folders_are_shipped_once_each() {
    let world = World::new();
    world.settings("", ALL);
    let head = "the same first line ".repeat(300);
    let twin = |name: &str| vec![head.clone(), format!("{name} differs")];
    for name in ["a", "b"] {
        append(&world.path(name), text(&twin(name)));
    }
    append(&world.path("empty"), "");
    append(&world.path("short"), "x\n");
    append(&world.path("half"), "no newline");
    fs::create_dir(world.path("no")).unwrap();
    append(&world.path("no/excluded"), "never\n");
    let mut shipper = world.ship();
    let mut expected = [twin("a"), twin("b"), vec!["x".to_owned()]].concat();
    world.expect(&expected);
    append(&world.path("empty"), "not any more\n");
    append(&world.path("half"), " until now\n");
    fs::create_dir_all(world.path("later/still")).unwrap();
    append(&world.path("later/still/c"), "deep\n");
    expected.extend(["not any more", "no newline until now", "deep"].map(str::to_owned));
    world.expect(&expected);
    assert!(shipper.stop());
    world.once();
    world.expect(&expected);
}

#[test]
fn encodings_traces_and_containers_are_framed_as_the_settings_say() {
    let world = World::new();
    world.settings(
        "",
        "[[files]]\npaths = [\"LOGS/latin\"]\nencoding = \"windows-1252\"\n\
         [[files]]\npaths = [\"LOGS/trace\"]\njoin = \"traces\"\njoin_timeout_ms = 200\n\
         [[files]]\npaths = [\"LOGS/own\"]\ndelimiter = \"||\"\n\
         [[files]]\npaths = [\"LOGS/**\"]\n",
    );
    append(&world.path("latin"), b"gr\xfcn\r\n");
    let wide: Vec<u8> = "\u{feff}weit\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    append(&world.path("wide"), wide);
    append(&world.path("bad"), b"bad \xff byte\n");
    append(&world.path("own"), "one\nline||two||");
    fs::create_dir_all(world.path("log/pods/ns_pod_uid/web")).unwrap();
    let t = "2026-11-23T10:00:00.5Z";
    append(
        &world.path("log/pods/ns_pod_uid/web/0.log"),
        format!("{t} stdout P first\n{t} stderr F other\n{t} stdout F  second\n"),
    );
    append(&world.path("trace"), "ERROR failed\n\tat a.b(C.java:1)\n");
    let mut shipper = world.ship();
    let first = ["grün", "weit", "bad \\xff byte", "one\nline", "two", "first second", "other"];
    let trace = "ERROR failed\n\tat a.b(C.java:1)";
    world.expect(&[&first[..], &[trace]].concat());
    let row = world.rows("first").remove(0);
    let labels = row.to_string();
    for word in ["\"namespace\":\"ns\"", "\"pod\":\"pod\"", "\"container\":\"web\"", "stdout"] {
        assert!(labels.contains(word), "{word} is missing in {labels}");
    }
    assert!(
        row["timestamp"].as_str().is_some_and(|time| time.starts_with("2026-11-23T10:00:00.5")),
        "{row}"
    );
    // Rotated inside a trace: the part before is one record, and the new file is read on.
    append(&world.path("trace"), "WARN next\n  more\n");
    fs::rename(world.path("trace"), world.path("trace.1")).unwrap();
    append(&world.path("trace"), "INFO new\nINFO newer\n");
    let rest = ["WARN next\n  more", "INFO new", "INFO newer"];
    world.expect(&[&first[..], &[trace], &rest].concat());
    assert!(shipper.stop());
}

#[test]
fn rotation_while_stopped_in_circles_and_with_equal_names_loses_nothing() {
    let world = World::new();
    world.settings("", ALL);
    let name = |n: usize| world.path(&if n == 0 { "log".to_owned() } else { format!("log.{n}") });
    let mut expected = Vec::new();
    for generation in 0..6 {
        let fresh = lines(&format!("g{generation}"), 50);
        append(&name(0), text(&fresh[..25]));
        if generation % 2 == 0 {
            world.once();
        }
        append(&name(0), text(&fresh[25..]));
        expected.extend(fresh);
        for n in (0..5).rev().filter(|n| name(*n).exists()) {
            fs::rename(name(n), name(n + 1)).unwrap();
        }
    }
    // In a circle: the oldest becomes the current one and is written on.
    fs::rename(name(5), name(0)).unwrap();
    append(&name(0), "written on\n");
    expected.push("written on".to_owned());
    world.once();
    world.expect(&expected);
    world.once();
    world.expect(&expected);
}

#[test]
fn the_unread_rest_of_a_compressed_file_is_read_once() {
    let world = World::new();
    world.settings("", ALL);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let mut expected = Vec::new();
    for name in ["gz", "zst"] {
        let fresh = lines(name, 40);
        append(&world.path(name), text(&fresh[..20]));
        expected.extend(fresh);
    }
    world.once();
    for name in ["gz", "zst"] {
        append(&world.path(name), text(&lines(name, 40)[20..]));
        let bytes = fs::read(world.path(name)).unwrap();
        let packed = if name == "gz" { gzip(&bytes) } else { zstd(&bytes) };
        fs::write(world.path(&format!("{name}.1.{name}")), packed).unwrap();
        fs::remove_file(world.path(name)).unwrap();
    }
    world.once();
    world.expect(&expected);
    append(&world.path("gz"), "a new file\n");
    expected.push("a new file".to_owned());
    world.once();
    world.expect(&expected);
}

#[test]
fn a_file_that_is_truncated_regrown_or_made_anew_while_stopped_is_another() {
    let world = World::new();
    world.settings("", ALL);
    let mut expected = Vec::new();
    for name in ["truncated", "regrown", "shorter", "equal", "longer", "replaced"] {
        let old = lines(&format!("old {name}"), 20);
        append(&world.path(name), text(&old));
        expected.extend(old);
    }
    world.once();
    for (name, count) in [("truncated", 3), ("regrown", 60)] {
        let fresh = lines(&format!("new {name}"), count);
        fs::write(world.path(name), text(&fresh)).unwrap();
        expected.extend(fresh);
    }
    for (name, count) in [("shorter", 3), ("equal", 20), ("longer", 60)] {
        fs::remove_file(world.path(name)).unwrap();
        let fresh = lines(&format!("new {name}"), count);
        append(&world.path(name), text(&fresh));
        expected.extend(fresh);
    }
    // The same content under a new inode is another file's; so is a link to it no file at all.
    let fresh = lines("new replaced", 20);
    append(&world.path("replaced.tmp"), text(&fresh));
    fs::rename(world.path("replaced.tmp"), world.path("replaced")).unwrap();
    expected.extend(fresh);
    fs::hard_link(world.path("longer"), world.path("hard")).unwrap();
    std::os::unix::fs::symlink(world.path("longer"), world.path("soft")).unwrap();
    std::os::unix::fs::symlink(world.path("nothing"), world.path("dangling")).unwrap();
    world.once();
    let gaps = world.expect_beside_gaps(&expected);
    let said = |gap: &String| gap.contains("what was read last") && gap.contains("may have come");
    assert!(gaps.len() == 6 && gaps.iter().all(said), "{gaps:?}");
    world.once();
    assert_eq!(world.expect_beside_gaps(&expected), gaps);
}

#[test]
fn bytes_truncated_unread_are_said_in_a_record() {
    let world = World::new();
    // Nobody listens: everything stays in the files.
    world.settings_to("http://127.0.0.1:9", "", ALL);
    append(&world.path("app"), text(&lines("lost", 10)));
    let mut shipper = world.ship();
    eventually("the file to be seen", || {
        let status = world.status()?;
        (status["followed"][0]["size"] == 70).then_some(())
    });
    fs::write(world.path("app"), "after\n").unwrap();
    world.settings("", ALL);
    eventually("the gap and the line behind it", || (world.rows("").len() == 2).then_some(()));
    let row = world.rows("gap").remove(0);
    let said = row.to_string();
    for word in ["\"gap_from\":0", "\"gap_to\":70", "/logs/app", "error"] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    assert!(shipper.stop());
}

#[test]
fn the_status_is_what_is_true() {
    let world = World::new();
    world.settings("", ALL);
    let content = text(&lines("app", 100));
    append(&world.path("app"), &content);
    append(&world.path("app"), "half");
    let mut shipper = world.ship();
    let bytes = content.len() as u64;
    let file = eventually("everything to be acknowledged", || {
        let status = world.status()?;
        let file = status["followed"].get(0)?.clone();
        (file["acknowledged"] == bytes).then_some(file)
    });
    assert_eq!((&file["sent"], &file["size"]), (&json!(bytes), &json!(bytes + 4)), "{file}");
    assert_eq!((&file["lag_bytes"], &file["state"]), (&json!(4), &json!("followed")), "{file}");
    let state = world.state();
    let table = run("sawlog-shipper", &["status", "--state-dir", state.to_str().unwrap()]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("/logs/app") && table.contains("1 file, 4 bytes behind"), "{table}");
    assert!(shipper.stop());
    let words = ["no shipper runs with the state directory"];
    refuses("sawlog-shipper", &["status", "--state-dir", state.to_str().unwrap()], &words);
}

#[test]
fn damaged_checkpoints_are_survived_and_said() {
    let world = World::new();
    world.settings("", ALL);
    let mut expected = lines("one", 30);
    append(&world.path("app"), text(&expected));
    world.once();
    append(&world.path("app"), "two\n");
    expected.push("two".to_owned());
    world.once();
    let path = world.state().join("checkpoints.json");
    for damage in [0, 1, 2] {
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            0 => bytes.fill(0),
            1 => bytes.truncate(bytes.len() / 2),
            _ => *bytes.last_mut().unwrap() ^= 0x40,
        }
        fs::write(&path, bytes).unwrap();
        append(&world.path("app"), format!("damage {damage}\n"));
        expected.push(format!("damage {damage}"));
        world.once();
    }
    world.expect(&expected);
}

#[test]
fn an_old_file_is_not_begun_but_one_begun_is_finished() {
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("begun"), "one\n");
    world.once();
    append(&world.path("begun"), "two\n");
    append(&world.path("old"), "never\n");
    for name in ["begun", "old"] {
        let file = fs::File::options().write(true).open(world.path(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    world.settings("", &format!("{ALL}ignore_older_s = 3600\n"));
    world.once();
    world.expect(&["one", "two"]);
}

#[test]
fn settings_are_checked_and_wrong_ones_named() {
    let world = World::new();
    let check = || ["check".to_owned(), world.settings_file().display().to_string()];
    world.settings("", ALL);
    let [command, file] = check();
    let output = run("sawlog-shipper", &[&command, &file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (sources, says) in [
        ("", "no files to follow"),
        ("[[files]]\npaths = [\"/a\"]\nformat = \"xml\"", "unknown variant `xml`"),
        ("[[files]]\npaths = [\"/a\"]\nencoding = \"klingon\"", "klingon"),
        ("[[files]]\npaths = [\"/a\"]\nformat = \"regex\"\npattern = \"(\"", "("),
        ("[[files]]\npaths = [\"/a\"]\nbytes_per_second = 0", "bytes_per_second"),
        ("[[files]]\npaths = [\"/a\"]\ndelimiter = \"\"", "delimiter is empty"),
        ("[[files]]\npaths = [\"/a\"]\n[[files.rules]]\nwhen = []", "a rule does one thing"),
        (
            "[[files]]\npaths = [\"/a\"]\n[[files.rules]]\ndrop = true\nremove = [\"a\"]",
            "one thing",
        ),
        ("[[files]]\npaths = [\"/a\"]\n[[files.rules]]\ndrip = true", "unknown field `drip`"),
    ] {
        world.settings("", sources);
        refuses("sawlog-shipper", &[&command, &file], &[says]);
    }
    refuses("sawlog-shipper", &["--path", "/a"], &["--to"]);
}

#[test]
fn what_the_cluster_is_to_keep_can_be_checked_before() {
    let world = World::new();
    world.settings("", ALL);
    let (own, document) = (world.settings_file(), world.folder.path().join("document.toml"));
    fs::write(&document, "[[files]]\npaths = [\"/a\"]\n").unwrap();
    let [own, document] = [&own, &document].map(|path| path.to_str().unwrap());
    assert!(run("sawlog-shipper", &["check", "--cluster", document]).status.success());
    refuses("sawlog-shipper", &["check", document], &["to is not set", "--cluster"]);
    refuses("sawlog-shipper", &["check", "--cluster", own], &["are the server's own"]);
}

/// Real logrotate, in each of its ways, while the shipper runs.
#[test]
fn logrotate_in_each_of_its_ways_loses_nothing() {
    if !Path::new("/usr/sbin/logrotate").exists() {
        eprintln!("skipped: logrotate is not installed");
        return;
    }
    assert!(program("sawlog-shipper").exists());
    for way in ["create", "copytruncate", "create\ncompress", "create\ncompress\ndelaycompress"] {
        let world = World::new();
        let followed = if way == "copytruncate" { "LOGS/*.log" } else { "LOGS/*.log*" };
        world.settings("", &format!("[[files]]\npaths = [{followed:?}]\n"));
        let mut shipper = world.ship();
        let rules = world.folder.path().join("rotate.conf");
        let logs = world.folder.path().join("logs");
        fs::write(&rules, format!("{}/*.log {{\nrotate 9\n{way}\n}}\n", logs.display())).unwrap();
        let mut expected = Vec::new();
        // Fewer rounds than files that are kept: what is deleted unread, nobody can ship.
        for round in 0..5 {
            let fresh = lines(&format!("round {round}"), 500);
            append(&world.path("app.log"), text(&fresh));
            expected.extend(fresh);
            // Of a file that was never seen nothing says that its compressed form is news; and
            // logrotate itself loses what is written between its copy and its cut.
            let seen = match way {
                "create" => 0,
                "create\ncompress\ndelaycompress" => expected.len() - 500,
                _ => expected.len(),
            };
            eventually(&format!("{seen} records"), || {
                (world.node.client.count_of("") >= seen as u64).then_some(())
            });
            let state = world.folder.path().join("rotate.state");
            let output = std::process::Command::new("/usr/sbin/logrotate")
                .args(["--force", "--state", state.to_str().unwrap(), rules.to_str().unwrap()])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        eprintln!("{way:?}");
        world.expect(&expected);
        assert!(shipper.stop());
    }
}
