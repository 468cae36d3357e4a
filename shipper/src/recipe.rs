//! What is done to the lines of one source, compiled: framing, reading, shaping, bounds.

use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use model::stream::IndexName;

use crate::config::{Config, ConfigError, StartAt};
use crate::files::{Containers, Files, FormatName, Joining};
use crate::frame::Delimiter;
use crate::frame::container::Container;
use crate::frame::multiline::{Multiline, Rule};
use crate::parse::{Format, Pattern, Zone, regex};
use crate::shape::{Rate, Rules};

/// How long a file must rest before its last record of several lines counts as whole.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The compiled settings of one source.
#[derive(Debug, Default)]
pub(crate) struct Recipe {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) index: IndexName,
    pub(crate) zone: Zone,
    pub(crate) delimiter: Delimiter,
    /// `None`: UTF-8, and UTF-16 where a file begins with its mark.
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) containers: Containers,
    pub(crate) multiline: Option<Multiline>,
    pub(crate) format: Format,
    pub(crate) keeps_raw: bool,
    pub(crate) rules: Rules,
    pub(crate) rate: Option<Rate>,
    pub(crate) ignore_older: Option<Duration>,
    pub(crate) start_at: StartAt,
    /// The files are a spool of ours: the streams are the folder's, one file follows another.
    pub(crate) spooled: bool,
}

/// How lines are told apart before they are put into a spool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delimiting(Delimiter);

impl Delimiting {
    /// As the settings of a source say.
    ///
    /// # Errors
    /// There is no such encoding.
    pub(crate) fn of(files: &Files) -> Result<Self, ConfigError> {
        Ok(Self(delimiter(checked_delimiter(files)?, encoding(files)?)))
    }

    pub(crate) fn delimiter(&self) -> &Delimiter {
        &self.0
    }
}

/// How a file is encoded, and so framed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) delimiter: Delimiter,
}

impl Recipe {
    /// Compiles the settings of a source; what it leaves out is the shipper's own.
    ///
    /// # Errors
    /// Names the setting that cannot be.
    pub(crate) fn of(files: &Files, config: &Config) -> Result<Arc<Self>, ConfigError> {
        let mut labels = config.labels.clone();
        labels.retain(|(name, _)| !files.labels.contains_key(name));
        labels.extend(files.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        let encoding = encoding(files)?;
        let zone = files.time_zone.as_deref().or(config.time_zone.as_deref());
        Ok(Arc::new(Self {
            labels,
            index: match &files.index {
                Some(name) => IndexName::new(name)?,
                None => config.index.clone(),
            },
            zone: Zone::of(zone)?,
            delimiter: match files.spooled {
                true => Delimiter::Records,
                false => delimiter(checked_delimiter(files)?, encoding),
            },
            encoding: encoding.filter(|encoding| *encoding != UTF_8),
            containers: files.container,
            multiline: multiline(files)?,
            format: format(files)?,
            keeps_raw: files.keep_raw,
            rules: files.rules()?,
            rate: rate(files)?,
            ignore_older: files.ignore_older_s.map(Duration::from_secs),
            start_at: files.start_at.unwrap_or(config.start_at),
            spooled: files.spooled,
        }))
    }

    /// Lines of text go into a batch as they are: nothing is read in them, nothing changed.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.format, Format::Auto | Format::Text) && self.rules.is_empty()
    }

    /// Objects of JSON go into a batch as they are.
    pub(crate) fn is_plain_json(&self) -> bool {
        let read = matches!(self.format, Format::Auto | Format::Detect);
        read && self.rules.is_empty() && !self.keeps_raw
    }

    /// A line that came over the network and is not of its format is marked.
    pub(crate) fn marks_unparsed(&self) -> bool {
        self.spooled && matches!(self.format, Format::Syslog)
    }

