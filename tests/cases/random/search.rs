//! Random searches: every filter of the language, and what joins them.

use tests::chance::Chance;
use tests::oracle::{Ask, Test};

use super::lines::{GREAT, moment, stamp};

/// A search as it is typed, and as the oracle is asked.
#[derive(Debug, Clone)]
pub(super) struct Search {
    pub(super) text: String,
    pub(super) ask: Ask,
}

impl Search {
    /// A search of several terms, as a rule.
    pub(super) fn drawn(chance: &mut Chance, depth: u64) -> Self {
        match chance.below(if depth < 3 { 11 } else { 8 }) {
            8 => {
                let inner = Self::drawn(chance, depth + 1);
                let sign = *chance.one_of(&["NOT ", "-", "!"]);
                search(format!("{sign}({})", inner.text), Ask::Not(Box::new(inner.ask)))
            }
            9 => {
                let (a, b) = (Self::drawn(chance, depth + 1), Self::drawn(chance, depth + 1));
                let and = *chance.one_of(&[" ", " AND "]);
                search(format!("({}){and}({})", a.text, b.text), Ask::And(vec![a.ask, b.ask]))
            }
            10 => {
                let (a, b) = (Self::drawn(chance, depth + 1), Self::drawn(chance, depth + 1));
                search(format!("({}) OR ({})", a.text, b.text), Ask::Or(vec![a.ask, b.ask]))
            }
            _ => {
                let mut terms = terms(chance);
                terms.swap_remove(chance.place(terms.len()))
            }
        }
    }
}

/// One term of each kind.
pub(super) fn terms(chance: &mut Chance) -> Vec<Search> {
    let all = vec![search("*", Ask::All)];
    let numbers = [numbers(chance), great(chance)].concat();
    [all, words(), texts(), levels(), measured(), numbers, times(chance)].concat()
}

fn search(text: impl Into<String>, ask: Ask) -> Search {
    Search { text: text.into(), ask }
}

fn field(name: &str, test: Test) -> Ask {
    Ask::Field(name.to_owned(), test)
}

fn is(name: &str, text: &str) -> Ask {
    field(name, Test::Is(text.to_owned()))
}

fn not(ask: Ask) -> Ask {
    Ask::Not(Box::new(ask))
}

/// Words, phrases, stars, exact case, expressions, networks.
fn words() -> Vec<Search> {
    let phrases = [
        "login",
        "timeout",
        "ALICE",
        "oslo",
        "absent",
        "happened",
        "已满",
        "10.0.0.7",
        "state=open",
        "\"login happened\"",
        "\"out happened\"",
    ];
    let phrases =
        phrases.map(|typed| search(typed, Ask::Phrase(typed.trim_matches('"').to_owned())));
    let stars = ["log*", "*out", "*ime*", "t*t", "ca*", "10.*.7"];
    let stars = stars.map(|typed| search(typed, Ask::Stars(typed.to_owned())));
    let exact = ["Timeout", "timeout", "Carol", "carol", "\"Timeout happened\""];
    let exact = exact
        .map(|typed| search(format!("={typed}"), Ask::Exact(typed.trim_matches('"').to_owned())));
    let is_near = |text: &str| text.split(' ').any(|word| word == "10.0.0.7");
    let others = [
        search("*\"ogin happ\"*", Ask::Stars("*ogin happ*".to_owned())),
        search(
            "/log(in|out)/",
            Ask::Text(|text| text.contains("login") || text.contains("logout")),
        ),
        search("/TIME(out)?/i", Ask::Text(|text| text.to_lowercase().contains("time"))),
        search("cidr(10.0.0.0/29)", Ask::Text(is_near)),
    ];
    [&phrases[..], &stars[..], &exact[..], &others[..]].concat()
}

/// Fields that are texts, lists, labels, nested.
fn texts() -> Vec<Search> {
    let one_of = |name: &str, texts: &'static [&'static str]| field(name, Test::OneOf(texts));
    let either = |name: &str, a: &str, b: &str| Ask::Or(vec![is(name, a), is(name, b)]);
    let stars = |name: &str, text: &str| field(name, Test::Stars(text.to_owned()));
    let begins = |text: &str| text.starts_with(['a', 'b']);
    let alone = Ask::And(vec![stars("user", "*o*"), not(is("user", "bob"))]);
    vec![
        search("user:*", field("user", Test::Exists)),
        search("-tags:*", not(field("tags", Test::Exists))),
        search("user:ALICE", is("user", "alice")),
        search("user:(alice OR bob)", either("user", "alice", "bob")),
        search("user:(*o* -bob)", alone),
        search("user:=Carol", field("user", Test::Exact("Carol".to_owned()))),
        search("user:=carol", field("user", Test::Exact("carol".to_owned()))),
        search("user:/^[ab]/", field("user", Test::Text(begins))),
        search("user>=\"b\"", one_of("user", &["bob", "Carol"])),
        search("user:[a TO bz]", one_of("user", &["alice", "bob"])),
        search("user!=bob", not(is("user", "bob"))),
        search("tags:x", is("tags", "x")),
        search("tags:(x y)", Ask::And(vec![is("tags", "x"), is("tags", "y")])),
        search("tags:(x OR z)", either("tags", "x", "z")),
        search("host:web1", is("host", "web1")),
        search("host:*3", stars("host", "*3")),
        search("geo.city:oslo", is("geo.city", "oslo")),
        search("-geo.city:*", not(field("geo.city", Test::Exists))),
        search("ip:cidr(10.0.0.0/8)", one_of("ip", &["10.0.0.7", "10.9.0.1"])),
        search("message:timeout", is("message", "timeout")),
        search("message:=Timeout", field("message", Test::Exact("Timeout".to_owned()))),
        search("message:log*", stars("message", "log*")),
    ]
}

