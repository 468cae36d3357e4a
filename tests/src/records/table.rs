//! The table of queries that issue and peers are measured by: how each is asked, what it must find,
//! what ripgrep is asked, and what two peers took for 10,000,000 records like these.

use model::time::Timestamp;
use serde_json::{Value, json};

use super::plain;
use super::truth::{Raw, Truth, Wanted};
use crate::client::Client;

/// Minutes of a bin of "over time, by service".
const BIN_MINUTES: i64 = 10;

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// What is asked.
    pub name: &'static str,
    path: &'static str,
    body: Value,
    /// What ripgrep is asked.
    pub pattern: Option<&'static str>,
    /// CPU-ms of the whole server, warm: VictoriaLogs 1.26, Quickwit 0.9.
    pub peers: [Option<f64>; 2],
    passes: fn(&Raw<'_>) -> bool,
    wanted: Wanted,
    truth: Truth,
}

impl Row {
    /// Counts a record, if it passes.
    pub fn see(&mut self, raw: &Raw<'_>) {
        if (self.passes)(raw) {
            self.truth.see(raw, self.wanted);
        }
    }

    /// Asks it and compares the answer; microseconds of planning, where the answer says so.
    ///
    /// # Panics
    /// The answer is an error, or wrong.
    pub fn ask(&mut self, client: &Client) -> Option<u64> {
        let answer = client.post(self.path, &self.body);
        assert_eq!(answer.status, 200, "{}: {}", self.name, answer.body);
        self.truth.check(self.name, self.wanted, &answer);
        let end = answer.body.lines().last()?;
        let end: Value = serde_json::from_str(end).ok()?;
        end.pointer("/end/stats/plan_us")?.as_u64()
    }

    /// Path and body, for those who ask without looking at the answer.
    #[must_use]
    pub fn request(&self) -> (&'static str, &Value) {
        (self.path, &self.body)
    }

    fn like(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    fn beside(self, victorialogs: f64, quickwit: Option<f64>) -> Self {
        Self { peers: [Some(victorialogs), quickwit], ..self }
    }
}

fn row(name: &'static str, query: &str, wanted: Wanted, passes: fn(&Raw<'_>) -> bool) -> Row {
    let (path, body) = match wanted {
        Wanted::OverTime => ("/api/v1/histogram", json!({ "query": query, "buckets": 60 })),
        _ => ("/api/v1/query", json!({ "query": query, "limit": 100 })),
    };
    let (pattern, peers, truth) = (None, [None, None], Truth::default());
    Row { name, path, body, pattern, peers, passes, wanted, truth }
}

fn count(name: &'static str, query: &str, passes: fn(&Raw<'_>) -> bool) -> Row {
    row(name, &format!("{query} | stats count() as n"), Wanted::Count, passes)
}

const NEWEST: Wanted = Wanted::Newest(100);

/// All rows; `middle` is a second in the middle of the corpus.
#[must_use]
pub fn rows(middle: i64) -> Vec<Row> {
    words().into_iter().chain(texts()).chain(groups()).chain(newest(middle)).collect()
}

fn words() -> Vec<Row> {
    vec![
        row("needle, rows", plain::NEEDLE, NEWEST, |raw| raw.has_word(plain::NEEDLE))
            .like(plain::NEEDLE)
            .beside(24.0, Some(8.5)),
        count("phrase, count", &format!("\"{}\"", plain::PHRASE), |raw| {
            raw.has_word(plain::PHRASE)
        })
        .like(plain::PHRASE)
        .beside(1_360.0, Some(3.6)),
        count("word AND word AND NOT word", "block received NOT terminating", |raw| {
            raw.has_word("block") && raw.has_word("received") && !raw.has_word("terminating")
        })
        .beside(376.0, Some(12.9)),
        count("frequent word, count", "block", |raw| raw.has_word("block"))
            .like(r"\bblock\b")
            .beside(523.0, Some(1.8)),
        count("word, any case, count", "info", |raw| raw.has_word("info"))
            .like(r"\binfo\b")
            .beside(3_150.0, Some(1.4)),
        count("word, its very case, count", "=INFO", |raw| raw.has_exactly("INFO")),
        row("request id, rows", plain::REQUEST, NEWEST, |raw| raw.has_word(plain::REQUEST))
            .like(plain::REQUEST)
            .beside(9.0, Some(7.2)),
        count("rare IP address, count", plain::ADDRESS, |raw| raw.has_word(plain::ADDRESS))
            .like(r"172\.31\.254\.77")
            .beside(1_579.0, Some(2.2)),
        count("absent word", plain::ABSENT, |raw| raw.has_word(plain::ABSENT))
            .like(plain::ABSENT)
            .beside(4.7, Some(1.1)),
    ]
}

