//! The questions of the split's bench, and what they must find where it was planted.

use serde_json::{Value, json};

use super::{Kind, plain};
use crate::process::Node;

/// A question of the bench.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub name: &'static str,
    path: &'static str,
    body: Value,
    /// The records that it finds or counts, where they were planted.
    found: Option<u64>,
    /// What ripgrep is asked.
    pub pattern: Option<&'static str>,
    /// Whether it is among those asked of a cold node.
    pub cold: bool,
}

impl Question {
    /// Asks it.
    ///
    /// # Panics
    /// The answer is an error, or not what was planted.
    pub fn ask(&self, node: &Node) {
        let answer = node.client.post(self.path, &self.body);
        assert_eq!(answer.status, 200, "{}: {}", self.name, answer.body);
        let Some(expected) = self.found else { return };
        let lines = answer.lines();
        let rows: Vec<&Value> = lines.iter().filter(|line| line.get("row").is_some()).collect();
        let found = rows.first().and_then(|row| row["row"]["n"].as_u64());
        assert_eq!(found.unwrap_or(rows.len() as u64), expected, "{}: {}", self.name, answer.body);
    }
}

fn planted(count: u64, every: u64, at: u64) -> u64 {
    let at = at % every;
    if count > at { (count - at - 1) / every + 1 } else { 0 }
}

fn rows(name: &'static str, query: &str) -> Question {
    Question {
        name,
        path: "/api/v1/query",
        body: json!({ "query": query, "limit": 100 }),
        found: None,
        pattern: None,
        cold: false,
    }
}

fn count(name: &'static str, query: &str) -> Question {
    rows(name, &format!("{query} | stats count() as n"))
}

fn over_time(name: &'static str, query: &str) -> Question {
    let body = json!({ "query": query, "buckets": 60 });
    Question { path: "/api/v1/histogram", body, ..rows(name, "") }
}

impl Question {
    fn like(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    fn cold(self) -> Self {
        Self { cold: true, ..self }
    }

    fn finds(self, found: u64) -> Self {
        Self { found: Some(found), ..self }
    }
}

/// The questions for a kind of records, so many.
#[must_use]
pub fn of(kind: Kind, records: u64) -> Vec<Question> {
    if kind == Kind::Wide {
        wide()
    } else {
        lookups(records).into_iter().chain(texts()).chain(groups()).collect()
    }
}

fn wide() -> Vec<Question> {
    vec![
        count("status >= 500, count", "status:>=500"),
        rows("status >= 500, newest 100", "status:>=500").cold(),
        count("region, count", "region:us-east-1").like("\"region\":\"us-east-1\""),
        rows("newest 100 of everything", ""),
        rows("count by path", "| stats count() as n by path"),
        rows("p99 of took_ms by service", "| stats p99(took_ms) as p by service"),
        over_time("everything over time", ""),
    ]
}

/// What was planted in few records.
fn lookups(records: u64) -> Vec<Question> {
    vec![
        rows("needle, rows", plain::NEEDLE)
            .finds(planted(records, plain::NEEDLE_EVERY, 700_001))
            .like(plain::NEEDLE)
            .cold(),
        count("phrase, count", &format!("\"{}\"", plain::PHRASE))
            .finds(planted(records, plain::PHRASE_EVERY, 7))
            .like(plain::PHRASE)
            .cold(),
        count("rare substring, count", &format!("*{}*", plain::SUBSTRING))
            .finds(planted(records, plain::SUBSTRING_EVERY, 300_017))
            .like(plain::SUBSTRING),
        count("rare address, count", &format!("\"{}\"", plain::ADDRESS))
            .finds(planted(records, plain::ADDRESS_EVERY, 500_019))
            .like(r"172\.31\.254\.77"),
        rows("request id, rows", plain::REQUEST)
            .finds(planted(records, plain::REQUEST_EVERY, 400_013))
            .like(plain::REQUEST)
            .cold(),
        count("absent word, count", plain::ABSENT).finds(0).like(plain::ABSENT),
    ]
}

fn texts() -> Vec<Question> {
    vec![
        count("frequent word, count", "info").like(r"\binfo\b"),
        count("word AND word AND NOT word, count", "block received NOT terminating"),
        count("frequent substring, count", "*eceiv*").like("eceiv"),
        over_time("word over time", "block"),
    ]
}

fn groups() -> Vec<Question> {
    vec![
        rows("newest 100 of everything", ""),
        rows("newest 100 of level ERROR", "level:error").cold(),
        over_time("everything over time", ""),
        over_time("ERROR over time", "level:error"),
        rows("count by service", "| stats count() as n by service"),
        rows("count by service and level", "| stats count() as n by service, level"),
    ]
}
