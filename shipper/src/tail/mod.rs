//! Follows files: hears of changes, gives every changed file its turn, keeps the checkpoints.
//!
//! One task owns everything here. A turn (`step`) reads one batch of one file and sends it; one
//! file has one turn at a time, several files have theirs at once, and who has more to send
//! queues up again behind the others. Nothing is read ahead of an acknowledgement, so with a dead
//! target the memory taken is that of the turns waiting for it.

mod absent;
mod begin;
mod between;
mod context;
mod copies;
mod family;
mod feeds;
mod fill;
mod gap;
mod hold;
mod meet;
mod news;
mod packed;
mod passed;
mod quiet;
mod recover;
mod refused;
mod reload;
mod report;
mod rest;
mod save;
mod schedule;
mod step;
mod stream;
mod table;
mod truncated;
mod unseen;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::time::Timestamp;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use self::begin::OpenMax;
use self::between::Between;
use self::context::Context;
use self::family::Family;
use self::feeds::Feeds;
use self::gap::Gaps;
use self::passed::Passed;
use self::recover::{Fate, Vanished};
pub(crate) use self::reload::Compiled;
use self::save::Unsaved;
use self::schedule::Schedule;
use self::step::{Outcome, Turn};
use self::table::{Generation, Kept, Key, Table};
use self::truncated::Copied;
use crate::checkpoint::Store;
use crate::config::{self, Config, ConfigError, Until};
use crate::discover::{Patterns, Seen};
use crate::feed::FeedError;
use crate::metrics::Metrics;
use crate::pack::Workbenches;
use crate::recipe::Recipe;
use crate::send::{Reply, Target};
use crate::status::{Acknowledged, Board, FileStatus, Handle, ShipperError};
use crate::watch::Watch;

/// Files that have a turn at once.
const TURNS_MAX: usize = 8;
/// Turns that read, parse and compress at once; each takes a few megabytes for it.
const PACKERS_MAX: usize = 2;
/// A walk asked for by changes waits that long for more of them.
const WALK_DELAY: Duration = Duration::from_millis(50);
/// Wishes that wait to be granted.
const WISHES_MAX: usize = 16;
/// First pause after a file failed; doubles up to a minute.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// A shipper. [`Shipper::start`] is all there is to it.
pub struct Shipper {
    context: Arc<Context>,
    patterns: Arc<Patterns>,
    /// What is done to the lines of each source of the patterns.
    recipes: Vec<Arc<Recipe>>,
    table: Table,
    watch: Watch,
    schedule: Schedule,
    tasks: JoinSet<Done>,
    wishes: mpsc::Receiver<Wish>,
    gaps: Gaps,
    feeds: Feeds,
    turns: usize,
    looks: usize,
    copied: Copied,
    /// Files open between turns and in them.
    open_files: usize,
    open_max: OpenMax,
    /// Whether files found now were there before this process.
    first_walk: bool,
    /// The generations that were known before it, until what became of them is.
    known_before: HashSet<u64>,
    /// Whether no process ran here before.
    first_run: bool,
    /// Whether the process before could say its last words.
    orderly: bool,
    walking: bool,
    /// When this process began, by the calendar and by the clock that never leaps.
    began: (Timestamp, Duration),
    walk_started: Duration,
    walk_period: Duration,
    saving: bool,
    /// When the node is told next how we fare.
    report_at: Duration,
    reporting: bool,
    unsaved: Unsaved,
    unread: Vec<String>,
    /// Paths to which files were renamed from followed ones, and which those were: a file that
    /// is renamed before we came to look at it is still one of its stream.
    renamed: HashMap<PathBuf, PathBuf>,
    /// When a process before us was last there for sure, nanoseconds since 1970.
    alive_ns: i64,
    /// When what was read from compressed files was last written.
    recovered_ns: i64,
    /// Streams that wait until what came before is read from compressed files.
    held: HashSet<String>,
    passed: Passed,
}

