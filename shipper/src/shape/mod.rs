//! What is changed in records before they leave the server: fields, rules, redaction, rates.

mod rate;
mod redact;
#[cfg(test)]
mod tests;

use model::level::Level;
use model::record::{FieldValue, Record};
use regex::Regex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use rate::Rate;
#[cfg(test)]
pub(crate) use redact::EDGE_BYTES;
pub(crate) use redact::Redaction;

/// One rule: what it is for, and what it does.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) when: Vec<Condition>,
    pub(crate) action: Action,
}

/// What must hold for a rule.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// `message`, `level`, or a field.
    pub(crate) field: String,
    pub(crate) test: Test,
}

/// How a value is judged.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Is(String),
    Not(String),
    Matches(Regex),
    Exists,
    /// The level is milder than this one, and known.
    Below(Level),
}

/// What a rule does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// The record is not sent.
    Drop,
    /// Of so many records one is sent, always the same ones.
    Sample(u64),
    Add {
        field: String,
        value: FieldValue,
    },
    Remove(String),
    Rename {
        field: String,
        to: String,
    },
    Redact(Redaction),
}

/// All rules of a source, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules(pub(crate) Vec<Rule>);

impl Rules {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the rules. `seed` is the record's place: sampling chooses the same records when
    /// it is read again. `None`: the record is not sent.
    pub(crate) fn apply(&self, mut record: Record, seed: u64) -> Option<Record> {
        for rule in &self.0 {
            if !rule.when.iter().all(|condition| condition.holds(&record)) {
                continue;
            }
            match &rule.action {
                Action::Drop => return None,
                Action::Sample(one_in) => {
                    let drawn = xxh3_64_with_seed(record.message.as_bytes(), seed);
                    if !drawn.is_multiple_of(*one_in) {
                        return None;
                    }
                }
                Action::Add { field, value } => {
                    record.fields.retain(|(name, _)| name != field);
                    record.fields.push((field.clone(), value.clone()));
                }
                Action::Remove(field) => record.fields.retain(|(name, _)| name != field),
                Action::Rename { field, to } => {
                    for (name, _) in &mut record.fields {
                        if name == field {
                            name.clone_from(to);
                        }
                    }
                }
                Action::Redact(redaction) => redaction.apply(&mut record),
            }
        }
        Some(record)
    }
}

impl Condition {
    fn holds(&self, record: &Record) -> bool {
        if let Test::Below(level) = self.test {
            return record.level != Level::Unknown && record.level < level;
        }
        let mut values = record.fields.iter().filter(|(name, _)| *name == self.field);
        match self.field.as_str() {
            "message" => self.test.holds(&record.message),
            "level" => self.test.holds(record.level.name()),
            _ if matches!(self.test, Test::Not(_)) => {
                values.all(|(_, value)| self.test.holds(&value.to_text()))
            }
            _ => values.any(|(_, value)| self.test.holds(&value.to_text())),
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::Not(unwanted) => value != unwanted,
            Self::Matches(regex) => regex.is_match(value),
            Self::Exists => true,
            Self::Below(_) => false,
        }
    }
}
