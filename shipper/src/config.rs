//! What a shipper is told: checked once, then immutable.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::stream::{IndexName, IndexNameError, Labels, LabelsError};

use crate::checkpoint::StoreError;
use crate::discover::{PatternError, Patterns};
use crate::effort::Compression;
use crate::feed::{Feed, SyslogError};
use crate::files::Files;
use crate::parse::ZoneError;
use crate::recipe::Recipe;
use crate::send::{Balance, HttpVersion, TargetError, Tls};

/// A day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where a file is begun that was there before the shipper first ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At its beginning.
    #[default]
    Begin,
    /// At its end: only what comes from now on. Files made later are read from their beginning.
    End,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// When asked to.
    #[default]
    Stopped,
    /// When everything that is there is read and acknowledged.
    Done,
    /// When standard input has ended, and everything is acknowledged.
    Fed,
}

/// Settings of a shipper. Complete; begin with [`Config::new`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses of nodes (`http://host:port`).
    pub to: Vec<String>,
    /// Bearer token, when the nodes want one.
    pub token: Option<String>,
    /// File with the token, in place of `token`; read again when it changes.
    pub token_file: Option<PathBuf>,
    /// How batches are shared out among several nodes.
    pub balance: Balance,
    /// Certificates, for addresses that begin with `https`.
    pub tls: Tls,
    /// Which HTTP is spoken with them.
    pub http_version: HttpVersion,
    /// How hard batches are compressed.
    pub compression: Compression,
    /// How long less than a whole batch waits for more.
    pub batch_age: Duration,
    /// Where checkpoints are kept; one process at a time.
    pub state_dir: PathBuf,
    /// Files to follow: paths with `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any depth.
    pub paths: Vec<String>,
    /// Files not to follow, in the same form.
    pub excludes: Vec<String>,
    /// More sources, each with settings of its own. A file belongs to the first whose patterns
    /// name it; `paths` above come last.
    pub files: Vec<Files>,
    /// Sources that are no files.
    pub feeds: Vec<Feed>,
    /// Sources are fetched: there may be none yet.
    pub fetches: bool,
    /// Labels of every stream, beside `host`, `source` and `service` (which they may replace).
    pub labels: Vec<(String, String)>,
    /// The index all records go to.
    pub index: IndexName,
    /// Where files begin at the very first run.
    pub start_at: StartAt,
    /// The zone of times that state none; the machine's unless set.
    pub time_zone: Option<String>,
    /// When to stop.
    pub until: Until,
    /// How long a file must rest before its last line counts without a newline.
    pub partial_after: Duration,
    /// How long a deleted file that is not read to its end is held open.
    pub deleted_hold: Duration,
    /// How long a record that is refused is tried as it is, before less of it is sent.
    pub cut_after: Duration,
    /// How long the place in a file that is not found is remembered.
    pub forget_after: Duration,
    /// Where the shipper's figures are registered.
    pub metrics: platform::telemetry::Metrics,
}

