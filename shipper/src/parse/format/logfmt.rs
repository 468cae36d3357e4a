//! `level=info msg="it works" took=12ms`: pairs, the whole line through.

use model::level::Level;
use nom::branch::alt;
use nom::bytes::complete::{escaped, is_not, tag, take_while, take_while1};
use nom::character::complete::{char, none_of, one_of};
use nom::combinator::{opt, recognize};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser as _};

use super::Said;

/// The pairs of a line that nobody said to be of this format: at least two, and nothing else, each
/// named as programs name fields. Prose may have an `=` in it.
pub(super) fn detect(line: &str) -> Option<Said> {
    let mut rest = line.trim();
    let mut count = 0;
    while !rest.is_empty() {
        let (left, (name, value)) = pair(rest).ok()?;
        value?;
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || "_.-/@".contains(c));
        if !is_name || !(left.is_empty() || left.starts_with(char::is_whitespace)) {
            return None;
        }
        rest = left.trim_start();
        count += 1;
    }
    if count < 2 { None } else { read(line) }
}

/// The line's pairs; `None` when anything in it is no pair, or there is none.
pub(super) fn read(line: &str) -> Option<Said> {
    let mut said = Said::default();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (left, (name, value)) = pair(rest).ok()?;
        rest = left.trim_start();
        match value {
            None => said.guess(name, "true"),
            Some(Value::Bare(text)) => {
                said.level = level(name, text).or(said.level);
                said.guess(name, text);
            }
            Some(Value::Quoted(text)) => {
                let text = unescape(text);
                said.level = level(name, &text).or(said.level);
                said.push(name, model::record::FieldValue::Text(text));
            }
        }
    }
    // A text of single words is no logfmt.
    let paired = said.fields.iter().any(|(name, _)| line.contains(&format!("{name}=")));
    paired.then_some(said)
}

/// The level that a pair states.
fn level(name: &str, text: &str) -> Option<Level> {
    ["level", "lvl", "severity"].contains(&name).then(|| Level::from_word(text)).flatten()
}

enum Value<'a> {
    Bare(&'a str),
    Quoted(&'a str),
}

fn pair(rest: &str) -> IResult<&str, (&str, Option<Value<'_>>)> {
    let name = take_while1(|c: char| c > ' ' && !"=\"".contains(c));
    let quoted = delimited(
        char('"'),
        alt((
            recognize(escaped(is_not("\\\""), '\\', one_of("\"\\/bfnrtu0'"))),
            recognize(many0_count(none_of("\"\\"))),
            tag(""),
        )),
        char('"'),
    );
    let bare = take_while(|c: char| c > ' ' && c != '"');
    let value = alt((quoted.map(Value::Quoted), bare.map(Value::Bare)));
    (name, opt(preceded(char('='), value))).parse(rest)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}
