//! Pipes behind a search, each with plain loops that make the same of a list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::chance::Chance;

use super::lines::{GREAT, HOSTS, Line, pick, rank, stamp};

/// What a search finds in a list, newest first.
pub(super) struct Found<'a> {
    /// The lines that pass.
    pub(super) passing: Vec<&'a Line>,
    /// All lines, each with whether it passes.
    pub(super) all: Vec<(&'a Line, bool)>,
}

impl Found<'_> {
    fn of_level(&self, level: &'static str) -> impl Iterator<Item = &Line> {
        self.all.iter().map(|(line, _)| *line).filter(move |line| line.level == level)
    }

    /// How many lines pass of which that is true.
    fn count(&self, test: impl Fn(&Line) -> bool) -> Vec<Value> {
        vec![json!({"n": self.passing.iter().filter(|line| test(line)).count()})]
    }
}

/// Makes the rows of the answer.
type Loops = Box<dyn Fn(&Found<'_>) -> Vec<Value>>;

/// Pipes as they are typed, and the loops.
pub(super) struct Pipes {
    pub(super) text: String,
    pub(super) rows: Loops,
}

fn pipes(text: impl Into<String>, rows: impl Fn(&Found<'_>) -> Vec<Value> + 'static) -> Pipes {
    Pipes { text: text.into(), rows: Box::new(rows) }
}

/// One chain of each kind; `index` is a search for the list.
pub(super) fn kinds(chance: &mut Chance, index: &str) -> Vec<Pipes> {
    let mut all = records(chance, index);
    all.extend(conditions(chance));
    all.extend(groups(chance));
    all.extend(ranked(chance));
    all.extend(texts());
    all.extend(inner(chance, index));
    all
}

/// Those that give records, or columns of them.
fn records(chance: &mut Chance, index: &str) -> Vec<Pipes> {
    let (newest, slowest) = (1 + chance.place(9), 1 + chance.place(5));
    let (before, after) = (chance.place(4), chance.place(4));
    vec![
        pipes(" | fields timestamp, message", |found| {
            let row =
                |line: &&Line| json!({"timestamp": stamp(line.at), "message": line.message()});
            found.passing.iter().map(row).collect()
        }),
        pipes(format!(" | limit {newest} | fields timestamp, host, user"), move |found| {
            let row = |line: &&Line| json!({"timestamp": stamp(line.at), "host": HOSTS[line.host], "user": line.user});
            found.passing.iter().take(newest).map(row).collect()
        }),
        pipes(
            format!(" | where took is not null | sort took desc | limit {slowest} | fields took"),
            move |found| {
                let mut took: Vec<i64> =
                    found.passing.iter().filter_map(|line| line.took).collect();
                took.sort_by_key(|took| Reverse(*took));
                took.iter().take(slowest).map(|took| json!({"took": took})).collect()
            },
        ),
        pipes(" | rename user as person | drop took, tags | fields timestamp, person", |found| {
            let row = |line: &&Line| json!({"timestamp": stamp(line.at), "person": line.user});
            found.passing.iter().map(row).collect()
        }),
        pipes(" | where user is not null | dedup user | fields user, timestamp", |found| {
            let mut seen = BTreeSet::new();
            let first = found.passing.iter();
            let first = first.filter(|line| line.user.is_some_and(|user| seen.insert(user)));
            first.map(|line| json!({"user": line.user, "timestamp": stamp(line.at)})).collect()
        }),
        pipes(" | dedup 2 level | fields level, timestamp", |found| {
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            let mut first = found.passing.clone();
            first.retain(|line| {
                let count = seen.entry(line.level).or_default();
                *count += 1;
                *count <= 2
            });
            let row = |line: &&Line| json!({"level": line.level, "timestamp": stamp(line.at)});
            first.iter().map(row).collect()
        }),
        pipes(
            format!(
                " | context before {before} after {after} | fields timestamp, message, _matched"
            ),
            move |found| context(&found.all, before, after),
        ),
        pipes(
            format!(" | fields message | union ({index} level:warn | fields message)"),
            |found| {
                let both = found.passing.iter().copied().chain(found.of_level("warn"));
                both.map(|line| json!({"message": line.message()})).collect()
            },
        ),
    ]
}

/// Conditions.
fn conditions(chance: &mut Chance) -> Vec<Pipes> {
    let most = chance.below(27).cast_signed() - 6;
    let n = "| stats count() as n";
    let others = [
        pipes(
            format!(" | where starts_with(message, \"log\") and not (user == \"bob\") {n}"),
            |found| found.count(|line| line.word.starts_with("log") && line.user != Some("bob")),
        ),
        pipes(
            format!(" | where message =~ /time(out)?/i or contains(user, \"ro\") {n}"),
            |found| {
                let is_time = |line: &Line| line.word.to_lowercase().contains("time");
                found.count(|line| is_time(line) || line.user == Some("Carol"))
            },
        ),
        pipes(
            format!(" | where user in (\"alice\", \"Carol\") and took in (1, 2, 3, 4, 5) {n}"),
            |found| {
                let user = |line: &Line| matches!(line.user, Some("alice" | "Carol"));
                found.count(|line| user(line) && line.took.is_some_and(|n| (1..=5).contains(&n)))
            },
        ),
    ];
    let mut drawn = Vec::from(others);
    let other = drawn.swap_remove(chance.place(drawn.len()));
    let sums = pipes(format!(" | where took * 2 < {most} or user == \"bob\" {n}"), move |found| {
        let is_below = |line: &Line| line.took.is_some_and(|took| took * 2 < most);
        found.count(|line| is_below(line) || line.user == Some("bob"))
    });
    let bound = *chance.one_of(&GREAT);
    let great = match chance.below(2) {
        0 => pipes(format!(" | where trace >= {bound} {n}"), move |found| {
            found.count(|line| line.trace.is_some_and(|trace| trace >= bound))
        }),
        _ => pipes(format!(" | where trace != {bound} and exists(trace) {n}"), move |found| {
            found.count(|line| line.trace.is_some_and(|trace| trace != bound))
        }),
    };
    vec![sums, other, great]
}

/// Groups in the order of their keys.
fn groups(chance: &mut Chance) -> Vec<Pipes> {
    let by = pick(chance, &["user", "level", "host"]);
    let is_distinct = chance.below(2) == 0;
    let (width, wide) = (*chance.one_of(&[5_u64, 20, 60]), *chance.one_of(&[20_u64, 60]));
    vec![
        pipes(
            format!(
                " | stats count() as n, sum(took) as s, min(took) as lo, max(took) as hi, \
                 count_distinct(user) as users, count() where took > 3 as slow by {by}"
            ),
            move |found| stats(&found.passing, by),
        ),
        pipes(" | stats count() as n by level, host", |found| {
            let keys = found.passing.iter().map(|line| (rank(line.level), line.level, line.host));
            let row = |((_, level, host), n)| json!({"level": level, "host": HOSTS[host], "n": n});
            counted(keys).into_iter().map(row).collect()
        }),
        pipes(
            format!(
                " | expand {}tags as tag | stats count() as n, sum(took) as s by tag",
                if is_distinct { "distinct " } else { "" }
            ),
            move |found| expanded(&found.passing, is_distinct),
        ),
        pipes(format!(" | stats count() as n by bin(timestamp, {width}s)"), move |found| {
            let bins = counted(found.passing.iter().map(|line| line.at / width * width));
            bins.into_iter().map(|(at, n)| json!({"timestamp": stamp(at), "n": n})).collect()
        }),
        pipes(format!(" | timechart {wide}s count() as n by level"), move |found| {
            let key = |line: &&Line| (line.at / wide * wide, rank(line.level), line.level);
            let row = |((at, _, level), n)| json!({"timestamp": stamp(at), "level": level, "n": n});
            counted(found.passing.iter().map(key)).into_iter().map(row).collect()
        }),
        pipes(" | stats first(timestamp) as f, last(message) as l by host", |found| {
            ends(&found.passing)
        }),
    ]
}

/// Groups by their counts.
fn ranked(chance: &mut Chance) -> Vec<Pipes> {
    let (count, is_top) = (1 + chance.place(2), chance.below(2) == 0);
    let pipe = if is_top { "top" } else { "rare" };
    vec![
        pipes(format!(" | where user is not null | {pipe} {count} user"), move |found| {
            let users = found.passing.iter().filter_map(|line| line.user);
            let mut counts: Vec<(&str, usize)> = counted(users).into_iter().collect();
            // Equal counts come by the value.
            match is_top {
                true => counts.sort_by_key(|(user, count)| (Reverse(*count), *user)),
                false => counts.sort_by_key(|(user, count)| (*count, *user)),
            }
            let row = |(user, count)| json!({"user": user, "count": count});
            counts.into_iter().take(count).map(row).collect()
        }),
        pipes(" | stats count() as n by user | sort n desc | limit 2", |found| {
            let mut counts: Vec<((bool, Option<&str>), usize)> =
                counted(found.passing.iter().map(|line| (line.user.is_none(), line.user)))
                    .into_iter()
                    .collect();
            counts.sort_by_key(|(key, count)| (Reverse(*count), *key));
            let row = |((_, user), n)| json!({"user": user, "n": n});
            counts.into_iter().take(2).map(row).collect()
        }),
    ]
}

/// Columns made of texts.
fn texts() -> Vec<Pipes> {
    // What has no value comes last.
    let by = |name: &'static str, value: fn(&Line) -> Option<String>| {
        move |found: &Found<'_>| -> Vec<Value> {
            let key = |line: &&Line| (value(line).is_none(), value(line));
            let counts = counted(found.passing.iter().map(key));
            counts.into_iter().map(|((_, value), n)| json!({ name: value, "n": n })).collect()
        }
    };
    let who = |line: &Line| Some(line.user.unwrap_or("none").to_uppercase());
    let verb = |line: &Line| {
        let ends = |c: char| !(c.is_ascii_alphabetic() || c == '_');
        let verb = line.word.split(ends).next().unwrap_or_default();
        (!verb.is_empty()).then(|| verb.to_owned())
    };
    let state = |line: &Line| line.word.strip_prefix("state=").map(str::to_owned);
    vec![
        pipes(
            " | eval who = upper(coalesce(user, \"none\")) | stats count() as n by who",
            by("who", who),
        ),
        pipes(" | extract /^(?<verb>[a-zA-Z_]+)/ | stats count() as n by verb", by("verb", verb)),
        pipes(" | parse logfmt | stats count() as n by state", by("state", state)),
        pipes(
            " | where not contains(message, \"10.0.0.7\") | patterns | fields _pattern, count",
            |found| {
                // Without a digit a message is its own pattern.
                let plain = found.passing.iter().filter(|line| !line.word.contains("10.0.0.7"));
                let mut counts: Vec<(String, usize)> =
                    counted(plain.map(|line| line.message())).into_iter().collect();
                counts.sort_by_key(|(pattern, count)| (Reverse(*count), pattern.clone()));
                let row = |(pattern, count)| json!({"_pattern": pattern, "count": count});
                counts.into_iter().map(row).collect()
            },
        ),
    ]
}

/// Those with a query inside.
fn inner(chance: &mut Chance, index: &str) -> Vec<Pipes> {
    let keeps_all = chance.below(2) == 0;
    let join = if keeps_all { "join" } else { "join inner" };
    vec![
        pipes(
            format!(
                " | where user in ({index} level:error | stats count() by user | fields user) \
                 | stats count() as n"
            ),
            |found| {
                let users: BTreeSet<&str> =
                    found.of_level("error").filter_map(|line| line.user).collect();
                found.count(|line| line.user.is_some_and(|user| users.contains(user)))
            },
        ),
        pipes(
            format!(
                " | stats count() as n by host \
                 | {join} host ({index} level:error | stats count() as errors by host) | sort host"
            ),
            move |found| {
                let errors = counted(found.of_level("error").map(|line| line.host));
                let hosts = counted(found.passing.iter().map(|line| line.host)).into_iter();
                let both = hosts.map(|(host, n)| (host, n, errors.get(&host)));
                let kept = both.filter(|(_, _, errors)| keeps_all || errors.is_some());
                kept.map(|(host, n, errors)| json!({"host": HOSTS[host], "n": n, "errors": errors}))
                    .collect()
            },
        ),
    ]
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
