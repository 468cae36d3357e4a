//! Why a query has no answer.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use model::error::Kind;
use model::wire::Position;

use super::memory::NoRoom;
use crate::language::{TESTS, advice, place_of};

/// Why a query has no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum QueryFailure {
    /// Too many run already.
    #[error("{0} queries are running already")]
    Overloaded(usize),
    /// It took too long.
    #[error("the query took longer than {0} seconds")]
    Timeout(u64),
    /// It needs more memory or disk than a query may have.
    #[error("the query needs more than {0} MiB of memory")]
    TooLarge(usize),
    /// Something could not be read, and the answer cannot say so.
    #[error("the answer lacks {0}: {1}")]
    Incomplete(String, String),
    /// Somebody ended it.
    #[error("the query was cancelled")]
    Cancelled,
    /// What is asked cannot be computed.
    #[error("{0}")]
    Refused(String),
    /// A value stands where a condition must.
    #[error("{0}")]
    NoCondition(Box<NoCondition>),
    /// A statement is wrong, as a rule at a place.
    #[error("{}", .0.message)]
    Misread(Box<Misread>),
    /// The engine refuses or fails; our mistake.
    #[error("the query failed inside the engine")]
    Engine(#[source] DataFusionError),
    /// A thread of it ended badly; our mistake.
    #[error("a thread of the query ended badly")]
    Broken,
}

/// A value of a query in the place of a condition, which shows when the types of fields are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is no condition")]
pub struct NoCondition {
    /// The value as a query says it.
    pub(super) shown: String,
    /// The column or the function that it is.
    pub(super) name: String,
}

/// What is wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where it is wrong, where that is known.
    pub position: Option<Position>,
}

impl QueryFailure {
    /// What the asker should do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Overloaded(_) => Kind::Overloaded,
            Self::Timeout(_)
            | Self::TooLarge(_)
            | Self::Cancelled
            | Self::Refused(_)
            | Self::NoCondition(_)
            | Self::Misread(_) => Kind::Invalid,
            Self::Incomplete(_, _) => Kind::Corrupt,
            Self::Engine(_) | Self::Broken => Kind::Bug,
        }
    }

    /// The same with its place in the text of the query, where it has one.
    pub(crate) fn located(self, query: &str) -> Self {
        let Self::NoCondition(wrong) = &self else { return self };
        let place = place_of(query, &wrong.name);
        let expected: Vec<String> = TESTS.iter().map(|test| (*test).to_owned()).collect();
        Self::Misread(Box::new(Misread {
            message: wrong.to_string(),
            hint: Some(advice(&wrong.shown)),
            position: place.map(|(start, end)| Position { start, end, expected }),
        }))
    }

    pub(super) fn of(error: DataFusionError, memory_bytes_max: usize) -> Self {
        if let DataFusionError::External(why) = error.find_root()
            && let Some(wrong) = why.downcast_ref::<NoCondition>()
        {
            return Self::NoCondition(Box::new(wrong.clone()));
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(why) => {
                tracing::debug!(why, "a query was too large");
                Self::TooLarge(memory_bytes_max >> 20)
            }
            DataFusionError::External(why) if why.is::<NoRoom>() => {
                tracing::debug!(%why, "a join was too large");
                Self::TooLarge(memory_bytes_max >> 20)
            }
            // What sorting puts aside has no room, or no disk.
            DataFusionError::ArrowError(error, _) if matches!(**error, ArrowError::IoError(..)) => {
                tracing::warn!(%error, "a query could not use its disk");
                Self::TooLarge(memory_bytes_max >> 20)
            }
            DataFusionError::Plan(why) => Self::Refused(why.clone()),
            DataFusionError::Execution(why) => {
                Self::Refused(format!("a value cannot be computed: {why}"))
            }
            DataFusionError::ArrowError(error, _) => {
                Self::Refused(format!("a value cannot be computed: {error}"))
            }
            DataFusionError::SchemaError(error, _) => Self::Refused(error.to_string()),
            DataFusionError::SQL(error, _) => Self::Refused(error.to_string()),
            DataFusionError::NotImplemented(why) => Self::Refused(format!("not possible: {why}")),
            _ => Self::Engine(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_room_on_disk_is_too_large() {
        let full = ArrowError::IoError("full".to_owned(), std::io::Error::other("full"));
        let failure = QueryFailure::of(full.into(), 3 << 20);
        assert!(matches!(failure, QueryFailure::TooLarge(3)), "{failure}");
        let wrong = ArrowError::CastError("no number".to_owned());
        let failure = QueryFailure::of(wrong.into(), 3 << 20);
        assert!(matches!(failure, QueryFailure::Refused(_)), "{failure}");
    }
}
