//! What the receiver of an error should do about it, and what it is told.

/// The kind of an error, by what its receiver must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong: fix it, do not repeat it.
    Invalid,
    /// The bound is reached for now: repeat it later.
    Overloaded,
    /// Somebody else owns this: ask there.
    Moved,
    /// Out of reach for now: repeat it.
    Unavailable,
    /// Stored bytes are damaged: an operator must look.
    Corrupt,
    /// Our mistake: report it.
    Bug,
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Full;

    #[derive(Debug, thiserror::Error)]
    #[error("nothing was written")]
    struct Unwritten(#[source] Full);

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(chain(&Full), "the disk is full");
        assert_eq!(chain(&Unwritten(Full)), "nothing was written: the disk is full");
    }
}
