//! Finding the templates of rows in memory, and the order of rows in a split: service, template,
//! timestamp, offset.
//!
//! A token varies when it has a digit or is rare among the rows. What is left of a message with its
//! varying tokens cut out is its template. Rows are taken together first by what their tokens with
//! digits leave, their outline, which one hash probe finds: words are counted, and a template is found, once
//! for all rows of an outline.

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use hashbrown::HashTable;

use super::coding::shared;
use super::lex::{SLOT, each_judged};
use super::outlines::{Outline, Outlines, counter, hash_of, low};
use super::runs::head_of;
use super::templates::TemplateKey;
use crate::columns::{Values, times};
use crate::schema::FieldColumnId;

/// A word met fewer times in a million rows varies. In fewer rows it scales, down to [`RARE_MIN`].
const RARE: usize = 64;
/// The least count below which a word varies.
const RARE_MIN: usize = 3;
/// Rows of a template; those of smaller ones are loose.
const TEMPLATE_ROWS_MIN: u32 = 4;
/// Services told apart in one split.
const SERVICES_MAX: usize = 1_024;

/// Rows in their order for a split.
pub(crate) struct Clustered {
    /// The templates, in order.
    pub(crate) templates: Vec<TemplateKey>,
    /// Where the rows stand, in order: their part, and their place in it.
    pub(crate) order: Vec<(usize, usize)>,
    /// The template of each row, in that order.
    pub(crate) numbers: Vec<u32>,
}

/// Finds the templates of rows and orders them. The parts have the columns of one schema, and their
/// rows the order of their offsets. Blocks; for threads that do CPU work.
pub(crate) fn cluster(parts: &[RecordBatch]) -> Clustered {
    let messages = Messages::of(parts);
    let services = Services::of(parts);
    let mut outlines = Outlines::new();
    let mut of_row: Vec<u32> = Vec::with_capacity(messages.places.len());
    for (row, message) in (0_u32..).zip(messages.iter()) {
        of_row.push(outlines.add(services.of_row(row as usize), row, message));
    }
    let outlines = outlines.counted(&messages);
    let mut found = Found::new(outlines.counts, messages.places.len());
    let of_outline = |outline: &Outline| found.template(outline, messages.at(outline.row));
    let of_outline: Vec<u32> = outlines.all.iter().map(of_outline).collect();
    let (templates, renumbered) = found.finish(&services.names);
    for found in &mut of_row {
        let of_outline = of_outline.get(*found as usize);
        let template = of_outline.and_then(|number| renumbered.get(*number as usize));
        *found = template.copied().unwrap_or(0);
    }
    let order = order(parts, &messages, &templates, &of_row);
    let numbers = order.iter().filter_map(|row| of_row.get(*row as usize).copied()).collect();
    let place = |row: u32| messages.places.get(row as usize).copied();
    let order = order.into_iter().filter_map(place);
    let order = order.map(|(part, row)| (part as usize, row as usize)).collect();
    Clustered { templates, order, numbers }
}

/// The messages of rows in parts.
pub(super) struct Messages<'a> {
    texts: Vec<Option<&'a StringArray>>,
    /// The part of each row, and its place there.
    places: Vec<(u32, u32)>,
}

impl<'a> Messages<'a> {
    fn of(parts: &'a [RecordBatch]) -> Self {
        let text = |part: &'a RecordBatch| part.column_by_name("message")?.as_string_opt();
        let places = (0_u32..).zip(parts).flat_map(|(number, part)| {
            let rows = u32::try_from(part.num_rows()).unwrap_or(u32::MAX);
            (0..rows).map(move |row| (number, row))
        });
        Self { texts: parts.iter().map(text).collect(), places: places.collect() }
    }

