//! Templates as Go and Loki have them: `{{.label}}`, functions, pipes, variables, `if`, `with`, `range`. Read once, filled for each row.

mod read;
mod command;
mod functions;
mod value;
mod fill;
mod call;
mod texts;
mod numbers;
mod printf;
mod layout;
mod moments;
#[cfg(test)]
mod tests;

use regex::Regex;

/// A template that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    /// What it asks of a row, each once: values are given in this order.
    names: Vec<Name>,
    /// Variables, each by its place.
    variables: usize,
}

/// What a template asks of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// The value of a label.
    Label(String),
    /// The line.
    Line,
    /// When it was, as a text.
    Time,
}

/// A piece of a template that asks for no function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plain {
    /// A text as it stands.
    Text(String),
    /// A value as it is.
    Name(Name),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Where, bytes from 0.
    pub(crate) at: usize,
    /// In words.
    pub(crate) why: String,
}

/// A template makes more text than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Why a row has no text of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// It would have more bytes than it may.
    TooLong,
    /// Loops go through more values than they may.
    TooManySteps,
    /// A value is not such that this can be done with it: a range over a number, a place behind a list's end.
    Unfit,
}

impl From<TooLong> for Unfilled {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Value(Expr),
    /// A variable gets a value; nothing is written.
    Set(usize, Expr),
    If {
        cases: Vec<Case>,
        otherwise: Vec<Piece>,
    },
    Range(Box<Range>),
    Break,
    Continue,
}

/// `if` or `with`, or one of these behind `else`.
#[derive(Debug, Clone)]
struct Case {
    value: Expr,
    /// The variable that gets the value.
    variable: Option<usize>,
    /// The value is the dot inside.
    is_with: bool,
    inside: Vec<Piece>,
}

/// `range`, with its variables.
#[derive(Debug, Clone)]
struct Range {
    over: Expr,
    key: Option<usize>,
    element: Option<usize>,
    inside: Vec<Piece>,
    otherwise: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Expr {
    /// By its place among the names.
    Name(usize),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// By its place among the variables.
    Variable(usize),
    /// What `with` and `range` are about.
    Dot,
    /// A member of a member of a value.
    Member {
        of: Box<Expr>,
        path: Vec<String>,
    },
    Call(Call),
}

#[derive(Debug, Clone)]
struct Call {
    function: &'static str,
    arguments: Vec<Expr>,
    /// The first argument, where that is a regular expression.
    regex: Option<Regex>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn read(text: &str) -> Result<Self, Wrong> {
        read::read(text)
    }

    /// What it asks of a row.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Its pieces where there is nothing to compute.
    pub(crate) fn plain(&self) -> Option<Vec<Plain>> {
        let plain = |piece: &Piece| match piece {
            Piece::Text(text) => Some(Plain::Text(text.clone())),
            Piece::Value(Expr::Name(at)) => match self.names.get(*at)? {
                Name::Time => None,
                name => Some(Plain::Name(name.clone())),
            },
            _ => None,
        };
        self.pieces.iter().map(plain).collect()
    }
}
