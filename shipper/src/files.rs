//! The settings of one source of files, as they are written: a `[[files]]` of docs/shipper.md.

use std::collections::BTreeMap;
use std::error::Error as _;

use model::level::Level;
use model::record::FieldValue;
use serde::Deserialize;

use crate::config::{ConfigError, StartAt};
use crate::parse::regex;
use crate::shape::{Action, Condition, Redaction, Rule, Rules, Test};

/// One source: which files, and what is done to their lines. Everything but the paths may be
/// left out.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Patterns of files: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any depth.
    pub paths: Vec<String>,
    /// Files not to follow, in the same form.
    pub excludes: Vec<String>,
    /// Labels of their streams, beside the shipper's own.
    pub labels: BTreeMap<String, String>,
    /// The index their records go to.
    pub index: Option<String>,
    /// Where files begin that were there before the first run.
    pub start_at: Option<StartAt>,
    /// Zone of times that state none.
    pub time_zone: Option<String>,
    /// What ends a line, unless it is a newline.
    pub delimiter: Option<String>,
    /// How text is encoded, by the names browsers know, such as `windows-1252`, `utf-16le`.
    pub encoding: Option<String>,
    /// Whether a container runtime wrapped the lines.
    pub container: Containers,
    /// Which lines are one record.
    pub join: Option<Joining>,
    /// How long a file must rest before its last joined record counts, milliseconds.
    pub join_timeout_ms: Option<u64>,
    /// How lines are read.
    pub format: FormatName,
    /// The pattern of the formats `regex` and `dissect`.
    pub pattern: Option<String>,
    /// Whether a line of JSON is also kept as it stood, in the field `_raw`.
    pub keep_raw: bool,
    /// Files nobody wrote to for so many seconds are not begun; one that was begun is finished.
    pub ignore_older_s: Option<u64>,
    /// Bytes a second at most.
    pub bytes_per_second: Option<u64>,
    /// What is changed before records are sent, in order.
    pub rules: Vec<RuleSettings>,
    /// The files are a spool of our own.
    #[serde(skip)]
    pub(crate) spooled: bool,
    /// Where it stands in the settings.
    #[serde(skip)]
    pub(crate) place: Option<String>,
}

/// Whether a container runtime wrapped the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containers {
    /// Where the path is one of Docker's or Kubernetes'.
    #[default]
    Auto,
    /// No.
    Off,
    /// Docker's JSON.
    Docker,
    /// Kubernetes' text.
    Cri,
}

/// Which lines are one record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joining {
    /// Stack traces with the line before them.
    Traces,
    /// A record begins with a line that matches.
    Start(String),
    /// A line that matches goes on with the record before.
    Continue(String),
    /// A record ends with a line that matches.
    End(String),
}

/// How lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatName {
    /// JSON objects by their fields, else text.
    #[default]
    Auto,
    /// Text.
    Text,
    /// JSON, or whichever format a line is of.
    Detect,
    /// `name=value`.
    Logfmt,
    /// RFC 5424 and 3164.
    Syslog,
    /// Access logs.
    Access,
    /// Error logs of Apache and Nginx.
    ServerError,
    /// Kubernetes' components.
    Klog,
    /// `pattern` is a regular expression with names.
    Regex,
    /// `pattern` is a dissect pattern.
    Dissect,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct RuleSettings {
    /// What must hold; all of them.
    pub when: Vec<When>,
    /// What is done.
    pub action: ActionSettings,
}

/// One rule, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    when: Vec<When>,
    drop: Option<bool>,
    sample_one_in: Option<u64>,
    add: Option<BTreeMap<String, toml::Value>>,
    remove: Option<Vec<String>>,
    rename: Option<BTreeMap<String, String>>,
    redact: Option<Vec<String>>,
}

impl TryFrom<Written> for RuleSettings {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { when, drop, sample_one_in, add, remove, rename, redact } = written;
        let actions = [
            drop.map(ActionSettings::Drop),
            sample_one_in.map(ActionSettings::SampleOneIn),
            add.map(ActionSettings::Add),
            remove.map(ActionSettings::Remove),
            rename.map(ActionSettings::Rename),
            redact.map(ActionSettings::Redact),
        ];
        let mut actions = actions.into_iter().flatten();
        match (actions.next(), actions.next()) {
            (Some(action), None) => Ok(Self { when, action }),
            _ => Err("a rule does one thing: drop, sample_one_in, add, remove, rename or redact; \
                      write several rules for several"),
        }
    }
}

