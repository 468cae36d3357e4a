//! The shipper against a model: thousands of random deeds done to files while shipper and node are
//! killed and held up, and the way between them fails; the store is the judge. A line that could be
//! read has to be there once; one that was truncated or removed perhaps unread may be missing, and
//! never be there twice. What is sure to vanish, and sure to have been seen, is covered by gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tests::chance::{Chance, setting};
use tests::process::{Node, Process, TINY, free_address, run};
use tests::wait::{eventually, pace};

use crate::shipper::{append, gzip};
use crate::shipper_doomed::Doomed;
use crate::shipper_front::{Fault, Front};

/// Deeds of a run, unless SAWLOG_MODEL_STEPS says otherwise.
const STEPS: u64 = 8_000;
/// After so many looks a line that is missed is named.
const LOOKS_PATIENT: u64 = 400;
/// Rotated files that are kept of a stream.
const ROTATED_MAX: usize = 6;

/// What may stand between shipper and node.
const FAULTS: [Fault; 5] = [
    Fault::Answer("429 Too Many Requests\r\nretry-after: 1"),
    Fault::Answer("503 Service Unavailable"),
    Fault::Reset,
    Fault::AnswerLost,
    Fault::None,
];
/// What a [`Way::Regrown`] file begins with, each time.
const HEAD: &str = "head ";

/// What is done to a stream's files.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Renamed, and compressed later.
    Rotated,
    /// Cut to nothing.
    Truncated,
    /// Written anew at once, with the same beginning: more of it than a shipper knows it by.
    Regrown,
    /// Removed and made anew.
    Removed,
    /// A link that leads elsewhere from time to time.
    Linked,
}

struct Stream {
    name: String,
    way: Way,
    written: u64,
    /// The beginning of a line stands at the end of this file.
    half: Option<(PathBuf, String)>,
    /// Newest first.
    rotated: Vec<PathBuf>,
    /// Whether the current file had a line in it when everything was stored last.
    known: bool,
    /// The rotated files of which that is so.
    known_rotated: BTreeSet<PathBuf>,
    /// Lines that were not stored when everything was last.
    fresh: Vec<String>,
    target: u64,
}

struct Model {
    logs: PathBuf,
    elsewhere: PathBuf,
    folder: PathBuf,
    address: String,
    front: Front,
    chance: Chance,
    streams: Vec<Stream>,
    /// Lines that have to be stored, and those that may be lost.
    must: BTreeSet<String>,
    may: BTreeSet<String>,
    /// What was done since everything was stored last, and when.
    deeds: Vec<String>,
}

impl Model {
    fn new(folder: &Path, seed: u64) -> Self {
        let (logs, elsewhere) = (folder.join("logs"), folder.join("elsewhere"));
        fs::create_dir(&logs).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let ways =
            [Way::Rotated, Way::Rotated, Way::Truncated, Way::Regrown, Way::Removed, Way::Linked];
        let stream = |(at, way): (usize, &Way)| Stream {
            name: format!("app{at}"),
            way: *way,
            written: 0,
            half: None,
            rotated: Vec::new(),
            known: false,
            known_rotated: BTreeSet::new(),
            fresh: Vec::new(),
            target: 0,
        };
        let address = free_address();
        let model = Self {
            front: Front::of(&format!("http://{address}")),
            address,
            streams: ways.iter().enumerate().map(stream).collect(),
            folder: folder.to_owned(),
            chance: Chance::new(seed),
            must: BTreeSet::new(),
            may: BTreeSet::new(),
            deeds: Vec::new(),
            logs,
            elsewhere,
        };
        for stream in model.streams.iter().filter(|stream| stream.way == Way::Linked) {
            model.point(stream);
        }
        model
    }

