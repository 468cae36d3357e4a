//! Random records and random queries: a node, three nodes and plain loops over a list give the same
//! answers, while records are fresh and when they are in splits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::chance::{Chance, setting};
use tests::client::Client;
use tests::cluster::{Cluster, QUICK, all_published};
use tests::process::{Node, TINY};
use tests::wait::eventually;

/// Lists of records, each in an index of its own.
const LISTS: u64 = 5;
/// Questions for each list.
const QUESTIONS: usize = 24;
const HOSTS: [&str; 3] = ["web1", "web2", "web3"];
const LEVELS: [&str; 3] = ["info", "warn", "error"];

/// A record, and what is known of it.
#[derive(Debug, Clone)]
struct Line {
    at: u64,
    host: usize,
    level: &'static str,
    word: &'static str,
    user: Option<&'static str>,
    took: Option<i64>,
    tags: Vec<&'static str>,
}

impl Line {
    fn json(&self) -> String {
        let mut line = json!({"timestamp": stamp(self.at), "level": self.level,
            "message": self.message()});
        if let Some(user) = self.user {
            line["user"] = user.into();
        }
        if let Some(took) = self.took {
            line["took"] = took.into();
        }
        match &self.tags[..] {
            [] => {}
            [tag] => line["tags"] = (*tag).into(),
            tags => line["tags"] = tags.into(),
        }
        line.to_string()
    }

    fn message(&self) -> String {
        format!("{} happened", self.word)
    }
}

fn stamp(at: u64) -> String {
    format!("2026-01-01T00:{:02}:{:02}.000000000Z", at / 60, at % 60)
}

