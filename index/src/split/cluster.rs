//! Finding the templates of rows in memory, and the order of rows in a split: service, template,
//! timestamp, offset.
//!
//! A token varies when it has a digit or is rare among the rows. What is left of a message with its
//! varying tokens cut out is its template: one hash probe a row finds it.

use arrow::array::{AsArray as _, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::Int32Type;
use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::lex::{SLOT, always_varies, each_token};
use super::templates::TemplateKey;
use crate::columns::{numbers, times};
use crate::schema::FieldColumnId;

/// A word met fewer times in a million rows varies. In fewer rows it scales, down to [`RARE_MIN`].
const RARE: usize = 64;
/// The least count below which a word varies.
const RARE_MIN: usize = 3;
/// Rows of a template; those of smaller ones are loose.
const TEMPLATE_ROWS_MIN: u32 = 4;
/// Counters of words. Two words that share one look more frequent than they are, which costs
/// templates and is never wrong.
const COUNTERS: usize = 1 << 18;

/// Rows in their order for a split.
pub(crate) struct Clustered {
    /// The templates, in order.
    pub(crate) templates: Vec<TemplateKey>,
    /// The rows, in order.
    pub(crate) order: UInt32Array,
    /// The template of each row, in that order.
    pub(crate) numbers: Vec<u32>,
}

/// Finds the templates of rows and orders them. Blocks; for threads that do CPU work.
pub(crate) fn cluster(rows: &RecordBatch) -> Clustered {
    let empty = StringArray::new_null(rows.num_rows());
    let messages = rows.column_by_name("message").and_then(|column| column.as_string_opt());
    let messages: &StringArray = messages.unwrap_or(&empty);
    let services = services(rows);
    let mut found = Found::new(messages, rows.num_rows());
    let of_row: Vec<u32> = (0..rows.num_rows())
        .map(|row| found.template(services.of_row(row), messages.value(row)))
        .collect();
    let (templates, renumbered) = found.finish(&services.names);
    let of_row: Vec<u32> =
        of_row.iter().filter_map(|found| renumbered.get(*found as usize).copied()).collect();
    let order = order(rows, messages, &templates, &of_row);
    let numbers = order.iter().filter_map(|row| of_row.get(*row as usize).copied()).collect();
    Clustered { templates, order: UInt32Array::from(order), numbers }
}

/// The services of rows.
struct Services {
    names: Vec<String>,
    keys: Vec<u32>,
}

impl Services {
    fn of_row(&self, row: usize) -> u32 {
        self.keys.get(row).copied().unwrap_or(0)
    }
}

fn services(rows: &RecordBatch) -> Services {
    let mut services = Services { names: vec![String::new()], keys: Vec::new() };
    let schema = rows.schema();
    let is_service = |field: &arrow::datatypes::Field| {
        FieldColumnId::of(field).is_some_and(|id| id.kind.is_none() && id.name == "service")
    };
    let column = schema.fields().iter().zip(rows.columns()).find(|(field, _)| is_service(field));
    let dictionary = column.and_then(|(_, column)| column.as_dictionary_opt::<Int32Type>());
    let Some((dictionary, texts)) =
        dictionary.and_then(|keys| Some((keys, keys.values().as_string_opt::<i32>()?)))
    else {
        return services;
    };
    // Sets of rows that were joined may hold a text more than once.
    let numbers: Vec<u32> = texts
        .iter()
        .map(|text| {
            let text = text.unwrap_or_default();
            let at = services.names.iter().position(|name| name == text).unwrap_or_else(|| {
                services.names.push(text.to_owned());
                services.names.len() - 1
            });
            u32::try_from(at).unwrap_or(0)
        })
        .collect();
    let number = |key: Option<i32>| {
        let key = usize::try_from(key?).ok()?;
        numbers.get(key).copied()
    };
    services.keys = dictionary.keys().iter().map(|key| number(key).unwrap_or(0)).collect();
    services
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

fn counter(token: &[u8]) -> usize {
    usize::try_from(xxh3_64(token)).unwrap_or(usize::MAX) & (COUNTERS - 1)
}

fn low(hash: u128) -> u64 {
    let bytes = hash.to_le_bytes();
    let (low, _) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*low)
}

impl Found {
    /// Counts the words of the rows.
    fn new(messages: &StringArray, row_count: usize) -> Self {
        let mut counts = vec![0_u32; COUNTERS];
        for message in messages.iter().flatten() {
            each_token(message, |start, end| {
                let token = message.as_bytes().get(start..end).unwrap_or_default();
                if !always_varies(token)
                    && let Some(count) = counts.get_mut(counter(token))
                {
                    *count = count.saturating_add(1);
                }
            });
        }
        let rare = (row_count * RARE / 1_000_000).clamp(RARE_MIN, RARE);
        Self {
            counts,
            rare: u32::try_from(rare).unwrap_or(u32::MAX),
            table: HashTable::new(),
            templates: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The number of a message's template, in order of finding.
    fn template(&mut self, service: u32, message: &str) -> u32 {
        let (scratch, bytes) = (&mut self.scratch, message.as_bytes());
        scratch.clear();
        let mut at = 0;
        each_token(message, |start, end| {
            let token = bytes.get(start..end).unwrap_or_default();
            let is_rare = || self.counts.get(counter(token)).is_none_or(|n| *n < self.rare);
            if always_varies(token) || is_rare() {
                scratch.extend_from_slice(bytes.get(at..start).unwrap_or_default());
                scratch.push(SLOT);
                at = end;
            }
        });
        scratch.extend_from_slice(bytes.get(at..).unwrap_or_default());
        // 128 bits tell templates apart: that two texts share them is as likely as a broken disk
        // that goes unnoticed.
        let hash = xxh3_128_with_seed(scratch, u64::from(service));
        let templates = &mut self.templates;
        let is_it =
            |number: &u32| templates.get(*number as usize).is_some_and(|it| it.hash == hash);
        if let Some(number) = self.table.find(low(hash), is_it).copied() {
            if let Some(template) = templates.get_mut(number as usize) {
                template.rows += 1;
            }
            return number;
        }
        let number = u32::try_from(templates.len()).unwrap_or(u32::MAX);
        templates.push(Finding { hash, service, text: scratch.clone(), rows: 1 });
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
    rows: &RecordBatch,
    messages: &StringArray,
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
    let (timestamps, offsets) = (times(rows, "timestamp"), numbers(rows, "offset"));
    let time = |row: u32| {
        let row = row as usize;
        (timestamps.map_or(0, |times| times.value(row)), offsets.map_or(0, |all| all.value(row)))
    };
    let mut from = 0;
    for (template, end) in templates.iter().zip(ends) {
        let Some(run) = order.get_mut(from..end) else { break };
        if template.is_loose {
            run.sort_unstable_by(|a, b| {
                let texts = messages.value(*a as usize).cmp(messages.value(*b as usize));
                texts.then_with(|| time(*a).cmp(&time(*b)))
            });
        } else {
            run.sort_unstable_by_key(|row| time(*row));
        }
        from = end;
    }
    order
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let texts: StringArray = messages.iter().map(Some).collect();
        let rows = RecordBatch::try_from_iter([("message", Arc::new(texts) as _)]).unwrap();
        let clustered = cluster(&rows);
        let shown: Vec<String> = clustered.templates.iter().map(|t| show(&t.text)).collect();
        assert_eq!(shown, ["GET /item/<*> took <*>", "user <*> logged in", ""]);
        assert!(clustered.templates[2].is_loose);
        assert_eq!(clustered.order.value(80), 80);
        assert_eq!(clustered.numbers, [vec![0; 40], vec![1; 40], vec![2]].concat());
    }
}
