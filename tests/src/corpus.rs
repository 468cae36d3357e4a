//! The bench's corpus: lines of forty streams from templates, slots drawn anew with real skew.

use std::fmt::Write as _;

use crate::chance::Chance;

/// How many streams (files) there are.
pub const STREAMS: usize = 40;
/// The word in the planted needles; each is `needle` and its number.
pub const NEEDLE: &str = "needle";
/// Lines from one needle to the next.
pub const NEEDLE_EVERY: u64 = 100_003;
/// The moment of the first line: 2026-11-01T00:00:00Z, milliseconds.
const START_MS: u64 = 1_793_491_200_000;

/// Slots: `#` number, `@` address, `%` hexadecimal id, `~` user, `^` path.
const TEMPLATES: [(&str, &str); 12] = [
    ("INFO", "dfs.DataNode: PacketResponder # for block blk_% terminating"),
    (
        "INFO",
        "dfs.FSNamesystem: BLOCK* addStoredBlock: blockMap updated: @:50010 is added to blk_% size #",
    ),
    ("INFO", "http: @ \"GET ^ HTTP/1.1\" status: 200 len: # time: 0.#"),
    ("INFO", "http: @ \"POST ^ HTTP/1.1\" status: 201 len: # time: 0.#"),
    ("WARN", "http: @ \"GET ^ HTTP/1.1\" status: 404 len: # time: 0.#"),
    ("ERROR", "http: @ \"GET ^ HTTP/1.1\" status: 503 upstream timed out after # ms"),
    ("INFO", "sshd[#]: Accepted publickey for ~ from @ port # ssh2"),
    ("WARN", "sshd[#]: Failed password for invalid user ~ from @ port # ssh2"),
    ("DEBUG", "mapred.Task: attempt_%_0 progress # of # for user ~"),
    ("INFO", "quorum: Received connection request /@:#"),
    ("WARN", "quorum: Send worker leaving thread # after interrupt by session 0x%"),
    ("ERROR", "storage: disk quota exceeded for ~ writing ^ (request %)"),
];
const USERS: [&str; 12] = [
    "root", "alice", "bob", "carol", "admin", "deploy", "oracle", "git", "dave", "erin", "nagios",
    "test",
];
const STATUSES: [u16; 6] = [200, 200, 200, 201, 404, 503];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const PATHS: [&str; 10] = [
    "/",
    "/index.html",
    "/api/v2/servers/detail",
    "/login",
    "/static/app.js",
    "/images/logo.png",
    "/api/v2/orders",
    "/health",
    "/search?q=logs",
    "/favicon.ico",
];

/// Makes the lines in order; equal seeds give equal lines.
#[derive(Debug)]
pub struct Corpus {
    chance: Chance,
    next: u64,
}

impl Corpus {
    /// Begins at a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), next: 0 }
    }

    /// The next line, without its end, and the stream it belongs to.
    ///
    /// # Panics
    /// Never: a text takes every write.
    pub fn line(&mut self) -> (usize, String) {
        let n = self.next;
        self.next += 1;
        let stream = usize::try_from(self.chance.skewed(STREAMS as u64)).unwrap();
        let time = model::time::Timestamp(i64::try_from((START_MS + n * 3) * 1_000_000).unwrap());
        let place = usize::try_from(self.chance.skewed(TEMPLATES.len() as u64)).unwrap();
        let (level, template) = TEMPLATES[(place + stream) % TEMPLATES.len()];
        // Every other stream is structured.
        let text = self.fill(template);
        let needle = if n % NEEDLE_EVERY == 7 {
            format!(" {NEEDLE}{}", n / NEEDLE_EVERY)
        } else {
            String::new()
        };
        if stream % 2 == 0 {
            return (stream, format!("{time} {level} [worker-{}] {text}{needle}", n % 17));
        }
        let object = serde_json::json!({
            "timestamp": time.to_string(), "level": level, "message": format!("{text}{needle}"),
            "status": self.chance.one_of(&STATUSES),
            "took_ms": self.chance.skewed(5_000), "user": self.user(), "region": self.chance.one_of(&REGIONS),
        });
        (stream, object.to_string())
    }

    fn user(&mut self) -> &'static str {
        USERS[usize::try_from(self.chance.skewed(USERS.len() as u64)).unwrap()]
    }

    fn fill(&mut self, template: &str) -> String {
        let mut text = String::with_capacity(template.len() + 40);
        for c in template.chars() {
            match c {
                '#' => write!(text, "{}", self.chance.skewed(100_000)).unwrap(),
                '@' => write!(
                    text,
                    "10.{}.{}.{}",
                    self.chance.skewed(20),
                    self.chance.skewed(50),
                    self.chance.below(254) + 1
                )
                .unwrap(),
                '%' => write!(text, "{:016x}", self.chance.draw()).unwrap(),
                '~' => text.push_str(self.user()),
                '^' => text.push_str(
                    PATHS[usize::try_from(self.chance.skewed(PATHS.len() as u64)).unwrap()],
                ),
                c => text.push(c),
            }
        }
        text
    }
}
