//! New settings for a shipper that runs: every file keeps its place.

use std::sync::Arc;

use platform::shutdown::Shutdown;
use tokio::sync::Semaphore;

use super::begin::OpenMax;
use super::context::Context;
use super::{Shipper, WALK_DELAY};
use crate::config::{self, Config, ConfigError};
use crate::discover::Patterns;
use crate::pack::Workbenches;
use crate::recipe::Recipe;
use crate::send::{Target, TargetError};

/// Settings that were checked and compiled.
pub(crate) struct Compiled {
    pub(super) config: Config,
    pub(super) patterns: Arc<Patterns>,
    pub(super) recipes: Vec<Arc<Recipe>>,
}

impl Compiled {
    /// Compiles settings.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting cannot be.
    pub(crate) fn of(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let (patterns, recipes) = (Arc::new(config.patterns()?), config.recipes()?);
        Ok(Self { config, patterns, recipes })
    }
}

impl Shipper {
    /// Goes on with other settings, and says so.
    pub(super) fn reload(&mut self, new: Compiled) {
        match self.renew(new) {
            Ok(()) => tracing::info!("the new settings hold"),
            Err(error) => tracing::error!(%error, "the new settings are not taken"),
        }
    }

    /// The same. Turns under way end with the old ones; the state directory and the registry of figures
    /// stay.
    ///
    /// # Errors
    /// The connection cannot be made as they say.
    pub(super) fn renew(&mut self, new: Compiled) -> Result<(), TargetError> {
        let old = &self.context;
        let target = Target::new(&new.config, old.clock.clone(), old.metrics.clone())?;
        old.stop.trigger();
        self.context = Arc::new(Context {
            config: new.config,
            host: config::host(),
            target,
            board: old.board.clone(),
            metrics: old.metrics.clone(),
            clock: old.clock.clone(),
            shutdown: old.shutdown.clone(),
            stop: Shutdown::default(),
            packers: Semaphore::new(super::PACKERS_MAX),
            workbenches: Workbenches::default(),
            store: old.store.clone(),
        });
        self.open_max = OpenMax::of_process(&self.context.config);
        self.context.board.patterns(new.patterns.texts());
        (self.patterns, self.recipes) = (new.patterns, new.recipes);
        for key in self.table.keys() {
            self.settle(key);
        }
        self.settle_feeds();
        self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
        Ok(())
    }

    /// A file gets the recipe it has by the new settings, or is let go: then its checkpoint
    /// waits for a pattern that names it again.
    fn settle(&mut self, key: super::Key) {
        let Some(file) = self.table.get(key) else { return };
        let (source, path) = (file.checkpoint.source.clone(), file.path.clone());
        let source = std::path::Path::new(&source);
        if !self.patterns.matches(source) && !self.patterns.matches(&path) {
            self.let_go(key, false);
            return;
        }
        let recipe = self.recipe(source, &path);
        let Some(file) = self.table.get_mut(key) else { return };
        (file.recipe, file.gathers_since, file.paused_until) = (recipe, None, None);
        if let Some(hand) = &mut file.hand {
            hand.forget_origin();
        }
        self.wake(key);
    }
}
