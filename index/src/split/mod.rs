//! A split: two immutable objects, a Parquet body and the bundle of its indexes. Drawn in
//! docs/split.md.

mod asked;
mod body;
mod coding;
mod bundle;
mod rowset;
mod lex;
mod templates;
mod patterns;
mod present;
mod outlines;
mod cluster;
mod shape;
mod typed;
mod stored;
mod arrivals;
mod offsets;
mod statistics;
mod senders;
mod values;
mod spans;
mod newest;
mod runs;
mod gather;
mod words;
mod tokens;
mod sketch;
mod indexed;
mod packing;
mod sums;
mod gathered;
mod late;
mod build;
mod pages;
mod widths;
mod places;
mod kept;
mod open;
mod literals;
mod resolve;
mod narrow;
mod found;
mod search;
mod count;
mod hand;
mod inspect;

use model::split::SplitId;

pub(crate) use arrivals::Arrivals;
pub use build::BuildError;
pub(crate) use build::{Origin, Piece, Source, build};
pub(crate) use cluster::{Clustered, cluster};
pub use inspect::{Inspection, open_folder};
pub(crate) use late::{Late, Places};
pub(crate) use lex::pattern_of;
pub use open::Split;
pub(crate) use packing::Packing;
pub(crate) use pages::PageCache;
pub(crate) use rowset::RowSet;
pub(crate) use sketch::Sketches;
pub(crate) use stored::{IngestTimes, Unit};
pub(crate) use sums::Sums;
pub(crate) use templates::TemplateKey;
pub(crate) use typed::Forms;

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

/// The split whose object has this name.
pub(crate) fn split_of(name: &str) -> Option<SplitId> {
    let (id, _) = name.strip_prefix("splits/")?.split_once('/')?;
    Some(SplitId(id.to_owned()))
}

#[cfg(test)]
mod tests;