    /// For who has to find out how it came that a line is missing, or there twice.
    fn note(&mut self, deed: &str) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (minutes, s) = (since_1970.as_secs() / 60 % 60, since_1970.as_secs() % 60);
        self.deeds.push(format!("{minutes:02}:{s:02}.{:06} {deed}", since_1970.subsec_micros()));
    }

    fn current(&self, stream: &Stream) -> PathBuf {
        self.logs.join(format!("{}.log", stream.name))
    }

    /// The link leads to the stream's target.
    fn point(&self, stream: &Stream) {
        let target = self.elsewhere.join(format!("{}-{}", stream.name, stream.target));
        append(&target, "");
        let fresh = self.elsewhere.join("link");
        std::os::unix::fs::symlink(target, &fresh).unwrap();
        fs::rename(fresh, self.current(stream)).unwrap();
    }

    /// Lines, whole ones and sometimes half of one, which is finished later.
    fn write(&mut self, at: usize) {
        let path = self.current(&self.streams[at]);
        self.finish_half(at);
        let first = self.streams[at].written;
        self.write_lines(at, &path);
        let stream = &self.streams[at];
        let half = if stream.half.is_some() { ", the last one by half" } else { "" };
        self.note(&format!("{}: lines {first} to {}{half}", stream.name, stream.written - 1));
    }

    fn write_lines(&mut self, at: usize, path: &Path) {
        if self.streams[at].way == Way::Regrown
            && fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0
        {
            append(path, format!("{HEAD}{}\n", "h".repeat(300)));
        }
        let count = self.chance.below(8);
        for _ in 0..=count {
            let pad = "x".repeat(usize::try_from(self.chance.skewed(300)).unwrap());
            let stream = &mut self.streams[at];
            let line = format!("{} {} {pad}.", stream.name, stream.written);
            stream.written += 1;
            let cut = self.chance.place(line.len() * 4);
            if cut > 0 && cut < line.len() {
                append(path, &line[..cut]);
                stream.half = Some((path.to_owned(), line[cut..].to_owned()));
                stream.fresh.push(line.clone());
                self.must.insert(line);
                return;
            }
            append(path, format!("{line}\n"));
            stream.fresh.push(line.clone());
            self.must.insert(line);
        }
    }

    fn finish_half(&mut self, at: usize) {
        if let Some((path, rest)) = self.streams[at].half.take() {
            append(&path, format!("{rest}\n"));
            self.note(&format!("{}: the other half in {}", self.streams[at].name, path.display()));
        }
    }

    /// What was not stored for sure may be lost.
    fn lose(&mut self, at: usize) {
        for line in self.streams[at].fresh.drain(..) {
            self.must.remove(&line);
            self.may.insert(line);
        }
        self.streams[at].known = false;
    }

    fn turn_over(&mut self, at: usize) {
        let way = self.streams[at].way;
        let path = self.current(&self.streams[at]);
        self.note(&format!("{}: {way:?}", self.streams[at].name));
        if way != Way::Rotated {
            self.finish_half(at);
            self.lose(at);
        }
        match way {
            Way::Rotated => self.rotate(at),
            Way::Truncated => {
                if path.exists() {
                    // As `copytruncate` of logrotate does; nobody follows the copy.
                    let copy = self.elsewhere.join(&self.streams[at].name);
                    fs::copy(&path, copy).unwrap();
                    fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
                }
            }
            Way::Regrown => {
                if let Ok(file) = fs::File::options().write(true).open(&path) {
                    file.set_len(0).unwrap();
                }
                for _ in 0..=self.chance.below(4) {
                    self.write(at);
                }
            }
            Way::Removed => {
                // It may be away already.
                fs::remove_file(path).ok();
            }
            Way::Linked => {
                self.streams[at].target += 1;
                self.point(&self.streams[at]);
            }
        }
    }

    /// Shifts all names by one; who has half a line open goes on in the old file.
    fn rotate(&mut self, at: usize) {
        let path = self.current(&self.streams[at]);
        if !path.exists() || self.streams[at].rotated.len() >= ROTATED_MAX {
            return;
        }
        let (logs, stream) = (self.logs.clone(), &mut self.streams[at]);
        let mut known = BTreeSet::new();
        let mut rotated = Vec::new();
        for (n, old) in stream.rotated.iter().enumerate().rev() {
            let ending = if old.extension().is_some_and(|it| it == "gz") { ".gz" } else { "" };
            let new = logs.join(format!("{}.log.{}{ending}", stream.name, n + 2));
            fs::rename(old, &new).unwrap();
            if stream.known_rotated.contains(old) {
                known.insert(new.clone());
            }
            if let Some((half, _)) = &mut stream.half
                && half == old
            {
                half.clone_from(&new);
            }
            rotated.insert(0, new);
        }
        let new = logs.join(format!("{}.log.1", stream.name));
        fs::rename(&path, &new).unwrap();
        if let Some((half, _)) = &mut stream.half
            && *half == path
        {
            half.clone_from(&new);
        }
        if stream.known {
            known.insert(new.clone());
        }
        rotated.insert(0, new);
        (stream.rotated, stream.known_rotated, stream.known) = (rotated, known, false);
    }

    /// Packs a rotated file that the shipper knows; what nobody ever looked into is not news.
    fn compress(&mut self, at: usize) {
        let known = self.streams[at].known_rotated.clone();
        self.pack(at, |path| known.contains(path));
    }

    /// Packs the oldest of those rotated files.
    fn pack(&mut self, at: usize, which: impl Fn(&PathBuf) -> bool) {
        self.finish_half(at);
        let stream = &mut self.streams[at];
        let plain = |path: &&PathBuf| path.extension().is_some_and(|it| it != "gz") && which(path);
        let Some(path) = stream.rotated.iter().rfind(plain).cloned() else { return };
        let packed = PathBuf::from(format!("{}.gz", path.display()));
        fs::write(&packed, gzip(&fs::read(&path).unwrap())).unwrap();
        fs::remove_file(&path).unwrap();
        for old in &mut stream.rotated {
            if *old == path {
                old.clone_from(&packed);
            }
        }
        self.note(&format!("packed {}", packed.display()));
    }

    /// Waits until everything that has to be stored is; nothing may be there twice.
    fn settle(&mut self, node: &Node) {
        self.fault(Fault::None);
        for at in 0..self.streams.len() {
            self.finish_half(at);
        }
        let mut looks = 0;
        let found = eventually("every line to be stored", || {
            let found = stored(node);
            let mut missing = self.must.iter().filter(|line| !found.contains_key(*line));
            let Some(first) = missing.next() else { return Some(found) };
            looks += 1;
            if looks % LOOKS_PATIENT == 0 {
                eprintln!("still missing: {first:?} and {} more", missing.count());
            }
            None
        });
        for (line, times) in found {
            let ours = self.must.contains(&line) || self.may.contains(&line);
            let often = line.starts_with("gap: ") || line.starts_with(HEAD);
            assert!(ours || often, "nobody wrote {line:?}");
            assert!(times == 1 || often, "{times} times: {line:?}");
        }
        for stream in &mut self.streams {
            stream.fresh.clear();
            stream.known =
                self.logs.join(format!("{}.log", stream.name)).exists() && stream.written > 0;
            // All of them is stored; the oldest are removed, as time goes by.
            for path in stream.rotated.drain(..) {
                fs::remove_file(path).unwrap();
            }
            stream.known_rotated.clear();
        }
        self.deeds.clear();
    }

    fn fault(&mut self, fault: Fault) {
        self.note(&format!("the way to the node: {fault:?}"));
        self.front.fail(fault);
    }

    /// Ends the shipper, one way or the other, and starts it again; what happens meanwhile
    /// happens while nobody looks.
    fn begin_again(&mut self, mut shipper: Process) -> Process {
        assert_eq!(shipper.ended(), None, "the shipper ended by itself");
        self.note("the shipper is ended");
        if self.chance.below(3) == 0 {
            // Within its first moments it is ended by the signal itself.
            shipper.stop();
            assert!(!shipper.words().contains("panicked"), "{}", shipper.words());
        } else {
            shipper.kill();
        }
        for _ in 0..self.chance.below(10) {
            let at = self.chance.place(self.streams.len());
            self.write(at);
            self.turn_over(at);
        }
        self.note("the shipper begins");
        self.shipper()
    }

    /// Holds the shipper up while files change.
    fn hold_up(&mut self, shipper: &Process) {
        shipper.pause();
        self.note("the shipper is held up");
        for _ in 0..self.chance.below(6) {
            let at = self.chance.place(self.streams.len());
            self.write(at);
            self.turn_over(at);
            // Also what nobody ever looked into: it came while the shipper was held up, or just before.
            if self.streams[at].way == Way::Rotated && self.chance.below(2) == 0 {
                self.pack(at, |_| true);
            }
        }
        shipper.resume();
        self.note("the shipper goes on");
    }

    fn node(&self) -> Node {
        Node::begin("node", &self.folder, &self.address, TINY, &[])
    }

    fn shipper(&self) -> Process {
        let (url, state) = (self.front.url.clone(), self.folder.join("state"));
        let glob = self.logs.join("*.log*");
        let [state, glob] = [&state, &glob].map(|path| path.to_str().unwrap());
        let args = ["--to", &url, "--state-dir", state, "--path", glob];
        Process::start("sawlog-shipper", &args, &self.folder.join("shipper.words"))
    }
}

