//! `make chaos`: three to five nodes under load of clients and of a shipper, while nodes are killed,
//! paused, cut off, wiped, damaged, slowed down and stopped, often two things at once; at the end
//! every line is counted at every node. MINUTES (5), SEED (1), NODES (3).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it stops at the first thing that is wrong, and its report is its purpose"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use platform::clock::Clock;
use tests::chance::Chance;
use tests::cluster::Cluster;
use tests::disks::{SlowDisks, flip, segments};
use tests::links::Links;
use tests::load::{Load, Tally};
use tests::measure::quantile;
use tests::process::Process;
use tests::wait::{eventually, pace};

/// Senders over HTTP.
const SENDERS: usize = 6;
/// Between two requests of a sender.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two lines of the file that is shipped.
const LINE_PAUSE: Duration = Duration::from_millis(2);
/// The longest time a fault lasts, milliseconds.
const FAULT_MS_MAX: u64 = 9_000;
/// The longest time without a fault, milliseconds.
const CALM_MS_MAX: u64 = 2_000;
/// Of so many faults one comes with another one at a second node.
const TWO_ONE_OF: u64 = 3;
/// What a sync of a slow disk takes longer, milliseconds.
const SLOW_MS_MAX: u64 = 400;
/// Small splits, merged soon; who is silent for a while is not expected back.
const SETTINGS: &str = "partitions = 4\n[index]\nfresh_rows_max = 4000\nfresh_age_max_s = 2\nmerge_fan_in = 4\n[cluster]\ngone_after_s = 6\n";
/// As [`SETTINGS`] say.
const PARTITIONS: usize = 4;
/// The word in what the clients send.
const TAG: &str = "chaos";

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    KillAll,
    Pause,
    CutOff,
    CutPair,
    Deaf,
    Mute,
    Slow,
    Flip,
    Wipe,
    Restart,
}

const FAULTS: [Fault; 14] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Pause,
    Fault::Pause,
    Fault::CutOff,
    Fault::CutOff,
    Fault::CutPair,
    Fault::Deaf,
    Fault::Mute,
    Fault::Slow,
    Fault::Restart,
    Fault::KillAll,
    Fault::Flip,
    Fault::Wipe,
];

/// What may happen to a second node meanwhile: nothing that takes a copy away or needs all nodes.
const BESIDE: [Fault; 5] = [Fault::Kill, Fault::Pause, Fault::Slow, Fault::Deaf, Fault::Restart];

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::Kill => "one killed",
            Self::KillAll => "all killed at once",
            Self::Pause => "one paused",
            Self::CutOff => "one cut off, both ways",
            Self::CutPair => "two cut off from each other",
            Self::Deaf => "one hears nothing",
            Self::Mute => "one says nothing",
            Self::Slow => "a slow disk",
            Self::Flip => "one killed, a bit of its queue flipped",
            Self::Wipe => "one killed and wiped",
            Self::Restart => "one stopped in order",
        }
    }
}

/// A fault that is over.
struct Past {
    fault: Fault,
    from: Duration,
    healed: Duration,
    settled: Duration,
}

struct Scene {
    cluster: Cluster,
    nodes: usize,
    links: Links,
    disks: SlowDisks,
    chance: Chance,
    clock: Clock,
    past: Vec<Past>,
    load: Option<Load>,
    shipped: Option<Shipped>,
}

/// What is shipped: a file that grows, and the shipper, which is killed now and then too.
struct Shipped {
    folder: PathBuf,
    addresses: Vec<String>,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<u64>,
    shipper: Process,
}

fn main() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (minutes, seed, nodes) = (setting("MINUTES", 5), setting("SEED", 1), setting("NODES", 3));
    assert!((3..=5).contains(&nodes), "NODES is 3, 4 or 5");
    let again = format!("make chaos MINUTES={minutes} SEED={seed} NODES={nodes}");
    println!("chaos, again: {again}");
    let mut scene = Scene::new(usize::try_from(nodes).unwrap(), seed);
    let run = std::panic::AssertUnwindSafe(|| scene.run(Duration::from_secs(minutes * 60)));
    if std::panic::catch_unwind(run).is_err() {
        scene.cluster.folder.disable_cleanup(true);
        println!("failed after {} faults: {again}", scene.past.len());
        println!(
            "states and words of the nodes are kept: {}",
            scene.cluster.folder.path().display()
        );
        drop(scene);
        std::process::exit(1);
    }
}