/// Why a shipper cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Nothing to follow.
    #[error("no files to follow: give at least one --path, or a source in the settings file")]
    NoPaths,
    /// The labels cannot name a stream.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// The index cannot be one.
    #[error(transparent)]
    Index(#[from] IndexNameError),
    /// A regular expression or dissect pattern is none.
    #[error(transparent)]
    Expression(#[from] crate::parse::PatternError),
    /// No such encoding.
    #[error("encoding {0:?} is not known: give one of the names browsers know, such as utf-16le")]
    Encoding(String),
    /// The formats `regex` and `dissect` need one.
    #[error("the formats regex and dissect need a pattern")]
    NoPattern,
    /// Only they have one.
    #[error("only the formats regex and dissect have a pattern")]
    NeedlessPattern,
    /// What is wrong with one source.
    #[error("{at}: {what}")]
    Source {
        /// Which one, and where it stands.
        at: String,
        /// What, with its causes.
        what: String,
    },
    /// A source of files that names none.
    #[error("no paths: name the files it reads, as paths = [\"/var/log/app/*.log\"]")]
    SourceWithoutPaths,
    /// A path of nothing.
    #[error("a path is empty: write the files it stands for, or leave it out")]
    EmptyPath,
    /// Nothing ends a line.
    #[error("delimiter is empty: give the bytes that end a line, or leave it out for newlines")]
    NoDelimiter,
    /// Nothing would ever be read.
    #[error("bytes_per_second is at least 1: to read nothing of a source, take it out")]
    NoBytes,
    /// A source that is no file cannot be.
    #[error("{0}")]
    Feed(String),
    /// A listener cannot be.
    #[error(transparent)]
    Syslog(#[from] SyslogError),
    /// A rule cannot be.
    #[error("a rule cannot be: {0}")]
    Rule(String),
    /// The zone is not known.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The address is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Config {
    /// Sends to one node what the patterns find; everything else as it usually is.
    #[must_use]
    pub fn new(to: impl Into<String>, state_dir: impl Into<PathBuf>, paths: Vec<String>) -> Self {
        Self {
            to: vec![to.into()],
            token: None,
            token_file: None,
            balance: Balance::default(),
            tls: Tls::default(),
            http_version: HttpVersion::default(),
            compression: Compression::default(),
            batch_age: Duration::ZERO,
            state_dir: state_dir.into(),
            paths,
            excludes: Vec::new(),
            files: Vec::new(),
            feeds: Vec::new(),
            fetches: false,
            labels: Vec::new(),
            index: IndexName::default(),
            start_at: StartAt::default(),
            time_zone: None,
            until: Until::default(),
            partial_after: Duration::from_secs(30),
            deleted_hold: Duration::from_secs(3600),
            cut_after: Duration::from_secs(60),
            forget_after: 7 * DAY,
            metrics: platform::telemetry::Metrics::default(),
        }
    }

    /// Whether everything in it can be: what starting a shipper would refuse.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.patterns()?;
        let mut names = HashSet::new();
        for feed in &self.feeds {
            feed.check()?;
            if !names.insert(feed.name()) {
                return Err(ConfigError::Feed(format!("{} is there twice", feed.name())));
            }
        }
        for (recipe, files) in self.recipes()?.iter().zip(self.sources()) {
            labels_of(&recipe.labels, "host", "/").map_err(|error| files.wrong(&error.into()))?;
        }
        crate::send::addresses(&self.to)?;
        Ok(())
    }

    /// All sources of files: the spools of feeds first, those of `paths` last.
    fn sources(&self) -> Vec<Files> {
        let rest = Files::new(self.paths.clone(), self.excludes.clone());
        let rest = Some(rest).filter(|rest| !rest.paths.is_empty());
        let feeds = self.feeds.iter().map(|feed| feed.files(&self.state_dir, &self.labels));
        feeds.chain(self.files.iter().cloned()).chain(rest).collect()
    }

    /// The sources' recipes, in the order of the patterns' sources.
    pub(crate) fn recipes(&self) -> Result<Vec<Arc<Recipe>>, ConfigError> {
        let recipe = |files: &Files| Recipe::of(files, self).map_err(|error| files.wrong(&error));
        self.sources().iter().map(recipe).collect()
    }

    /// The recipe of files that belong to no source: what `import` does.
    pub(crate) fn recipe(&self) -> Result<Arc<Recipe>, ConfigError> {
        Recipe::of(&Files::default(), self)
    }

    pub(crate) fn patterns(&self) -> Result<Patterns, ConfigError> {
        let sources = self.sources();
        if sources.is_empty() && !self.fetches {
            return Err(ConfigError::NoPaths);
        }
        for files in &sources {
            let alone = std::iter::once((&*files.paths, &*files.excludes));
            let wrong = match &files.paths {
                paths if paths.is_empty() => Some(ConfigError::SourceWithoutPaths),
                paths if paths.iter().any(String::is_empty) => Some(ConfigError::EmptyPath),
                _ => Patterns::new(alone).err().map(ConfigError::from),
            };
            if let Some(error) = wrong {
                return Err(files.wrong(&error));
            }
        }
        Ok(Patterns::new(sources.iter().map(|files| (&*files.paths, &*files.excludes)))?)
    }
}

/// The labels of the stream of a file: those set, and what the path says.
///
/// # Errors
/// The labels set cannot name a stream.
pub(crate) fn labels_of(
    set: &[(String, String)],
    host: &str,
    source: &str,
) -> Result<Labels, LabelsError> {
    let own = [("host".to_owned(), host.to_owned()), ("source".to_owned(), source.to_owned())]
        .into_iter()
        .chain(crate::origin::labels(source))
        .filter(|(name, value)| !value.is_empty() && !set.iter().any(|(other, _)| other == name));
    Labels::new(own.chain(set.iter().cloned()).collect())
}

/// The machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_set_replace_our_own() {
        let mut config = Config::new("http://localhost", "/s", vec!["/a".to_owned()]);
        config.labels = vec![("service".to_owned(), "api".to_owned())];
        let labels = labels_of(&config.labels, "web1", "/var/log/a.log").unwrap();
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("host", "web1"), ("service", "api"), ("source", "/var/log/a.log")]);
    }
}
