//! What a shipper is told: checked once, then immutable.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::stream::{IndexName, Labels, LabelsError};

use crate::checkpoint::StoreError;
use crate::discover::{PatternError, Patterns};
use crate::parse::{Zone, ZoneError};
use crate::send::TargetError;

/// Where a file is begun that was there before the shipper first ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

/// Settings of a shipper. Complete; begin with [`Config::new`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses of nodes (`http://host:port`), tried in turn.
    pub to: Vec<String>,
    /// Bearer token, when the nodes want one.
    pub token: Option<String>,
    /// Where checkpoints are kept; one process at a time.
    pub state_dir: PathBuf,
    /// Files to follow: paths with `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any depth.
    pub paths: Vec<String>,
    /// Files not to follow, in the same form.
    pub excludes: Vec<String>,
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
    #[error("no files to follow: give at least one --path")]
    NoPaths,
    /// The labels cannot name a stream.
    #[error(transparent)]
    Labels(#[from] LabelsError),
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
            state_dir: state_dir.into(),
            paths,
            excludes: Vec::new(),
            labels: Vec::new(),
            index: IndexName::default(),
            start_at: StartAt::default(),
            time_zone: None,
            until: Until::default(),
            partial_after: Duration::from_secs(30),
            metrics: platform::telemetry::Metrics::default(),
        }
    }

    pub(crate) fn zone(&self) -> Result<Zone, ConfigError> {
        Ok(Zone::of(self.time_zone.as_deref())?)
    }

    pub(crate) fn patterns(&self) -> Result<Patterns, ConfigError> {
        if self.paths.is_empty() {
            return Err(ConfigError::NoPaths);
        }
        Ok(Patterns::new(&self.paths, &self.excludes)?)
    }

    /// The labels of the stream of a file.
    ///
    /// # Errors
    /// The labels set cannot name a stream.
    pub(crate) fn labels_of(&self, host: &str, source: &str) -> Result<Labels, LabelsError> {
        let own = [("host", host), ("source", source), ("service", &service(source))]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .filter(|(name, value)| {
                !value.is_empty() && !self.labels.iter().any(|(set, _)| set == name)
            });
        Labels::new(own.chain(self.labels.iter().cloned()).collect())
    }
}

/// The machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// What a file's lines are of, by its name: `/var/log/nginx/access.log.1` is `access`; a
/// container's log is its container's.
fn service(source: &str) -> String {
    let path = Path::new(source);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // Kubernetes: pod_namespace_container-ID.log
    let kubernetes = name
        .strip_suffix(".log")
        .and_then(|stem| stem.rsplit_once('_'))
        .and_then(|(_, rest)| rest.rsplit_once('-').filter(|(_, id)| is_container_id(id)));
    if let Some((container, _)) = kubernetes {
        return container.to_owned();
    }
    let mut parts = name.split('.').filter(|part| !is_suffix(part));
    let stem = parts.next().unwrap_or_default();
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit() || "-_:".contains(c));
    let id = stem.strip_suffix("-json").unwrap_or(stem);
    if is_container_id(id) {
        return id.get(..12).unwrap_or(id).to_owned();
    }
    if !stem.is_empty() {
        return stem.to_owned();
    }
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    folder.unwrap_or_default().to_owned()
}

fn is_suffix(part: &str) -> bool {
    let dated = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    dated || ["log", "gz", "xz", "zst", "bz2", "old"].contains(&part)
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(service(source), expected, "{source}");
    }

    #[test]
    fn a_service_is_named_by_its_file() {
        let id = "0123456789abcdef".repeat(4);
        check("/var/log/syslog", "syslog");
        check("/var/log/syslog.1", "syslog");
        check("/var/log/nginx/access.log.2.gz", "access");
        check("/var/log/app-2026-11-23.log", "app");
        check("/var/log/app.log-20261123", "app");
        check("/data/Android_2k.log", "Android_2k");
        check("/var/log/pods/ns_pod_uid/web/0.log", "web");
        check(&format!("/var/lib/docker/containers/{id}/{id}-json.log"), "0123456789ab");
        check(&format!("/var/log/containers/pod-1_ns_web-{id}.log"), "web");
    }

    #[test]
    fn labels_set_replace_our_own() {
        let mut config = Config::new("http://localhost", "/s", vec!["/a".to_owned()]);
        config.labels = vec![("service".to_owned(), "api".to_owned())];
        let labels = config.labels_of("web1", "/var/log/a.log").unwrap();
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("host", "web1"), ("service", "api"), ("source", "/var/log/a.log")]);
    }
}
