//! What a text must hold to match a regular expression or a network: literals, found in the
//! expression's syntax tree, folded as the indexes are.

use std::net::IpAddr;

use model::query::TextMatch;
use model::text::fold_text;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Literals of one expression; more are left out, which costs reading and is never wrong.
const LITERALS_MAX: usize = 64;

/// What a matching text must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literals {
    /// Nothing is known.
    Any,
    /// This folded text, as a part of it.
    Part(String),
    /// This token.
    Token(String),
    /// All of these.
    All(Vec<Self>),
    /// One of these at least.
    One(Vec<Self>),
}

/// What a text must hold to match; `None` for a match that has tokens of its own.
pub(super) fn literals(text: &TextMatch) -> Option<Literals> {
    match text {
        TextMatch::Regex(source) => Some(of_regex(source)),
        TextMatch::Network { address, prefix } => Some(of_network(*address, *prefix)),
        _ => None,
    }
}

/// Whether a text that matches an expression matches it also inside of any longer text: it asks
/// neither for ends nor for boundaries of words.
pub(super) fn is_free(source: &str) -> bool {
    regex_syntax::parse(source).is_ok_and(|hir| hir.properties().look_set().is_empty())
}

fn of_regex(source: &str) -> Literals {
    let Ok(hir) = regex_syntax::parse(source) else { return Literals::Any };
    let mut found = Finder::default();
    found.walk(&hir);
    found.end_run();
    found.count = 0;
    all(found.parts)
}

fn all(mut parts: Vec<Literals>) -> Literals {
    match parts.len() {
        0 => Literals::Any,
        1 => parts.swap_remove(0),
        _ => Literals::All(parts),
    }
}

/// Walks what a match must have, in order, joining neighbours into longer literals.
#[derive(Default)]
struct Finder {
    run: String,
    parts: Vec<Literals>,
    count: usize,
}

impl Finder {
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        // One letter is nearly everywhere.
        if run.len() > 1 && self.count < LITERALS_MAX {
            self.count += 1;
            self.parts.push(Literals::Part(run));
        }
    }

    fn walk(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => text.chars().for_each(|c| self.push(fold_of([c].into_iter()))),
                Err(_) => self.end_run(),
            },
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges();
                let few =
                    ranges.iter().map(regex_syntax::hir::ClassUnicodeRange::len).sum::<usize>()
                        <= 4;
                let members = ranges.iter().flat_map(|range| range.start()..=range.end());
                self.push(if few { fold_of(members) } else { None });
            }
            HirKind::Class(Class::Bytes(_)) => self.end_run(),
            HirKind::Capture(capture) => self.walk(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.walk(part)),
            HirKind::Repetition(repetition) => {
                self.end_run();
                if repetition.min > 0 {
                    self.walk(&repetition.sub);
                    self.end_run();
                }
            }
            HirKind::Alternation(branches) => {
                self.end_run();
                let branches = branches.iter().map(|branch| {
                    let mut found = Self { count: self.count, ..Self::default() };
                    found.walk(branch);
                    found.end_run();
                    self.count = found.count;
                    all(found.parts)
                });
                let branches: Vec<Literals> = branches.collect();
                if !branches.contains(&Literals::Any) {
                    self.parts.push(Literals::One(branches));
                }
            }
            // What has no length does not part what stands around it.
            HirKind::Empty | HirKind::Look(_) => {}
        }
    }

    fn push(&mut self, folded: Option<char>) {
        match folded {
            Some(c) => self.run.push(c),
            None => self.end_run(),
        }
    }
}

/// The ASCII character into which all of these fold, if they do.
fn fold_of(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let fold = |c: char| {
        let mut text = [0; 4];
        let folded = fold_text(c.encode_utf8(&mut text)).into_owned();
        let mut folded = folded.chars();
        folded.next().filter(|c| c.is_ascii() && folded.next().is_none())
    };
    let first = fold(characters.next()?)?;
    characters.all(|c| fold(c) == Some(first)).then_some(first)
}

/// The whole numbers with which an address of the network begins.
fn of_network(address: IpAddr, prefix: u8) -> Literals {
    let IpAddr::V4(address) = address else {
        // Their texts have many forms.
        return Literals::Any;
    };
    let whole = usize::from(prefix / 8);
    let octets = address.octets().into_iter().take(whole);
    all(octets.map(|octet| Literals::Token(octet.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(show(&of_regex(source)), expected, "{source}");
    }

    fn show(literals: &Literals) -> String {
        let join = |all: &[Literals], by: &str| {
            format!("({})", all.iter().map(show).collect::<Vec<_>>().join(by))
        };
        match literals {
            Literals::Any => "any".to_owned(),
            Literals::Part(text) => text.clone(),
            Literals::Token(token) => format!("[{token}]"),
            Literals::All(all) => join(all, " & "),
            Literals::One(all) => join(all, " / "),
        }
    }

    #[test]
    fn literals_are_what_every_match_has() {
        check("GET /api", "get /api");
        check("time(d )?out", "(time & out)");
        check("(refused|reset) by peer", "((refused / reset) &  by peer)");
        check("(refused|.*)x", "any");
        check("ab{2,}c[0-9]+de", "de");
        check("(?i)wake", "wake");
        check("^error:$", "error:");
        check("[0-9]+", "any");
        check("x", "any");
        let network = |text: &str, prefix| show(&of_network(text.parse().unwrap(), prefix));
        assert_eq!(network("10.1.2.3", 20), "([10] & [1])");
        assert_eq!(network("10.1.2.3", 7), "any");
        assert_eq!(network("2001:db8::", 32), "any");
    }

    fn holds(literals: &Literals, folded: &str) -> bool {
        match literals {
            Literals::Any => true,
            Literals::Part(text) => folded.contains(text.as_str()),
            Literals::Token(token) => model::text::tokens(folded).any(|one| one == token),
            Literals::All(all) => all.iter().all(|one| holds(one, folded)),
            Literals::One(all) => all.iter().any(|one| holds(one, folded)),
        }
    }

    proptest! {
        #[test]
        fn a_match_holds_them(
            source in "(\\(\\?i\\))?(a|b|k|K|s|é|\\.|ab|(a|bk)|[ab]|x\\?|\\(ab\\|kS\\)|\\(a\\*b\\)\\+|\\^|\\\\b){1,6}",
            text in "[abkKsSé\u{212a}\u{17f}x ]{0,10}",
        ) {
            if regex::Regex::new(&source).is_ok_and(|regex| regex.is_match(&text)) {
                let found = of_regex(&source);
                prop_assert!(holds(&found, &fold_text(&text)), "{source} {text} {found:?}");
            }
        }
    }
}
