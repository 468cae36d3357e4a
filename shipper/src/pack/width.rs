//! How much goes into a batch, and in which form: less after a refusal, down to the one record that is the
//! cause. That is kept as text, and where it does not get through either, as much of it as does.

use model::level::Level;
use model::limits::{BATCH_RECORDS_MAX, MESSAGE_BYTES_MAX};
use model::record::{FieldValue, KEPT_FIELD, POISON_FIELD, Record};
use model::text::cut;

use crate::feed::record::Note;
use crate::parse::{Line, Parser};

/// Bytes of a record's beginning below which its beginning is not tried: what takes so little takes none of it.
const CUT_BYTES_MIN: usize = 1 << 10;

/// How much goes into a batch, and in which form: narrowed after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Width {
    pub(crate) records_max: usize,
    /// Take one record in another form, for a reason.
    pub(crate) poison: Option<Poison>,
}

/// The form of a record that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poison {
    reason: String,
    /// Bytes of its text that are kept. None: a few words of ours stand in its place.
    text_bytes_max: usize,
}

impl Default for Width {
    fn default() -> Self {
        Self { records_max: BATCH_RECORDS_MAX, poison: None }
    }
}

impl Width {
    /// The next narrower width after a batch of so many records was refused. `None`: there is
    /// none, the one record was refused as plain text.
    pub(crate) fn narrower(&self, record_count: usize, reason: &str) -> Option<Self> {
        self.halved(record_count).or_else(|| {
            let poison = Poison { reason: reason.to_owned(), text_bytes_max: MESSAGE_BYTES_MAX };
            self.poison.is_none().then_some(Self { records_max: 1, poison: Some(poison) })
        })
    }

    /// Half as many records. `None`: it is one, or ones that end at one safe place, which stay together
    /// however narrow it is.
    pub(crate) fn halved(&self, record_count: usize) -> Option<Self> {
        let several = record_count > 1 && self.records_max > 1 && self.poison.is_none();
        several.then(|| Self { records_max: self.records_max.min(record_count) / 2, poison: None })
    }

    /// One record, and half as much of it as was refused of a line of so many bytes; words in its place when
    /// that is little. `None`: even those were refused.
    pub(crate) fn shortened(&self, line_bytes: u64, reason: &str) -> Option<Self> {
        let line_bytes = usize::try_from(line_bytes).unwrap_or(usize::MAX);
        let before = self.poison.as_ref().map_or(MESSAGE_BYTES_MAX, |it| it.text_bytes_max);
        let text_bytes_max = match before.min(line_bytes) / 2 {
            _ if before == 0 => return None,
            half if half < CUT_BYTES_MIN => 0,
            half => half,
        };
        let poison = Poison { reason: reason.to_owned(), text_bytes_max };
        Some(Self { records_max: 1, poison: Some(poison) })
    }

    /// Whether a record is sent in its place of which less than all is kept.
    pub(crate) fn cuts(&self) -> bool {
        self.poison.as_ref().is_some_and(|poison| poison.text_bytes_max < MESSAGE_BYTES_MAX)
    }

    /// Whether nothing of a record is kept.
    pub(crate) fn leaves_out(&self) -> bool {
        self.poison.as_ref().is_some_and(|poison| poison.text_bytes_max == 0)
    }
}

impl Poison {
    /// The record of a line of so many bytes, of which the beginning may be all there is.
    pub(super) fn record(&self, parser: &mut Parser, line: Line<'_>, bytes: u64) -> Option<Record> {
        let partial = bytes > line.text.len() as u64;
        let note = Note { cut: line.note.cut || partial, ..line.note };
        // What is to be redacted is, before a cut could leave the half of it.
        let record = parser.poisoned(Line { note, ..line }, &self.reason)?;
        Some(self.kept(record, partial, i64::try_from(bytes).unwrap_or(i64::MAX)))
    }

