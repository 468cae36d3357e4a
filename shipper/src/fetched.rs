//! Settings that the cluster keeps for its shippers: fetched, watched, and kept on disk, so that a
//! shipper starts with the last ones it could use while no node answers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::wire::ShipperSettings;
use platform::clock::Clock;
use platform::disk;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::send::Target;
use crate::settings::{Settings, SettingsError};

/// Where the last ones that could be used are kept, in the state directory.
const FILE: &str = "settings.json";
/// Pause after nobody answered; doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The settings of the cluster, as far as they are known here.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
    clock: Clock,
    /// Those that hold.
    held: ShipperSettings,
    /// The version that was seen last, whether it can be used or not.
    seen: Option<u64>,
    pause: Duration,
}

impl Fetched {
    /// Those that were kept in that state directory. What is damaged is fetched again.
    #[must_use]
    pub fn kept(state_dir: &Path, clock: Clock) -> Self {
        let path = state_dir.join(FILE);
        let read = std::fs::read(&path);
        let held: Option<ShipperSettings> = match &read {
            Ok(bytes) => serde_json::from_slice(bytes).ok(),
            Err(_) => None,
        };
        if held.is_none() && read.is_ok() {
            tracing::warn!(file = %path.display(), "damaged: the cluster is asked for its settings");
        }
        let held = held.unwrap_or_default();
        let seen = (held.version > 0).then_some(held.version);
        Self { path, clock, held, seen, pause: PAUSE_MIN }
    }

    /// Local settings, and behind them what the cluster says.
    ///
    /// # Errors
    /// What the cluster says cannot be used.
    pub fn over(&self, local: Settings) -> Result<Settings, SettingsError> {
        over(&self.held, local)
    }

