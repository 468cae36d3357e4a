//! Nodes under load of clients and of a shipper, while they are killed, paused, cut off, wiped,
//! damaged, slowed down, stopped, added, drained and removed, often two things at once; at the end
//! every line is counted at every node.

mod faults;
mod members;
mod report;
mod shipped;

use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::clock::Clock;

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disks::SlowDisks;
use crate::links::Links;
use crate::load::Load;
use crate::power::VolatileDisks;
use crate::preload;
use crate::wait::pace;
pub use faults::Fault;
use shipped::{Shipped, expect_lines};

/// Senders over HTTP.
const SENDERS: usize = 6;
/// Of so many faults one comes with another one at a second node.
const TWO_ONE_OF: u64 = 3;
/// Of so many faults the shipper is killed after one.
const SHIPPER_ONE_OF: u64 = 4;
/// Small splits, merged soon; who is silent for a while is not expected back.
const SETTINGS: &str = "partitions = 4\n[index]\nfresh_rows_max = 4000\nfresh_age_max_s = 2\nmerge_fan_in = 4\n[cluster]\ngone_after_s = 6\n";
/// As [`SETTINGS`] say.
const PARTITIONS: usize = 4;
/// The word in what the clients send.
const TAG: &str = "chaos";

/// What the nodes are and what happens to them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Nodes at the beginning: 3 or more. There may be one more for a while.
    pub nodes: usize,
    /// Draws faults, victims and times.
    pub seed: u64,
    /// Whether the splits are in a store that all nodes share; else each keeps copies.
    pub shared: bool,
    /// The longest time a fault lasts.
    pub fault_max: Duration,
    /// The longest time without a fault.
    pub calm_max: Duration,
    /// Is told of each fault.
    pub say: fn(&str),
}

/// How long it goes on.
#[derive(Debug, Clone)]
pub enum Course {
    /// Faults that are drawn, for so long.
    Drawn(Duration),
    /// These faults, one after the other.
    Listed(Vec<Fault>),
}

/// A fault that is over, by the clock of the scene.
#[derive(Debug)]
struct Past {
    fault: Fault,
    from: Duration,
    healed: Duration,
    settled: Duration,
}

/// The nodes, what is sent to them, and what happened.
#[derive(Debug)]
pub struct Scene {
    cluster: Cluster,
    settings: Settings,
    /// The numbers of the nodes that belong to the cluster, running or not.
    members: Vec<usize>,
    /// The id of the node that is about to be removed.
    leaving: String,
    links: Links,
    disks: SlowDisks,
    power: VolatileDisks,
    chance: Chance,
    clock: Clock,
    past: Vec<Past>,
    load: Option<Load>,
    shipped: Option<Shipped>,
}

impl Scene {
    /// Nodes that do not run yet.
    ///
    /// # Panics
    /// Their folders cannot be made.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let shared = settings.shared;
        let store = |folder: &Path, _: usize| match shared {
            true => vec!["--store".to_owned(), format!("file://{}", store_of(folder).display())],
            false => Vec::new(),
        };
        // One place more, for who joins.
        let (mut cluster, links) = Cluster::wired(settings.nodes + 1, SETTINGS, store);
        let folder = cluster.folder.path().to_owned();
        let (disks, power) = (SlowDisks::new(&folder), VolatileDisks::new(&folder));
        for at in 0..=settings.nodes {
            cluster.through(at, preload::command(&[disks.preload(at), power.preload(at)]));
        }
        Self {
            cluster,
            members: (0..settings.nodes).collect(),
            leaving: String::new(),
            links,
            disks,
            power,
            chance: Chance::new(settings.seed),
            clock: Clock::system(),
            past: Vec::new(),
            load: None,
            shipped: None,
            settings,
        }
    }

    /// Runs to the end and gives the report.
    ///
    /// # Panics
    /// Anything is not as it should be.
    #[must_use]
    pub fn run(&mut self, course: &Course) -> String {
        self.begin_all();
        match course {
            Course::Drawn(lasts) => {
                let until = self.clock.elapsed() + *lasts;
                while self.clock.elapsed() < until {
                    let fault = faults::draw(&mut self.chance, self.settings.shared);
                    self.happen(fault);
                }
            }
            Course::Listed(faults) => faults.iter().for_each(|fault| self.happen(*fault)),
        }
        let tally = self.load.take().expect("the load runs").end();
        let shipped = self.shipped.take().expect("the shipper runs");
        let lines = shipped.finish(&self.cluster, self.members[0]);
        self.cluster.settled();
        self.cluster.expect(&tally);
        self.members.iter().for_each(|number| expect_lines(&self.cluster, *number, lines));
        let report = self.told(&tally, lines);
        self.members.iter().for_each(|number| self.cluster.stop(*number));
        report
    }

    /// How many faults there were.
    #[must_use]
    pub fn fault_count(&self) -> usize {
        self.past.len()
    }

    /// Lets states and words of the nodes stay where they are, and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.cluster.folder.disable_cleanup(true);
        self.cluster.folder.path().to_owned()
    }

    fn begin_all(&mut self) {
        for number in self.members.clone() {
            self.cluster.begin(number);
            if number == 0 {
                self.ready(0);
            }
        }
        self.cluster.settled();
        let addresses = self.cluster.addresses();
        let load = Load::start(&addresses, TAG, SENDERS);
        load.avoid(self.settings.nodes);
        self.load = Some(load);
        self.shipped = Some(Shipped::start(self.cluster.folder.path(), &addresses));
    }

    /// Where the store is that all share.
    fn store(&self) -> PathBuf {
        store_of(self.cluster.folder.path())
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("the load runs")
    }

    /// A fault comes after a while of calm, perhaps with a second one, and goes.
    fn happen(&mut self, fault: Fault) {
        self.load().more(100);
        pace(self.drawn(self.settings.calm_max));
        let (fault, victim) = self.possible(fault);
        let mut faults = vec![(fault, victim)];
        if fault.bears_another() && self.chance.below(TWO_ONE_OF) == 0 {
            let others: Vec<usize> =
                self.members.iter().copied().filter(|other| *other != victim).collect();
            let other = *self.chance.one_of(&others);
            faults.push((faults::draw_beside(&mut self.chance), other));
        }
        let (from, mut lasted) = (self.clock.elapsed(), Vec::new());
        for (fault, victim) in &faults {
            let lasts = self.drawn(self.settings.fault_max);
            let at = self.clock.elapsed().as_secs_f64();
            (self.settings.say)(&format!(
                "{at:>6.1} s  node {victim}: {}, {lasts:.1?}",
                fault.words()
            ));
            self.begin(*fault, *victim);
            lasted.push(lasts);
            pace(lasts / 2);
        }
        // The first one ends first: what it did to the others meets the second one.
        for ((fault, victim), lasts) in faults.iter().zip(lasted) {
            pace(lasts / 2);
            self.heal(*fault, *victim);
        }
        if self.chance.below(SHIPPER_ONE_OF) == 0
            && let Some(shipped) = &mut self.shipped
        {
            shipped.kill();
        }
        let healed = self.clock.elapsed();
        self.cluster.settled();
        let settled = self.clock.elapsed();
        let over = |(fault, _): &(Fault, usize)| Past { fault: *fault, from, healed, settled };
        self.past.extend(faults.iter().map(over));
    }

    /// A time up to that.
    fn drawn(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.chance.below(most.max(1)))
    }
}

fn store_of(folder: &Path) -> PathBuf {
    folder.join("store")
}
