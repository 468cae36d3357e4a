//! Secrets are made unreadable before anything leaves the server: in messages and all texts.

use model::record::{FieldValue, KEPT_FIELD, Record};
use regex::{Captures, Regex};

use crate::parse::{PatternError, regex};

/// What is looked for, and what is put in its place.
#[derive(Debug, Clone)]
pub(crate) struct Redaction {
    seekers: Vec<Seeker>,
    /// Fields whose names say that they are secret, and what is put in the place of their values.
    secret: Option<(Regex, String)>,
}

#[derive(Debug, Clone)]
struct Seeker {
    regex: Regex,
    kind: Kind,
    with: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All of it.
    Whole,
    /// What follows the first group.
    Value,
    /// The same before an `@`.
    User,
    /// Digits that a card could have.
    Card,
}

/// Bytes at the end of a text that was cut which are only looked at: what begins before them is found whole,
/// and no half of a secret is left where the text ends.
pub(crate) const EDGE_BYTES: usize = 16 << 10;

const MAIL: &str = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,}";
const CARD: &str = r"\b(?:\d[ -]?){12,18}\d\b|\b\d{4}\.\d{4}\.\d{4}\.\d{4}\b";
/// How names end whose values are secret.
const SECRET: &str = "(?:token|secret|password|passwd|pwd|(?:api|access|private)[_-]?key)";
/// Fields that are secret as a whole: the last part of their names.
const FIELD: &str = "(?i)(?:^|[.])(?:[^.]*SECRET|(?:proxy-)?authorization)$";
const TOKEN: &str = r#"(?i)((?:bearer|basic)\s+|[\w-]*SECRET["']?\s*[=:]\s*)[^\s"',;&]{3,}"#;
/// In quotes anything may stand.
const QUOTED: &str = r#"(?i)([\w-]*SECRET["']?\s*[=:]\s*")(?:[^"\\]|\\.)+"#;
/// JSON in a text of JSON.
const ESCAPED: &str = r#"(?i)([\w-]*SECRET\\"\s*:\s*\\")[^"\\]+"#;
const QUOTED_ONCE: &str = r#"(?i)([\w-]*SECRET["']?\s*[=:]\s*')[^']+"#;
const USER: &str = r#"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"']*:)[^\s/@"']+@"#;
const JWT: &str = r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*";
const KEY: &str = r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bsk-[A-Za-z0-9_-]{20,}";

impl Redaction {
    /// `mail`, `card`, `token`, `key`, or `regex:…`; `with` replaces the usual `[mail]`.
    ///
    /// # Errors
    /// The expression is none, or the name means nothing.
    pub(crate) fn new(what: &[String], with: Option<&str>) -> Result<Self, PatternError> {
        let (mut seekers, mut secret) = (Vec::new(), None);
        for name in what {
            let own: &[(&str, Kind)] = match name.as_str() {
                "mail" => &[(MAIL, Kind::Whole)],
                "card" => &[(CARD, Kind::Card)],
                "token" => &[
                    (JWT, Kind::Whole),
                    (QUOTED, Kind::Value),
                    (ESCAPED, Kind::Value),
                    (QUOTED_ONCE, Kind::Value),
                    (TOKEN, Kind::Value),
                    (USER, Kind::User),
                ],
                "key" => &[(KEY, Kind::Whole)],
                other => {
                    let text = other
                        .strip_prefix("regex:")
                        .ok_or_else(|| PatternError::Unknown(other.to_owned()))?;
                    let with = with.unwrap_or("[redacted]").to_owned();
                    seekers.push(Seeker { regex: regex(text)?, kind: Kind::Whole, with });
                    continue;
                }
            };
            let with = with.map_or_else(|| format!("[{name}]"), str::to_owned);
            let full = |text: &str| regex(&text.replace("SECRET", SECRET));
            for (text, kind) in own {
                seekers.push(Seeker { regex: full(text)?, kind: *kind, with: with.clone() });
            }
            if name == "token" {
                secret = Some((full(FIELD)?, with));
            }
        }
        Ok(Self { seekers, secret })
    }

    /// Redacts the message, every text, and fields that are secret by their names. Texts of a record that was
    /// cut lose their last [`EDGE_BYTES`].
    pub(super) fn apply(&self, record: &mut Record) {
        let is_mark = |(name, value): &(String, FieldValue)| {
            name == KEPT_FIELD && matches!(value, FieldValue::Text(kept) if kept == "cut")
        };
        let edge_bytes = if record.fields.iter().any(is_mark) { EDGE_BYTES } else { 0 };
        self.text(&mut record.message, edge_bytes);
        for (name, value) in &mut record.fields {
            let secret = self.secret.as_ref().filter(|(names, _)| names.is_match(name));
            if let Some((_, with)) = secret {
                let text = value.to_text();
                // That there is none is no secret.
                if !matches!(text.as_str(), "" | "true" | "false") {
                    *value = FieldValue::Text(with.clone());
                }
            } else if let FieldValue::Text(text) = value {
                self.text(text, edge_bytes);
            } else if let FieldValue::Int(_) = value {
                // A card's number may have come as one.
                let mut text = value.to_text();
                self.text(&mut text, 0);
                if text != value.to_text() {
                    *value = FieldValue::Text(text);
                }
            }
        }
    }

    fn text(&self, text: &mut String, edge_bytes: usize) {
        // A short text of a record that was cut is not the one that was.
        let is_long = edge_bytes > 0 && text.len() >= 2 * edge_bytes;
        let kept = if is_long { text.len() - edge_bytes } else { text.len() };
        let mut edge = text.floor_char_boundary(kept);
        for seeker in &self.seekers {
            if let Some((redacted, moved)) = seeker.redacted(text, edge) {
                (*text, edge) = (redacted, moved);
            }
        }
        text.truncate(edge);
    }
}

impl Seeker {
    /// The text with what begins before `edge` made unreadable, and where the edge is then: behind what goes
    /// beyond it. `None`: nothing is found.
    fn redacted(&self, text: &str, edge: usize) -> Option<(String, usize)> {
        let (mut redacted, mut from) = (None, 0);
        for captures in self.regex.captures_iter(text) {
            let found = captures.get(0).filter(|found| found.start() < edge);
            let Some(found) = found else { break };
            if self.kind == Kind::Card && !is_card(found.as_str()) {
                continue;
            }
            let redacted = redacted.get_or_insert_with(|| String::with_capacity(text.len()));
            redacted.push_str(text.get(from..found.start()).unwrap_or_default());
            self.replace(&captures, redacted);
            from = found.end();
        }
        let mut redacted = redacted?;
        redacted.push_str(text.get(from..edge).unwrap_or_default());
        let moved = redacted.len();
        redacted.push_str(text.get(from.max(edge)..).unwrap_or_default());
        Some((redacted, moved))
    }

    /// What stands in the place of what was found.
    fn replace(&self, captures: &Captures<'_>, redacted: &mut String) {
        if matches!(self.kind, Kind::Value | Kind::User) {
            redacted.push_str(captures.get(1).map_or("", |name| name.as_str()));
        }
        redacted.push_str(&self.with);
        if self.kind == Kind::User {
            redacted.push('@');
        }
    }
}

/// 13 to 19 digits whose check digit is right (Luhn).
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            1 => digit * 2 / 10 + digit * 2 % 10,
            _ => *digit,
        })
        .sum();
    let all_equal = digits.windows(2).all(|pair| pair.first() == pair.last());
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10) && !all_equal
}
