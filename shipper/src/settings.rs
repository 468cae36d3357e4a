//! The settings file as it is typed: TOML, described key by key in docs/shipper.md.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::stream::IndexName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::config::{Config, ConfigError, DAY, StartAt};
use crate::effort::Compression;
use crate::feed::{Feed, JournalSettings, SyslogSettings};
use crate::files::Files;
use crate::send::{Balance, HttpVersion, Tls};

/// What may stand in the file. Everything may be left out that flags give.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses of nodes.
    pub to: Vec<String>,
    /// Where checkpoints are kept.
    pub state_dir: Option<PathBuf>,
    /// File that holds the token the nodes want.
    pub token_file: Option<PathBuf>,
    /// How batches are shared out among the nodes.
    pub balance: Option<Balance>,
    /// Certificates, for addresses that begin with `https`.
    pub tls: Tls,
    /// Which HTTP is spoken with the nodes.
    pub http_version: Option<HttpVersion>,
    /// How hard batches are compressed.
    pub compression: Option<Compression>,
    /// How long less than a whole batch waits for more, milliseconds.
    pub batch_age_ms: Option<u64>,
    /// The index of records whose source names none.
    pub index: Option<String>,
    /// Where files begin that were there before the first run.
    pub start_at: Option<StartAt>,
    /// Zone of times that state none.
    pub time_zone: Option<String>,
    /// How long a file must rest before its last line counts without a newline, seconds.
    pub partial_after_s: Option<u64>,
    /// How long a deleted file that is not read to its end is held open, seconds.
    pub deleted_hold_s: Option<u64>,
    /// How long a record that is refused is tried as it is before less of it is sent, seconds.
    pub cut_after_s: Option<u64>,
    /// How long the place in a file that is not found is remembered, days.
    pub forget_after_days: Option<u32>,
    /// Whether the cluster is asked for more settings, and watched for changes of them.
    pub settings_from_cluster: bool,
    /// Where `/metrics` is served.
    #[serde(deserialize_with = "address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Labels of every stream.
    pub labels: BTreeMap<String, String>,
    /// Files to follow, in the order in which they claim a file.
    pub files: Vec<Files>,
    /// systemd's journal, or parts of it.
    pub journal: Vec<JournalSettings>,
    /// Listeners for syslog.
    pub syslog: Vec<SyslogSettings>,
    /// Other sources, that no file names.
    #[serde(skip)]
    pub feeds: Vec<Feed>,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not there, or not for us.
    #[error("cannot read the settings in {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or says what nobody knows.
    #[error("{}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What, and where.
        message: String,
    },
    /// Something that must be said is not.
    #[error("{0} is not set: write it in the settings file, or give the flag --{1}")]
    Missing(&'static str, &'static str),
    /// A flag that changes nothing.
    #[error(
        "--exclude narrows what --path names, and there is no --path: give one, or write excludes in \
         the source of the settings file"
    )]
    LoneExclude,
    /// What the cluster keeps for shippers cannot be used here.
    #[error("version {version} of the cluster's settings: {why}")]
    Fetched {
        /// Which one.
        version: u64,
        /// What is wrong.
        why: String,
    },
    /// What the cluster keeps for shippers and what stands here cannot be used together.
    #[error("version {version} of the cluster's settings")]
    Together {
        /// Which one.
        version: u64,
        /// What is wrong.
        #[source]
        source: Box<SettingsError>,
    },
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingsError::Read`] and [`SettingsError::Syntax`].
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let mut settings = Self::parse(&text).map_err(|error| SettingsError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        settings.place(&text);
        Ok(settings)
    }

    /// Notes where its sources of files stand, as far as their tables tell.
    fn place(&mut self, text: &str) {
        let begins = |(_, line): &(usize, &str)| line.trim_start().starts_with("[[files]]");
        let lines: Vec<usize> =
            text.lines().enumerate().filter(begins).map(|(at, _)| at + 1).collect();
        if lines.len() == self.files.len() {
            for (files, line) in self.files.iter_mut().zip(lines) {
                files.place = Some(format!("line {line}"));
            }
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Says the line, and what may stand there.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The settings complete and checked, down to the last pattern.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn config(self) -> Result<Config, SettingsError> {
        if self.to.is_empty() {
            return Err(SettingsError::Missing("to", "to"));
        }
        let state_dir = self.state_dir.ok_or(SettingsError::Missing("state_dir", "state-dir"))?;
        let defaults = Config::new(String::new(), state_dir, Vec::new());
        let config = Config {
            to: self.to,
            token_file: self.token_file,
            balance: self.balance.unwrap_or_default(),
            tls: self.tls,
            http_version: self.http_version.unwrap_or_default(),
            compression: self.compression.unwrap_or_default(),
            batch_age: self.batch_age_ms.map_or(defaults.batch_age, Duration::from_millis),
            files: self.files,
            feeds: feeds(self.feeds, self.journal, self.syslog)?,
            labels: self.labels.into_iter().collect(),
            index: match self.index {
                Some(name) => IndexName::new(&name).map_err(ConfigError::from)?,
                None => defaults.index.clone(),
            },
            fetches: self.settings_from_cluster,
            start_at: self.start_at.unwrap_or_default(),
            time_zone: self.time_zone,
            partial_after: self.partial_after_s.map_or(defaults.partial_after, Duration::from_secs),
            deleted_hold: self.deleted_hold_s.map_or(defaults.deleted_hold, Duration::from_secs),
            cut_after: self.cut_after_s.map_or(defaults.cut_after, Duration::from_secs),
            forget_after: self.forget_after_days.map_or(defaults.forget_after, days),
            ..defaults
        };
        config.check()?;
        crate::send::check(&config).map_err(ConfigError::from)?;
        Ok(config)
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let wanted = "an address and a port are wanted, such as 127.0.0.1:7411";
    text.parse().map(Some).map_err(|_| D::Error::custom(wanted))
}

fn days(count: u32) -> Duration {
    DAY * count
}

fn feeds(
    other: Vec<Feed>,
    journal: Vec<JournalSettings>,
    syslog: Vec<SyslogSettings>,
) -> Result<Vec<Feed>, ConfigError> {
    let journal = journal.into_iter().map(|settings| Ok(settings.feed()));
    let other = other.into_iter().map(Ok);
    other.chain(journal).chain(syslog.into_iter().map(SyslogSettings::feed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "to = [\"http://n:7410\"]\nstate_dir = \"/s\"\n";

    #[track_caller]
    fn refused(text: &str, word: &str) {
        let text = format!("{HEAD}{text}");
        let error = match Settings::parse(&text) {
            Ok(settings) => settings.config().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(word), "{error}");
    }

    #[test]
    fn the_example_of_the_package_and_the_reference_are_taken() {
        let example = include_str!("../../deploy/shipper/shipper.toml");
        Settings::parse(example).unwrap().config().unwrap();
        let reference = include_str!("../../docs/shipper.md");
        let blocks: Vec<&str> = reference
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(blocks.len() >= 5);
        for block in blocks {
            let head = if block.starts_with("to =") { "" } else { HEAD };
            let files =
                if block.contains("[[files]]") { "" } else { "[[files]]\npaths = [\"/a\"]\n" };
            let text = format!("{head}{block}{files}");
            let settings = Settings::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let settings = Settings { token_file: None, tls: Tls::default(), ..settings };
            settings.config().unwrap_or_else(|e| panic!("{e}\n{text}"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_source_says_where_it_stands() {
        let text = format!(
            "{HEAD}[[files]]\npaths = [\"/a\"]\n\n[[files]]\npaths = [\"/b\"]\nencoding = \"utf-9\"\n"
        );
        let mut settings = Settings::parse(&text).unwrap();
        settings.place(&text);
        let error = settings.config().unwrap_err().to_string();
        assert!(
            error.starts_with("line 6, source of \"/b\": ") && error.contains("utf-9"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        refused("", "no files");
        refused("[[files]]\nformat = \"text\"", "no paths");
        refused("[[files]]\npaths = [\"/a\", \"\"]", "a path is empty");
        refused("[[syslog]]\nlisten = \"udp://127.0.0.1:1\"\nencoding = \"utf-9\"", "syslog-udp");
        refused("[[files]]\npath = [\"/a\"]", "unknown field `path`");
        refused("[[files]]\npaths = [\"/a[\"]", "a[");
        refused("[[files]]\npaths = [\"/a\"]\nformat = \"regex\"", "need a pattern");
        refused("[[files]]\npaths = [\"/a\"]\nformat = \"regexp\"", "unknown variant `regexp`");
        refused("[[files]]\npaths = [\"/a\"]\nencoding = \"utf-9\"", "utf-9");
        refused("[[files]]\npaths = [\"/a\"]\njoin = { start = \"(\" }", "(");
        refused("[[files]]\npaths = [\"/a\"]\n[[files.rules]]\nredact = [\"nothing\"]", "nothing");
        refused("[[files]]\npaths = [\"/a\"]\n[[files.rules]]\ndrop = true\nx = 1", "x");
        refused("compression = \"fast\"", "1 to 9");
        refused("compression = 20", "1 to 9");
        refused("metrics_listen = \"7411\"", "such as 127.0.0.1:7411");
        refused(
            "[[files]]\npaths = [\"/a\"]\nformat = \"regex\"\npattern = \"a(b)\"",
            "names nothing",
        );
        refused(
            "[[files]]\npaths = [\"/a\"]\nformat = \"dissect\"\npattern = \"%{a:date}\"",
            "%{name:int}",
        );
        refused(
            "token_file = \"/not/there\"\n[[files]]\npaths = [\"/a\"]",
            "let this user read it",
        );
        refused(
            "[[files]]\npaths = [\"/a\"]\n[[files.rules]]\nrename = { a = \"\" }",
            "name of a field is empty",
        );
        refused("http_version = \"3\"", "unknown variant `3`");
        refused("time_zone = \"Nowhere\"\n[[files]]\npaths = [\"/a\"]", "Nowhere");
        assert!(Settings::parse("").unwrap().config().unwrap_err().to_string().contains("--to"));
    }
}
