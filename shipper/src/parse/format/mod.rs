//! Formats of text lines → fields. A line that is not of its format has no fields; it is shipped
//! as it is. The message is always the whole line, unless a pattern of one's own names another.

mod access;
mod klog;
mod logfmt;
mod pattern;
mod server;
mod syslog;
#[cfg(test)]
mod tests;

use model::level::Level;
use model::record::FieldValue;

pub(crate) use pattern::PatternError;
pub(crate) use pattern::{Pattern, regex};

/// Fields of one line; more are left in the line.
const FIELDS_MAX: usize = 256;

/// How lines of text are read.
#[derive(Debug, Clone, Default)]
pub(crate) enum Format {
    /// JSON objects by their fields, other lines as text.
    #[default]
    Auto,
    /// Every line as text.
    Text,
    /// As [`Format::Auto`], and text in whichever of the formats below it is.
    Detect,
    /// `name=value name="a value"`.
    Logfmt,
    /// RFC 5424 and RFC 3164, with or without `<PRI>`.
    Syslog,
    /// Common and combined access logs of Apache and Nginx.
    Access,
    /// Error logs of Apache and Nginx.
    ServerError,
    /// Kubernetes' own components.
    Klog,
    /// A regular expression with names, or a dissect pattern.
    Pattern(Pattern),
}

/// What a line says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) fields: Vec<(String, FieldValue)>,
    /// The level, where the format states it otherwise than a text does.
    pub(crate) level: Option<Level>,
    /// The text that states the time, where it is not at the beginning.
    pub(crate) time: Option<String>,
    /// The message, where a pattern names one.
    pub(crate) message: Option<String>,
}

impl Said {
    fn push(&mut self, name: &str, value: FieldValue) {
        if self.fields.len() < FIELDS_MAX && !name.is_empty() {
            self.fields.push((name.to_owned(), value));
        }
    }

    /// A text; nothing when there is none.
    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() && value != "-" {
            self.push(name, FieldValue::Text(value.to_owned()));
        }
    }

    /// A whole number; a text when it is none.
    fn number(&mut self, name: &str, value: &str) {
        match value.parse() {
            Ok(number) => self.push(name, FieldValue::Int(number)),
            Err(_) => self.text(name, value),
        }
    }

    /// A number, truth or text, by how it looks.
    fn guess(&mut self, name: &str, value: &str) {
        let value = match value {
            "true" => FieldValue::Bool(true),
            "false" => FieldValue::Bool(false),
            _ => match number(value) {
                Some(number) => number,
                None => FieldValue::Text(value.to_owned()),
            },
        };
        self.push(name, value);
    }
}

/// A number as people write it; ids with leading zeros and versions are none.
fn number(text: &str) -> Option<FieldValue> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let first = digits.bytes().next().filter(u8::is_ascii_digit)?;
    if first == b'0' && digits.len() > 1 && !digits.starts_with("0.") {
        return None;
    }
    if let Ok(number) = text.parse() {
        return Some(FieldValue::Int(number));
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let float = text.parse::<f64>().ok().filter(|number| plain && number.is_finite())?;
    Some(FieldValue::Float(float))
}

impl Format {
    /// What the line says in this format; `None` when it is not of it.
    pub(crate) fn read(&self, line: &str) -> Option<Said> {
        match self {
            Self::Auto | Self::Text => None,
            Self::Detect => detect(line),
            Self::Logfmt => logfmt::read(line),
            Self::Syslog => syslog::read(line),
            Self::Access => access::read(line),
            Self::ServerError => server::read(line),
            Self::Klog => klog::read(line),
            Self::Pattern(pattern) => pattern.read(line),
        }
    }
}

/// The formats that cannot be mistaken for each other, in a fixed order: what a line is does not
/// depend on the lines before it.
fn detect(line: &str) -> Option<Said> {
    klog::read(line)
        .or_else(|| line.starts_with('<').then(|| syslog::read(line)).flatten())
        .or_else(|| access::read(line))
        .or_else(|| server::read(line))
        .or_else(|| syslog::read(line))
        .or_else(|| logfmt::detect(line))
}
