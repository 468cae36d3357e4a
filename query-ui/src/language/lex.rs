//! The characters of a query: a cursor with places, and the small pieces, in nom.

use std::cell::RefCell;

use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, digit1, satisfy};
use nom::combinator::{map, map_opt, not, opt, peek, recognize, success};
use nom::multi::{fold_many0, fold_many1, many1_count};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{AsChar as _, IResult};

use super::{QueryError, Token, TokenKind};

/// A query and how far it has been read. Places are bytes here; [`super::parse()`] makes characters
/// of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    whole: &'a str,
    /// What is still to be read.
    pub(super) rest: &'a str,
    tokens: &'a RefCell<Vec<Token>>,
}

impl<'a> Cursor<'a> {
    /// What is understood is noted in `tokens`.
    pub(super) fn new(whole: &'a str, tokens: &'a RefCell<Vec<Token>>) -> Self {
        Self { whole, rest: whole, tokens }
    }

    /// The place, in bytes.
    pub(super) fn at(&self) -> usize {
        self.whole.len() - self.rest.len()
    }

    /// Notes that what was read from a place on is a token. Nothing is noted of what was only
    /// looked at.
    pub(super) fn mark(&self, start: usize, kind: TokenKind) {
        if start < self.at() {
            self.tokens.borrow_mut().push(Token { start, end: self.at(), kind });
        }
    }