    /// That of a row.
    pub(super) fn at(&self, row: u32) -> &'a str {
        let place = self.places.get(row as usize).copied();
        place.map_or("", |(part, row)| self.of_place(part, row))
    }

    fn of_place(&self, part: u32, row: u32) -> &'a str {
        let texts = self.texts.get(part as usize).copied().flatten();
        texts.map_or("", |texts| texts.value(row as usize))
    }

    fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.places.iter().map(|(part, row)| self.of_place(*part, *row))
    }
}

/// The services of rows: their label `service`, or their field of that name.
struct Services {
    names: Vec<String>,
    keys: Vec<u32>,
}

impl Services {
    fn of(parts: &[RecordBatch]) -> Self {
        let mut services = Self { names: vec![String::new()], keys: Vec::new() };
        for part in parts {
            let (schema, count) = (part.schema(), part.num_rows());
            let named = |label: bool| {
                let is_it = |field: &arrow::datatypes::Field| {
                    FieldColumnId::of(field)
                        .is_some_and(|id| id.name == "service" && id.kind.is_none() == label)
                };
                let at = schema.fields().iter().position(|field| is_it(field))?;
                Some(Values::of(part.column(at)))
            };
            let (label, field) = (named(true), named(false));
            // Neighbours often have one service.
            let mut last: Option<(String, u32)> = None;
            for row in 0..count {
                let text = label.and_then(|values| values.text(row));
                let text = text.or_else(|| field.and_then(|values| values.text(row)));
                let Some(text) = text else {
                    services.keys.push(0);
                    continue;
                };
                let known = last.as_ref().filter(|(name, _)| *name == *text);
                let key = known.map_or_else(|| services.key(&text), |(_, key)| *key);
                if known.is_none() {
                    last = Some((text.into_owned(), key));
                }
                services.keys.push(key);
            }
        }
        services
    }

    fn key(&mut self, text: &str) -> u32 {
        let at = self.names.iter().position(|name| name == text).unwrap_or_else(|| {
            // What varies without end names no services.
            if self.names.len() < SERVICES_MAX {
                self.names.push(text.to_owned());
                self.names.len() - 1
            } else {
                0
            }
        });
        u32::try_from(at).unwrap_or(0)
    }

    fn of_row(&self, row: usize) -> u32 {
        self.keys.get(row).copied().unwrap_or(0)
    }
}

/// Templates while they are found.
struct Found {
    counts: Vec<u32>,
    rare: u32,
    table: HashTable<u32>,
    templates: Vec<Finding>,
    scratch: Vec<u8>,
}

struct Finding {
    hash: u128,
    service: u32,
    text: Vec<u8>,
    rows: u32,
}

