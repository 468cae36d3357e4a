//! A query that was understood: what the parser makes, the printer prints and the plan lowers.

use model::query::Filter;
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A query that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// When, if it says so itself; then it takes the place of the request's times.
    pub time: Option<TimeWords>,
    /// Which records.
    pub filter: Filter,
    /// What is done with them, in order.
    pub pipes: Vec<Pipe>,
}

/// The time words of a query: `last 2h`, `from 2026-01-31 to -1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWords {
    /// The first moment.
    pub from: Option<Moment>,
    /// The first moment after.
    pub to: Option<Moment>,
}

/// A moment of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// So many nanoseconds before the query is asked.
    Ago(i64),
}

impl Moment {
    /// The moment, for a query that is asked now.
    #[must_use]
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(nanos) => Timestamp(now.0.saturating_sub(nanos)),
        }
    }
}

/// One step behind the search.
#[derive(Debug, Clone, PartialEq)]
pub enum Pipe {
    /// Only rows for which it holds.
    Where(Expr),
    /// Aggregates, in groups.
    Stats {
        /// What is computed; at least one.
        aggregates: Vec<Aggregate>,
        /// One row for each combination of these; one row in all when empty.
        by: Vec<Group>,
    },
    /// Order by these; the first counts most.
    Sort(Vec<SortKey>),
    /// The first so many.
    Limit(u64),
    /// Only these columns.
    Fields(Vec<String>),
    /// All but these columns.
    Drop(Vec<String>),
    /// Other names for columns, old and new.
    Rename(Vec<(String, String)>),
    /// Computed columns, each with its name; later ones may use earlier ones.
    Eval(Vec<(String, Expr)>),
    /// The first so many rows for each combination of values.
    Dedup {
        /// How many of each.
        keep: u64,
        /// Of which columns.
        by: Vec<String>,
    },
    /// A row for each of the values that a record has of a field.
    Expand {
        /// The field.
        from: String,
        /// The column of the single value.
        into: String,
        /// Each value of a record once.
        distinct: bool,
    },
    /// Columns out of a text.
    Extract {
        /// The column with the text.
        from: String,
        /// What it looks like.
        pattern: Extraction,
    },
    /// All columns of a text that is a structure itself.
    Parse {
        /// How it is written.
        format: Format,
        /// The column with the text.
        from: String,
    },
    /// The columns of another query's rows with the same values.
    Join {
        /// Rows without a partner are kept.
        keep_all: bool,
        /// The columns whose values must be equal.
        on: Vec<String>,
        /// The other query.
        query: Box<Query>,
    },
    /// The rows of another query as well.
    Union(Box<Query>),
    /// One row of so many, chosen by chance that falls the same way every time.
    Sample(f64),
    /// The records around each one, of the same index and labels.
    Context {
        /// So many before it.
        before: u64,
        /// So many after it.
        after: u64,
        /// All records among which they are looked for.
        around: Box<Query>,
    },
}

/// What a text looks like from which columns are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Extraction {
    /// Text with `<name>` for a piece that becomes a column, `<_>` for one that does not.
    Pattern(String),
    /// A regular expression with named groups.
    Regex(String),
}

/// How a structure is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// A JSON object; nested names are joined with dots.
    Json,
    /// `name=value name="a value"`.
    Logfmt,
}

/// An aggregate with the name of its column.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// What is computed.
    pub function: Function,
    /// Of what; `None` counts rows.
    pub argument: Option<Expr>,
    /// Only over rows for which this holds.
    pub condition: Option<Expr>,
    /// The name of its column.
    pub name: String,
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Rows, or values that are present.
    Count,
    /// Distinct values, exactly.
    CountDistinct,
    /// Distinct values, to a percent or two, in little memory.
    CountDistinctEstimate,
    /// The sum of numbers.
    Sum,
    /// The mean of numbers.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The number below which such a part of the numbers lies, exactly, between neighbours.
    Quantile(f64),
    /// About that number, in little memory.
    QuantileEstimate(f64),
    /// How far numbers are from their mean (of a sample).
    Stddev,
    /// The value of the earliest record that has one.
    First,
    /// The value of the latest record that has one.
    Last,
    /// Rows in a second of the time that was asked.
    Rate,
    /// The distinct values, in order, as a list.
    Values,
}