impl Model {
    /// What was seen and is taken away unread is covered by gaps: cut while the shipper runs, and
    /// removed while it does not.
    fn vanish(&self, node: &Node, mut shipper: Process) {
        let cut = Doomed::new(self.logs.join("doomed.log"));
        self.front.fail(Fault::Answer("503 Service Unavailable"));
        self.put(&cut);
        self.seen(&cut);
        fs::File::options().write(true).open(&cut.path).unwrap().set_len(0).unwrap();
        self.front.fail(Fault::None);
        cut.check_covered(node, true);
        let removed = Doomed::new(self.logs.join("removed.log"));
        self.front.fail(Fault::Answer("503 Service Unavailable"));
        self.put(&removed);
        self.seen(&removed);
        shipper.stop();
        fs::remove_file(&removed.path).unwrap();
        self.front.fail(Fault::None);
        let mut shipper = self.shipper();
        removed.check_covered(node, false);
        assert!(shipper.stop());
    }

    /// All of it appears at once.
    fn put(&self, doomed: &Doomed) {
        let whole = self.elsewhere.join("doomed");
        append(&whole, doomed.text());
        fs::rename(whole, &doomed.path).unwrap();
    }

    /// Waits until the shipper has looked into all of it, and has tried to send the first of it.
    fn seen(&self, doomed: &Doomed) {
        let (state, size) = (self.folder.join("state"), doomed.bytes());
        let args = ["status", "--json", "--state-dir", state.to_str().unwrap()];
        eventually("the lines to be seen", || {
            let output = run("sawlog-shipper", &args);
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            let path = doomed.path.to_str()?;
            let file = status["followed"].as_array()?.iter().find(|file| file["path"] == path)?;
            let sent = file["sent"].as_u64()? > 0;
            (sent && file["size"] == size).then_some(())
        });
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("since everything was stored last:\n{}", self.deeds.join("\n"));
        }
    }
}

