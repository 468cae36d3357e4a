//! The patterns of a split: the normal forms that the messages of each template have, with their
//! rows, their first and last time, and an example. Most templates have one: what varies in them
//! varies by its look. Others have words in a slot, each of which makes another pattern; and rows
//! that have no template have a pattern each.

use std::io;

use super::coding::{Reader, malformed, put, put_bytes};
use super::lex::{SLOT, pattern_of, show};
use super::rowset::RowSet;
use super::templates::{Template, Templates};

/// Forms of a template that are kept; of one with more its rows are read.
const FORMS_MAX: usize = 64;
/// So few are kept of however few rows; of more each must stand for as many rows.
const FORMS_FREE: usize = 16;
const FORM_ROWS_MIN: usize = 4;
/// Bytes of an example that is kept, likewise.
const EXAMPLE_BYTES_MAX: usize = 2 << 10;
/// Bytes of all forms of a split, likewise.
const BYTES_MAX: usize = 4 << 20;
/// Bytes that a form takes beside its texts, about.
const FORM_BYTES: usize = 64;

/// Rows of a template whose messages have one normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// The pattern.
    pub(super) text: String,
    pub(super) rows: u32,
    /// Earliest and latest timestamp.
    pub(super) times: (i64, i64),
    /// The least of the messages, by bytes.
    pub(super) example: String,
}

/// The forms of each template of a split; none of a template whose rows must be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Patterns(Vec<Vec<Form>>);

impl Patterns {
    /// What templates tell by themselves, in a split that was written without forms: rows of one that
    /// has no slot have one message.
    pub(super) fn of_templates(templates: &Templates) -> Self {
        let forms = |template: &Template| {
            let fixed = template.key.fixed().filter(|text| !text.contains(&SLOT));
            let message = fixed.and_then(|text| std::str::from_utf8(text).ok());
            let form = message.map(|message| Form {
                text: pattern_of(message),
                rows: template.rows.end - template.rows.start,
                times: (template.time_first, template.time_last),
                example: message.to_owned(),
            });
            form.into_iter().collect::<Vec<Form>>()
        };
        Self(templates.0.iter().map(forms).collect())
    }

    /// All forms of a template; none where its rows must be read.
    pub(super) fn forms(&self, template: usize) -> &[Form] {
        self.0.get(template).map_or(&[], Vec::as_slice)
    }

    /// The form that all rows of a template have.
    pub(super) fn only(&self, template: usize) -> Option<&Form> {
        match self.forms(template) {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The rows whose pattern is known by their template.
    pub(super) fn told_rows(&self, templates: &Templates) -> RowSet {
        let told = templates.0.iter().enumerate().filter(|(at, _)| self.only(*at).is_some());
        RowSet::from_sorted(told.map(|(_, template)| template.rows.clone()))
    }

    /// The bytes of the section.
    pub(super) fn encode(&self, templates: &Templates) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.0.len() as u64);
        for (forms, template) in self.0.iter().zip(&templates.0) {
            let shown = shown(template);
            put(&mut out, forms.len() as u64);
            for form in forms {
                // Only the empty message has an empty pattern, and it is shown so.
                let text = if form.text == shown { "" } else { &form.text };
                put_bytes(&mut out, text.as_bytes());
                put(&mut out, u64::from(form.rows));
                put(&mut out, form.times.0.abs_diff(template.time_first));
                put(&mut out, form.times.1.abs_diff(form.times.0));
                put_bytes(&mut out, form.example.as_bytes());
            }
        }
        out
    }

    /// Undoes [`Patterns::encode`].
    pub(super) fn decode(bytes: &[u8], templates: &Templates) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let mut all = Vec::new();
        for template in &templates.0 {
            all.push(decode_forms(&mut reader, template)?);
        }
        let is_whole = count == templates.0.len() as u64 && reader.is_empty();
        if is_whole { Ok(Self(all)) } else { Err(malformed()) }
    }
}