impl Function {
    /// Every function with its name; quantiles are written with their part.
    pub(crate) const ALL: [(&'static str, Self); 14] = [
        ("count", Self::Count),
        ("count_distinct", Self::CountDistinct),
        ("count_distinct_estimate", Self::CountDistinctEstimate),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("quantile", Self::Quantile(0.5)),
        ("quantile_estimate", Self::QuantileEstimate(0.5)),
        ("stddev", Self::Stddev),
        ("first", Self::First),
        ("last", Self::Last),
        ("rate", Self::Rate),
        ("values", Self::Values),
    ];

    /// The name by which it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        let same = |known: &Self| std::mem::discriminant(known) == std::mem::discriminant(&self);
        Self::ALL.iter().find(|(_, known)| same(known)).map_or("count", |(name, _)| name)
    }
}

/// What makes a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Group {
    /// A field's value.
    Field(String),
    /// The timestamp, rounded down.
    Bin {
        /// Width of a bin, nanoseconds; `None` is a round one of which the range has about sixty.
        width: Option<i64>,
    },
    /// A number, rounded down to a multiple.
    Step {
        /// The field.
        field: String,
        /// Of what.
        width: f64,
    },
}

impl Group {
    /// The name of its column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Step { field: name, .. } => name,
            Self::Bin { .. } => "timestamp",
        }
    }
}

/// A column to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub name: String,
    /// Greatest first.
    pub descending: bool,
    /// Texts that are numbers come as such, where a field holds numbers beside them or they have more than
    /// 63 bits; else all texts of a field come as texts.
    pub numbers: bool,
}

/// Something computed from a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A column's value.
    Column(String),
    /// A whole number.
    Int(i64),
    /// A whole number that is no [`Expr::Int`].
    Whole(i128),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// No value.
    Null,
    /// A span of time, nanoseconds.
    Duration(f64),
    /// So many bytes.
    Size(f64),
    /// The other truth.
    Not(Box<Self>),
    /// The number with the other sign.
    Negative(Box<Self>),
    /// Two values joined.
    Binary(Operator, Box<Self>, Box<Self>),
    /// Whether there is a value.
    Exists(Box<Self>),
    /// Whether the text of a value matches a regular expression.
    Like(Box<Self>, String),
    /// Whether a value is one of these.
    In(Box<Self>, Vec<Self>),
    /// Whether a value is in the only column of another query's rows.
    InQuery(Box<Self>, Box<Query>),
    /// A function of values.
    Call(&'static str, Vec<Self>),
}

/// What joins two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// One holds at least.
    Or,
    /// Both hold.
    And,
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterEqual,
    /// The sum.
    Add,
    /// The difference.
    Subtract,
    /// The product.
    Multiply,
    /// The quotient; none by zero.
    Divide,
    /// What division leaves over; nothing by zero.
    Remainder,
}

impl Operator {
    /// Every operator as it is written, with how tight it binds.
    pub(crate) const ALL: [(&'static str, Self, u8); 13] = [
        ("or", Self::Or, 1),
        ("and", Self::And, 2),
        ("==", Self::Equal, 4),
        ("!=", Self::NotEqual, 4),
        ("<=", Self::LessEqual, 4),
        (">=", Self::GreaterEqual, 4),
        ("<", Self::Less, 4),
        (">", Self::Greater, 4),
        ("+", Self::Add, 5),
        ("-", Self::Subtract, 5),
        ("*", Self::Multiply, 6),
        ("/", Self::Divide, 6),
        ("%", Self::Remainder, 6),
    ];
}
