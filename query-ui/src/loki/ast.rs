//! LogQL that was understood.

use crate::language::template::Name;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Query {
    /// Lines of a selection.
    Log(Log),
    /// A figure of the lines in a span before each moment.
    Range(Box<Range>),
    /// Series joined.
    Join { operator: Join, most: Option<f64>, by: Option<By>, inner: Box<Self> },
    /// A number.
    Number(f64),
    /// One series without labels.
    Vector(f64),
    /// Series with a label written anew.
    Relabel(Relabel),
    /// Two queries joined.
    Binary { operator: Operator, keeps: bool, left: Box<Self>, right: Box<Self> },
}

/// `label_replace`: where a label matches as a whole, another one is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Relabel {
    pub(super) inner: Box<Query>,
    pub(super) into: String,
    /// With `$1` for what the expression's first group matched.
    pub(super) by: String,
    pub(super) from: String,
    pub(super) matches: String,
}

/// Lines of a selection and what is done with them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Log {
    pub(super) selector: Vec<Test>,
    pub(super) stages: Vec<Stage>,
}

/// A figure of lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) figure: Figure,
    pub(super) quantile: f64,
    pub(super) log: Log,
    /// The label whose number counts, and what it measures.
    pub(super) unwrap: Option<(String, Measure)>,
    /// Nanoseconds.
    pub(super) span: i64,
    pub(super) offset: i64,
    pub(super) by: Option<By>,
}

/// What a number of a label measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Number,
    Seconds,
    Bytes,
}

/// What is computed of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Count,
    Rate,
    Bytes,
    BytesRate,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
    Quantile,
    Absent,
}

/// How series are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Sum,
    Min,
    Max,
    Avg,
    Count,
    Top,
    Bottom,
}

/// Labels that series keep, or lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    pub(super) without: bool,
    pub(super) names: Vec<String>,
}

/// A comparison of a label or of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Like,
    NotLike,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// A test of a label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) compare: Compare,
    pub(super) value: Value,
}

/// What a label is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    /// Nanoseconds.
    Duration(f64),
    Size(f64),
}

/// Tests of labels joined.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tests {
    One(Test),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// What is done with lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// The line holds, or matches, one of these; or none of them.
    Line {
        like: bool,
        not: bool,
        texts: Vec<String>,
    },
    Json,
    Logfmt,
    /// Labels with where they stand in a line: the names and places from the outermost on.
    Members {
        is_logfmt: bool,
        labels: Vec<(String, Vec<String>)>,
    },
    Regexp(String),
    Pattern(String),
    Unpack,
    Labels(Tests),
    LineFormat(Vec<Piece>),
    LabelFormat(Vec<(String, Vec<Piece>)>),
    Drop(Vec<String>),
    Keep(Vec<String>),
    Decolorize,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Label(String),
    Line,
    /// A template as a whole, with what it asks of a line.
    Filled {
        source: String,
        names: Vec<Name>,
    },
}

/// What joins two queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}
