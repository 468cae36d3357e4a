//! Random records and random queries, fresh and in splits, against a list and plain loops.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// A record, and what is known of it.
#[derive(Debug, Clone)]
struct Line {
    at: u32,
    level: &'static str,
    word: &'static str,
    user: Option<&'static str>,
    took: Option<i64>,
}

impl Line {
    fn json(&self) -> String {
        let mut line = json!({"ts": 1_767_225_600 + i64::from(self.at), "level": self.level,
            "msg": format!("{} happened", self.word)});
        if let Some(user) = self.user {
            line["user"] = user.into();
        }
        if let Some(took) = self.took {
            line["took"] = took.into();
        }
        line.to_string()
    }
}

fn line() -> impl Strategy<Value = Line> {
    (
        0_u32..50,
        prop::sample::select(vec!["info", "warn", "error"]),
        prop::sample::select(vec!["login", "logout", "timeout 10.0.0.7", "Timeout"]),
        prop::option::of(prop::sample::select(vec!["alice", "bob", "Carol"])),
        prop::option::of(-5_i64..20),
    )
        .prop_map(|(at, level, word, user, took)| Line { at, level, word, user, took })
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
    ["info", "warn", "error"].iter().position(|known| *known == level).unwrap()
}

fn search() -> impl Strategy<Value = Search> {
    let leaf = prop_oneof![
        Just(Search::All),
        prop::sample::select(vec!["login", "timeout", "ALICE", "absent"]).prop_map(Search::Word),
        prop::sample::select(vec!["Timeout", "timeout", "Carol", "carol"]).prop_map(Search::Exact),
        Just(Search::Regex),
        Just(Search::Network),
        prop::sample::select(vec!["warn", "error"]).prop_map(Search::Level),
        Just(Search::HasUser),
        (-6_i64..21).prop_map(Search::Took),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|a| Search::Not(Box::new(a))),
            two.clone().prop_map(|(a, b)| Search::And(Box::new(a), Box::new(b))),
            two.prop_map(|(a, b)| Search::Or(Box::new(a), Box::new(b))),
        ]
    })
}

/// What is done with what passes.
#[derive(Debug, Clone, Copy)]
enum Pipes {
    Whole,
    Stats(&'static str),
    Where(i64),
    Slowest(usize),
    Dedup,
    Top(usize),
    InQuery,
}

fn pipes() -> impl Strategy<Value = Pipes> {
    prop_oneof![
        Just(Pipes::Whole),
        prop::sample::select(vec!["user", "level", "host"]).prop_map(Pipes::Stats),
        (-6_i64..21).prop_map(Pipes::Where),
        (1_usize..6).prop_map(Pipes::Slowest),
        Just(Pipes::Dedup),
        (1_usize..3).prop_map(Pipes::Top),
        Just(Pipes::InQuery),
    ]
}

impl Pipes {
    fn text(self) -> String {
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
            Self::Top(count) => format!(" | where user is not null | top {count} user"),
            Self::InQuery => {
                " | where user in (level:error | stats count() by user | fields user) \
                 | stats count() as n"
                    .to_owned()
            }
        }
    }

    /// The rows of the answer, from the lines that pass, newest first; `all` are all lines.
    fn truth(self, lines: &[&Line], all: &[Line]) -> Vec<Value> {
        match self {
            Self::Whole => {
                let row = |line: &&Line| {
                    json!({"timestamp": stamp(line.at),
                    "message": format!("{} happened", line.word)})
                };
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
            Self::Top(count) => {
                let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
                for user in lines.iter().filter_map(|line| line.user) {
                    *counts.entry(user).or_default() += 1;
                }
                let mut counts: Vec<_> = counts.into_iter().collect();
                counts.sort_by_key(|(user, count)| (-count, *user));
                let row = |(user, count)| json!({"user": user, "count": count});
                counts.into_iter().take(count).map(row).collect()
            }
            Self::InQuery => {
                let errors = all.iter().filter(|line| line.level == "error");
                let users: BTreeSet<&str> = errors.filter_map(|line| line.user).collect();
                let passes = |line: &&&Line| line.user.is_some_and(|user| users.contains(user));
                vec![json!({"n": lines.iter().filter(passes).count()})]
            }
        }
    }
}

fn stats(lines: &[&Line], by: &str) -> Vec<Value> {
    let key = |line: &Line| match by {
        "user" => line.user,
        "level" => Some(line.level),
        _ => Some("web1"),
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

fn stamp(at: u32) -> String {
    format!("2026-01-01T00:00:{at:02}.000000000Z")
}

async fn check(lines: &[Line], questions: &[(Search, Pipes)], rest: Rest) {
    let fixture = Fixture::new(rest);
    fixture.append(0, &[("host", "web1")], lines.iter().map(Line::json)).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = app(&fixture);
    let mut newest: Vec<(usize, &Line)> = lines.iter().enumerate().collect();
    newest.sort_by_key(|(offset, line)| std::cmp::Reverse((line.at, *offset)));
    for (search, pipes) in questions {
        let query = format!("{}{}", search.text(), pipes.text());
        let passing: Vec<&Line> =
            newest.iter().map(|(_, line)| *line).filter(|line| search.passes(line)).collect();
        let found = rows(&app, json!({"query": query, "limit": 0})).await;
        assert_eq!(found, pipes.truth(&passing, lines), "{query} of {rest:?}\n{lines:#?}");
    }
}

#[test]
fn random_queries_are_answered_as_by_plain_loops() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let given =
        (prop::collection::vec(line(), 3..60), prop::collection::vec((search(), pipes()), 25));
    let config = Config { cases: 12, max_shrink_iters: 60, ..Config::default() };
    let outcome = TestRunner::new(config).run(&given, |(mut lines, questions)| {
        // Every type is there, so that columns have the types that the truth has.
        lines[0].took = Some(1);
        for rest in BOTH {
            runtime.block_on(check(&lines, &questions, rest));
        }
        Ok(())
    });
    outcome.unwrap();
}