    /// Who wrapped the lines of that file.
    pub(crate) fn container(&self, source: &str) -> Option<Container> {
        match self.containers {
            Containers::Off => None,
            Containers::Docker => Some(Container::Docker),
            Containers::Cri => Some(Container::Cri),
            Containers::Auto if crate::origin::is_container_path(source) => Some(Container::Either),
            Containers::Auto => None,
        }
    }

    /// How a file with these first bytes is encoded.
    pub(crate) fn script(&self, head: &[u8]) -> Script {
        let wide = match (self.encoding, head) {
            (Some(encoding), _) => Some(encoding),
            (None, [0xFF, 0xFE, ..]) => Some(UTF_16LE),
            (None, [0xFE, 0xFF, ..]) => Some(UTF_16BE),
            (None, _) => None,
        };
        match wide {
            Some(encoding) if self.delimiter == Delimiter::Newline => {
                Script { encoding: Some(encoding), delimiter: delimiter(None, wide) }
            }
            encoding => Script { encoding, delimiter: self.delimiter.clone() },
        }
    }
}

fn encoding(files: &Files) -> Result<Option<&'static Encoding>, ConfigError> {
    let Some(name) = files.encoding.as_deref() else { return Ok(None) };
    let known = Encoding::for_label(name.as_bytes());
    known.map(Some).ok_or_else(|| ConfigError::Encoding(name.to_owned()))
}

fn checked_delimiter(files: &Files) -> Result<Option<&str>, ConfigError> {
    let text = files.delimiter.as_deref();
    if text == Some("") { Err(ConfigError::NoDelimiter) } else { Ok(text) }
}

fn rate(files: &Files) -> Result<Option<Rate>, ConfigError> {
    match files.bytes_per_second {
        Some(0) => Err(ConfigError::NoBytes),
        bytes => Ok(bytes.map(Rate::new)),
    }
}

fn delimiter(text: Option<&str>, encoding: Option<&'static Encoding>) -> Delimiter {
    match (text, encoding) {
        (Some(text), _) if text != "\n" => Delimiter::Bytes(text.as_bytes().to_vec()),
        (_, Some(encoding)) if encoding == UTF_16LE => Delimiter::Utf16Le,
        (_, Some(encoding)) if encoding == UTF_16BE => Delimiter::Utf16Be,
        _ => Delimiter::Newline,
    }
}

fn multiline(files: &Files) -> Result<Option<Multiline>, ConfigError> {
    let Some(join) = &files.join else { return Ok(None) };
    let bytes = |text: &str| {
        regex(text)?;
        regex::bytes::Regex::new(text).map_err(|source| {
            let source = Box::new(source);
            ConfigError::Expression(crate::parse::PatternError::Regex {
                pattern: text.to_owned(),
                source,
            })
        })
    };
    let rule = match join {
        Joining::Traces => Rule::Traces,
        Joining::Start(text) => Rule::Start(bytes(text)?),
        Joining::Continue(text) => Rule::Continue(bytes(text)?),
        Joining::End(text) => Rule::End(bytes(text)?),
    };
    let timeout = files.join_timeout_ms.map_or(JOIN_TIMEOUT, Duration::from_millis);
    Ok(Some(Multiline { rule, timeout }))
}

fn format(files: &Files) -> Result<Format, ConfigError> {
    let pattern = files.pattern.as_deref();
    let wanted = || pattern.ok_or(ConfigError::NoPattern);
    let format = match files.format {
        FormatName::Auto => Format::Auto,
        FormatName::Text => Format::Text,
        FormatName::Detect => Format::Detect,
        FormatName::Logfmt => Format::Logfmt,
        FormatName::Syslog => Format::Syslog,
        FormatName::Access => Format::Access,
        FormatName::ServerError => Format::ServerError,
        FormatName::Klog => Format::Klog,
        FormatName::Regex => return Ok(Format::Pattern(Pattern::regex(wanted()?)?)),
        FormatName::Dissect => return Ok(Format::Pattern(Pattern::dissect(wanted()?)?)),
    };
    if pattern.is_some() {
        return Err(ConfigError::NeedlessPattern);
    }
    Ok(format)
}