/// What those who hold the handle may want.
pub(crate) enum Wish {
    /// Other settings.
    Reload(Box<Compiled>),
    /// To know how far every file is.
    Look(oneshot::Sender<Vec<FileStatus>>),
    /// To know how far the files of a folder are stored.
    Acknowledged(PathBuf, oneshot::Sender<Vec<Acknowledged>>),
}

enum Done {
    Turn(Box<(Turn, Outcome)>),
    Walk { seen: Vec<Seen>, whole: bool, rotated: Vec<Family> },
    Between { seen: Vec<Seen>, between: Between },
    Copies(Between),
    Passed(Between),
    Save { fresh: Vec<Kept>, result: std::io::Result<()> },
    Gap(Option<Reply>),
    Reported,
    Recovered(Vec<(Vanished, Fate)>),
    Feed { name: String, result: Result<(), FeedError> },
    FeedRested(String),
}

impl Shipper {
    /// Checks the settings, takes the state directory and starts to ship. Must be called inside
    /// a tokio runtime. Ends when `shutdown` is triggered (requests under way get five seconds).
    ///
    /// # Errors
    /// [`ConfigError`] says which setting cannot be.
    pub fn start(config: Config, clock: Clock, shutdown: Shutdown) -> Result<Handle, ConfigError> {
        Self::start_with(config, clock, shutdown, Watch::new())
    }

    fn start_with(
        config: Config,
        clock: Clock,
        shutdown: Shutdown,
        watch: Watch,
    ) -> Result<Handle, ConfigError> {
        let (shipper, wishes) = Self::set_up(config, clock, shutdown, watch)?;
        let board = shipper.context.board.clone();
        Ok(Handle { board, wishes, task: tokio::spawn(shipper.run()) })
    }

    /// One that does nothing yet, and where to wish.
    fn set_up(
        config: Config,
        clock: Clock,
        shutdown: Shutdown,
        watch: Watch,
    ) -> Result<(Self, mpsc::Sender<Wish>), ConfigError> {
        let Compiled { config, patterns, recipes } = Compiled::of(config)?;
        let host = config::host();
        let metrics = Metrics::new(&config.metrics);
        let target = Target::new(&config, clock.clone(), metrics.clone())?;
        let (store, recovered) = Store::open(&config.state_dir)?;
        let board = Board::new(patterns.texts());
        if let Some(complaint) = &recovered.complaint {
            tracing::error!("{complaint}");
            board.checkpoint(Some(complaint.clone()));
        }
        let (began, elapsed) = (clock.now(), clock.elapsed());
        let open_max = OpenMax::of_process(&config);
        let packers = Semaphore::new(PACKERS_MAX);
        let context = Context {
            config,
            host,
            target,
            board,
            metrics,
            clock,
            shutdown,
            stop: Shutdown::default(),
            packers,
            workbenches: Workbenches::default(),
            store: Arc::new(store),
        };
        let (wish, wishes) = mpsc::channel(WISHES_MAX);
        let shipper = Self {
            wishes,
            feeds: Feeds::new(wish.clone()),
            gaps: Gaps::load(context.store.folder()),
            context: Arc::new(context),
            patterns,
            recipes,
            alive_ns: between::alive_ns(&recovered, began),
            recovered_ns: 0,
            held: HashSet::new(),
            passed: Passed::new(began),
            known_before: recovered.checkpoints.iter().map(|known| known.producer).collect(),
            table: Table::new(recovered.checkpoints),
            watch,
            schedule: Schedule::default(),
            tasks: JoinSet::new(),
            turns: 0,
            looks: 0,
            copied: Copied::default(),
            open_files: 0,
            open_max,
            first_walk: true,
            first_run: recovered.first_run,
            orderly: recovered.orderly,
            walking: false,
            began: (began, elapsed),
            walk_started: elapsed,
            walk_period: meet::WALK_PERIOD,
            saving: false,
            report_at: elapsed + report::FIRST,
            reporting: false,
            unsaved: Unsaved::default(),
            unread: Vec::new(),
            renamed: HashMap::new(),
        };
        Ok((shipper, wish))
    }

