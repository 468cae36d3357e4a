//! The query language: a search, then pipes. docs/query.md is its reference.

mod lex;
mod parse;
mod pipe;

use model::query::Filter;

pub(crate) use lex::read_span;
pub use parse::parse;
pub(crate) use pipe::PATTERN;

/// A query that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// What is done with them, in order.
    pub pipes: Vec<Pipe>,
}

/// One step behind the search.
#[derive(Debug, Clone, PartialEq)]
pub enum Pipe {
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
}

/// An aggregate with the name of its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// What is computed.
    pub function: Function,
    /// Of which field; `None` counts records.
    pub field: Option<String>,
    /// The name of its column.
    pub name: String,
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Records, or values that are present.
    Count,
    /// Distinct values, exactly.
    CountDistinct,
    /// The sum of numbers.
    Sum,
    /// The mean of numbers.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
}

impl Function {
    const ALL: [(&'static str, Self); 6] = [
        ("count", Self::Count),
        ("count_distinct", Self::CountDistinct),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
    ];
}

/// What makes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// A field's value.
    Field(String),
    /// The timestamp, rounded down to so many nanoseconds.
    Bin {
        /// Width of a bin, nanoseconds.
        width: i64,
    },
}

impl Group {
    /// The name of its column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) => name,
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

#[cfg(test)]
mod tests;
