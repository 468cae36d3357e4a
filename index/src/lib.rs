//! Partition → split: fresh records searchable at once, splits built, published, merged, expired,
//! and both of them scanned in one way.

pub mod metrics;
pub mod settings;
pub mod schema;
mod rows;
mod rest;
mod columns;
pub mod matcher;
pub mod evaluate;
pub mod scan;
mod render;
mod several;
mod measure;
mod tally;
mod pick;
mod resume;
pub mod split;
pub mod fresh;
mod guard;
mod consume;
mod aside;
mod delete;
mod patience;
mod publish;
pub mod room;
pub mod keep;
pub mod remote;
mod rewrite;
mod merging;
mod merge;
pub mod cold;
pub mod retain;
mod core;
mod view;
pub mod searcher;
mod gather;
mod changes;
pub mod indexer;
#[cfg(test)]
mod fixture;