fn decode_forms(reader: &mut Reader<'_>, template: &Template) -> io::Result<Vec<Form>> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
    let (mut forms, mut sum) = (Vec::new(), 0_u32);
    for _ in 0..reader.number()? {
        let own = utf8(reader.bytes()?)?;
        let text = if own.is_empty() { shown(template) } else { own };
        let rows = reader.small()?;
        let first = template.time_first.checked_add_unsigned(reader.number()?);
        let first = first.ok_or_else(malformed)?;
        let last = first.checked_add_unsigned(reader.number()?).ok_or_else(malformed)?;
        let example = utf8(reader.bytes()?)?;
        forms.push(Form { text, rows, times: (first, last), example });
        sum = sum.checked_add(rows).ok_or_else(malformed)?;
    }
    let all = template.rows.end - template.rows.start;
    if forms.is_empty() || sum == all { Ok(forms) } else { Err(malformed()) }
}

/// A template as people read it; nothing of rows without one.
fn shown(template: &Template) -> String {
    template.key.fixed().map(show).unwrap_or_default()
}

/// Whether forms save the reading of rows: nearly as many as there are rows do not.
fn is_worth(forms: &[Form]) -> bool {
    let rows: usize = forms.iter().map(|form| form.rows as usize).sum();
    forms.len() <= FORMS_FREE || forms.len() * FORM_ROWS_MIN <= rows
}

/// Finds patterns while rows are written.
#[derive(Debug, Default)]
pub(super) struct PatternFinder {
    /// By template; `None` of one whose rows must be read.
    templates: Vec<Option<Vec<Form>>>,
    /// The place of the last template's form that is told by its slots.
    told: Option<usize>,
    /// Bytes of the last template's forms, and of all before it.
    bytes: (usize, usize),
}

impl PatternFinder {
    /// Adds the next row, which is of the same template as the one before or of the next. All its
    /// slots hold tokens that always vary where it `is_told`: then its form is that of the others
    /// of which that is so.
    pub(super) fn add(&mut self, template: usize, message: &str, is_told: bool, time: i64) {
        while self.templates.len() <= template {
            self.templates.push(Some(Vec::new()));
            self.told = None;
            self.bytes = (0, self.bytes.0 + self.bytes.1);
        }
        let Some(Some(forms)) = self.templates.last_mut() else { return };
        let place = match self.told.filter(|_| is_told) {
            Some(place) => place,
            None => {
                let text = pattern_of(message);
                let known = forms.iter().position(|form| form.text == text);
                known.unwrap_or_else(|| {
                    self.bytes.0 += FORM_BYTES + text.len() + message.len();
                    let example = message.to_owned();
                    forms.push(Form { text, rows: 0, times: (time, time), example });
                    forms.len() - 1
                })
            }
        };
        if is_told {
            self.told = Some(place);
        }
        let mut is_long = forms.len() > FORMS_MAX;
        if let Some(form) = forms.get_mut(place) {
            form.rows += 1;
            form.times = (form.times.0.min(time), form.times.1.max(time));
            if message < form.example.as_str() {
                self.bytes.0 = self.bytes.0 + message.len() - form.example.len();
                form.example.clear();
                form.example.push_str(message);
            }
            is_long |= form.example.len() > EXAMPLE_BYTES_MAX;
        }
        if is_long || self.bytes.0 + self.bytes.1 > BYTES_MAX {
            self.bytes.0 = 0;
            if let Some(last) = self.templates.last_mut() {
                *last = None;
            }
        }
    }