fn pick(chance: &mut Chance, list: &[&'static str]) -> &'static str {
    let found: &&'static str = chance.one_of(list);
    found
}

/// Records in the order in which they are sent. Those of one time are of one host, so that their
/// order is known.
fn lines(chance: &mut Chance) -> Vec<Line> {
    let count = 4 + chance.below(70);
    let mut lines: Vec<Line> = (0..count)
        .map(|_| {
            let host = chance.place(HOSTS.len());
            Line {
                at: chance.below(40) * 3 + host as u64,
                host,
                level: pick(chance, &LEVELS),
                word: pick(chance, &["login", "logout", "timeout 10.0.0.7", "Timeout"]),
                user: *chance.one_of(&[None, Some("alice"), Some("bob"), Some("Carol")]),
                took: (chance.below(3) > 0).then(|| chance.below(25).cast_signed() - 5),
                tags: (0..chance.below(4)).map(|_| pick(chance, &["x", "y", "z"])).collect(),
            }
        })
        .collect();
    // Every type is there, so that columns have the types that the truth has.
    lines[0].took = Some(1);
    lines[1].user = Some("bob");
    lines
}

/// A search, and the truth about it.
#[derive(Debug, Clone)]
enum Search {
    All,
    Word(&'static str),
    Exact(&'static str),
    Regex,
    Network,
    Level(&'static str),
    HasUser,
    Took(i64),
    Not(Box<Search>),
    And(Box<Search>, Box<Search>),
    Or(Box<Search>, Box<Search>),
}

impl Search {
    fn drawn(chance: &mut Chance, depth: u64) -> Self {
        let inner = |chance: &mut Chance| Box::new(Self::drawn(chance, depth + 1));
        match chance.below(if depth < 3 { 11 } else { 8 }) {
            0 => Self::All,
            1 => Self::Word(pick(chance, &["login", "timeout", "ALICE", "absent"])),
            2 => Self::Exact(pick(chance, &["Timeout", "timeout", "Carol", "carol"])),
            3 => Self::Regex,
            4 => Self::Network,
            5 => Self::Level(pick(chance, &["warn", "error"])),
            6 => Self::HasUser,
            7 => Self::Took(chance.below(27).cast_signed() - 6),
            8 => Self::Not(inner(chance)),
            9 => Self::And(inner(chance), inner(chance)),
            _ => Self::Or(inner(chance), inner(chance)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Word(word) => (*word).to_owned(),
            Self::Exact(word) => format!("={word}"),
            Self::Regex => "/log(in|out)/".to_owned(),
            Self::Network => "cidr(10.0.0.0/29)".to_owned(),
            Self::Level(level) => format!("level>={level}"),
            Self::HasUser => "user:*".to_owned(),
            Self::Took(least) => format!("took>={least}"),
            Self::Not(inner) => format!("NOT ({})", inner.text()),
            Self::And(a, b) => format!("({}) ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) OR ({})", a.text(), b.text()),
        }
    }

    fn passes(&self, line: &Line) -> bool {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::All => true,
            Self::Word(word) => {
                let user = line.user.is_some_and(|user| user.eq_ignore_ascii_case(word));
                user || words(line.word).iter().any(|known| known.eq_ignore_ascii_case(word))
            }
            Self::Exact(word) => {
                line.user == Some(*word) || words(line.word).iter().any(|known| known == word)
            }
            Self::Regex => line.word.starts_with("log"),
            Self::Network => line.word.contains("10.0.0.7"),
            Self::Level(level) => rank(line.level) >= rank(level),
            Self::HasUser => line.user.is_some(),
            Self::Took(least) => line.took.is_some_and(|took| took >= *least),
            Self::Not(inner) => !inner.passes(line),
            Self::And(a, b) => a.passes(line) && b.passes(line),
            Self::Or(a, b) => a.passes(line) || b.passes(line),
        }
    }
}

fn rank(level: &str) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap()
}

/// What is done with what passes.
#[derive(Debug, Clone, Copy)]
enum Pipes {
    Whole,
    Stats(&'static str),
    Where(i64),
    Slowest(usize),
    Dedup,
    Expand { distinct: bool },
    Top(usize),
    InQuery,
    Bins(u64),
    Ends,
    Join,
    Union,
    Context(usize, usize),
    Newest(usize),
}

impl Pipes {
    fn drawn(chance: &mut Chance) -> Self {
        match chance.below(14) {
            0 => Self::Whole,
            1 => Self::Stats(pick(chance, &["user", "level", "host"])),
            2 => Self::Where(chance.below(27).cast_signed() - 6),
            3 => Self::Slowest(1 + chance.place(5)),
            4 => Self::Dedup,
            5 => Self::Top(1 + chance.place(2)),
            6 => Self::InQuery,
            7 => Self::Bins(*chance.one_of(&[5, 20, 60])),
            8 => Self::Ends,
            9 => Self::Join,
            10 => Self::Union,
            11 => Self::Expand { distinct: chance.below(2) == 0 },
            12 => Self::Context(chance.place(4), chance.place(4)),
            _ => Self::Newest(1 + chance.place(9)),
        }
    }

    /// As it is typed; `index` is a search for the list.
    fn text(self, index: &str) -> String {
        match self {
            Self::Whole => " | fields timestamp, message".to_owned(),
            Self::Stats(by) => format!(
                " | stats count() as n, sum(took) as s, min(took) as lo, max(took) as hi, \
                 count_distinct(user) as users, count() where took > 3 as slow by {by}"
            ),
            Self::Where(most) => {
                format!(" | where took * 2 < {most} or user == \"bob\" | stats count() as n")
            }
            Self::Slowest(count) => {
                format!(" | where took is not null | sort took desc | limit {count} | fields took")
            }
            Self::Dedup => " | where user is not null | dedup user | fields user, timestamp".into(),
            Self::Expand { distinct } => format!(
                " | expand {}tags as tag | stats count() as n, sum(took) as s by tag",
                if distinct { "distinct " } else { "" }
            ),
            Self::Top(count) => format!(" | where user is not null | top {count} user"),
            Self::InQuery => format!(
                " | where user in ({index} level:error | stats count() by user | fields user) \
                 | stats count() as n"
            ),
            Self::Bins(width) => format!(" | stats count() as n by bin(timestamp, {width}s)"),
            Self::Ends => " | stats first(timestamp) as f, last(message) as l by host".to_owned(),
            Self::Join => format!(
                " | stats count() as n by host \
                 | join inner host ({index} level:error | stats count() as errors by host) | sort host"
            ),
            Self::Union => {
                format!(" | fields message | union ({index} level:warn | fields message)")
            }
            Self::Context(before, after) => format!(
                " | context before {before} after {after} | fields timestamp, message, _matched"
            ),
            Self::Newest(count) => format!(" | limit {count} | fields timestamp, host, user"),
        }
    }

    /// The rows of the answer, from the lines that pass, newest first; `all` are all lines, newest
    /// first, each with whether it passes.
    fn truth(self, lines: &[&Line], all: &[(&Line, bool)]) -> Vec<Value> {
        let of_level = |level: &'static str| {
            all.iter().map(|(line, _)| *line).filter(move |line| line.level == level)
        };
        match self {
            Self::Whole => {
                let row =
                    |line: &&Line| json!({"timestamp": stamp(line.at), "message": line.message()});
                lines.iter().map(row).collect()
            }
            Self::Stats(by) => stats(lines, by),
            Self::Where(most) => {
                let passes = |line: &&&Line| {
                    line.took.is_some_and(|took| took * 2 < most) || line.user == Some("bob")
                };
                vec![json!({"n": lines.iter().filter(passes).count()})]
            }
            Self::Slowest(count) => {
                let mut took: Vec<i64> = lines.iter().filter_map(|line| line.took).collect();
                took.sort_by_key(|took| -took);
                took.iter().take(count).map(|took| json!({"took": took})).collect()
            }
            Self::Dedup => {
                let mut seen = BTreeSet::new();
                let first = lines.iter().filter(|line| line.user.is_some_and(|u| seen.insert(u)));
                first.map(|line| json!({"user": line.user, "timestamp": stamp(line.at)})).collect()
            }
            Self::Expand { distinct } => expanded(lines, distinct),
            Self::Top(count) => {
                let mut counts: Vec<_> =
                    counted(lines.iter().filter_map(|line| line.user)).into_iter().collect();
                counts.sort_by_key(|(user, count)| (std::cmp::Reverse(*count), *user));
                let row = |(user, count)| json!({"user": user, "count": count});
                counts.into_iter().take(count).map(row).collect()
            }
            Self::InQuery => {
                let users: BTreeSet<&str> =
                    of_level("error").filter_map(|line| line.user).collect();
                let passes = |line: &&&Line| line.user.is_some_and(|user| users.contains(user));
                vec![json!({"n": lines.iter().filter(passes).count()})]
            }
            Self::Bins(width) => {
                let bins = counted(lines.iter().map(|line| line.at / width * width));
                let row = |(at, count)| json!({"timestamp": stamp(at), "n": count});
                bins.into_iter().map(row).collect()
            }
            Self::Ends => ends(lines),
            Self::Join => {
                let errors = counted(of_level("error").map(|line| line.host));
                let hosts = counted(lines.iter().map(|line| line.host));
                let both =
                    hosts.into_iter().filter_map(|(host, n)| Some((host, n, errors.get(&host)?)));
                both.map(|(host, n, errors)| json!({"host": HOSTS[host], "n": n, "errors": errors}))
                    .collect()
            }
            Self::Union => {
                let both = lines.iter().copied().chain(of_level("warn"));
                both.map(|line| json!({"message": line.message()})).collect()
            }
            Self::Context(before, after) => context(all, before, after),
            Self::Newest(count) => {
                let row = |line: &&Line| json!({"timestamp": stamp(line.at), "host": HOSTS[line.host], "user": line.user});
                lines.iter().take(count).map(row).collect()
            }
        }
    }
}

/// The first time and the last message of each host.
fn ends(lines: &[&Line]) -> Vec<Value> {
    let mut ends: BTreeMap<usize, (u64, String)> = BTreeMap::new();
    for line in lines {
        let end = ends.entry(line.host).or_insert_with(|| (0, line.message()));
        end.0 = line.at;
    }
    let row = |(host, (at, last))| json!({"host": HOSTS[host], "f": stamp(at), "l": last});
    ends.into_iter().map(row).collect()
}

fn counted<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Which lines stand near one that passes, among those of its host.
fn context(all: &[(&Line, bool)], before: usize, after: usize) -> Vec<Value> {
    let mut near = vec![false; all.len()];
    for host in 0..HOSTS.len() {
        // Oldest first.
        let places: Vec<usize> =
            (0..all.len()).rev().filter(|place| all[*place].0.host == host).collect();
        for (at, place) in places.iter().enumerate() {
            if all[*place].1 {
                let first = at.saturating_sub(before);
                let last = (at + after).min(places.len() - 1);
                places[first..=last].iter().for_each(|place| near[*place] = true);
            }
        }
    }
    let shown = all.iter().zip(near).filter(|(_, near)| *near);
    let row = |((line, passes), _): (&(&Line, bool), bool)| json!({"timestamp": stamp(line.at), "message": line.message(), "_matched": passes});
    shown.map(row).collect()
}

fn stats(lines: &[&Line], by: &str) -> Vec<Value> {
    let key = |line: &Line| match by {
        "user" => line.user,
        "level" => Some(line.level),
        _ => Some(HOSTS[line.host]),
    };
    // Levels come by severity; what has no value comes last.
    let place = |key: Option<&'static str>| match key {
        Some(level) if by == "level" => (rank(level), level),
        Some(text) => (0, text),
        None => (9, ""),
    };
    let mut groups: BTreeMap<(usize, &str), Vec<&Line>> = BTreeMap::new();
    for line in lines {
        groups.entry(place(key(line))).or_default().push(line);
    }
    let row = |lines: &Vec<&Line>| {
        let took = || lines.iter().filter_map(|line| line.took);
        let users: BTreeSet<&str> = lines.iter().filter_map(|line| line.user).collect();
        let sum = took().next().map(|_| took().sum::<i64>());
        let slow = took().filter(|took| *took > 3).count();
        json!({by: key(lines[0]), "n": lines.len(), "s": sum, "lo": took().min(),
            "hi": took().max(), "users": users.len(), "slow": slow})
    };
    groups.values().map(row).collect()
}

/// How many values there are of each tag, and what their records took; no tag comes last.
fn expanded(lines: &[&Line], distinct: bool) -> Vec<Value> {
    let mut groups: BTreeMap<(bool, &str), Vec<Option<i64>>> = BTreeMap::new();
    for line in lines {
        let mut tags: Vec<Option<&str>> = line.tags.iter().copied().map(Some).collect();
        if distinct {
            tags.sort_unstable();
            tags.dedup();
        }
        if tags.is_empty() {
            tags.push(None);
        }
        for tag in tags {
            let key = (tag.is_none(), tag.unwrap_or_default());
            groups.entry(key).or_default().push(line.took);
        }
    }
    let row = |((is_none, tag), took): (&(bool, &str), &Vec<Option<i64>>)| {
        let known = || took.iter().flatten();
        let sum = known().next().map(|_| known().sum::<i64>());
        json!({"tag": (!is_none).then_some(tag), "n": took.len(), "s": sum})
    };
    groups.iter().map(row).collect()
}

/// A list of records with questions, and the index that it is in.
struct List {
    index: String,
    lines: Vec<Line>,
    questions: Vec<(Search, Pipes)>,
}

impl List {
    fn drawn(number: u64, chance: &mut Chance) -> Self {
        let lines = lines(chance);
        let question = |_| (Search::drawn(chance, 0), Pipes::drawn(chance));
        let questions = (0..QUESTIONS).map(question).collect();
        Self { index: format!("list{number}"), lines, questions }
    }

    fn send<'a>(&self, client: impl Fn(usize) -> &'a Client) {
        for (host, name) in HOSTS.iter().enumerate() {
            let lines = self.lines.iter().filter(|line| line.host == host);
            let lines: String = lines.map(|line| line.json() + "\n").collect();
            let path = format!("/api/v1/ingest?index={}&host={name}", self.index);
            client(host).ingest(&path, lines.as_bytes());
        }
    }

    fn check(&self, who: &str, client: &Client) {
        let mut newest: Vec<(usize, &Line)> = self.lines.iter().enumerate().collect();
        newest.sort_by_key(|(sent, line)| std::cmp::Reverse((line.at, *sent)));
        let index = format!("index:{}", self.index);
        for (search, pipes) in &self.questions {
            let query = format!("{index} ({}){}", search.text(), pipes.text(&index));
            let all: Vec<(&Line, bool)> =
                newest.iter().map(|(_, line)| (*line, search.passes(line))).collect();
            let passing: Vec<&Line> =
                all.iter().filter(|(_, passes)| *passes).map(|(line, _)| *line).collect();
            let found = client.whole_rows(&query);
            let expected = pipes.truth(&passing, &all);
            assert_eq!(found, expected, "{who}: {query}\n{:#?}", self.lines);
        }
    }
}

#[test]
fn random_queries_are_answered_as_by_plain_loops() {
    let seed = setting("SAWLOG_RANDOM_SEED", 1);
    let count = setting("SAWLOG_RANDOM_LISTS", LISTS);
    eprintln!(
        "again: SAWLOG_RANDOM_SEED={seed} SAWLOG_RANDOM_LISTS={count} cargo test -p tests --test cases random"
    );
    let folder = tempfile::tempdir().unwrap();
    let alone = Node::start("node", folder.path(), TINY, &[]);
    let cluster = Cluster::start(3, QUICK, |_, _| Vec::new());
    let mut chance = Chance::new(seed);
    let lists: Vec<List> = (0..count).map(|number| List::drawn(number, &mut chance)).collect();
    for list in &lists {
        list.send(|_| &alone.client);
        list.send(|host| cluster.client(host));
        list.check("one node, fresh", &alone.client);
        list.check("three nodes, fresh", cluster.client(chance.place(3)));
    }
    eventually("all to be in splits", || {
        let told = [alone.client.get("/api/v1/status"), cluster.status(0)?];
        told.iter().all(all_published).then_some(())
    });
    for list in &lists {
        list.check("one node, splits", &alone.client);
        list.check("three nodes, splits", cluster.client(chance.place(3)));
    }
}
