//! Random records, and what is known of them.

use serde_json::{Value, json};
use tests::chance::Chance;
use tests::oracle::Truth;

pub(super) const HOSTS: [&str; 3] = ["web1", "web2", "web3"];
const LEVELS: [&str; 3] = ["info", "warn", "error"];
/// What messages begin with.
const WORDS: [&str; 6] =
    ["login", "logout", "timeout 10.0.0.7", "Timeout", "state=open", "磁盘已满 disk_full"];
/// Whole numbers that floats confuse.
pub(super) const GREAT: [u64; 9] = [
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX.cast_unsigned() - 1,
    i64::MAX.cast_unsigned(),
    i64::MAX.cast_unsigned() + 1,
    i64::MAX.cast_unsigned() + 2,
    u64::MAX - 1,
    u64::MAX,
];
/// Nanoseconds of the first moment of the records.
const BEGIN: i64 = 1_767_225_600_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// A record, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) host: usize,
    pub(super) level: &'static str,
    pub(super) word: &'static str,
    pub(super) user: Option<&'static str>,
    pub(super) took: Option<i64>,
    pub(super) trace: Option<u64>,
    pub(super) tags: Vec<&'static str>,
    /// Other fields, which are texts.
    texts: Vec<(&'static str, &'static str)>,
}

impl Line {
    pub(super) fn json(&self) -> String {
        let mut line = json!({"timestamp": stamp(self.at), "level": self.level,
            "message": self.message()});
        if let Some(user) = self.user {
            line["user"] = user.into();
        }
        if let Some(took) = self.took {
            line["took"] = took.into();
        }
        if let Some(trace) = self.trace {
            line["trace"] = trace.into();
        }
        match &self.tags[..] {
            [] => {}
            [tag] => line["tags"] = (*tag).into(),
            tags => line["tags"] = tags.into(),
        }
        for (name, text) in &self.texts {
            match name.split_once('.') {
                Some((outer, inner)) => line[outer] = json!({ inner: text }),
                None => line[*name] = (*text).into(),
            }
        }
        line.to_string()
    }

    pub(super) fn message(&self) -> String {
        format!("{} happened", self.word)
    }

    /// As the oracle sees it.
    pub(super) fn truth(&self) -> Truth {
        let mut truth = Truth::new("", Some(moment(self.at)), self.message());
        truth.level = Some(self.level);
        truth.labels.push(("host".to_owned(), HOSTS[self.host].into()));
        let mut field = |name: &str, value: Value| truth.fields.push((name.to_owned(), value));
        self.user.into_iter().for_each(|user| field("user", user.into()));
        self.took.into_iter().for_each(|took| field("took", took.into()));
        // What is beyond 63 bits is kept as text.
        let kept = |trace: u64| match i64::try_from(trace) {
            Ok(trace) => Value::from(trace),
            Err(_) => Value::from(trace.to_string()),
        };
        self.trace.into_iter().for_each(|trace| field("trace", kept(trace)));
        self.tags.iter().for_each(|tag| field("tags", (*tag).into()));
        self.texts.iter().for_each(|(name, text)| field(name, (*text).into()));
        truth
    }
}

/// A second of the records as the language writes it.
pub(super) fn stamp(at: u64) -> String {
    format!("2026-01-01T00:{:02}:{:02}.000000000Z", at / 60, at % 60)
}

/// Its nanoseconds.
pub(super) fn moment(at: u64) -> i64 {
    BEGIN + at.cast_signed() * SECOND
}

/// The place of a level among them.
pub(super) fn rank(level: &str) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap()
}

pub(super) fn pick(chance: &mut Chance, list: &[&'static str]) -> &'static str {
    let found: &&'static str = chance.one_of(list);
    found
}

/// Fields of which a record has some.
fn texts(chance: &mut Chance) -> Vec<(&'static str, &'static str)> {
    let known: [(&str, &[&str]); 5] = [
        ("geo.city", &["Oslo", "Rome"]),
        ("ip", &["10.0.0.7", "10.9.0.1", "192.168.1.1"]),
        ("spent", &["250ms", "1.5s", "3m"]),
        ("size", &["9KB", "20 KB", "1.5MiB"]),
        ("expires", &["2026-01-31", "2026-02-01T05:00:00+02:00", "2026-03"]),
    ];
    let mut texts = Vec::new();
    for (name, values) in known {
        if chance.below(2) == 0 {
            texts.push((name, pick(chance, values)));
        }
    }
    texts
}

/// Records in the order in which they are sent. Those of one time are of one host, so that their
/// order is known.
pub(super) fn lines(chance: &mut Chance) -> Vec<Line> {
    let count = 4 + chance.below(70);
    let mut lines: Vec<Line> = (0..count)
        .map(|_| {
            let host = chance.place(HOSTS.len());
            Line {
                at: chance.below(40) * 3 + host as u64,
                host,
                level: pick(chance, &LEVELS),
                word: pick(chance, &WORDS),
                user: *chance.one_of(&[None, Some("alice"), Some("bob"), Some("Carol")]),
                took: (chance.below(3) > 0).then(|| chance.below(25).cast_signed() - 5),
                trace: (chance.below(3) > 0).then(|| *chance.one_of(&GREAT)),
                tags: (0..chance.below(4)).map(|_| pick(chance, &["x", "y", "z"])).collect(),
                texts: texts(chance),
            }
        })
        .collect();
    // Every type is there, so that columns have the types that the truth has.
    lines[0].took = Some(1);
    lines[1].user = Some("bob");
    lines
}