impl Found {
    /// Of so many rows, whose words are met so often.
    fn new(counts: Vec<u32>, row_count: usize) -> Self {
        let rare = (row_count * RARE / 1_000_000).clamp(RARE_MIN, RARE);
        Self {
            counts,
            rare: u32::try_from(rare).unwrap_or(u32::MAX),
            table: HashTable::new(),
            templates: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The number of the template of an outline with such a message, in order of finding.
    fn template(&mut self, outline: &Outline, message: &str) -> u32 {
        let (scratch, bytes) = (&mut self.scratch, message.as_bytes());
        let Outline { service, rows, .. } = *outline;
        scratch.clear();
        let mut at = 0;
        each_judged(message, |start, end, varies| {
            let token = bytes.get(start..end).unwrap_or_default();
            let is_rare = || self.counts.get(counter(token)).is_none_or(|n| *n < self.rare);
            if varies || is_rare() {
                scratch.extend_from_slice(bytes.get(at..start).unwrap_or_default());
                scratch.push(SLOT);
                at = end;
            }
        });
        scratch.extend_from_slice(bytes.get(at..).unwrap_or_default());
        let hash = hash_of(scratch, service);
        let templates = &mut self.templates;
        let is_it =
            |number: &u32| templates.get(*number as usize).is_some_and(|it| it.hash == hash);
        if let Some(number) = self.table.find(low(hash), is_it).copied() {
            if let Some(template) = templates.get_mut(number as usize) {
                template.rows += rows;
            }
            return number;
        }
        let number = u32::try_from(templates.len()).unwrap_or(u32::MAX);
        templates.push(Finding { hash, service, text: scratch.clone(), rows });
        let hash_of = |number: &u32| templates.get(*number as usize).map_or(0, |it| low(it.hash));
        self.table.insert_unique(low(hash), number, hash_of);
        number
    }

    /// The templates in order, and the place there of each that was found.
    fn finish(self, services: &[String]) -> (Vec<TemplateKey>, Vec<u32>) {
        let key = |found: &Finding| {
            let service = services.get(found.service as usize).cloned().unwrap_or_default();
            let is_loose = found.rows < TEMPLATE_ROWS_MIN;
            let text = if is_loose { Vec::new() } else { found.text.clone() };
            TemplateKey { service, is_loose, text }
        };
        let mut keys: Vec<(TemplateKey, usize)> =
            self.templates.iter().map(key).enumerate().map(|(at, key)| (key, at)).collect();
        keys.sort_unstable();
        let mut templates: Vec<TemplateKey> = Vec::new();
        let mut places = vec![0; keys.len()];
        for (key, at) in keys {
            if templates.last() != Some(&key) {
                templates.push(key);
            }
            if let Some(place) = places.get_mut(at) {
                *place = u32::try_from(templates.len() - 1).unwrap_or(u32::MAX);
            }
        }
        (templates, places)
    }
}

/// The order of rows: by template, then by time and offset; loose rows by their text first.
fn order(
    parts: &[RecordBatch],
    messages: &Messages<'_>,
    templates: &[TemplateKey],
    of_row: &[u32],
) -> Vec<u32> {
    let mut ends = vec![0_usize; templates.len()];
    for number in of_row {
        if let Some(end) = ends.get_mut(*number as usize) {
            *end += 1;
        }
    }
    let mut at = 0;
    for end in &mut ends {
        (at, *end) = (at + *end, at);
    }
    let mut order = vec![0_u32; of_row.len()];
    for (row, number) in (0_u32..).zip(of_row) {
        if let Some(place) = ends.get_mut(*number as usize) {
            if let Some(slot) = order.get_mut(*place) {
                *slot = row;
            }
            *place += 1;
        }
    }
    // Rows have the order of their offsets.
    let timestamps = parts.iter().filter_map(|part| times(part, "timestamp"));
    let timestamps: Vec<i64> =
        timestamps.flat_map(|times| times.values().iter().copied()).collect();
    let time = |row: u32| (timestamps.get(row as usize).copied(), row);
    let mut from = 0;
    for (template, end) in templates.iter().zip(ends) {
        let Some(run) = order.get_mut(from..end) else { break };
        if template.is_loose {
            sort_by_text(run, messages, time);
        } else {
            run.sort_unstable_by_key(|row| time(*row));
        }
        from = end;
    }
    order
}

/// Puts rows in the order of their messages, then of their times. Behind the bytes that all messages begin
/// with the next few tell most of them apart, so that messages themselves are seldom looked at.
fn sort_by_text<T: Ord>(rows: &mut [u32], messages: &Messages<'_>, time: impl Fn(u32) -> T) {
    let bytes = |row: u32| messages.at(row).as_bytes();
    let Some(first) = rows.first().map(|row| bytes(*row)) else { return };
    let alike = |least: usize, row: &u32| {
        least.min(shared(first.get(..least).unwrap_or_default(), bytes(*row)))
    };
    let alike = rows.iter().fold(first.len(), alike);
    let head = |row: u32| {
        let behind = bytes(row).get(alike..).unwrap_or_default();
        u128::from_be_bytes(head_of(behind))
    };
    let mut keyed: Vec<(u128, u32)> = rows.iter().map(|row| (head(*row), *row)).collect();
    keyed.sort_unstable_by(|(a_head, a), (b_head, b)| {
        let by_text = || bytes(*a).cmp(bytes(*b));
        a_head.cmp(b_head).then_with(by_text).then_with(|| time(*a).cmp(&time(*b)))
    });
    rows.iter_mut().zip(keyed).for_each(|(row, (_, sorted))| *row = sorted);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::split::lex::show;

    #[test]
    fn rows_of_one_kind_stand_together() {
        let mut messages: Vec<String> = Vec::new();
        for n in 0..40 {
            messages.push(format!("GET /item/{n} took {}ms", n * 3));
            messages.push(format!("user {} logged in", ["ann", "bob"][n % 2].repeat(n + 1)));
        }
        messages.push("once upon a time".to_owned());
        let part = |messages: &[String]| {
            let texts: StringArray = messages.iter().map(Some).collect();
            RecordBatch::try_from_iter([("message", Arc::new(texts) as _)]).unwrap()
        };
        let clustered = cluster(&[part(&messages[..50]), part(&messages[50..])]);
        let shown: Vec<String> = clustered.templates.iter().map(|t| show(&t.text)).collect();
        assert_eq!(shown, ["GET /item/<*> took <*>", "user <*> logged in", ""]);
        assert!(clustered.templates[2].is_loose);
        assert_eq!(clustered.order[80], (1, 30));
        assert_eq!(clustered.numbers, [vec![0; 40], vec![1; 40], vec![2]].concat());
    }

    /// The templates of messages as the first lines of this file say, without their order and rows.
    fn expected(messages: &[String]) -> Vec<(bool, String)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let tokens = |message: &str| {
            let mut tokens = Vec::new();
            each_judged(message, |start, end, varies| tokens.push((start, end, varies)));
            tokens
        };
        for message in messages {
            for (start, end, _) in tokens(message).into_iter().filter(|(_, _, varies)| !varies) {
                *counts.entry(&message[start..end]).or_default() += 1;
            }
        }
        let templates = messages.iter().map(|message| {
            let (mut text, mut at) = (Vec::new(), 0);
            for (start, end, varies) in tokens(message) {
                if varies || counts[&message[start..end]] < RARE_MIN {
                    text.extend_from_slice(&message.as_bytes()[at..start]);
                    text.push(SLOT);
                    at = end;
                }
            }
            text.extend_from_slice(&message.as_bytes()[at..]);
            show(&text)
        });
        let templates: Vec<String> = templates.collect();
        let rows = |text: &String| templates.iter().filter(|other| *other == text).count();
        let is_loose = |text: &String| rows(text) < TEMPLATE_ROWS_MIN as usize;
        let key = |text: &String| match is_loose(text) {
            true => (true, String::new()),
            false => (false, text.clone()),
        };
        templates.iter().map(key).collect()
    }

    proptest! {
        #[test]
        fn rows_have_the_templates_of_their_own_words(
            messages in prop::collection::vec("(ab|cd|é|a1|22)( (ab|cd|é|a1|22)){0,2}", 1..40),
        ) {
            let texts: StringArray = messages.iter().map(Some).collect();
            let times = arrow::array::TimestampNanosecondArray::from(vec![7; messages.len()]);
            let part = RecordBatch::try_from_iter([
                ("timestamp", Arc::new(times) as _),
                ("message", Arc::new(texts) as _),
            ]);
            let clustered = cluster(&[part.unwrap()]);
            let templates = expected(&messages);
            let mut last: Option<(u32, &str, usize)> = None;
            for ((_, row), number) in clustered.order.iter().zip(&clustered.numbers) {
                let template = &clustered.templates[*number as usize];
                let own = (template.is_loose, show(&template.text));
                prop_assert_eq!(&own, &templates[*row]);
                // Loose rows have the order of their texts.
                let text = if template.is_loose { messages[*row].as_str() } else { "" };
                let key = (*number, text, *row);
                prop_assert!(last.is_none_or(|last| last < key));
                last = Some(key);
            }
            prop_assert_eq!(clustered.order.len(), messages.len());
        }
    }
}