/// Every line of the file, once.
fn expect_lines(cluster: &Cluster, number: usize, lines: u64) {
    eventually(&format!("{lines} lines at node {number}"), || {
        let query = "shipped | stats count() as n, count_distinct(message) as d";
        let row = cluster.table(number, query)?.pop()?;
        let (count, distinct) = (row["n"].as_u64()?, row["d"].as_u64()?);
        assert_eq!(count, distinct, "lines found twice at node {number}");
        assert!(count <= lines, "{count} lines at node {number}, {lines} were written");
        (count == lines).then_some(())
    });
}

impl Scene {
    fn new(nodes: usize, seed: u64) -> Self {
        let (mut cluster, links) = Cluster::wired(nodes, SETTINGS);
        let disks = SlowDisks::new(cluster.folder.path());
        (0..nodes).for_each(|at| cluster.through(at, disks.command(at)));
        let (clock, chance, past) = (Clock::system(), Chance::new(seed), Vec::new());
        Self { cluster, nodes, links, disks, chance, clock, past, load: None, shipped: None }
    }

    fn run(&mut self, lasts: Duration) {
        self.cluster.begin_all();
        let addresses = self.cluster.addresses();
        self.load = Some(Load::paced(&addresses, TAG, SENDERS, PAUSE));
        self.shipped = Some(Shipped::start(self.cluster.folder.path(), &addresses));
        let until = self.clock.elapsed() + lasts;
        while self.clock.elapsed() < until {
            self.load.as_ref().unwrap().more(100);
            pace(Duration::from_millis(self.chance.below(CALM_MS_MAX)));
            self.fault();
        }
        let tally = self.load.take().unwrap().end();
        let lines = self.shipped.take().unwrap().finish(&self.cluster);
        self.cluster.settled();
        self.cluster.expect(&tally);
        (0..self.nodes).for_each(|number| expect_lines(&self.cluster, number, lines));
        self.report(&tally, lines);
        (0..self.nodes).for_each(|number| self.cluster.stop(number));
    }

    fn fault(&mut self) {
        let fault = *self.chance.one_of(&FAULTS);
        let victim = self.chance.place(self.nodes);
        let mut faults = vec![(fault, victim)];
        if fault != Fault::KillAll && self.chance.below(TWO_ONE_OF) == 0 {
            let other = (victim + 1 + self.chance.place(self.nodes - 1)) % self.nodes;
            faults.push((*self.chance.one_of(&BESIDE), other));
        }
        let (from, mut lasted) = (self.clock.elapsed(), Vec::new());
        for (fault, victim) in &faults {
            let lasts = Duration::from_millis(self.chance.below(FAULT_MS_MAX));
            let at = self.clock.elapsed().as_secs_f64();
            println!("{at:>6.1} s  node {victim}: {}, {lasts:.1?}", fault.words());
            self.begin(*fault, *victim);
            lasted.push(lasts);
            pace(lasts / 2);
        }
        // The first one ends first: what it did to the others meets the second one.
        for ((fault, victim), lasts) in faults.iter().zip(lasted) {
            pace(lasts / 2);
            self.heal(*fault, *victim);
        }
        if self.chance.below(4) == 0 {
            self.shipped.as_mut().unwrap().kill();
        }
        let healed = self.clock.elapsed();
        self.cluster.settled();
        let settled = self.clock.elapsed();
        self.past.extend(faults.iter().map(|(fault, _)| Past {
            fault: *fault,
            from,
            healed,
            settled,
        }));
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        let others = (0..self.nodes).filter(|other| *other != victim);
        match fault {
            Fault::Kill => self.cluster.kill(victim),
            Fault::KillAll => (0..self.nodes).for_each(|at| self.cluster.kill(at)),
            Fault::Pause => self.cluster.pause(victim),
            Fault::CutOff => others.for_each(|other| {
                self.links.cut(victim, other);
                self.links.cut(other, victim);
            }),
            Fault::CutPair => {
                let other = (victim + 1) % self.nodes;
                self.links.cut(victim, other);
                self.links.cut(other, victim);
            }
            Fault::Deaf => others.for_each(|other| self.links.cut(other, victim)),
            Fault::Mute => others.for_each(|other| self.links.cut(victim, other)),
            Fault::Slow => self.disks.slow(victim, 1 + self.chance.below(SLOW_MS_MAX)),
            Fault::Flip => {
                self.cluster.kill(victim);
                let partition = self.chance.place(PARTITIONS);
                // With more nodes than replicas it may have none of this partition.
                if let Some(newest) = segments(&self.cluster, victim, partition).last() {
                    flip(newest, 0.5);
                }
            }
            Fault::Wipe => {
                self.cluster.kill(victim);
                std::fs::remove_dir_all(self.cluster.data(victim)).unwrap();
            }
            Fault::Restart => self.cluster.stop(victim),
        }
    }

