//! What a question of the query bench must find: counted from the raw lines by plain loops, while
//! they are written.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use model::text::stands_free;
use model::time::{SECOND, Timestamp};
use serde_json::Value;

use crate::client::Answer;

/// A record as its raw line says it.
#[derive(Debug)]
pub struct Raw<'a> {
    time: Timestamp,
    pub(super) host: &'a str,
    pub(super) service: &'a str,
    pub(super) level: &'a str,
    pub(super) message: String,
    /// Message, host and service in small letters, a line each.
    folded: String,
}

impl<'a> Raw<'a> {
    /// Reads a line of the corpora `plain` and `hostile`.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Self {
        let text = std::str::from_utf8(line).unwrap().trim_end();
        let part = |text: &'a str, name: &str| -> (&'a str, &'a str) {
            text.strip_prefix(name).unwrap().split_once("\",").unwrap()
        };
        let (time, rest) = part(text, "{\"timestamp\":\"");
        let (host, rest) = part(rest, "\"host\":\"");
        let (service, rest) = part(rest, "\"service\":\"");
        let (level, rest) = part(rest, "\"level\":\"");
        let message = rest.strip_prefix("\"message\":").unwrap().strip_suffix('}').unwrap();
        let message = match message.contains('\\') {
            true => serde_json::from_str(message).unwrap(),
            false => message.trim_matches('"').to_owned(),
        };
        let folded = format!("{message}\n{host}\n{service}").to_ascii_lowercase();
        let time = Timestamp::parse(time).unwrap();
        Self { time, host, service, level, message, folded }
    }

    /// Whether letters stand anywhere, in any case.
    #[must_use]
    pub fn has(&self, letters: &str) -> bool {
        self.folded.contains(letters)
    }

    /// Whether a word or phrase stands free, in any case.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        free(&self.folded, word)
    }

    /// Whether a word stands free with these very letters.
    #[must_use]
    pub fn has_exactly(&self, word: &str) -> bool {
        free(&self.message, word)
    }

    /// The number behind some letters of the message.
    #[must_use]
    pub fn number_behind(&self, letters: &str) -> Option<f64> {
        let at = self.message.find(letters)? + letters.len();
        let rest = self.message.get(at..)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn second(&self) -> i64 {
        self.time.0.div_euclid(SECOND)
    }
}

fn free(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, found)| stands_free(text, at, at + found.len()))
}

/// What an answer has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The newest so many.
    Newest(usize),
    /// Their number, as `n`.
    Count,
    /// Their number as `n` in groups: columns and what they are.
    Groups(&'static [&'static str], fn(&Raw<'_>) -> String),
    /// Their number in bins of time, a histogram.
    OverTime,
    /// The number below which 99 of 100 values lie, as `p`, by host.
    P99(fn(&Raw<'_>) -> Option<f64>),
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Only these seconds.
    between: Option<(i64, i64)>,
    count: u64,
    newest: BinaryHeap<Reverse<i64>>,
    groups: BTreeMap<String, u64>,
    seconds: BTreeMap<i64, u64>,
    values: BTreeMap<String, Vec<f64>>,
}

impl Truth {
    /// Counts only what lies between two seconds.
    pub(super) fn between(&mut self, from: i64, to: i64) {
        self.between = Some((from, to));
    }

    /// Counts a record that passes.
    pub(super) fn see(&mut self, raw: &Raw<'_>, wanted: Wanted) {
        if self.between.is_some_and(|(from, to)| !(from..to).contains(&raw.second())) {
            return;
        }
        self.count += 1;
        match wanted {
            Wanted::Count => {}
            Wanted::Newest(most) => {
                self.newest.push(Reverse(raw.time.0));
                if self.newest.len() > most {
                    self.newest.pop();
                }
            }
            Wanted::Groups(_, key) => *self.groups.entry(key(raw)).or_default() += 1,
            Wanted::OverTime => *self.seconds.entry(raw.second()).or_default() += 1,
            Wanted::P99(value) => {
                if let Some(value) = value(raw) {
                    self.values.entry(raw.host.to_owned()).or_default().push(value);
                }
            }
        }
    }

    /// Compares an answer.
    ///
    /// # Panics
    /// It is wrong.
    pub(super) fn check(&mut self, name: &str, wanted: Wanted, answer: &Answer) {
        if let Wanted::OverTime = wanted {
            return self.check_over_time(name, &answer.json());
        }
        let lines = answer.lines();
        let rows: Vec<&Value> = lines.iter().filter_map(|line| line.get("row")).collect();
        match wanted {
            Wanted::Count | Wanted::OverTime => {
                let n = rows.first().and_then(|row| row["n"].as_u64());
                assert_eq!(n, Some(self.count), "{name}");
            }
            Wanted::Newest(_) => {
                let time =
                    |row: &&Value| Timestamp::parse(row["timestamp"].as_str().unwrap()).unwrap().0;
                let found: Vec<i64> = rows.iter().map(time).collect();
                let mut expected: Vec<i64> = self.newest.iter().map(|time| time.0).collect();
                expected.sort_by_key(|time| Reverse(*time));
                assert_eq!(found, expected, "{name}");
            }
            Wanted::Groups(columns, _) => {
                let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
                let key = |row: &Value| {
                    columns.iter().map(|column| text(&row[*column])).collect::<Vec<_>>().join(" ")
                };
                let found: BTreeMap<String, u64> =
                    rows.iter().map(|row| (key(row), row["n"].as_u64().unwrap())).collect();
                assert_eq!(found, self.groups, "{name}");
            }
            Wanted::P99(_) => self.check_p99(name, &rows),
        }
    }

    fn check_over_time(&self, name: &str, answer: &Value) {
        let width = answer["interval_ms"].as_i64().unwrap() / 1_000;
        assert!(width > 0, "{name}: bins of less than a second: {width}");
        assert_eq!(answer["total"].as_u64(), Some(self.count), "{name}");
        let mut left = self.count;
        for bucket in answer["buckets"].as_array().unwrap() {
            let start = Timestamp::parse(bucket["start"].as_str().unwrap()).unwrap();
            let start = start.0.div_euclid(SECOND);
            let expected: u64 =
                self.seconds.range(start..start + width).map(|(_, count)| count).sum();
            assert_eq!(bucket["total"].as_u64(), Some(expected), "{name} at {start}");
            left -= expected;
        }
        assert_eq!(left, 0, "{name}");
    }

    /// Between two neighbours, whatever is said of what lies between them.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    fn check_p99(&mut self, name: &str, rows: &[&Value]) {
        assert!(rows.len() >= self.values.len() && !self.values.is_empty(), "{name}");
        for row in rows {
            let host = row["host"].as_str().unwrap();
            let Some(values) = self.values.get_mut(host) else {
                assert!(row["p"].is_null(), "{name}: {row}");
                continue;
            };
            values.sort_by(f64::total_cmp);
            let at = (values.len() - 1) as f64 * 0.99;
            let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
            let found = row["p"].as_f64().unwrap();
            assert!((low..=high).contains(&found), "{name}: {low} <= {found} <= {high} at {host}");
        }
    }
}
