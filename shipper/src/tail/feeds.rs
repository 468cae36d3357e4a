//! Sources that are no files run beside the turns; their spools are followed like other files.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use platform::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::reload::Compiled;
use super::{Done, Shipper, Wish};
use crate::config::{Config, Until};
use crate::feed::{self, Feed, FeedError, Input, Post};
use crate::recipe::Delimiting;
use crate::status::Acknowledged;

/// A feed that failed is started again after that.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// The feeds that run, and those that need not run again.
pub(super) struct Feeds {
    running: HashMap<String, Running>,
    ended: HashSet<String>,
    wishes: mpsc::Sender<Wish>,
    /// Those that failed and wait to be started again.
    resting: HashSet<String>,
    /// All there was to ship has failed.
    pub(super) failed: bool,
    /// A feed ended: what it wrote last may not be found yet.
    pub(super) unseen: bool,
}

struct Running {
    feed: Feed,
    stop: Shutdown,
}

impl Feeds {
    pub(super) fn new(wishes: mpsc::Sender<Wish>) -> Self {
        Self {
            running: HashMap::new(),
            ended: HashSet::new(),
            resting: HashSet::new(),
            wishes,
            failed: false,
            unseen: false,
        }
    }

    /// Whether all have ended, and what they wrote is found.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.resting.is_empty() && !self.unseen
    }

    /// Tells all to stop.
    pub(super) fn stop(&self) {
        self.running.values().for_each(|running| running.stop.trigger());
    }
}

impl Shipper {
    /// Starts those that the settings want, and stops those they do not want as they are.
    pub(super) fn settle_feeds(&mut self) {
        let wanted = self.context.config.feeds.clone();
        for running in self.feeds.running.values() {
            if !wanted.contains(&running.feed) {
                running.stop.trigger();
            }
        }
        for feed in wanted {
            let name = feed.name();
            let idle = self.feeds.running.contains_key(&name)
                || self.feeds.ended.contains(&name)
                || self.feeds.resting.contains(&name);
            if !idle && !self.context.shutdown.is_triggered() {
                self.start_feed(name, feed);
            }
        }
    }

    fn start_feed(&mut self, name: String, feed: Feed) {
        let config = &self.context.config;
        let Ok(delimiting) = Delimiting::of(&feed.how) else { return };
        let stop = Shutdown::default();
        let post = Post {
            folder: feed.folder(&config.state_dir),
            board: self.context.board.clone(),
            metrics: self.context.metrics.clone(),
            wishes: self.feeds.wishes.clone(),
            clock: self.context.clock.clone(),
            stop: stop.clone(),
            until: config.until,
            start_at: feed.how.start_at.unwrap_or(config.start_at),
            delimiting,
        };
        self.feeds.running.insert(name.clone(), Running { feed: feed.clone(), stop });
        self.tasks.spawn(async move { Done::Feed { name, result: feed::run(feed, post).await } });
    }

    pub(super) fn feed_ended(&mut self, name: String, result: Result<(), FeedError>) {
        let Some(Running { feed, stop }) = self.feeds.running.remove(&name) else { return };
        self.feeds.unseen = true;
        self.schedule.walk_at(Duration::ZERO);
        if let Err(error) = result {
            self.feed_failed(name, &error);
        } else if !stop.is_triggered() {
            self.feeds.ended.insert(name);
            if matches!(feed.input, Input::Stdin) && self.context.config.until == Until::Fed {
                self.finish_up();
            }
        }
        self.settle_feeds();
    }

    fn feed_failed(&mut self, name: String, error: &FeedError) {
        let why = chain(error);
        tracing::error!("{why}");
        self.context.board.feed(Some(why.clone()));
        let Config { feeds, files, paths, until, .. } = &self.context.config;
        let alone = feeds.len() == 1 && files.is_empty() && paths.is_empty();
        if alone || *until != Until::Stopped {
            self.unread.push(why);
            self.feeds.failed = alone;
            self.feeds.ended.insert(name);
            return;
        }
        self.feeds.resting.insert(name.clone());
        let (clock, shutdown) = (self.context.clock.clone(), self.context.shutdown.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = clock.sleep(RESTART_PAUSE) => {}
                () = shutdown.wait() => {}
            }
            Done::FeedRested(name)
        });
    }

    pub(super) fn feed_rested(&mut self, name: &str) {
        self.feeds.resting.remove(name);
        self.settle_feeds();
    }

    /// Nothing more comes: what is in the spool is sent, and that is all.
    fn finish_up(&mut self) {
        let config = Config { until: Until::Done, ..self.context.config.clone() };
        let renewed = Compiled::of(config).and_then(|compiled| Ok(self.renew(compiled)?));
        if let Err(error) = renewed {
            tracing::error!(%error, "settings that held do not hold any more");
        }
    }

    /// How far the files of a folder are stored.
    pub(super) fn acknowledged_below(&self, folder: &Path) -> Vec<Acknowledged> {
        let keys = self.table.keys();
        let files = keys.iter().filter_map(|key| self.table.get(*key));
        files
            .filter(|file| file.path.starts_with(folder))
            .map(|file| Acknowledged { path: file.path.clone(), offset: file.checkpoint.offset })
            .collect()
    }

    /// A spool that is never read into again leaves nothing behind.
    pub(super) fn clear_spools(&self) {
        let Config { feeds, state_dir, .. } = &self.context.config;
        for feed in feeds.iter().filter(|feed| matches!(feed.input, Input::Stdin)) {
            feed::clear(&feed.folder(state_dir));
        }
    }
}

/// An error with its causes.
fn chain(error: &FeedError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
