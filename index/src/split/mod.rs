//! A split: two immutable objects, a Parquet body and the bundle of its index. Drawn in
//! docs/split.md.

mod body;
mod bundle;
mod build;
mod terms;
mod words;
mod search;

use model::split::SplitId;

pub use build::{BuildError, Built, Origin, build};
pub use search::Split;

/// The name of a split's body.
#[must_use]
pub fn body_name(id: &SplitId) -> String {
    format!("splits/{id}/body.parquet")
}

/// The name of a split's index bundle.
#[must_use]
pub fn bundle_name(id: &SplitId) -> String {
    format!("splits/{id}/index.bundle")
}

#[cfg(test)]
mod tests;
