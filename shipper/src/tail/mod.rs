//! Follows files: hears of changes, gives every changed file its turn, keeps the checkpoints.
//!
//! One task owns everything here. A turn (`step`) reads one batch of one file and sends it; one
//! file has one turn at a time, several files have theirs at once, and who has more to send
//! queues up again behind the others. Nothing is read ahead of an acknowledgement, so with a dead
//! target the memory taken is that of the turns waiting for it.

mod meet;
mod schedule;
mod step;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::schedule::Schedule;
use self::step::{Context, Hand, Outcome, Rest, Turn};
use self::table::{Generation, Key, Table};
use crate::checkpoint::{self, Checkpoint, Store};
use crate::config::{self, Config, ConfigError, StartAt, Until};
use crate::discover::{Patterns, Seen};
use crate::metrics::Metrics;
use crate::pack::Workbenches;
use crate::send::Target;
use crate::status::{Board, Handle, ShipperError};
use crate::watch::Watch;

/// Files that have a turn at once.
const TURNS_MAX: usize = 8;
/// Turns that read, parse and compress at once; each takes a few megabytes for it.
const PACKERS_MAX: usize = 2;
/// Files held open that could be opened again by their path.
const OPEN_FILES_MAX: usize = 200;
/// A walk asked for by changes waits that long for more of them.
const WALK_DELAY: Duration = Duration::from_millis(50);
/// Checkpoints are saved that often, less often when there are many.
const SAVE_PERIOD: Duration = Duration::from_secs(1);
/// Files for which a save period is added.
const SAVE_FILES: usize = 2_000;
/// A failed save is tried again after that.
const SAVE_RETRY: Duration = Duration::from_secs(5);
/// A file without a name is looked at that often.
const NAMELESS_PERIOD: Duration = Duration::from_millis(500);
/// A deleted file is let go after that much rest.
const UNLINKED_HOLD: Duration = Duration::from_secs(5);
/// A file moved out of sight is let go after that much rest.
const MOVED_HOLD: Duration = Duration::from_secs(60);
/// First pause after a file failed; doubles up to a minute.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// A shipper. [`Shipper::start`] is all there is to it.
pub struct Shipper {
    context: Arc<Context>,
    patterns: Arc<Patterns>,
    store: Store,
    table: Table,
    watch: Watch,
    schedule: Schedule,
    tasks: JoinSet<Done>,
    turns: usize,
    /// Files open between turns and in them.
    open_files: usize,
    /// Whether files found now were there before we ever ran.
    first_walk: Option<StartAt>,
    walking: bool,
    saving: bool,
    unsaved: bool,
    unread: Vec<String>,
    /// Paths to which files were renamed from followed ones, and which those were: a file that
    /// is renamed before we came to look at it is still one of its stream.
    renamed: HashMap<PathBuf, PathBuf>,
}

