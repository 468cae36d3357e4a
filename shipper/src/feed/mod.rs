//! Sources that are no files: standard input, the journal, syslog. What comes is put into a spool,
//! whose files are followed like any others: it survives a crash and a dead node. A full spool is
//! not read into any more: who can wait waits, and what UDP brings meanwhile is counted and said.

pub(crate) mod record;
mod run;
mod spool;
mod stdin;
mod syslog;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{ConfigError, StartAt};
use crate::files::{ActionSettings, Containers, Files, FormatName, RuleSettings};
use crate::journal::{self, Journal};
pub(crate) use run::{Out, Post, gap, run};
pub(crate) use spool::{ENDING, clear};
pub(crate) use syslog::take_messages;
pub use syslog::{Syslog, SyslogError};

/// The folder of spools in the state directory.
pub(crate) const FOLDER: &str = "spool";
/// Bytes of a spool, unless set.
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// Bytes a spool has at least: it is several files.
const SPOOL_BYTES_MIN: u64 = 64 << 10;

/// A source that is no file.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// What is read.
    pub input: Input,
    /// What is done to the lines; the paths do not matter.
    pub how: Files,
    /// Bytes that may wait to be acknowledged.
    pub spool_bytes_max: u64,
}

impl Feed {
    /// Whether senders connect to it, and so take a descriptor each.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(&self.input, Input::Syslog(syslog) if syslog.is_connected())
    }
}

/// What is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Standard input, to its end.
    Stdin,
    /// systemd's journal.
    Journal(Journal),
    /// Syslog over the network.
    Syslog(Syslog),
}

/// Why a feed ends early. What was read is in the spool, and sent when it is started again.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The input cannot be read.
    #[error("cannot read standard input")]
    Input(#[source] std::io::Error),
    /// The journal cannot.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
}

/// The bound of a spool as it is written, beside how its lines are read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// The program that reads the journal.
    #[serde(default = "journalctl")]
    pub journalctl: PathBuf,
    /// More of its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Bytes that may wait to be acknowledged.
    pub spool_bytes_max: Option<u64>,
    /// What is done to the entries.
    #[serde(flatten)]
    pub how: Files,
}

/// A listener as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSettings {
    /// Where: `udp://…`, `tcp://…` or `tls://…`, address and port.
    pub listen: String,
    /// For `tls`: our certificate (PEM), and those between it and the root.
    pub cert_file: Option<PathBuf>,
    /// For `tls`: its key (PEM).
    pub key_file: Option<PathBuf>,
    /// For `tls`: who vouches for senders; without it anybody may send.
    pub ca_file: Option<PathBuf>,
    /// Bytes that may wait to be acknowledged.
    pub spool_bytes_max: Option<u64>,
    /// What is done to the messages.
    #[serde(flatten)]
    pub how: Files,
}

fn journalctl() -> PathBuf {
    PathBuf::from("journalctl")
}

impl JournalSettings {
    pub(crate) fn feed(self) -> Feed {
        let journal = Journal { journalctl: self.journalctl, arguments: self.arguments };
        Feed::new(Input::Journal(journal), self.how, self.spool_bytes_max)
    }
}

impl SyslogSettings {
    pub(crate) fn feed(self) -> Result<Feed, ConfigError> {
        let Self { listen, cert_file, key_file, ca_file, .. } = self;
        let syslog = Syslog::new(&listen, cert_file, key_file, ca_file)?;
        Ok(Feed::new(Input::Syslog(syslog), self.how, self.spool_bytes_max))
    }
}

impl Feed {
    /// Reads that; the spool has the usual bound, unless another is set.
    #[must_use]
    pub fn new(input: Input, how: Files, spool_bytes_max: Option<u64>) -> Self {
        Self { input, how, spool_bytes_max: spool_bytes_max.unwrap_or(SPOOL_BYTES_MAX) }
    }

    /// Whether it can be.
    ///
    /// # Errors
    /// What cannot.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: &str| Err(ConfigError::Feed(format!("{}: {what}", self.name())));
        if !self.how.paths.is_empty() || !self.how.excludes.is_empty() {
            return wrong("paths and excludes are for files");
        }
        if self.spool_bytes_max < SPOOL_BYTES_MIN {
            return wrong("spool_bytes_max is at least 65536");
        }
        Ok(())
    }

    /// Its name among the feeds of a shipper: what it reads, so that it finds its spool again.
    pub(crate) fn name(&self) -> String {
        match &self.input {
            Input::Stdin => "stdin".to_owned(),
            Input::Journal(Journal { arguments, .. }) if arguments.is_empty() => {
                "journal".to_owned()
            }
            Input::Journal(Journal { arguments, .. }) => {
                format!("journal-{:08x}", xxh3_64(arguments.join("\0").as_bytes()) >> 32)
            }
            Input::Syslog(syslog) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
                format!("syslog-{}", syslog.to_string().chars().map(plain).collect::<String>())
            }
        }
    }

    /// Where its spool is.
    pub(crate) fn folder(&self, state_dir: &Path) -> PathBuf {
        state_dir.join(FOLDER).join(self.name())
    }

    /// Its spool as a source of files.
    pub(crate) fn files(&self, state_dir: &Path, labels: &[(String, String)]) -> Files {
        let folder = self.folder(state_dir).to_string_lossy().into_owned();
        let mut files = self.how.clone();
        files.paths = vec![format!("{}/*.{ENDING}", escaped(&folder))];
        files.start_at = Some(StartAt::Begin);
        files.container = Containers::Off;
        files.spooled = true;
        files.place = Some(self.name());
        let kind = match &self.input {
            Input::Stdin => "stdin",
            Input::Journal(_) => {
                // The cursor is for us; nobody else has a use for it.
                let action = ActionSettings::Remove(vec![journal::CURSOR.to_owned()]);
                files.rules.insert(0, RuleSettings { when: Vec::new(), action });
                "journal"
            }
            Input::Syslog(_) => {
                if files.format == FormatName::Auto {
                    files.format = FormatName::Syslog;
                }
                "syslog"
            }
        };
        for name in ["source", "service"] {
            if !labels.iter().any(|(set, _)| set == name) {
                files.labels.entry(name.to_owned()).or_insert_with(|| kind.to_owned());
            }
        }
        files
    }
}

/// A path as a pattern that means only itself.
fn escaped(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if "*?[]{}\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
