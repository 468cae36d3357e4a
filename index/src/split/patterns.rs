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

impl Form {
    /// What it takes, about.
    fn bytes(&self) -> usize {
        FORM_BYTES + self.text.len() + self.example.len()
    }

    /// Adds more rows of the same form.
    fn join(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.times = (self.times.0.min(other.times.0), self.times.1.max(other.times.1));
        self.example = std::mem::take(&mut self.example).min(other.example);
    }
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

/// The forms of the templates of splits that become one, added up: none of a template of which a split
/// does not know them.
#[derive(Debug, Default)]
pub(super) struct PatternSums {
    /// By the numbers of the templates; `None` of one whose rows must be looked at.
    templates: Vec<Option<Vec<Form>>>,
    bytes: usize,
}

impl PatternSums {
    /// Of so many templates.
    pub(super) fn new(count: usize) -> Self {
        Self { templates: vec![Some(Vec::new()); count], bytes: 0 }
    }

    /// Adds those of a split with all its rows, whose templates have these numbers. With more bytes
    /// than a split keeps nothing is known.
    pub(super) fn add(&mut self, patterns: Patterns, numbers: &[u32]) {
        for (forms, number) in patterns.0.into_iter().zip(numbers) {
            let Some(known) = self.templates.get_mut(*number as usize) else { continue };
            let Some(sums) = known.as_mut().filter(|_| !forms.is_empty()) else {
                self.bytes -= known.take().map_or(0, |forms| bytes_of(&forms));
                continue;
            };
            for form in forms {
                match sums.iter_mut().find(|sum| sum.text == form.text) {
                    Some(sum) => {
                        self.bytes -= sum.bytes();
                        sum.join(form);
                        self.bytes += sum.bytes();
                    }
                    None => {
                        self.bytes += form.bytes();
                        sums.push(form);
                    }
                }
            }
            if sums.len() > FORMS_MAX {
                self.bytes -= known.take().map_or(0, |forms| bytes_of(&forms));
            }
            if self.bytes > BYTES_MAX {
                *self = Self::default();
            }
        }
    }

    /// Those of a template, which are asked once; `None` where its rows must be looked at.
    pub(super) fn take(&mut self, number: u32) -> Option<Vec<Form>> {
        let forms = self.templates.get_mut(number as usize)?.take()?;
        (!forms.is_empty()).then_some(forms)
    }
}

fn bytes_of(forms: &[Form]) -> usize {
    forms.iter().map(Form::bytes).sum()
}

/// Finds patterns while rows are written.
#[derive(Debug, Default)]
pub(super) struct PatternFinder {
    /// By template; `None` of one whose rows must be read.
    templates: Vec<Option<Vec<Form>>>,
    /// Whether the forms of the last template were known before its rows came.
    is_known: bool,
    /// The place of the last template's form that is told by its slots.
    told: Option<usize>,
    /// Bytes of the last template's forms, and of all before it.
    bytes: (usize, usize),
}

impl PatternFinder {
    /// Goes on with the next template. Where its forms are known nothing is looked for in its rows.
    pub(super) fn begin(&mut self, known: Option<Vec<Form>>) {
        self.told = None;
        self.bytes = (known.as_deref().map_or(0, bytes_of), self.bytes.0 + self.bytes.1);
        self.is_known = known.is_some();
        self.templates.push(Some(known.unwrap_or_default()));
        if self.bytes.0 + self.bytes.1 > BYTES_MAX {
            self.give_up();
        }
    }

    /// Whether the rows of the last template are to be added.
    pub(super) fn is_looking(&self) -> bool {
        !self.is_known && matches!(self.templates.last(), Some(Some(_)))
    }

    fn give_up(&mut self) {
        self.bytes.0 = 0;
        if let Some(last) = self.templates.last_mut() {
            *last = None;
        }
    }