enum Done {
    Turn(Box<(Turn, Outcome)>),
    Walk { seen: Vec<Seen>, whole: bool },
    Save { fresh: Vec<Key>, result: std::io::Result<()> },
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
        let patterns = Arc::new(config.patterns()?);
        let zone = config.zone()?;
        let host = config::host();
        config.labels_of(&host, "/")?;
        let metrics = Metrics::new(&config.metrics);
        let target = Target::new(&config.to, config.token.clone(), clock.clone(), metrics.clone())?;
        let (store, recovered) = Store::open(&config.state_dir)?;
        let board = Board::new(&config.paths);
        if let Some(complaint) = recovered.complaint {
            tracing::error!("{complaint}");
            board.checkpoint(Some(complaint));
        }
        let start_at = if recovered.first_run { config.start_at } else { StartAt::Begin };
        let packers = Semaphore::new(PACKERS_MAX);
        let context = Context {
            config,
            host,
            zone,
            target,
            board: board.clone(),
            metrics,
            clock,
            shutdown,
            packers,
            workbenches: Workbenches::default(),
        };
        let shipper = Self {
            context: Arc::new(context),
            patterns,
            store,
            table: Table::new(recovered.checkpoints),
            watch,
            schedule: Schedule::default(),
            tasks: JoinSet::new(),
            turns: 0,
            open_files: 0,
            first_walk: Some(start_at),
            walking: false,
            saving: false,
            unsaved: false,
            unread: Vec::new(),
            renamed: HashMap::new(),
        };
        Ok(Handle { board, task: tokio::spawn(shipper.run()) })
    }

    async fn run(mut self) -> Result<(), ShipperError> {
        self.schedule.walk_at(Duration::ZERO);
        loop {
            self.act();
            if self.is_done() {
                break;
            }
            let pause = self.schedule.pause(self.context.clock.elapsed());
            tokio::select! {
                () = self.context.shutdown.wait() => break,
                Some(done) = self.tasks.join_next() => self.finish(done?),
                changes = self.watch.next() => self.hear(changes),
                () = self.context.clock.sleep(pause) => {}
            }
        }
        while let Some(done) = self.tasks.join_next().await {
            self.finish(done?);
        }
        self.close()
    }

    /// Saves what is known now; a restart goes on from there.
    fn close(mut self) -> Result<(), ShipperError> {
        let (checkpoints, _) = self.table.snapshot(self.context.clock.now());
        checkpoint::save(self.store.folder(), &checkpoints).map_err(|source| {
            ShipperError::Checkpoints { folder: self.store.folder().display().to_string(), source }
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
            self.wake(key);
        }
        if self.schedule.walk_due(now) && !self.walking {
            self.walk(self.patterns.roots(), true);
        }
        if self.unsaved && self.schedule.save_due(now) && !self.saving {
            self.save();
        }
        while self.turns < TURNS_MAX
            && let Some(key) = self.schedule.next()
        {
            self.start_turn(key);
        }
        self.context.metrics.open_files.set(i64::try_from(self.open_files).unwrap_or(i64::MAX));
        let lag = i64::try_from(self.table.lag_bytes()).unwrap_or(i64::MAX);
        self.context.metrics.lag_bytes.set(lag);
        self.context.board.files(self.table.len() as u64, self.table.lag_bytes());
    }

    /// Whether everything is read and acknowledged, for who wants no more.
    fn is_done(&self) -> bool {
        self.context.config.until == Until::Done
            && self.first_walk.is_none()
            && !self.walking
            && self.turns == 0
            && !self.saving
            && self.schedule.is_idle()
            && self.table.keys().iter().all(|key| {
                self.table.get(*key).is_none_or(|file| file.generation != Generation::Seen)
                    || !self.unread.is_empty()
            })
    }

    fn start_turn(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        file.queued = false;
        if file.waits || file.binary || file.generation == Generation::Seen {
            return;
        }
        let Some(hand) = file.hand.take() else {
            file.changed = true;
            return;
        };
        file.changed = false;
        if hand.file.is_none() {
            self.open_files += 1;
        }
        let turn = Turn {
            key,
            path: file.path.clone(),
            checkpoint: file.checkpoint.clone(),
            generation: file.generation,
            hand,
        };
        let context = self.context.clone();
        self.turns += 1;
        self.tasks.spawn(async move { Done::Turn(Box::new(step::take(context, turn).await)) });
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Turn(ended) => {
                self.turns -= 1;
                let (turn, outcome) = *ended;
                self.turn_ended(turn, outcome);
            }
            Done::Walk { seen, whole } => self.walked(seen, whole),
            Done::Save { fresh, result } => self.saved(&fresh, result),
        }
    }

    fn turn_ended(&mut self, turn: Turn, outcome: Outcome) {
        let key = turn.key;
        let resting = matches!(outcome, Outcome::Resting(_) | Outcome::Looked | Outcome::Binary);
        let Some(file) = self.table.get_mut(key) else { return };
        let mut hand = turn.hand;
        if resting && file.present && self.open_files > OPEN_FILES_MAX {
            hand.file = None;
        }
        if hand.file.is_none() {
            self.open_files = self.open_files.saturating_sub(1);
        }
        let moved = file.checkpoint.offset != turn.checkpoint.offset;
        let renamed = file.present && file.path != turn.path;
        file.hand = Some(hand);
        file.checkpoint = turn.checkpoint;
        if !matches!(outcome, Outcome::Failed(_)) {
            file.failures = 0;
        }
        let (size, modified_ns, changed) = (file.size, file.modified_ns, file.changed);
        if moved {
            self.changed_checkpoints();
        }
        self.table.measure(key, size, modified_ns);
        match outcome {
            Outcome::Sent | Outcome::Again => self.wake(key),
            Outcome::Resting(rest) => self.rested(key, rest),
            Outcome::Looked => {
                if let Some(file) = self.table.get_mut(key) {
                    file.generation = Generation::Seen;
                }
                self.unsaved = true;
                self.schedule.save_at(Duration::ZERO);
            }
            Outcome::Binary => self.binary(key),
            Outcome::Replaced { size } => self.replaced(key, size),
            // Renamed between the start of the turn and its opening the file.
            Outcome::Missing if renamed => self.wake(key),
            Outcome::Missing => self.missing(key),
            Outcome::Failed(why) => self.failed(key, &why),
            Outcome::Stopped => {}
        }
        if changed {
            self.wake(key);
        }
    }

    /// Puts a file in the queue of those who want a turn.
    fn wake(&mut self, key: Key) {
        let Some(file) = self.table.get_mut(key) else { return };
        if file.hand.is_none() {
            file.changed = true;
        } else if !file.queued && !file.binary {
            file.queued = true;
            self.schedule.push(key);
        }
    }

    /// A file is read to its end: lets the next one of its stream begin, and looks again when
    /// its last line may count, or when a nameless file is to be let go.
    fn rested(&mut self, key: Key, rest: Rest) {
        self.table.measure(key, rest.size, rest.modified_ns);
        self.release(key);
        let (now, since) = (self.context.clock.now(), self.context.clock.elapsed());
        let quiet = now.0.saturating_sub(rest.modified_ns);
        let quiet = Duration::from_nanos(u64::try_from(quiet).unwrap_or(0));
        let Some(file) = self.table.get(key) else { return };
        let once = self.context.config.until == Until::Done;
        if rest.unlinked || !file.present {
            let hold = if rest.unlinked { UNLINKED_HOLD } else { MOVED_HOLD };
            if rest.partial_bytes == 0 && (quiet >= hold || once) {
                self.let_go(key, rest.unlinked);
            } else {
                self.schedule.later(key, since + NAMELESS_PERIOD);
            }
        } else if rest.partial_bytes > 0 && !once {
            let left = self.context.config.partial_after.saturating_sub(quiet);
            self.schedule.later(key, since + left.max(NAMELESS_PERIOD));
        }
    }

    /// The next file of the same stream may begin.
    fn release(&mut self, key: Key) {
        let next = self.table.get_mut(key).and_then(|file| file.next.take());
        self.release_next(next);
    }

    fn release_next(&mut self, next: Option<Key>) {
        if let Some(next) = next
            && let Some(file) = self.table.get_mut(next)
        {
            file.waits = false;
            self.wake(next);
        }
    }

    fn let_go(&mut self, key: Key, forgotten: bool) {
        if let Some(file) = self.table.remove(key, forgotten) {
            if file.hand.is_some_and(|hand| hand.file.is_some()) {
                self.open_files = self.open_files.saturating_sub(1);
            }
            self.release_next(file.next);
            self.changed_checkpoints();
        }
    }

    fn binary(&mut self, key: Key) {
        self.release(key);
        let Some(file) = self.table.get_mut(key) else { return };
        tracing::warn!(file = %file.path.display(), "this is no text: not read");
        file.binary = true;
        if let Some(hand) = &mut file.hand
            && hand.file.take().is_some()
        {
            self.open_files = self.open_files.saturating_sub(1);
        }
        let (size, modified_ns) = (file.size, file.modified_ns);
        self.table.measure(key, size, modified_ns);
    }

    /// The file has another content now: a new generation, read from its beginning.
    fn replaced(&mut self, key: Key, size: u64) {
        let Some(file) = self.table.get_mut(key) else { return };
        let unread = file.size.saturating_sub(file.checkpoint.offset);
        tracing::info!(file = %file.path.display(), offset = file.checkpoint.offset, size,
            "truncated or written anew: reading from the beginning");
        if unread > 0 {
            self.context.metrics.lost_bytes.inc_by(unread);
            tracing::warn!(file = %file.path.display(), from = file.checkpoint.offset, to = file.size,
                "truncated before it was read to its end");
        }
        file.checkpoint = new_generation(file.checkpoint.clone());
        file.generation = Generation::Unseen { start: 0, look: false };
        let open = file.hand.take().and_then(|hand| hand.file);
        let mut hand = Hand::at(0);
        hand.file = open;
        file.hand = Some(hand);
        self.table.measure(key, size, 0);
        self.wake(key);
    }

    /// The path names it no more. If it is not gone it will be found by its inode.
    fn missing(&mut self, key: Key) {
        let Some(file) = self.table.get(key) else { return };
        let (path, from, to) = (file.path.clone(), file.checkpoint.offset, file.size);
        if file.present && to > from {
            tracing::warn!(file = %path.display(), from, to, "gone before it was read to its end");
        }
        self.let_go(key, false);
        if let Some(seen) = Seen::at(&path, self.patterns.matches(&path)) {
            self.consider(&seen);
        } else {
            self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
        }
    }

    fn failed(&mut self, key: Key, why: &str) {
        self.release(key);
        let Some(file) = self.table.get_mut(key) else { return };
        if file.failures == 0 {
            tracing::warn!(why, "cannot ship the file, will try again");
        }
        file.failures = file.failures.saturating_add(1);
        let pause = FAILURE_PAUSE * (1 << file.failures.min(7));
        self.context.board.file(Some(why.to_owned()));
        if self.context.config.until == Until::Done {
            self.unread.push(why.to_owned());
        } else {
            self.schedule.later(key, self.context.clock.elapsed() + pause);
        }
    }

    fn changed_checkpoints(&mut self) {
        if !self.unsaved {
            self.unsaved = true;
            let periods = u32::try_from(1 + self.table.len() / SAVE_FILES).unwrap_or(u32::MAX);
            let period = SAVE_PERIOD.saturating_mul(periods);
            self.schedule.save_at(self.context.clock.elapsed() + period);
        }
    }

    fn save(&mut self) {
        let (checkpoints, fresh) = self.table.snapshot(self.context.clock.now());
        let folder = self.store.folder().to_owned();
        self.saving = true;
        self.unsaved = false;
        self.schedule.saving();
        self.tasks.spawn(async move {
            let saved =
                tokio::task::spawn_blocking(move || checkpoint::save(&folder, &checkpoints)).await;
            let result = saved.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            Done::Save { fresh, result }
        });
    }

    fn saved(&mut self, fresh: &[Key], result: std::io::Result<()>) {
        self.saving = false;
        if let Err(error) = result {
            let folder = self.store.folder().display();
            let why = format!("cannot save checkpoints in {folder}: {error}; new files wait");
            tracing::warn!("{why}");
            if self.context.config.until == Until::Done {
                self.unread.push(why.clone());
            }
            self.context.board.checkpoint(Some(why));
            self.unsaved = true;
            self.schedule.save_again(self.context.clock.elapsed() + SAVE_RETRY);
            return;
        }
        self.context.board.checkpoint(None);
        for key in fresh {
            if let Some(file) = self.table.get_mut(*key)
                && file.generation == Generation::Seen
            {
                file.generation = Generation::Saved;
                self.wake(*key);
            }
        }
    }
}

fn new_generation(of: Checkpoint) -> Checkpoint {
    let fingerprint = crate::identity::Fingerprint::default();
    Checkpoint { producer: platform::random::u64(), fingerprint, offset: 0, ..of }
}