    /// The patterns found.
    pub(super) fn finish(self) -> Patterns {
        let worth =
            |forms: Option<Vec<Form>>| forms.filter(|forms| is_worth(forms)).unwrap_or_default();
        Patterns(self.templates.into_iter().map(worth).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::TemplateKey;

    fn template(text: Option<&str>, rows: std::ops::Range<u32>, times: (i64, i64)) -> Template {
        let text = text.map(|text| text.replace('*', "\u{1}").into_bytes());
        let is_loose = text.is_none();
        let slot = |byte: u8| if byte == 1 { SLOT } else { byte };
        let text = text.unwrap_or_default().into_iter().map(slot).collect();
        let key = TemplateKey { service: String::new(), is_loose, text };
        Template { key, rows, time_first: times.0, time_last: times.1 }
    }

    fn form(text: &str, rows: u32, times: (i64, i64), example: &str) -> Form {
        Form { text: text.to_owned(), rows, times, example: example.to_owned() }
    }

    #[test]
    fn forms_are_those_of_the_messages() {
        let templates = Templates(vec![
            template(Some("took * ms"), 0..2, (3, 9)),
            template(Some("user * went"), 2..5, (i64::MIN, i64::MAX)),
            template(Some(""), 5..6, (4, 4)),
            template(None, 6..8, (1, 2)),
        ]);
        let mut finder = PatternFinder::default();
        let rows = [
            (0, "took 7 ms", true, 9),
            (0, "took 12 ms", true, 3),
            (1, "user bob went", false, i64::MAX),
            (1, "user 7 went", true, i64::MIN),
            (1, "user bob went", false, 5),
            (2, "", true, 4),
            (3, "", false, 1),
            (3, "once 1", false, 2),
        ];
        for (template, message, is_told, time) in rows {
            finder.add(template, message, is_told, time);
        }
        let patterns = finder.finish();
        let expected = [
            vec![form("took <*> ms", 2, (3, 9), "took 12 ms")],
            vec![
                form("user bob went", 2, (5, i64::MAX), "user bob went"),
                form("user <*> went", 1, (i64::MIN, i64::MIN), "user 7 went"),
            ],
            vec![form("", 1, (4, 4), "")],
            vec![form("", 1, (1, 1), ""), form("once <*>", 1, (2, 2), "once 1")],
        ];
        assert_eq!(patterns.0, expected);
        let bytes = patterns.encode(&templates);
        assert_eq!(Patterns::decode(&bytes, &templates).unwrap(), patterns);
        assert_eq!(patterns.told_rows(&templates).ranges(), [0..2, 5..6]);
        let other = Templates(templates.0[..3].to_vec());
        assert!(Patterns::decode(&bytes, &other).is_err());
        for end in 0..bytes.len() {
            assert!(Patterns::decode(&bytes[..end], &templates).is_err(), "{end}");
        }
        // Without the section only what has no slot is known.
        let own = Patterns::of_templates(&templates);
        assert_eq!(own.0, [vec![], vec![], vec![form("", 1, (4, 4), "")], vec![]]);
    }

    #[test]
    fn of_too_many_or_too_long_forms_nothing_is_kept() {
        let mut finder = PatternFinder::default();
        for number in 0..=FORMS_MAX {
            for _ in 0..FORM_ROWS_MIN {
                finder.add(0, &format!("user {}", "x".repeat(number + 1)), false, 1);
            }
        }
        finder.add(1, &"x".repeat(EXAMPLE_BYTES_MAX + 1), true, 1);
        finder.add(1, "x", true, 1);
        finder.add(2, &"y".repeat(EXAMPLE_BYTES_MAX + 1), false, 1);
        finder.add(3, "short", true, 1);
        // Nearly as many as rows, and a few of many rows.
        for (template, rows) in [(4, FORM_ROWS_MIN - 1), (5, FORM_ROWS_MIN)] {
            for number in 0..=FORMS_FREE * rows + rows - 1 {
                finder.add(template, &"x".repeat(number % (FORMS_FREE + 1) + 1), false, 1);
            }
        }
        let patterns = finder.finish();
        let counts: Vec<usize> = (0..6).map(|at| patterns.forms(at).len()).collect();
        assert_eq!(counts, [0, 0, 0, 1, 0, FORMS_FREE + 1]);
    }
}