    /// Goes on if the piece is next.
    pub(super) fn take<T>(
        &mut self,
        piece: impl FnOnce(&'a str) -> IResult<&'a str, T>,
    ) -> Option<T> {
        let (rest, value) = piece(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// The same, noted as a token.
    pub(super) fn take_as<T>(
        &mut self,
        kind: TokenKind,
        piece: impl FnOnce(&'a str) -> IResult<&'a str, T>,
    ) -> Option<T> {
        let start = self.at();
        let value = self.take(piece)?;
        self.mark(start, kind);
        Some(value)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The same, noted as a token.
    pub(super) fn eat_as(&mut self, kind: TokenKind, text: &str) -> bool {
        let start = self.at();
        let eaten = self.eat(text);
        self.mark(start, kind);
        eaten
    }

    /// Goes on over a word of the language, in any case.
    pub(super) fn eat_word(&mut self, wanted: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.take(word).is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        if found {
            ahead.mark(self.at(), TokenKind::Keyword);
            *self = ahead;
        }
        found
    }

    pub(super) fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// The character behind the next one.
    pub(super) fn peek_second(&self) -> Option<char> {
        self.rest.chars().nth(1)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error at what is next: a word, a character, or the end.
    pub(super) fn error(&self, message: impl Into<String>, expected: &[&str]) -> QueryError {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match self.rest.chars().next() {
            None => 1,
            Some(c) if c.is_alphanumeric() => {
                self.rest.chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum()
            }
            Some(c) => c.len_utf8(),
        };
        let start = self.at();
        self.error_from(start, start + length, message, expected)
    }

    pub(super) fn error_from(
        &self,
        start: usize,
        end: usize,
        message: impl Into<String>,
        expected: &[&str],
    ) -> QueryError {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        QueryError { message: message.into(), start, end: end.max(start + 1), expected, hint: None }
    }

    /// What is next, for a message.
    pub(super) fn found(&self) -> String {
        match self.rest.chars().next() {
            None => "the end of the query".to_owned(),
            Some(c) => name_of(c).map_or_else(|| format!("{c:?}"), str::to_owned),
        }
    }
}

/// Characters that look like others or like nothing, by name.
pub(crate) fn name_of(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' => "a no-break space (U+00A0)",
        '\u{200b}' => "a zero-width space (U+200B)",
        '\u{200c}' | '\u{200d}' => "a zero-width joiner",
        '\u{feff}' => "a byte order mark (U+FEFF)",
        '\u{2028}' | '\u{2029}' => "a line separator",
        '\u{3000}' => "an ideographic space (U+3000)",
        '\u{ad}' => "a soft hyphen (U+00AD)",
        '\u{2060}' => "a word joiner (U+2060)",
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "an invisible mark of writing direction"
        }
        '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{1680}' => {
            "a white space that is no plain space"
        }
        '“' | '”' | '„' => "a typographic quote",
        '‘' | '’' => "a typographic apostrophe",
        _ => return None,
    })
}

/// A quoted text with `\"`, `\\`, `\n`, `\t`; other backslashes stand for themselves.
pub(super) fn quoted(input: &str) -> IResult<&str, String> {
    let escape = preceded(
        char('\\'),
        map_opt(satisfy(|c| "\"\\nt".contains(c)), |c| {
            Some(match c {
                'n' => '\n',
                't' => '\t',
                other => other,
            })
        }),
    );
    let plain = satisfy(|c| c != '"');
    let text = fold_many0(alt((escape, plain)), String::new, |mut text: String, c| {
        text.push(c);
        text
    });
    delimited(char('"'), text, char('"')).parse(input)
}

/// A name between backticks; a backtick in it is written twice.
pub(super) fn backticked(input: &str) -> IResult<&str, String> {
    let plain = alt((preceded(char('`'), char('`')), satisfy(|c| c != '`')));
    let text = fold_many0(plain, String::new, |mut text: String, c| {
        text.push(c);
        text
    });
    delimited(char('`'), text, terminated(char('`'), not(peek(char('`'))))).parse(input)
}

/// A regular expression between slashes and whether it ignores case (`/…/i`). A slash inside is
/// written `\/`; where another one stands inside, the text is a path and no expression.
pub(super) fn regex(input: &str) -> IResult<&str, (String, bool)> {
    let escaped = preceded(tag("\\/"), success('/'));
    let source = fold_many1(
        alt((
            map(escaped, String::from),
            map(recognize(pair(char('\\'), satisfy(|c| c != '/'))), str::to_owned),
            map(satisfy(|c| c != '/' && c != '\\' && c != '\n'), String::from),
        )),
        String::new,
        |source: String, piece| source + &piece,
    );
    let (rest, source) = delimited(char('/'), source, char('/')).parse(input)?;
    let (rest, flag) = opt(char('i')).parse(rest)?;
    let (rest, ()) = not(satisfy(|c| !c.is_whitespace() && !"()|,".contains(c))).parse(rest)?;
    Ok((rest, (source, flag.is_some())))
}

/// A field's name where no quotes are needed: letters, digits, `_ . @ $ -`, beginning with a
/// letter, `_`, `@` or `$`, ending with a letter, digit or `_`.
pub(super) fn name(input: &str) -> IResult<&str, &str> {
    let (rest, found) = recognize(pair(
        satisfy(|c| c.is_alphabetic() || "_@$".contains(c)),
        take_while(|c: char| c.is_alphanumeric() || "_.@$-".contains(c)),
    ))
    .parse(input)?;
    let kept = found.trim_end_matches(['.', '-', '@', '$']);
    match input.split_at_checked(kept.len()) {
        Some((kept, after)) if !kept.is_empty() => Ok((after, kept)),
        _ => Ok((rest, found)),
    }
}

/// A comparison: `>= <= != > <`.
pub(super) fn comparison(input: &str) -> IResult<&str, &str> {
    alt((tag(">="), tag("<="), tag("!="), tag(">"), tag("<"))).parse(input)
}

/// What other languages compare with: `==`, `=`.
pub(super) fn equality(input: &str) -> IResult<&str, &str> {
    alt((tag("=="), tag("="))).parse(input)
}

/// The colon behind a field's name; not the one of `http://`.
pub(super) fn colon(input: &str) -> IResult<&str, char> {
    terminated(char(':'), not(peek(tag("//")))).parse(input)
}

/// A keyword in capitals, standing alone.
pub(super) fn keyword<'a>(word: &'static str) -> impl FnOnce(&'a str) -> IResult<&'a str, &'a str> {
    move |input| {
        terminated(tag(word), not(satisfy(|c| !c.is_whitespace() && !"()|\"".contains(c))))
            .parse(input)
    }
}

/// A word of the pipes: letters, digits, `_`.
pub(super) fn word(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_alphanumeric() || c == '_').parse(input)
}

/// A whole number.
pub(super) fn whole(input: &str) -> IResult<&str, u64> {
    terminated(
        map_opt(digit1, |digits: &str| digits.parse().ok()),
        not(satisfy(|c| c.is_alphanum() || c == '.')),
    )
    .parse(input)
}

/// A span such as `15m` or `1h30m`, in nanoseconds: `ms s m h d w`.
pub(super) fn span(input: &str) -> IResult<&str, i64> {
    let unit = alt((tag("ms"), tag("s"), tag("m"), tag("h"), tag("d"), tag("w")));
    let step = pair(digit1, unit);
    let (rest, text) = recognize(many1_count(step)).parse(input)?;
    let (rest, ()) = not(satisfy(char::is_alphanumeric)).parse(rest)?;
    match nanos_of(text) {
        Some(nanos) => Ok((rest, nanos)),
        None => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Digit))),
    }
}

fn nanos_of(text: &str) -> Option<i64> {
    let mut sum = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(unit)?;
        let scale: i64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        sum = number.parse::<i64>().ok()?.checked_mul(scale)?.checked_add(sum)?;
        rest = after;
    }
    Some(sum)
}

/// A span of time as people write it, in nanoseconds.
pub(crate) fn read_span(text: &str) -> Option<i64> {
    match span(text) {
        Ok(("", nanos)) => Some(nanos),
        _ => None,
    }
}
