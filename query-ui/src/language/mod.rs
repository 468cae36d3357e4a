//! The query language: a search, then pipes. docs/query.md is its reference.

mod ast;
pub(crate) mod calendar;
pub(crate) mod template;
mod lex;
mod parse;
mod value;
mod range;
mod order;
mod time;
mod scope;
mod pipe;
mod stats;
mod reshape;
mod context;
mod expr;
mod condition;
mod print;

use std::cell::RefCell;

pub use ast::{
    Aggregate, Expr, Extraction, Format, Function, Group, Moment, Operator, Pipe, Query, SortKey,
    TimeWords,
};
pub(crate) use condition::{TESTS, advice, place_of};
pub(crate) use context::AROUND_MAX;
pub(crate) use expr::FUNCTIONS;
pub(crate) use lex::{name_of, read_span};
pub(crate) use pipe::PIPES;
pub(crate) use print::Search;
pub(crate) use scope::{MATCHED, PATTERN, Scope, nearest, pieces};
pub(crate) use time::read_period;

use lex::Cursor;
use model::limits::QUERY_BYTES_MAX;

/// A piece of a query that was understood. Places are characters from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// First character.
    pub start: usize,
    /// First character after.
    pub end: usize,
    /// What it is.
    pub kind: TokenKind,
}

/// What a piece of a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A word to be found.
    Word,
    /// A text in quotes.
    Phrase,
    /// A regular expression.
    Regex,
    /// The name of a field in the search.
    Field,
    /// `:`, `>=`, `+` and their like.
    Operator,
    /// What a field is compared with.
    Value,
    /// A number, a size or a span.
    Number,
    /// `AND`, `by`, `as` and their like.
    Keyword,
    /// Time words.
    Time,
    /// A pipe's name.
    Pipe,
    /// A function's name.
    Function,
    /// The name of a column in a pipe.
    Column,
    /// A bracket, a comma, a `|`.
    Bracket,
}

impl TokenKind {
    /// The name used in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Phrase => "phrase",
            Self::Regex => "regex",
            Self::Field => "field",
            Self::Operator => "operator",
            Self::Value => "value",
            Self::Number => "number",
            Self::Keyword => "keyword",
            Self::Time => "time",
            Self::Pipe => "pipe",
            Self::Function => "function",
            Self::Column => "column",
            Self::Bracket => "bracket",
        }
    }
}

/// Why a query was not understood. Places are characters from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// One sentence.
    pub message: String,
    /// First character that is wrong.
    pub start: usize,
    /// First character after.
    pub end: usize,
    /// What could stand there.
    pub expected: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Reads a query.
///
/// # Errors
/// Where it is wrong, what was found and what could stand there.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    read(text).0
}

/// Reads a query; also gives the tokens that were understood, up to the error if there is one.
pub fn read(text: &str) -> (Result<Query, QueryError>, Vec<Token>) {
    let tokens = RefCell::new(Vec::new());
    let mut cursor = Cursor::new(text, &tokens);
    let read = match text.len() {
        0..=QUERY_BYTES_MAX => parse::whole(&mut cursor),
        _ => Err(cursor.error(format!("a query has at most {QUERY_BYTES_MAX} bytes"), &[])),
    };
    let mut tokens = tokens.into_inner();
    tokens.sort_by_key(|token| token.start);
    let mut places = Places { text, bytes: 0, characters: 0 };
    for token in &mut tokens {
        (token.start, token.end) = (places.character(token.start), places.character(token.end));
    }
    let read = read.map_err(|error| {
        let mut places = Places { text, bytes: 0, characters: 0 };
        let start = places.character(error.start);
        let end = places.character(error.end).max(start + 1);
        QueryError { start, end, ..error }
    });
    (read, tokens)
}

/// Makes characters of bytes, of places that grow.
struct Places<'a> {
    text: &'a str,
    bytes: usize,
    characters: usize,
}

impl Places<'_> {
    fn character(&mut self, byte: usize) -> usize {
        if byte < self.bytes {
            (self.bytes, self.characters) = (0, 0);
        }
        let end = self.text.floor_char_boundary(byte);
        let passed = self.text.get(self.bytes..end).map_or(0, |text| text.chars().count());
        (self.bytes, self.characters) = (end.max(self.bytes), self.characters + passed);
        self.characters
    }
}

#[cfg(test)]
pub(crate) mod tests;
