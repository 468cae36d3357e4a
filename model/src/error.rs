//! What the receiver of an error should do about it.

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