fn stored(node: &Node) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for row in node.client.rows(&json!({ "query": "", "limit": 0 })) {
        *found.entry(row["message"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn whatever_is_done_to_files_each_line_is_stored_once() {
    let steps = setting("SAWLOG_MODEL_STEPS", STEPS);
    let first = setting("SAWLOG_MODEL_SEED", 1);
    for seed in first..first + setting("SAWLOG_MODEL_SEEDS", 1) {
        eprintln!(
            "again: SAWLOG_MODEL_STEPS={steps} SAWLOG_MODEL_SEED={seed} cargo test -p tests --test cases shipper_model"
        );
        let folder = tempfile::tempdir().unwrap();
        play(Model::new(folder.path(), seed), steps);
    }
}

fn play(mut model: Model, steps: u64) {
    let (mut node, mut shipper) = (model.node(), model.shipper());
    node.ready();
    for _ in 0..steps {
        let at = model.chance.place(model.streams.len());
        match model.chance.below(1_000) {
            0..700 => model.write(at),
            700..800 => model.turn_over(at),
            800..860 if model.streams[at].way == Way::Rotated => model.compress(at),
            800..860 => model.finish_half(at),
            860..958 => pace(Duration::from_millis(model.chance.below(20))),
            958..966 => {
                let fault = *model.chance.one_of(&FAULTS);
                model.fault(fault);
            }
            966..972 => model.hold_up(&shipper),
            972..985 => shipper = model.begin_again(shipper),
            985..990 => {
                node.process.kill();
                node = model.node();
            }
            990..995 => {
                node.process.pause();
                pace(Duration::from_millis(model.chance.below(300)));
                node.process.resume();
            }
            _ => {
                node.ready();
                model.settle(&node);
            }
        }
    }
    node.ready();
    model.settle(&node);
    eprintln!("{} lines stored once; {} more perhaps lost", model.must.len(), model.may.len());
    assert!(model.must.len() > model.may.len() / 2, "too little was certain");
    model.vanish(&node, shipper);
}