fn levels() -> Vec<Search> {
    let from = |level| field("level", Test::LevelFrom(level));
    let (info, warn, error) = (is("level", "info"), is("level", "warn"), is("level", "error"));
    vec![
        search("level:warn", warn.clone()),
        search("level:ERR", error.clone()),
        search("level:err*", error.clone()),
        search("level:(warn OR error)", Ask::Or(vec![warn.clone(), error])),
        search("level>=warn", from("warn")),
        search("level<warn", not(from("warn"))),
        search("level:warn..error", from("warn")),
        search("level:[info TO error}", Ask::Or(vec![info.clone(), warn])),
        search("level!=info", not(info)),
    ]
}

/// Spans, sizes and times that are texts: few are drawn, so those that pass are told one by one.
fn measured() -> Vec<Search> {
    let list: [(&str, &str, &'static [&'static str]); 7] = [
        ("spent>1s", "spent", &["1.5s", "3m"]),
        ("spent:200ms..2s", "spent", &["250ms", "1.5s"]),
        ("spent:*..2s", "spent", &["250ms", "1.5s"]),
        ("size>=10KB", "size", &["20 KB", "1.5MiB"]),
        ("size:{9KB TO 1MiB]", "size", &["20 KB"]),
        ("expires>=2026-02-01T00:00:00Z", "expires", &["2026-02-01T05:00:00+02:00", "2026-03"]),
        ("expires<2026-02-01T00:00:00Z", "expires", &["2026-01-31"]),
    ];
    list.map(|(typed, name, texts)| search(typed, field(name, Test::OneOf(texts)))).to_vec()
}

fn numbers(chance: &mut Chance) -> Vec<Search> {
    let took = |test| field("took", test);
    let mut below = |bound: u64| i32::try_from(chance.below(bound)).unwrap();
    let (any, low) = (below(27) - 6, below(10));
    let (high, equal) = (low + below(10), 6 + below(15));
    let [from, to, bound] = [low, high, any].map(f64::from);
    let within = took(Test::Within(from, to));
    vec![
        search(format!("took>={any}"), took(Test::Within(bound, f64::INFINITY))),
        search(format!("took<{any}"), took(Test::Under(bound))),
        search(format!("took!={equal}"), not(took(Test::Is(equal.to_string())))),
        search(format!("took:{equal}"), took(Test::Is(equal.to_string()))),
        search(format!("took:{low}..{high}"), within.clone()),
        search(format!("took:[{low} TO {high}]"), within.clone()),
        // What is behind one end and not behind the same end is nothing, and refused.
        search(
            format!("took:{{{low} TO {}]", high + 1),
            Ask::And(vec![took(Test::Over(from)), took(Test::Within(from, to + 1.0))]),
        ),
        search(format!("took:(>={low} <{high})"), Ask::And(vec![within, took(Test::Under(to))])),
    ]
}

/// Whole numbers that floats confuse.
fn great(chance: &mut Chance) -> Vec<Search> {
    let trace = |test| field("trace", test);
    let mut drawn = || i128::from(*chance.one_of(&GREAT));
    let (a, b, bound) = (drawn(), drawn(), drawn());
    let from = a.min(b);
    let to = a.max(b).max(from + 1);
    let beside = match a < b {
        true => search(format!("trace>{bound}"), trace(Test::Whole(bound + 1, i128::MAX))),
        false => search(format!("trace<={bound}"), trace(Test::Whole(0, bound))),
    };
    vec![
        beside,
        search(format!("trace:{from}..{to}"), trace(Test::Whole(from, to))),
        search(format!("trace:[{from} TO {to}}}"), trace(Test::Whole(from, to - 1))),
        search(format!("trace!={bound}"), not(trace(Test::Is(bound.to_string())))),
    ]
}

fn times(chance: &mut Chance) -> Vec<Search> {
    let at = chance.below(120);
    let second = stamp(at).replace(".000000000", "");
    vec![
        search(format!("timestamp>={second}"), Ask::Inside(moment(at), i64::MAX)),
        search(format!("timestamp<{second}"), Ask::Inside(i64::MIN, moment(at))),
        search("timestamp:2026-01-01T00:01", Ask::Inside(moment(60), moment(120))),
    ]
}
