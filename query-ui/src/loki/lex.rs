//! The tokens of LogQL.

use model::quantity::{read_duration, read_size};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, multispace0, none_of};
use nom::combinator::{recognize, verify};
use nom::multi::many0;
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser as _};

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Number(f64),
    /// Nanoseconds.
    Duration(f64),
    Size(f64),
    Sign(&'static str),
}

const SIGNS: [&str; 32] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "|", "=", ">", "<", "{", "}", "(",
    ")", "[", "]", ",", "+", "-", "*", "/", "%", "^", ":", ";", ".", "@", "&",
];

fn word(input: &str) -> IResult<&str, Token> {
    let first = |c: char| c.is_alphabetic() || c == '_';
    let rest = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let (input, text) = recognize(pair(take_while1(first), take_while(rest))).parse(input)?;
    Ok((input, Token::Word(text.to_owned())))
}

fn raw(input: &str) -> IResult<&str, Token> {
    let (input, text) = delimited(char('`'), take_while(|c| c != '`'), char('`')).parse(input)?;
    Ok((input, Token::Text(text.to_owned())))
}

fn quoted(input: &str) -> IResult<&str, Token> {
    let escaped = recognize(preceded(char('\\'), nom::character::complete::anychar));
    let plain = recognize(none_of("\\\""));
    let inner = recognize(many0(alt((escaped, plain))));
    let (input, text) = delimited(char('"'), inner, char('"')).parse(input)?;
    Ok((input, Token::Text(unescaped(text))))
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('t')) => plain.push('\t'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some(other)) => plain.push(other),
            (c, _) => plain.push(c),
        }
    }
    plain
}

/// A number, a span (`5m`, `1h30m`) or a size (`10KB`).
fn quantity(input: &str) -> IResult<&str, Token> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == 'µ';
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let (rest, text) = verify(take_while1(part), starts).parse(input)?;
    let days = |unit: char, hours: f64| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * hours * 3.6e12)
    };
    let token = if let Ok(number) = text.parse::<f64>() {
        Token::Number(number)
    } else if let Some(nanos) = read_duration(text)
        .or_else(|| days('d', 24.0))
        .or_else(|| days('w', 168.0))
        .or_else(|| days('y', 8_760.0))
    {
        Token::Duration(nanos)
    } else if let Some(bytes) = read_size(text) {
        Token::Size(bytes)
    } else {
        return Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Digit)));
    };
    Ok((rest, token))
}

fn sign(input: &str) -> IResult<&str, Token> {
    for text in SIGNS {
        if let Ok((rest, _)) = tag::<_, _, nom::error::Error<&str>>(text).parse(input) {
            return Ok((rest, Token::Sign(text)));
        }
    }
    Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Char)))
}

/// The tokens of a query with their places, bytes from 0; or the place of what is none.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, usize> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = match multispace0::<_, nom::error::Error<&str>>(rest) {
            Ok((rest, _)) => rest,
            Err(_) => rest,
        };
        if let Some(behind) = rest.strip_prefix('#') {
            rest = behind.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let at = text.len() - rest.len();
        if rest.is_empty() {
            return Ok(found);
        }
        let (behind, token) =
            alt((word, raw, quoted, quantity, sign)).parse(rest).map_err(|_| at)?;
        found.push((at, token));
        rest = behind;
    }
}
