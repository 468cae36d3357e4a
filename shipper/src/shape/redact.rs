//! Secrets are made unreadable before anything leaves the server: in messages and all texts.

use std::borrow::Cow;

use model::record::{FieldValue, Record};
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

    /// Redacts the message, every text, and fields that are secret by their names.
    pub(super) fn apply(&self, record: &mut Record) {
        self.text(&mut record.message);
        for (name, value) in &mut record.fields {
            let secret = self.secret.as_ref().filter(|(names, _)| names.is_match(name));
            if let Some((_, with)) = secret {
                let text = value.to_text();
                // That there is none is no secret.
                if !matches!(text.as_str(), "" | "true" | "false") {
                    *value = FieldValue::Text(with.clone());
                }
            } else if let FieldValue::Text(text) = value {
                self.text(text);
            } else if let FieldValue::Int(_) = value {
                // A card's number may have come as one.
                let mut text = value.to_text();
                self.text(&mut text);
                if text != value.to_text() {
                    *value = FieldValue::Text(text);
                }
            }
        }
    }

    fn text(&self, text: &mut String) {
        for seeker in &self.seekers {
            let replaced = seeker.regex.replace_all(text, |found: &Captures<'_>| {
                let whole = found.get(0).map_or("", |found| found.as_str());
                match seeker.kind {
                    Kind::Whole => seeker.with.clone(),
                    Kind::Value | Kind::User => {
                        let name = found.get(1).map_or("", |found| found.as_str());
                        let end = if seeker.kind == Kind::User { "@" } else { "" };
                        [name, &seeker.with, end].concat()
                    }
                    Kind::Card if is_card(whole) => seeker.with.clone(),
                    Kind::Card => whole.to_owned(),
                }
            });
            if let Cow::Owned(replaced) = replaced {
                *text = replaced;
            }
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
