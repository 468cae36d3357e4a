//! Who does what, and the logs and tables that remember it.

pub mod log;
pub mod queue;
pub mod catalog;
pub mod documents;
pub mod aliases;
pub mod placement;
pub mod raft;
pub mod peer;
pub mod meta;