/// A condition on one field, `message` or `level`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Whose value is judged.
    pub field: String,
    /// It is this.
    pub is: Option<String>,
    /// It is not this.
    pub not: Option<String>,
    /// It matches this expression.
    pub matches: Option<String>,
    /// For `level`: it is milder than this.
    pub below: Option<String>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionSettings {
    /// The record is not sent, if it is true.
    Drop(bool),
    /// Of so many records one is sent.
    SampleOneIn(u64),
    /// Fields are set.
    Add(BTreeMap<String, toml::Value>),
    /// Fields are left out.
    Remove(Vec<String>),
    /// Fields get other names.
    Rename(BTreeMap<String, String>),
    /// Secrets are made unreadable.
    Redact(Vec<String>),
}

impl Files {
    /// A source of these files, everything else as it usually is.
    #[must_use]
    pub fn new(paths: Vec<String>, excludes: Vec<String>) -> Self {
        Self { paths, excludes, ..Self::default() }
    }

    /// What is wrong with it, and where it stands.
    pub(crate) fn wrong(&self, error: &ConfigError) -> ConfigError {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            what = format!("{what}: {inner}");
            cause = inner.source();
        }
        let path = self.paths.first().filter(|_| !self.spooled);
        let source = path.map(|path| format!("source of {path:?}"));
        let said: Vec<String> = self.place.clone().into_iter().chain(source).collect();
        let at = if said.is_empty() { "a source".to_owned() } else { said.join(", ") };
        ConfigError::Source { at, what }
    }

    pub(crate) fn rules(&self) -> Result<Rules, ConfigError> {
        let mut rules = Vec::new();
        for settings in &self.rules {
            let when: Vec<Condition> =
                settings.when.iter().map(When::condition).collect::<Result<_, _>>()?;
            for action in settings.action.actions()? {
                rules.push(Rule { when: when.clone(), action });
            }
        }
        Ok(Rules(rules))
    }
}

impl When {
    fn condition(&self) -> Result<Condition, ConfigError> {
        let own = |what: &str| ConfigError::Rule(format!("{}: {what}", self.field));
        let test = match (&self.is, &self.not, &self.matches, &self.below) {
            (Some(is), None, None, None) => Test::Is(is.clone()),
            (None, Some(not), None, None) => Test::Not(not.clone()),
            (None, None, Some(text), None) => Test::Matches(regex(text)?),
            (None, None, None, Some(level)) if self.field == "level" => {
                Test::Below(Level::from_word(level).ok_or_else(|| own("no such level"))?)
            }
            (None, None, None, None) => Test::Exists,
            _ => return Err(own("one of is, not, matches, and below (for level)")),
        };
        Ok(Condition { field: self.field.clone(), test })
    }
}

impl ActionSettings {
    fn actions(&self) -> Result<Vec<Action>, ConfigError> {
        Ok(match self {
            Self::Drop(true) => vec![Action::Drop],
            Self::Drop(false) => Vec::new(),
            Self::SampleOneIn(0) => {
                return Err(ConfigError::Rule("sample_one_in is at least 1".to_owned()));
            }
            Self::SampleOneIn(count) => vec![Action::Sample(*count)],
            Self::Add(fields) => fields
                .iter()
                .map(|(field, value)| {
                    let value = match value {
                        toml::Value::String(text) => FieldValue::Text(text.clone()),
                        toml::Value::Integer(number) => FieldValue::Int(*number),
                        toml::Value::Float(number) => FieldValue::Float(*number),
                        toml::Value::Boolean(truth) => FieldValue::Bool(*truth),
                        _ => {
                            return Err(ConfigError::Rule(format!(
                                "{field}: a text, a number, or true or false"
                            )));
                        }
                    };
                    Ok(Action::Add { field: field.clone(), value })
                })
                .collect::<Result<_, _>>()?,
            Self::Remove(fields) => fields.iter().cloned().map(Action::Remove).collect(),
            Self::Rename(fields)
                if fields.iter().any(|(from, to)| from.is_empty() || to.is_empty()) =>
            {
                return Err(ConfigError::Rule("rename: the name of a field is empty".to_owned()));
            }
            Self::Rename(fields) => fields
                .iter()
                .map(|(field, to)| Action::Rename { field: field.clone(), to: to.clone() })
                .collect(),
            Self::Redact(what) => vec![Action::Redact(Redaction::new(what, None)?)],
        })
    }
}