    async fn run(mut self) -> Result<(), ShipperError> {
        self.schedule.walk_at(Duration::ZERO);
        self.settle_feeds();
        loop {
            self.listen();
            self.act();
            if self.feeds.failed || self.is_done() {
                break;
            }
            let now = self.context.clock.elapsed();
            let pause = self.schedule.pause(now).min(self.report_pause(now));
            tokio::select! {
                () = self.context.shutdown.wait() => break,
                Some(done) = self.tasks.join_next() => self.finish(done?),
                changes = self.watch.next() => self.hear(changes),
                Some(wish) = self.wishes.recv() => self.grant(wish),
                () = self.context.clock.sleep(pause) => {}
            }
        }
        let done = self.is_done();
        self.context.stop.trigger();
        self.feeds.stop();
        while let Some(done) = self.tasks.join_next().await {
            self.finish(done?);
        }
        if done {
            self.clear_spools();
        }
        self.close()
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Reload(new) => self.reload(*new),
            // Who asked may have gone away meanwhile.
            Wish::Look(answer) => drop(answer.send(self.table.status())),
            Wish::Acknowledged(folder, answer) => {
                drop(answer.send(self.acknowledged_below(&folder)));
            }
        }
    }

    /// Saves what is known now; a restart goes on from there.
    fn close(mut self) -> Result<(), ShipperError> {
        let now = self.known_until();
        self.give_up_missed();
        self.keep_gaps();
        self.say_alive(now);
        let (checkpoints, _) = self.table.snapshot(now);
        let store = &self.context.store;
        store.save(&checkpoints).map_err(|source| ShipperError::Checkpoints {
            folder: store.folder().display().to_string(),
            source,
        })?;
        if self.unread.is_empty() {
            Ok(())
        } else {
            Err(ShipperError::Unread(self.unread.join("\n")))
        }
    }

    /// Does what is due: turns, walks, saves.
    fn act(&mut self) {
        let now = self.context.clock.elapsed();
        for key in self.schedule.due(now) {
            self.look_when_due(key);
            self.wake(key);
        }
        self.let_go_overdue(now);
        if self.schedule.walk_due(now) && !self.walking {
            self.walk(self.patterns.roots(), true);
        }
        if self.unsaved.is_any() && self.schedule.save_due(now) && !self.saving {
            self.save();
        }
        self.tell_gaps();
        self.tell_status(now);
        self.look_at_passed();
        // Before turns begin: how they compress depends on it.
        let lag = i64::try_from(self.table.lag_bytes()).unwrap_or(i64::MAX);
        self.context.metrics.lag_bytes.set(lag);
        self.begin();
        self.tell_fill();
        self.context.board.files(self.table.len() as u64, self.table.lag_bytes());
    }

    /// Whether everything is read and acknowledged, for who wants no more.
    fn is_done(&self) -> bool {
        self.context.config.until == Until::Done
            && !self.first_walk
            && !self.walking
            && self.turns == 0
            && self.looks == 0
            && !self.saving
            && self.gaps.is_idle()
            && self.passed.is_idle()
            && self.feeds.is_idle()
            && self.schedule.is_idle()
            && self.table.keys().iter().all(|key| {
                let file = self.table.get(*key);
                file.is_none_or(|file| {
                    let waits = file.paused_until.is_some() || file.missed.is_some();
                    !file.generation.awaits_save() && !waits
                }) || !self.unread.is_empty()
            })
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Turn(ended) => {
                let (turn, outcome) = *ended;
                match turn.look {
                    true => self.looks -= 1,
                    false => self.turns -= 1,
                }
                self.turn_ended(turn, outcome);
            }
            Done::Walk { seen, whole, rotated } => self.walked(seen, whole, rotated),
            Done::Between { seen, between } => self.settled(seen, true, between),
            Done::Copies(between) => self.copies_found(between),
            Done::Passed(between) => self.passed_found(between),
            Done::Save { fresh, result } => self.saved(&fresh, result),
            Done::Gap(reply) => self.told(reply),
            Done::Reported => self.reporting = false,
            Done::Recovered(fates) => self.recovered(fates),
            Done::Feed { name, result } => self.feed_ended(name, result),
            Done::FeedRested(name) => self.feed_rested(&name),
        }
    }

    fn turn_ended(&mut self, turn: Turn, outcome: Outcome) {
        let key = turn.key;
        self.passed.turn_ended(key, &outcome);
        let Some(file) = self.table.get_mut(key) else {
            // It was let go meanwhile.
            self.open_files = self.open_files.saturating_sub(1);
            return;
        };
        let mut hand = turn.hand;
        if !Arc::ptr_eq(&turn.recipe, &file.recipe) {
            hand.forget_origin();
        }
        let bytes = file.size.max(turn.verified);
        let open_max = self.open_max.for_file(turn.checkpoint.offset, bytes);
        if file.present && self.open_files > open_max {
            hand.close();
        }
        if hand.file.is_none() {
            self.open_files = self.open_files.saturating_sub(1);
        }
        let moved = file.checkpoint.offset != turn.checkpoint.offset;
        let renamed = file.present && file.path != turn.path;
        (file.hand, file.stop) = (Some(hand), None);
        file.verified = turn.verified;
        file.checkpoint = turn.checkpoint;
        let mut mended = false;
        if !matches!(outcome, Outcome::Failed(_)) {
            file.failures = 0;
            mended = file.last_error.take().is_some();
        }
        let (size, modified_ns) = (file.size, file.modified_ns);
        let (waits, changed) = (file.waits, file.changed);
        if moved {
            self.moved(key);
        }
        if mended {
            self.context.board.file(self.table.error());
        }
        self.table.measure(key, size, modified_ns);
        self.conclude(key, outcome, waits, renamed);
        if changed {
            self.wake(key);
        }
    }

    /// What a turn's end means for its file; it may wait for another, or have another name by now.
    fn conclude(&mut self, key: Key, outcome: Outcome, waits: bool, renamed: bool) {
        let paused_until = match outcome {
            Outcome::Sent { pause } if !pause.is_zero() => {
                Some(self.context.clock.elapsed().saturating_add(pause))
            }
            _ => None,
        };
        if let Some(file) = self.table.get_mut(key) {
            file.paused_until = paused_until;
            if matches!(outcome, Outcome::Sent { .. } | Outcome::Resting(_)) {
                file.gathers_since = None;
            }
        }
        match outcome {
            Outcome::Sent { .. } | Outcome::Again => match paused_until {
                Some(until) => self.schedule.later(key, until),
                None => self.wake(key),
            },
            Outcome::Resting(rest) if waits => {
                self.table.measure(key, rest.size, rest.modified_ns);
            }
            Outcome::Resting(rest) => self.rested(key, rest),
            Outcome::Looked => {
                if let Some(file) = self.table.get_mut(key) {
                    let kept = file.generation.is_kept();
                    file.generation = if kept { Generation::Outgrown } else { Generation::Seen };
                }
                self.save_soon(key);
            }
            Outcome::Binary => self.binary(key),
            Outcome::Replaced { size } => self.replaced(key, size),
            // Renamed between the start of the turn and its opening the file.
            Outcome::Missing if renamed => self.wake(key),
            // Half of a renaming was heard: the other half or the next walk finds it.
            Outcome::Missing if waits => {
                self.schedule.later(key, self.context.clock.elapsed() + FAILURE_PAUSE);
            }
            Outcome::Missing => self.missing(key),
            Outcome::Failed(why) => self.failed(key, &why),
            // By new settings: it is taken again with them. Or it was held for long enough.
            Outcome::Stopped => {
                self.let_go_if_overdue(key);
                self.wake(key);
            }
        }
    }

    /// Puts a file in the queue of those who want a turn.
    fn wake(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        if file.hand.is_none() {
            file.changed = true;
        } else if !file.queued && !file.binary {
            file.queued = true;
            match file.wants_look() {
                true => self.schedule.push_look(key),
                false => self.schedule.push(key),
            }
            self.open_early(key);
        }
    }
}
