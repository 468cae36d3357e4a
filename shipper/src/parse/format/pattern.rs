//! Patterns of one's own: a regular expression with named groups, or a dissect pattern such as
//! `%{client} - %{user} [%{time}] %{status:int}`.
//!
//! The names `time`, `level` and `message` say what the record's own are; a name ended by `:int`
//! or `:float` (in regular expressions `__int`, `__float`) is that kind of number.

use std::borrow::Cow;

use model::level::Level;
use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_until};
use nom::combinator::map;
use nom::multi::many1;
use nom::sequence::delimited;
use nom::{IResult, Parser as _};
use regex::{Regex, RegexBuilder};

use super::Said;

/// Bytes that a compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What a field of a dissect pattern may be, beside text.
const KINDS: [&str; 2] = ["int", "float"];

/// A pattern, ready to use.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Regex(Regex),
    Dissect(Vec<Part>),
}

/// A part of a dissect pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Stands in the line as it is.
    Literal(String),
    /// Everything up to the next literal; no name: left out.
    Field(String),
}

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is no regular expression.
    #[error("{pattern:?} is no regular expression")]
    Regex {
        /// As it was given.
        pattern: String,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// It names no field.
    #[error("{0:?} names nothing: write (?<name>…) around what shall be a field")]
    Nameless(String),
    /// It is no dissect pattern.
    #[error(
        "{0:?} is no dissect pattern: write %{{name}}, %{{name:int}} or %{{name:float}}, with text between \
         two of them"
    )]
    Dissect(String),
    /// No such thing can be redacted.
    #[error("{0:?} cannot be redacted: there are mail, card, token, key, and regex:EXPRESSION")]
    Unknown(String),
}

impl Pattern {
    /// A regular expression.
    ///
    /// # Errors
    /// It is none, would take too much memory, or names no field.
    pub(crate) fn regex(pattern: &str) -> Result<Self, PatternError> {
        let regex = regex(pattern)?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(PatternError::Nameless(pattern.to_owned()));
        }
        Ok(Self::Regex(regex))
    }

    /// A dissect pattern.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn dissect(pattern: &str) -> Result<Self, PatternError> {
        let error = || PatternError::Dissect(pattern.to_owned());
        let (rest, parts) = parts(pattern).map_err(|_| error())?;
        let two = parts.windows(2).any(|w| matches!(w, [Part::Field(_), Part::Field(_)]));
        let mut names = parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        });
        let none = names.clone().next().is_none();
        let kind = |name: &str| name.rsplit_once(':').is_none_or(|(_, kind)| KINDS.contains(&kind));
        if !rest.is_empty() || two || none || !names.all(kind) {
            return Err(error());
        }
        Ok(Self::Dissect(parts))
    }

    /// The fields of a line that matches.
    pub(super) fn read(&self, line: &str) -> Option<Said> {
        let mut said = Said::default();
        match self {
            Self::Regex(regex) => {
                let found = regex.captures(line)?;
                for name in regex.capture_names().flatten() {
                    if let Some(value) = found.name(name) {
                        said.named(&with_kind(name), value.as_str());
                    }
                }
            }
            Self::Dissect(parts) => {
                let mut rest = line;
                let mut parts = parts.iter().peekable();
                while let Some(part) = parts.next() {
                    match (part, parts.peek()) {
                        (Part::Literal(text), _) => rest = rest.strip_prefix(text.as_str())?,
                        (Part::Field(name), Some(Part::Literal(text))) => {
                            let (value, _) = rest.split_at_checked(rest.find(text.as_str())?)?;
                            rest = rest.get(value.len()..)?;
                            said.named(name, value);
                        }
                        (Part::Field(name), _) => said.named(name, std::mem::take(&mut rest)),
                    }
                }
            }
        }
        Some(said)
    }
}

/// A group's name as a dissect pattern writes it.
fn with_kind(name: &str) -> Cow<'_, str> {
    match name.rsplit_once("__") {
        Some((name, kind)) if KINDS.contains(&kind) => Cow::Owned(format!("{name}:{kind}")),
        _ => Cow::Borrowed(name),
    }
}

/// Compiles an expression within bounds.
///
/// # Errors
/// It is none, or would take too much memory.
pub(crate) fn regex(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|source| {
        PatternError::Regex { pattern: pattern.to_owned(), source: Box::new(source) }
    })
}

impl Said {
    fn named(&mut self, name: &str, value: &str) {
        match name.rsplit_once(':') {
            _ if name.is_empty() => {}
            _ if ["time", "timestamp"].contains(&name) => self.time = Some(value.to_owned()),
            None if name == "message" => self.message = Some(value.to_owned()),
            None if name == "level" => {
                self.level = Level::from_word(value);
                self.text(name, value);
            }
            Some((name, "int")) => self.number(name, value),
            Some((name, "float")) => self.guess(name, value),
            _ => self.text(name, value),
        }
    }
}

fn parts(pattern: &str) -> IResult<&str, Vec<Part>> {
    let field = delimited(tag("%{"), take_until("}"), tag("}"));
    let literal = alt((is_not("%"), tag("%")));
    many1(alt((
        map(field, |name: &str| Part::Field(name.to_owned())),
        map(literal, |text: &str| Part::Literal(text.to_owned())),
    )))
    .parse(pattern)
}