    fn heal(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::Kill | Fault::Flip | Fault::Wipe | Fault::Restart => self.cluster.begin(victim),
            Fault::KillAll => (0..self.nodes).for_each(|at| self.cluster.begin(at)),
            Fault::Pause => self.cluster.resume(victim),
            Fault::Slow => self.disks.quick(victim),
            Fault::CutOff | Fault::CutPair | Fault::Deaf | Fault::Mute => self.links.mend(),
        }
    }

    fn report(&self, tally: &Tally, lines: u64) {
        println!("\n{} faults:\n", self.past.len());
        println!(
            "| what happened | times | longest gap of a client, s: p50 | worst | until all was settled again, s: p50 | worst |"
        );
        println!("|---|---|---|---|---|---|");
        let mut kinds: BTreeMap<Fault, Vec<&Past>> = BTreeMap::new();
        for past in &self.past {
            kinds.entry(past.fault).or_default().push(past);
        }
        for (fault, all) in kinds {
            let gaps = sorted(all.iter().map(|past| tally.longest_gap_s(past.from, past.settled)));
            let healing = all.iter().map(|past| (past.settled - past.healed).as_secs_f64());
            let healing = sorted(healing);
            println!(
                "| {} | {} | {:.2} | {:.2} | {:.1} | {:.1} |",
                fault.words(),
                all.len(),
                quantile(&gaps, 0.5),
                quantile(&gaps, 1.0),
                quantile(&healing, 0.5),
                quantile(&healing, 1.0)
            );
        }
        let gaps = sorted(tally.gaps.iter().map(tests::load::Gap::seconds));
        if gaps.is_empty() {
            return;
        }
        println!(
            "\nby clients: {} records acknowledged; found once at each of {} nodes: {}; twice: 0; missing: 0",
            tally.total(),
            self.nodes,
            tally.total()
        );
        println!("by the shipper: {lines} lines written; found once at each node: {lines}");
        println!(
            "gap between a client's acknowledgements: p50 {:.3} s, p99 {:.3} s, longest {:.2} s; {} requests repeated after their acknowledgement and {} whose first answer was lost, all recognised; {} refusals, {} requests without an answer",
            quantile(&gaps, 0.5),
            quantile(&gaps, 0.99),
            quantile(&gaps, 1.0),
            tally.again,
            tally.repeats,
            tally.refused,
            tally.unanswered
        );
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

impl Shipped {
    fn start(folder: &Path, addresses: &[String]) -> Self {
        let folder = folder.join("shipped");
        std::fs::create_dir(&folder).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (folder.join("app.log"), stop.clone());
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::File::create(path).unwrap();
            let mut written = 0;
            while !stopped.load(Ordering::SeqCst) {
                writeln!(file, "2026-11-23T10:00:00Z INFO shipped line {written}").unwrap();
                written += 1;
                pace(LINE_PAUSE);
            }
            written
        });
        let shipper = ship(&folder, addresses);
        Self { folder, addresses: addresses.to_vec(), stop, writer, shipper }
    }

    fn kill(&mut self) {
        self.shipper.kill();
        self.shipper = ship(&self.folder, &self.addresses);
    }

    /// Waits until everything is there; how many lines.
    fn finish(self, cluster: &Cluster) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let lines = self.writer.join().unwrap();
        expect_lines(cluster, 0, lines);
        lines
    }
}

fn ship(folder: &Path, addresses: &[String]) -> Process {
    let (state, glob) = (folder.join("state"), folder.join("*.log"));
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let mut args = vec!["--state-dir", state.to_str().unwrap(), "--path", glob.to_str().unwrap()];
    for url in &urls {
        args.extend(["--to", url]);
    }
    Process::start("sawlog-shipper", &args, &folder.join("shipper.words"))
}