fn texts() -> Vec<Row> {
    vec![
        count("frequent substring, count", "*eceiv*", |raw| raw.has("eceiv"))
            .like("eceiv")
            .beside(1_413.0, Some(345.0)),
        count("rare substring, count", &format!("*{}*", plain::SUBSTRING), |raw| {
            raw.has(plain::SUBSTRING)
        })
        .like(plain::SUBSTRING)
        .beside(1_697.0, Some(339.0)),
        count("regex with a literal, count", "/tok9qzv[a-z]+[0-9]+/", |raw| raw.has("tok9qzv"))
            .like("tok9qzv[a-z]+[0-9]+")
            .beside(1_411.0, Some(262.0)),
        count("three substrings by OR", "*eceiv* OR *ermina* OR *uthenti*", |raw| {
            raw.has("eceiv") || raw.has("ermina") || raw.has("uthenti")
        })
        .like("eceiv|ermina|uthenti")
        .beside(2_311.0, Some(1_003.0)),
    ]
}

fn groups() -> Vec<Row> {
    let p99 = "\"of size\" | extract /of size (?<size>[0-9]+)/ | stats p99(size) as p by host";
    vec![
        row(
            "ERROR over time by service",
            &format!("level:error | stats count() as n by service, bin(timestamp, {BIN_MINUTES}m)"),
            Wanted::Groups(&["service", "timestamp"], |raw| {
                let width = BIN_MINUTES * 60;
                let start = raw.second().div_euclid(width) * width;
                format!("{} {}", raw.service, Timestamp(start * 1_000_000_000))
            }),
            |raw| raw.level == "ERROR",
        )
        .beside(90.0, Some(6.5)),
        row("everything over time", "", Wanted::OverTime, |_| true).beside(186.0, Some(52.0)),
        row(
            "count by host, all",
            "| stats count() as n by host",
            Wanted::Groups(&["host"], |raw| raw.host.to_owned()),
            |_| true,
        )
        .beside(1.2, Some(14.6)),
        row(
            "count by service, all",
            "| stats count() as n by service",
            Wanted::Groups(&["service"], |raw| raw.service.to_owned()),
            |_| true,
        )
        .beside(1.0, Some(15.5)),
        row(
            "count by service and level",
            "| stats count() as n by service, level",
            Wanted::Groups(&["service", "level"], |raw| {
                format!("{} {}", raw.service, raw.level.to_ascii_lowercase())
            }),
            |_| true,
        )
        .beside(254.0, Some(52.0)),
        row(
            "extract a number, p99 by host",
            p99,
            Wanted::P99(|raw| raw.number_behind("of size ")),
            |raw| raw.has_word("of size"),
        )
        .beside(599.0, None),
    ]
}

fn newest(middle: i64) -> Vec<Row> {
    let minute = middle.div_euclid(60) * 60;
    let at = |second: i64| Timestamp(second * 1_000_000_000).to_string();
    let mut window =
        row("one minute and a word, newest 100", "block", NEWEST, |raw| raw.has_word("block"));
    window.body =
        json!({ "query": "block", "limit": 100, "from": at(minute), "to": at(minute + 60) });
    window.truth.between(minute, minute + 60);
    vec![
        row("newest 100 of level ERROR", "level:error", NEWEST, |raw| raw.level == "ERROR")
            .beside(41.0, Some(49.0)),
        window.beside(34.0, Some(50.0)),
        row("newest 100 of everything", "", NEWEST, |_| true).beside(3.6, Some(24.0)),
    ]
}