    /// Another version, when there is one. Waits for it; nodes that do not answer are asked again.
    pub async fn next(&mut self, config: &Config) -> ShipperSettings {
        loop {
            match self.ask(config).await {
                Ok(Some(other)) => {
                    self.pause = PAUSE_MIN;
                    self.seen = Some(other.version);
                    // Nobody has written any: nothing changes until somebody does.
                    if other.version > 0 {
                        return other;
                    }
                }
                Ok(None) => self.pause = PAUSE_MIN,
                Err(why) => {
                    tracing::debug!(why, "the cluster cannot be asked for settings");
                    self.clock.sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn ask(&self, config: &Config) -> Result<Option<ShipperSettings>, String> {
        let target = Target::new(config, self.clock.clone(), Metrics::default())
            .map_err(|error| error.to_string())?;
        target.settings(self.seen).await
    }

    /// What a document in a file would make of a server that has no settings of its own.
    ///
    /// # Errors
    /// The file cannot be read, or what it says cannot be used.
    pub fn check(path: &Path) -> Result<Config, SettingsError> {
        let settings = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let local = Settings {
            to: vec!["http://localhost".to_owned()],
            state_dir: Some(PathBuf::from("/")),
            settings_from_cluster: true,
            ..Settings::default()
        };
        let document = ShipperSettings { settings, ..ShipperSettings::default() };
        let wrong = |message| SettingsError::Syntax { path: path.to_owned(), message };
        match over(&document, local) {
            Ok(settings) => settings.config(),
            Err(SettingsError::Fetched { why, .. }) => Err(wrong(why)),
            Err(error) => Err(error),
        }
    }

    /// Those settings over the local ones, if they can be used.
    ///
    /// # Errors
    /// What cannot be.
    pub fn tried(other: &ShipperSettings, local: Settings) -> Result<Settings, SettingsError> {
        let is_sound = local.clone().config().is_ok();
        let settings = over(other, local)?;
        match settings.clone().config() {
            // Without the cluster's all was well.
            Err(error) if is_sound => {
                Err(SettingsError::Together { version: other.version, source: Box::new(error) })
            }
            tried => tried.map(|_| settings),
        }
    }

    /// They hold from now on, and after a restart.
    pub fn hold(&mut self, other: ShipperSettings) {
        if let Err(error) = self.keep(&other) {
            tracing::warn!(%error, file = %self.path.display(), "the settings cannot be kept");
        }
        self.held = other;
    }

    fn keep(&self, settings: &ShipperSettings) -> io::Result<()> {
        let bytes = serde_json::to_vec(settings).map_err(io::Error::other)?;
        disk::write_atomically(&self.path, &bytes)
    }
}

fn over(other: &ShipperSettings, mut local: Settings) -> Result<Settings, SettingsError> {
    let version = other.version;
    let wrong = |why: String| SettingsError::Fetched { version, why };
    let theirs = Settings::parse(&other.settings).map_err(|error| wrong(error.to_string()))?;
    let own = !theirs.to.is_empty()
        || theirs.state_dir.is_some()
        || theirs.token_file.is_some()
        || theirs.metrics_listen.is_some()
        || theirs.settings_from_cluster
        || theirs.tls != crate::Tls::default();
    if own {
        let own = "to, state_dir, token_file, tls, metrics_listen and settings_from_cluster are the \
                   server's own";
        return Err(wrong(own.to_owned()));
    }
    local.files.extend(theirs.files);
    local.journal.extend(theirs.journal);
    local.syslog.extend(theirs.syslog);
    for (name, value) in theirs.labels {
        local.labels.entry(name).or_insert(value);
    }
    local.balance = local.balance.or(theirs.balance);
    local.http_version = local.http_version.or(theirs.http_version);
    local.compression = local.compression.or(theirs.compression);
    local.batch_age_ms = local.batch_age_ms.or(theirs.batch_age_ms);
    local.index = local.index.or(theirs.index);
    local.start_at = local.start_at.or(theirs.start_at);
    local.time_zone = local.time_zone.or(theirs.time_zone);
    local.partial_after_s = local.partial_after_s.or(theirs.partial_after_s);
    local.deleted_hold_s = local.deleted_hold_s.or(theirs.deleted_hold_s);
    local.cut_after_s = local.cut_after_s.or(theirs.cut_after_s);
    local.forget_after_days = local.forget_after_days.or(theirs.forget_after_days);
    Ok(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u64, settings: &str) -> ShipperSettings {
        ShipperSettings { version, settings: settings.to_owned(), changed: None }
    }

    fn local() -> Settings {
        Settings::parse(
            "to = [\"http://n:1\"]\nstate_dir = \"/s\"\nsettings_from_cluster = true\nindex = \"a\"\n",
        )
        .unwrap()
    }

    #[test]
    fn what_the_cluster_says_stands_behind_what_the_server_says() {
        let theirs = "index = \"b\"\nbatch_age_ms = 7\ntime_zone = \"UTC\"\n[labels]\nteam = \"x\"\n\
                      [[files]]\npaths = [\"/a\"]\n";
        let settings = Fetched::tried(&version(1, theirs), local()).unwrap();
        assert_eq!((settings.index.as_deref(), settings.files.len()), (Some("a"), 1));
        assert_eq!((settings.labels["team"].as_str(), settings.batch_age_ms), ("x", Some(7)));
        for (theirs, word) in [
            ("to = [\"http://elsewhere\"]", "own"),
            ("nonsense = 1", "nonsense"),
            ("[[files]]\npaths = [\"/a[\"]", "a["),
        ] {
            let error = Fetched::tried(&version(2, theirs), local()).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let words = format!("{error} {}", cause.unwrap_or_default());
            assert!(words.contains(word) && words.contains("version 2"), "{words}");
        }
        // Before anything is fetched there may be nothing to ship.
        assert!(local().config().is_ok());
    }

    #[test]
    fn a_document_is_tried_before_the_cluster_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.toml");
        let check = |text: &str| {
            disk::write_atomically(&path, text.as_bytes()).unwrap();
            Fetched::check(&path).map(|config| config.files.len())
        };
        assert_eq!(check("[[files]]\npaths = [\"/a\"]\n").ok(), Some(1));
        assert_eq!(check("batch_age_ms = 100\n").ok(), Some(0));
        for (text, word) in [
            ("state_dir = \"/s\"\n", "the server's own"),
            ("[[files]]\npath = [\"/a\"]\n", "unknown field `path`"),
            ("[[files]]\npaths = [\"/a[\"]\n", "a["),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("version"), "{error}");
        }
        assert!(Fetched::check(&folder.path().join("none")).is_err());
    }

    #[test]
    fn the_last_good_ones_survive_a_restart_and_damage_does_not_stop_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || Fetched::kept(folder.path(), Clock::system());
        assert_eq!(kept().held.version, 0);
        kept().hold(version(3, "index = \"c\""));
        assert_eq!((kept().held.version, kept().seen), (3, Some(3)));
        disk::write_atomically(&folder.path().join(FILE), b"{\"ver").unwrap();
        assert_eq!((kept().held.version, kept().seen), (0, None));
    }
}