    fn kept(&self, mut record: Record, partial: bool, bytes: i64) -> Record {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        if self.text_bytes_max == 0 {
            let reason = &self.reason;
            return Record {
                timestamp: record.timestamp,
                level: Level::Error,
                message: format!(
                    "gap: a line of {bytes} bytes is refused, however little of it is sent: {reason}"
                ),
                fields: vec![
                    ("gap_bytes".to_owned(), FieldValue::Int(bytes)),
                    (POISON_FIELD.to_owned(), text(reason)),
                ],
            };
        }
        let kept = cut(&record.message, self.text_bytes_max).len();
        if partial || kept < record.message.len() {
            record.message.truncate(kept);
            record.fields.retain(|(name, value)| name != "_bytes" && *value != text("cut"));
            record.fields.push((KEPT_FIELD.to_owned(), text("cut")));
            record.fields.push(("_bytes".to_owned(), FieldValue::Int(bytes)));
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::time::Timestamp;

    use super::*;
    use crate::recipe::Recipe;
    use crate::shape::{Action, EDGE_BYTES, Redaction, Rule, Rules};

    /// The record that goes in the place of this line.
    fn record(width: &Width, line: &str) -> Record {
        let mut parser = Parser::new(Arc::new(Recipe::default()), Timestamp(0), None);
        let poison = width.poison.as_ref().unwrap();
        poison.record(&mut parser, Line::bare(line.as_bytes(), 0), line.len() as u64).unwrap()
    }

    #[test]
    fn one_record_is_shortened_until_nothing_of_it_is_left() {
        let line = "€".repeat(2_000);
        let (mut width, mut lengths) = (Width::default(), Vec::new());
        while let Some(shorter) = width.shortened(line.len() as u64, "why") {
            assert!(shorter.cuts() && shorter.records_max == 1);
            width = shorter;
            let record = record(&width, &line);
            let has =
                |name: &str, value: FieldValue| record.fields.contains(&(name.to_owned(), value));
            assert!(has("_poison", FieldValue::Text("why".to_owned())), "{record:?}");
            if width.leaves_out() {
                assert!(record.message.starts_with("gap: a line of 6000 bytes"), "{record:?}");
                assert!(has("gap_bytes", FieldValue::Int(6_000)));
            } else {
                assert!(line.starts_with(&record.message));
                assert!(has("_kept", FieldValue::Text("cut".to_owned())));
                assert!(has("_bytes", FieldValue::Int(6_000)));
                lengths.push(record.message.len());
            }
        }
        assert!(width.leaves_out());
        assert_eq!(lengths, [3_000, 1_500]);
    }

    #[test]
    fn what_is_refused_by_a_node_is_text_before_it_is_less() {
        let poison = Width::default().narrower(1, "why").unwrap();
        assert!(!poison.cuts() && poison.narrower(1, "why").is_none());
        assert_eq!(record(&poison, "whole").message, "whole");
        let shorter = poison.shortened(10_000, "why").unwrap();
        assert_eq!(record(&shorter, &"x".repeat(10_000)).message.len(), 5_000);
        // Short ones are left out at once.
        assert!(poison.shortened(100, "why").unwrap().leaves_out());
    }

    #[test]
    fn what_was_cut_before_it_was_refused_keeps_its_mark_and_no_half_of_a_secret() {
        let redaction = Redaction::new(&["mail".to_owned()], None).unwrap();
        let rules = Rules(vec![Rule { when: Vec::new(), action: Action::Redact(redaction) }]);
        let recipe = Arc::new(Recipe { rules, ..Recipe::default() });
        let mut parser = Parser::new(recipe, Timestamp(0), None);
        let poison = Width::default().narrower(1, "why").and_then(|width| width.poison).unwrap();
        let text = "- ".repeat(EDGE_BYTES) + "john.doe@exam";
        let (line, bytes) = (Line::bare(text.as_bytes(), 0), text.len() as u64);
        let spooled = Line { note: Note { cut: true, ..line.note }, ..line };
        // Cut here, and when it came.
        for (line, bytes) in [(line, bytes + 9), (spooled, bytes)] {
            let record = poison.record(&mut parser, line, bytes).unwrap();
            assert_eq!(record.message, text[..text.len() - EDGE_BYTES]);
            let marks = record.fields.iter().filter(|(name, _)| name == KEPT_FIELD).count();
            assert_eq!(marks, 1, "{:?}", record.fields);
        }
    }

    #[test]
    fn only_records_that_can_part_are_halved() {
        let width = Width { records_max: 5, poison: None };
        assert_eq!(width.halved(9).map(|width| width.records_max), Some(2));
        assert_eq!(width.halved(1), None);
        assert_eq!(Width { records_max: 1, poison: None }.halved(3), None);
    }
}