    /// Adds the next row of the last template. All its slots hold tokens that always vary where it
    /// `is_told`: then its form is that of the others of which that is so.
    pub(super) fn add(&mut self, message: &str, is_told: bool, time: i64) {
        let Some(Some(forms)) = self.templates.last_mut() else { return };
        let place = match self.told.filter(|_| is_told) {
            Some(place) => place,
            None => {
                let text = pattern_of(message);
                let known = forms.iter().position(|form| form.text == text);
                known.unwrap_or_else(|| {
                    let example = message.to_owned();
                    let form = Form { text, rows: 0, times: (time, time), example };
                    self.bytes.0 += form.bytes();
                    forms.push(form);
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
            self.give_up();
        }
    }

    /// The patterns found of templates that have so many rows.
    pub(super) fn finish(self, row_counts: impl IntoIterator<Item = u32>) -> Patterns {
        let worth = |(forms, count): (Option<Vec<Form>>, u32)| {
            let all = |forms: &Vec<Form>| {
                let rows: u64 = forms.iter().map(|form| u64::from(form.rows)).sum();
                rows == u64::from(count)
            };
            forms.filter(|forms| all(forms) && is_worth(forms)).unwrap_or_default()
        };
        Patterns(self.templates.into_iter().zip(row_counts).map(worth).collect())
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
        let mut last = None;
        for (template, message, is_told, time) in rows {
            if last.replace(template) != Some(template) {
                finder.begin(None);
            }
            finder.add(message, is_told, time);
        }
        let patterns = finder.finish([2, 3, 1, 2]);
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
        finder.begin(None);
        for number in 0..=FORMS_MAX {
            for _ in 0..FORM_ROWS_MIN {
                finder.add(&format!("user {}", "x".repeat(number + 1)), false, 1);
            }
        }
        assert!(!finder.is_looking());
        finder.begin(None);
        finder.add(&"x".repeat(EXAMPLE_BYTES_MAX + 1), true, 1);
        finder.add("x", true, 1);
        finder.begin(None);
        finder.add(&"y".repeat(EXAMPLE_BYTES_MAX + 1), false, 1);
        finder.begin(None);
        finder.add("short", true, 1);
        assert!(finder.is_looking());
        // Nearly as many as rows, and a few of many rows.
        let mut counts = vec![65 * 4, 2, 1, 1];
        for rows in [FORM_ROWS_MIN - 1, FORM_ROWS_MIN] {
            finder.begin(None);
            let count = (FORMS_FREE + 1) * rows;
            for number in 0..count {
                finder.add(&"x".repeat(number % (FORMS_FREE + 1) + 1), false, 1);
            }
            counts.push(u32::try_from(count).unwrap());
        }
        let patterns = finder.finish(counts);
        let counts: Vec<usize> = (0..6).map(|at| patterns.forms(at).len()).collect();
        assert_eq!(counts, [0, 0, 0, 1, 0, FORMS_FREE + 1]);
    }

    #[test]
    fn forms_are_added_up_where_all_splits_know_them() {
        let of = |text: &str, rows, times, example: &str| vec![form(text, rows, times, example)];
        let mut sums = PatternSums::new(5);
        let first = vec![of("a <*>", 2, (3, 9), "a 2"), of("b", 1, (1, 1), "b"), vec![]];
        sums.add(Patterns(first), &[0, 2, 3]);
        let mut second = vec![of("a <*>", 3, (1, 4), "a 17"), of("b", 4, (0, 7), "b")];
        second.push(of("c", 1, (5, 5), "c"));
        second[0].push(form("a", 1, (2, 2), "a"));
        sums.add(Patterns(second), &[0, 2, 3]);
        let expected = vec![form("a <*>", 5, (1, 9), "a 17"), form("a", 1, (2, 2), "a")];
        assert_eq!(sums.bytes, 3 * FORM_BYTES + 5 + 4 + 1 + 1 + 1 + 1);
        assert_eq!(sums.take(0), Some(expected.clone()));
        // Asked once; of none, of a template that one split does not know, of one that is not there.
        for number in [0, 1, 3, 5] {
            assert_eq!(sums.take(number), None, "{number}");
        }
        // What is known is not looked for, and what does not hold all rows is not kept.
        let mut finder = PatternFinder::default();
        for _ in 0..2 {
            finder.begin(Some(expected.clone()));
            assert!(!finder.is_looking());
        }
        let patterns = finder.finish([6, 7]);
        assert_eq!(patterns.0, [expected, vec![]]);
    }

    #[test]
    fn sums_are_bounded() {
        let mut sums = PatternSums::new(2);
        for number in 0..=FORMS_MAX {
            assert_eq!(sums.bytes, number * (FORM_BYTES + 6));
            let text = format!("{number:03}");
            sums.add(Patterns(vec![vec![form(&text, 1, (0, 0), &text)]]), &[1]);
        }
        assert_eq!((sums.bytes, sums.take(1)), (0, None));
        let many: Vec<Vec<Form>> =
            (0..3).map(|_| vec![form("x", 1, (0, 0), &"x".repeat(BYTES_MAX / 2))]).collect();
        let mut sums = PatternSums::new(3);
        sums.add(Patterns(many), &[0, 1, 2]);
        assert_eq!((sums.bytes, sums.take(0), sums.take(2)), (0, None, None));
    }
}
